/** Certified radii of the LeNets of examples/models: attacks that must not succeed inside them, and the papers' condition. */
import test from 'ava'

import { loadModel, loadTensor, tensor } from '../../dist/index.js'
import type { Network, RadiusResult, Tensor } from '../../dist/index.js'
import { Lenet } from './lenet.js'
import { repositoryFile } from './process.js'
import { createRandom, direction, euclidean } from './random.js'

export const model = (name: string): Promise<Network> => loadModel(repositoryFile(`examples/models/${name}.json`))
export const digit = (k: number): Promise<Tensor> => loadTensor(repositoryFile(`examples/models/digits/${k}.npy`))

/** The input of another class, which was asked for. */
export function tensorOf({ adversarial }: RadiusResult): Tensor {
  if (adversarial === undefined) throw new Error('nothing was found')
  return adversarial
}

export const near = (found: number, expected: number, tolerance: number): boolean =>
  Math.abs(found - expected) <= tolerance * Math.abs(expected)

const PICTURES = 25
/** A thousand take some minutes: `LIPBOUND_RESTARTS=1000 npx ava '__test__/radius-*.test.ts'`. */
const RESTARTS = Number(process.env['LIPBOUND_RESTARTS'] ?? 200)
/** Steps of each descent: inside the ball the network is nearly linear, and its gradient leads to the rim. */
const STEPS = 2

interface Picture {
  label: number
  pixels: Float64Array
  moved: boolean
}

/** The ten digits, and as many of them moved by a pixel as make up the number. */
async function pictures(): Promise<Picture[]> {
  const digits = await Promise.all(
    Array.from({ length: 10 }, async (_, label) => ({ label, data: (await digit(label)).data })),
  )
  return [0, 1, -1]
    .flatMap((move) =>
      digits.map(({ label, data }) => ({
        label,
        moved: move !== 0,
        pixels: Float64Array.from(data, (_, i) => data[i - move] ?? 0),
      })),
    )
    .slice(0, PICTURES)
}

/** A test for a file of its own: two files are run at once. */
export function testAttacks(name: 'lenet' | 'lenet-regularised'): void {
  test(`${name}: no attack inside the radius changes the class of ${PICTURES} pictures`, async (t) => {
    using network = await model(name)
    const reference = new Lenet(name)
    const random = createRandom(11)
    const attacked: (Picture & { result: RadiusResult })[] = []
    const radii = new Map<number, number>()
    for (const picture of await pictures()) {
      const { label, pixels, moved } = picture
      const x = tensor([1, 28, 28], pixels)
      // A moved digit is certified up to a little less than the digit itself, which mostly takes one evaluation.
      const maximum = moved ? 0.8 * (radii.get(label) ?? 1) : undefined
      const result = await network.certifiedRadius(x, { label, maximum, tolerance: 0.1, witness: true })
      attacked.push({ ...picture, result })
      if (moved || result.radius === 0) continue
      radii.set(label, result.radius)
      const cheap = await network.certifiedRadius(x, { label, method: 'layerwise', attackSteps: 20 })
      const whole = await radiusOfThePapers(network, x, 'layerwise', [1e-4, 1])
      t.log(
        `${label}: ${whole.toFixed(4)}, by margins ${cheap.radius.toFixed(4)}, certified ${result.radius.toFixed(4)}`,
      )
      t.true(cheap.radius >= whole * 0.98 && cheap.radius <= cheap.attackRadius)
      if (name === 'lenet') t.true(result.radius >= 4 * whole)
    }
    let least = Infinity
    for (const { label, pixels, result } of attacked) {
      t.true(result.radius <= result.attackRadius)
      if (result.radius === 0) {
        t.is(result.reason, 'misclassified')
        continue
      }
      // What the attack of the library found is of another class to another evaluator.
      const there = Float64Array.from(tensorOf(result).data)
      const outputs = reference.evaluate(there)
      t.is(result.adversarialClass, outputs.indexOf(Math.max(...outputs)))
      t.true(near(euclidean(difference(there, pixels)), result.attackRadius, 1e-9))

      const margin = (outputs: Float64Array): number =>
        (outputs[label] ?? NaN) - Math.max(...outputs.filter((_, i) => i !== label))
      const rival = (outputs: Float64Array): number => {
        const best = Math.max(...outputs.filter((_, i) => i !== label))
        return outputs.findIndex((value, i) => i !== label && value === best)
      }
      const reach = 0.999 * result.radius
      const around = (along: Float64Array): Float64Array => {
        const factor = reach / euclidean(along)
        return Number.isFinite(factor) ? pixels.map((v, i) => v + factor * (along[i] ?? NaN)) : pixels
      }
      for (let restart = 0; restart < RESTARTS; restart++) {
        let at = around(direction(random, pixels.length))
        for (let step = 0; step < STEPS; step++) {
          const { outputs, gradient } = reference.gradient(at, label, rival)
          least = Math.min(least, margin(outputs))
          at = around(gradient)
        }
        least = Math.min(least, margin(reference.evaluate(at)))
      }
      if (!(least > 0)) t.fail(`another class at 0.999 of the radius ${result.radius} of a ${label}`)
    }
    t.log(`least margin of ${PICTURES * RESTARTS * (STEPS + 1)} points: ${least}`)
  })
}

const difference = (a: Float64Array, b: Float64Array): Float64Array => a.map((v, i) => v - (b[i] ?? NaN))

/** The largest epsilon that the papers' condition certifies: `epsilon L(epsilon) < margin / sqrt 2`, by bisection. */
export async function radiusOfThePapers(
  network: Network,
  x: Tensor,
  method: 'layerwise' | 'certificate',
  bracket: [number, number],
): Promise<number> {
  const { data } = await network.evaluate(x)
  const [first = NaN, second = NaN] = [...data].sort((a, b) => b - a)
  const room = (first - second) / Math.SQRT2
  let [low, high] = bracket
  while (high > low * 1.01) {
    const epsilon = Math.sqrt(low * high)
    const { upper } = await network.bound(x, { epsilon, method, restarts: 0 })
    if (epsilon * upper < room) low = epsilon
    else high = epsilon
  }
  return low
}
