// What the first answer of a fresh process costs: loading the package, and the first bound of a small network.

import { execFileSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

const RUNS = 21
const entry = fileURLToPath(new URL('../dist/index.js', import.meta.url))
const main = fileURLToPath(new URL('../dist/cli/main.js', import.meta.url))

/** Runs in a process of its own, and prints the milliseconds of each step. */
const program = `
const began = performance.now()
const { sequential, linear, relu, tensor } = await import(process.argv[1])
const loaded = performance.now()
const matrix = (rows, columns) =>
  tensor([rows, columns], Float32Array.from({ length: rows * columns }, (_, i) => Math.sin(i + 1)))
const net = sequential({ input: [8] }, [linear({ weight: matrix(16, 8) }), relu(), linear({ weight: matrix(4, 16) })])
await net.bound(new Float64Array(8), { epsilon: 0.1 })
const answered = performance.now()
console.log(JSON.stringify([began, loaded - began, answered - loaded]))
`

function inProcess() {
  const args = ['--input-type=module', '--eval', program, '--', entry]
  const [node, load, first] = JSON.parse(execFileSync(process.execPath, args, { encoding: 'utf8' }))
  return { 'Node itself': node, "import 'lipbound'": load, 'first bound, 8-16-4': first }
}

function commandLine() {
  const began = performance.now()
  execFileSync(process.execPath, [main, '--version'])
  return { 'lipbound --version, whole process': performance.now() - began }
}

const runs = Array.from({ length: RUNS }, () => ({ ...inProcess(), ...commandLine() }))
const rows = Object.keys(runs[0]).map((step) => {
  const sorted = runs.map((run) => run[step]).sort((a, b) => a - b)
  const at = (part) => sorted[Math.floor(part * (sorted.length - 1))].toFixed(1)
  return { step, 'median, ms': at(0.5), least: at(0), most: at(1) }
})
console.log(`First answers of ${RUNS} fresh processes`)
console.table(rows)
