/** Batches whose items are answered by workers, in other processes and on other machines. */
import { setTimeout as sleep } from 'node:timers/promises'

import { checkSource, expectRejection, toItem } from '../batch.js'
import type { BatchOutcome, BatchProgress, BatchSource } from '../batch.js'
import { throwIfAborted } from '../cancellation.js'
import type { RunOptions } from '../cancellation.js'
import { InputError } from '../errors.js'
import { Network } from '../network.js'
import type { BoundItemOptions, BoundOptions } from '../network.js'
import {
  argumentError,
  count,
  flag,
  oneOf,
  optional,
  parseOptions,
  positive,
  positiveInteger,
  show,
  signal,
} from '../options.js'
import type { RadiusOptions, RadiusResult } from '../radius.js'
import { tasks } from '../request.js'
import type { BoundResult } from '../results.js'
import { Channel } from './channel.js'
import type { Awaited, Ending } from './channel.js'
import { openBackend, persistently } from './connection.js'
import type { Backend, QueueConnection } from './connection.js'
import { publishCancel } from './control.js'
import { toJob } from './items.js'
import { DEFAULT_QUEUE, controlOf, digestOption, queueNameOption, queueOf } from './job.js'
import type { JobData, ResultJson } from './job.js'

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
  task: 'bound'
  /** Radius of the balls, or several; where it is left out, each item has its own. */
  epsilon?: Epsilon | undefined
}

/** Options of {@link enqueueBatch} for radii: those of `Network.certifiedRadius`. */
export interface RadiusJobs extends QueueBatchControl, Omit<RadiusOptions, keyof RunOptions> {
  task: 'radius'
}

/** What items may have of their own, beside the options of the task. */
export interface ItemModel {
  /** The name of its model, where the batch has several. */
  model: string
}

/** How to read the outcomes of a {@link QueueBatch}. */
export interface ResultsOptions {
  /** Whether outcomes come in the order of the items, or each as soon as it is there (default). */
  ordered?: boolean | undefined
  /** Ends the reading: the iterator rejects with `signal.reason`. What is in the queue stays there. */
  signal?: AbortSignal | undefined
}

/** How far a batch is. Rates and times count from the beginning of the batch. */
export interface QueueBatchProgress extends BatchProgress {
  /** Items that have been read from the source. */
  readonly read: number
  /** Jobs of the batch that wait in the queue. */
  readonly waiting: number
  /** Jobs of the batch that are worked on. */
  readonly running: number
  /** How much of those that are worked on is done, added up: 1.5 for three that are half done. */
  readonly underway: number
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

type Parsed = { [Key in keyof typeof SPECIFICATION]: ReturnType<(typeof SPECIFICATION)[Key]> }

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
function takeApart(where: string, options: unknown): { own: Parsed; shared: Readonly<Record<string, unknown>> } {
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

/** Jobs that are put in at a time, at most; and milliseconds for which a source that is slow is waited for. */
const CHUNK = 64
const GATHERING = 5

/** A batch in a queue. */
export class QueueBatch<Result> implements AsyncDisposable {
  readonly #backend: Backend
  readonly #models: ReadonlyMap<string | undefined, string>
  readonly #options: Parsed
  readonly #shared: Readonly<Record<string, unknown>>
  readonly #total: number | undefined
  readonly #window: number
  readonly #started = performance.now()
  /** By the digests of their models. */
  readonly #channels = new Map<string, Channel>()
  /** Aborted when the batch is over, however it ended. */
  readonly #over = new AbortController()
  /** Ids of items, by their places, until they are answered. */
  readonly #ids = new Map<number, unknown>()
  /** Outcomes that wait for the reader, by the places of their items. */
  readonly #outcomes = new Map<number, BatchOutcome<Result>>()
  /** Jobs that have not ended, by their ids: those of two models have different ones. */
  readonly #jobs = new Map<string, Awaited>()
  #gathered: { digest: string; job: Awaited }[] = []
  #gathering: NodeJS.Timeout | undefined
  #read = 0
  #delivered = 0
  #done = 0
  #failed = 0
  #exhausted = false
  #taken = false
  #failure: { readonly reason: unknown } | undefined
  #wakers: (() => void)[] = []
  #cancelling: Promise<void> | undefined
  #closing: Promise<void> | undefined

  /** @internal */
  constructor(
    backend: Backend,
    models: ReadonlyMap<string | undefined, string>,
    source: Iterable<unknown> | AsyncIterable<unknown>,
    options: Parsed,
    shared: Readonly<Record<string, unknown>>,
  ) {
    this.#backend = backend
    this.#models = models
    this.#options = options
    this.#shared = shared
    this.#total = options.total ?? (Array.isArray(source) ? source.length : undefined)
    this.#window = options.window ?? 256
    this.#readAll(source).catch((error: unknown) => {
      this.#fail(error)
    })
    void this.#pollAll()
  }

  /**
   * The outcomes, one for each item, each once, whatever becomes of workers and of the server meanwhile. Can be read once.
   *
   * It rejects with what the source of the inputs threw, with `signal.reason`, and when the batch is cancelled. Leaving the
   * loop closes the batch and leaves what is in the queue there, for whoever asks again; {@link QueueBatch.cancel} takes
   * it out.
   */
  async *results(options: ResultsOptions = {}): AsyncGenerator<BatchOutcome<Result>, void, undefined> {
    try {
      throwIfAborted(options)
    } catch (reason) {
      if (!this.#taken) await this.close()
      throw reason
    }
    const { ordered = false, signal: ending } = parseOptions('results', options, {
      ordered: optional(flag),
      signal: optional(signal),
    })
    if (this.#taken) throw new InputError('ERR_LIPBOUND_ARGUMENT', 'results: the outcomes of a batch can be read once')
    this.#taken = true
    const onAbort = (): void => {
      this.#fail(ending?.reason)
    }
    ending?.addEventListener('abort', onAbort)
    try {
      for (;;) {
        if (this.#failure) throw this.#failure.reason
        const next = this.#take(ordered)
        if (next !== undefined) yield next
        else if (this.#exhausted && this.#delivered === this.#read) return
        else await this.#change()
      }
    } finally {
      ending?.removeEventListener('abort', onAbort)
      await this.close()
    }
  }

  /** How far the batch is; looks at the queue. */
  async progress(): Promise<QueueBatchProgress> {
    if (!this.#over.signal.aborted) await Promise.all(Array.from(this.#channels.values(), (channel) => channel.poll()))
    const jobs = [...this.#jobs.values()].filter(({ inQueue }) => inQueue)
    const running = jobs.flatMap((job) => (job.running === undefined ? [] : [job.running]))
    const seconds = (performance.now() - this.#started) / 1000
    const total = this.#exhausted ? this.#read : this.#total
    const rate = this.#done / seconds
    return {
      done: this.#done,
      failed: this.#failed,
      read: this.#read,
      waiting: jobs.length - running.length,
      running: running.length,
      underway: running.reduce((sum, part) => sum + part, 0),
      seconds,
      rate,
      ...(total !== undefined && { total, ...(rate > 0 && { secondsLeft: Math.max(0, total - this.#done) / rate }) }),
    }
  }

  /**
   * Ends the batch: what waits in the queue is taken out, and workers end what they are at within about a second. Other
   * batches that had joined a job of this one put it in again. The iterator of the results rejects with the reason.
   *
   * @returns a promise that nothing of the batch is in the queue or at work any more
   * @throws {@link InputError} (by rejection) `ERR_LIPBOUND_ARGUMENT` when the batch is closed
   */
  async cancel(reason: unknown = new DOMException('the batch was cancelled', 'AbortError')): Promise<void> {
    if (this.#closing && !this.#cancelling) {
      throw new InputError('ERR_LIPBOUND_ARGUMENT', 'cancel: the batch is closed')
    }
    this.#fail(reason)
    this.#cancelling ??= this.#cancel()
    try {
      await this.#cancelling
    } finally {
      await this.close()
    }
  }

  async #cancel(): Promise<void> {
    // What is being put in is to be there before it is taken out.
    await this.#putting
    const publisher = this.#backend.publisher(controlOf(this.#queue))
    publisher.on('error', () => undefined)
    const { signal: over } = this.#over
    try {
      for (;;) {
        const withdrawals = Array.from(this.#channels.values(), (channel) => channel.withdraw())
        const running = (await Promise.all(withdrawals)).flat()
        if (running.length === 0) break
        // Again and again: a worker may just be without a connection.
        await persistently(() => publishCancel(publisher, running), over)
        await sleep(200)
      }
    } finally {
      await publisher.close().catch(() => undefined)
    }
  }

  /** Lets go of the queue and closes its connections; what is in it stays. Happens by itself at the end of the results. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  /** The same as {@link QueueBatch.close}, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #close(): Promise<void> {
    this.#fail(new InputError('ERR_LIPBOUND_ARGUMENT', 'results: the batch is closed'))
    // It needs the connections.
    await this.#cancelling?.catch(() => undefined)
    this.#over.abort()
    clearTimeout(this.#gathering)
    await Promise.all(Array.from(this.#channels.values(), (channel) => channel.close()))
  }

  get #queue(): string {
    return this.#options.queue ?? DEFAULT_QUEUE
  }

  /** Reads the source as there is room. */
  async #readAll(source: Iterable<unknown> | AsyncIterable<unknown>): Promise<void> {
    if (Array.isArray(source)) source.forEach(expectRejection)
    const iterator = Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]()
    for (;;) {
      while (this.#read - this.#delivered >= this.#window && !this.#failure) await this.#change()
      if (this.#failure) {
        await iterator.return?.()
        return
      }
      const step = await iterator.next()
      if (step.done === true) break
      expectRejection(step.value)
      if (this.#ended) continue
      const index = this.#read
      this.#read += 1
      await this.#takeIn(step.value, index)
    }
    await this.#flush()
    this.#exhausted = true
    this.#notify()
  }

  /** Whether anything has gone wrong meanwhile, as a question that is not answered once and for all. */
  get #ended(): boolean {
    return this.#failure !== undefined
  }

  async #takeIn(given: unknown, index: number): Promise<void> {
    const { input, id, model, ...own } = toItem<{ model?: unknown }>(given)
    if (id !== undefined) this.#ids.set(index, id)
    try {
      const digest = this.#digestOf(model, index)
      const { id: job, data } = await toJob(digest, this.#options.task, input, { ...this.#shared, ...own })
      await this.#gather(digest, job, data, index)
    } catch (error) {
      this.#conclude([index], { error: toError(index, error) })
    }
  }

  #digestOf(model: unknown, index: number): string {
    const digest = this.#models.get(model as string | undefined)
    if (digest !== undefined) return digest
    const names = [...this.#models.keys()].filter((name) => name !== undefined)
    const allowed = names.length === 0 ? 'left out: the batch has one model' : `one of ${names.join(', ')}`
    throw new InputError(
      'ERR_LIPBOUND_ARGUMENT',
      `enqueueBatch: 'model' of item ${index} must be ${allowed}, got ${show(model)}`,
    )
  }

  /** Jobs go into the queue some at a time, but none waits long for others. */
  async #gather(digest: string, id: string, data: JobData, index: number): Promise<void> {
    const joined = this.#jobs.get(id)
    if (joined !== undefined) {
      joined.places.push(index)
      return
    }
    const job: Awaited = { id, data, places: [index], inQueue: false }
    this.#jobs.set(id, job)
    this.#gathered.push({ digest, job })
    if (this.#gathered.length >= CHUNK) {
      await this.#flush()
      return
    }
    this.#gathering ??= setTimeout(() => {
      void this.#flush()
    }, GATHERING)
  }

  /** What is being put in, one chunk after another. */
  #putting: Promise<void> = Promise.resolve()

  #flush(): Promise<void> {
    clearTimeout(this.#gathering)
    this.#gathering = undefined
    const chunk = this.#gathered
    this.#gathered = []
    this.#putting = this.#putting
      .then(() => this.#put(chunk))
      .catch((error: unknown) => {
        this.#fail(error)
      })
    return this.#putting
  }

  async #put(chunk: readonly { digest: string; job: Awaited }[]): Promise<void> {
    // Of a batch that is given up, nothing more goes in.
    if (this.#ended) return
    for (const digest of new Set(chunk.map((entry) => entry.digest))) {
      const channel = await this.#channel(digest)
      await channel.add(chunk.filter((entry) => entry.digest === digest).map(({ job }) => job))
    }
  }

  async #channel(digest: string): Promise<Channel> {
    const there = this.#channels.get(digest)
    if (there !== undefined) return there
    const { keep = 86_400, attempts = 5 } = this.#options
    const onEnding = ({ id, places }: Awaited, ending: Ending): void => {
      this.#jobs.delete(id)
      this.#conclude(places, ending)
    }
    const channel = new Channel(
      this.#backend,
      queueOf(this.#queue, digest),
      { keep, attempts },
      this.#over.signal,
      onEnding,
    )
    this.#channels.set(digest, channel)
    await channel.open()
    return channel
  }

  async #pollAll(): Promise<void> {
    const { signal: over } = this.#over
    const milliseconds = 1000 * (this.#options.poll ?? 2)
    while (!over.aborted) {
      await sleep(milliseconds, undefined, { signal: over, ref: false }).catch(() => undefined)
      if (this.#ended) continue
      try {
        for (const channel of this.#channels.values()) await channel.poll()
      } catch (error) {
        this.#fail(error)
      }
    }
  }

  /** The job that answers these items has ended. */
  #conclude(places: readonly number[], ending: Ending | { readonly error: Error }): void {
    for (const index of places) {
      const id = this.#ids.get(index)
      this.#ids.delete(index)
      const place = { index, ...(id !== undefined && { id }) }
      this.#done += 1
      if ('error' in ending) this.#failed += 1
      this.#outcomes.set(
        index,
        'error' in ending
          ? { ...place, ok: false, error: ending.error }
          : { ...place, ok: true, result: ending.result as Result },
      )
    }
    this.#notify()
  }

  #take(ordered: boolean): BatchOutcome<Result> | undefined {
    const [index] = ordered ? [this.#delivered] : this.#outcomes.keys()
    if (index === undefined) return undefined
    const outcome = this.#outcomes.get(index)
    if (outcome === undefined) return undefined
    this.#outcomes.delete(index)
    this.#delivered += 1
    this.#notify()
    return outcome
  }

  /** The first failure counts. */
  #fail(reason: unknown): void {
    this.#failure ??= { reason }
    this.#notify()
  }

  #change(): Promise<void> {
    return new Promise((resolve) => this.#wakers.push(resolve))
  }

  #notify(): void {
    for (const wake of this.#wakers.splice(0)) wake()
  }
}

function toError(index: number, thrown: unknown): Error {
  if (thrown instanceof Error) return thrown
  // Not every object is a text.
  const what = typeof thrown === 'string' ? thrown : show(thrown)
  const message = `enqueueBatch: the input of item ${index} could not be had: ${what}`
  return new InputError('ERR_LIPBOUND_ARGUMENT', message, { cause: thrown })
}
