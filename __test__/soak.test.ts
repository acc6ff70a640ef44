/** What only shows in the long run, measured in processes of their own. */
import test from 'ava'

import { probe } from './helpers/process.js'

test.serial('2,000 bounds with random cancels leave memory as it was', async (t) => {
  t.timeout(600_000)
  const soak = (await probe('soak')) as {
    answered: number
    cancelled: number
    failed: number
    before: number
    after: number
  }
  t.log(soak)
  t.is(soak.answered + soak.cancelled, 4000)
  t.is(soak.failed, 0)
  t.true(soak.answered > 2250 && soak.cancelled > 250, 'the calls were neither all answered nor all cancelled')
  t.true(soak.after < 1.05 * soak.before, `${soak.before} bytes after warm-up, ${soak.after} in the end`)
})

test.serial('the event loop runs on time while a large bound is computed', async (t) => {
  t.timeout(120_000)
  const delays = (await probe('event-loop')) as {
    busy: { p99: number }
    cores: number
    progress: number
    outcome: string
  }
  t.log(delays)
  t.is(delays.outcome, 'aborted', 'the bound was still running when the measurement ended')
  t.true(delays.cores > 0.2, `the background was not busy: ${delays.cores} cores`)
  t.true(delays.progress > 0)
  t.true(delays.busy.p99 < 20, `99 % of the time within ${delays.busy.p99} ms`)
})

test.serial('an abort is honoured within 100 ms, by the promise and by the threads behind it', async (t) => {
  t.timeout(120_000)
  const outcomes = (await probe('cancel')) as { rejectedAfter: number; busyBefore: number; busyAfter: number }[]
  t.log(outcomes)
  t.is(outcomes.length, 5)
  for (const { rejectedAfter, busyAfter } of outcomes) {
    t.true(rejectedAfter < 100)
    t.true(busyAfter < 0.1, `${busyAfter} cores were still busy`)
  }
  t.true(
    outcomes.some(({ busyBefore }) => busyBefore > 0.2),
    'there was work to abort',
  )
})

test.serial('a panic in the native part rejects its promise and does no other harm', async (t) => {
  const { rejections, upper } = (await probe('panic')) as { rejections: unknown[]; upper: number[] }
  t.is(rejections.length, 20)
  rejections.forEach((rejection, round) => {
    t.deepEqual(rejection, {
      name: 'InternalError',
      code: 'ERR_LIPBOUND_INTERNAL',
      message: `internal error, please report it: panic ${round}`,
    })
  })
  t.is(upper.length, 20)
  t.true(upper.every((value) => value >= 1 && value < 1.001))
})
