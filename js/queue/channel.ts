/** The queue of one model, as a batch sees it: jobs go in, and what becomes of them is found out. */
import type { BulkJobOptions, Queue, QueueEvents } from 'bullmq'

import { InternalError } from '../errors.js'
import type { LipboundError } from '../errors.js'
import { persistently } from './connection.js'
import type { Backend } from './connection.js'
import { CANCELLED, errorOf, isFinal, lifeOf } from './job.js'
import type { JobData, JobProgress } from './job.js'

/** A job that a batch waits for. */
export interface Awaited {
  readonly id: string
  readonly data: JobData
  /** Places in the batch of the items that it answers; more than one where they ask for the same. */
  readonly places: number[]
  /** Whether it has been put in. */
  inQueue: boolean
  /** How far it is, from 0 to 1; nothing while it waits. */
  running?: number
  /** What {@link lifeOf} says of the job that is to be ended. */
  life?: string | undefined
  /** Whether it had failed before and was put in again. */
  revived?: boolean
}

/** How a job ended. */
export type Ending = { readonly result: unknown } | { readonly error: LipboundError }

/** What jobs are told when they are put in. */
export interface JobSettings {
  /** Seconds for which a result is kept. */
  readonly keep: number
  /** How often a job is begun that ends badly. */
  readonly attempts: number
}

/** Milliseconds before a job that ended badly is begun again; then twice as long, and so on. */
const BACK_OFF = 1000

/** Jobs of a model that a batch waits for. */
export class Channel {
  /** By their ids. */
  readonly awaited = new Map<string, Awaited>()
  readonly #queue: Queue<JobData, unknown>
  readonly #events: QueueEvents
  readonly #settings: JobSettings
  readonly #signal: AbortSignal
  readonly #onEnding: (job: Awaited, ending: Ending) => void
  readonly #opened = Date.now()
  /** Whether jobs are taken out: nothing is put in again, whatever becomes of them. */
  #withdrawing = false

  /**
   * @param signal - that the batch is over: nothing is waited for any more
   * @param onEnding - gets every job that has ended, once
   */
  constructor(
    backend: Backend,
    name: string,
    settings: JobSettings,
    signal: AbortSignal,
    onEnding: (job: Awaited, ending: Ending) => void,
  ) {
    this.#settings = settings
    this.#signal = signal
    this.#onEnding = onEnding
    this.#queue = backend.queue(name)
    this.#events = backend.events(name)
    // Both connect again by themselves; commands are repeated where they are given.
    this.#queue.on('error', () => undefined)
    this.#events.on('error', () => undefined)
    this.#listen()
  }

  /** Waits until events are heard. */
  async open(): Promise<void> {
    await persistently(async () => {
      await this.#queue.waitUntilReady()
      await this.#events.waitUntilReady()
    }, this.#signal)
  }

  /** Puts jobs in. What is there already, waiting, running or done, is joined. */
  async add(jobs: readonly Awaited[]): Promise<void> {
    for (const job of jobs) this.awaited.set(job.id, job)
    await this.#put(jobs)
    // Of those that had ended before there will be no event.
    await this.#lookAt(jobs)
  }

  /** Looks at every job that is waited for: events may have been missed, and jobs may have been lost or taken out. */
  async poll(): Promise<void> {
    await this.#lookAt([...this.awaited.values()])
  }

  /**
   * Takes out jobs that wait. What others put in again after that is theirs.
   *
   * @returns those that are running, as {@link lifeOf} calls them
   */
  async withdraw(): Promise<string[]> {
    this.#withdrawing = true
    const running = await Promise.all(
      Array.from(this.awaited.values(), async (job) => {
        const found = await this.#persistently(() => this.#queue.getJob(job.id))
        job.life ??= found && lifeOf(found)
        const state =
          found === undefined || lifeOf(found) !== job.life
            ? 'unknown'
            : await this.#persistently(() => this.#queue.getJobState(job.id))
        if (state === 'active' && job.life !== undefined) return [job.life]
        const isOver = state === 'completed' || state === 'failed' || state === 'unknown'
        // What a worker has taken meanwhile is not removed.
        if (!isOver && (await this.#persistently(() => this.#queue.remove(job.id))) === 0) return [job.life ?? '']
        this.awaited.delete(job.id)
        return []
      }),
    )
    return running.flat()
  }

  async close(): Promise<void> {
    await Promise.allSettled([this.#queue.close(), this.#events.close()])
  }

  /** Events say it at once; what they do not say is found by looking. */
  #listen(): void {
    this.#events.on('completed', ({ jobId, returnvalue }) => {
      const job = this.awaited.get(jobId)
      if (job) this.#end(job, { result: returnvalue })
    })
    const look = ({ jobId }: { jobId: string }): void => {
      const job = this.awaited.get(jobId)
      // What cannot be found out now is found out by the next poll.
      if (job) this.#lookAt([job]).catch(() => undefined)
    }
    this.#events.on('failed', look)
    this.#events.on('removed', look)
    this.#events.on('active', ({ jobId }) => {
      const job = this.awaited.get(jobId)
      if (job) job.running ??= 0
    })
    this.#events.on('progress', ({ jobId, data }) => {
      const job = this.awaited.get(jobId)
      if (job) job.running = progressOf(data)
    })
  }

  /** The same, as a question that is not answered once and for all. */
  #isWithdrawing(): boolean {
    return this.#withdrawing
  }

  async #lookAt(jobs: readonly Awaited[]): Promise<void> {
    if (this.#isWithdrawing()) return
    const settled = await Promise.all(jobs.map(async (job) => !job.inQueue || (await this.#settled(job))))
    const lost = jobs.filter((job, index) => settled[index] === false && job.inQueue && this.awaited.has(job.id))
    if (lost.length === 0 || this.#isWithdrawing()) return
    for (const job of lost) job.inQueue = false
    // Whatever is left of them would keep them out.
    await Promise.all(lost.map(({ id }) => this.#persistently(() => this.#queue.remove(id))))
    if (!this.#isWithdrawing()) await this.#put(lost)
  }

  /** Whether a job has ended or will end; if it has, this tells. */
  async #settled(job: Awaited): Promise<boolean> {
    const state = await this.#persistently(() => this.#queue.getJobState(job.id))
    switch (state) {
      case 'completed':
      case 'failed':
        break
      case 'unknown':
        return false
      case 'active':
        job.running ??= 0
        return true
      default:
        delete job.running
        return true
    }
    const found = await this.#persistently(() => this.#queue.getJob(job.id))
    if (found === undefined) return false
    // Removed and begun anew between the two questions.
    if (found.finishedOn === undefined) return true
    if (state === 'completed') {
      this.#end(job, { result: found.returnvalue })
      return true
    }
    const { failedReason, finishedOn = 0 } = found
    // Begun anew meanwhile.
    if (typeof failedReason !== 'string') return true
    if (failedReason === CANCELLED) return false
    const error = errorOf(failedReason)
    // What failed for others, not for a reason in itself, is tried again for whoever asks later.
    if (!isFinal(error.code) && finishedOn < this.#opened && job.revived !== true) {
      // Once: clocks may differ.
      job.revived = true
      return false
    }
    this.#end(job, { error })
    return true
  }

  #end(job: Awaited, ending: Ending): void {
    if (this.awaited.delete(job.id)) this.#onEnding(job, checked(ending))
  }

  async #put(jobs: readonly Awaited[]): Promise<void> {
    const { keep, attempts } = this.#settings
    const opts = (jobId: string): BulkJobOptions => ({
      jobId,
      attempts,
      backoff: { type: 'exponential', delay: BACK_OFF },
      removeOnComplete: { age: keep },
      removeOnFail: { age: keep },
      stackTraceLimit: 0,
    })
    await this.#persistently(() =>
      this.#queue.addBulk(jobs.map(({ id, data }) => ({ name: data.task, data, opts: opts(id) }))),
    )
    for (const job of jobs) job.inQueue = true
  }

  #persistently<Result>(work: () => Promise<Result>): Promise<Result> {
    return persistently(work, this.#signal)
  }
}

/** A result is an object or an array of them: anything else is not from a worker of ours. */
function checked(ending: Ending): Ending {
  if ('error' in ending || (typeof ending.result === 'object' && ending.result !== null)) return ending
  return { error: new InternalError('the job has no result') }
}

function progressOf(data: unknown): number {
  const done = typeof data === 'object' && data !== null && 'done' in data ? (data as JobProgress).done : 0
  return typeof done === 'number' ? done : 0
}
