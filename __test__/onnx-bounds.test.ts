/**
 * Bounds of ONNX models of others, beside ratios that an ascent with nothing but forward passes attains. The files are
 * not part of this repository: the test looks for them beside it, and says so when it skips.
 */
import { loadModel, loadTensor } from '../dist/index.js'
import type { Network } from '../dist/index.js'
import { createRandom } from './helpers/random.js'
import { sharedData } from './helpers/shared-data.js'

const { folder, check } = sharedData()

const EPSILONS = [0.001, 0.01, 0.1]

type Vector = Float64Array

const norm = (v: Vector): number => Math.hypot(...v)
const plus = (a: Vector, b: Vector, scale: number): Vector => a.map((value, i) => value + scale * (b[i] ?? NaN))
const dot = (a: Vector, b: Vector): number => a.reduce((sum, value, i) => sum + value * (b[i] ?? NaN), 0)

/** The network as a function of plain vectors. */
function asFunction(network: Network): (x: Vector) => Promise<Vector> {
  const shape = network.summary.inputShape
  return async (x) => Float64Array.from((await network.evaluate({ shape, data: x })).data)
}

/** The gradient of `<w, f>`, by forward differences. */
async function gradient(f: (x: Vector) => Promise<Vector>, x: Vector, w: Vector): Promise<Vector> {
  const step = 1e-7
  const here = dot(w, await f(x))
  const there = await Promise.all(Array.from(x, async (_, i) => dot(w, await f(x.with(i, (x[i] ?? NaN) + step)))))
  return Float64Array.from(there, (value) => (value - here) / step)
}

/** Ratios `|f(x) - f(x0)| / |x - x0|` that an ascent from x0 attains at the rim of each ball. */
async function attained(network: Network, x0: Vector, seed: number): Promise<number[]> {
  const f = asFunction(network)
  const random = createRandom(seed)
  const y0 = await f(x0)
  const anywhere = await gradient(
    f,
    x0,
    y0.map(() => random.gaussian()),
  )
  const ratios: number[] = []
  for (const epsilon of EPSILONS) {
    let [best, direction] = [0, anywhere]
    for (let count = 0; count < 2; count++) {
      const x = plus(x0, direction, (epsilon * (1 - 1e-12)) / norm(direction))
      const change = plus(await f(x), y0, -1)
      // Less what rounding may have added.
      best = Math.max(best, (norm(change) - 1e-12 * norm(y0)) / norm(plus(x, x0, -1)))
      if (count === 0) direction = await gradient(f, x, change)
    }
    ratios.push(best)
  }
  return ratios
}

for (const [seed, file] of ['resnet_2b', 'cifar_base_kw'].entries()) {
  for (const around of ['zero', 'a random input']) {
    check(`${file} around ${around}: no ratio is above its bound, and the certificate is tighter`, async (t) => {
      using network = await loadModel(`${folder}vnncomp/${file}.onnx`)
      const shape = network.summary.inputShape
      const random = createRandom(seed)
      const x0 = new Float64Array(shape.reduce((a, b) => a * b)).map(() => (around === 'zero' ? 0 : random.uniform()))
      const ratios = await attained(network, x0, seed)
      const input = { shape, data: x0 }
      const layerwise = await network.bound(input, { epsilon: EPSILONS, method: 'layerwise' })
      const whole = await network.bound(input, { epsilon: EPSILONS, method: 'certificate' })
      EPSILONS.forEach((epsilon, i) => {
        const [ratio, upper, tighter] = [ratios[i] ?? NaN, layerwise[i]?.upper ?? NaN, whole[i]?.upper ?? NaN]
        t.log(`epsilon ${epsilon}: attained ${ratio}, certificate ${tighter}, layerwise ${upper}`)
        t.true(ratio > 0 && ratio <= tighter && tighter < upper)
        t.is(whole[i]?.method, 'certificate')
        t.true((whole[i]?.lower ?? NaN) <= tighter && (layerwise[i]?.lower ?? NaN) <= upper)
      })
    })
  }
}

check('the LeNet has the same bounds from ONNX as from safetensors', async (t) => {
  const lenet = `${folder}avant-mnist/lenet`
  const architecture = {
    format: 'lipbound-architecture',
    version: 1,
    input: [1, 28, 28],
    layers: [
      { type: 'conv2d', weight: 'conv1.weight', bias: 'conv1.bias' },
      { type: 'relu' },
      { type: 'max_pool2d', kernel: 2 },
      { type: 'conv2d', weight: 'conv2.weight', bias: 'conv2.bias' },
      { type: 'relu' },
      { type: 'max_pool2d', kernel: 2 },
      { type: 'flatten' },
      { type: 'linear', weight: 'fc1.weight', bias: 'fc1.bias' },
      { type: 'relu' },
      { type: 'linear', weight: 'fc2.weight', bias: 'fc2.bias' },
      { type: 'relu' },
      { type: 'linear', weight: 'fc3.weight', bias: 'fc3.bias' },
    ],
  }
  using onnx = await loadModel(`${lenet}.onnx`)
  using safetensors = await loadModel(`${lenet}.safetensors`, { architecture })
  const eight = await loadTensor(`${folder}avant-mnist/eight.npy`)
  for (const method of ['layerwise', 'certificate'] as const) {
    const [a, b] = await Promise.all(
      [onnx, safetensors].map((network) => network.bound(eight, { epsilon: EPSILONS, method, seed: 1 })),
    )
    EPSILONS.forEach((epsilon, i) => {
      for (const end of ['upper', 'lower'] as const) {
        const [first, second] = [a?.[i]?.[end] ?? NaN, b?.[i]?.[end] ?? NaN]
        t.true(Math.abs(first - second) <= 1e-12 * second, `${method}, ${epsilon}, ${end}: ${first} and ${second}`)
      }
    })
  }
})
