/** The plugin of Fastify and its server: routes, limits, metrics, and what they say of themselves. */
import { once } from 'node:events'
import { request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { setTimeout as sleep } from 'node:timers/promises'

import { Validator } from '@seriousme/openapi-schema-validator'
import test from 'ava'
import Fastify from 'fastify'

import { lipbound, serviceErrors, startServer } from '../dist/fastify/index.js'
import type { BatchBody, BatchLine, BoundBody, LipboundOptions, RadiusReply } from '../dist/fastify/index.js'
import { errorTable, linear, loadModel, loadTensor, relu, sequential, tensor } from '../dist/index.js'
import type { Network } from '../dist/index.js'
import { toJson } from '../dist/request.js'
import { repositoryFile } from './helpers/process.js'
import {
  ask,
  codeOf,
  declaredIn,
  messageOf,
  metricsOf,
  parseLines,
  post,
  serve,
  timeless,
  total,
  until,
} from './helpers/service.js'
import type { Answer } from './helpers/service.js'

const EXAMPLES = repositoryFile('examples/models')
const image = await loadTensor(`${EXAMPLES}/digits/8.npy`)
const input = [...image.data]
const lenet = await loadModel(`${EXAMPLES}/lenet.json`)
/** `relu(W x + b)` with two outputs. */
const two = sequential({ input: [2], name: 'small' }, [
  linear({ weight: tensor([2, 2], [3, 1, -1, 2]), bias: [1, 0] }),
  relu(),
])
const networks = { lenet, small: two } satisfies Record<string, Network>
test.after.always(() => {
  lenet.dispose()
  two.dispose()
})

/** Keeps a place busy for as long as a test needs. */
const laborious = { input, tolerance: 1e-6, attackSteps: 2000, method: 'certificate' }
const quick = { input: [1, 1], epsilon: 0.5, seed: 1 }
const NDJSON = { 'content-type': 'application/x-ndjson' }

test('what is answered is what the library says, to the last bit', async (t) => {
  const { url } = await serve(t, { models: EXAMPLES })
  const asked = { epsilon: [0.01, 0.1], seed: 1, method: 'layerwise', kind: 'uniform' } as const
  const bound = await post(`${url}/models/lenet/bound`, { input, ...asked })
  t.is(bound.status, 200)
  t.deepEqual(timeless(bound.body), timeless(toJson(await lenet.bound(image, asked))))

  const box = { lower: 0, upper: 1 }
  const question = { seed: 1, method: 'layerwise', label: 8, witness: true } as const
  const bytes = Buffer.from(Float64Array.from(input).buffer).toString('base64')
  const radius = await post(`${url}/models/lenet/radius`, {
    input: { type: 'float64', base64: bytes },
    ...question,
    inputBox: { lower: 0, upper: { shape: [1, 28, 28], data: input.map(() => 1) } },
  })
  t.is(radius.status, 200)
  const expected = await lenet.certifiedRadius(image, { ...question, inputBox: box })
  t.deepEqual(timeless(radius.body), timeless(toJson(expected)))
  t.true((radius.body as RadiusReply).radius !== 0)

  const unattacked = await post(`${url}/models/lenet/radius`, { input, seed: 1, method: 'layerwise', attackSteps: 0 })
  t.is((unattacked.body as RadiusReply).attackRadius, null, 'infinity is null')
})

test('a batch through HTTP and through the iterator are the same, as a document and line by line', async (t) => {
  const { url } = await serve(t, { models: networks })
  const shared = { method: 'layerwise', seed: 3 } as const
  const items = Array.from({ length: 12 }, (_, index) => ({
    input: input.map((pixel) => pixel * (1 - index / 20)),
    id: `digit ${index}`,
    ...(index % 3 === 0 && { epsilon: [0.01, 0.02] }),
    ...(index === 7 && { input: [1, 2] }),
  }))
  const options = { ...shared, epsilon: 0.01 }
  const expected: unknown[] = []
  const centres = items.map(({ input: data, ...item }) => ({
    ...item,
    input: data.length === 2 ? data : { shape: [1, 28, 28], data: Float64Array.from(data) },
  }))
  for await (const outcome of lenet.bounds<number | readonly number[]>(centres, options))
    expected.push(timeless(toJson(outcome)))

  const document = await post(`${url}/models/lenet/batch`, { task: 'bound', options, items } satisfies BatchBody)
  t.is(document.status, 200)
  const lines = document.body as BatchLine[]
  t.deepEqual(
    lines.map(({ index }) => index),
    items.map((_, index) => index),
  )
  // The iterator has an error where JSON has its code and message.
  const same = (line: BatchLine, index: number): void => {
    if (index === 7) t.like(line, { ok: false, id: 'digit 7', error: { code: 'ERR_LIPBOUND_SHAPE' } })
    else t.deepEqual(timeless(line), expected[index])
  }
  lines.forEach(same)

  const query = new URLSearchParams({ task: 'bound', options: JSON.stringify(options), ordered: 'false' })
  const text = items
    .map((item) => `${JSON.stringify(item)}\r\n\n`)
    .join('')
    .trimEnd()
  const streamed = await post(`${url}/models/lenet/batch?${query.toString()}`, text, { headers: NDJSON })
  t.is(streamed.status, 200)
  const sorted = (streamed.body as BatchLine[]).sort((a, b) => (a.index ?? -1) - (b.index ?? -1))
  t.is(sorted.length, items.length)
  sorted.forEach(same)

  const radii = await post(`${url}/models/lenet/batch`, {
    task: 'radius',
    options: shared,
    items: [{ input, label: 8 }],
  })
  const radius = await lenet.certifiedRadius(image, { ...shared, label: 8 })
  t.deepEqual(timeless(radii.body), [{ index: 0, ok: true, result: timeless(toJson(radius)) }])
  t.deepEqual((await post(`${url}/models/lenet/batch`, { task: 'radius', items: [] })).body, [])
})

test('the OpenAPI document is valid, and every answer is as it declares', async (t) => {
  const { url } = await serve(t, { models: networks, limits: { bodyBytes: 100_000 } })
  const document = (await ask(`${url}/openapi.json`)).body as Parameters<typeof declaredIn>[0]
  t.like(await new Validator().validate(structuredClone(document)), { valid: true })
  t.deepEqual(Object.keys(document.paths).sort(), [
    '/health',
    '/metrics',
    '/models',
    '/models/{model}',
    '/models/{model}/batch',
    '/models/{model}/bound',
    '/models/{model}/radius',
  ])
  t.is((await ask(`${url}/docs`)).status, 200)

  const declared = declaredIn(document)
  const check = (path: string, method: string, status: number, answer: Answer): void => {
    t.is(answer.status, status, JSON.stringify(answer.body))
    t.is(declared.answer(path, method, answer), '')
  }
  check('/health', 'get', 200, await ask(`${url}/health`))
  check('/metrics', 'get', 200, await ask(`${url}/metrics`))
  check('/models', 'get', 200, await ask(`${url}/models`))
  for (const [name, network] of Object.entries(networks)) {
    const model = await ask(`${url}/models/${name}`)
    check('/models/{model}', 'get', 200, model)
    t.deepEqual(model.body, { name, digest: network.digest, summary: toJson(network.summary) })
  }
  check('/models/{model}', 'get', 404, await ask(`${url}/models/none`))
  const at = `${url}/models/small`
  const everything = { ...quick, functionals: [[1, -1]], witness: true, certificate: true }
  check('/models/{model}/bound', 'post', 200, await post(`${at}/bound`, everything))
  check('/models/{model}/bound', 'post', 200, await post(`${at}/bound`, { ...quick, epsilon: [0, 1] }))
  check('/models/{model}/bound', 'post', 400, await post(`${at}/bound`, '{'))
  check('/models/{model}/bound', 'post', 404, await post(`${url}/models/none/bound`, quick))
  check('/models/{model}/bound', 'post', 413, await post(`${at}/bound`, ' '.repeat(100_001)))
  check(
    '/models/{model}/bound',
    'post',
    415,
    await post(`${at}/bound`, quick, { headers: { 'content-encoding': 'br' } }),
  )
  check('/models/{model}/bound', 'post', 422, await post(`${at}/bound`, { ...quick, input: [1] }))
  check('/models/{model}/radius', 'post', 200, await post(`${at}/radius`, { input: [1, 1], witness: true }))
  check('/models/{model}/radius', 'post', 200, await post(`${at}/radius`, { input: [1, 1], label: 1 }))
  check('/models/{model}/radius', 'post', 422, await post(`${at}/radius`, { input: [1, 1], label: 2 }))
  const mixed = { task: 'bound', options: { epsilon: 1 }, items: [{ input: [1, 1], id: 7 }, { input: 'x' }, 5] }
  check('/models/{model}/batch', 'post', 200, await post(`${at}/batch`, mixed))
  check('/models/{model}/batch', 'post', 422, await post(`${at}/batch`, { ...mixed, task: 'check' }))
})

test('requests that the document allows are answered, and those that it does not are refused', async (t) => {
  const { url } = await serve(t, { models: networks })
  const declared = declaredIn((await ask(`${url}/openapi.json`)).body as Parameters<typeof declaredIn>[0])
  const at = `${url}/models/small`
  const [epsilon, one] = [0.5, [1, 1]]
  const bodies: Record<'bound' | 'radius', { good: unknown[]; bad: unknown[] }> = {
    bound: {
      good: [
        { input: one, epsilon },
        { input: [[1, 1]], epsilon: [0, 1] },
        { input: { shape: [2], data: one }, epsilon, kind: 'uniform', method: 'certificate', tolerance: 0.1 },
        { input: { type: 'float32', base64: 'AACAPwAAgD8=' }, epsilon, guarantee: 'deterministic', maxSteps: 10_000 },
        { input: one, epsilon, seed: 5, restarts: 3, witness: true, certificate: false, timeLimit: 1 },
        { input: one, epsilon, functionals: [[1, 0]], failureProbability: 1e-12 },
      ],
      bad: [
        { epsilon },
        { input: one },
        { input: one, epsilon: -1 },
        { input: one, epsilon: '1' },
        { input: one, epsilon: null },
        { input: one, epsilon: [1, 'x'] },
        { input: 'AACAPwAAgD8=', epsilon },
        { input: { type: 'int8', base64: 'AACAPwAAgD8=' }, epsilon },
        { input: { data: one, shape: [2], stride: 1 }, epsilon },
        { input: one, epsilon, kind: 'global' },
        { input: one, epsilon, tolerance: 0 },
        { input: one, epsilon, maxSteps: 10_001 },
        { input: one, epsilon, restarts: 101 },
        { input: one, epsilon, seed: -1 },
        { input: one, epsilon, failureProbability: 0 },
        { input: one, epsilon, witness: 1 },
        { input: one, epsilon, signal: {} },
        { input: one, epsilon, label: 0 },
        { input: one, epsilon: Array.from({ length: 101 }, () => 1) },
        [one],
        5,
      ],
    },
    radius: {
      good: [
        { input: one },
        { input: one, label: 0, maximum: 2, tolerance: 0.5, attackSteps: 0, inputBox: { lower: -5, upper: [9, 9] } },
      ],
      bad: [
        { input: one, epsilon },
        { input: one, attackSteps: 2001 },
        { input: one, maximum: 0 },
        { input: one, label: 'left' },
        { input: one, inputBox: { lower: 0, upper: 9, middle: 3 } },
        { input: one, inputBox: 5 },
        { input: one, onProgress: true },
      ],
    },
  }
  for (const [task, { good, bad }] of Object.entries(bodies)) {
    const path = `/models/{model}/${task}`
    for (const body of good) {
      t.is(declared.body(path, body), '')
      const answer = await post(`${at}/${task}`, body)
      t.is(answer.status, 200, JSON.stringify([body, answer.body]))
    }
    for (const body of bad) {
      t.not(declared.body(path, body), '', JSON.stringify(body))
      const answer = await post(`${at}/${task}`, body)
      t.is(answer.status, 422, JSON.stringify([body, answer.body]))
      t.regex(codeOf(answer), /^ERR_LIPBOUND_(ARGUMENT|LIMIT)$/)
    }
  }
})

test('what a service refuses has a status, a code of the tables and a message', async (t) => {
  const { url } = await serve(t, {
    models: networks,
    limits: { bodyBytes: 1000, lineBytes: 200, batchItems: 3, functionals: 2, epsilons: 2 },
  })
  const at = `${url}/models/small`
  const refused = async (answer: Promise<Answer>, status: number, code: string, message: RegExp): Promise<void> => {
    const given = await answer
    t.is(given.status, status, JSON.stringify(given.body))
    t.deepEqual(Object.keys(given.body as object), ['error'])
    t.is(codeOf(given), code)
    t.true(code in errorTable || code in serviceErrors || code.startsWith('FST_'))
    t.regex(messageOf(given), message)
  }
  await refused(ask(`${url}/nothing`), 404, 'ERR_LIPBOUND_NOT_FOUND', /route/)
  await refused(ask(`${at}/bound`), 405, 'ERR_LIPBOUND_METHOD', /POST/)
  t.is((await ask(`${at}/bound`)).headers.get('allow'), 'POST')
  await refused(ask(`${url}/models`, { method: 'DELETE' }), 405, 'ERR_LIPBOUND_METHOD', /GET or HEAD/)
  t.is((await fetch(`${url}/models`, { method: 'HEAD' })).status, 200)
  await refused(ask(`${url}/models/%`), 400, 'FST_ERR_BAD_URL', /valid url/)
  await refused(post(`${at}/bound`, ''), 400, 'ERR_LIPBOUND_JSON', /empty/)
  await refused(post(`${at}/bound`, 'NaN'), 400, 'ERR_LIPBOUND_JSON', /not JSON/)
  await refused(post(`${at}/bound`, ' '.repeat(1001)), 413, 'ERR_LIPBOUND_LIMIT', /1000 bytes/)
  await refused(post(`${at}/bound`, quick, { headers: NDJSON }), 415, 'FST_ERR_CTP_INVALID_MEDIA_TYPE', /Media/)
  await refused(post(`${at}/bound`, { ...quick, epsilon: [1, 2, 3] }), 422, 'ERR_LIPBOUND_LIMIT', /at most 2 .* not 3/)
  const three = [1, 2, 3].map(() => [1, 0])
  await refused(post(`${at}/bound`, { ...quick, functionals: three }), 422, 'ERR_LIPBOUND_LIMIT', /functionals/)
  await refused(post(`${at}/bound`, '{"input":[1,1],"epsilon":1e999}'), 422, 'ERR_LIPBOUND_ARGUMENT', /Infinity/)
  await refused(post(`${at}/bound`, '{"input":[1e999,1],"epsilon":1}'), 422, 'ERR_LIPBOUND_VALUE', /finite/)

  const batch = (body: unknown): Promise<Answer> => post(`${at}/batch`, body)
  const item = { input: [1, 1] }
  await refused(batch({ task: 'bound' }), 422, 'ERR_LIPBOUND_ARGUMENT', /items/)
  await refused(batch({ items: [] }), 422, 'ERR_LIPBOUND_ARGUMENT', /bound, radius/)
  await refused(batch({ task: 'bound', items: [], more: 1 }), 422, 'ERR_LIPBOUND_ARGUMENT', /'more'/)
  const items = [item, item, item, item]
  await refused(batch({ task: 'radius', items }), 422, 'ERR_LIPBOUND_LIMIT', /at most 3 items/)
  await refused(batch({ task: 'radius', options: { label: 'x' }, items: [] }), 422, 'ERR_LIPBOUND_ARGUMENT', /label/)
  for (const name of ['concurrency', 'ordered', 'total', 'signal']) {
    await refused(
      batch({ task: 'radius', options: { [name]: 1 }, items: [] }),
      422,
      'ERR_LIPBOUND_ARGUMENT',
      RegExp(name),
    )
  }
  const query = `${at}/batch?task=radius`
  const radii = (text: string): Promise<Answer> => post(query, text, { headers: NDJSON })
  await refused(post(`${query}&order=1`, '', { headers: NDJSON }), 422, 'ERR_LIPBOUND_ARGUMENT', /'order'/)
  await refused(post(`${query}&options=[`, '', { headers: NDJSON }), 400, 'ERR_LIPBOUND_JSON', /not JSON/)
  await refused(post(`${at}/batch`, '', { headers: NDJSON }), 422, 'ERR_LIPBOUND_ARGUMENT', /task/)

  const line = JSON.stringify(item)
  const mixed = await radii(`${line}\n[\n${JSON.stringify({ ...item, id: {} })}\n`)
  const codes = (mixed.body as BatchLine[]).map((outcome) => (outcome.ok ? 'ok' : outcome.error.code))
  t.deepEqual(codes, ['ok', 'ERR_LIPBOUND_JSON', 'ERR_LIPBOUND_ARGUMENT'])
  const last = ({ body }: Answer): unknown => (body as BatchLine[]).at(-1)
  const tooMany = await radii(`${line}\n`.repeat(4))
  t.like(last(tooMany), { ok: false, error: { code: 'ERR_LIPBOUND_LIMIT' } })
  t.false('index' in (last(tooMany) as object), 'the batch ended early')
  t.like(last(await radii(`${line}\n${' '.repeat(1000)}`)), { ok: false, error: { code: 'ERR_LIPBOUND_LIMIT' } })
})

test('requests wait for their turn, but not too many and not too long', async (t) => {
  const limits = { computations: 1, waiting: 1, batches: 1, seconds: 600 }
  const { url } = await serve(t, { models: networks, limits })
  const ending = new AbortController()
  const gone = { signal: ending.signal }
  const busy = [1, 2].map(() => post(`${url}/models/lenet/radius`, laborious, gone))
  await until(url, { running: 1, waiting: 1 })
  const third = await post(`${url}/models/small/bound`, quick)
  t.is(third.status, 503)
  t.is(third.headers.get('retry-after'), '5')
  t.is(codeOf(third), 'ERR_LIPBOUND_BUSY')
  const batch = post(`${url}/models/small/batch`, { task: 'bound', items: [quick] })
  await until(url, { running: 1, waiting: 2 })
  const second = await post(`${url}/models/small/batch`, { task: 'bound', items: [quick] })
  t.is(codeOf(second), 'ERR_LIPBOUND_BUSY')

  ending.abort()
  for (const { status } of await Promise.allSettled(busy)) t.is(status, 'rejected')
  t.like((await batch).body, [{ ok: true }], 'who waited has the place of those who went')
  await until(url, { running: 0, waiting: 0 })
  t.is((await post(`${url}/models/small/bound`, quick)).status, 200)
  const metrics = await metricsOf(url)
  t.is(total(metrics, 'lipbound_requests_total', 'status="499"'), 2)
  t.is(total(metrics, 'lipbound_refused_total', 'ERR_LIPBOUND_BUSY'), 2)
  t.is(total(metrics, 'lipbound_computation_seconds_count'), 2)

  const hasty = await serve(t, { models: networks, limits: { seconds: 0.2, batchSeconds: 0.2 } })
  const late = await post(`${hasty.url}/models/lenet/radius`, laborious)
  t.is(late.status, 503)
  t.is(codeOf(late), 'ERR_LIPBOUND_TIMEOUT')
  const lateBatch = await post(`${hasty.url}/models/lenet/batch`, { task: 'radius', items: [laborious] })
  t.like(lateBatch.body, [{ ok: false, error: { code: 'ERR_LIPBOUND_TIMEOUT' } }])
})

test('a batch leaves places for single requests, and a body room for others', async (t) => {
  const limits = { computations: 2, heldBytes: 18_000 }
  const { url } = await serve(t, { models: networks, limits })
  const ending = new AbortController()
  const items = Array.from({ length: 4 }, () => `${JSON.stringify(laborious)}\n`).join('')
  const batch = post(`${url}/models/lenet/batch?task=radius`, items, { headers: NDJSON, signal: ending.signal })
  await until(url, { running: 1 })
  t.is((await post(`${url}/models/small/bound`, quick)).status, 200, 'beside the batch there is a place')

  // Two bodies are more than there is room for.
  const large = { ...laborious, seed: 1 }
  const first = post(`${url}/models/lenet/radius`, large, { signal: ending.signal })
  await until(url, { running: 2 })
  t.is(codeOf(await post(`${url}/models/lenet/radius`, ' '.repeat(15_000))), 'ERR_LIPBOUND_BUSY')
  ending.abort()
  await Promise.allSettled([batch, first])
  await until(url, { running: 0 })
  t.is(codeOf(await post(`${url}/models/lenet/radius`, ' '.repeat(15_000))), 'ERR_LIPBOUND_JSON', 'there is room again')
})

test('a batch is read as it is answered, and ends when its client goes', async (t) => {
  const { url } = await serve(t, { models: networks, limits: { computations: 2, batchItems: 1_000_000 } })
  // Many epsilons make long answers.
  const epsilon = Array.from({ length: 100 }, (_, index) => index)
  const line = Buffer.from(`${JSON.stringify({ input: [1, 1], epsilon, seed: 1 })}\n`)
  const client = request(`${url}/models/small/batch?task=bound`, { method: 'POST', headers: NDJSON })
  client.on('error', () => undefined)
  let sent = 0
  const send = (): void => {
    do sent += 1
    while (client.write(line))
  }
  client.on('drain', send)
  send()
  const [response] = (await once(client, 'response')) as [IncomingMessage]
  t.is(response.statusCode, 200)
  response.on('error', () => undefined)
  let text = ''
  while (text.split('\n').length < 5) {
    await once(response, 'readable')
    text += String(response.read() ?? '')
  }
  const answered = async (): Promise<number> => total(await metricsOf(url), 'lipbound_batch_items_total')
  // Nobody reads now: what is answered comes to a standstill, as what is sent does.
  let [before, still] = [-1, 0]
  while (still < 10) {
    await sleep(100)
    const now = sent + (await answered())
    still = before === now ? still + 1 : 0
    before = now
  }
  t.true((await answered()) < 5000)
  const lines = parseLines(text.slice(0, text.lastIndexOf('\n') + 1)) as BatchLine[]
  t.true(lines.every(({ ok }, index) => ok && lines[index]?.index === index))
  client.destroy()
  await until(url, { running: 0, waiting: 0 })
  t.is((await post(`${url}/models/small/batch`, { task: 'bound', items: [quick] })).status, 200)
})

test('what is counted is what was asked', async (t) => {
  const { url } = await serve(t, { models: networks })
  const at = `${url}/models/small`
  for (let round = 0; round < 3; round += 1) await post(`${at}/bound`, quick)
  await post(`${at}/radius`, { input: [1, 1] })
  await post(`${at}/radius`, { input: [1] })
  await post(`${at}/bound`, '[')
  await post(`${at}/batch`, { task: 'radius', items: [{ input: [1, 1] }, { input: [1] }, { input: [2, 1] }] })
  await ask(`${url}/nothing`)
  const metrics = await metricsOf(url)
  const requests = (...labels: string[]): number => total(metrics, 'lipbound_requests_total', ...labels)
  t.is(requests(), 8)
  t.is(requests('bound"', 'status="200"'), 3)
  t.is(requests('radius"', 'status="200"'), 1)
  t.is(requests('status="422"'), 1)
  t.is(requests('status="400"'), 1)
  t.is(requests('route="none"', 'status="404"'), 1)
  t.is(total(metrics, 'lipbound_refused_total'), 3)
  t.is(total(metrics, 'lipbound_refused_total', 'ERR_LIPBOUND_SHAPE'), 1)
  t.is(total(metrics, 'lipbound_batch_items_total', 'outcome="answered"'), 2)
  t.is(total(metrics, 'lipbound_batch_items_total', 'outcome="failed"', 'model="small"'), 1)
  t.is(total(metrics, 'lipbound_computation_seconds_count', 'task="bound"'), 3)
  t.is(total(metrics, 'lipbound_computation_seconds_count', 'task="radius"'), 3)
  t.is(total(metrics, 'lipbound_computations_running'), 0)
  t.true(total(metrics, 'process_resident_memory_bytes') > 0)
})

test('with a token, only health is open', async (t) => {
  const token = 'correct-horse-battery'
  const { url } = await serve(t, { models: networks, token })
  const paths = ['models', 'models/small', 'metrics', 'openapi.json', 'docs', 'docs/static/index.html', 'docs/json']
  for (const authorization of ['', 'Bearer wrong', `Basic ${token}`, `Bearer ${token}x`, 'Bearer ', token]) {
    const headers = { ...(authorization !== '' && { authorization }) }
    for (const path of paths) {
      const answer = await ask(`${url}/${path}`, { headers })
      t.is(answer.status, 401, `${path} ${authorization}`)
      t.is(codeOf(answer), 'ERR_LIPBOUND_UNAUTHORIZED')
      t.is(answer.headers.get('www-authenticate'), 'Bearer')
    }
    t.is((await post(`${url}/models/small/bound`, quick, { headers })).status, 401)
    t.is((await post(`${url}/models/small/batch`, '', { headers: { ...headers, ...NDJSON } })).status, 401)
  }
  t.is((await ask(`${url}/health`)).status, 200)
  const headers = { authorization: `Bearer ${token}` }
  for (const path of paths) t.is((await ask(`${url}/${path}`, { headers })).status, 200, path)
  t.is((await post(`${url}/models/small/bound`, quick, { headers })).status, 200)
  const document = (await ask(`${url}/openapi.json`, { headers })).body
  t.like(document, { components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } } })
})

test('the plugin is a guest: with a prefix, beside other routes', async (t) => {
  const app = Fastify()
  t.teardown(() => app.close())
  app.get('/own', () => ({ own: true }))
  app.post('/echo', ({ body }) => body)
  await app.register(lipbound, { prefix: '/bounds', models: networks, metrics: false, docs: false })
  t.deepEqual((await app.inject('/own')).json(), { own: true })
  t.deepEqual((await app.inject({ method: 'POST', url: '/echo', payload: { a: 1 } })).json(), { a: 1 })
  t.like((await app.inject('/elsewhere')).json(), { statusCode: 404, error: 'Not Found' })
  t.like((await app.inject('/bounds/elsewhere')).json(), { error: { code: 'ERR_LIPBOUND_NOT_FOUND' } })
  t.is((await app.inject('/bounds/metrics')).statusCode, 404)
  t.is((await app.inject('/bounds/docs')).statusCode, 404)
  const { statusCode, body } = await app.inject({ method: 'POST', url: '/bounds/models/small/bound', payload: quick })
  t.is(statusCode, 200)
  t.deepEqual(
    timeless(JSON.parse(body)),
    timeless(toJson(await networks.small.bound([1, 1], { epsilon: 0.5, seed: 1 }))),
  )
  t.like((await app.inject('/bounds/health')).json(), { status: 'ready', running: 0, models: ['lenet', 'small'] })
  await app.close()
  t.false(two.disposed, 'whose networks they are disposes of them')
})

test('what cannot be served is refused at the start', async (t) => {
  const refused = async (
    options: LipboundOptions & { host?: string; port?: number },
    message: RegExp,
  ): Promise<void> => {
    await t.throwsAsync(startServer({ port: 0, ...options }), { name: 'InputError', message })
  }
  await refused({ models: repositoryFile('nothing') }, /cannot read the directory/)
  await refused({ models: repositoryFile('docs') }, /has no model/)
  await refused({ models: networks, host: '0.0.0.0' }, /token/)
  await refused({ models: networks, host: '::' }, /token/)
  await refused({ models: networks, token: 'guess' }, /^(?!.*guess).*16 visible/)
  await refused({ models: networks, limits: { seconds: 0 } }, /seconds/)
  await refused({ models: networks, limits: { speed: 1 } as object }, /unknown option 'speed'/)
  await refused({ models: networks, colour: 1 } as never, /unknown option 'colour'/)
  const { url } = await serve(t, { models: networks })
  await refused({ models: networks, port: Number(new URL(url).port) }, /cannot listen on 127\.0\.0\.1/)
})

test('types: options and requests are those of the library', (t) => {
  const bodies = [
    { input: [[1, 2]], epsilon: [0.1] },
    // @ts-expect-error: a bound needs an epsilon
    { input: [1] },
    // @ts-expect-error: signals cannot be sent
    { input: [1], epsilon: 1, signal: AbortSignal.abort() },
    // @ts-expect-error: there is no such kind
    { input: [1], epsilon: 1, kind: 'global' },
  ] satisfies BoundBody[]
  const options = [
    { models: 'models/', limits: { seconds: 1 } },
    // @ts-expect-error: there have to be models
    { limits: {} },
    // @ts-expect-error: there is no such limit
    { models: {}, limits: { second: 1 } },
  ] satisfies LipboundOptions[]
  const batch = { task: 'radius', items: [{ input: [1], label: 1, id: 1 }] } satisfies BatchBody<'radius'>
  // @ts-expect-error: infinity is null
  const radius: RadiusReply['attackRadius'] = undefined
  t.is(bodies.length + options.length + batch.items.length + [radius].length, 9)
})
