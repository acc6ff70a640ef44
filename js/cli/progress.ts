/** A line on stderr that tells how far the work is, for people who watch it. */
import { performance } from 'node:perf_hooks'

import type { Progress } from '../results.js'

/** Reports of a running computation go here. */
export type OnProgress = (progress: Progress) => void

/** Where some work stands. */
export interface Standing {
  /** Part of all the work that is done, from 0 to 1. */
  readonly done: number
  /** Seconds since it began. */
  readonly seconds: number
  /** Parts of the work that are finished. */
  readonly finished: number
  /** How many parts there are. */
  readonly parts: number
  /** What is worked on, from the large to the small: a file, a layer. */
  readonly doing: readonly string[]
}

/** Columns that the bar takes, and those that a terminal must have for it. */
const BAR = 20
const ROOM_FOR_BAR = 60

/** Seconds before which no guess is made of those that are left. */
const PATIENCE = 1

/** The line that tells where the work stands, in fewer columns than the terminal has. */
export function progressText({ done, seconds, finished, parts, doing }: Standing, columns: number): string {
  const filled = Math.round(done * BAR)
  const bar = columns < ROOM_FOR_BAR ? '' : ` [${'='.repeat(filled)}${' '.repeat(BAR - filled)}]`
  const left = seconds < PATIENCE || done <= 0 ? [] : [`about ${showDuration((seconds * (1 - done)) / done)} left`]
  const words = [...(parts > 1 ? [`${finished} of ${parts}`] : []), ...left, ...doing]
  const text = `${String(Math.floor(done * 100)).padStart(3)} %${bar} ${words.join(', ')}`
  // A name from a file must not write on the terminal, and a full line would wrap.
  const plain = text.replace(/\p{Cc}/gu, '?')
  return plain.length < columns ? plain : `${plain.slice(0, Math.max(columns - 2, 0))}\u2026`
}

/** A time as people say it, to a minute in an hour and an hour in a day. */
export function showDuration(seconds: number): string {
  const steps = [
    [86_400, 'd'],
    [3600, 'h'],
    [60, 'min'],
    [1, 's'],
  ] as const
  const whole = Math.max(1, Math.round(seconds))
  const first = steps.findIndex(([length]) => whole >= length)
  const [large = steps[3], small] = steps.slice(first, first + 2)
  const count = Math.floor(whole / large[0])
  const rest = small === undefined ? 0 : Math.floor((whole % large[0]) / small[0])
  return small === undefined || rest === 0 ? `${count} ${large[1]}` : `${count} ${large[1]} ${rest} ${small[1]}`
}

const CLEAR = '\r\u001B[K'

/** The line for work in parts that take about as long as each other: inputs, say. Silent where stderr is no terminal. */
export class ProgressLine {
  readonly #parts: number
  readonly #started = performance.now()
  /** How far each part is that is worked on. */
  readonly #running = new Map<symbol, number>()
  #finished = 0

  constructor(parts = 1) {
    this.#parts = parts
  }

  /**
   * Does one part of the work, perhaps beside others, and shows how far all of it is; the line is taken away after it.
   *
   * @param name - what the part is about; nothing where there is only one
   */
  async part<Result>(name: string | undefined, work: (onProgress?: OnProgress) => Promise<Result>): Promise<Result> {
    const { stderr } = process
    if (!stderr.isTTY) return work()
    const part = Symbol(name)
    try {
      return await work(({ stage, done, epsilon }) => {
        this.#running.set(part, done)
        const begun = [...this.#running.values()].reduce((sum, share) => sum + share, 0)
        const standing = {
          done: (this.#finished + begun) / this.#parts,
          seconds: (performance.now() - this.#started) / 1000,
          finished: this.#finished,
          parts: this.#parts,
          doing: [
            ...(name === undefined ? [] : [name]),
            stage,
            ...(epsilon === undefined ? [] : [`epsilon ${epsilon}`]),
          ],
        }
        stderr.write(`${CLEAR}${progressText(standing, stderr.columns)}`)
      })
    } finally {
      stderr.write(CLEAR)
      this.#running.delete(part)
      this.#finished += 1
    }
  }
}
