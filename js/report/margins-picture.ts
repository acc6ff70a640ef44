/** Which classes limit a certified radius: margin over constant, class by class. */
import type { Mark } from 'vega'

import { expecting, optional, parseOptions } from '../options.js'
import type { MarginReport, RadiusResult } from '../radius.js'
import { measure, shorten } from './font.js'
import { printable } from './markup.js'
import { look, pictureSpecification } from './options.js'
import type { Look, PictureOptions } from './options.js'
import { largest, showShort, ticks } from './scale.js'
import type { Range } from './scale.js'
import { MARGIN, axis, footnotes, heading, label, legend, panel, position } from './sheet.js'
import { render } from './vega.js'
import { showCertainty } from './words.js'

/** Options of {@link marginsPicture}. */
export interface MarginsPictureOptions extends PictureOptions {
  /** Names of the classes, such as `net.summary.classes`. Default: their numbers. */
  classes?: readonly string[] | undefined
}

const classNames = expecting(
  'an array of strings',
  (value): value is readonly string[] => Array.isArray(value) && value.every((entry) => typeof entry === 'string'),
)

/**
 * Draws how far the margin to each other class carries: the margin over the constant of the difference, smallest first, at
 * most 20 classes. The certified radius is a line.
 *
 * @param radius - what `net.certifiedRadius` returned
 * @param options - title, width and colours
 * @returns SVG
 * @throws {@link InputError} `ERR_LIPBOUND_ARGUMENT` for a wrong option, `ERR_LIPBOUND_DEPENDENCY` without vega
 */
export async function marginsPicture(radius: RadiusResult, options: MarginsPictureOptions = {}): Promise<string> {
  const where = 'marginsPicture'
  const parsed = parseOptions(where, options, { ...pictureSpecification, classes: optional(classNames) })
  return drawMargins(radius, look(parsed), parsed.classes)
}

const MOST = 20
const ROW = 24
const BAR = 14

export async function drawMargins(radius: RadiusResult, view: Look, classes?: readonly string[]): Promise<string> {
  const { width, palette } = view
  const name = (index: number): string => printable(classes?.[index] ?? `class ${index}`)
  const shown = radius.margins.slice(0, MOST)
  const quotients = shown.map(quotient)
  const finite = quotients.filter(Number.isFinite)
  const range: Range = {
    type: 'linear',
    domain: [0, largest([...finite, radius.radius, 0].filter(Number.isFinite)) || 1],
  }
  const values = quotients.map((value) => showShort(value, 'lower'))
  const column = Math.ceil(largest([0, ...values.map((text) => measure(text, 12))])) + 10
  const limit = width < 600 ? 92 : 150
  const names = shown.map((margin) => shorten(name(margin.class), limit, 12))
  const nameWidth = Math.ceil(largest([0, ...names.map((text) => measure(text, 12))]))

  const title = view.title ?? 'How far the margins carry'
  const head = heading(view.heading ? title : '', subtitle(radius, name), width, palette)
  const key = legend(
    [
      { label: 'margin ÷ constant', shape: 'box', colour: palette.certified },
      { label: 'certified radius', shape: 'dashes', colour: palette.ink },
    ],
    { x: MARGIN, y: head.height, width: width - 2 * MARGIN },
  )
  const left = MARGIN + nameWidth + 12
  const plotWidth = width - left - MARGIN - column
  const top = head.height + key.height + 10
  const height = shown.length * ROW
  const place = (value: number): number => (Math.min(value, range.domain[1]) / range.domain[1]) * plotWidth
  const rows: Mark[] = quotients.flatMap((value, index): Mark[] => [
    {
      type: 'rect',
      encode: {
        enter: {
          x: { value: 0 },
          x2: { value: place(value) },
          y: { value: (index + 0.5) * ROW - BAR / 2 },
          height: { value: BAR },
          fill: { value: palette.certified },
          fillOpacity: { value: shown[index]?.class === radius.bindingClass ? 1 : 0.55 },
        },
      },
    },
    label(names[index] ?? '', {
      x: -12,
      y: (index + 0.5) * ROW,
      colour: palette.ink,
      align: 'right',
      baseline: 'middle',
    }),
    label(values[index] ?? '', {
      x: plotWidth + column,
      y: (index + 0.5) * ROW,
      colour: palette.ink,
      align: 'right',
      baseline: 'middle',
    }),
  ])
  const line: Mark = {
    type: 'rule',
    encode: {
      enter: {
        x: { value: place(radius.radius) },
        y: { value: 0 },
        y2: { value: height },
        stroke: { value: palette.ink },
        strokeWidth: { value: 2 },
        strokeDash: { value: [5, 4] },
      },
    },
  }
  const plot = panel({
    x: left,
    y: top,
    width: plotWidth,
    height,
    scales: [position('x', range, [0, plotWidth])],
    axes: [
      axis('x', 'bottom', ticks(range, plotWidth / 64), { title: 'distance from the input (l2, units of the input)' }),
    ],
    marks: [...rows, line],
  })
  const body = shown.length === 0 ? [] : [...key.marks, plot]
  const y = shown.length === 0 ? head.height : top + height + 54
  const below = footnotes(notes(radius), y, width, palette)
  return render({
    width,
    height: y + below.height + (below.height > 0 ? MARGIN : 4),
    title,
    description: `${subtitle(radius, name)}. ${shown.map((margin, index) => `${name(margin.class)}: ${values[index] ?? ''}`).join('; ')}`,
    palette,
    ground: view.ground,
    marks: [...head.marks, ...body, ...below.marks],
  })
}

/** How far a margin carries; without limit where the difference does not move. */
const quotient = ({ margin, lipschitz }: MarginReport): number => (lipschitz === 0 ? Infinity : margin / lipschitz)

function subtitle(radius: RadiusResult, name: (index: number) => string): string {
  const attack = Number.isFinite(radius.attackRadius)
    ? `an attack succeeds at ${showShort(radius.attackRadius, 'upper')}`
    : 'no attack succeeded'
  return `${name(radius.label)}: certified radius ${showShort(radius.radius, 'lower')}, ${attack} (${showCertainty(radius)})`
}

function notes({ margins, reason }: RadiusResult): string[] {
  if (reason !== undefined) return [`The radius is 0: ${reason}.`]
  if (margins.length === 0) return ['There is no other class.']
  return margins.length > MOST ? [`${margins.length - MOST} more classes carry at least as far.`] : []
}
