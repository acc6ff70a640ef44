/**
 * Batches in a queue: what comes out of it is what a single process answers, whatever is asked twice, is wrong, is
 * cancelled, or is stopped under way.
 */
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { EventEmitter } from 'node:events'
import { readFileSync } from 'node:fs'
import { setTimeout as sleep } from 'node:timers/promises'

import test from 'ava'
import type { ExecutionContext } from 'ava'
import { Queue } from 'bullmq'

import { InputError, linear, loadModel, loadTensor, relu, sequential } from '../dist/index.js'
import type { Network } from '../dist/index.js'
import { Channel } from '../dist/queue/channel.js'
import type { Ending } from '../dist/queue/channel.js'
import type { Backend } from '../dist/queue/connection.js'
import { enqueueBatch, startWorker } from '../dist/queue/index.js'
import type { QueueWorker, WorkerEvent, WorkerOptions } from '../dist/queue/index.js'
import type { JobData } from '../dist/queue/job.js'
import { parseLines, refuses } from './helpers/command-line.js'
import { createDirectory } from './helpers/files.js'
import { lipbound, repositoryFile, runNode } from './helpers/process.js'
import { byIndex, collect, untimed } from './helpers/queues.js'
import { redisPath, startRedis } from './helpers/servers.js'
import type { TestServer } from './helpers/servers.js'
import { startWorkerProcess } from './helpers/workers.js'

// The set-up installs Redis where it may; on a developer's machine without it, the tests are skipped.
const required = process.env['CI'] === 'true' && process.getuid?.() === 0
const queued = redisPath !== undefined || required ? test.serial : test.serial.skip

let redis: TestServer | undefined
test.before(async () => {
  if (redisPath !== undefined) redis = await startRedis()
})
test.after.always(() => redis?.remove())

function connection(): string {
  if (redis === undefined) throw new Error('there is no Redis; install Debian’s package redis-server')
  return redis.url
}

/** Each test has a queue of its own. */
let queues = 0
const newQueue = (): string => `test-${++queues}`

const small = (): Network =>
  sequential({ input: [2] }, [linear({ weight: [[3, 1], [-1, 2]], bias: [1, 0] }), relu(), linear({ weight: [[1, -2]] })]) // prettier-ignore
const lenetFile = repositoryFile('examples/models/lenet.json')
const eightFile = repositoryFile('examples/models/digits/8.npy')

const points = (count: number): number[][] => Array.from({ length: count }, (_, index) => [index / 7, 1 - index / 3])

/** A worker in this process, and what happened to it. */
async function worker(
  t: ExecutionContext,
  options: Omit<WorkerOptions, 'connection'>,
): Promise<{ worker: QueueWorker; count: (type: WorkerEvent['type']) => number; until: Until }> {
  const events: WorkerEvent[] = []
  const started = await startWorker({ connection: connection(), ...options, onEvent: (event) => events.push(event) })
  t.teardown(() => started.close({ grace: 0 }))
  const count = (type: WorkerEvent['type']): number => events.filter((event) => event.type === type).length
  const until: Until = async (type, times = 1) => {
    while (count(type) < times) await sleep(20)
  }
  return { worker: started, count, until }
}

async function eventually(condition: () => Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(20)
}

type Until = (type: WorkerEvent['type'], times?: number) => Promise<void>

queued('what comes out is what the network answers, in order if that is wanted', async (t) => {
  t.timeout(300_000)
  using net = small()
  const queue = newQueue()
  await worker(t, { queue, models: net })
  const items = points(40).map((input, index) => ({ input, id: `item ${index}`, epsilon: 0.1 + index }))
  const options = { seed: 1, method: 'layerwise', functionals: [Float64Array.of(-3)] } as const
  const expected = untimed(await collect(net.bounds(items, options)))

  const common = { connection: connection(), queue, ...options }
  const batch = await enqueueBatch(net, items, { ...common, task: 'bound' })
  t.teardown(() => batch.close())
  t.deepEqual(untimed(await collect(batch.results({ ordered: true }))), expected)

  const byDigest = await enqueueBatch(net.digest, items, { ...common, task: 'bound', window: 3 })
  t.deepEqual(byIndex(untimed(await collect(byDigest.results()))), expected, 'a model by its digest')

  const curves = await enqueueBatch(net, [[1, 1]], { ...common, task: 'bound', epsilon: [0.1, 1] })
  const [curve] = await collect(curves.results())
  t.true(curve?.ok === true && curve.result.length === 2)
})

queued('certified radii have boxes and labels; what is infinite is null', async (t) => {
  t.timeout(300_000)
  using net = small()
  const queue = newQueue()
  await worker(t, { queue, models: net })
  const asked = { seed: 1, attackSteps: 0, inputBox: { lower: Float64Array.of(-1, -1), upper: 2 } }
  const items = [{ input: [1, 1], label: 1 }, { input: [0, 0], label: 0 }, [0.5, -0.5]]
  const expected = untimed(await collect(net.certifiedRadii(items, asked)))
  const batch = await enqueueBatch(net, items, { connection: connection(), queue, task: 'radius', ...asked })
  t.teardown(() => batch.close())
  t.deepEqual(byIndex(untimed(await collect(batch.results()))), expected)
  t.true(expected.some(({ result }) => (result as { attackRadius: unknown }).attackRadius === null))
})

queued('several models share a batch, and each worker gets what it has', async (t) => {
  t.timeout(300_000)
  using first = small()
  using second = sequential({ input: [2] }, [linear({ weight: [[1, 2]] })])
  const queue = newQueue()
  const one = await worker(t, { queue, models: first })
  const items = points(6).map((input, index) => ({ input, model: index % 2 === 0 ? 'first' : 'second' }))
  const options = { connection: connection(), queue, task: 'bound', epsilon: 1, seed: 1 } as const
  const batch = await enqueueBatch({ first, second: second.digest }, [...items, [1, 1]], options)
  t.teardown(() => batch.close())
  const outcomes = batch.results()
  // The last has no model.
  const early = [await next(outcomes), await next(outcomes), await next(outcomes), await next(outcomes)]
  t.deepEqual(early.map(({ index }) => index).sort(), [0, 2, 4, 6])
  t.regex(errorOf(early.find(({ index }) => index === 6)).message, /'model' of item 6 must be one of first, second/)
  // Nobody has the second model yet.
  await eventually(async () => (await batch.progress()).waiting === 3)

  const two = await worker(t, { queue, models: second })
  const late = await collect(outcomes)
  t.deepEqual(late.map(({ index }) => index).sort(), [1, 3, 5])
  t.true(late.every(({ ok }) => ok))
  t.deepEqual([one.count('answered'), two.count('answered')], [3, 3])
})

queued('what was asked before costs nothing, and what is being asked is joined', async (t) => {
  t.timeout(300_000)
  using net = small()
  const queue = newQueue()
  const options = { connection: connection(), queue, task: 'bound', epsilon: 0.5, seed: 3 } as const
  // Nobody works yet: the second batch finds the jobs of the first, and the third item is the first again.
  const items = [...points(2), ...points(20)]
  const batches = [await enqueueBatch(net, items, options), await enqueueBatch(net, items, options)]
  const collected = batches.map((batch) => collect(batch.results({ ordered: true })))
  const { count } = await worker(t, { queue, models: net })
  const [first, second] = await Promise.all(collected)
  t.is(first?.length, 22)
  t.deepEqual(second, first)
  t.is(count('begun'), 20)

  const again = await enqueueBatch(net, items, options)
  t.deepEqual(await collect(again.results({ ordered: true })), first, 'times and all: it is the same answer')
  t.is(count('begun'), 20)

  const other = await enqueueBatch(net, items.slice(0, 2), { ...options, seed: 4 })
  await collect(other.results())
  t.is(count('begun'), 22, 'another question')
})

queued('bad items are told and not tried again; the others are answered', async (t) => {
  t.timeout(300_000)
  using net = small()
  const queue = newQueue()
  const { count } = await worker(t, { queue, models: net })
  const items = [
    { input: [1, 2, 3], id: 'long' },
    { input: [NaN, 0], id: 'nan' },
    { input: () => Promise.reject(new Error('no such file')), id: 'gone' },
    { input: [1, 1], id: 'epsilon', epsilon: -1 },
    { input: [1, 1], id: 'option', espilon: 1 },
    { input: [1, 1], id: 'good' },
  ]
  const options = { epsilon: 0.1, seed: 1 }
  const direct = await collect(net.bounds(items, options))
  const batch = await enqueueBatch(net, items, { connection: connection(), queue, task: 'bound', ...options })
  t.teardown(() => batch.close())
  const outcomes = await collect(batch.results({ ordered: true }))
  const faults = (list: readonly Outcome[]): unknown[] =>
    list.map(({ id, error }) => [id, (error as { code?: string } | undefined)?.code, error?.message])
  t.deepEqual(faults(outcomes), faults(direct))
  t.deepEqual(outcomes.map(({ ok }) => ok), [false, false, false, false, false, true]) // prettier-ignore
  t.true(outcomes[0]?.ok === false && outcomes[0].error instanceof InputError)
  t.is(count('begun'), 4, 'two never came into the queue, and the others had one attempt')

  const again = await enqueueBatch(net, items, { connection: connection(), queue, task: 'bound', ...options })
  t.deepEqual(faults(await collect(again.results({ ordered: true }))), faults(outcomes))
  t.is(count('begun'), 4)
  t.deepEqual((await again.progress()).failed, 5)
})

queued('what fails by no fault of its own is tried again, then and later', async (t) => {
  t.timeout(300_000)
  using net = small()
  const { digest } = net
  const gone = small()
  const queue = newQueue()
  const bad = await worker(t, { queue, models: gone })
  gone.dispose()
  const options = { connection: connection(), queue, task: 'bound', epsilon: 0.1, attempts: 2 } as const
  const batch = await enqueueBatch(digest, [[1, 1]], options)
  const [outcome] = await collect(batch.results())
  t.is((outcome?.error as InputError | undefined)?.code, 'ERR_LIPBOUND_DISPOSED')
  t.is(bad.count('begun'), 2)
  await bad.worker.close()

  const good = await worker(t, { queue, models: net })
  const again = await enqueueBatch(digest, [[1, 1]], options)
  t.true((await collect(again.results()))[0]?.ok)
  t.is(good.count('answered'), 1)
})

queued('a worker refuses a job for another network or version, once and for all', async (t) => {
  t.timeout(300_000)
  using net = small()
  using other = sequential({ input: [2] }, [relu()])
  const queue = newQueue()
  const batch = await enqueueBatch(net, [[1, 1]], { connection: connection(), queue, task: 'bound', epsilon: 1 })
  t.teardown(() => batch.close())
  await eventually(async () => (await batch.progress()).waiting === 1)
  await batch.close()
  const { version } = (await import('../package.json', { with: { type: 'json' } })).default
  const jobs = new Queue(`${queue}-${version}-${net.digest}`, { connection: { url: connection() } })
  t.teardown(() => jobs.close())
  const [job] = await jobs.getJobs()
  const good = job?.data as object
  t.like(good, { model: net.digest, version, task: 'bound', options: { epsilon: 1 } })
  const wrong = {
    model: [{ ...good, model: other.digest }, new RegExp(`ERR_LIPBOUND_ARGUMENT: job: model must be ${net.digest}`)],
    version: [{ ...good, version: '0.0.1' }, /ERR_LIPBOUND_ARGUMENT: job: version must be .*, got '0\.0\.1'/],
    task: [{ ...good, task: 'norm' }, /ERR_LIPBOUND_ARGUMENT: job: task must be one of bound, radius/],
    all: [null, /ERR_LIPBOUND_ARGUMENT: job must be an object/],
  } as const
  for (const [id, [data]] of Object.entries(wrong)) await jobs.add('bound', data, { jobId: id, attempts: 5 })
  const { until } = await worker(t, { queue, models: net })
  await until('failed', 4)
  for (const [id, [, reason]] of Object.entries(wrong)) {
    await eventually(async () => (await jobs.getJobState(id)) === 'failed')
    const failed = await jobs.getJob(id)
    t.regex(failed?.failedReason ?? '', reason)
    t.is(failed?.attemptsMade, 1)
  }
})

/** Takes some seconds: long enough for what happens to it meanwhile. */
const laborious = { task: 'radius', seed: 1 } as const

queued('a cancelled batch is taken out and ended; what others had joined is theirs', async (t) => {
  t.timeout(300_000)
  using net = await loadModel(lenetFile)
  const eight = await loadTensor(eightFile)
  const queue = newQueue()
  const { count, until } = await worker(t, { queue, models: net, concurrency: 1 })
  const given = { connection: connection(), queue, ...laborious }
  const batch = await enqueueBatch(net, [eight, { input: eight, label: 3 }, { input: eight, label: 4 }], given)
  t.teardown(() => batch.close())
  await until('begun')
  const joined = await enqueueBatch(net, [{ input: eight, label: 4 }, eight], given)
  t.teardown(() => joined.close())
  const outcomes = collect(joined.results({ ordered: true }))
  const reading = collect(batch.results())
  await eventually(async () => {
    const { waiting, running } = await joined.progress()
    return waiting + running === 2
  })
  await batch.cancel()
  t.is(((await t.throwsAsync(reading, { any: true })) as Error).name, 'AbortError')
  t.is(count('cancelled'), 1)
  await t.notThrowsAsync(batch.cancel(), 'it is done already')

  const [wrong, radius] = await outcomes
  t.true(radius?.ok === true && Number(radius.result.radius) > 0 && radius.result.label === 8)
  t.true(wrong?.ok === true && wrong.result.radius === 0)
  t.is(count('answered'), 2, 'what only the cancelled batch wanted was not computed')
})

queued('of a batch that is cancelled nothing goes into the queue again', async (t) => {
  t.timeout(300_000)
  using net = await loadModel(lenetFile)
  const eight = await loadTensor(eightFile)
  const queue = newQueue()
  const { count, until } = await worker(t, { queue, models: net, concurrency: 2 })
  const items = [0, 1, 2, 3, 4].map((seed) => ({ input: eight, seed }))
  const asked = { task: 'bound', method: 'certificate', epsilon: [0.05, 0.1, 0.2, 0.3, 0.4] } as const
  const batch = await enqueueBatch(net, items, { connection: connection(), queue, ...asked })
  t.teardown(() => batch.close())
  await until('begun', 2)
  await batch.cancel()
  const { version } = JSON.parse(readFileSync(repositoryFile('package.json'), 'utf8')) as { version: string }
  const jobs = new Queue(`${queue}-${version}-${net.digest}`, { connection: { url: connection() } })
  t.teardown(() => jobs.close())
  // What is put in by mistake is there soon, if not at once.
  await sleep(500)
  t.deepEqual(await jobs.getJobCounts('waiting', 'active', 'delayed'), { waiting: 0, active: 0, delayed: 0 })
  t.is(count('begun'), 2)
  t.is(count('cancelled'), 2)
})

test('a job that is begun anew between two looks at it has not ended', async (t) => {
  const job = { id: 'job', returnvalue: undefined as unknown, finishedOn: undefined as number | undefined }
  const events = new EventEmitter()
  const server = {
    queue: () =>
      Object.assign(new EventEmitter(), {
        // It was done, taken out after its time, and put in again by somebody else.
        getJobState: () => Promise.resolve('completed'),
        getJob: () => Promise.resolve(job),
        addBulk: () => Promise.resolve([]),
        close: () => Promise.resolve(),
      }),
    events: () => events,
  } as unknown as Backend
  const endings: Ending[] = []
  const settings = { keep: 1, attempts: 1 }
  const channel = new Channel(server, 'x', settings, new AbortController().signal, (_, ending) => endings.push(ending))
  const awaited = { id: 'job', data: {} as JobData, places: [0], inQueue: false }
  await channel.add([awaited])
  t.deepEqual(endings, [])
  Object.assign(job, { returnvalue: { upper: 1 }, finishedOn: 1 })
  await channel.poll()
  t.deepEqual(endings, [{ result: { upper: 1 } }])
})

queued('results whose signal has aborted before let go of the queue', async (t) => {
  using net = small()
  const batch = await enqueueBatch(net, [[1, 1]], {
    connection: connection(),
    queue: newQueue(),
    task: 'bound',
    epsilon: 1,
  })
  t.teardown(() => batch.close())
  const reason = new Error('enough')
  t.is(await t.throwsAsync(batch.results({ signal: AbortSignal.abort(reason) }).next()), reason)
  await t.throwsAsync(batch.cancel(), { message: /closed/ })
})

queued('progress tells what waits and how far the rest is; a signal ends the reading alone', async (t) => {
  t.timeout(300_000)
  using net = await loadModel(lenetFile)
  const eight = await loadTensor(eightFile)
  const queue = newQueue()
  const { until, count } = await worker(t, { queue, models: net, concurrency: 1 })
  const given = { connection: connection(), queue, ...laborious }
  const batch = await enqueueBatch(net, [eight, { input: eight, label: 3 }], given)
  t.teardown(() => batch.close())
  await until('begun')
  const reader = new AbortController()
  const reading = collect(batch.results({ signal: reader.signal }))
  let progress = await batch.progress()
  await eventually(async () => {
    progress = await batch.progress()
    return progress.underway > 0 || progress.done > 0
  })
  t.like(progress, { total: 2, read: 2, done: 0, failed: 0, running: 1, waiting: 1 })
  t.true(progress.underway > 0 && progress.underway < 1, `${progress.underway}`)
  reader.abort(new Error('enough'))
  t.is((await t.throwsAsync(reading)).message, 'enough')
  await t.throwsAsync(batch.cancel(), { message: /closed/ })

  await until('answered', 2)
  const again = await enqueueBatch(net, [eight, { input: eight, label: 3 }], given)
  const outcomes = await collect(again.results())
  t.true(outcomes.length === 2 && outcomes.every(({ ok }) => ok))
  t.is(count('begun'), 2, 'what was left in the queue was answered, and kept')
})

queued('a source is read no further ahead than the window, and its end is the end', async (t) => {
  t.timeout(300_000)
  using net = small()
  const queue = newQueue()
  await worker(t, { queue, models: net })
  let read = 0
  async function* source(): AsyncGenerator<number[]> {
    for (const point of points(50)) {
      read += 1
      yield await Promise.resolve(point)
    }
  }
  const given = { connection: connection(), queue, task: 'bound', epsilon: 1, window: 5 } as const
  const batch = await enqueueBatch(net, source(), given)
  t.teardown(() => batch.close())
  const outcomes = batch.results()
  for (let taken = 1; taken <= 20; taken += 1) {
    await next(outcomes)
    t.true(read <= taken + 5, `${read} read for ${taken}`)
  }
  t.is((await collect(outcomes)).length, 30)
  t.is(read, 50)
  await t.throwsAsync(collect(batch.results()), { message: /can be read once/ })

  function* broken(): Generator<number[]> {
    yield [1, 1]
    throw new Error('the disk is gone')
  }
  const failing = await enqueueBatch(net, broken(), given)
  await t.throwsAsync(collect(failing.results()), { message: 'the disk is gone' })
})

queued('SIGTERM under load loses nothing: what is not done in time goes back, untouched', async (t) => {
  t.timeout(300_000)
  using net = await loadModel(lenetFile)
  const eight = await loadTensor(eightFile)
  const queue = newQueue()
  const args = ['--redis', connection(), '--queue', queue, '--models', lenetFile, '--stalled-after', '60']
  const impatient = await startWorkerProcess(t, ...args, '--concurrency', '2', '--grace', '0')
  const given = { connection: connection(), queue, task: 'bound', seed: 1, restarts: 0 } as const
  const items = Array.from({ length: 6 }, (_, index) => ({ input: eight, epsilon: 0.01 + index / 1000 }))
  const batch = await enqueueBatch(net, items, given)
  t.teardown(() => batch.close())
  const collected = collect(batch.results())
  await impatient.logged('begun', 2)
  impatient.child.kill('SIGTERM')
  t.is(await impatient.ended, 0)
  t.deepEqual(impatient.log.at(-1)?.msg, 'closed')
  const returned = impatient.log.filter(({ msg }) => msg === 'returned').length
  const answered = impatient.log.filter(({ msg }) => msg === 'answered').length
  t.true(returned > 0, 'a bound takes longer than nothing')

  const patient = await startWorkerProcess(t, ...args, '--concurrency', '2', '--grace', '300')
  await patient.logged('begun', 2)
  patient.child.kill('SIGTERM')
  t.is(await patient.ended, 0)
  const of = (msg: string): number => patient.log.filter((line) => line.msg === msg).length
  t.is(of('returned'), 0)
  t.is(of('answered'), of('begun'), 'what it had begun was answered')

  const last = await worker(t, { queue, models: net })
  const outcomes = await collected
  t.deepEqual(byIndex(outcomes).map(({ index, ok }) => [index, ok]), items.map((_, index) => [index, true])) // prettier-ignore
  t.is(answered + of('answered') + last.count('answered'), 6, 'each was computed once: none had to be taken for lost')
  t.is(last.count('stalled'), 0)
})

queued(
  'lipbound enqueue prints what lipbound bound prints, and a worker that is gone at first is waited for',
  async (t) => {
    t.timeout(300_000)
    const queue = newQueue()
    const files = createDirectory()
    t.teardown(() => {
      files.remove()
    })
    const digits = ['7', '8'].map((digit) => repositoryFile(`examples/models/digits/${digit}.npy`))
    const broken = files.write('broken.npy', 'no array')
    const asked = [
      lenetFile,
      '--input',
      ...digits,
      broken,
      '--epsilon',
      '0.01',
      '0.02',
      '--method',
      'layerwise',
      '--seed',
      '1',
    ]
    const place = ['--redis', connection(), '--queue', queue]
    const enqueued = lipbound('enqueue', ...asked, ...place)
    await startWorkerProcess(t, ...place, '--models', repositoryFile('examples/models'))
    const { status, stdout, stderr } = await enqueued
    t.is(status, 2, stderr)
    const direct = await lipbound('bound', ...asked, '--jsonl')
    const sorted = (text: string): unknown =>
      untimed(parseLines(text) as { input: string }[]).sort((a, b) => (a.input < b.input ? -1 : 1))
    t.deepEqual(sorted(stdout), sorted(direct.stdout))
  },
)

queued('an interrupt of lipbound enqueue takes its batch out of the queue', async (t) => {
  t.timeout(300_000)
  const place = ['--redis', connection(), '--queue', newQueue()]
  const answering = await startWorkerProcess(t, ...place, '--models', lenetFile, '--concurrency', '1')
  const words = ['enqueue', lenetFile, '--input', eightFile, '--task', 'radius', '--seed', '1', ...place]
  const child = spawn(process.execPath, [repositoryFile('dist/cli/main.js'), ...words], { stdio: 'ignore' })
  const ended = once(child, 'close')
  await answering.logged('begun')
  child.kill('SIGINT')
  t.deepEqual(await ended, [1, null])
  await answering.logged('cancelled')
  answering.child.kill('SIGTERM')
  t.is(await answering.ended, 0)
  t.deepEqual(answering.log.map(({ msg }) => msg), ['ready', 'begun', 'cancelled', 'closing', 'closed']) // prettier-ignore
})

queued('what is wrong with a connection or an option is said at once', async (t) => {
  t.timeout(300_000)
  using net = small()
  const models = net
  const refused = async (act: () => Promise<unknown>, message: RegExp): Promise<void> => {
    const error = await t.throwsAsync(act, { instanceOf: InputError })
    t.is(error.code, 'ERR_LIPBOUND_ARGUMENT')
    t.regex(error.message, message)
  }
  const nowhere = 'redis://127.0.0.1:1'
  await refused(
    () => startWorker({ connection: nowhere, models }),
    /connection': Redis at 127\.0\.0\.1:1 does not answer/,
  )
  await refused(() => startWorker({ connection: 'localhost:6379', models }), /must be a URL such as redis:/)
  const secret = 'http://user:secret@host'
  await refused(() => startWorker({ connection: secret, models }), /such as redis:.* got 'http:\/\/host'$/)
  await refused(() => startWorker({ connection: connection(), models: [] }), /'models' must be a file, a directory/)
  await refused(() => startWorker({ connection: connection(), models, queue: 'a:b' }), /'queue' must be a name/)
  const task = 'bound'
  const given = { connection: connection(), task } as const
  await refused(() => enqueueBatch('123', [], given), /models must be a network, or its digest: 64 hexadecimal digits/)
  await refused(() => enqueueBatch({}, [], given), /models must be a network, a digest, or some of them by name/)
  await refused(() => enqueueBatch(net, 5 as never, given), /inputs must be an iterable/)
  await refused(
    () => enqueueBatch(net, [], { ...given, task: 'norm' as never }),
    /'task' must be one of 'bound', 'radius'/,
  )
  await refused(() => enqueueBatch(net, [], { ...given, window: 0 }), /'window' must be a positive integer/)
  const signal = new AbortController().signal
  await refused(() => enqueueBatch(net, [], { ...given, signal } as never), /'signal' does not go into a queue/)
})

queued('lipbound worker ends with status 2 where it cannot begin', async (t) => {
  t.timeout(300_000)
  const models = repositoryFile('examples/models')
  const place = ['--redis', connection()]
  await refuses(t, ['worker', '--models', models], /where the queue is has to be said: --redis/)
  await refuses(t, ['worker', '--redis', 'x://y', '--models', models], /--redis must be a URL such as redis:/)
  const both = ['--redis', connection(), '--postgres', 'postgres://x', '--models', models]
  await refuses(t, ['worker', ...both], /a queue is in one place/)
  await refuses(t, ['worker', '--redis', 'redis://127.0.0.1:1', '--models', models], /does not answer: .*ECONNREFUSED/)
  await refuses(t, ['worker', ...place, '--models', repositoryFile('docs')], /docs holds no model/)
  await refuses(t, ['worker', ...place, '--models', 'gone.onnx'], /gone\.onnx/)
  await refuses(t, ['worker', ...place, '--models', models, '--concurrency', '0'], /'concurrency' must be a positive/)
  const input = ['--input', eightFile]
  await refuses(t, ['enqueue', lenetFile, ...input, ...place], /--task bound needs --epsilon/)
  await refuses(t, ['enqueue', lenetFile, ...input, '--epsilon', '1', '--label', '3', ...place], /--label goes with/)
})

test('a package that is missing is named, with the command that installs it', async (t) => {
  const hooks = `export const resolve = (name, context, next) => {
    if (name === process.env.MISSING) throw new Error('no ' + name)
    return next(name, context)
  }`
  const script = `
    import { register } from 'node:module'
    register('data:text/javascript,' + encodeURIComponent(process.env.HOOKS))
    const { relu, sequential } = await import('./dist/index.js')
    const { startWorker } = await import('./dist/queue/index.js')
    const models = sequential({ input: [1] }, [relu()])
    await startWorker({ connection: process.env.PLACE, models }).catch(({ code, message }) => console.log(code, message))
  `
  const places = { bullmq: 'redis://127.0.0.1:1', ioredis: 'redis://127.0.0.1:1', pg: 'postgres://127.0.0.1:1' }
  for (const [name, place] of Object.entries(places)) {
    const env = { HOOKS: hooks, MISSING: name, PLACE: place }
    const { stdout, stderr } = await runNode(['--input-type=module', '--eval', script], env)
    t.regex(stdout, new RegExp(`^ERR_LIPBOUND_DEPENDENCY .*'${name}'.*: npm install ${name}\n$`), stderr)
  }
})

type Outcome = Awaited<ReturnType<typeof collect<unknown>>>[number]

async function next<Value>(outcomes: AsyncGenerator<Value, void, undefined>): Promise<Value> {
  const step = await outcomes.next()
  if (step.done === true) throw new Error('there is no more')
  return step.value
}

function errorOf(outcome: { readonly ok: boolean; readonly error?: Error } | undefined): Error {
  if (outcome?.error === undefined) throw new Error('there is no error')
  return outcome.error
}
