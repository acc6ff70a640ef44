/** A line on stderr that tells how far the work is, for people who watch it. */
import type { Progress } from '../results.js'

/** Shows progress while some work runs, if stderr is a terminal, and clears the line after it. */
export async function withProgress<Result>(
  work: (onProgress?: (progress: Progress) => void) => Promise<Result>,
): Promise<Result> {
  const { stderr } = process
  if (!stderr.isTTY) return work()
  const clear = '\r\u001B[K'
  try {
    return await work(({ stage, done, epsilon }) => {
      const radius = epsilon === undefined ? '' : `, epsilon ${epsilon}`
      stderr.write(`${clear}${String(Math.floor(done * 100)).padStart(3)} % ${stage}${radius}`)
    })
  } finally {
    stderr.write(clear)
  }
}
