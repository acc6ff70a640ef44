/** Options the commands share, and how their words become values. */
import { InvalidArgumentError, Option } from 'commander'
import type { Command } from 'commander'

import { loadModel } from '../model.js'
import type { BoundMethod, Network } from '../network.js'
import type { NormComputation } from '../norm.js'

/** What every command gets beside its own options. */
export interface Context {
  /** Aborted by an interrupt. */
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
    .option('--architecture <file>', 'architecture of a .safetensors model; default: the .json beside it')
    .option('--input-shape <sizes>', 'shape of an input of a .onnx model that leaves it open: 3x224x224', toShape)
    .option('--output <tensor>', 'tensor of a .onnx model to take for its output; default: its only output')
}

/** Adds the options that say how norms are computed. */
export function addNormOptions(command: Command): Command {
  return command
    .option('--tolerance <number>', 'relative width at which a norm is narrow enough', toNumber)
    .option('--failure-probability <number>', 'largest probability that the upper bound is wrong', toNumber)
    .option('--max-steps <number>', 'most steps to spend on one norm', toNumber)
    .option('--seed <number>', 'seed of the random choices', toNumber)
    .addOption(guaranteeOption())
    .option('--time-limit <seconds>', 'seconds for each norm, after which to settle for what there is', toNumber)
}

/** `--guarantee`. */
export function guaranteeOption(): Option {
  return new Option('--guarantee <kind>', 'what kind of proof to ask for').choices([
    'auto',
    'deterministic',
    'probabilistic',
  ])
}

/** The options of {@link addBoundOptions}. */
export interface BoundWords extends ModelWords, NormWords {
  method: BoundMethod
  certificate?: string
  json?: boolean
}

/** Adds what local and global bounds are asked alike. */
export function addBoundOptions(command: Command): Command {
  addMethodOption(command)
  addModelOptions(command)
  addNormOptions(command)
  addCertificateOption(command)
  return addJsonOption(command)
}

/** Adds `--method`. */
function addMethodOption(command: Command): Command {
  return command.addOption(
    new Option('--method <method>', 'how to bound it').choices(['auto', 'layerwise', 'certificate']).default('auto'),
  )
}

/** Adds `--certificate`. */
function addCertificateOption(command: Command): Command {
  return command.option('--certificate <file>', 'write what others need to check the bound: see lipbound check')
}

/** Adds `--json`. */
export function addJsonOption(command: Command): Command {
  return command.option('--json', 'print one JSON object')
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
