/**
 * A service under mixed load for as long as LIPBOUND_SOAK_SECONDS says (60 unless it says otherwise): every answer is what it
 * should be, memory stays where it was, and what the service counts is what its clients counted.
 */
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { request } from 'node:http'
import type { ClientRequest, IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

import test from 'ava'
import type { ExecutionContext } from 'ava'

import { loadModel, loadTensor } from '../dist/index.js'
import { toJson } from '../dist/request.js'
import type { BatchLine } from '../dist/fastify/index.js'
import { repositoryFile } from './helpers/process.js'
import { createRandom } from './helpers/random.js'
import { ask, codeOf, metricsOf, post, serveProcess, timeless, total, until } from './helpers/service.js'

const SECONDS = Number(process.env['LIPBOUND_SOAK_SECONDS'] ?? 60)
const CLIENTS = 6
const NDJSON = { 'content-type': 'application/x-ndjson' }
const MODELS = repositoryFile('examples/models')

const image = await loadTensor(`${MODELS}/digits/8.npy`)
const input = [...image.data]
const bytes = Buffer.from(Float64Array.from(input).buffer).toString('base64')
const options = { epsilon: 0.01, seed: 1, method: 'layerwise', restarts: 0 } as const

/** What clients did, by kind, and what of that the service must have counted. */
class Tally {
  readonly kinds = new Map<string, number>()
  readonly statuses = new Map<number, number>()
  /** Items of batches whose answer was read to its end. */
  answered = 0
  failed = 0

  kind(name: string): void {
    this.kinds.set(name, (this.kinds.get(name) ?? 0) + 1)
  }

  status(code: number): void {
    this.statuses.set(code, (this.statuses.get(code) ?? 0) + 1)
  }
}

/** Bytes that a process has in memory. */
function residentMemory(pid: number | undefined): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kilobytes) * 1024
}

/** Begins a request and says when it has been written. */
function begin(url: string, headers: Record<string, string>, body: string): ClientRequest {
  const client = request(url, {
    method: 'POST',
    headers: { ...headers, 'content-length': String(Buffer.byteLength(body)) },
    agent: false,
  })
  client.on('error', () => undefined)
  client.end(body)
  return client
}

/** What is answered to a request; nothing if its connection ends first. */
function answerOf(client: ClientRequest): Promise<string | undefined> {
  return new Promise((resolve) => {
    client.on('close', () => {
      resolve(undefined)
    })
    client.on('response', (response: IncomingMessage) => {
      let text = ''
      response.setEncoding('utf8').on('data', (part: string) => (text += part))
      response.on('error', () => undefined)
      response.on('end', () => {
        resolve(text)
      })
    })
  })
}

type Deed = (t: ExecutionContext, url: string, tally: Tally, random: () => number) => Promise<void>

using network = await loadModel(`${MODELS}/lenet.json`)
const expected = timeless(toJson(await network.bound(image, options)))
const batchOf = (count: number): object => ({
  task: 'bound',
  options,
  items: Array.from({ length: count }, (_, id) =>
    id % 5 === 4 ? { input: [1], id } : { input: { type: 'float64', base64: bytes }, id },
  ),
})

function checkLines(t: ExecutionContext, lines: readonly BatchLine[], count: number, tally: Tally): void {
  t.is(lines.length, count)
  for (const [place, line] of lines.entries()) {
    t.is(line.index, place)
    if (place % 5 === 4) t.like(line, { id: place, ok: false, error: { code: 'ERR_LIPBOUND_SHAPE' } })
    else t.deepEqual(timeless(line), { index: place, id: place, ok: true, result: expected })
  }
  tally.failed += Math.floor(count / 5)
  tally.answered += count - Math.floor(count / 5)
}

/** Answers 503 as often as it has to, until there is room; each of them counts. */
async function patiently<Result extends { status: number }>(
  tally: Tally,
  attempt: () => Promise<Result>,
): Promise<Result> {
  for (;;) {
    const answer = await attempt()
    tally.status(answer.status)
    if (answer.status !== 503) return answer
    await sleep(50)
  }
}

const deeds: Record<string, Deed> = {
  valid: async (t, url, tally) => {
    const answer = await patiently(tally, () => post(`${url}/models/lenet/bound`, { input, ...options }))
    t.is(answer.status, 200)
    t.deepEqual(timeless(answer.body), expected)
  },
  invalid: async (t, url, tally, random) => {
    const bodies: [unknown, number, string][] = [
      ['{"input":', 400, 'ERR_LIPBOUND_JSON'],
      [{ input: [1, 2], ...options }, 422, 'ERR_LIPBOUND_SHAPE'],
      [{ input, ...options, epsilon: 'x' }, 422, 'ERR_LIPBOUND_ARGUMENT'],
      [{ input, ...options, maxSteps: 1e6 }, 422, 'ERR_LIPBOUND_LIMIT'],
      ['['.repeat(10_000), 422, 'ERR_LIPBOUND_LIMIT'],
    ]
    const [body, status, code] = bodies[Math.floor(random() * bodies.length)] ?? ['', 400, '']
    const answer = await patiently(tally, () => post(`${url}/models/lenet/bound`, body))
    t.is(answer.status, status)
    t.is(codeOf(answer), code)
  },
  unknown: async (t, url, tally) => {
    const answer = await ask(`${url}/models/none`)
    tally.status(answer.status)
    t.is(codeOf(answer), 'ERR_LIPBOUND_NOT_FOUND')
  },
  oversized: async (t, url, tally) => {
    const body = ' '.repeat(300_000)
    // The service counts one however early it cuts off who goes on sending.
    const text = await answerOf(begin(`${url}/models/lenet/bound`, { 'content-type': 'application/json' }, body))
    if (text !== undefined) t.regex(text, /ERR_LIPBOUND_LIMIT/)
    tally.status(413)
  },
  cancelled: async (t, url, _tally, random) => {
    // The only one to ask for radii, since nobody can say whether it went before its answer.
    const body = JSON.stringify({ input, tolerance: 1e-6 })
    const client = begin(`${url}/models/lenet/radius`, { 'content-type': 'application/json' }, body)
    const text = await Promise.race([answerOf(client), sleep(20 + 80 * random())])
    client.destroy()
    if (text !== undefined) t.regex(text, /^\{"(radius|error)":/)
  },
  slow: async (t, url, tally) => {
    const body = JSON.stringify({ input, ...options })
    const answer = await patiently(tally, async () => {
      const headers = { 'content-type': 'application/json', 'content-length': String(body.length) }
      const client = request(`${url}/models/lenet/bound`, { method: 'POST', headers, agent: false })
      // The answer may come with the last byte, before the end is said.
      const responded = once(client, 'response') as Promise<[IncomingMessage]>
      for (let at = 0; at < body.length; at += 1500) {
        client.write(body.slice(at, at + 1500))
        await sleep(20)
      }
      client.end()
      const [response] = await responded
      let text = ''
      for await (const part of response) {
        text += String(part)
        await sleep(20)
      }
      return { status: response.statusCode ?? 0, body: JSON.parse(text) as unknown }
    })
    t.is(answer.status, 200)
    t.deepEqual(timeless(answer.body), expected)
  },
  batch: async (t, url, tally, random) => {
    const count = 1 + Math.floor(random() * 12)
    const answer = await patiently(tally, () => post(`${url}/models/lenet/batch`, batchOf(count)))
    t.is(answer.status, 200)
    checkLines(t, answer.body as BatchLine[], count, tally)
  },
  lines: async (t, url, tally, random) => {
    const count = 1 + Math.floor(random() * 12)
    const { items } = batchOf(count) as { items: unknown[] }
    const text = items.map((item) => `${JSON.stringify(item)}\n`).join('')
    const query = new URLSearchParams({ task: 'bound', options: JSON.stringify(options) }).toString()
    const answer = await patiently(tally, () => post(`${url}/models/lenet/batch?${query}`, text, { headers: NDJSON }))
    t.is(answer.status, 200)
    checkLines(t, answer.body as BatchLine[], count, tally)
  },
}

test.serial('a service under mixed load keeps its memory, its counts and its word', async (t) => {
  t.timeout(SECONDS * 2000 + 300_000)
  // What V8 keeps for later is not the subject here: small generations are full soon.
  const args = [
    '--models',
    MODELS,
    '--log-level',
    'error',
    '--body-bytes',
    '200000',
    '--computations',
    '2',
    '--waiting',
    '8',
  ]
  const { url, child, ended } = await serveProcess(t, args, ['--max-semi-space-size=1', '--max-old-space-size=64'])
  const tally = new Tally()
  const names = Object.keys(deeds)
  const random = createRandom(11)
  let end = 0
  const client = async (): Promise<void> => {
    while (performance.now() < end) {
      const name = names[Math.floor(random.uniform() * names.length)] ?? ''
      await deeds[name]?.(t, url, tally, () => random.uniform())
      tally.kind(name)
    }
  }
  const load = async (seconds: number): Promise<void> => {
    end = performance.now() + seconds * 1000
    await Promise.all(Array.from({ length: CLIENTS }, client))
  }
  const samples: number[] = []
  await load(Math.max(20, SECONDS / 5))
  const before = residentMemory(child.pid)
  const parts = 5
  for (let part = 0; part < parts; part += 1) {
    await load((SECONDS * 0.8) / parts)
    samples.push(residentMemory(child.pid))
  }
  await until(url, { running: 0, waiting: 0 })
  const metrics = await metricsOf(url)
  t.log({
    seconds: SECONDS,
    kinds: Object.fromEntries(tally.kinds),
    statuses: Object.fromEntries(tally.statuses),
    before,
    samples,
  })

  for (const name of names) t.true((tally.kinds.get(name) ?? 0) > 0, `${name} came to pass`)
  const counted = (status: number): number => {
    const all = total(metrics, 'lipbound_requests_total', 'models/', `status="${status}"`)
    return all - total(metrics, 'lipbound_requests_total', 'radius"', `status="${status}"`)
  }
  for (const status of [200, 400, 404, 413, 422, 499, 500, 503]) {
    t.is(counted(status), tally.statuses.get(status) ?? 0, `${status}`)
  }
  t.true(total(metrics, 'lipbound_requests_total', 'radius"') <= (tally.kinds.get('cancelled') ?? 0))
  t.true(total(metrics, 'lipbound_requests_total', 'radius"', '499') > 0)
  t.is(total(metrics, 'lipbound_batch_items_total', 'answered'), tally.answered)
  t.is(total(metrics, 'lipbound_batch_items_total', 'failed'), tally.failed)
  t.is(total(metrics, 'lipbound_computations_running'), 0)
  const last = samples.at(-1) ?? Infinity
  t.true(last < 1.1 * before, `${before} bytes after warm-up, ${last} in the end`)
  child.kill('SIGTERM')
  t.like(await ended, { status: 0, stderr: '' })
})
