/**
 * Validation of arguments and options, in one place, so that every message reads alike: it names the
 * option, says what is allowed and shows what came instead.
 */
import { inspect } from 'node:util'

import { InputError } from './errors.js'

/**
 * Accepts a value or throws. `subject` is how messages call the value, for instance
 * `conv2d: option 'stride'`.
 */
export type Check<Value> = (value: unknown, subject: string) => Value

/** One check for every option a function takes. */
export type Specification = Readonly<Record<string, Check<unknown>>>

/** What {@link parseOptions} returns: each option as its check returned it. */
export type Parsed<S extends Specification> = { [Key in keyof S]: ReturnType<S[Key]> }

/**
 * Checks an options object against a specification.
 *
 * @param where - the function the options were given to, as messages name it
 * @param options - what the caller gave
 * @param specification - the options there are
 * @throws {@link InputError} `ERR_LIPBOUND_ARGUMENT` for an unknown option or a value that is not allowed
 */
export function parseOptions<S extends Specification>(where: string, options: unknown, specification: S): Parsed<S> {
  if (typeof options !== 'object' || options === null || Array.isArray(options) || ArrayBuffer.isView(options)) {
    throw argumentError(`${where}: options`, 'an object', options)
  }
  for (const key of Object.keys(options)) {
    if (!Object.hasOwn(specification, key)) {
      const allowed = Object.keys(specification).join(', ')
      throw new InputError('ERR_LIPBOUND_ARGUMENT', `${where}: unknown option '${key}'; the options are ${allowed}`)
    }
  }
  const given = options as Readonly<Record<string, unknown>>
  const entries = Object.entries(specification).map(([key, check]) => [
    key,
    check(given[key], `${where}: option '${key}'`),
  ])
  return Object.fromEntries(entries) as Parsed<S>
}

/** The error for a value that is not what it has to be. */
export function argumentError(subject: string, allowed: string, value: unknown): InputError {
  return new InputError('ERR_LIPBOUND_ARGUMENT', `${subject} must be ${allowed}, got ${show(value)}`)
}

/** A value as a message shows it: recognisable and short. */
export function show(value: unknown): string {
  const text = inspect(value, { depth: 1, maxArrayLength: 8, maxStringLength: 60, breakLength: Infinity })
  return text.length > 120 ? `${text.slice(0, 117)}...` : text
}

/** Makes a check from a predicate and a phrase that completes "must be". */
export function expecting<Value>(allowed: string, accepts: (value: unknown) => value is Value): Check<Value> {
  return (value, subject) => {
    if (!accepts(value)) throw argumentError(subject, allowed, value)
    return value
  }
}

/** The same check, but the option may be left out. */
export function optional<Value>(check: Check<Value>): Check<Value | undefined> {
  return (value, subject) => (value === undefined ? undefined : check(value, subject))
}

/** One of a few words. */
export function oneOf<const Word extends string>(...words: Word[]): Check<Word> {
  const allowed = `one of ${words.map((word) => `'${word}'`).join(', ')}`
  return expecting(allowed, (value): value is Word => (words as readonly unknown[]).includes(value))
}

/** A number for which `accepts` holds; never NaN. */
export function number(allowed: string, accepts: (value: number) => boolean): Check<number> {
  return expecting(allowed, (value): value is number => isNumber(value) && accepts(value))
}

const isNumber = (value: unknown): value is number => typeof value === 'number' && !Number.isNaN(value)
const isPositiveInteger = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) > 0
const isCount = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0

export const text = expecting(
  'a non-empty string',
  (value): value is string => typeof value === 'string' && value !== '',
)
export const flag = expecting('true or false', (value): value is boolean => typeof value === 'boolean')
export const positiveInteger = expecting('a positive integer', isPositiveInteger)
export const count = expecting('a non-negative integer', isCount)
export const finite = number('a finite number', Number.isFinite)
export const nonNegative = number('a finite number >= 0', (value) => Number.isFinite(value) && value >= 0)
export const positive = number('a finite number > 0', (value) => Number.isFinite(value) && value > 0)

/** A function, whatever it takes. */
export function callback<Callback>(): Check<Callback> {
  return expecting('a function', (value): value is Callback => typeof value === 'function')
}

/** An `AbortSignal`, of this realm or another. */
export const signal = expecting('an AbortSignal', isAbortSignal)

export function isAbortSignal(value: unknown): value is AbortSignal {
  return (
    typeof value === 'object' &&
    value !== null &&
    'aborted' in value &&
    typeof value.aborted === 'boolean' &&
    'addEventListener' in value &&
    typeof value.addEventListener === 'function'
  )
}

/** The extents of a tensor. */
export const shape = expecting(
  'an array of positive integers',
  (value): value is readonly number[] => Array.isArray(value) && value.length > 0 && value.every(isPositiveInteger),
)

/** An order of axes. That it names each axis of the input once is checked by the native part. */
export const axes = expecting(
  'an array of non-negative integers',
  (value): value is readonly number[] => Array.isArray(value) && value.length > 0 && value.every(isCount),
)

/** One size for both directions, or `[height, width]`. */
export const sizes = expecting(
  'a positive integer or [height, width], both positive integers',
  (value): value is number | readonly [number, number] =>
    isPositiveInteger(value) || (Array.isArray(value) && value.length === 2 && value.every(isPositiveInteger)),
)

/** One margin for both directions, or `[vertical, horizontal]`. */
export const margin = expecting(
  'a non-negative integer or [height, width], both non-negative integers',
  (value): value is number | readonly [number, number] =>
    isCount(value) || (Array.isArray(value) && value.length === 2 && value.every(isCount)),
)

/** One margin for all sides, `[vertical, horizontal]`, or each side by itself. */
export const margins = expecting(
  'a non-negative integer, [height, width] or [top, left, bottom, right], all non-negative integers',
  (value): value is number | readonly [number, number] | readonly [number, number, number, number] =>
    isCount(value) || (Array.isArray(value) && (value.length === 2 || value.length === 4) && value.every(isCount)),
)

/** Numbers that lie in an ordinary or typed array, as a copy in double precision. */
export function numbers(allowed: string, accepts: (value: number) => boolean): Check<Float64Array> {
  return (value, subject) => {
    if (!isNumberArray(value)) throw argumentError(subject, allowed, value)
    const copy = Float64Array.from(value)
    const wrong = copy.findIndex((entry) => !accepts(entry))
    if (wrong >= 0) throw argumentError(`${subject}[${wrong}]`, allowed, value[wrong])
    return copy
  }
}

function isNumberArray(value: unknown): value is ArrayLike<number> & Iterable<number> {
  if (Array.isArray(value)) return value.every((entry) => typeof entry === 'number')
  return ArrayBuffer.isView(value) && !(value instanceof DataView) && typeof (value as Uint8Array)[0] !== 'bigint'
}
