/** What services answer when they do not answer: statuses, codes, and how much outsiders are told. */
import { LipboundError, errorTable } from '../errors.js'
import type { ErrorCode } from '../errors.js'

/** Why a service refuses, beside the errors of the library; the codes are as stable as theirs. */
export const serviceErrors = {
  ERR_LIPBOUND_NOT_FOUND: { status: 404, meaning: 'There is no such route, or no such model.' },
  ERR_LIPBOUND_METHOD: { status: 405, meaning: 'The route has no such method; header Allow has those that it has.' },
  ERR_LIPBOUND_UNAUTHORIZED: { status: 401, meaning: 'The bearer token is missing or wrong.' },
  ERR_LIPBOUND_JSON: { status: 400, meaning: 'The body is not JSON, or has no JSON where it should.' },
  ERR_LIPBOUND_REQUEST: { status: 400, meaning: 'What came was no request in the sense of HTTP.' },
  ERR_LIPBOUND_MEDIA_TYPE: { status: 415, meaning: 'The body is of a type or an encoding that is not taken.' },
  ERR_LIPBOUND_SLOW: { status: 408, meaning: 'The body did not arrive in time.' },
  ERR_LIPBOUND_BUSY: {
    status: 503,
    meaning: 'Too much is being worked on already; header Retry-After says when to come again.',
  },
  ERR_LIPBOUND_TIMEOUT: { status: 503, meaning: 'The answer takes longer than is allowed.' },
  ERR_LIPBOUND_STOPPING: { status: 503, meaning: 'The service is stopping.' },
  ERR_LIPBOUND_GONE: { status: 499, meaning: 'The client has gone; nobody is told.' },
} as const satisfies Record<string, { status: number; meaning: string }>

/** The codes of {@link serviceErrors}. */
export type ServiceErrorCode = keyof typeof serviceErrors

/** Something that the service itself refuses. */
export class ServiceError extends Error {
  readonly code: ServiceErrorCode | ErrorCode
  readonly statusCode: number

  /** @param statusCode - where it is not the one of the table */
  constructor(code: ServiceErrorCode, message: string)
  constructor(code: ErrorCode, message: string, statusCode: number)
  constructor(code: ServiceErrorCode | ErrorCode, message: string, statusCode?: number) {
    super(message)
    this.name = 'ServiceError'
    this.code = code
    this.statusCode = statusCode ?? (code in serviceErrors ? serviceErrors[code as ServiceErrorCode].status : 500)
  }
}

/** The body of every answer that is none. */
export interface ErrorBody {
  /** What went wrong. */
  readonly error: {
    /** Stable and meant for programs: one of the library's, of {@link serviceErrors}, or of Fastify's. */
    readonly code: string
    /** Meant for people; names the culprit. */
    readonly message: string
  }
}

/** An error as callers get it. */
export interface Failure {
  readonly status: number
  readonly body: ErrorBody
}

/** Seconds after which those who were sent away may come again. */
export const RETRY_AFTER = 5

/** Nobody reads more than that; and what was sent is not to be sent back. */
const LONGEST_MESSAGE = 1000

/** What a caller is told of an error: ours and the caller's own mistakes explain themselves, of defects nothing is said. */
export function toFailure(error: unknown): Failure {
  if (error instanceof ServiceError) return failure(error.statusCode, error.code, error.message)
  if (error instanceof LipboundError && isCallersFault(error)) return failure(422, error.code, error.message)
  if (isOfFastify(error)) return failure(error.statusCode, error.code, error.message)
  return failure(500, 'ERR_LIPBOUND_INTERNAL', 'internal error')
}

function failure(status: number, code: string, message: string): Failure {
  const short = message.length > LONGEST_MESSAGE ? `${message.slice(0, LONGEST_MESSAGE)}...` : message
  return { status, body: { error: { code, message: short } } }
}

/** A network that is gone, or a package that is missing, is nothing that who sent the request could change. */
function isCallersFault({ code }: LipboundError): boolean {
  const ofService: readonly ErrorCode[] = ['ERR_LIPBOUND_DISPOSED', 'ERR_LIPBOUND_DEPENDENCY', 'ERR_LIPBOUND_FILE']
  return errorTable[code].fault === 'caller' && !ofService.includes(code)
}

/** Fastify's own refusals: a malformed address, a body of the wrong length. */
function isOfFastify(error: unknown): error is { statusCode: number; code: string; message: string } {
  return (
    error instanceof Error &&
    'code' in error &&
    typeof error.code === 'string' &&
    error.code.startsWith('FST_') &&
    'statusCode' in error &&
    typeof error.statusCode === 'number' &&
    error.statusCode >= 400 &&
    error.statusCode < 500
  )
}
