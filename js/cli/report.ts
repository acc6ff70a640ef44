/** `--report`, and pictures: what a command found, drawn. */
import type { Network } from '../network.js'
import type { RadiusResult } from '../radius.js'
import type { BoundResult } from '../results.js'
import type { SweepResult } from '../sweep.js'
import { writeOutput } from './files.js'

/** A result, with the file of its input where there is one. */
type Named<Result> = Result & { input?: string }

/** What a report is made of. */
export interface Findings {
  network: Network
  /** The model's file. */
  file: string
  bounds?: readonly Named<BoundResult>[]
  radii?: readonly Named<RadiusResult>[]
  sweeps?: readonly Named<SweepResult>[]
}

/** What draws, loaded when there is something to draw: most commands have no use for it. */
export function drawing(): Promise<typeof import('../report/index.js')> {
  return import('../report/index.js')
}

/** Writes a report, if there is to be one. */
export async function writeReport(report: string | undefined, { network, file, ...results }: Findings): Promise<void> {
  if (report === undefined) return
  const { summary, digest } = network
  const text = await (await drawing()).report({ summary, digest, file, ...results, command: commandLine() })
  await writeOutput(report, text, 'the report')
}

/** What was typed, so that others can repeat it: words that a shell would take apart are quoted. */
function commandLine(): string {
  const words = process.argv.slice(2).map((word) => (/^[\w@%+=:,./-]+$/.test(word) ? word : quoted(word)))
  return ['lipbound', ...words].join(' ')
}

function quoted(word: string): string {
  return `'${word.replaceAll("'", String.raw`'\''`)}'`
}
