/**
 * npm run generate:onnx: draws the models, runs them in onnxruntime, and writes `cases/`. What onnxruntime refuses is
 * left out, and listed by its reason.
 */
import { mkdirSync } from 'node:fs'

import { countOperators, LEAST, OPERATORS, writeCases } from './cases.js'
import type { Case } from './cases.js'
import { drawModels, FAMILIES } from './families.js'
import type { DrawnModel } from './families.js'
import { MOST_ENTRIES } from './operators.js'
import { openReference } from './runtime.js'

async function tried(drawn: DrawnModel): Promise<Case> {
  const { name, family, operators, model, input, inputs } = drawn
  if (inputs.some(({ length }) => length > MOST_ENTRIES)) throw new Error('too large')
  // The model itself must be one that onnxruntime takes, not only that with the output that counts.
  await (await openReference(model)).release()
  const reference = await openReference(drawn.truth)
  const outputs: Float32Array[] = []
  try {
    for (const values of inputs) {
      const { shape, data } = await reference.evaluate(values)
      if (shape.join() !== drawn.output.join())
        throw new Error(`of shape [${shape.join()}], not [${drawn.output.join()}]`)
      if (!data.every(Number.isFinite)) throw new Error('an output is not finite')
      if (data.length === 0) throw new Error('an output is empty')
      outputs.push(Float32Array.from(data))
    }
  } finally {
    await reference.release()
  }
  return { name, family, operators, model, input, output: drawn.output, inputs, outputs }
}

mkdirSync(new URL('cases/', import.meta.url), { recursive: true })
const all: Case[] = []
const refused = new Map<string, string[]>()
let bytes = 0
for (const file of Object.keys(FAMILIES)) {
  const cases: Case[] = []
  for (const drawn of drawModels(file)) {
    try {
      cases.push(await tried(drawn))
    } catch (error) {
      const reason = (error as Error).message.replace(/.*(Status Message|Error|FAIL) *: */, '').trim()
      refused.set(reason, [...(refused.get(reason) ?? []), drawn.name])
    }
  }
  bytes += writeCases(file, cases)
  all.push(...cases)
}

for (const [reason, names] of refused) {
  console.log(`refused ${names.length} times: ${reason}\n  such as ${names.slice(0, 3).join('\n          ')}`)
}
const counts = countOperators(all)
for (const [operator, count] of counts) console.log(`${operator.padEnd(20)} ${count}`)
const left = [...refused.values()].flat().length
console.log(`${all.length} cases, ${left} refused, ${bytes} bytes`)
const scarce = OPERATORS.filter((operator) => (counts.get(operator) ?? 0) < LEAST)
const unlisted = [...counts.keys()].filter((operator) => !OPERATORS.includes(operator))
if (scarce.length > 0 || unlisted.length > 0) {
  console.error(`fewer than ${LEAST} cases: ${scarce.join(', ')}; not listed: ${unlisted.join(', ')}`)
  process.exitCode = 1
}
