/** `lipbound bound` on real files. */
import { existsSync, readFileSync, readdirSync } from 'node:fs'

import test from 'ava'

import { loadModel, loadTensor } from '../../dist/index.js'
import { badModels, commandLineFiles, parse, testBadUses } from '../helpers/command-line.js'
import { npy } from '../helpers/files.js'
import { lipbound, repositoryFile } from '../helpers/process.js'

const files = commandLineFiles()
const { model, weights, input, other } = files

test('--json prints what the API gives, in full precision', async (t) => {
  const { status, stdout, stderr } = await lipbound(
    ...['bound', model, '--input', input, '--epsilon', '0.5', '--seed', '3', '--json'],
  )
  t.is(status, 0, stderr)
  t.is(stderr, '')
  using network = await loadModel(model)
  const expected = await network.bound(await loadTensor(input), { epsilon: 0.5, seed: 3 })
  const printed = parse(stdout) as typeof expected & { input: string }
  t.is(printed.input, input)
  t.is(printed.upper, expected.upper)
  t.is(printed.lower, expected.lower)
  t.deepEqual(Object.keys(printed).sort(), [...Object.keys(expected), 'input'].sort())
  t.deepEqual(
    printed.layers.map(({ members }) => members),
    expected.layers.map(({ members }) => members),
  )
})

test('several epsilons or inputs give results', async (t) => {
  const { status, stdout } = await lipbound(
    ...['bound', model, '--input', input, other, '--epsilon', '0.5', '1e-3', '--json'],
  )
  t.is(status, 0)
  const { results } = parse(stdout) as { results: { input: string; epsilon: number; upper: number }[] }
  t.deepEqual(
    results.map((result) => [result.input, result.epsilon]),
    [
      [input, 0.5],
      [input, 0.001],
      [other, 0.5],
      [other, 0.001],
    ],
  )
  const repeated = await lipbound('bound', model, '--input', input, '--epsilon', '0.5', '--epsilon', '1e-3', '--json')
  t.is((parse(repeated.stdout) as { results: unknown[] }).results.length, 2)
})

test('options reach the library', async (t) => {
  const { stdout } = await lipbound(
    ...['bound', weights, '--architecture', model, '--input', input, '--epsilon', '10'],
    ...['--kind', 'uniform', '--guarantee', 'deterministic', '--method', 'layerwise', '--json'],
  )
  const { kind, guarantee, failureProbability, method } = parse(stdout) as Record<string, unknown>
  t.deepEqual(
    { kind, guarantee, failureProbability, method },
    { kind: 'uniform', guarantee: 'deterministic', failureProbability: 0, method: 'layerwise' },
  )
})

test('for people there is a table and the story of a single bound', async (t) => {
  const { status, stdout, stderr } = await lipbound('bound', model, '--input', input, '--epsilon', '0.5', '--global')
  t.is(status, 0)
  t.is(stderr, '', 'no progress where nobody watches')
  t.regex(stdout, /epsilon +upper +lower +global +ratio/)
  t.regex(stdout, /guarantee: /)
  t.regex(stdout, /dense, relu1/)
  t.regex(stdout, /still +stable +unstable/)
  const several = await lipbound('bound', model, '--input', input, '--epsilon', '0.5', '1')
  t.notRegex(several.stdout, /dense, relu1/)
  t.regex(
    (await lipbound('bound', model, '--input', input, '--epsilon', '0.5', '1', '--layers')).stdout,
    /dense, relu1/,
  )
})

test('printed ends of brackets are rounded outward', async (t) => {
  const { stdout: text } = await lipbound('bound', model, '--input', input, '--epsilon', '7', '--global', '--seed', '1')
  const { stdout: json } = await lipbound(
    ...['bound', model, '--input', input, '--epsilon', '7', '--global', '--seed', '1', '--json'],
  )
  const cells = /^ *7 +(\S+) +(\S+) +(\S+) +(\S+)$/m.exec(text)
  const { upper, lower, global } = parse(json) as {
    upper: number
    lower: number
    global: { upper: number; epsilon: null }
  }
  t.is(global.epsilon, null, 'JSON has no infinity')
  const [, printedUpper, printedLower, printedGlobal] = (cells ?? []).map(Number)
  t.true(printedUpper !== undefined && printedUpper >= upper && printedUpper < upper * 1.0001)
  t.true(printedLower !== undefined && printedLower <= lower && printedLower >= lower * 0.9999)
  t.true(printedGlobal !== undefined && printedGlobal >= global.upper && printedGlobal < global.upper * 1.0001)
})

test('--report writes one HTML file', async (t) => {
  const report = files.at('bound.html')
  const { status, stderr } = await lipbound(
    ...['bound', model, '--input', input, '--epsilon', '0.5', '1', '--global', '--report', report],
  )
  t.is(status, 0, stderr)
  const html = readFileSync(report, 'utf8')
  t.regex(html, /^<!doctype html>/i)
  t.true(html.includes('lipbound bound') && html.includes('--global'), 'what was typed')
})

test('the network and the digits of the repository', async (t) => {
  const folder = repositoryFile('examples/models/')
  const digits = existsSync(`${folder}digits`)
    ? readdirSync(`${folder}digits`).filter((name) => name.endsWith('.npy'))
    : []
  t.true(digits.length >= 10)
  const [digit = ''] = digits
  const { status, stdout, stderr } = await lipbound(
    ...['bound', `${folder}lenet.json`, '--input', `${folder}digits/${digit}`, '--epsilon', '0.05', '0.5'],
    ...['--global', '--json'],
  )
  t.is(status, 0, stderr)
  const { results, global } = parse(stdout) as {
    results: { upper: number; lower: number }[]
    global: { upper: number }
  }
  const [near, far] = results
  t.true(near !== undefined && far !== undefined && near.upper > 0)
  t.true((near?.upper ?? NaN) <= (far?.upper ?? NaN) && (far?.upper ?? NaN) <= global.upper * 1.02)
  t.true(results.every(({ lower, upper }) => lower <= upper))
})

const bound = (...args: string[]): string[] => ['bound', model, ...args]
const ball = ['--input', input, '--epsilon', '1']

testBadUses({
  ...badModels('bound', ball),
  'no input': [bound('--epsilon', '1'), /required option '--input/],
  'no epsilon': [bound('--input', input), /required option '--epsilon/],
  'an epsilon that is no number': [bound('--input', input, '--epsilon', 'tiny'), /tiny.*not a number/],
  'an empty epsilon': [bound('--input', input, '--epsilon', ''), /epsilon/],
  'a negative epsilon': [bound('--input', input, '--epsilon=-1'), /epsilon.*-1/],
  'an infinite epsilon': [bound('--input', input, '--epsilon', 'Infinity'), /epsilon.*Infinity/],
  'an unknown kind': [bound(...ball, '--kind', 'local'), /local.*centred/s],
  'an unknown method': [bound(...ball, '--method', 'magic'), /magic.*layerwise/s],
  'an impossible tolerance': [bound(...ball, '--tolerance', '3'), /tolerance.*3/],
  'an impossible probability': [bound(...ball, '--failure-probability', '0.9'), /failureProbability.*0\.9/],
  'a seed that is no integer': [bound(...ball, '--seed', '0.5'), /seed.*0\.5/],
  'a time of no length': [bound(...ball, '--time-limit', '0'), /timeLimit.*0/],
  'an input that is not there': [bound('--input', files.at('nothing.npy'), '--epsilon', '1'), /nothing\.npy/],
  'an input of another kind': [bound('--input', weights, '--epsilon', '1'), /small\.safetensors.*ERR_LIPBOUND_FILE/],
  'an input of another shape': [
    bound('--input', files.write('three.npy', npy([3], [1, 2, 3])), '--epsilon', '1'),
    /three\.npy: .*ERR_LIPBOUND_SHAPE/,
  ],
  'an input that is not finite': [
    bound('--input', files.write('poison.npy', npy([2], [1, NaN])), '--epsilon', '1'),
    /poison\.npy.*NaN.*ERR_LIPBOUND_VALUE/,
  ],
  'an input that is cut off': [
    bound('--input', files.write('short.npy', npy([2], [1, 2]).subarray(0, -1)), '--epsilon', '1'),
    /short\.npy.*ERR_LIPBOUND_FILE/,
  ],
  'a certificate that cannot be written': [
    bound(...ball, '--certificate', files.at('nowhere/file.json')),
    /--certificate: \S*nowhere\/file\.json cannot be written: ENOENT.*ERR_LIPBOUND_FILE/,
  ],
  'a report in place of a directory': [
    bound(...ball, '--report', files.path),
    /--report: \S+ cannot be written: it is a directory/,
  ],
  'both --json and --jsonl': [bound(...ball, '--json', '--jsonl'), /'--jsonl' cannot be used with option '--json'/],
})
