/** The families of generated models: how one of each is drawn, and how many. */
import { Builder, NEWEST_OPSET, OLDEST_OPSET, sizeOf } from './builder.js'
import type { BuiltModel, Shape, Value } from './builder.js'
import * as operators from './operators.js'
import { anyShape, image } from './operators.js'
import { float, floats, int, ints, tensor } from './writer.js'
import type { ElementType } from './writer.js'

/** Draws a model on a builder that is new. */
type Draw = (b: Builder) => BuiltModel

interface Family {
  draw: Draw
  opsets: readonly [least: number, most: number]
  count: number
}

/** How many models of a family are drawn. */
const COUNT = 50

/** The input, an operator on a tensor of a shape, and at times an element-wise step before and after it. */
function single(shape: (b: Builder) => Shape, operator: (b: Builder, x: Value) => Value): Draw {
  return (b) => {
    const x = b.maybe(b.input(shape(b)))
    return b.finish(b.maybe(operator(b, x), 0.3))
  }
}

const family = (draw: Draw, { least = OLDEST_OPSET, count = COUNT } = {}): Family => ({
  draw,
  opsets: [least, NEWEST_OPSET],
  count,
})

const images = (b: Builder): Shape => image(b, b.pick([1, 2, 2, 2]))
const any = (b: Builder): Shape => anyShape(b, [1, 4], 0.1)
const deep = (b: Builder): Shape => anyShape(b, [2, 4])

/** Families by the file that holds them, and by their name, which is that of an operator where there is one. */
export const FAMILIES: Readonly<Record<string, Readonly<Record<string, Family>>>> = {
  convolution: {
    Conv: family(single(images, operators.conv), { count: 120 }),
    ConvTranspose: family(
      single(
        (b) => [1, b.integer(1, 3), ...Array.from({ length: b.pick([1, 2, 2]) }, () => b.integer(2, 5))],
        operators.convTranspose,
      ),
      { count: 90 },
    ),
    BatchNormalization: family(
      single((b) => b.pick([images, (): Shape => [1, b.integer(2, 30)]])(b), operators.batchNormalization),
    ),
    'Conv-BatchNormalization': family(convolutionThenNormalization),
  },
  product: {
    Gemm: family(
      single(
        (b) =>
          b.pick([
            [1, b.integer(2, 20)],
            [1, b.integer(2, 20)],
            [b.integer(2, 4), b.integer(2, 8)],
          ]),
        (b, x) => operators.gemm(b, x, b.chance(0.65)),
      ),
      { count: 90 },
    ),
    MatMul: family((b) => b.finish(b.maybe(operators.matMul(b))), { count: 90 }),
  },
  elementwise: {
    Add: family(single(any, (b, x) => operators.arithmetic(b, x, 'Add'))),
    Sub: family(single(any, (b, x) => operators.arithmetic(b, x, 'Sub'))),
    Mul: family(single(any, (b, x) => operators.arithmetic(b, x, 'Mul'))),
    Div: family(single(any, (b, x) => operators.arithmetic(b, x, 'Div'))),
    'Add-branches': family(single(deep, (b, x) => combine(b, x, 'Add'))),
    'Sub-branches': family(single(deep, (b, x) => combine(b, x, 'Sub'))),
    Sum: family(single(deep, sum)),
    Max: family(
      single(deep, (b, x) => operators.extremum(b, x, 'Max')),
      { count: 60 },
    ),
    Min: family(
      single(deep, (b, x) => operators.extremum(b, x, 'Min')),
      { count: 60 },
    ),
  },
  activation: {
    Relu: family(
      single(any, (b, x) => b.relu(operators.arithmetic(b, x, 'Add'))),
      { count: 30 },
    ),
    LeakyRelu: family(single(any, leakyRelu), { count: 30 }),
    PRelu: family(single(deep, operators.pRelu)),
    Clip: family(single(any, operators.clip), { count: 50 }),
    Abs: family(
      single(any, (b, x) => b.apply('Abs', [x], x.shape)),
      { count: 25 },
    ),
    Neg: family(
      single(any, (b, x) => b.apply('Neg', [x], x.shape)),
      { count: 20 },
    ),
    Identity: family(
      single(any, (b, x) => b.apply('Identity', [x], x.shape)),
      { count: 20 },
    ),
    Dropout: family(single(any, operators.dropout), { count: 30 }),
    Softmax: family(softmax('Softmax'), { count: 30 }),
    LogSoftmax: family(softmax('LogSoftmax'), { count: 30 }),
  },
  pooling: {
    MaxPool: family(
      single(images, (b, x) => operators.pool(b, x, 'MaxPool')),
      { count: 110 },
    ),
    AveragePool: family(
      single(images, (b, x) => operators.pool(b, x, 'AveragePool')),
      { count: 110 },
    ),
    GlobalMaxPool: family(
      single(images, (b, x) => operators.globalPool(b, x, 'GlobalMaxPool')),
      { count: 25 },
    ),
    GlobalAveragePool: family(
      single(images, (b, x) => operators.globalPool(b, x, 'GlobalAveragePool')),
      { count: 25 },
    ),
    ReduceMean: family(single(deep, (b, x) => operators.reduce(b, x, 'ReduceMean'))),
    ReduceSum: family(single(deep, (b, x) => operators.reduce(b, x, 'ReduceSum'))),
    ReduceMax: family(single(deep, (b, x) => operators.reduce(b, x, 'ReduceMax'))),
  },
  movement: {
    Concat: family(single(any, operators.concat)),
    Split: family(
      single((b) => [1, b.integer(2, 8), ...b.pick([[], [b.integer(1, 4)], [3, b.integer(1, 4)]])], operators.split),
      {
        count: 70,
      },
    ),
    Slice: family(single(any, operators.slice), { count: 90 }),
    Pad: family(
      single((b) => b.pick([images, deep])(b), operators.pad),
      { count: 90 },
    ),
    Flatten: family(single(deep, operators.flatten), { count: 30 }),
    Reshape: family(single(any, operators.reshape)),
    Squeeze: family(
      single((b) => b.shuffled([1, ...b.pick([[1, 5], [1, 4, 3], [7]])]), operators.squeeze),
      { count: 30 },
    ),
    Unsqueeze: family(
      single((b) => anyShape(b, [1, 3]), operators.unsqueeze),
      { count: 30 },
    ),
    Transpose: family(single(deep, operators.transpose)),
    GatherND: family(single(deep, operators.gatherNd), { count: 50, least: 11 }),
    Resize: family(single(images, operators.resize), { count: 90 }),
    DepthToSpace: family(
      single(deepImage, (b, x) => operators.depthToSpace(b, x, x.shape[1] === 9 ? 3 : 2)),
      { count: 30 },
    ),
    SpaceToDepth: family(
      single(wideImage, (b, x) => operators.spaceToDepth(b, x, x.shape[2] === 3 ? 3 : 2)),
      { count: 30 },
    ),
  },
  constants: {
    Shape: family(shapeArithmetic, { count: 100 }),
    Constant: family(constantForms),
    ConstantOfShape: family(constantOfShape, { least: 9 }),
    Cast: family(castWeights),
    'Cast-flow': family(castFlow),
    storage: family(storage),
    'folded-weights': family(foldedWeights, { count: 60 }),
    'initializers-as-inputs': family(initializersAsInputs),
    'dynamic-batch': family(dynamicBatch),
  },
  networks: {
    dense: family(denseNetwork, { count: 40 }),
    convolutional: family(convolutionalNetwork, { count: 60 }),
    signal: family(signalNetwork, { count: 40 }),
    residual: family(residual, { count: 60 }),
    inception: family(inception, { count: 60 }),
    nhwc: family(nhwc, { count: 50 }),
  },
}

/** A number between 0 and 2^32 that a name and an index stand for. */
function seedOf(name: string, index: number): number {
  let hash = 0x811c9dc5
  for (const letter of `${name} ${index}`) hash = Math.imul(hash ^ (letter.codePointAt(0) ?? 0), 0x01000193)
  return hash >>> 0
}

/** A model that was drawn, with inputs to try it on. */
export interface DrawnModel extends BuiltModel {
  /** Family, number in it, opset and operators. */
  name: string
  family: string
  inputs: Float32Array[]
}

/** All models of a file, the same ones every time. */
export function* drawModels(file: string): Generator<DrawnModel> {
  for (const [name, { draw, opsets, count }] of Object.entries(FAMILIES[file] ?? {})) {
    for (let index = 0; index < count; index++) {
      const b = new Builder(seedOf(name, index), opsets)
      const built = draw(b)
      const size = sizeOf(built.input)
      // Whole numbers among the inputs make ties.
      const inputs = [b.numbers(size, 1.5), Array.from({ length: size }, () => b.integer(-2, 2))]
      yield {
        ...built,
        name: `${name} ${index}, opset ${built.opset}: ${built.title}`,
        family: name,
        inputs: inputs.map((values) => Float32Array.from(values)),
      }
    }
  }
}

function deepImage(b: Builder): Shape {
  const channels = b.pick([4, 8, 12, 9])
  return [1, channels, b.integer(1, 3), b.integer(1, 3)]
}

function wideImage(b: Builder): Shape {
  return b.pick([
    [1, b.integer(1, 3), 4, 6],
    [1, b.integer(1, 4), 2, 8],
    [1, b.integer(1, 3), 3, 6],
    [1, 1, 6, 2],
  ])
}

function convolutionThenNormalization(b: Builder): BuiltModel {
  const x = b.input(images(b))
  const folded = operators.batchNormalization(b, operators.conv(b, x))
  return b.finish(b.chance(0.7) ? b.relu(folded) : folded)
}

function leakyRelu(b: Builder, x: Value): Value {
  const alpha = b.pick([undefined, 0.2, 0.01, 0.5, 1, 0, -0.5, 1.5])
  return b.apply('LeakyRelu', [x], x.shape, { alpha: alpha === undefined ? undefined : float(alpha) })
}

/** A sum or difference of two things that were made of the same tensor. */
function combine(b: Builder, x: Value, op: 'Add' | 'Sub'): Value {
  const left = b.chance(0.5) ? x : operators.branch(b, x, false)
  const right = operators.branch(b, x, true)
  return b.apply(op, b.shuffled([left, right]), x.shape)
}

function sum(b: Builder, x: Value): Value {
  const broadcasting = b.opset >= 8
  const operands = [x]
  for (let count = b.integer(0, 3); count > 0; count--) {
    const dims = broadcasting ? operators.broadcastShape(b, x.shape) : x.shape
    operands.push(b.chance(0.3) ? b.constant(dims) : operators.branch(b, x, broadcasting))
  }
  return b.apply('Sum', b.shuffled(operands), x.shape)
}

/** A softmax at the end, before which the tensor is that counts. */
function softmax(op: 'Softmax' | 'LogSoftmax'): Draw {
  return (b) => {
    const x = b.input(b.chance(0.8) ? [1, b.integer(2, 20)] : [1, b.integer(2, 4), 3, 3])
    const logits = x.shape.length === 2 && b.chance(0.7) ? b.dense(b.maybe(x), b.integer(2, 10)) : b.maybe(x, 1)
    const axis = b.pick([undefined, 1, b.axis(1, logits.shape.length)])
    const probabilities = b.apply(op, [logits], logits.shape, { axis })
    return b.finish(probabilities, logits)
  }
}

/** Shapes that are computed in the graph from those of tensors, as exporters that trace a program leave them. */
function shapeArithmetic(b: Builder): BuiltModel {
  const dynamic = b.chance(0.4)
  const shape = image(b, 2)
  const [, channels = 1, height = 1, width = 1] = shape
  const x = b.maybe(b.input(shape, 'float', dynamic ? ['N', channels, height, width] : [...shape]))
  const rest = channels * height * width
  const shapeOf = (): Value => b.apply('Shape', [x], [4], b.opset >= 15 && b.chance(0.2) ? { start: 0 } : {})
  const extent = (axis: number): Value => {
    const index = b.chance(0.3) && b.opset >= 11 ? axis - 4 : axis
    const attributes = b.chance(0.5) ? { axis: 0 } : {}
    return b.apply('Gather', [shapeOf(), b.constant([], [index], b.pick(['int64', 'int32']))], [], attributes)
  }
  const listed = (value: Value): Value => operators.unsqueezed(b, value, 0)
  const joined = (...parts: Value[]): Value =>
    b.apply('Concat', parts, [sizeOf(parts.map((part) => part.shape[0] ?? 1))], { axis: 0 })
  const number = (value: number): Value => b.constant([], [value], 'int64')

  const forms: (() => Value)[] = [
    // x.view(x.size(0), -1)
    () => b.apply('Reshape', [x, joined(listed(extent(0)), b.integers([-1]))], [1, rest]),
    () => {
      const sliced =
        b.opset < 10
          ? b.apply('Slice', [shapeOf()], [1], { axes: [0], starts: [0], ends: [1] })
          : b.apply('Slice', [shapeOf(), b.integers([0]), b.integers([1]), b.integers([0])], [1])
      return b.apply('Reshape', [x, joined(sliced, b.integers([-1]))], [1, rest])
    },
    () => {
      const gathered = b.apply('Gather', [shapeOf(), b.integers([0, 1])], [2], { axis: 0 })
      return b.apply('Reshape', [x, joined(gathered, b.integers([height * width]))], [1, channels, height * width])
    },
    // x.view(b, c, h * w).transpose(1, 2)
    () => {
      const area = b.apply('Mul', [extent(2), extent(3)], [])
      const target = joined(listed(extent(0)), listed(extent(1)), listed(area))
      return operators.permute(b, b.apply('Reshape', [x, target], [1, channels, height * width]), [0, 2, 1])
    },
    // By way of floating-point numbers, as old exporters divided.
    () => {
      const half = operators.cast(
        b,
        b.apply('Mul', [operators.cast(b, extent(2), 'float'), b.constant([], [0.5])], []),
        'int64',
      )
      const kept = Math.trunc(height / 2)
      if (b.opset >= 10)
        return b.apply('Slice', [x, b.integers([0]), listed(half), b.integers([2])], [1, channels, kept, width])
      return b.apply(
        'Reshape',
        [
          x,
          joined(
            listed(extent(0)),
            listed(b.apply('Div', [b.apply('Mul', [half, number(2 * rest)], []), number(2 * kept)], [])),
          ),
        ],
        [1, rest],
      )
    },
    () => {
      const [sum, size] = [b.apply('Add', [extent(3), number(2)], []), b.apply('Sub', [extent(1), number(0)], [])]
      const narrow = b.apply('Sub', [sum, number(2)], [])
      return b.apply('Reshape', [x, joined(b.integers([-1]), listed(size), listed(narrow))], [height, channels, width])
    },
    () => {
      const target = operators.cast(b, operators.cast(b, joined(listed(extent(0)), b.integers([-1])), 'int32'), 'int64')
      return b.apply('Reshape', [x, target], [1, rest])
    },
    () => {
      if (b.opset < 15) return b.apply('Reshape', [x, shapeOf()], shape)
      const tail = b.apply('Shape', [x], [2], b.chance(0.5) ? { start: 2 } : { start: -2, end: 4 })
      return b.apply('Reshape', [x, joined(b.integers([channels]), tail)], [channels, height, width])
    },
    // How pad() of a list of integers is exported.
    () => {
      if (b.opset < 11) return b.apply('Reshape', [x, joined(listed(extent(0)), b.integers([-1]))], [1, rest])
      const zeros = b.apply('ConstantOfShape', [b.integers([4])], [4], {
        value: tensor({ type: 'int64', dims: [1], values: [0] }),
      })
      const pairs = b.apply(
        'Reshape',
        [b.apply('Concat', [b.integers([1, 0, 2, 1]), zeros], [8], { axis: 0 }), b.integers([-1, 2])],
        [4, 2],
      )
      const turned = b.apply(
        'Slice',
        [pairs, b.integers([-1]), b.integers([-1000]), b.integers([0]), b.integers([-1])],
        [4, 2],
      )
      const flat = b.apply('Reshape', [operators.permute(b, turned, [1, 0]), b.integers([-1])], [8])
      return b.apply('Pad', [x, operators.cast(b, flat, 'int64')], [1, channels, height + 3, width + 1], {
        mode: 'constant',
      })
    },
  ]
  return b.finish(b.maybe(b.pick(forms)(), 0.3))
}

/** Constants by every attribute that the opset has for them. */
function constantForms(b: Builder): BuiltModel {
  const columns = b.integer(2, 12)
  const x = b.maybe(b.input([1, columns]))
  const [value = 0] = b.numbers(1)
  const forms: (() => Value)[] = [
    () => {
      const weight = b.constantNode([columns, 3], {
        value: tensor({
          type: 'float',
          dims: [columns, 3],
          values: b.numbers(columns * 3),
          storage: b.pick(['raw', 'typed']),
        }),
      })
      return b.apply('MatMul', [x, weight], [1, 3])
    },
    () =>
      b.apply('Add', [x, b.constantNode([], { value: tensor({ type: 'float', dims: [], values: [value] }) })], x.shape),
  ]
  if (b.opset >= 12) {
    forms.push(
      () => b.apply('Mul', [x, b.constantNode([], { value_float: float(value) })], x.shape),
      () => b.apply('Add', [x, b.constantNode([columns], { value_floats: floats(b.numbers(columns)) })], x.shape),
      () => b.apply('Reshape', [x, b.constantNode([2], { value_ints: ints([-1, 1]) }, 'int64')], [columns, 1]),
      () => {
        const target = operators.unsqueezed(b, b.constantNode([], { value_int: int(-1) }, 'int64'), 0)
        return b.apply('Reshape', [x, target], [columns])
      },
    )
  }
  return b.finish(b.maybe(b.pick(forms)(), 0.3))
}

function constantOfShape(b: Builder): BuiltModel {
  const shape = anyShape(b, [2, 3])
  const x = b.maybe(b.input(shape))
  const [value = 0] = b.numbers(1)
  const filled = b.chance(0.8) ? { value: tensor({ type: 'float', dims: [1], values: [value] }) } : {}
  const wanted = b.pick([(): Value => b.integers(shape), (): Value => b.apply('Shape', [x], [shape.length])])()
  const constant = b.apply('ConstantOfShape', [wanted], shape, filled)
  switch (b.pick(['Add', 'Mul', 'Sub', 'Concat'])) {
    case 'Add':
      return b.finish(b.apply('Add', b.shuffled([x, constant]), shape))
    case 'Sub':
      return b.finish(b.apply('Sub', b.shuffled([x, constant]), shape))
    case 'Mul':
      return b.finish(b.apply('Mul', b.shuffled([x, constant]), shape))
    default: {
      const together = shape.map((extent, axis) => (axis === 1 ? 2 * extent : extent))
      return b.finish(b.apply('Concat', b.shuffled([x, constant]), together, { axis: 1 }))
    }
  }
}

/** Weights of another type than the flow has, which a Cast brings to it. */
function castWeights(b: Builder): BuiltModel {
  const columns = b.integer(2, 12)
  const x = b.maybe(b.input([1, columns]))
  const types: ElementType[] = ['double', 'float16', 'float16', 'int32', 'int64']
  if (b.opset >= 13) types.push('bfloat16', 'bfloat16', 'bfloat16')
  const type = b.pick(types)
  const whole = type === 'int32' || type === 'int64'
  const numbers = (count: number): number[] =>
    whole ? Array.from({ length: count }, () => b.integer(-4, 4)) : b.fineNumbers(count)
  const weight = (dims: Shape): Value => operators.cast(b, b.constant(dims, numbers(sizeOf(dims)), type), 'float')
  switch (b.pick(['MatMul', 'Add', 'Mul', 'Gemm'])) {
    case 'MatMul':
      return b.finish(b.apply('MatMul', [x, weight([columns, 4])], [1, 4]))
    case 'Add':
      return b.finish(b.apply('Add', b.shuffled([x, weight([columns])]), x.shape))
    case 'Mul':
      return b.finish(b.apply('Mul', b.shuffled([x, weight([])]), x.shape))
    default:
      return b.finish(b.relu(b.apply('Gemm', [x, weight([3, columns]), weight([3])], [1, 3], { transB: 1 })))
  }
}

/** Parts of the network, or all of it, in double precision. */
function castFlow(b: Builder): BuiltModel {
  const columns = b.integer(2, 12)
  const given = b.pick(['float', 'double'] as const)
  const x = b.input([1, columns], given)
  const wide = given === 'double' && b.chance(0.6) ? x : operators.cast(b, x, 'double')
  const product = b.apply('MatMul', [wide, b.constant([columns, 4], b.numbers(columns * 4), 'double')], [1, 4])
  const shifted = b.apply('Add', b.shuffled([product, b.constant([4], b.numbers(4), 'double')]), [1, 4])
  // Relu takes doubles since opset 14.
  const result = b.opset >= 14 && b.chance(0.5) ? b.relu(shifted) : shifted
  if (b.chance(0.4)) return b.finish(result, result, 'double')
  const narrow = operators.cast(b, result, 'float')
  return b.finish(b.dense(b.relu(narrow), 3), undefined, 'float')
}

/** One dense layer, its weights in every field that onnx.proto has for them. */
function storage(b: Builder): BuiltModel {
  const columns = b.integer(2, 12)
  const x = b.input([1, columns])
  const weight = (dims: Shape): Value => {
    const count = sizeOf(dims)
    const type = b.pick(['float', 'float', 'double', 'float16', b.opset >= 13 ? 'bfloat16' : 'float16'] as const)
    const values = b.fineNumbers(count)
    const stored = { type, dims, values, storage: b.pick(['raw', 'typed'] as const) }
    const constant = b.chance(0.3) ? b.constantNode(dims, { value: tensor(stored) }, type) : b.initializer(stored)
    return type === 'float' ? constant : operators.cast(b, constant, 'float')
  }
  const product = b.apply('MatMul', [x, weight([columns, 5])], [1, 5])
  return b.finish(b.relu(b.apply('Add', [product, weight([5])], [1, 5])))
}

/** A weight that the graph makes of others: turned, reshaped, scaled, put together. */
function weightOf(b: Builder, shape: Shape, depth: number): Value {
  if (depth === 0) return b.constant(shape)
  const part = (dims: Shape): Value => weightOf(b, dims, depth - 1)
  const forms: (() => Value)[] = [
    () => b.apply('Identity', [part(shape)], shape),
    () => b.apply('Reshape', [part([sizeOf(shape)]), b.integers(shape)], shape),
    () => b.apply(b.pick(['Add', 'Sub', 'Mul']), [part(shape), part(shape.slice(-1))], shape),
    () => b.apply('Neg', [part(shape)], shape),
  ]
  const [rows = 1, columns = 1] = shape
  if (shape.length === 2) {
    forms.push(
      () => operators.permute(b, part([columns, rows]), [1, 0]),
      () => operators.permute(b, part([columns, rows]), [1, 0]),
      () => b.apply('MatMul', [part([rows, 2]), part([2, columns])], shape),
    )
    if (rows > 1) {
      forms.push(() => b.apply('Concat', [part([1, columns]), part([rows - 1, columns])], shape, { axis: 0 }))
    }
  }
  return b.pick(forms)()
}

function foldedWeights(b: Builder): BuiltModel {
  const columns = b.integer(2, 10)
  const x = b.maybe(b.input([1, columns]))
  const outputs = b.integer(1, 5)
  const product = b.apply('MatMul', [x, weightOf(b, [columns, outputs], b.integer(1, 2))], [1, outputs])
  const bias = weightOf(b, [outputs], b.integer(0, 1))
  return b.finish(b.maybe(b.apply('Add', b.shuffled([product, bias]), [1, outputs])))
}

function initializersAsInputs(b: Builder): BuiltModel {
  b.initializersAreInputs = true
  const x = b.input(image(b, 2))
  const features = b.relu(operators.conv(b, x))
  const pooled = b.chance(0.5) ? operators.globalPool(b, features, 'GlobalAveragePool') : features
  return b.finish(b.dense(b.flattened(pooled), 3))
}

function dynamicBatch(b: Builder): BuiltModel {
  const shape = b.chance(0.5) ? image(b, 2) : deep(b)
  const batch = b.pick(['N', 'batch_size', 'unk__0', null])
  const x = b.input(shape, 'float', [batch, ...shape.slice(1)])
  const inner = shape.length === 4 && b.chance(0.6) ? b.relu(operators.conv(b, x)) : b.maybe(x, 1)
  const flat = b.flattened(b.maybe(inner))
  return b.finish(b.chance(0.7) ? b.dense(flat, b.integer(1, 5)) : flat)
}

function denseNetwork(b: Builder): BuiltModel {
  let value = b.input(b.chance(0.7) ? [1, b.integer(2, 20)] : anyShape(b, [3, 4]))
  if (value.shape.length > 2) value = b.flattened(value)
  for (let count = b.integer(1, 3); count > 0; count--) {
    const layer = b.dense(value, b.integer(2, 8))
    value = b.pick([
      (): Value => b.relu(layer),
      (): Value => leakyRelu(b, layer),
      (): Value => operators.clip(b, layer),
      (): Value => operators.pRelu(b, layer),
    ])()
  }
  return b.finish(b.dense(value, 3))
}

function convolutionalNetwork(b: Builder): BuiltModel {
  let value = b.input(image(b, 2, b.integer(1, 2)))
  const normalised = b.chance(0.5)
  value = operators.conv(b, value)
  if (normalised) value = operators.batchNormalization(b, value)
  value = b.relu(value)
  if (b.chance(0.8)) value = operators.pool(b, value, b.pick(['MaxPool', 'AveragePool']))
  if (b.chance(0.3)) value = operators.globalPool(b, value, b.pick(['GlobalMaxPool', 'GlobalAveragePool']))
  if (b.chance(0.3)) value = operators.dropout(b, value)
  return b.finish(b.dense(b.flattened(value), 4))
}

/** Layers of one dimension, at times by way of an axis that comes and goes. */
function signalNetwork(b: Builder): BuiltModel {
  const length = b.integer(6, 24)
  const flat = b.chance(0.5)
  const given = b.input(flat ? [1, length] : [1, b.integer(1, 3), length])
  const x = flat ? operators.unsqueezed(b, given, 1) : given
  let value = b.relu(operators.conv(b, x))
  if (b.chance(0.6)) value = operators.pool(b, value, b.pick(['MaxPool', 'AveragePool']))
  if (b.chance(0.3)) value = operators.convTranspose(b, value)
  if (b.chance(0.3)) value = operators.reduce(b, value, b.pick(['ReduceMean', 'ReduceMax']))
  return b.finish(value.shape.length > 1 && value.shape[0] === 1 ? b.dense(b.flattened(value), 2) : value)
}

/** A convolution that keeps the extents. */
function same(b: Builder, x: Value, width: number, kernel: 1 | 3): Value {
  const [batch = 1, channels = 1, ...extents] = x.shape
  const margin = (kernel - 1) / 2
  const sides = [margin, margin, margin, margin]
  const attributes =
    b.chance(0.3) && b.opset >= 7 ? { auto_pad: b.pick(['SAME_UPPER', 'SAME_LOWER']) } : { pads: sides }
  const operands = [x, b.constant([width, channels, kernel, kernel]), b.constant([width])]
  return b.apply('Conv', operands, [batch, width, ...extents], { ...attributes, kernel_shape: [kernel, kernel] })
}

function residual(b: Builder): BuiltModel {
  const x = b.input([1, b.integer(1, 3), b.integer(3, 5), b.integer(3, 5)])
  let value = b.chance(0.5) ? b.relu(same(b, x, 2, 3)) : x
  for (let count = b.integer(1, 2); count > 0; count--) {
    const [, width = 1] = value.shape
    let inner = same(b, b.relu(same(b, value, b.integer(1, 2), 1)), width, b.pick([1, 3]))
    if (b.chance(0.4)) inner = operators.batchNormalization(b, inner)
    const shortcut = b.chance(0.3) ? same(b, value, width, 1) : value
    value = b.apply(b.pick(['Add', 'Add', 'Sum', 'Sub']), b.shuffled([inner, shortcut]), value.shape)
    if (b.chance(0.7)) value = b.relu(value)
  }
  if (b.chance(0.5)) return b.finish(value)
  return b.finish(b.dense(b.flattened(operators.globalPool(b, value, 'GlobalAveragePool')), 3))
}

function inception(b: Builder): BuiltModel {
  const x = b.input([1, b.integer(1, 3), b.integer(3, 5), b.integer(3, 5)])
  const [batch = 1, channels = 1, height = 1, width = 1] = x.shape
  const stem = b.maybe(x)
  const pooling = { kernel_shape: [3, 3], pads: [1, 1, 1, 1], strides: [1, 1] }
  const parts = b.shuffled([
    (): Value => same(b, stem, 2, 1),
    (): Value => b.relu(same(b, b.relu(same(b, stem, 1, 1)), 2, 3)),
    (): Value => b.apply('MaxPool', [stem], stem.shape, pooling),
    (): Value => same(b, b.apply('AveragePool', [stem], stem.shape, pooling), 1, 1),
    (): Value => stem,
  ])
  const branches = parts.slice(0, b.integer(2, 3)).map((part) => part())
  const together = branches.reduce((total, { shape }) => total + (shape[1] ?? 0), 0)
  const joined = b.apply('Concat', branches, [batch, together, height, width], { axis: b.axis(1, 4) })
  switch (b.pick(['end', 'max', 'residual', 'dense'])) {
    case 'max':
      return b.finish(operators.pool(b, joined, 'MaxPool'))
    case 'residual':
      return b.finish(b.relu(b.apply('Add', [same(b, joined, channels, 1), x], x.shape)))
    case 'dense':
      return b.finish(b.dense(b.flattened(b.relu(joined)), 2))
    default:
      return b.finish(joined)
  }
}

/** What a converter makes of a model with the channels last: transpositions around each layer. */
function nhwc(b: Builder): BuiltModel {
  const [, channels = 1, height = 1, width = 1] = image(b, 2, b.integer(1, 3))
  const x = b.input([1, height, width, channels], 'float', [b.pick([1, 'unk__12']), height, width, channels])
  const first = operators.permute(b, x, [0, 3, 1, 2])
  const features = operators.permute(b, b.relu(operators.conv(b, first)), [0, 2, 3, 1])
  // Biases and scales are along the last axis now.
  const shifted = b.apply('Add', b.shuffled([features, b.constant(features.shape.slice(-1))]), features.shape)
  const pooled = operators.permute(
    b,
    operators.pool(b, operators.permute(b, shifted, [0, 3, 1, 2]), b.pick(['MaxPool', 'AveragePool'])),
    [0, 2, 3, 1],
  )
  if (b.chance(0.4)) return b.finish(operators.reduce(b, pooled, 'ReduceMean'))
  const size = sizeOf(pooled.shape)
  const flat = b.apply('Reshape', [pooled, b.integers([-1, size])], [1, size])
  const product = b.apply('MatMul', [flat, b.constant([size, 3])], [1, 3])
  const logits = b.apply('Add', [product, b.constant([3])], [1, 3])
  return b.chance(0.5) ? b.finish(b.apply('Softmax', [logits], [1, 3]), logits) : b.finish(logits)
}
