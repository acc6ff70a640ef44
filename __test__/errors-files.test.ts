/** Files that are damaged, wrong or missing are refused with a code, their name and what is wrong with them. */
import test from 'ava'

import { loadModel, loadTensor } from '../dist/index.js'
import type { ErrorCode } from '../dist/index.js'
import { createDirectory, npy, rawNpy, rawSafetensors, safetensors } from './helpers/files.js'
import { fails } from './helpers/refusals.js'

const files = createDirectory()
test.after.always(() => {
  files.remove()
})

// Architectures in files ------------------------------------------------------------------------------------------

const architecture = {
  format: 'lipbound-architecture',
  version: 1,
  input: [2],
  weights: 'honest.safetensors',
  layers: [{ type: 'linear', name: 'dense', weight: 'dense.weight' }],
}
/** The architecture with other layers. */
const withLayers = (...layers: object[]): string => JSON.stringify({ ...architecture, layers })
const honest = safetensors({ 'dense.weight': { shape: [1, 2], data: new Float32Array([3, 4]) } })
files.write('honest.safetensors', honest)

const badArchitectures: Record<string, [code: ErrorCode, culprits: RegExp[], content: string]> = {
  'not JSON': ['ERR_LIPBOUND_FILE', [/JSON/], '{ "format": '],
  'not an object': ['ERR_LIPBOUND_MODEL', [], '[]'],
  'of another format': ['ERR_LIPBOUND_MODEL', [/format/, /onnx/], JSON.stringify({ ...architecture, format: 'onnx' })],
  'of a later version': ['ERR_LIPBOUND_MODEL', [/version/, /99/], JSON.stringify({ ...architecture, version: 99 })],
  'without weights': ['ERR_LIPBOUND_MODEL', [/weights/], JSON.stringify({ ...architecture, weights: undefined })],
  'with weights in another directory': [
    'ERR_LIPBOUND_MODEL',
    [/weights/, /\.\.\/honest/],
    JSON.stringify({ ...architecture, weights: '../honest.safetensors' }),
  ],
  'without layers': ['ERR_LIPBOUND_MODEL', [/layers/], JSON.stringify({ ...architecture, layers: undefined })],
  'with no layers': ['ERR_LIPBOUND_MODEL', [/empty|at least one/], JSON.stringify({ ...architecture, layers: [] })],
  'with an unknown layer': [
    'ERR_LIPBOUND_MODEL',
    [/softmax/],
    JSON.stringify({ ...architecture, layers: [{ type: 'softmax' }] }),
  ],
  'with an unknown field': ['ERR_LIPBOUND_MODEL', [/inputs/], JSON.stringify({ ...architecture, inputs: [2] })],
  'with a layer that reads one that is not there': [
    'ERR_LIPBOUND_MODEL',
    [/layer 1 'b' \(relu\)/, /'c'/, /'input', 'a'/],
    withLayers({ type: 'relu', name: 'a' }, { type: 'relu', name: 'b', inputs: ['c'] }),
  ],
  'with a layer that reads a later one': [
    'ERR_LIPBOUND_MODEL',
    [/layer 0 'a' \(add\)/, /'b'/, /later layer 1/, /earlier/],
    withLayers({ type: 'add', name: 'a', inputs: ['input', 'b'] }, { type: 'relu', name: 'b' }),
  ],
  'with a layer that reads itself': [
    'ERR_LIPBOUND_MODEL',
    [/'a' \(add\)/, /itself/],
    withLayers({ type: 'add', name: 'a', inputs: ['input', 'a'] }),
  ],
  'with inputs that are numbers': [
    'ERR_LIPBOUND_MODEL',
    [/inputs/, /strings/, /\[0\]/],
    withLayers({ type: 'relu', inputs: [0] }),
  ],
  'with a layer of no inputs': [
    'ERR_LIPBOUND_MODEL',
    [/relu1/, /one layer/, /0/],
    withLayers({ type: 'relu', inputs: [] }),
  ],
  'with a unit of two inputs': [
    'ERR_LIPBOUND_MODEL',
    [/relu1/, /one layer/, /2: 'input', 'input'/],
    withLayers({ type: 'relu', inputs: ['input', 'input'] }),
  ],
  'with a layer that nothing reads': [
    'ERR_LIPBOUND_MODEL',
    [/layer 0 'a' \(relu\)/, /nothing reads/],
    withLayers({ type: 'relu', name: 'a' }, { type: 'relu', inputs: 'input' }),
  ],
  'with two layers of one name': [
    'ERR_LIPBOUND_MODEL',
    [/layer 1 'a' \(abs\)/, /already that of layer 0/],
    withLayers({ type: 'relu', name: 'a' }, { type: 'abs', name: 'a' }),
  ],
  'with an output that is not there': [
    'ERR_LIPBOUND_MODEL',
    [/'output'/, /'logits'/, /'dense'/],
    JSON.stringify({ ...architecture, output: 'logits' }),
  ],
  'with an output before which a layer is not read': [
    'ERR_LIPBOUND_MODEL',
    [/layer 0 'a'/, /nothing reads/],
    JSON.stringify({
      ...architecture,
      output: 'b',
      layers: [{ type: 'relu', name: 'a' }, { type: 'relu', name: 'b', inputs: 'input' }, { type: 'relu' }],
    }),
  ],
  'with an unknown field in a layer': [
    'ERR_LIPBOUND_MODEL',
    [/dense/, /0/, /weigth/],
    JSON.stringify({ ...architecture, layers: [{ type: 'linear', name: 'dense', weigth: 'dense.weight' }] }),
  ],
  'that names a tensor that is not there': [
    'ERR_LIPBOUND_MODEL',
    [/dense/, /other\.weight/],
    JSON.stringify({ ...architecture, layers: [{ type: 'linear', name: 'dense', weight: 'other.weight' }] }),
  ],
  'that does not fit its weights': [
    'ERR_LIPBOUND_SHAPE',
    [/dense/, /0/, /3/, /2/],
    JSON.stringify({ ...architecture, input: [3] }),
  ],
}

for (const [title, [code, culprits, content]] of Object.entries(badArchitectures)) {
  test(`architecture: a file ${title}`, async (t) => {
    const name = `architecture ${title}.json`
    const path = files.write(name, content)
    await fails(t, code, [new RegExp(escape(name)), ...culprits], () => loadModel(path))
  })
}

test('architecture: an honest one loads', async (t) => {
  const path = files.write('honest.json', JSON.stringify(architecture))
  using byArchitecture = await loadModel(path)
  t.deepEqual([...(await byArchitecture.evaluate([1, 10])).data], [43])
  using byWeights = await loadModel(path.replace('.json', '.safetensors'))
  t.is(byWeights.summary.layers[0]?.name, 'dense')
  using byBoth = await loadModel(new URL(`file://${path.replace('.json', '.safetensors')}`), { architecture })
  t.is(byBoth.summary.parameters, 2)
})

// Damaged files -------------------------------------------------------------------------------------------------

const entry = (begin: number, end: number, shape = [(end - begin) / 4], dtype = 'F32') =>
  ({ dtype, shape, data_offsets: [begin, end] }) as const
const data = new Uint8Array(16)

const badSafetensors: Record<string, [culprits: RegExp[], content: Uint8Array]> = {
  'that is empty': [[/0 bytes/], new Uint8Array(0)],
  'cut off in its header length': [[/5 bytes/], new Uint8Array(5)],
  'cut off in its header': [[/header/], honest.subarray(0, 20)],
  'cut off in its data': [[/dense\.weight/, /truncated/], honest.subarray(0, honest.length - 1)],
  'with a header longer than itself': [[/header/], rawSafetensors({}, data, 1_000_000n)],
  'with a header of 2^63 bytes': [[/header/], rawSafetensors({}, data, 2n ** 63n)],
  'with a header of almost 2^64 bytes': [[/header/], rawSafetensors({}, data, 2n ** 64n - 1n)],
  'whose header is not JSON': [[/header/], rawSafetensors('{"a": ', data)],
  'whose header is not an object': [[/header/], rawSafetensors('[1, 2]', data)],
  'whose header is not UTF-8': [
    [/header/],
    Buffer.concat([rawSafetensors('', new Uint8Array(0), 2n), new Uint8Array([0xff, 0xfe])]),
  ],
  'with offsets past its end': [[/dense\.weight/], rawSafetensors({ 'dense.weight': entry(0, 400) }, data)],
  'with offsets far past its end': [
    [/dense\.weight/],
    rawSafetensors({ 'dense.weight': entry(0, Number.MAX_SAFE_INTEGER - 3, [1, 2]) }, data),
  ],
  'with offsets in the wrong order': [[/dense\.weight/], rawSafetensors({ 'dense.weight': entry(8, 0, [1, 2]) }, data)],
  'with a negative offset': [[/header|dense\.weight/], rawSafetensors({ 'dense.weight': entry(-8, 0, [1, 2]) }, data)],
  'with overlapping tensors': [
    [/other/, /dense\.weight/, /overlap/],
    rawSafetensors({ 'dense.weight': entry(0, 8, [1, 2]), other: entry(4, 16) }, data),
  ],
  'with bytes no tensor owns': [[/8 bytes/], rawSafetensors({ 'dense.weight': entry(0, 8, [1, 2]) }, data)],
  'with a shape of another size': [[/dense\.weight/], rawSafetensors({ 'dense.weight': entry(0, 16, [1, 2]) }, data)],
  'with a shape whose size overflows': [
    [/dense\.weight/],
    rawSafetensors({ 'dense.weight': entry(0, 16, [2 ** 32, 2 ** 32, 4]) }, data),
  ],
  'with an unknown type of number': [
    [/dense\.weight|F9/],
    rawSafetensors({ 'dense.weight': entry(0, 16, [1, 2], 'F9') }, data),
  ],
}

for (const [title, [culprits, content]] of Object.entries(badSafetensors)) {
  test(`safetensors: a file ${title}`, async (t) => {
    const name = `weights ${title.replaceAll(/[^a-z0-9 ]/gi, '')}.safetensors`
    const path = files.write(name, content)
    await fails(t, 'ERR_LIPBOUND_FILE', [new RegExp(escape(name)), ...culprits], () =>
      loadModel(path, { architecture }),
    )
  })
}

test('safetensors: weights of integer type', async (t) => {
  const path = files.write(
    'integers.safetensors',
    rawSafetensors({ 'dense.weight': entry(0, 16, [1, 2], 'I64') }, data),
  )
  await fails(
    t,
    'ERR_LIPBOUND_MODEL',
    [/integers\.safetensors/, /dense/, /dense\.weight/, /I64/, /F16, BF16, F32 or F64/],
    () => loadModel(path, { architecture }),
  )
})

test('safetensors: a weight that is not finite', async (t) => {
  const path = files.write(
    'poisoned.safetensors',
    safetensors({ 'dense.weight': { shape: [1, 2], data: new Float32Array([3, NaN]) } }),
  )
  await fails(t, 'ERR_LIPBOUND_VALUE', [/dense/, /weight/, /NaN|finite/], () => loadModel(path, { architecture }))
})

const badNpy: Record<string, [culprits: RegExp[], content: Uint8Array]> = {
  'that is empty': [[], new Uint8Array(0)],
  'of another format': [[], Buffer.from('GIF89a, or so it says')],
  'cut off in its header': [[], npy([2], [1, 2]).subarray(0, 40)],
  'cut off in its data': [[], npy([2], [1, 2]).subarray(0, -1)],
  'with more data than its shape': [[], Buffer.concat([npy([2], [1, 2]), new Uint8Array(8)])],
  'of integers': [[/i8/], npy([2], [1, 2], '<i8')],
  'without a shape': [[/shape/], rawNpy("{'descr': '<f8', 'fortran_order': False, }", new Uint8Array(8))],
  'with a shape whose size overflows': [
    [],
    rawNpy("{'descr': '<f8', 'fortran_order': False, 'shape': (4294967296, 4294967296, 4), }", new Uint8Array(8)),
  ],
  'with a shape of gigabytes and no data': [
    [],
    rawNpy("{'descr': '<f8', 'fortran_order': False, 'shape': (1000000, 1000000), }", new Uint8Array(8)),
  ],
  'with a negative shape': [
    [/shape|-2/],
    rawNpy("{'descr': '<f8', 'fortran_order': False, 'shape': (-2,), }", new Uint8Array(16)),
  ],
}

for (const [title, [culprits, content]] of Object.entries(badNpy)) {
  test(`npy: a file ${title}`, async (t) => {
    const name = `array ${title}.npy`
    const path = files.write(name, content)
    await fails(t, 'ERR_LIPBOUND_FILE', [new RegExp(escape(name)), ...culprits], () => loadTensor(path))
  })
}

test('files that are not there, or are directories', async (t) => {
  const missing = `${files.path}/missing`
  await fails(t, 'ERR_LIPBOUND_FILE', [/missing\.npy/], () => loadTensor(`${missing}.npy`))
  await fails(t, 'ERR_LIPBOUND_FILE', [/missing\.json/], () => loadModel(`${missing}.json`))
  await fails(t, 'ERR_LIPBOUND_FILE', [/missing\.json/], () => loadModel(`${missing}.safetensors`))
  await fails(t, 'ERR_LIPBOUND_FILE', [/missing\.safetensors/], () =>
    loadModel(`${missing}.safetensors`, { architecture }),
  )
  await fails(t, 'ERR_LIPBOUND_FILE', [new RegExp(escape(files.path))], () => loadTensor(files.path))
})

test('npy: an entry that is not finite', async (t) => {
  const path = files.write('poisoned.npy', npy([2], [1, NaN]))
  await fails(t, 'ERR_LIPBOUND_VALUE', [/poisoned\.npy/, /element 1/, /NaN/], () => loadTensor(path))
})

test('npy: single and double precision, C and Fortran order', async (t) => {
  const cases = [
    { type: '<f4', fortran: false, values: [1, 2, 3, 4, 5, 6] },
    { type: '<f8', fortran: false, values: [1, 2, 3, 4, 5, 6] },
    { type: '<f4', fortran: true, values: [1, 4, 2, 5, 3, 6] },
    { type: '<f8', fortran: true, values: [1, 4, 2, 5, 3, 6] },
  ] as const
  for (const { type, fortran, values } of cases) {
    const path = files.write(`array ${type} ${fortran}.npy`, npy([2, 3], values, type, fortran))
    const { shape, data: read } = await loadTensor(path)
    t.deepEqual(shape, [2, 3])
    t.true(type === '<f4' ? read instanceof Float32Array : read instanceof Float64Array)
    t.deepEqual([...read], [1, 2, 3, 4, 5, 6])
  }
})

function escape(text: string): string {
  return text.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`)
}
