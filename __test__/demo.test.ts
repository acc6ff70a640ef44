/** The demo, run as `npm run demo` runs it once everything is built. */
import { readFileSync } from 'node:fs'
import { join } from 'node:path'

import test from 'ava'

import { loadModel, loadTensor } from '../dist/index.js'
import { createDirectory } from './helpers/files.js'
import { repositoryFile, runNode } from './helpers/process.js'

test('the demo prints bounds, the story of one of them, a sweep and radii, and draws the sweep', async (t) => {
  t.timeout(560_000)
  const directory = createDirectory()
  t.teardown(directory.remove)
  const svg = join(directory.path, 'sweep.svg')
  const { status, stdout, stderr } = await runNode(['examples/demo.js', svg])
  t.is(status, 0, stderr)
  t.is(stderr, '', 'no progress where nobody watches')
  t.false(stdout.includes('\u001B'), 'no colours where nobody sees them')

  t.regex(stdout, /^ *digit +epsilon +attained +local +product +global +global \/ local$/m)
  const rows = [...stdout.matchAll(/^ *(\d(?: +[\d.]+){6})$/gm)].map(([line]) => {
    const [digit = NaN, epsilon = NaN, attained = NaN, local = NaN, product = NaN, global = NaN, ratio = NaN] = line
      .trim()
      .split(/ +/)
      .map(Number)
    return { digit, epsilon, attained, local, product, global, ratio }
  })
  t.is(rows.length, 9)
  t.is(new Set(rows.map(({ digit }) => digit)).size, 3)
  t.is(new Set(rows.map(({ global }) => global)).size, 1)
  for (const { attained, local, product, global, ratio } of rows) {
    t.true(attained > 0 && attained <= local && local <= product && local <= global)
    t.true(Math.abs(ratio - global / local) < 0.06)
  }
  rows.slice(1).forEach((row, index) => {
    const before = rows[index]
    if (before?.digit === row.digit) t.true(before.epsilon < row.epsilon && before.local <= row.local)
  })

  // What is printed is what the library says, rounded so that it still holds.
  using network = await loadModel(repositoryFile('examples/models/lenet.json'))
  const input = await loadTensor(repositoryFile('examples/models/digits/8.npy'))
  const bounds = await network.bound(input, { epsilon: [0.001, 0.01, 0.1], method: 'layerwise', seed: 1 })
  const { upper, layers } = bounds.at(-1) ?? { upper: NaN, layers: [] }
  t.true(layers.length > 0)
  const printed = rows.find(({ digit, epsilon }) => digit === 8 && epsilon === 0.1)?.product ?? NaN
  t.true(printed >= upper && printed < upper * 1.001, `${printed} for ${upper}`)
  t.regex(stdout, /The 8 at epsilon 0\.1, layer by layer/)
  for (const { members, inputShape, outputShape } of layers) {
    const line = `${members.join('\\+')} +${inputShape.join('x')} -> ${outputShape.join('x')} +[\\d.]+ +[\\d.]+ +\\w+`
    t.regex(stdout, new RegExp(`^ *${line}( +[\\d.]+){4}$`, 'm'))
  }

  // The sweep: bars that grow, with the mark of the global bound where it belongs.
  const sweep = [...stdout.matchAll(/^ *([\d.]+) +([\d.]+) +([\d.]+) +([\d.]+) +(█+)(▓*)(░*)[ │]/gm)]
  t.is(sweep.length, 7)
  const points = sweep.map((match) => match.slice(1, 5).map(Number))
  t.is(points[0]?.[0], 0.001)
  t.is(points.at(-1)?.[0], 1)
  points.forEach(([epsilon = NaN, attained = NaN, local = NaN, product = NaN], index) => {
    const [epsilonBefore = 0, , localBefore = 0, productBefore = 0] = points[index - 1] ?? []
    t.true(attained > 0 && attained <= local && local <= product)
    t.true(epsilon > epsilonBefore && local >= localBefore && product >= productBefore)
  })
  const marks = [...stdout.matchAll(/^[^│]*│[█▓░ ]*$/gm)].map(([line]) => line.indexOf('│'))
  t.is(marks.length, 7)
  t.is(new Set(marks).size, 1, 'the global bound is one line')

  // A radius for each digit.
  const radii = [...stdout.matchAll(/^ *(\d) +([\d.]+) +([\d.]+) +the (\d) +([\d.e-]+)$/gm)]
  t.deepEqual(
    radii.map(([, digit]) => Number(digit)),
    [...new Set(rows.map(({ digit }) => digit))],
  )
  for (const [, digit, certified, attack, other, probability] of radii) {
    t.true(Number(certified) > 0 && Number(certified) < Number(attack))
    t.not(digit, other)
    t.true(Number(probability) <= 1e-9)
  }

  t.true(stdout.includes('sweep.svg'))
  t.regex(readFileSync(svg, 'utf8'), /^<svg[^]*<\/svg>\s*$/)
})
