/** Batches: the same answers as one by one, in bounded memory, with faults that stay where they are. */
import { channel, subscribe, unsubscribe } from 'node:diagnostics_channel'
import { getEventListeners } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'

import test from 'ava'
import fc from 'fast-check'

import { concurrently } from '../dist/concurrently.js'
import { InputError, linear, loadModel, loadTensor, relu, sequential } from '../dist/index.js'
import type {
  BatchOutcome,
  BatchProgress,
  BoundResult,
  EndMessage,
  Network,
  StartMessage,
  StepMessage,
  TensorLike,
} from '../dist/index.js'
import { LABORIOUS, large, moderate } from './helpers/large.js'
import { repositoryFile } from './helpers/process.js'
import { withoutSeconds } from './helpers/seconds.js'

const small = (name?: string): Network =>
  sequential({ input: [2], ...(name !== undefined && { name }) }, [
    linear({
      weight: [
        [3, 1],
        [-1, 2],
      ],
      bias: [1, 0],
    }),
    relu(),
    linear({
      weight: [
        [1, -1],
        [2, 0],
      ],
    }),
  ])

async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const all: Item[] = []
  for await (const item of items) all.push(item)
  return all
}

function resultsOf<Result>(outcomes: readonly BatchOutcome<Result>[]): Result[] {
  return outcomes.map((outcome) => {
    if (!outcome.ok) throw outcome.error
    return outcome.result
  })
}

/** What the iterator rejects with. */
async function rejection(items: AsyncIterable<unknown>): Promise<unknown> {
  try {
    await collect(items)
  } catch (reason) {
    return reason
  }
  throw new Error('the batch came to a good end')
}

/** An input for each index, and how many were read. */
function* counted(count: number, read: { count: number; closed?: boolean }): Generator<number[], void> {
  try {
    for (let index = 0; index < count; index += 1) {
      read.count += 1
      yield [index % 7, index % 5]
    }
  } finally {
    read.closed = true
  }
}

test('a batch answers what single calls answer, bit for bit, in order or not', async (t) => {
  using lenet = await loadModel(repositoryFile('examples/models/lenet.json'))
  const digits = await Promise.all(
    [0, 1, 2, 3].map((digit) => loadTensor(repositoryFile(`examples/models/digits/${digit}.npy`))),
  )
  const options = { epsilon: 0.05, method: 'layerwise', seed: 7 } as const
  const single = await Promise.all(digits.map((digit) => lenet.bound(digit, options)))
  for (const ordered of [true, false]) {
    for (const concurrency of [1, 3]) {
      const outcomes = await collect(lenet.bounds(digits, { ...options, ordered, concurrency }))
      const sorted = [...outcomes].sort((a, b) => a.index - b.index)
      if (ordered) t.deepEqual(outcomes, sorted)
      t.deepEqual(withoutSeconds(resultsOf(sorted)), withoutSeconds(single))
    }
  }
  const asked = { seed: 7, method: 'layerwise', maximum: 0.1, tolerance: 0.2, attackSteps: 20 } as const
  const radii = await collect(lenet.certifiedRadii(digits, asked))
  t.deepEqual(
    withoutSeconds(resultsOf(radii)),
    withoutSeconds(await Promise.all(digits.map((digit) => lenet.certifiedRadius(digit, asked)))),
  )
})

test('items have options and ids of their own, and may be fetched late', async (t) => {
  using network = small()
  const fetched: string[] = []
  const items = [
    [1, 2],
    { input: [1, 2], epsilon: 0.5, id: 'own' },
    { input: Promise.resolve([1, 2]), kind: 'uniform' as const, id: { any: 'thing' } },
    {
      input: () => {
        fetched.push('late')
        return new Float64Array([1, 2])
      },
      id: 0,
    },
    { input: { shape: [2], data: new Float32Array([1, 2]) } },
    { shape: [2], data: new Float64Array([1, 2]) },
    { input: [1, 2], epsilon: undefined, seed: undefined, id: undefined },
  ]
  const batch = network.bounds(items, { epsilon: 0.1, seed: 1 })
  t.deepEqual(fetched, [], 'nothing happens before the first outcome is asked for')
  const outcomes = await collect(batch)
  t.deepEqual(
    outcomes.map(({ index, id }) => [index, id]),
    [
      [0, undefined],
      [1, 'own'],
      [2, { any: 'thing' }],
      [3, 0],
      [4, undefined],
      [5, undefined],
      [6, undefined],
    ],
  )
  t.deepEqual(
    resultsOf(outcomes).map((result) => [result.epsilon, result.kind]),
    [
      [0.1, 'centred'],
      [0.5, 'centred'],
      [0.1, 'uniform'],
      [0.1, 'centred'],
      [0.1, 'centred'],
      [0.1, 'centred'],
      [0.1, 'centred'],
    ],
  )

  const several = resultsOf(await collect(network.bounds([[1, 2]], { epsilon: [0.1, 0.2] })))
  t.deepEqual(
    several.map((results: BoundResult[]) => results.map(({ epsilon }) => epsilon)),
    [[0.1, 0.2]],
  )
  const labels = network.certifiedRadii(
    [
      { input: [1, 2], label: 0 },
      { input: [1, 2], label: 1 },
    ],
    { seed: 1 },
  )
  t.deepEqual(
    resultsOf(await collect(labels)).map(({ label, reason }) => [label, reason]),
    [
      [0, 'misclassified'],
      [1, undefined],
    ],
  )
})

test('an item that is at fault leaves the others alone', async (t) => {
  using network = small()
  const mine = new Error('no such row')
  const inputs = [
    [1, 2],
    [1, 2, 3],
    [1, Infinity],
    'nonsense' as unknown as TensorLike,
    { input: [1, 2], epsilon: -1 },
    { input: [1, 2], epsilom: 1 },
    { input: () => Promise.reject(mine) },
    { input: () => loadTensor('/nowhere/x.npy') },
    {
      input: (): TensorLike => {
        throw 'a text' as unknown as Error
      },
    },
    [2, 1],
  ]
  const outcomes = await collect(network.bounds(inputs, { epsilon: 0.1 }))
  t.deepEqual(
    outcomes.map((outcome) =>
      outcome.ok ? 'ok' : outcome.error instanceof InputError ? outcome.error.code : outcome.error,
    ),
    [
      'ok',
      'ERR_LIPBOUND_SHAPE',
      'ERR_LIPBOUND_VALUE',
      'ERR_LIPBOUND_ARGUMENT',
      'ERR_LIPBOUND_ARGUMENT',
      'ERR_LIPBOUND_ARGUMENT',
      mine,
      'ERR_LIPBOUND_FILE',
      'ERR_LIPBOUND_ARGUMENT',
      'ok',
    ],
  )
  const messages = outcomes.map((outcome) => (outcome.ok ? '' : outcome.error.message))
  t.regex(messages[4] ?? '', /epsilon.*>= 0, got -1/)
  t.regex(messages[5] ?? '', /unknown option 'epsilom'/)
  t.regex(messages[8] ?? '', /item 8 could not be had: a text/)
})

test('what is wrong with the options, and not with an item, rejects', async (t) => {
  using network = small()
  const wrong: readonly [unknown, unknown, RegExp][] = [
    [[[1, 2]], { epsilon: 0.1, epsilom: 1 }, /^bounds: unknown option 'epsilom'; the options are .*concurrency/],
    [[[1, 2]], { epsilon: -1 }, /^bounds: option 'epsilon' must be/],
    [[[1, 2]], { epsilon: 1, concurrency: 0 }, /^bounds: option 'concurrency' must be a positive integer, got 0/],
    [[[1, 2]], { epsilon: 1, ordered: 'yes' }, /^bounds: option 'ordered' must be true or false/],
    [[[1, 2]], null, /^bounds: options must be an object, got null/],
    [{ length: 2 }, { epsilon: 1 }, /^bounds: inputs must be an iterable or async iterable of inputs/],
    [new Float64Array(2), { epsilon: 1 }, /^bounds: inputs must be an iterable/],
    ['12', { epsilon: 1 }, /^bounds: inputs must be an iterable/],
  ]
  for (const [inputs, options, message] of wrong) {
    const reason = await rejection(network.bounds(inputs as number[][], options as { epsilon: number }))
    t.true(reason instanceof InputError && reason.code === 'ERR_LIPBOUND_ARGUMENT')
    t.regex((reason as Error).message, message)
  }
  t.regex(String(await rejection(network.certifiedRadii([[1, 2]], { maximum: 0 }))), /certifiedRadii: option 'maximum'/)
  t.deepEqual(await collect(network.bounds([], {})), [], 'an empty batch has no outcome')

  const broken = new Error('the source broke')
  const source = function* (): Generator<number[]> {
    yield [1, 2]
    throw broken
  }
  t.is(await rejection(network.bounds(source(), { epsilon: 0.1 })), broken)
})

test('a network that is disposed of ends its batch', async (t) => {
  const network = small()
  const read = { count: 0, closed: false }
  const batch = network.bounds(counted(1e9, read), { epsilon: 0.1, method: 'layerwise' })
  await batch.next()
  network.dispose()
  const reason = await rejection(batch)
  t.true(reason instanceof InputError && reason.code === 'ERR_LIPBOUND_DISPOSED')
  t.true(read.closed)
})

test('a source is read only a little ahead of the reader, and closed when the reader leaves', async (t) => {
  using network = small()
  const read = { count: 0, closed: false }
  const options = { epsilon: 0.1, method: 'layerwise', seed: 1, concurrency: 3 } as const
  let taken = 0
  for await (const outcome of network.bounds(counted(1e9, read), options)) {
    t.is(outcome.index, taken)
    taken += 1
    // However long the reader takes.
    if (taken % 10 === 0) await sleep(20)
    t.true(read.count - taken <= 4 * 3, `${read.count} were read for ${taken}`)
    if (taken === 50) break
  }
  t.true(read.closed)
})

test('leaving, or an abort, ends what is running, even if the source is stuck', async (t) => {
  const [network, input] = large()
  using _disposed = network
  const ends: EndMessage[] = []
  // Other tests are running meanwhile.
  const isMine = (message: unknown): boolean => (message as StartMessage).network === network.summary.name
  let resolve = (): void => undefined
  const started = new Promise<void>((settle) => (resolve = settle))
  const onStart = (message: unknown): void => {
    if (isMine(message)) resolve()
  }
  const onEnd = (message: unknown): void => {
    if (isMine(message)) ends.push(message as EndMessage)
  }
  subscribe('lipbound:start', onStart)
  subscribe('lipbound:end', onEnd)
  t.teardown(() => {
    unsubscribe('lipbound:start', onStart)
    unsubscribe('lipbound:end', onEnd)
  })
  async function* stuck(): AsyncGenerator<TensorLike> {
    yield input
    yield input
    await new Promise(() => undefined)
  }
  const controller = new AbortController()
  const batch = network.bounds(stuck(), { ...LABORIOUS, signal: controller.signal })
  const ended = rejection(batch)
  await started
  const reason = new Error('enough')
  controller.abort(reason)
  t.is(await ended, reason)

  const aborted = AbortSignal.abort(reason)
  t.is(await rejection(network.bounds([input], { epsilon: -1, signal: aborted })), reason, 'nothing else is looked at')

  // What was running hears of it.
  while (ends.length < 1) await sleep(5)
  t.true(ends.every(({ outcome }) => outcome === 'aborted'))
})

test('progress counts, and tells rate and time left; what it throws ends the batch', async (t) => {
  using network = small()
  const seen: BatchProgress[] = []
  const inputs = [[1, 2], [1], [2, 1]]
  const onProgress = (progress: BatchProgress): void => void seen.push(progress)
  await collect(network.bounds(inputs, { epsilon: 0.1, onProgress }))
  t.deepEqual(
    seen.map(({ done, total }) => [done, total]),
    [
      [1, 3],
      [2, 3],
      [3, 3],
    ],
  )
  const [last] = seen.slice(-1)
  t.is(last?.failed, 1)
  t.is(last?.secondsLeft, 0)
  t.is(last?.rate, 3 / (last?.seconds ?? NaN))

  seen.length = 0
  await collect(network.bounds(counted(3, { count: 0 }), { epsilon: 0.1, onProgress }))
  t.deepEqual(
    seen.map((progress) => 'total' in progress || 'secondsLeft' in progress),
    [false, false, false],
    'nobody knows how many there will be',
  )
  await collect(network.bounds(counted(3, { count: 0 }), { epsilon: 0.1, onProgress, total: 3 }))
  t.is(seen.at(-1)?.secondsLeft, 0)

  const enough = new Error('enough')
  const failing = [
    () => {
      throw enough
    },
    () => Promise.reject(enough),
  ]
  for (const onProgress of failing) {
    t.is(await rejection(network.bounds(inputs, { epsilon: 0.1, onProgress })), enough)
  }
})

test('a limit of memory is kept to, and what is not known to fit is refused', async (t) => {
  const [network, input] = moderate()
  using _disposed = network
  const { memory } = network.summary
  const read = { count: 0 }
  function* inputs(): Generator<TensorLike> {
    for (;;) {
      read.count += 1
      yield input
    }
  }
  const layerwise = { epsilon: 0.1, method: 'layerwise' } as const
  /** How far a batch that is told to do a hundred at a time goes ahead. */
  const ahead = async (memoryLimit: number): Promise<number> => {
    read.count = 0
    for await (const outcome of network.bounds(inputs(), { ...layerwise, concurrency: 100, memoryLimit })) {
      t.true(outcome.ok)
      return read.count
    }
    return NaN
  }
  const two = memory.network + 2 * memory.layerwise
  t.true((await ahead(two)) <= 2 * 4)
  t.true((await ahead(two - 1)) <= 4)
  t.true((await ahead(memory.network + 50 * memory.layerwise)) >= 50, 'as many as fit')

  const refused = async (batch: AsyncIterable<unknown>, message: RegExp): Promise<void> => {
    const reason = await rejection(batch)
    t.true(reason instanceof InputError && reason.code === 'ERR_LIPBOUND_LIMIT')
    t.regex((reason as Error).message, message)
  }
  const tight = memory.network + memory.layerwise
  await refused(
    network.bounds([input], { ...layerwise, memoryLimit: tight - 1 }),
    /^bounds: a computation may take \d+ bytes, but option 'memoryLimit' is \d+ bytes and leaves \d+$/,
  )
  await refused(network.bounds([input], { epsilon: 0.1, memoryLimit: tight }), /may take/)
  await refused(network.certifiedRadii([input], { memoryLimit: 1 }), /^certifiedRadii: .* leaves 0$/)
  const deterministic = { ...layerwise, guarantee: 'deterministic', memoryLimit: 1e12 } as const
  await refused(network.bounds([input], deterministic), /guarantee: 'deterministic' takes.* is not known/)
  const functionals = [Float64Array.from({ length: 8 * 24 * 24 }, () => 1)]
  const certified = { epsilon: 0.1, functionals, memoryLimit: 1e12 }
  await refused(network.bounds([input], certified), /certificates of functionals, is not known/)

  const items = [{ input, method: 'certificate' as const }, { input }]
  const outcomes = await collect(network.bounds(items, { ...layerwise, memoryLimit: tight }))
  t.deepEqual(
    outcomes.map((outcome) => outcome.ok || (outcome.error instanceof InputError && outcome.error.code)),
    ['ERR_LIPBOUND_LIMIT', true],
  )
})

test('any mixture of items, limits and readers gives each item its one outcome', async (t) => {
  using network = small()
  const expected = new Map<string, number>()
  for (const x of [0, 1, 2]) {
    const { upper } = await network.bound([x, 1], { epsilon: 0.1, seed: 1 })
    expected.set(String(x), upper)
  }
  const item = fc.record({
    x: fc.integer({ min: 0, max: 3 }),
    wait: fc.integer({ min: 0, max: 3 }),
    late: fc.boolean(),
  })
  await fc.assert(
    fc.asyncProperty(
      fc.array(item, { maxLength: 30 }),
      fc.integer({ min: 1, max: 6 }),
      fc.boolean(),
      fc.nat({ max: 40 }),
      async (items, concurrency, ordered, leaveAfter) => {
        async function* source(): AsyncGenerator<{ input: () => Promise<number[]>; id: number }> {
          for (const [id, { x, wait, late }] of items.entries()) {
            if (late) await sleep(wait)
            const input = async (): Promise<number[]> => {
              await sleep(wait)
              if (x === 3) throw new Error('an odd one')
              return [x, 1]
            }
            yield { input, id }
          }
        }
        const seen = new Set<number>()
        for await (const outcome of network.bounds(source(), { epsilon: 0.1, seed: 1, concurrency, ordered })) {
          const x = items[outcome.index]?.x
          t.true(outcome.id === outcome.index)
          t.false(seen.has(outcome.index))
          if (ordered) t.is(outcome.index, seen.size)
          t.is(outcome.ok, x !== 3)
          if (outcome.ok) t.true(outcome.result.upper === expected.get(String(x)))
          seen.add(outcome.index)
          if (seen.size === leaveAfter) break
        }
        t.is(seen.size, leaveAfter === 0 ? items.length : Math.min(leaveAfter, items.length))
      },
    ),
    { numRuns: 60 },
  )
})

test('those who watch hear of starts, steps and ends; those who do not cost nothing', async (t) => {
  using network = small('watched')
  t.false(channel('lipbound:step').hasSubscribers)
  const messages: [string, StartMessage | StepMessage | EndMessage][] = []
  for (const name of ['start', 'step', 'end']) {
    const listen = (message: unknown): void => {
      const { network: about } = message as StartMessage
      if (about === 'watched') messages.push([name, message as StartMessage])
    }
    subscribe(`lipbound:${name}`, listen)
    t.teardown(() => unsubscribe(`lipbound:${name}`, listen))
  }
  await network.bound([1, 2], { epsilon: 0.1, method: 'layerwise' })
  await t.throwsAsync(network.bound([1], { epsilon: 0.1 }))

  const ids = new Set(messages.map(([, { id }]) => id))
  t.is(ids.size, 2)
  const [first, second] = [...ids].map((id) => messages.filter(([, message]) => message.id === id))
  t.is(first?.[0]?.[0], 'start')
  t.like(first?.[0]?.[1], { operation: 'bound', network: 'watched' })
  const steps = (first ?? []).filter(([name]) => name === 'step').map(([, message]) => message as StepMessage)
  t.true(steps.length > 0)
  t.true(steps.every(({ seconds, progress }) => seconds > 0 && progress.done >= 0 && progress.done <= 1))
  t.like(first?.at(-1), ['end', { operation: 'bound', outcome: 'answered' }])
  const [name, failure] = second?.at(-1) ?? []
  t.is(name, 'end')
  t.like(failure, { outcome: 'failed', error: { code: 'ERR_LIPBOUND_SHAPE' } })
})

test('what ends a batch ends what is running at once, even if the reader is away, and is not hidden by its source', async (t) => {
  const told: number[] = []
  const work = (item: number, _index: number, signal: AbortSignal): Promise<number> =>
    item === 0
      ? Promise.resolve(item)
      : new Promise((_, reject) => {
          signal.addEventListener('abort', () => {
            told.push(item)
            reject(signal.reason as Error)
          })
        })
  const controller = new AbortController()
  const limits = { concurrency: 3, window: 3, ordered: false, signal: controller.signal }
  const results = concurrently([0, 1, 2], limits, work)
  await results.next()
  const reason = new Error('enough')
  controller.abort(reason)
  t.deepEqual(told, [1, 2])
  t.is(await rejection(results), reason)

  function* closedBadly(): Generator<number, void> {
    try {
      yield 1
      yield 2
    } finally {
      // eslint-disable-next-line no-unsafe-finally
      throw new Error('closed badly')
    }
  }
  const alone = { concurrency: 1, window: 1, ordered: true }
  t.is(await rejection(concurrently(closedBadly(), alone, () => Promise.reject(reason))), reason)
})

test('batches share a signal without a warning', async (t) => {
  const [network, { signal }] = [small(), new AbortController()]
  const warnings: string[] = []
  const onWarning = ({ message }: Error): unknown => warnings.push(message)
  process.on('warning', onWarning)
  t.teardown(() => process.off('warning', onWarning))
  await Promise.all(Array.from({ length: 20 }, () => collect(network.bounds([[1, 1]], { epsilon: 1, signal }))))
  await sleep(10)
  t.deepEqual(warnings, [])
  t.deepEqual(getEventListeners(signal, 'abort'), [])
})

test('inputs may be rejected before their turn, or when nobody wants them any more', async (t) => {
  // AVA makes a failure of what nobody handles.
  const network = small()
  const given = { epsilon: 1, concurrency: 1, method: 'layerwise' } as const
  const early = Array.from({ length: 50 }, (_, index) =>
    index === 40 ? Promise.reject(new Error('early')) : Promise.resolve([index, 1]),
  )
  const outcomes = await collect(network.bounds(early, given))
  t.is(outcomes.length, 50)
  t.deepEqual(outcomes.flatMap((outcome) => (outcome.ok ? [] : [outcome.error.message])), ['early']) // prettier-ignore

  const late = (): Promise<number[]> => sleep(20).then(() => Promise.reject(new Error('late')))
  const [refused] = await collect(
    network.bounds([{ input: late(), guarantee: 'deterministic' }], { ...given, memoryLimit: 1e9 }),
  )
  t.false(refused?.ok)
  for await (const _outcome of network.bounds([[1, 1], late(), { input: late() }, late()], given)) break
  await sleep(50)

  // Anything can be thrown, even what is no text.
  const nothing: unknown = Object.create(null)
  const odd = await collect(network.bounds([() => Promise.reject(nothing as Error), [1, 1]], given))
  t.deepEqual(odd.map(({ ok }) => ok), [false, true]) // prettier-ignore
})
