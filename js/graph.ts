/** Networks whose layers branch and meet again. */
import { INPUT, checkLayer, describeNetwork } from './architecture.js'
import type { Placed } from './architecture.js'
import { InputError } from './errors.js'
import type { BranchLayer, BranchLayerType, Layer } from './layer.js'
import { makeNetwork } from './network.js'
import type { Network, SequentialOptions } from './network.js'
import { argumentError, optional, parseOptions, shape, text } from './options.js'

/** Options of {@link graph}. */
export type GraphOptions = SequentialOptions

declare const ofGraph: unique symbol

/** A layer in its place in a graph, or the graph's input: what other layers may read. */
export interface GraphNode {
  /** Its name in reports and messages: that of the layer, or its type with a count. `input` for the graph's input. */
  readonly name: string
  /** Nodes are made by {@link GraphBuilder} only. */
  readonly [ofGraph]: true
}

/** What the function given to {@link graph} builds with. */
export interface GraphBuilder {
  /** The input of the network. */
  readonly input: GraphNode
  /**
   * Adds a layer that reads a node.
   *
   * @param layer - a layer, such as `conv2d({ ... })`
   * @param input - what it reads
   * @returns its node, for others to read
   * @throws {@link InputError} `ERR_LIPBOUND_ARGUMENT` for what is no layer or no node, `ERR_LIPBOUND_MODEL` for a name
   *   that is taken, a node of another graph or another number of nodes than the layer reads
   */
  apply(layer: Layer, input: GraphNode): GraphNode
  /**
   * Adds a layer that brings two or more nodes together, in their order.
   *
   * @param layer - `add()`, `concat()`, `maximum()` or `minimum()`
   * @param inputs - what it reads; the same node may be there twice
   */
  apply(layer: BranchLayer, ...inputs: readonly [GraphNode, GraphNode, ...GraphNode[]]): GraphNode
  /**
   * Adds layers behind each other, the first of which reads a node, and gives the last. Without a layer, that is the
   * node itself.
   *
   * @param layers - from input to output
   * @param input - what the first one reads
   */
  chain(layers: readonly Layer[], input: GraphNode): GraphNode
}

/**
 * Makes a network of layers that may branch and meet again.
 *
 * @param options - the shape of the input
 * @param build - adds the layers and returns the node whose output is that of the network, which every other one must
 *   lead to
 * @returns the network
 * @throws {@link InputError} as `sequential` does, and `ERR_LIPBOUND_MODEL` for a node that nothing reads
 *
 * @example
 * ```ts
 * const net = graph({ input: [3, 32, 32], name: 'residual' }, (g) => {
 *   const stem = g.apply(conv2d({ name: 'stem', weight, padding: 1 }), g.input)
 *   const inner = g.chain([relu(), conv2d({ name: 'inner', weight: inside, padding: 1 })], stem)
 *   return g.apply(add({ name: 'sum' }), stem, inner)
 * })
 * ```
 */
export function graph(options: GraphOptions, build: (g: GraphBuilder) => GraphNode): Network {
  const { input, name } = parseOptions('graph', options, { input: shape, name: optional(text) })
  if (typeof build !== 'function') {
    throw argumentError('graph: build', 'a function such as (g) => g.apply(relu(), g.input)', build)
  }
  const builder = new Builder()
  const output: unknown = build(builder)
  return makeNetwork(describeNetwork(input, name, builder.finish(output)))
}

/** A node and what is known of it. */
interface Entry {
  readonly name: string
  readonly layer: Layer | BranchLayer
  readonly inputs: readonly string[]
}

const branchTypes: ReadonlySet<string> = new Set<BranchLayerType>(['add', 'concat', 'maximum', 'minimum'])

/** All nodes there are, of whatever graph. */
const nodes = new WeakSet<object>()

class Builder implements GraphBuilder {
  readonly input = this.#node(INPUT)

  readonly #own = new Set<unknown>([this.input])
  readonly #entries = new Map<string, Entry>()
  readonly #counts = new Map<string, number>()
  readonly #read = new Set<string>()
  #finished = false

  apply(layer: Layer | BranchLayer, ...inputs: readonly GraphNode[]): GraphNode {
    if (this.#finished) throw modelError('a layer was added after the function that builds the graph had returned')
    checkLayer(layer, 'graph: the first argument of apply')
    const name = this.#nameOf(layer)
    const subject = `'${name}' (${layer.type})`
    const branches = branchTypes.has(layer.type)
    inputs.forEach((input, index) => {
      this.#check(input, `input ${index} of ${subject}`)
    })
    if (branches ? inputs.length < 2 : inputs.length !== 1) {
      const given =
        inputs.length === 0 ? 'none' : `${inputs.length}: ${inputs.map((node) => `'${node.name}'`).join(', ')}`
      throw modelError(`${subject} reads ${branches ? 'two nodes or more' : 'one node'}, got ${given}`)
    }
    for (const { name: read } of inputs) this.#read.add(read)
    this.#entries.set(name, { name, layer, inputs: inputs.map((node) => node.name) })
    const node = this.#node(name)
    this.#own.add(node)
    return node
  }

  chain(layers: readonly Layer[], input: GraphNode): GraphNode {
    if (!Array.isArray(layers)) throw argumentError('graph: the first argument of chain', 'an array of layers', layers)
    this.#check(input, 'the second argument of chain')
    let node = input
    for (const layer of layers as readonly Layer[]) node = this.apply(layer, node)
    return node
  }

  /** The layers in their order, the last of which is the output. */
  finish(output: unknown): Placed[] {
    this.#finished = true
    if (output instanceof Promise) {
      throw argumentError('graph: what build returns', 'a node, so that build cannot be async', output)
    }
    this.#check(output, 'what build returns')
    if (output === this.input) throw modelError('the network is empty; it needs at least one layer')
    const entries = [...this.#entries.values()]
    const unread = entries.find(({ name }) => name !== output.name && !this.#read.has(name))
    if (unread !== undefined) {
      throw modelError(
        `nothing reads '${unread.name}' (${unread.layer.type}); every node must lead to the output, '${output.name}'`,
      )
    }
    return entries.map(({ name, layer, inputs }) => ({ layer, place: `'${name}'`, name, inputs }))
  }

  #node(name: string): GraphNode {
    const node = Object.freeze({ name }) as GraphNode
    nodes.add(node)
    return node
  }

  /** The name of a layer: its own, or the one that the architecture format gives it. */
  #nameOf({ type, name }: Layer | BranchLayer): string {
    const count = (this.#counts.get(type) ?? 0) + 1
    this.#counts.set(type, count)
    const found = name ?? `${type}${count}`
    if (found === INPUT) {
      throw modelError(`the name '${INPUT}' is that of the graph's input; the layer (${type}) needs another one`)
    }
    const other = this.#entries.get(found)
    if (other !== undefined) {
      throw modelError(`the name '${found}' of a layer (${type}) is already that of another one (${other.layer.type})`)
    }
    return found
  }

  #check(node: unknown, subject: string): asserts node is GraphNode {
    if (this.#own.has(node)) return
    if (typeof node === 'object' && node !== null && nodes.has(node)) {
      throw modelError(`${subject} is '${(node as GraphNode).name}' of another graph; it must be a node of this one`)
    }
    throw argumentError(`graph: ${subject}`, 'a node of this graph, such as g.input or what g.apply(...) gives', node)
  }
}

function modelError(message: string): InputError {
  return new InputError('ERR_LIPBOUND_MODEL', `graph: ${message}`)
}
