/** What the commands print: tables and numbers for people, one JSON object for programs. */
import type { BoundResult, NetworkSummary } from '../results.js'
import { tableOfLayers, tableOfSummary } from '../wording.js'
import type { Column, Table } from '../wording.js'

export { round, roundOutward, showCost, showGuarantee, showOnnx, showShape } from '../wording.js'
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

/** Prints text for people. */
export function print(text: string): void {
  process.stdout.write(`${text}\n`)
}

/**
 * Prints the one object of `--json`. JSON has no infinity: an infinite number is written as `null`. Certificates go to
 * their own file.
 */
export function printJson(value: object): void {
  const text = JSON.stringify(value, (key, entry: unknown) =>
    key === 'certificate' && typeof entry === 'object' ? undefined : entry,
  )
  process.stdout.write(`${text}\n`)
}
