/** Constructors of layers that bring branches of a graph together. */
import { layer, naming } from './layer.js'
import type { BranchLayer, LayerOptions, SpecificationOf } from './layer.js'
import { count, optional, parseOptions } from './options.js'

/** Options of {@link concat}. */
export interface ConcatOptions extends LayerOptions {
  /** The axis along which the branches lie behind each other, without a batch dimension. Default 0, the channels. */
  axis?: number | undefined
}

/** The sum of two or more branches of equal shape, which stays. For `graph`. */
export function add(options: LayerOptions = {}): BranchLayer {
  const { name } = parseOptions('add', options, naming satisfies SpecificationOf<LayerOptions>)
  return layer('add', name)
}

/**
 * Two or more branches behind each other along an axis. Their other axes are equal. For `graph`.
 *
 * @throws {@link InputError} `ERR_LIPBOUND_ARGUMENT`
 */
export function concat(options: ConcatOptions = {}): BranchLayer {
  const { name, axis } = parseOptions('concat', options, {
    ...naming,
    axis: optional(count),
  } satisfies SpecificationOf<ConcatOptions>)
  return layer('concat', name, { axis })
}

/** The largest entry of two or more branches of equal shape, place by place. The shape stays. For `graph`. */
export function maximum(options: LayerOptions = {}): BranchLayer {
  const { name } = parseOptions('maximum', options, naming satisfies SpecificationOf<LayerOptions>)
  return layer('maximum', name)
}

/** The smallest entry of two or more branches of equal shape, place by place. The shape stays. For `graph`. */
export function minimum(options: LayerOptions = {}): BranchLayer {
  const { name } = parseOptions('minimum', options, naming satisfies SpecificationOf<LayerOptions>)
  return layer('minimum', name)
}
