/**
 * From layers to the architecture format: a JSON document in which tensors stand by name, and the tensors.
 * The format is the one of model files, so that a network has one description wherever it comes from.
 */
import { InputError } from './errors.js'
import type { BranchLayer, Layer } from './layer.js'
import type { NativeTensor } from './native.js'
import { argumentError } from './options.js'
import { isTensor, toNative } from './tensor.js'

/** A network, or a part of one, as the native part takes it. */
export interface Described {
  /** The architecture, as JSON. */
  readonly json: string
  /** Names of the tensors it speaks of. */
  readonly names: string[]
  /** The tensors, in the order of their names. */
  readonly tensors: NativeTensor[]
}

/** A layer in its place. */
export interface Placed {
  /** What it is. */
  readonly layer: Layer | BranchLayer
  /** What messages call it. */
  readonly place: string
  /** Its name, where that is not for the layer or the native part to say. */
  readonly name?: string
  /** Names of the layers it reads. If absent, it reads the one before it. */
  readonly inputs?: readonly string[]
}

/** What layers call the network's input. */
export const INPUT = 'input'

/** Describes a whole network, whose output is that of the last layer. */
export function describeNetwork(
  input: readonly number[],
  name: string | undefined,
  layers: readonly Placed[],
): Described {
  const store = new TensorStore()
  const document = {
    format: 'lipbound-architecture',
    version: 1,
    name,
    input,
    layers: layers.map((placed) => describeLayer(placed, store)),
  }
  return { json: JSON.stringify(document), ...store.contents() }
}

/** Describes one layer by itself. */
export function describeSingleLayer(layer: Layer): Described {
  const store = new TensorStore()
  return { json: JSON.stringify(describeLayer({ layer, place: 'layer' }, store)), ...store.contents() }
}

/** Whether a value can be one of the layers the constructors give; what it says is checked by the native part. */
export function isLayer(value: unknown): value is Layer | BranchLayer {
  return (
    typeof value === 'object' &&
    value !== null &&
    'type' in value &&
    typeof value.type === 'string' &&
    'attributes' in value &&
    isRecord(value.attributes) &&
    'tensors' in value &&
    isRecord(value.tensors) &&
    Object.values(value.tensors).every(isTensor)
  )
}

/** Checks a list of layers. */
export function checkLayers(layers: unknown, where: string): readonly Layer[] {
  if (!Array.isArray(layers)) throw argumentError(`${where}: layers`, 'an array of layers', layers)
  if (layers.length === 0) {
    throw new InputError('ERR_LIPBOUND_MODEL', `${where}: the network is empty; it needs at least one layer`)
  }
  layers.forEach((layer: unknown, index) => {
    checkLayer(layer, `${where}: layers[${index}]`)
  })
  return layers as readonly Layer[]
}

/** Checks one layer. */
export function checkLayer(layer: unknown, subject: string): asserts layer is Layer | BranchLayer {
  if (isLayer(layer)) return
  const hint = typeof layer === 'function' ? ` (call it: ${layer.name}())` : ''
  throw argumentError(subject, `a layer, such as relu() gives${hint}`, layer)
}

function describeLayer(placed: Placed, store: TensorStore): Record<string, unknown> {
  const { layer, place, name: givenName = layer.name, inputs } = placed
  const references = Object.entries(layer.tensors).map(([field, tensor]) => {
    // By place and not by the layer's name, which the native part has yet to find unique.
    const name = `${place}.${field}`
    store.add(name, toNative(tensor))
    return [field, name] as const
  })
  for (const [field, value] of Object.entries(layer.attributes)) {
    // JSON would make a null of it, which reads like a field that was left out.
    const numbers = [value].flat().filter((entry) => typeof entry === 'number')
    const wrong = numbers.find((entry) => !Number.isFinite(entry))
    if (wrong !== undefined) throw argumentError(`${place}: attribute '${field}'`, 'finite', wrong)
  }
  return {
    ...layer.attributes,
    ...Object.fromEntries(references),
    type: layer.type,
    name: givenName,
    ...(inputs && { inputs }),
  }
}

class TensorStore {
  readonly #tensors = new Map<string, NativeTensor>()

  add(name: string, tensor: NativeTensor): void {
    this.#tensors.set(name, tensor)
  }

  contents(): { names: string[]; tensors: NativeTensor[] } {
    return { names: [...this.#tensors.keys()], tensors: [...this.#tensors.values()] }
  }
}

function isRecord(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
