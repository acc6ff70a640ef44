/** Certified radii: how far an input may move before the network's answer can change. */
import type { BatchControl } from './batch.js'
import type { BoundMethod } from './bound.js'
import type { RunOptions } from './cancellation.js'
import type { NativeRadius, NativeRadiusOptions, NativeTensor } from './native.js'
import { nativeNormOptions, normSpecification } from './norm.js'
import type { NormComputation } from './norm.js'
import { argumentError, count, flag, number, oneOf, optional, parseOptions, positive } from './options.js'
import type { Check, Parsed } from './options.js'
import type { CompositionMethod, Guarantee, NetworkSummary } from './results.js'
import { toNative, toTensor } from './tensor.js'
import type { Tensor, TensorLike } from './tensor.js'

/** Inputs that can occur, element by element: `lower <= x <= upper`, in the units of the network's input. */
export interface InputBox {
  /** One number for all elements, or a tensor of the input's shape. */
  lower: number | TensorLike
  /** The same. */
  upper: number | TensorLike
}

/** Options of {@link Network.certifiedRadius}. */
export interface RadiusOptions extends Omit<NormComputation, 'tolerance'>, RunOptions {
  /**
   * The right class, from 0. Where the network answers another one, the radius is 0 with the reason. Default: what
   * the network answers.
   */
  label?: number | undefined
  /** Inputs that can occur; only those count. The input itself must be inside. Default: all. */
  inputBox?: InputBox | undefined
  /** Largest radius of interest; the search ends there. Default: no limit. */
  maximum?: number | undefined
  /** Relative width at which the search ends: a radius larger by this part could not be certified. Default: 0.01. */
  tolerance?: number | undefined
  /** How to bound the constants of the margins; see {@link BoundMethod}. */
  method?: BoundMethod | undefined
  /**
   * Steps of each of the attacks that look for an input of another class; 0 for none. Default: 200, and fewer for large
   * networks.
   */
  attackSteps?: number | undefined
  /** Whether to return the input of another class that was found: {@link RadiusResult.adversarial}. */
  witness?: boolean | undefined
}

/** Options of {@link Network.certifiedRadii}: those of {@link Network.certifiedRadius}, and of batches. */
export interface RadiiOptions extends Omit<RadiusOptions, keyof RunOptions>, BatchControl {}

/** What is known of one class beside the label. */
export interface MarginReport {
  /** The other class. */
  readonly class: number
  /** How far the label's output is above this class's at the input, rounded down. */
  readonly margin: number
  /** Upper bound of the Lipschitz constant of that difference, over the ball of the last successful evaluation. */
  readonly lipschitz: number
  /** How `lipschitz` was bounded. */
  readonly method: CompositionMethod
}

/** Why a radius is 0. */
export type ZeroRadiusReason =
  /** The network answers another class than `label`. */
  | 'misclassified'
  /** Another class's output is as large as the label's, or not certainly smaller. */
  | 'tied'

/** Why the search for a radius ended. */
export type RadiusTermination =
  /** A radius larger by `tolerance` could not be certified. */
  | 'converged'
  /** Everything up to `maximum`, or all that the box allows, is certified. */
  | 'maximum'
  /** So many evaluations were made that more are not worth it. */
  | 'evaluation-limit'
  /** The radius is 0; {@link RadiusResult.reason} says why. */
  | 'zero'

/**
 * A certified radius, between what is proved and what is known to be impossible.
 *
 * Radii are in the l2 norm and the units of the network's input. For a network with one output the classes are 0
 * (negative) and 1 (positive).
 */
export interface RadiusResult {
  /** Every input (in the box) at most this far away has the label's output above all others. */
  readonly radius: number
  /** An input at this distance was found that has not; `Infinity` where none was found. */
  readonly attackRadius: number
  /** The class whose answer is certified. */
  readonly label: number
  /** The class the network answers at the input; the first of those that are equal. */
  readonly predicted: number
  /** The class that limits the radius; absent where none does. */
  readonly bindingClass?: number
  /** Why nothing is certified; absent where something is, be it only the input itself in a box without room. */
  readonly reason?: ZeroRadiusReason
  /** Why the search ended. */
  readonly termination: RadiusTermination
  /** The classes beside the label, the smallest quotient of margin and constant first; empty where the radius is 0. */
  readonly margins: readonly MarginReport[]
  /** Bounds that were evaluated, each at one epsilon. */
  readonly evaluations: number
  /** What the constant of the binding class rests on. */
  readonly method: CompositionMethod
  /** How sure `radius` is. */
  readonly guarantee: Guarantee
  /** The probability that `radius` is too large; 0 where the guarantee is deterministic. */
  readonly failureProbability: number
  /** Seed of every random choice: the same seed gives the same result. */
  readonly seed: number
  /** Seconds spent. */
  readonly seconds: number
  /** What to know of the network: {@link NetworkSummary.notes}. */
  readonly notes: readonly string[]
  /** The input of another class at `attackRadius`, evaluated in double precision; only where it was asked for and found. */
  readonly adversarial?: Tensor
  /** The class that the network answers there; with `adversarial`. */
  readonly adversarialClass?: number
}

/** One end of a box: a number for all elements, or a tensor. */
const boxEnd: Check<number | Tensor> = (value, subject) => {
  if (typeof value !== 'number') return toTensor(value, subject)
  if (!Number.isFinite(value)) throw argumentError(subject, "a finite number or a tensor of the input's shape", value)
  return value
}

const box: Check<{ lower: number | Tensor; upper: number | Tensor }> = (value, subject) =>
  parseOptions(subject, value, { lower: boxEnd, upper: boxEnd })

/** The checks of the options of a radius. */
export const radiusSpecification = {
  ...normSpecification,
  label: optional(count),
  inputBox: optional(box),
  maximum: optional(positive),
  tolerance: optional(number('a number greater than 0 and less than 1', (value) => value > 0 && value < 1)),
  method: optional(oneOf('auto', 'layerwise', 'certificate')),
  attackSteps: optional(number('an integer from 0 to 100000', (v) => Number.isInteger(v) && v >= 0 && v <= 100_000)),
  witness: optional(flag),
}

/** The same as the native part wants them. */
export function nativeRadiusOptions(
  parsed: Parsed<typeof radiusSpecification>,
  { inputShape, outputShape }: Pick<NetworkSummary, 'inputShape' | 'outputShape'>,
): NativeRadiusOptions {
  const { label, inputBox, maximum, tolerance = 0.01, method = 'auto', attackSteps, witness = false } = parsed
  const outputs = outputShape.reduce((product, extent) => product * extent, 1)
  const classes = Math.max(2, outputs)
  if (label !== undefined && label >= classes) {
    const which = outputs === 1 ? '0 (negative) or 1 (positive), the network having one output' : `0 to ${classes - 1}`
    throw argumentError("certifiedRadius: option 'label'", `a class: ${which}`, label)
  }
  const end = (value: number | Tensor): NativeTensor => {
    if (typeof value !== 'number') return toNative(value)
    const size = inputShape.reduce((product, extent) => product * extent, 1)
    return { shape: [...inputShape], data: new Float64Array(size).fill(value) }
  }
  return {
    ...(label !== undefined && { label }),
    ...(inputBox && { lower: end(inputBox.lower), upper: end(inputBox.upper) }),
    ...(maximum !== undefined && { maximum }),
    tolerance,
    method,
    // The tolerance of a radius is not that of its norms.
    norm: nativeNormOptions({ ...parsed, tolerance: undefined }),
    ...(attackSteps !== undefined && { attackSteps }),
    witness,
  }
}

/** A radius with what to know of its network. */
export function toRadiusResult(result: NativeRadius, { notes }: Pick<NetworkSummary, 'notes'>): RadiusResult {
  return { ...result, notes }
}
