/**
 * Every error this package throws on purpose, in one table, and the classes that carry them.
 *
 * The `code` is stable and meant for programs; the message is meant for people and names the culprit.
 */
import { isFailure } from './native.js'

/** What went wrong, and whose doing it is. The keys are the values of {@link LipboundError.code}. */
export const errorTable = {
  ERR_LIPBOUND_ARGUMENT: {
    fault: 'caller',
    meaning: 'An option or argument is unknown, has the wrong type, or is out of range.',
  },
  ERR_LIPBOUND_SHAPE: {
    fault: 'caller',
    meaning: 'Two shapes that have to agree do not.',
  },
  ERR_LIPBOUND_VALUE: {
    fault: 'caller',
    meaning: 'A weight or an input is NaN, infinite, or out of the range that can be bounded soundly.',
  },
  ERR_LIPBOUND_MODEL: {
    fault: 'caller',
    meaning: 'The description of a network is wrong: no layers, an unknown layer, a missing or unknown field.',
  },
  ERR_LIPBOUND_FILE: {
    fault: 'caller',
    meaning: 'A file cannot be read, or does not hold what its format promises.',
  },
  ERR_LIPBOUND_CERTIFICATE: {
    fault: 'caller',
    meaning: 'What is given as a certificate is none: no JSON, another version, a missing or unknown field.',
  },
  ERR_LIPBOUND_DEPENDENCY: {
    fault: 'caller',
    meaning: 'A package that pictures, queues or services need is not installed, or not for this machine.',
  },
  ERR_LIPBOUND_LIMIT: {
    fault: 'caller',
    meaning: 'What was asked for needs more memory, or more of something else, than it was allowed.',
  },
  ERR_LIPBOUND_DISPOSED: {
    fault: 'caller',
    meaning: 'The network was used after dispose().',
  },
  ERR_LIPBOUND_INTERNAL: {
    fault: 'lipbound',
    meaning: 'A defect in lipbound itself. Nothing was computed.',
  },
} as const satisfies Record<string, { fault: 'caller' | 'lipbound'; meaning: string }>

/** The stable codes of {@link LipboundError}. */
export type ErrorCode = keyof typeof errorTable

/** The codes of {@link InputError}: those the caller can do something about. */
export type InputErrorCode = {
  [Code in ErrorCode]: (typeof errorTable)[Code]['fault'] extends 'caller' ? Code : never
}[ErrorCode]

/** The base of every error this package throws on purpose; tell them apart by `code`. */
export abstract class LipboundError extends Error {
  /** Stable identifier of the kind of error, one of the keys of {@link errorTable}. */
  abstract readonly code: ErrorCode
}

/** What was asked for cannot be answered as asked: a wrong argument, shape, value, description or file. */
export class InputError extends LipboundError {
  override readonly code: InputErrorCode

  static {
    nameErrors(this.prototype, 'InputError')
  }

  constructor(code: InputErrorCode, message: string, options?: ErrorOptions) {
    super(message, options)
    this.code = code
  }
}

/** A defect in lipbound itself, such as a panic in its native part. */
export class InternalError extends LipboundError {
  override readonly code = 'ERR_LIPBOUND_INTERNAL'

  static {
    nameErrors(this.prototype, 'InternalError')
  }
}

/** The name goes on the prototype, where it stands before the stack is captured and so appears in it. */
function nameErrors(prototype: Error, name: string): void {
  Object.defineProperty(prototype, 'name', { value: name, configurable: true, writable: true })
}

/**
 * Turns whatever the native part says went wrong into a {@link LipboundError}.
 *
 * @param error - what was thrown, or the failure a promise resolved to
 * @param context - put before the message, for instance the file the native part was not told about
 */
export function fromNative(error: unknown, context?: string): LipboundError {
  if (error instanceof LipboundError) return error
  const { code, message } = readNative(error)
  if (isInputErrorCode(code)) {
    // An error about a file names that file already.
    const bare = context === undefined || code === 'ERR_LIPBOUND_FILE'
    return new InputError(code, bare ? message : `${context}: ${message}`)
  }
  return new InternalError(`internal error, please report it: ${message}`, { cause: error })
}

function readNative(error: unknown): { code: unknown; message: string } {
  if (isFailure(error)) return { code: error.errorCode, message: error.errorMessage }
  if (!(error instanceof Error)) return { code: undefined, message: String(error) }
  return { code: 'code' in error ? error.code : undefined, message: error.message }
}

function isInputErrorCode(code: unknown): code is InputErrorCode {
  return typeof code === 'string' && Object.hasOwn(errorTable, code) && code !== 'ERR_LIPBOUND_INTERNAL'
}
