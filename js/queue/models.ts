/** The models of a worker: those in a directory, or some files, or networks that are there already. */
import { readFile, readdir, stat } from 'node:fs/promises'
import { extname, join } from 'node:path'

import { InputError } from '../errors.js'
import { loadModel } from '../model.js'
import { Network } from '../network.js'
import { filePath } from '../tensor.js'

/** A network that a worker answers for. */
export interface WorkerModel {
  readonly network: Network
  readonly digest: string
  /** The file that it came from. */
  readonly file?: string
}

/** Where a worker has its models from: model files, directories that hold some, networks. */
export type ModelSource = string | URL | Network

/**
 * Loads models, each once.
 *
 * @throws {@link InputError} `ERR_LIPBOUND_FILE` for a directory that cannot be read or holds no model, and what
 *   `loadModel` throws for a file
 */
export async function loadModels(where: string, sources: readonly ModelSource[]): Promise<WorkerModel[]> {
  const models = new Map<string, WorkerModel>()
  try {
    for (const source of sources) {
      for (const model of await modelsOf(where, source)) {
        if (!models.has(model.digest)) models.set(model.digest, model)
        else if (model.file !== undefined) model.network.dispose()
      }
    }
  } catch (error) {
    disposeModels([...models.values()])
    throw error
  }
  return [...models.values()]
}

/** Frees the networks that came from files; others belong to whoever made them. */
export function disposeModels(models: readonly WorkerModel[]): void {
  for (const { network, file } of models) if (file !== undefined) network.dispose()
}

async function* eachFile(where: string, path: string): AsyncGenerator<string, void, undefined> {
  const entry = await stat(path).catch(() => undefined)
  if (entry?.isDirectory() !== true) {
    // What is not there is for whoever opens it to say.
    yield path
    return
  }
  const names = (await readdir(path)).filter((name) => !name.startsWith('.')).sort()
  let found = 0
  for (const name of names) {
    const file = join(path, name)
    if (!(await isModel(file))) continue
    found += 1
    yield file
  }
  if (found === 0) {
    const message = `${where}: ${path} holds no model: no .onnx file, and no .json file that is an architecture`
    throw new InputError('ERR_LIPBOUND_FILE', message)
  }
}

async function modelsOf(where: string, source: ModelSource): Promise<WorkerModel[]> {
  if (source instanceof Network) return [{ network: source, digest: source.digest }]
  const models: WorkerModel[] = []
  try {
    for await (const file of eachFile(where, filePath(source, `${where}: option 'models'`))) {
      const network = await loadModel(file)
      models.push({ network, digest: network.digest, file })
    }
  } catch (error) {
    disposeModels(models)
    throw error
  }
  return models
}

/** Whether a file of a directory is meant as a model; other JSON may lie beside models. */
async function isModel(file: string): Promise<boolean> {
  switch (extname(file).toLowerCase()) {
    case '.onnx':
      return true
    case '.json':
      return (await readFile(file, 'utf8')).includes('"lipbound-architecture"')
    default:
      return false
  }
}
