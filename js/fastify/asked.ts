/** What requests ask for, against what they may ask for. */
import { InputError } from '../errors.js'
import { argumentError } from '../options.js'
import type { Task } from '../request.js'
import { isObject } from './json.js'
import type { ServiceLimits } from './limits.js'

/** Dimensions of a tensor. */
const MOST_DIMENSIONS = 32

/**
 * Takes the input from the options.
 *
 * @param body - what came
 * @throws {@link InputError} `ERR_LIPBOUND_ARGUMENT` if it is no object with an input
 */
export function splitRequest(body: unknown, subject: string): { input: unknown; options: Record<string, unknown> } {
  if (!isObject(body)) throw argumentError(subject, 'an object with an input', body)
  if (!Object.hasOwn(body, 'input')) throw new InputError('ERR_LIPBOUND_ARGUMENT', `${subject} has no input`)
  const { input, ...options } = body
  return { input, options }
}

/**
 * Refuses what asks for too much. Whether values are what they have to be is checked where they are used.
 *
 * @throws {@link InputError} `ERR_LIPBOUND_LIMIT`
 */
export function checkAsked(task: Task, options: Readonly<Record<string, unknown>>, limits: ServiceLimits): void {
  const { epsilon, functionals, inputBox } = options
  atMost(`${task}: epsilons`, lengthOf(epsilon), limits.epsilons)
  atMost(`${task}: functionals`, lengthOf(functionals), limits.functionals)
  for (const name of ['maxSteps', 'restarts', 'attackSteps'] as const) {
    const asked = options[name]
    if (typeof asked === 'number') atMost(`${task}: ${name}`, asked, limits[name])
  }
  if (isObject(inputBox)) for (const end of Object.values(inputBox)) checkDimensions(`${task}: inputBox`, end)
}

/** The same of an input: shapes are multiplied and shown, and need not be longer than any network's. */
export function checkDimensions(subject: string, input: unknown): void {
  if (isObject(input)) atMost(`${subject}: dimensions`, lengthOf(input['shape']), MOST_DIMENSIONS)
}

const lengthOf = (value: unknown): number => (Array.isArray(value) ? value.length : 0)

function atMost(what: string, asked: number, limit: number): void {
  if (asked <= limit) return
  throw new InputError('ERR_LIPBOUND_LIMIT', `${what}: at most ${limit} may be asked for, not ${asked}`)
}
