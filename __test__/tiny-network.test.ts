/**
 * The tiny network of Avant and Morgansen (arXiv 2008.06141): three inputs, one affine-ReLU function. Ratios are
 * compared in exact arithmetic, so there is nothing to tolerate; in floating point the authors' own tool fails this.
 */
import test from 'ava'

import { linear, relu, sequential } from '../dist/index.js'
import { spectralNorm } from './helpers/linalg.js'
import { createRandom, direction } from './helpers/random.js'

type Vector = readonly [bigint, bigint, bigint]

const A = [
  [3, -1, 2],
  [-2, 7, 1],
  [5, -3, -1],
] as const
const B = [3, 4, 2] as const
const CENTRE = [-0.5, 2.8, 2.1] as const

const EPSILONS = Array.from({ length: 30 }, (_, index) => 10 ** (-5 + (6 * index) / 29))

/** Numbers as multiples of 2^-52: exact for everything here. */
const SCALE = 2 ** 52

function exact(value: number): bigint {
  const scaled = value * SCALE
  if (!Number.isInteger(scaled)) throw new Error(`${value} is not a multiple of 2^-52`)
  return BigInt(scaled)
}

const vector = ([x, y, z]: readonly [number, number, number]): Vector => [exact(x), exact(y), exact(z)]
const minus = (a: Vector, b: Vector): Vector => [a[0] - b[0], a[1] - b[1], a[2] - b[2]]
const square = ([x, y, z]: Vector): bigint => x * x + y * y + z * z

function network(x: Vector): Vector {
  const unit = (row: 0 | 1 | 2): bigint => {
    const [a, b, c] = A[row]
    const sum = BigInt(a) * x[0] + BigInt(b) * x[1] + BigInt(c) * x[2] + exact(B[row])
    return sum > 0n ? sum : 0n
  }
  return [unit(0), unit(1), unit(2)]
}

/** A random point of the ball on a grid of 2^-48, on which every coordinate is exact. */
function point(epsilon: number, along: Float64Array, depth: number): Vector {
  const coordinate = (index: 0 | 1 | 2): number =>
    Math.round((CENTRE[index] + epsilon * depth * (along[index] ?? NaN)) * 2 ** 48) / 2 ** 48
  return vector([coordinate(0), coordinate(1), coordinate(2)])
}

/** The constant by the formula: the norm of R A, R the largest secant slopes over the ball. */
function byFormula(epsilon: number): number {
  const rows = A.map((row, index) => {
    const y = row.reduce((sum, entry, column) => sum + entry * (CENTRE[column] ?? NaN), B[index] ?? NaN)
    const dev = epsilon * Math.hypot(...row)
    const slope = y >= 0 ? 1 : Math.max(0, (y + dev) / dev)
    return Float64Array.from(row, (entry) => slope * entry)
  })
  return spectralNorm(rows)
}

const tiny = sequential({ input: [3] }, [linear({ weight: A, bias: B }), relu()])

for (const epsilon of EPSILONS) {
  test(`no sampled ratio exceeds the bound at epsilon ${epsilon.toExponential(3)}`, async (t) => {
    const { upper } = await tiny.bound(CENTRE, { epsilon })
    const centre = vector(CENTRE)
    const image = network(centre)
    const [limit, radius] = [exact(upper) ** 2n, exact(Math.ceil(epsilon * SCALE) / SCALE) ** 2n]
    const random = createRandom(7)
    let [inside, worst] = [0, 0]
    for (let drawn = 0; drawn < 10_000; drawn++) {
      const there = point(epsilon, direction(random, 3), drawn % 2 === 0 ? 1 - 1e-9 : random.uniform())
      const [moved, distance] = [square(minus(network(there), image)), square(minus(there, centre))]
      if (distance === 0n || distance > radius) continue
      inside++
      // |df| <= upper |dx|, squared and scaled
      if (moved * BigInt(SCALE) ** 2n > limit * distance) {
        t.fail(`the ratio at ${there.join(', ')} (times 2^-52) exceeds ${upper}`)
        return
      }
      worst = Math.max(worst, Math.sqrt(Number((moved * 1_000_000_000_000n) / distance) / 1e12))
    }
    t.true(inside > 5_000, `only ${inside} points were inside the ball`)
    t.true(worst > 0.5 * upper, `the best of ${inside} points attains ${worst} of ${upper}`)
  })
}

test('the bound is the value of the formula', async (t) => {
  const results = await tiny.bound(CENTRE, { epsilon: EPSILONS })
  for (const { epsilon, upper, product } of results) {
    const expected = byFormula(epsilon)
    t.true(upper >= expected * (1 - 1e-13), `${upper} at epsilon ${epsilon} is below ${expected}`)
    t.true(upper <= expected * (1 + 1e-9), `${upper} at epsilon ${epsilon} is above ${expected}`)
    t.true(product.lower <= expected * (1 + 1e-13))
  }
})

test('the bound grows with epsilon up to the global one', async (t) => {
  const results = await tiny.bound(CENTRE, { epsilon: EPSILONS })
  const { upper: whole } = await tiny.globalBound()
  const uppers = [...results.map(({ upper }) => upper), whole]
  uppers.slice(1).forEach((upper, index) => {
    t.true(upper >= (uppers[index] ?? NaN) * (1 - 1e-12))
  })
})
