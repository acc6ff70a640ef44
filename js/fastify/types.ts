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
    ? {
        /** Extents of the tensor. */
        readonly shape: readonly number[]
        /** Its numbers in row-major order. */
        readonly data: readonly number[]
      }
    : Value extends readonly (infer Entry)[]
      ? readonly Json<Entry>[]
      : Value extends object
        ? { readonly [Key in keyof Value]: Json<Value[Key]> }
        : Value

/** The body of `POST /models/:model/bound`: an input and the options of `net.bound`. */
export type BoundBody = {
  /** The input: the centre of the ball. */
  readonly input: TensorJson
} & BoundRequestOptions

/** The body of `POST /models/:model/radius`: an input and the options of `net.certifiedRadius`. */
export type RadiusBody = {
  /** The input. */
  readonly input: TensorJson
} & RadiusRequestOptions

/** The answer to a {@link BoundBody}: one bound, or as many as there are epsilons. */
export type BoundReply = Json<BoundResult> | readonly Json<BoundResult>[]

/** The answer to a {@link RadiusBody}. */
export type RadiusReply = Json<RadiusResult>

/** An item of a batch: an input, what is to come back with the outcome, and options of its own. */
export type BatchItemBody<Of extends Task = Task> = Partial<
  Of extends 'bound' ? BoundRequestOptions : RadiusRequestOptions
> & {
  /** The input. */
  readonly input: TensorJson
  /** What comes back with the outcome. */
  readonly id?: string | number
}

/** The body of `POST /models/:model/batch` as one JSON document. */
export interface BatchBody<Of extends Task = Task> {
  /** What all items are asked: a bound, or a radius. */
  readonly task: Of
  /** What all items are asked that do not say otherwise. */
  readonly options?: Partial<Of extends 'bound' ? BoundRequestOptions : RadiusRequestOptions>
  /** The inputs, in the order in which they are answered unless the query says otherwise. */
  readonly items: readonly BatchItemBody<Of>[]
}

/** A line of the answer to a batch. */
export type BatchLine =
  | {
      /** Place of the item among all, from 0. */
      readonly index: number
      /** What the item gave as such. */
      readonly id?: string | number
      /** There is a result. */
      readonly ok: true
      /** The answer. */
      readonly result: BoundReply | RadiusReply
    }
  | ({
      /** Place of the item among all, from 0. */
      readonly index: number
      /** What the item gave as such. */
      readonly id?: string | number
      /** There is none. */
      readonly ok: false
    } & ErrorBody)
  /** The last line of a batch that ended early. */
  | ({
      /** Absent: the line is of no item. */
      readonly index?: undefined
      /** The batch ended early. */
      readonly ok: false
    } & ErrorBody)

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
  /** Whether new work is taken. */
  readonly status: 'ready' | 'stopping'
  /** Of lipbound. */
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
  /** Its name in routes. */
  readonly name: string
  /** SHA-256 of what the network computes. */
  readonly digest: string
  /** Shape of one input, without a batch dimension. */
  readonly inputShape: readonly number[]
  /** Shape of one output. */
  readonly outputShape: readonly number[]
}

/** What `GET /models` says. */
export interface ModelsReply {
  /** All of them. */
  readonly models: readonly ModelEntry[]
}

/** What `GET /models/:model` says. */
export interface ModelReply {
  /** Its name in routes. */
  readonly name: string
  /** SHA-256 of what the network computes. */
  readonly digest: string
  /** What the network is made of: `Network.summary`. */
  readonly summary: Json<NetworkSummary>
}
