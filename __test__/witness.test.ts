/** Points that attain the lower ends, evaluated by others: a second evaluator in double precision, and onnxruntime in single. */
import test from 'ava'
import fc from 'fast-check'

import { loadModel, loadTensor } from '../dist/index.js'
import type { BoundResult, Network, Tensor, Witness } from '../dist/index.js'
import { Lenet } from './helpers/lenet.js'
import { build, networkPlans, realise } from './helpers/networks.js'
import { repositoryFile } from './helpers/process.js'
import { euclidean } from './helpers/random.js'
import { forward } from './helpers/reference.js'
import { sharedData } from './helpers/shared-data.js'
import { openReference } from './onnx/runtime.js'
import type { ReferenceModel } from './onnx/runtime.js'

const difference = (a: Tensor['data'], b: Tensor['data']): Float64Array =>
  Float64Array.from(a, (value, i) => value - (b[i] ?? NaN))

function witnessOf({ witness }: BoundResult): Witness {
  if (witness === undefined) throw new Error('there is no witness')
  return witness
}

/** The ratio between two points as single precision sees it, the points too. */
async function ratioInSingle(reference: ReferenceModel, { from, to }: Witness): Promise<number> {
  const [a, b] = [Float32Array.from(from.data), Float32Array.from(to.data)]
  const [there, here] = [await reference.evaluate(b), await reference.evaluate(a)]
  return euclidean(difference(there.data, here.data)) / euclidean(difference(b, a))
}

for (const name of ['lenet', 'lenet-regularised'] as const) {
  test(`${name}: onnxruntime finds the ratio of every witness`, async (t) => {
    using network = await loadModel(repositoryFile(`examples/models/${name}.json`))
    const reference = await openReference(new Lenet(name).onnx())
    for (const digit of [1, 8]) {
      const x = await loadTensor(repositoryFile(`examples/models/digits/${digit}.npy`))
      for (const kind of ['centred', 'uniform'] as const) {
        for (const epsilon of [0.03, 0.3]) {
          const options = { epsilon, kind, method: 'layerwise', seed: 3 } as const
          const result = await network.bound(x, { ...options, witness: true })
          const { from, to, ratio } = witnessOf(result)
          t.is(result.lower, ratio)
          t.true(ratio > 0 && ratio <= result.upper)
          const found = await ratioInSingle(reference, { from, to, ratio })
          t.true(
            Math.abs(found - ratio) <= 1e-3 * ratio,
            `${kind}, ${epsilon}: ${ratio} is ${found} in single precision`,
          )
          for (const point of [from, to]) {
            t.deepEqual(point.shape, [1, 28, 28])
            t.true(euclidean(difference(point.data, x.data)) <= epsilon)
          }
          if (kind === 'centred') t.deepEqual(Array.from(from.data), Array.from(x.data))
          // More directions never make it worse.
          const more = await network.bound(x, { ...options, witness: true, restarts: 12 })
          t.true(more.lower >= ratio)
        }
      }
    }
    await reference.release()
  })
}

test('the global constant has a witness, too', async (t) => {
  using network = await loadModel(repositoryFile('examples/models/lenet.json'))
  const reference = await openReference(new Lenet('lenet').onnx())
  const result = await network.globalBound({ witness: true, seed: 1 })
  const witness = witnessOf(result)
  const found = await ratioInSingle(reference, witness)
  t.true(witness.ratio === result.lower && result.lower > 0 && result.lower <= result.upper)
  t.true(Math.abs(found - result.lower) <= 1e-3 * result.lower)
  await reference.release()
})

test('on random networks every witness attains its ratio', async (t) => {
  let seen = 0
  await fc.assert(
    fc.asyncProperty(networkPlans, fc.constantFrom('centred', 'uniform'), async (plan, kind) => {
      const { spec, centre } = realise(plan)
      using network = build(spec)
      const epsilon = 0.1
      const x = { shape: spec.input, data: centre }
      const [result, plain] = await Promise.all(
        [true, false].map((witness) => network.bound(x, { epsilon, kind, witness, seed: 1 })),
      )
      if (result === undefined || plain === undefined) return
      const { lower, upper, witness } = result
      t.true(plain.witness === undefined && lower <= plain.lower && plain.lower <= plain.upper)
      t.true(lower <= upper)
      if (witness === undefined) {
        t.is(lower, 0)
        return
      }
      seen += 1
      const { ratio, from, to } = witness
      const value = ({ data }: Tensor): Float64Array => forward(spec, Float64Array.from(data)).value
      t.is(ratio, lower)
      const moved = difference(value(to), value(from))
      const size = euclidean(difference(to.data, from.data))
      t.true(euclidean(moved) / size >= ratio * (1 - 1e-9), `${euclidean(moved) / size} is said to be ${ratio}`)
      for (const point of [from, to]) t.true(euclidean(difference(point.data, centre)) <= epsilon)
    }),
    { numRuns: 300, seed: 7 },
  )
  t.true(seen > 200, `${seen} witnesses`)
})

const { folder, check } = sharedData()

for (const [file, epsilon] of [
  ['avant-mnist/lenet', 0.05],
  ['vnncomp/cifar_base_kw', 0.1],
  ['vnncomp/resnet_2b', 0.1],
] as const) {
  check(`${file}: onnxruntime finds the ratio of the witness`, async (t) => {
    const path = `${folder}${file}.onnx`
    using network: Network = await loadModel(path)
    const reference = await openReference(path)
    const size = network.summary.inputShape.reduce((product, extent) => product * extent, 1)
    const x = {
      shape: network.summary.inputShape,
      data: Float64Array.from({ length: size }, (_, i) => Math.sin(i) / 2),
    }
    const result = await network.bound(x, { epsilon, method: 'layerwise', witness: true, seed: 1 })
    const found = await ratioInSingle(reference, witnessOf(result))
    t.true(Math.abs(found - result.lower) <= 1e-3 * result.lower, `${result.lower} is ${found} in single precision`)
    await reference.release()
  })
}
