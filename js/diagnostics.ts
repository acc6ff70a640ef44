/**
 * What goes on inside, for those who watch a program: three channels of `node:diagnostics_channel`, which cost nothing
 * while nobody has subscribed.
 */
import { channel } from 'node:diagnostics_channel'

import type { Progress } from './results.js'

/** What is computed; the name of the function or method that was called. */
export type Operation = 'bound' | 'globalBound' | 'sweep' | 'certifiedRadius' | 'check' | 'evaluate' | 'norm' | 'load'

/** A computation has been asked for: the message of channel `lipbound:start`. */
export interface StartMessage {
  /** The same in all messages of a computation; counts from 1 in each thread. */
  readonly id: number
  /** What is computed. */
  readonly operation: Operation
  /** The name of the network, where it has one. */
  readonly network?: string
}

/** A computation has come further: the message of channel `lipbound:step`. */
export interface StepMessage extends StartMessage {
  /** Seconds since the start. */
  readonly seconds: number
  /** Where it stands. */
  readonly progress: Progress
}

/** A computation is over: the message of channel `lipbound:end`. */
export interface EndMessage extends StartMessage {
  /** Seconds since the start, those among them in which it waited for a job thread. */
  readonly seconds: number
  /** Whether it was answered, was ended by its signal (or because `onProgress` threw), or could not be answered. */
  readonly outcome: 'answered' | 'aborted' | 'failed'
  /** Why it could not be answered. */
  readonly error?: unknown
}

const starts = channel('lipbound:start')
const steps = channel('lipbound:step')
const ends = channel('lipbound:end')

let computations = 0

/** A computation, as subscribers see it. */
export class Trace {
  readonly #start: StartMessage
  readonly #started = performance.now()

  private constructor(start: StartMessage) {
    this.#start = start
    starts.publish(start)
  }

  /** Begins a computation; nothing if nobody watches. */
  static begin(operation: Operation, network: string | undefined): Trace | undefined {
    if (!starts.hasSubscribers && !steps.hasSubscribers && !ends.hasSubscribers) return undefined
    return new Trace({ id: ++computations, operation, ...(network !== undefined && { network }) })
  }

  /** Whether anybody wants to hear of steps. */
  get steps(): boolean {
    return steps.hasSubscribers
  }

  step(progress: Progress): void {
    steps.publish({ ...this.#start, seconds: this.#seconds, progress } satisfies StepMessage)
  }

  end(outcome: EndMessage['outcome'], error?: unknown): void {
    const message: EndMessage = { ...this.#start, seconds: this.#seconds, outcome }
    ends.publish(error === undefined ? message : ({ ...message, error } satisfies EndMessage))
  }

  get #seconds(): number {
    return (performance.now() - this.#started) / 1000
  }
}
