/** ONNX models through the public API: what is told of them, options, external data, and every way to be refused. */
import { mkdirSync, symlinkSync } from 'node:fs'

import test from 'ava'
import type { ExecutionContext } from 'ava'

import { loadModel } from '../dist/index.js'
import type { LoadModelOptions } from '../dist/index.js'
import { createDirectory, npy, rawSafetensors } from './helpers/files.js'
import { lipbound } from './helpers/process.js'
import { float, int, ints, sparse, string, writeModel } from './onnx/writer.js'
import type { GraphDescription, ModelDescription, NodeDescription, TensorDescription } from './onnx/writer.js'

const files = createDirectory()
test.after.always(() => {
  files.remove()
})

let count = 0

/** A file with a model of one input `x` of two entries and one output `y`. */
function written(graph: Partial<GraphDescription>, rest: Partial<ModelDescription> = {}): string {
  const content = { nodes: [], inputs: [{ name: 'x', dims: [1, 2] }], outputs: [{ name: 'y' }], ...graph }
  return files.write(`model-${count++}.onnx`, writeModel({ opset: 17, ...rest, graph: content }))
}

const node = (
  op: string,
  inputs: string[],
  outputs: string[],
  rest: Partial<NodeDescription> = {},
): NodeDescription => ({
  op,
  inputs,
  outputs,
  ...rest,
})

const matrix: TensorDescription = { name: 'w', type: 'float', dims: [2, 2], values: [3, 0, 0, 4] }

/** y = softmax(w x). */
const classifier: Partial<GraphDescription> = {
  nodes: [
    node('MatMul', ['x', 'w'], ['logits'], { name: 'head' }),
    node('Softmax', ['logits'], ['y'], { name: 'soft', attributes: { axis: int(-1) } }),
  ],
  initializers: [matrix],
}

test('a final softmax is cut, and the summary and every result say so', async (t) => {
  using network = await loadModel(written(classifier))
  const { data } = await network.evaluate([1, -1])
  t.deepEqual([...data], [3, -4])
  const said = [/'soft'/, /cut/, /logits/]
  for (const part of said) t.regex(network.summary.notes.join('\n'), part)
  const bound = await network.bound([1, -1], { epsilon: 0.1 })
  t.deepEqual(bound.notes, network.summary.notes)
  t.deepEqual((await network.globalBound()).notes, network.summary.notes)
  t.true(bound.upper >= 4 && bound.upper < 4.001)
})

test('any tensor may be taken for the output', async (t) => {
  const path = written({
    nodes: [...(classifier.nodes ?? []), node('Relu', ['logits'], ['positive'])],
    initializers: [matrix],
    outputs: [{ name: 'y' }, { name: 'positive' }],
  })
  using network = await loadModel(path, { output: 'positive' })
  t.deepEqual([...(await network.evaluate([1, -1])).data], [3, 0])
  t.deepEqual(network.summary.notes, [])
  t.like(network.summary.onnx, { opset: 17, producer: 'lipbound-test', input: 'x', output: 'positive', unused: 1 })
  await refused(t, path, [/2 outputs/, /'y', 'positive'/, /'output'/])
  await refused(t, path, [/no tensor 'z'/, /'y', 'positive'/], { output: 'z' })
})

test('sizes that the file leaves open are asked for', async (t) => {
  const path = written({
    inputs: [{ name: 'x', dims: ['N', 1, 'height', null] }],
    nodes: [node('GlobalAveragePool', ['x'], ['y'])],
  })
  await refused(t, path, [/'x'/, /\['N', 1, 'height', \?\]/, /'input'/])
  for (const input of [
    [1, 4, 5],
    [1, 1, 4, 5],
  ]) {
    using network = await loadModel(path, { input })
    t.deepEqual(network.summary.inputShape, [1, 4, 5])
  }
  await refused(t, path, [/\[2, 4, 5\]/, /\['N', 1/], { input: [2, 4, 5] })
  const error = await t.throwsAsync(() => loadModel(path, { input: [1, 0, 5] }))
  t.regex(error.message, /'input' must be an array of positive integers/)
})

test('an end of a clip counts, even the largest number of its type', async (t) => {
  const most = 3.4028234663852886e38
  const scalar = (name: string, value: number): TensorDescription => ({
    name,
    type: 'float',
    dims: [],
    values: [value],
  })
  const path = written({
    nodes: [node('Mul', ['x', 'c'], ['m']), node('Clip', ['m', 'zero', 'most'], ['y'])],
    initializers: [scalar('c', 1e30), scalar('zero', 0), scalar('most', most)],
  })
  using network = await loadModel(path)
  t.deepEqual([...(await network.evaluate([1e10, 1])).data], [most, 1.0000000150474662e30])
})

test('what is no part of the network is said', async (t) => {
  const path = written({
    inputs: [{ name: 'x', dims: [3, 2] }],
    nodes: [node('Cast', ['x'], ['h'], { name: 'narrow', attributes: { to: int(10) } }), node('Relu', ['h'], ['y'])],
  })
  using network = await loadModel(path)
  for (const part of [/batch of one/, /of 3/, /'narrow' rounds to FLOAT16/]) {
    t.regex(network.summary.notes.join('\n'), part)
  }
  await refused(t, path, [/\[2\]/, /\[3, 2\]/], { input: [2] })
})

test('weights may be in files beside the model, and only there', async (t) => {
  const external = (location: string, more: Record<string, string> = {}): Partial<GraphDescription> => {
    const weight: TensorDescription = { name: 'w', type: 'float', dims: [2, 2], external: { location, ...more } }
    return { ...classifier, initializers: [weight] }
  }
  const numbers = Buffer.from(new Float32Array([9, 9, 3, 0, 0, 4]).buffer)
  files.write('weights.bin', numbers)
  using network = await loadModel(written(external('weights.bin', { offset: '8', length: '16' })))
  t.deepEqual([...(await network.evaluate([1, 1])).data], [3, 4])

  const outside = createDirectory()
  t.teardown(() => {
    outside.remove()
  })
  const secret = outside.write('secret.bin', numbers)
  symlinkSync(secret, `${files.path}/link.bin`)
  mkdirSync(`${files.path}/folder.bin`)
  const bad: [string, Record<string, string>, RegExp][] = [
    ['../secret.bin', {}, /'\.\.'/],
    [secret, {}, /below the folder/],
    ['link.bin', {}, /outside the folder/],
    ['folder.bin', {}, /regular file/],
    ['missing.bin', {}, /missing\.bin/],
    ['weights.bin', { offset: '16' }, /truncated/],
    ['weights.bin', { offset: '18446744073709551615' }, /truncated|whole number/],
    ['weights.bin', { length: '8' }, /16/],
  ]
  for (const [location, more, part] of bad) await refused(t, written(external(location, more)), [/'w'|MatMul/, part])
})

test('half precisions are widened exactly, from ONNX and from safetensors', async (t) => {
  const bytes = Buffer.from(new Uint16Array([0x4200, 0xb800, 0x0001, 0x7bff]).buffer)
  const values = [3, -0.5, 2 ** -24, 65504]
  const cast = node('Cast', ['h'], ['w'], { attributes: { to: int(1) } })
  using onnx = await loadModel(
    written({
      nodes: [cast, node('MatMul', ['x', 'w'], ['y'])],
      initializers: [{ name: 'h', type: 'float16', dims: [2, 2], raw: bytes }],
    }),
  )
  const entry = (dtype: string): Uint8Array =>
    rawSafetensors({ w: { dtype, shape: [2, 2], data_offsets: [0, 8] } }, bytes)
  const architecture = {
    format: 'lipbound-architecture',
    version: 1,
    input: [2],
    layers: [{ type: 'linear', weight: 'w' }],
  }
  using half = await loadModel(files.write('half.safetensors', entry('F16')), { architecture })
  using brain = await loadModel(files.write('brain.safetensors', entry('BF16')), { architecture })
  t.deepEqual([...(await onnx.evaluate([1, 0])).data], values.slice(0, 2))
  t.deepEqual([...(await onnx.evaluate([0, 1])).data], values.slice(2))
  t.deepEqual([...(await half.evaluate([1, 0])).data], [values[0], values[2]])
  t.deepEqual([...(await brain.evaluate([1, 0])).data], [32, 2 ** -133])
})

/** Loading fails, naming the file and all of these. */
async function refused(
  t: ExecutionContext,
  path: string,
  parts: readonly RegExp[],
  options: LoadModelOptions = {},
): Promise<void> {
  const error = await t.throwsAsync(() => loadModel(path, options))
  t.regex((error as { code?: string }).code ?? '', /^ERR_LIPBOUND_(FILE|MODEL|SHAPE|VALUE|ARGUMENT)$/)
  for (const part of parts) t.regex(error.message, part)
  t.true(error.message.includes('.onnx'), error.message)
}

/** Models of one node `bad`, and what the error must name beside it. */
const nodes: Record<string, [Partial<NodeDescription>, RegExp[], TensorDescription[]?]> = {
  'an operator without a rule': [
    { op: 'Sigmoid' },
    [
      /Sigmoid/,
      /not supported/,
      /not piecewise linear/,
      /choose 'x' as option 'output'/,
      /Abs, Add, AveragePool/,
      /Upsample/,
    ],
  ],
  'a product of branches': [{ op: 'Mul', inputs: ['x', 'x'] }, [/piecewise linear/]],
  'a division by zero': [
    { op: 'Div', inputs: ['x', 'c'] },
    [/element 1/, /zero/],
    [{ name: 'c', type: 'float', dims: [2], values: [1, 0] }],
  ],
  'a weight that is no number': [
    { op: 'Add', inputs: ['x', 'c'] },
    [/element 1/, /NaN/],
    [{ name: 'c', type: 'float', dims: [2], values: [1, NaN] }],
  ],
  'an attribute nobody knows': [{ op: 'Relu', attributes: { magic: int(1) } }, [/'magic'/]],
  'an attribute of another type': [{ op: 'LeakyRelu', attributes: { alpha: ints([1]) } }, [/'alpha'/, /a number/]],
  'an auto_pad that does not exist': [
    { op: 'MaxPool', inputs: ['x'], attributes: { auto_pad: string('MAYBE'), kernel_shape: ints([1]) } },
    [/MaxPool/],
  ],
  'shapes that do not meet': [
    { op: 'MatMul', inputs: ['x', 'c'] },
    [/\[3, 1\]|3/],
    [{ name: 'c', type: 'float', dims: [3, 1], values: [1, 2, 3] }],
  ],
  'a missing input': [{ op: 'Add', inputs: ['x'] }, [/Add/, /2|missing/]],
  'a batch normalisation that trains': [
    {
      op: 'BatchNormalization',
      inputs: ['x', 'c', 'c', 'c', 'c'],
      outputs: ['y', 'mean', 'var', 'saved_mean', 'saved_var'],
    },
    [/5 outputs/, /model\.eval\(\)/],
    [{ name: 'c', type: 'float', dims: [2], values: [1, 1] }],
  ],
  'a cast to whole numbers': [{ op: 'Cast', attributes: { to: int(7) } }, [/Cast/, /INT64/]],
  'a sparse constant': [
    {
      op: 'Constant',
      inputs: [],
      attributes: {
        sparse_value: sparse({
          values: { type: 'float', dims: [1], values: [1] },
          indices: { type: 'int64', dims: [1], values: [0] },
          dims: [2],
        }),
      },
    },
    [/'sparse_value'/, /not supported/],
  ],
  'another domain': [{ op: 'FusedConv', domain: 'com.microsoft' }, [/com\.microsoft/]],
  'an input nobody makes': [{ op: 'Relu', inputs: ['ghost'] }, [/ghost/]],
  'a cycle': [{ op: 'Relu', inputs: ['y'] }, [/cycle/i]],
  'a slope that is no number': [{ op: 'LeakyRelu', attributes: { alpha: float(Infinity) } }, [/finite|inf/]],
}

for (const [what, [description, parts, initializers = []]] of Object.entries(nodes)) {
  test(`${what} is refused by the name of the node`, async (t) => {
    const { op = 'Relu', inputs = ['x'], ...rest } = description
    const path = written(
      { nodes: [node(op, [...inputs], ['y'], { name: 'bad', ...rest })], initializers },
      { opset: 13 },
    )
    await refused(t, path, [/'bad'/, ...parts])
  })
}

/** Models that are wrong as a whole. */
const models: Record<string, [() => string | Promise<string>, RegExp[]]> = {
  'an empty file': [() => files.write('empty.onnx', ''), [/empty/]],
  'a file of something else': [() => files.write('text.onnx', 'not a model at all'), [/not a valid ONNX file/]],
  'a file that does not exist': [() => `${files.path}/nowhere.onnx`, [/nowhere\.onnx/]],
  'a folder': [
    () => {
      mkdirSync(`${files.path}/folder.onnx`)
      return `${files.path}/folder.onnx`
    },
    [/regular file/],
  ],
  'operators of the future': [() => written(classifier, { opset: 99 }), [/99/, /7 to 26/]],
  'operators of the past': [() => written(classifier, { opset: 3 }), [/3/, /7 to 26/]],
  'negative pads': [
    () =>
      written({
        inputs: [{ name: 'x', dims: [1, 1, 4] }],
        nodes: [
          node('MaxPool', ['x'], ['y'], {
            name: 'bad',
            attributes: { kernel_shape: ints([1]), pads: ints([-1, 0]) },
          }),
        ],
      }),
    [/'bad'/, /pads/, /-1/],
  ],
  'two inputs that matter': [
    () =>
      written({
        inputs: [
          { name: 'x', dims: [1, 2] },
          { name: 'z', dims: [1, 2] },
        ],
        nodes: [node('Add', ['x', 'z'], ['y'])],
      }),
    [/2 inputs/, /'x', 'z'/],
  ],
  'an input of whole numbers': [
    () => written({ ...classifier, inputs: [{ name: 'x', type: 'int64', dims: [1, 2] }] }),
    [/'x'/, /floating point/],
  ],
  'an output that does not depend on the input': [
    () => written({ nodes: [node('Identity', ['w'], ['y'])], initializers: [matrix] }),
    [/does not depend on the input/],
  ],
  'a tensor of 2^31 elements': [
    () =>
      written({
        ...classifier,
        initializers: [{ ...matrix, dims: [2 ** 20, 2 ** 11], values: [], raw: new Uint8Array(16) }],
      }),
    [/'w'|MatMul/],
  ],
}

for (const [what, [make, parts]] of Object.entries(models)) {
  test(`${what} is refused`, async (t) => {
    await refused(t, await make(), parts)
  })
}

test('options of other kinds of file are refused', async (t) => {
  const path = written(classifier)
  await refused(t, path, [/'architecture'/, /safetensors/], { architecture: {} })
  const error = await t.throwsAsync(() => loadModel('model.json', { input: [2] }))
  t.regex(error.message, /'input'.*\.onnx/)
})

test('the command line reads ONNX, says what was cut, and refuses with status 2', async (t) => {
  const path = written(classifier)
  const input = files.write('x.npy', npy([1, 2], [1, -1]))
  const inspected = await lipbound('inspect', path)
  t.is(inspected.status, 0, inspected.stderr)
  for (const part of [/MatMul/, /'soft'/, /cut/]) t.regex(inspected.stdout, part)
  const bound = await lipbound('bound', path, '--input', input, '--epsilon', '0.1', '--json')
  t.is(bound.status, 0, bound.stderr)
  const { upper, notes } = JSON.parse(bound.stdout) as { upper: number; notes: string[] }
  t.true(upper >= 4 && upper < 4.001 && notes.length > 0)

  const open = written({ inputs: [{ name: 'x', dims: ['N', 'n'] }], nodes: [node('Relu', ['x'], ['y'])] })
  t.is((await lipbound('inspect', open, '--input-shape', '7')).status, 0)
  const wrong = await lipbound('inspect', open, '--input-shape', '7,8')
  t.is(wrong.status, 2)
  t.regex(wrong.stderr, /3x224x224/)
  const refusal = await lipbound('inspect', written({ nodes: [node('Sigmoid', ['x'], ['y'], { name: 'bad' })] }))
  t.is(refusal.status, 2)
  t.regex(refusal.stderr, /'bad' \(Sigmoid\)/)
})
