/** Puts batches into a queue: what is asked, checked, and where. */
import { checkSource } from '../batch.js'
import type { BatchSource } from '../batch.js'
import type { BoundItemOptions, BoundOptions } from '../bound.js'
import type { RunOptions } from '../cancellation.js'
import { InputError } from '../errors.js'
import { Network } from '../network.js'
import { argumentError, count, oneOf, optional, parseOptions, positive, positiveInteger } from '../options.js'
import type { RadiusOptions, RadiusResult } from '../radius.js'
import { tasks } from '../request.js'
import type { BoundResult } from '../results.js'
import { QueueBatch } from './batch.js'
import type { BatchSettings } from './batch.js'
import { openBackend } from './connection.js'
import type { QueueConnection } from './connection.js'
import { digestOption, queueNameOption } from './job.js'
import type { ResultJson } from './job.js'

/** A network by itself, or by its `digest`. */
export type ModelReference = Network | string

/** The model of all items, or several by names that items give. */
export type BatchModels = ModelReference | Readonly<Record<string, ModelReference>>

/** How a batch goes through a queue. */
export interface QueueBatchControl {
  /** Where the queue is. */
  connection: QueueConnection
  /** What the queue is called. Default: `lipbound`. */
  queue?: string | undefined
  /**
   * Most items that are in the queue, or answered and not yet read, at a time; the source is read no further ahead.
   * Their inputs are kept in memory. Default: 256. Should be a few times what all workers do at a time.
   */
  window?: number | undefined
  /** Seconds for which a result is kept in the queue, for whoever asks the same again. Default: 86400, a day. */
  keep?: number | undefined
  /** How often a job is begun whose worker fails (with no fault of the input). Default: 5. */
  attempts?: number | undefined
  /** Seconds between two looks at the jobs that are waited for, in case events are missed. Default: 2. */
  poll?: number | undefined
  /** How many items there are, for the progress of a source that does not tell (an array does). */
  total?: number | undefined
}

/** Options of {@link enqueueBatch} for bounds: those of `Network.bound`, which items may have of their own. */
export interface BoundJobs<Epsilon extends number | readonly number[] = number | readonly number[]>
  extends QueueBatchControl, Omit<BoundOptions, keyof RunOptions | 'epsilon'> {
  /** What each item is asked: a bound. */
  task: 'bound'
  /** Radius of the balls, or several; where it is left out, each item has its own. */
  epsilon?: Epsilon | undefined
}

/** Options of {@link enqueueBatch} for radii: those of `Network.certifiedRadius`. */
export interface RadiusJobs extends QueueBatchControl, Omit<RadiusOptions, keyof RunOptions> {
  /** What each item is asked: a certified radius. */
  task: 'radius'
}

/** What items may have of their own, beside the options of the task. */
export interface ItemModel {
  /** The name of its model, where the batch has several. */
  model: string
}

const SPECIFICATION = {
  connection: (value: unknown): unknown => value,
  task: oneOf(...tasks),
  queue: optional(queueNameOption),
  window: optional(positiveInteger),
  keep: optional(positiveInteger),
  attempts: optional(positiveInteger),
  poll: optional(positive),
  total: optional(count),
}

/**
 * Puts the items of a batch into a queue, where workers ({@link startWorker}, `lipbound worker`) that have the model take
 * them. Reading of the items begins at once, and goes on as outcomes are read: {@link QueueBatchControl.window}.
 *
 * What asks for the same (model, input, options, version of this package) is one job, whoever asks, and is computed once:
 * while it waits or runs it is joined, and its result is kept. Without a `seed` the answer is one of those that random
 * choices could give, the same for all.
 *
 * @param models - the network, or its digest, or several of them by name
 * @param inputs - tensors; or objects with a tensor as `input`, an `id` that comes back, a `model` and options of their own,
 *   as for `Network.bounds`
 * @param options - the task, its options, and where the queue is
 * @returns the batch; `results()` has the outcomes
 * @throws {@link InputError} (by rejection) `ERR_LIPBOUND_ARGUMENT` for options that are wrong and for a server that does
 *   not answer, `ERR_LIPBOUND_DEPENDENCY` where BullMQ or its client is not installed. What is wrong with an item or
 *   with the options of the task is the outcome of the item
 *
 * @example
 * ```ts
 * const batch = await enqueueBatch(net, inputs, { connection: 'redis://127.0.0.1', task: 'bound', epsilon: 0.05 })
 * for await (const outcome of batch.results()) {
 *   if (outcome.ok) console.log(outcome.index, outcome.result.upper)
 *   else console.error(outcome.index, outcome.error.message)
 * }
 * ```
 */
export function enqueueBatch(
  models: BatchModels,
  inputs: BatchSource<BoundItemOptions<number> & ItemModel>,
  options: BoundJobs<number>,
): Promise<QueueBatch<ResultJson<BoundResult>>>
export function enqueueBatch(
  models: BatchModels,
  inputs: BatchSource<BoundItemOptions<readonly number[]> & ItemModel>,
  options: BoundJobs<readonly number[]>,
): Promise<QueueBatch<readonly ResultJson<BoundResult>[]>>
export function enqueueBatch(
  models: BatchModels,
  inputs: BatchSource<RadiusOptions & ItemModel>,
  options: RadiusJobs,
): Promise<QueueBatch<ResultJson<RadiusResult>>>
export async function enqueueBatch<Options extends object>(
  models: BatchModels,
  inputs: BatchSource<Options>,
  options: BoundJobs | RadiusJobs,
): Promise<QueueBatch<unknown>> {
  const where = 'enqueueBatch'
  const { own, shared } = takeApart(where, options)
  const digests = digestsOf(where, models)
  checkSource(where, inputs)
  const backend = await openBackend(where, own.connection)
  return new QueueBatch(backend, digests, inputs as Iterable<unknown> | AsyncIterable<unknown>, own, shared)
}

/** The options of the batch, checked, and those of the task, which the worker checks. */
function takeApart(
  where: string,
  options: unknown,
): { own: BatchSettings & { connection: unknown }; shared: Readonly<Record<string, unknown>> } {
  if (typeof options !== 'object' || options === null) throw argumentError(`${where}: options`, 'an object', options)
  const isOwn = ([key]: [string, unknown]): boolean => Object.hasOwn(SPECIFICATION, key)
  const entries: [string, unknown][] = Object.entries(options)
  const own = parseOptions(where, Object.fromEntries(entries.filter(isOwn)), SPECIFICATION)
  const shared = Object.fromEntries(entries.filter((entry) => !isOwn(entry)))
  const local = ['signal', 'onProgress'].find((name) => Object.hasOwn(shared, name))
  if (local !== undefined) {
    throw new InputError(
      'ERR_LIPBOUND_ARGUMENT',
      `${where}: option '${local}' does not go into a queue; results() takes a signal, and progress() tells how far it is`,
    )
  }
  return { own, shared }
}

/** The digests of models by their names; the only one has the name undefined. */
function digestsOf(where: string, models: unknown): ReadonlyMap<string | undefined, string> {
  const digest = (value: unknown, subject: string): string =>
    value instanceof Network ? value.digest : digestOption(value, subject)
  if (typeof models !== 'object' || models === null || models instanceof Network) {
    return new Map([[undefined, digest(models, `${where}: models`)]])
  }
  const named = Object.entries(models).map(([name, value]): [string, string] => [
    name,
    digest(value, `${where}: models['${name}']`),
  ])
  if (named.length === 0)
    throw argumentError(`${where}: models`, 'a network, a digest, or some of them by name', models)
  return new Map(named)
}
