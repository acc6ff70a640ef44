/** Promises, signals, progress, and life in worker threads. */
import { Worker } from 'node:worker_threads'

import test from 'ava'

import { linear, norm, relu, sequential } from '../dist/index.js'
import type { Network, Progress } from '../dist/index.js'
import { LABORIOUS, large, moderate } from './helpers/large.js'

const small = (): Network =>
  sequential({ input: [2] }, [
    linear({
      weight: [
        [3, 1],
        [-1, 2],
      ],
      bias: [1, 0],
    }),
    relu(),
  ])

test('an abort rejects with the reason of the signal, whatever it is', async (t) => {
  const [network, input] = large()
  using _disposed = network
  const reasons: unknown[] = [new Error('enough'), 'a text', undefined]
  for (const reason of reasons) {
    const controller = new AbortController()
    const promise = network.bound(input, { ...LABORIOUS, signal: controller.signal })
    setTimeout(() => {
      controller.abort(reason)
    }, 20)
    t.is(await rejection(promise), controller.signal.reason)
  }
})

test('an abort stops a global bound and a norm too', async (t) => {
  const [network] = large()
  using _disposed = network
  const { tolerance, maxSteps, guarantee } = LABORIOUS
  const size = 1500
  const weight = {
    shape: [size, size],
    data: Float64Array.from({ length: size * size }, (_, index) => Math.sin(index)),
  }
  for (const start of [
    (signal: AbortSignal) => network.globalBound({ tolerance, maxSteps, guarantee, signal }),
    (signal: AbortSignal) => norm(linear({ weight }), { input: [size], tolerance, maxSteps, guarantee, signal }),
  ]) {
    const controller = new AbortController()
    const promise = start(controller.signal)
    setTimeout(() => {
      controller.abort()
    }, 5)
    t.is(await rejection(promise), controller.signal.reason)
  }
})

test('a signal that times out gives its own reason', async (t) => {
  const [network, input] = large()
  using _disposed = network
  const error = await rejection(network.bound(input, { ...LABORIOUS, signal: AbortSignal.timeout(20) }))
  t.true(error instanceof DOMException)
  t.is((error as DOMException).name, 'TimeoutError')
})

test('nothing stays attached to a signal, over thousands of calls', async (t) => {
  using network = small()
  const { signal } = new AbortController()
  const balance = countListeners(signal)
  for (let round = 0; round < 50; round++) {
    const calls = Array.from({ length: 50 }, () => network.bound([1, 1], { epsilon: 1, signal }))
    t.is(balance(), 1, 'one listener, however many calls')
    await Promise.all(calls)
    t.is(balance(), 0)
  }
  await t.throwsAsync(network.bound([1, 1, 1], { epsilon: 1, signal }))
  t.is(balance(), 0, 'nor after an error')
})

test('a signal aborted after the end does nothing', async (t) => {
  using network = small()
  const controller = new AbortController()
  const { upper } = await network.bound([1, 1], { epsilon: 1, signal: controller.signal })
  controller.abort()
  t.true(upper > 0)
})

test('progress goes from 0 towards 1 and never back', async (t) => {
  const [network, input] = moderate()
  using _disposed = network
  const reports: Progress[] = []
  const epsilon = [0.1, 1]
  await network.bound(input, { epsilon, tolerance: 0.05, onProgress: (progress) => reports.push(progress) })
  t.true(reports.length > 0)
  for (const [index, { stage, step, done, epsilon: radius }] of reports.entries()) {
    t.true(typeof stage === 'string' && stage !== '')
    t.true(Number.isSafeInteger(step) && step >= 0)
    t.true(done >= (reports[index - 1]?.done ?? 0) && done <= 1, `${done} after ${reports[index - 1]?.done}`)
    t.true(radius === undefined || epsilon.includes(radius))
  }
})

test('no progress is reported after the end', async (t) => {
  const [network, input] = large()
  using _disposed = network
  const controller = new AbortController()
  let calls = 0
  const promise = network.bound(input, {
    ...LABORIOUS,
    signal: controller.signal,
    onProgress: () => {
      calls++
      // While nobody listens, more reports queue up behind this one.
      const until = performance.now() + 300
      while (performance.now() < until);
      controller.abort()
    },
  })
  await rejection(promise)
  await new Promise((resolve) => setTimeout(resolve, 200))
  t.is(calls, 1)
})

test('a progress callback that throws rejects the promise with what it threw', async (t) => {
  const [network, input] = large()
  using _disposed = network
  const thrown = new Error('from the callback')
  let calls = 0
  const promise = network.bound(input, {
    ...LABORIOUS,
    onProgress: () => {
      calls++
      throw thrown
    },
  })
  t.is(await rejection(promise), thrown)
  await new Promise((resolve) => setTimeout(resolve, 200))
  t.is(calls, 1, 'the work was cancelled')
})

test('a progress callback that rejects does so too', async (t) => {
  const [network, input] = large()
  using _disposed = network
  const thrown = new Error('from the callback')
  const promise = network.bound(input, { ...LABORIOUS, onProgress: () => Promise.reject(thrown) })
  t.is(await rejection(promise), thrown)
})

test('work that is running when the network is disposed of finishes', async (t) => {
  const [network, input] = moderate()
  const running = network.bound(input, { epsilon: 0.1, tolerance: 0.1 })
  network.dispose()
  t.true((await running).upper > 0)
})

test('using disposes at the end of the block', (t) => {
  let escaped: Network
  {
    using network = small()
    escaped = network
    t.false(escaped.disposed)
  }
  t.true(escaped.disposed)
})

test('many calls at once give what each gives by itself', async (t) => {
  using network = small()
  const epsilons = Array.from({ length: 200 }, (_, index) => index / 50)
  const alone: number[] = []
  for (const epsilon of epsilons) alone.push((await network.bound([1, -1], { epsilon, seed: 1 })).upper)
  const together = await Promise.all(epsilons.map((epsilon) => network.bound([1, -1], { epsilon, seed: 1 })))
  t.deepEqual(
    together.map(({ upper }) => upper),
    alone,
  )
})

test('the input may be changed while a bound is computed from it', async (t) => {
  using network = small()
  const input = { shape: [2], data: new Float64Array([1, 1]) }
  const options = { epsilon: 0.1, seed: 1 }
  const promise = network.bound(input, options)
  input.data.fill(-100)
  t.is((await promise).upper, (await network.bound([1, 1], options)).upper)
})

test('a call that ran into its time limit still gives a bound', async (t) => {
  const [network, input] = moderate()
  using _disposed = network
  const { upper, layers } = await network.bound(input, { ...LABORIOUS, epsilon: 0.1, timeLimit: 0.002 })
  t.true(Number.isFinite(upper))
  t.true(layers.some(({ norm: { termination } }) => termination === 'time-limit'))
})

const WORK_IN_WORKER = `
  const { parentPort, workerData } = require('node:worker_threads')
  import(workerData.library).then(async ({ linear, relu, sequential }) => {
    const network = sequential({ input: [2] }, [linear({ weight: [[3, 1], [-1, 2]], bias: [1, 0] }), relu()])
    const results = await Promise.all([1, 2, 3].map((epsilon) => network.bound([1, 1], { epsilon, seed: 1, onProgress() {} })))
    if (workerData.dispose) network.dispose()
    parentPort.postMessage(results.map(({ upper }) => upper))
  })
`

function inWorker(dispose: boolean): Promise<unknown> {
  const library = new URL('../dist/index.js', import.meta.url).href
  return new Promise((resolve, reject) => {
    const worker = new Worker(WORK_IN_WORKER, { eval: true, workerData: { library, dispose } })
    let result: unknown
    worker.on('message', (message: unknown) => (result = message))
    worker.on('error', reject)
    worker.on('exit', () => {
      resolve(result)
    })
  })
}

test('worker threads load and unload the library 20 times, one after another and side by side', async (t) => {
  using network = small()
  const expected = (await network.bound([1, 1], { epsilon: [1, 2, 3], seed: 1 })).map(({ upper }) => upper)
  for (let round = 0; round < 12; round++) t.deepEqual(await inWorker(round % 2 === 0), expected)
  const together = await Promise.all(Array.from({ length: 8 }, (_, index) => inWorker(index % 2 === 0)))
  for (const result of together) t.deepEqual(result, expected)
})

test('a worker thread may be ended while it computes', async (t) => {
  const library = new URL('../dist/index.js', import.meta.url).href
  const source = `
    const { parentPort, workerData } = require('node:worker_threads')
    import(workerData).then(({ conv2d, sequential, tensor }) => {
      const weight = tensor([32, 32, 3, 3], Float64Array.from({ length: 9216 }, (_, index) => Math.sin(index)))
      const network = sequential({ input: [32, 64, 64] }, [conv2d({ weight, padding: 1 })])
      const input = tensor([32, 64, 64], new Float64Array(131072))
      network.bound(input, { epsilon: 1, tolerance: 1e-12, maxSteps: 100000, guarantee: 'probabilistic', onProgress() { parentPort.postMessage('running') } })
    })
  `
  for (let round = 0; round < 3; round++) {
    const worker = new Worker(source, { eval: true, workerData: library })
    await new Promise((resolve, reject) => {
      worker.once('message', resolve)
      worker.once('error', reject)
    })
    t.is(await worker.terminate(), 1)
  }
  using network = small()
  t.true((await network.bound([1, 1], { epsilon: 1 })).upper > 0)
})

/** Counts the listeners added to a signal less those removed. */
function countListeners(signal: AbortSignal): () => number {
  let count = 0
  const add = signal.addEventListener.bind(signal) as (...args: unknown[]) => void
  const remove = signal.removeEventListener.bind(signal) as (...args: unknown[]) => void
  signal.addEventListener = (...args: unknown[]) => {
    count++
    add(...args)
  }
  signal.removeEventListener = (...args: unknown[]) => {
    count--
    remove(...args)
  }
  return () => count
}

function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'nothing was thrown',
    (error: unknown) => error,
  )
}
