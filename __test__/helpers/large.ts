/** A network large enough that bounding it takes a while on any machine. */
import { conv2d, relu, sequential } from '../../dist/index.js'
import type { BoundOptions, Network, Tensor } from '../../dist/index.js'
import { createRandom } from './random.js'

const INPUT = [8, 96, 96] as const

/** Six convolutions of 32 channels over 96 x 96 pixels. */
export function largeNetwork(): Network {
  const random = createRandom(1)
  const convolution = (channels: number): ReturnType<typeof conv2d> => {
    const data = Float64Array.from({ length: 32 * channels * 9 }, () => random.gaussian() / Math.sqrt(4.5 * channels))
    return conv2d({ weight: { shape: [32, channels, 3, 3], data }, padding: 1 })
  }
  const layers = [8, 32, 32, 32, 32, 32].flatMap((channels) => [convolution(channels), relu()])
  return sequential({ input: INPUT, name: 'large' }, layers)
}

/** An input of the large network. */
export function largeInput(): Tensor {
  const random = createRandom(2)
  const size = INPUT[0] * INPUT[1] * INPUT[2]
  return { shape: INPUT, data: Float64Array.from({ length: size }, () => random.gaussian()) }
}

/** Options that make every norm take as many steps as it may. */
export const LABORIOUS = {
  epsilon: [0.1, 0.2, 0.3, 0.4],
  tolerance: 1e-12,
  maxSteps: 100_000,
  guarantee: 'probabilistic',
} as const satisfies BoundOptions
