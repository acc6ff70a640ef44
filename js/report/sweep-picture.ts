/** The curves of a sweep: bounds over the radius of the ball. */
import type { Axis, Data, Mark } from 'vega'

import type { SweepResult } from '../sweep.js'
import { measure } from './font.js'
import { pictureOptions } from './options.js'
import type { Look, PictureOptions } from './options.js'
import { largest, linearRange, logRange, showShort, smallest, ticks, tightLogRange } from './scale.js'
import { BAND_OPACITY, MARGIN, axis, footnotes, heading, legend, panel, position } from './sheet.js'
import type { Key, KeyShape } from './sheet.js'
import { render } from './vega.js'
import { showCertainty } from './words.js'

/**
 * Draws a sweep: the layerwise bound, the certificate, the global bound and the largest attained ratio over epsilon, with
 * the band in which the constant lies and the band of the layerwise bound's norm brackets. The axis of bounds is
 * logarithmic; what is 0 or infinite has no place on it and is counted below.
 *
 * @param sweep - what `net.sweep` returned
 * @param options - title, width and colours
 * @returns SVG
 * @throws {@link InputError} `ERR_LIPBOUND_ARGUMENT` for a wrong option, `ERR_LIPBOUND_DEPENDENCY` without vega
 */
export async function sweepPicture(sweep: SweepResult, options: PictureOptions = {}): Promise<string> {
  return drawSweep(sweep, pictureOptions('sweepPicture', options))
}

/** A curve, and the points of it that an axis of positive numbers can show. */
interface Curve {
  readonly key: Key
  readonly values: readonly number[]
}

export async function drawSweep(sweep: SweepResult, look: Look): Promise<string> {
  const { palette, width } = look
  const { points } = sweep
  const epsilons = points.map(({ epsilon }) => epsilon)
  const certificates = points.flatMap(({ certificate }) => (certificate === undefined ? [] : [certificate]))
  // The global bound is one of every ball.
  const best = points.map(({ certificate, layerwise }) =>
    Math.min((certificate ?? layerwise).upper, sweep.global.upper),
  )

  const curve = (label: string, shape: KeyShape, colour: string, values: readonly number[]): Curve => ({
    key: { label, shape, colour },
    values,
  })
  const curves = [
    curve(
      'layerwise bound',
      'squares',
      palette.product,
      points.map(({ layerwise }) => layerwise.upper),
    ),
    ...(certificates.length === 0
      ? []
      : [
          curve(
            'certificate',
            'circles',
            palette.certified,
            points.map(({ certificate }) => certificate?.upper ?? NaN),
          ),
        ]),
    curve(
      'attained',
      'triangles',
      palette.attained,
      points.map(({ lower }) => lower),
    ),
  ]
  const globalKey: Key = { label: 'global bound', shape: 'dashes', colour: palette.ink }
  const keys: Key[] = [
    ...curves.map(({ key }) => key),
    globalKey,
    { label: 'the constant is in here', shape: 'band', colour: palette.certified },
    { label: "brackets of the layers' norms", shape: 'band', colour: palette.product },
  ]

  const all = [
    ...curves.flatMap(({ values }) => values),
    ...points.flatMap(({ layerwise }) => ends(layerwise.product)),
    sweep.global.upper,
  ]
  const y = logRange(all)
  const spread = largest(epsilons) / smallest(epsilons)
  const x = spread > 20 && smallest(epsilons) > 0 ? tightLogRange(epsilons) : linearRange(epsilons)

  const title = look.title ?? 'Bounds over the radius of the ball'
  const head = heading(look.heading ? title : '', subtitle(sweep), width, palette)
  const plotHeight = width < 500 ? 300 : 340
  const yTicks = ticks(y, 8)
  const labelWidth = largest(yTicks.labels.map((text) => measure(text, 12)))
  const left = MARGIN + Math.ceil(labelWidth) + 32
  const plotWidth = width - left - MARGIN - 6
  const xTicks = ticks(x, plotWidth / 70)
  const key = legend(keys, { x: MARGIN, y: head.height, width: width - 2 * MARGIN })
  const top = head.height + key.height + 16
  const below = footnotes(notes(sweep, curves), top + plotHeight + 58, width, palette)

  const rows = points.map((point, index) => ({
    epsilon: point.epsilon,
    ...Object.fromEntries(curves.map(({ values }, which) => [`curve${which}`, values[index]])),
    low: Math.max(point.lower, y.domain[0]),
    high: best[index],
    normLow: Math.max(point.layerwise.product.lower, y.domain[0]),
    normHigh: point.layerwise.product.upper,
  }))
  const data: Data[] = [{ name: 'points', values: rows }]

  const yAxis: Axis = axis('y', 'left', yTicks, { domain: false })
  const plot = panel({
    x: left,
    y: top,
    width: plotWidth,
    height: plotHeight,
    scales: [position('x', x, [0, plotWidth]), position('y', y, [plotHeight, 0])],
    axes: [
      {
        ...yAxis,
        title: plotHeight < 320 ? 'output per input (l2)' : 'largest change of output per change of input (l2)',
        titleX: -(left - MARGIN) + 10,
        titleAnchor: 'middle',
      },
      axis('x', 'bottom', xTicks, { title: 'radius ε of the ball (l2, units of the input)', grid: false }),
    ],
    marks: [
      band('normLow', 'normHigh', palette.product),
      band('low', 'high', palette.certified),
      level(sweep.global.upper, plotWidth, palette.ink),
      ...curves.flatMap(({ key: { colour, shape } }, which) => line(`curve${which}`, colour, shape, points.length)),
    ],
  })
  return render({
    width,
    height: top + plotHeight + 58 + below.height + (below.height > 0 ? MARGIN : 0),
    title,
    description: description(sweep),
    palette,
    ground: look.ground,
    data,
    marks: [...head.marks, ...key.marks, plot, ...below.marks],
  })
}

const ends = ({ lower, upper }: { lower: number; upper: number }): [number, number] => [lower, upper]

/** Whether a datum can be shown on a logarithmic axis. */
const shown = (field: string): string => `isNumber(datum.${field}) && isFinite(datum.${field}) && datum.${field} > 0`

function band(low: string, high: string, colour: string): Mark {
  return {
    type: 'area',
    from: { data: 'points' },
    encode: {
      enter: {
        x: { scale: 'x', field: 'epsilon' },
        y: { scale: 'y', field: high },
        y2: { scale: 'y', field: low },
        fill: { value: colour },
        fillOpacity: { value: BAND_OPACITY },
        defined: { signal: `${shown(high)} && ${shown(low)}` },
      },
    },
  }
}

function level(value: number, width: number, colour: string): Mark {
  return {
    type: 'rule',
    encode: {
      enter: {
        x: { value: 0 },
        x2: { value: width },
        y: { scale: 'y', value },
        stroke: { value: colour },
        strokeWidth: { value: 1.5 },
        strokeDash: { value: [6, 4] },
        // What is 0 or infinite has no place here; the notes say so.
        opacity: { value: value > 0 && Number.isFinite(value) ? 1 : 0 },
      },
    },
  }
}

const symbols: Partial<Record<KeyShape, string>> = { squares: 'square', circles: 'circle', triangles: 'triangle-up' }

function line(field: string, colour: string, shape: KeyShape, count: number): Mark[] {
  const place = { x: { scale: 'x', field: 'epsilon' }, y: { scale: 'y', field } }
  const curve: Mark = {
    type: 'line',
    from: { data: 'points' },
    encode: {
      enter: { ...place, stroke: { value: colour }, strokeWidth: { value: 2 }, defined: { signal: shown(field) } },
    },
  }
  const dots: Mark = {
    type: 'symbol',
    from: { data: 'points' },
    encode: {
      enter: {
        ...place,
        shape: { value: symbols[shape] ?? 'circle' },
        size: { value: count > 40 ? 16 : 36 },
        fill: { value: colour },
        opacity: { signal: `${shown(field)} ? 1 : 0` },
      },
    },
  }
  return [curve, dots]
}

function subtitle({ points, global, kind }: SweepResult): string {
  const results = [global, ...points.flatMap(({ layerwise, certificate }) => [layerwise, certificate ?? layerwise])]
  const failureProbability = largest(results.map((result) => result.failureProbability))
  const guarantee = results.some((result) => result.guarantee === 'probabilistic') ? 'probabilistic' : 'deterministic'
  return `${kind} constant, l2; each bound ${showCertainty({ guarantee, failureProbability })}`
}

function notes({ points, global }: SweepResult, curves: readonly Curve[]): string[] {
  const missing = curves.flatMap(({ key, values }) => {
    const zeros = values.filter((value) => value === 0).length
    const infinite = values.filter((value) => value === Infinity).length
    const none = key.label === 'attained' ? 'none found' : '0'
    return [
      ...(zeros > 0 ? [`${key.label}: ${none} at ${zeros} of ${points.length} radii`] : []),
      ...(infinite > 0 ? [`${key.label}: infinite at ${infinite} of ${points.length} radii`] : []),
    ]
  })
  if (!Number.isFinite(global.upper)) missing.push('global bound: infinite')
  if (global.upper === 0) missing.push('global bound: 0')
  return missing.length === 0 ? [] : [`Not on the axis: ${missing.join('; ')}.`]
}

function description({ points, global }: SweepResult): string {
  const [first, last] = [points[0], points.at(-1)]
  const says = (point: typeof first): string =>
    point === undefined
      ? ''
      : `At epsilon ${showShort(point.epsilon, 'upper')} the layerwise bound is ${showShort(point.layerwise.upper, 'upper')}, ` +
        (point.certificate === undefined ? '' : `the certificate ${showShort(point.certificate.upper, 'upper')}, `) +
        `the largest attained ratio ${showShort(point.lower, 'lower')}. `
  return `Curves over epsilon. ${says(first)}${says(last)}The global bound is ${showShort(global.upper, 'upper')}.`
}
