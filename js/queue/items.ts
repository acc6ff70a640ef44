/** From what a caller says of an item to the data of its job. */
import type { BatchInput } from '../batch.js'
import { InputError } from '../errors.js'
import { argumentError, show } from '../options.js'
import { requestKey, tensorToJson } from '../request.js'
import type { RequestOptions, Task } from '../request.js'
import { isTensor, toTensor } from '../tensor.js'
import { packageVersion } from './job.js'
import type { JobData } from './job.js'

/** An item as it was given, in its longest form. */
export interface Item {
  readonly input: BatchInput
  readonly id?: unknown
  readonly model?: unknown
  readonly [option: string]: unknown
}

/** An item in its longest form; it is the only form of input that has a property `input`. */
export function toItem(given: unknown): Item {
  const isItem = typeof given === 'object' && given !== null && 'input' in given && !isTensor(given)
  return isItem ? (given as unknown as Item) : { input: given as BatchInput }
}

/** What is an iterable of inputs, and not one input. */
export function checkSource(value: unknown, subject: string): void {
  const iterable =
    typeof value === 'object' &&
    value !== null &&
    !ArrayBuffer.isView(value) &&
    (Symbol.iterator in value || Symbol.asyncIterator in value)
  if (!iterable) throw argumentError(subject, 'an iterable or async iterable of inputs', value)
}

/**
 * Fetches the input of an item and makes a job of it.
 *
 * @returns the data of the job, and its id: what asks for the same has the same
 */
export async function toJob(
  model: string,
  task: Task,
  input: BatchInput,
  options: Readonly<Record<string, unknown>>,
): Promise<{ id: string; data: JobData }> {
  const fetched = await (typeof input === 'function' ? input() : input)
  const json = tensorToJson(toTensor(fetched, `${task}: input`))
  const written = toJson(options, `${task}: options`) as JobData['options']
  const request = { task, input: json, options: written as unknown as RequestOptions[Task] }
  const id = requestKey(model, request as Parameters<typeof requestKey>[1], [])
  return { id, data: { version: packageVersion, model, task, input: json, options: written } }
}

/** Options as JSON: tensors in base64, typed arrays as arrays. What is wrong with them otherwise is for the worker to say. */
function toJson(value: unknown, subject: string): unknown {
  if (typeof value === 'number' && !Number.isFinite(value)) throw argumentError(subject, 'a finite number', value)
  if (typeof value === 'function' || typeof value === 'bigint' || typeof value === 'symbol') {
    throw new InputError('ERR_LIPBOUND_ARGUMENT', `${subject}: ${show(value)} cannot be part of a job`)
  }
  if (typeof value !== 'object' || value === null) return value
  if (isTensor(value)) return tensorToJson(value)
  if (ArrayBuffer.isView(value)) return Array.from(value as unknown as ArrayLike<number>)
  if (Array.isArray(value)) return value.map((entry, index) => toJson(entry, `${subject}[${index}]`))
  return Object.fromEntries(
    Object.entries(value)
      .filter(([, entry]) => entry !== undefined)
      .map(([key, entry]) => [key, toJson(entry, `${subject}: '${key}'`)]),
  )
}
