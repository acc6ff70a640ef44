/** What a layer is, as plain data, and what its constructors share. */
import { optional, text } from './options.js'
import type { Tensor } from './tensor.js'

/** The types of layer that read one other, as the architecture format names them. */
export type LayerType =
  | 'normalize'
  | 'conv2d'
  | 'conv_transpose2d'
  | 'linear'
  | 'sparse'
  | 'batch_norm2d'
  | 'relu'
  | 'leaky_relu'
  | 'prelu'
  | 'abs'
  | 'clip'
  | 'max_pool2d'
  | 'global_max_pool2d'
  | 'avg_pool2d'
  | 'global_avg_pool2d'
  | 'upsample2d'
  | 'pad2d'
  | 'flatten'
  | 'reshape'
  | 'permute'
  | 'dropout'

/** The types of layer that bring branches together: they read two others or more. */
export type BranchLayerType = 'add' | 'concat' | 'maximum' | 'minimum'

/** The value of an attribute of a layer. */
export type Attribute = number | boolean | readonly number[]

/** A layer as plain data. Make one with a constructor such as `conv2d`. */
export interface Layer<Type extends LayerType | BranchLayerType = LayerType> {
  /** What kind of layer it is. */
  readonly type: Type
  /** Its name in reports and messages; if absent, its type with a count, such as `conv2d1`. */
  readonly name?: string
  /** Its numbers and switches, named as in the architecture format. */
  readonly attributes: Readonly<Record<string, Attribute>>
  /** Its weights, by field of the architecture format. */
  readonly tensors: Readonly<Record<string, Tensor>>
}

/** A layer that brings branches together, for `graph`. Make one with a constructor such as `add`. */
export type BranchLayer = Layer<BranchLayerType>

/** What every layer takes. */
export interface LayerOptions {
  /** Name of the layer in reports and messages, unique in its network. Default: its type with a count. */
  name?: string | undefined
}

/** One size for both directions, or `[height, width]`, in pixels. */
export type Sizes = number | readonly [height: number, width: number]

/** As {@link Sizes}, but zero is a size. */
export type Margin = number | readonly [vertical: number, horizontal: number]

/** Pixels added on all sides, `[vertical, horizontal]`, or on each side by itself. */
export type Margins = Sizes | readonly [top: number, left: number, bottom: number, right: number]

/** The check of {@link LayerOptions}. */
export const naming = { name: optional(text) }

/** Makes the compiler insist on a check for every option there is, and on no other. */
export type SpecificationOf<Options> = Record<keyof Options, (value: unknown, subject: string) => unknown>

/** A layer as the constructors give it. */
export function layer<Type extends LayerType | BranchLayerType>(
  type: Type,
  name: string | undefined,
  attributes: Readonly<Record<string, Attribute | undefined>> = {},
  tensors: Readonly<Record<string, Tensor | undefined>> = {},
): Layer<Type> {
  return {
    type,
    ...(name === undefined ? {} : { name }),
    attributes: present(attributes),
    tensors: present(tensors),
  }
}

/** Without what was left out, so that defaults are told in one place only: the native part. */
function present<Value>(record: Readonly<Record<string, Value | undefined>>): Record<string, Value> {
  return Object.fromEntries(Object.entries(record).filter((entry): entry is [string, Value] => entry[1] !== undefined))
}
