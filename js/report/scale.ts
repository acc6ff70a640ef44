/** Ranges and ticks of axes, and how their numbers are written. */

/** A scale of an axis. */
export interface Range {
  readonly type: 'log' | 'linear'
  readonly domain: readonly [number, number]
}

/** Where an axis has its ticks, and what it says there. */
export interface Ticks {
  readonly values: readonly number[]
  readonly labels: readonly string[]
}

const isPositive = (value: number): boolean => value > 0 && Number.isFinite(value)

/**
 * A logarithmic range around all positive finite values, its ends round numbers. Others have no place on it; where no
 * value has one, it is a decade around 1.
 */
export function logRange(values: readonly number[]): Range {
  const within = values.filter(isPositive)
  const [least, most] = within.length === 0 ? [0.5, 2] : [smallest(within), largest(within)]
  return { type: 'log', domain: widen(roundDown(least), roundUp(most)) }
}

/** A single value stands in the middle of its range. */
const widen = (least: number, most: number): [number, number] => (least < most ? [least, most] : [least / 2, most * 2])

/** A logarithmic range whose ends are the data's, as epsilons have it. */
export function tightLogRange(values: readonly number[]): Range {
  const within = values.filter(isPositive)
  const [least, most] = within.length === 0 ? [0.1, 1] : [smallest(within), largest(within)]
  return { type: 'log', domain: widen(least, most) }
}

/** A linear range around all finite values. */
export function linearRange(values: readonly number[]): Range {
  const within = values.filter(Number.isFinite)
  const [least, most] = within.length === 0 ? [0, 1] : [smallest(within), largest(within)]
  return { type: 'linear', domain: least < most ? [least, most] : [least - 1, most + 1] }
}

export const smallest = (values: readonly number[]): number => values.reduce((a, b) => Math.min(a, b), Infinity)
export const largest = (values: readonly number[]): number => values.reduce((a, b) => Math.max(a, b), -Infinity)

/** Round numbers between the ends of a range, at most about `count` of them. */
export function ticks({ type, domain: [least, most] }: Range, count: number): Ticks {
  const values = type === 'linear' ? linearTicks(least, most, count) : logTicks(least, most, count)
  return { values, labels: values.map(showTick) }
}

function logTicks(least: number, most: number, count: number): number[] {
  const decades = Math.log10(most / least)
  // The finest that is not too fine: 1 2 3 4 ..., 1 2 5, 1 3, tens, every second power of ten, ...
  for (const digits of [[1, 2, 5], [1, 3], [1]]) {
    if (decades * digits.length <= count) {
      const found = multiples(least, most, digits, 1)
      if (found.length >= 3) return found
      if (digits.length === 3) return linearTicks(least, most, count)
    }
  }
  return multiples(least, most, [1], Math.ceil(decades / count))
}

function multiples(least: number, most: number, digits: readonly number[], step: number): number[] {
  const found: number[] = []
  for (let exponent = Math.floor(Math.log10(least)); exponent <= Math.log10(most); exponent += 1) {
    if (exponent % step !== 0) continue
    for (const digit of digits) {
      const value = Number(`${digit}e${exponent}`)
      if (value >= least * (1 - 1e-9) && value <= most * (1 + 1e-9)) found.push(value)
    }
  }
  return found
}

function linearTicks(least: number, most: number, count: number): number[] {
  const unit = roundUp((most - least) / count)
  const first = Math.ceil(least / unit - 1e-9)
  const last = Math.floor(most / unit + 1e-9)
  return Array.from({ length: last - first + 1 }, (_, index) => Number(((first + index) * unit).toPrecision(12)))
}

/** The next number of the form 1, 2 or 5 times a power of ten. */
function roundUp(value: number): number {
  const exponent = Math.floor(Math.log10(value))
  for (const digit of [1, 2, 5])
    if (Number(`${digit}e${exponent}`) >= value * (1 - 1e-9)) return Number(`${digit}e${exponent}`)
  return Number(`1e${exponent + 1}`)
}

function roundDown(value: number): number {
  const exponent = Math.floor(Math.log10(value))
  for (const digit of [5, 2])
    if (Number(`${digit}e${exponent}`) <= value * (1 + 1e-9)) return Number(`${digit}e${exponent}`)
  return Number(`1e${exponent}`)
}

/** A number on an axis: plain where it is short, with a power of ten where it is not. */
export function showTick(value: number): string {
  const size = Math.abs(value)
  if (value === 0 || (size >= 1e-3 && size < 1e5)) return minus(String(Number(value.toPrecision(6))))
  const [mantissa = '', exponent = ''] = value.toExponential().split('e')
  const power = `10${superscript(Number(exponent))}`
  return mantissa === '1' ? power : `${minus(mantissa)}×${power}`
}

/** Three digits, for values beside marks; `end` says to which side a bound is rounded. */
export function showShort(value: number, end: 'lower' | 'upper'): string {
  if (!Number.isFinite(value)) return '∞'
  const nearest = Number(value.toPrecision(3))
  const inward = end === 'upper' ? nearest < value : nearest > value
  if (!inward) return showTick(nearest)
  const unit = Number(`1e${Math.floor(Math.log10(Math.abs(value))) - 2}`)
  return showTick(Number((nearest + (end === 'upper' ? unit : -unit)).toPrecision(3)))
}

const minus = (text: string): string => text.replace('-', '−')

function superscript(exponent: number): string {
  return Array.from(String(exponent), (digit) => (digit === '-' ? '⁻' : '⁰¹²³⁴⁵⁶⁷⁸⁹'.charAt(Number(digit)))).join('')
}
