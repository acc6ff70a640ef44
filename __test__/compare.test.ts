/**
 * The comparison with other methods: what COMPARE.md says is what was measured, no bound of ours is below what was
 * attained, and what we wrote of the methods of others agrees with dense linear algebra.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import test from 'ava'

import { loadModel, loadTensor } from '../dist/index.js'
import type { Network, Tensor } from '../dist/index.js'
import { repositoryFile, runProgram } from './helpers/process.js'
import { sharedData } from './helpers/shared-data.js'

interface Result {
  network: string
  method: string
  epsilon?: number | null
  value?: number
  lower?: number
  error?: string
}

interface Run {
  epsilons: number[]
  results: Result[]
}

interface Method {
  id: string
  kind: string
  holds: string
}

const module = (name: string): Promise<unknown> => import(new URL(`../benchmark/${name}.mjs`, import.meta.url).href)
const { rendered, tables, floors, refuted } = (await module('compare/render')) as {
  rendered: (document: string, run: Run) => Promise<string>
  tables: (run: Run) => string
  floors: (results: Result[], network: string) => (kind: string, epsilon?: number) => number
  refuted: (method: Method, result: Result, floor: (kind: string, epsilon?: number) => number) => boolean
}
const { local, everywhere } = (await module('compare/methods')) as { local: Method[]; everywhere: Method[] }
const { networks, place } = (await module('compare/networks')) as {
  networks: { name: string; large?: boolean }[]
  place: (network: object, folder: string) => { model: string; input: string }
}
const { build } = (await module('networks')) as { build: (name: string) => { network: Network; input: Tensor } }

const text = (path: string): string => readFileSync(repositoryFile(path), 'utf8')
const run = (): Run => JSON.parse(text('benchmark/compare/results.json')) as Run

/** The results of methods that say that they are upper bounds with all rounding counted: ours. */
function* ours({ results }: Run): Generator<{ method: Method; result: Result; refuted: boolean }> {
  for (const method of [...local, ...everywhere].filter(({ holds }) => holds === 'rounded')) {
    for (const result of results.filter(({ method: id, value }) => id === method.id && value !== undefined)) {
      yield { method, result, refuted: refuted(method, result, floors(results, result.network)) }
    }
  }
}

test('the tables of COMPARE.md are those of the committed run', async (t) => {
  const document = text('COMPARE.md')
  t.is(await rendered(document, run()), document)
  const other = run()
  const first = other.results.find(({ value }) => value !== undefined)
  if (first) first.value = 12345
  t.not(await rendered(document, other), document)
})

test('no bound of ours in it is below anything attained', (t) => {
  const found = [...ours(run())]
  t.true(found.length > 50, `${found.length} bounds`)
  for (const { method, result, refuted } of found) {
    t.false(refuted, `${result.network}, ${method.id}, ${result.epsilon ?? 'everywhere'}: ${result.value ?? NaN}`)
  }
})

test('a bound below what is attained is seen, in a table too', (t) => {
  const broken = run()
  for (const result of broken.results)
    if (result.method === 'lipbound:certificate' && result.value !== undefined) result.value = 0.001
  const found = [...ours(broken)].filter(({ refuted }) => refuted)
  t.true(found.length > 0)
  t.true(found.every(({ method }) => method.id === 'lipbound:certificate'))
  t.regex(tables(broken), /0\.0010000 ✗/)
})

test('every network was compared, and every method answered somewhere', (t) => {
  const { results } = run()
  for (const { name } of networks) {
    t.true(
      results.some(({ network, value }) => network === name && value !== undefined),
      name,
    )
  }
  for (const { id } of [...local, ...everywhere]) {
    t.true(
      results.some(({ method, value }) => method === id && value !== undefined),
      id,
    )
  }
})

test('networks that are written for others are those that are built', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'lipbound-compare-'))
  try {
    for (const network of networks.filter(({ large }) => large !== true)) {
      const { model, input } = place(network, folder)
      using loaded = await loadModel(model)
      const x = await loadTensor(input)
      const output = await loaded.evaluate(x)
      t.true(output.data.every(Number.isFinite), network.name)
      if (network.name !== 'cifar-10 shape (papers)') continue
      const built = build('cifar-10 (papers)')
      t.deepEqual(x.data, built.input.data)
      t.deepEqual(output.data, (await built.network.evaluate(built.input)).data)
    }
  } finally {
    rmSync(folder, { recursive: true })
  }
})

const python = repositoryFile('benchmark/compare/.venv/peers/bin/python')
const { folder } = sharedData('avant-mnist/')
const installed = existsSync(python) ? test : test.skip
installed('the methods of others, in our words, against dense linear algebra (after npm run compare)', async (t) => {
  const args = ['benchmark/compare/check.py', ...(existsSync(folder) ? [folder] : [])]
  const { status, stdout, stderr } = await runProgram(python, args)
  t.is(status, 0, stderr)
  const checks = stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as { name: string; holds: boolean })
  t.true(checks.length > 15)
  for (const { name, holds } of checks) t.true(holds, name)
})
