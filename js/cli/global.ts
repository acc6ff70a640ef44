/** `lipbound global`: a bound of the Lipschitz constant over the whole space. */
import type { Command } from 'commander'

import { addBoundOptions, normOptions, openModel } from './arguments.js'
import type { BoundWords, Context } from './arguments.js'
import { writeCertificates } from './check.js'
import { layerTable, print, printJson, roundOutward, showGuarantee, showNotes } from './output.js'
import { withProgress } from './progress.js'

/** Adds the command to the program. */
export function addGlobalCommand(program: Command, context: Context): void {
  const command = program.command('global').description('bound the Lipschitz constant over the whole space')
  addBoundOptions(command)
  command.action((model: string, words: BoundWords) => globalBound(model, words, context))
}

async function globalBound(model: string, words: BoundWords, context: Context): Promise<void> {
  const { signal } = context
  using network = await openModel(model, words, context)
  const result = await withProgress((onProgress) =>
    network.globalBound({
      ...normOptions(words),
      method: words.method,
      certificate: words.certificate !== undefined,
      signal,
      onProgress,
    }),
  )
  if (words.certificate !== undefined) await writeCertificates(words.certificate, [result])
  if (words.json) {
    printJson(result)
    return
  }
  print(
    [
      `global Lipschitz bound, l2: at most ${roundOutward(result.upper, 'upper')}`,
      `guarantee: ${showGuarantee(result)}; method: ${result.method}; seed: ${result.seed}`,
      ...showNotes(result),
      '',
      layerTable(result),
    ].join('\n'),
  )
}
