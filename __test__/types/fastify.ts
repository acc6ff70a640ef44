/** Uses of `lipbound/fastify` that must compile, and wrong uses that must not; nothing here is run. */
import type { Network } from 'lipbound'
import { defaultLimits, lipbound, serviceErrors, startServer } from 'lipbound/fastify'
import type { BoundBody, RunningServer } from 'lipbound/fastify'

export const body: BoundBody = { input: { shape: [1], data: [0] }, epsilon: 0.1 }
export const values: readonly unknown[] = [lipbound, defaultLimits, serviceErrors]

export async function uses(net: Network): Promise<RunningServer> {
  // @ts-expect-error a service has models
  await startServer({ port: 0 })
  // @ts-expect-error a port is a number
  await startServer({ models: 'models', port: '80' })
  // @ts-expect-error there is no such limit
  await startServer({ models: 'models', limits: { patience: 1 } })
  return startServer({ models: { lenet: net }, port: 0 })
}
