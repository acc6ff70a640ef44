/** Bounds over a range of epsilons, method beside method: the curves of the papers' figures. */
import type { BoundMethod } from './bound.js'
import type { RunOptions } from './cancellation.js'
import { InputError } from './errors.js'
import { normSpecification } from './norm.js'
import type { NormComputation } from './norm.js'
import { nonNegative, number, oneOf, optional, positive } from './options.js'
import type { BoundResult } from './results.js'

/** Options of {@link Network.sweep}. */
export interface SweepOptions extends NormComputation, RunOptions {
  /** The smallest epsilon; positive if the scale is logarithmic. */
  from: number
  /** The largest epsilon. */
  to: number
  /** How many epsilons, at least 2, both ends among them. Default: 25. */
  points?: number | undefined
  /** How they are spaced. Default: `log`. */
  scale?: 'log' | 'linear' | undefined
  /** Which constant; see {@link BoundOptions.kind}. */
  kind?: 'centred' | 'uniform' | undefined
  /**
   * Which curves: `layerwise` leaves out certificates, `certificate` has both, `auto` (default) has both where the
   * predicted cost of certificates is acceptable.
   */
  method?: BoundMethod | undefined
}

/** What a sweep found at one epsilon. */
export interface SweepPoint {
  /** Radius of the ball. */
  readonly epsilon: number
  /** The largest ratio that was attained inside it. */
  readonly lower: number
  /** The product of the layers' constants. */
  readonly layerwise: BoundResult
  /** The certificate, or the product where that is smaller; absent where no certificates were made. */
  readonly certificate?: BoundResult
}

/** Bounds over a range of epsilons. */
export interface SweepResult {
  /** In the order of growing epsilon. */
  readonly points: readonly SweepPoint[]
  /** The bound over the whole space, by the same method. */
  readonly global: BoundResult
  /** Which constant. */
  readonly kind: 'centred' | 'uniform'
  /** Seed of every random choice: the same seed gives the same result. */
  readonly seed: number
  /** Seconds spent. */
  readonly seconds: number
  /** What to know of the network: {@link NetworkSummary.notes}. */
  readonly notes: readonly string[]
}

/** The checks of the options of a sweep. */
export const sweepSpecification = {
  ...normSpecification,
  kind: optional(oneOf('centred', 'uniform')),
  method: optional(oneOf('auto', 'layerwise', 'certificate')),
  from: nonNegative,
  to: positive,
  points: optional(
    number('an integer from 2 to 10000', (value) => Number.isInteger(value) && value >= 2 && value <= 10_000),
  ),
  scale: optional(oneOf('log', 'linear')),
}

/** The epsilons of a sweep; both ends exactly as they were given. */
export function epsilonsOf({
  from,
  to,
  points = 25,
  scale = 'log',
}: Pick<SweepOptions, 'from' | 'to' | 'points' | 'scale'>): number[] {
  const refuse = (message: string): never => {
    throw new InputError('ERR_LIPBOUND_ARGUMENT', `sweep: ${message}`)
  }
  if (from >= to) refuse(`option 'from' must be less than 'to', got ${from} and ${to}`)
  if (scale === 'log' && from === 0) {
    refuse("option 'from' must be greater than 0 where the scale is logarithmic; scale: 'linear' can begin at 0")
  }
  return Array.from({ length: points }, (_, index) => {
    const share = index / (points - 1)
    if (index === 0) return from
    if (index === points - 1) return to
    const epsilon = scale === 'log' ? from * (to / from) ** share : from + (to - from) * share
    // So that 0.01 is among the epsilons from 0.001 to 0.1, and not its neighbour.
    const round = Number(epsilon.toPrecision(12))
    return round > from && round < to ? round : epsilon
  })
}
