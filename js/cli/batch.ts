/** One command over many inputs: a bad one is told and the others go on. */
import { basename } from 'node:path'

import { Budget } from '../budget.js'
import { concurrently } from '../concurrently.js'
import { InputError, LipboundError } from '../errors.js'
import { native } from '../native.js'
import type { Network } from '../network.js'
import type { Tensor } from '../tensor.js'
import { findInputs, openInput } from './inputs.js'
import type { PictureWords } from './inputs.js'
import { printError, printJson } from './output.js'
import { ProgressLine } from './progress.js'
import type { OnProgress } from './progress.js'
import { BAD_INPUT } from './status.js'

/** The options of `addInputOptions` and `addFormatOptions`. */
export interface BatchWords extends PictureWords {
  input: string[]
  json?: boolean
  jsonl?: boolean
}

/** An input that was answered, or the reason why it could not be. */
export type Outcome<Answer> =
  { readonly input: string; readonly answer: Answer } | { readonly input: string; readonly error: LipboundError }

/** What ends the command, in a box, since anything can be thrown. */
interface Fatal {
  readonly fatal: unknown
}

/** One input to work on. */
export interface Item {
  readonly path: string
  /** Place among the inputs, from 0. */
  readonly index: number
  readonly centre: Tensor
  readonly onProgress: OnProgress | undefined
  /** Nobody wants the answer any more, since the command ends with an error. */
  readonly abandoned: AbortSignal
}

/** The inputs of a command, found before anything is computed. */
export class Batch {
  readonly #words: BatchWords
  readonly #line: ProgressLine

  private constructor(
    words: BatchWords,
    readonly paths: readonly string[],
    more: number,
  ) {
    this.#words = words
    this.#line = new ProgressLine(paths.length + more)
  }

  /**
   * Finds the inputs.
   *
   * @param more - parts of the work that are not about an input, for {@link Batch.aside}
   */
  static async find(words: BatchWords, more = 0): Promise<Batch> {
    return new Batch(words, await findInputs(words.input), more)
  }

  /** Whether there is more than one input. */
  get several(): boolean {
    return this.paths.length > 1
  }

  /** Does something that is not about an input. */
  aside<Result>(name: string, work: (onProgress?: OnProgress) => Promise<Result>): Promise<Result> {
    return this.#line.part(name, work)
  }

  /**
   * Opens one input after another and works on it. With `--jsonl` each outcome is printed at once. Where there are
   * several inputs, one that is at fault itself leaves the others alone and makes the exit status that of bad input.
   *
   * @param network - what the inputs are for
   * @param work - what to do with each
   * @param asObject - the answer as `--jsonl` prints it, without the input
   */
  async each<Answer>(
    network: Network,
    work: (item: Item) => Promise<Answer>,
    asObject: (answer: Answer) => object,
  ): Promise<Outcome<Answer>[]> {
    const outcomes: Outcome<Answer>[] = []
    const { memory } = network.summary
    const dearest = Math.max(memory.certificate, memory.radius)
    const { concurrency } = new Budget('inputs', memory, dearest, 2 * native.threads(), undefined)
    const limits = { concurrency, window: concurrency, ordered: true }
    const computed = concurrently(this.paths, limits, (path, index, abandoned) =>
      this.#attempt(path, async (onProgress) => {
        const centre = await openInput(path, network, this.#words)
        return work({ path, index, centre, onProgress, abandoned })
      }),
    )
    for await (const outcome of computed) {
      // In its place, after what earlier inputs were answered.
      if ('fatal' in outcome) throw outcome.fatal
      if (this.#words.jsonl)
        printJson('error' in outcome ? failed(outcome) : { input: outcome.input, ...asObject(outcome.answer) })
      else if ('error' in outcome) printError(outcome.error)
      if ('error' in outcome) process.exitCode = BAD_INPUT
      outcomes.push(outcome)
    }
    return outcomes
  }

  async #attempt<Answer>(
    path: string,
    work: (onProgress?: OnProgress) => Promise<Answer>,
  ): Promise<Outcome<Answer> | Fatal> {
    try {
      return { input: path, answer: await this.#line.part(this.several ? basename(path) : undefined, work) }
    } catch (error) {
      if (!isOwnFault(error)) return { fatal: error }
      const named = naming(path, error)
      if (!this.several && !this.#words.jsonl) return { fatal: named }
      return { input: path, error: named }
    }
  }
}

/** Whether an error is the input's own, and not of the options or of this package: those would come with any input. */
function isOwnFault(error: unknown): error is InputError {
  const codes = ['ERR_LIPBOUND_FILE', 'ERR_LIPBOUND_SHAPE', 'ERR_LIPBOUND_VALUE']
  return error instanceof InputError && codes.includes(error.code)
}

/** The same error, which says which input it is about. */
function naming(path: string, error: InputError): InputError {
  return error.message.includes(path)
    ? error
    : new InputError(error.code, `${path}: ${error.message}`, { cause: error })
}

/** A failure as JSON. */
export function failed({ input, error }: { input: string; error: LipboundError }): object {
  return { input, error: { code: error.code, message: error.message } }
}
