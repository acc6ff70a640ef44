/** Reproducible random numbers, so that a failing case can be had again from its seed. */

/** Uniform numbers in [0, 1) and what is made of them. */
export interface Random {
  uniform(): number
  gaussian(): number
  integer(from: number, to: number): number
}

/** A generator (mulberry32) that gives the same numbers for the same seed. */
export function createRandom(seed: number): Random {
  let state = seed >>> 0
  const uniform = (): number => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
  return {
    uniform,
    gaussian: () => Math.sqrt(-2 * Math.log(1 - uniform())) * Math.cos(2 * Math.PI * uniform()),
    integer: (from, to) => from + Math.floor(uniform() * (to - from + 1)),
  }
}

/** A random point on the unit sphere. */
export function direction(random: Random, size: number): Float64Array {
  for (;;) {
    const point = Float64Array.from({ length: size }, () => random.gaussian())
    const length = euclidean(point)
    if (length > 0) return point.map((entry) => entry / length)
  }
}

/** The l2 norm. */
export function euclidean(vector: Iterable<number>): number {
  let sum = 0
  for (const entry of vector) sum += entry * entry
  return Math.sqrt(sum)
}
