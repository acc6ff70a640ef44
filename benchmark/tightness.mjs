// How tight bounds of trained networks are: layerwise, certified, and what is really attained, over epsilon.

import { fileURLToPath } from 'node:url'

import { loadModel, loadTensor } from '../dist/index.js'

const file = (name) => fileURLToPath(new URL(`../examples/models/${name}`, import.meta.url))
const EPSILONS = [0.001, 0.01, 0.0522, 0.1, 0.2, 0.3]

const input = await loadTensor(file('digits/8.npy'))
const rows = []
for (const model of ['lenet', 'lenet-regularised']) {
  const network = await loadModel(file(`${model}.json`))
  const questions = [
    ...EPSILONS.map((epsilon) => [epsilon, (method) => network.bound(input, { epsilon, method })]),
    ['global', (method) => network.globalBound({ method })],
  ]
  for (const [epsilon, ask] of questions) {
    const layerwise = await ask('layerwise')
    const certified = await ask('certificate')
    // What is attained in a smaller ball is attained in a larger one.
    const attained = Math.max(
      layerwise.lower,
      certified.lower,
      ...rows.filter((r) => r.model === model).map((r) => r.lower),
    )
    rows.push({ model, epsilon, layerwise, certified, lower: attained })
  }
}
console.log('The digit 8; seconds of each bound by itself')
console.table(
  rows.map(({ model, epsilon, layerwise, certified, lower }) => ({
    model,
    epsilon,
    layerwise: layerwise.upper.toPrecision(5),
    certificate: certified.upper.toPrecision(5),
    attained: lower.toPrecision(5),
    'layerwise / certificate': (layerwise.upper / certified.upper).toFixed(1),
    'certificate / attained': (certified.upper / lower).toFixed(2),
    'layerwise, s': layerwise.seconds.toFixed(3),
    'certificate, s': certified.seconds.toFixed(2),
  })),
)
