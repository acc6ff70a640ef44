/** Requests and answers as they are on the wire. */
import type { BoundResult, NetworkSummary } from '../results.js'
import type { RadiusResult } from '../radius.js'
import type { BoundRequestOptions, RadiusRequestOptions, Task, TensorJson } from '../request.js'
import type { Tensor } from '../tensor.js'
import type { ErrorBody } from './failures.js'

/** A result as JSON has it: infinite numbers are null, tensors are `{ shape, data }`, all else is as it was. */
export type Json<Value> = Value extends number
  ? Value | null
  : Value extends Tensor
    ? { readonly shape: readonly number[]; readonly data: readonly number[] }
    : Value extends readonly (infer Entry)[]
      ? readonly Json<Entry>[]
      : Value extends object
        ? { readonly [Key in keyof Value]: Json<Value[Key]> }
        : Value

/** The body of `POST /models/:model/bound`: an input and the options of `net.bound`. */
export type BoundBody = { readonly input: TensorJson } & BoundRequestOptions

/** The body of `POST /models/:model/radius`: an input and the options of `net.certifiedRadius`. */
export type RadiusBody = { readonly input: TensorJson } & RadiusRequestOptions

/** The answer to a {@link BoundBody}: one bound, or as many as there are epsilons. */
export type BoundReply = Json<BoundResult> | readonly Json<BoundResult>[]

/** The answer to a {@link RadiusBody}. */
export type RadiusReply = Json<RadiusResult>

/** An item of a batch: an input, what is to come back with the outcome, and options of its own. */
export type BatchItemBody<Of extends Task = Task> = Partial<
  Of extends 'bound' ? BoundRequestOptions : RadiusRequestOptions
> & {
  readonly input: TensorJson
  readonly id?: string | number
}

/** The body of `POST /models/:model/batch` as one JSON document. */
export interface BatchBody<Of extends Task = Task> {
  readonly task: Of
  /** What all items are asked that do not say otherwise. */
  readonly options?: Partial<Of extends 'bound' ? BoundRequestOptions : RadiusRequestOptions>
  readonly items: readonly BatchItemBody<Of>[]
}

/** A line of the answer to a batch. */
export type BatchLine =
  | {
      readonly index: number
      readonly id?: string | number
      readonly ok: true
      readonly result: BoundReply | RadiusReply
    }
  | ({ readonly index: number; readonly id?: string | number; readonly ok: false } & ErrorBody)
  /** The last line of a batch that ended early. */
  | ({ readonly index?: undefined; readonly ok: false } & ErrorBody)

/** The query of a batch. */
export interface BatchQuery {
  /** Whether outcomes come in the order of the items: `true` (default) or `false`. */
  readonly ordered?: 'true' | 'false'
  /** What is asked, for JSON Lines. */
  readonly task?: Task
  /** JSON of what all items are asked, for JSON Lines. */
  readonly options?: string
}

/** What `GET /health` says. */
export interface HealthReply {
  readonly status: 'ready' | 'stopping'
  readonly version: string
  /** Computations that run. */
  readonly running: number
  /** Computations that wait for their turn. */
  readonly waiting: number
  /** Names of the models. */
  readonly models: readonly string[]
}

/** A model among all: an entry of what `GET /models` says. */
export interface ModelEntry {
  readonly name: string
  /** SHA-256 of what the network computes. */
  readonly digest: string
  readonly inputShape: readonly number[]
  readonly outputShape: readonly number[]
}

/** What `GET /models` says. */
export interface ModelsReply {
  readonly models: readonly ModelEntry[]
}

/** What `GET /models/:model` says. */
export interface ModelReply {
  readonly name: string
  readonly digest: string
  readonly summary: Json<NetworkSummary>
}
