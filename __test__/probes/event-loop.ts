/** How late the event loop runs while large bounds are computed in the background. Prints JSON. */
import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'

import { LABORIOUS, large } from '../helpers/large.js'

const RESOLUTION = 1

/** Delays are measured from timer to timer, so the timer's own period is taken off. */
async function measure(milliseconds: number): Promise<{ p99: number; max: number }> {
  const histogram = monitorEventLoopDelay({ resolution: RESOLUTION })
  histogram.enable()
  await sleep(milliseconds)
  histogram.disable()
  const delay = (nanoseconds: number): number => Math.max(0, nanoseconds / 1e6 - RESOLUTION)
  return { p99: delay(histogram.percentile(99)), max: delay(histogram.max) }
}

const [network, input] = large()
const idle = await measure(500)

const controller = new AbortController()
let progress = 0
const clock = performance.now()
const began = process.cpuUsage()
const work = network.bound(input, { ...LABORIOUS, signal: controller.signal, onProgress: () => progress++ }).then(
  () => 'finished',
  () => 'aborted',
)
const busy = await measure(4000)
const cores = process.cpuUsage(began).user / 1000 / (performance.now() - clock)
controller.abort()

process.stdout.write(JSON.stringify({ idle, busy, cores, progress, outcome: await work }))
