/** `lipbound norm` on real files. */
import test from 'ava'

import { loadModel } from '../../dist/index.js'
import { badModels, commandLineFiles, parse, testBadUses } from '../helpers/command-line.js'
import { lipbound } from '../helpers/process.js'

const { model, seer } = commandLineFiles()

test('it gives what the API gives', async (t) => {
  using network = await loadModel(model)
  const { layers } = await network.globalBound({ seed: 1, method: 'layerwise' })
  const { status, stdout, stderr } = await lipbound('norm', model, '--layer', 'dense', '--seed', '1', '--json')
  t.is(status, 0, stderr)
  const norm = parse(stdout) as Record<string, unknown>
  t.is(norm['upper'], layers[0]?.norm.upper)
  for (const key of ['lower', 'guarantee', 'failureProbability', 'steps']) t.true(key in norm)
  const norms = parse((await lipbound('norm', model, '--json')).stdout) as { results: unknown[] }
  t.is(norms.results.length, layers.length)
})

test('for people there is a table of steps', async (t) => {
  const { status, stdout, stderr } = await lipbound('norm', seer)
  t.is(status, 0)
  t.is(stderr, '')
  t.regex(stdout, /^step +layers +lower +upper +steps +guarantee$/m)
  t.regex(stdout, /mix, relu1 +\S+ +\S+ +\d+ +deterministic/)
})

testBadUses({
  ...badModels('norm'),
  'a layer that is not there': [['norm', model, '--layer', 'thin'], /--layer: there is no layer 'thin'.*dense/],
  'a tolerance of nothing': [['norm', model, '--tolerance', '0'], /'tolerance'.*greater than 0.*got 0/],
})
