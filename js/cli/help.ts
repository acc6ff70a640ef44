/** What `--help` says beside the options. */
import type { Command } from 'commander'

/** Adds examples to the help of a command: what is typed after the program's name, and why, where that is not plain. */
export function examples(command: Command, lines: readonly (readonly [typed: string, why?: string])[]): void {
  const texts = lines.map(([typed, why]) =>
    why === undefined ? `  lipbound ${typed}` : `  # ${why}\n  lipbound ${typed}`,
  )
  command.addHelpText('after', `\nExamples:\n${texts.join('\n')}`)
}

/** The end of the help of the program as a whole. */
export const MANUAL = `
Examples:
  lipbound inspect model.onnx
  lipbound bound model.onnx --input eight.npy --epsilon 0.01 0.1
  lipbound certify mnist.onnx --input digits/*.png --mean 0.1307 --std 0.3081
  lipbound sweep model.onnx --input eight.npy --from 0.001 --to 10 --out curve.svg
  lipbound help certify

The model comes first: options that take several words, such as --input, take all up to the next option.
Every bound holds in real arithmetic, for the weights exactly as the file has them; what is printed is rounded outward.
Lengths are Euclidean, in the units of the network's input.

Exit status:
  0  the question was answered, or the reader of the answer went away
  1  the work was interrupted, a certificate was refused, the answer could not be printed, or lipbound has a defect
  2  the command was used wrongly, or a file or an input is not what it has to be; with several inputs: any of them

Environment:
  LIPBOUND_THREADS  threads to work with (default: as many as the machine runs at once)
  LIPBOUND_REDIS, LIPBOUND_POSTGRES
                    where the queue of lipbound enqueue and lipbound worker is
  LIPBOUND_ISA      processor instructions to use: avx512, avx2 or portable (default: the best there are)
  LIPBOUND_TOKEN    bearer token of lipbound serve, where no file has it

Progress is shown on stderr if that is a terminal. Errors end with a code, such as ERR_LIPBOUND_FILE.
README.md and docs/ in the repository explain methods, formats and guarantees; docs/command-line.md has all of this at length.`
