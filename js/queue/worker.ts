/** Workers: they take jobs from the queues of the models that they have. */
import { setTimeout as sleep } from 'node:timers/promises'

import type { Job, Processor, QueueEvents, Worker } from 'bullmq'

import { throwIfAborted } from '../cancellation.js'
import { native } from '../native.js'
import { Network } from '../network.js'
import {
  argumentError,
  callback,
  nonNegative,
  optional,
  parseOptions,
  positive,
  positiveInteger,
  signal,
} from '../options.js'
import { answer, checkTask, errorToJson, toJson } from '../request.js'
import type { ComputationRequest } from '../request.js'
import type { Progress } from '../results.js'
import { openBackend } from './connection.js'
import type { Backend, QueueConnection } from './connection.js'
import { onCancel } from './control.js'
import {
  CANCELLED,
  DEFAULT_QUEUE,
  controlOf,
  isFinal,
  lifeOf,
  packageVersion,
  queueNameOption,
  queueOf,
  reasonText,
} from './job.js'
import type { JobData, JobProgress } from './job.js'
import { disposeModels, loadModels } from './models.js'
import type { ModelSource, WorkerModel } from './models.js'

/** Options of {@link startWorker}. */
export interface WorkerOptions {
  /** Where the queue is. */
  connection: QueueConnection
  /** What the queue is called. Default: `lipbound`. */
  queue?: string | undefined
  /** The models to answer for: files as `loadModel` takes them, directories that hold some, networks. */
  models: ModelSource | readonly ModelSource[]
  /**
   * Jobs of a model that are worked on at a time; all share the job threads of the process. Default: twice the number of
   * these threads.
   */
  concurrency?: number | undefined
  /** Seconds for which jobs may go on when the worker is closed; those that take longer go back. Default: 30. */
  grace?: number | undefined
  /**
   * Seconds without a sign of life of a worker after which its jobs are given to others. All workers of a queue should
   * have the same. Default: 15.
   */
  stalledAfter?: number | undefined
  /**
   * How often a job may be lost with its worker before it is given up: what ends every worker that takes it, by using up
   * its memory say, must end some time. Default: 25.
   */
  stalledLimit?: number | undefined
  /** Called for what happens, for a log. What it throws is lost. */
  onEvent?: ((event: WorkerEvent) => unknown) | undefined
  /** Closes the worker when it aborts, with the time of `grace`. */
  signal?: AbortSignal | undefined
}

/** A model that a worker answers for. */
export interface ServedModel {
  /** SHA-256 of what the network computes: {@link Network.digest}. */
  readonly digest: string
  /** The file it was loaded from; absent for a network that was given. */
  readonly file?: string
}

/** A job that something happened to. */
export interface JobEvent<Type extends string> {
  /** What happened. */
  readonly type: Type
  /** Id of the job. */
  readonly job: string
  /** Digest of its model. */
  readonly model: string
}

/** What happens to a worker. */
export type WorkerEvent =
  | {
      /** The worker has begun to take jobs. */
      readonly type: 'ready'
      /** The models that it answers for. */
      readonly models: readonly ServedModel[]
    }
  /** A job has begun, is answered, has failed, was ended by its batch, or went back into the queue. */
  | JobEvent<'begun' | 'answered' | 'cancelled' | 'returned'>
  /** A job could not be answered. */
  | (JobEvent<'failed'> & {
      /** Why. */
      readonly error: Error
      /** Whether it will not be tried again. */
      readonly final: boolean
    })
  /** A job was found whose worker had gone; it is given to another. */
  | JobEvent<'stalled'>
  | {
      /** Something is wrong with the connection, which mends itself, or with the queue. */
      readonly type: 'error'
      /** What it is. */
      readonly error: Error
    }
  | {
      /** The worker takes no more jobs, or has ended. */
      readonly type: 'closing' | 'closed'
    }

const specification = {
  connection: (value: unknown): unknown => value,
  queue: optional(queueNameOption),
  models: modelSources,
  concurrency: optional(positiveInteger),
  grace: optional(nonNegative),
  stalledAfter: optional(positive),
  stalledLimit: optional(positiveInteger),
  onEvent: optional(callback<(event: WorkerEvent) => unknown>()),
  signal: optional(signal),
}

type Parsed = { [Key in keyof typeof specification]: ReturnType<(typeof specification)[Key]> }

/**
 * Starts a worker in this process. It takes jobs until it is closed, and survives a server that is away for a while.
 *
 * Jobs run in native threads, so that the event loop stays free and the worker keeps telling that it is alive.
 *
 * @param options - where the queue is, the models to answer for, and how to go about it
 * @returns a promise of the worker, once its models are loaded and it is connected
 * @throws {@link InputError} (by rejection) `ERR_LIPBOUND_ARGUMENT` for options that are wrong and for a server that does
 *   not answer, `ERR_LIPBOUND_DEPENDENCY` where BullMQ or its client is not installed, `ERR_LIPBOUND_FILE` where there is
 *   no model, and what `loadModel` throws
 *
 * @example
 * ```ts
 * const worker = await startWorker({ connection: 'redis://127.0.0.1', models: 'models', concurrency: 4 })
 * process.once('SIGTERM', () => void worker.close({ grace: 20 }))
 * ```
 */
export async function startWorker(options: WorkerOptions): Promise<QueueWorker> {
  throwIfAborted(options)
  const where = 'startWorker'
  const parsed = parseOptions(where, options, specification)
  const models = await loadModels(where, parsed.models)
  try {
    const backend = await openBackend(where, parsed.connection)
    const worker = new QueueWorker(backend, models, parsed)
    await worker.ready
    return worker
  } catch (error) {
    disposeModels(models)
    throw error
  }
}

function modelSources(value: unknown, subject: string): ModelSource[] {
  const sources = Array.isArray(value) ? (value as unknown[]) : [value]
  const isSource = (source: unknown): source is ModelSource =>
    (typeof source === 'string' && source !== '') || source instanceof URL || source instanceof Network
  if (sources.length === 0 || !sources.every(isSource)) {
    throw argumentError(subject, 'a file, a directory, a network, or an array of them', value)
  }
  return sources
}

/** Why a job ends before it is answered. */
type Interruption = 'cancelled' | 'returned'

/** Milliseconds between two reports of how far a job is. */
const REPORTING = 1000

/** Milliseconds that a server has, when there is nothing more to compute, to take what there is and let a worker go. */
const LETTING_GO = 10_000

/** A worker that runs. */
export class QueueWorker implements AsyncDisposable {
  /** The models it answers for. */
  readonly models: readonly ServedModel[]
  /** Resolves when the worker is closed. */
  readonly closed: Promise<void>
  /** @internal */
  readonly ready: Promise<void>
  readonly #options: Parsed
  readonly #backend: Backend
  readonly #models: readonly WorkerModel[]
  readonly #workers: readonly Worker<JobData, unknown>[]
  readonly #messages: QueueEvents
  /** What is worked on, by what {@link lifeOf} says. */
  readonly #running = new Map<string, AbortController>()
  /** The time of grace is over: whatever begins goes back. */
  #returning = false
  #closing: Promise<void> | undefined
  #close!: () => void

  /** @internal */
  constructor(backend: Backend, models: readonly WorkerModel[], options: Parsed) {
    this.#backend = backend
    this.#models = models
    this.#options = options
    this.models = models.map(({ digest, file }) => ({ digest, ...(file !== undefined && { file }) }))
    this.closed = new Promise((resolve) => (this.#close = resolve))
    this.#messages = backend.events(controlOf(options.queue ?? DEFAULT_QUEUE))
    this.#messages.on('error', this.#onError)
    onCancel(this.#messages, (job) => this.#running.get(job)?.abort('cancelled' satisfies Interruption))
    this.#workers = models.map((model) => this.#workerFor(model))
    this.ready = this.#start()
  }

  /**
   * Closes the worker: it takes no more jobs, those that are running may go on for `grace` seconds, and what is not done
   * by then goes back into the queue, where it was before this worker took it. Resolves when all of that has happened.
   */
  close({ grace = this.#options.grace ?? 30 }: { grace?: number | undefined } = {}): Promise<void> {
    this.#closing ??= this.#drain(nonNegative(grace, "close: option 'grace'"))
    return this.#closing
  }

  /** The same as {@link QueueWorker.close}, for `await using`. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.close()
  }

  async #start(): Promise<void> {
    await Promise.all([...this.#workers, this.#messages].map((part) => part.waitUntilReady()))
    this.#tell({ type: 'ready', models: this.models })
    const ending = this.#options.signal
    const onAbort = (): void => void this.close()
    ending?.addEventListener('abort', onAbort, { once: true })
    void this.closed.then(() => {
      ending?.removeEventListener('abort', onAbort)
    })
    if (ending?.aborted) onAbort()
  }

  async #drain(grace: number): Promise<void> {
    this.#tell({ type: 'closing' })
    const ended = new AbortController()
    // From here on they take nothing, and end when what they have has ended.
    const endings = Promise.all(this.#workers.map((worker) => worker.close()))
    const patience = sleep(1000 * grace, undefined, { signal: ended.signal }).then(
      () => {
        this.#returning = true
        for (const job of this.#running.values()) job.abort('returned' satisfies Interruption)
      },
      () => undefined,
    )
    const isDone = endings.then(() => this.#messages.close())
    // A server that is away takes nothing back; it will find out that the worker is gone.
    const giveUp = this.#whenIdle(ended.signal).then((idle) => {
      if (!idle) return
      this.#onError(new Error('the server does not answer: what is not given back will be found stalled'))
      for (const part of [...this.#workers, this.#messages]) part.disconnect().catch(() => undefined)
    })
    await Promise.race([isDone.catch(this.#onError), giveUp])
    ended.abort()
    await patience
    disposeModels(this.#models)
    this.#tell({ type: 'closed' })
    this.#close()
  }

  /** Whether nothing has been computed for some seconds, or else somebody does not want to know any more. */
  async #whenIdle(unasked: AbortSignal): Promise<boolean> {
    let since = performance.now()
    while (performance.now() - since < LETTING_GO) {
      if (this.#running.size > 0) since = performance.now()
      if (unasked.aborted) return false
      await sleep(100, undefined, { signal: unasked }).catch(() => undefined)
    }
    return true
  }

  #workerFor(model: WorkerModel): Worker<JobData, unknown> {
    const {
      queue = DEFAULT_QUEUE,
      concurrency = 2 * native.threads(),
      stalledAfter = 15,
      stalledLimit = 25,
    } = this.#options
    const lockDuration = Math.ceil(1000 * stalledAfter)
    const processor: Processor<JobData, unknown> = (job, token) => this.#process(model, job, token)
    const worker = this.#backend.worker(queueOf(queue, model.digest), processor, {
      concurrency,
      lockDuration,
      stalledInterval: Math.ceil(lockDuration / 2),
      maxStalledCount: stalledLimit,
      runRetryDelay: 1000,
      drainDelay: 2,
    })
    worker.on('error', this.#onError)
    worker.on('stalled', (job) => {
      this.#tell({ type: 'stalled', job, model: model.digest })
    })
    return worker
  }

  async #process(
    { network, digest }: WorkerModel,
    job: Job<JobData, unknown>,
    token: string | undefined,
  ): Promise<unknown> {
    const { UnrecoverableError, WaitingError } = this.#backend.bullmq
    const { id = '', data } = job
    const subject = { job: id, model: digest }
    const controller = new AbortController()
    this.#running.set(lifeOf(job), controller)
    if (this.#returning) controller.abort('returned' satisfies Interruption)
    this.#tell({ type: 'begun', ...subject })
    try {
      const result = await answer(network, requestOf(data, digest), {
        signal: controller.signal,
        onProgress: reporter(job),
      })
      this.#tell({ type: 'answered', ...subject })
      return toJson(result)
    } catch (error) {
      if (controller.signal.aborted) {
        const why = controller.signal.reason as Interruption
        this.#tell({ type: why, ...subject })
        if (why === 'cancelled') throw new UnrecoverableError(CANCELLED)
        // Back to where it was; it does not count as begun.
        this.#running.delete(lifeOf(job))
        await job.moveToWait(token)
        throw new WaitingError()
      }
      const { code, message } = errorToJson(error)
      const attempts = job.opts.attempts ?? 1
      const hopeless = isFinal(code)
      this.#tell({
        type: 'failed',
        ...subject,
        error: error instanceof Error ? error : new Error(String(error)),
        final: hopeless || job.attemptsMade + 1 >= attempts,
      })
      throw hopeless ? new UnrecoverableError(reasonText({ code, message })) : new Error(reasonText({ code, message }))
    } finally {
      // Unless the job was given to this worker again meanwhile, because it had seemed to be gone.
      if (this.#running.get(lifeOf(job)) === controller) this.#running.delete(lifeOf(job))
    }
  }

  readonly #onError = (error: unknown): void => {
    this.#tell({ type: 'error', error: error instanceof Error ? error : new Error(String(error)) })
  }

  #tell(event: WorkerEvent): void {
    try {
      this.#options.onEvent?.(event)
    } catch {
      // A log that does not work is no reason to stop working.
    }
  }
}

/** What is in a job, if it is for this network and this version of the package; neither is taken for granted. */
function requestOf(data: unknown, digest: string): ComputationRequest {
  if (typeof data !== 'object' || data === null) throw argumentError('job', 'an object', data)
  const { version, model, task, input, options } = data as Partial<Record<keyof JobData, unknown>>
  if (version !== packageVersion) {
    throw argumentError('job: version', `${packageVersion}, which this worker has`, version)
  }
  if (model !== digest) throw argumentError('job: model', `${digest}, whose queue this is`, model)
  return { task: checkTask(task, 'job: task'), input, options } as ComputationRequest
}

/** Tells the queue how far a job is, once a second at most. */
function reporter(job: Job<JobData, unknown>): (progress: Progress) => void {
  let last = performance.now()
  return ({ done, stage }) => {
    const now = performance.now()
    if (now - last < REPORTING) return
    last = now
    // The next one may come through.
    job.updateProgress({ done, stage } satisfies JobProgress).catch(() => undefined)
  }
}
