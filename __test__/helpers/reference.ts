/**
 * A second, independent evaluator of networks, in plain loops straight from the definitions. It shares nothing with
 * the library but the meaning of the layers.
 *
 * Every value carries a bound of its rounding error, so that a test can tell what real arithmetic gives from what
 * floating point made of it, and needs no tolerance of its own.
 */
import type { Tensor } from '../../dist/index.js'

export type Pair = readonly [number, number]
export type Sides = readonly [top: number, left: number, bottom: number, right: number]

/** A layer with everything spelled out, nothing left to defaults. */
export type LayerSpec =
  | { type: 'conv2d'; weight: Tensor; bias?: Tensor; stride: Pair; padding: Sides; dilation: Pair; groups: number }
  | { type: 'linear'; weight: Tensor; bias?: Tensor }
  | { type: 'sparse'; indptr: number[]; indices: number[]; values: number[]; bias?: Tensor }
  | { type: 'relu' }
  | { type: 'leakyRelu'; negativeSlope: number }
  | { type: 'clip'; min?: number; max?: number }
  | { type: 'maxPool2d'; kernel: Pair; stride: Pair; padding: Sides; dilation: Pair; ceilMode: boolean }
  | { type: 'avgPool2d'; kernel: Pair; stride: Pair; padding: Sides; ceilMode: boolean; countIncludePad: boolean }
  | { type: 'globalAvgPool2d' }
  | { type: 'batchNorm2d'; weight: Tensor; bias: Tensor; runningMean: Tensor; runningVar: Tensor; eps: number }
  | { type: 'flatten' }
  | { type: 'dropout' }
  | { type: 'normalize'; mean: number[]; std: number[] }

export interface NetworkSpec {
  input: readonly number[]
  layers: readonly LayerSpec[]
}

/** Values in a shape, each with a bound of its distance from what real arithmetic gives. */
export interface Enclosure {
  shape: readonly number[]
  value: Float64Array
  error: Float64Array
}

/** Twice the unit roundoff of double precision: the factor pays for rounding in the error bounds themselves. */
const ROUNDOFF = 2 ** -52

/** Evaluates a network at a point taken to be exact. */
export function forward({ input, layers }: NetworkSpec, point: Float64Array): Enclosure {
  let current: Enclosure = { shape: input, value: point, error: new Float64Array(point.length) }
  for (const layer of layers) current = step(layer, current)
  return current
}

/** Shape of what a layer makes of an input of the given shape; not a number anywhere means that it does not fit. */
export function outputShape(layer: LayerSpec, shape: readonly number[]): readonly number[] {
  const [channels = NaN] = shape
  switch (layer.type) {
    case 'conv2d':
      return [
        layer.weight.shape[0] ?? NaN,
        ...spatial(shape, kernelOf(layer.weight), layer.stride, layer.padding, layer.dilation),
      ]
    case 'maxPool2d':
      return [channels, ...spatial(shape, layer.kernel, layer.stride, layer.padding, layer.dilation, layer.ceilMode)]
    case 'avgPool2d':
      return [channels, ...spatial(shape, layer.kernel, layer.stride, layer.padding, [1, 1], layer.ceilMode)]
    case 'globalAvgPool2d':
      return [channels, 1, 1]
    case 'linear':
      return [layer.weight.shape[0] ?? NaN]
    case 'sparse':
      return [layer.indptr.length - 1]
    case 'flatten':
      return [size(shape)]
    default:
      return shape
  }
}

/** For each pooling window its pixels inside the image, and how many of its taps are inside the padded image. */
export function windows(
  shape: readonly number[],
  layer: Extract<LayerSpec, { type: 'maxPool2d' | 'avgPool2d' }>,
): { pixels: number[]; padded: number }[] {
  const [channels = 0, height = 0, width = 0] = shape
  const [, outHeight = 0, outWidth = 0] = outputShape(layer, shape)
  const [top, left, bottom, right] = layer.padding
  const dilation: Pair = layer.type === 'maxPool2d' ? layer.dilation : [1, 1]
  const result: { pixels: number[]; padded: number }[] = []
  for (let channel = 0; channel < channels; channel++) {
    for (let row = 0; row < outHeight; row++) {
      for (let column = 0; column < outWidth; column++) {
        const pixels: number[] = []
        let padded = 0
        for (let tapRow = 0; tapRow < layer.kernel[0]; tapRow++) {
          for (let tapColumn = 0; tapColumn < layer.kernel[1]; tapColumn++) {
            const y = row * layer.stride[0] + tapRow * dilation[0] - top
            const x = column * layer.stride[1] + tapColumn * dilation[1] - left
            if (y < height + bottom && x < width + right) padded++
            if (y >= 0 && y < height && x >= 0 && x < width) pixels.push((channel * height + y) * width + x)
          }
        }
        result.push({ pixels, padded })
      }
    }
  }
  return result
}

function step(layer: LayerSpec, input: Enclosure): Enclosure {
  const shape = outputShape(layer, input.shape)
  const output = { shape, value: new Float64Array(size(shape)), error: new Float64Array(size(shape)) }
  switch (layer.type) {
    case 'conv2d':
      convolve(layer, input, output)
      return output
    case 'linear': {
      const columns = input.value.length
      for (let row = 0; row < output.value.length; row++) {
        const terms = Array.from({ length: columns }, (_, column): Term => [
          layer.weight.data[row * columns + column] ?? NaN,
          column,
        ])
        accumulate(output, row, terms, layer.bias?.data[row], input)
      }
      return output
    }
    case 'sparse':
      for (let row = 0; row < output.value.length; row++) {
        const terms: Term[] = []
        for (let entry = layer.indptr[row] ?? NaN; entry < (layer.indptr[row + 1] ?? NaN); entry++) {
          terms.push([layer.values[entry] ?? NaN, layer.indices[entry] ?? NaN])
        }
        accumulate(output, row, terms, layer.bias?.data[row], input)
      }
      return output
    case 'relu':
      return { shape, value: input.value.map((value) => Math.max(value, 0)), error: input.error }
    case 'leakyRelu': {
      const { negativeSlope } = layer
      const value = input.value.map((entry) => (entry > 0 ? entry : negativeSlope * entry))
      const steepest = Math.max(1, Math.abs(negativeSlope))
      return {
        shape,
        value,
        error: input.error.map((error, index) => steepest * error + ROUNDOFF * Math.abs(at(value, index))),
      }
    }
    case 'clip': {
      const { min = -Infinity, max = Infinity } = layer
      return { shape, value: input.value.map((value) => Math.min(Math.max(value, min), max)), error: input.error }
    }
    case 'maxPool2d':
      windows(input.shape, layer).forEach(({ pixels }, index) => {
        output.value[index] = Math.max(...pixels.map((pixel) => at(input.value, pixel)))
        output.error[index] = Math.max(...pixels.map((pixel) => at(input.error, pixel)))
      })
      return output
    case 'avgPool2d':
      windows(input.shape, layer).forEach(({ pixels, padded }, index) => {
        average(output, index, pixels, layer.countIncludePad ? padded : pixels.length, input)
      })
      return output
    case 'globalAvgPool2d': {
      const area = input.value.length / output.value.length
      for (let channel = 0; channel < output.value.length; channel++) {
        average(
          output,
          channel,
          Array.from({ length: area }, (_, pixel) => channel * area + pixel),
          area,
          input,
        )
      }
      return output
    }
    case 'batchNorm2d':
      return affineByChannel(input, (channel) => {
        const variance = at(layer.runningVar.data, channel) + layer.eps
        return {
          centre: at(layer.runningMean.data, channel),
          scale: at(layer.weight.data, channel) / Math.sqrt(variance),
          shift: at(layer.bias.data, channel),
        }
      })
    case 'normalize':
      return affineByChannel(input, (channel) => ({
        centre: layer.mean[channel % layer.mean.length] ?? NaN,
        scale: 1 / (layer.std[channel % layer.std.length] ?? NaN),
        shift: 0,
      }))
    case 'flatten':
    case 'dropout':
      return { ...input, shape }
  }
}

type Term = readonly [weight: number, index: number]

/** One output of an affine map: the sum of the terms and the bias, and the usual bound of its rounding error. */
function accumulate(output: Enclosure, index: number, terms: readonly Term[], bias = 0, input: Enclosure): void {
  let value = bias
  let magnitude = Math.abs(bias)
  let error = 0
  for (const [weight, source] of terms) {
    value += weight * at(input.value, source)
    magnitude += Math.abs(weight * at(input.value, source))
    error += Math.abs(weight) * at(input.error, source)
  }
  output.value[index] = value
  output.error[index] = error + (terms.length + 2) * ROUNDOFF * (magnitude + error)
}

function average(output: Enclosure, index: number, pixels: readonly number[], divisor: number, input: Enclosure): void {
  accumulate(
    output,
    index,
    pixels.map((pixel): Term => [1, pixel]),
    0,
    input,
  )
  const value = at(output.value, index) / divisor
  output.error[index] = at(output.error, index) / divisor + ROUNDOFF * Math.abs(value)
  output.value[index] = value
}

function convolve(layer: Extract<LayerSpec, { type: 'conv2d' }>, input: Enclosure, output: Enclosure): void {
  const [inChannels = NaN, height = NaN, width = NaN] = input.shape
  const [outChannels = NaN, outHeight = NaN, outWidth = NaN] = output.shape
  const [kernelHeight, kernelWidth] = kernelOf(layer.weight)
  const perGroup = inChannels / layer.groups
  for (let out = 0; out < outChannels; out++) {
    const firstChannel = Math.floor(out / (outChannels / layer.groups)) * perGroup
    for (let row = 0; row < outHeight; row++) {
      for (let column = 0; column < outWidth; column++) {
        const terms: Term[] = []
        for (let channel = 0; channel < perGroup; channel++) {
          for (let tapRow = 0; tapRow < kernelHeight; tapRow++) {
            for (let tapColumn = 0; tapColumn < kernelWidth; tapColumn++) {
              const y = row * layer.stride[0] + tapRow * layer.dilation[0] - layer.padding[0]
              const x = column * layer.stride[1] + tapColumn * layer.dilation[1] - layer.padding[1]
              if (y < 0 || y >= height || x < 0 || x >= width) continue
              const weight = ((out * perGroup + channel) * kernelHeight + tapRow) * kernelWidth + tapColumn
              terms.push([at(layer.weight.data, weight), ((firstChannel + channel) * height + y) * width + x])
            }
          }
        }
        accumulate(output, (out * outHeight + row) * outWidth + column, terms, layer.bias?.data[out], input)
      }
    }
  }
}

function affineByChannel(
  input: Enclosure,
  parameters: (channel: number) => { centre: number; scale: number; shift: number },
): Enclosure {
  const area = input.value.length / (input.shape[0] ?? NaN)
  const value = new Float64Array(input.value.length)
  const error = new Float64Array(input.value.length)
  for (let index = 0; index < value.length; index++) {
    const { centre, scale, shift } = parameters(Math.floor(index / area))
    const entry = at(input.value, index)
    value[index] = (entry - centre) * scale + shift
    // Eight roundings at most: sum, root and quotient of the scale, difference, product, sum.
    const magnitude = (Math.abs(entry) + Math.abs(centre)) * Math.abs(scale) + Math.abs(shift)
    error[index] = Math.abs(scale) * at(input.error, index) * (1 + 8 * ROUNDOFF) + 8 * ROUNDOFF * magnitude
  }
  return { shape: input.shape, value, error }
}

function spatial(
  shape: readonly number[],
  kernel: Pair,
  stride: Pair,
  padding: Sides,
  dilation: Pair,
  ceilMode = false,
): Pair {
  const [, height = NaN, width = NaN] = shape
  return [
    extent(height, kernel[0], stride[0], padding[0], padding[2], dilation[0], ceilMode),
    extent(width, kernel[1], stride[1], padding[1], padding[3], dilation[1], ceilMode),
  ]
}

function extent(
  size: number,
  kernel: number,
  stride: number,
  before: number,
  after: number,
  dilation: number,
  ceilMode: boolean,
): number {
  const room = (size + before + after - dilation * (kernel - 1) - 1) / stride
  if (room < 0) return NaN
  if (!ceilMode) return Math.floor(room) + 1
  // A window that would begin beyond the image and the padding before it is dropped, as in PyTorch.
  const count = Math.ceil(room) + 1
  return (count - 1) * stride >= size + before ? count - 1 : count
}

function kernelOf({ shape }: Tensor): Pair {
  return [shape[2] ?? NaN, shape[3] ?? NaN]
}

function size(shape: readonly number[]): number {
  return shape.reduce((product, extent) => product * extent, 1)
}

function at(array: ArrayLike<number>, index: number): number {
  return array[index] ?? NaN
}
