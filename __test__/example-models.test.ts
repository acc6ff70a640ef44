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
