/** Norms of single layers are brackets that hold the true norm. */
import test from 'ava'
import fc from 'fast-check'

import { conv2d, linear, norm, relu, sequential } from '../dist/index.js'
import type { NormOptions, NormResult } from '../dist/index.js'
import { matrixOf, spectralNorm } from './helpers/linalg.js'
import { fit, layerPlans, toLayer, volume } from './helpers/networks.js'
import { createRandom } from './helpers/random.js'
import { windows } from './helpers/reference.js'
import type { LayerSpec } from './helpers/reference.js'

/** Relative error of the singular values to compare with. */
const DENSE = 1e-12

const AFFINE = ['conv2d', 'linear', 'sparse', 'avgPool2d', 'globalAvgPool2d', 'batchNorm2d', 'normalize'] as const

const sizes = fc.tuple(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1, max: 6 }), fc.integer({ min: 1, max: 6 }))

for (const guarantee of ['auto', 'probabilistic', 'deterministic'] as const) {
  test(`the ${guarantee} bracket holds the dense singular value of 300 random layers`, async (t) => {
    t.timeout(600_000)
    let compared = 0
    await fc.assert(
      fc.asyncProperty(layerPlans(AFFINE), sizes, fc.nat(), fc.boolean(), async (plan, image, seed, integers) => {
        const random = createRandom(seed)
        const draw = integers ? () => random.integer(-2, 2) : () => random.gaussian()
        const input = plan.type === 'linear' || plan.type === 'sparse' ? [volume(image)] : image
        const layer = fit(plan, input, draw, random, true)
        fc.pre(layer !== undefined)
        const truth = spectralNorm(matrixOf(layer, input))
        const { lower, upper, ...rest } = await norm(toLayer(layer), { input, guarantee, seed })
        compared++
        if (!(lower <= truth * (1 + DENSE) && upper >= truth * (1 - DENSE))) {
          throw new Error(`[${lower}, ${upper}] does not hold ${truth}`)
        }
        if (guarantee === 'deterministic' && rest.guarantee !== 'deterministic')
          throw new Error('not what was asked for')
        if (rest.guarantee === 'deterministic' && rest.failureProbability !== 0)
          throw new Error('a proof does not fail')
      }),
      { numRuns: 300, includeErrorInReport: true },
    )
    t.true(compared >= 300)
  })
}

test('a norm of a small dense layer is exact', async (t) => {
  const { lower, upper, guarantee, failureProbability } = await norm(
    linear({
      weight: [
        [3, 0],
        [4, 0],
      ],
      bias: [1, 1],
    }),
    { input: [2] },
  )
  t.true(lower <= 5 && upper >= 5)
  t.true(upper - lower <= 1e-9)
  t.is(guarantee, 'deterministic')
  t.is(failureProbability, 0)
})

test('a norm is as narrow as asked', async (t) => {
  const random = createRandom(3)
  const weight = { shape: [8, 8, 3, 3], data: Float64Array.from({ length: 576 }, () => random.gaussian()) }
  for (const tolerance of [0.1, 0.01, 0.001]) {
    const result = await norm(conv2d({ weight, padding: 1 }), { input: [8, 16, 16], tolerance })
    t.true((result.upper - result.lower) / result.upper <= tolerance, JSON.stringify(result))
  }
})

test('a norm that runs out of steps is a wider bracket and says so', async (t) => {
  const random = createRandom(4)
  const weight = { shape: [8, 8, 3, 3], data: Float64Array.from({ length: 576 }, () => random.gaussian()) }
  const options = { input: [8, 16, 16], guarantee: 'probabilistic', tolerance: 1e-6, seed: 1 } as const
  const few = await norm(conv2d({ weight, padding: 1 }), { ...options, maxSteps: 3 })
  const many = await norm(conv2d({ weight, padding: 1 }), { ...options, maxSteps: 60 })
  t.is(few.termination, 'step-limit')
  t.is(few.steps, 3)
  t.true(few.lower <= many.upper && many.lower <= few.upper, 'two brackets of one number overlap')
  t.true(many.upper - many.lower < few.upper - few.lower)
})

test('the guarantee is the one asked for, and so is the probability that it fails', async (t) => {
  const random = createRandom(5)
  const weight = { shape: [8, 8, 3, 3], data: Float64Array.from({ length: 576 }, () => random.gaussian()) }
  const compute = (options: Partial<NormOptions>): Promise<NormResult> =>
    norm(conv2d({ weight, padding: 1 }), { input: [8, 16, 16], seed: 1, tolerance: 1e-6, maxSteps: 40, ...options })
  const proven = await compute({ guarantee: 'deterministic' })
  t.is(proven.guarantee, 'deterministic')
  t.is(proven.failureProbability, 0)
  t.is(proven.seed, undefined)
  const likely = await compute({ guarantee: 'probabilistic' })
  t.is(likely.guarantee, 'probabilistic')
  t.is(likely.failureProbability, 1e-9)
  t.is(likely.method, 'lanczos')
  t.is(likely.seed, 1)
  const lessLikely = await compute({ guarantee: 'probabilistic', failureProbability: 0.01 })
  t.is(lessLikely.failureProbability, 0.01)
  t.true(lessLikely.upper < likely.upper, 'the same steps prove more where more may go wrong')
  for (const one of [proven, likely]) {
    for (const other of [proven, likely]) t.true(one.lower <= other.upper)
  }
})

test('the norm of zero is zero', async (t) => {
  const result = await norm(linear({ weight: [[0, 0]] }), { input: [2] })
  t.deepEqual([result.lower, result.upper], [0, 0])
})

test('a layer that is not affine has no norm', async (t) => {
  const error = await t.throwsAsync(norm(relu(), { input: [2] }))
  t.like(error, { code: 'ERR_LIPBOUND_MODEL' })
  t.regex(error.message, /relu/)
})

test('the constant of max pooling is the root of the most windows a pixel is in', async (t) => {
  let compared = 0
  await fc.assert(
    fc.asyncProperty(layerPlans(['maxPool2d']), sizes, async (plan, input) => {
      const layer = fit(plan, input, () => 0, createRandom(0), false)
      fc.pre(layer?.type === 'maxPool2d')
      const most = Math.sqrt(mostWindows(layer, input))
      using network = sequential({ input }, [toLayer(layer)])
      const { upper, layers } = await network.globalBound()
      compared++
      const [pool] = layers
      if (pool === undefined || layers.length !== 1) throw new Error('a pool is one step')
      if (!(pool.norm.lower <= most && pool.norm.upper >= most && upper <= most * (1 + 1e-14))) {
        throw new Error(`[${pool.norm.lower}, ${pool.norm.upper}] where the count gives ${most}`)
      }
    }),
    { numRuns: 500, includeErrorInReport: true },
  )
  t.true(compared >= 500)
})

type MaxPool = Extract<LayerSpec, { type: 'maxPool2d' }>

function mostWindows(layer: MaxPool, input: readonly number[]): number {
  const counts = new Map<number, number>()
  for (const { pixels } of windows(input, layer)) {
    for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1)
  }
  return Math.max(...counts.values())
}
