/**
 * Computations as plain JSON, in and out: what queues and services pass on, so that an input is answered alike wherever it
 * is. A request is answered by {@link Network.bound} or {@link Network.certifiedRadius}, and its result is theirs.
 */
import { createHash } from 'node:crypto'

import type { BoundOptions } from './bound.js'
import type { RunOptions } from './cancellation.js'
import { InputError, LipboundError } from './errors.js'
import type { Network } from './network.js'
import { argumentError, show } from './options.js'
import type { RadiusOptions, RadiusResult } from './radius.js'
import type { BoundResult } from './results.js'
import { isTensor, toTensor } from './tensor.js'
import type { NestedNumbers, Tensor } from './tensor.js'

/** What can be asked of a network by request. */
export type Task = 'bound' | 'radius'

/** The tasks there are. */
export const tasks: readonly Task[] = ['bound', 'radius']

/**
 * A tensor as JSON: its numbers in row-major order, in nested arrays or in one; with their shape, where that is not the
 * shape of the network's input; or the bytes of its numbers, little-endian, in base64, which take a third of the space.
 */
export type TensorJson =
  | NestedNumbers
  | {
      /** Extents of the tensor. */
      readonly shape: readonly number[]
      /** Its numbers in row-major order. */
      readonly data: readonly number[]
    }
  | {
      /** Extents of the tensor. Default: those of the network's input. */
      readonly shape?: readonly number[]
      /** What the bytes are. */
      readonly type: 'float32' | 'float64'
      /** The bytes in base64, padded or not. */
      readonly base64: string
    }

/** The options of {@link Network.bound} that can be written as JSON. */
export type BoundRequestOptions = Omit<BoundOptions, keyof RunOptions | 'functionals'> & {
  /** As {@link BoundOptions.functionals}. */
  functionals?: readonly (readonly number[])[] | undefined
}

/** The options of {@link Network.certifiedRadius}, likewise. */
export type RadiusRequestOptions = Omit<RadiusOptions, keyof RunOptions | 'inputBox'> & {
  /** As {@link RadiusOptions.inputBox}. */
  inputBox?:
    | {
        /** One number for all elements, or a tensor of the input's shape. */
        readonly lower: number | TensorJson
        /** The same. */
        readonly upper: number | TensorJson
      }
    | undefined
}

/** What is asked about an input: the options of the task. */
export interface RequestOptions {
  /** For a bound. */
  bound: BoundRequestOptions
  /** For a certified radius. */
  radius: RadiusRequestOptions
}

/** A request: an input, and options. */
export type ComputationRequest<Of extends Task = Task> = Of extends Task
  ? {
      /** What is asked. */
      readonly task: Of
      /** About which input. */
      readonly input: TensorJson
      /** The options of the task. */
      readonly options: RequestOptions[Of]
    }
  : never

/** What a request is answered, before it is JSON. */
export interface RequestResult {
  bound: BoundResult | BoundResult[]
  radius: RadiusResult
}

/**
 * Answers a request.
 *
 * @param network - the network it is about
 * @param request - as it came from outside: nothing is taken for granted but that it is JSON
 * @throws {@link InputError} (by rejection) as the methods of the network do; `signal.reason` when aborted
 */
export async function answer<Of extends Task>(
  network: Network,
  { task, input, options }: ComputationRequest<Of>,
  run: RunOptions = {},
): Promise<RequestResult[Of]> {
  const { inputShape } = network.summary
  const centre = tensorFromJson(input, inputShape, `${task}: input`)
  const asked = optionsFromJson(task, options, inputShape)
  if (task === 'bound') {
    return (await network.bound(centre, { ...(asked as unknown as BoundOptions), ...run })) as RequestResult[Of]
  }
  return (await network.certifiedRadius(centre, { ...asked, ...run })) as RequestResult[Of]
}

/**
 * Reads options: tensors among them become tensors; what the values are is checked where the options are used.
 *
 * @param options - as they came from outside
 * @param inputShape - the shape that numbers without one have
 * @throws {@link InputError} `ERR_LIPBOUND_ARGUMENT` for options that are none, or that cannot come from outside
 */
export function optionsFromJson(
  task: Task,
  options: unknown,
  inputShape: readonly number[],
): Readonly<Record<string, unknown>> {
  const { inputBox, ...others } = checkedOptions(options, `${task}: options`)
  if (inputBox === undefined) return others
  return { ...others, inputBox: task === 'radius' ? boxFromJson(inputBox, inputShape) : inputBox }
}

/** Options are an object; a signal or a callback cannot come from outside. */
function checkedOptions(options: unknown, subject: string): Readonly<Record<string, unknown>> {
  if (typeof options !== 'object' || options === null || Array.isArray(options)) {
    throw argumentError(subject, 'an object', options)
  }
  const local = ['signal', 'onProgress'].find((name) => Object.hasOwn(options, name))
  if (local !== undefined) {
    throw new InputError('ERR_LIPBOUND_ARGUMENT', `${subject}: option '${local}' cannot be part of a request`)
  }
  return options as Readonly<Record<string, unknown>>
}

function boxFromJson(box: unknown, inputShape: readonly number[]): unknown {
  if (typeof box !== 'object' || box === null) return box
  return Object.fromEntries(
    Object.entries(box).map(([end, value]: [string, unknown]) => [
      end,
      typeof value === 'number' ? value : tensorFromJson(value, inputShape, `radius: option 'inputBox': ${end}`),
    ]),
  )
}

/**
 * Reads a tensor.
 *
 * @param json - as it came from outside
 * @param inputShape - the shape that numbers without one have
 * @param subject - how messages call it
 * @throws {@link InputError} `ERR_LIPBOUND_ARGUMENT`, `ERR_LIPBOUND_SHAPE`, `ERR_LIPBOUND_VALUE`
 */
export function tensorFromJson(json: unknown, inputShape: readonly number[], subject: string): Tensor {
  if (Array.isArray(json)) {
    const flat = json.every((entry) => typeof entry === 'number')
    return flat ? shaped(inputShape, Float64Array.from(json), subject) : toTensor(json, subject)
  }
  if (typeof json !== 'object' || json === null) throw notTensor(subject, json)
  const { shape = inputShape, data, type, base64, ...others } = json as Readonly<Record<string, unknown>>
  const [stray] = Object.keys(others)
  if (stray !== undefined) throw notTensor(subject, json)
  if (base64 !== undefined && data === undefined) return shaped(shape, numbersOf(type, base64, subject), subject)
  if (!Array.isArray(data) || type !== undefined || base64 !== undefined) throw notTensor(subject, json)
  const wrong = data.findIndex((entry) => typeof entry !== 'number')
  if (wrong >= 0) throw argumentError(`${subject}: data[${wrong}]`, 'a number', data[wrong])
  return shaped(shape, Float64Array.from(data as number[]), subject)
}

const notTensor = (subject: string, json: unknown): InputError =>
  argumentError(subject, 'an array of numbers, { shape, data } or { shape, type, base64 }', json)

function shaped(shape: unknown, data: Float32Array | Float64Array, subject: string): Tensor {
  return toTensor({ shape, data }, subject)
}

function numbersOf(type: unknown, base64: unknown, subject: string): Float32Array | Float64Array {
  if (type !== 'float32' && type !== 'float64') throw argumentError(`${subject}: type`, "'float32' or 'float64'", type)
  const bytes = Buffer.from(typeof base64 === 'string' ? base64 : '', 'base64')
  // Buffer skips what it does not understand.
  if (typeof base64 !== 'string' || !isBase64Of(base64, bytes)) {
    throw argumentError(`${subject}: base64`, 'numbers in base64', base64)
  }
  const size = type === 'float32' ? 4 : 8
  if (bytes.length % size !== 0) {
    throw argumentError(`${subject}: base64`, `whole numbers of ${size} bytes each`, `${bytes.length} bytes`)
  }
  const length = { length: bytes.length / size }
  return type === 'float32'
    ? Float32Array.from(length, (_, index) => bytes.readFloatLE(4 * index))
    : Float64Array.from(length, (_, index) => bytes.readDoubleLE(8 * index))
}

/** Whether a text is the base64 of some bytes, padded or not. In one pass: a pattern for the padding would take a square. */
function isBase64Of(text: string, bytes: Buffer): boolean {
  const written = bytes.toString('base64')
  return text === written || text === written.slice(0, Math.ceil((4 * bytes.length) / 3))
}

/** Writes a tensor in the shortest form that keeps every bit. */
export function tensorToJson({ shape, data }: Tensor): TensorJson & { readonly base64: string } {
  const size = data.BYTES_PER_ELEMENT
  const bytes = Buffer.alloc(data.length * size)
  data.forEach((entry, index) => {
    if (size === 4) bytes.writeFloatLE(entry, 4 * index)
    else bytes.writeDoubleLE(entry, 8 * index)
  })
  return { shape: [...shape], type: size === 4 ? 'float32' : 'float64', base64: bytes.toString('base64') }
}

/**
 * What a result is as JSON: infinite numbers are null (there is none in JSON, and a finite answer must not look like one),
 * tensors are `{ shape, data }`. Everything else is as it is; numbers keep every bit (JSON text has no sign for a zero).
 */
export function toJson(result: unknown): unknown {
  if (typeof result === 'number') return Number.isFinite(result) ? result : null
  if (typeof result !== 'object' || result === null) return result
  if (isTensor(result)) return { shape: [...result.shape], data: [...result.data] }
  if (Array.isArray(result)) return result.map(toJson)
  return Object.fromEntries(
    Object.entries(result)
      .filter(([, value]) => value !== undefined)
      .map(([key, value]) => [key, toJson(value)]),
  )
}

/** An error as JSON. */
export interface ErrorJson {
  readonly code: string
  readonly message: string
}

/** What outsiders may know of an error: those of this package explain themselves, others are nobody's business. */
export function errorToJson(error: unknown): ErrorJson {
  if (error instanceof LipboundError) return { code: error.code, message: error.message }
  return { code: 'ERR_LIPBOUND_INTERNAL', message: 'internal error' }
}

/**
 * The identity of a request: SHA-256, in hexadecimal, of the network's digest, the task, the numbers of the input and the
 * options. How a tensor is written, the order of options and those that are undefined do not count.
 */
export function requestKey(
  digest: string,
  { task, input, options }: ComputationRequest,
  inputShape: readonly number[],
): string {
  const { shape, data } = tensorFromJson(input, inputShape, `${task}: input`)
  const { base64 } = tensorToJson({ shape, data: Float64Array.from(data) })
  const parts = [digest, task, shape.join('x'), base64, canonicalJson(options)]
  return createHash('sha256').update(parts.join('\n')).digest('hex')
}

/** JSON in which the keys of objects are in order. */
function canonicalJson(value: unknown): string {
  const sorted = (_key: string, entry: unknown): unknown =>
    typeof entry === 'object' && entry !== null && !Array.isArray(entry)
      ? Object.fromEntries(Object.entries(entry).sort(([a], [b]) => (a < b ? -1 : 1)))
      : entry
  return JSON.stringify(value, sorted)
}

/** For messages of tasks that there are not. */
export function checkTask(value: unknown, subject: string): Task {
  const task = tasks.find((name) => name === value)
  if (task === undefined) {
    throw new InputError('ERR_LIPBOUND_ARGUMENT', `${subject} must be one of ${tasks.join(', ')}, got ${show(value)}`)
  }
  return task
}
