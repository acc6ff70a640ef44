/** How much a service gives to each, and to all together. */
import { native } from '../native.js'
import { argumentError, optional, parseOptions, positive, positiveInteger } from '../options.js'
import type { Check } from '../options.js'

/** What a service can be asked for, and how much of it at a time. */
export interface ServiceLimits {
  /** Bytes of a JSON body. Parsing them keeps the event loop busy: a third of a second for the default, 16 MiB. */
  readonly bodyBytes: number
  /** Bytes of all JSON bodies together that are being received or worked on. Default: 64 MiB. */
  readonly heldBytes: number
  /** Bytes of a line in a batch of JSON Lines. Default: 4 MiB. */
  readonly lineBytes: number
  /** Epsilons of a request or an item. Default: 100. */
  readonly epsilons: number
  /** Functionals of a request or an item. Default: 100. */
  readonly functionals: number
  /** `maxSteps` that may be asked for. Default: 10,000. */
  readonly maxSteps: number
  /** `restarts` that may be asked for. Default: 100. */
  readonly restarts: number
  /** `attackSteps` that may be asked for. Default: 2,000. */
  readonly attackSteps: number
  /** Seconds for the answer to a request, those among them in which it waits for its turn. Default: 120. */
  readonly seconds: number
  /** Seconds for a body to arrive; in batches, for more of it to arrive, or for the reader to take something. Default: 30. */
  readonly idleSeconds: number
  /** Computations at a time. Default: the job threads. */
  readonly computations: number
  /** Requests that wait for their turn. Default: 32. */
  readonly waiting: number
  /** Batches at a time. Default: 4. */
  readonly batches: number
  /** Computations at a time for all batches together. Default: half of all, and at least one. */
  readonly batchComputations: number
  /** Items of a batch. Default: 10,000. */
  readonly batchItems: number
  /** Seconds for a batch. Default: 3,600. */
  readonly batchSeconds: number
}

const MEBIBYTE = 2 ** 20

/** The limits where nothing else is said. */
export function defaultLimits(): ServiceLimits {
  const computations = Math.max(1, native.threads())
  return {
    bodyBytes: 16 * MEBIBYTE,
    heldBytes: 64 * MEBIBYTE,
    lineBytes: 4 * MEBIBYTE,
    epsilons: 100,
    functionals: 100,
    maxSteps: 10_000,
    restarts: 100,
    attackSteps: 2000,
    seconds: 120,
    idleSeconds: 30,
    computations,
    waiting: 32,
    batches: 4,
    batchComputations: half(computations),
    batchItems: 10_000,
    batchSeconds: 3600,
  }
}

/** A batch leaves places for single requests, where there is more than one. */
const half = (computations: number): number => Math.max(1, Math.floor(computations / 2))

const isCount = optional(positiveInteger)
const isSeconds: Check<number | undefined> = (value, subject) => {
  const seconds = optional(positive)(value, subject)
  // Longer than timers can be.
  if (seconds !== undefined && seconds > 2_000_000) throw argumentError(subject, 'at most 2000000 seconds', value)
  return seconds
}

const specification = {
  bodyBytes: isCount,
  heldBytes: isCount,
  lineBytes: isCount,
  epsilons: isCount,
  functionals: isCount,
  maxSteps: isCount,
  restarts: isCount,
  attackSteps: isCount,
  seconds: isSeconds,
  idleSeconds: isSeconds,
  computations: isCount,
  waiting: isCount,
  batches: isCount,
  batchComputations: isCount,
  batchItems: isCount,
  batchSeconds: isSeconds,
} satisfies Record<keyof ServiceLimits, Check<number | undefined>>

/**
 * Fills in what was left out.
 *
 * @throws {@link InputError} `ERR_LIPBOUND_ARGUMENT` for a limit that is unknown or no positive number
 */
export function toLimits(where: string, given: Partial<ServiceLimits> = {}): ServiceLimits {
  const parsed = parseOptions(`${where}: limits`, given, specification)
  const told = Object.fromEntries(Object.entries(parsed).filter(([, value]) => value !== undefined))
  const { computations = defaultLimits().computations } = parsed
  return { ...defaultLimits(), batchComputations: half(computations), ...told }
}
