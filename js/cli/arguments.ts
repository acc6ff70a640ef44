/** Options the commands share, and how their words become values. */
import { InvalidArgumentError, Option } from 'commander'
import type { Command } from 'commander'

import type { BoundMethod } from '../bound.js'
import { loadModel } from '../model.js'
import type { Network } from '../network.js'
import type { NormComputation } from '../norm.js'
import type { BatchWords } from './batch.js'

/** What every command gets beside its own options. */
export interface Context {
  /** Aborted by an interrupt, or by a reader of the output that has gone. */
  readonly signal: AbortSignal
}

/** The options of {@link addModelOptions}. */
export interface ModelWords {
  architecture?: string
  inputShape?: number[]
  output?: string
}

/** The options of {@link addNormOptions}. */
export type NormWords = NormComputation

/** Adds the model argument and what belongs to it. */
export function addModelOptions(command: Command): Command {
  return command
    .argument('<model>', 'an ONNX model (.onnx), an architecture (.json) or weights (.safetensors)')
    .option('--architecture <file>', 'architecture of a .safetensors model (default: the .json beside it)')
    .option('--input-shape <sizes>', 'shape of an input of a .onnx model that leaves it open: 3x224x224', toShape)
    .option('--output <tensor>', 'tensor of a .onnx model to take for its output (default: its only output)')
}

/** Adds `--input`, and how pictures become inputs. */
export function addInputOptions(command: Command): Command {
  return command
    .requiredOption(
      '--input <path...>',
      "centre of the ball: a .npy file, or a PNG or JPEG picture of the size of the network's input; or several of " +
        "them, directories that hold some, or patterns such as 'digits/*.png'",
    )
    .addOption(pictureOption('mean', 'is subtracted from pixels, which are between 0 and 1', 0))
    .addOption(pictureOption('std', 'the difference is then divided by', 1))
}

function pictureOption(name: string, meaning: string, fallback: number): Option {
  return new Option(
    `--${name} <numbers...>`,
    `what ${meaning}: one number, or one a channel (default: ${fallback})`,
  ).argParser<number[]>(toNumbers)
}

/** Adds the options that say how norms are computed; `--tolerance` is added where it is that of a norm. */
export function addNormOptions(command: Command, { tolerance = true } = {}): Command {
  if (tolerance) {
    command.option(
      '--tolerance <part>',
      'relative width, between 0 and 1, at which a norm is narrow enough (default: 0.004)',
      toNumber,
    )
  }
  return command
    .option(
      '--failure-probability <number>',
      'largest probability, from 1e-30 to 0.5, that a result is wrong (default: 1e-9)',
      toNumber,
    )
    .option('--max-steps <number>', 'most steps to spend on one norm, up to 1000000 (default: 1000)', toNumber)
    .option('--seed <number>', 'seed of the random choices, an integer >= 0 (default: drawn anew, and told)', toNumber)
    .addOption(guaranteeOption('proofs to ask for; auto takes the narrowest bracket there is'))
    .option(
      '--time-limit <seconds>',
      'seconds for each norm, after which to settle for what there is (default: none)',
      toNumber,
    )
}

/** `--guarantee`. */
export function guaranteeOption(meaning: string): Option {
  return new Option('--guarantee <kind>', meaning).choices(['auto', 'deterministic', 'probabilistic']).default('auto')
}

/** The options of {@link addBoundOptions}. */
export interface BoundWords extends ModelWords, NormWords {
  method: BoundMethod
  certificate?: string
  report?: string
  json?: boolean
}

/** Adds what local and global bounds are asked alike. */
export function addBoundOptions(command: Command): Command {
  addMethodOption(command, 'the product of the layers, one norm of the whole network, or what is affordable')
  addModelOptions(command)
  addNormOptions(command)
  addCertificateOption(command)
  return addReportOption(command)
}

/** Adds `--method`. */
export function addMethodOption(command: Command, meaning: string): Command {
  return command.addOption(
    new Option('--method <method>', `how to bound constants: ${meaning}`)
      .choices(['auto', 'layerwise', 'certificate'])
      .default('auto'),
  )
}

/** Adds `--kind`. */
export function addKindOption(command: Command): Command {
  return command.addOption(
    new Option(
      '--kind <kind>',
      'which constant: between the centre and any point of the ball, or between any two points',
    )
      .choices(['centred', 'uniform'])
      .default('centred'),
  )
}

/** Adds `--certificate`. */
function addCertificateOption(command: Command): Command {
  return command.option('--certificate <file>', 'write what others need to check the bounds: see lipbound help check')
}

/** Adds `--report`. */
export function addReportOption(command: Command): Command {
  return command.option('--report <file>', 'write a report with pictures, one HTML file that needs no other')
}

/** Adds `--json`. */
export function addJsonOption(command: Command): Command {
  return command.option('--json', 'print one JSON object, in full precision; infinite numbers are null')
}

/** Adds `--json` and `--jsonl`. */
export function addFormatOptions(command: Command): Command {
  return addJsonOption(command).addOption(
    new Option('--jsonl', 'print JSON Lines: an object for each input, in its line as soon as it is done').conflicts(
      'json',
    ),
  )
}

/** Opens the model a command was given. */
export function openModel(
  path: string,
  { architecture, inputShape, output }: ModelWords,
  { signal }: Context,
): Promise<Network> {
  return loadModel(path, { architecture, input: inputShape, output, signal })
}

/** The norm options among the options of a command. */
export function normOptions(words: NormWords): NormComputation {
  const { tolerance, failureProbability, maxSteps, seed, guarantee, timeLimit } = words
  return { tolerance, failureProbability, maxSteps, seed, guarantee, timeLimit }
}

/** Whether programs read what is printed. */
export function isForPrograms({ json, jsonl }: Pick<BatchWords, 'json' | 'jsonl'>): boolean {
  return json === true || jsonl === true
}

/** Reads a number; what numbers are allowed is for the library to say. */
export function toNumber(word: string): number {
  const value = word.trim() === '' ? NaN : Number(word)
  if (Number.isNaN(value)) throw new InvalidArgumentError('It is not a number.')
  return value
}

/** Reads a shape, written as it is printed. */
function toShape(word: string): number[] {
  if (!/^\d+(x\d+)*$/.test(word)) throw new InvalidArgumentError('A shape looks like 3x224x224.')
  return word.split('x').map(Number)
}

/** The same for an option that may be given several times or take several words. */
export function toNumbers(word: string, before: readonly number[] = []): number[] {
  return [...before, toNumber(word)]
}
