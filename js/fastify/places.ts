/** Who may compute, and who has to wait. Single requests go before the items of batches, which have a part of the places. */
import { ServiceError } from './failures.js'
import type { ServiceLimits } from './limits.js'

/** Gives a place back; more than once does no harm. */
export type Release = () => void

interface Waiting {
  readonly start: () => void
}

/** The places in which computations run. */
export class Places {
  readonly #limits: Pick<ServiceLimits, 'computations' | 'batchComputations' | 'waiting'>
  readonly #requests = new Set<Waiting>()
  readonly #items = new Set<Waiting>()
  #running = 0
  #runningItems = 0

  constructor(limits: Pick<ServiceLimits, 'computations' | 'batchComputations' | 'waiting'>) {
    this.#limits = limits
  }

  /** Computations that run. */
  get running(): number {
    return this.#running
  }

  /** Computations that wait. */
  get waiting(): number {
    return this.#requests.size + this.#items.size
  }

  /**
   * Takes a place for a request.
   *
   * @param signal - ends the waiting
   * @throws {@link ServiceError} `ERR_LIPBOUND_BUSY` where too many wait already; `signal.reason`
   */
  async forRequest(signal: AbortSignal): Promise<Release> {
    if (!this.#roomForRequest && this.#requests.size >= this.#limits.waiting) {
      const message = `${this.#running} computations are running and ${this.#requests.size} requests are waiting`
      throw new ServiceError('ERR_LIPBOUND_BUSY', message)
    }
    await this.#turn(this.#requests, signal)
    return this.#release(() => (this.#running -= 1))
  }

  /** Takes a place for an item of a batch; how many of them wait is for the batches to limit. */
  async forItem(signal: AbortSignal): Promise<Release> {
    await this.#turn(this.#items, signal)
    return this.#release(() => {
      this.#running -= 1
      this.#runningItems -= 1
    })
  }

  get #roomForRequest(): boolean {
    return this.#running < this.#limits.computations
  }

  get #roomForItem(): boolean {
    return this.#roomForRequest && this.#runningItems < this.#limits.batchComputations
  }

  #turn(line: Set<Waiting>, signal: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        line.delete(waiting)
        reject(signal.reason as Error)
      }
      const waiting = {
        start: () => {
          signal.removeEventListener('abort', leave)
          resolve()
        },
      }
      if (signal.aborted) {
        leave()
        return
      }
      signal.addEventListener('abort', leave, { once: true })
      line.add(waiting)
      this.#next()
    })
  }

  #release(give: () => void): Release {
    let held = true
    return () => {
      if (!held) return
      held = false
      give()
      this.#next()
    }
  }

  #next(): void {
    for (const first of this.#requests) {
      if (!this.#roomForRequest) return
      this.#requests.delete(first)
      this.#running += 1
      first.start()
    }
    for (const first of this.#items) {
      if (!this.#roomForItem) return
      this.#items.delete(first)
      this.#running += 1
      this.#runningItems += 1
      first.start()
    }
  }
}
