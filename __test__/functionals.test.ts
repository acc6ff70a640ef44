/** Bounds of linear functionals of the output: single outputs, differences of two, and any others. */
import { fileURLToPath } from 'node:url'

import test from 'ava'
import fc from 'fast-check'

import { linear, loadModel, loadTensor, relu, sequential } from '../dist/index.js'
import type { BoundResult } from '../dist/index.js'
import { build, networkPlans, realise, volume } from './helpers/networks.js'
import { euclidean } from './helpers/random.js'
import { attainedBy, pointsOfBall } from './helpers/ratios.js'
import { outputShape } from './helpers/reference.js'

const models = fileURLToPath(new URL('../examples/models/', import.meta.url))

test('no ratio of 40 points exceeds the bound of a functional, on 200 random networks', async (t) => {
  t.timeout(600_000)
  let [ratios, tight] = [0, 0]
  await fc.assert(
    fc.asyncProperty(networkPlans, fc.constantFrom(1e-6, 1e-3, 0.05, 0.5, 3, 100), async (plan, epsilon) => {
      const { spec, centre, random } = realise(plan)
      using network = build(spec)
      const outputs = volume(
        spec.layers.reduce<readonly number[]>((shape, layer) => outputShape(layer, shape), spec.input),
      )
      const unit = (index: number): number[] => Array.from({ length: outputs }, (_, k) => (k === index ? 1 : 0))
      const [i, j] = [random.integer(0, outputs - 1), random.integer(0, outputs - 1)]
      const functionals = [
        unit(i),
        unit(i).map((entry, k) => entry - (unit(j)[k] ?? NaN)),
        Array.from({ length: outputs }, () => random.gaussian()),
      ]
      const input = { shape: spec.input, data: centre }
      const centred = await network.bound(input, { epsilon, functionals })
      const uniform = await network.bound(input, { epsilon, functionals, kind: 'uniform' })
      const layerwise = await network.bound(input, { epsilon, functionals, method: 'layerwise' })
      const global = await network.globalBound({ functionals })
      for (const result of [centred, uniform, layerwise, global]) consistent(result, functionals)

      let previous = centre
      for (const point of pointsOfBall(spec, centre, epsilon, 40, random)) {
        functionals.forEach((functional, index) => {
          const fromCentre = attainedBy(functional, spec, point, centre)
          const fromPrevious = attainedBy(functional, spec, point, previous)
          exceeds(fromCentre, centred, index)
          exceeds(fromCentre, layerwise, index)
          exceeds(Math.max(fromCentre, fromPrevious), uniform, index)
          exceeds(Math.max(fromCentre, fromPrevious), global, index)
          if (fromCentre > 0.999 * (centred.functionals?.[index]?.upper ?? NaN)) tight++
          ratios++
        })
        previous = point
      }
    }),
    { numRuns: 200, includeErrorInReport: true },
  )
  // The comparison means something only where ratios come near the bound.
  t.true(ratios >= 24_000)
  t.true(tight > ratios / 1000, `only ${tight} of ${ratios} ratios came within 0.1 % of the bound`)
})

function consistent(result: BoundResult, functionals: readonly (readonly number[])[]): void {
  const fine =
    result.functionals?.length === functionals.length &&
    result.functionals.every(
      ({ upper, lower, method, guarantee, failureProbability }, index) =>
        lower >= 0 &&
        lower <= upper &&
        upper <= result.upper * euclidean(functionals[index] ?? []) * (1 + 1e-12) &&
        ['layerwise', 'certificate'].includes(method) &&
        guarantee === (failureProbability === 0 ? 'deterministic' : 'probabilistic') &&
        failureProbability <= 1e-9,
    )
  if (!fine) throw new Error(`inconsistent functionals: ${JSON.stringify(result)}`)
}

function exceeds(ratio: number, { functionals, kind, epsilon }: BoundResult, index: number): void {
  const upper = functionals?.[index]?.upper ?? NaN
  if (!(ratio <= upper)) {
    throw new Error(`${kind} bound ${upper} of functional ${index} at epsilon ${epsilon}, but ${ratio} is attained`)
  }
}

test('a functional of an affine network has the norm of its row', async (t) => {
  using network = sequential({ input: [2] }, [
    linear({
      weight: [
        [3, 0],
        [0, 4],
        [1, 1],
      ],
    }),
  ])
  const functionals = [
    [1, 1, 0],
    [0, 0, 2],
    [1, 0, -3],
    [0, 0, 0],
  ]
  const { functionals: bounds = [] } = await network.bound([1, 1], { epsilon: 1, functionals })
  for (const [index, truth] of [5, Math.sqrt(8), 3, 0].entries()) {
    const { upper = NaN, lower = NaN, guarantee } = bounds[index] ?? {}
    t.true(upper >= truth && upper <= truth * (1 + 1e-12), `${upper}, not ${truth}`)
    t.true(lower <= truth * (1 + 1e-15) && lower >= truth * (1 - 1e-9), `${lower}, not ${truth}`)
    t.is(guarantee, 'deterministic')
  }
})

test('functionals come with every epsilon and with a global bound, and are absent where none were asked for', async (t) => {
  using network = sequential({ input: [2] }, [
    linear({
      weight: [
        [1, 2],
        [3, -4],
      ],
      bias: [1, 0],
    }),
    relu(),
  ])
  const functionals = [[1, -1], Float32Array.of(0.5, 0)]
  const results = await network.bound([0.1, 0.2], { epsilon: [0.01, 1], functionals })
  t.deepEqual(
    results.map((result) => result.functionals?.length),
    [2, 2],
  )
  t.is((await network.globalBound({ functionals })).functionals?.length, 2)
  t.deepEqual((await network.bound([0.1, 0.2], { epsilon: 1, functionals: [] })).functionals, [])
  t.false('functionals' in (await network.bound([0.1, 0.2], { epsilon: 1 })))
  t.false('functionals' in (await network.globalBound()))
})

test('margins of a trained network are far tighter than the whole output says', async (t) => {
  using network = await loadModel(`${models}lenet.json`)
  const x = await loadTensor(`${models}digits/8.npy`)
  const functionals = [0, 3, 9].map((other) =>
    Array.from({ length: 10 }, (_, index) => (index === 8 ? 1 : index === other ? -1 : 0)),
  )
  const { upper, functionals: margins = [] } = await network.bound(x, { epsilon: 0.01, functionals })
  t.is(margins.length, 3)
  for (const margin of margins) {
    t.true(margin.upper < 0.8 * Math.SQRT2 * upper, `${margin.upper}, the whole ${upper}`)
    t.true(margin.lower > 0.5 * margin.upper, `${margin.lower} of ${margin.upper} is attained`)
    t.is(margin.method, 'certificate')
  }
})
