/** `lipbound certify`: how far inputs may move before the answer can change. */
import type { Command } from 'commander'

import type { BoundMethod } from '../bound.js'
import { InputError } from '../errors.js'
import type { Network } from '../network.js'
import type { InputBox, RadiusResult } from '../radius.js'
import { loadTensor } from '../tensor.js'
import type { Tensor } from '../tensor.js'
import {
  addFormatOptions,
  addInputOptions,
  addMethodOption,
  addModelOptions,
  addNormOptions,
  addReportOption,
  isForPrograms,
  normOptions,
  openModel,
  toNumber,
} from './arguments.js'
import type { Context, ModelWords, NormWords } from './arguments.js'
import { Batch, failed } from './batch.js'
import type { BatchWords, Outcome } from './batch.js'
import { checkWritable } from './files.js'
import { examples } from './help.js'
import { readLabels } from './labels.js'
import type { LabelWords } from './labels.js'
import {
  oneOrSeveral,
  print,
  printJson,
  round,
  roundOutward,
  showClass,
  showEach,
  showGuarantees,
  showNotes,
  table,
} from './output.js'
import type { Column } from './output.js'
import { writeReport } from './report.js'

interface Words extends ModelWords, NormWords, BatchWords, LabelWords {
  method: BoundMethod
  maximum?: number
  inputBox?: string[]
  attackSteps?: number
  margins?: boolean
  report?: string
}

/** A radius and the file of the input it is of. */
interface Answer extends RadiusResult {
  input: string
}

/** Adds the command to the program. */
export function addCertifyCommand(program: Command, context: Context): void {
  const command = program
    .command('certify')
    .summary('certify how far inputs may move before the answer changes')
    .description(
      'Certifies a radius around each input: no input closer than that (in the l2 norm and the units of the ' +
        "network's input) is answered with another class. An attack says how much larger the radius could be at most.",
    )
  addInputOptions(command)
    .option('--label <class>', 'the right class of all inputs, from 0 (default: what the network answers)', toNumber)
    .option('--labels <file>', 'the right class of each input, one a line, in the order of the inputs')
    .option('--maximum <radius>', 'largest radius of interest, at which the search ends (default: none)', toNumber)
    .option(
      '--tolerance <part>',
      'relative width, between 0 and 1, at which the search ends: a radius larger by this part could not be ' +
        'certified (default: 0.01)',
      toNumber,
    )
    .option(
      '--input-box <limits...>',
      "lowest and highest value that an input can have, in the units of the network's input: two numbers, or .npy " +
        'files of its shape; only inputs between them count (default: all do)',
    )
    .option('--attack-steps <number>', 'steps of each attack; 0 for none (default: 200)', toNumber)
    .option('--margins', 'tell the margins of every input (default where there is only one)')
  addMethodOption(command, 'the product of the layers, one norm of the whole network, or what is affordable')
  addNormOptions(addModelOptions(command), { tolerance: false })
  addFormatOptions(addReportOption(command))
  examples(command, [
    ['certify model.onnx --input eight.npy --label 8'],
    ["certify mnist.onnx --input 'digits/*.png' --mean 0.1307 --std 0.3081 --labels labels.txt"],
    ['certify model.onnx --input pixels.npy --input-box 0 1', 'only real pixels count'],
    ['certify model.onnx --input digits --maximum 0.5 --jsonl > radii.jsonl', 'all that a directory has, to 0.5'],
  ])
  command.action((model: string, words: Words) => certify(model, words, context))
}

async function certify(model: string, words: Words, context: Context): Promise<void> {
  await checkWritable('--report', words.report)
  if (words.label !== undefined && words.labels !== undefined) {
    throw new InputError('ERR_LIPBOUND_ARGUMENT', '--label is for all inputs, --labels for each; give one of them')
  }
  const inputBox = await readBox(words.inputBox)
  const batch = await Batch.find(words)
  const labels = await readLabels(words, batch.paths.length)
  using network = await openModel(model, words, context)
  const { maximum, attackSteps, method } = words
  const outcomes = await batch.each(
    network,
    ({ centre, index, onProgress, abandoned }) =>
      network.certifiedRadius(centre, {
        ...normOptions(words),
        label: labels[index],
        inputBox,
        maximum,
        method,
        attackSteps,
        signal: AbortSignal.any([context.signal, abandoned]),
        onProgress,
      }),
    (radius) => radius,
  )
  const answers = outcomes.flatMap((outcome) =>
    'error' in outcome ? [] : [{ input: outcome.input, ...outcome.answer }],
  )
  if (words.json) printJson(asObject(outcomes))
  if (!isForPrograms(words) && answers.length > 0) print(asText(answers, network, words, batch.several))
  await writeReport(words.report, { network, file: model, radii: answers })
}

/** The box of `--input-box`. */
async function readBox(words: readonly string[] | undefined): Promise<InputBox | undefined> {
  if (words === undefined) return undefined
  const [lower, upper, ...rest] = words
  if (lower === undefined || upper === undefined || rest.length > 0) {
    const message = `--input-box: there must be two, the lowest and the highest value, got ${words.join(' ')}`
    throw new InputError('ERR_LIPBOUND_ARGUMENT', message)
  }
  return { lower: await limit(lower), upper: await limit(upper) }
}

async function limit(word: string): Promise<number | Tensor> {
  const value = word.trim() === '' ? NaN : Number(word)
  return Number.isNaN(value) ? loadTensor(word) : value
}

function asObject(outcomes: readonly Outcome<RadiusResult>[]): object {
  return oneOrSeveral(
    outcomes.map((outcome) => ('error' in outcome ? failed(outcome) : { input: outcome.input, ...outcome.answer })),
  )
}

function asText(answers: readonly Answer[], network: Network, words: Words, several: boolean): string {
  const { summary } = network
  const columns: Column[] = [
    ...(several ? [{ title: 'input', align: 'left' } as const] : []),
    { title: 'label', align: 'left' },
    { title: 'radius', align: 'right' },
    { title: 'attack', align: 'right' },
    { title: 'limited by', align: 'left' },
  ]
  const rows = answers.map((answer) => [
    ...(several ? [answer.input] : []),
    showClass(answer.label, summary),
    roundOutward(answer.radius, 'lower'),
    Number.isFinite(answer.attackRadius) ? roundOutward(answer.attackRadius, 'upper') : '-',
    showLimit(answer, network),
  ])
  const lines = ['certified radius, l2', '', table(columns, rows)]
  const [first] = answers
  if (first !== undefined) {
    const method = showEach(answers.map((answer) => answer.method))
    const seed = showEach(answers.map((answer) => answer.seed))
    const evaluations = answers.reduce((sum, answer) => sum + answer.evaluations, 0)
    const certified = answers.filter(({ radius }) => radius > 0).length
    lines.push(
      '',
      ...(several ? [`certified with a radius above 0: ${certified} of ${answers.length}`] : []),
      `guarantee: ${showGuarantees(answers)}; method: ${method}; seed: ${seed}; bounds evaluated: ${evaluations}`,
      ...showNotes(first),
    )
  }
  if (words.margins ?? !several) {
    for (const answer of answers) {
      if (answer.margins.length > 0) lines.push('', ...(several ? [answer.input] : []), marginTable(answer, network))
    }
  }
  return lines.join('\n')
}

/** What keeps a radius from being larger. */
function showLimit({ reason, termination, bindingClass, predicted }: RadiusResult, { summary }: Network): string {
  if (reason === 'misclassified') return `misclassified: the answer is ${showClass(predicted, summary)}`
  if (reason === 'tied') return 'tied: another class is not certainly smaller'
  if (termination === 'maximum') return 'maximum'
  return bindingClass === undefined ? '-' : `class ${showClass(bindingClass, summary)}`
}

function marginTable({ margins }: RadiusResult, { summary }: Network): string {
  return table(
    [
      { title: 'class', align: 'left' },
      { title: 'margin', align: 'right' },
      { title: 'Lipschitz', align: 'right' },
      { title: 'quotient', align: 'right' },
      { title: 'method', align: 'left' },
    ],
    margins.map((margin) => [
      showClass(margin.class, summary),
      roundOutward(margin.margin, 'lower'),
      roundOutward(margin.lipschitz, 'upper'),
      round(margin.margin / margin.lipschitz),
      margin.method,
    ]),
  )
}
