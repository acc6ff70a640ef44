/** What layers mean: the library computes the same outputs as the plain evaluator of the helpers. */
import test from 'ava'
import fc from 'fast-check'

import {
  abs,
  avgPool2d,
  clip,
  conv2d,
  convTranspose2d,
  flatten,
  globalMaxPool2d,
  leakyRelu,
  linear,
  maxPool2d,
  normalize,
  pad2d,
  permute,
  prelu,
  relu,
  relu6,
  reshape,
  sequential,
  sparse,
  tensor,
  upsample2d,
} from '../dist/index.js'
import type { Layer } from '../dist/index.js'
import { build, networkPlans, realise } from './helpers/networks.js'
import { createRandom } from './helpers/random.js'
import { forward } from './helpers/reference.js'

test('evaluate agrees with an independent evaluator on 500 random networks', async (t) => {
  t.timeout(600_000)
  await fc.assert(
    fc.asyncProperty(networkPlans, async (plan) => {
      const { spec, centre } = realise(plan)
      using network = build(spec)
      const expected = forward(spec, centre)
      const { shape, data } = await network.evaluate({ shape: spec.input, data: centre })
      t.deepEqual(shape, [...expected.shape])
      t.is(data.length, expected.value.length)
      data.forEach((value, index) => {
        // Both are in double precision, so each is within the error bound of the real value.
        const apart = Math.abs(value - (expected.value[index] ?? NaN))
        if (!(apart <= 2 * (expected.error[index] ?? NaN))) {
          throw new Error(`entry ${index}: ${value}, expected ${expected.value[index]}, ${apart} apart`)
        }
      })
    }),
    { numRuns: 500, includeErrorInReport: true },
  )
})

test('a linear layer is weight * x + bias', async (t) => {
  using network = sequential({ input: [2] }, [
    linear({
      weight: [
        [1, 2],
        [3, 4],
        [5, 6],
      ],
      bias: [0, 1, -1],
    }),
  ])
  const { shape, data } = await network.evaluate([10, 100])
  t.deepEqual(shape, [3])
  t.deepEqual([...data], [210, 431, 649])
})

test('a convolution does not flip its kernel', async (t) => {
  using network = sequential({ input: [1, 1, 3] }, [conv2d({ weight: [[[[1, 10]]]] })])
  const { shape, data } = await network.evaluate([[[1, 2, 3]]])
  t.deepEqual(shape, [1, 1, 2])
  t.deepEqual([...data], [21, 32])
})

test('padding of four numbers is top, left, bottom, right', async (t) => {
  using network = sequential({ input: [1, 1, 1] }, [conv2d({ weight: [[[[1]]]], padding: [1, 2, 0, 3] })])
  const { shape, data } = await network.evaluate([[[7]]])
  t.deepEqual(shape, [1, 2, 6])
  t.deepEqual([...data], [0, 0, 0, 0, 0, 0, 0, 0, 7, 0, 0, 0])
})

test('max pooling never picks its padding', async (t) => {
  using network = sequential({ input: [1, 2, 2] }, [maxPool2d({ kernel: 2, padding: 1, stride: 2 })])
  const { data } = await network.evaluate([
    [
      [-1, -2],
      [-3, -4],
    ],
  ])
  t.deepEqual([...data], [-1, -2, -3, -4])
})

test('average pooling counts padding in its divisor unless told not to', async (t) => {
  const evaluate = async (countIncludePad?: boolean): Promise<number[]> => {
    using network = sequential({ input: [1, 1, 2] }, [
      avgPool2d({ kernel: [1, 2], padding: [0, 1], stride: 2, countIncludePad }),
    ])
    return [...(await network.evaluate([[[4, 8]]])).data]
  }
  t.deepEqual(await evaluate(), [2, 4])
  t.deepEqual(await evaluate(true), [2, 4])
  t.deepEqual(await evaluate(false), [4, 8])
})

test('ceil mode keeps a last window that hangs over the edge', async (t) => {
  const evaluate = async (ceilMode?: boolean): Promise<number[]> => {
    using network = sequential({ input: [1, 1, 3] }, [maxPool2d({ kernel: [1, 2], ceilMode })])
    return [...(await network.evaluate([[[1, 2, 3]]])).data]
  }
  t.deepEqual(await evaluate(), [2])
  t.deepEqual(await evaluate(true), [2, 3])
})

test('a sparse layer is its matrix in CSR form', async (t) => {
  using network = sequential({ input: [3] }, [
    sparse({ indptr: [0, 2, 2, 3], indices: [0, 2, 1], values: [1, 2, 3], bias: [0, 5, 0] }),
  ])
  t.deepEqual([...(await network.evaluate([1, 10, 100])).data], [201, 5, 30])
})

test('a sparse matrix may be empty', async (t) => {
  using network = sequential({ input: [2] }, [sparse({ indptr: [0, 0], indices: [], values: [] })])
  // Or -0, which is the same number.
  t.true((await network.evaluate([1, 2])).data.every((entry) => entry === 0))
  t.is((await network.globalBound()).upper, 0)
})

test('normalize is (x - mean) / std channel by channel', async (t) => {
  using network = sequential({ input: [2, 1, 1] }, [normalize({ mean: [1, 2], std: [2, 4] }), flatten()])
  t.deepEqual([...(await network.evaluate([[[5]], [[10]]])).data], [2, 2])
})

test('the numbers of a layer arrive to the last digit', async (t) => {
  const random = createRandom(6)
  const mean = Array.from({ length: 2000 }, () => random.gaussian() * 10 ** random.integer(-15, 15))
  using network = sequential({ input: [2000] }, [normalize({ mean, std: [1] })])
  const { data } = await network.evaluate(new Float64Array(2000))
  t.deepEqual(
    [...data],
    mean.map((entry) => -entry),
  )
})

test('an input may be a batch of one', async (t) => {
  using network = sequential({ input: [1, 1, 2] }, [flatten(), linear({ weight: [[1, 2]] })])
  t.deepEqual([...(await network.evaluate([[[[3, 4]]]])).data], [11])
  const { upper } = await network.bound([[[[3, 4]]]], { epsilon: 1 })
  t.true(upper >= Math.sqrt(5))
  const error = await t.throwsAsync(network.evaluate([[[[3, 4]]], [[[5, 6]]]]))
  t.like(error, { code: 'ERR_LIPBOUND_SHAPE' })
})

test('a leaky rectifier has slope 0.01 below zero unless told otherwise', async (t) => {
  using network = sequential({ input: [2] }, [leakyRelu(), leakyRelu({ negativeSlope: 0.5 })])
  t.deepEqual([...(await network.evaluate([-100, 3])).data], [-0.5, 3])
})

test('a clip cuts off at both ends, or at the one that is given', async (t) => {
  const evaluate = async (...layers: ReturnType<typeof clip>[]): Promise<number[]> => {
    using network = sequential({ input: [4] }, layers)
    return [...(await network.evaluate([-8, -0.5, 2.5, 8])).data]
  }
  t.deepEqual(await evaluate(clip({ min: -1, max: 2 })), [-1, -0.5, 2, 2])
  t.deepEqual(await evaluate(clip({ min: -1 })), [-1, -0.5, 2.5, 8])
  t.deepEqual(await evaluate(clip({ min: -Infinity, max: 2 })), [-8, -0.5, 2, 2])
  t.deepEqual(await evaluate(clip({ min: 1, max: Infinity }), clip({ max: 2 })), [1, 1, 2, 2])
  t.deepEqual(await evaluate(relu6()), [0, 0, 2.5, 6])
})

test('a clip counts its units as still, stable and unstable, at the cap as well as below', async (t) => {
  using network = sequential({ input: [4] }, [
    linear({ weight: identity(4) }),
    relu6(),
    linear({ weight: identity(4) }),
  ])
  const { layers, upper } = await network.bound([-3, 3, 9, 6], { epsilon: 1 })
  t.deepEqual([layers[0]?.still, layers[0]?.stable, layers[0]?.unstable], [2, 1, 1])
  t.true(upper >= 1 && upper < 1 + 1e-9)
  // Above the cap the slope is that of the secant that just reaches it: (10 - 8 + 2) / 8 with epsilon 8.
  using one = sequential({ input: [1] }, [relu6()])
  const beyond = await one.bound([10], { epsilon: 8 })
  t.true(Math.abs(beyond.upper - 0.5) < 1e-12)
  // With a larger ball the steepest secant is the one to the other kink.
  const far = await one.bound([10], { epsilon: 100 })
  t.true(Math.abs(far.upper - 0.6) < 1e-12)
})

const identity = (size: number): number[][] =>
  Array.from({ length: size }, (_, row) => Array.from({ length: size }, (_, column) => (row === column ? 1 : 0)))

/** What a layer makes of an input, and of what shape. */
async function through(layer: Layer, shape: number[], entries: number[]): Promise<[shape: number[], data: number[]]> {
  using network = sequential({ input: shape }, [layer])
  const output = await network.evaluate(tensor(shape, entries))
  return [[...output.shape], [...output.data]]
}

test('a transposed convolution adds a multiple of its kernel for every pixel', async (t) => {
  const weight = [[[[1, 10, 100]]]]
  t.deepEqual(await through(convTranspose2d({ weight, bias: [0.5] }), [1, 1, 2], [1, 2]), [
    [1, 1, 4],
    [1.5, 12.5, 120.5, 200.5],
  ])
  t.deepEqual(await through(convTranspose2d({ weight, stride: [1, 2], outputPadding: [0, 1] }), [1, 1, 2], [1, 2]), [
    [1, 1, 6],
    [1, 10, 102, 20, 200, 0],
  ])
  t.deepEqual(await through(convTranspose2d({ weight, padding: [0, 1, 0, 2], dilation: 2 }), [1, 1, 2], [1, 2]), [
    [1, 1, 3],
    [2, 10, 20],
  ])
  // Two groups: each channel has its own kernel.
  const grouped = convTranspose2d({
    weight: [
      [[[1]], [[2]]],
      [[[3]], [[4]]],
    ],
    groups: 2,
  })
  t.deepEqual(await through(grouped, [2, 1, 1], [1, 10]), [
    [4, 1, 1],
    [1, 2, 30, 40],
  ])
})

test('a trained slope is for all channels or for one', async (t) => {
  t.deepEqual(await through(prelu({ weight: [0.5] }), [2, 1, 2], [-2, 2, -4, 4]), [
    [2, 1, 2],
    [-1, 2, -2, 4],
  ])
  t.deepEqual(await through(prelu({ weight: [0.5, -1] }), [2, 1, 2], [-2, 2, -4, 4]), [
    [2, 1, 2],
    [-1, 2, 4, 4],
  ])
  t.deepEqual(await through(abs(), [3], [-2, 0, 3]), [[3], [2, 0, 3]])
})

test('layers that put pixels elsewhere', async (t) => {
  const pixels = [1, 2, 3, 4, 5, 6]
  t.deepEqual(await through(permute({ axes: [2, 0, 1] }), [1, 2, 3], pixels), [
    [3, 1, 2],
    [1, 4, 2, 5, 3, 6],
  ])
  t.deepEqual(await through(reshape({ shape: [3, 2] }), [1, 2, 3], pixels), [[3, 2], pixels])
  t.deepEqual(await through(pad2d({ padding: [1, 0, 0, 1] }), [1, 1, 2], [1, 2]), [
    [1, 2, 3],
    [0, 0, 0, 1, 2, 0],
  ])
  t.deepEqual(await through(pad2d({ padding: [0, 1], value: -1 }), [1, 1, 2], [1, 2]), [
    [1, 1, 4],
    [-1, 1, 2, -1],
  ])
  t.deepEqual(await through(upsample2d({ scale: [2, 1] }), [1, 2, 2], [1, 2, 3, 4]), [
    [1, 4, 2],
    [1, 2, 1, 2, 3, 4, 3, 4],
  ])
  t.deepEqual(await through(globalMaxPool2d(), [2, 1, 3], [1, 5, 2, -3, -2, -9]), [
    [2, 1, 1],
    [5, -2],
  ])
})

test('the constants of these layers are those of the maps they are', async (t) => {
  const upper = async (layer: Layer, shape: number[]): Promise<number> => {
    using network = sequential({ input: shape }, [layer])
    return (await network.globalBound({ guarantee: 'deterministic' })).upper
  }
  const close = (value: number, expected: number): void => {
    t.true(value >= expected && value < expected * (1 + 1e-9), `${value}, expected ${expected}`)
  }
  close(await upper(upsample2d({ scale: [2, 3] }), [2, 3, 3]), Math.sqrt(6))
  close(await upper(permute({ axes: [1, 2, 0] }), [2, 3, 4]), 1)
  close(await upper(pad2d({ padding: 1, value: 3 }), [2, 3, 3]), 1)
  close(await upper(prelu({ weight: [0.5, -3] }), [2, 1, 1]), 3)
  close(await upper(abs(), [4]), 1)
  // One pixel: the kernel as a vector.
  close(await upper(convTranspose2d({ weight: [[[[3, 0, 4]]]] }), [1, 1, 1]), 5)
})

test('weights of single precision are taken as they are', async (t) => {
  const weight = tensor([1, 1], new Float32Array([0.1]))
  using network = sequential({ input: [1] }, [linear({ weight })])
  t.deepEqual([...(await network.evaluate([1])).data], [Math.fround(0.1)])
})

test('the library keeps no hold of the weights it was given', async (t) => {
  const weight = tensor([1, 1], new Float64Array([2]))
  using network = sequential({ input: [1] }, [linear({ weight })])
  weight.data[0] = 1000
  t.deepEqual([...(await network.evaluate([1])).data], [2])
})

test('the summary tells names, shapes, parameters and units', (t) => {
  using network = sequential({ input: [1, 4, 4], name: 'small' }, [
    conv2d({ weight: tensor([2, 1, 3, 3], new Float64Array(18)), bias: [0, 0] }),
    relu({ name: 'rectifier' }),
    maxPool2d({ kernel: 2 }),
    flatten(),
    linear({ weight: [[1, 2]] }),
  ])
  const { name, inputShape, outputShape, parameters, layers } = network.summary
  t.is(name, 'small')
  t.deepEqual(inputShape, [1, 4, 4])
  t.deepEqual(outputShape, [1])
  t.is(parameters, 22)
  t.deepEqual(
    layers.map((layer) => [layer.index, layer.name, layer.type, layer.inputShape, layer.outputShape, layer.parameters]),
    [
      [0, 'conv2d1', 'conv2d', [1, 4, 4], [2, 2, 2], 20],
      [1, 'rectifier', 'relu', [2, 2, 2], [2, 2, 2], 0],
      [2, 'max_pool2d1', 'max_pool2d', [2, 2, 2], [2, 1, 1], 0],
      [3, 'flatten1', 'flatten', [2, 1, 1], [2], 0],
      [4, 'linear1', 'linear', [2], [1], 2],
    ],
  )
  t.deepEqual(
    layers.map((layer) => layer.inputs),
    [['input'], ['conv2d1'], ['rectifier'], ['max_pool2d1'], ['flatten1']],
  )
})

test('the summary predicts what bounds take of memory', (t) => {
  const network = (size: number) =>
    sequential({ input: [size] }, [
      linear({ weight: tensor([size, size], new Float64Array(size * size)) }),
      relu(),
      linear({ weight: tensor([10, size], new Float64Array(10 * size)) }),
    ])
  using small = network(100)
  using large = network(1000)
  for (const { summary } of [small, large]) {
    const { network, layerwise, certificate, radius } = summary.memory
    // The weights are eight bytes each, and little is made of them.
    t.true(network >= 8 * summary.parameters && network < 8.5 * summary.parameters + 50_000)
    t.true(Number.isSafeInteger(layerwise) && layerwise > 0 && certificate >= layerwise && radius > 0)
  }
  t.true(large.summary.memory.layerwise > small.summary.memory.layerwise)
})

test('the summary predicts what bounds cost', (t) => {
  using network = sequential({ input: [100] }, [
    linear({ weight: tensor([200, 100], new Float64Array(20_000)) }),
    relu(),
    linear({ weight: tensor([10, 200], new Float64Array(2000)) }),
  ])
  const { forward, layerwise, certificate } = network.summary.cost
  t.is(forward, 22_000)
  t.true(layerwise > 10 * forward && layerwise < 1000 * forward)
  t.true(certificate > layerwise && certificate < 1e5 * forward)
})
