/** The story of one bound, step by step: where it grows, what each step would do alone, and what its units do. */
import type { GroupMark, Mark } from 'vega'

import type { BoundResult, LayerReport } from '../results.js'
import { measure, shorten } from './font.js'
import { printable } from './markup.js'
import { pictureOptions } from './options.js'
import type { Look, PictureOptions } from './options.js'
import { largest, logRange, showShort, ticks } from './scale.js'
import type { Range } from './scale.js'
import { roundOutward } from '../wording.js'
import { MARGIN, axis, footnotes, heading, label, legend, panel, position } from './sheet.js'
import type { Key } from './sheet.js'
import type { Palette } from './theme.js'
import { render } from './vega.js'
import { showCertainty } from './words.js'

/**
 * Draws where a bound comes from, one row a step: the bound so far as a waterfall beside the product of the steps' own
 * constants, these constants as brackets, and which part of the units is still, stable or unstable.
 *
 * @param bound - what `net.bound` or `net.globalBound` returned
 * @param options - title, width and colours
 * @returns SVG
 * @throws {@link InputError} `ERR_LIPBOUND_ARGUMENT` for a wrong option, `ERR_LIPBOUND_DEPENDENCY` without vega
 */
export async function layersPicture(bound: BoundResult, options: PictureOptions = {}): Promise<string> {
  return drawLayers(bound, pictureOptions('layersPicture', options))
}

/** One row, with all that its marks need. Numbers that have no place on a logarithmic axis are at its edge. */
interface Row {
  readonly layer: LayerReport
  readonly name: string
  /** The bound before the step. */
  readonly from: number
  /** Product of the steps' own constants up to this one; NaN where the steps are no chain. */
  readonly product: number
}

/** From this width on, panels are beside each other. */
const WIDE = 600
const ROW = 24
/** Parts of the width that the panels have, and the gap between them. */
const SHARES = [0.5, 0.26, 0.24]
const GAP = 22
const TICK_ROOM = 54
const HEAD = 22
/** Room for what stands above a column of values. */
const COLUMN_HEAD = 24

export async function drawLayers(bound: BoundResult, look: Look): Promise<string> {
  const { width, palette } = look
  const title = look.title ?? `Where the bound comes from, step by step`
  const head = heading(look.heading ? title : '', subtitle(bound), width, palette)
  const rows = rowsOf(bound)
  const nameWidth = Math.min(width < WIDE ? 92 : 150, Math.ceil(largest(rows.map(({ name }) => measure(name, 12)))))
  const left = MARGIN + nameWidth + 12
  const room = width - left - MARGIN
  const parts = [soFar, alone, units].map((part) => part(bound, rows, palette))

  const marks: Mark[] = [...head.marks]
  const height = rows.length * ROW
  const partTitle = (text: string, x: number, y: number): Mark =>
    label(text, { x, y: y + 12, colour: palette.ink, size: 13, weight: 600 })
  let y = head.height
  if (width >= WIDE) {
    let x = left
    const placed = parts.map((part, index) => {
      const place = { x, width: (SHARES[index] ?? 0) * (room - 2 * GAP) }
      x += place.width + GAP
      return { part, place, key: legend(part.keys, { ...place, y: y + HEAD }) }
    })
    const top = y + HEAD + largest(placed.map(({ key }) => key.height)) + COLUMN_HEAD
    marks.push(...names(rows, nameWidth, top, palette))
    for (const { part, place, key } of placed) {
      marks.push(partTitle(part.title, place.x, y), ...key.marks, part.draw({ ...place, y: top, height }))
    }
    y = top + height + TICK_ROOM
  } else {
    for (const part of parts) {
      const key = legend(part.keys, { x: MARGIN, y: y + HEAD, width: width - 2 * MARGIN })
      const top = y + HEAD + key.height + COLUMN_HEAD
      marks.push(partTitle(part.title, MARGIN, y), ...key.marks, ...names(rows, nameWidth, top, palette))
      marks.push(part.draw({ x: left, y: top, width: room, height }))
      y = top + height + TICK_ROOM + 12
    }
  }
  const below = footnotes(notes(bound, rows), y, width, palette)
  return render({
    width,
    height: y + below.height + (below.height > 0 ? MARGIN : 4),
    title,
    description: description(bound),
    palette,
    ground: look.ground,
    marks: [...marks, ...below.marks],
  })
}

function rowsOf({ layers, epsilon, product }: BoundResult): Row[] {
  const whole = layers.reduce((so, { norm }) => so * norm.upper, 1)
  // Where branches meet, the layerwise bound is no plain product of the steps.
  const chain = Math.abs(whole - product.upper) <= 1e-6 * whole
  let before = 1
  let running = 1
  return layers.map((layer) => {
    running *= layer.norm.upper
    // What reaches a step tells the bound before it, of branches too; in a global bound the radii are infinite.
    const reached = layer.epsilonIn / epsilon
    const from = Number.isFinite(reached) ? reached : before
    before = layer.gain
    return { layer, name: printable(layer.name), from, product: chain ? running : NaN }
  })
}

/** A panel's place. */
interface Place {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
}

/** What one panel is: its legend is laid out by the picture. */
interface Part {
  readonly title: string
  readonly keys: readonly Key[]
  readonly draw: (place: Place) => GroupMark
}

/** Middle of a row. */
const middle = (index: number): number => (index + 0.5) * ROW

/** Room for a column of values at the right of a panel. */
function valueColumn(title: string, values: readonly string[], x: number, palette: Palette): Mark[] {
  return [
    label(title, { x, y: -6, colour: palette.soft, align: 'right' }),
    ...values.map((text, index) =>
      label(text, { x, y: middle(index), colour: palette.ink, align: 'right', baseline: 'middle' }),
    ),
  ]
}

const columnWidth = (values: readonly string[]): number =>
  Math.ceil(largest(values.map((text) => measure(text, 12)))) + 10

function names(rows: readonly Row[], width: number, top: number, palette: Palette): Mark[] {
  return rows.map(({ name }, index) =>
    label(shorten(name, width, 12), {
      x: MARGIN + width,
      y: top + middle(index),
      colour: palette.ink,
      align: 'right',
      baseline: 'middle',
    }),
  )
}

function soFar(bound: BoundResult, rows: readonly Row[], palette: Palette): Part {
  const products = rows.map(({ product }) => product)
  const hasProducts = products.some(Number.isFinite)
  const range = logRange([1, ...rows.flatMap(({ layer, from }) => [layer.gain, from]), ...products, bound.lower])
  const values = rows.map(({ layer }) => showShort(layer.gain, 'upper'))
  const column = columnWidth(['at most', ...values])
  const keys: Key[] = [
    { label: 'grows', shape: 'box', colour: palette.product },
    { label: 'shrinks', shape: 'box', colour: palette.certified },
    ...(hasProducts ? [{ label: 'product of steps', shape: 'diamond', colour: palette.soft } as const] : []),
    ...(bound.lower > 0 ? [{ label: 'attained', shape: 'dashes', colour: palette.attained } as const] : []),
  ]
  const draw = (place: Place): GroupMark => {
    const width = place.width - column
    const at = placeOn(range, width)
    const marks: Mark[] = []
    if (bound.lower > 0) marks.push(upright(at(bound.lower), place.height, palette.attained, [5, 4]))
    rows.forEach(({ layer, from, product }, index) => {
      const [start, end] = [at(from), at(layer.gain)]
      const colour = layer.gain > from ? palette.product : layer.gain < from ? palette.certified : palette.line
      marks.push(bar(Math.min(start, end), Math.max(start, end, Math.min(start, end) + 2), index, colour))
      if (index + 1 < rows.length) marks.push(connector(end, index, palette.line))
      if (Number.isFinite(product)) marks.push(dot(at(product), index, 'diamond', palette.soft, palette.ground))
    })
    return panel({
      ...place,
      scales: [position('x', range, [0, width])],
      axes: [
        {
          ...axis('x', 'bottom', ticks(range, width / 60), { title: 'output per input (l2)' }),
          gridWidth: 1,
        },
      ],
      marks: [...marks, ...valueColumn('at most', values, place.width, palette)],
    })
  }
  return { title: 'Bound so far', keys, draw }
}

function alone(_: BoundResult, rows: readonly Row[], palette: Palette): Part {
  const brackets = rows.map(({ layer }) => layer.norm)
  const range = logRange([1, ...brackets.flatMap(({ lower, upper }) => [lower, upper])])
  const values = brackets.map(({ upper }) => showShort(upper, 'upper'))
  const column = columnWidth(['at most', ...values])
  const draw = (place: Place): GroupMark => {
    const width = place.width - column
    const at = placeOn(range, width)
    const marks: Mark[] = [upright(at(1), place.height, palette.line)]
    brackets.forEach(({ lower, upper }, index) => {
      marks.push(span(at(lower), at(upper), index, palette.certified))
      marks.push(dot(at(upper), index, 'circle', palette.certified, palette.certified))
    })
    return panel({
      ...place,
      scales: [position('x', range, [0, width])],
      axes: [axis('x', 'bottom', ticks(range, width / 50), { title: 'l2 norm' })],
      marks: [...marks, ...valueColumn('at most', values, place.width, palette)],
    })
  }
  return {
    title: 'Constant of the step',
    keys: [{ label: 'bracket', shape: 'circles', colour: palette.certified }],
    draw,
  }
}

function units(_: BoundResult, rows: readonly Row[], palette: Palette): Part {
  const values = rows.map(({ layer }) => (hasUnits(layer) ? String(layer.unstable) : '–'))
  const column = columnWidth(['unstable', ...values])
  const range: Range = { type: 'linear', domain: [0, 100] }
  const draw = (place: Place): GroupMark => {
    const width = place.width - column
    const marks: Mark[] = []
    rows.forEach(({ layer }, index) => {
      if (!hasUnits(layer)) return
      const { still, stable, unstable } = layer
      const total = still + stable + unstable
      let x = 0
      for (const [count, colour] of [
        [still, palette.still],
        [stable, palette.stable],
        [unstable, palette.unstable],
      ] as const) {
        const end = x + (count / total) * width
        if (count > 0) marks.push(bar(x, end, index, colour))
        x = end
      }
    })
    return panel({
      ...place,
      scales: [position('x', range, [0, width])],
      axes: [axis('x', 'bottom', ticks(range, width / 55), { title: '% of units', grid: false })],
      marks: [...marks, ...valueColumn('unstable', values, place.width, palette)],
    })
  }
  const keys: Key[] = [
    { label: 'still', shape: 'box', colour: palette.still },
    { label: 'stable', shape: 'box', colour: palette.stable },
    { label: 'unstable', shape: 'box', colour: palette.unstable },
  ]
  return { title: 'Units', keys, draw }
}

/** Whether a step has units; what the reports of others count are their outputs. */
const hasUnits = ({ kind, still, stable, unstable }: LayerReport): boolean =>
  kind !== 'affine' && still + stable + unstable > 0

/** Where a number is on a logarithmic axis; 0 and infinity are at its ends. */
function placeOn({ domain: [least, most] }: Range, width: number): (value: number) => number {
  return (value) => {
    const part = Math.log(value / least) / Math.log(most / least)
    return Math.min(Math.max(part, 0), 1) * width
  }
}

const BAR = 14

function bar(x: number, x2: number, index: number, colour: string): Mark {
  return {
    type: 'rect',
    encode: {
      enter: {
        x: { value: x },
        x2: { value: x2 },
        y: { value: middle(index) - BAR / 2 },
        height: { value: BAR },
        fill: { value: colour },
      },
    },
  }
}

function rule(x: number, y: number, x2: number, y2: number, colour: string, width: number, dash: number[] = []): Mark {
  return {
    type: 'rule',
    encode: {
      enter: {
        x: { value: x },
        x2: { value: x2 },
        y: { value: y },
        y2: { value: y2 },
        stroke: { value: colour },
        strokeWidth: { value: width },
        ...(dash.length > 0 ? { strokeDash: { value: dash } } : {}),
      },
    },
  }
}

const upright = (x: number, height: number, colour: string, dash?: number[]): Mark =>
  rule(x, 0, x, height, colour, dash === undefined ? 1 : 2, dash)

const connector = (x: number, index: number, colour: string): Mark =>
  rule(x, middle(index) + BAR / 2, x, middle(index + 1) - BAR / 2, colour, 1)

const span = (x: number, x2: number, index: number, colour: string): Mark =>
  rule(x, middle(index), x2, middle(index), colour, 3)

function dot(x: number, index: number, shape: string, stroke: string, fill: string): Mark {
  return {
    type: 'symbol',
    encode: {
      enter: {
        x: { value: x },
        y: { value: middle(index) },
        shape: { value: shape },
        size: { value: 50 },
        stroke: { value: stroke },
        strokeWidth: { value: 1.5 },
        fill: { value: fill },
      },
    },
  }
}

function subtitle(bound: BoundResult): string {
  const { upper, lower, epsilon, kind, method } = bound
  const where = Number.isFinite(epsilon) ? `epsilon ${roundOutward(epsilon, 'lower')}` : 'the whole space'
  const attained = lower > 0 ? `, at least ${showShort(lower, 'lower')}` : ''
  return `${kind} constant over ${where}: at most ${showShort(upper, 'upper')}${attained} (${method}; ${showCertainty(bound)})`
}

function notes({ product, lower, upper }: BoundResult, rows: readonly Row[]): string[] {
  const found: string[] = []
  if (product.upper > upper * 1.001 && Number.isFinite(product.upper)) {
    found.push(
      `The product of the constants is ${showShort(product.upper, 'upper')}, ${showShort(product.upper / upper, 'upper')} times the bound.`,
    )
  }
  if (lower > 0)
    found.push(`The bound is ${showShort(upper / lower, 'upper')} times the largest ratio that was attained.`)
  if (!rows.some(({ product: own }) => Number.isFinite(own))) {
    found.push('The steps are no chain: a row begins at the bound of what the step reads.')
  }
  return found.length === 0 ? [] : [found.join(' ')]
}

function description({ layers, upper, lower }: BoundResult): string {
  const steps = layers.map(
    ({ name, gain, norm }) => `${name}: ${showShort(gain, 'upper')} so far, constant ${showShort(norm.upper, 'upper')}`,
  )
  const shown = steps.length > 24 ? [...steps.slice(0, 12), '...', ...steps.slice(-12)] : steps
  return `The bound is ${showShort(upper, 'upper')}, the largest attained ratio ${showShort(lower, 'lower')}. ${shown.join('; ')}.`
}
