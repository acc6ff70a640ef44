/**
 * Work on many items, some at a time, with back-pressure: the source is read no faster than there is room for, and no
 * further ahead of the reader than that.
 */
import { onAbort } from './cancellation.js'

/** How far to go at a time. */
export interface Concurrency {
  /** Items that are worked on at a time. */
  readonly concurrency: number
  /** Items that are worked on or wait to be taken by the reader; at least `concurrency`. */
  readonly window: number
  /** Whether results come in the order of the items, or as they are done. */
  readonly ordered: boolean
  /** Ends everything: what is running is told, and the reader gets `signal.reason`. */
  readonly signal?: AbortSignal | undefined
}

/**
 * Applies `work` to the items of a source.
 *
 * What it throws ends everything, and so does what the source throws. A reader that stops early, by `break` or `return()`,
 * ends what is running and closes the source.
 *
 * @param source - the items; read one at a time, from the first reading of a result on
 * @param work - what to do with an item; its signal says that nobody wants the result any more
 */
export async function* concurrently<Item, Result>(
  source: Iterable<Item> | AsyncIterable<Item>,
  limits: Concurrency,
  work: (item: Item, index: number, signal: AbortSignal) => Promise<Result>,
): AsyncGenerator<Result, void, undefined> {
  const crew = new Crew(source, limits, work)
  try {
    yield* crew.results()
  } finally {
    await crew.dismiss()
  }
}

/** A result that waits for the reader, in a box, since it may be undefined. */
interface Done<Result> {
  readonly result: Result
}

class Crew<Item, Result> {
  readonly #iterator: Iterator<Item, unknown> | AsyncIterator<Item, unknown>
  readonly #limits: Concurrency
  readonly #work: (item: Item, index: number, signal: AbortSignal) => Promise<Result>
  /** Tells what is running that its result is not wanted any more. */
  readonly #ending = new AbortController()
  /** By the index of their item. */
  readonly #done = new Map<number, Done<Result>>()
  #started = 0
  #running = 0
  #delivered = 0
  #reading = false
  #exhausted = false
  #closed = false
  /** Why no more will come, in a box, since anything can be thrown. */
  #failure: { readonly reason: unknown } | undefined
  #wake: (() => void) | undefined
  readonly #unsubscribe: (() => void) | undefined

  constructor(
    source: Iterable<Item> | AsyncIterable<Item>,
    limits: Concurrency,
    work: (item: Item, index: number, signal: AbortSignal) => Promise<Result>,
  ) {
    this.#iterator = Symbol.asyncIterator in source ? source[Symbol.asyncIterator]() : source[Symbol.iterator]()
    this.#limits = limits
    this.#work = work
    const { signal } = limits
    if (signal === undefined) return
    const end = (): void => {
      this.#fail(signal.reason)
    }
    this.#unsubscribe = onAbort(signal, end)
    if (signal.aborted) end()
  }

  async *results(): AsyncGenerator<Result, void, undefined> {
    this.#read()
    for (;;) {
      if (this.#failure) throw this.#failure.reason
      const next = this.#take()
      if (next) {
        this.#read()
        yield next.result
      } else if (this.#exhausted && this.#delivered === this.#started) {
        return
      } else {
        await new Promise<void>((resolve) => (this.#wake = resolve))
      }
    }
  }

  /** Ends what is running and closes the source. */
  async dismiss(): Promise<void> {
    this.#closed = true
    this.#unsubscribe?.()
    this.#ending.abort(this.#failure?.reason)
    if (this.#exhausted) return
    const closing = this.#closeSource()
    // A source that is stuck, or that we give up, is not waited for; how it then ends is nobody's concern.
    if (this.#reading || this.#failure) closing.catch(() => undefined)
    else await closing
  }

  /** What a source throws while it is closed must not take the place of what has gone wrong before: it is a rejection. */
  async #closeSource(): Promise<void> {
    await this.#iterator.return?.()
  }

  /** Reads an item and starts with it, if there is room; then another one, if there still is. */
  #read(): void {
    const { concurrency, window } = this.#limits
    const room = this.#running < concurrency && this.#started - this.#delivered < window
    if (!room || this.#reading || this.#exhausted || this.#closed || this.#failure) return
    this.#reading = true
    void this.#readOne()
  }

  async #readOne(): Promise<void> {
    try {
      const step = await this.#iterator.next()
      this.#reading = false
      if (step.done === true) this.#exhausted = true
      else if (!this.#closed && !this.#failure) void this.#start(step.value)
      this.#notify()
    } catch (error) {
      this.#reading = false
      // A source that has thrown is at its end.
      this.#exhausted = true
      this.#fail(error)
    }
  }

  async #start(item: Item): Promise<void> {
    const index = this.#started++
    this.#running += 1
    try {
      const result = await this.#work(item, index, this.#ending.signal)
      this.#done.set(index, { result })
    } catch (error) {
      this.#fail(error)
    } finally {
      this.#running -= 1
      this.#notify()
    }
  }

  /** The next result for the reader, if it is there. */
  #take(): Done<Result> | undefined {
    const [index] = this.#limits.ordered ? [this.#delivered] : this.#done.keys()
    if (index === undefined) return undefined
    const next = this.#done.get(index)
    if (next && this.#done.delete(index)) this.#delivered += 1
    return next
  }

  /** The first failure counts, and ends what is running, even if the reader is not there to hear of it. */
  #fail(reason: unknown): void {
    this.#failure ??= { reason }
    this.#ending.abort(this.#failure.reason)
    this.#notify()
  }

  #notify(): void {
    this.#read()
    this.#wake?.()
  }
}
