// npm run compare [-- --quick | --tables | --resume]: every method on every network, each in a process of its own, one after
// the other; then the tables of COMPARE.md. `--quick` asks less and prints the tables instead, `--tables` writes those of the
// last run anew, `--resume` goes on where a run was ended.

import { spawn } from 'node:child_process'
import { appendFileSync, existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, release, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

import { here, install, pythonOf } from './environment.mjs'
import { asked, askedOfLayer, everywhere, local, norms, programOf } from './methods.mjs'
import { networks, place, placeConvolutions } from './networks.mjs'
import { rendered, tables } from './render.mjs'

const compare = fileURLToPath(new URL('../../COMPARE.md', import.meta.url))

/** Writes the tables of a run into COMPARE.md. */
async function write(record) {
  writeFileSync(compare, await rendered(readFileSync(compare, 'utf8'), record))
}

if (process.argv.includes('--tables')) {
  await write(JSON.parse(readFileSync(join(here, 'results.json'), 'utf8')))
  process.exit()
}

const quick = process.argv.includes('--quick')
const settings = quick
  ? { epsilons: [0.1], repeats: 1, limit: 40 }
  : { epsilons: [0.01, 0.1, 1], repeats: 3, limit: 90 }

const folder = mkdtempSync(join(tmpdir(), 'lipbound-compare-'))
const failures = {}
for (const name of ['peers', 'lirpa']) {
  try {
    install(name)
  } catch (error) {
    failures[name] = `not installed: ${error.message}`
    console.error(`compare: ${name}: ${failures[name]}`)
  }
}

/** Runs a task in a process of its own; the lines that it got to, and what ended it if it did not end well. */
function answer(task) {
  const program = programOf(task.method)
  if (failures[program]) return { lines: [], error: failures[program] }
  const [command, args] =
    program === 'node'
      ? [process.execPath, [join(here, 'ours.mjs')]]
      : [pythonOf(program), ['-W', 'ignore', '-m', 'methods']]
  return new Promise((resolve) => {
    const child = spawn(command, [...args, JSON.stringify(task)], { cwd: here, stdio: ['ignore', 'pipe', 'pipe'] })
    const lines = []
    let late = false
    let said = ''
    createInterface({ input: child.stdout }).on('line', (line) => {
      if (line.startsWith('{')) lines.push(JSON.parse(line))
    })
    child.stderr.setEncoding('utf8').on('data', (text) => {
      said = (said + text).slice(-4000)
    })
    const timer = setTimeout(() => {
      late = true
      child.kill('SIGKILL')
    }, settings.limit * 1000)
    child.on('error', (error) => {
      said = error.message
    })
    child.on('close', (code) => {
      clearTimeout(timer)
      if (code === 0) resolve({ lines })
      else if (late) resolve({ lines, error: `gave up after ${settings.limit} s` })
      else resolve({ lines, error: said.trim().split('\n').at(-1) || `ended with ${code}` })
    })
  })
}

const rounded = (number) => Number(number.toPrecision(4))

/** What results keep of a line: numbers that tables and tests need. */
function kept({ value, seconds, start, peak }) {
  const bound = typeof value === 'number' ? { value } : { value: value.upper, ...value, upper: undefined }
  return { ...bound, seconds: seconds.map(rounded), start, peak }
}

/** Asks one method of one network for all epsilons; one result each, those that did not come with the reason. */
async function ask(id, network, files, epsilons, more = {}) {
  const { lines, error } = await answer({ method: id, ...files, epsilons, repeats: settings.repeats, ...more })
  return epsilons.map((epsilon) => {
    const line = lines.find((line) => line.epsilon === epsilon)
    const result = { network: network.name, method: id, epsilon }
    if (line?.value === undefined) return { ...result, error: line?.error ?? error ?? 'no answer' }
    return { ...result, ...kept(line) }
  })
}

/** What an attack found, as one result for each constant. */
const attained = (result) =>
  ['centred', 'uniform', 'movement'].map((kind) => {
    const { network, epsilon, seconds, start, peak, error } = result
    return { network, method: `attack:${kind}`, epsilon, value: result[kind], seconds, start, peak, error }
  })

/** What has been measured, as it comes, for a run that goes on where one was ended. */
const partial = join(here, '.venv', 'partial.jsonl')
const same = JSON.stringify(settings)
const [had, ...before] =
  process.argv.includes('--resume') && existsSync(partial) ? readFileSync(partial, 'utf8').trim().split('\n') : []
const results = had === same ? before.map((line) => JSON.parse(line)) : []
writeFileSync(partial, [same, ...results.map((result) => JSON.stringify(result)), ''].join('\n'))
const known = new Set(results.map(({ network, method }) => `${network} ${method}`))
const isNew = (network, id) => !known.has(`${network.name} ${id}`)

const note = (more) => {
  results.push(...more)
  appendFileSync(partial, more.map((result) => `${JSON.stringify(result)}\n`).join(''))
  for (const { network, method, epsilon, value, seconds, error } of more) {
    console.error(
      `${network} | ${method} | ${epsilon ?? 'everywhere'} | ${error ?? `${value} in ${seconds.join(', ')} s`}`,
    )
  }
}
const began = performance.now()
for (const network of networks) {
  const files = place(network, folder)
  const methods = local.filter((method) => asked(method, network, quick) && isNew(network, method.id))
  for (const { id } of methods) {
    if (id.startsWith('attack:')) continue
    const more = {}
    if (id.startsWith('lipsdp:')) {
      more.slopes = join(folder, `${id.split(':')[1]}.json`)
      more.kind = id.split(':')[1]
      await answer({ method: 'lipbound:slopes', ...files, epsilons: settings.epsilons, ...more })
    }
    note(await ask(id, network, files, settings.epsilons, more))
  }
  if (methods.some(({ id }) => id.startsWith('attack:'))) {
    note((await ask('attack', network, files, settings.epsilons, { repeats: 0 })).flatMap(attained))
  }
  for (const { id } of everywhere.filter((method) => asked(method, network, quick) && isNew(network, method.id))) {
    note(await ask(id, network, files, [null]))
  }
}

const layers = placeConvolutions(folder)
for (const { name, ...layer } of quick ? layers.slice(0, 2) : layers) {
  for (const { id } of norms.filter((method) => askedOfLayer(method, layer) && isNew({ name }, method.id))) {
    const { lines, error } = await answer({ method: id, ...layer, repeats: settings.repeats })
    note([{ network: name, method: id, ...(lines[0] ? kept(lines[0]) : { error: error ?? 'no answer' }) }])
  }
}
rmSync(folder, { recursive: true })
rmSync(partial)

const versions = {
  lipbound: JSON.parse(readFileSync(join(here, '../../package.json'), 'utf8')).version,
  Node: process.version.slice(1),
}
for (const method of ['versions', 'lirpa:versions']) {
  const { lines } = await answer({ method })
  const suffix = method === 'versions' ? '' : ' (for auto-LiRPA)'
  for (const [name, version] of Object.entries(lines[0]?.versions ?? {})) {
    versions[name === 'auto-LiRPA' ? name : `${name}${suffix}`] = version
  }
}
const record = {
  date: new Date().toISOString().slice(0, 10),
  machine: `${cpus()[0]?.model ?? 'unknown processor'}, ${cpus().length} cores, ${Math.round(totalmem() / 2 ** 30)} GiB, Linux ${release().split('-')[0]}`,
  versions,
  ...settings,
  // Those of a run that went on where another was ended would be those of its end alone.
  minutes: known.size > 0 ? undefined : rounded((performance.now() - began) / 60000),
  results,
}
if (quick) {
  console.log(tables(record))
} else {
  // One result a line: what changed from run to run can be read.
  const { results: all, ...rest } = record
  const head = JSON.stringify(rest, null, 2).slice(0, -2)
  const lines = all.map((result) => `    ${JSON.stringify(result)}`).join(',\n')
  writeFileSync(join(here, 'results.json'), `${head},\n  "results": [\n${lines}\n  ]\n}\n`)
  await write(record)
}
