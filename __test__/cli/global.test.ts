/** `lipbound global` on real files. */
import { readFileSync } from 'node:fs'

import test from 'ava'

import { loadModel } from '../../dist/index.js'
import { badModels, commandLineFiles, parse, testBadUses } from '../helpers/command-line.js'
import { lipbound } from '../helpers/process.js'

const files = commandLineFiles()
const { model, weights } = files

test('it gives what the API gives', async (t) => {
  using network = await loadModel(model)
  const { upper } = await network.globalBound({ seed: 1 })
  const { status, stdout, stderr } = await lipbound('global', model, '--seed', '1', '--json')
  t.is(status, 0, stderr)
  const global = parse(stdout) as Record<string, unknown>
  t.is(global['upper'], upper)
  t.is(global['kind'], 'global')
  t.is(global['epsilon'], null, 'JSON has no infinity')
})

test('for people: the bound rounded up, and the layers', async (t) => {
  const { status, stdout, stderr } = await lipbound('global', model, '--guarantee', 'deterministic')
  t.is(status, 0)
  t.is(stderr, '')
  // The norm of [3 1; -1 2].
  const norm = Math.sqrt((15 + Math.sqrt(29)) / 2)
  const upper = Number(/^global Lipschitz bound, l2: at most (\S+)$/m.exec(stdout)?.[1])
  t.true(upper >= norm && upper < norm * 1.01, stdout)
  t.regex(stdout, /guarantee: deterministic; method: \w+; seed: \d+/)
  t.regex(stdout, /dense, relu1/)
})

test('--report writes one HTML file', async (t) => {
  const { status, stderr } = await lipbound('global', model, '--report', files.at('global.html'))
  t.is(status, 0, stderr)
  t.regex(readFileSync(files.at('global.html'), 'utf8'), /^<!doctype html>/i)
})

testBadUses({
  ...badModels('global'),
  'an unknown guarantee': [['global', model, '--guarantee', 'firm'], /firm.*auto, deterministic, probabilistic/s],
  'no step': [['global', model, '--max-steps', '0'], /maxSteps.*got 0/],
  'an architecture for one': [['global', model, '--architecture', model], /'architecture'.*ERR_LIPBOUND_ARGUMENT/],
  'an architecture that is none': [['global', weights, '--architecture', weights], /small\.safetensors.*not JSON/],
  'a certificate that cannot be written': [
    ['global', model, '--certificate', files.at('nowhere/c.json')],
    /--certificate: \S+ cannot be written/,
  ],
})
