/** `lipbound bound`: local bounds of a model around some inputs. */
import { Option } from 'commander'
import type { Command } from 'commander'

import type { BoundResult } from '../results.js'
import { loadTensor } from '../tensor.js'
import { addBoundOptions, normOptions, openModel, toNumbers } from './arguments.js'
import type { BoundWords, Context } from './arguments.js'
import { writeCertificates } from './check.js'
import { layerTable, print, printJson, round, roundOutward, showGuarantee, showNotes, table } from './output.js'
import type { Column } from './output.js'
import { withProgress } from './progress.js'

interface Words extends BoundWords {
  input: string[]
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
    .description('bound the local Lipschitz constant around an input')
    .requiredOption('--input <file...>', 'centre of the ball, a .npy file; or several')
    .requiredOption('--epsilon <radius...>', 'radius of the ball in the units of the input; or several', toNumbers)
    .addOption(
      new Option('--kind <kind>', 'which constant to bound').choices(['centred', 'uniform']).default('centred'),
    )
    .option('--global', 'bound the global constant too, and compare')
    .option('--layers', 'tell the story of every bound layer by layer; default where there is only one')
  addBoundOptions(command)
  command.action((model: string, words: Words) => bound(model, words, context))
}

async function bound(model: string, words: Words, context: Context): Promise<void> {
  const { signal } = context
  using network = await openModel(model, words, context)
  const answers: Answer[] = []
  for (const file of words.input) {
    const centre = await loadTensor(file)
    const results = await withProgress((onProgress) =>
      network.bound(centre, {
        ...normOptions(words),
        epsilon: words.epsilon,
        kind: words.kind,
        method: words.method,
        certificate: words.certificate !== undefined,
        signal,
        onProgress,
      }),
    )
    answers.push(...results.map((result) => ({ input: file, ...result })))
  }
  const global = words.global
    ? await withProgress((onProgress) =>
        network.globalBound({
          ...normOptions(words),
          method: words.method,
          certificate: words.certificate !== undefined,
          signal,
          onProgress,
        }),
      )
    : undefined
  if (words.certificate !== undefined) {
    await writeCertificates(words.certificate, global === undefined ? answers : [...answers, global])
  }

  if (words.json) printJson(asObject(answers, global))
  else print(asText(answers, global, words))
}

function asObject(answers: readonly Answer[], global: BoundResult | undefined): object {
  const [first] = answers
  const body = answers.length === 1 && first !== undefined ? first : { results: answers }
  return global === undefined ? body : { ...body, global }
}

function asText(answers: readonly Answer[], global: BoundResult | undefined, words: Words): string {
  const several = words.input.length > 1
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
  if (first !== undefined)
    lines.push('', `guarantee: ${showGuarantee(first)}; method: ${first.method}; seed: ${first.seed}`)
  if (first !== undefined) lines.push(...showNotes(first))
  if (words.layers ?? answers.length === 1) {
    for (const answer of answers) {
      const title = several ? `epsilon ${answer.epsilon} around ${answer.input}` : `epsilon ${answer.epsilon}`
      lines.push('', title, layerTable(answer))
    }
  }
  return lines.join('\n')
}
