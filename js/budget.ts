/** What computations may take of memory, and how many of them fit. */
import type { BoundMethod } from './bound.js'
import { InputError } from './errors.js'
import type { Guarantee, NetworkSummary, PredictedMemory } from './results.js'

/** The options that decide what a computation takes. */
interface Asked {
  readonly method?: BoundMethod | undefined
  readonly guarantee?: 'auto' | Guarantee | undefined
  readonly functionals?: readonly unknown[] | undefined
}

/** Bytes that a computation takes at most; `Infinity` where nobody knows. */
export function demandOf(
  { memory }: Pick<NetworkSummary, 'memory'>,
  what: 'bound' | 'radius',
  { method, guarantee, functionals = [] }: Asked,
): number {
  if (guarantee === 'deterministic') return Infinity
  // Certificates keep a search for each of them.
  if (functionals.length > 0 && method !== 'layerwise') return Infinity
  if (what === 'radius') return memory.radius
  return method === 'layerwise' ? memory.layerwise : memory.certificate
}

/** Computations that fit into the memory there is for them. */
export class Budget {
  /** How many of them are worked on at a time. */
  readonly concurrency: number
  readonly #where: string
  /** Bytes for each of them, where somebody has said how many there are. */
  readonly #share: number | undefined

  /**
   * @param where - the method that was called, as messages name it
   * @param memory - what is predicted for the network
   * @param each - bytes that one computation takes at most
   * @param most - computations at a time, if memory is no matter
   * @param limit - bytes for all together; without it nothing is refused
   * @throws {@link InputError} `ERR_LIPBOUND_LIMIT` where not even one fits
   */
  constructor(where: string, memory: PredictedMemory, each: number, most: number, limit: number | undefined) {
    this.#where = where
    const left = limit === undefined ? process.availableMemory() / 2 : limit - memory.network
    // What is not known keeps nobody from trying, unless there is a limit, which then refuses it.
    this.concurrency = Math.min(most, Number.isFinite(each) ? Math.max(1, Math.floor(left / each)) : most)
    this.#share = limit === undefined ? undefined : left / this.concurrency
    this.check(each, limit)
  }

  /**
   * Whether a computation fits.
   *
   * @throws {@link InputError} `ERR_LIPBOUND_LIMIT`
   */
  check(bytes: number, limit?: number): void {
    if (this.#share === undefined || bytes <= this.#share) return
    const allowed = limit === undefined ? 'leaves' : `is ${limit} bytes and leaves`
    const needed = Number.isFinite(bytes)
      ? `a computation may take ${bytes} bytes`
      : "what guarantee: 'deterministic' takes, or certificates of functionals, is not known in advance"
    const message = `${this.#where}: ${needed}, but option 'memoryLimit' ${allowed} ${Math.max(0, Math.floor(this.#share))}`
    throw new InputError('ERR_LIPBOUND_LIMIT', message)
  }
}
