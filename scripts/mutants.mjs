// npm run mutants [-- [--iterate] [--lib] [--all] [part of a name ...]]: mutation testing of what .cargo/mutants.toml names.
//
// cargo-mutants says which mutants there are; all of them are built into one program (mutated.mjs), and each is tried
// with the tests that reach it, the quickest first, until one fails. What was found is in target/mutants/results.json;
// with --iterate, mutants that were caught and did not change since are not tried again.

import { spawn } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { dirname, join } from 'node:path'
import { chooser, mutated } from './mutated.mjs'
import { root } from './run.mjs'

const VERSION = '27.1.0'
const DOCUMENT = join('docs', 'mutation-testing.md')
/** Of the mutants that compile, what must be caught. */
const GOAL = 0.9
/** What a test may take with a mutant: a multiple of what it takes without, and at least some seconds. */
const PATIENCE = { factor: 10, seconds: 10 }
/** Seconds: tests that take longer are left out, but with --all. What is missed costs all tests there are. */
const QUICK = 3
/** Whose tests are run. They have all forms of many functions in them, and take long to optimise. */
const PACKAGES = ['lipbound-spectral', 'lipbound-lipschitz']
/** Kilobytes of address space: a mutant may not fill the machine. */
const MEMORY = 6e6

const work = join(root, 'target', 'mutants')
const tree = join(work, 'tree')
const resultsFile = join(work, 'results.json')
const testsFile = join(work, 'tests.json')

/** Runs a command to its end; standard error is shown only where `loud`. */
function output(command, args, { cwd = root, env = {}, seconds, loud = false } = {}) {
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', loud ? 'inherit' : 'ignore'],
    })
    let text = ''
    let timeout = false
    const timer =
      seconds &&
      setTimeout(() => {
        timeout = true
        child.kill('SIGKILL')
      }, seconds * 1000)
    child.stdout.setEncoding('utf8').on('data', (chunk) => (text += chunk))
    child.on('error', () => {
      resolve({ code: 127, text, timeout })
    })
    child.on('close', (code) => {
      clearTimeout(timer)
      resolve({ code: code ?? 1, text, timeout })
    })
  })
}

/** Calls `work` for each of `items`, as many at once as there are processors. */
async function each(items, work) {
  const queue = [...items]
  const next = async () => {
    for (let item = queue.shift(); item !== undefined; item = queue.shift()) await work(item)
  }
  await Promise.all(Array.from({ length: availableParallelism() }, next))
}

const textOf = (file) => readFileSync(join(root, file), 'utf8')
const sha = (...parts) => createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 16)

/** Writes a file of the tree unless it is there already: cargo goes by times. */
function put(file, content) {
  const path = join(tree, file)
  if (existsSync(path) && readFileSync(path).equals(Buffer.from(content))) return
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, content)
}

/** The mutants, numbered, with a key that says whether one is still the same after a change elsewhere. */
async function list() {
  const version = await output('cargo', ['mutants', '--version'])
  if (!version.text.includes(VERSION)) {
    const found = version.code === 0 ? version.text.trim() : 'none'
    throw new Error(
      `cargo-mutants ${VERSION} is needed; found: ${found}. Run: cargo install --locked cargo-mutants@${VERSION}`,
    )
  }
  const { code, text } = await output('cargo', ['mutants', '--list', '--json'], { loud: true })
  if (code !== 0) throw new Error('cargo mutants --list failed')
  const places = new Map()
  return JSON.parse(text).map((mutant, index) => {
    const lines = textOf(mutant.file).split('\n')
    const { start, end } = (mutant.function ?? mutant).span
    const where = `${mutant.file} ${mutant.function?.function_name ?? start.line}`
    if (!places.has(where)) places.set(where, places.size + 1)
    const { span, replacement } = mutant
    const inside = [span.start.line - start.line, span.start.column, span.end.line - start.line, span.end.column]
    const key = sha(mutant.file, lines.slice(start.line - 1, end.line), inside, replacement)
    const [, what] = /^[^:]+:\d+:\d+: (.*)$/s.exec(mutant.name)
    return { ...mutant, id: index + 1, where, place: places.get(where), key, what }
  })
}

/** Copies the workspace, with these mutants in it; resolves with the lines of each in its file. */
async function write(mutants) {
  const { text } = await output('git', ['ls-files', '-co', '--exclude-standard', 'Cargo.*', 'crates'])
  const files = text.split('\n').filter((file) => file && existsSync(join(root, file)))
  const old = await output('find', ['crates', '-type', 'f'], { cwd: tree }).catch(() => ({ text: '' }))
  for (const file of old.text.split('\n')) if (file && !files.includes(file)) rmSync(join(tree, file))
  const lines = new Map()
  for (const file of files) {
    const own = mutants.filter((mutant) => mutant.file === file)
    const crate = /^(crates\/[^/]+)\/src\/lib\.rs$/.exec(file)?.[1]
    if (own.length > 0) {
      const made = mutated(textOf(file), own)
      lines.set(file, made.lines)
      put(file, made.text)
    } else if (crate && mutants.some((mutant) => mutant.file.startsWith(`${crate}/`))) {
      put(file, textOf(file) + chooser)
    } else {
      put(file, readFileSync(join(root, file)))
    }
  }
  return lines
}

const messages = (text) =>
  text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))

/**
 * Builds tests (`--lib` for the unit tests alone) with all mutants that compile in them; resolves with the programs, and
 * with the ids of the mutants that do not compile.
 */
async function build(mutants, which) {
  const unviable = new Set()
  const profile = PACKAGES.flatMap((name) =>
    ['opt-level=1', 'debug=false'].flatMap((option) => ['--config', `profile.dev.package.${name}.${option}`]),
  )
  const packages = PACKAGES.flatMap((name) => ['-p', name])
  const cargo = (...args) =>
    output('cargo', [...args, '--message-format=json', ...profile, ...packages], {
      cwd: tree,
      env: { RUSTFLAGS: '--cap-lints=allow', CARGO_TARGET_DIR: join(work, 'target') },
    })
  for (;;) {
    const lines = await write(mutants.filter(({ id }) => !unviable.has(id)))
    const { code, text } = await cargo('check')
    if (code === 0) break
    const errors = messages(text).filter((m) => m.reason === 'compiler-message' && m.message.level === 'error')
    const before = unviable.size
    for (const { message } of errors) {
      for (const span of message.spans.filter((span) => span.is_primary)) {
        const guilty = lines.get(span.file_name)?.find((l) => l.first <= span.line_start && span.line_start <= l.last)
        if (guilty) unviable.add(guilty.id)
      }
    }
    if (unviable.size === before) throw new Error(errors.map((e) => e.message.rendered).join('\n') || text)
    console.log(`${unviable.size} mutants do not compile`)
  }
  const { code, text } = await cargo('test', '--no-run', ...which)
  if (code !== 0) throw new Error(`the tests do not compile:\n${text}`)
  const programs = messages(text)
    .filter((m) => m.reason === 'compiler-artifact' && m.profile.test && m.executable)
    .map((m) => ({ program: m.executable, cwd: dirname(m.manifest_path), target: m.target.name }))
  return { programs, unviable }
}

/** One test, by itself, in a process of its own. */
function runTest({ program, cwd, name }, env, seconds) {
  const limited = `ulimit -v ${MEMORY}; exec "$0" "$@"`
  return output('sh', ['-c', limited, program, '--exact', name, '--test-threads=1'], { cwd, env, seconds })
}

/** All tests, each with the time that it takes and the places that it reaches; `known` has what was measured before. */
async function measure(programs, mutants, known) {
  const tests = []
  for (const at of programs) {
    const { text } = await output(at.program, ['--list', '--format=terse'], { cwd: at.cwd })
    for (const [, name] of text.matchAll(/^(.*): test$/gm)) tests.push({ ...at, name, key: `${at.target} ${name}` })
  }
  const nameOf = new Map(mutants.map((mutant) => [String(mutant.place), mutant.where]))
  await each(tests, async (test) => {
    if (!known[test.key]) {
      const file = join(work, `reached-${sha(test.key)}`)
      rmSync(file, { force: true })
      const start = performance.now()
      const { code } = await runTest(test, { MUTANTS_REACHED: file })
      if (code !== 0) throw new Error(`${test.name} fails without any mutant`)
      const places = existsSync(file) ? readFileSync(file, 'utf8').split('\n').filter(Boolean) : []
      rmSync(file, { force: true })
      known[test.key] = { seconds: (performance.now() - start) / 1000, reached: places.map((id) => nameOf.get(id)) }
      writeFileSync(testsFile, JSON.stringify(known))
    }
    const { seconds, reached } = known[test.key]
    test.seconds = seconds
    test.reached = new Set(reached)
  })
  return tests
}

/** What becomes of a mutant. Tests that caught others at the same place are likelier to catch this one. */
async function attempt(mutant, tests) {
  const promise = (test) => test.seconds / (1 + (test.caught?.get(mutant.where) ?? 0))
  const able = tests.filter((test) => test.reached.has(mutant.where)).sort((a, b) => promise(a) - promise(b))
  for (const test of able) {
    const seconds = Math.max(PATIENCE.seconds, PATIENCE.factor * test.seconds)
    const { code, timeout } = await runTest(test, { MUTANT: String(mutant.id) }, seconds)
    if (code === 0) continue
    test.caught ??= new Map()
    test.caught.set(mutant.where, (test.caught.get(mutant.where) ?? 0) + 1)
    return { outcome: timeout ? 'timeout' : 'caught', by: test.name }
  }
  return { outcome: 'missed' }
}

const OUTCOMES = ['caught', 'missed', 'timeout', 'unviable']

/** A table for the document, and what is below the goal or without a reason in it. */
function conclude(mutants, results) {
  const faults = []
  const row = (name, own) => {
    const counts = OUTCOMES.map((outcome) => own.filter(({ key }) => results[key]?.outcome === outcome).length)
    const [caught, missed, timeout] = counts
    const share = (caught + timeout) / (caught + missed + timeout)
    console.log(`| ${name} | ${own.length} | ${counts.join(' | ')} | ${(100 * share).toFixed(1)} % |`)
    return share
  }
  console.log(`\n| file | mutants | ${OUTCOMES.join(' | ')} | caught or timeout |\n| --- |${' --: |'.repeat(6)}`)
  for (const file of [...new Set(mutants.map((mutant) => mutant.file))].sort())
    row(
      file,
      mutants.filter((mutant) => mutant.file === file),
    )
  const share = row('all', mutants)
  if (!(share >= GOAL)) faults.push(`${(100 * share).toFixed(1)} % of all are caught, ${100 * GOAL} % asked for`)
  const known = existsSync(join(root, DOCUMENT)) ? textOf(DOCUMENT) : ''
  const missed = mutants.filter(({ key }) => results[key]?.outcome === 'missed')
  console.log(`\nmissed:`)
  for (const { name, what } of missed) {
    console.log(name)
    if (!known.includes(`\`${what}\``)) faults.push(`${DOCUMENT} gives no reason for: ${what}`)
  }
  for (const fault of faults) console.error(`✘ ${fault}`)
  if (faults.length > 0) process.exitCode = 1
}

const args = process.argv.slice(2)
const iterate = args.includes('--iterate')
const quick = !args.includes('--all')
const parts = args.filter((arg) => !arg.startsWith('--'))

/** What a file of results has, if they are to be gone on with. */
const earlier = (file) => (iterate && existsSync(file) ? JSON.parse(readFileSync(file, 'utf8')) : {})

mkdirSync(tree, { recursive: true })
const mutants = await list()
const results = earlier(resultsFile)
const save = () => {
  writeFileSync(resultsFile, JSON.stringify(results))
}
const named = mutants.filter(({ name }) => parts.length === 0 || parts.some((part) => name.includes(part)))
const measured = earlier(testsFile)

/** Tries what is not caught yet. */
async function round(which) {
  const asked = named.filter(({ key }) => (results[key] ?? { outcome: 'missed' }).outcome === 'missed')
  if (asked.length === 0) return
  console.log(`${mutants.length} mutants, ${asked.length} to be tried; building them`)
  const { programs, unviable } = await build(asked, which)
  for (const { key } of asked.filter(({ id }) => unviable.has(id))) results[key] = { outcome: 'unviable' }
  save()
  const tests = (await measure(programs, mutants, measured)).filter(({ seconds }) => !quick || seconds < QUICK)
  console.log(`${tests.length} tests, ${tests.reduce((sum, { seconds }) => sum + seconds, 0).toFixed(0)} s`)
  const viable = asked.filter(({ id }) => !unviable.has(id))
  let done = 0
  await each(viable, async (mutant) => {
    results[mutant.key] = await attempt(mutant, tests)
    done += 1
    const { outcome, by } = results[mutant.key]
    console.log(`${done}/${viable.length} ${outcome} ${mutant.name}${by ? ` (${by})` : ''}`)
    save()
  })
}

// Most are caught by unit tests, which take no time. What these miss is tried with all tests.
await round(['--lib'])
if (!args.includes('--lib')) await round([])
conclude(mutants, results)
