/** Batches whose items are answered by workers, in other processes and on other machines. */
import { setTimeout as sleep } from 'node:timers/promises'

import { expectRejection, toItem } from '../batch.js'
import type { BatchOutcome, BatchProgress } from '../batch.js'
import { throwIfAborted } from '../cancellation.js'
import { InputError } from '../errors.js'
import { flag, optional, parseOptions, show, signal } from '../options.js'
import type { Task } from '../request.js'
import { Channel } from './channel.js'
import type { Awaited, Ending } from './channel.js'
import { persistently } from './connection.js'
import type { Backend } from './connection.js'
import { publishCancel } from './control.js'
import { toJob } from './items.js'
import { DEFAULT_QUEUE, controlOf, queueOf } from './job.js'
import type { JobData } from './job.js'

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

/** What is asked of all items, and how they go through the queue: options that are checked. */
export interface BatchSettings {
  readonly task: Task
  readonly queue: string | undefined
  readonly window: number | undefined
  readonly keep: number | undefined
  readonly attempts: number | undefined
  readonly poll: number | undefined
  readonly total: number | undefined
}

/** Jobs that are put in at a time, at most; and milliseconds for which a source that is slow is waited for. */
const CHUNK = 64
const GATHERING = 5

/** A batch in a queue. */
export class QueueBatch<Result> implements AsyncDisposable {
  readonly #backend: Backend
  readonly #models: ReadonlyMap<string | undefined, string>
  readonly #options: BatchSettings
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
    options: BatchSettings,
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
