/**
 * Constructors of layers. Each checks its options and gives a plain description of the layer, with the
 * attributes named as in the architecture format; shapes are checked when a network is made of them.
 *
 * Shapes are written without a batch dimension: images are `[channels, height, width]`.
 */
import { layer, naming } from './layer.js'
import type { Layer, LayerOptions, Margin, Margins, Sizes, SpecificationOf } from './layer.js'
import {
  argumentError,
  finite,
  flag,
  margin,
  margins,
  nonNegative,
  number,
  numbers,
  optional,
  parseOptions,
  positiveInteger,
  sizes,
} from './options.js'
import { toTensor } from './tensor.js'
import type { Tensor, TensorLike } from './tensor.js'

/** Options of {@link conv2d}. */
export interface Conv2dOptions extends LayerOptions {
  /** Kernel, `[out, in / groups, height, width]`. */
  weight: TensorLike
  /** One number for each output channel, `[out]`. Default: none. */
  bias?: TensorLike | undefined
  /** Step of the kernel over the padded image. Default 1. */
  stride?: Sizes | undefined
  /** Zeros put around the image. Default 0. */
  padding?: Margins | undefined
  /** Distance between neighbouring taps of the kernel. Default 1. */
  dilation?: Sizes | undefined
  /** Number of groups of channels that do not see each other; divides both channel counts. Default 1. */
  groups?: number | undefined
}

/** Options of {@link convTranspose2d}. */
export interface ConvTranspose2dOptions extends LayerOptions {
  /** Kernel, `[in, out / groups, height, width]`, as PyTorch has it. */
  weight: TensorLike
  /** One number for each output channel, `[out]`. Default: none. */
  bias?: TensorLike | undefined
  /** Distance of the copies of the kernel. Default 1. */
  stride?: Sizes | undefined
  /** What is cut off the output on each side. Default 0. */
  padding?: Margins | undefined
  /** What is added to the output at the bottom and on the right, less than the stride or the dilation. Default 0. */
  outputPadding?: Margin | undefined
  /** Distance between neighbouring taps of the kernel. Default 1. */
  dilation?: Sizes | undefined
  /** Number of groups of channels that do not see each other; divides both channel counts. Default 1. */
  groups?: number | undefined
}

/** Options of {@link linear}. */
export interface LinearOptions extends LayerOptions {
  /** Matrix, `[out, in]`. */
  weight: TensorLike
  /** One number for each output, `[out]`. Default: none. */
  bias?: TensorLike | undefined
}

/** Options of {@link sparse}: a matrix in compressed sparse row (CSR) form. */
export interface SparseOptions extends LayerOptions {
  /** Where each row begins in `indices` and `values`, and where the last one ends: rows + 1 integers from 0. */
  indptr: ArrayLike<number>
  /** Column of each stored entry, from 0. */
  indices: ArrayLike<number>
  /** The stored entries. */
  values: TensorLike
  /** One number for each row. Default: none. */
  bias?: TensorLike | undefined
}

/** Options of {@link leakyRelu}. */
export interface LeakyReluOptions extends LayerOptions {
  /** Slope for negative inputs. Default 0.01. */
  negativeSlope?: number | undefined
}

/** Options of {@link prelu}. */
export interface PreluOptions extends LayerOptions {
  /** Slope for negative inputs: one for each channel, `[channels]`, or one for all, `[1]`. */
  weight: TensorLike
}

/** Options of {@link clip}. At least one of the ends is needed. */
export interface ClipOptions extends LayerOptions {
  /** Least value. Default: `-Infinity`. */
  min?: number | undefined
  /** Largest value, above `min`. Default: `Infinity`. */
  max?: number | undefined
}

/** Options of {@link maxPool2d}. */
export interface MaxPool2dOptions extends LayerOptions {
  /** Size of the window. */
  kernel: Sizes
  /** Step of the window. Default: the size of the window. */
  stride?: Sizes | undefined
  /** Pixels around the image that never win. Default 0. */
  padding?: Margins | undefined
  /** Distance between neighbouring pixels of a window. Default 1. */
  dilation?: Sizes | undefined
  /** Whether a last window that hangs over the edge counts. Default false. */
  ceilMode?: boolean | undefined
}

/** Options of {@link avgPool2d}. */
export interface AvgPool2dOptions extends LayerOptions {
  /** Size of the window. */
  kernel: Sizes
  /** Step of the window. Default: the size of the window. */
  stride?: Sizes | undefined
  /** Zeros put around the image. Default 0. */
  padding?: Margins | undefined
  /** Whether a last window that hangs over the edge counts. Default false. */
  ceilMode?: boolean | undefined
  /** Whether padding counts in the divisor. Default true. */
  countIncludePad?: boolean | undefined
}

/** Options of {@link batchNorm2d}: the state of a trained layer, one number for each channel. */
export interface BatchNorm2dOptions extends LayerOptions {
  /** Scale, `[channels]`. Default: 1. */
  weight?: TensorLike | undefined
  /** Shift, `[channels]`. Default: 0. */
  bias?: TensorLike | undefined
  /** Mean seen in training, `[channels]`. */
  runningMean: TensorLike
  /** Variance seen in training, `[channels]`, not negative. */
  runningVar: TensorLike
  /** Added to the variance. Default 1e-5. */
  eps?: number | undefined
}

/** Options of {@link dropout}. */
export interface DropoutOptions extends LayerOptions {
  /** The probability used in training, from 0 to 1; kept for the record. */
  p?: number | undefined
}

/** Options of {@link normalize}. */
export interface NormalizeOptions extends LayerOptions {
  /** What is subtracted: one number for each channel, or one for all. */
  mean: ArrayLike<number>
  /** What the difference is divided by: one positive number for each channel, or one for all. */
  std: ArrayLike<number>
}

/**
 * A 2-D convolution (cross-correlation, as in PyTorch) of `[in, height, width]`.
 *
 * Gives `[out, h, w]`, `h = floor((height + top + bottom - dilation * (kernelHeight - 1) - 1) / stride) + 1`
 * and `w` likewise.
 *
 * @throws {@link InputError} `ERR_LIPBOUND_ARGUMENT`, `ERR_LIPBOUND_SHAPE` or `ERR_LIPBOUND_VALUE`; the
 *   message names the option
 */
export function conv2d(options: Conv2dOptions): Layer {
  const { name, weight, bias, ...attributes } = parseOptions('conv2d', options, {
    ...naming,
    weight: toTensor,
    bias: optional(toTensor),
    stride: optional(sizes),
    padding: optional(margins),
    dilation: optional(sizes),
    groups: optional(positiveInteger),
  } satisfies SpecificationOf<Conv2dOptions>)
  return layer('conv2d', name, attributes, { weight, bias })
}

/**
 * A transposed 2-D convolution of `[in, height, width]`: every pixel adds its multiple of the kernel to the output, at
 * `stride` times its place.
 *
 * Gives `[out, h, w]`, `h = (height - 1) * stride - top - bottom + dilation * (kernelHeight - 1) + outputPadding + 1`
 * and `w` likewise.
 *
 * @throws {@link InputError} as {@link conv2d} does
 */
export function convTranspose2d(options: ConvTranspose2dOptions): Layer {
  const { name, weight, bias, outputPadding, ...attributes } = parseOptions('convTranspose2d', options, {
    ...naming,
    weight: toTensor,
    bias: optional(toTensor),
    stride: optional(sizes),
    padding: optional(margins),
    outputPadding: optional(margin),
    dilation: optional(sizes),
    groups: optional(positiveInteger),
  } satisfies SpecificationOf<ConvTranspose2dOptions>)
  return layer('conv_transpose2d', name, { ...attributes, output_padding: outputPadding }, { weight, bias })
}

/**
 * A dense affine map of `[in]` to `[out]`: `weight * x + bias`.
 *
 * @throws {@link InputError} as {@link conv2d} does
 */
export function linear(options: LinearOptions): Layer {
  const { name, weight, bias } = parseOptions('linear', options, {
    ...naming,
    weight: toTensor,
    bias: optional(toTensor),
  } satisfies SpecificationOf<LinearOptions>)
  return layer('linear', name, {}, { weight, bias })
}

/**
 * An affine map of `[in]` to `[rows]` whose matrix is mostly zero, in CSR form as SciPy has it. The number of
 * columns is that of the input.
 *
 * @throws {@link InputError} as {@link conv2d} does
 */
export function sparse(options: SparseOptions): Layer {
  const index = numbers('a non-negative integer', (value) => Number.isSafeInteger(value) && value >= 0)
  const { name, indptr, indices, values, bias } = parseOptions('sparse', options, {
    ...naming,
    indptr: index,
    indices: index,
    values: entries,
    bias: optional(toTensor),
  } satisfies SpecificationOf<SparseOptions>)
  return layer(
    'sparse',
    name,
    { rows: Math.max(indptr.length - 1, 0) },
    {
      indptr: vector(indptr),
      indices: vector(indices),
      values,
      bias,
    },
  )
}

/** The rectifier `max(x, 0)`, unit by unit. The shape stays. */
export function relu(options: LayerOptions = {}): Layer {
  const { name } = parseOptions('relu', options, naming satisfies SpecificationOf<LayerOptions>)
  return layer('relu', name)
}

/**
 * The leaky rectifier, unit by unit: `x` where it is positive, `negativeSlope * x` elsewhere. The shape stays.
 *
 * @throws {@link InputError} `ERR_LIPBOUND_ARGUMENT`
 */
export function leakyRelu(options: LeakyReluOptions = {}): Layer {
  const { name, negativeSlope } = parseOptions('leakyRelu', options, {
    ...naming,
    negativeSlope: optional(finite),
  } satisfies SpecificationOf<LeakyReluOptions>)
  return layer('leaky_relu', name, { negative_slope: negativeSlope })
}

/**
 * The leaky rectifier with trained slopes: `x` where it is positive, `weight * x` elsewhere, with a weight for each
 * channel (the first axis of the input) or one for all. The shape stays.
 *
 * @throws {@link InputError} as {@link conv2d} does
 */
export function prelu(options: PreluOptions): Layer {
  const { name, weight } = parseOptions('prelu', options, {
    ...naming,
    weight: toTensor,
  } satisfies SpecificationOf<PreluOptions>)
  return layer('prelu', name, {}, { weight })
}

/** The magnitude `|x|`, unit by unit. The shape stays. */
export function abs(options: LayerOptions = {}): Layer {
  const { name } = parseOptions('abs', options, naming satisfies SpecificationOf<LayerOptions>)
  return layer('abs', name)
}

/**
 * Cuts values off, unit by unit: `min(max(x, min), max)`, as `Clip` in ONNX and `Hardtanh` in PyTorch. The shape stays.
 *
 * @throws {@link InputError} `ERR_LIPBOUND_ARGUMENT`
 */
export function clip(options: ClipOptions): Layer {
  const { name, min, max } = parseOptions('clip', options, {
    ...naming,
    min: optional(number('a number or -Infinity', (value) => value < Infinity)),
    max: optional(number('a number or Infinity', (value) => value > -Infinity)),
  } satisfies SpecificationOf<ClipOptions>)
  const [low, high] = [min ?? -Infinity, max ?? Infinity]
  if (low === -Infinity && high === Infinity) {
    throw argumentError('clip: options', "an object with a finite 'min', a finite 'max' or both", options)
  }
  if (low >= high) throw argumentError("clip: option 'max'", `greater than 'min', which is ${low}`, high)
  // JSON has no infinity: an end that is left out is one.
  return layer('clip', name, {
    min: Number.isFinite(low) ? low : undefined,
    max: Number.isFinite(high) ? high : undefined,
  })
}

/** The rectifier with a cap, `min(max(x, 0), 6)`: a {@link clip} from 0 to 6. The shape stays. */
export function relu6(options: LayerOptions = {}): Layer {
  const { name } = parseOptions('relu6', options, naming satisfies SpecificationOf<LayerOptions>)
  return clip({ name, min: 0, max: 6 })
}

/**
 * The largest pixel of each window, channel by channel: `[channels, height, width]` to `[channels, h, w]`.
 *
 * @throws {@link InputError} `ERR_LIPBOUND_ARGUMENT`
 */
export function maxPool2d(options: MaxPool2dOptions): Layer {
  const { name, ceilMode, ...attributes } = parseOptions('maxPool2d', options, {
    ...naming,
    kernel: sizes,
    stride: optional(sizes),
    padding: optional(margins),
    dilation: optional(sizes),
    ceilMode: optional(flag),
  } satisfies SpecificationOf<MaxPool2dOptions>)
  return layer('max_pool2d', name, { ...attributes, ceil_mode: ceilMode })
}

/** The largest pixel of each channel: `[channels, height, width]` to `[channels, 1, 1]`. */
export function globalMaxPool2d(options: LayerOptions = {}): Layer {
  const { name } = parseOptions('globalMaxPool2d', options, naming satisfies SpecificationOf<LayerOptions>)
  return layer('global_max_pool2d', name)
}

/**
 * The mean of each window, channel by channel: `[channels, height, width]` to `[channels, h, w]`.
 *
 * @throws {@link InputError} `ERR_LIPBOUND_ARGUMENT`
 */
export function avgPool2d(options: AvgPool2dOptions): Layer {
  const { name, ceilMode, countIncludePad, ...attributes } = parseOptions('avgPool2d', options, {
    ...naming,
    kernel: sizes,
    stride: optional(sizes),
    padding: optional(margins),
    ceilMode: optional(flag),
    countIncludePad: optional(flag),
  } satisfies SpecificationOf<AvgPool2dOptions>)
  return layer('avg_pool2d', name, { ...attributes, ceil_mode: ceilMode, count_include_pad: countIncludePad })
}

/** The mean of each channel: `[channels, height, width]` to `[channels, 1, 1]`. */
export function globalAvgPool2d(options: LayerOptions = {}): Layer {
  const { name } = parseOptions('globalAvgPool2d', options, naming satisfies SpecificationOf<LayerOptions>)
  return layer('global_avg_pool2d', name)
}

/**
 * Batch normalisation as it is after training:
 * `(x - runningMean) / sqrt(runningVar + eps) * weight + bias`, channel by channel. The shape stays.
 *
 * @throws {@link InputError} as {@link conv2d} does
 */
export function batchNorm2d(options: BatchNorm2dOptions): Layer {
  const { name, weight, bias, runningMean, runningVar, eps } = parseOptions('batchNorm2d', options, {
    ...naming,
    weight: optional(toTensor),
    bias: optional(toTensor),
    runningMean: toTensor,
    runningVar: toTensor,
    eps: optional(nonNegative),
  } satisfies SpecificationOf<BatchNorm2dOptions>)
  return layer('batch_norm2d', name, { eps }, { weight, bias, running_mean: runningMean, running_var: runningVar })
}

/** Dropout, which does nothing after training. The shape stays. */
export function dropout(options: DropoutOptions = {}): Layer {
  const { name, p } = parseOptions('dropout', options, {
    ...naming,
    p: optional(number('a number from 0 to 1', (value) => value >= 0 && value <= 1)),
  } satisfies SpecificationOf<DropoutOptions>)
  return layer('dropout', name, { p })
}

/**
 * Input normalisation, `(x - mean) / std` channel by channel. As a layer of the network it keeps epsilon in the
 * units of the raw input. The shape stays.
 *
 * @throws {@link InputError} `ERR_LIPBOUND_ARGUMENT`
 */
export function normalize(options: NormalizeOptions): Layer {
  const { name, mean, std } = parseOptions('normalize', options, {
    ...naming,
    mean: numbers('a finite number', Number.isFinite),
    std: numbers('a finite number > 0', (value) => Number.isFinite(value) && value > 0),
  } satisfies SpecificationOf<NormalizeOptions>)
  return layer('normalize', name, { mean: [...mean], std: [...std] })
}

/** The entries of a sparse matrix, of which there may be none. */
function entries(value: unknown, subject: string): Tensor {
  const empty = (Array.isArray(value) || ArrayBuffer.isView(value)) && 'length' in value && value.length === 0
  return empty ? vector(new Float64Array(0)) : toTensor(value, subject)
}

function vector(data: Float64Array): Tensor {
  return { shape: [data.length], data }
}
