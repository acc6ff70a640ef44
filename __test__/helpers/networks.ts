/** Random networks of every kind of layer, from a plan that fast-check can make smaller. */
import fc from 'fast-check'

import * as lipbound from '../../dist/index.js'
import type { Layer, Network, Tensor } from '../../dist/index.js'
import { createRandom } from './random.js'
import type { Random } from './random.js'
import { outputShape, windows } from './reference.js'
import type { LayerSpec, NetworkSpec, Pair, Sides } from './reference.js'

const TYPES = [
  'conv2d',
  'linear',
  'sparse',
  'relu',
  'leakyRelu',
  'clip',
  'maxPool2d',
  'avgPool2d',
  'globalAvgPool2d',
  'batchNorm2d',
  'flatten',
  'dropout',
  'normalize',
] as const satisfies readonly LayerSpec['type'][]

/** What a layer would like to be; what does not fit its place is left out. */
interface LayerPlan {
  type: LayerSpec['type']
  kernel: Pair
  stride: Pair
  padding: Sides
  dilation: Pair
  groups: number
  width: number
  flags: readonly [boolean, boolean]
}

export interface NetworkPlan {
  seed: number
  input: readonly [number, number, number]
  /** Small whole numbers make ties and exact zeros, which random reals never do. */
  integers: boolean
  biases: boolean
  layers: LayerPlan[]
}

export interface Case {
  spec: NetworkSpec
  /** The centre of the ball. */
  centre: Float64Array
  random: Random
}

const pair = (least: number, most: number): fc.Arbitrary<Pair> =>
  fc.tuple(fc.integer({ min: least, max: most }), fc.integer({ min: least, max: most }))

/** Plans of layers of the given types. */
export function layerPlans(types: readonly LayerSpec['type'][] = TYPES): fc.Arbitrary<LayerPlan> {
  const margin = fc.integer({ min: 0, max: 2 })
  return fc.record({
    // Rectifiers twice: without them there is little to bound.
    type: fc.constantFrom(...types, ...types.filter((type) => type === 'relu' || type === 'conv2d')),
    kernel: pair(1, 3),
    stride: pair(1, 3),
    padding: fc.tuple(margin, margin, margin, margin),
    dilation: pair(1, 2),
    groups: fc.integer({ min: 1, max: 3 }),
    width: fc.integer({ min: 1, max: 4 }),
    flags: fc.tuple(fc.boolean(), fc.boolean()),
  })
}

/** Plans of networks. */
export const networkPlans: fc.Arbitrary<NetworkPlan> = fc.record({
  seed: fc.integer({ min: 0, max: 2 ** 32 - 1 }),
  input: fc.tuple(fc.integer({ min: 1, max: 4 }), fc.integer({ min: 1, max: 7 }), fc.integer({ min: 1, max: 7 })),
  integers: fc.boolean(),
  biases: fc.boolean(),
  layers: fc.array(layerPlans(), { minLength: 1, maxLength: 9 }),
})

/** Makes a network of a plan, a centre for its ball and a generator for whatever the test wants to draw. */
export function realise({ seed, input, integers, biases, layers }: NetworkPlan): Case {
  const random = createRandom(seed)
  const draw = integers ? () => random.integer(-2, 2) : () => random.gaussian()
  const planned: LayerSpec[] = []
  let shape: readonly number[] = input
  for (const plan of layers) {
    const layer = fit(plan, shape, draw, random, biases)
    if (layer === undefined) continue
    planned.push(layer)
    shape = outputShape(layer, shape)
  }
  if (planned.length === 0) planned.push({ type: 'relu' })
  const centre = Float64Array.from({ length: volume(input) }, draw)
  return { spec: { input, layers: planned }, centre, random }
}

/** The layer a plan becomes behind an input of the given shape; undefined where it cannot stand there. */
export function fit(
  plan: LayerPlan,
  shape: readonly number[],
  draw: () => number,
  random: Random,
  biases: boolean,
): LayerSpec | undefined {
  const layer = propose(plan, shape, draw, random, biases)
  if (layer === undefined) return undefined
  const output = outputShape(layer, shape)
  if (!output.every((extent) => extent >= 1) || volume(output) > 200) return undefined
  // A window that sees nothing but padding has neither a maximum nor a mean.
  const pools = layer.type === 'maxPool2d' || layer.type === 'avgPool2d'
  return pools && windows(shape, layer).some(({ pixels }) => pixels.length === 0) ? undefined : layer
}

function propose(
  plan: LayerPlan,
  shape: readonly number[],
  draw: () => number,
  random: Random,
  biases: boolean,
): LayerSpec | undefined {
  const { type, kernel, stride, dilation, width } = plan
  const [channels = 0] = shape
  const image = shape.length === 3
  const filled = (...extents: number[]): Tensor =>
    lipbound.tensor(extents, Float64Array.from({ length: volume(extents) }, draw))
  const withBias = (length: number): { bias?: Tensor } => (biases ? { bias: filled(length) } : {})
  switch (type) {
    case 'conv2d': {
      if (!image) return undefined
      const groups = channels % plan.groups === 0 ? plan.groups : 1
      const out = groups * width
      const weight = filled(out, channels / groups, ...kernel)
      return { type, weight, ...withBias(out), stride, padding: plan.padding, dilation, groups }
    }
    case 'linear': {
      if (image) return undefined
      return { type, weight: filled(3 * width, channels), ...withBias(3 * width) }
    }
    case 'sparse': {
      if (image) return undefined
      const indptr = [0]
      const indices: number[] = []
      for (let row = 0; row < 2 * width; row++) {
        for (let column = 0; column < channels; column++) if (random.uniform() < 0.3) indices.push(column)
        indptr.push(indices.length)
      }
      return { type, indptr, indices, values: indices.map(draw), ...withBias(2 * width) }
    }
    case 'leakyRelu':
      return { type, negativeSlope: plan.flags[0] ? 0.01 : 1.5 * random.uniform() }
    case 'clip': {
      // Narrow enough to be hit on both sides, away from zero too; with an end missing now and then.
      const min = [-1, 0, 0.25, -0.5][random.integer(0, 3)] ?? 0
      const max = min + ([0.5, 1, 2, 6][random.integer(0, 3)] ?? 1)
      const [onlyMin, onlyMax] = plan.flags
      if (onlyMin === onlyMax) return { type, min, max }
      return onlyMin ? { type, min } : { type, max }
    }
    case 'maxPool2d':
    case 'avgPool2d': {
      if (!image) return undefined
      const [top, left, bottom, right] = plan.padding
      // As in PyTorch, no more padding than half the window.
      const most = (index: 0 | 1): number => Math.floor(kernel[index] / 2)
      const padding: Sides = [
        Math.min(top, most(0)),
        Math.min(left, most(1)),
        Math.min(bottom, most(0)),
        Math.min(right, most(1)),
      ]
      const [ceilMode, countIncludePad] = plan.flags
      return type === 'maxPool2d'
        ? { type, kernel, stride, padding, dilation, ceilMode }
        : { type, kernel, stride, padding, ceilMode, countIncludePad }
    }
    case 'globalAvgPool2d':
      return image ? { type } : undefined
    case 'batchNorm2d': {
      if (!image) return undefined
      const runningVar = filled(channels)
      return {
        type,
        weight: filled(channels),
        bias: filled(channels),
        runningMean: filled(channels),
        runningVar: { shape: runningVar.shape, data: runningVar.data.map(Math.abs) },
        eps: 1e-3,
      }
    }
    case 'normalize': {
      const length = plan.flags[0] && image ? channels : 1
      return {
        type,
        mean: Array.from({ length }, draw),
        std: Array.from({ length }, () => 0.25 + Math.abs(draw())),
      }
    }
    case 'relu':
    case 'flatten':
    case 'dropout':
      return { type }
  }
}

/** The same network in the library. */
export function build({ input, layers }: NetworkSpec): Network {
  return lipbound.sequential({ input }, layers.map(toLayer))
}

/** The same layer in the library. */
export function toLayer(spec: LayerSpec): Layer {
  switch (spec.type) {
    case 'conv2d':
      return lipbound.conv2d(without(spec))
    case 'linear':
      return lipbound.linear(without(spec))
    case 'sparse':
      return lipbound.sparse(without(spec))
    case 'relu':
      return lipbound.relu()
    case 'leakyRelu':
      return lipbound.leakyRelu(without(spec))
    case 'clip':
      return lipbound.clip(without(spec))
    case 'maxPool2d':
      return lipbound.maxPool2d(without(spec))
    case 'avgPool2d':
      return lipbound.avgPool2d(without(spec))
    case 'globalAvgPool2d':
      return lipbound.globalAvgPool2d()
    case 'batchNorm2d':
      return lipbound.batchNorm2d(without(spec))
    case 'flatten':
      return lipbound.flatten()
    case 'dropout':
      return lipbound.dropout({ p: 0.5 })
    case 'normalize':
      return lipbound.normalize(without(spec))
  }
}

/** The options among the fields of a specification. */
function without<Spec extends { type?: string }>(spec: Spec): Omit<Spec, 'type'> {
  const options = { ...spec }
  delete options.type
  return options
}

/** The number of entries of a tensor. */
export function volume(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1)
}
