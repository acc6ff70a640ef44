/** What pictures are put together from: headings, panels with axes, legends, notes. All places are in pixels. */
import type { Axis, GroupMark, Legend, Mark, Scale } from 'vega'

import { measure, wrap } from './font.js'
import { printable } from './markup.js'
import type { Range, Ticks } from './scale.js'
import type { Palette } from './theme.js'

/** Space around a picture. */
export const MARGIN = 16

/** Sizes of text. */
const TITLE = 16
const TEXT = 12

/** Marks and the space they take, from top to bottom. */
export interface Block {
  readonly marks: readonly Mark[]
  readonly height: number
}

/** Title and subtitle, broken into lines that fit. Its height has room below. */
export function heading(title: string, subtitle: string, width: number, palette: Palette): Block {
  const room = width - 2 * MARGIN
  const lines = wrap(printable(title), room, TITLE, 'semibold')
  const below = wrap(printable(subtitle), room, TEXT)
  const first = MARGIN + TITLE - 2
  const marks = [
    ...lines.map((text, index) =>
      label(text, { x: MARGIN, y: first + index * 21, size: TITLE, weight: 600, colour: palette.ink }),
    ),
    ...below.map((text, index) =>
      label(text, { x: MARGIN, y: first + lines.length * 21 + index * 17, size: TEXT, colour: palette.soft }),
    ),
  ]
  return { marks, height: MARGIN + lines.length * 21 + below.length * 17 + 8 }
}

/** Notes below the panels, each broken into lines that fit. */
export function footnotes(notes: readonly string[], y: number, width: number, palette: Palette): Block {
  const lines = notes.flatMap((note) => wrap(printable(note), width - 2 * MARGIN, TEXT))
  const marks = lines.map((text, index) =>
    label(text, { x: MARGIN, y: y + TEXT + index * 17, size: TEXT, colour: palette.soft }),
  )
  return { marks, height: lines.length * 17 }
}

/** Where and how a text stands. */
export interface LabelStyle {
  readonly x: number
  readonly y: number
  readonly colour: string
  readonly size?: number
  readonly weight?: 'normal' | 600
  readonly align?: 'left' | 'center' | 'right'
  readonly baseline?: 'alphabetic' | 'middle'
}

/** A line of text. */
export function label(text: string, { x, y, colour, size, weight, align, baseline }: LabelStyle): Mark {
  return {
    type: 'text',
    encode: {
      enter: {
        text: { value: text },
        x: { value: x },
        y: { value: y },
        fill: { value: colour },
        fontSize: { value: size ?? TEXT },
        fontWeight: { value: weight ?? 'normal' },
        align: { value: align ?? 'left' },
        baseline: { value: baseline ?? 'alphabetic' },
      },
    },
  }
}

/** A part of a picture with scales of its own. */
export interface Panel {
  readonly x: number
  readonly y: number
  readonly width: number
  readonly height: number
  readonly scales?: readonly Scale[]
  readonly axes?: readonly Axis[]
  readonly legends?: readonly Legend[]
  readonly marks: readonly Mark[]
}

export function panel({ x, y, width, height, scales = [], axes = [], legends = [], marks }: Panel): GroupMark {
  return {
    type: 'group',
    encode: {
      enter: { x: { value: x }, y: { value: y }, width: { value: width }, height: { value: height } },
    },
    // Grids reach as far as these say; those of the whole picture would do otherwise.
    signals: [
      { name: 'width', value: width },
      { name: 'height', value: height },
    ],
    scales: [...scales],
    axes: [...axes],
    legends: [...legends],
    marks: [...marks],
  }
}

/** A scale that places numbers: across panels from the left, up panels from below. */
export function position(name: string, { type, domain }: Range, extent: readonly [number, number]): Scale {
  return { name, type, domain: [...domain], range: [...extent], nice: false, zero: false }
}

/** An axis with ticks where they are wanted, and a grid. */
export function axis(
  scale: string,
  orient: 'left' | 'bottom',
  { values, labels }: Ticks,
  options: { title?: string | string[]; grid?: boolean; domain?: boolean } = {},
): Axis {
  const { title, grid = true, domain = true } = options
  // Vega numbers the ticks by their part of the way: 0 is the first, 1 is the last.
  const text = { signal: `${JSON.stringify(labels)}[round(datum.index * ${labels.length - 1})]` }
  return {
    aria: false,
    scale,
    orient,
    values: [...values],
    grid,
    domain,
    ticks: domain,
    zindex: 0,
    ...(title === undefined ? {} : { title }),
    encode: { labels: { update: { text } } },
  }
}

/** How an entry of a legend looks. */
export type KeyShape = 'circles' | 'squares' | 'triangles' | 'dashes' | 'line' | 'band' | 'box' | 'diamond'

/** An entry of a legend. */
export interface Key {
  readonly label: string
  readonly shape: KeyShape
  readonly colour: string
}

/** Shapes, as paths about the origin that Vega scales by half of the root of a size. */
const paths: Readonly<Record<KeyShape, string>> = {
  circles: 'M-1,0L1,0M-0.36,0A0.36,0.36,0,1,0,0.36,0A0.36,0.36,0,1,0,-0.36,0Z',
  squares: 'M-1,0L1,0M-0.33,-0.33L0.33,-0.33L0.33,0.33L-0.33,0.33Z',
  triangles: 'M-1,0L1,0M0,-0.42L0.42,0.32L-0.42,0.32Z',
  dashes: 'M-1,0L-0.5,0M-0.25,0L0.25,0M0.5,0L1,0',
  line: 'M-1,0L1,0',
  band: 'M-0.9,-0.5L0.9,-0.5L0.9,0.5L-0.9,0.5Z',
  box: 'M-0.6,-0.6L0.6,-0.6L0.6,0.6L-0.6,0.6Z',
  diamond: 'M0,-0.6L0.6,0L0,0.6L-0.6,0Z',
}

/** Two points that every shape has, so that all are laid out alike. */
const EXTENT = 'M-1,-0.6M1,0.6'

const KEY_SIZE = 18
const KEY_ROW = 20
const KEY_GAP = 14

/** How opaque a band is. */
export const BAND_OPACITY = 0.22

/** A legend in as many columns as fit into a width. */
export function legend(keys: readonly Key[], place: { x: number; y: number; width: number }): Block {
  const widest = Math.max(...keys.map((key) => measure(key.label, TEXT))) + KEY_SIZE + 6 + KEY_GAP
  const fitting = Math.max(1, Math.min(keys.length, Math.floor((place.width + KEY_GAP) / widest)))
  const rows = Math.ceil(keys.length / fitting)
  const columns = Math.ceil(keys.length / rows)
  const height = rows * (KEY_ROW + 2)
  const scale = (property: string, range: (string | number)[]): Scale => ({
    name: property,
    type: 'ordinal',
    domain: keys.map((key) => key.label),
    range,
  })
  const scales = [
    scale(
      'shape',
      keys.map((key) => `${EXTENT}${paths[key.shape]}`),
    ),
    scale(
      'colour',
      keys.map((key) => key.colour),
    ),
    scale(
      'opacity',
      keys.map((key) => (key.shape === 'band' ? BAND_OPACITY : 1)),
    ),
  ]
  const entries: Legend = {
    aria: false,
    shape: 'shape',
    fill: 'colour',
    stroke: 'colour',
    opacity: 'opacity',
    orient: 'none',
    legendX: 0,
    legendY: 0,
    direction: 'horizontal',
    columns,
    columnPadding: KEY_GAP,
    rowPadding: 2,
    gridAlign: 'all',
    padding: 0,
    offset: 0,
    symbolSize: KEY_SIZE ** 2,
    symbolStrokeWidth: 2,
    labelOffset: 6,
  }
  return { marks: [panel({ ...place, height, scales, legends: [entries], marks: [] })], height }
}
