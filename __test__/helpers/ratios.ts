/**
 * Ratios a network attains, as numbers that are certainly not too large: what is left of
 * `|f(x) - f(x')| / |x - x'|` when every rounding error has been taken against it.
 */
import { createRandom, direction, euclidean } from './random.js'
import type { Random } from './random.js'
import { forward } from './reference.js'
import type { NetworkSpec } from './reference.js'

/** Pays for the roundings in norms, differences and the quotient: some hundred, each 1.1e-16. */
const MARGIN = 1e-13

/** Points are drawn this much inside the ball, so that rounding does not push them out of it. */
const INSIDE = 1 - 1e-6

/** A lower bound, in real arithmetic, of the ratio at two points. */
export function attained(spec: NetworkSpec, here: Float64Array, there: Float64Array): number {
  const [a, b] = [forward(spec, here), forward(spec, there)]
  const distance = euclidean(here.map((entry, index) => entry - at(there, index))) * (1 + MARGIN)
  if (distance === 0) return 0
  const moved = euclidean(a.value.map((entry, index) => entry - at(b.value, index))) * (1 - MARGIN)
  const doubt = (euclidean(a.error) + euclidean(b.error)) * (1 + MARGIN)
  return Math.max(0, moved - doubt) / distance
}

/** The same for a linear functional of the output. */
export function attainedBy(
  functional: readonly number[],
  spec: NetworkSpec,
  here: Float64Array,
  there: Float64Array,
): number {
  const [a, b] = [forward(spec, here), forward(spec, there)]
  const distance = euclidean(here.map((entry, index) => entry - at(there, index))) * (1 + MARGIN)
  if (distance === 0) return 0
  let [moved, doubt] = [0, 0]
  functional.forEach((coefficient, index) => {
    moved += coefficient * (at(a.value, index) - at(b.value, index))
    const size = Math.abs(at(a.value, index)) + Math.abs(at(b.value, index))
    doubt += Math.abs(coefficient) * (at(a.error, index) + at(b.error, index) + MARGIN * size)
  })
  return Math.max(0, Math.abs(moved) - doubt * (1 + MARGIN)) / distance
}

/** Points of the ball: random ones at all depths, and those along the steepest direction at the centre. */
export function* pointsOfBall(
  spec: NetworkSpec,
  centre: Float64Array,
  epsilon: number,
  count: number,
  random: Random,
): Generator<Float64Array> {
  const away = (along: Float64Array, radius: number): Float64Array =>
    centre.map((entry, index) => entry + radius * at(along, index))
  for (let drawn = 0; drawn < count; drawn++) {
    const depth = drawn % 2 === 0 ? 1 : random.uniform()
    yield away(direction(random, centre.length), epsilon * INSIDE * depth)
  }
  for (const probe of [epsilon / 2, epsilon / 1000]) {
    const steepest = steepestDirection(spec, centre, probe)
    for (const radius of [-1, 1, -0.1, 0.1]) yield away(steepest, radius * epsilon * INSIDE)
  }
}

/** The top right singular direction of the matrix of difference quotients at the centre, by power iteration. */
function steepestDirection(spec: NetworkSpec, centre: Float64Array, width: number): Float64Array {
  const origin = forward(spec, centre).value
  const columns = Array.from(centre, (_, moved) => {
    const there = centre.map((entry, index) => (index === moved ? entry + width : entry))
    return forward(spec, there).value.map((entry, index) => (entry - at(origin, index)) / width)
  })
  let along = direction(createRandom(1), centre.length)
  for (let step = 0; step < 50; step++) {
    const image = origin.map((_, row) =>
      columns.reduce((sum, column, index) => sum + at(column, row) * at(along, index), 0),
    )
    const back = Float64Array.from(columns, (column) =>
      column.reduce((sum, entry, row) => sum + entry * at(image, row), 0),
    )
    const length = euclidean(back)
    if (length === 0) return along
    along = back.map((entry) => entry / length)
  }
  return along
}

function at(array: Float64Array, index: number): number {
  return array[index] ?? NaN
}
