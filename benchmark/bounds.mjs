// Layerwise local bounds and certificates of whole networks: seconds, bracket and peak memory. Each network in a process
// of its own, so that memory is its own too.

import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'

import { build, plans } from './networks.mjs'

const EPSILON = 0.001
const FAILURE_PROBABILITY = 1e-6

/** Tolerance of each norm, so that all brackets of a network multiply to at most 1.10: more norms, less for each. */
const TOLERANCES = { 'lenet (MNIST)': 0.04, 'cifar-10 (papers)': 0.018, alexnet: 0.012, 'vgg-16': 0.0064 }

async function measure(name, method) {
  const { network, input } = build(name)
  const runs = []
  // The first run pays for packing weights and for the norms that all inputs share; the second is what the next costs.
  // A certificate of millions of multiply-adds takes minutes, beside which neither matters.
  const repeats = method === 'certificate' && network.summary.parameters > 1e7 ? 1 : 2
  for (let run = 0; run < repeats; run += 1) {
    const begin = performance.now()
    const bound = await network.bound(input, {
      epsilon: EPSILON,
      failureProbability: FAILURE_PROBABILITY,
      tolerance: method === 'layerwise' ? TOLERANCES[name] : undefined,
      method,
      seed: run,
    })
    runs.push({ seconds: (performance.now() - begin) / 1000, bound })
  }
  const { bound } = runs.at(-1)
  return {
    seconds: runs.map((run) => run.seconds),
    upper: bound.upper,
    lower: bound.lower,
    bracket: bound.product.upper / bound.product.lower,
    steps: bound.layers.reduce((sum, layer) => sum + layer.norm.steps, 0),
    peak: process.resourceUsage().maxRSS * 1024,
  }
}

const [, , only, method = 'layerwise'] = process.argv
if (only !== undefined) {
  console.log(JSON.stringify(await measure(only, method)))
} else {
  const rows = []
  const cases = [
    ...Object.keys(plans).map((name) => [name, 'layerwise']),
    ['lenet (MNIST)', 'certificate'],
    ['cifar-10 (papers)', 'certificate'],
    ['alexnet', 'certificate'],
  ]
  for (const [name, method] of cases) {
    const { stdout, stderr, status } = spawnSync(process.execPath, [fileURLToPath(import.meta.url), name, method], {
      encoding: 'utf8',
    })
    if (status !== 0) throw new Error(`${name}: ${stderr}`)
    const result = JSON.parse(stdout)
    rows.push({
      network: name,
      method,
      'first, s': result.seconds[0].toFixed(3),
      'next, s': result.seconds[1]?.toFixed(3) ?? '',
      'upper / lower of the product': result.bracket.toFixed(4),
      upper: result.upper.toPrecision(5),
      attained: result.lower.toPrecision(5),
      steps: result.steps,
      'peak, MiB': Math.round(result.peak / 2 ** 20),
    })
    console.error(`${name}, ${method}: ${result.seconds.map((s) => s.toFixed(3)).join(' s, ')} s`)
  }
  console.log(`Local bounds at epsilon ${EPSILON}, failure probability ${FAILURE_PROBABILITY}, seeded He weights`)
  console.table(rows)
}
