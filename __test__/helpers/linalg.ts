/** Dense linear algebra for small matrices, to compare with. */
import { outputShape, forward } from './reference.js'
import type { LayerSpec } from './reference.js'

/** A matrix as rows. */
export type Matrix = readonly Float64Array[]

/** The largest singular value, by one-sided Jacobi rotations: accurate to a few units in the last place. */
export function spectralNorm(matrix: Matrix): number {
  const columns = transpose(matrix).map((column) => Float64Array.from(column))
  for (let sweep = 0; sweep < 60; sweep++) {
    let rotated = false
    for (let i = 0; i < columns.length; i++) {
      for (let j = i + 1; j < columns.length; j++) rotated = rotate(columns[i], columns[j]) || rotated
    }
    if (!rotated) break
  }
  return Math.max(0, ...columns.map((column) => Math.sqrt(dot(column, column))))
}

/** Makes two columns orthogonal; whether there was anything to do. */
function rotate(a: Float64Array | undefined, b: Float64Array | undefined): boolean {
  if (a === undefined || b === undefined) return false
  const [aa, bb, ab] = [dot(a, a), dot(b, b), dot(a, b)]
  if (ab === 0 || Math.abs(ab) <= 1e-16 * Math.sqrt(aa * bb)) return false
  const zeta = (bb - aa) / (2 * ab)
  const tangent = (zeta >= 0 ? 1 : -1) / (Math.abs(zeta) + Math.hypot(1, zeta))
  const cosine = 1 / Math.hypot(1, tangent)
  const sine = cosine * tangent
  for (let row = 0; row < a.length; row++) {
    const [left, right] = [a[row] ?? NaN, b[row] ?? NaN]
    a[row] = cosine * left - sine * right
    b[row] = sine * left + cosine * right
  }
  return true
}

/** The matrix of an affine layer, column by column from the reference evaluator. */
export function matrixOf(layer: LayerSpec, input: readonly number[]): Matrix {
  const columns = input.reduce((product, extent) => product * extent, 1)
  const rows = outputShape(layer, input).reduce((product, extent) => product * extent, 1)
  const matrix = Array.from({ length: rows }, () => new Float64Array(columns))
  const linear = withoutShift(layer)
  for (let column = 0; column < columns; column++) {
    const unit = new Float64Array(columns)
    unit[column] = 1
    forward({ input, layers: [linear] }, unit).value.forEach((entry, row) => {
      const target = matrix[row]
      if (target !== undefined) target[column] = entry
    })
  }
  return matrix
}

/** The linear part of an affine layer. */
function withoutShift(layer: LayerSpec): LayerSpec {
  switch (layer.type) {
    case 'conv2d':
    case 'linear':
    case 'sparse': {
      const linear = { ...layer }
      delete linear.bias
      return linear
    }
    case 'batchNorm2d': {
      const nought = { shape: layer.bias.shape, data: new Float64Array(layer.bias.data.length) }
      return { ...layer, bias: nought, runningMean: nought }
    }
    case 'normalize':
      return { ...layer, mean: layer.mean.map(() => 0) }
    default:
      return layer
  }
}

function transpose(matrix: Matrix): Matrix {
  const width = matrix[0]?.length ?? 0
  return Array.from({ length: width }, (_, column) => Float64Array.from(matrix, (row) => row[column] ?? NaN))
}

function dot(a: Float64Array, b: Float64Array): number {
  return a.reduce((sum, entry, index) => sum + entry * (b[index] ?? NaN), 0)
}
