/**
 * From layers to the architecture format: a JSON document in which tensors stand by name, and the tensors.
 * The format is the one of model files, so that a network has one description wherever it comes from.
 */
import { InputError } from './errors.js'
import type { Layer } from './layers.js'
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

/** Describes a whole network. */
export function describeNetwork(
  input: readonly number[],
  name: string | undefined,
  layers: readonly Layer[],
): Described {
  const store = new TensorStore()
  const document = {
    format: 'lipbound-architecture',
    version: 1,
    name,
    input,
    layers: layers.map((layer, index) => describeLayer(layer, `layers[${index}]`, store)),
  }
  return { json: JSON.stringify(document), ...store.contents() }
}

/** Describes one layer by itself. */
export function describeSingleLayer(layer: Layer): Described {
  const store = new TensorStore()
  return { json: JSON.stringify(describeLayer(layer, 'layer', store)), ...store.contents() }
}

/** Whether a value can be one of the layers the constructors give; what it says is checked by the native part. */
export function isLayer(value: unknown): value is Layer {
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
    if (!isLayer(layer)) {
      const hint = typeof layer === 'function' ? ` (call it: ${layer.name}())` : ''
      throw argumentError(`${where}: layers[${index}]`, `a layer, such as relu() gives${hint}`, layer)
    }
  })
  return layers as readonly Layer[]
}

function describeLayer(layer: Layer, place: string, store: TensorStore): Record<string, unknown> {
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
  return { ...layer.attributes, ...Object.fromEntries(references), type: layer.type, name: layer.name }
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
