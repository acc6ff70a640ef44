/** Networks that share the job threads: by thread time, not by the number of jobs or by who came first. */
import { availableParallelism } from 'node:os'

import test from 'ava'

import { linear, relu, sequential } from '../dist/index.js'
import { moderate } from './helpers/large.js'

const threads = Number(process.env['LIPBOUND_THREADS'] ?? '') || availableParallelism()

const tiny = () => sequential({ input: [1] }, [linear({ weight: [[2]] }), relu()])

test.serial('a network whose jobs are long does not hold up one whose jobs are short', async (t) => {
  const [slow, input] = moderate()
  using _slow = slow
  using fast = tiny()
  const ended: string[] = []
  const note = (name: string) => () => ended.push(name)
  const long = Array.from({ length: 8 * threads }, () =>
    slow.bound(input, { epsilon: 0.1, method: 'layerwise' }).then(note('slow')),
  )
  const short = Array.from({ length: 20 }, () => fast.bound([1], { epsilon: 1 }).then(note('fast')))
  await Promise.all([...long, ...short])
  // Each thread has begun a long job before the short ones came, and perhaps one in between.
  const before = ended.slice(0, ended.lastIndexOf('fast')).filter((name) => name === 'slow')
  t.true(before.length <= 4 * threads, `${String(before.length)} of ${String(long.length)} came first`)
})

test.serial('a network whose jobs are short does not hold up one whose jobs are long', async (t) => {
  const [slow, input] = moderate()
  using _slow = slow
  using fast = tiny()
  const ended: string[] = []
  const note = (name: string) => () => ended.push(name)
  let done = false
  // Every thread always has a next short job, until the long ones are done.
  const stream = async () => {
    while (!done) await fast.bound([1], { epsilon: 1 }).then(note('fast'))
  }
  const streams = Array.from({ length: 8 * threads }, stream)
  await Promise.all(
    Array.from({ length: 3 * threads }, () =>
      slow.bound(input, { epsilon: 0.1, method: 'layerwise' }).then(note('slow')),
    ),
  )
  done = true
  await Promise.all(streams)
  const between = ended.slice(ended.indexOf('slow'), ended.lastIndexOf('slow'))
  t.true(between.includes('fast'), 'neither one after the other')
})

test.serial('what is cancelled while it waits is dropped, and what comes after it is done', async (t) => {
  const [slow, input] = moderate()
  using _slow = slow
  const controller = new AbortController()
  const stages: string[] = []
  const busy = Array.from({ length: threads }, () => slow.bound(input, { epsilon: 0.1, method: 'layerwise' }))
  const cancelled = Array.from({ length: 200 }, () =>
    slow.bound(input, {
      epsilon: 0.1,
      signal: controller.signal,
      onProgress: ({ stage }) => stages.push(stage),
    }),
  )
  const last = slow.evaluate(input)
  controller.abort()
  for (const outcome of await Promise.allSettled(cancelled)) t.is(outcome.status, 'rejected')
  await Promise.all([...busy, last])
  t.deepEqual(stages, [])
})
