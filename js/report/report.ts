/** A report: everything about some results in one HTML file that needs nothing else. */
import { createHash } from 'node:crypto'
import { createRequire } from 'node:module'

import { expecting, optional, parseOptions, text } from '../options.js'
import type { RadiusResult } from '../radius.js'
import type { BoundResult, NetworkSummary } from '../results.js'
import type { SweepResult } from '../sweep.js'
import {
  roundOutward,
  showCost,
  showGuarantee,
  showOnnx,
  showShape,
  tableOfLayers,
  tableOfSummary,
} from '../wording.js'
import type { Column, Table } from '../wording.js'
import { drawLayers } from './layers-picture.js'
import { drawMargins } from './margins-picture.js'
import { Markup, markup } from './markup.js'
import { pageLook } from './options.js'
import type { Look } from './options.js'
import { drawRadii } from './radii-picture.js'
import { styleSheet } from './style.js'
import { drawSweep } from './sweep-picture.js'

/** A result, and what it is of: the file of an input, or how people call it. */
export type OfInput<Result> = Result & { readonly input?: string | undefined }

/** What a report is about. */
export interface ReportOptions {
  /** Its heading. Default: the network's name. */
  title?: string | undefined
  /** The network: `net.summary`. */
  summary: NetworkSummary
  /** The model's file, as it is to be called. */
  file?: string | undefined
  /** SHA-256 of the network: `net.digest`. */
  digest?: string | undefined
  /** Bounds, local and global. */
  bounds?: readonly OfInput<BoundResult>[] | undefined
  /** Sweeps. */
  sweeps?: readonly OfInput<SweepResult>[] | undefined
  /** Certified radii. */
  radii?: readonly OfInput<RadiusResult>[] | undefined
  /** The command that made the results. Default: the calls that make them. */
  command?: string | undefined
  /** What else is to be said, a paragraph each. */
  remarks?: readonly string[] | undefined
}

const list = (what: string): ReturnType<typeof expecting<readonly never[]>> =>
  expecting(
    `an array of ${what}`,
    (value): value is readonly never[] =>
      Array.isArray(value) && value.every((entry) => typeof entry === 'object' && entry !== null),
  )

const specification = {
  title: optional(text),
  summary: expecting(
    'the summary of a network',
    (value): value is NetworkSummary => typeof value === 'object' && value !== null && 'layers' in value,
  ),
  file: optional(text),
  digest: optional(text),
  bounds: optional(list('bounds')),
  sweeps: optional(list('sweeps')),
  radii: optional(list('radii')),
  command: optional(text),
  remarks: optional(
    expecting(
      'an array of strings',
      (value): value is readonly string[] => Array.isArray(value) && value.every((entry) => typeof entry === 'string'),
    ),
  ),
}

/**
 * Makes a report of results: tables, pictures, guarantee, and how to get the same again, in one HTML file without scripts that
 * asks for nothing over the network. It follows the reader's light or dark theme, and fits phones.
 *
 * @returns the text of the file
 * @throws {@link InputError} `ERR_LIPBOUND_ARGUMENT` for a wrong option, `ERR_LIPBOUND_DEPENDENCY` without vega
 */
export async function report(options: ReportOptions): Promise<string> {
  const parsed: ReportOptions = parseOptions('report', options, specification)
  const { summary, bounds = [], sweeps = [], radii = [] } = parsed
  const title = parsed.title ?? `Lipschitz bounds of ${summary.name ?? parsed.file ?? 'a network'}`
  const sections = [
    ...(bounds.length > 0 ? [await boundsSection(bounds)] : []),
    ...(sweeps.length > 0 ? [await sweepsSection(sweeps)] : []),
    ...(radii.length > 0 ? [await radiiSection(radii, summary)] : []),
    modelSection(parsed),
    meaningSection([...bounds, ...sweeps.flatMap(everyBound), ...radii]),
    repeatSection(parsed),
  ]
  const style = styleSheet()
  const policy = `default-src 'none'; style-src 'sha256-${createHash('sha256').update(style).digest('base64')}'; font-src data:`
  return markup`<!doctype html>
    <html lang="en">
      <head>
        <meta charset="utf-8" />
        <meta http-equiv="Content-Security-Policy" content="${policy}" />
        <meta name="viewport" content="width=device-width, initial-scale=1" />
        <meta name="generator" content="lipbound ${version()}" />
        <title>${title}</title>
        <style>${new Markup(style)}</style>
      </head>
      <body>
        <header>
          <h1>${title}</h1>
          <p class="soft">${lead(parsed)}</p>
          ${(parsed.remarks ?? []).map((remark) => markup`<p>${remark}</p> `)}
        </header>
        <main>${sections}</main>
        <footer>
          <p>Made by lipbound ${version()}. Ends of brackets are rounded outward: a printed bound is still a bound.</p>
        </footer>
      </body>
    </html> `.text
}

function version(): string {
  return (createRequire(import.meta.url)('../../package.json') as { version: string }).version
}

function lead({ summary, file }: ReportOptions): string {
  const from = file === undefined ? '' : `${file}: `
  return `${from}${showShape(summary.inputShape)} to ${showShape(summary.outputShape)}, ${summary.parameters} weights, ${summary.units} units. All norms are l2.`
}

const section = (title: string, ...content: (Markup | readonly Markup[])[]): Markup =>
  markup`<section>
    <h2>${title}</h2>
    ${content.flat().map((part) => markup`${part} `)}
  </section> `

/** A few numbers that matter most. */
function facts(entries: readonly (readonly [name: string, value: string])[]): Markup {
  return markup`<dl class="facts">
    ${entries.map(
      ([name, value]) =>
        markup`<div>
          <dt>${name}</dt>
          <dd>${value}</dd>
        </div> `,
    )}
  </dl>`
}

/** A table in a box that scrolls by itself. Columns of words may break their lines. */
function setTable(caption: string, { columns, rows }: Table): Markup {
  const side = ({ align }: Column, row: number | 'head', cell: string): Markup | string => {
    if (align === 'right') return markup` class="right"`
    return row !== 'head' && cell.length > 40 ? markup` class="long"` : ''
  }
  return markup`<div class="scroll" tabindex="0" role="region" aria-label="${caption}">
    <table>
      <caption>
        ${caption}
      </caption>
      <thead>
        <tr>
          ${columns.map((column) => markup`<th scope="col" ${side(column, 'head', '')}>${column.title}</th>`)}
        </tr>
      </thead>
      <tbody>
        ${rows.map(
          (row, index) =>
            markup`<tr>
              ${columns.map((column, at) => markup`<td${side(column, index, row[at] ?? '')}>${row[at] ?? ''}</td>`)}
            </tr> `,
        )}
      </tbody>
    </table>
  </div>`
}

const left = (title: string): Column => ({ title, align: 'left' })
const right = (title: string): Column => ({ title, align: 'right' })

/** Widths of the pictures for phones and for desktops: what a page of this width has, with its margins. */
const NARROW = 390
const WIDE = 720

/** A picture in both widths; the style sheet shows one of them. */
async function figure(title: string, draw: (look: Look) => Promise<string>): Promise<Markup> {
  const [narrow, wide] = [await draw(pageLook(title, NARROW)), await draw(pageLook(title, WIDE))]
  const classed = (svg: string, name: string): Markup => new Markup(svg.replace('<svg ', `<svg class="${name}" `))
  return markup`<figure>${classed(wide, 'wide')}${classed(narrow, 'narrow')}</figure>`
}

const lowerEnd = (value: number): string => (value === 0 ? '–' : roundOutward(value, 'lower'))
const radiusOf = (epsilon: number): string => (Number.isFinite(epsilon) ? String(epsilon) : 'whole space')

async function boundsSection(bounds: readonly OfInput<BoundResult>[]): Promise<Markup> {
  const stories: Markup[] = []
  for (const bound of bounds) {
    const name = boundName(bound)
    stories.push(
      markup`<h3>${name}</h3>`,
      facts([
        ['at most', roundOutward(bound.upper, 'upper')],
        ['at least (attained)', lowerEnd(bound.lower)],
        ['method', bound.method],
        ['guarantee', bound.guarantee],
      ]),
      await figure(`Where the bound comes from: ${name}`, (look) => drawLayers(bound, look)),
      setTable(`Step by step: ${name}`, tableOfLayers(bound)),
    )
    if (bound.functionals !== undefined)
      stories.push(setTable(`Functionals of the output: ${name}`, functionals(bound)))
  }
  return section('Bounds', setTable('All bounds', overview(bounds)), stories)
}

function boundName({ input, epsilon, kind }: OfInput<BoundResult>): string {
  const around = input === undefined ? '' : ` around ${input}`
  return kind === 'global' ? 'global constant' : `${kind} constant, epsilon ${epsilon}${around}`
}

function overview(bounds: readonly OfInput<BoundResult>[]): Table {
  const inputs = bounds.some(({ input }) => input !== undefined)
  return {
    columns: [
      ...(inputs ? [left('input')] : []),
      right('epsilon'),
      left('constant'),
      right('upper'),
      right('lower'),
      left('method'),
      left('guarantee'),
      right('seed'),
      right('seconds'),
    ],
    rows: bounds.map((bound) => [
      ...(inputs ? [bound.input ?? ''] : []),
      radiusOf(bound.epsilon),
      bound.kind,
      roundOutward(bound.upper, 'upper'),
      lowerEnd(bound.lower),
      bound.method,
      showGuarantee(bound),
      String(bound.seed),
      bound.seconds.toFixed(2),
    ]),
  }
}

function functionals({ functionals: found = [] }: BoundResult): Table {
  return {
    columns: [right('#'), right('upper'), right('lower'), left('method'), left('guarantee')],
    rows: found.map((one, index) => [
      String(index),
      roundOutward(one.upper, 'upper'),
      lowerEnd(one.lower),
      one.method,
      showGuarantee(one),
    ]),
  }
}

async function sweepsSection(sweeps: readonly OfInput<SweepResult>[]): Promise<Markup> {
  const stories: Markup[] = []
  for (const sweep of sweeps) {
    const name = sweep.input === undefined ? `${sweep.kind} constant` : `${sweep.kind} constant around ${sweep.input}`
    stories.push(
      markup`<h3>${name}</h3>`,
      await figure(`Bounds over the radius of the ball: ${name}`, (look) => drawSweep(sweep, look)),
      setTable(`Bounds over epsilon: ${name}`, sweepTable(sweep)),
      markup`<p>
        Global bound: ${roundOutward(sweep.global.upper, 'upper')} (${sweep.global.method},
        ${showGuarantee(sweep.global)}).
      </p>`,
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

const everyBound = ({ points, global }: SweepResult): BoundResult[] => [
  ...points.flatMap(({ layerwise, certificate }) => [layerwise, ...(certificate === undefined ? [] : [certificate])]),
  global,
]

/** More pictures of margins than this would bury the rest. */
const MOST_MARGINS = 8

async function radiiSection(radii: readonly OfInput<RadiusResult>[], { classes }: NetworkSummary): Promise<Markup> {
  const parts: Markup[] = []
  if (radii.length > 1) parts.push(await figure('Certified radii', (look) => drawRadii(radii, look)))
  parts.push(setTable('Certified radii', radiiTable(radii, classes)))
  const shown = radii.filter(({ margins }) => margins.length > 0).slice(0, MOST_MARGINS)
  for (const radius of shown) {
    const name = radius.input ?? `class ${className(radius.label, classes)}`
    parts.push(
      markup`<h3>Margins: ${name}</h3>`,
      await figure(`How far the margins carry: ${name}`, (look) => drawMargins(radius, look, classes)),
    )
  }
  const left = radii.filter(({ margins }) => margins.length > 0).length - shown.length
  if (left > 0) parts.push(markup`<p class="soft">Margins of ${left} more inputs are not drawn.</p>`)
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
      left('why it ends there'),
      left('method'),
      left('guarantee'),
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
      showGuarantee(one),
      String(one.seed),
    ]),
  }
}

function modelSection({ summary, digest }: ReportOptions): Markup {
  const lines = [
    showCost(summary.cost),
    ...(summary.onnx === undefined ? [] : showOnnx(summary.onnx).split('\n')),
    ...(summary.classes === undefined ? [] : [`classes: ${summary.classes.join(', ')}`]),
    ...summary.notes.map((note) => `note: ${note}`),
    ...(digest === undefined ? [] : [`SHA-256 of the network: ${digest}`]),
  ]
  return section(
    'Model',
    facts([
      ['input', showShape(summary.inputShape)],
      ['output', showShape(summary.outputShape)],
      ['weights', String(summary.parameters)],
      ['units', String(summary.units)],
    ]),
    markup`<ul>
      ${lines.map((line) => markup`<li>${line}</li> `)}
    </ul>`,
    setTable('Layers', tableOfSummary(summary)),
  )
}

function meaningSection(results: readonly Pick<BoundResult, 'guarantee' | 'failureProbability'>[]): Markup {
  const worst = results.reduce((most, { failureProbability }) => Math.max(most, failureProbability), 0)
  const probabilistic = results.some(({ guarantee }) => guarantee === 'probabilistic')
  const sure = probabilistic
    ? markup`<p>
        Guarantee: probabilistic. Each result by itself is wrong with probability at most
        ${roundOutward(worst, 'upper')}, over the random seed of the computation and for any network and input.
      </p>`
    : markup`<p>Guarantee: deterministic. Every upper bound here is proved; no luck was needed.</p>`
  return section(
    'What the numbers mean',
    markup`<p>
      A bound says how far the output can move when the input moves: at most “upper” times as far, everywhere in the
      ball of radius epsilon around the input. “Attained” and “lower” are ratios that were really reached. A certified
      radius says that no input closer than this is answered with another class. All of it holds for the network in real
      arithmetic, with the weights exactly as the file has them.
    </p>`,
    ...(results.length === 0 ? [] : [sure]),
  )
}

function repeatSection({ command, file, bounds = [], sweeps = [], radii = [] }: ReportOptions): Markup {
  const calls = [
    ...bounds.map(({ kind, epsilon, seed, input }) =>
      kind === 'global'
        ? `await net.globalBound({ seed: ${seed} })`
        : `await net.bound(${quoted(input)}, { epsilon: ${epsilon}, kind: '${kind}', seed: ${seed} })`,
    ),
    ...sweeps.map(({ points, kind, seed, input }) => {
      const [from, to] = [points[0]?.epsilon ?? 0, points.at(-1)?.epsilon ?? 0]
      return `await net.sweep(${quoted(input)}, { from: ${from}, to: ${to}, points: ${points.length}, kind: '${kind}', seed: ${seed} })`
    }),
    ...radii.map(
      ({ label, seed, input }) => `await net.certifiedRadius(${quoted(input)}, { label: ${label}, seed: ${seed} })`,
    ),
  ]
  const open = `const net = await loadModel(${file === undefined ? '…' : JSON.stringify(file)})`
  const text = command ?? [open, ...new Set(calls)].join('\n')
  return section(
    'To get the same again',
    markup`<p>
      The same seed gives the same numbers, with lipbound ${version()} and the same
      ${command === undefined ? 'options' : 'files'}.
    </p>`,
    markup`<pre><code>${text.split('\n').map((line) => [line, new Markup('\n')])}</code></pre>`,
  )
}

const quoted = (input: string | undefined): string =>
  input === undefined ? 'x' : `await loadTensor(${JSON.stringify(input)})`
