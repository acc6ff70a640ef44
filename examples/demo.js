// How far can the scores of a digit classifier move when the pixels move? Three digits of MNIST, a LeNet that this
// repository trained, and bounds that hold. Run it with `npm run demo`.

import { fileURLToPath } from 'node:url'
import { styleText } from 'node:util'

import { loadModel, loadTensor } from '../dist/index.js'

const colour = process.stdout.isTTY && process.env['NO_COLOR'] === undefined
const style = (format, text) => (colour ? styleText(format, text) : text)
const file = (name) => fileURLToPath(new URL(`models/${name}`, import.meta.url))

/** Four digits, rounded up (for upper bounds) or down (for lower ones), so that what is printed holds too. */
function show(value, direction) {
  if (value === 0) return '0'
  const scale = 10 ** (Math.max(Math.ceil(Math.log10(value)), 1) - 4)
  const rounded = direction === 'up' ? Math.ceil(value / scale) : Math.floor(value / scale)
  return String(Number((rounded * scale).toPrecision(4)))
}

/** Prints rows under a heading, columns right-aligned. */
function table(heading, rows) {
  const widths = heading.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column].length)))
  const line = (row) => `  ${row.map((cell, column) => cell.padStart(widths[column])).join('   ')}`
  console.log(style('bold', line(heading)))
  for (const row of rows) console.log(line(row))
}

const network = await loadModel(file('lenet.json'))
const { parameters, layers } = network.summary
console.log(`${style('bold', 'LeNet on MNIST')}: ${layers.length} layers, ${parameters} parameters`)
console.log(`For every change of the pixels of Euclidean length up to epsilon, the ten scores move at most "local" times as
far. "attained" is a ratio that a real change reaches, so the truth lies between the two. "global" holds for all images;
"product" is what multiplying the layers' constants would give, as the papers do.\n`)

const global = await network.globalBound()
const epsilons = [0.001, 0.01, 0.1]
let story
for (const digit of [3, 7, 8]) {
  const image = await loadTensor(file(`digits/${digit}.npy`))
  const { data: scores } = await network.evaluate(image)
  const answer = scores.indexOf(Math.max(...scores))
  const bounds = await network.bound(image, { epsilon: epsilons })
  const products = await network.bound(image, { epsilon: epsilons, method: 'layerwise' })
  console.log(`${style('cyan', `digit ${digit}`)}, which the network takes for a ${answer}`)
  table(
    ['epsilon', 'attained', 'local', 'product', 'global', 'global / local'],
    bounds.map((bound, index) => [
      String(bound.epsilon),
      show(bound.lower, 'down'),
      show(bound.upper, 'up'),
      show(products[index].upper, 'up'),
      show(global.upper, 'up'),
      (global.upper / bound.upper).toFixed(1),
    ]),
  )
  console.log()
  if (digit === 8) story = bounds[1]
}

console.log(style('bold', `Layer by layer, for the 8 at epsilon ${story.epsilon}`))
console.log('  "norm" is the stage\'s own constant as a bracket, "so far" the constant from the pixels to its output.')
table(
  ['stage', 'norm at least', 'at most', 'so far', 'by', 'epsilon out', 'still', 'stable', 'unstable'],
  story.layers.map((layer) => [
    layer.members.join('+'),
    show(layer.norm.lower, 'down'),
    show(layer.norm.upper, 'up'),
    show(layer.gain, 'up'),
    layer.gainMethod,
    layer.epsilonOut.toPrecision(3),
    String(layer.still),
    String(layer.stable),
    String(layer.unstable),
  ]),
)
const guarantee =
  story.guarantee === 'deterministic'
    ? 'The bound is deterministic.'
    : `The bound is wrong with probability at most ${story.failureProbability.toExponential(0)}, over the random seed ${story.seed}.`
console.log(`\n${guarantee} All numbers are rounded so that they hold as printed.`)
