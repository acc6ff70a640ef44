// A thousand layerwise bounds of MNIST digits: one by one, and as a batch; with one job thread, and with all. And how long
// the event loop is held up meanwhile.

import { fork } from 'node:child_process'
import { once } from 'node:events'
import { monitorEventLoopDelay, performance } from 'node:perf_hooks'
import { fileURLToPath } from 'node:url'

import { loadModel, loadTensor } from '../dist/index.js'

const file = (name) => fileURLToPath(new URL(`../examples/models/${name}`, import.meta.url))
const COUNT = Number(process.env.LIPBOUND_BATCH ?? 1000)
const options = { epsilon: 0.1, method: 'layerwise', seed: 1 }

/** `[index of the digit]` for each item. */
function* items(digits) {
  for (let index = 0; index < COUNT; index += 1) yield digits[index % digits.length]
}

const ways = {
  'one by one': async (network, digits) => {
    for (const digit of items(digits)) await network.bound(digit, options)
  },
  'a batch': async (network, digits) => {
    for await (const outcome of network.bounds(items(digits), options)) if (!outcome.ok) throw outcome.error
  },
  'a batch, unordered': async (network, digits) => {
    for await (const outcome of network.bounds(items(digits), { ...options, ordered: false })) {
      if (!outcome.ok) throw outcome.error
    }
  },
}

/** Measures every way, three times, and takes the best: other programs only make it slower. */
async function measure() {
  const network = await loadModel(file('lenet.json'))
  const digits = await Promise.all(Array.from({ length: 10 }, (_, digit) => loadTensor(file(`digits/${digit}.npy`))))
  for (let round = 0; round < 100; round += 1) await network.bound(digits[round % 10], options)
  const results = Object.fromEntries(Object.keys(ways).map((way) => [way, { rate: 0, delay: Infinity }]))
  for (let round = 0; round < 3; round += 1) {
    for (const [way, work] of Object.entries(ways)) {
      const delays = monitorEventLoopDelay({ resolution: 1 })
      delays.enable()
      const started = performance.now()
      await work(network, digits)
      const rate = (COUNT / (performance.now() - started)) * 1000
      delays.disable()
      const delay = delays.percentile(99) / 1e6
      results[way] = { rate: Math.max(rate, results[way].rate), delay: Math.min(delay, results[way].delay) }
    }
  }
  return results
}

if (process.send) {
  process.send(await measure())
  process.disconnect()
} else {
  const run = async (env) => {
    const child = fork(fileURLToPath(import.meta.url), { env: { ...process.env, ...env } })
    const [results] = await once(child, 'message')
    return results
  }
  const one = await run({ LIPBOUND_THREADS: '1' })
  const all = await run({ LIPBOUND_THREADS: process.env.LIPBOUND_THREADS ?? '' })
  const alone = all['one by one'].rate
  console.log(`${COUNT} layerwise bounds of LeNet at epsilon ${options.epsilon}`)
  console.table(
    Object.entries({ 'one job thread': one, 'all job threads': all }).flatMap(([threads, results]) =>
      Object.entries(results).map(([way, { rate, delay }]) => ({
        threads,
        way,
        'bounds per second': rate.toFixed(0),
        'to one by one': (rate / alone).toFixed(2),
        'to one thread': (rate / one['a batch'].rate).toFixed(2),
        'event loop delay, p99 (ms)': delay.toFixed(1),
      })),
    ),
  )
}
