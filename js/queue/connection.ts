/** Where a queue is: Redis or PostgreSQL, and BullMQ on top of it, loaded when a queue is first used. */
import { setTimeout as sleep } from 'node:timers/promises'

import type {
  BackendFactory,
  ConnectionOptions,
  Processor,
  Queue,
  QueueEvents,
  QueueEventsProducer,
  RedisQueueBackend,
  Worker,
  WorkerOptions,
} from 'bullmq'

import { InputError } from '../errors.js'
import { argumentError } from '../options.js'
import { load } from '../dependency.js'
import type { JobData } from './job.js'

/**
 * Where the queue is: a URL (`redis:`, `rediss:`, `postgres:` or `postgresql:`), or the options of a client: those of
 * ioredis, or those of a pool of `pg` with BullMQ's own (`schema`).
 */
export type QueueConnection =
  | string
  | {
      /** Options of ioredis: `host`, `port`, `password`, `tls`, ... */
      readonly redis: Readonly<Record<string, unknown>>
    }
  | {
      /** Options of a pool of `pg`: `connectionString`, ..., and BullMQ's `schema`. */
      readonly postgres: Readonly<Record<string, unknown>>
    }

/** BullMQ's classes, on the server of a connection. */
export interface Backend {
  /** BullMQ itself. */
  readonly bullmq: typeof import('bullmq')
  /** A queue, for those who put jobs into it. */
  queue(name: string): Queue<JobData, unknown>
  /** What happens in a queue. */
  events(name: string): QueueEvents
  /** For messages of our own among the events of a queue. */
  publisher(name: string): QueueEventsProducer
  /** A worker of a queue. */
  worker(name: string, processor: Processor<JobData, unknown>, options: WorkerSettings): Worker<JobData, unknown>
}

/** What a worker is told beside its connection. */
export type WorkerSettings = Omit<WorkerOptions, 'connection'>

/**
 * How many events a queue keeps, about. Results travel as events, and those that a reader misses it asks for, so that
 * few are enough.
 */
const EVENTS = 1000

/**
 * Loads BullMQ and makes sure that the server answers.
 *
 * @param where - the function that was given the connection, as messages name it
 * @throws {@link InputError} `ERR_LIPBOUND_ARGUMENT` for what is no connection, or where nobody answers;
 *   `ERR_LIPBOUND_DEPENDENCY` for a package that is not installed
 */
export async function openBackend(where: string, connection: unknown): Promise<Backend> {
  const subject = `${where}: option 'connection'`
  const server = parseConnection(subject, connection)
  const bullmq = await load(() => import('bullmq'), 'bullmq', 'queues')
  const [options, factory] =
    'redis' in server
      ? [await openRedis(subject, server.redis), undefined]
      : [await openPostgres(subject, server.postgres), bullmq.createPostgresBackend]
  // BullMQ's classes are typed by their server, which makes no difference for what is done with them here.
  const shared = { connection: options as ConnectionOptions }
  const backend = factory as unknown as BackendFactory<RedisQueueBackend>
  return {
    bullmq,
    queue: (name) =>
      new bullmq.Queue<JobData, unknown>(name, { ...shared, streams: { events: { maxLen: EVENTS } } }, backend),
    events: (name) => new bullmq.QueueEvents(name, shared, backend),
    publisher: (name) => new bullmq.QueueEventsProducer(name, shared, backend),
    worker: (name, processor, settings) =>
      new bullmq.Worker<JobData, unknown>(name, processor, { ...shared, ...settings }, backend),
  }
}

type Options = Readonly<Record<string, unknown>>

function parseConnection(subject: string, connection: unknown): { redis: Options } | { postgres: Options } {
  if (typeof connection === 'string') return parseUrl(subject, connection)
  if (typeof connection === 'object' && connection !== null) {
    const [[kind, options] = [], ...others] = Object.entries(connection)
    const known = kind === 'redis' || kind === 'postgres'
    if (known && others.length === 0 && typeof options === 'object' && options !== null) {
      return kind === 'redis' ? { redis: options as Options } : { postgres: options as Options }
    }
  }
  // Not shown: it may have a password in it.
  throw new InputError('ERR_LIPBOUND_ARGUMENT', `${subject} must be a URL, { redis: options } or { postgres: options }`)
}

function parseUrl(subject: string, text: string): { redis: Options } | { postgres: Options } {
  const allowed = 'a URL such as redis://127.0.0.1:6379 or postgres://user@127.0.0.1:5432/database'
  if (!URL.canParse(text)) throw argumentError(subject, allowed, withoutPassword(text))
  switch (new URL(text).protocol) {
    case 'redis:':
    case 'rediss:':
      return { redis: { url: text } }
    case 'postgres:':
    case 'postgresql:':
      return { postgres: { connectionString: text } }
    default:
      throw argumentError(subject, allowed, withoutPassword(text))
  }
}

/** A URL as messages may show it. */
function withoutPassword(url: string): string {
  return url.replace(/\/\/[^@/]*@/, '//')
}

/** The longest wait between two attempts to connect again, in milliseconds. */
const LONGEST_WAIT = 5000

async function openRedis(subject: string, given: Options): Promise<Options> {
  const { Redis } = await load(() => import('ioredis'), 'ioredis', 'queues in Redis')
  const { url, ...others } = given
  const impatient = { ...others, lazyConnect: true, maxRetriesPerRequest: 0, retryStrategy: () => null }
  const client = typeof url === 'string' ? new Redis(url, impatient) : new Redis(impatient)
  let reason: unknown
  client.on('error', (error: unknown) => (reason = error))
  try {
    await client.connect()
    await client.ping()
  } catch (error) {
    const { host = '127.0.0.1', port = 6379 } = client.options
    throw unreachable(subject, 'Redis', `${host}:${port}`, reason ?? error)
  } finally {
    client.disconnect()
  }
  // Commands wait for the server, however long it is away.
  const retryStrategy = (times: number): number => Math.min(250 * times, LONGEST_WAIT)
  return { retryStrategy, ...given, maxRetriesPerRequest: null }
}

async function openPostgres(subject: string, given: Options): Promise<Options> {
  const { Client } = await load(() => import('pg'), 'pg', 'queues in PostgreSQL')
  const client = new Client({ ...given, connectionTimeoutMillis: 10_000 })
  // What goes wrong after it is said by the query.
  client.on('error', () => undefined)
  try {
    await client.connect()
    await client.query('SELECT 1')
  } catch (error) {
    throw unreachable(subject, 'PostgreSQL', `${client.host}:${client.port}`, error)
  } finally {
    await client.end().catch(() => undefined)
  }
  return { max: 4, ...given, migrate: true }
}

function unreachable(subject: string, server: string, place: string, error: unknown): InputError {
  const why = reasonOf(error)
  return new InputError('ERR_LIPBOUND_ARGUMENT', `${subject}: ${server} at ${place} does not answer: ${why}`, {
    cause: error,
  })
}

/** What an error says; one of several addresses has its message in the first of its parts. */
function reasonOf(error: unknown): string {
  if (error instanceof AggregateError) return reasonOf(error.errors[0])
  if (!(error instanceof Error)) return String(error)
  return error.message === '' && 'code' in error ? String(error.code) : error.message
}

/** What goes wrong when a server goes away or is not back yet. */
const GONE =
  /ECONN|EPIPE|ETIMEDOUT|EHOSTUNREACH|ENETUNREACH|EAI_AGAIN|Connection (is|was )?(closed|terminated|ended)|terminating connection|starting up|shutting down|timeout exceeded when trying to connect|READONLY|LOADING/i

/** What Redis says when it has no room, no disk or no time at the moment. */
const BUSY = /^(OOM|MISCONF|BUSY|CLUSTERDOWN|MASTERDOWN|TRYAGAIN|NOREPLICAS)\b/

/** The same for PostgreSQL: shutting down, connections, too few resources, a deadlock or another transaction. */
const PASSING = /^(57P0[1-3]|08...|53...|40001|40P01)$/

/** Whether the server is away or cannot just now, which passes, unlike what is wrong with a command. */
export function isPassing(error: unknown): boolean {
  if (error instanceof AggregateError) return error.errors.some(isPassing)
  if (!(error instanceof Error)) return false
  const { message } = error
  const code = 'code' in error ? String(error.code) : ''
  return GONE.test(message) || GONE.test(code) || BUSY.test(message) || PASSING.test(code)
}

/**
 * Does something again until the server does it.
 *
 * @param signal - that nobody waits for it any more: it then rejects with what went wrong last
 */
export async function persistently<Result>(work: () => Promise<Result>, signal: AbortSignal): Promise<Result> {
  for (;;) {
    try {
      return await work()
    } catch (error) {
      if (signal.aborted || !isPassing(error)) throw error
      await sleep(500, undefined, { signal }).catch(() => undefined)
    }
  }
}
