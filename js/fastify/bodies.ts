/** Bodies of requests as they arrive: never more of them than there is room for, nor longer than there is time. */
import type { IncomingMessage } from 'node:http'
import { PassThrough } from 'node:stream'

import { ServiceError } from './failures.js'
import type { ServiceLimits } from './limits.js'

/** The room that all bodies share, in bytes. */
export class Room {
  readonly #size: number
  #taken = 0

  constructor(size: number) {
    this.#size = size
  }

  /** Takes some more for a body, if there is. */
  take(bytes: number): boolean {
    if (this.#taken + bytes > this.#size) return false
    this.#taken += bytes
    return true
  }

  /** Gives back what was taken. */
  give(bytes: number): void {
    this.#taken -= bytes
  }
}

type BodyLimits = Pick<ServiceLimits, 'bodyBytes' | 'idleSeconds'>

/**
 * Receives a body as a whole. The room it takes is given back when `held` is called.
 *
 * @throws {@link ServiceError} `ERR_LIPBOUND_LIMIT` (413) for one that is too large, `ERR_LIPBOUND_BUSY` where others have
 *   the room, `ERR_LIPBOUND_SLOW`, `ERR_LIPBOUND_GONE`
 */
export function receive(
  payload: IncomingMessage,
  { bodyBytes, idleSeconds }: BodyLimits,
  room: Room,
): { body: Promise<Buffer>; giveBack: () => void } {
  let taken = 0
  const giveBack = (): void => {
    room.give(taken)
    taken = 0
  }
  const body = new Promise<Buffer>((resolve, reject) => {
    const tooLarge = new ServiceError('ERR_LIPBOUND_LIMIT', `a body has at most ${bodyBytes} bytes`, 413)
    if (Number(payload.headers['content-length'] ?? 0) > bodyBytes) {
      reject(tooLarge)
      return
    }
    const chunks: Buffer[] = []
    let received = 0
    const end = (settle: () => void): void => {
      clearTimeout(timer)
      payload.off('data', onData).off('end', onEnd).off('error', onGone).off('close', onGone)
      settle()
    }
    const fail = (error: ServiceError): void => {
      end(() => {
        // The answer is on its way before the rest has come; it closes the connection.
        payload.pause()
        reject(error)
      })
    }
    const onData = (chunk: Buffer): void => {
      received += chunk.length
      if (received > bodyBytes) fail(tooLarge)
      else if (!room.take(chunk.length)) {
        fail(new ServiceError('ERR_LIPBOUND_BUSY', 'other requests are too large for more of them at a time'))
      } else {
        taken += chunk.length
        chunks.push(chunk)
      }
    }
    const onEnd = (): void => {
      end(() => {
        resolve(Buffer.concat(chunks))
      })
    }
    const onGone = (): void => {
      fail(new ServiceError('ERR_LIPBOUND_GONE', 'the client has gone'))
    }
    const timer = setTimeout(() => {
      fail(new ServiceError('ERR_LIPBOUND_SLOW', `a body has to arrive within ${idleSeconds} seconds`))
    }, idleSeconds * 1000)
    payload.on('data', onData).on('end', onEnd).on('error', onGone).on('close', onGone)
  })
  return { body, giveBack }
}

/** Bytes of a batch that are received before they are wanted: a client that goes is only noticed while it is listened to. */
const AHEAD = 2 ** 20

/** A body that is received up to so far ahead, and does not take the connection with it when nobody wants the rest. */
function ahead(payload: IncomingMessage): PassThrough {
  const received = new PassThrough({ highWaterMark: AHEAD })
  payload.pipe(received)
  payload.once('close', () => {
    if (!payload.complete) received.destroy(new ServiceError('ERR_LIPBOUND_GONE', 'the client has gone'))
  })
  return received
}

/**
 * The lines of a body, one by one: no more is received than was asked for, and some. Empty lines are left out.
 *
 * @throws {@link ServiceError} `ERR_LIPBOUND_LIMIT` for a line that is too long, `ERR_LIPBOUND_SLOW` where none comes,
 *   `ERR_LIPBOUND_GONE` where the client goes in the middle of it
 */
export async function* lines(
  payload: IncomingMessage,
  { lineBytes, idleSeconds }: Pick<ServiceLimits, 'lineBytes' | 'idleSeconds'>,
): AsyncGenerator<Buffer, void, undefined> {
  const chunks = ahead(payload)[Symbol.asyncIterator]() as AsyncIterator<Buffer, undefined>
  let parts: Buffer[] = []
  let length = 0
  const whole = (): Buffer => {
    const line = Buffer.concat(parts)
    parts = []
    length = 0
    return line
  }
  const add = (part: Buffer): void => {
    length += part.length
    if (length > lineBytes) {
      throw new ServiceError('ERR_LIPBOUND_LIMIT', `a line of a batch has at most ${lineBytes} bytes`, 413)
    }
    if (part.length > 0) parts.push(part)
  }
  for (;;) {
    const step = await inTime(chunks.next(), idleSeconds)
    if (step.done) break
    let rest = step.value
    for (let newline = rest.indexOf(10); newline >= 0; newline = rest.indexOf(10)) {
      add(rest.subarray(0, newline))
      rest = rest.subarray(newline + 1)
      const line = whole()
      if (!isBlank(line)) yield line
    }
    add(rest)
  }
  const last = whole()
  if (!isBlank(last)) yield last
}

const isBlank = (line: Buffer): boolean => line.every((byte) => byte === 0x20 || byte === 0x0d || byte === 0x09)

async function inTime<Step>(step: Promise<Step>, seconds: number): Promise<Step> {
  let timer: NodeJS.Timeout | undefined
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => {
      reject(new ServiceError('ERR_LIPBOUND_SLOW', `nothing more of the batch came within ${seconds} seconds`))
    }, seconds * 1000)
  })
  try {
    return await Promise.race([step, late])
  } finally {
    clearTimeout(timer)
  }
}
