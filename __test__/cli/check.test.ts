/** `lipbound check`, and the certificates that other commands write, on real files. */
import { readFileSync } from 'node:fs'

import test from 'ava'

import { loadModel, loadTensor } from '../../dist/index.js'
import type { Certificate } from '../../dist/index.js'
import { corrupted } from '../helpers/certificates.js'
import { badModels, commandLineFiles, testBadUses } from '../helpers/command-line.js'
import { lipbound, repositoryFile, runNode } from '../helpers/process.js'
import { createRandom } from '../helpers/random.js'

const files = commandLineFiles()
const { model, input, at: path } = files

test('bound and global write what check accepts', async (t) => {
  const one = path('one.json')
  const { status, stdout, stderr } = await lipbound(
    ...['bound', model, '--input', input, '--epsilon', '0.5', '--certificate', one, '--json'],
  )
  t.is(status, 0, stderr)
  const { upper, certificate } = JSON.parse(stdout) as { upper: number; certificate?: unknown }
  t.is(certificate, undefined, 'certificates go to their own file')
  t.is((JSON.parse(readFileSync(one, 'utf8')) as Certificate).upper, upper)
  const text = await lipbound('check', model, one, '--seed', '3')
  t.is(text.status, 0)
  t.regex(
    text.stdout,
    /^accepted: centred Lipschitz constant, l2, epsilon 0\.5 around the centre in the file: at most \S+\n +guarantee: .*seed: 3/,
  )
  const json = await lipbound('check', model, one, '--seed', '3', '--json')
  const report = JSON.parse(json.stdout) as Record<string, unknown>
  t.deepEqual([report['accepted'], report['upper'], report['seed']], [true, upper, 3])

  const several = path('several.json')
  await lipbound(...['bound', model, '--input', input, '--epsilon', '0.5', '2', '--global', '--certificate', several])
  const { results } = JSON.parse((await lipbound('check', model, several, '--json')).stdout) as {
    results: { accepted: boolean; kind: string; epsilon: number | null }[]
  }
  t.deepEqual(
    results.map(({ accepted, kind, epsilon }) => [accepted, kind, epsilon]),
    [
      [true, 'centred', 0.5],
      [true, 'centred', 2],
      [true, 'global', null],
    ],
  )

  const global = path('global.json')
  t.is((await lipbound('global', model, '--certificate', global)).status, 0)
  t.regex((await lipbound('check', model, global)).stdout, /^accepted: global Lipschitz constant, l2: at most/)
})

test('exit status 1: a refused certificate, with the reason', async (t) => {
  const file = path('refused.json')
  await lipbound('bound', model, '--input', input, '--epsilon', '0.5', '1', '--certificate', file)
  const certificates = JSON.parse(readFileSync(file, 'utf8')) as Certificate[]
  files.write('refused.json', JSON.stringify([certificates[0], { ...certificates[1], upper: 1 }]))
  const { status, stdout, stderr } = await lipbound('check', model, file)
  t.is(status, 1)
  t.is(stderr, '')
  t.regex(
    stdout,
    /^accepted: .*epsilon 0\.5.*\nrefused: .*epsilon 1 around the centre in the file: at most 1\n +the certificate was damaged or changed/s,
  )
  const other = repositoryFile('examples/models/lenet.json')
  const wrong = await lipbound('check', other, file, '--json')
  t.is(wrong.status, 1)
  t.regex(wrong.stdout, /the certificate is of the network [0-9a-f]{64}, but this one is [0-9a-f]{64}/)
})

const whole = (async () => {
  await lipbound('global', model, '--certificate', path('whole.json'))
  return readFileSync(path('whole.json'), 'utf8')
})()

const badFiles: Record<string, [content: (text: string) => string | undefined, culprit: RegExp]> = {
  'that is not there': [() => undefined, /bad0\.json: cannot read the certificate.*ERR_LIPBOUND_FILE/],
  'that is truncated': [(text) => text.slice(0, -40), /bad1\.json: the certificate is not JSON.*ERR_LIPBOUND_FILE/],
  'of another version': [
    (text) => text.replace('"version":1', '"version":7'),
    /bad2\.json: .*version must be 1, got 7.*ERR_LIPBOUND_CERTIFICATE/,
  ],
  'with an array of none': [() => '[]', /bad3\.json: an array of certificates must have at least one/],
  'with an array of numbers': [() => '[1]', /bad4\.json: entry 0 of the array must be a certificate/],
  'with a number': [() => '1', /bad5\.json: the content must be a certificate/],
  'with a model': [() => readFileSync(model, 'utf8'), /bad6\.json: .*format must be "lipbound-certificate"/],
}

for (const [index, [title, [content, culprit]]] of Object.entries(badFiles).entries()) {
  test(`exit status 2: a certificate ${title}`, async (t) => {
    const text = content(await whole)
    if (text !== undefined) files.write(`bad${index}.json`, text)
    const { status, stdout, stderr } = await lipbound('check', model, path(`bad${index}.json`))
    t.is(status, 2, stderr)
    t.is(stdout, '')
    t.regex(stderr, culprit)
  })
}

test('the LeNet of the repository: written, checked, and checked by the portable kernels', async (t) => {
  const lenet = repositoryFile('examples/models/lenet.json')
  const digit = repositoryFile('examples/models/digits/8.npy')
  const file = path('lenet.json.certificate')
  const { status, stderr } = await lipbound(
    ...['bound', lenet, '--input', digit, '--epsilon', '0.01', '0.1', '--certificate', file],
  )
  t.is(status, 0, stderr)
  for (const env of [{}, { LIPBOUND_ISA: 'portable' }]) {
    const checked = await runNode(['dist/cli/main.js', 'check', lenet, file, '--json'], env)
    t.is(checked.status, 0, checked.stdout + checked.stderr)
    const { results } = JSON.parse(checked.stdout) as { results: { accepted: boolean; failureProbability: number }[] }
    t.deepEqual(
      results.map(({ accepted }) => accepted),
      [true, true],
    )
    t.true(results.every(({ failureProbability }) => failureProbability <= 1e-9))
  }
  // The same through the library, with one weight of the certificate changed.
  using network = await loadModel(lenet)
  const { certificate } = await network.bound(await loadTensor(digit), { epsilon: 0.01, certificate: true })
  if (certificate === undefined) throw new Error('a certificate was asked for')
  t.true((await network.check(certificate)).accepted)
  const [spoiled, where] = corrupted(certificate, createRandom(3))
  t.not(where, '')
  t.false((await network.check(spoiled)).accepted)
})

testBadUses({
  ...badModels('check', ['certificate.json']),
  'no model': [['check'], /missing required argument 'model'/],
  'no certificate': [['check', model], /missing required argument 'certificate'/],
  'an impossible probability': [['check', model, 'c.json', '--failure-probability', '2'], /c\.json|failureProbability/],
})
