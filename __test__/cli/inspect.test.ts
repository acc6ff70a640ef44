/** `lipbound inspect` on real files. */
import test from 'ava'

import { loadModel } from '../../dist/index.js'
import { badModels, commandLineFiles, parse, testBadUses } from '../helpers/command-line.js'
import { rawSafetensors } from '../helpers/files.js'
import { lipbound, repositoryFile } from '../helpers/process.js'
import { writeModel } from '../onnx/writer.js'

const files = commandLineFiles()
const { model, weights } = files

/** An ONNX file of one node, whose input has these sizes. */
const onnx = (name: string, op: string, dims: readonly (number | string)[]): string =>
  files.write(
    name,
    writeModel({
      opset: 17,
      graph: {
        nodes: [{ op, name: 'only', inputs: ['x'], outputs: ['y'] }],
        inputs: [{ name: 'x', dims: [...dims] }],
        outputs: [{ name: 'y' }],
      },
    }),
  )

test('it shows what a model is made of', async (t) => {
  const { status, stdout } = await lipbound('inspect', model)
  t.is(status, 0)
  t.regex(stdout, /small: 2 -> 2, 6 parameters/)
  t.regex(stdout, /classes: left, right/)
  t.regex(stdout, /memory: the network keeps up to [0-9.]+ MB; a layerwise bound takes up to [0-9.]+ MB/)
  t.regex(stdout, /0 +dense +linear +2 -> 2 +6/)
  using network = await loadModel(model)
  t.deepEqual(parse((await lipbound('inspect', model, '--json')).stdout), JSON.parse(JSON.stringify(network.summary)))
})

test('architectures apart from weights, ONNX, and the networks of the repository', async (t) => {
  t.is((await lipbound('inspect', weights, '--architecture', model)).status, 0)
  const open = onnx('open.onnx', 'Relu', ['N', 'n'])
  t.regex((await lipbound('inspect', open, '--input-shape', '7')).stdout, /7 -> 7/)
  const { status, stdout } = await lipbound('inspect', repositoryFile('examples/models/lenet.json'))
  t.is(status, 0)
  t.regex(stdout, /1x28x28 -> 10/)
})

test('names from a file do not command the terminal', async (t) => {
  const document = {
    format: 'lipbound-architecture',
    version: 1,
    name: 'red \u001b[31m',
    input: [2],
    weights: 'small.safetensors',
    layers: [{ type: 'relu', name: 'bell \u0007' }],
  }
  const { status, stdout } = await lipbound('inspect', files.write('red.json', JSON.stringify(document)))
  t.is(status, 0)
  t.regex(stdout, /red \?\[31m.*bell \?/s)
})

const architecture = (name: string, layers: unknown, rest: object = {}): string =>
  files.write(
    name,
    JSON.stringify({
      format: 'lipbound-architecture',
      version: 1,
      input: [2],
      weights: 'small.safetensors',
      layers,
      ...rest,
    }),
  )

testBadUses({
  ...badModels('inspect'),
  'an architecture that is cut off': [['inspect', files.write('cut.json', '{"format": ')], /cut\.json.*not JSON/],
  'a layer of an unknown type': [
    ['inspect', architecture('odd.json', [{ type: 'twist' }])],
    /odd\.json.*twist.*ERR_LIPBOUND_MODEL/,
  ],
  'layers that do not fit': [
    ['inspect', architecture('unfit.json', [{ type: 'conv2d', weight: 'w' }])],
    /unfit\.json.*ERR_LIPBOUND_(SHAPE|MODEL)/,
  ],
  'weights that are not there': [
    ['inspect', architecture('bare.json', [{ type: 'relu' }], { weights: 'none.safetensors' })],
    /none\.safetensors.*ERR_LIPBOUND_FILE/,
  ],
  'weights that are cut off': [
    ['inspect', files.write('torn.safetensors', rawSafetensors('{}', new Uint8Array(0), 99n)), '--architecture', model],
    /torn\.safetensors.*ERR_LIPBOUND_FILE/,
  ],
  'an ONNX file that is none': [['inspect', files.write('none.onnx', 'hello')], /none\.onnx.*ERR_LIPBOUND_FILE/],
  'an operator without a rule': [['inspect', onnx('curved.onnx', 'Sigmoid', [1, 2])], /'only' \(Sigmoid\)/],
  'a shape that looks otherwise': [['inspect', 'x.onnx', '--input-shape', '7,8'], /3x224x224/],
  'an output that is not there': [['inspect', onnx('straight.onnx', 'Relu', [1, 2]), '--output', 'z'], /'z'/],
})
