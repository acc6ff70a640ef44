// The same convolution norms in PyTorch (power iteration, f32) and SciPy (svds, f64), one after the other with ours, layer
// by layer in one run. Needs a Python with torch, and scipy for svds: PYTHON=/path/to/python node benchmark/peers/run.mjs

import { spawn, spawnSync } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

import { conv2d, norm } from '../../dist/index.js'
import { convolutions } from '../networks.mjs'

const python = process.env['PYTHON'] ?? 'python3'
if (spawnSync(python, ['-c', 'import torch']).status !== 0) {
  console.log(`peers: ${python} has no torch; set PYTHON to one that has`)
  process.exit(0)
}
const peer = spawn(python, [fileURLToPath(new URL('norms.py', import.meta.url))], {
  stdio: ['pipe', 'pipe', 'inherit'],
})
const answers = createInterface({ input: peer.stdout })[Symbol.asyncIterator]()

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1]
const rows = []
for (const name of ['alexnet', 'vgg-16']) {
  for (const { name: layer, weight, stride, padding, input } of convolutions(name)) {
    const operator = conv2d({ weight, stride, padding })
    // Steps alone: the difference of a long and a short run, so that packing and start-up are not in it.
    const seconds = async (maxSteps) => {
      const options = {
        input,
        maxSteps,
        tolerance: 1e-9,
        failureProbability: 1e-6,
        guarantee: 'probabilistic',
        seed: 1,
      }
      const result = await norm(operator, options)
      return { seconds: result.seconds, steps: result.steps }
    }
    const ours = []
    for (let repeat = 0; repeat < 3; repeat += 1) {
      const short = await seconds(3)
      const long = await seconds(13)
      ours.push((long.seconds - short.seconds) / (long.steps - short.steps))
    }
    peer.stdin.write(`${JSON.stringify({ name: layer, weight: weight.shape, stride, padding, input })}\n`)
    const { value } = await answers.next()
    const theirs = JSON.parse(value)
    rows.push({
      layer,
      'ours f64, ms a step': (median(ours) * 1e3).toFixed(2),
      'PyTorch f32, ms a step': (theirs.pair * 1e3).toFixed(2),
      'PyTorch / ours': (theirs.pair / median(ours)).toFixed(2),
    })
  }
}
peer.stdin.end()
console.log('A step: one product with the convolution and one with its adjoint, 2 threads')
console.table(rows)
