/** A report: everything about some results in one HTML file that needs nothing else. */
import { expecting, optional, parseOptions, text } from '../options.js'
import type { Check } from '../options.js'
import type { RadiusResult } from '../radius.js'
import type { BoundResult, NetworkSummary } from '../results.js'
import type { SweepResult } from '../sweep.js'
import { roundOutward, showCost, showOnnx, showShape, tableOfSummary } from '../wording.js'
import { markup } from './markup.js'
import type { Markup } from './markup.js'
import { page, version } from './page.js'
import { NEWLINE, facts, section, setTable } from './parts.js'
import { boundsSection, radiiSection, sweepsSection } from './sections.js'
import type { OfInput } from './sections.js'

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

/** Results as this package returns them. That is all that is checked: they are not made by hand. */
function results<Result>(what: string, field: keyof Result): Check<readonly OfInput<Result>[]> {
  const isResult = (value: unknown): boolean => typeof value === 'object' && value !== null && field in value
  return expecting(
    `an array of ${what}`,
    (value): value is readonly OfInput<Result>[] => Array.isArray(value) && value.every(isResult),
  )
}

const specification = {
  title: optional(text),
  summary: expecting(
    'the summary of a network',
    (value): value is NetworkSummary => typeof value === 'object' && value !== null && 'layers' in value,
  ),
  file: optional(text),
  digest: optional(text),
  bounds: optional(results<BoundResult>('bounds', 'layers')),
  sweeps: optional(results<SweepResult>('sweeps', 'points')),
  radii: optional(results<RadiusResult>('certified radii', 'attackRadius')),
  command: optional(text),
  remarks: optional(
    expecting(
      'an array of strings',
      (value): value is readonly string[] => Array.isArray(value) && value.every((entry) => typeof entry === 'string'),
    ),
  ),
}

/**
 * Makes a report of results: tables, pictures, guarantee, and how to get the same again, in one HTML file without scripts
 * that asks for nothing over the network. It follows the reader's light or dark theme, and fits phones.
 *
 * @returns the text of the file
 * @throws {@link InputError} `ERR_LIPBOUND_ARGUMENT` for a wrong option, `ERR_LIPBOUND_DEPENDENCY` without vega
 */
export async function report(options: ReportOptions): Promise<string> {
  const parsed: ReportOptions = parseOptions('report', options, specification)
  const { summary, file, bounds = [], sweeps = [], radii = [] } = parsed
  return page({
    title: parsed.title ?? `Lipschitz bounds of ${summary.name ?? file ?? 'a network'}`,
    lead: lead(parsed),
    remarks: parsed.remarks ?? [],
    sections: [
      ...(bounds.length > 0 ? [await boundsSection(bounds)] : []),
      ...(sweeps.length > 0 ? [await sweepsSection(sweeps)] : []),
      ...(radii.length > 0 ? [await radiiSection(radii, summary)] : []),
      modelSection(parsed),
      meaningSection([...bounds, ...sweeps.flatMap(everyBound), ...radii]),
      repeatSection(parsed),
    ],
  })
}

function lead({ summary: { inputShape, outputShape, parameters, units }, file }: ReportOptions): string {
  const from = file === undefined ? '' : `${file}: `
  return `${from}${showShape(inputShape)} to ${showShape(outputShape)}, ${parameters} weights, ${units} units. All norms are l2.`
}

const everyBound = ({ points, global }: SweepResult): BoundResult[] => [
  ...points.flatMap(({ layerwise, certificate }) => [layerwise, ...(certificate === undefined ? [] : [certificate])]),
  global,
]

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
    markup`<ul>${lines.map((line) => markup`<li>${line}</li>`)}</ul>`,
    setTable('Layers', tableOfSummary(summary)),
  )
}

const MEANING =
  'A bound says how far the output can move when the input moves: at most “upper” times as far, everywhere in the ball of ' +
  'radius epsilon around the input. “Attained” and “lower” are ratios that were really reached. A certified radius says ' +
  'that no input at most this far away has another answer. All of it holds for the network in real arithmetic, with the ' +
  'weights exactly as the file has them.'

function meaningSection(found: readonly Pick<BoundResult, 'guarantee' | 'failureProbability'>[]): Markup {
  const worst = found.reduce((most, { failureProbability }) => Math.max(most, failureProbability), 0)
  const certainty = found.some(({ guarantee }) => guarantee === 'probabilistic')
    ? `probabilistic. Each result is wrong with probability at most ${roundOutward(worst, 'upper')}, over the random seed of ` +
      'its computation; lower ends and attained ratios are certain.'
    : 'deterministic. Every upper bound here is proved.'
  return section(
    'What the numbers mean',
    markup`<p>${MEANING}</p>`,
    found.length === 0 ? [] : markup`<p>Guarantee: ${certainty}</p>`,
  )
}

function repeatSection(parsed: ReportOptions): Markup {
  const text = parsed.command ?? calls(parsed).join('\n')
  return section(
    'To get the same again',
    markup`<p>The same seed gives the same numbers, with lipbound ${version()}, the same files and the same options.</p>`,
    markup`<pre tabindex="0"><code>${text.split('\n').map((line) => [line, NEWLINE])}</code></pre>`,
  )
}

/** The calls that make the results. Options of computations are not part of results, but for the seed. */
function calls({ file, bounds = [], sweeps = [], radii = [] }: ReportOptions): string[] {
  const tensorOf = (input: string | undefined): string =>
    input === undefined ? 'x' : `await loadTensor(${JSON.stringify(input)})`
  return [
    `const net = await loadModel(${file === undefined ? '…' : JSON.stringify(file)})`,
    ...bounds.map(({ kind, epsilon, seed, input }) =>
      kind === 'global'
        ? `await net.globalBound({ seed: ${seed} })`
        : `await net.bound(${tensorOf(input)}, { epsilon: ${epsilon}, kind: '${kind}', seed: ${seed} })`,
    ),
    ...sweeps.map(({ points, kind, seed, input }) => {
      const [from, to] = [points[0]?.epsilon ?? 0, points.at(-1)?.epsilon ?? 0]
      const range = `from: ${from}, to: ${to}, points: ${points.length}`
      return `await net.sweep(${tensorOf(input)}, { ${range}, kind: '${kind}', seed: ${seed} })`
    }),
    ...radii.map(
      ({ label, seed, input }) => `await net.certifiedRadius(${tensorOf(input)}, { label: ${label}, seed: ${seed} })`,
    ),
  ]
}
