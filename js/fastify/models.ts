/** The models of a service: those of a directory, by name. A name from outside is looked up and never becomes a path. */
import { readFile, readdir } from 'node:fs/promises'
import { join, parse } from 'node:path'

import { InputError } from '../errors.js'
import { loadModel } from '../model.js'
import type { Network } from '../network.js'

/** A model that is ready. */
export interface ServedModel {
  readonly name: string
  readonly network: Network
  /** {@link Network.digest}. */
  readonly digest: string
}

/** The models of a service, by name. */
export type ServedModels = ReadonlyMap<string, ServedModel>

/** Networks that are there already, under their names. */
export function toModels(networks: Readonly<Record<string, Network>>): ServedModels {
  return new Map(Object.entries(networks).map(([name, network]) => [name, toModel(name, network)]))
}

const toModel = (name: string, network: Network): ServedModel => ({ name, network, digest: network.digest })

/**
 * Loads all models of a directory: each `.onnx` file, and each `.json` file that is an architecture, under its name without
 * the extension. Other files, those of weights among them, are left alone, and so is what begins with a dot.
 *
 * @throws {@link InputError} (by rejection) `ERR_LIPBOUND_FILE` if the directory cannot be read or has no model, or two of
 *   one name; what `loadModel` throws for a model that cannot be loaded
 */
export async function loadModels(directory: string, signal?: AbortSignal): Promise<ServedModels> {
  const models = new Map<string, ServedModel>()
  for (const file of await modelFiles(directory)) {
    const { name } = parse(file)
    if (models.has(name)) throw new InputError('ERR_LIPBOUND_FILE', `${directory} has two models of the name ${name}`)
    models.set(name, toModel(name, await loadModel(join(directory, file), { signal })))
  }
  if (models.size === 0) {
    throw new InputError('ERR_LIPBOUND_FILE', `${directory} has no model: no .onnx file, and no architecture (.json)`)
  }
  return models
}

async function modelFiles(directory: string): Promise<string[]> {
  let names: string[]
  try {
    names = (await readdir(directory)).sort()
  } catch (error) {
    const reason = error instanceof Error ? error.message : String(error)
    throw new InputError('ERR_LIPBOUND_FILE', `${directory}: cannot read the directory of models: ${reason}`, {
      cause: error,
    })
  }
  const found: string[] = []
  for (const file of names.filter((name) => !name.startsWith('.'))) {
    const extension = parse(file).ext.toLowerCase()
    if (extension === '.onnx' || (extension === '.json' && (await isArchitecture(join(directory, file))))) {
      found.push(file)
    }
  }
  return found
}

/** JSON files may be anything; architectures say that they are. */
async function isArchitecture(path: string): Promise<boolean> {
  try {
    const document = JSON.parse(await readFile(path, 'utf8')) as { format?: unknown } | null
    return document?.format === 'lipbound-architecture'
  } catch {
    return false
  }
}
