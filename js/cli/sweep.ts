/** `lipbound sweep`: bounds over a range of epsilons, as a table and as a picture. */
import { extname } from 'node:path'

import { Option } from 'commander'
import type { Command } from 'commander'

import type { BoundMethod } from '../bound.js'
import { InputError } from '../errors.js'
import type { SweepResult } from '../sweep.js'
import {
  addInputOptions,
  addJsonOption,
  addKindOption,
  addMethodOption,
  addModelOptions,
  addNormOptions,
  addReportOption,
  normOptions,
  openModel,
  toNumber,
} from './arguments.js'
import type { Context, ModelWords, NormWords } from './arguments.js'
import { checkWritable, writeOutput } from './files.js'
import { examples } from './help.js'
import { findInputs, openInput } from './inputs.js'
import type { PictureWords } from './inputs.js'
import { jsonText, print, printJson, round, roundOutward, showGuarantees, showNotes, table } from './output.js'
import type { Column } from './output.js'
import { ProgressLine } from './progress.js'
import { drawing, writeReport } from './report.js'

interface Words extends ModelWords, NormWords, PictureWords {
  input: string[]
  from: number
  to: number
  points?: number
  scale?: 'log' | 'linear'
  kind: 'centred' | 'uniform'
  method: BoundMethod
  theme: 'light' | 'dark'
  out?: string
  report?: string
  json?: boolean
}

/** A sweep and the file of the input it is around. */
interface Answer extends SweepResult {
  input: string
}

/** Adds the command to the program. */
export function addSweepCommand(program: Command, context: Context): void {
  const command = program
    .command('sweep')
    .summary('bound over a range of epsilons, and draw the curves')
    .description('Bounds the local Lipschitz constant around one input over a range of radii, method beside method.')
  addInputOptions(command)
    .requiredOption('--from <radius>', "smallest epsilon, in the units of the network's input", toNumber)
    .requiredOption('--to <radius>', 'largest epsilon', toNumber)
    .option('--points <number>', 'how many epsilons, at least 2, both ends among them (default: 25)', toNumber)
    .addOption(new Option('--scale <scale>', 'how they are spaced (default: log)').choices(['log', 'linear']))
  addKindOption(command)
  addMethodOption(command, 'layerwise has no curve of certificates, certificate has both, auto both where affordable')
    .option('--out <file>', 'write the curves too: a picture (.svg, .png) or numbers (.json, .csv)')
    .addOption(new Option('--theme <theme>', 'colours of the picture').choices(['light', 'dark']).default('light'))
  addNormOptions(addModelOptions(command))
  addJsonOption(addReportOption(command))
  examples(command, [
    ['sweep model.onnx --input eight.npy --from 0.001 --to 10 --out curve.svg'],
    ['sweep model.onnx --input eight.npy --from 0.1 --to 1 --points 10 --scale linear --out curve.csv'],
    ['sweep model.onnx --input eight.npy --from 0.001 --to 10 --report sweep.html'],
  ])
  command.action((model: string, words: Words) => sweep(model, words, context))
}

async function sweep(model: string, words: Words, context: Context): Promise<void> {
  const write = writerFor(words.out)
  await checkWritable('--out', words.out)
  await checkWritable('--report', words.report)
  const [input, ...others] = await findInputs(words.input)
  if (input === undefined || others.length > 0) {
    const message = `--input: a sweep is around one input, but there are ${others.length + 1}`
    throw new InputError('ERR_LIPBOUND_ARGUMENT', message)
  }
  using network = await openModel(model, words, context)
  const centre = await openInput(input, network, words)
  const { from, to, points, scale, kind, method } = words
  const result = await new ProgressLine().part(undefined, (onProgress) =>
    network.sweep(centre, {
      ...normOptions(words),
      from,
      to,
      points,
      scale,
      kind,
      method,
      signal: context.signal,
      onProgress,
    }),
  )
  const answer = { input, ...result }
  if (words.json) printJson(answer)
  else print(asText(answer))
  if (words.out !== undefined) await writeOutput(words.out, await write(answer, words.theme), 'the curves')
  await writeReport(words.report, { network, file: model, sweeps: [answer] })
}

type Write = (answer: Answer, theme: Words['theme']) => string | Uint8Array | Promise<string | Uint8Array>

/** What a file of some name is to hold. */
const writers: Record<string, Write> = {
  '.svg': async (answer, theme) => (await drawing()).sweepPicture(answer, { theme }),
  '.png': async (answer, theme) => {
    const { sweepPicture, toPng } = await drawing()
    return toPng(await sweepPicture(answer, { theme }))
  },
  '.json': (answer) => `${jsonText(answer)}\n`,
  '.csv': asCsv,
}

function writerFor(file = '.json'): Write {
  // A name like .svg alone has no extension.
  const write = writers[(extname(file) || file).toLowerCase()]
  if (write !== undefined) return write
  const kinds = Object.keys(writers).join(', ')
  throw new InputError('ERR_LIPBOUND_ARGUMENT', `--out: a file must be called ${kinds}, got ${file}`)
}

/** The curves in full precision; a cell is empty where there is no such bound, and `inf` where there is no number. */
function asCsv({ points, global }: Answer): string {
  const cell = (value: number | undefined): string =>
    value === undefined ? '' : Number.isFinite(value) ? String(value) : 'inf'
  const rows = points.map(({ epsilon, lower, layerwise, certificate }) =>
    [epsilon, lower, layerwise.upper, certificate?.upper, global.upper].map(cell).join(','),
  )
  return `epsilon,lower,layerwise,certificate,global\n${rows.join('\n')}\n`
}

function asText({ input, points, global, kind, seed, notes }: Answer): string {
  const certified = points.some(({ certificate }) => certificate !== undefined)
  const columns: Column[] = [
    { title: 'epsilon', align: 'right' },
    { title: 'lower', align: 'right' },
    ...(certified ? [{ title: 'certificate', align: 'right' } as const] : []),
    { title: 'layerwise', align: 'right' },
  ]
  const rows = points.map(({ epsilon, lower, layerwise, certificate }) => [
    round(epsilon),
    lower === 0 ? '-' : roundOutward(lower, 'lower'),
    ...(certified ? [certificate === undefined ? '-' : roundOutward(certificate.upper, 'upper')] : []),
    roundOutward(layerwise.upper, 'upper'),
  ])
  const bounds = [...points.map((point) => point.certificate ?? point.layerwise), global]
  return [
    `${kind} local Lipschitz bounds around ${input}, l2`,
    '',
    table(columns, rows),
    '',
    `over the whole space: at most ${roundOutward(global.upper, 'upper')} (${global.method})`,
    `guarantee: ${showGuarantees(bounds)}; seed: ${seed}`,
    ...showNotes({ notes }),
  ].join('\n')
}
