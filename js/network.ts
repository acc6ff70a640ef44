/** Networks, and the bounds of their Lipschitz constants. */
import { toBoundResult, toSweepPoint } from './answers.js'
import { checkLayers, describeNetwork } from './architecture.js'
import type { Described } from './architecture.js'
import { batch, parseBatch } from './batch.js'
import type { BatchOutcome, BatchSource } from './batch.js'
import { boundSpecification, kindOfBall, nativeBoundOptions, radii } from './bound.js'
import type { BoundAnswer, BoundItemOptions, BoundOptions, BoundsOptions, GlobalBoundOptions } from './bound.js'
import { demandOf } from './budget.js'
import { run, throwIfAborted } from './cancellation.js'
import type { RunOptions, Start } from './cancellation.js'
import { certificateText } from './certificate.js'
import type { Certificate, CheckOptions } from './certificate.js'
import type { Operation } from './diagnostics.js'
import { InputError, fromNative } from './errors.js'
import type { Layer } from './layer.js'
import { native } from './native.js'
import type { NativeNetwork } from './native.js'
import { nativeNormOptions, normSpecification } from './norm.js'
import { optional, parseOptions, shape, text } from './options.js'
import { nativeRadiusOptions, radiusSpecification, toRadiusResult } from './radius.js'
import type { RadiiOptions, RadiusOptions, RadiusResult } from './radius.js'
import type { BoundResult, CheckResult, NetworkSummary } from './results.js'
import { epsilonsOf, sweepSpecification } from './sweep.js'
import type { SweepOptions, SweepResult } from './sweep.js'
import { toNative, toTensor } from './tensor.js'
import type { Tensor, TensorLike } from './tensor.js'

/** Options of {@link sequential}. */
export interface SequentialOptions {
  /** Shape of one input, without a batch dimension: `[channels, height, width]` or `[entries]`. */
  input: readonly number[]
  /** Name of the network. */
  name?: string | undefined
}

/**
 * A network, held in native memory.
 *
 * Made by {@link sequential}, `graph` or `loadModel`. Memory is freed when the object is collected, or at once by
 * {@link Network.dispose}; `using net = ...` does that at the end of the block.
 */
export class Network {
  /** What the network is made of. Stays readable after {@link Network.dispose}. */
  readonly summary: NetworkSummary

  readonly #native: NativeNetwork

  private constructor(handle: NativeNetwork) {
    this.#native = handle
    this.summary = handle.summary()
  }

  /**
   * Takes over a native network.
   *
   * @internal
   */
  static of(handle: NativeNetwork): Network {
    return new Network(handle)
  }

  /** Whether {@link Network.dispose} has been called. */
  get disposed(): boolean {
    return this.#native.disposed
  }

  /**
   * SHA-256, in hexadecimal, of what the network computes: its graph, its shapes and every coefficient, bit for bit.
   * Names do not count, nor does whether weights came in single or double precision. Certificates name their network
   * by it. The first reading hashes all weights, which takes about a second for 10^8 of them.
   *
   * @throws {@link InputError} `ERR_LIPBOUND_DISPOSED` after {@link Network.dispose}
   */
  get digest(): string {
    return this.#alive().digest()
  }

  /**
   * Bounds a local Lipschitz constant of the network around an input: docs/bounds.md has the choices, docs/certificate.md and
   * docs/soundness.md the mathematics.
   *
   * The upper end holds for the network in real arithmetic, its weights being exactly what they are. The work runs
   * in native threads; the event loop stays free.
   *
   * @param input - the centre of the ball, of the shape of the network's input; a batch of one, with a 1 before that
   *   shape, is taken as well
   * @param options - the radius, and how to go about it
   * @returns a promise of the bound; of an array of them, in the order asked, where `epsilon` is an array
   * @throws {@link InputError} (by rejection) `ERR_LIPBOUND_ARGUMENT` for an unknown or malformed option,
   *   `ERR_LIPBOUND_SHAPE` for an input of another shape, `ERR_LIPBOUND_VALUE` for one that is not finite,
   *   `ERR_LIPBOUND_DISPOSED` after {@link Network.dispose}; `signal.reason` when aborted
   *
   * @example
   * ```ts
   * const { upper, lower } = await net.bound(x, { epsilon: 0.05 })
   * const curve = await net.bound(x, { epsilon: [0.01, 0.1, 1] })
   * // how fast the first output of three can overtake the second
   * const { functionals } = await net.bound(x, { epsilon: 0.05, functionals: [[1, -1, 0]] })
   * ```
   */
  bound(input: TensorLike, options: BoundOptions & { epsilon: number }): Promise<BoundResult>
  bound(input: TensorLike, options: BoundOptions & { epsilon: readonly number[] }): Promise<BoundResult[]>
  bound(input: TensorLike, options: BoundOptions): Promise<BoundResult | BoundResult[]>
  async bound(input: TensorLike, options: BoundOptions): Promise<BoundResult | BoundResult[]> {
    throwIfAborted(options)
    const parsed = parseOptions('bound', options, {
      ...boundSpecification,
      epsilon: radii,
      kind: kindOfBall,
    })
    const centre = toNative(toTensor(input, 'bound: input'))
    const ball = { epsilons: [parsed.epsilon].flat(), kind: parsed.kind ?? 'centred' }
    const request = nativeBoundOptions(parsed)
    const found = await this.#run('bound', parsed, (token, onProgress) =>
      this.#alive().bound(centre, ball, request, token, onProgress),
    )
    const results = found.map((result) => toBoundResult(result, this.summary))
    if (typeof parsed.epsilon !== 'number') return results
    const [only] = results
    if (only === undefined) throw fromNative(new Error('no result for the one epsilon asked'))
    return only
  }

  /**
   * Bounds local Lipschitz constants around many inputs, several at a time.
   *
   * Inputs are read as there is room for them and outcomes are computed only a little ahead of the reader, so that a
   * batch may be longer than memory. An item that cannot be answered has an error for its outcome and leaves the others
   * alone. What an item is answered is what {@link Network.bound} answers, bit for bit if a seed is given.
   *
   * @param inputs - tensors; or objects with a tensor as `input`, an `id` that comes back, and options of their own.
   *   In place of a tensor there may be a promise of one, or a function that gives one when its turn has come
   * @param options - what each item is asked, and how to go about it
   * @returns an iterator of outcomes; work begins when it is first asked. It rejects for options that are wrong, with
   *   what the source of the inputs threw, with `signal.reason`, and when the network is disposed of meanwhile.
   *   Leaving the loop ends what is running
   *
   * @example
   * ```ts
   * for await (const outcome of net.bounds(inputs, { epsilon: 0.05 })) {
   *   if (outcome.ok) console.log(outcome.index, outcome.result.upper)
   *   else console.error(outcome.index, outcome.error.message)
   * }
   * const own = net.bounds([{ input: x, epsilon: 0.1, id: 'x' }, { input: () => loadTensor('y.npy'), epsilon: 1 }])
   * ```
   */
  async *bounds<Epsilon extends number | readonly number[]>(
    inputs: BatchSource<BoundItemOptions<Epsilon>>,
    options: BoundsOptions<Epsilon> = {},
  ): AsyncGenerator<BatchOutcome<BoundAnswer<Epsilon>>, void, undefined> {
    const specification = { ...boundSpecification, epsilon: optional(radii), kind: kindOfBall }
    const { control, shared } = parseBatch('bounds', options, specification)
    yield* batch(inputs, control, {
      where: 'bounds',
      memory: this.summary.memory,
      demand: (own) => demandOf(this.summary, 'bound', { ...shared, ...own }),
      compute: (input, own, run) =>
        this.bound(input, { ...shared, ...own, ...run } as BoundOptions) as Promise<BoundAnswer<Epsilon>>,
    })
  }

  /**
   * Bounds the Lipschitz constant of the network over the whole space: the largest
   * `|f(x) - f(x')| / |x - x'|` of any two inputs.
   *
   * @param options - how to go about it
   * @returns a promise of the bound, whose `epsilon` is `Infinity`
   * @throws {@link InputError} (by rejection) as {@link Network.bound} does
   */
  async globalBound(options: GlobalBoundOptions = {}): Promise<BoundResult> {
    throwIfAborted(options)
    const parsed = parseOptions('globalBound', options, boundSpecification)
    const request = nativeBoundOptions(parsed)
    const found = await this.#run('globalBound', parsed, (token, onProgress) =>
      this.#alive().globalBound(request, token, onProgress),
    )
    return toBoundResult(found, this.summary)
  }

  /**
   * Bounds a local constant over a range of epsilons, method beside method: the curves of the papers' figures.
   *
   * @param input - the centre of the balls, as for {@link Network.bound}
   * @param options - the range, and how to go about it
   * @throws {@link InputError} (by rejection) as {@link Network.bound} does
   *
   * @example
   * ```ts
   * const { points, global } = await net.sweep(x, { from: 0.001, to: 1 })
   * for (const { epsilon, lower, layerwise } of points) console.log(epsilon, lower, layerwise.upper, global.upper)
   * ```
   */
  async sweep(input: TensorLike, options: SweepOptions): Promise<SweepResult> {
    throwIfAborted(options)
    const parsed = parseOptions('sweep', options, sweepSpecification)
    const started = performance.now()
    const centre = toNative(toTensor(input, 'sweep: input'))
    const kind = parsed.kind ?? 'centred'
    const ball = { epsilons: epsilonsOf(parsed), kind }
    const { onProgress: report } = parsed
    // The part of the work that the points are.
    const share = 0.95
    const of = (from: number, to: number): RunOptions => ({
      signal: parsed.signal,
      onProgress: report && ((progress) => report({ ...progress, done: from + (to - from) * progress.done })),
    })
    const found = await this.#run('sweep', of(0, share), (token, onProgress) =>
      this.#alive().sweep(centre, ball, nativeBoundOptions(parsed), token, onProgress),
    )
    const points = found.map((point) => toSweepPoint(point, this.summary))
    // The seed that was drawn for the points is the seed of all.
    const seed = points[0]?.layerwise.seed ?? 0
    const global = await this.#run('globalBound', of(share, 1), (token, onProgress) =>
      this.#alive().globalBound(nativeBoundOptions({ ...parsed, seed }), token, onProgress),
    )
    const { notes } = this.summary
    const seconds = (performance.now() - started) / 1000
    return { points, global: toBoundResult(global, this.summary), kind, seed, seconds, notes }
  }

  /**
   * The largest radius that can be certified: no input (of the box, if one is given) at most this far from the given one
   * has another class. Beside it stands the distance of the nearest input of another class that an attack found.
   *
   * Each other class has a margin at the input and a bound of the constant of that margin over a ball; where the product
   * of constant and radius stays below the margin for all of them, the class cannot change: the radius is
   * `min(epsilon, min_j m_j / L_j)` for the best epsilon (docs/radius.md; Avant and Morgansen, arXiv 2104.14672).
   *
   * @param input - what is classified, as for {@link Network.bound}
   * @param options - the right class, and how to go about it
   * @returns a promise of the radius, in the l2 norm and the units of the network's input
   * @throws {@link InputError} (by rejection) as {@link Network.bound} does; `ERR_LIPBOUND_VALUE` for an input that is not
   *   inside the box
   *
   * @example
   * ```ts
   * const { radius, attackRadius, bindingClass } = await net.certifiedRadius(x, { label: 8 })
   * ```
   */
  async certifiedRadius(input: TensorLike, options: RadiusOptions = {}): Promise<RadiusResult> {
    throwIfAborted(options)
    const parsed = parseOptions('certifiedRadius', options, radiusSpecification)
    const centre = toNative(toTensor(input, 'certifiedRadius: input'))
    const request = nativeRadiusOptions(parsed, this.summary)
    const found = await this.#run('certifiedRadius', parsed, (token, onProgress) =>
      this.#alive().certifiedRadius(centre, request, token, onProgress),
    )
    return toRadiusResult(found, this.summary)
  }

  /**
   * Certifies radii around many inputs, several at a time: {@link Network.bounds} has how batches go.
   *
   * @param inputs - as for {@link Network.bounds}, with the options of {@link Network.certifiedRadius} as their own
   * @param options - what each item is asked, and how to go about it
   * @returns an iterator of outcomes, as {@link Network.bounds} does
   *
   * @example
   * ```ts
   * const items = pictures.map(({ file, label }) => ({ input: () => loadTensor(file), label, id: file }))
   * for await (const outcome of net.certifiedRadii(items, { maximum: 1, ordered: false })) {
   *   if (outcome.ok) console.log(outcome.id, outcome.result.radius)
   * }
   * ```
   */
  async *certifiedRadii(
    inputs: BatchSource<RadiusOptions>,
    options: RadiiOptions = {},
  ): AsyncGenerator<BatchOutcome<RadiusResult>, void, undefined> {
    const { control, shared } = parseBatch('certifiedRadii', options, radiusSpecification)
    yield* batch(inputs, control, {
      where: 'certifiedRadii',
      memory: this.summary.memory,
      demand: (own) => demandOf(this.summary, 'radius', { ...shared, ...own }),
      compute: (input, own, run) => this.certifiedRadius(input, { ...shared, ...own, ...run }),
    })
  }

  /**
   * Checks a certificate of a bound of this network: recomputes what follows from the network, and proves every norm
   * anew with random start vectors of its own. Nothing in the certificate is trusted, whoever made it.
   *
   * @param certificate - what {@link BoundResult.certificate} was, or `JSON.parse` of what it was written to
   * @param options - how to go about it
   * @returns a promise of what was found. A wrong certificate is no error: it is refused with a reason
   * @throws {@link InputError} (by rejection) `ERR_LIPBOUND_CERTIFICATE` for what is no certificate of this version,
   *   `ERR_LIPBOUND_ARGUMENT`, `ERR_LIPBOUND_DISPOSED`; `signal.reason` when aborted
   *
   * @example
   * ```ts
   * const { certificate } = await net.bound(x, { epsilon: 0.05, certificate: true })
   * const { accepted, reason } = await net.check(certificate)
   * ```
   */
  async check(certificate: Certificate, options: CheckOptions = {}): Promise<CheckResult> {
    throwIfAborted(options)
    const parsed = parseOptions('check', options, checkSpecification)
    const text = certificateText(certificate)
    const request = nativeNormOptions(parsed)
    return await this.#run('check', parsed, (token, onProgress) =>
      this.#alive().check(text, request, token, onProgress),
    )
  }

  /**
   * Computes the output of the network for one input, in double precision.
   *
   * @param input - of the shape of the network's input, or with a batch of one before it
   * @returns a promise of the output, of the shape `summary.outputShape`
   * @throws {@link InputError} (by rejection) `ERR_LIPBOUND_SHAPE`, `ERR_LIPBOUND_VALUE`,
   *   `ERR_LIPBOUND_DISPOSED`
   */
  async evaluate(input: TensorLike): Promise<Tensor> {
    const given = toNative(toTensor(input, 'evaluate: input'))
    return await this.#run('evaluate', {}, () => this.#alive().evaluate(given))
  }

  /** Frees the native memory. What is running finishes; later calls reject. Calling it again does nothing. */
  dispose(): void {
    this.#native.dispose()
  }

  /** The same as {@link Network.dispose}, for `using`. */
  [Symbol.dispose](): void {
    this.dispose()
  }

  #run<Result>(operation: Operation, options: RunOptions, start: Start<Result>): Promise<Result> {
    return run(options, start, { operation, network: this.summary.name })
  }

  #alive(): NativeNetwork {
    if (this.#native.disposed) {
      const name = this.summary.name === undefined ? '' : ` '${this.summary.name}'`
      throw new InputError('ERR_LIPBOUND_DISPOSED', `the network${name} was used after dispose()`)
    }
    return this.#native
  }
}

/**
 * Makes a network of layers, each fed by the one before it. For branches there is `graph`.
 *
 * @param options - the shape of the input
 * @param layers - from input to output, at least one
 * @throws {@link InputError} `ERR_LIPBOUND_ARGUMENT` for a malformed option,
 *   `ERR_LIPBOUND_SHAPE` where a layer does not fit what comes before it, naming the layer, its index and both shapes,
 *   `ERR_LIPBOUND_MODEL` for an empty network, a name that is taken or an unknown layer
 *
 * @example
 * ```ts
 * const net = sequential({ input: [2] }, [
 *   linear({ weight: [[1, 2], [3, 4]], bias: [0, -1] }),
 *   relu(),
 * ])
 * ```
 */
export function sequential(options: SequentialOptions, layers: readonly Layer[]): Network {
  const { input, name } = parseOptions('sequential', options, { input: shape, name: optional(text) })
  const placed = checkLayers(layers, 'sequential').map((layer, index) => ({ layer, place: `layers[${index}]` }))
  return makeNetwork(describeNetwork(input, name, placed))
}

/** Makes a network of its description. */
export function makeNetwork({ json, names, tensors }: Described): Network {
  try {
    return Network.of(native.NativeNetwork.fromArchitecture(json, names, tensors))
  } catch (error) {
    throw fromNative(error)
  }
}

/** A check has no tolerance: it goes on until a claim is decided. */
const { tolerance: _tolerance, ...checkSpecification } = normSpecification
