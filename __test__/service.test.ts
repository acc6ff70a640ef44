/** The example service, in a process of its own, over real connections. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'

import test from 'ava'
import type { ExecutionContext } from 'ava'

import { loadModel, loadTensor } from '../dist/index.js'
import { repositoryFile } from './helpers/process.js'

interface Service {
  url: string
  child: ChildProcess
  /** What it wrote, and its exit status once it has ended. */
  ended: Promise<{ status: number | null; stdout: string; stderr: string }>
}

/** Starts the service on a free port; it is ended with the test, if the test did not do it. */
async function start(t: ExecutionContext): Promise<Service> {
  t.timeout(300_000)
  const child = spawn(process.execPath, [repositoryFile('examples/service/server.js')], {
    env: { ...process.env, PORT: '0' },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  t.teardown(() => child.kill('SIGKILL'))
  const output = { stdout: '', stderr: '' }
  child.stderr.setEncoding('utf8').on('data', (text: string) => (output.stderr += text))
  const ended = once(child, 'close').then(([status]) => ({ status: status as number | null, ...output }))
  const url = await new Promise<string>((resolve, reject) => {
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      output.stdout += text
      const [, found] = /listens on (http:\/\/127\.0\.0\.1:\d+)\n/.exec(output.stdout) ?? []
      if (found !== undefined) resolve(found)
    })
    void ended.then(({ stderr }) => {
      reject(new Error(`the service did not start: ${stderr}`))
    })
  })
  return { url, child, ended }
}

interface Answer {
  status: number
  retryAfter: string | null
  body: Record<string, unknown>
}

async function post(url: string, body: unknown, signal?: AbortSignal): Promise<Answer> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ...(signal && { signal }),
  })
  const retryAfter = response.headers.get('retry-after')
  return { status: response.status, retryAfter, body: (await response.json()) as Record<string, unknown> }
}

/** Waits until so many computations are running. */
async function running(url: string, count: number): Promise<void> {
  for (;;) {
    const health = (await (await fetch(`${url}/health`)).json()) as { running: number }
    if (health.running === count) return
    await sleep(50)
  }
}

const image = await loadTensor(repositoryFile('examples/models/digits/8.npy'))
const input = [...image.data]
/** A request that keeps the service busy for as long as a test needs. */
const laborious = { input, tolerance: 0.001 }

test('the service answers as the library does', async (t) => {
  const { url } = await start(t)
  using network = await loadModel(repositoryFile('examples/models/lenet.json'))

  const health = (await (await fetch(`${url}/health`)).json()) as Record<string, unknown>
  t.like(health, { status: 'ok', network: 'lenet', digest: network.digest, inputShape: [1, 28, 28], running: 0 })

  const options = { epsilon: 0.01, seed: 1, method: 'layerwise', kind: 'uniform' } as const
  const bound = await post(`${url}/bound`, { input, ...options })
  const { upper, lower, guarantee } = await network.bound(image, options)
  t.is(bound.status, 200)
  t.like(bound.body, { upper, lower, guarantee, ...options })
  t.true(lower <= upper)

  const asked = { seed: 1, method: 'layerwise', label: 8, inputBox: { lower: 0, upper: 1 } } as const
  const answer = await post(`${url}/radius`, { input, ...asked })
  const { radius, attackRadius, bindingClass } = await network.certifiedRadius(image, asked)
  t.is(answer.status, 200)
  t.like(answer.body, { radius, attackRadius, bindingClass, label: 8, predicted: 8 })
  t.true(radius > 0 && radius < attackRadius)

  const wrong = await post(`${url}/radius`, { input, label: 3 })
  t.like(wrong, { status: 200, body: { radius: 0, reason: 'misclassified', attackRadius: 0 } })
})

test('the service refuses what is malformed, what cannot be answered, and what is too large', async (t) => {
  const { url, child, ended } = await start(t)
  const refused = async (
    path: string,
    body: unknown,
    status: number,
    error: string,
    message: RegExp,
  ): Promise<void> => {
    const answer = await post(`${url}/${path}`, body)
    t.is(answer.status, status, JSON.stringify(answer.body))
    t.is(answer.body['error'], error)
    t.regex(String(answer.body['message']), message)
  }
  const epsilon = 0.01
  await refused('bound', '{', 400, 'FST_ERR_CTP_INVALID_JSON_BODY', /JSON/)
  await refused('bound', { input }, 400, 'FST_ERR_VALIDATION', /epsilon/)
  await refused('bound', { input, epsilon: '0.01' }, 400, 'FST_ERR_VALIDATION', /epsilon must be number/)
  await refused('bound', { input, epsilon: -1 }, 400, 'FST_ERR_VALIDATION', />= 0/)
  await refused('bound', '{"input": [0], "epsilon": 1e999}', 400, 'FST_ERR_VALIDATION', /epsilon/)
  await refused('bound', { input, epsilon, maxSteps: 1 }, 400, 'FST_ERR_VALIDATION', /additional/)
  await refused('bound', { input: ['0'], epsilon }, 400, 'FST_ERR_VALIDATION', /input\/0 must be number/)
  await refused('bound', { input: [0, 0], epsilon }, 422, 'ERR_LIPBOUND_SHAPE', /784 entries, but data has 2/)
  await refused('radius', { input, label: 10 }, 422, 'ERR_LIPBOUND_ARGUMENT', /label.*0 to 9/)
  const dark = { lower: 0, upper: 0.5 }
  await refused('radius', { input, inputBox: dark }, 422, 'ERR_LIPBOUND_VALUE', /inside inputBox/)
  await refused('bound', ' '.repeat(300_000), 413, 'FST_ERR_CTP_BODY_TOO_LARGE', /large/)
  t.is((await fetch(`${url}/bound`)).status, 404, 'there is nothing to get')

  child.kill('SIGTERM')
  t.like(await ended, { status: 0, stderr: '' }, 'callers have been told, nobody else needs to know')
})

test('a client that goes ends its computation, and too many at a time are sent away', async (t) => {
  const { url } = await start(t)
  const impatient = new AbortController()
  const clients = [1, 2].map(() => post(`${url}/radius`, laborious, impatient.signal))
  await running(url, 2)
  const third = await post(`${url}/bound`, { input, epsilon: 0.01 })
  t.like(third, { status: 503, retryAfter: '5', body: { error: 'BUSY' } })

  impatient.abort()
  const ends = await Promise.allSettled(clients)
  t.deepEqual(
    ends.map(({ status }) => status),
    ['rejected', 'rejected'],
  )
  await running(url, 0)
  t.is((await post(`${url}/bound`, { input, epsilon: 0.01, method: 'layerwise' })).status, 200)
})

test('SIGTERM lets what can still be answered be answered, stops the rest and ends well', async (t) => {
  const { url, child, ended } = await start(t)
  const long = post(`${url}/radius`, laborious)
  await running(url, 1)
  child.kill('SIGTERM')
  // A fast machine may be done within the time of grace.
  const { status, body } = await long
  t.true(status === 200 || (status === 503 && body['error'] === 'STOPPING'), JSON.stringify(body))
  t.like(await ended, { status: 0, stderr: '' })
  await t.throwsAsync(fetch(`${url}/health`))
})
