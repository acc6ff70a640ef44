/** What a bound is asked for: options, their checks, and how the native part wants them. */
import type { BatchControl } from './batch.js'
import type { RunOptions } from './cancellation.js'
import type { NativeBoundOptions } from './native.js'
import { nativeNormOptions, normSpecification } from './norm.js'
import type { NormComputation } from './norm.js'
import { argumentError, flag, nonNegative, number, numbers, oneOf, optional } from './options.js'
import type { BoundResult } from './results.js'

/** Options of {@link Network.globalBound}. */
export interface GlobalBoundOptions extends NormComputation, RunOptions {
  /** How to bound it; see {@link BoundMethod}. */
  method?: BoundMethod | undefined
  /** Linear functionals of the output to bound as well; see {@link BoundOptions.functionals}. */
  functionals?: readonly ArrayLike<number>[] | undefined
  /** Whether to add a certificate to the result; see {@link BoundOptions.certificate}. */
  certificate?: boolean | undefined
  /** Random directions in which to look for a lower end; see {@link BoundOptions.restarts}. */
  restarts?: number | undefined
  /** Whether to return points that attain `lower`; see {@link BoundOptions.witness}. */
  witness?: boolean | undefined
}

/**
 * How to bound a constant:
 *
 * - `layerwise`: the product of the layers' constants, as in the papers;
 * - `certificate`: one norm of the whole network, many times tighter, or the product where that is smaller;
 * - `auto` (default): the certificate where its predicted cost is acceptable. The result says which it was.
 */
export type BoundMethod = 'auto' | 'layerwise' | 'certificate'

/** Options of {@link Network.bound}. */
export interface BoundOptions extends NormComputation, RunOptions {
  /** Radius of the ball around the input, in the l2 norm and the units of the input; not negative. Or several. */
  epsilon: number | readonly number[]
  /**
   * Which constant to bound, over the ball of radius epsilon around the input `x0`:
   *
   * - `centred` (default): the largest `|f(x) - f(x0)| / |x - x0|`;
   * - `uniform`: the largest `|f(x) - f(x')| / |x - x'|`, both points in the ball.
   *
   * Source: Avant and Morgansen, arXiv 2008.06141 and 2104.14672, for `centred`.
   */
  kind?: 'centred' | 'uniform' | undefined
  /** How to bound it; see {@link BoundMethod}. */
  method?: BoundMethod | undefined
  /**
   * Linear functionals of the output to bound as well, each as one coefficient for every output: the difference of two
   * outputs, say, whose constant is what a margin needs. All of them share the work up to the last affine map, and each
   * gets a bound of its own in {@link BoundResult.functionals}.
   */
  functionals?: readonly ArrayLike<number>[] | undefined
  /**
   * Whether to add to each result what others need to check it: {@link BoundResult.certificate}. Every claim in it has
   * a little room for other machines' rounding, so that `upper` is larger by about a millionth a step. It is of the
   * whole output; functionals have none.
   */
  certificate?: boolean | undefined
  /**
   * Random directions from which to climb to a large `lower`, beside the one the Jacobian at the centre says. Default: 2,
   * and none for networks of more than five million multiply-adds, or that look linear in the ball. More find a larger
   * `lower`, or waste time.
   */
  restarts?: number | undefined
  /**
   * Whether to return points that attain `lower`: {@link BoundResult.witness}. `lower` is then their ratio, and not a
   * limit of ratios or that of points too close for single precision, which may be a little larger.
   */
  witness?: boolean | undefined
}

/** Options of {@link Network.bounds}: those of {@link Network.bound}, which items may have of their own, and of batches. */
export interface BoundsOptions<Epsilon extends number | readonly number[] = number | readonly number[]>
  extends Omit<BoundOptions, keyof RunOptions | 'epsilon'>, BatchControl {
  /** Radius of the balls, or several; where it is left out, each item has its own. */
  epsilon?: Epsilon | undefined
}

/** What an item of {@link Network.bounds} may have of its own. */
export interface BoundItemOptions<Epsilon extends number | readonly number[]> extends Omit<BoundOptions, 'epsilon'> {
  /** Radius of the ball, or several. */
  epsilon: Epsilon
}

/** A bound for a number; an array of them for an array. */
export type BoundAnswer<Epsilon extends number | readonly number[]> = Epsilon extends number
  ? BoundResult
  : BoundResult[]

const coefficient = numbers('a finite number', Number.isFinite)

/** What local and global bounds have in common. */
export const boundSpecification = {
  ...normSpecification,
  method: optional(oneOf('auto', 'layerwise', 'certificate')),
  functionals: optional(coefficients),
  certificate: optional(flag),
  restarts: optional(number('an integer from 0 to 10000', (v) => Number.isInteger(v) && v >= 0 && v <= 10_000)),
  witness: optional(flag),
}

/** Which constant of a ball. */
export const kindOfBall = optional(oneOf('centred', 'uniform'))

/** The same as the native part wants it. */
export function nativeBoundOptions(
  parsed: NormComputation & {
    method?: BoundMethod | undefined
    functionals?: Float64Array[] | undefined
    certificate?: boolean | undefined
    restarts?: number | undefined
    witness?: boolean | undefined
  },
): NativeBoundOptions {
  const { method = 'auto', functionals, certificate = false, restarts, witness = false } = parsed
  return {
    method,
    norm: nativeNormOptions(parsed),
    ...(functionals && { functionals }),
    certificate,
    ...(restarts !== undefined && { restarts }),
    witness,
  }
}

/** Functionals, each an array of coefficients. That there is one for each output is checked by the native part. */
function coefficients(value: unknown, subject: string): Float64Array[] {
  if (!Array.isArray(value)) throw argumentError(subject, 'an array of arrays of finite numbers', value)
  return value.map((entry, index) => coefficient(entry, `${subject}[${index}]`))
}

/** One radius, or some. */
export function radii(value: unknown, subject: string): number | readonly number[] {
  if (!Array.isArray(value)) return nonNegative(value, subject)
  if (value.length === 0) throw argumentError(subject, 'a finite number >= 0 or a non-empty array of them', value)
  return value.map((entry, index) => nonNegative(entry, `${subject}[${index}]`))
}
