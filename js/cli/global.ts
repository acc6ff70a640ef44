/** `lipbound global`: a bound of the Lipschitz constant over the whole space. */
import type { Command } from 'commander'

import type { BoundResult } from '../results.js'
import { addBoundOptions, addJsonOption, normOptions, openModel } from './arguments.js'
import type { BoundWords, Context } from './arguments.js'
import { writeCertificates } from './check.js'
import { checkWritable } from './files.js'
import { examples } from './help.js'
import { layerTable, print, printJson, roundOutward, showGuarantee, showNotes } from './output.js'
import { ProgressLine } from './progress.js'
import { writeReport } from './report.js'

/** Adds the command to the program. */
export function addGlobalCommand(program: Command, context: Context): void {
  const command = program
    .command('global')
    .summary('bound the Lipschitz constant over the whole space')
    .description('Bounds how many times as far as two inputs their outputs can be from each other, wherever they are.')
  addJsonOption(addBoundOptions(command))
  examples(command, [['global model.onnx'], ['global model.onnx --method certificate --json']])
  command.action((model: string, words: BoundWords) => globalBound(model, words, context))
}

async function globalBound(model: string, words: BoundWords, context: Context): Promise<void> {
  const { signal } = context
  await checkWritable('--certificate', words.certificate)
  await checkWritable('--report', words.report)
  using network = await openModel(model, words, context)
  const result = await new ProgressLine().part(undefined, (onProgress) =>
    network.globalBound({
      ...normOptions(words),
      method: words.method,
      certificate: words.certificate !== undefined,
      signal,
      onProgress,
    }),
  )
  if (words.json) printJson(result)
  else print(asText(result))
  if (words.certificate !== undefined) await writeCertificates(words.certificate, [result])
  await writeReport(words.report, { network, file: model, bounds: [result] })
}

function asText(result: BoundResult): string {
  return [
    `global Lipschitz bound, l2: at most ${roundOutward(result.upper, 'upper')}`,
    `guarantee: ${showGuarantee(result)}; method: ${result.method}; seed: ${result.seed}`,
    ...showNotes(result),
    '',
    layerTable(result),
  ].join('\n')
}
