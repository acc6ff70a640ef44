/** Many inputs at a time: batches with back-pressure, in one process. */
import { Budget } from './budget.js'
import { throwIfAborted } from './cancellation.js'
import type { RunOptions } from './cancellation.js'
import { concurrently } from './concurrently.js'
import { InputError, LipboundError } from './errors.js'
import { native } from './native.js'
import {
  argumentError,
  callback,
  count,
  flag,
  optional,
  parseOptions,
  positive,
  positiveInteger,
  show,
  signal,
} from './options.js'
import type { Specification } from './options.js'
import type { PredictedMemory } from './results.js'
import { isTensor } from './tensor.js'
import type { TensorLike } from './tensor.js'

/** An input of a batch: a tensor; or one that is still to come, or to be fetched when its turn has come. */
export type BatchInput = TensorLike | PromiseLike<TensorLike> | (() => TensorLike | PromiseLike<TensorLike>)

/** An item of a batch that says more than what its input is. What is left out is taken from the options of the batch. */
export type BatchItem<Options> = Partial<Omit<Options, keyof RunOptions>> & {
  /** The input. */
  readonly input: BatchInput
  /** Comes back with the outcome, whatever it is: a file name, a key of a database. */
  readonly id?: unknown
}

/** The items of a batch: inputs, or inputs with what is their own. Iterables are read as there is room, not in advance. */
export type BatchSource<Options> =
  Iterable<BatchInput | BatchItem<Options>> | AsyncIterable<BatchInput | BatchItem<Options>>

/** What every batch can be told. */
export interface BatchControl {
  /**
   * Items that are worked on at a time. Default: twice the number of job threads, so that none of them waits for the
   * event loop. All that is computed at a time in a process shares its job threads, and networks get equal shares of them.
   */
  concurrency?: number | undefined
  /**
   * Bytes that the network and the computations of this batch may take together, by what {@link NetworkSummary.memory}
   * predicts. Fewer are worked on at a time where that is needed; where not even one fits, nothing begins. Default: half of
   * the memory that is free, or one computation at a time, whatever it takes.
   */
  memoryLimit?: number | undefined
  /** Whether outcomes come in the order of the items (default), or each as soon as it is there. */
  ordered?: boolean | undefined
  /** How many items there are, for the progress of a source that does not tell (an array does). */
  total?: number | undefined
  /** Called after each item. If it throws, the batch ends with what it threw. */
  onProgress?: ((progress: BatchProgress) => unknown) | undefined
  /** Ends the batch: the iterator rejects at once with `signal.reason`, and what is running ends at its next step. */
  signal?: AbortSignal | undefined
}

/** How far a batch is. */
export interface BatchProgress {
  /** Items that have an outcome. */
  readonly done: number
  /** Those of them whose outcome is an error. */
  readonly failed: number
  /** All items, where that is known. */
  readonly total?: number
  /** Seconds since the first item was read. */
  readonly seconds: number
  /** Items per second so far. */
  readonly rate: number
  /** Seconds left at that rate, where the number of items is known. */
  readonly secondsLeft?: number
}

/** What became of an item. */
export type BatchOutcome<Result> = BatchAnswer<Result> | BatchFault

/** An item that was answered. */
export interface BatchAnswer<Result> {
  /** Place of the item among all, from 0. */
  readonly index: number
  /** What the item gave as such. */
  readonly id?: unknown
  /** There is a result. */
  readonly ok: true
  /** The answer. */
  readonly result: Result
}

/** An item that could not be answered. The others are not touched by it. */
export interface BatchFault {
  /** Place of the item among all, from 0. */
  readonly index: number
  /** What the item gave as such. */
  readonly id?: unknown
  /** There is none. */
  readonly ok: false
  /** Why: an error of this package, or whatever the item's own input was rejected with. */
  readonly error: Error
}

/** The checks of the options of a batch, without those of its items. */
const batchSpecification = {
  concurrency: optional(positiveInteger),
  memoryLimit: optional(positive),
  ordered: optional(flag),
  total: optional(count),
  onProgress: optional(callback<(progress: BatchProgress) => unknown>()),
  signal: optional(signal),
}

type Control = Readonly<BatchControl>

/** How many outcomes may wait for a slow reader, or for an earlier item, for each item that is worked on. */
const AHEAD = 4

/** What a batch does with its items. */
export interface BatchWork<Options, Result> {
  /** The method that was called, as messages name it. */
  readonly where: string
  /** The network that is at work. */
  readonly memory: PredictedMemory
  /** Bytes that an item takes at most, with the options that it has of its own. */
  demand: (own: Partial<Options>) => number
  /** The answer to an item. */
  compute: (input: TensorLike, own: Partial<Options>, run: RunOptions) => Promise<Result>
}

/** Computes the answers to the items of a batch. */
export async function* batch<Options extends object, Result>(
  source: BatchSource<Options>,
  control: Control,
  work: BatchWork<Options, Result>,
): AsyncGenerator<BatchOutcome<Result>, void, undefined> {
  checkSource(work.where, source)
  const asked = control.concurrency ?? 2 * native.threads()
  const budget = new Budget(work.where, work.memory, work.demand({}), asked, control.memoryLimit)
  const { concurrency } = budget
  const { ordered = true, signal: ending } = control
  const progress = new Tally(control, source)
  if (Array.isArray(source)) source.forEach(expectRejection)
  const limits = { concurrency, window: AHEAD * concurrency, ordered, signal: ending }
  yield* concurrently(source, limits, async (item, index, abandoned) => {
    const outcome = await attempt(work, budget, item, index, abandoned)
    if (!abandoned.aborted) await progress.count(outcome)
    return outcome
  })
}

async function attempt<Options extends object, Result>(
  { where, demand, compute }: BatchWork<Options, Result>,
  budget: Budget,
  item: BatchInput | BatchItem<Options>,
  index: number,
  abandoned: AbortSignal,
): Promise<BatchOutcome<Result>> {
  const { input, id, ...own } = toItem<Options>(item)
  const place = { index, ...(id !== undefined && { id }) }
  expectRejection(input)
  try {
    const options = own as Partial<Options>
    budget.check(demand(options))
    const fetched = await (typeof input === 'function' ? input() : input)
    const result = await compute(fetched, options, { signal: abandoned })
    return { ...place, ok: true, result }
  } catch (error) {
    // A network that is gone has an answer to nothing.
    if (abandoned.aborted || (error instanceof LipboundError && error.code === 'ERR_LIPBOUND_DISPOSED')) throw error
    return { ...place, ok: false, error: toError(where, index, error) }
  }
}

/**
 * An input that is still to come may be rejected before its turn, or when nobody wants it any more. It is looked at when its
 * turn comes, and until then that must not end the process.
 */
export function expectRejection(item: unknown): void {
  const input = isItem(item) ? item.input : item
  // Only what is under way by itself: others may begin when they are asked.
  if (input instanceof Promise) input.catch(() => undefined)
}

/** An item in its longest form, with the options that it really has: undefined stands for that of the batch. */
export function toItem<Options>(given: unknown): BatchItem<Options> {
  if (!isItem<Options>(given)) return { input: given } as BatchItem<Options>
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value !== undefined)) as BatchItem<Options>
}

/** An item is the only form of input that has a property of that name. */
function isItem<Options>(item: unknown): item is BatchItem<Options> {
  return typeof item === 'object' && item !== null && 'input' in item && !isTensor(item)
}

function toError(where: string, index: number, thrown: unknown): Error {
  if (thrown instanceof Error) return thrown
  // Not every object is a text.
  const what = typeof thrown === 'string' ? thrown : show(thrown)
  const message = `${where}: the input of item ${index} could not be had: ${what}`
  return new InputError('ERR_LIPBOUND_ARGUMENT', message, { cause: thrown })
}

/** What is an iterable of inputs, and not one input. */
export function checkSource(where: string, source: unknown): void {
  const iterable =
    typeof source === 'object' &&
    source !== null &&
    // One tensor is no batch of numbers.
    !ArrayBuffer.isView(source) &&
    (Symbol.iterator in source || Symbol.asyncIterator in source)
  if (!iterable) throw argumentError(`${where}: inputs`, 'an iterable or async iterable of inputs', source)
}

/** Counts outcomes, and tells how far the batch is. */
class Tally {
  readonly #onProgress: Control['onProgress']
  readonly #total: number | undefined
  readonly #started = performance.now()
  #done = 0
  #failed = 0

  constructor({ onProgress, total }: Control, source: object) {
    this.#onProgress = onProgress
    this.#total = total ?? (Array.isArray(source) ? source.length : undefined)
  }

  async count({ ok }: BatchOutcome<unknown>): Promise<void> {
    this.#done += 1
    if (!ok) this.#failed += 1
    await this.#onProgress?.(this.#progress())
  }

  #progress(): BatchProgress {
    const seconds = (performance.now() - this.#started) / 1000
    const rate = this.#done / seconds
    const total = this.#total
    return {
      done: this.#done,
      failed: this.#failed,
      seconds,
      rate,
      ...(total !== undefined && { total, secondsLeft: Math.max(0, total - this.#done) / rate }),
    }
  }
}

/**
 * The options of a batch, checked and taken apart: how to go about it, and what each of its items is asked, as it was given.
 *
 * @param specification - the checks of what items are asked
 */
export function parseBatch<Options extends BatchControl>(
  where: string,
  options: Options,
  specification: Specification,
): { control: Control; shared: Omit<Options, keyof BatchControl> } {
  throwIfAborted(options)
  parseOptions(where, options, { ...specification, ...batchSpecification })
  const { concurrency, memoryLimit, ordered, total, onProgress, signal: ending, ...shared } = options
  return { control: { concurrency, memoryLimit, ordered, total, onProgress, signal: ending }, shared }
}
