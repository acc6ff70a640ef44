/**
 * Some three thousand small models, of every operator and opset that is supported, against the outputs that onnxruntime
 * gave when `npm run generate:onnx` wrote them; and some of those outputs against onnxruntime as it is.
 */
import test from 'ava'
import type { ExecutionContext } from 'ava'

import { loadModel } from '../dist/index.js'
import { createDirectory } from './helpers/files.js'
import { countOperators, distance, LEAST, OPERATORS, readCases, withoutBatch } from './onnx/cases.js'
import type { Case } from './onnx/cases.js'
import { drawModels, FAMILIES } from './onnx/families.js'
import { openReference } from './onnx/runtime.js'

/** onnxruntime computes in single precision. */
const TOLERANCE = 1e-4

/** The committed outputs are those of one version on one machine; another may add up in another order. */
const SAME = 1e-6

/** So many of the failures of a family are shown. */
const SHOWN = 8

/** One case in so many is computed anew. */
const SAMPLE = 7

const files = Object.keys(FAMILIES)
const all = files.map((file) => [file, readCases(file)] as const)
const cases = all.flatMap(([, some]) => some)

const directory = createDirectory()
test.after.always(() => {
  directory.remove()
})

/** What is wrong with a case, if anything is. */
async function fault({ model, input, output, inputs, outputs }: Case, file: string): Promise<string | undefined> {
  try {
    using network = await loadModel(directory.write(file, model))
    for (const [index, values] of inputs.entries()) {
      const { shape, data } = await network.evaluate({ shape: withoutBatch(input), data: values })
      const expected = withoutBatch(output).join()
      if (shape.join() !== expected && !(expected === '' && shape.join() === '1')) {
        return `an output of shape [${shape.join()}] instead of [${expected}]`
      }
      const apart = distance(data, outputs[index] ?? [])
      if (!(apart <= TOLERANCE)) return `${apart.toExponential(1)} from the output of onnxruntime for input ${index}`
    }
    return undefined
  } catch (error) {
    return error instanceof Error ? error.message : String(error)
  }
}

/** Passes if there are no faults, and otherwise lists some of them. */
function report(t: ExecutionContext, faults: readonly string[], total: number): void {
  const rest = faults.length > SHOWN ? `\n… and ${faults.length - SHOWN} more` : ''
  if (faults.length === 0) t.pass()
  else t.fail(`${faults.length} of ${total} cases:\n${faults.slice(0, SHOWN).join('\n')}${rest}`)
}

for (const [file, some] of all) {
  for (const family of Object.keys(FAMILIES[file] ?? {})) {
    test(`${file}: ${family}`, async (t) => {
      const mine = some.filter((one) => one.family === family)
      t.true(mine.length >= LEAST, `${mine.length} cases`)
      const faults: string[] = []
      for (const [index, one] of mine.entries()) {
        const found = await fault(one, `${family}-${index}.onnx`)
        if (found !== undefined) faults.push(`${one.name}\n    ${found}`)
      }
      report(t, faults, mine.length)
    })
  }
}

test('there are enough cases of every operator', (t) => {
  const counts = countOperators(cases)
  t.log(Array.from(counts, ([operator, count]) => `${operator} ${count}`).join(', '))
  t.true(cases.length >= 1500, `${cases.length} cases`)
  t.deepEqual([...counts.keys()], [...OPERATORS].sort())
  for (const [operator, count] of counts) t.true(count >= LEAST, `${operator}: ${count} cases`)
})

test('the committed models are those that the generator draws', (t) => {
  for (const [file, some] of all) {
    const drawn = new Map(Array.from(drawModels(file), (one) => [one.name, one]))
    t.true(some.length >= 0.97 * drawn.size, `${file}: ${some.length} of ${drawn.size}`)
    const faults = some.flatMap(({ name, model, inputs }) => {
      const twin = drawn.get(name)
      const equal = twin !== undefined && Buffer.compare(twin.model, model) === 0
      return equal && inputs.join(';') === twin.inputs.join(';') ? [] : [name]
    })
    report(t, faults, some.length)
  }
})

test('the committed outputs are those of onnxruntime', async (t) => {
  for (const [file, some] of all) {
    const drawn = new Map(Array.from(drawModels(file), ({ name, truth }) => [name, truth]))
    const sample = some.filter((_, index) => index % SAMPLE === 0)
    const faults: string[] = []
    for (const { name, model, inputs, output, outputs } of sample) {
      const reference = await openReference(drawn.get(name) ?? model)
      for (const [index, values] of inputs.entries()) {
        const { shape, data } = await reference.evaluate(values)
        const apart = distance(data, outputs[index] ?? [])
        if (shape.join() !== output.join() || !(apart <= SAME)) faults.push(`${name}\n    ${apart.toExponential(1)}`)
      }
      await reference.release()
    }
    report(t, faults, sample.length)
  }
})
