/** The inputs of a command: the files that its words mean, and what is in them. */
import { open, readdir, stat } from 'node:fs/promises'
import { extname, isAbsolute, join } from 'node:path'

import { glob, isDynamicPattern } from 'tinyglobby'

import { InputError } from '../errors.js'
import { loadImage } from '../image.js'
import type { LoadImageOptions } from '../image.js'
import type { Network } from '../network.js'
import { loadTensor } from '../tensor.js'
import type { Tensor } from '../tensor.js'
import { showShape } from '../wording.js'
import { reasonOf } from './files.js'

/** What a picture is normalised by. */
export type PictureWords = Pick<LoadImageOptions, 'mean' | 'std'>

/** What inputs are called in a directory. Elsewhere names do not matter. */
const EXTENSIONS = ['.npy', '.png', '.jpg', '.jpeg']

/**
 * The files that some words mean: files are themselves, directories the arrays and pictures in them (not in their
 * directories), sorted, and patterns the files that match, sorted.
 *
 * @throws {@link InputError} `ERR_LIPBOUND_FILE` for a directory or pattern that means no file. A file that is not there
 *   is left to whoever opens it
 */
export async function findInputs(words: readonly string[]): Promise<string[]> {
  const found: string[] = []
  for (const word of words) found.push(...(await filesOf(word)))
  return found
}

async function filesOf(word: string): Promise<string[]> {
  const entry = await stat(word).catch(() => undefined)
  if (entry?.isDirectory()) {
    const files = (await readdir(word, { withFileTypes: true }))
      .filter((inside) => !inside.isDirectory() && !inside.name.startsWith('.'))
      .map(({ name }) => name)
      .filter((name) => EXTENSIONS.includes(extname(name).toLowerCase()))
      .sort()
    if (files.length === 0)
      throw nothing(`${word}: the directory has no ${EXTENSIONS.slice(0, -1).join(', ')} or ${EXTENSIONS.at(-1)} file`)
    return files.map((name) => join(word, name))
  }
  if (entry !== undefined || !isDynamicPattern(word)) return [word]
  const files = await glob(word, { absolute: isAbsolute(word), expandDirectories: false })
  if (files.length === 0) throw nothing(`${word}: no file has this name or matches this pattern`)
  return files.sort()
}

function nothing(message: string): InputError {
  return new InputError('ERR_LIPBOUND_FILE', `--input: ${message}`)
}

const BEGINNINGS = {
  array: [Buffer.from('\u0093NUMPY', 'latin1')],
  picture: [Buffer.from('\u0089PNG', 'latin1'), Buffer.from([0xff, 0xd8, 0xff])],
}

/**
 * Opens an input for a network: an array as it is; a picture with the channels of the network's input, which has to be
 * of its size, normalised.
 */
export async function openInput(
  path: string,
  { summary: { inputShape } }: Network,
  { mean, std }: PictureWords,
): Promise<Tensor> {
  const fail = (code: 'ERR_LIPBOUND_FILE' | 'ERR_LIPBOUND_SHAPE', what: string): InputError =>
    new InputError(code, `${path}: ${what}`)
  const start = await beginning(path)
  const isA = (kind: keyof typeof BEGINNINGS): boolean =>
    BEGINNINGS[kind].some((bytes) => start.subarray(0, bytes.length).equals(bytes))
  if (isA('array')) {
    if (mean !== undefined || std !== undefined) {
      throw fail(
        'ERR_LIPBOUND_FILE',
        '--mean and --std go with pictures; the numbers of an array are taken as they are',
      )
    }
    return loadTensor(path)
  }
  if (!isA('picture')) throw fail('ERR_LIPBOUND_FILE', 'an input is a .npy, PNG or JPEG file, and this is none of them')
  const [channels, height, width, ...rest] = inputShape
  const fits = (channels === 1 || channels === 3) && height !== undefined && width !== undefined && rest.length === 0
  if (!fits) {
    const taken = showShape(inputShape)
    throw fail(
      'ERR_LIPBOUND_SHAPE',
      `a picture has 1 or 3 channels, a height and a width, but the network takes ${taken}`,
    )
  }
  return loadImage(path, { channels, size: [height, width], mean, std })
}

/** The first bytes of a file. */
async function beginning(path: string): Promise<Buffer> {
  try {
    await using file = await open(path)
    const { buffer, bytesRead } = await file.read(Buffer.alloc(8), 0, 8, 0)
    return buffer.subarray(0, bytesRead)
  } catch (error) {
    throw new InputError('ERR_LIPBOUND_FILE', `${path}: cannot read the input: ${reasonOf(error)}`, { cause: error })
  }
}
