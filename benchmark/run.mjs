// All benchmarks, one after the other: kernels beside the peak of the machine, norms, bounds, tightness, start-up, the package, batches, peers.

import { spawnSync } from 'node:child_process'
import { cpus } from 'node:os'
import { fileURLToPath } from 'node:url'

const here = (name) => fileURLToPath(new URL(name, import.meta.url))
const [cpu] = cpus()
console.log(`${cpu?.model ?? 'unknown processor'}, ${cpus().length} cores, Node ${process.version}\n`)

const steps = [
  ['Kernels', 'cargo', ['bench', '--quiet', '-p', 'lipbound-kernels', '--bench', 'conv']],
  ['Norms', process.execPath, [here('norms.mjs')]],
  ['Bounds', process.execPath, [here('bounds.mjs')]],
  ['Tightness', process.execPath, [here('tightness.mjs')]],
  ['Startup', process.execPath, [here('startup.mjs')]],
  ['Package', process.execPath, [here('package.mjs')]],
  ['Batch', process.execPath, [here('batch.mjs')]],
  ['Peers', process.execPath, [here('peers/run.mjs')]],
]
const wanted = process.argv.slice(2)
for (const [title, command, words] of steps) {
  if (wanted.length > 0 && !wanted.includes(title.toLowerCase())) continue
  console.log(`\n== ${title}`)
  const { status } = spawnSync(command, words, { stdio: 'inherit' })
  if (status !== 0) process.exitCode = 1
}
