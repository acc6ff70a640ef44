// Everything that a change must pass, added up to one closing line. Started by .ci/run.

import { add, finish, noCounts, parseSummary, run } from './run.mjs'

const steps = ['test', 'lint', 'check:docs', 'check:native', 'check:package', 'check:supply']

// What incremental builds keep for the next one costs time, and there is none here.
const env = { CARGO_INCREMENTAL: '0' }

const counts = noCounts()
for (const step of steps) {
  console.log(`\n== npm run ${step}`)
  const seen = noCounts()
  const onLine = (line) => {
    const closing = parseSummary(line)
    if (closing) add(seen, closing)
    // The closing line of a step names the step: the last line of the whole run is the only bare one.
    console.log(closing ? `${step}: ${line}` : line)
  }
  const { code } = await run('npm', ['run', '--silent', step], { onLine, env })
  if (code !== 0 && seen.failed === 0) seen.failed += 1
  add(counts, seen)
}
finish(counts)
