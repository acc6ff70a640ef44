// npm test [-- --rust | --js [arguments of ava]]: sets up, runs the tests of Rust and of JavaScript, adds them up.

import { stripVTControlCharacters } from 'node:util'
import { add, bin, finish, noCounts, run, summary } from './run.mjs'
import { setup, setupBrowser, setupPostgres, setupRedis, setupReference } from './setup.mjs'

/** A suite that ended badly without a failed test, or without any test, counts as one failure. */
function settle(name, counts, code) {
  if (counts.passed + counts.failed === 0) {
    console.error(`${name}: no test ran`)
    counts.failed += 1
  } else if (code !== 0 && counts.failed === 0) {
    console.error(`${name}: ended with exit code ${code}`)
    counts.failed += 1
  }
  console.log(`${name}: ${summary(counts)}`)
  return counts
}

async function rust() {
  const counts = noCounts()
  const onLine = (line) => {
    console.log(line)
    const match = /^test result: .*?(\d+) passed; (\d+) failed; (\d+) ignored;/.exec(line)
    if (match) add(counts, { passed: Number(match[1]), failed: Number(match[2]), skipped: Number(match[3]) })
  }
  const { code } = await run('cargo', ['test', '--workspace', '--no-fail-fast'], { onLine })
  return settle('cargo test', counts, code)
}

/** What the first word of a line of ava says of a test, or of a whole file that broke down. */
const outcomes = [
  [/^ {2}[✔√] /, 'passed'],
  [/^ {2}[✘×] /, 'failed'],
  [/^ {2}- \[(skip|todo)\] /, 'skipped'],
]

async function javascript(args) {
  const counts = noCounts()
  // The other tests are worth running without it; those that need it fail.
  if (!(await setupReference())) console.error('tests that compare with onnxruntime will fail')
  if (!(await setupBrowser())) console.error('tests of how reports look in a browser will be skipped')
  if (!(await setupRedis())) console.error('tests of queues in Redis will be skipped')
  if (!(await setupPostgres())) console.error('tests of queues in PostgreSQL will be skipped')
  const onLine = (line) => {
    console.log(line)
    const plain = stripVTControlCharacters(line)
    const outcome = outcomes.find(([pattern]) => pattern.test(plain))
    if (outcome) counts[outcome[1]] += 1
  }
  const env = process.stdout.isTTY ? { FORCE_COLOR: '1' } : {}
  const { code } = await run(bin('ava'), args, { onLine, env })
  return settle('ava', counts, code)
}

const [only, ...args] = process.argv.slice(2)
if (only !== undefined && only !== '--rust' && only !== '--js') {
  console.error('usage: npm test [-- --rust | --js [arguments of ava]]')
  process.exitCode = 2
} else {
  const counts = noCounts()
  const ready = await setup()
  if (!ready) counts.failed += 1
  if (ready && only !== '--js') add(counts, await rust())
  if (ready && only !== '--rust') add(counts, await javascript(args))
  finish(counts)
}
