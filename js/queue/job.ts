/** Jobs: what is in them, what they and their queues are called, and how they say that they failed. */
import { createRequire } from 'node:module'

import { InputError, InternalError, errorTable } from '../errors.js'
import type { ErrorCode, InputErrorCode, LipboundError } from '../errors.js'
import { expecting } from '../options.js'
import type { Task, TensorJson } from '../request.js'
import type { Tensor } from '../tensor.js'

const { version } = createRequire(import.meta.url)('../../package.json') as { version: string }

/** The version of this package: another one may answer otherwise. */
export const packageVersion = version

/** What is in a job. */
export interface JobData {
  /** The version of the package that is to answer. */
  readonly version: string
  /** The digest of the network. */
  readonly model: string
  readonly task: Task
  readonly input: TensorJson
  /** The options of the task. */
  readonly options: Readonly<Record<string, unknown>>
}

/** What a worker tells of a job now and then. */
export interface JobProgress {
  /** How much of it is done, from 0 to 1. */
  readonly done: number
  /** What it is at. */
  readonly stage: string
}

/** A job by its id and the time at which it was put in: it may be taken out and put in again, and is then another one. */
export function lifeOf({
  id = '',
  timestamp,
}: {
  readonly id?: string | undefined
  readonly timestamp: number
}): string {
  return `${id}@${timestamp}`
}

/** The name of queues unless they are given one. */
export const DEFAULT_QUEUE = 'lipbound'

/** What a queue may be called; BullMQ has a use for colons. */
export const queueNameOption = expecting(
  'a name of letters, digits, dots, dashes and underscores',
  (value): value is string => typeof value === 'string' && /^[\w.-]+$/.test(value),
)

/** What `Network.digest` looks like. */
export const digestOption = expecting(
  'a network, or its digest: 64 hexadecimal digits',
  (value): value is string => typeof value === 'string' && /^[0-9a-f]{64}$/.test(value),
)

/**
 * The queue of a model. Each has its own, and so does each version of the package, so that a job is only seen by workers
 * that can answer it.
 */
export function queueOf(queue: string, digest: string): string {
  return `${queue}-${packageVersion}-${digest}`
}

/** The queue of messages to workers, which has events and no jobs. */
export function controlOf(queue: string): string {
  return `${queue}-control`
}

/** The reason of a job that was ended by the batch it belonged to. */
export const CANCELLED = 'cancelled by its batch'

/** What a job that failed says of it, for people and for {@link errorOf}. */
export function reasonText({ code, message }: { readonly code: string; readonly message: string }): string {
  return `${code}: ${message}`
}

/** Whether trying again could not end otherwise: the caller has to do something. That a network is gone is the worker's doing. */
export function isFinal(code: string): boolean {
  return isCallersFault(code) && code !== 'ERR_LIPBOUND_DISPOSED'
}

function isCallersFault(code: string): code is InputErrorCode {
  return Object.hasOwn(errorTable, code) && errorTable[code as ErrorCode].fault === 'caller'
}

/** The error that a reason stands for; reasons of BullMQ's own are defects of some kind. */
export function errorOf(reason: string): LipboundError {
  const [, code = '', message = ''] = /^(ERR_LIPBOUND_[A-Z]+): (.*)$/s.exec(reason) ?? []
  if (isCallersFault(code)) return new InputError(code, message)
  return new InternalError(code === '' ? `the job failed: ${reason}` : message)
}

/**
 * A result as it comes out of a queue, after `JSON.parse`: what is infinite in the result itself is null, and tensors have
 * ordinary arrays.
 */
export type ResultJson<Value> = Value extends number
  ? number extends Value
    ? number | null
    : Value
  : Value extends Tensor
    ? {
        /** Extents of the tensor. */
        readonly shape: readonly number[]
        /** Its numbers in row-major order. */
        readonly data: readonly (number | null)[]
      }
    : Value extends readonly (infer Entry)[]
      ? readonly ResultJson<Entry>[]
      : Value extends object
        ? { readonly [Key in keyof Value]: ResultJson<Value[Key]> }
        : Value
