/** Norms of single layers, and the options every computation of norms takes. */
import { describeSingleLayer, isLayer } from './architecture.js'
import { run, throwIfAborted } from './cancellation.js'
import type { RunOptions } from './cancellation.js'
import type { Layer } from './layer.js'
import { native } from './native.js'
import type { NativeNormOptions } from './native.js'
import {
  argumentError,
  callback,
  count,
  oneOf,
  number,
  optional,
  parseOptions,
  positive,
  shape,
  signal,
} from './options.js'
import type { Guarantee, NormResult, Progress } from './results.js'

/** How norms are to be computed. */
export interface NormComputation {
  /** Relative width `(upper - lower) / upper` at which a bracket is narrow enough; between 0 and 1. Default 0.004. */
  tolerance?: number | undefined
  /**
   * Largest probability, over the random start vectors, that the upper end of the result is too small; from 1e-30
   * to 0.5. It is for the whole result: all norms in it share it. Default 1e-9.
   */
  failureProbability?: number | undefined
  /** Most steps to spend on one norm, up to 1,000,000. Default 1000. */
  maxSteps?: number | undefined
  /** Seed of all random choices, a non-negative integer. Default: drawn anew; the result tells which it was. */
  seed?: number | undefined
  /** `deterministic` asks for proofs only; `auto` (default) takes the narrowest bracket it finds. */
  guarantee?: 'auto' | Guarantee | undefined
  /** Seconds for each norm, after which to settle for the bracket there is. Default: none. */
  timeLimit?: number | undefined
}

/** Options of {@link norm}. */
export interface NormOptions extends NormComputation, RunOptions {
  /** Shape of the layer's input, without a batch dimension. */
  input: readonly number[]
}

/** The checks of the options shared by all computations. */
export const normSpecification = {
  tolerance: optional(number('a number greater than 0 and less than 1', (value) => value > 0 && value < 1)),
  failureProbability: optional(number('a number from 1e-30 to 0.5', (value) => value >= 1e-30 && value <= 0.5)),
  maxSteps: optional(
    number('an integer from 1 to 1000000', (value) => Number.isInteger(value) && value >= 1 && value <= 1_000_000),
  ),
  seed: optional(count),
  guarantee: optional(oneOf('auto', 'deterministic', 'probabilistic')),
  timeLimit: optional(positive),
  signal: optional(signal),
  onProgress: optional(callback<(progress: Progress) => unknown>()),
}

/** The part of parsed options that the native part wants, without what was left out. */
export function nativeNormOptions(parsed: NormComputation): NativeNormOptions {
  const { tolerance, failureProbability, maxSteps, seed, guarantee, timeLimit } = parsed
  const given = { tolerance, failureProbability, maxSteps, seed, guarantee, timeLimit }
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined))
}

/**
 * Computes the l2 operator norm of an affine layer (its bias does not matter) as a bracket: the largest `|A x| / |x|` over
 * inputs `x` of the given shape. {@link NormMethod} has what its upper end may rest on, with sources.
 *
 * @param layer - an affine layer, such as `conv2d({ ... })`
 * @param options - the shape of its input, and how to go about it
 * @returns a promise of the bracket
 * @throws {@link InputError} (by rejection) `ERR_LIPBOUND_ARGUMENT` for an unknown or malformed option,
 *   `ERR_LIPBOUND_SHAPE` where layer and input do not fit, `ERR_LIPBOUND_MODEL` for a layer that is not affine;
 *   `signal.reason` when aborted
 *
 * @example
 * ```ts
 * const { lower, upper } = await norm(conv2d({ weight, padding: 1 }), { input: [64, 224, 224] })
 * ```
 */
export async function norm(layer: Layer, options: NormOptions): Promise<NormResult> {
  throwIfAborted(options)
  const parsed = parseOptions('norm', options, { ...normSpecification, input: shape })
  if (!isLayer(layer)) throw argumentError('norm: layer', 'a layer, such as conv2d({ ... }) gives', layer)
  const { json, names, tensors } = describeSingleLayer(layer)
  const request = nativeNormOptions(parsed)
  return await run(
    parsed,
    (token, onProgress) => native.norm(json, names, tensors, [...parsed.input], request, token, onProgress),
    { operation: 'norm' },
  )
}
