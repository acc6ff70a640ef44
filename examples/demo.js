// npm run demo: how far can the scores of a digit classifier move when the pixels move? Three digits of MNIST, a LeNet
// that this repository trained, and bounds that hold, one of them layer by layer.

import { fileURLToPath } from 'node:url'
import { styleText } from 'node:util'

import { loadModel, loadTensor } from 'lipbound'

const DIGITS = [1, 3, 8]
const EPSILONS = [0.001, 0.01, 0.1]
const STORY = { digit: 8, epsilon: 0.1 }
/** Of the random start vectors. Any other would do; with this one the demo prints the same each time. */
const SEED = 1

const { stdout, stderr } = process
const colour = stdout.isTTY && process.env.NO_COLOR === undefined
const style = (format, text) => (colour ? styleText(format, text) : text)

const file = (name) => fileURLToPath(new URL(`models/${name}`, import.meta.url))
const extents = (shape) => shape.join('x')

/** Four digits, rounded up (for upper bounds) or down (for lower ones), so that what is printed holds too. */
function show(value, direction) {
  if (value === 0) return '0'
  const scale = 10 ** (Math.ceil(Math.log10(value)) - 4)
  const rounded = direction === 'up' ? Math.ceil(value / scale) : Math.floor(value / scale)
  return String(Number((rounded * scale).toPrecision(4)))
}

/** Prints rows under a heading: words to the left, numbers to the right, the column that matters most in green. */
function table(columns, rows) {
  const widths = columns.map(({ title }, column) => Math.max(title.length, ...rows.map((row) => row[column].length)))
  const line = (row, paint) => {
    const cells = row.map((cell, column) => {
      const padded = columns[column].words ? cell.padEnd(widths[column]) : cell.padStart(widths[column])
      return paint(padded, columns[column])
    })
    return `  ${cells.join('   ')}`.trimEnd()
  }
  const titles = columns.map(({ title }) => title)
  console.log(line(titles, (cell) => style('bold', cell)))
  for (const row of rows) console.log(line(row, (cell, { answer }) => (answer ? style('green', cell) : cell)))
}

/** The middle of a digit, two rows of pixels to a line, and what the network takes it for. */
function picture({ shape: [, height, width], data }, answer) {
  const lines = []
  for (let row = 4; row < height - 4; row += 2) {
    const ink = (column) => (data[row * width + column] + data[(row + 1) * width + column]) / 2
    const columns = Array.from({ length: width - 8 }, (_, index) => index + 4)
    lines.push(columns.map((column) => ' ░▒▓█'[Math.min(4, Math.round(4.5 * ink(column)))]).join(''))
  }
  const caption = `read as ${answer}`
  return [...lines, '', caption.padStart((width - 8 + caption.length) / 2).padEnd(width - 8)]
}

function showBesides(pictures) {
  for (let line = 0; line < pictures[0].length; line++) {
    console.log(`  ${pictures.map((picture) => picture[line].padEnd(20)).join('          ')}`.trimEnd())
  }
}

/** A line on stderr while somebody waits. */
const progress = (what) =>
  stderr.isTTY ? ({ done }) => stderr.write(`\r\u001B[K  ${what}: ${Math.floor(100 * done)} %`) : undefined
const clearProgress = () => stderr.isTTY && stderr.write('\r\u001B[K')

const network = await loadModel(file('lenet.json'))
const { inputShape, outputShape, parameters, layers, classes } = network.summary

console.log(style('bold', 'How far can a small change of a picture move the scores of a network?'))
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
showBesides(digits.map(({ image, answer }) => picture(image, answer)))

const global = await network.globalBound({ seed: SEED, onProgress: progress('all pictures') })
const rows = []
let story
for (const { digit, image } of digits) {
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
network.dispose()
clearProgress()

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

console.log(style('bold', `\nThe ${STORY.digit} at epsilon ${STORY.epsilon}, layer by layer`))
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
