/** What `--input` means: files, directories, patterns, pictures; and many of them. */
import { mkdirSync } from 'node:fs'

import test from 'ava'

import { loadImage, loadModel } from '../../dist/index.js'
import { commandLineFiles, parse, parseLines, testBadUses } from '../helpers/command-line.js'
import { npy } from '../helpers/files.js'
import { png } from '../helpers/pictures.js'
import { lipbound, repositoryFile } from '../helpers/process.js'
import { sharedData } from '../helpers/shared-data.js'

const files = commandLineFiles()
const { model, input, other, seer, grey, colour } = files

mkdirSync(files.at('folder/inside'), { recursive: true })
mkdirSync(files.at('empty'))
for (const name of ['b.npy', 'a.npy', 'C.NPY', 'inside/d.npy']) files.write(`folder/${name}`, npy([2], [1, 1]))
for (const name of ['.hidden.npy', 'notes.txt']) files.write(`folder/${name}`, 'nothing to see')
const wrong = files.write('wrong.npy', npy([3], [1, 2, 3]))
const odd = files.write('odd[1].npy', npy([2], [1, 1]))

/** The inputs that are answered, in their order. */
async function inputsOf(...words: string[]): Promise<string[]> {
  const { stdout, stderr } = await lipbound(
    ...['bound', model, '--epsilon', '1', '--method', 'layerwise', '--jsonl', '--input', ...words],
  )
  if (stdout === '') throw new Error(stderr)
  return parseLines(stdout).map((line) => (line as { input: string }).input)
}

test('a directory means what is in it, sorted', async (t) => {
  const folder = files.at('folder')
  t.deepEqual(
    await inputsOf(folder, input),
    ['C.NPY', 'a.npy', 'b.npy'].map((name) => `${folder}/${name}`).concat(input),
  )
})

test('a pattern means what matches, sorted; a name with brackets is itself', async (t) => {
  const folder = files.at('folder')
  t.deepEqual(await inputsOf(`${folder}/[ab].npy`), [`${folder}/a.npy`, `${folder}/b.npy`])
  t.deepEqual(await inputsOf(`${folder}/**/*.npy`), [`${folder}/a.npy`, `${folder}/b.npy`, `${folder}/inside/d.npy`])
  t.deepEqual(await inputsOf(odd), [odd])
  t.deepEqual(await inputsOf('examples/models/digits/{1,2}.npy').catch(() => []), [
    'examples/models/digits/1.npy',
    'examples/models/digits/2.npy',
  ])
})

test('--jsonl: a line an input, errors among them, and the exit status tells', async (t) => {
  const missing = files.at('missing.npy')
  const { status, stdout, stderr } = await lipbound(
    ...['bound', model, '--epsilon', '0.5', '--jsonl', '--input', input, missing, wrong, other],
  )
  t.is(status, 2)
  t.is(stderr, '', 'programs find the errors on stdout')
  const lines = parseLines(stdout) as { input: string; upper?: number; error?: { code: string; message: string } }[]
  t.deepEqual(
    lines.map((line) => [line.input, line.error?.code]),
    [
      [input, undefined],
      [missing, 'ERR_LIPBOUND_FILE'],
      [wrong, 'ERR_LIPBOUND_SHAPE'],
      [other, undefined],
    ],
  )
  t.true(lines.every(({ error }) => error === undefined || /missing\.npy|wrong\.npy/.test(error.message)))
  t.true(lines.every(({ upper, error }) => (upper ?? 0) > 0 || error !== undefined))
})

test('--jsonl: several epsilons are the results of one line; the global bound comes last', async (t) => {
  const { status, stdout } = await lipbound(
    ...['bound', model, '--epsilon', '0.5', '1', '--global', '--jsonl', '--input', input],
  )
  t.is(status, 0)
  const [first, last, ...rest] = parseLines(stdout) as [{ results: unknown[] }, { global: { upper: number } }]
  t.deepEqual(rest, [])
  t.is(first.results.length, 2)
  t.true(last.global.upper > 0)
})

test('several inputs, for people and with --json: a bad one is told and the others are answered', async (t) => {
  const words = ['bound', model, '--epsilon', '0.5', '--input', input, wrong, other]
  const text = await lipbound(...words)
  t.is(text.status, 2)
  t.regex(text.stderr, /^lipbound: \S+wrong\.npy: .*ERR_LIPBOUND_SHAPE\)\n$/)
  t.regex(text.stdout, /one\.npy +0\.5 /)
  t.regex(text.stdout, /two\.npy +0\.5 /)
  const { status, stdout } = await lipbound(...words, '--json')
  t.is(status, 2)
  const { results } = parse(stdout) as { results: { input: string; error?: { code: string } }[] }
  t.deepEqual(
    results.map(({ error }) => error?.code),
    [undefined, 'ERR_LIPBOUND_SHAPE', undefined],
  )
})

test('what is wrong with the options is told once', async (t) => {
  const { status, stdout, stderr } = await lipbound(
    ...['bound', model, '--epsilon=-1', '--jsonl', '--input', input, other],
  )
  t.is(status, 2)
  t.is(stdout, '')
  t.is(stderr.match(/ERR_LIPBOUND_ARGUMENT/g)?.length, 1)
})

test('pictures are opened for the network: channels, size, mean and deviation', async (t) => {
  const normal = ['--mean', '0.5', '0.25', '0.1', '--std', '0.2', '0.3', '0.5']
  const { status, stdout, stderr } = await lipbound(
    ...['bound', seer, '--epsilon', '0.5', '--seed', '1', '--json', '--input', grey, colour, ...normal],
  )
  t.is(status, 0, stderr)
  const { results } = parse(stdout) as { results: { upper: number; lower: number }[] }
  using network = await loadModel(seer)
  for (const [index, path] of [grey, colour].entries()) {
    const centre = await loadImage(path, { channels: 3, mean: [0.5, 0.25, 0.1], std: [0.2, 0.3, 0.5] })
    const { upper, lower } = await network.bound(centre, { epsilon: 0.5, seed: 1 })
    t.deepEqual([results[index]?.upper, results[index]?.lower], [upper, lower])
  }
})

test('the digits of the repository, as pictures', async (t) => {
  const folder = repositoryFile('examples/models/')
  const { status, stdout, stderr } = await lipbound(
    ...['bound', `${folder}lenet.json`, '--epsilon', '0.01', '--method', 'layerwise', '--seed', '1', '--jsonl'],
    ...['--input', `${folder}digits/*.{npy,png}`],
  )
  t.is(status, 0, stderr)
  const lines = parseLines(stdout) as { input: string; upper: number }[]
  t.is(lines.length, 20)
  for (const [index, line] of lines.entries()) {
    const next = lines[index + 1]
    if (index % 2 === 1 || next === undefined) continue
    t.is(next.input, line.input.replace('.npy', '.png'))
    t.true(Math.abs(next.upper / line.upper - 1) < 1e-5, `${line.input}: ${line.upper} and ${next.upper}`)
  }
})

const shared = sharedData('avant-mnist/')

shared.check('a reference digit gives the same bound as a picture and as an array', async (t) => {
  const upper = async (...words: string[]): Promise<number> => {
    const { status, stdout, stderr } = await lipbound(
      ...['bound', `${shared.folder}lenet.onnx`, '--epsilon', '0.01', '--seed', '1', '--json', '--input', ...words],
    )
    t.is(status, 0, stderr)
    return (parse(stdout) as { upper: number }).upper
  }
  const picture = await upper(`${shared.folder}eight.png`, '--mean', '0.1307', '--std', '0.3081')
  t.true(Math.abs(picture / (await upper(`${shared.folder}eight.npy`)) - 1) < 1e-5)
})

const bound = (network: string, ...args: string[]): string[] => ['bound', network, '--epsilon', '1', '--input', ...args]

testBadUses({
  'a pattern that nothing matches': [bound(model, files.at('*.gif')), /--input: \S+\*\.gif: no file .*matches/],
  'a directory without inputs': [
    bound(model, files.at('empty')),
    /--input: \S+empty: .* no \.npy, \.png, \.jpg or \.jpeg/,
  ],
  'a picture for a network of no pictures': [bound(model, grey), /grey\.png.*network takes 2 .*ERR_LIPBOUND_SHAPE/],
  'a picture of another size': [
    bound(seer, files.write('wide.png', png({ width: 2, height: 1, type: 0, data: [1, 2] }))),
    /wide\.png.*1 pixels high and 2 wide, but has to be 8 high and 8 wide.*ERR_LIPBOUND_SHAPE/,
  ],
  'a transparent picture': [
    bound(seer, files.write('clear.png', png({ width: 8, height: 8, type: 4, data: Array<number>(128).fill(7) }))),
    /clear\.png.*transparent.*ERR_LIPBOUND_FILE/,
  ],
  'a picture that is cut off': [
    bound(
      seer,
      files.write('cut.png', png({ width: 8, height: 8, type: 0, data: Array<number>(64).fill(7) }).subarray(0, 50)),
    ),
    /cut\.png.*not a valid PNG.*ERR_LIPBOUND_FILE/,
  ],
  'two means for three channels': [bound(seer, grey, '--mean', '1', '2'), /2 numbers for mean, but 3 channels/],
  'a deviation of zero': [bound(seer, grey, '--std', '0'), /'std'.*> 0.*got 0/],
  'a mean that is no number': [bound(seer, grey, '--mean', 'dark'), /dark.*not a number/],
  'a mean for an array': [bound(model, input, '--mean', '0.5'), /one\.npy: --mean and --std go with pictures/],
})
