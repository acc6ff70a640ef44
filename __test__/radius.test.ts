/** Certified radii: known ones, and what they are beside the radii of the papers. Those that are attacked have their own files. */
import test from 'ava'

import { linear, loadModel, loadTensor, relu, sequential, tensor } from '../dist/index.js'
import type { RadiusResult } from '../dist/index.js'
import { runNode } from './helpers/process.js'
import { digit, model, near, radiusOfThePapers, tensorOf } from './helpers/radii.js'
import { sharedData } from './helpers/shared-data.js'

test('a linear classifier: the distance to the nearest boundary', async (t) => {
  // Boundaries where 3 = 0, 4 x + 3 y = 1 and so on: margins 1 and 2 over classes 1 and 2, slopes 5 and 13.
  using network = sequential({ input: [2] }, [
    linear({
      weight: [
        [4, 3],
        [0, 0],
        [-1, -9],
      ],
      bias: [2, 1, 0],
    }),
  ])
  const x = tensor([2], [0, 0])
  const result = await network.certifiedRadius(x, { tolerance: 1e-6, witness: true })
  // Class 1 is further away, at 1 / 5.
  const further = 2 / 13
  t.true(result.radius < further && near(result.radius, further, 1e-5), String(result.radius))
  t.true(result.attackRadius >= further && near(result.attackRadius, further, 1e-6))
  t.like(result, { label: 0, predicted: 0, bindingClass: 2, termination: 'converged', adversarialClass: 2 })
  t.is(result.reason, undefined)
  t.deepEqual(
    result.margins.map((margin) => margin.class),
    [2, 1],
  )
  for (const { class: rival, margin, lipschitz } of result.margins) {
    const [exact, slope] = rival === 1 ? ([1, 5] as const) : ([2, 13] as const)
    t.true(margin <= exact && near(margin, exact, 1e-9))
    t.true(lipschitz >= slope * (1 - 1e-15))
  }
  const there = await network.evaluate(tensorOf(result))
  t.true((there.data[2] ?? NaN) > (there.data[0] ?? NaN))
})

test('one output: the sign is the class', async (t) => {
  using network = sequential({ input: [2] }, [linear({ weight: [[3, 4]], bias: [-10] })])
  const below = await network.certifiedRadius(tensor([2], [0, 0]), { tolerance: 1e-4, witness: true })
  t.like(below, { label: 0, predicted: 0, bindingClass: 1, adversarialClass: 1 })
  t.true(
    below.radius < 2 && near(below.radius, 2, 1e-3) && below.attackRadius >= 2 && near(below.attackRadius, 2, 1e-4),
  )
  const above = await network.certifiedRadius(tensor([2], [6, 8]), { label: 1 })
  t.like(above, { label: 1, predicted: 1, bindingClass: 0 })
  t.true(above.radius < 8 && near(above.radius, 8, 0.02))
  t.like(await network.certifiedRadius(tensor([2], [6, 8]), { label: 0 }), {
    radius: 0,
    attackRadius: 0,
    reason: 'misclassified',
    termination: 'zero',
    predicted: 1,
  })
  // On the boundary itself.
  t.like(await network.certifiedRadius(tensor([2], [2, 1])), { radius: 0, attackRadius: 0, reason: 'tied' })
})

test('ties and wrong answers give 0, and say so', async (t) => {
  using network = sequential({ input: [2] }, [
    linear({
      weight: [
        [1, 0],
        [1, 0],
        [0, 1],
      ],
    }),
  ])
  const equal = await network.certifiedRadius(tensor([2], [1, 0]), { witness: true })
  t.like(equal, { radius: 0, attackRadius: 0, reason: 'tied', termination: 'zero', label: 0, evaluations: 0 })
  t.deepEqual([equal.margins, equal.guarantee, equal.failureProbability], [[], 'deterministic', 0])
  t.deepEqual(Array.from(tensorOf(equal).data), [1, 0])
  t.like(await network.certifiedRadius(tensor([2], [1, 0]), { label: 1 }), { reason: 'tied', label: 1, predicted: 0 })
  t.like(await network.certifiedRadius(tensor([2], [1, 0]), { label: 2 }), {
    reason: 'misclassified',
    label: 2,
    radius: 0,
  })
  // All outputs the same, everywhere.
  using constant = sequential({ input: [2] }, [
    linear({
      weight: [
        [0, 0],
        [0, 0],
      ],
      bias: [1, 1],
    }),
  ])
  t.like(await constant.certifiedRadius(tensor([2], [5, 5])), { radius: 0, reason: 'tied' })
})

test('what cannot change has the radius that was asked about', async (t) => {
  using constant = sequential({ input: [2] }, [
    linear({
      weight: [
        [0, 0],
        [0, 0],
      ],
      bias: [2, 1],
    }),
  ])
  t.like(await constant.certifiedRadius(tensor([2], [5, 5]), { maximum: 7 }), {
    radius: 7,
    attackRadius: Infinity,
    termination: 'maximum',
    bindingClass: undefined,
  })
  const without = await constant.certifiedRadius(tensor([2], [5, 5]))
  t.true(without.radius > 1e9 && without.termination === 'evaluation-limit')
})

test('two classes behind a hidden layer: exact by enumeration of its pieces', async (t) => {
  // f0 - f1 = 3 - relu(x + y) - relu(x - y): zero first at x = 1.5 for y in [-1.5, 1.5].
  using network = sequential({ input: [2] }, [
    linear({
      weight: [
        [1, 1],
        [1, -1],
      ],
    }),
    relu(),
    linear({
      weight: [
        [0, 0],
        [1, 1],
      ],
      bias: [3, 0],
    }),
  ])
  const { radius, attackRadius } = await network.certifiedRadius(tensor([2], [0.5, 0]), { tolerance: 1e-3 })
  t.true(radius < 1 && radius > 0.7, `certified ${radius} of 1`)
  t.true(attackRadius >= 1 && near(attackRadius, 1, 1e-3), `attacked ${attackRadius} of 1`)
})

test('a box: elements that cannot move, corners, and attacks that stay inside', async (t) => {
  using network = sequential({ input: [2] }, [
    linear({
      weight: [
        [30, 4],
        [0, 0],
      ],
      bias: [2, 0],
    }),
  ])
  const x = tensor([2], [0, 0])
  const pinned = await network.certifiedRadius(x, {
    inputBox: { lower: tensor([2], [0, -1]), upper: tensor([2], [0, 1]) },
    tolerance: 1e-3,
    witness: true,
  })
  // Only the second element moves: 2 - 4 |dy|.
  t.true(pinned.radius < 0.5 && near(pinned.radius, 0.5, 2e-3), String(pinned.radius))
  t.true(pinned.attackRadius >= 0.5 && near(pinned.attackRadius, 0.5, 1e-3))
  t.is(tensorOf(pinned).data[0], 0)
  // A box that the boundary does not cross: all of it is certified, and nothing can be found in it.
  const free = await network.certifiedRadius(x, { inputBox: { lower: -0.01, upper: 0.02 } })
  t.like(free, { attackRadius: Infinity, termination: 'maximum' })
  t.true(near(free.radius, Math.hypot(0.02, 0.02), 1e-9))
  await t.throwsAsync(network.certifiedRadius(x, { inputBox: { lower: 0.5, upper: 1 } }), {
    code: 'ERR_LIPBOUND_VALUE',
    message: /the input must be inside inputBox, but its element 0 is 0 and not from 0.5 to 1/,
  })
  await t.throwsAsync(network.certifiedRadius(x, { inputBox: { lower: tensor([3], [0, 0, 0]), upper: 1 } }), {
    code: 'ERR_LIPBOUND_SHAPE',
    message: /inputBox.lower/,
  })
})

test('options that mean nothing are named', async (t) => {
  using network = sequential({ input: [2] }, [
    linear({
      weight: [
        [1, 0],
        [0, 1],
        [1, 1],
      ],
    }),
  ])
  const x = tensor([2], [1, 0])
  const refused = async (options: object, message: RegExp): Promise<void> => {
    await t.throwsAsync(network.certifiedRadius(x, options), { code: 'ERR_LIPBOUND_ARGUMENT', message })
  }
  await refused({ label: 3 }, /option 'label' must be a class: 0 to 2, got 3/)
  await refused({ label: -1 }, /option 'label'/)
  await refused({ maximum: 0 }, /option 'maximum' must be a finite number > 0, got 0/)
  await refused({ tolerance: 1 }, /option 'tolerance' must be a number greater than 0 and less than 1, got 1/)
  await refused({ inputBox: [0, 1] }, /option 'inputBox'/)
  await refused({ inputBox: { lower: NaN, upper: 1 } }, /'lower' must be a finite number or a tensor/)
  await refused({ attackSteps: 0.5 }, /option 'attackSteps'/)
  await refused({ epsilon: 1 }, /unknown option 'epsilon'/)
})

test('an abort ends the work', async (t) => {
  using network = await model('lenet')
  const abort = new AbortController()
  const reason = new Error('enough')
  const onProgress = (): void => {
    abort.abort(reason)
  }
  await t.throwsAsync(network.certifiedRadius(await digit(3), { signal: abort.signal, onProgress }), { is: reason })
})

/** What does not depend on the clock. */
const timeless = ({ seconds: _, ...result }: RadiusResult): string => JSON.stringify(result)

test('the same seed gives the same bytes, whatever the number of threads', async (t) => {
  using network = await model('lenet')
  const options = { seed: 5, tolerance: 0.3, witness: true }
  const here = [await digit(4), await digit(4)].map((x) => network.certifiedRadius(x, options).then(timeless))
  const [first, second] = await Promise.all(here)
  t.is(first, second)
  const script = `
    import { loadModel, loadTensor } from './dist/index.js'
    const network = await loadModel('examples/models/lenet.json')
    const x = await loadTensor('examples/models/digits/4.npy')
    const { seconds, ...result } = await network.certifiedRadius(x, ${JSON.stringify(options)})
    const sweep = await network.sweep(x, { from: 0.01, to: 0.05, points: 2, seed: 1 })
    const numbers = sweep.points.flatMap(({ lower, layerwise, certificate }) => [lower, layerwise.upper, certificate.upper])
    process.stdout.write(JSON.stringify(result) + numbers.join())`
  const [one, three] = await Promise.all(
    ['1', '3'].map((threads) => runNode(['--input-type=module', '-e', script], { LIPBOUND_THREADS: threads })),
  )
  t.deepEqual([one?.status, one?.stderr], [0, ''])
  t.is(one?.stdout, three?.stdout)
  t.true(one?.stdout.startsWith(first ?? '-'))
})

test('radii by margins are beyond those by the norm of the output, and progress never goes back', async (t) => {
  using network = await model('lenet')
  const x = await digit(3)
  const seen: number[] = []
  const { radius } = await network.certifiedRadius(x, { tolerance: 0.02, onProgress: ({ done }) => seen.push(done) })
  t.true(seen.length > 20 && seen.every((done, k) => done <= 1 && done >= (seen[k - 1] ?? 0)))
  // With certificates for both.
  t.true((await radiusOfThePapers(network, x, 'certificate', [radius / 2, radius * 2])) <= radius * 1.02)
})

const { folder, check } = sharedData('avant-mnist/')

check('the "8" of the authors: certified to 0.3 at least, where they certify 0.0522 and attack at 3.44', async (t) => {
  using network = await loadModel(`${folder}lenet.onnx`)
  const x = await loadTensor(`${folder}eight.npy`)
  const { radius, attackRadius, label, seconds, evaluations } = await network.certifiedRadius(x, { label: 8 })
  t.log(`${radius}, attacked at ${attackRadius}, ${evaluations} evaluations, ${seconds.toFixed(1)} s`)
  t.is(label, 8)
  t.true(radius >= 0.3 && radius <= attackRadius && attackRadius <= 3.44)
})
