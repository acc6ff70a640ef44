// What a user of the package waits for: small bounds through the public API, by tinybench.

import { fileURLToPath } from 'node:url'

import { Bench } from 'tinybench'

import { loadModel, loadTensor } from '../dist/index.js'

const file = (name) => fileURLToPath(new URL(`../examples/models/${name}`, import.meta.url))
const network = await loadModel(file('lenet.json'))
const digit = await loadTensor(file('digits/8.npy'))
const options = { epsilon: 0.01, failureProbability: 1e-6 }

const bench = new Bench({ name: 'LeNet on a digit', time: 3000 })
bench
  .add('evaluate', () => network.evaluate(digit))
  .add('layerwise bound, product bracketed within 10 %', () =>
    network.bound(digit, { ...options, method: 'layerwise', tolerance: 0.04 }),
  )
  .add('layerwise bound, default tolerance', () => network.bound(digit, { ...options, method: 'layerwise' }))
  .add('certificate', () => network.bound(digit, { ...options, method: 'certificate' }))
  .add('global bound, layerwise', () => network.globalBound({ method: 'layerwise' }))
await bench.run()
console.log(bench.name)
console.table(bench.table())
