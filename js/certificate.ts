/** Certificates: what a bound claims, stage by stage. docs/certificate-format.md has the format. */
import type { RunOptions } from './cancellation.js'
import { InputError } from './errors.js'
import type { NormComputation } from './norm.js'
import { argumentError } from './options.js'
import type { BoundKind } from './results.js'

/**
 * A bound with all that is needed to check it. Plain data: `JSON.stringify` writes it, `JSON.parse` reads it, and
 * {@link Network.check} trusts none of it. JSON has no infinity: `null` stands for it.
 */
export interface Certificate {
  /** What the document is. */
  readonly format: 'lipbound-certificate'
  /** Of the format; a reader refuses others. */
  readonly version: 1
  /** SHA-256 of all that is claimed: damage is found, but whoever changes a claim can change this too. */
  readonly digest: string
  /** {@link Network.digest} of the network. */
  readonly network: string
  /** Which constant. */
  readonly kind: BoundKind
  /** Radius of the ball; `null` for a global bound. */
  readonly epsilon: number | null
  /** Centre of the ball; empty for a global bound. */
  readonly centre: readonly number[]
  /** Whether ranges of units were refined path by path. */
  readonly paths: boolean
  /** The constant is at most this. */
  readonly upper: number | null
  /** What is claimed of each step, in the order of {@link BoundResult.layers}. */
  readonly stages: readonly StageClaims[]
}

/** What a certificate claims of a step; it may rest on what is claimed of those before. */
export interface StageClaims {
  /** Name of the step, for people. */
  readonly name: string
  /** The step's own constant is at most this; absent where it has no affine map. */
  readonly norm?: number | null
  /** Intervals that contain all slopes of each unit over the ball. */
  readonly slopes?: {
    /** The lower end of each unit's interval, in the order of rows. */
    readonly low: readonly number[]
    /** The upper end. */
    readonly high: readonly number[]
  }
  /** For a max pool, the elements of each window that may be its maximum, in the order in which they join. */
  readonly candidates?: readonly (readonly number[])[]
  /** A constant of the network up to here as a whole, where that is smaller than the product. */
  readonly whole?: WholeClaim
  /** The constant from the network's input to the output of this step is at most this. */
  readonly gain: number | null
  /** The output of this step stays in a ball of this radius. */
  readonly radius: number | null
}

/** The theorem of docs/certificate.md with the numbers put in. */
export interface WholeClaim {
  /** The scale of the input. */
  readonly kappa: number
  /** Levels from the input to the output: the exponent of the theorem. */
  readonly height: number
  /** The norm of the operator is at most this. */
  readonly sigma: number
  /** The constant that follows. */
  readonly bound: number
  /** The weights of the units that can reach the output, in order. */
  readonly weights: readonly number[]
}

/** Options of {@link Network.check}. */
export interface CheckOptions extends Omit<NormComputation, 'tolerance'>, RunOptions {
  /**
   * Largest probability, over the seed of the check, that a wrong bound is accepted; from 1e-30 to 0.5. Default 1e-9.
   */
  failureProbability?: number | undefined
  /** Most steps to spend on one norm before a claim counts as not verified, up to 1,000,000. Default 10,000. */
  maxSteps?: number | undefined
  /**
   * Seed of the check, a non-negative integer. Default: drawn anew. Give one only to repeat a check: whoever knows the
   * seed before making a certificate could make a wrong one that passes.
   */
  seed?: number | undefined
  /** `deterministic` accepts only what can be proved without chance. Default `auto`. */
  guarantee?: NormComputation['guarantee']
  /** Seconds for each norm, after which a claim counts as not verified. Default: none. */
  timeLimit?: number | undefined
}

/** The JSON text of what a caller says is a certificate. */
export function certificateText(value: unknown): string {
  if (typeof value !== 'object' || value === null || Array.isArray(value) || ArrayBuffer.isView(value)) {
    throw argumentError('check: certificate', 'a certificate, as bound() gives it', value)
  }
  try {
    return JSON.stringify(value)
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    const message = `check: certificate cannot be written as JSON: ${reason}`
    throw new InputError('ERR_LIPBOUND_ARGUMENT', message, { cause: error })
  }
}
