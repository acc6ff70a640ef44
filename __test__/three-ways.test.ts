/** One batch, three ways: the iterator, the queue and the service give the same outcomes, to the last bit. */
import test from 'ava'

import { loadModel, loadTensor } from '../dist/index.js'
import type { BatchOutcome, Tensor } from '../dist/index.js'
import { enqueueBatch, startWorker } from '../dist/queue/index.js'
import { errorToJson, tensorToJson, toJson } from '../dist/request.js'
import type { Task } from '../dist/request.js'
import { repositoryFile } from './helpers/process.js'
import { byIndex, collect } from './helpers/queues.js'
import { withoutSeconds } from './helpers/seconds.js'
import { redisPath, startRedis } from './helpers/servers.js'
import { post, serve } from './helpers/service.js'

const required = process.env['CI'] === 'true' && process.getuid?.() === 0
const queued = redisPath !== undefined || required ? test.serial : test.serial.skip

const MODELS = repositoryFile('examples/models')
const lenet = await loadModel(`${MODELS}/lenet.json`)
const digits = await Promise.all([0, 1, 2, 3, 4, 5].map((digit) => loadTensor(`${MODELS}/digits/${digit}.npy`)))

/** An outcome as JSON has it, without the time that it took. */
function comparable(outcome: BatchOutcome<unknown>): unknown {
  const { index, id, ok } = outcome
  const answer = outcome.ok ? { result: outcome.result } : { error: errorToJson(outcome.error) }
  return withoutSeconds(JSON.parse(JSON.stringify(toJson({ index, id, ok, ...answer }))))
}

/** Items, of which one is of the wrong shape and one asks for what there is not. */
function items<Own extends object>(own: (digit: number) => Own): (Own & { id: string; input: Tensor })[] {
  const good = digits.map((input, digit) => ({ ...own(digit), id: `digit ${digit}`, input }))
  const short = { ...own(0), id: 'short', input: { shape: [3], data: Float64Array.of(1, 2, 3) } }
  const wrong = { ...own(1), id: 'wrong', input: digits[1] ?? short.input, tolerance: 7 }
  return [...good.slice(0, 3), short, wrong, ...good.slice(3)]
}

queued('the iterator, the queue and the service answer a batch alike', async (t) => {
  t.timeout(300_000)
  const redis = await startRedis()
  t.teardown(() => redis.remove())
  const connection = redis.url
  const worker = await startWorker({ connection, models: lenet })
  t.teardown(() => worker.close({ grace: 0 }))
  const { url } = await serve(t, { models: MODELS })

  const compare = async (
    task: Task,
    options: object,
    batch: readonly { readonly input: Tensor }[],
    iterated: AsyncIterable<BatchOutcome<unknown>>,
    queue: { results: () => AsyncIterable<BatchOutcome<unknown>> },
  ): Promise<void> => {
    const expected = (await collect(iterated)).map(comparable)
    t.deepEqual(
      expected.map((outcome) => (outcome as { ok: boolean }).ok),
      [true, true, true, false, false, true, true, true],
    )
    t.deepEqual(byIndex(await collect(queue.results())).map(comparable), expected, `${task}: the queue`)

    const sent = batch.map(({ input, ...item }) => ({ ...item, input: tensorToJson(input) }))
    const { status, body } = await post(`${url}/models/lenet/batch`, { task, options, items: sent })
    t.is(status, 200)
    t.deepEqual(withoutSeconds(body), expected, `${task}: the service`)
  }

  const bound = { seed: 5, method: 'layerwise', witness: true } as const
  const balls = items((digit) => ({
    epsilon: digit % 2 === 0 ? [0.01, 0.1] : [0.05],
    kind: digit % 3 === 0 ? ('uniform' as const) : ('centred' as const),
  }))
  const boundBatch = await enqueueBatch(lenet, balls, { connection, task: 'bound', ...bound, epsilon: [0.05] })
  await compare('bound', bound, balls, lenet.bounds(balls, bound), boundBatch)

  const inputBox = { lower: 0, upper: 1 }
  const radius = { seed: 5, method: 'layerwise', maximum: 0.2, tolerance: 0.2, attackSteps: 20, inputBox } as const
  const labelled = items((label) => ({ label }))
  const radiusBatch = await enqueueBatch(lenet, labelled, { connection, task: 'radius', ...radius })
  await compare('radius', radius, labelled, lenet.certifiedRadii(labelled, radius), radiusBatch)
})
