/** What a bound promises: no two inputs do worse than it says, whatever the network. */
import test from 'ava'
import fc from 'fast-check'

import { conv2d, flatten, linear, maxPool2d, relu, sequential, tensor } from '../dist/index.js'
import type { BoundResult, LayerKind, NormMethod, Tensor, Termination } from '../dist/index.js'
import { build, networkPlans, realise } from './helpers/networks.js'
import { createRandom } from './helpers/random.js'
import { attained, pointsOfBall } from './helpers/ratios.js'

const LAYER_KINDS = new Set<LayerKind>(['affine', 'affine-unit', 'unit', 'max-pool', 'add'])
const NORM_METHODS = new Set<NormMethod>([
  'structure',
  'cholesky',
  'lanczos',
  'frobenius',
  'row-column-sums',
  'collatz-wielandt',
  'fourier',
])
const TERMINATIONS = new Set<Termination>(['converged', 'step-limit', 'time-limit', 'stalled', 'complete', 'direct'])

const RADII = [1e-6, 1e-3, 0.05, 0.5, 3, 100]

function consistent(result: BoundResult): void {
  const { lower, upper, product, layers } = result
  const fine =
    lower >= 0 &&
    lower <= upper &&
    product.lower <= product.upper &&
    upper <= product.upper &&
    layers.every(({ norm }) => norm.lower <= norm.upper && norm.lower >= 0) &&
    result.guarantee === (result.failureProbability === 0 ? 'deterministic' : 'probabilistic') &&
    result.failureProbability <= 1e-9 &&
    ['layerwise', 'certificate'].includes(result.method) &&
    layers.every(({ kind }) => LAYER_KINDS.has(kind)) &&
    layers.every(({ norm }) => NORM_METHODS.has(norm.method) && TERMINATIONS.has(norm.termination)) &&
    layers.every(({ gainMethod }) => ['layerwise', 'certificate'].includes(gainMethod)) &&
    // A network that does nothing has no steps.
    (layers.at(-1)?.gain ?? 1) === upper
  if (!fine) throw new Error(`inconsistent result: ${JSON.stringify(result)}`)
}

test('no ratio of 200 points in the ball exceeds the bound, on 500 random networks', async (t) => {
  t.timeout(600_000)
  let [ratios, tight] = [0, 0]
  await fc.assert(
    fc.asyncProperty(networkPlans, fc.constantFrom(...RADII), async (plan, epsilon) => {
      const { spec, centre, random } = realise(plan)
      using network = build(spec)
      const input = { shape: spec.input, data: centre }
      const layerwise = await network.bound(input, { epsilon, method: 'layerwise' })
      const centred = await network.bound(input, { epsilon })
      const uniform = await network.bound(input, { epsilon, kind: 'uniform' })
      const global = await network.globalBound()
      for (const result of [layerwise, centred, uniform, global]) consistent(result)
      // Two brackets of the default tolerance may be that far apart.
      if (centred.upper > layerwise.upper * 1.01 ** spec.layers.length) {
        throw new Error(`${centred.upper} by default, but ${layerwise.upper} layer by layer`)
      }

      let previous = centre
      for (const point of pointsOfBall(spec, centre, epsilon, 200, random)) {
        const fromCentre = attained(spec, point, centre)
        const fromPrevious = attained(spec, point, previous)
        exceeds(fromCentre, layerwise)
        exceeds(fromCentre, centred)
        exceeds(Math.max(fromCentre, fromPrevious), uniform)
        exceeds(Math.max(fromCentre, fromPrevious), global)
        if (fromCentre > 0.999 * centred.upper) tight++
        ratios++
        previous = point
      }
    }),
    { numRuns: 500, includeErrorInReport: true },
  )
  // The comparison means something only where ratios come near the bound.
  t.true(ratios >= 100_000)
  t.true(tight > ratios / 1000, `only ${tight} of ${ratios} ratios came within 0.1 % of the bound`)
})

function exceeds(ratio: number, { upper, kind, epsilon }: BoundResult): void {
  if (ratio > upper)
    throw new Error(`${kind} bound ${upper} at epsilon ${epsilon}, but a ratio of ${ratio} is attained`)
}

test('the attained ratio a result reports is no more than its other ends', async (t) => {
  using network = sequential({ input: [2] }, [linear({ weight: [[3, 4]] })])
  const { lower, upper } = await network.bound([1, 1], { epsilon: 1 })
  t.true(lower <= 5)
  t.true(upper >= 5)
  t.true(upper <= 5 * (1 + 1e-9))
})

test('one epsilon gives one result, several give as many in their order', async (t) => {
  using network = sequential({ input: [2] }, [
    linear({
      weight: [
        [3, 4],
        [1, -2],
      ],
      bias: [1, 0],
    }),
    relu(),
  ])
  const one = await network.bound([0.1, 0.2], { epsilon: 0.5 })
  t.is(one.epsilon, 0.5)
  const several = await network.bound([0.1, 0.2], { epsilon: [2, 0, 0.5] })
  t.deepEqual(
    several.map(({ epsilon }) => epsilon),
    [2, 0, 0.5],
  )
  t.deepEqual(
    several.map(({ kind }) => kind),
    ['centred', 'centred', 'centred'],
  )
  const list = await network.bound([0.1, 0.2], { epsilon: [0.5] })
  t.is(list.length, 1)
})

test('the same seed gives the same result, and the result tells its seed', async (t) => {
  const weight = Array.from({ length: 4 }, (_, out) =>
    [0, 1, 2].map((channel) => [
      [out - channel, 1, 2],
      [0.5, out, -1],
      [channel, 2, 1],
    ]),
  )
  using network = sequential({ input: [3, 20, 20] }, [
    conv2d({ weight, padding: 1 }),
    relu(),
    maxPool2d({ kernel: 2 }),
    flatten(),
  ])
  const input = { shape: [3, 20, 20], data: Float64Array.from({ length: 1200 }, (_, index) => Math.sin(index)) }
  const timeless = ({ upper, lower, product, layers }: BoundResult): unknown => ({
    upper,
    lower,
    product,
    layers: layers.map(({ norm, epsilonIn, epsilonOut }) => [
      norm.lower,
      norm.upper,
      norm.steps,
      epsilonIn,
      epsilonOut,
    ]),
  })
  const options = { epsilon: [0.01, 1], guarantee: 'probabilistic' } as const
  const first = await network.bound(input, options)
  t.true(first.every(({ seed }) => Number.isSafeInteger(seed) && seed >= 0))
  const again = await network.bound(input, { ...options, seed: first[0]?.seed })
  t.deepEqual(again.map(timeless), first.map(timeless))
  const chosen = await network.bound(input, { ...options, seed: 17 })
  t.deepEqual(
    chosen.map(({ seed }) => seed),
    [17, 17],
  )
})

test('a global bound says that its ball is the whole space', async (t) => {
  using network = sequential({ input: [2] }, [
    linear({
      weight: [
        [3, 0],
        [0, 2],
      ],
    }),
    relu(),
  ])
  const result = await network.globalBound()
  t.is(result.kind, 'global')
  t.is(result.epsilon, Infinity)
  t.true(result.upper >= 3 && result.upper <= 3 * (1 + 1e-9))
})

test('the global certificate of a fully connected network is within 1 % of the semidefinite optimum', async (t) => {
  const random = createRandom(1)
  const weight = (rows: number, columns: number): Tensor =>
    tensor(
      [rows, columns],
      Float64Array.from({ length: rows * columns }, () => random.gaussian() / Math.sqrt(columns)),
    )
  using network = sequential({ input: [784] }, [
    linear({ weight: weight(128, 784) }),
    relu(),
    linear({ weight: weight(64, 128) }),
    relu(),
    linear({ weight: weight(10, 64) }),
  ])
  // The optimum of LipSDP-Neuron (Fazlyab et al., NeurIPS 2019, with slopes in [0, 1]), from both sides, by dense
  // matrices in NumPy: 2,000 steps of the low-rank dual reach 1.62115300632, and the norm of the scaled operator with
  // the multipliers they give certifies 1.62115300686.
  const optimum = 1.621153006
  const { upper, method } = await network.globalBound()
  t.is(method, 'certificate')
  t.true(upper >= optimum * (1 - 1e-8), `${upper} is below the optimum of the relaxation it rests on`)
  t.true(upper <= optimum * 1.01, `${upper} is more than 1 % above ${optimum}`)
})

test('the layers of a result tell the story from input to output', async (t) => {
  using network = sequential({ input: [2] }, [
    linear({
      name: 'first',
      weight: [
        [1, 0],
        [0, 1],
        [-1, 0],
      ],
      bias: [5, 0, -5],
    }),
    relu({ name: 'rectifier' }),
    linear({ name: 'last', weight: [[1, 1, 1]] }),
  ])
  const { upper, layers } = await network.bound([0, 0], { epsilon: 1 })
  t.deepEqual(
    layers.flatMap(({ members }) => members),
    ['first', 'rectifier', 'last'],
  )
  t.deepEqual(layers[0]?.inputShape, [2])
  t.deepEqual(layers.at(-1)?.outputShape, [1])
  t.is(layers[0]?.epsilonIn, 1)
  // The radii are handed from layer to layer, and their growth is the bound.
  layers.slice(1).forEach(({ epsilonIn }, index) => {
    t.is(epsilonIn, layers[index]?.epsilonOut ?? NaN)
  })
  t.true(Math.abs((layers.at(-1)?.epsilonOut ?? NaN) / upper - 1) < 1e-12)
  // 5 +- 1 stays positive, 0 +- 1 may change sign, -5 +- 1 stays negative.
  const [first] = layers
  t.deepEqual([first?.stable, first?.unstable, first?.still], [1, 1, 1])
})

test('layers that merge are bounded as one', async (t) => {
  using network = sequential({ input: [2] }, [
    linear({
      weight: [
        [10, 0],
        [0, 0],
      ],
    }),
    linear({
      weight: [
        [0, 0],
        [0, 10],
      ],
    }),
  ])
  t.is((await network.globalBound()).upper, 0)
})

test('a ball that cannot move anything gives a bound of zero', async (t) => {
  using network = sequential({ input: [1] }, [linear({ weight: [[1]], bias: [-10] }), relu()])
  t.is((await network.bound([0], { epsilon: 1 })).upper, 0)
  t.true((await network.bound([0], { epsilon: 11 })).upper > 0)
})

test('at epsilon zero the bound is that of the linear piece', async (t) => {
  using network = sequential({ input: [2] }, [
    linear({
      weight: [
        [3, 4],
        [30, 40],
      ],
      bias: [0, -100],
    }),
    relu(),
  ])
  const { upper } = await network.bound([1, 1], { epsilon: 0 })
  t.true(upper >= 5 && upper <= 5 * (1 + 1e-9))
})

test('a radius far below the last digit of the centre makes no unit slope vanish', async (t) => {
  using network = sequential({ input: [1] }, [linear({ weight: [[1]], bias: [1] }), relu()])
  const { upper } = await network.bound([1e6], { epsilon: 1e-300 })
  t.true(upper >= 1)
})
