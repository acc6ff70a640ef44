// One method of lipbound in a process of its own: a task in JSON as the argument, a line of JSON for each answer, as
// benchmark/compare/methods does it for the others.

import { readFileSync, writeFileSync } from 'node:fs'

import { conv2d, loadModel, loadTensor, norm } from '../../dist/index.js'

/** Runs that take longer are not repeated. */
const LONG = 2

/** Bytes that the process has had resident at most; what getrusage says begins with those of the parent. */
const peak = () => Number(/^VmHWM:\s*(\d+) kB$/m.exec(readFileSync('/proc/self/status', 'latin1'))[1]) * 1024

/** Value and seconds of some runs; the first is a warm-up, unless it takes long. */
async function measure(work, repeats) {
  const timed = async () => {
    const begin = performance.now()
    const value = await work()
    return [value, (performance.now() - begin) / 1000]
  }
  const [once, first] = await timed()
  if (first > LONG) return { value: once, seconds: [first] }
  let value = once
  const seconds = []
  for (let run = 0; run < repeats; run += 1) {
    const [again, took] = await timed()
    value = again
    seconds.push(took)
  }
  return { value, seconds }
}

const emit = (line) => console.log(JSON.stringify({ ...line, peak: peak() }))

const told = ({ upper, lower, guarantee, failureProbability }) => ({ upper, lower, guarantee, failureProbability })

const questions = {
  layerwise: (network, x, epsilon) => network.bound(x, { epsilon, method: 'layerwise', seed: 1 }),
  certificate: (network, x, epsilon) => network.bound(x, { epsilon, method: 'certificate', seed: 1 }),
  deterministic: (network, x, epsilon) =>
    network.bound(x, { epsilon, method: 'certificate', guarantee: 'deterministic', seed: 1 }),
  uniform: (network, x, epsilon) => network.bound(x, { epsilon, method: 'certificate', kind: 'uniform', seed: 1 }),
  'global-layerwise': (network) => network.globalBound({ method: 'layerwise', seed: 1 }),
  'global-certificate': (network) => network.globalBound({ method: 'certificate', seed: 1 }),
  'global-deterministic': (network) =>
    network.globalBound({ method: 'certificate', guarantee: 'deterministic', seed: 1 }),
}

const task = JSON.parse(process.argv[2])
const variant = task.method.split(':')[1]
if (task.weight !== undefined) {
  const { stride, padding, input } = task
  const layer = conv2d({ weight: await loadTensor(task.weight), stride, padding })
  const start = peak()
  const guarantee = variant === 'deterministic' ? 'deterministic' : 'auto'
  emit({ start, ...(await measure(async () => told(await norm(layer, { input, guarantee, seed: 1 })), task.repeats)) })
} else {
  const network = await loadModel(task.model)
  const x = await loadTensor(task.input)
  if (variant === 'slopes') {
    // The intervals of slopes that a certificate rests on, for LipSDP: one for each hidden layer.
    const found = []
    for (const epsilon of task.epsilons) {
      const { certificate } = await network.bound(x, {
        epsilon,
        kind: task.kind,
        method: 'certificate',
        certificate: true,
        seed: 1,
      })
      found.push({ epsilon, slopes: certificate.stages.slice(0, -1).map(({ slopes }) => [slopes.low, slopes.high]) })
    }
    writeFileSync(task.slopes, JSON.stringify(found))
  } else {
    const start = peak()
    for (const epsilon of task.epsilons) {
      const ask = async () => told(await questions[variant](network, x, epsilon))
      emit({ epsilon, start, ...(await measure(ask, task.repeats)) })
    }
  }
}
