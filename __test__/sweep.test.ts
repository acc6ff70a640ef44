/** Sweeps: the same numbers as bounds, epsilon by epsilon. */
import test from 'ava'

import { linear, loadModel, loadTensor, relu, sequential, tensor } from '../dist/index.js'
import { repositoryFile } from './helpers/process.js'

test('a sweep has layerwise bounds, certificates, ratios attained and the global bound', async (t) => {
  using network = await loadModel(repositoryFile('examples/models/lenet.json'))
  const x = await loadTensor(repositoryFile('examples/models/digits/8.npy'))
  const seen: number[] = []
  const options = { from: 0.01, to: 0.1, points: 3, seed: 2 }
  const sweep = await network.sweep(x, { ...options, onProgress: ({ done }) => seen.push(done) })
  t.deepEqual([sweep.kind, sweep.seed, sweep.notes], ['centred', 2, []])
  const epsilons = sweep.points.map(({ epsilon }) => epsilon)
  t.deepEqual([epsilons[0], epsilons[2]], [0.01, 0.1])
  const middle = await network.sweep(x, { from: 0.001, to: 0.1, points: 3, method: 'layerwise' })
  t.is(middle.points[1]?.epsilon, 0.01)
  t.true(Math.abs((epsilons[1] ?? NaN) - Math.sqrt(0.001)) < 1e-12)
  const layerwise = await network.bound(x, { epsilon: epsilons, method: 'layerwise', seed: 2 })
  const whole = await network.bound(x, { epsilon: epsilons, method: 'certificate', seed: 2 })
  sweep.points.forEach((point, k) => {
    const upper = point.certificate?.upper ?? NaN
    t.deepEqual([point.layerwise.upper, upper, point.lower], [layerwise[k]?.upper, whole[k]?.upper, whole[k]?.lower])
    t.true(point.lower > 0 && point.lower === point.layerwise.lower && point.lower === point.certificate?.lower)
    t.true(point.lower <= upper)
    t.true(upper < point.layerwise.upper)
    t.deepEqual(
      [point.layerwise.epsilon, point.layerwise.method, point.certificate?.method],
      [point.epsilon, 'layerwise', 'certificate'],
    )
  })
  t.is(sweep.global.upper, (await network.globalBound({ seed: 2 })).upper)
  t.true(seen.length > 10 && seen.every((done, k) => done <= 1 && done >= (seen[k - 1] ?? 0)))
})

test('scales, kinds and methods', async (t) => {
  using network = sequential({ input: [2] }, [
    linear({
      weight: [
        [1, 2],
        [3, -4],
      ],
      bias: [0.5, 0],
    }),
    relu(),
    linear({ weight: [[1, 1]] }),
  ])
  const x = tensor([2], [0.1, 0.2])
  const linearly = await network.sweep(x, { from: 0, to: 1, points: 5, scale: 'linear', kind: 'uniform', seed: 1 })
  t.deepEqual(
    linearly.points.map(({ epsilon }) => epsilon),
    [0, 0.25, 0.5, 0.75, 1],
  )
  t.true(
    linearly.points.every(({ layerwise, certificate }) => layerwise.kind === 'uniform' && certificate !== undefined),
  )
  for (const { lower, certificate } of linearly.points) {
    const upper = certificate?.upper ?? NaN
    t.true(lower <= upper && upper <= linearly.global.upper * 1.01)
  }
  const cheap = await network.sweep(x, { from: 0.1, to: 1, method: 'layerwise' })
  t.is(cheap.points.length, 25)
  t.true(cheap.points.every((point) => !('certificate' in point) && point.lower > 0))
  t.is(cheap.global.method, 'layerwise')
})

test('ranges that are none are refused', async (t) => {
  using network = sequential({ input: [1] }, [linear({ weight: [[1]] })])
  const refused = async (options: object, message: RegExp): Promise<void> => {
    await t.throwsAsync(network.sweep([0], options as { from: number; to: number }), {
      code: 'ERR_LIPBOUND_ARGUMENT',
      message,
    })
  }
  await refused({ from: 1, to: 1 }, /'from' must be less than 'to', got 1 and 1/)
  await refused({ from: 0, to: 1 }, /'from' must be greater than 0 where the scale is logarithmic/)
  await refused({ from: 0.1, to: 1, points: 1 }, /'points' must be an integer from 2 to 10000, got 1/)
  await refused({ from: 0.1 }, /option 'to'/)
  await refused({ from: 0.1, to: 1, scale: 'cubic' }, /option 'scale' must be one of 'log', 'linear'/)
})
