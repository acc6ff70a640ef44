/** Model files: ONNX, or an architecture in JSON and beside it the weights in safetensors. */
import { readFile } from 'node:fs/promises'
import { basename, dirname, extname, join } from 'node:path'

import { run, throwIfAborted } from './cancellation.js'
import { InputError } from './errors.js'
import { native } from './native.js'
import type { NativeNetwork } from './native.js'
import { Network } from './network.js'
import { argumentError, optional, parseOptions, shape, show, signal as signalCheck, text } from './options.js'
import { filePath } from './tensor.js'

/** Options of {@link loadModel}. */
export interface LoadModelOptions {
  /**
   * The architecture, where it is not in the file beside the weights: the path of a JSON file, or the
   * document itself as an object. Only together with a `.safetensors` file.
   */
  architecture?: string | URL | Readonly<Record<string, unknown>> | undefined
  /**
   * Shape of one input, for an ONNX model that leaves sizes open: without the batch dimension, or with a batch of one.
   * Only together with a `.onnx` file; what the file states must agree.
   */
  input?: readonly number[] | undefined
  /** Name of the tensor to take for the output, for an ONNX model; default is its only output. */
  output?: string | undefined
  /** Aborts loading: the promise rejects with `signal.reason`. */
  signal?: AbortSignal | undefined
}

/**
 * Loads a trained network.
 *
 * @param path - an ONNX model (`.onnx`); or an architecture (`.json`), which names the file of its weights beside it; or
 *   the weights (`.safetensors`), whose architecture is in the `.json` file of the same name unless the options give it
 * @param options - what the files leave open
 * @returns a promise of the network: the one of real arithmetic whose weights are exactly those of the file (docs/models.md)
 * @throws {@link InputError} (by rejection) `ERR_LIPBOUND_FILE` for a file that cannot be read or is damaged,
 *   `ERR_LIPBOUND_MODEL`, `ERR_LIPBOUND_SHAPE` and `ERR_LIPBOUND_VALUE` for what they describe,
 *   `ERR_LIPBOUND_ARGUMENT` for an unknown or malformed option; `signal.reason` when aborted
 */
export async function loadModel(path: string | URL, options: LoadModelOptions = {}): Promise<Network> {
  throwIfAborted(options)
  const model = filePath(path, 'loadModel: path')
  const { architecture, input, output, signal } = parseOptions('loadModel', options, {
    architecture: optional(architectureOption),
    input: optional(shape),
    output: optional(text),
    signal: optional(signalCheck),
  })
  const onnx = extname(model).toLowerCase() === '.onnx'
  const [stray] = Object.entries(onnx ? { architecture } : { input, output }).filter(([, value]) => value !== undefined)
  if (stray !== undefined) {
    const goesWith = onnx ? 'a .safetensors file' : 'a .onnx file'
    throw new InputError(
      'ERR_LIPBOUND_ARGUMENT',
      `loadModel: option '${stray[0]}' goes with ${goesWith}, not with ${model}`,
    )
  }
  const discard = (late: NativeNetwork): void => {
    late.dispose()
  }
  if (onnx) {
    const load = () => native.NativeNetwork.loadOnnx(model, input && [...input], output)
    return Network.of(await run({ signal }, load, { operation: 'load', discard }))
  }
  const { json, source, weights } = await locate(model, architecture)
  const load = () => native.NativeNetwork.load(json, weights)
  return Network.of(await run({ signal }, load, { operation: 'load', context: source, discard }))
}

interface Located {
  /** The architecture, as JSON. */
  json: string
  /** What messages call it. */
  source: string
  /** Path of the weights. */
  weights: string
}

async function locate(
  model: string,
  architecture: string | Readonly<Record<string, unknown>> | undefined,
): Promise<Located> {
  switch (extname(model).toLowerCase()) {
    case '.json': {
      if (architecture !== undefined) {
        const message = `loadModel: option 'architecture' goes with a .safetensors file, but ${model} is an architecture itself`
        throw new InputError('ERR_LIPBOUND_ARGUMENT', message)
      }
      const { json, document } = await readArchitecture(model)
      return { json, source: model, weights: join(dirname(model), weightsFile(document, model)) }
    }
    case '.safetensors': {
      if (typeof architecture === 'object') {
        return { json: stringify(architecture), source: 'architecture', weights: model }
      }
      const source = architecture ?? `${model.slice(0, -extname(model).length)}.json`
      return { json: (await readArchitecture(source)).json, source, weights: model }
    }
    case '.data':
      throw argumentError('loadModel: path', 'the .onnx file beside these weights, which names them', model)
    default:
      throw argumentError('loadModel: path', 'a .onnx, .json or .safetensors file', model)
  }
}

async function readArchitecture(path: string): Promise<{ json: string; document: unknown }> {
  let json: string
  try {
    json = await readFile(path, 'utf8')
  } catch (error) {
    throw new InputError('ERR_LIPBOUND_FILE', `${path}: cannot read the architecture: ${reason(error)}`, {
      cause: error,
    })
  }
  try {
    return { json, document: JSON.parse(json) as unknown }
  } catch (error) {
    throw new InputError('ERR_LIPBOUND_FILE', `${path}: the architecture is not JSON: ${reason(error)}`, {
      cause: error,
    })
  }
}

function stringify(architecture: Readonly<Record<string, unknown>>): string {
  try {
    return JSON.stringify(architecture)
  } catch (error) {
    const message = `loadModel: option 'architecture' cannot be written as JSON: ${reason(error)}`
    throw new InputError('ERR_LIPBOUND_ARGUMENT', message, { cause: error })
  }
}

/** The file of weights an architecture names, which has to be beside it: a model does not reach elsewhere. */
function weightsFile(document: unknown, path: string): string {
  const weights =
    typeof document === 'object' && document !== null && 'weights' in document ? document.weights : undefined
  if (typeof weights !== 'string' || weights === '' || basename(weights) !== weights || weights === '..') {
    const message = `${path}: field 'weights' must be the name of a file in the same directory, got ${show(weights)}`
    throw new InputError('ERR_LIPBOUND_MODEL', message)
  }
  return weights
}

function architectureOption(value: unknown, subject: string): string | Readonly<Record<string, unknown>> {
  if (typeof value === 'object' && value !== null && !Array.isArray(value) && !(value instanceof URL)) {
    return value as Readonly<Record<string, unknown>>
  }
  return filePath(value, subject)
}

function reason(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
