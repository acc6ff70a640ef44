// Which layer makes a bound loose? The report of a bound has a norm and unstable units for every layer, but a large number
// there is only a suspicion. This builds the network again in code, makes one layer at a time linear, and sees what happens.
//
//     node examples/find-the-layer-to-fix.js

import { readFile } from 'node:fs/promises'

import {
  conv2d,
  flatten,
  linear,
  loadTensor,
  maxPool2d,
  normalize,
  relu,
  reshape,
  sequential,
  sparse,
  tensor,
} from 'lipbound'

import { bold, endProgress, progress, show, table } from './terminal.js'

const EPSILON = 0.1
const SEED = 1
const INPUT = [1, 28, 28]

const models = new URL('models/', import.meta.url)
const image = await loadTensor(new URL('digits/8.npy', models))
const weights = await readSafetensors(new URL('lenet.safetensors', models))

/** A safetensors file is the length of a header, the header in JSON, and the numbers. */
async function readSafetensors(url) {
  const file = await readFile(url)
  const start = 8 + Number(file.readBigUInt64LE())
  const header = JSON.parse(file.toString('utf8', 8, start))
  delete header.__metadata__
  const entries = Object.entries(header).map(
    ([
      name,
      {
        shape,
        data_offsets: [from, to],
      },
    ]) => {
      const bytes = new Uint8Array(file.subarray(start + from, start + to))
      return [name, tensor(shape, new Float32Array(bytes.buffer))]
    },
  )
  return Object.fromEntries(entries)
}

/** The layers of the LeNet, with the weights (not the biases) of those in `scales` multiplied. */
function lenet(scales = {}) {
  const named = (name) => {
    const { shape, data } = weights[`${name}.weight`]
    const scale = scales[name] ?? 1
    return {
      name,
      weight: tensor(
        shape,
        data.map((value) => scale * value),
      ),
      bias: weights[`${name}.bias`],
    }
  }
  return [
    normalize({ mean: [0.1307], std: [0.3081] }),
    ...[conv2d({ ...named('conv1'), padding: 2 }), relu(), maxPool2d({ kernel: 2 })],
    ...[conv2d(named('conv2')), relu(), maxPool2d({ kernel: 2 }), flatten()],
    ...[linear(named('fc1')), relu()],
    ...[linear(named('fc2')), relu()],
    linear(named('fc3')),
  ]
}

/**
 * The layers with the ReLU behind one of them frozen: units that are on at the image stay on, the others stay off. Around
 * the image it is the same function, for as long as none of these units would have changed.
 */
async function frozen(name) {
  const layers = lenet()
  const index = layers.findIndex((layer) => layer.name === name) + 1
  const { shape, data } = await sequential({ input: INPUT }, layers.slice(0, index)).evaluate(image)
  const mask = sparse({
    indptr: Array.from({ length: data.length + 1 }, (_, unit) => unit),
    indices: Array.from({ length: data.length }, (_, unit) => unit),
    values: data.map((value) => (value > 0 ? 1 : 0)),
  })
  return layers.toSpliced(index, 1, flatten(), mask, reshape({ shape }))
}

const bound = (layers, what) =>
  sequential({ input: INPUT }, layers).bound(image, { epsilon: EPSILON, seed: SEED, onProgress: progress(what) })

const radius = (layers, what) =>
  sequential({ input: INPUT }, layers).certifiedRadius(image, {
    tolerance: 0.1,
    attackSteps: 0, // only what can be certified is of interest here
    seed: SEED,
    onProgress: progress(what),
  })

/** The one for which a measure is largest. */
const largest = (items, measure) => items.reduce((best, item) => (measure(item) > measure(best) ? item : best))

// 1. What the report says, and what freezing does.
const asItIs = await bound(lenet(), 'as it is')
endProgress()
const rows = await Promise.all(
  ['conv1', 'conv2', 'fc1', 'fc2'].map(async (name) => {
    const { norm, unstable } = asItIs.layers.find(({ members }) => members.includes(name))
    const { upper } = await bound(await frozen(name), name)
    return { name, norm: norm.upper, unstable, upper, saved: 1 - upper / asItIs.upper }
  }),
)
endProgress()

// 2. What that is worth: the certified radius, once the layer is frozen, and once its weights are shrunk instead.
const loudest = largest(rows, ({ norm }) => norm)
const busiest = largest(rows, ({ unstable }) => unstable)
const culprit = largest(rows, ({ saved }) => saved)
const trials = await Promise.all(
  [
    ['as it is', 'as it is', lenet()],
    ['frozen', `ReLU behind ${culprit.name} frozen`, await frozen(culprit.name)],
    ['shrunk', `weights of ${culprit.name} x 0.8`, lenet({ [culprit.name]: 0.8 })],
  ].map(async ([short, what, layers]) => {
    const { upper } = await bound(layers, short)
    return { what, upper, ...(await radius(layers, short)) }
  }),
)
endProgress()

const percent = (part) => `${(100 * part).toFixed(0)} %`
const change = (value, before) => `${value >= before ? '+' : '-'}${percent(Math.abs(value / before - 1))}`

console.log(bold(`The 8, and everything at most ${EPSILON} away from it: which layer makes the bound loose?`))
console.log(`
The bound is ${show(asItIs.upper, 'up')}, and ${show(asItIs.lower, 'down')} is attained: up to ${(asItIs.upper / asItIs.lower).toFixed(1)} times too large. Part of that is owed to units of which
nobody knows whether they are on or off. What if those of one layer were frozen as they are at the 8?
`)
table(
  [
    { title: 'layer', words: true },
    { title: 'norm' },
    { title: 'unstable units' },
    { title: 'bound once frozen' },
    { title: 'saved', answer: true },
  ],
  rows.map(({ name, norm, unstable, upper, saved }) => [
    name,
    show(norm, 'up'),
    String(unstable),
    show(upper, 'up'),
    percent(saved),
  ]),
)
const suspects = new Set([loudest.name, busiest.name])
console.log(`
The largest norm is that of ${loudest.name} and the most unstable units are those of ${busiest.name}, but the layer to fix is ${bold(culprit.name)}${
  suspects.has(culprit.name) ? ', as one might guess' : ''
}.
Its ${culprit.unstable} unstable units cost ${percent(culprit.saved)} of the bound. What a repair would be worth:
`)
const [before, stiff, scaled] = trials
table(
  [
    { title: '', words: true },
    { title: 'bound' },
    { title: '' },
    { title: 'least margin' },
    { title: 'certified radius', answer: true },
    { title: '' },
  ],
  trials.map((trial) => [
    trial.what,
    show(trial.upper, 'up'),
    trial === before ? '' : change(trial.upper, before.upper),
    show(Math.min(...trial.margins.map(({ margin }) => margin)), 'down'),
    show(trial.radius, 'down'),
    trial === before ? '' : change(trial.radius, before.radius),
  ]),
)
const helps = scaled.radius / before.radius - 1 > 0.1
console.log(`
Smaller weights alone ${
  helps ? 'helped here' : 'are no repair'
}: the bound moved by ${change(scaled.upper, before.upper)}, the radius by ${change(scaled.radius, before.radius)}, because the margins shrink with the bound.
Fewer units of ${culprit.name} that can change sides near the data would help: ${change(stiff.radius, before.radius)} if none could.

How far to trust this: it is one picture and one epsilon. A frozen network is a what-if, equal to the real one only where
no unit of that layer changes, so its radius is a prospect and no certificate. What layers save does not add up, and
max-pools, which are uncertain too, were left alone.`)
