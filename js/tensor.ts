/** Tensors: how numbers come in and go out, and the checks that keep nonsense from going further. */
import { fileURLToPath } from 'node:url'

import { run } from './cancellation.js'
import { InputError } from './errors.js'
import { native } from './native.js'
import type { NativeTensor } from './native.js'
import { argumentError, expecting, show } from './options.js'

/** A dense array in row-major (C) order. The last index runs fastest. */
export interface Tensor {
  /** Extent of each dimension; `[]` for a single number. */
  readonly shape: readonly number[]
  /** The entries, as many as the product of `shape`. */
  readonly data: Float32Array | Float64Array
}

/** Numbers in arrays in arrays, all of one shape; handy for small things. */
export type NestedNumbers = readonly number[] | readonly NestedNumbers[]

/** What is accepted where a tensor is expected. A bare typed array is one-dimensional. */
export type TensorLike = Tensor | NestedNumbers | Float32Array | Float64Array

/**
 * Makes a tensor of a shape and its entries in row-major order.
 *
 * @param shape - extent of each dimension
 * @param data - the entries; a `Float32Array` or `Float64Array` is used as it is, anything else is copied
 *   to double precision
 * @returns the tensor
 * @throws {@link InputError} `ERR_LIPBOUND_ARGUMENT` for a malformed shape or data that are not numbers,
 *   `ERR_LIPBOUND_SHAPE` if their number is not the product of the shape,
 *   `ERR_LIPBOUND_VALUE` if one is NaN or infinite
 */
export function tensor(shape: readonly number[], data: ArrayLike<number>): Tensor {
  if (isFloatArray(data)) return checked(shape, data, 'tensor')
  if (!Array.isArray(data) && !(ArrayBuffer.isView(data) && 'length' in data)) {
    throw argumentError('tensor: data', 'an array of numbers', data)
  }
  const entries = Array.from(data as ArrayLike<unknown>)
  const wrong = entries.findIndex((entry) => typeof entry !== 'number')
  if (wrong >= 0) throw argumentError(`tensor: data[${wrong}]`, 'a number', entries[wrong])
  return checked(shape, Float64Array.from(entries as number[]), 'tensor')
}

/**
 * Reads a tensor from a NumPy `.npy` file of 32- or 64-bit floats, in C or Fortran order.
 *
 * @param path - the file
 * @returns a promise of the tensor, in the precision and with the shape of the file
 * @throws {@link InputError} (by rejection) `ERR_LIPBOUND_FILE` if it cannot be read, is not a `.npy` file, is
 *   damaged or holds another type of number, `ERR_LIPBOUND_VALUE` if a number in it is NaN or infinite
 */
export async function loadTensor(path: string | URL): Promise<Tensor> {
  const file = filePath(path, 'loadTensor: path')
  return await run({}, () => native.loadNpy(file), { operation: 'load' })
}

/**
 * Checks anything tensor-like and returns it as a tensor. Data are not copied if they need not be.
 *
 * @param value - what the caller gave
 * @param subject - how messages call it, for instance `conv2d: option 'weight'`
 */
export function toTensor(value: unknown, subject: string): Tensor {
  if (isFloatArray(value)) return checked([value.length], value, subject)
  if (Array.isArray(value)) return fromNested(value, subject)
  if (typeof value === 'object' && value !== null && 'shape' in value && 'data' in value) {
    if (!isFloatArray(value.data)) {
      throw argumentError(`${subject}: data`, 'a Float32Array or Float64Array', value.data)
    }
    return checked(value.shape, value.data, subject)
  }
  throw argumentError(subject, 'a tensor { shape, data } or nested arrays of numbers', value)
}

/** A tensor in the form the native part takes. */
export function toNative({ shape, data }: Tensor): NativeTensor {
  return { shape: [...shape], data }
}

/** A path given as a string or a `file:` URL. */
export function filePath(path: unknown, subject: string): string {
  if (path instanceof URL && path.protocol === 'file:') return fileURLToPath(path)
  return pathText(path, subject)
}

const pathText = expecting(
  'a path or a file: URL',
  (value): value is string => typeof value === 'string' && value !== '' && !value.includes('\0'),
)

/** Whether a value has the form of a tensor; says nothing of its numbers. */
export function isTensor(value: unknown): value is Tensor {
  return (
    typeof value === 'object' &&
    value !== null &&
    'shape' in value &&
    isShape(value.shape) &&
    'data' in value &&
    isFloatArray(value.data)
  )
}

function isFloatArray(value: unknown): value is Float32Array | Float64Array {
  return value instanceof Float32Array || value instanceof Float64Array
}

function checked(shape: unknown, data: Float32Array | Float64Array, subject: string): Tensor {
  if (!isShape(shape) || shape.includes(0))
    throw argumentError(`${subject}: shape`, 'an array of positive integers', shape)
  const size = shape.reduce((product, extent) => product * extent, 1)
  if (size !== data.length) {
    const message = `${subject}: shape [${shape.join(', ')}] takes ${size} entries, but data has ${data.length}`
    throw new InputError('ERR_LIPBOUND_SHAPE', message)
  }
  const wrong = data.findIndex((entry) => !Number.isFinite(entry))
  if (wrong >= 0) {
    const place = `[${position(wrong, shape).join(', ')}]`
    const message = `${subject}: every entry must be finite, but the one at ${place} is ${data[wrong]}`
    throw new InputError('ERR_LIPBOUND_VALUE', message)
  }
  return { shape, data }
}

function isShape(shape: unknown): shape is readonly number[] {
  return Array.isArray(shape) && shape.every((extent) => Number.isSafeInteger(extent) && extent >= 0)
}

/** The indices of an entry, from its place in the data. */
function position(index: number, shape: readonly number[]): number[] {
  return shape.reduceRight<number[]>((indices, extent) => {
    indices.unshift(index % extent)
    index = Math.floor(index / extent)
    return indices
  }, [])
}

/** Dimensions that arrays in arrays can have. */
const MAX_RANK = 32

function fromNested(nested: readonly unknown[], subject: string): Tensor {
  const shape: number[] = []
  for (let first: unknown = nested; Array.isArray(first); first = first[0]) {
    // What comes from outside may be nested deeper than a stack is.
    if (shape.push(first.length) > MAX_RANK) throw argumentError(subject, `nested at most ${MAX_RANK} deep`, nested)
  }
  const data = new Float64Array(shape.reduce((product, extent) => product * extent, 1))
  let filled = 0
  const fill = (value: unknown, place: readonly number[]): void => {
    const here = place.length === 0 ? subject : `${subject}[${place.join('][')}]`
    if (place.length === shape.length) {
      if (typeof value !== 'number') throw argumentError(here, 'a number', value)
      data[filled++] = value
      return
    }
    const extent = shape[place.length]
    if (!Array.isArray(value)) throw argumentError(here, `an array of length ${extent}`, value)
    if (value.length !== extent) {
      const message = `${here} has ${value.length} entries where its neighbours have ${extent}: ${show(value)}`
      throw new InputError('ERR_LIPBOUND_SHAPE', message)
    }
    // Not forEach, which leaves holes out: what comes after one would take its place.
    for (const [index, entry] of value.entries()) fill(entry, [...place, index])
  }
  fill(nested, [])
  return checked(shape, data, subject)
}
