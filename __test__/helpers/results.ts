/** Results made by hand, the same on every machine, for tests of how results are shown. */
import type { BoundResult, LayerReport, NetworkSummary, RadiusResult, SweepResult } from '../../dist/index.js'

const likely = { guarantee: 'probabilistic', failureProbability: 1e-9 } as const

interface Step {
  name: string
  kind?: LayerReport['kind']
  norm: number
  gain: number
  units?: [still: number, stable: number, unstable: number]
}

const steps: Step[] = [
  { name: 'conv1', norm: 14.1241, gain: 14.1241, units: [1692, 2150, 862] },
  { name: 'pool1', kind: 'max-pool', norm: 1, gain: 12.7127, units: [290, 216, 670] },
  { name: 'conv2', norm: 3.4851, gain: 24.8731, units: [1139, 262, 199] },
  { name: 'fc1', norm: 2.78736, gain: 35.0626, units: [77, 28, 15] },
  { name: 'fc2', kind: 'affine', norm: 1.3022, gain: 30.0312, units: [0, 10, 0] },
]

export function layerReports(epsilon = 0.01, list: readonly Step[] = steps): LayerReport[] {
  let before = epsilon
  return list.map(({ name, kind = 'affine-unit', norm, gain, units: [still, stable, unstable] = [0, 0, 0] }) => {
    const epsilonIn = before
    before = gain * epsilon
    return {
      name,
      kind,
      members: [name],
      inputShape: [1, 28, 28],
      outputShape: [6, 24, 24],
      norm: {
        lower: norm * 0.998,
        upper: norm,
        ...likely,
        steps: 40,
        termination: 'converged',
        method: 'lanczos',
        seconds: 0,
      },
      epsilonIn,
      epsilonOut: before,
      gain,
      gainMethod: 'certificate',
      failureProbability: 1e-10,
      still,
      stable,
      unstable,
      seconds: 0,
    }
  })
}

/** A bound; without changes one by a certificate. */
export function boundResult(changes: Partial<BoundResult> = {}): BoundResult {
  const layers = changes.layers ?? layerReports(changes.epsilon)
  const product = layers.reduce((so, { norm }) => so * norm.upper, 1)
  return {
    upper: 30.0312,
    lower: 18.0512,
    product: { lower: product * 0.99, upper: product },
    epsilon: 0.01,
    kind: 'centred',
    method: 'certificate',
    ...likely,
    seed: 42,
    seconds: 0,
    notes: [],
    ...changes,
    layers,
  }
}

/** As `10 ** x` gives them, but the last digits of that are the machine's. */
const epsilons = [0.001, 0.00237, 0.00562, 0.0133, 0.0316, 0.075, 0.178, 0.422, 1]

/** A sweep of 9 radii from 0.001 to 1; `change` may make any of them another. */
export function sweepResult(
  change: (point: SweepResult['points'][number], index: number) => SweepResult['points'][number] = (point) => point,
): SweepResult {
  const points = epsilons.map((epsilon, index) => {
    const layerwise = 240 * (1 + 12 * epsilon ** 1.2)
    const certificate = 25 * (1 + 28 * epsilon ** 1.4)
    const product = { lower: layerwise * 0.9, upper: layerwise }
    return change(
      {
        epsilon,
        lower: 18 + epsilon,
        layerwise: boundResult({ epsilon, upper: layerwise, product, method: 'layerwise' }),
        certificate: boundResult({ epsilon, upper: certificate, product }),
      },
      index,
    )
  })
  const global = boundResult({ epsilon: Infinity, kind: 'global', upper: 1114.23, lower: 14.5 })
  return { points, global, kind: 'centred', seed: 42, seconds: 0, notes: [] }
}

/** A certified radius. */
export function radiusResult(changes: Partial<RadiusResult> = {}): RadiusResult {
  const radius = changes.radius ?? 0.0448
  const zero = radius === 0
  return {
    radius,
    attackRadius: zero ? 0 : radius * 4,
    label: 8,
    predicted: zero ? 3 : 8,
    ...(zero ? { reason: 'misclassified' } : { bindingClass: 3 }),
    termination: zero ? 'zero' : 'converged',
    margins: zero
      ? []
      : [3, 5, 0, 9].map((other, index) => ({
          class: other,
          margin: 10 + index,
          lipschitz: (10 + index) / (radius * (1 + index * 0.45)),
          method: 'certificate',
        })),
    evaluations: 7,
    method: 'certificate',
    ...likely,
    seed: 42,
    seconds: 0,
    notes: [],
    ...changes,
  }
}

/** A batch of radii over two decades, with some that are 0 and some that no attack found an end of. */
export function radiusResults(count = 40): RadiusResult[] {
  return Array.from({ length: count }, (_, index) => {
    if (index % 13 === 5) return radiusResult({ radius: 0, ...(index % 2 === 0 ? { reason: 'tied' } : {}) })
    const radius = 0.02 * 10 ** (Math.sin(index * 1.7) * 0.6 + Math.cos(index * 0.9) * 0.4)
    return radiusResult({ radius, attackRadius: index % 9 === 2 ? Infinity : radius * (2 + Math.sin(index) ** 2 * 4) })
  })
}

export const summary: NetworkSummary = {
  name: 'lenet',
  inputShape: [1, 28, 28],
  outputShape: [10],
  parameters: 61706,
  units: 8084,
  classes: ['zero', 'one', 'two', 'three', 'four', 'five', 'six', 'seven', 'eight', 'nine'],
  notes: ['the final softmax was cut'],
  cost: { forward: 416520, layerwise: 8e7, certificate: 4e9 },
  memory: { network: 1e5, layerwise: 1e5, certificate: 1e6, radius: 1e6 },
  layers: ['conv1', 'relu1', 'pool1', 'fc1'].map((name, index) => ({
    index,
    name,
    type: ['conv2d', 'relu', 'max_pool2d', 'linear'][index] ?? '',
    inputs: [index === 0 ? 'input' : (['conv1', 'relu1', 'pool1'][index - 1] ?? '')],
    inputShape: [1, 28, 28],
    outputShape: [6, 24, 24],
    parameters: 156 * index,
    units: 400 * index,
  })),
}
