/** Builds ONNX models of an opset, with the choices among equal forms that exporters differ in left to chance. */
import { createRandom } from '../helpers/random.js'
import type { Random } from '../helpers/random.js'
import { float, int, ints, irVersionOf, string, tensor, writeModel } from './writer.js'
import type {
  Attribute,
  ElementType,
  ModelDescription,
  NodeDescription,
  TensorDescription,
  ValueDescription,
} from './writer.js'

export const OLDEST_OPSET = 7
export const NEWEST_OPSET = 26

export type Shape = readonly number[]

/** A tensor of the graph under construction. */
export interface Value {
  readonly name: string
  readonly shape: Shape
}

/** What goes into a node: a tensor, or nothing where an optional input is left out. */
export type Operand = Value | undefined

/** Attributes in plain form: whole numbers and lists of them are integers; others go through {@link float} and so on. */
export type Attributes = Readonly<Record<string, number | string | readonly number[] | Attribute | undefined>>

/** Number of entries of a shape. */
export const sizeOf = (shape: Shape): number => shape.reduce((product, extent) => product * extent, 1)

/** What a finished model is, and what is to be known of it. */
export interface BuiltModel {
  model: Uint8Array
  /** The same model, but with the output that counts where a softmax ends the one above. */
  truth: Uint8Array
  opset: number
  /** Every operator in it, once. */
  operators: readonly string[]
  /** The shape of the input, with the leading batch extent. */
  input: Shape
  /** The shape that the output should have. */
  output: Shape
  /** Operators with their attributes, in the order of the graph. */
  title: string
}

export class Builder {
  readonly opset: number
  readonly random: Random
  readonly #nodes: NodeDescription[] = []
  readonly #initializers: TensorDescription[] = []
  readonly #constants = new Map<string, string>()
  readonly #steps: string[] = []
  #input: { value: Value; type: ElementType; dims: (number | string | null)[] } | undefined
  #names = 0
  /** Whether initialisers are graph inputs too, as they have to be before version 4 of the IR. */
  initializersAreInputs: boolean

  constructor(seed: number, opsets: readonly [least: number, most: number] = [OLDEST_OPSET, NEWEST_OPSET]) {
    this.random = createRandom(seed)
    this.opset = this.integer(...opsets)
    this.initializersAreInputs = irVersionOf(this.opset) < 4 || this.chance(0.1)
  }

  integer(from: number, to: number): number {
    return this.random.integer(from, to)
  }

  chance(probability: number): boolean {
    return this.random.uniform() < probability
  }

  pick<T>(choices: readonly T[]): T {
    const choice = choices[this.integer(0, choices.length - 1)]
    if (choice === undefined && choices.length === 0) throw new Error('nothing to choose from')
    return choice as T
  }

  /** The choices in a random order. */
  shuffled<T>(choices: readonly T[]): T[] {
    const rest = [...choices]
    return choices.map(() => rest.splice(this.integer(0, rest.length - 1), 1)[0] as T)
  }

  /** An axis, counted from the end at times; negative ones came to most operators with opset 11. */
  axis(axis: number, rank: number, since = 11): number {
    return this.opset >= since && this.chance(0.4) ? axis - rank : axis
  }

  /** Multiples of 1/32 from a bell curve: small files, and sums without rounding. */
  numbers(count: number, scale = 1): number[] {
    return Array.from({ length: count }, () => Math.round(this.random.gaussian() * scale * 32) / 32)
  }

  /** Numbers that need all the digits of the narrow types, and yet are the same whatever computed the bell curve. */
  fineNumbers(count: number): number[] {
    return Array.from({ length: count }, () => Math.round(this.random.gaussian() * 2 ** 20) / 2 ** 20)
  }

  /** Numbers away from zero, of both signs. */
  divisors(count: number): number[] {
    return Array.from({ length: count }, () => this.pick([-1, 1]) * this.pick([0.25, 0.5, 0.75, 1, 1.5, 2, 3]))
  }

  /** Positive numbers. */
  variances(count: number): number[] {
    return Array.from({ length: count }, () => this.integer(8, 64) / 32)
  }

  /** The input of the model. `dims` is what the file says of its shape, where that is not the shape itself. */
  input(shape: Shape, type: 'float' | 'double' = 'float', dims: (number | string | null)[] = [...shape]): Value {
    const value = { name: this.pick(['x', 'input', 'data.0', 'Input3']), shape }
    this.#input = { value, type, dims }
    return value
  }

  /** A constant in one of the ways in which most exporters write them. */
  constant(dims: Shape, values: readonly number[] = this.numbers(sizeOf(dims)), type: ElementType = 'float'): Value {
    const content: TensorDescription = { type, dims, values, storage: this.chance(0.7) ? 'raw' : 'typed' }
    return this.chance(0.2) ? this.constantNode(dims, { value: tensor(content) }, type) : this.initializer(content)
  }

  /** A constant that is a given initialiser. */
  initializer(content: TensorDescription): Value {
    const name = this.#name('w')
    this.#initializers.push({ ...content, name })
    const dims = content.dims.map(Number)
    const type = content.type === 'float' ? '' : String(content.type)
    const { values = [] } = content
    const brief = values.length > 0 && values.length <= 8 && type.startsWith('int')
    this.#constants.set(name, brief ? `<${values.join()}>` : `${type}[${dims.join()}]`)
    return { name, shape: dims }
  }

  /** A constant that is a node with one attribute. */
  constantNode(dims: Shape, attributes: Readonly<Record<string, Attribute>>, type: ElementType = 'float'): Value {
    const name = this.#name('c')
    const plain = type === 'float' ? '' : String(type)
    const form = Object.keys(attributes).filter((key) => key !== 'value')
    this.#constants.set(name, `${plain}[${dims.join()}]${form.map((key) => `:${key}`).join('')}`)
    this.#nodes.push({ op: 'Constant', inputs: [], outputs: [name], attributes })
    return { name, shape: dims }
  }

  /** A list of integers, as shapes and axes are given. */
  integers(values: readonly number[], type: 'int64' | 'int32' = 'int64'): Value {
    return this.constant([values.length], values, type)
  }

  /** A node with one output that counts. `outputs` more are named and left unused. */
  apply(op: string, inputs: readonly Operand[], shape: Shape, attributes: Attributes = {}, unused = 0): Value {
    const [value] = this.applyAll(op, inputs, [shape, ...Array.from({ length: unused }, () => shape)], attributes)
    if (value === undefined) throw new Error(`${op} has no output`)
    return value
  }

  /** A node with several outputs. */
  applyAll(op: string, inputs: readonly Operand[], shapes: readonly Shape[], attributes: Attributes = {}): Value[] {
    const values = shapes.map((shape) => ({ name: this.#name('t'), shape }))
    const written = Object.entries(attributes).flatMap(([key, value]) =>
      value === undefined ? [] : [[key, toAttribute(value)] as const],
    )
    this.#nodes.push({
      op,
      inputs: inputs.map((input) => input?.name ?? ''),
      outputs: values.map(({ name }) => name),
      attributes: Object.fromEntries(written),
      ...(this.chance(0.5) && { name: `${op}_${this.#nodes.length}` }),
    })
    const operands = inputs.map((input) => (input === undefined ? '-' : this.#describe(input)))
    const settings = written.map(([key, { value }]) => `${key}=${typeof value === 'object' ? show(value) : value}`)
    this.#steps.push(`${op}(${operands.join(' ')})${settings.length === 0 ? '' : `{${settings.join(' ')}}`}`)
    return values
  }

  /** At times, an element-wise step that any tensor may go through. */
  maybe(value: Value, probability = 0.4): Value {
    if (!this.chance(probability)) return value
    const { shape } = value
    switch (this.pick(['Relu', 'Identity', 'Neg', 'LeakyRelu', 'Mul', 'Add'])) {
      case 'Relu':
        return this.relu(value)
      case 'Identity':
        return this.apply('Identity', [value], shape)
      case 'Neg':
        return this.apply('Neg', [value], shape)
      case 'LeakyRelu':
        return this.apply('LeakyRelu', [value], shape, { alpha: float(0.25) })
      case 'Mul':
        return this.apply('Mul', this.shuffled([value, this.constant([], this.divisors(1))]), shape)
      default:
        return this.apply('Add', this.shuffled([value, this.constant(shape.length === 0 ? [] : [1])]), shape)
    }
  }

  relu(value: Value): Value {
    return this.apply('Relu', [value], value.shape)
  }

  /** Flattens in one of the ways that exporters know. */
  flattened(value: Value): Value {
    const [batch = 1, ...rest] = value.shape
    const shape = [batch, sizeOf(rest)]
    const target = this.pick([
      [0, -1],
      [batch, -1],
      [-1, sizeOf(rest)],
    ])
    if (this.chance(0.5)) return this.apply('Flatten', [value], shape, this.chance(0.5) ? { axis: 1 } : {})
    return this.apply('Reshape', [value, this.integers(target)], shape)
  }

  /** A dense layer behind a matrix, in one of the two ways. */
  dense(value: Value, outputs: number): Value {
    const [batch = 1, columns = 0] = value.shape
    if (this.chance(0.5)) {
      const operands = [value, this.constant([outputs, columns]), this.constant([outputs])]
      return this.apply('Gemm', operands, [batch, outputs], { transB: 1 })
    }
    const product = this.apply('MatMul', [value, this.constant([columns, outputs])], [batch, outputs])
    return this.apply('Add', this.shuffled([product, this.constant([outputs])]), [batch, outputs])
  }

  /** The model whose output is a value. Where a softmax is behind the tensor that counts, `truth` is the latter. */
  finish(output: Value, truth = output, outputType?: ElementType): BuiltModel {
    if (this.#input === undefined) throw new Error('the model has no input')
    const { value, type, dims } = this.#input
    // What nothing uses is no matter.
    if (this.chance(0.06)) this.initializer({ type: 'float', dims: [2], values: [1, 2] })
    if (this.chance(0.06)) this.apply('Shape', [value], [value.shape.length])
    const input: ValueDescription = { name: value.name, type, dims }
    const weights = this.initializersAreInputs ? this.#initializers : []
    const own = weights.map((weight) => ({ name: weight.name ?? '', type: weight.type, dims: weight.dims }))
    // The input need not come first among those that are initialisers.
    const inputs = this.chance(0.8) ? [input, ...own] : [...own, input]
    const packed = this.chance(0.2)
    const stated = this.chance(0.6) && dims.every((extent) => typeof extent === 'number')
    const domain = this.chance(0.06) ? 'ai.onnx' : ''
    const nodes = this.#nodes.map((node) => (domain === '' ? node : { ...node, domain }))
    const written = ({ name, shape }: Value): Uint8Array => {
      const result: ValueDescription = { name, type: outputType ?? type, ...(stated && { dims: shape }) }
      const graph = { nodes, initializers: this.#initializers, inputs, outputs: [result] }
      const description: ModelDescription = { graph, opset: { [domain]: this.opset }, packed }
      return writeModel(description)
    }
    const said = dims.map((extent) => extent ?? '?').join()
    const title = `${type === 'float' ? '' : type}[${said}]: ${this.#steps.join(' -> ')}`
    return {
      model: written(output),
      truth: written(truth),
      opset: this.opset,
      operators: [...new Set(this.#nodes.map(({ op }) => op))].sort(),
      input: value.shape,
      output: truth.shape,
      title,
    }
  }

  #name(prefix: string): string {
    return `${prefix}${this.#names++}`
  }

  #describe({ name, shape }: Value): string {
    return this.#constants.get(name) ?? `${name}[${shape.join()}]`
  }
}

function toAttribute(value: number | string | readonly number[] | Attribute): Attribute {
  if (typeof value === 'number') return int(value)
  if (typeof value === 'string') return string(value)
  return 'kind' in value ? value : ints(value)
}

const show = (value: object): string => (Array.isArray(value) ? value.join() : 'tensor')
