/** The files of generated cases: models, inputs, and what onnxruntime makes of them. */
import { readFileSync, writeFileSync } from 'node:fs'
import { constants, gunzipSync, gzipSync } from 'node:zlib'

/** A model, some inputs, and the output for each. */
export interface Case {
  name: string
  family: string
  operators: readonly string[]
  model: Uint8Array
  /** Shapes as the model has them, with the batch extent. */
  input: readonly number[]
  output: readonly number[]
  inputs: readonly Float32Array[]
  outputs: readonly Float32Array[]
}

const pathOf = (file: string): URL => new URL(`cases/${file}.jsonl.gz`, import.meta.url)

/** One case a line, bytes in base64: gzip makes up for the latter. */
export function writeCases(file: string, cases: readonly Case[]): number {
  const lines = cases.map(({ model, inputs, outputs, ...rest }) => {
    const line = { ...rest, model: base64(model), inputs: inputs.map(base64), outputs: outputs.map(base64) }
    return `${JSON.stringify(line)}\n`
  })
  const packed = gzipSync(lines.join(''), { level: constants.Z_BEST_COMPRESSION })
  writeFileSync(pathOf(file), packed)
  return packed.length
}

export function readCases(file: string): Case[] {
  const lines = gunzipSync(readFileSync(pathOf(file)))
    .toString()
    .trimEnd()
    .split('\n')
  return lines.map((line) => {
    const { model, inputs, outputs, ...rest } = JSON.parse(line) as Omit<Case, 'model' | 'inputs' | 'outputs'> & {
      model: string
      inputs: string[]
      outputs: string[]
    }
    return { ...rest, model: bytesOf(model), inputs: inputs.map(floatsOf), outputs: outputs.map(floatsOf) }
  })
}

const base64 = ({ buffer, byteOffset, byteLength }: Uint8Array | Float32Array): string =>
  Buffer.from(buffer, byteOffset, byteLength).toString('base64')

const bytesOf = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'base64'))

const floatsOf = (text: string): Float32Array => new Float32Array(bytesOf(text).buffer)

/** How many cases there are of each operator. */
export function countOperators(cases: readonly Pick<Case, 'operators'>[]): Map<string, number> {
  const counts = new Map<string, number>()
  for (const operator of cases.flatMap(({ operators }) => operators)) {
    counts.set(operator, (counts.get(operator) ?? 0) + 1)
  }
  return new Map([...counts].sort(([a], [b]) => (a < b ? -1 : 1)))
}

/** Every operator that the cases cover, each at least {@link LEAST} times. */
export const OPERATORS = (
  'Abs Add AveragePool BatchNormalization Cast Clip Concat Constant ConstantOfShape Conv ConvTranspose DepthToSpace ' +
  'Div Dropout Flatten Gather GatherND Gemm GlobalAveragePool GlobalMaxPool Identity LeakyRelu LogSoftmax MatMul Max MaxPool ' +
  'Min Mul Neg PRelu Pad ReduceMax ReduceMean ReduceSum Relu Reshape Resize Shape Slice Softmax SpaceToDepth Split Squeeze ' +
  'Sub Sum Transpose Unsqueeze Upsample'
).split(' ')

export const LEAST = 15

/** The shape that the library gives a tensor of a model: it has no batch axis. */
export const withoutBatch = (shape: readonly number[]): readonly number[] =>
  shape.length >= 2 && shape[0] === 1 ? shape.slice(1) : shape

/**
 * How far two outputs lie apart, relative to the largest entry of the expected one, or to 1 where that is less: entries
 * that cancel out have the rounding errors of their terms.
 */
export function distance(found: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (found.length !== expected.length) return Infinity
  let [largest, apart] = [1, 0]
  for (let index = 0; index < expected.length; index++) {
    const [a = NaN, e = NaN] = [found[index], expected[index]]
    largest = Math.max(largest, Math.abs(e))
    apart = Math.max(apart, Number.isFinite(a) ? Math.abs(a - e) : Infinity)
  }
  return apart / largest
}
