/** Bad input gets a clear error, with a code and the name of the culprit, and nothing else happens. */
import test from 'ava'

import {
  InputError,
  abs,
  add,
  avgPool2d,
  batchNorm2d,
  clip,
  concat,
  conv2d,
  convTranspose2d,
  dropout,
  errorTable,
  flatten,
  graph,
  leakyRelu,
  linear,
  loadModel,
  loadTensor,
  maxPool2d,
  norm,
  normalize,
  pad2d,
  permute,
  prelu,
  relu,
  relu6,
  reshape,
  sequential,
  sparse,
  tensor,
  upsample2d,
} from '../dist/index.js'
import type { GraphBuilder, GraphNode, Layer, Network } from '../dist/index.js'
import { fails } from './helpers/refusals.js'

/** What a caller without a compiler may well do. */
type Untyped = (...given: unknown[]) => unknown
const untyped = (callee: unknown): Untyped => callee as Untyped

const identity = (): Network =>
  sequential({ input: [2] }, [
    linear({
      weight: [
        [1, 0],
        [0, 1],
      ],
    }),
  ])
const image = (): Network => sequential({ input: [1, 4, 4] }, [conv2d({ weight: [[[[1]]]] })])

test('every code of the table is stable and explained', (t) => {
  t.deepEqual(Object.keys(errorTable), [
    'ERR_LIPBOUND_ARGUMENT',
    'ERR_LIPBOUND_SHAPE',
    'ERR_LIPBOUND_VALUE',
    'ERR_LIPBOUND_MODEL',
    'ERR_LIPBOUND_FILE',
    'ERR_LIPBOUND_CERTIFICATE',
    'ERR_LIPBOUND_DEPENDENCY',
    'ERR_LIPBOUND_LIMIT',
    'ERR_LIPBOUND_DISPOSED',
    'ERR_LIPBOUND_INTERNAL',
  ])
})

test('an error has a name, a code, and a stack that leads to the caller', async (t) => {
  const error = await t.throwsAsync(image().evaluate([[1]]), { instanceOf: InputError })
  t.is(error.name, 'InputError')
  t.is(error.code, 'ERR_LIPBOUND_SHAPE')
  t.regex(error.stack ?? '', /^InputError: /)
  const caller = async (): Promise<unknown> => await image().bound([[1]], { epsilon: 1 })
  t.regex((await t.throwsAsync(caller())).stack ?? '', /at async caller .*errors\.test\.ts/)
})

/** A graph, of whatever a caller without a compiler may build. */
const built = (build: (g: GraphBuilder) => unknown): Network =>
  graph({ input: [2] }, build as (g: GraphBuilder) => GraphNode)
const chain = (g: GraphBuilder): GraphNode => g.apply(relu(), g.input)

// Options -------------------------------------------------------------------------------------------------------

const weight = [[[[1]]]]

const badOptions: Record<string, [culprits: RegExp[], act: () => unknown]> = {
  'conv2d without options': [[/conv2d/, /undefined/], () => untyped(conv2d)()],
  'conv2d without a weight': [[/conv2d/, /'weight'/, /tensor/], () => untyped(conv2d)({})],
  'conv2d with an unknown option': [[/conv2d/, /'strides'/, /stride, /], () => untyped(conv2d)({ weight, strides: 2 })],
  'conv2d with stride 0': [[/conv2d/, /'stride'/, /positive integer/, /got 0/], () => conv2d({ weight, stride: 0 })],
  'conv2d with stride 1.5': [[/'stride'/, /1\.5/], () => conv2d({ weight, stride: 1.5 })],
  'conv2d with three strides': [[/'stride'/, /\[ 1, 1, 1 \]/], () => untyped(conv2d)({ weight, stride: [1, 1, 1] })],
  'conv2d with a stride in words': [[/'stride'/, /'two'/], () => untyped(conv2d)({ weight, stride: 'two' })],
  'conv2d with padding -1': [[/'padding'/, /non-negative/, /-1/], () => conv2d({ weight, padding: -1 })],
  'conv2d with three paddings': [
    [/'padding'/, /\[top, left, bottom, right\]/],
    () => untyped(conv2d)({ weight, padding: [1, 1, 1] }),
  ],
  'conv2d with dilation 0': [[/'dilation'/], () => conv2d({ weight, dilation: 0 })],
  'conv2d with no groups': [[/'groups'/], () => conv2d({ weight, groups: 0 })],
  'conv2d with an empty name': [[/'name'/, /non-empty/], () => conv2d({ weight, name: '' })],
  'conv2d with null for a bias': [[/'bias'/, /null/], () => untyped(conv2d)({ weight, bias: null })],
  'conv2d with a text among its weights': [
    [/'weight'/, /\[0\]\[0\]\[0\]\[1\]/, /'x'/],
    () => untyped(conv2d)({ weight: [[[[1, 'x']]]] }),
  ],
  'weights of integer type': [
    [/'weight'/, /Float32Array or Float64Array/, /Int32Array/],
    () => untyped(linear)({ weight: { shape: [1], data: new Int32Array(1) } }),
  ],
  'weights of a shape that is none': [
    [/'weight'/, /positive integers/, /-1/],
    () => linear({ weight: { shape: [-1], data: new Float64Array(1) } }),
  ],
  'weights that are a number': [[/'weight'/, /tensor/, /got 3/], () => untyped(linear)({ weight: 3 })],
  'relu with an option': [[/relu/, /'inplace'/], () => untyped(relu)({ inplace: true })],
  'relu with a number': [[/relu/, /object/], () => untyped(relu)(0.1)],
  'flatten with an option': [[/flatten/, /'start'/], () => untyped(flatten)({ start: 1 })],
  'leakyRelu with an infinite slope': [
    [/leakyRelu/, /'negativeSlope'/, /Infinity/],
    () => leakyRelu({ negativeSlope: Infinity }),
  ],
  'clip without an end': [[/clip/, /'min'/, /'max'/, /got \{\}/], () => clip({})],
  'clip between infinities': [[/clip/, /finite/], () => clip({ min: -Infinity, max: Infinity })],
  'clip with its ends the wrong way round': [
    [/clip/, /'max'/, /greater than 'min', which is 2/, /got 1/],
    () => clip({ min: 2, max: 1 }),
  ],
  'clip to a point': [[/clip/, /'max'/, /which is 1/], () => clip({ min: 1, max: 1 })],
  'clip from infinity': [[/clip/, /'min'/, /-Infinity/, /got Infinity/], () => clip({ min: Infinity })],
  'clip with NaN': [[/clip/, /'max'/, /NaN/], () => clip({ max: NaN })],
  'clip with a word': [[/clip/, /'min'/, /'0'/], () => untyped(clip)({ min: '0' })],
  'relu6 with an option': [[/relu6/, /'max'/], () => untyped(relu6)({ max: 7 })],
  'dropout with probability 2': [[/dropout/, /'p'/, /from 0 to 1/], () => dropout({ p: 2 })],
  'maxPool2d without a kernel': [[/maxPool2d/, /'kernel'/], () => untyped(maxPool2d)({})],
  'maxPool2d with a kernel of nothing': [[/maxPool2d/, /'kernel'/, /\[ 2, 0 \]/], () => maxPool2d({ kernel: [2, 0] })],
  'maxPool2d with a word for a switch': [
    [/'ceilMode'/, /true or false/, /'yes'/],
    () => untyped(maxPool2d)({ kernel: 2, ceilMode: 'yes' }),
  ],
  'avgPool2d with dilation': [[/avgPool2d/, /'dilation'/], () => untyped(avgPool2d)({ kernel: 2, dilation: 1 })],
  'batchNorm2d without a variance': [[/batchNorm2d/, /'runningVar'/], () => untyped(batchNorm2d)({ runningMean: [0] })],
  'batchNorm2d with a negative eps': [
    [/batchNorm2d/, /'eps'/, />= 0/],
    () => batchNorm2d({ runningMean: [0], runningVar: [1], eps: -1 }),
  ],
  'normalize by zero': [[/normalize/, /'std'/, /\[1\]/, /> 0/], () => normalize({ mean: [0, 0], std: [1, 0] })],
  'normalize by a negative number': [[/normalize/, /'std'/, /-2/], () => normalize({ mean: [0], std: [-2] })],
  'normalize by NaN': [[/normalize/, /'mean'/, /NaN/], () => normalize({ mean: [NaN], std: [1] })],
  'sparse with a fractional index': [
    [/sparse/, /'indices'/, /\[0\]/, /0\.5/],
    () => sparse({ indptr: [0, 1], indices: [0.5], values: [1] }),
  ],
  'sparse with a negative index': [
    [/sparse/, /'indices'/, /-1/],
    () => sparse({ indptr: [0, 1], indices: [-1], values: [1] }),
  ],
  'convTranspose2d with a negative outputPadding': [
    [/convTranspose2d/, /'outputPadding'/, /non-negative/, /-1/],
    () => convTranspose2d({ weight, outputPadding: -1 }),
  ],
  'prelu without slopes': [[/prelu/, /'weight'/], () => untyped(prelu)({})],
  'abs with an option': [[/abs/, /'slope'/], () => untyped(abs)({ slope: 1 })],
  'add of layers': [[/add/, /object/, /relu/], () => untyped(add)([relu(), relu()])],
  'concat along a negative axis': [[/concat/, /'axis'/, /non-negative/, /-1/], () => concat({ axis: -1 })],
  'reshape to a size to be found out': [[/reshape/, /'shape'/, /positive/, /-1/], () => reshape({ shape: [2, -1] })],
  'permute without axes': [[/permute/, /'axes'/, /undefined/], () => untyped(permute)({})],
  'pad2d with an infinite value': [[/pad2d/, /'value'/], () => pad2d({ padding: 1, value: Infinity })],
  'pad2d without padding': [[/pad2d/, /'padding'/], () => untyped(pad2d)({})],
  'upsample2d by one and a half': [[/upsample2d/, /'scale'/, /1\.5/], () => upsample2d({ scale: 1.5 })],
  'graph without a builder': [[/graph: build/, /function/, /undefined/], () => untyped(graph)({ input: [2] })],
  'graph without an input shape': [[/graph/, /'input'/], () => untyped(graph)({}, chain)],
  'graph of a constructor': [[/apply/, /relu\(\)/], () => built((g) => untyped(g.apply.bind(g))(relu, g.input))],
  'graph with a layer for a node': [
    [/input 0 of 'relu1' \(relu\)/, /node of this graph/, /g\.input/, /type: 'abs'/],
    () => built((g) => untyped(g.apply.bind(g))(relu(), abs())),
  ],
  'graph with a list for nodes': [
    [/input 0 of 'both' \(add\)/, /node of this graph/],
    () => built((g) => untyped(g.apply.bind(g))(add({ name: 'both' }), [g.input, g.input])),
  ],
  'graph with a chain of one layer that is no list': [
    [/chain/, /array of layers/],
    () => built((g) => untyped(g.chain.bind(g))(relu(), g.input)),
  ],
  'graph with a chain from nowhere': [[/chain/, /node/], () => built((g) => untyped(g.chain.bind(g))([relu()]))],
  'graph whose builder returns nothing': [
    [/what build returns/, /node of this graph/, /undefined/],
    () => built((g) => void g.apply(relu(), g.input)),
  ],
  'graph whose builder returns a layer': [[/what build returns/, /node/, /'relu'/], () => built(() => relu())],
  'graph whose builder is async': [
    [/what build returns/, /async/],
    () => built((g) => Promise.resolve(g.apply(relu(), g.input))),
  ],
  'tensor of words': [[/tensor/, /data\[1\]/, /'x'/], () => untyped(tensor)([2], [1, 'x'])],
  'tensor of nothing': [[/tensor/, /data/, /undefined/], () => untyped(tensor)([2])],
  'functionals that are a number': [
    [/bound/, /'functionals'/, /arrays/, /got 1/],
    () =>
      untyped((options: unknown) => identity().bound([0, 0], options as { epsilon: number }))({
        epsilon: 1,
        functionals: 1,
      }),
  ],
  'functionals that are one functional': [
    [/bound/, /'functionals'\[0\]/, /finite/],
    () =>
      untyped((options: unknown) => identity().bound([0, 0], options as { epsilon: number }))({
        epsilon: 1,
        functionals: [1, -1],
      }),
  ],
  'a functional with NaN': [
    [/globalBound/, /'functionals'\[1\]\[0\]/, /NaN/],
    () =>
      identity().globalBound({
        functionals: [
          [1, 0],
          [NaN, 1],
        ],
      }),
  ],
  'sequential without an input shape': [[/sequential/, /'input'/], () => untyped(sequential)({}, [relu()])],
  'sequential with an empty input shape': [
    [/sequential/, /'input'/, /\[\]/],
    () => sequential({ input: [] }, [relu()]),
  ],
  'sequential with a batch of unknown size': [
    [/sequential/, /'input'/, /-1/],
    () => sequential({ input: [-1, 2] }, [relu()]),
  ],
  'sequential with one layer for a list': [
    [/sequential/, /layers/, /array/],
    () => untyped(sequential)({ input: [2] }, relu()),
  ],
  'sequential with a constructor for a layer': [
    [/layers\[1\]/, /relu\(\)/],
    () => untyped(sequential)({ input: [2] }, [relu(), relu]),
  ],
  'bound without options': [[/bound/, /object/, /undefined/], () => untyped(identity().bound.bind(identity()))([0, 0])],
  'bound without epsilon': [[/bound/, /'epsilon'/], () => identity().bound([0, 0], {} as { epsilon: number })],
  'bound with epsilon -1': [[/bound/, /'epsilon'/, />= 0/, /got -1/], () => identity().bound([0, 0], { epsilon: -1 })],
  'bound with epsilon NaN': [[/'epsilon'/, /NaN/], () => identity().bound([0, 0], { epsilon: NaN })],
  'bound with epsilon Infinity': [
    [/'epsilon'/, /finite/, /Infinity/],
    () => identity().bound([0, 0], { epsilon: Infinity }),
  ],
  'bound with a bad epsilon among good ones': [
    [/'epsilon'\[1\]/, /-2/],
    () => identity().bound([0, 0], { epsilon: [1, -2] }),
  ],
  'bound with no epsilon at all': [[/'epsilon'/, /\[\]/], () => identity().bound([0, 0], { epsilon: [] })],
  'bound with an unknown option': [
    [/'eps'/, /epsilon/],
    () => identity().bound([0, 0], { eps: 1 } as unknown as { epsilon: number }),
  ],
  'bound of an unknown kind': [
    [/'kind'/, /'centred', 'uniform'/, /'local'/],
    () => identity().bound([0, 0], { epsilon: 1, kind: 'local' as 'centred' }),
  ],
  'bound by an unknown method': [
    [/'method'/, /'magic'/],
    () => identity().bound([0, 0], { epsilon: 1, method: 'magic' as 'auto' }),
  ],
  'bound with tolerance 0': [
    [/'tolerance'/, /greater than 0/],
    () => identity().bound([0, 0], { epsilon: 1, tolerance: 0 }),
  ],
  'bound with tolerance 2': [
    [/'tolerance'/, /less than 1/],
    () => identity().bound([0, 0], { epsilon: 1, tolerance: 2 }),
  ],
  'bound with failureProbability 0': [
    [/'failureProbability'/],
    () => identity().bound([0, 0], { epsilon: 1, failureProbability: 0 }),
  ],
  'bound with a failureProbability that says nothing': [
    [/'failureProbability'/, /from 1e-30 to 0\.5/, /0\.7/],
    () => identity().bound([0, 0], { epsilon: 1, failureProbability: 0.7 }),
  ],
  'bound with maxSteps 0': [
    [/'maxSteps'/, /integer from 1/],
    () => identity().bound([0, 0], { epsilon: 1, maxSteps: 0 }),
  ],
  'bound with maxSteps 1e9': [[/'maxSteps'/, /1000000/], () => identity().bound([0, 0], { epsilon: 1, maxSteps: 1e9 })],
  'bound with a fractional seed': [[/'seed'/, /0\.5/], () => identity().bound([0, 0], { epsilon: 1, seed: 0.5 })],
  'bound with a seed that is no safe integer': [
    [/'seed'/],
    () => identity().bound([0, 0], { epsilon: 1, seed: 2 ** 53 }),
  ],
  'bound with an unknown guarantee': [
    [/'guarantee'/, /'deterministic'/, /'sure'/],
    () => identity().bound([0, 0], { epsilon: 1, guarantee: 'sure' as 'auto' }),
  ],
  'bound with no time': [[/'timeLimit'/], () => identity().bound([0, 0], { epsilon: 1, timeLimit: 0 })],
  'bound with a signal that is none': [
    [/'signal'/, /AbortSignal/],
    () => identity().bound([0, 0], { epsilon: 1, signal: {} as AbortSignal }),
  ],
  'bound with a callback that is none': [
    [/'onProgress'/, /function/],
    () => untyped(identity().bound.bind(identity()))([0, 0], { epsilon: 1, onProgress: 1 }),
  ],
  'bound with an input of integer type': [
    [/input/, /Uint8Array/],
    () => untyped(identity().bound.bind(identity()))({ shape: [2], data: new Uint8Array(2) }, { epsilon: 1 }),
  ],
  'bound of nothing': [
    [/input/, /undefined/],
    () => untyped(identity().bound.bind(identity()))(undefined, { epsilon: 1 }),
  ],
  'globalBound with epsilon': [[/globalBound/, /'epsilon'/], () => identity().globalBound({ epsilon: 1 } as object)],
  'norm without an input shape': [[/norm/, /'input'/], () => untyped(norm)(relu(), {})],
  'norm of nothing': [[/norm/, /layer/, /conv2d/], () => untyped(norm)(undefined, { input: [2] })],
  'loadModel of a file of another kind': [
    [/\.onnx, \.json or \.safetensors/, /lenet\.h5/],
    () => loadModel('lenet.h5'),
  ],
  'loadModel of nothing': [[/path/, /undefined/], () => untyped(loadModel)()],
  'loadModel with an unknown option': [
    [/loadModel/, /'weights'/],
    () => untyped(loadModel)('lenet.json', { weights: 'x' }),
  ],
  'loadModel with two architectures': [
    [/'architecture'/, /lenet\.json/],
    () => loadModel('lenet.json', { architecture: 'other.json' }),
  ],
  'loadModel with an architecture that is none': [
    [/'architecture'/, /got 3/],
    () => untyped(loadModel)('lenet.safetensors', { architecture: 3 }),
  ],
  'loadTensor of nothing': [[/loadTensor/, /path/], () => untyped(loadTensor)(undefined)],
  'loadTensor of a web address': [
    [/loadTensor/, /path or a file: URL/],
    () => loadTensor(new URL('https://example.org/x.npy')),
  ],
}

for (const [title, [culprits, act]] of Object.entries(badOptions)) {
  test(`argument: ${title}`, (t) => fails(t, 'ERR_LIPBOUND_ARGUMENT', culprits, act))
}

// Values --------------------------------------------------------------------------------------------------------

const badValues: Record<string, [culprits: RegExp[], act: () => unknown]> = {
  'NaN among weights': [[/conv2d/, /'weight'/, /\[0, 0, 0, 1\]/, /NaN/], () => conv2d({ weight: [[[[1, NaN]]]] })],
  'an infinite weight in a typed array': [
    [/linear/, /'weight'/, /\[1, 0\]/, /-Infinity/],
    () => linear({ weight: tensorOf([2, 1], [0, -Infinity]) }),
  ],
  'an infinite bias': [[/linear/, /'bias'/, /Infinity/], () => linear({ weight: [[1]], bias: [Infinity] })],
  'NaN among sparse values': [
    [/sparse/, /'values'/, /NaN/],
    () => sparse({ indptr: [0, 1], indices: [0], values: [NaN] }),
  ],
  'NaN in a tensor': [[/tensor/, /\[1\]/, /NaN/], () => tensor([2], [0, NaN])],
  'NaN in an input to bound': [[/bound/, /input/, /\[1\]/, /NaN/], () => identity().bound([0, NaN], { epsilon: 1 })],
  'an infinite input to evaluate': [
    [/evaluate/, /input/, /\[0\]/, /Infinity/],
    () => identity().evaluate([Infinity, 0]),
  ],
  'a negative variance': [
    [/batch_norm2d1/, /running_var/, /-1/],
    () => sequential({ input: [1, 1, 1] }, [batchNorm2d({ runningMean: [0], runningVar: [-1] })]),
  ],
  'a weight whose square would vanish': [
    [/linear1/, /weight/, /1e-200/],
    () => sequential({ input: [1] }, [linear({ weight: [[1e-200]] })]),
  ],
  // The constructors check; whoever goes around them meets the native part's own check.
  'NaN in a layer made by hand': [
    [/layer|tensor/, /weight/, /NaN|finite/],
    () =>
      sequential({ input: [1] }, [{ type: 'linear', attributes: {}, tensors: { weight: tensorOf([1, 1], [NaN]) } }]),
  ],
}

function tensorOf(shape: number[], entries: number[]): { shape: number[]; data: Float64Array } {
  return { shape, data: Float64Array.from(entries) }
}

for (const [title, [culprits, act]] of Object.entries(badValues)) {
  test(`value: ${title}`, (t) => fails(t, 'ERR_LIPBOUND_VALUE', culprits, act))
}

// Shapes --------------------------------------------------------------------------------------------------------

const linear23 = (name?: string): Layer =>
  linear({
    name,
    weight: [
      [1, 2, 3],
      [4, 5, 6],
    ],
  })

const badShapes: Record<string, [culprits: RegExp[], act: () => unknown]> = {
  'data that do not fill their shape': [[/tensor/, /\[2, 3\]/, /6/, /4/], () => tensor([2, 3], [1, 2, 3, 4])],
  'ragged arrays': [[/'weight'\[1\]/, /1 entries/, /2/], () => linear({ weight: [[1, 2], [3]] })],
  'a linear layer that takes more than there is': [
    [/first/, /0/, /\[2, 3\]|3/, /\[4\]|4/],
    () => sequential({ input: [4] }, [linear23('first')]),
  ],
  'the second of two layers that do not fit': [
    [/linear2/, /1/, /3/, /2/],
    () => sequential({ input: [3] }, [linear23(), linear23()]),
  ],
  'a linear layer behind an image': [
    [/linear1/, /\[3, 1, 1\]|3.1.1/],
    () => sequential({ input: [3, 1, 1] }, [linear23()]),
  ],
  'a convolution of a vector': [[/conv2d1/, /0/, /\[16\]|16/], () => sequential({ input: [16] }, [conv2d({ weight })])],
  'a convolution of too many channels': [
    [/conv2d1/, /2/, /1/],
    () => sequential({ input: [2, 4, 4] }, [conv2d({ weight })]),
  ],
  'a convolution whose groups do not divide the channels': [
    [/conv2d1/, /group/, /3/],
    () => sequential({ input: [3, 4, 4] }, [conv2d({ weight: [[[[1]]], [[[1]]]], groups: 2 })]),
  ],
  'a kernel larger than its image': [
    [/conv2d1/, /\[1, 1, 3, 3\]/, /\[1, 2, 2\]/],
    () => sequential({ input: [1, 2, 2] }, [conv2d({ weight: tensor([1, 1, 3, 3], new Float64Array(9)) })]),
  ],
  'a window larger than its image': [
    [/max_pool2d1/, /0/, /3/, /\[1, 2, 2\]/],
    () => sequential({ input: [1, 2, 2] }, [maxPool2d({ kernel: 3 })]),
  ],
  'a weight of three dimensions': [
    [/conv2d1/, /weight/],
    () => sequential({ input: [1, 2, 2] }, [conv2d({ weight: [[[1]]] })]),
  ],
  'a bias of another length': [
    [/linear1/, /bias/, /3/, /2/],
    () =>
      sequential({ input: [3] }, [
        linear({
          weight: [
            [1, 2, 3],
            [4, 5, 6],
          ],
          bias: [1, 2, 3],
        }),
      ]),
  ],
  'batch normalisation of more channels': [
    [/batch_norm2d1/, /2/, /1/],
    () => sequential({ input: [1, 2, 2] }, [batchNorm2d({ runningMean: [0, 0], runningVar: [1, 1] })]),
  ],
  'normalisation of more channels': [
    [/normalize1/, /3/, /2/],
    () => sequential({ input: [2, 1, 1] }, [normalize({ mean: [1, 2, 3], std: [1, 2, 3] })]),
  ],
  'an input of another shape to bound': [[/\[2\]|2/, /\[3\]|3/], () => identity().bound([1, 2, 3], { epsilon: 1 })],
  'an input of another shape to evaluate': [
    [/\[1, 4, 4\]/, /\[4, 4\]/],
    () => image().evaluate(tensor([4, 4], new Float64Array(16))),
  ],
  'an input of as many entries in another shape': [
    [/\[1, 4, 4\]/, /\[16\]/],
    () => image().bound(new Float64Array(16), { epsilon: 1 }),
  ],
  'a functional with too few coefficients': [
    [/functionals\[1\]/, /2 outputs/, /got 1/],
    () => identity().bound([0, 0], { epsilon: 1, functionals: [[1, 0], [1]] }),
  ],
  'a functional with too many coefficients': [
    [/functionals\[0\]/, /2 outputs/, /got 3/],
    () => identity().globalBound({ functionals: [[1, 0, 0]] }),
  ],
  'a sum of branches that do not meet': [
    [/layer 2 'sum' \(add\)/, /equal shape/, /'narrow' \[2\]/, /'input' \[3\]/],
    () =>
      graph({ input: [3] }, (g) => {
        const narrow = g.apply(linear23('narrow'), g.input)
        return g.apply(add({ name: 'sum' }), g.apply(relu(), narrow), g.input, narrow)
      }),
  ],
  'branches behind each other that differ elsewhere': [
    [/concat1/, /axis 0 only/, /'input' \[1, 4, 4\]/, /'max_pool2d1' \[1, 2, 2\]/],
    () => graph({ input: [1, 4, 4] }, (g) => g.apply(concat(), g.input, g.apply(maxPool2d({ kernel: 2 }), g.input))),
  ],
  'an axis that is not there': [
    [/concat1/, /axis/, /0 to 0/, /got 1/],
    () => graph({ input: [2] }, (g) => g.apply(concat({ axis: 1 }), g.input, g.input)),
  ],
  'a shape of other size': [
    [/reshape1/, /4 elements/, /\[3, 2\]/],
    () => sequential({ input: [4] }, [reshape({ shape: [3, 2] })]),
  ],
  'an order that names an axis twice': [
    [/permute1/, /each of the 3 axes/, /\[0, 1, 1\]/],
    () => sequential({ input: [1, 2, 2] }, [permute({ axes: [0, 1, 1] })]),
  ],
  'slopes for other channels': [
    [/prelu1/, /\[2\]/, /\[1\] or \[3\]/],
    () => sequential({ input: [3, 1, 1] }, [prelu({ weight: [1, 2] })]),
  ],
  'a transposed convolution of other channels': [
    [/conv_transpose2d1/, /2 input channels|needs 1/, /\[2, 2, 2\]/],
    () => sequential({ input: [2, 2, 2] }, [convTranspose2d({ weight })]),
  ],
  'a transposed convolution that pads too much': [
    [/output_padding/, /less than the stride/, /got 2/],
    () => sequential({ input: [1, 2, 2] }, [convTranspose2d({ weight, stride: 2, outputPadding: 2 })]),
  ],
  'a transposed convolution that cuts everything off': [
    [/conv_transpose2d1/, /height of -1/],
    () => sequential({ input: [1, 1, 2] }, [convTranspose2d({ weight, padding: [1, 0] })]),
  ],
  'a norm over an input that does not fit': [[/linear/, /3/, /2/], () => norm(linear23(), { input: [2] })],
}

for (const [title, [culprits, act]] of Object.entries(badShapes)) {
  test(`shape: ${title}`, (t) => fails(t, 'ERR_LIPBOUND_SHAPE', culprits, act))
}

// Models --------------------------------------------------------------------------------------------------------

const handmade = (type: string, attributes: object = {}): Layer =>
  ({ type, attributes, tensors: {} }) as unknown as Layer

test('a functional of coefficients beyond the range is refused', (t) =>
  fails(t, 'ERR_LIPBOUND_VALUE', [/functionals\[0\]\[1\]/, /1e45/, /1e50/], () =>
    identity().globalBound({ functionals: [[0, 1e50]] }),
  ))

test('a clip by hand with its ends the wrong way round is refused', (t) =>
  fails(t, 'ERR_LIPBOUND_VALUE', [/clip1/, /min must be less than max/, /min 2 and max 1/], () =>
    sequential({ input: [2] }, [handmade('clip', { min: 2, max: 1 })]),
  ))

test('a number that JSON does not have is refused in a layer made by hand', async (t) => {
  for (const [attributes, field] of [
    [{ max: -Infinity, min: 0 }, 'max'],
    [{ min: NaN }, 'min'],
  ] as const) {
    await fails(t, 'ERR_LIPBOUND_ARGUMENT', [/layers\[1\]/, new RegExp(`'${field}'`), /finite/], () =>
      sequential({ input: [2] }, [relu(), handmade('clip', attributes)]),
    )
  }
  const mean = { mean: [0, Infinity], std: [1] }
  await fails(t, 'ERR_LIPBOUND_ARGUMENT', [/layers\[0\]/, /'mean'/, /Infinity/], () =>
    sequential({ input: [2] }, [handmade('normalize', mean)]),
  )
})

const badModels: Record<string, [culprits: RegExp[], act: () => unknown]> = {
  'an empty network': [[/empty/], () => sequential({ input: [2] }, [])],
  'an unknown layer': [[/gelu/, /1/], () => sequential({ input: [2] }, [relu(), handmade('gelu')])],
  'an unknown field of a layer': [
    [/relu1/, /slope/],
    () => sequential({ input: [2] }, [handmade('relu', { slope: 1 })]),
  ],
  'a layer without its weights': [[/linear1/, /weight/], () => sequential({ input: [2] }, [handmade('linear')])],
  'a clip by hand without an end': [
    [/clip1/, /'min' or 'max'/, /number/],
    () => sequential({ input: [2] }, [handmade('clip')]),
  ],
  'a clip by hand with a word for an end': [
    [/clip1/, /min/, /"0"/],
    () => sequential({ input: [2] }, [handmade('clip', { min: '0' })]),
  ],
  'a sum in a chain': [
    [/add1/, /two or more/, /1: 'relu1'/],
    () => sequential({ input: [2] }, [relu(), handmade('add')]),
  ],
  'a layer called input': [
    [/layer 0 'input' \(relu\)/, /network's input/],
    () => sequential({ input: [2] }, [relu({ name: 'input' })]),
  ],
  'a graph of nothing': [[/graph/, /empty/], () => built((g) => g.input)],
  'a graph with a node that nothing reads': [
    [/'relu1' \(relu\)/, /nothing reads/, /output, 'end'/],
    () =>
      built((g) => {
        g.apply(relu(), g.input)
        return g.apply(relu({ name: 'end' }), g.input)
      }),
  ],
  'a graph whose output is not its end': [
    [/nothing reads 'end' \(abs\)/],
    () =>
      built((g) => {
        const middle = g.apply(relu(), g.input)
        g.apply(abs({ name: 'end' }), middle)
        return middle
      }),
  ],
  'a graph with two nodes of one name': [
    [/'twin'/, /\(abs\)/, /\(relu\)/],
    () => built((g) => g.apply(abs({ name: 'twin' }), g.apply(relu({ name: 'twin' }), g.input))),
  ],
  'a graph with a node of the name another gets': [
    [/'relu2'/],
    () => built((g) => g.apply(relu(), g.apply(relu({ name: 'relu2' }), g.input))),
  ],
  'a graph with a node called input': [
    [/'input'/, /graph's input/, /abs/],
    () => built((g) => g.apply(abs({ name: 'input' }), g.input)),
  ],
  'a graph with the node of another': [
    [/input 1 of 'add1' \(add\)/, /'foreign' of another graph/],
    () => {
      let foreign: GraphNode | undefined
      graph({ input: [2] }, (g) => (foreign = g.apply(relu({ name: 'foreign' }), g.input)))
      return built((g) => untyped(g.apply.bind(g))(add(), g.input, foreign))
    },
  ],
  'a graph that returns the node of another': [
    [/what build returns/, /another graph/],
    () => {
      let foreign: unknown
      built((g) => (foreign = chain(g)))
      return built(() => foreign)
    },
  ],
  'a sum of one node': [
    [/'add1' \(add\)/, /two nodes or more/, /1: 'input'/],
    () => built((g) => untyped(g.apply.bind(g))(add(), g.input)),
  ],
  'a unit of two nodes': [
    [/'relu1'/, /one node/, /2: 'input', 'input'/],
    () => built((g) => untyped(g.apply.bind(g))(relu(), g.input, g.input)),
  ],
  'a unit of no node': [[/'relu1'/, /got none/], () => built((g) => untyped(g.apply.bind(g))(relu()))],
  'a graph that goes on after its end': [
    [/after the function/],
    () => {
      let builder: GraphBuilder | undefined
      built((g) => ((builder = g), chain(g)))
      return builder?.apply(abs(), builder.input)
    },
  ],
  'two layers of one name': [
    [/twin/],
    () => sequential({ input: [2] }, [relu({ name: 'twin' }), relu({ name: 'twin' })]),
  ],
  'a sparse matrix whose rows run backwards': [
    [/sparse1/, /indptr/],
    () => sequential({ input: [2] }, [sparse({ indptr: [0, 2, 1], indices: [0, 1], values: [1, 1] })]),
  ],
  'a sparse matrix that ends too early': [
    [/sparse1/, /indptr|indices/],
    () => sequential({ input: [2] }, [sparse({ indptr: [0, 1], indices: [0, 1], values: [1, 1] })]),
  ],
  'a sparse matrix with a column beyond its input': [
    [/sparse1/, /5/, /2/],
    () => sequential({ input: [2] }, [sparse({ indptr: [0, 1], indices: [5], values: [1] })]),
  ],
}

for (const [title, [culprits, act]] of Object.entries(badModels)) {
  test(`model: ${title}`, (t) => fails(t, 'ERR_LIPBOUND_MODEL', culprits, act))
}

// Order -----------------------------------------------------------------------------------------------------------

test('a signal that is aborted already comes before anything else', async (t) => {
  const reason = new Error('changed my mind')
  const signal = AbortSignal.abort(reason)
  const network = identity()
  const nonsense = { epsilon: -1, signal }
  t.is(await rejection(network.bound([NaN], nonsense)), reason)
  t.is(await rejection(network.globalBound({ signal })), reason)
  t.is(await rejection(norm(relu(), { input: [], signal })), reason)
  t.is(await rejection(loadModel('/nowhere/at/all.json', { signal })), reason)
  network.dispose()
  t.is(await rejection(network.bound([0, 0], nonsense)), reason)
})

test('a network that was disposed of says so', async (t) => {
  const network = sequential({ input: [1], name: 'gone' }, [relu()])
  t.false(network.disposed)
  network.dispose()
  network.dispose()
  t.true(network.disposed)
  await fails(t, 'ERR_LIPBOUND_DISPOSED', [/gone/], () => network.bound([1], { epsilon: 1 }))
  await fails(t, 'ERR_LIPBOUND_DISPOSED', [/gone/], () => network.globalBound())
  await fails(t, 'ERR_LIPBOUND_DISPOSED', [/gone/], () => network.evaluate([1]))
  t.is(network.summary.name, 'gone')
})

async function rejection(promise: Promise<unknown>): Promise<unknown> {
  return promise.then(
    () => 'nothing was thrown',
    (error: unknown) => error,
  )
}
