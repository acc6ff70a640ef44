/** Uses of `lipbound/queue` that must compile, and wrong uses that must not; nothing here is run. */
import type { BoundResult, Network, Tensor } from 'lipbound'
import { enqueueBatch, startWorker } from 'lipbound/queue'
import type { QueueBatch, QueueConnection, ResultJson } from 'lipbound/queue'

export async function uses(net: Network, input: Tensor): Promise<QueueBatch<ResultJson<BoundResult>>> {
  const connection: QueueConnection = 'redis://127.0.0.1'
  const worker = await startWorker({ connection, models: 'models', concurrency: 4 })
  await worker.close({ grace: 20 })
  // @ts-expect-error a worker has models
  await startWorker({ connection })
  // @ts-expect-error there is no such task
  await enqueueBatch(net, [{ input }], { connection, task: 'guess', epsilon: 0.1 })
  // @ts-expect-error a queue is somewhere
  await enqueueBatch(net, [{ input }], { task: 'bound', epsilon: 0.1 })
  return enqueueBatch(net, [{ input }], { connection, task: 'bound', epsilon: 0.1 })
}
