/** Networks and options that keep the library busy for as long as a test needs. */
import { conv2d, relu, sequential } from '../../dist/index.js'
import type { BoundOptions, Network, Tensor } from '../../dist/index.js'
import { createRandom } from './random.js'

/** So many convolutions of so many channels over a square image of so many pixels. */
function convolutions(name: string, depth: number, channels: number, pixels: number): [Network, Tensor] {
  const random = createRandom(1)
  const gaussians = (shape: number[], scale: number): Tensor => {
    const size = shape.reduce((product, extent) => product * extent, 1)
    return { shape, data: Float64Array.from({ length: size }, () => scale * random.gaussian()) }
  }
  const shape = [channels, pixels, pixels]
  const layers = Array.from({ length: depth }, () => {
    const weight = gaussians([channels, channels, 3, 3], 1 / Math.sqrt(4.5 * channels))
    return [conv2d({ weight, padding: 1 }), relu()]
  })
  return [sequential({ input: shape, name }, layers.flat()), gaussians(shape, 1)]
}

/** A network that takes a while on any machine, and an input of it. */
export const large = (): [Network, Tensor] => convolutions('large', 6, 32, 64)

/** A network that takes long enough to be seen at work, but comes to an end soon, and an input of it. */
export const moderate = (): [Network, Tensor] => convolutions('moderate', 3, 8, 24)

/** Options that make every norm take as many steps as it may. */
export const LABORIOUS = {
  epsilon: [0.1, 0.2, 0.3, 0.4],
  tolerance: 1e-12,
  maxSteps: 100_000,
  guarantee: 'probabilistic',
} as const satisfies BoundOptions
