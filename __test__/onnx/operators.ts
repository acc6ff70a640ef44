/** Operators with random attributes, in the form of the opset at hand. Each takes a builder and adds to its graph. */
import { sizeOf } from './builder.js'
import type { Attributes, Builder, Operand, Shape, Value } from './builder.js'
import { float, floats } from './writer.js'

/** At most so many entries has an input, so that files stay small. */
export const MOST_ENTRIES = 150

/** The shape of an image, or of a signal where `rank` is 1. The batch extent is 1. */
export function image(b: Builder, rank: number, channels = b.integer(1, 4)): Shape {
  const room = Math.floor((MOST_ENTRIES / channels) ** (1 / rank))
  return [1, channels, ...Array.from({ length: rank }, () => b.integer(Math.min(4, room), Math.min(room, 14)))]
}

/** A shape of any rank, with a batch extent of 1 but for `batches`. */
export function anyShape(b: Builder, ranks: readonly [number, number] = [2, 4], batches = 0): Shape {
  const rank = b.integer(...ranks)
  const most = [150, 40, 8, 5, 3][rank - 1] ?? 3
  const leading = rank > 1 && !b.chance(batches) ? 1 : b.integer(2, Math.min(3, most))
  return [leading, ...Array.from({ length: rank - 1 }, () => b.integer(1, most))]
}

/** A shape that a constant may have to be broadcast to `shape` without enlarging it. */
export function broadcastShape(b: Builder, shape: Shape): Shape {
  const channels = shape.slice(1).map((extent, axis) => (axis === 0 ? extent : 1))
  const kept = shape.map((extent) => (b.chance(0.5) ? extent : 1))
  return b.pick([[], [1], shape, shape.slice(1), channels, [1, ...channels], shape.slice(-1), kept])
}

/** The common shape of two that broadcast. */
function broadcast(a: Shape, b: Shape): Shape {
  const rank = Math.max(a.length, b.length)
  return Array.from({ length: rank }, (_, axis) => {
    const [left = 1, right = 1] = [a[axis - rank + a.length], b[axis - rank + b.length]]
    return left === 1 ? right : left
  })
}

/** Strides, pads and so on along each axis, and the extents that come of them. */
function windows(
  b: Builder,
  extents: Shape,
  can: { dilate: boolean; ceil: boolean },
): { kernel: number[]; attributes: Attributes; outputs: number[] } {
  const along = <T>(draw: (axis: number) => T): T[] => extents.map((_, axis) => draw(axis))
  const kernel = along((axis) => b.integer(1, Math.min(4, extents[axis] ?? 1)))
  const mode = b.pick(['NOTSET', 'NOTSET', '', '', 'VALID', 'SAME_UPPER', 'SAME_LOWER'])
  const same = mode.startsWith('SAME')
  // Where the stride is longer than the window, SAME would take away from the input: onnxruntime refuses that of pools.
  const longest = along((axis) => (same && can.ceil ? Math.min(3, kernel[axis] ?? 1) : 3))
  const strides = b.chance(0.35) ? along(() => 1) : along((axis) => b.integer(1, longest[axis] ?? 1))
  // SAME of a dilated window is refused by onnxruntime, and of pools it is not what the standard says.
  const dilate = can.dilate && !same
  const dilations = along((axis) => {
    const [extent = 1, taps = 1] = [extents[axis], kernel[axis]]
    return dilate && b.chance(0.35) && 2 * (taps - 1) < extent ? 2 : 1
  })
  const reach = along((axis) => ((kernel[axis] ?? 1) - 1) * (dilations[axis] ?? 1) + 1)
  const pad = (): number[] => along((axis) => b.integer(0, Math.min(2, (kernel[axis] ?? 1) - 1)))
  const padded = (mode === 'NOTSET' || mode === '') && b.chance(0.6)
  const [before, after] = padded ? [pad(), pad()] : [along(() => 0), along(() => 0)]
  // The formula of VALID knows no ceil_mode: where the two differ, a model is refused.
  const ceil = can.ceil && !same && mode !== 'VALID' && b.chance(0.4)
  const round = ceil ? Math.ceil : Math.floor
  const outputs = along((axis) => {
    const [extent = 1, stride = 1, head = 0] = [extents[axis], strides[axis], before[axis]]
    if (same) return Math.ceil(extent / stride)
    const outputs = round((extent + head + (after[axis] ?? 0) - (reach[axis] ?? 1)) / stride) + 1
    // With ceil_mode, a window that would begin behind the input and its first pad is left out.
    return ceil && (outputs - 1) * stride >= extent + head ? outputs - 1 : outputs
  })
  const attributes = {
    auto_pad: mode === '' ? undefined : mode,
    pads: padded ? [...before, ...after] : undefined,
    strides: strides.some((stride) => stride !== 1) || b.chance(0.3) ? strides : undefined,
    dilations: dilations.some((dilation) => dilation !== 1) || (dilate && b.chance(0.2)) ? dilations : undefined,
    ceil_mode: ceil ? 1 : can.ceil && b.chance(0.2) ? 0 : undefined,
  }
  return { kernel, attributes, outputs }
}

export function conv(b: Builder, x: Value): Value {
  const [batch = 1, channels = 1, ...extents] = x.shape
  const { kernel, attributes, outputs } = windows(b, extents, { dilate: true, ceil: false })
  const group = b.pick([1, 2, 3, channels].filter((count) => channels % count === 0))
  const width = group * b.integer(1, group > 2 ? 1 : 2)
  const operands = [x, b.constant([width, channels / group, ...kernel])]
  if (b.chance(0.6)) operands.push(b.constant([width]))
  return b.apply('Conv', operands, [batch, width, ...outputs], {
    ...attributes,
    kernel_shape: b.chance(0.5) ? kernel : undefined,
    group: group > 1 || b.chance(0.3) ? group : undefined,
  })
}

export function convTranspose(b: Builder, x: Value): Value {
  const [batch = 1, channels = 1, ...extents] = x.shape
  const along = <T>(draw: (axis: number) => T): T[] => extents.map((_, axis) => draw(axis))
  const group = b.pick([1, 1, 2, channels].filter((count) => channels % count === 0))
  const width = b.integer(1, 2)
  const kernel = along(() => b.integer(1, 3))
  // Before version 11 it is not defined which end an odd element is taken from: a model with one is refused.
  const cropped = b.opset < 11 ? [] : ['SAME_UPPER', 'SAME_LOWER', 'output_shape']
  const form = b.pick(['NOTSET', '', '', 'VALID', ...cropped])
  const strides = along((axis) => b.integer(1, form.startsWith('SAME') ? (kernel[axis] ?? 1) : 3))
  const dilations = form.startsWith('SAME') ? along(() => 1) : along(() => (b.chance(0.25) ? 2 : 1))
  const extra = along((axis) => {
    const room = (strides[axis] ?? 1) - 1
    return form === 'NOTSET' || form === '' ? b.integer(0, b.chance(0.5) ? room : 0) : 0
  })
  const whole = along(
    (axis) =>
      ((extents[axis] ?? 1) - 1) * (strides[axis] ?? 1) +
      (extra[axis] ?? 0) +
      ((kernel[axis] ?? 1) - 1) * (dilations[axis] ?? 1) +
      1,
  )
  const pad = (): number[] => along((axis) => b.integer(0, Math.min(1, (kernel[axis] ?? 1) - 1)))
  const padded = (form === 'NOTSET' || form === '') && b.chance(0.5)
  const [before, after] = padded ? [pad(), pad()] : [along(() => 0), along(() => 0)]
  const outputs = along((axis) => {
    const [full = 1] = [whole[axis]]
    if (form.startsWith('SAME')) return (extents[axis] ?? 1) * (strides[axis] ?? 1)
    if (form === 'output_shape') return full - b.integer(0, Math.min(full - 1, (kernel[axis] ?? 1) - 1))
    return full - (before[axis] ?? 0) - (after[axis] ?? 0)
  })
  const operands = [x, b.constant([channels, width, ...kernel])]
  if (b.chance(0.6)) operands.push(b.constant([width * group]))
  return b.apply('ConvTranspose', operands, [batch, width * group, ...outputs], {
    auto_pad: form === '' || form === 'output_shape' ? undefined : form,
    pads: padded ? [...before, ...after] : undefined,
    strides: strides.some((stride) => stride !== 1) || b.chance(0.3) ? strides : undefined,
    dilations: dilations.some((dilation) => dilation !== 1) ? dilations : undefined,
    output_padding: extra.some((entry) => entry !== 0) ? extra : undefined,
    output_shape: form === 'output_shape' ? outputs : undefined,
    kernel_shape: b.chance(0.5) ? kernel : undefined,
    group: group > 1 || b.chance(0.3) ? group : undefined,
  })
}

export function pool(b: Builder, x: Value, op: 'MaxPool' | 'AveragePool'): Value {
  const [batch = 1, channels = 1, ...extents] = x.shape
  const dilate = b.opset >= (op === 'MaxPool' ? 10 : 19)
  const { kernel, attributes, outputs } = windows(b, extents, { dilate, ceil: b.opset >= 10 })
  const shape = [batch, channels, ...outputs]
  if (op === 'MaxPool') {
    const order = b.opset >= 8 && b.chance(0.2) ? 0 : undefined
    return b.apply(op, [x], shape, { ...attributes, kernel_shape: kernel, storage_order: order })
  }
  const counted = b.pick([undefined, 0, 1, 1])
  return b.apply(op, [x], shape, { ...attributes, kernel_shape: kernel, count_include_pad: counted })
}

export function globalPool(b: Builder, x: Value, op: 'GlobalMaxPool' | 'GlobalAveragePool'): Value {
  return b.apply(op, [x], [...x.shape.slice(0, 2), ...x.shape.slice(2).map(() => 1)])
}

/** A product with a constant on one side, and C in any form that broadcasts. */
export function gemm(b: Builder, x: Value, flowFirst: boolean): Value {
  const turned = b.chance(0.4)
  const [rows = 1, columns = 1] = turned ? [...x.shape].reverse() : x.shape
  const other = b.integer(1, 6)
  const constantTurned = b.chance(0.5)
  const across = flowFirst ? [columns, other] : [other, rows]
  const matrix = b.constant(constantTurned ? [...across].reverse() : across)
  const shape = flowFirst ? [rows, other] : [other, columns]
  const [height = 1, width = 1] = shape
  const operands = flowFirst ? [x, matrix] : [matrix, x]
  if (b.opset < 11 || b.chance(0.7)) {
    operands.push(b.constant(b.pick([[], [1], [width], [1, width], [height, 1], [1, 1], shape])))
  }
  const [transA, transB] = flowFirst ? [turned, constantTurned] : [constantTurned, turned]
  return b.apply('Gemm', operands, shape, {
    transA: transA ? 1 : b.pick([undefined, 0]),
    transB: transB ? 1 : b.pick([undefined, 0]),
    alpha: b.chance(0.4) ? float(b.pick([0.5, 2, -1.25])) : undefined,
    beta: b.chance(0.4) ? float(b.pick([0.5, 2, -1, 0])) : undefined,
  })
}

/** A flow and a constant, matrices in stacks or not, that can be multiplied. */
export function matMul(b: Builder): Value {
  const [m, k, n] = [b.integer(1, 4), b.integer(2, 8), b.integer(1, 6)]
  const stack = b.pick([[], [], [1], [2], [1, 3], [2, 2]])
  const flowFirst = b.chance(0.6)
  const constantStack = b.pick([[], [], stack, stack.map(() => 1)])
  const vector = stack.length === 0 && b.chance(0.15)
  if (flowFirst) {
    const x = b.maybe(b.input(vector ? [k] : [...stack, m, k]))
    const thin = !vector && constantStack.length === 0 && b.chance(0.15)
    const weight = b.constant(thin ? [k] : [...constantStack, k, n])
    const shape = [...broadcast(stack, constantStack), ...(vector ? [] : [m]), ...(thin ? [] : [n])]
    return b.apply('MatMul', [x, weight], shape)
  }
  const x = b.maybe(b.input(vector ? [k] : [...stack, k, n]))
  const thin = !vector && b.chance(0.15)
  const weight = b.constant(thin ? [k] : [...(vector ? [] : constantStack), m, k])
  const stacks = thin || vector ? stack : broadcast(stack, constantStack)
  return b.apply('MatMul', [weight, x], [...stacks, ...(thin ? [] : [m]), ...(vector ? [] : [n])])
}

/** A flow and a constant, in both orders but for a quotient, which is linear in its dividend alone. */
export function arithmetic(b: Builder, x: Value, op: 'Add' | 'Sub' | 'Mul' | 'Div'): Value {
  // Now and then the constant is the larger one.
  const dims = b.chance(0.1) ? x.shape.map((extent) => (extent === 1 ? 2 : extent)) : broadcastShape(b, x.shape)
  const constant = b.constant(dims, op === 'Div' ? b.divisors(sizeOf(dims)) : b.numbers(sizeOf(dims)))
  const operands = op === 'Div' ? [x, constant] : b.shuffled([x, constant])
  return b.apply(op, operands, broadcast(x.shape, dims))
}

/** Something else made of the same input: as large, or one that broadcasts to it. */
export function branch(b: Builder, x: Value, broadcasting: boolean): Value {
  const { shape } = x
  const axes = shape.map((_, axis) => axis).slice(1)
  const few = axes.length > 0 ? b.shuffled(axes).slice(0, b.integer(1, axes.length)).sort() : []
  switch (
    b.pick(broadcasting && few.length > 0 ? ['Relu', 'Mul', 'ReduceMean', 'ReduceSum'] : ['Relu', 'Mul', 'Abs'])
  ) {
    case 'Relu':
      return b.relu(x)
    case 'Abs':
      return b.apply('Abs', [x], shape)
    case 'ReduceMean':
      return reduceOver(b, x, 'ReduceMean', few, true)
    case 'ReduceSum':
      return reduceOver(b, x, 'ReduceSum', few, true)
    default: {
      const dims = broadcastShape(b, shape)
      return b.apply('Mul', [x, b.constant(dims)], shape)
    }
  }
}

type Reduction = 'ReduceMean' | 'ReduceSum' | 'ReduceMax'

/** The opset in which the axes of a reduction became an input. */
const axesAreInputs = (op: Reduction): number => (op === 'ReduceSum' ? 13 : 18)

function reduceOver(b: Builder, x: Value, op: Reduction, axes: readonly number[], keep: boolean): Value {
  const rank = x.shape.length
  const shape = x.shape.flatMap((extent, axis) => (axes.includes(axis) ? (keep ? [1] : []) : [extent]))
  const written = axes.map((axis) => b.axis(axis, rank))
  const keepdims = keep ? b.pick([undefined, 1]) : 0
  if (b.opset < axesAreInputs(op)) return b.apply(op, [x], shape, { axes: written, keepdims })
  return b.apply(op, [x, b.integers(written)], shape, { keepdims })
}

export function reduce(b: Builder, x: Value, op: Reduction): Value {
  const all = x.shape.map((_, axis) => axis)
  const keep = b.chance(0.5)
  const byInput = b.opset >= axesAreInputs(op)
  if (b.chance(0.12)) {
    const noop = byInput && b.chance(0.5)
    const shape = noop ? x.shape : keep ? all.map(() => 1) : []
    return b.apply(op, [x], shape, { keepdims: keep ? 1 : 0, noop_with_empty_axes: noop ? 1 : undefined })
  }
  const candidates = b.chance(0.15) ? all : all.slice(1)
  const axes = b.shuffled(candidates).slice(0, b.integer(1, candidates.length))
  return reduceOver(b, x, op, axes, keep)
}

export function batchNormalization(b: Builder, x: Value): Value {
  const [, channels = 1] = x.shape
  const operands = [
    x,
    b.constant([channels]),
    b.constant([channels]),
    b.constant([channels]),
    b.constant([channels], b.variances(channels)),
  ]
  return b.apply('BatchNormalization', operands, x.shape, {
    epsilon: b.chance(0.5) ? float(b.pick([1e-3, 0.25, 1e-5, 1e-7])) : undefined,
    momentum: b.chance(0.3) ? float(0.99) : undefined,
    training_mode: b.opset >= 14 && b.chance(0.3) ? 0 : undefined,
    spatial: b.opset < 9 && b.chance(0.3) ? 1 : undefined,
  })
}

export function clip(b: Builder, x: Value): Value {
  const [low, high] = b.pick([
    [undefined, undefined],
    [-0.5, undefined],
    [0, undefined],
    [undefined, 0.75],
    [0, 6],
    [-1, 1],
    [-0.25, 0.5],
    [0.25, 1],
    [0, 1],
  ])
  if (b.opset < 11) {
    return b.apply('Clip', [x], x.shape, {
      min: low === undefined ? undefined : float(low),
      max: high === undefined ? undefined : float(high),
    })
  }
  const operands: Operand[] = [low, high].map((end) => (end === undefined ? undefined : b.constant([], [end])))
  // Inputs at the end may be left out altogether.
  while (operands.length > 0 && operands.at(-1) === undefined && b.chance(0.7)) operands.pop()
  return b.apply('Clip', [x, ...operands], x.shape)
}

export function pRelu(b: Builder, x: Value): Value {
  const [, ...rest] = x.shape
  const channels = rest.map((extent, axis) => (axis === 0 ? extent : 1))
  const dims = b.pick([[], [1], channels, channels, rest, x.shape, x.shape.slice(-1)])
  const values = Array.from({ length: sizeOf(dims) }, () => b.integer(-8, 40) / 32)
  return b.apply('PRelu', [x, b.constant(dims, values)], x.shape)
}

export function extremum(b: Builder, x: Value, op: 'Max' | 'Min'): Value {
  // Broadcasting came with opset 8.
  const dims = (): Shape => (b.opset < 8 ? x.shape : broadcastShape(b, x.shape))
  const constant = (): Value => b.constant(dims())
  const other = (): Value => branch(b, x, b.opset >= 8)
  const operands = b.pick([
    () => [x, constant()],
    () => [x, constant()],
    () => [x, other()],
    () => [other(), other(), x],
    () => [other(), constant(), x],
    () => [x],
  ])()
  return b.apply(op, b.shuffled(operands), x.shape)
}

export function pad(b: Builder, x: Value): Value {
  const rank = x.shape.length
  const mode = b.pick([undefined, 'constant', 'constant', 'reflect', 'edge'])
  const constant = mode === undefined || mode === 'constant'
  const cropping = constant && b.chance(0.12)
  const axes = x.shape.map((_, axis) => axis)
  const spatial = axes.filter((axis) => axis >= (b.chance(0.25) ? 1 : Math.min(2, rank - 1)))
  const side = (axis: number): number => {
    if (!spatial.includes(axis)) return 0
    const extent = x.shape[axis] ?? 1
    return cropping && extent > 2 ? b.integer(-1, 1) : b.integer(0, mode === 'reflect' ? Math.min(2, extent - 1) : 2)
  }
  const [before, after] = [axes.map(side), axes.map(side)]
  const shape = x.shape.map((extent, axis) => extent + (before[axis] ?? 0) + (after[axis] ?? 0))
  const value = constant && b.chance(0.5) ? b.pick([0, 1, -0.5, 0.25]) : undefined
  if (b.opset < 11) {
    const filled = value === undefined ? undefined : float(value)
    return b.apply('Pad', [x], shape, { pads: [...before, ...after], mode, value: filled })
  }
  const some = b.opset >= 18 && b.chance(0.4)
  const chosen = some ? spatial : axes
  const pads = b.integers([before, after].flatMap((sides) => chosen.map((axis) => sides[axis] ?? 0)))
  const operands: Operand[] = [x, pads]
  if (value !== undefined || some) operands.push(value === undefined ? undefined : b.constant([], [value]))
  if (some) operands.push(b.integers(chosen.map((axis) => b.axis(axis, rank))))
  return b.apply('Pad', operands, shape, { mode })
}

export function slice(b: Builder, x: Value): Value {
  const rank = x.shape.length
  const stepped = b.opset >= 10 && b.chance(0.6)
  const axes = b.shuffled(x.shape.map((_, axis) => axis).slice(rank > 1 ? 1 : 0))
  const chosen = b.chance(0.25) ? x.shape.map((_, axis) => axis) : axes.slice(0, b.integer(1, axes.length))
  const shape = [...x.shape]
  const [starts, ends, steps]: [number[], number[], number[]] = [[], [], []]
  for (const axis of chosen) {
    const extent = x.shape[axis] ?? 1
    const from = b.integer(0, extent - 1)
    const to = b.integer(from, extent - 1)
    const step = stepped ? b.pick([1, 2, 3, -1, -1, -2]) : 1
    const [start, last] = step > 0 ? [from, to] : [to, from]
    shape[axis] = Math.floor((to - from) / Math.abs(step)) + 1
    // An index from the end; or, of an end, one that lies beyond it and is clamped.
    starts.push(b.chance(0.35) ? start - extent : start)
    if (step > 0) ends.push(last === extent - 1 ? b.pick([extent, 2 ** 31 - 1]) : last + 1 - b.pick([0, extent]))
    else ends.push(last === 0 ? b.pick([-extent - 1, -1000]) : last - 1 - b.pick([0, extent]))
    steps.push(step)
  }
  const inOrder = chosen.length === rank && chosen.every((axis, index) => axis === index)
  const written = inOrder && b.chance(0.5) ? undefined : chosen.map((axis) => b.axis(axis, rank, 10))
  if (b.opset < 10) return b.apply('Slice', [x], shape, { starts, ends, axes: written })
  const type = b.pick(['int64', 'int64', 'int32'] as const)
  const operands: Operand[] = [x, b.integers(starts, type), b.integers(ends, type)]
  if (written !== undefined || stepped) operands.push(written && b.integers(written, type))
  if (stepped) operands.push(b.integers(steps, type))
  return b.apply('Slice', operands, shape)
}

/** Pieces along an axis, of which one goes on, or several in another order. */
export function split(b: Builder, x: Value): Value {
  const rank = x.shape.length
  const axis = b.pick(x.shape.flatMap((extent, index) => (extent >= 2 ? [index] : [])))
  const extent = x.shape[axis] ?? 1
  const count = b.integer(2, Math.min(3, extent))
  const equal = extent % count === 0 && b.chance(0.5)
  const uneven = b.opset >= 18 && !equal && b.chance(0.5) && Math.ceil(extent / count) * (count - 1) < extent
  const cuts = b.shuffled(Array.from({ length: extent - 1 }, (_, at) => at + 1)).slice(0, count - 1)
  const ends = [...cuts.sort((a, c) => a - c), extent]
  const parts = equal
    ? Array.from({ length: count }, () => extent / count)
    : uneven
      ? Array.from({ length: count }, (_, index) =>
          Math.min(Math.ceil(extent / count), extent - index * Math.ceil(extent / count)),
        )
      : ends.map((end, index) => end - (ends[index - 1] ?? 0))
  const shapes = parts.map((part) => x.shape.map((entry, index) => (index === axis ? part : entry)))
  const attributes = { axis: axis === 0 && b.chance(0.5) ? undefined : b.axis(axis, rank) }
  const stated = !uneven && (!equal || b.chance(0.5))
  const pieces =
    b.opset < 13
      ? b.applyAll('Split', [x], shapes, { ...attributes, split: stated ? parts : undefined })
      : stated
        ? b.applyAll('Split', [x, b.integers(parts)], shapes, attributes)
        : b.applyAll('Split', [x], shapes, { ...attributes, num_outputs: b.opset >= 18 ? count : undefined })
  const [first, second] = pieces
  if (first === undefined || second === undefined) throw new Error('a split into fewer than two')
  const same = first.shape.join() === second.shape.join()
  switch (b.pick(same ? ['one', 'swapped', 'difference'] : ['one', 'swapped'])) {
    case 'one':
      return b.pick(pieces)
    case 'difference':
      return b.apply('Sub', [first, second], first.shape)
    default: {
      const order = b.shuffled(pieces)
      return b.apply('Concat', order, x.shape, { axis })
    }
  }
}

export function concat(b: Builder, x: Value): Value {
  const rank = x.shape.length
  const axis = b.integer(rank > 1 && b.chance(0.8) ? 1 : 0, rank - 1)
  const operands = [x]
  for (let count = b.integer(1, 2); count > 0; count--) {
    const dims = x.shape.map((extent, index) => (index === axis ? b.integer(1, 2) : extent))
    operands.push(b.chance(0.4) ? b.constant(dims) : branch(b, x, false))
  }
  const together = operands.reduce((total, { shape }) => total + (shape[axis] ?? 0), 0)
  const shape = x.shape.map((extent, index) => (index === axis ? together : extent))
  return b.apply('Concat', b.shuffled(operands), shape, { axis: b.axis(axis, rank) })
}

/** The operator and the axes, which became an input with opset 13. */
function withAxes(
  b: Builder,
  op: 'Squeeze' | 'Unsqueeze',
  x: Value,
  axes: readonly number[] | undefined,
  shape: Shape,
): Value {
  if (axes === undefined) return b.apply(op, [x], shape)
  return b.opset < 13 ? b.apply(op, [x], shape, { axes }) : b.apply(op, [x, b.integers(axes)], shape)
}

export function squeeze(b: Builder, x: Value): Value {
  const ones = x.shape.flatMap((extent, axis) => (extent === 1 ? [axis] : []))
  const rank = x.shape.length
  const all = b.chance(0.15)
  const chosen = all ? ones : b.shuffled(ones).slice(0, b.integer(1, ones.length)).sort()
  const shape = x.shape.filter((_, axis) => !chosen.includes(axis))
  return withAxes(b, 'Squeeze', x, all ? undefined : chosen.map((axis) => b.axis(axis, rank)), shape)
}

export function unsqueeze(b: Builder, x: Value): Value {
  const more = b.integer(1, 2)
  const rank = x.shape.length + more
  const chosen = b.shuffled(Array.from({ length: rank }, (_, axis) => axis)).slice(0, more)
  const rest = [...x.shape]
  const shape = Array.from({ length: rank }, (_, axis) => (chosen.includes(axis) ? 1 : (rest.shift() ?? 1)))
  // Before opset 11 the axes had to be in order.
  const order = b.opset < 11 ? chosen.sort() : chosen
  const written = order.map((axis) => b.axis(axis, rank))
  return withAxes(b, 'Unsqueeze', x, written, shape)
}

/** An axis added, whatever the opset. */
export function unsqueezed(b: Builder, x: Value, axis: number): Value {
  return withAxes(b, 'Unsqueeze', x, [axis], x.shape.toSpliced(axis, 0, 1))
}

export function flatten(b: Builder, x: Value): Value {
  const rank = x.shape.length
  const axis = b.integer(0, rank)
  const written = axis === 1 && b.chance(0.5) ? undefined : axis < rank ? b.axis(axis, rank) : axis
  const shape = [sizeOf(x.shape.slice(0, axis)), sizeOf(x.shape.slice(axis))]
  return b.apply('Flatten', [x], shape, { axis: written })
}

/** Another shape of the same size, with a 0 for an extent that stays and a -1 for one that follows. */
export function reshape(b: Builder, x: Value): Value {
  const size = sizeOf(x.shape)
  const shape = b.chance(0.8) ? [1] : []
  let rest = size
  for (let count = b.integer(0, 2); count > 0; count--) {
    const factor = b.pick([1, 2, 3, 4, 5, 6, 7, 8, 9, 10].filter((divisor) => rest % divisor === 0))
    shape.push(factor)
    rest /= factor
  }
  shape.push(rest)
  const target = shape.map((extent, axis) => (extent === x.shape[axis] && b.chance(0.4) ? 0 : extent))
  if (b.chance(0.5)) target[b.integer(0, target.length - 1)] = -1
  const allowzero = b.opset >= 14 && b.chance(0.2) ? 0 : undefined
  return b.apply('Reshape', [x, b.integers(target)], shape, { allowzero })
}

export function transpose(b: Builder, x: Value): Value {
  const axes = x.shape.map((_, axis) => axis)
  const perm = b.chance(0.2) ? undefined : b.chance(0.5) ? [0, ...b.shuffled(axes.slice(1))] : b.shuffled(axes)
  const shape = (perm ?? [...axes].reverse()).map((axis) => x.shape[axis] ?? 1)
  return b.apply('Transpose', [x], shape, { perm })
}

/** A transposition by a given order. */
export function permute(b: Builder, x: Value, perm: readonly number[]): Value {
  return b.apply(
    'Transpose',
    [x],
    perm.map((axis) => x.shape[axis] ?? 1),
    { perm },
  )
}

export function dropout(b: Builder, x: Value): Value {
  const mask = b.chance(0.3) ? 1 : 0
  if (b.opset < 12) {
    const ratio = b.chance(0.6) ? float(0.25) : undefined
    return b.apply('Dropout', [x], x.shape, { ratio }, mask)
  }
  const operands: Operand[] = [x]
  if (b.chance(0.5)) operands.push(b.constant([], [0.25]))
  if (operands.length > 1 && b.chance(0.5)) operands.push(b.initializer({ type: 'bool', dims: [], values: [0] }))
  return b.apply('Dropout', operands, x.shape, { seed: b.chance(0.2) ? 7 : undefined }, mask)
}

export function depthToSpace(b: Builder, x: Value, block: number): Value {
  const [batch = 1, channels = 1, height = 1, width = 1] = x.shape
  const shape = [batch, channels / block ** 2, height * block, width * block]
  const mode = b.opset >= 11 ? b.pick([undefined, 'DCR', 'CRD', 'CRD']) : undefined
  return b.apply('DepthToSpace', [x], shape, { blocksize: block, mode })
}

export function spaceToDepth(b: Builder, x: Value, block: number): Value {
  const [batch = 1, channels = 1, height = 1, width = 1] = x.shape
  const shape = [batch, channels * block ** 2, height / block, width / block]
  return b.apply('SpaceToDepth', [x], shape, { blocksize: block })
}

/** An enlargement by whole numbers, in the form that the opset has. */
export function resize(b: Builder, x: Value): Value {
  const factors = x.shape.map((_, axis) => (axis < 2 ? 1 : b.integer(1, 3)))
  const shape = x.shape.map((extent, axis) => extent * (factors[axis] ?? 1))
  const mode = b.pick([undefined, 'nearest'])
  if (b.opset < 9) return b.apply('Upsample', [x], shape, { mode, scales: floats(factors) })
  const scales = b.constant([factors.length], factors)
  if (b.opset < 11) return b.apply(b.opset < 10 ? 'Upsample' : 'Resize', [x, scales], shape, { mode })
  const coordinates = ['asymmetric', 'half_pixel', 'pytorch_half_pixel', undefined]
  if (b.opset >= 19) coordinates.push('half_pixel_symmetric')
  const attributes = {
    mode,
    coordinate_transformation_mode: b.pick(coordinates),
    nearest_mode: b.pick([undefined, 'round_prefer_floor', 'round_prefer_ceil', 'floor', 'ceil']),
  }
  const empty = b.constant([0], [])
  const roi = b.opset >= 13 && b.chance(0.5) ? undefined : empty
  if (b.chance(0.5)) return b.apply('Resize', [x, roi, scales], shape, attributes)
  const noScales = b.opset >= 13 && b.chance(0.5) ? undefined : empty
  return b.apply('Resize', [x, roi, noScales, b.integers(shape)], shape, attributes)
}

/** Elements, or blocks of them, at constant places. */
export function gatherNd(b: Builder, x: Value): Value {
  const batch = b.opset >= 12 && b.chance(0.4) ? 1 : 0
  const depth = b.integer(1, x.shape.length - batch)
  const count = b.integer(1, 4)
  const axes = x.shape.slice(batch, batch + depth)
  const places = Array.from({ length: count }, () => axes.map((extent) => b.integer(-extent, extent - 1)))
  const list = batch === 1 ? [1, count, depth] : [count, depth]
  const indices = b.constant(list, places.flat(), 'int64')
  const shape = [...list.slice(0, -1), ...x.shape.slice(batch + depth)]
  return b.apply('GatherND', [x, indices], shape, { batch_dims: batch === 1 ? 1 : undefined })
}

/** To another type, by its number in onnx.proto. */
export function cast(b: Builder, x: Value, type: 'float' | 'double' | 'int32' | 'int64'): Value {
  const to = { float: 1, int32: 6, int64: 7, double: 11 }[type]
  const saturate = b.opset >= 19 && b.chance(0.2) ? 1 : undefined
  return b.apply('Cast', [x], x.shape, { to, saturate })
}
