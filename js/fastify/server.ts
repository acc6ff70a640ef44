/** A service as a whole: Fastify with the plugin, and with settings that strangers cannot make much of. */
import { STATUS_CODES } from 'node:http'
import type { Socket } from 'node:net'

import type { FastifyBaseLogger, FastifyInstance, FastifyReply } from 'fastify'

import { InputError } from '../errors.js'
import { number, optional, parseOptions, positive, positiveInteger, text } from '../options.js'
import { load } from '../dependency.js'
import { ServiceError, toFailure } from './failures.js'
import { toLimits } from './limits.js'
import { lipbound } from './plugin.js'
import type { LipboundOptions } from './plugin.js'

/** Options of {@link startServer}: those of the plugin, and where to listen. */
export interface ServerOptions extends LipboundOptions {
  /** The address to listen on. Default: 127.0.0.1; others need a `token`. */
  host?: string | undefined
  /** The port; 0 for any that is free. Default: 8080. */
  port?: number | undefined
  /** Connections at a time. Default: 1,024. */
  connections?: number | undefined
  /** Seconds for the headers of a request to arrive. Default: 10. */
  headersSeconds?: number | undefined
  /** A pino, for instance. Default: nothing is logged. */
  logger?: FastifyBaseLogger | undefined
}

/** A server that listens. */
export interface RunningServer {
  /** Where, such as `http://127.0.0.1:8080`. */
  readonly url: string
  /** The Fastify instance. */
  readonly app: FastifyInstance
  /** Takes no more work, gives what runs the time of grace, ends the rest and closes. */
  close(): Promise<void>
}

/** Bytes of the headers of a request. */
const HEADER_BYTES = 16 * 1024

/**
 * Starts a server that has the plugin and nothing else.
 *
 * @throws {@link InputError} (by rejection) as the plugin does; `ERR_LIPBOUND_ARGUMENT` also for an address other than
 *   loopback without a token, `ERR_LIPBOUND_DEPENDENCY` if Fastify is not installed
 *
 * @example
 * ```ts
 * const { url, close } = await startServer({ models: 'models/', port: 0 })
 * console.log(await (await fetch(`${url}/health`)).json())
 * await close()
 * ```
 */
export async function startServer(options: ServerOptions): Promise<RunningServer> {
  const { host = '127.0.0.1', port = 8080, connections = 1024, headersSeconds = 10, logger, ...plugin } = options
  parseOptions(
    'startServer',
    { host, port, connections, headersSeconds },
    {
      host: text,
      port: number('an integer from 0 to 65535', (value) => Number.isInteger(value) && value >= 0 && value < 65_536),
      connections: positiveInteger,
      headersSeconds: optional(positive),
    },
  )
  if (!isLoopback(host) && plugin.token === undefined) {
    const message = `startServer: whoever reaches ${host} could compute here: listening there needs option 'token'`
    throw new InputError('ERR_LIPBOUND_ARGUMENT', message)
  }
  const limits = toLimits('startServer', plugin.limits)
  const requestTimeout = Math.max(limits.batchSeconds, headersSeconds) * 1000
  const { fastify } = await load(() => import('fastify'), 'fastify', 'services')
  const app = fastify({
    ...(logger && { loggerInstance: logger }),
    http: {
      requestTimeout,
      maxHeaderSize: HEADER_BYTES,
      headersTimeout: headersSeconds * 1000,
      // How often these times are looked at.
      connectionsCheckingInterval: Math.min(5000, headersSeconds * 500),
    },
    keepAliveTimeout: 10_000,
    // Requests without a batch have shorter limits of their own.
    requestTimeout,
    // Nothing moves while something is computed.
    connectionTimeout: (limits.seconds + limits.idleSeconds) * 1000,
    bodyLimit: limits.bodyBytes,
    return503OnClosing: false,
    forceCloseConnections: true,
    clientErrorHandler: refuseConnection,
    frameworkErrors: (error, _request, reply: unknown) => {
      const { status, body } = toFailure(error)
      const answer = reply as FastifyReply
      void answer.code(status).type('application/json; charset=utf-8').serializer(JSON.stringify).send(body)
    },
  }) as unknown as FastifyInstance
  app.server.maxConnections = connections
  try {
    await app.register(lipbound, plugin)
    const url = await listen(app, host, port)
    return { url, app, close: () => app.close() }
  } catch (error) {
    await app.close()
    throw error
  }
}

async function listen(app: FastifyInstance, host: string, port: number): Promise<string> {
  await app.ready()
  try {
    return await app.listen({ host, port })
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new InputError('ERR_LIPBOUND_ARGUMENT', `startServer: cannot listen on ${host}, port ${port}: ${reason}`, {
      cause: error,
    })
  }
}

/** Whether only this machine reaches an address. */
export function isLoopback(host: string): boolean {
  return host === 'localhost' || host === '::1' || /^127\.\d+\.\d+\.\d+$/.test(host)
}

/** What comes in place of a request has no route that could answer it. */
function refuseConnection(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === 'ECONNRESET' || !socket.writable) {
    socket.destroy()
    return
  }
  const [status, failure] =
    error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
      ? [408, new ServiceError('ERR_LIPBOUND_SLOW', 'the request did not arrive in time')]
      : error.code === 'HPE_HEADER_OVERFLOW'
        ? [431, new ServiceError('ERR_LIPBOUND_LIMIT', `headers have at most ${HEADER_BYTES} bytes`, 431)]
        : [400, new ServiceError('ERR_LIPBOUND_REQUEST', 'this is not a request in the sense of HTTP')]
  const body = JSON.stringify(toFailure(failure).body)
  socket.end(
    `HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n` +
      `content-type: application/json; charset=utf-8\r\ncontent-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`,
    // Who goes on sending is not listened to.
    () => socket.destroy(),
  )
}
