/** When work ends before it is done: the client has gone, time is up, or the service stops. */
import type { ServerResponse } from 'node:http'

import { ServiceError } from './failures.js'

/** What has to be ended some day, one of them for each request that computes. */
export interface Ending {
  readonly signal: AbortSignal
  /** Ends the work with this reason, if nothing else has. */
  end(reason: ServiceError): void
  /** The work is over. */
  over(): void
}

/** All that runs in a service. */
export class Endings {
  readonly #running = new Set<Ending>()
  readonly #answering = new Set<ServerResponse>()
  #idle: (() => void) | undefined
  #stopping = false

  /** Whether no new work is taken. */
  get stopping(): boolean {
    return this.#stopping
  }

  /** Notes a request that is being answered, until it was or its client has gone. */
  answering(response: ServerResponse): void {
    this.#answering.add(response)
    response.once('close', () => {
      this.#answering.delete(response)
      if (this.#answering.size === 0) this.#idle?.()
    })
  }

  /** Begins with some work. */
  begin(response: ServerResponse, seconds: number): Ending {
    const controller = new AbortController()
    const timer = setTimeout(() => {
      end(new ServiceError('ERR_LIPBOUND_TIMEOUT', `this takes longer than ${seconds} seconds`))
    }, seconds * 1000)
    // The response closes when it was sent, which ends nothing, or when the client has gone. (The request closes once
    // its body was read.)
    const onClose = (): void => {
      end(new ServiceError('ERR_LIPBOUND_GONE', 'the client has gone'))
    }
    const end = (reason: ServiceError): void => {
      controller.abort(reason)
    }
    const over = (): void => {
      clearTimeout(timer)
      response.off('close', onClose)
      this.#running.delete(ending)
    }
    const ending = { signal: controller.signal, end, over }
    response.once('close', onClose)
    if (response.destroyed) onClose()
    this.#running.add(ending)
    return ending
  }

  /** Takes no more work, waits for what runs, and ends what still does after so many seconds. */
  async stop(grace: number): Promise<void> {
    this.#stopping = true
    if (await this.#becomesIdle(grace)) return
    for (const ending of [...this.#running]) {
      ending.end(new ServiceError('ERR_LIPBOUND_STOPPING', 'the service is stopping'))
    }
    // Answers to that are short; who does not read them now will not.
    await this.#becomesIdle(1)
  }

  async #becomesIdle(seconds: number): Promise<boolean> {
    if (this.#answering.size === 0) return true
    let timer: NodeJS.Timeout | undefined
    const idle = new Promise<boolean>((resolve) => {
      this.#idle = () => {
        resolve(true)
      }
      timer = setTimeout(() => {
        resolve(false)
      }, seconds * 1000)
    })
    const became = await idle
    clearTimeout(timer)
    return became
  }
}
