/** The demo, run as `npm run demo` runs it once everything is built. */
import test from 'ava'

import { loadModel, loadTensor } from '../dist/index.js'
import { repositoryFile, runNode } from './helpers/process.js'

test('the demo prints a table of bounds and the story of one of them', async (t) => {
  t.timeout(300_000)
  const { status, stdout, stderr } = await runNode(['examples/demo.js'])
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
})
