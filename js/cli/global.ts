/** `lipbound global`: a bound of the Lipschitz constant over the whole space. */
import type { Command } from 'commander'

import type { BoundMethod } from '../network.js'
import { addJsonOption, addMethodOption, addModelOptions, addNormOptions, normOptions, openModel } from './arguments.js'
import type { Context, ModelWords, NormWords } from './arguments.js'
import { layerTable, print, printJson, roundOutward, showGuarantee } from './output.js'
import { withProgress } from './progress.js'

interface Words extends ModelWords, NormWords {
  method: BoundMethod
  json?: boolean
}

/** Adds the command to the program. */
export function addGlobalCommand(program: Command, context: Context): void {
  const command = program.command('global').description('bound the Lipschitz constant over the whole space')
  addMethodOption(command)
  addModelOptions(command)
  addNormOptions(command)
  addJsonOption(command)
  command.action((model: string, words: Words) => globalBound(model, words, context))
}

async function globalBound(model: string, words: Words, context: Context): Promise<void> {
  const { signal } = context
  using network = await openModel(model, words, context)
  const result = await withProgress((onProgress) =>
    network.globalBound({ ...normOptions(words), method: words.method, signal, onProgress }),
  )
  if (words.json) {
    printJson(result)
    return
  }
  print(
    [
      `global Lipschitz bound, l2: at most ${roundOutward(result.upper, 'upper')}`,
      `guarantee: ${showGuarantee(result)}; method: ${result.method}; seed: ${result.seed}`,
      '',
      layerTable(result),
    ].join('\n'),
  )
}
