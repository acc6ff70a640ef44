/** `lipbound sweep` on real files. */
import { readFileSync } from 'node:fs'

import test from 'ava'

import { loadModel, loadTensor } from '../../dist/index.js'
import type { SweepResult } from '../../dist/index.js'
import { badModels, commandLineFiles, parse, testBadUses } from '../helpers/command-line.js'
import { lipbound } from '../helpers/process.js'

const files = commandLineFiles()
const { model, input, other } = files

const words = ['sweep', model, '--input', input, '--from', '0.1', '--to', '10', '--points', '3', '--seed', '3']

test('--json prints what the API gives, in full precision', async (t) => {
  const { status, stdout, stderr } = await lipbound(...words, '--kind', 'uniform', '--json')
  t.is(status, 0, stderr)
  t.is(stderr, '')
  using network = await loadModel(model)
  const expected = await network.sweep(await loadTensor(input), {
    ...{ from: 0.1, to: 10, points: 3, seed: 3, kind: 'uniform' },
  })
  const printed = parse(stdout) as SweepResult & { input: string }
  t.is(printed.input, input)
  t.is(printed.kind, 'uniform')
  t.deepEqual(Object.keys(printed).sort(), [...Object.keys(expected), 'input'].sort())
  const numbers = ({ points, global }: SweepResult): unknown => [
    points.map(({ epsilon, lower, layerwise, certificate }) => [epsilon, lower, layerwise.upper, certificate?.upper]),
    global.upper,
  ]
  t.deepEqual(numbers(printed), numbers(expected))
  const { epsilon }: { epsilon: unknown } = printed.global
  t.is(epsilon, null, 'JSON has no infinity')
})

test('for people there is a table, rounded outward', async (t) => {
  const { status, stdout, stderr } = await lipbound(...words, '--scale', 'linear')
  t.is(status, 0)
  t.is(stderr, '')
  const { points, global } = parse((await lipbound(...words, '--scale', 'linear', '--json')).stdout) as SweepResult
  t.regex(stdout, /^epsilon +lower +certificate +layerwise$/m)
  const rows = [...stdout.matchAll(/^ *([\d.]+) +(\S+) +(\S+) +(\S+)$/gm)].map((row) => row.slice(1).map(Number))
  t.deepEqual(
    rows.map(([epsilon]) => epsilon),
    [0.1, 5.05, 10],
  )
  rows.forEach(([, lower = NaN, certificate = NaN, layerwise = NaN], index) => {
    const point = points[index]
    t.true(lower <= (point?.lower ?? NaN) && certificate >= (point?.certificate?.upper ?? NaN))
    t.true(layerwise >= (point?.layerwise.upper ?? NaN))
  })
  const [, printed] = /over the whole space: at most (\S+)/.exec(stdout) ?? []
  t.true(Number(printed) >= global.upper)
  t.notRegex((await lipbound(...words, '--method', 'layerwise')).stdout, /epsilon.*certificate/)
})

test('--out writes a picture or numbers, by the name of the file', async (t) => {
  const { points, global } = parse((await lipbound(...words, '--json')).stdout) as SweepResult
  for (const name of ['curve.svg', 'curve.png', 'curve.json', 'curve.csv']) {
    const { status, stdout, stderr } = await lipbound(...words, '--out', files.at(name), '--theme', 'dark')
    t.is(status, 0, stderr)
    t.regex(stdout, /epsilon/, 'the table comes all the same')
  }
  t.regex(readFileSync(files.at('curve.svg'), 'utf8'), /<svg[^]*<\/svg>/)
  t.true(readFileSync(files.at('curve.png')).subarray(0, 4).equals(Buffer.from('\u0089PNG', 'latin1')))
  const { points: written } = JSON.parse(readFileSync(files.at('curve.json'), 'utf8')) as SweepResult
  t.deepEqual(
    written.map(({ layerwise }) => layerwise.upper),
    points.map(({ layerwise }) => layerwise.upper),
  )
  const [head, ...rows] = readFileSync(files.at('curve.csv'), 'utf8').trimEnd().split('\n')
  t.is(head, 'epsilon,lower,layerwise,certificate,global')
  t.deepEqual(
    rows.map((row) => row.split(',').map(Number)),
    points.map(({ epsilon, lower, layerwise, certificate }) => [
      ...[epsilon, lower, layerwise.upper, certificate?.upper ?? NaN, global.upper],
    ]),
  )
  await lipbound(...words, '--method', 'layerwise', '--out', files.at('curve.csv'))
  t.regex(readFileSync(files.at('curve.csv'), 'utf8'), /^0\.1,[^,]+,[^,]+,,[^,]+$/m, 'no certificate, no number')
})

test('--report writes one HTML file', async (t) => {
  const report = files.at('sweep.html')
  const { status, stderr } = await lipbound(...words, '--report', report)
  t.is(status, 0, stderr)
  t.regex(readFileSync(report, 'utf8'), /^<!doctype html>/i)
})

const sweep = (...args: string[]): string[] => ['sweep', model, '--input', input, ...args]
const range = ['--from', '0.1', '--to', '1']

testBadUses({
  ...badModels('sweep', ['--input', input, ...range]),
  'no input': [['sweep', model, ...range], /required option '--input/],
  'no range': [sweep('--from', '1'), /required option '--to/],
  'two inputs': [['sweep', model, ...range, '--input', input, other], /a sweep is around one input, but there are 2/],
  'a range that is none': [sweep('--from', '1', '--to', '1'), /'from' must be less than 'to', got 1 and 1/],
  'a logarithm of zero': [sweep('--from', '0', '--to', '1'), /'from' must be greater than 0/],
  'one point': [sweep(...range, '--points', '1'), /'points'.*from 2.*got 1/],
  'an unknown scale': [sweep(...range, '--scale', 'cubic'), /cubic.*log, linear/s],
  'a picture of an unknown kind': [
    sweep(...range, '--out', 'curve.gif'),
    /--out: .*\.svg, \.png, \.json, \.csv, got curve\.gif/,
  ],
  'a picture that cannot be written': [
    sweep(...range, '--out', files.at('nowhere/curve.svg')),
    /--out: \S*nowhere\/curve\.svg cannot be written.*ERR_LIPBOUND_FILE/,
  ],
})
