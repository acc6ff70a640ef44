/** Two thousand bounds, many of them cancelled at random: how memory goes. Prints JSON. */
import { setTimeout as sleep } from 'node:timers/promises'

import { conv2d, flatten, linear, maxPool2d, relu, sequential } from '../../dist/index.js'
import type { Network, Tensor } from '../../dist/index.js'
import { createRandom } from '../helpers/random.js'

const CALLS = 2000
const WARM_UP = 2000
const AT_ONCE = 4

const random = createRandom(5)
const gaussians = (...shape: number[]): Tensor => ({
  shape,
  data: Float64Array.from({ length: shape.reduce((a, b) => a * b) }, () => random.gaussian() / 4),
})

function createNetwork(): Network {
  return sequential({ input: [1, 10, 10] }, [
    conv2d({ weight: gaussians(4, 1, 3, 3), bias: gaussians(4) }),
    relu(),
    maxPool2d({ kernel: 2 }),
    conv2d({ weight: gaussians(6, 4, 3, 3), bias: gaussians(6) }),
    relu(),
    flatten(),
    linear({ weight: gaussians(10, 24) }),
  ])
}

const counts = { answered: 0, cancelled: 0, failed: 0 }

/** One call, at times on a network of its own, and one in two cancelled somewhere between start and end. */
async function call(shared: Network, cancel: boolean): Promise<void> {
  const own = random.uniform() < 0.1 ? createNetwork() : undefined
  const controller = new AbortController()
  const reason = new Error('cancelled')
  const timer =
    cancel && random.uniform() < 0.5
      ? setTimeout(() => {
          controller.abort(reason)
        }, random.uniform() * 10)
      : undefined
  try {
    const epsilon = random.uniform() / 10
    await (own ?? shared).bound(gaussians(1, 10, 10), {
      epsilon,
      method: random.uniform() < 0.8 ? 'layerwise' : 'certificate',
      signal: controller.signal,
      onProgress: () => undefined,
    })
    counts.answered++
  } catch (error) {
    if (error === reason) counts.cancelled++
    else counts.failed++
  } finally {
    clearTimeout(timer)
    own?.dispose()
  }
}

/** Memory in use once what can be freed has been freed. */
async function residentSize(): Promise<number> {
  for (let round = 0; round < 5; round++) {
    globalThis.gc?.()
    await sleep(20)
  }
  return process.memoryUsage.rss()
}

const network = createNetwork()
let started = 0
const worker = async (limit: number, cancel: boolean): Promise<void> => {
  while (started < limit) {
    started++
    await call(network, cancel)
  }
}
const until = (limit: number, atOnce: number, cancel: boolean): Promise<unknown> =>
  Promise.all(Array.from({ length: atOnce }, () => worker(limit, cancel)))

/**
 * Lets V8's young generation reach the size it may have: it doubles when much survives, which any program does in its
 * own time, and which would be taken for a leak (some 25 MB) where it happens between two measurements.
 */
function fillYoungGeneration(): void {
  const survivors: object[] = []
  for (let i = 0; i < 4_000_000; i++) survivors[i % 400_000] = { i }
}

fillYoungGeneration()
// Busier than what follows, so that whatever allocators keep for later is there.
await until(WARM_UP, 2 * AT_ONCE, false)
const before = await residentSize()
await until(WARM_UP + CALLS, AT_ONCE, true)
const after = await residentSize()

process.stdout.write(JSON.stringify({ ...counts, before, after }))
