/** onnxruntime-node, the reference for what a model computes. `npm test` installs it beside `../onnxruntime/package.json`. */
import { createRequire } from 'node:module'

import type { Tensor } from '../../dist/index.js'

/** What is used of the package, which need not be there for this file to be compiled. */
interface Runtime {
  InferenceSession: {
    create(model: Uint8Array | string, options: object): Promise<Session>
  }
  Tensor: new (type: string, data: Float32Array | Float64Array, dims: readonly number[]) => RuntimeTensor
}

interface RuntimeTensor {
  dims: readonly number[]
  data: unknown
}

interface Session {
  inputNames: readonly string[]
  outputNames: readonly string[]
  inputMetadata: readonly { isTensor: boolean; type?: string; shape?: readonly (number | string)[] }[]
  run(feeds: Record<string, RuntimeTensor>): Promise<Record<string, RuntimeTensor>>
  release(): Promise<void>
}

/** A model in onnxruntime. */
export interface ReferenceModel {
  /** The shape of its only input, extents that are left open being 1. */
  readonly input: readonly number[]
  /** What its first output is for an input. */
  evaluate(input: Float32Array | Float64Array): Promise<Tensor>
  release(): Promise<void>
}

const directory = new URL('../onnxruntime/package.json', import.meta.url)
const load = (): Runtime => createRequire(directory)('onnxruntime-node') as Runtime

/** Graph optimisations reorder sums, and threads change nothing for networks this small. */
const OPTIONS = {
  graphOptimizationLevel: 'disabled',
  executionMode: 'sequential',
  intraOpNumThreads: 1,
  interOpNumThreads: 1,
  logSeverityLevel: 4,
}

/** Opens a model, given as bytes or as a path, of which the first input is the only one that is fed. */
export async function openReference(model: Uint8Array | string): Promise<ReferenceModel> {
  const { InferenceSession, Tensor } = load()
  const session = await InferenceSession.create(model, OPTIONS)
  const [inputName = ''] = session.inputNames
  const [outputName = ''] = session.outputNames
  const [{ type, shape = [] } = {}] = session.inputMetadata
  const input = shape.map((extent) => (typeof extent === 'number' && extent > 0 ? extent : 1))
  return {
    input,
    async evaluate(values) {
      const data = type === 'float64' ? Float64Array.from(values) : Float32Array.from(values)
      const results = await session.run({ [inputName]: new Tensor(type ?? 'float32', data, input) })
      const output = results[outputName]
      if (!(output?.data instanceof Float32Array || output?.data instanceof Float64Array)) {
        throw new Error(`onnxruntime gave no floating-point output '${outputName}'`)
      }
      return { shape: [...output.dims], data: output.data }
    },
    release: () => session.release(),
  }
}
