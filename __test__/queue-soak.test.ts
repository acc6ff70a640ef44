/**
 * Workers are killed and servers crash, and still each item of a batch comes out once, with what a single process answers,
 * bit for bit. `LIPBOUND_QUEUE_JOBS` (2000) says how many items there are; what happens to whom is decided by how many
 * have come out, so that a slow machine has as much to bear as a fast one.
 */
import test from 'ava'
import type { ExecutionContext } from 'ava'

import { loadModel, loadTensor } from '../dist/index.js'
import type { Network } from '../dist/index.js'
import { enqueueBatch } from '../dist/queue/index.js'
import { createDirectory, safetensors } from './helpers/files.js'
import { repositoryFile } from './helpers/process.js'
import { byIndex, collect, untimed } from './helpers/queues.js'
import { createRandom } from './helpers/random.js'
import { postgresPath, redisPath, startPostgres, startRedis } from './helpers/servers.js'
import type { TestServer } from './helpers/servers.js'
import { startWorkerProcess } from './helpers/workers.js'

// The set-up installs both where it may; on a developer's machine without them, the tests are skipped.
const required = process.env['CI'] === 'true' && process.getuid?.() === 0
const inRedis = redisPath !== undefined || required ? test.serial : test.serial.skip
const inPostgres = postgresPath !== undefined || required ? test.serial : test.serial.skip

const JOBS = Number(process.env['LIPBOUND_QUEUE_JOBS'] ?? 2000)

inRedis(`${JOBS} items survive killed workers and a crash of Redis`, async (t) => {
  t.timeout(1_800_000)
  await endure(t, { start: startRedis, option: '--redis', jobs: JOBS, workers: 3, kills: 8 })
})

inPostgres(`${Math.ceil(JOBS / 10)} items survive a killed worker and a crash of PostgreSQL`, async (t) => {
  t.timeout(1_800_000)
  await endure(t, { start: startPostgres, option: '--postgres', jobs: Math.ceil(JOBS / 10), workers: 2, kills: 2 })
})

interface Trial {
  start: () => Promise<TestServer>
  option: string
  jobs: number
  workers: number
  /** How many workers are killed in all. */
  kills: number
}

async function endure(t: ExecutionContext, { start, option, jobs, workers, kills }: Trial): Promise<void> {
  const server = await start()
  t.teardown(() => server.remove())
  const lenet = repositoryFile('examples/models/lenet.json')
  const tiny = tinyModel(t)
  using large = await loadModel(lenet)
  using small = await loadModel(tiny)
  const networks: Readonly<Record<string, Network>> = { large, small }
  const items = await itemsOf(jobs)
  const options = { seed: 7, method: 'layerwise' } as const

  const expected: unknown[] = []
  for (const [name, network] of Object.entries(networks)) {
    const own = items.map((item, id) => ({ ...item, id })).filter(({ model }) => model === name)
    const asked = own.map(({ input, epsilon, id }) => ({ input, epsilon, id }))
    for await (const { id, ...outcome } of network.bounds(asked, options)) expected[id as number] = outcome
  }

  const args = [
    option,
    server.url,
    '--models',
    lenet,
    tiny,
    '--concurrency',
    '4',
    '--stalled-after',
    '2',
    '--grace',
    '5',
  ]
  const crew = await Promise.all(Array.from({ length: workers }, () => startWorkerProcess(t, ...args)))
  const everyone = [...crew]
  const batch = await enqueueBatch(networks, items, { connection: server.url, task: 'bound', poll: 1, ...options })
  t.teardown(() => batch.close())
  const outcomes: unknown[] = []
  let killed = 0
  let crashed = false
  for await (const outcome of batch.results()) {
    outcomes.push(outcome)
    if (killed < kills && outcomes.length >= ((killed + 1) * jobs) / (kills + 1)) {
      const place = killed % workers
      crew[place]?.child.kill('SIGKILL')
      killed += 1
      const another = await startWorkerProcess(t, ...args)
      crew[place] = another
      everyone.push(another)
    }
    if (!crashed && outcomes.length >= jobs / 2) {
      crashed = true
      await server.restart()
    }
  }
  const found = byIndex(outcomes as { index: number; ok: boolean; result?: unknown }[])
  t.deepEqual(found.map(({ index }) => index), Array.from(items.keys()), 'each once, and none is lost') // prettier-ignore
  t.is(found.findIndex(({ ok }) => !ok), -1) // prettier-ignore
  const resultsOf = (list: readonly unknown[]): unknown[] =>
    untimed(list.map((outcome) => (outcome as { result?: unknown }).result))
  t.deepEqual(resultsOf(found), resultsOf(expected))
  t.is(killed, kills)

  for (const { child } of crew) child.kill('SIGTERM')
  t.deepEqual(await Promise.all(crew.map(({ ended }) => ended)), crew.map(() => 0)) // prettier-ignore
  const count = (message: string): number =>
    everyone.reduce((sum, { log }) => sum + log.filter(({ msg }) => msg === message).length, 0)
  t.log(`${jobs} items, ${killed} workers killed: begun ${count('begun')}, found stalled ${count('stalled')}`)

  const again = await enqueueBatch(networks, items, { connection: server.url, task: 'bound', ...options })
  t.is((await collect(again.results())).length, jobs, 'all results are kept: nobody works any more')
}

interface Item {
  readonly input: Awaited<ReturnType<typeof loadTensor>> | number[]
  readonly epsilon: number
  readonly model: string
}

/** A fifth of the items is about the digits, the others about a network that is answered at once. */
async function itemsOf(jobs: number): Promise<Item[]> {
  const files = Array.from({ length: 10 }, (_, digit) => repositoryFile(`examples/models/digits/${digit}.npy`))
  const digits = await Promise.all(files.map((file) => loadTensor(file)))
  const random = createRandom(20)
  return Array.from({ length: jobs }, (_, index): Item => {
    const epsilon = 0.001 * (1 + index)
    const digit = digits[index % digits.length]
    if (index % 5 === 0 && digit !== undefined) return { input: digit, epsilon, model: 'large' }
    return { input: [random.uniform(), random.uniform(), random.uniform()], epsilon, model: 'small' }
  })
}

/** A network of three inputs in files of its own; the path of its architecture. */
function tinyModel(t: ExecutionContext): string {
  const files = createDirectory()
  t.teardown(() => {
    files.remove()
  })
  const random = createRandom(10)
  const filled = (...shape: number[]): { shape: number[]; data: Float64Array } => ({
    shape,
    data: Float64Array.from({ length: shape.reduce((a, b) => a * b, 1) }, () => random.uniform() - 0.5),
  })
  files.write('tiny.safetensors', safetensors({ a: filled(8, 3), b: filled(8), c: filled(2, 8) }))
  const layers = [
    { type: 'linear', name: 'first', weight: 'a', bias: 'b' },
    { type: 'relu' },
    { type: 'linear', name: 'second', weight: 'c' },
  ]
  const document = { format: 'lipbound-architecture', version: 1, input: [3], weights: 'tiny.safetensors', layers }
  return files.write('tiny.json', JSON.stringify(document))
}
