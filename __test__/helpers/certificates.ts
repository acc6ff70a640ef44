/** Certificates of random networks, ways to spoil them, and their digests as docs/certificate-format.md describes them. */
import { createHash } from 'node:crypto'

import type { Certificate, Network } from '../../dist/index.js'
import { build, realise } from './networks.js'
import type { NetworkPlan } from './networks.js'
import type { Random } from './random.js'

/** A network and what was certified of it. */
export interface CertifiedCase {
  plan: NetworkPlan
  certificates: Certificate[]
}

const RADII = [0, 1e-3, 0.1, 3]

export function networkOf(plan: NetworkPlan): Network {
  return build(realise(plan).spec)
}

/** Certificates of every kind of bound of the networks of some plans. */
export async function certifiedCases(plans: readonly NetworkPlan[]): Promise<CertifiedCase[]> {
  const cases: CertifiedCase[] = []
  for (const plan of plans) {
    const { spec, centre } = realise(plan)
    using network = build(spec)
    const input = { shape: spec.input, data: centre }
    const epsilon = RADII[cases.length % RADII.length] ?? 1
    const results = [
      await network.bound(input, { epsilon, certificate: true }),
      await network.bound(input, { epsilon, kind: 'uniform', certificate: true }),
      await network.bound(input, { epsilon, method: 'layerwise', certificate: true }),
      await network.globalBound({ certificate: true }),
    ]
    const certificates = results.flatMap(({ certificate }) => (certificate === undefined ? [] : [certificate]))
    cases.push({ plan, certificates })
  }
  return cases
}

/** The certificate with one number, anywhere in it, changed; and where. */
export function corrupted(certificate: Certificate, random: Random): [Certificate, string] {
  const copy = JSON.parse(JSON.stringify(certificate)) as Certificate
  const places: [holder: Record<string, unknown>, key: string, path: string][] = []
  const collect = (value: unknown, path: string): void => {
    if (typeof value !== 'object' || value === null) return
    const holder = value as Record<string, unknown>
    for (const [key, entry] of Object.entries(holder)) {
      if (typeof entry === 'number' && key !== 'version') places.push([holder, key, `${path}.${key}`])
      else collect(entry, `${path}.${key}`)
    }
  }
  collect(copy, 'certificate')
  const [holder, key, path] = places[random.integer(0, places.length - 1)] ?? [{}, '', '']
  const before = holder[key] as number
  // Counts and positions stay whole.
  const whole = key === 'height' || path.includes('.candidates')
  const factor = 1 + random.gaussian() * 10 ** random.integer(-9, 0)
  holder[key] = whole || before === 0 ? before + 1 : before * factor
  return [copy, holder[key] === before ? '' : path]
}

/** The pieces of a description. */
class Description {
  readonly #hash = createHash('sha256')

  get digest(): string {
    return this.#hash.copy().digest('hex')
  }

  size(count: number): this {
    const bytes = Buffer.alloc(8)
    bytes.writeBigUInt64LE(BigInt(count))
    this.#hash.update(bytes)
    return this
  }

  word(text: string): this {
    const bytes = Buffer.from(text)
    this.size(bytes.length).#hash.update(bytes)
    return this
  }

  sizes(counts: readonly number[]): this {
    this.size(counts.length)
    for (const count of counts) this.size(count)
    return this
  }

  number(value: number | null): this {
    const bytes = Buffer.alloc(8)
    bytes.writeDoubleLE((value ?? Infinity) + 0)
    this.#hash.update(bytes)
    return this
  }

  numbers(values: readonly number[]): this {
    this.size(values.length)
    for (const value of values) this.number(value)
    return this
  }
}

/** The digest of the content of a certificate. */
export function contentDigest(certificate: Certificate): string {
  const { network, kind, epsilon, centre, paths, upper, stages } = certificate
  const content = new Description().word('lipbound certificate 1').word(network).word(kind)
  content.number(epsilon).numbers(centre).size(Number(paths)).number(upper).size(stages.length)
  for (const { name, norm, slopes, candidates = [], whole, gain, radius } of stages) {
    content.word(name).size(norm === undefined ? 0 : 1)
    if (norm !== undefined) content.number(norm)
    content.numbers(slopes?.low ?? []).numbers(slopes?.high ?? [])
    content.size(candidates.length)
    for (const window of candidates) content.sizes(window)
    content.size(whole === undefined ? 0 : 1)
    if (whole !== undefined) {
      content.number(whole.kappa).size(whole.height).number(whole.sigma).number(whole.bound).numbers(whole.weights)
    }
    content.number(gain).number(radius)
  }
  return content.digest
}

/** What a forger would do: the certificate with the digest that its content has. */
export function sealed(certificate: Certificate): Certificate {
  return { ...certificate, digest: contentDigest(certificate) }
}

/** The digest of a chain of two dense layers with biases and a rectifier between them. */
export function networkDigest(input: number, layers: readonly { weight: number[][]; bias: number[] }[]): string {
  const content = new Description()
    .word('lipbound network 1')
    .sizes([input])
    .size(2 * layers.length - 1)
  layers.forEach(({ weight, bias }, index) => {
    const rows = weight.length
    if (index > 0) {
      content
        .sizes([2 * index - 1])
        .sizes([weight[0]?.length ?? 0])
        .word('relu')
    }
    content
      .sizes([2 * index])
      .sizes([rows])
      .word('affine')
      .word('dense')
    content.sizes([rows, weight[0]?.length ?? 0]).numbers(weight.flat())
    content.size(1).numbers(bias).size(0)
  })
  return content.digest
}
