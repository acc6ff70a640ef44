/** The right classes of inputs: one for all, or those of a file. */
import { readFile } from 'node:fs/promises'

import { InputError } from '../errors.js'
import { reasonOf } from './files.js'

/** The options of a command that takes labels. */
export interface LabelWords {
  label?: number
  labels?: string
}

/**
 * The label of each input; undefined where none is given.
 *
 * @param inputs - how many there are
 * @throws {@link InputError} `ERR_LIPBOUND_FILE` if `--labels` cannot be read or has not one class a line for each input.
 *   Whether a network has such a class is for it to say
 */
export async function readLabels({ label, labels }: LabelWords, inputs: number): Promise<(number | undefined)[]> {
  if (labels === undefined) return Array<number | undefined>(inputs).fill(label)
  const fail = (what: string, cause?: unknown): InputError =>
    new InputError('ERR_LIPBOUND_FILE', `--labels: ${labels}${what}`, { cause })
  let text: string
  try {
    text = await readFile(labels, 'utf8')
  } catch (error) {
    throw fail(` cannot be read: ${reasonOf(error)}`, error)
  }
  const lines = text.trimEnd().split(/\r?\n/)
  const wrong = lines.findIndex((line) => !/^\s*\d+\s*$/.test(line))
  if (wrong >= 0) throw fail(`, line ${wrong + 1}: a line must be a class, a number from 0, got '${lines[wrong]}'`)
  if (lines.length !== inputs) throw fail(` must have a line for each input, ${inputs} in all, got ${lines.length}`)
  return lines.map(Number)
}
