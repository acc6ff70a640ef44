/** What a service counts, in the format of Prometheus. */
import type { Counter, Histogram, Registry } from 'prom-client'

import { load } from '../dependency.js'
import type { Task } from '../request.js'
import type { Places } from './places.js'

/** What happens in a service, told to whoever counts. */
export interface Metrics {
  /** A request is over; 499 is the status of those whose client has gone. */
  request(labels: { route: string; method: string; status: number }): void
  /** A request was not answered as it was asked. */
  refused(reason: string): void
  /** A computation ran for so long, answered or not. */
  computed(labels: { task: Task; model: string }, seconds: number): void
  /** An item of a batch has its outcome. */
  item(labels: { task: Task; model: string; outcome: 'answered' | 'failed' }): void
  /** All of it as text, and the type of that. */
  text(): Promise<{ type: string; text: string }>
}

/** Seconds that separate what is quick from what is not. */
const BUCKETS = [0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1, 3, 10, 30, 100, 300]

/**
 * Counts with prom-client, in a registry of its own: services in one process do not mix.
 *
 * @throws {@link InputError} (by rejection) `ERR_LIPBOUND_DEPENDENCY`
 */
export async function createMetrics(places: Places): Promise<Metrics> {
  const prometheus = await load(() => import('prom-client'), 'prom-client', 'metrics')
  const registry: Registry = new prometheus.Registry()
  const registers = [registry]
  prometheus.collectDefaultMetrics({ register: registry })
  const counter = <Label extends string>(name: string, help: string, labelNames: Label[]): Counter<Label> =>
    new prometheus.Counter({ name, help, labelNames, registers })
  const gauge = (name: string, help: string, value: () => number): void => {
    new prometheus.Gauge({
      name,
      help,
      registers,
      collect() {
        this.set(value())
      },
    })
  }
  gauge('lipbound_computations_running', 'Computations that run.', () => places.running)
  gauge('lipbound_computations_waiting', 'Computations that wait for their turn.', () => places.waiting)
  const requests = counter('lipbound_requests_total', 'Requests, by what became of them; 499: the client has gone.', [
    'route',
    'method',
    'status',
  ])
  const refused = counter('lipbound_refused_total', 'Requests that were not answered as asked, by code.', ['reason'])
  const items = counter('lipbound_batch_items_total', 'Items of batches, by outcome.', ['task', 'model', 'outcome'])
  const seconds: Histogram<'task' | 'model'> = new prometheus.Histogram({
    name: 'lipbound_computation_seconds',
    help: 'Seconds of computations, without those in which they waited for their turn.',
    labelNames: ['task', 'model'],
    buckets: BUCKETS,
    registers,
  })
  return {
    request: (labels) => {
      requests.inc(labels)
    },
    refused: (reason) => {
      refused.inc({ reason })
    },
    computed: (labels, took) => {
      seconds.observe(labels, took)
    },
    item: (labels) => {
      items.inc(labels)
    },
    text: async () => ({ type: registry.contentType, text: await registry.metrics() }),
  }
}

const nothing = (): void => undefined

/** Counts nothing. */
export const noMetrics: Omit<Metrics, 'text'> = { request: nothing, refused: nothing, computed: nothing, item: nothing }
