/** After an abort: how soon the promise rejects, and how much the process goes on working. Prints JSON. */
import { performance } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'

import { LABORIOUS, large } from '../helpers/large.js'

const [network, input] = large()
const outcomes: { rejectedAfter: number; busyBefore: number; busyAfter: number }[] = []

for (const delay of [0, 30, 200, 500, 1000]) {
  const controller = new AbortController()
  const began = process.cpuUsage()
  const clock = performance.now()
  const settled = network.bound(input, { ...LABORIOUS, signal: controller.signal }).then(
    () => NaN,
    () => performance.now(),
  )
  await sleep(delay)
  const { user } = process.cpuUsage(began)
  const busyBefore = user / 1000 / (performance.now() - clock)
  const aborted = performance.now()
  controller.abort()
  const rejectedAfter = (await settled) - aborted
  await sleep(100)
  const then = process.cpuUsage()
  const quiet = performance.now()
  await sleep(300)
  const busyAfter = process.cpuUsage(then).user / 1000 / (performance.now() - quiet)
  outcomes.push({ rejectedAfter, busyBefore, busyAfter })
}

process.stdout.write(JSON.stringify(outcomes))
