/** The sections of a report that show results. */
import type { RadiusResult } from '../radius.js'
import type { BoundResult, NetworkSummary } from '../results.js'
import type { SweepResult } from '../sweep.js'
import { roundOutward, showGuarantee, tableOfLayers } from '../wording.js'
import type { Column, Table } from '../wording.js'
import { drawLayers } from './layers-picture.js'
import { drawMargins } from './margins-picture.js'
import { markup } from './markup.js'
import type { Markup } from './markup.js'
import { facts, figure, left, right, section, setTable } from './parts.js'
import { drawRadii } from './radii-picture.js'
import { drawSweep } from './sweep-picture.js'

/** A result, and what it is of: the file of an input, or how people call it. */
export type OfInput<Result> = Result & {
  /** The file of the input, or another name for it. */
  readonly input?: string | undefined
}

/** A lower end; 0 says nothing. */
const lowerEnd = (value: number): string => (value === 0 ? '–' : roundOutward(value, 'lower'))

/** How sure a result is, in two columns. */
const certaintyColumns: readonly Column[] = [left('guarantee'), right('failure probability')]

const certainty = ({
  guarantee,
  failureProbability,
}: Pick<BoundResult, 'guarantee' | 'failureProbability'>): string[] => [
  guarantee,
  roundOutward(failureProbability, 'upper'),
]

/** Bounds: a table of all, and the story of each. */
export async function boundsSection(bounds: readonly OfInput<BoundResult>[]): Promise<Markup> {
  const stories: Markup[] = []
  for (const bound of bounds) {
    const name = nameOf(bound)
    stories.push(
      markup`<h3>${name}</h3>`,
      facts([
        ['at most', roundOutward(bound.upper, 'upper')],
        ['attained', lowerEnd(bound.lower)],
        ['method', bound.method],
        ['guarantee', bound.guarantee],
      ]),
      await figure(`Where the bound comes from: ${name}`, (look) => drawLayers(bound, look)),
      setTable(`Step by step: ${name}`, tableOfLayers(bound)),
    )
    if (bound.functionals !== undefined) {
      stories.push(setTable(`Functionals of the output: ${name}`, functionalsTable(bound)))
    }
  }
  return section('Bounds', setTable('All bounds', boundsTable(bounds)), stories)
}

function nameOf({ input, epsilon, kind }: OfInput<BoundResult>): string {
  const around = input === undefined ? '' : ` around ${input}`
  return kind === 'global' ? 'Global constant' : `Within ${epsilon}${around} (${kind})`
}

function boundsTable(bounds: readonly OfInput<BoundResult>[]): Table {
  const inputs = bounds.some(({ input }) => input !== undefined)
  return {
    columns: [
      ...(inputs ? [left('input')] : []),
      right('epsilon'),
      left('constant'),
      right('upper'),
      right('lower'),
      left('method'),
      ...certaintyColumns,
      right('seed'),
    ],
    rows: bounds.map((bound) => [
      ...(inputs ? [bound.input ?? ''] : []),
      Number.isFinite(bound.epsilon) ? String(bound.epsilon) : 'inf',
      bound.kind,
      roundOutward(bound.upper, 'upper'),
      lowerEnd(bound.lower),
      bound.method,
      ...certainty(bound),
      String(bound.seed),
    ]),
  }
}

function functionalsTable({ functionals = [] }: BoundResult): Table {
  return {
    columns: [right('#'), right('upper'), right('lower'), left('method'), ...certaintyColumns],
    rows: functionals.map((one, index) => [
      String(index),
      roundOutward(one.upper, 'upper'),
      lowerEnd(one.lower),
      one.method,
      ...certainty(one),
    ]),
  }
}

/** Sweeps: curves and their numbers. */
export async function sweepsSection(sweeps: readonly OfInput<SweepResult>[]): Promise<Markup> {
  const stories: Markup[] = []
  for (const sweep of sweeps) {
    const { global, input, kind } = sweep
    const name = input === undefined ? `${kind} constant` : `${kind} constant around ${input}`
    stories.push(
      markup`<h3>Over the radius of the ball: ${name}</h3>`,
      await figure(`Bounds over the radius of the ball: ${name}`, (look) => drawSweep(sweep, look)),
      setTable(`Bounds over epsilon: ${name}`, sweepTable(sweep)),
      markup`<p>Global bound: ${roundOutward(global.upper, 'upper')} (${global.method}; ${showGuarantee(global)}).</p>`,
    )
  }
  return section('Sweeps', stories)
}

function sweepTable({ points }: SweepResult): Table {
  const certificates = points.some(({ certificate }) => certificate !== undefined)
  return {
    columns: [
      right('epsilon'),
      right('attained'),
      ...(certificates ? [right('certificate')] : []),
      right('layerwise'),
      left('product of norms'),
    ],
    rows: points.map(({ epsilon, lower, certificate, layerwise }) => [
      String(epsilon),
      lowerEnd(lower),
      ...(certificates ? [certificate === undefined ? '–' : roundOutward(certificate.upper, 'upper')] : []),
      roundOutward(layerwise.upper, 'upper'),
      `[${roundOutward(layerwise.product.lower, 'lower')}, ${roundOutward(layerwise.product.upper, 'upper')}]`,
    ]),
  }
}

/** More pictures of margins than this would bury the rest. */
const MOST_MARGINS = 8

/** Certified radii: their histogram, their numbers, and the margins of the first few. */
export async function radiiSection(
  radii: readonly OfInput<RadiusResult>[],
  { classes }: NetworkSummary,
): Promise<Markup> {
  const parts: Markup[] = []
  if (radii.length > 1) parts.push(await figure('Certified radii', (look) => drawRadii(radii, look)))
  parts.push(setTable('All radii', radiiTable(radii, classes)))
  const limited = radii.filter(({ margins }) => margins.length > 0)
  for (const radius of limited.slice(0, MOST_MARGINS)) {
    const name = radius.input ?? `class ${className(radius.label, classes)}`
    parts.push(
      markup`<h3>Margins: ${name}</h3>`,
      await figure(`How far the margins carry: ${name}`, (look) => drawMargins(radius, look, classes)),
    )
  }
  if (limited.length > MOST_MARGINS) {
    parts.push(markup`<p class="soft">The margins of ${limited.length - MOST_MARGINS} more inputs are not drawn.</p>`)
  }
  return section('Certified radii', parts)
}

const className = (index: number | undefined, classes: readonly string[] | undefined): string =>
  index === undefined ? '–' : (classes?.[index] ?? String(index))

function radiiTable(radii: readonly OfInput<RadiusResult>[], classes: readonly string[] | undefined): Table {
  const inputs = radii.some(({ input }) => input !== undefined)
  return {
    columns: [
      inputs ? left('input') : right('#'),
      left('class'),
      right('certified radius'),
      right('attack at'),
      left('limited by'),
      left('ended by'),
      left('method'),
      ...certaintyColumns,
      right('seed'),
    ],
    rows: radii.map((one, index) => [
      inputs ? (one.input ?? '') : String(index),
      className(one.label, classes),
      roundOutward(one.radius, 'lower'),
      Number.isFinite(one.attackRadius) ? roundOutward(one.attackRadius, 'upper') : 'none found',
      className(one.bindingClass, classes),
      one.reason ?? one.termination,
      one.method,
      ...certainty(one),
      String(one.seed),
    ]),
  }
}
