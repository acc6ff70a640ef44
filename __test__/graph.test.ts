/** Networks that branch: the builder, the architecture files, what they compute and what is said of them. */
import test from 'ava'

import {
  InputError,
  abs,
  add,
  concat,
  conv2d,
  flatten,
  graph,
  leakyRelu,
  linear,
  loadModel,
  maximum,
  minimum,
  relu,
  sequential,
  tensor,
} from '../dist/index.js'
import type { BranchLayer, Network } from '../dist/index.js'
import { createDirectory, safetensors } from './helpers/files.js'
import { lipbound } from './helpers/process.js'
import { createRandom } from './helpers/random.js'

const files = createDirectory()
test.after.always(() => {
  files.remove()
})

const random = createRandom(11)
const filled = (...shape: number[]): ReturnType<typeof tensor> =>
  tensor(
    shape,
    Float64Array.from({ length: shape.reduce((a, b) => a * b) }, () => random.gaussian()),
  )
const weights = { stem: filled(2, 1, 3, 3), inner: filled(2, 2, 3, 3), head: filled(3, 32) }

/** A residual block by the builder. */
const residual = (): Network =>
  graph({ input: [1, 4, 4], name: 'residual' }, (g) => {
    const stem = g.apply(conv2d({ name: 'stem', weight: weights.stem, padding: 1 }), g.input)
    const inner = g.chain([relu(), conv2d({ name: 'inner', weight: weights.inner, padding: 1 })], stem)
    const sum = g.apply(add({ name: 'sum' }), stem, inner)
    return g.chain([relu(), flatten(), linear({ name: 'head', weight: weights.head })], sum)
  })

/** The same as a document. */
const document = {
  format: 'lipbound-architecture',
  version: 1,
  name: 'residual',
  input: [1, 4, 4],
  weights: 'residual.safetensors',
  layers: [
    { type: 'conv2d', name: 'stem', weight: 'stem', padding: 1 },
    { type: 'relu' },
    { type: 'conv2d', name: 'inner', weight: 'inner', padding: 1 },
    { type: 'add', name: 'sum', inputs: ['stem', 'inner'] },
    { type: 'relu' },
    { type: 'flatten' },
    { type: 'linear', name: 'head', weight: 'head' },
  ],
}
const model = files.write('residual.json', JSON.stringify(document))
files.write('residual.safetensors', safetensors(weights))

test('a builder and a file make the same network', async (t) => {
  using built = residual()
  using loaded = await loadModel(model)
  t.is(built.digest, loaded.digest)
  t.deepEqual(built.summary, loaded.summary)
  t.deepEqual(
    built.summary.layers.map(({ name, inputs }) => [name, inputs]),
    [
      ['stem', ['input']],
      ['relu1', ['stem']],
      ['inner', ['relu1']],
      ['sum', ['stem', 'inner']],
      ['relu2', ['sum']],
      ['flatten1', ['relu2']],
      ['head', ['flatten1']],
    ],
  )
})

test('a residual network computes x + f(x), and its bounds hold', async (t) => {
  using network = residual()
  using stem = sequential({ input: [1, 4, 4] }, [conv2d({ weight: weights.stem, padding: 1 })])
  using inner = sequential({ input: [2, 4, 4] }, [relu(), conv2d({ weight: weights.inner, padding: 1 })])
  using head = sequential({ input: [2, 4, 4] }, [relu(), flatten(), linear({ weight: weights.head })])
  const byParts = async (x: Float64Array): Promise<number[]> => {
    const a = await stem.evaluate(tensor([1, 4, 4], x))
    const b = await inner.evaluate(a)
    const sum = Float64Array.from(a.data, (entry, index) => entry + (b.data[index] ?? NaN))
    return [...(await head.evaluate(tensor([2, 4, 4], sum))).data]
  }
  const distance = (a: ArrayLike<number>, b: ArrayLike<number>): number =>
    Math.hypot(...Array.from(a, (entry, index) => entry - (b[index] ?? NaN)))
  const centre = Float64Array.from({ length: 16 }, () => random.gaussian())
  const expected = await byParts(centre)
  const { data } = await network.evaluate(tensor([1, 4, 4], centre))
  t.true(distance(data, expected) < 1e-12)
  for (const method of ['layerwise', 'certificate'] as const) {
    const { upper, lower, layers } = await network.bound(tensor([1, 4, 4], centre), { epsilon: 0.5, method })
    t.true(lower <= upper)
    t.true(layers.some(({ members }) => members.includes('sum')))
    for (let sample = 0; sample < 50; sample++) {
      const step = Float64Array.from({ length: 16 }, () => random.gaussian())
      const scale = 0.499 / Math.hypot(...step)
      const moved = centre.map((entry, index) => entry + scale * (step[index] ?? NaN))
      t.true(distance(await byParts(moved), expected) / distance(moved, centre) <= upper)
    }
  }
})

test('branches of each kind', async (t) => {
  const evaluate = async (layer: BranchLayer, shape: number[], entries: number[]): Promise<[number[], number[]]> => {
    using network = graph({ input: shape }, (g) => {
      const slower = g.apply(leakyRelu({ negativeSlope: 2 }), g.input)
      return g.apply(layer, g.input, slower, g.apply(abs(), g.input))
    })
    const output = await network.evaluate(tensor(shape, entries))
    return [[...output.shape], [...output.data]]
  }
  t.deepEqual(await evaluate(add(), [2], [-1, 3]), [[2], [-2, 9]])
  t.deepEqual(await evaluate(maximum(), [2], [-1, 3]), [[2], [1, 3]])
  t.deepEqual(await evaluate(minimum(), [2], [-1, 3]), [[2], [-2, 3]])
  t.deepEqual(await evaluate(concat(), [2, 1], [-1, 3]), [
    [6, 1],
    [-1, 3, -2, 3, 1, 3],
  ])
  t.deepEqual(await evaluate(concat({ axis: 1 }), [2, 1], [-1, 3]), [
    [2, 3],
    [-1, -2, 1, 3, 3, 3],
  ])
})

test('a node may be read twice, and by one layer', async (t) => {
  using twice = graph({ input: [2] }, (g) => g.apply(add(), g.input, g.input))
  t.deepEqual([...(await twice.evaluate([1, -3])).data], [2, -6])
  const { upper } = await twice.globalBound()
  t.true(upper >= 2 && upper < 2 + 1e-9)
  using both = graph({ input: [2] }, (g) => {
    const unit = g.apply(relu(), g.input)
    return g.apply(maximum(), unit, unit)
  })
  t.deepEqual([...(await both.evaluate([1, -3])).data], [1, 0])
  t.true((await both.globalBound()).upper >= 1)
})

test('a layer of several nodes is one layer in the summary and in reports', async (t) => {
  using network = graph({ input: [2, 2], name: 'least' }, (g) =>
    g.apply(minimum({ name: 'least' }), g.apply(relu(), g.input), g.apply(abs(), g.input)),
  )
  t.deepEqual(
    network.summary.layers.map(({ name, inputs, units }) => [name, inputs, units]),
    [
      ['relu1', ['input'], 4],
      ['abs1', ['input'], 4],
      ['least', ['relu1', 'abs1'], 4],
    ],
  )
  const { layers } = await network.bound(
    [
      [1, 2],
      [3, -4],
    ],
    { epsilon: 0.1 },
  )
  for (const { members } of layers) t.is(new Set(members).size, members.length)
  t.deepEqual([...new Set(layers.flatMap(({ members }) => members))], ['relu1', 'abs1', 'least'])
})

test('the field output ends a network early', async (t) => {
  const path = model.replace('.json', '.safetensors')
  using features = await loadModel(path, { architecture: { ...document, output: 'sum' } })
  t.deepEqual(features.summary.outputShape, [2, 4, 4])
  t.deepEqual(
    features.summary.layers.map(({ name }) => name),
    ['stem', 'relu1', 'inner', 'sum'],
  )
  // What the output does not need is left out, even in between.
  using stem = await loadModel(path, { architecture: { ...document, output: 'relu1' } })
  t.deepEqual(
    stem.summary.layers.map(({ name }) => name),
    ['stem', 'relu1'],
  )
})

test('one input may be a string', async (t) => {
  const path = files.write(
    'fork.json',
    JSON.stringify({
      format: 'lipbound-architecture',
      version: 1,
      input: [2],
      weights: 'residual.safetensors',
      layers: [{ type: 'relu' }, { type: 'abs', inputs: 'input' }, { type: 'add', inputs: ['abs1', 'relu1'] }],
    }),
  )
  using network = await loadModel(path)
  t.deepEqual([...(await network.evaluate([2, -3])).data], [4, 3])
})

test('inspect says what layers read where that is not the one before', async (t) => {
  const { status, stdout } = await lipbound('inspect', model)
  t.is(status, 0)
  t.regex(stdout, /# +name +type +reads +shapes/)
  t.regex(stdout, /3 +sum +add +stem, inner +2x4x4 -> 2x4x4/)
  t.regex(stdout, /4 +relu2 +relu +2x4x4 -> 2x4x4/)
  t.regex(stdout, /multiply-adds: forward pass \d\.\d\de\d, layerwise bound about \de\d+, certificate about \de\d+/)
  const { layers, cost } = JSON.parse((await lipbound('inspect', model, '--json')).stdout) as Network['summary']
  t.deepEqual(layers[3]?.inputs, ['stem', 'inner'])
  t.true(cost.forward > 0 && cost.forward < cost.layerwise && cost.layerwise < cost.certificate)
})

test('types say what a layer reads', (t) => {
  // These lines compile only as long as each of them is an error for the compiler.
  const mistakes = [
    // @ts-expect-error a sum needs two nodes
    () => graph({ input: [2] }, (g) => g.apply(add(), g.input)),
    // @ts-expect-error units read one node
    () => graph({ input: [2] }, (g) => g.apply(relu(), g.input, g.input)),
    // @ts-expect-error a chain has no branches
    () => sequential({ input: [2] }, [relu(), add()]),
    // @ts-expect-error nothing is returned
    () => graph({ input: [2] }, (g) => void g.apply(relu(), g.input)),
  ]
  for (const mistake of mistakes) t.throws(mistake, { instanceOf: InputError })
})
