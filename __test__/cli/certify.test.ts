/** `lipbound certify` on real files. */
import { readFileSync } from 'node:fs'

import test from 'ava'

import { loadModel, loadTensor } from '../../dist/index.js'
import type { RadiusResult } from '../../dist/index.js'
import { badModels, commandLineFiles, parse, parseLines, testBadUses } from '../helpers/command-line.js'
import { npy } from '../helpers/files.js'
import { lipbound, repositoryFile } from '../helpers/process.js'

const files = commandLineFiles()
const { model, input, other } = files

test('--json prints what the API gives, in full precision', async (t) => {
  const { status, stdout, stderr } = await lipbound(
    ...['certify', model, '--input', input, '--label', '0', '--seed', '3', '--json'],
  )
  t.is(status, 0, stderr)
  t.is(stderr, '')
  using network = await loadModel(model)
  const { seconds, ...expected } = await network.certifiedRadius(await loadTensor(input), { label: 0, seed: 3 })
  const { seconds: taken, ...printed } = parse(stdout) as typeof expected & { input: string; seconds: number }
  t.true(seconds >= 0 && taken >= 0)
  t.deepEqual(printed as unknown, JSON.parse(JSON.stringify({ input, ...expected })))
  // The margin is 4 x + (-1) y + 1 where both units are on: its constant is the root of 17.
  t.true(printed.radius > 0 && printed.radius <= 4 / Math.sqrt(17) && printed.radius <= printed.attackRadius)
})

test('options reach the library', async (t) => {
  const { status, stdout, stderr } = await lipbound(
    ...['certify', model, '--input', input, '--input-box', '-1', '3', '--maximum', '0.01', '--attack-steps', '0'],
    ...['--method', 'layerwise', '--guarantee', 'deterministic', '--tolerance', '0.1', '--json'],
  )
  t.is(status, 0, stderr)
  const { radius, attackRadius, termination, guarantee, method } = parse(stdout) as RadiusResult
  t.deepEqual(
    { radius, attackRadius: attackRadius, termination, guarantee, method },
    { radius: 0.01, attackRadius: null, termination: 'maximum', guarantee: 'deterministic', method: 'layerwise' },
    'JSON has no infinity',
  )
})

test('a box may be of arrays', async (t) => {
  const box = [npy([2], [-5, -5]), npy([2], [5, 5])].map((content, end) => files.write(`end${end}.npy`, content))
  const { status, stderr } = await lipbound('certify', model, '--input', input, '--input-box', ...box)
  t.is(status, 0, stderr)
})

test('for people: the radius rounded down, the attack up, names of classes, margins', async (t) => {
  const words = ['certify', model, '--input', input, '--seed', '3']
  const { status, stdout, stderr } = await lipbound(...words)
  t.is(status, 0)
  t.is(stderr, '')
  const { radius, attackRadius } = parse((await lipbound(...words, '--json')).stdout) as RadiusResult
  const [, printedRadius, printedAttack] = (/^0 \(left\) +(\S+) +(\S+) +class 1 \(right\)$/m.exec(stdout) ?? []).map(
    Number,
  )
  t.true(printedRadius !== undefined && printedRadius <= radius && printedRadius > radius * 0.9999)
  t.true(printedAttack !== undefined && printedAttack >= attackRadius && printedAttack < attackRadius * 1.0001)
  t.regex(stdout, /^class +margin +Lipschitz +quotient +method$/m)
  t.regex(stdout, /^1 \(right\) +\S+ +\S+ +\S+ +(certificate|layerwise)$/m)
  t.regex(stdout, /guarantee: .*; seed: 3; bounds evaluated: \d+/)
})

test('a wrong label has radius 0 and says why', async (t) => {
  const { status, stdout } = await lipbound('certify', model, '--input', input, '--label', '1')
  t.is(status, 0)
  t.regex(stdout, /^1 \(right\) +0 .*misclassified: the answer is 0 \(left\)$/m)
  const { radius, reason } = parse(
    (await lipbound('certify', model, '--input', input, '--label', '1', '--json')).stdout,
  ) as RadiusResult
  t.deepEqual({ radius, reason }, { radius: 0, reason: 'misclassified' })
})

test('an error of the command ends what is computed beside it, after what came before it is printed', async (t) => {
  const lenet = repositoryFile('examples/models/lenet.json')
  const eight = repositoryFile('examples/models/digits/8.npy')
  const certify = (labels: string, ...rest: string[]): ReturnType<typeof lipbound> => {
    const file = files.write(`wrong-class-${labels.length}.txt`, labels)
    return lipbound('certify', lenet, '--input', eight, eight, eight, '--labels', file, ...rest)
  }
  // The others would take far longer than anybody waits for a test.
  const laborious = ['--tolerance', '0.000000001', '--attack-steps', '100000', '--failure-probability', '1e-30']
  const first = await certify('99\n8\n8\n', ...laborious)
  t.is(first.status, 2)
  t.regex(first.stderr, /'label' must be a class: 0 to 9, got 99/)

  const second = await certify('8\n99\n8', '--jsonl', '--method', 'layerwise', '--attack-steps', '0')
  t.is(second.status, 2)
  t.regex(second.stderr, /got 99/)
  t.like(parseLines(second.stdout), [{ input: eight, label: 8 }])
  t.is(parseLines(second.stdout).length, 1)
})

test('labels of a file, in the order of the inputs', async (t) => {
  const labels = files.write('labels.txt', '0\r\n 0 \n')
  const { status, stdout, stderr } = await lipbound(
    ...['certify', model, '--input', input, other, '--labels', labels, '--jsonl'],
  )
  t.is(status, 0, stderr)
  t.deepEqual(
    (parseLines(stdout) as RadiusResult[]).map(({ label, predicted, reason }) => [label, predicted, reason]),
    [
      [0, 0, undefined],
      [0, 1, 'misclassified'],
    ],
  )
  const text = await lipbound('certify', model, '--input', input, other, '--labels', labels)
  t.regex(text.stdout, /certified with a radius above 0: 1 of 2/)
  t.notRegex(text.stdout, /quotient/)
  t.regex((await lipbound('certify', model, '--input', input, other, '--margins')).stdout, /quotient/)
})

test('several inputs: a bad one is told and the others are answered', async (t) => {
  const missing = files.at('missing.npy')
  const { status, stdout, stderr } = await lipbound('certify', model, '--input', missing, input, '--json')
  t.is(status, 2)
  t.regex(stderr, /missing\.npy.*ERR_LIPBOUND_FILE/)
  const { results } = parse(stdout) as { results: { input: string; error?: { code: string }; radius?: number }[] }
  t.is(results[0]?.error?.code, 'ERR_LIPBOUND_FILE')
  t.true((results[1]?.radius ?? 0) > 0)
})

test('--report writes one HTML file', async (t) => {
  const report = files.at('radii.html')
  const { status, stderr } = await lipbound('certify', model, '--input', input, other, '--report', report)
  t.is(status, 0, stderr)
  t.regex(readFileSync(report, 'utf8'), /^<!doctype html>/i)
})

test('a digit of the repository', async (t) => {
  const folder = repositoryFile('examples/models/')
  const { status, stdout, stderr } = await lipbound(
    ...['certify', `${folder}lenet.json`, '--input', `${folder}digits/8.png`, '--label', '8', '--method', 'layerwise'],
    '--json',
  )
  t.is(status, 0, stderr)
  const { radius, attackRadius, label, bindingClass, margins } = parse(stdout) as RadiusResult
  t.true(radius > 0.01 && radius < attackRadius)
  t.is(label, 8)
  t.is(margins[0]?.class, bindingClass)
  t.is(margins.length, 9)
})

const certify = (...args: string[]): string[] => ['certify', model, '--input', input, ...args]

testBadUses({
  ...badModels('certify', ['--input', input]),
  'no input': [['certify', model], /required option '--input/],
  'a label that no class has': [
    certify('--label', '2'),
    /'label' must be a class: 0 to 1, got 2.*ERR_LIPBOUND_ARGUMENT/,
  ],
  'a label that is no integer': [certify('--label', '0.5'), /'label'.*0\.5/],
  'a label that is no number': [certify('--label', 'left'), /left.*not a number/],
  'a label and labels': [certify('--label', '0', '--labels', 'x'), /give one of them/],
  'labels that are not there': [certify('--labels', files.at('no.txt')), /--labels: \S+no\.txt cannot be read.*ENOENT/],
  'labels that are no numbers': [
    certify('--labels', files.write('names.txt', 'left\n')),
    /names\.txt, line 1: .* got 'left'/,
  ],
  'more labels than inputs': [
    certify('--labels', files.write('many.txt', '0\n1\n')),
    /many\.txt must have a line for each input, 1 in all, got 2/,
  ],
  'a tolerance of 1': [certify('--tolerance', '1'), /'tolerance'.*less than 1, got 1/],
  'a maximum of zero': [certify('--maximum', '0'), /'maximum'.*> 0, got 0/],
  'half a step': [certify('--attack-steps', '0.5'), /'attackSteps'.*0\.5/],
  'a box of one limit': [certify('--input-box', '0'), /--input-box: there must be two/],
  'a box of three limits': [certify('--input-box', '0', '1', '2'), /--input-box: there must be two.*0 1 2/],
  'a box of a file that is not there': [certify('--input-box', '0', files.at('no.npy')), /no\.npy.*ERR_LIPBOUND_FILE/],
  'an input outside its box': [certify('--input-box', '2', '3'), /inside.*ERR_LIPBOUND_VALUE/],
  'a report that cannot be written': [certify('--report', files.at('nowhere/r.html')), /--report: .*nowhere/],
})
