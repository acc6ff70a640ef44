/** Clients of services, and what they check of every answer. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { connect } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'

import Ajv from 'ajv/dist/2020.js'
import type { ExecutionContext } from 'ava'

import { startServer } from '../../dist/fastify/index.js'
import type { RunningServer, ServerOptions } from '../../dist/fastify/index.js'
import { repositoryFile } from './process.js'

/** Starts a server on a free port, which is closed with the test. */
export async function serve(t: ExecutionContext, options: ServerOptions): Promise<RunningServer> {
  t.timeout(300_000)
  const server = await startServer({ port: 0, grace: 0.1, ...options })
  t.teardown(() => server.close())
  return server
}

export interface Answer {
  status: number
  headers: Headers
  body: unknown
}

/** The code of an answer that is none. */
export function codeOf({ body }: Pick<Answer, 'body'>): string {
  return (body as { error: { code: string } }).error.code
}

export function messageOf({ body }: Pick<Answer, 'body'>): string {
  return (body as { error: { message: string } }).error.message
}

/** Asks, and reads the answer as what it says it is. */
export async function ask(url: string, init: RequestInit = {}): Promise<Answer> {
  const response = await fetch(url, init)
  const text = await response.text()
  const type = response.headers.get('content-type') ?? ''
  const body: unknown = type.startsWith('application/json')
    ? JSON.parse(text)
    : type === 'application/x-ndjson'
      ? parseLines(text)
      : text
  return { status: response.status, headers: response.headers, body }
}

/** Posts JSON; a string as it is. */
export function post(url: string, body: unknown, init: RequestInit = {}): Promise<Answer> {
  return ask(url, {
    method: 'POST',
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ...init,
    headers: { 'content-type': 'application/json', ...(init.headers as Record<string, string> | undefined) },
  })
}

/** The objects of JSON Lines, the last of which ends too. */
export function parseLines(text: string): unknown[] {
  if (text === '') return []
  if (!text.endsWith('\n')) throw new Error(`the last line does not end: ${text.slice(-100)}`)
  return text
    .slice(0, -1)
    .split('\n')
    .map((line) => JSON.parse(line) as unknown)
}

/** Waits until the service has so much to do. */
export async function until(url: string, wanted: { running?: number; waiting?: number }): Promise<void> {
  for (;;) {
    const health = (await ask(`${url}/health`)).body as Record<string, unknown>
    if (Object.entries(wanted).every(([name, value]) => health[name] === value)) return
    await sleep(20)
  }
}

/** A result without what is never the same twice. */
export function timeless(value: unknown): unknown {
  return JSON.parse(JSON.stringify(value, (key, entry: unknown) => (key === 'seconds' ? undefined : entry)))
}

/** The values of metrics, by name and labels as they are written. */
export async function metricsOf(url: string): Promise<Map<string, number>> {
  const { body } = await ask(`${url}/metrics`)
  return new Map(
    String(body)
      .split('\n')
      .filter((line) => line !== '' && !line.startsWith('#'))
      .map((line) => {
        const space = line.lastIndexOf(' ')
        return [line.slice(0, space), Number(line.slice(space + 1))]
      }),
  )
}

/** The sum of all values of a metric whose labels match. */
export function total(metrics: ReadonlyMap<string, number>, name: string, ...labels: string[]): number {
  return [...metrics]
    .filter(([key]) => key === name || key.startsWith(`${name}{`))
    .filter(([key]) => labels.every((label) => key.includes(label)))
    .reduce((sum, [, value]) => sum + value, 0)
}

interface Operation {
  requestBody?: unknown
  responses: Partial<Record<string, { content?: Partial<Record<string, unknown>> }>>
}

/** What an OpenAPI document says of requests and answers. */
export interface Declared {
  /** Why an answer is not as it was declared; empty if it is. */
  answer(path: string, method: string, answer: Answer): string
  /** Why a JSON body is not as it was declared. */
  body(path: string, body: unknown): string
}

const escape = (part: string): string => part.replaceAll('~', '~0').replaceAll('/', '~1')

export function declaredIn(document: { paths: Partial<Record<string, Partial<Record<string, Operation>>>> }): Declared {
  const ajv = new Ajv.default({ strict: false, validateFormats: false })
  ajv.addSchema(document, 'openapi')
  const complaint = (pointer: readonly string[], value: unknown): string => {
    const validate = ajv.getSchema(`openapi#/${pointer.map(escape).map(encodeURIComponent).join('/')}`)
    if (!validate) return `nothing is declared at ${pointer.join(' ')}`
    return validate(value) === true ? '' : `${pointer.join(' ')}: ${ajv.errorsText(validate.errors)}`
  }
  return {
    answer: (path, method, { status, headers, body }) => {
      const type = (headers.get('content-type') ?? '').split(';')[0] ?? ''
      const content = document.paths[path]?.[method]?.responses[String(status)]?.content
      if (content?.[type] === undefined) return `${method} ${path} does not declare ${status} ${type}`
      const pointer = ['paths', path, method, 'responses', String(status), 'content', type, 'schema']
      const values = type === 'application/x-ndjson' ? (body as unknown[]) : [body]
      return values.map((value) => complaint(pointer, value)).find((text) => text !== '') ?? ''
    },
    body: (path, body) =>
      complaint(['paths', path, 'post', 'requestBody', 'content', 'application/json', 'schema'], body),
  }
}

/** What a server answers to bytes, until it closes the connection. */
export async function exchange(url: string, ...bytes: (string | Buffer)[]): Promise<string> {
  const { hostname, port } = new URL(url)
  const socket = connect(Number(port), hostname)
  let answer = ''
  socket.setEncoding('latin1').on('data', (text: string) => (answer += text))
  // Who is refused may be cut off.
  socket.on('error', () => undefined)
  const closed = once(socket, 'close')
  for (const part of bytes) socket.write(part)
  await closed
  return answer
}

/** A service in a process of its own. */
export interface ServiceProcess {
  url: string
  child: ChildProcess
  /** What it wrote, and its exit status once it has ended. */
  ended: Promise<{ status: number | null; stdout: string; stderr: string }>
}

/** Runs `lipbound serve` on a free port; it is ended with the test, if the test did not do it. */
export async function serveProcess(
  t: ExecutionContext,
  args: readonly string[],
  node: readonly string[] = [],
): Promise<ServiceProcess> {
  t.timeout(300_000)
  const words = [...node, repositoryFile('dist/cli/main.js'), 'serve', '--port', '0', ...args]
  const child = spawn(process.execPath, words, { stdio: ['ignore', 'pipe', 'pipe'] })
  t.teardown(() => child.kill('SIGKILL'))
  const output = { stdout: '', stderr: '' }
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output.stderr += text))
  const ended = once(child, 'close').then(([status]) => ({ status: status as number | null, ...output }))
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output.stdout += text
      const [, found] = /listens on (http:\S+)\n/.exec(output.stdout) ?? []
      if (found !== undefined) resolve(found)
    })
    void ended.then(({ stderr }) => {
      reject(new Error(`the service did not start: ${stderr}`))
    })
  })
  return { url, child, ended }
}
