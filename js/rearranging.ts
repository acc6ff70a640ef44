/** Constructors of layers that put entries elsewhere: other shapes and orders, borders, repetition. */
import { layer, naming } from './layer.js'
import type { Layer, LayerOptions, Margins, Sizes, SpecificationOf } from './layer.js'
import { axes as axesCheck, finite, margins, optional, parseOptions, shape as shapeCheck, sizes } from './options.js'

/** Options of {@link reshape}. */
export interface ReshapeOptions extends LayerOptions {
  /** The shape of the output, which has as many entries as the input. */
  shape: readonly number[]
}

/** Options of {@link permute}. */
export interface PermuteOptions extends LayerOptions {
  /** Which axis of the input each axis of the output is, counted from 0 without a batch dimension. */
  axes: readonly number[]
}

/** Options of {@link pad2d}. */
export interface Pad2dOptions extends LayerOptions {
  /** Pixels put around the image. */
  padding: Margins
  /** What they are. Default 0. */
  value?: number | undefined
}

/** Options of {@link upsample2d}. */
export interface Upsample2dOptions extends LayerOptions {
  /** How many times each pixel is repeated. */
  scale: Sizes
}

/** Gives the input's entries, in row-major order, as a vector. */
export function flatten(options: LayerOptions = {}): Layer {
  const { name } = parseOptions('flatten', options, naming satisfies SpecificationOf<LayerOptions>)
  return layer('flatten', name)
}

/**
 * Gives the input's entries, in row-major order, another shape.
 *
 * @throws {@link InputError} `ERR_LIPBOUND_ARGUMENT`
 */
export function reshape(options: ReshapeOptions): Layer {
  const { name, shape } = parseOptions('reshape', options, {
    ...naming,
    shape: shapeCheck,
  } satisfies SpecificationOf<ReshapeOptions>)
  return layer('reshape', name, { shape: [...shape] })
}

/**
 * Puts the axes in another order: axis `k` of the output is axis `axes[k]` of the input.
 *
 * @throws {@link InputError} `ERR_LIPBOUND_ARGUMENT`
 */
export function permute(options: PermuteOptions): Layer {
  const { name, axes } = parseOptions('permute', options, {
    ...naming,
    axes: axesCheck,
  } satisfies SpecificationOf<PermuteOptions>)
  return layer('permute', name, { axes: [...axes] })
}

/**
 * Puts zeros, or another constant, around an image: `[channels, height, width]` to
 * `[channels, top + height + bottom, left + width + right]`.
 *
 * @throws {@link InputError} `ERR_LIPBOUND_ARGUMENT`
 */
export function pad2d(options: Pad2dOptions): Layer {
  const { name, ...attributes } = parseOptions('pad2d', options, {
    ...naming,
    padding: margins,
    value: optional(finite),
  } satisfies SpecificationOf<Pad2dOptions>)
  return layer('pad2d', name, attributes)
}

/**
 * Enlarges an image by repeating its pixels (nearest neighbour): `[channels, height, width]` to
 * `[channels, height * scale, width * scale]`.
 *
 * @throws {@link InputError} `ERR_LIPBOUND_ARGUMENT`
 */
export function upsample2d(options: Upsample2dOptions): Layer {
  const { name, scale } = parseOptions('upsample2d', options, {
    ...naming,
    scale: sizes,
  } satisfies SpecificationOf<Upsample2dOptions>)
  return layer('upsample2d', name, { scale })
}
