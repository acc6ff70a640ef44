/** The models and digits of the repository, against values computed in double precision by another program. */
import { readFileSync } from 'node:fs'

import test from 'ava'

import { loadModel, loadTensor } from '../dist/index.js'
import { repositoryFile } from './helpers/process.js'

interface Expected {
  models: Record<
    string,
    { parameters: number; spectralNorms: Record<string, number>; logits: Record<string, number[]> }
  >
}

const folder = repositoryFile('examples/models/')
const { models } = JSON.parse(readFileSync(`${folder}expected.json`, 'utf8')) as Expected

for (const [name, { parameters, spectralNorms, logits }] of Object.entries(models)) {
  test(`${name} computes the expected logits and names each digit`, async (t) => {
    using network = await loadModel(`${folder}${name}.json`)
    t.is(network.summary.parameters, parameters)
    t.is(Object.keys(logits).length, 10)
    for (const [digit, expected] of Object.entries(logits)) {
      const { data } = await network.evaluate(await loadTensor(`${folder}digits/${digit}.npy`))
      t.is(data.length, expected.length)
      data.forEach((value, index) => {
        t.true(Math.abs(value - (expected[index] ?? NaN)) < 1e-9, `${digit}, logit ${index}: ${value}`)
      })
      t.is(network.summary.classes?.[data.indexOf(Math.max(...data))], digit)
    }
  })

  test(`the norms of the layers of ${name} hold the expected ones`, async (t) => {
    using network = await loadModel(`${folder}${name}.json`)
    const { layers, upper } = await network.globalBound({ method: 'layerwise' })
    // The normalisation is merged into the first convolution: it divides its norm by the standard deviation.
    const scale: Record<string, number> = { conv1: 1 / 0.3081 }
    let product = 1
    for (const [layer, norm] of Object.entries(spectralNorms)) {
      const truth = norm * (scale[layer] ?? 1)
      const step = layers.find(({ members }) => members.includes(layer))
      const [lower = NaN, top = NaN] = [step?.norm.lower, step?.norm.upper]
      t.true(lower <= truth * (1 + 1e-9) && truth <= top * (1 + 1e-9), `${layer}: [${lower}, ${top}] for ${truth}`)
      t.true(top <= truth * 1.005, `${layer}: ${top} for ${truth}`)
      product *= truth
    }
    t.true(upper >= product * (1 - 1e-9) && upper <= product * 1.02)
  })
}

/** What certificates of the digit 8 were when this was written, with three hundredths of room for other seeds. */
const figures = {
  lenet: [
    { epsilon: 0.001, atMost: 26.5 },
    { epsilon: 0.01, atMost: 29.9 },
    { epsilon: 0.1, atMost: 101 },
  ],
  'lenet-regularised': [
    { epsilon: 0.001, atMost: 4.67 },
    { epsilon: 0.01, atMost: 4.82 },
    { epsilon: 0.1, atMost: 6.06 },
  ],
}

for (const [name, points] of Object.entries(figures)) {
  test(`certificates of ${name} are as tight as they were, and near what is attained`, async (t) => {
    using network = await loadModel(`${folder}${name}.json`)
    const digit = await loadTensor(`${folder}digits/8.npy`)
    const epsilon = points.map((point) => point.epsilon)
    const results = await network.bound(digit, { epsilon, method: 'certificate' })
    results.forEach(({ upper, lower, method }, index) => {
      const { epsilon, atMost } = points[index] ?? { epsilon: NaN, atMost: NaN }
      t.is(method, 'certificate')
      t.true(upper <= atMost, `epsilon ${epsilon}: ${upper} is above ${atMost}`)
      t.true(lower <= upper)
    })
    const [{ upper, lower } = { upper: NaN, lower: NaN }] = results
    t.true(upper <= 1.6 * lower, `${upper} is more than 1.6 times ${lower}, which is attained`)
  })
}
