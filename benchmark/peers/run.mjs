// Convolution norms beside PyTorch (power iteration, f32) and SciPy (svds, f64): a step each, and the whole norm, layer by
// layer in turns, in one run. Needs a Python with torch, and scipy for svds: PYTHON=/path/to/python node benchmark/peers/run.mjs

import { spawn, spawnSync } from 'node:child_process'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

import { conv2d, norm } from '../../dist/index.js'
import { convolutions } from '../networks.mjs'

const TURNS = 3

const python = process.env['PYTHON'] ?? 'python3'
if (spawnSync(python, ['-c', 'import torch']).status !== 0) {
  console.log(`peers: ${python} has no torch; set PYTHON to one that has`)
  process.exit(0)
}

/** A process that answers each line with a line. */
function partner(command, args) {
  const child = spawn(command, args, { stdio: ['pipe', 'pipe', 'inherit'] })
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]()
  return {
    async ask(line) {
      child.stdin.write(`${line}\n`)
      const { value, done } = await lines.next()
      if (done) throw new Error(`${command} ended without an answer`)
      return value
    },
    end: () => child.stdin.end(),
  }
}

const peer = partner(python, [fileURLToPath(new URL('norms.py', import.meta.url))])
const kernels = partner('cargo', ['run', '--quiet', '--release', '-p', 'lipbound-kernels', '--example', 'steps'])

const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1]
const milliseconds = (value) => value.toFixed(2)
const steps = []
const norms = []
for (const network of ['alexnet', 'vgg-16']) {
  for (const { name, weight, stride, padding, input } of convolutions(network)) {
    const [out, channels, kernel] = weight.shape
    const geometry = [out, channels, kernel, stride, padding, input[1], input[2]].join(' ')
    const ours = []
    const theirs = []
    // svds takes minutes for the layers of VGG-16.
    const svds = network === 'alexnet'
    for (let turn = 0; turn < TURNS; turn += 1) {
      const [f64, f32] = (await kernels.ask(geometry)).split(' ').map(Number)
      const values = [...weight.data]
      const task = {
        name,
        shape: weight.shape,
        weight: turn === 0 && svds ? values : undefined,
        stride,
        padding,
        input,
      }
      const answer = JSON.parse(await peer.ask(JSON.stringify(task)))
      const begin = performance.now()
      const whole = svds
        ? await norm(conv2d({ weight, stride, padding }), {
            input,
            failureProbability: 1e-6,
            tolerance: 0.01,
            seed: turn,
          })
        : undefined
      ours.push({ f64, f32, whole, seconds: (performance.now() - begin) / 1000 })
      theirs.push(answer)
    }
    const pair = median(theirs.map((answer) => answer.pair)) * 1e3
    const f32 = median(ours.map((turn) => turn.f32))
    steps.push({
      layer: name,
      'f64, ms': milliseconds(median(ours.map((turn) => turn.f64))),
      'f32, ms': milliseconds(f32),
      'PyTorch f32, ms': milliseconds(pair),
      'PyTorch / ours, f32': (pair / f32).toFixed(2),
    })
    if (svds) {
      const [{ svds: scipy, power }] = theirs
      const seconds = median(ours.map((turn) => turn.seconds))
      norms.push({
        layer: name,
        'bracket, s': seconds.toFixed(3),
        bracket: `${ours[0].whole.lower.toFixed(4)} .. ${ours[0].whole.upper.toFixed(4)}`,
        'svds, s': scipy?.seconds.toFixed(3) ?? 'not installed',
        svds: scipy?.norm.toFixed(4),
        'svds / ours': scipy === undefined ? undefined : (scipy.seconds / seconds).toFixed(2),
        'power iteration, s': power.seconds.toFixed(3),
        'power iteration': power.norm.toFixed(4),
      })
    }
    console.error(`${name} done`)
  }
}
peer.end()
kernels.end()
console.log('A step: one product with the convolution and one with its adjoint, 2 threads, medians')
console.table(steps)
console.log(
  'The norm: a bracket to 1 % with failure probability 1e-6; svds (f64) to its default tolerance, an estimate from',
)
console.log('below; power iteration in f32 until it changes by less than 1e-4, an estimate from below')
console.table(norms)
