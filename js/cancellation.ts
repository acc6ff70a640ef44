/**
 * Abort signals and progress callbacks around native work.
 *
 * Both stay on this side: a signal of the caller becomes a token the native part polls, and a callback of the
 * caller that throws becomes a rejection, never an uncaught exception out of native code.
 */
import { Trace } from './diagnostics.js'
import type { Operation } from './diagnostics.js'
import { fromNative } from './errors.js'
import type { LipboundError } from './errors.js'
import { isFailure, native } from './native.js'
import type { CancelToken, NativeProgress, Outcome } from './native.js'
import { isAbortSignal } from './options.js'
import type { Progress } from './results.js'

/** What everything that may take long accepts. */
export interface RunOptions {
  /** Aborts the work: the promise rejects at once with `signal.reason`, and the work ends at its next step. */
  signal?: AbortSignal | undefined
  /** Called now and then while the work runs. If it throws, the promise rejects with what it threw. */
  onProgress?: ((progress: Progress) => unknown) | undefined
}

/**
 * Throws `signal.reason` if the signal in these options is aborted already. It is the first thing an entry point
 * does, so that nothing else happens, not even the validation of the other options.
 */
export function throwIfAborted(options: unknown): void {
  if (typeof options !== 'object' || options === null || !('signal' in options)) return
  if (isAbortSignal(options.signal) && options.signal.aborted) throw options.signal.reason
}

/** What {@link run} may need beside the work itself. */
export interface RunDetails<Result> {
  /** What is computed, for `diagnostics.ts`. */
  operation: Operation
  /** Name of the network at work, for the same. */
  network?: string | undefined
  /** Put before the messages of errors, see {@link fromNative}. */
  context?: string
  /** Frees a result that came after the promise was settled otherwise. */
  discard?: (result: Result) => void
}

/**
 * Runs native work under the caller's signal and progress callback, and makes a rejection of its failure. All
 * native work goes through here, be it with a signal or not.
 *
 * The promise settles once and for all by whichever comes first: the work's own end, the signal, or an exception
 * out of `onProgress`. In the latter two cases the work is told to stop and what becomes of it is ignored.
 * Nothing stays attached to the signal afterwards.
 */
export async function run<Result>(
  options: RunOptions,
  start: Start<Result>,
  details: RunDetails<Result>,
): Promise<Result> {
  const trace = Trace.begin(details.operation, details.network)
  // Errors are made here and not in a callback, so that their stack leads to the caller.
  const failed = (cause: unknown): LipboundError => {
    const error = fromNative(cause, details.context)
    trace?.end('failed', error)
    return error
  }
  let outcome
  try {
    outcome = await settle(options, start, details, trace)
  } catch (error) {
    throw failed(error)
  }
  if (isFailure(outcome)) throw failed(outcome)
  if (outcome instanceof Abandoned) {
    trace?.end('aborted')
    throw outcome.reason
  }
  trace?.end('answered')
  return outcome
}

/** Starts the work; must not be called twice. */
export type Start<Result> = (token: CancelToken, onProgress?: NativeProgress) => Promise<Outcome<Result>>

/** The end of work that the caller no longer wants, with the caller's reason, whatever that is. */
class Abandoned {
  constructor(readonly reason: unknown) {}
}

function settle<Result>(
  { signal, onProgress }: RunOptions,
  start: Start<Result>,
  { context, discard }: RunDetails<Result>,
  trace: Trace | undefined,
): Promise<Outcome<Result> | Abandoned> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) {
      resolve(new Abandoned(signal.reason))
      return
    }
    const token = new native.CancelToken()
    let settled = false
    const conclude = (): boolean => {
      if (settled) return false
      settled = true
      unsubscribe?.()
      return true
    }
    const abandon = (reason: unknown): void => {
      if (!conclude()) return
      token.cancel()
      resolve(new Abandoned(reason))
    }
    const report =
      onProgress || trace?.steps
        ? (progress: Progress): void => {
            if (settled) return
            trace?.step(progress)
            try {
              // An async callback is welcome too; its rejection counts as a throw.
              Promise.resolve(onProgress?.(progress)).catch(abandon)
            } catch (error) {
              abandon(error)
            }
          }
        : undefined
    const unsubscribe =
      signal &&
      onAbort(signal, () => {
        abandon(signal.reason)
      })
    const end = (outcome: Outcome<Result>): void => {
      if (conclude()) resolve(outcome)
      else if (!isFailure(outcome)) discard?.(outcome)
    }
    const fail = (error: unknown): void => {
      if (conclude()) reject(fromNative(error, context))
    }
    try {
      start(token, report).then(end, fail)
    } catch (error) {
      fail(error)
    }
  })
}

const listeners = new WeakMap<AbortSignal, Set<() => void>>()

/**
 * Calls back when the signal aborts, until the returned function is called. However many calls share a signal, it
 * has one listener of ours and, after the last call, none; Node warns of a leak at eleven.
 */
export function onAbort(signal: AbortSignal, callback: () => void): () => void {
  let callbacks = listeners.get(signal)
  if (callbacks === undefined) {
    callbacks = new Set()
    listeners.set(signal, callbacks)
  }
  const shared = callbacks
  if (shared.size === 0) signal.addEventListener('abort', notifyAll)
  shared.add(callback)
  return () => {
    shared.delete(callback)
    if (shared.size === 0) signal.removeEventListener('abort', notifyAll)
  }
}

function notifyAll(this: AbortSignal): void {
  // A copy: each callback takes itself out of the set.
  for (const callback of [...(listeners.get(this) ?? [])]) callback()
}
