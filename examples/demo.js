// npm run demo: how far can the scores of a digit classifier move when the pixels move? Three digits of MNIST, a LeNet
// that this repository trained, and bounds that hold: around each digit, layer by layer, and over all sizes of change.
// In the end, how far each digit may move before its answer can change.
//
//     node examples/demo.js [FILE]      # the picture of the sweep goes to FILE; default: demo-sweep.svg at the root

import { writeFile } from 'node:fs/promises'
import { relative } from 'node:path'
import { fileURLToPath } from 'node:url'

import { loadModel, loadTensor } from 'lipbound'
import { sweepPicture } from 'lipbound/report'

import { bold, endProgress, progress, show, showDigits, showSweep, table } from './terminal.js'

const DIGITS = [1, 3, 8]
const EPSILONS = [0.001, 0.01, 0.1]
const STORY = { digit: 8, epsilon: 0.1 }
const SWEEP = { from: 0.001, to: 1, points: 13 }
/** Of the random start vectors. Any other would do; with this one the demo prints the same each time. */
const SEED = 1

const file = (name) => fileURLToPath(new URL(`models/${name}`, import.meta.url))
const svg = process.argv[2] ?? fileURLToPath(new URL('../demo-sweep.svg', import.meta.url))
const extents = (shape) => shape.join('x')

const network = await loadModel(file('lenet.json'))
const { inputShape, outputShape, parameters, layers, classes } = network.summary

console.log(bold('How far can a small change of a picture move the scores of a network?'))
console.log(
  `A LeNet of ${layers.length} layers and ${parameters} parameters, ${extents(inputShape)} pixels in, ` +
    `${extents(outputShape)} scores out, and three digits it has never seen:\n`,
)

const digits = await Promise.all(
  DIGITS.map(async (digit) => {
    const image = await loadTensor(file(`digits/${digit}.npy`))
    const { data: scores } = await network.evaluate(image)
    return { digit, image, answer: classes[scores.indexOf(Math.max(...scores))] }
  }),
)
showDigits(digits.map(({ image, answer }) => ({ image, caption: `read as ${answer}` })))

const global = await network.globalBound({ seed: SEED, onProgress: progress('all pictures') })
const rows = []
let story
for (const { digit, image } of digits) {
  endProgress()
  const options = { epsilon: EPSILONS, seed: SEED, onProgress: progress(`around the ${digit}`) }
  const bounds = await network.bound(image, options)
  const products = await network.bound(image, { ...options, method: 'layerwise' })
  bounds.forEach((bound, index) => {
    if (digit === STORY.digit && bound.epsilon === STORY.epsilon) story = bound
    rows.push([
      String(digit),
      String(bound.epsilon),
      show(bound.lower, 'down'),
      show(bound.upper, 'up'),
      show(products[index].upper, 'up'),
      show(global.upper, 'up'),
      (global.upper / bound.upper).toFixed(1),
    ])
  })
}
endProgress()
// These take longest, and do not wait for each other.
const [sweep, ...radii] = await Promise.all([
  network.sweep(digits.find(({ digit }) => digit === STORY.digit).image, {
    ...SWEEP,
    seed: SEED,
    onProgress: progress('sweep'),
  }),
  ...digits.map(({ digit, image }) =>
    network.certifiedRadius(image, {
      inputBox: { lower: 0, upper: 1 }, // only pictures count
      tolerance: 0.2,
      seed: SEED,
      onProgress: progress(`radius of the ${digit}`),
    }),
  ),
])
network.dispose()
endProgress()

console.log(`
A change of the pixels of length up to epsilon (l2) moves the scores at most "local" times as far, and one exists that
moves them "attained" times as far. "global" holds for all pictures; "product" multiplies the layers' own constants.
`)
table(
  [
    { title: 'digit' },
    { title: 'epsilon' },
    { title: 'attained' },
    { title: 'local', answer: true },
    { title: 'product' },
    { title: 'global' },
    { title: 'global / local' },
  ],
  rows,
)

console.log(bold(`\nThe ${STORY.digit} at epsilon ${STORY.epsilon}, layer by layer`))
console.log(`Each step stretches what reaches it by at most its "norm", counting only what can move; "so far" bounds the stretch
from the pixels up to there. Still units cannot move, stable ones keep to one linear piece, unstable ones may bend.
`)
table(
  [
    { title: 'layers', words: true },
    { title: 'shapes', words: true },
    { title: 'norm' },
    { title: 'so far', answer: true },
    { title: 'by', words: true },
    { title: 'moves by' },
    { title: 'still' },
    { title: 'stable' },
    { title: 'unstable' },
  ],
  story.layers.map((layer) => [
    layer.members.join('+'),
    `${extents(layer.inputShape)} -> ${extents(layer.outputShape)}`,
    show(layer.norm.upper, 'up'),
    show(layer.gain, 'up'),
    layer.gainMethod,
    show(layer.epsilonOut, 'up'),
    String(layer.still),
    String(layer.stable),
    String(layer.unstable),
  ]),
)
console.log(
  story.guarantee === 'deterministic'
    ? '\nThe bound is proven.'
    : `\nThe bound is wrong with probability at most ${show(story.failureProbability, 'up')}, over the random seed ${story.seed}.`,
)

console.log(bold(`\nThe ${STORY.digit} from ball to ball`))
console.log(`The larger the change of the pixels may be, the more units may bend, and the less is certain. The bars show the columns
on a logarithmic scale.
`)
showSweep(sweep)

console.log(bold('\nHow far may each digit move before its answer can change?'))
console.log(`No picture as near as "certified" is read as anything else; one as far away as "attack" was found that is.
`)
table(
  [
    { title: 'digit' },
    { title: 'certified', answer: true },
    { title: 'attack' },
    { title: 'limited by', words: true },
    { title: 'wrong with probability' },
  ],
  digits.map(({ digit }, index) => {
    const { radius, attackRadius, bindingClass, failureProbability } = radii[index]
    return [
      String(digit),
      show(radius, 'down'),
      show(attackRadius, 'up'),
      `the ${classes[bindingClass]}`,
      failureProbability === 0 ? 'never' : show(failureProbability, 'up'),
    ]
  }),
)

await writeFile(svg, await sweepPicture(sweep, { title: `The ${STORY.digit}: bounds from ball to ball` }))
console.log(`\nThe picture of the sweep is in ${relative('', svg)}; any browser shows it.`)
