/** The command line, end to end: real files, real processes, exit statuses. */
import { existsSync, readdirSync } from 'node:fs'

import test from 'ava'

import { loadModel, loadTensor } from '../dist/index.js'
import { createDirectory, npy, safetensors } from './helpers/files.js'
import { lipbound, repositoryFile, runNode } from './helpers/process.js'

const files = createDirectory()
test.after.always(() => {
  files.remove()
})

const model = files.write(
  'small.json',
  JSON.stringify({
    format: 'lipbound-architecture',
    version: 1,
    name: 'small',
    input: [2],
    weights: 'small.safetensors',
    classes: ['left', 'right'],
    layers: [{ type: 'linear', name: 'dense', weight: 'w', bias: 'b' }, { type: 'relu' }],
  }),
)
const weights = files.write(
  'small.safetensors',
  safetensors({
    w: { shape: [2, 2], data: new Float64Array([3, 1, -1, 2]) },
    b: { shape: [2], data: new Float64Array([1, 0]) },
  }),
)
const input = files.write('one.npy', npy([2], [1, 1]))
const other = files.write('two.npy', npy([2], [-2, 0.5]))

/** The one object on stdout, which ends in the only newline. */
function parse(stdout: string): unknown {
  if (stdout.indexOf('\n') !== stdout.length - 1) throw new Error(`not one line: ${stdout}`)
  return JSON.parse(stdout)
}

test('bound --json prints what the API gives, in full precision', async (t) => {
  const { status, stdout, stderr } = await lipbound(
    'bound',
    model,
    '--input',
    input,
    '--epsilon',
    '0.5',
    '--seed',
    '3',
    '--json',
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
    'bound',
    model,
    '--input',
    input,
    other,
    '--epsilon',
    '0.5',
    '1e-3',
    '--json',
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
    'bound',
    weights,
    '--architecture',
    model,
    '--input',
    input,
    '--epsilon',
    '10',
    '--kind',
    'uniform',
    '--guarantee',
    'deterministic',
    '--json',
  )
  const { kind, guarantee, failureProbability } = parse(stdout) as Record<string, unknown>
  t.deepEqual(
    { kind, guarantee, failureProbability },
    { kind: 'uniform', guarantee: 'deterministic', failureProbability: 0 },
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
  const { stdout: text } = await lipbound('bound', model, '--input', input, '--epsilon', '7', '--global')
  const { stdout: json } = await lipbound('bound', model, '--input', input, '--epsilon', '7', '--global', '--json')
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

test('inspect shows what a model is made of', async (t) => {
  const { status, stdout } = await lipbound('inspect', model)
  t.is(status, 0)
  t.regex(stdout, /small: 2 -> 2, 6 parameters/)
  t.regex(stdout, /classes: left, right/)
  t.regex(stdout, /0 +dense +linear +2 -> 2 +6/)
  using network = await loadModel(model)
  t.deepEqual(parse((await lipbound('inspect', model, '--json')).stdout), JSON.parse(JSON.stringify(network.summary)))
})

test('global and norm give what the API gives', async (t) => {
  using network = await loadModel(model)
  const { upper, layers } = await network.globalBound({ seed: 1 })
  const global = parse((await lipbound('global', model, '--seed', '1', '--json')).stdout) as Record<string, unknown>
  t.is(global['upper'], upper)
  t.is(global['kind'], 'global')
  t.is(global['epsilon'], null)
  const norm = parse((await lipbound('norm', model, '--layer', 'dense', '--seed', '1', '--json')).stdout) as Record<
    string,
    unknown
  >
  t.is(norm['upper'], layers[0]?.norm.upper)
  for (const key of ['lower', 'guarantee', 'failureProbability', 'steps']) t.true(key in norm)
  const norms = parse((await lipbound('norm', model, '--json')).stdout) as { results: unknown[] }
  t.is(norms.results.length, layers.length)
  t.regex((await lipbound('norm', model)).stdout, /dense/)
  t.regex((await lipbound('global', model)).stdout, /at most/)
})

test('help and version are answers', async (t) => {
  const help = await lipbound('--help')
  t.is(help.status, 0)
  for (const command of ['inspect', 'bound', 'global', 'norm']) t.regex(help.stdout, new RegExp(`^ +${command} `, 'm'))
  const version = await lipbound('--version')
  t.is(version.status, 0)
  t.regex(version.stdout, /^\d+\.\d+\.\d+\n$/)
})

const bound = (...args: string[]): string[] => ['bound', model, ...args]

const badUses: Record<string, [args: string[], culprit: RegExp]> = {
  'no command': [[], /Usage/],
  'an unknown command': [['bounce'], /bounce/],
  'an unknown option': [bound('--input', input, '--epsilon', '1', '--eps', '2'), /--eps/],
  'no model': [['inspect'], /model/],
  'one model too many': [['inspect', model, model], /too many arguments|argument/],
  'no input': [bound('--epsilon', '1'), /--input/],
  'no epsilon': [bound('--input', input), /--epsilon/],
  'an epsilon that is no number': [bound('--input', input, '--epsilon', 'tiny'), /tiny/],
  'an empty epsilon': [bound('--input', input, '--epsilon', ''), /epsilon/],
  'a negative epsilon': [bound('--input', input, '--epsilon=-1'), /epsilon.*-1/],
  'an infinite epsilon': [bound('--input', input, '--epsilon', 'Infinity'), /epsilon.*Infinity/],
  'an unknown kind': [bound('--input', input, '--epsilon', '1', '--kind', 'local'), /local.*centred/s],
  'an impossible tolerance': [bound('--input', input, '--epsilon', '1', '--tolerance', '3'), /tolerance.*3/],
  'a model that is not there': [['inspect', `${files.path}/nothing.json`], /nothing\.json.*ERR_LIPBOUND_FILE/],
  'a model of another kind': [['inspect', input], /one\.npy.*ERR_LIPBOUND_ARGUMENT/],
  'an input that is not there': [bound('--input', `${files.path}/nothing.npy`, '--epsilon', '1'), /nothing\.npy/],
  'an input of another kind': [bound('--input', weights, '--epsilon', '1'), /small\.safetensors.*ERR_LIPBOUND_FILE/],
  'an input of another shape': [
    bound('--input', files.write('three.npy', npy([3], [1, 2, 3])), '--epsilon', '1'),
    /ERR_LIPBOUND_SHAPE/,
  ],
  'an input that is not finite': [
    bound('--input', files.write('poison.npy', npy([2], [1, NaN])), '--epsilon', '1'),
    /NaN.*ERR_LIPBOUND_VALUE/,
  ],
  'a layer that is not there': [['norm', model, '--layer', 'thin'], /thin.*dense/],
}

for (const [title, [args, culprit]] of Object.entries(badUses)) {
  test(`exit status 2: ${title}`, async (t) => {
    const { status, stdout, stderr } = await lipbound(...args)
    t.is(status, 2, stderr)
    t.is(stdout, '')
    t.regex(stderr, culprit)
    t.notRegex(stderr, /\n +at /, 'no stack trace')
  })
}

test('an interrupt ends a long computation with status 1', async (t) => {
  const weight = { shape: [32, 32, 3, 3], data: Float64Array.from({ length: 9216 }, (_, index) => Math.sin(index)) }
  files.write('large.safetensors', safetensors({ weight }))
  const large = files.write(
    'large.json',
    JSON.stringify({
      format: 'lipbound-architecture',
      version: 1,
      input: [32, 64, 64],
      weights: 'large.safetensors',
      layers: [{ type: 'conv2d', weight: 'weight', padding: 1 }],
    }),
  )
  const args = ['--tolerance', '1e-12', '--max-steps', '1000000', '--guarantee', 'probabilistic']
  // From inside the process, a while after it has begun to listen: on a busy machine that may take long to come.
  const interrupt = `
    const poll = setInterval(() => {
      if (process.listenerCount('SIGINT') === 0) return
      clearInterval(poll)
      setTimeout(() => process.kill(process.pid, 'SIGINT'), 500)
    }, 10)
  `
  const preload = `data:text/javascript,${encodeURIComponent(interrupt)}`
  const { status, stdout, stderr } = await runNode(['--import', preload, 'dist/cli/main.js', 'global', large, ...args])
  t.is(status, 1)
  t.is(stdout, '')
  t.is(stderr, 'interrupted\n')
})

test('the network and the digits of the repository', async (t) => {
  const folder = repositoryFile('examples/models/')
  const digits = existsSync(`${folder}digits`)
    ? readdirSync(`${folder}digits`).filter((name) => name.endsWith('.npy'))
    : []
  t.true(digits.length >= 10)
  const [digit = ''] = digits
  const { status, stdout, stderr } = await lipbound(
    'bound',
    `${folder}lenet.json`,
    '--input',
    `${folder}digits/${digit}`,
    '--epsilon',
    '0.05',
    '0.5',
    '--global',
    '--json',
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
