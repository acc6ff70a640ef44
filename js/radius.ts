/** Certified radii: how far an input may move before the network's answer can change. */
import type { RunOptions } from './cancellation.js'
import type { BoundMethod } from './network.js'
import type { NormComputation } from './norm.js'
import type { CompositionMethod, Guarantee } from './results.js'
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
  /** Steps of each attack that looks for an input of another class; 0 for none. Default: 200. */
  attackSteps?: number | undefined
  /** Whether to return the input of another class that was found: {@link RadiusResult.adversarial}. */
  witness?: boolean | undefined
}

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
  /** There is no class to move to, or so many evaluations were made that more are not worth it. */
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
  /** Why the radius is 0; absent where it is not. */
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
