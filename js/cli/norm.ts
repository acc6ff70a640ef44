/** `lipbound norm`: the norms of the layers of a model, as brackets. */
import type { Command } from 'commander'

import { InputError } from '../errors.js'
import type { LayerReport } from '../results.js'
import { addJsonOption, addModelOptions, addNormOptions, normOptions, openModel } from './arguments.js'
import type { Context, ModelWords, NormWords } from './arguments.js'
import { examples } from './help.js'
import { print, printJson, roundOutward, showGuarantee, table } from './output.js'
import { ProgressLine } from './progress.js'

interface Words extends ModelWords, NormWords {
  layer?: string
  json?: boolean
}

/** Adds the command to the program. */
export function addNormCommand(program: Command, context: Context): void {
  const command = program
    .command('norm')
    .summary('show the norms of the layers over the whole space')
    .description(
      'Brackets the spectral norm of each step: of layers, with whatever is merged into one affine map with them.',
    )
    .option('--layer <name>', 'only this layer, with whatever is merged into one step with it')
  addModelOptions(command)
  addNormOptions(command)
  addJsonOption(command)
  examples(command, [['norm model.onnx'], ['norm model.onnx --layer conv1 --guarantee deterministic --json']])
  command.action((model: string, words: Words) => norms(model, words, context))
}

async function norms(model: string, words: Words, context: Context): Promise<void> {
  const { signal } = context
  using network = await openModel(model, words, context)
  const { summary } = network
  if (words.layer !== undefined && !summary.layers.some(({ name }) => name === words.layer)) {
    const names = summary.layers.map(({ name }) => name).join(', ')
    throw new InputError(
      'ERR_LIPBOUND_ARGUMENT',
      `--layer: there is no layer '${words.layer}'; the layers are ${names}`,
    )
  }
  // The norms of the layers are what a global bound is the product of.
  const { layers } = await new ProgressLine().part(undefined, (onProgress) =>
    network.globalBound({ ...normOptions(words), method: 'layerwise', signal, onProgress }),
  )
  const asked = layers.filter(({ members }) => words.layer === undefined || members.includes(words.layer))
  if (words.json) printJson(asObject(asked, words.layer))
  else print(asText(asked))
}

function asObject(layers: readonly LayerReport[], layer: string | undefined): object {
  const results = layers.map(({ name, kind, members, norm }) => ({ name, kind, members, ...norm }))
  return layer !== undefined && results[0] !== undefined ? results[0] : { results }
}

function asText(layers: readonly LayerReport[]): string {
  return table(
    [
      { title: 'step', align: 'left' },
      { title: 'layers', align: 'left' },
      { title: 'lower', align: 'right' },
      { title: 'upper', align: 'right' },
      { title: 'steps', align: 'right' },
      { title: 'guarantee', align: 'left' },
    ],
    layers.map(({ name, kind, members, norm }) => [
      `${name} (${kind})`,
      members.join(', '),
      roundOutward(norm.lower, 'lower'),
      roundOutward(norm.upper, 'upper'),
      String(norm.steps),
      showGuarantee(norm),
    ]),
  )
}
