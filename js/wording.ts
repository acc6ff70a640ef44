/** How numbers, facts and tables are worded for people, in the terminal and in reports. */
import type { BoundResult, NetworkSummary, OnnxSource, PredictedCost, PredictedMemory } from './results.js'

/** Significant digits for people; programs get all of them. */
const DIGITS = 6

/** A column of a table. */
export interface Column {
  /** What stands at its head. */
  readonly title: string
  /** Numbers go to the right, words to the left. */
  readonly align: 'left' | 'right'
}

/** A table before it is set: as text by the command line, as HTML by reports. */
export interface Table {
  /** The columns, from left to right. */
  readonly columns: readonly Column[]
  /** The cells of each row, as many as there are columns. */
  readonly rows: readonly (readonly string[])[]
}

/** A number to six significant digits. */
export function round(value: number): string {
  return formatted(value, Number(value.toPrecision(DIGITS)))
}

/** The end of a bracket, rounded outward: a printed bound is still a bound. */
export function roundOutward(value: number, end: 'lower' | 'upper'): string {
  const nearest = Number(value.toPrecision(DIGITS))
  const inward = end === 'upper' ? nearest < value : nearest > value
  if (!inward || !Number.isFinite(value) || value === 0) return formatted(value, nearest)
  const unit = 10 ** (Math.floor(Math.log10(Math.abs(value))) + 1 - DIGITS)
  return formatted(value, Number((nearest + (end === 'upper' ? unit : -unit)).toPrecision(DIGITS)))
}

function formatted(value: number, rounded: number): string {
  if (Number.isInteger(value) && Math.abs(value) < 1e15) return String(value)
  return Number.isFinite(rounded) ? String(rounded) : 'inf'
}

/** A shape as people write it: 6x24x24. */
export function showShape(shape: readonly number[]): string {
  return shape.length === 0 ? 'scalar' : shape.join('x')
}

/** One line about how sure a bound is. */
export function showGuarantee({
  guarantee,
  failureProbability,
}: Pick<BoundResult, 'guarantee' | 'failureProbability'>): string {
  return guarantee === 'deterministic'
    ? 'deterministic'
    : `probabilistic, wrong with probability at most ${roundOutward(failureProbability, 'upper')}`
}

/** A line about the ONNX file a network is from. */
export function showOnnx({ producer, opset, input, output, folded, unused }: OnnxSource): string {
  return [
    `ONNX opset ${opset}${producer === undefined ? '' : ` by ${producer}`}, from '${input}' to '${output}'`,
    `operators on constants that were computed: ${folded}; nodes that were not needed: ${unused}`,
  ].join('\n')
}

/** The story of a bound, layer by layer. */
export function tableOfLayers({ layers }: Pick<BoundResult, 'layers'>): Table {
  const columns: Column[] = [
    { title: 'step', align: 'left' },
    { title: 'layers', align: 'left' },
    { title: 'shapes', align: 'left' },
    { title: 'norm', align: 'left' },
    { title: 'bound so far', align: 'left' },
    { title: 'epsilon in -> out', align: 'left' },
    { title: 'still', align: 'right' },
    { title: 'stable', align: 'right' },
    { title: 'unstable', align: 'right' },
  ]
  const rows = layers.map((layer) => [
    `${layer.name} (${layer.kind})`,
    layer.members.join(', '),
    `${showShape(layer.inputShape)} -> ${showShape(layer.outputShape)}`,
    `[${roundOutward(layer.norm.lower, 'lower')}, ${roundOutward(layer.norm.upper, 'upper')}]`,
    `${roundOutward(layer.gain, 'upper')} (${layer.gainMethod})`,
    `${roundOutward(layer.epsilonIn, 'upper')} -> ${roundOutward(layer.epsilonOut, 'upper')}`,
    String(layer.still),
    String(layer.stable),
    String(layer.unstable),
  ])
  return { columns, rows }
}

/** What a network is made of, layer by layer. What a layer reads is said where it is not just the layer before it. */
export function tableOfSummary({ layers }: Pick<NetworkSummary, 'layers'>): Table {
  const reads = layers.map(({ inputs }, index) => {
    const before = layers[index - 1]?.name ?? 'input'
    if (inputs.length === 1 && inputs[0] === before) return ''
    return inputs.length > 3 ? `${inputs.slice(0, 2).join(', ')}, ... (${inputs.length})` : inputs.join(', ')
  })
  const branches = reads.some((names) => names !== '')
  const columns: Column[] = [
    { title: '#', align: 'right' },
    { title: 'name', align: 'left' },
    { title: 'type', align: 'left' },
    ...(branches ? ([{ title: 'reads', align: 'left' }] as const) : []),
    { title: 'shapes', align: 'left' },
    { title: 'parameters', align: 'right' },
    { title: 'units', align: 'right' },
  ]
  const rows = layers.map((layer, index) => [
    String(layer.index),
    layer.name,
    layer.type,
    ...(branches ? [reads[index] ?? ''] : []),
    `${showShape(layer.inputShape)} -> ${showShape(layer.outputShape)}`,
    String(layer.parameters),
    String(layer.units),
  ])
  return { columns, rows }
}

/** What bounds of a network will cost, in one line. Predictions have one digit: more would pretend. */
export function showCost({ forward, layerwise, certificate }: PredictedCost): string {
  const about = (value: number): string => `about ${value.toExponential(0).replace('e+', 'e')}`
  const counted = forward.toExponential(2).replace('e+', 'e')
  return `multiply-adds: forward pass ${counted}, layerwise bound ${about(layerwise)}, certificate ${about(certificate)}`
}

/** What bounds of a network will take of memory, in one line: upper bounds, rounded up. */
export function showMemory({ network, layerwise, certificate, radius }: PredictedMemory): string {
  const up = (bytes: number): string => `${String(Math.ceil(bytes / 1e5) / 10)} MB`
  const beside = `a layerwise bound takes up to ${up(layerwise)}, a certificate ${up(certificate)}, a radius ${up(radius)}`
  return `memory: the network keeps up to ${up(network)}; ${beside}`
}
