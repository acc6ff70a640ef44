/** `lipbound bound`: local bounds of a model around some inputs. */
import type { Command } from 'commander'

import type { BoundResult } from '../results.js'
import {
  addBoundOptions,
  addFormatOptions,
  addInputOptions,
  addKindOption,
  isForPrograms,
  normOptions,
  openModel,
  toNumbers,
} from './arguments.js'
import type { BoundWords, Context } from './arguments.js'
import { Batch, failed } from './batch.js'
import type { BatchWords, Outcome } from './batch.js'
import { writeCertificates } from './check.js'
import { checkWritable } from './files.js'
import { examples } from './help.js'
import {
  layerTable,
  oneOrSeveral,
  print,
  printJson,
  round,
  roundOutward,
  showEach,
  showGuarantees,
  showNotes,
  table,
} from './output.js'
import type { Column } from './output.js'
import { writeReport } from './report.js'

interface Words extends BoundWords, BatchWords {
  json?: boolean
  epsilon: number[]
  kind: 'centred' | 'uniform'
  global?: boolean
  layers?: boolean
}

/** A bound and the file of the input it is around. */
interface Answer extends BoundResult {
  input: string
}

/** Adds the command to the program. */
export function addBoundCommand(program: Command, context: Context): void {
  const command = program
    .command('bound')
    .summary('bound the local Lipschitz constant around inputs')
    .description(
      'Bounds how many times as far as an input the output can move, for inputs in a Euclidean ball around a centre.',
    )
  addInputOptions(command).requiredOption(
    '--epsilon <radius...>',
    "radius of the ball in the units of the network's input, which --std scales; or several",
    toNumbers,
  )
  addKindOption(command)
    .option('--global', 'bound the constant over the whole space too, and compare')
    .option('--layers', 'tell the story of every bound layer by layer (default where there is only one)')
  addFormatOptions(addBoundOptions(command))
  examples(command, [
    ['bound model.onnx --input eight.npy --epsilon 0.001 0.01 0.1 --global'],
    [
      'bound mnist.onnx --input eight.png --mean 0.1307 --std 0.3081 --epsilon 0.1',
      'a picture, normalised as in training',
    ],
    [
      "bound model.onnx --input digits 'more/*.png' --epsilon 0.1 --jsonl > bounds.jsonl",
      'many inputs, as they are done',
    ],
    ['bound model.onnx --input eight.npy --epsilon 0.1 --guarantee deterministic --certificate eight.json'],
  ])
  command.action((model: string, words: Words) => bound(model, words, context))
}

async function bound(model: string, words: Words, context: Context): Promise<void> {
  const { signal } = context
  await checkWritable('--certificate', words.certificate)
  await checkWritable('--report', words.report)
  const batch = await Batch.find(words, words.global ? 1 : 0)
  using network = await openModel(model, words, context)
  const common = {
    ...normOptions(words),
    method: words.method,
    certificate: words.certificate !== undefined,
    signal,
  }
  const outcomes = await batch.each(
    network,
    ({ centre, onProgress, abandoned }) =>
      network.bound(centre, {
        ...common,
        epsilon: words.epsilon,
        kind: words.kind,
        onProgress,
        signal: AbortSignal.any([signal, abandoned]),
      }),
    (results) => oneOrSeveral(results),
  )
  const answers = outcomes.flatMap((outcome) =>
    'error' in outcome ? [] : outcome.answer.map((result): Answer => ({ input: outcome.input, ...result })),
  )
  const global = words.global
    ? await batch.aside('global', (onProgress) => network.globalBound({ ...common, onProgress }))
    : undefined
  if (words.jsonl && global !== undefined) printJson({ global })
  if (words.json) printJson(asObject(outcomes, global))
  if (!isForPrograms(words) && answers.length > 0) print(asText(answers, global, words, batch.several))

  // After the answer, which nothing that goes wrong with a file may take away.
  const bounds = global === undefined ? answers : [...answers, global]
  if (words.certificate !== undefined) {
    await writeCertificates(words.certificate, bounds)
  }
  await writeReport(words.report, {
    network,
    file: model,
    bounds,
  })
}

function asObject(outcomes: readonly Outcome<readonly BoundResult[]>[], global: BoundResult | undefined): object {
  const results = outcomes.flatMap((outcome) =>
    'error' in outcome ? [failed(outcome)] : outcome.answer.map((result) => ({ input: outcome.input, ...result })),
  )
  const body = oneOrSeveral(results)
  return global === undefined ? body : { ...body, global }
}

function asText(answers: readonly Answer[], global: BoundResult | undefined, words: Words, several: boolean): string {
  const columns: Column[] = [
    ...(several ? [{ title: 'input', align: 'left' } as const] : []),
    { title: 'epsilon', align: 'right' },
    { title: 'upper', align: 'right' },
    { title: 'lower', align: 'right' },
    ...(global === undefined
      ? []
      : [{ title: 'global', align: 'right' } as const, { title: 'ratio', align: 'right' } as const]),
  ]
  const rows = answers.map((answer) => [
    ...(several ? [answer.input] : []),
    String(answer.epsilon),
    roundOutward(answer.upper, 'upper'),
    // Zero says nothing: no ratio was looked for, or rounding left nothing of any.
    answer.lower === 0 ? '-' : roundOutward(answer.lower, 'lower'),
    ...(global === undefined ? [] : [roundOutward(global.upper, 'upper'), round(answer.upper / global.upper)]),
  ])
  const lines = [`${words.kind} local Lipschitz bound, l2`, '', table(columns, rows)]
  const [first] = answers
  if (first !== undefined) {
    const method = showEach(answers.map((answer) => answer.method))
    const seed = showEach(answers.map((answer) => answer.seed))
    lines.push('', `guarantee: ${showGuarantees(answers)}; method: ${method}; seed: ${seed}`, ...showNotes(first))
  }
  if (words.layers ?? answers.length === 1) {
    for (const answer of answers) {
      const title = several ? `epsilon ${answer.epsilon} around ${answer.input}` : `epsilon ${answer.epsilon}`
      lines.push('', title, layerTable(answer))
    }
  }
  return lines.join('\n')
}
