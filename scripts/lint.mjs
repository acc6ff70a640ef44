// npm run lint: every check of form and types. All of them run; the output of those that fail is shown.

import { bin, finish, noCounts, run } from './run.mjs'
import { setup } from './setup.mjs'

const plain = process.stdout.isTTY ? [] : ['--color=never']

const checks = [
  ['cargo fmt', 'cargo', ['fmt', '--all', '--check', '--', ...plain]],
  ['clippy', 'cargo', ['clippy', '--workspace', '--all-targets', '--quiet', '--', '--deny', 'warnings']],
  ['tsc', bin('tsc'), ['--noEmit']],
  ['eslint', bin('eslint'), ['--max-warnings=0', '.']],
  ['rooms', bin('depcruise'), ['--config', '.dependency-cruiser.json', '--output-type', 'err', 'js']],
  ['prettier', bin('prettier'), ['--check', '--log-level=warn', ...plain.map(() => '--no-color'), '.']],
]

const counts = noCounts()
if (await setup()) {
  for (const [name, command, args] of checks) {
    const { code, output } = await run(command, args, { show: false })
    counts[code === 0 ? 'passed' : 'failed'] += 1
    console.log(`${code === 0 ? '✔' : '✘'} ${name}`)
    if (code !== 0) console.log(output.trimEnd())
  }
} else {
  counts.failed += 1
}
finish(counts)
