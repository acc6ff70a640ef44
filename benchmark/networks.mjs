// The networks that are measured: architectures of the literature with seeded He weights, built in code.

import { conv2d, flatten, linear, maxPool2d, relu, sequential, tensor } from '../dist/index.js'

/** A small, fast generator (mulberry32): benchmarks need the same weights everywhere, not good randomness. */
function uniform(seed) {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let t = state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296
  }
}

/** Normal numbers by Box and Muller. */
function normal(random, count, deviation) {
  const values = new Float32Array(count)
  for (let i = 0; i < count; i += 2) {
    const radius = deviation * Math.sqrt(-2 * Math.log(1 - random()))
    const angle = 2 * Math.PI * random()
    values[i] = radius * Math.cos(angle)
    if (i + 1 < count) values[i + 1] = radius * Math.sin(angle)
  }
  return values
}

/** He's initialisation: normal with variance 2 / fan-in. */
function he(random, shape) {
  const count = shape.reduce((a, b) => a * b)
  return tensor(shape, normal(random, count, Math.sqrt(2 / (count / shape[0]))))
}

/** The convolutions of a plan: `[out, kernel, stride, padding]`, or `[kernel, stride]` for a max pool. */
export const plans = {
  'lenet (MNIST)': {
    input: [1, 28, 28],
    convs: [
      [6, 5, 1, 2],
      [2, 2],
      [16, 5, 1, 0],
      [2, 2],
    ],
    dense: [120, 84, 10],
  },
  'cifar-10 (papers)': {
    input: [3, 32, 32],
    convs: [
      [32, 3, 1, 1],
      [32, 3, 1, 0],
      [2, 2],
      [64, 3, 1, 0],
      [64, 3, 1, 0],
      [2, 2],
    ],
    dense: [512, 10],
  },
  alexnet: {
    input: [3, 224, 224],
    convs: [
      [64, 11, 4, 2],
      [3, 2],
      [192, 5, 1, 2],
      [3, 2],
      [384, 3, 1, 1],
      [256, 3, 1, 1],
      [256, 3, 1, 1],
      [3, 2],
    ],
    dense: [4096, 4096, 1000],
  },
  'vgg-16': {
    input: [3, 224, 224],
    convs: [64, 64, 0, 128, 128, 0, 256, 256, 256, 0, 512, 512, 512, 0, 512, 512, 512, 0].map((out) =>
      out === 0 ? [2, 2] : [out, 3, 1, 1],
    ),
    dense: [4096, 4096, 1000],
  },
}

/**
 * What a plan makes of a seed: the layers, as the names and options of their constructors, and an input. A plan with
 * `bias` has biases too.
 */
export function describe(plan, seed = 1) {
  const random = uniform(seed)
  const count = (shape) => shape.reduce((a, b) => a * b)
  const bias = (out) => (plan.bias ? { bias: tensor([out], normal(random, out, plan.bias)) } : {})
  const layers = []
  let [channels, height, width] = plan.input
  for (const step of plan.convs) {
    if (step.length === 2) {
      const [kernel, stride] = step
      layers.push(['maxPool2d', { kernel, stride }])
      height = Math.floor((height - kernel) / stride) + 1
      width = Math.floor((width - kernel) / stride) + 1
      continue
    }
    const [out, kernel, stride, padding] = step
    layers.push(
      ['conv2d', { weight: he(random, [out, channels, kernel, kernel]), ...bias(out), stride, padding }],
      ['relu', {}],
    )
    height = Math.floor((height + 2 * padding - kernel) / stride) + 1
    width = Math.floor((width + 2 * padding - kernel) / stride) + 1
    channels = out
  }
  if (plan.input.length > 1) layers.push(['flatten', {}])
  let size = plan.input.length > 1 ? channels * height * width : count(plan.input)
  plan.dense.forEach((out, index) => {
    layers.push(['linear', { weight: he(random, [out, size]), ...bias(out) }])
    if (index + 1 < plan.dense.length) layers.push(['relu', {}])
    size = out
  })
  return { layers, input: tensor(plan.input, normal(random, count(plan.input), 1)) }
}

const constructors = { conv2d, flatten, linear, maxPool2d, relu }

/** A network of {@link plans}, and an input for it. */
export function build(name, seed = 1) {
  const plan = plans[name]
  const { layers, input } = describe(plan, seed)
  return {
    network: sequential(
      { input: plan.input, name },
      layers.map(([type, options]) => constructors[type](options)),
    ),
    input,
  }
}

/** The convolutions of a plan with their input shapes, for norms one by one. */
export function convolutions(name, seed = 1) {
  const plan = plans[name]
  const random = uniform(seed)
  const found = []
  let [channels, height, width] = plan.input
  for (const step of plan.convs) {
    if (step.length === 2) {
      const [kernel, stride] = step
      height = Math.floor((height - kernel) / stride) + 1
      width = Math.floor((width - kernel) / stride) + 1
      continue
    }
    const [out, kernel, stride, padding] = step
    const weight = he(random, [out, channels, kernel, kernel])
    const input = [channels, height, width]
    height = Math.floor((height + 2 * padding - kernel) / stride) + 1
    width = Math.floor((width + 2 * padding - kernel) / stride) + 1
    const work = out * height * width * channels * kernel * kernel
    found.push({ name: `${name} conv${found.length + 1}`, weight, stride, padding, input, work })
    channels = out
  }
  return found
}
