// The norm of each convolution of AlexNet and VGG-16: seconds to a bracket of 1 %, steps, and the speed of a step.

import { norm, conv2d } from '../dist/index.js'
import { convolutions } from './networks.mjs'

const rows = []
for (const name of ['alexnet', 'vgg-16']) {
  for (const { name: layer, weight, stride, padding, input, work } of convolutions(name)) {
    const operator = conv2d({ weight, stride, padding })
    const result = await norm(operator, { input, tolerance: 0.01, failureProbability: 1e-6, seed: 1 })
    rows.push({
      layer,
      input: input.join('x'),
      lower: result.lower.toPrecision(6),
      upper: result.upper.toPrecision(6),
      steps: result.steps,
      seconds: result.seconds.toFixed(3),
      // A step is one product with the operator and one with its adjoint.
      'GFLOP/s': ((4 * work * result.steps) / result.seconds / 1e9).toFixed(1),
    })
  }
}
console.log('Norms of convolutions by Lanczos in f64, failure probability 1e-6, bracket within 1 %')
console.table(rows)
