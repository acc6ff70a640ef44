/** The plain data that comes back: norms, bounds, their layers, progress and summaries. */
import type { Certificate } from './certificate.js'
import type { Tensor } from './tensor.js'

/**
 * How sure an upper end is: `deterministic` is a proof, `probabilistic` is wrong with at most the stated
 * `failureProbability`, taken over the random start vectors of the computation.
 */
export type Guarantee = 'deterministic' | 'probabilistic'

/** Why the computation of a norm ended. Each of them leaves a valid bracket. */
export type Termination =
  /** The bracket is as narrow as asked. */
  | 'converged'
  /** `maxSteps` was reached first. */
  | 'step-limit'
  /** `timeLimit` was reached first. */
  | 'time-limit'
  /** The upper end stopped coming down: rounding keeps the ends apart. */
  | 'stalled'
  /** The Krylov space is exhausted: nothing is left to find. */
  | 'complete'
  /** The norm was computed directly or is known in closed form; nothing iterates. */
  | 'direct'

/** What the upper end of a norm rests on. */
export type NormMethod =
  /** The structure of the operator: it is zero, a max pool, or a diagonal. */
  | 'structure'
  /** A Cholesky factorisation that proves it (Rump, BIT 46, 2006). */
  | 'cholesky'
  /** Golub-Kahan-Lanczos with a random start (Hochstenbach, J. Sci. Comput. 2013). */
  | 'lanczos'
  /** The root of the sum of the squared row norms. */
  | 'frobenius'
  /** The root of the largest row sum times the largest column sum. */
  | 'row-column-sums'
  /** The row sums of the product of the absolute operator and its transpose (Collatz and Wielandt). */
  | 'collatz-wielandt'
  /** The largest norm of a convolution's symbol over a grid of frequencies. */
  | 'fourier'

/** A real number known to lie between two others. */
export interface Bracket {
  /** The lower end. */
  readonly lower: number
  /** The upper end. */
  readonly upper: number
}

/** An l2 operator norm as a bracket, with its guarantee. */
export interface NormResult extends Bracket {
  /** How sure `upper` is. `lower` is always certain. */
  readonly guarantee: Guarantee
  /** The probability that `upper` is too small; 0 where the guarantee is deterministic. */
  readonly failureProbability: number
  /** Steps taken, each one product with the operator and one with its adjoint. */
  readonly steps: number
  /** Why the computation ended. */
  readonly termination: Termination
  /** What `upper` rests on. */
  readonly method: NormMethod
  /** Seed of the random start vector; absent where none was drawn. */
  readonly seed?: number
  /** Seconds spent. */
  readonly seconds: number
}

/** Which constant is bounded; see {@link BoundOptions.kind} for the first two. `global` is the whole space. */
export type BoundKind = 'centred' | 'uniform' | 'global'

/** What a bound rests on: the product of the steps' constants, or the certificate of the network as a whole. */
export type CompositionMethod = 'layerwise' | 'certificate'

/**
 * What a step of the layerwise bound is: an affine map, units, both, the maximum of windows, a sum of branches, or
 * branches behind each other.
 */
export type LayerKind = 'affine' | 'affine-unit' | 'unit' | 'max-pool' | 'add' | 'concat'

/** What one step of the layerwise bound did. A step may merge several layers of the network. */
export interface LayerReport {
  /** Name of the step, taken from its layers. */
  readonly name: string
  /** What the step is. */
  readonly kind: LayerKind
  /** Names of the layers of the network merged into this step, in order; without those that do nothing. */
  readonly members: readonly string[]
  /** Shape of what goes in. */
  readonly inputShape: readonly number[]
  /** Shape of what comes out. */
  readonly outputShape: readonly number[]
  /** Bracket of the step's own constant over the ball that reaches it. */
  readonly norm: NormResult
  /** Radius of the ball that reaches the step; infinite in a global bound. */
  readonly epsilonIn: number
  /** Radius of the ball that leaves it. */
  readonly epsilonOut: number
  /** Upper bound of the constant from the network's input to the output of this step. */
  readonly gain: number
  /** What `gain` rests on. */
  readonly gainMethod: CompositionMethod
  /** The probability that a norm or certificate of this step is too small. */
  readonly failureProbability: number
  /** Units whose output provably does not move over the ball. */
  readonly still: number
  /** Units that move and provably stay on one linear piece. */
  readonly stable: number
  /** Units that may change piece. */
  readonly unstable: number
  /** Seconds spent. */
  readonly seconds: number
}

/** A bound of the Lipschitz constant of a linear functional of the output: the sum of `c[i] * f[i]` for given `c`. */
export interface FunctionalBound extends Bracket {
  /** How `upper` was bounded. */
  readonly method: CompositionMethod
  /** How sure `upper` is. `lower` is a ratio that is attained. */
  readonly guarantee: Guarantee
  /** The probability that `upper`, or anything it rests on, is too small; 0 where the guarantee is deterministic. */
  readonly failureProbability: number
}

/** A bound of a Lipschitz constant of a whole network. */
export interface BoundResult {
  /** Certified upper bound of the constant. */
  readonly upper: number
  /** Largest ratio actually attained, a lower bound of the constant; 0 where rounding leaves no ratio certain. */
  readonly lower: number
  /**
   * Product of the ends of the steps' norm brackets, whether or not `upper` is that product: how much of it is owed to
   * norms being brackets. The steps are taken at this result's radii, which are rounded up on the way, so its lower end
   * may exceed what the layerwise formula gives in exact arithmetic. It is no lower bound of the constant.
   */
  readonly product: Bracket
  /** Radius of the ball, in the l2 norm and the units of the input; `Infinity` for a global bound. */
  readonly epsilon: number
  /** Which constant is bounded. */
  readonly kind: BoundKind
  /** How it was bounded: the certificate only where it is the smaller of the two. */
  readonly method: CompositionMethod
  /** How sure `upper` is. */
  readonly guarantee: Guarantee
  /** The probability that `upper` is too small; 0 where the guarantee is deterministic. */
  readonly failureProbability: number
  /** Seed of every random choice: the same seed gives the same result. */
  readonly seed: number
  /** Seconds spent. */
  readonly seconds: number
  /** The story of the bound, one report a step, from input to output. */
  readonly layers: readonly LayerReport[]
  /** What to know of the network that was bounded: {@link NetworkSummary.notes}. */
  readonly notes: readonly string[]
  /**
   * Bounds of the functionals that were asked for, in their order; absent where none were. All of the result together
   * is wrong with at most the failure probability that was asked for.
   */
  readonly functionals?: readonly FunctionalBound[]
  /** What others need to check the bound, with {@link Network.check}; only where it was asked for. */
  readonly certificate?: Certificate
  /** Points that attain `lower`; only where they were asked for, and where rounding leaves any ratio certain. */
  readonly witness?: Witness
}

/** Two points of the ball, and the ratio between their outputs and them: evaluate both to see it. */
export interface Witness {
  /** `|f(to) - f(from)| / |to - from|` for the network in real arithmetic, rounded down. */
  readonly ratio: number
  /** One point, in double precision; the centre of the ball for a `centred` constant. */
  readonly from: Tensor
  /** The other one. */
  readonly to: Tensor
}

/**
 * What a check of a certificate found. A local bound is one around the certificate's own `centre`: whoever wants one around
 * a certain input must compare the two.
 */
export interface CheckResult {
  /** Whether the bound that is claimed holds for this network. */
  readonly accepted: boolean
  /** Where it was refused: the first claim that is wrong or could not be verified. */
  readonly reason?: string
  /** The bound that is claimed. */
  readonly upper: number
  /** Radius of the ball; `Infinity` for a global bound. */
  readonly epsilon: number
  /** Which constant. */
  readonly kind: BoundKind
  /** How sure an acceptance is; a refusal needs no luck and says `deterministic`. */
  readonly guarantee: Guarantee
  /** The probability, over the seed of the check, with which a wrong bound would have been accepted; 0 if refused. */
  readonly failureProbability: number
  /** Seed of every random choice of the check. */
  readonly seed: number
  /** Seconds spent. */
  readonly seconds: number
}

/** How far a running computation is. */
export interface Progress {
  /** What is being worked on, for instance the name of a layer. */
  readonly stage: string
  /** Steps taken in this stage. */
  readonly step: number
  /** Part of the whole work that is done, from 0 to 1; never decreases. */
  readonly done: number
  /** The epsilon being worked on, where there is one. */
  readonly epsilon?: number
}

/** One layer of a network, as it was described. */
export interface LayerSummary {
  /** Position in the network, from 0. */
  readonly index: number
  /** The layer's name: the one given, or its type with a count. */
  readonly name: string
  /** The layer's type, as in the architecture format: `conv2d`, `relu`, ... */
  readonly type: string
  /** Names of the layers it reads; `input` is the network's input. */
  readonly inputs: readonly string[]
  /** Shape of what goes in; of the first input where there are several. */
  readonly inputShape: readonly number[]
  /** Shape of what comes out. */
  readonly outputShape: readonly number[]
  /** Number of weights. */
  readonly parameters: number
  /** Number of units that are not affine: rectifiers and pooling windows. */
  readonly units: number
}

/**
 * What work on a network costs, in multiply-adds. The forward pass is counted; the bounds are predictions for the default
 * options, good to an order of magnitude: how many steps a norm or a search takes depends on weights, ball and tolerance.
 */
export interface PredictedCost {
  /** A forward pass: those of the affine layers. */
  readonly forward: number
  /** A layerwise bound: about a hundred steps for each norm, each with one product forward and one backward. */
  readonly layerwise: number
  /**
   * A local bound with certificates: a search of several vectors over up to 200 steps, and some norms, for each part of
   * the network that is certified. A search may end early.
   */
  readonly certificate: number
}

/**
 * What work on a network takes of memory, in bytes: upper bounds for the default options and the number of threads of this
 * process, derived from what the code allocates. `network` is there as long as the network is; each of the others is the
 * most that one computation takes beside it at any time, and computations at the same time take as much each.
 *
 * Epsilons are worked on one after the other, and so are functionals of layerwise bounds: more of them take no more, but for
 * their results. Not counted are inputs and results (with certificates and witnesses, where they are asked for), certificates
 * of functionals, each of which keeps a search of its own, JavaScript's own memory, what reading a model takes,
 * `guarantee: 'deterministic'`, and up to 4 MB of scratch memory that each thread keeps for its next computation.
 */
export interface PredictedMemory {
  /** What stays with the network: weights, and what is made of them at first use and kept. */
  readonly network: number
  /** Most that a layerwise bound takes, local or global. For networks of megabytes about half of it is really needed. */
  readonly layerwise: number
  /** Most that a certificate takes, local or global, and a sweep: what is needed depends on how many units are unstable. */
  readonly certificate: number
  /** Most that a certified radius takes: it may keep a search for each class. */
  readonly radius: number
}

/** What an ONNX file says of itself, and what reading it saved. */
export interface OnnxSource {
  /** The program that wrote it. */
  readonly producer?: string
  /** Version of the operator set. */
  readonly opset: number
  /** Name of the input. */
  readonly input: string
  /** Name of the tensor taken for the output. */
  readonly output: string
  /** Operators on constants that were computed. */
  readonly folded: number
  /** Nodes that the output does not need, which were left out. */
  readonly unused: number
}

/** What a network is made of. */
export interface NetworkSummary {
  /** The network's name, where it has one. */
  readonly name?: string
  /** Shape of one input, without a batch dimension. */
  readonly inputShape: readonly number[]
  /** Shape of one output. */
  readonly outputShape: readonly number[]
  /** Number of weights. */
  readonly parameters: number
  /** Number of units that are not affine. */
  readonly units: number
  /** Names of the outputs, where the model file gives them. */
  readonly classes?: readonly string[]
  /** What makes the network another than the model's file, for people: a final softmax that was cut, say. */
  readonly notes: readonly string[]
  /** What an ONNX file says of itself, and what reading it saved; absent for networks from elsewhere. */
  readonly onnx?: OnnxSource
  /** What bounds of it will cost. */
  readonly cost: PredictedCost
  /** What bounds of it will take of memory. */
  readonly memory: PredictedMemory
  /** The layers, from input to output; each reads earlier ones only. */
  readonly layers: readonly LayerSummary[]
}
