/** Certified radii of many inputs beside the distances at which attacks succeeded. */
import type { GroupMark, Mark } from 'vega'

import { argumentError } from '../options.js'
import type { RadiusResult } from '../radius.js'
import { measure } from './font.js'
import { pictureOptions } from './options.js'
import type { Look, PictureOptions } from './options.js'
import { largest, linearRange, showShort, smallest, ticks, tightLogRange } from './scale.js'
import type { Range } from './scale.js'
import { MARGIN, axis, footnotes, heading, label, legend, panel, position } from './sheet.js'
import type { Key } from './sheet.js'
import type { Palette } from './theme.js'
import { render } from './vega.js'

/**
 * Draws the histogram of certified radii, and below it that of the distances at which attacks found another class. Radii
 * that are 0 and distances that are infinite have columns of their own.
 *
 * @param radii - what `net.certifiedRadius` returned, for one input or more
 * @param options - title, width and colours
 * @returns SVG
 * @throws {@link InputError} `ERR_LIPBOUND_ARGUMENT` for no radii or a wrong option, `ERR_LIPBOUND_DEPENDENCY` without vega
 */
export async function radiiPicture(radii: readonly RadiusResult[], options: PictureOptions = {}): Promise<string> {
  const look = pictureOptions('radiiPicture', options)
  if (radii.length === 0) throw argumentError('radiiPicture: radii', 'an array that is not empty', radii)
  return drawRadii(radii, look)
}

/** The values of one histogram: what has a place on the axis, and how many are beyond its ends. */
interface Sample {
  readonly name: string
  readonly colour: string
  readonly zeros: number
  readonly within: readonly number[]
  readonly infinite: number
  /** Of all of them. */
  readonly median: number
}

function sample(name: string, colour: string, values: readonly number[]): Sample {
  return {
    name,
    colour,
    zeros: values.filter((value) => value === 0).length,
    within: values.filter((value) => value > 0 && Number.isFinite(value)),
    infinite: values.filter((value) => value === Infinity).length,
    median: medianOf(values),
  }
}

const HEIGHT = 130
const SIDE = 44
const GAP = 10

export async function drawRadii(radii: readonly RadiusResult[], look: Look): Promise<string> {
  const { width, palette } = look
  const certified = sample(
    'certified radius',
    palette.certified,
    radii.map(({ radius }) => radius),
  )
  const attacked = sample(
    'distance of a successful attack',
    palette.product,
    radii.map(({ attackRadius }) => attackRadius),
  )
  const samples = [certified, attacked]
  const all = samples.flatMap(({ within }) => within)
  const range = largest(all) / smallest(all) > 10 ? tightLogRange(all) : linearFrom(all)
  const edges = binEdges(range, all.length)
  const counts = samples.map(({ within }) => histogram(within, edges))
  const most = largest([1, ...samples.flatMap(({ zeros, infinite }) => [zeros, infinite]), ...counts.flat()])
  const top: Range = { type: 'linear', domain: [0, most * 1.12] }
  const countTicks = wholeTicks(top)

  const title = look.title ?? 'Certified radii'
  const head = heading(look.heading ? title : '', subtitle(radii, samples), width, palette)
  const keys: Key[] = [
    ...samples.map(({ name, colour }): Key => ({ label: name, shape: 'box', colour })),
    { label: 'median', shape: 'dashes', colour: palette.ink },
  ]
  const key = legend(keys, { x: MARGIN, y: head.height, width: width - 2 * MARGIN })
  const marks: Mark[] = [...head.marks, ...key.marks]
  const left = MARGIN + Math.ceil(largest(countTicks.labels.map((text) => measure(text, 12)))) + 32
  const hasZeros = samples.some(({ zeros }) => zeros > 0)
  const hasInfinite = samples.some(({ infinite }) => infinite > 0)
  const room = width - left - MARGIN
  const main = room - (hasZeros ? SIDE + GAP : 0) - (hasInfinite ? SIDE + GAP : 0)
  const first = left + (hasZeros ? SIDE + GAP : 0)
  let y = head.height + key.height + 14
  samples.forEach((one, index) => {
    const last = index === samples.length - 1
    const place = { y, height: HEIGHT, top }
    const count = { ...axis('y', 'left', countTicks, { domain: false }), title: 'inputs', titleX: -(left - MARGIN) + 5 }
    if (hasZeros) marks.push(countAxis(count, { ...place, x: left }))
    if (hasZeros) marks.push(side({ ...place, x: left }, one.zeros, last ? '0' : '', one.colour, palette))
    marks.push(
      panel({
        x: first,
        y,
        width: main,
        height: HEIGHT,
        scales: [position('x', range, [0, main]), position('y', top, [HEIGHT, 0])],
        axes: [
          ...(hasZeros ? [{ ...count, labels: false, title: '' }] : [count]),
          last
            ? axis('x', 'bottom', ticks(range, main / 64), {
                title: 'distance from the input (l2, units of the input)',
                grid: false,
              })
            : axis('x', 'bottom', { values: [], labels: [] }, { grid: false }),
        ],
        marks: [...bars(edges, counts[index] ?? [], one.colour), ...medianLine(one.median, palette)],
      }),
    )
    if (hasInfinite) {
      const x = width - MARGIN - SIDE
      marks.push(side({ ...place, x }, one.infinite, last ? (index === 1 ? 'none' : '∞') : '', one.colour, palette))
    }
    y += HEIGHT + (last ? 56 : 22)
  })
  const below = footnotes(notes(radii, samples), y, width, palette)
  return render({
    width,
    height: y + below.height + (below.height > 0 ? MARGIN : 0),
    title,
    description: `${subtitle(radii, samples)}. ${notes(radii, samples).join(' ')}`,
    palette,
    ground: look.ground,
    marks: [...marks, ...below.marks],
  })
}

/** A linear range from 0. */
function linearFrom(values: readonly number[]): Range {
  const { domain } = linearRange([0, ...values])
  return { type: 'linear', domain: [0, values.length === 0 ? 1 : domain[1]] }
}

/** Ends of the bins: about the root of the number of values, at most 30, equally wide on the axis. */
function binEdges({ type, domain: [least, most] }: Range, count: number): number[] {
  const bins = Math.min(30, Math.max(8, Math.ceil(1.5 * Math.sqrt(count))))
  return Array.from({ length: bins + 1 }, (_, index) => {
    const part = index / bins
    return type === 'log' ? least * (most / least) ** part : least + (most - least) * part
  })
}

function histogram(values: readonly number[], edges: readonly number[]): number[] {
  const counts = Array<number>(edges.length - 1).fill(0)
  for (const value of values) {
    const above = edges.findIndex((edge) => value < edge)
    const bin = above === -1 ? counts.length - 1 : Math.max(above - 1, 0)
    counts[bin] = (counts[bin] ?? 0) + 1
  }
  return counts
}

function wholeTicks(range: Range): ReturnType<typeof ticks> {
  const { values, labels } = ticks(range, 4)
  const whole = values.map((value) => Number.isInteger(value))
  return { values: values.filter((_, index) => whole[index]), labels: labels.filter((_, index) => whole[index]) }
}

function bars(edges: readonly number[], counts: readonly number[], colour: string): Mark[] {
  return counts.flatMap((count, index) =>
    count === 0
      ? []
      : [
          {
            type: 'rect',
            encode: {
              enter: {
                x: { scale: 'x', value: edges[index] ?? 0, offset: 0.5 },
                x2: { scale: 'x', value: edges[index + 1] ?? 0, offset: -0.5 },
                y: { scale: 'y', value: count },
                y2: { scale: 'y', value: 0 },
                fill: { value: colour },
              },
            },
          } satisfies Mark,
        ],
  )
}

/** The middle one, or the mean of the two in the middle. */
function medianOf(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  const half = sorted.length / 2
  const [low, high] = [sorted[Math.ceil(half) - 1] ?? NaN, sorted[Math.floor(half)] ?? NaN]
  return low === high ? low : (low + high) / 2
}

function medianLine(value: number, palette: Palette): Mark[] {
  if (value === 0 || !Number.isFinite(value)) return []
  return [
    {
      type: 'rule',
      encode: {
        enter: {
          x: { scale: 'x', value },
          y: { value: 0 },
          y2: { value: HEIGHT },
          stroke: { value: palette.ink },
          strokeWidth: { value: 1.5 },
          strokeDash: { value: [5, 4] },
        },
      },
    },
  ]
}

interface SidePlace {
  readonly x: number
  readonly y: number
  readonly height: number
  readonly top: Range
}

/** A column for values that have no place on the axis. */
function side(
  { x, y, height, top }: SidePlace,
  count: number,
  text: string,
  colour: string,
  palette: Palette,
): GroupMark {
  const bar: Mark = {
    type: 'rect',
    encode: {
      enter: {
        x: { value: 6 },
        x2: { value: SIDE - 6 },
        y: { scale: 'y', value: count },
        y2: { scale: 'y', value: 0 },
        fill: { value: colour },
        fillOpacity: { value: 0.6 },
      },
    },
  }
  const above = height - (count / top.domain[1]) * height - 4
  const number = label(String(count), { x: SIDE / 2, y: above, colour: palette.ink, align: 'center' })
  return panel({
    x,
    y,
    width: SIDE,
    height,
    scales: [position('y', top, [height, 0])],
    marks: [
      ...(count > 0 ? [bar, number] : []),
      {
        type: 'rule',
        encode: {
          enter: {
            x: { value: 0 },
            x2: { value: SIDE },
            y: { value: height },
            stroke: { value: palette.line },
          },
        },
      },
      ...(text === '' ? [] : [label(text, { x: SIDE / 2, y: height + 20, colour: palette.soft, align: 'center' })]),
    ],
  })
}

/** The axis of counts where the column of zeros comes first. */
function countAxis(count: ReturnType<typeof axis>, { x, y, height, top }: SidePlace): GroupMark {
  return panel({
    x,
    y,
    width: SIDE,
    height,
    scales: [position('y', top, [height, 0])],
    axes: [count],
    marks: [],
  })
}

function subtitle(radii: readonly RadiusResult[], [certified, attacked]: readonly Sample[]): string {
  const says = (one: Sample | undefined, end: 'lower' | 'upper'): string =>
    one === undefined ? '' : showShort(one.median, end)
  const inputs = `${radii.length} ${radii.length === 1 ? 'input' : 'inputs'}`
  return `${inputs}; medians: certified ${says(certified, 'lower')}, attacks ${says(attacked, 'upper')}`
}

function notes(radii: readonly RadiusResult[], [certified, attacked]: readonly Sample[]): string[] {
  const reasons = ['misclassified', 'tied'] as const
  const zeros = reasons.flatMap((reason) => {
    const count = radii.filter((one) => one.reason === reason).length
    return count > 0 ? [`${count} ${reason}`] : []
  })
  const found: string[] = []
  if (certified !== undefined && certified.zeros > 0) {
    found.push(`Radius 0: ${certified.zeros}${zeros.length > 0 ? ` (${zeros.join(', ')})` : ''}.`)
  }
  if (certified !== undefined && certified.infinite > 0) found.push(`Radius without limit: ${certified.infinite}.`)
  if (attacked !== undefined && attacked.zeros > 0) found.push(`Attack at distance 0: ${attacked.zeros}.`)
  if (attacked !== undefined && attacked.infinite > 0) found.push(`No attack succeeded: ${attacked.infinite}.`)
  return found.length === 0 ? [] : [`Columns at the sides are beyond the axis. ${found.join(' ')}`]
}
