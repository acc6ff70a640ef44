/** Files that commands write beside what they print. */
import { constants } from 'node:fs'
import { access, stat, writeFile } from 'node:fs/promises'
import { dirname } from 'node:path'

import { InputError } from '../errors.js'

/**
 * Refuses a file that cannot be written before hours of work go into what it should hold. Nothing is written yet, and
 * a disk may still be full in the end.
 *
 * @param option - the option that names the file, as messages call it
 * @param file - its path; nothing is checked where there is none
 * @throws {@link InputError} `ERR_LIPBOUND_FILE`
 */
export async function checkWritable(option: string, file: string | undefined): Promise<void> {
  if (file === undefined) return
  const fail = (why: string, cause?: unknown): InputError =>
    new InputError('ERR_LIPBOUND_FILE', `${option}: ${file} cannot be written: ${why}`, { cause })
  const there = await stat(file).catch(() => undefined)
  if (there?.isDirectory()) throw fail('it is a directory')
  try {
    await access(there === undefined ? dirname(file) : file, constants.W_OK)
  } catch (error) {
    throw fail(reasonOf(error), error)
  }
}

/**
 * Writes a file.
 *
 * @param what - how messages call its content
 * @throws {@link InputError} `ERR_LIPBOUND_FILE`
 */
export async function writeOutput(file: string, content: string | Uint8Array, what: string): Promise<void> {
  try {
    await writeFile(file, content)
  } catch (error) {
    throw new InputError('ERR_LIPBOUND_FILE', `${file}: cannot write ${what}: ${reasonOf(error)}`, { cause: error })
  }
}

/** What an exception says. */
export function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error)
}
