/** More panics than there are threads, then honest work. Prints JSON; the native part tells of its panics on stderr. */
import { run } from '../../dist/cancellation.js'
import { LipboundError, linear, sequential } from '../../dist/index.js'
import { native } from '../../dist/native.js'

const rejections: unknown[] = []
for (let round = 0; round < 20; round++) {
  try {
    await run({}, () => native.panicOnJobThread(`panic ${round}`), { operation: 'load' })
  } catch (error) {
    if (!(error instanceof LipboundError)) throw error
    const { name, code, message } = error
    rejections.push({ name, code, message })
  }
}

const network = sequential({ input: [1] }, [linear({ weight: [[1]] })])
const bounds = await Promise.all(Array.from({ length: 20 }, () => network.bound([0], { epsilon: 1 })))

process.stdout.write(JSON.stringify({ rejections, upper: bounds.map(({ upper }) => upper) }))
