/** What the commands print: tables and numbers for people, one JSON object for programs. */
import type { LipboundError } from '../errors.js'
import type { BoundResult, NetworkSummary } from '../results.js'
import { showGuarantee, tableOfLayers, tableOfSummary } from '../wording.js'
import type { Column, Table } from '../wording.js'

export { round, roundOutward, showCost, showGuarantee, showMemory, showOnnx, showShape } from '../wording.js'
export type { Column }

/** A table as text, without a trailing newline. */
export function table(columns: readonly Column[], rows: Table['rows']): string {
  const lines = [columns.map(({ title }) => title), ...rows]
  const widths = columns.map((_, index) => Math.max(...lines.map((line) => line[index]?.length ?? 0)))
  return lines
    .map((line) =>
      columns
        .map(({ align }, index) => {
          const [cell, width] = [line[index] ?? '', widths[index] ?? 0]
          return align === 'left' ? cell.padEnd(width) : cell.padStart(width)
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n')
}

/** The story of a bound, layer by layer. */
export function layerTable(bound: BoundResult): string {
  const { columns, rows } = tableOfLayers(bound)
  return table(columns, rows)
}

/** What a network is made of, layer by layer. */
export function summaryTable(summary: NetworkSummary): string {
  const { columns, rows } = tableOfSummary(summary)
  return table(columns, rows)
}

/** Lines about what reading the model changed, if anything. */
export function showNotes({ notes }: Pick<NetworkSummary, 'notes'>): string[] {
  return notes.map((note) => `note: ${note}`)
}

/** The place of a class and its name, where it has one that says more. */
export function showClass(index: number, { classes }: Pick<NetworkSummary, 'classes'>): string {
  const name = classes?.[index]
  return name === undefined || name === String(index) ? String(index) : `${index} (${name})`
}

/** How sure several results are: as sure as the least sure of them. */
export function showGuarantees(results: readonly Pick<BoundResult, 'guarantee' | 'failureProbability'>[]): string {
  const failureProbability = Math.max(0, ...results.map((result) => result.failureProbability))
  const certain = results.every(({ guarantee }) => guarantee === 'deterministic')
  const text = showGuarantee({ guarantee: certain ? 'deterministic' : 'probabilistic', failureProbability })
  return certain || results.length < 2 ? text : `${text} (each)`
}

/** What some results have in common, or all there is: the methods, or the seeds where they are few. */
export function showEach(values: readonly (string | number)[]): string {
  const different = [...new Set(values)]
  return different.length > 3 ? `${different.slice(0, 3).join(', ')}, ...` : different.join(', ')
}

/** Prints text for people. */
export function print(text: string): void {
  process.stdout.write(`${printable(text)}\n`)
}

/** Tells an error on stderr, with its code for those who look it up. */
export function printError(error: LipboundError): void {
  process.stderr.write(`lipbound: ${printable(error.message)} (${error.code})\n`)
}

/** The text without what would command a terminal: names come from files. */
function printable(text: string): string {
  return text.replace(/(?!\n)\p{Cc}/gu, '?')
}

/** What JSON has where there may be one result or more: it itself, or all of them as `results`. */
export function oneOrSeveral(results: readonly object[]): object {
  const [first] = results
  return results.length === 1 && first !== undefined ? first : { results }
}

/** Prints one JSON object in a line. */
export function printJson(value: object): void {
  process.stdout.write(`${jsonText(value)}\n`)
}

/**
 * A result as JSON. JSON has no infinity: an infinite number is written as `null`. Certificates go to their own file.
 */
export function jsonText(value: object): string {
  return JSON.stringify(value, (key, entry: unknown) =>
    key === 'certificate' && isCertificate(entry) ? undefined : entry,
  )
}

/** Tells a certificate from the bound that a sweep has under the same key. */
function isCertificate(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'format' in value
}
