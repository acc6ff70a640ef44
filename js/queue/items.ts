/** From what a caller says of an item to the data of its job. */
import type { BatchInput } from '../batch.js'
import { InputError } from '../errors.js'
import { argumentError, show } from '../options.js'
import { requestKey, tensorToJson } from '../request.js'
import type { RequestOptions, Task } from '../request.js'
import { isTensor, toTensor } from '../tensor.js'
import { packageVersion } from './job.js'
import type { JobData } from './job.js'

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
