// npm run generate:picture: the picture at the head of README.md, docs/pictures/lipbound.png. All numbers in it are computed.
//
// A PNG with a ground of its own, so that it looks the same on GitHub and on npm, on light pages and on dark ones.

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'

import { loadModel, loadTensor } from 'lipbound'
import { toPng } from 'lipbound/report'

import { root } from '../run.mjs'

const EPSILON = 0.01
const SEED = 1

const models = join(root, 'examples', 'models')
const net = await loadModel(join(models, 'lenet.json'))
const eight = await loadTensor(join(models, 'digits', '8.npy'))

const [layerwise, certificate] = await Promise.all(
  ['layerwise', 'certificate'].map((method) => net.bound(eight, { epsilon: EPSILON, method, seed: SEED })),
)
const global = await net.globalBound({ method: 'layerwise', seed: SEED })
const found = await net.certifiedRadius(eight, {
  label: 8,
  inputBox: { lower: 0, upper: 1 },
  witness: true,
  seed: SEED,
})

const ink = { strong: '#1a1b25', text: '#3d3f4c', quiet: '#5d6070', line: '#c9cbd3', ground: '#ffffff' }
const colours = { certified: '#0072b2', attained: '#009e73', product: '#d55e00', grey: '#6b6e7b' }

const text = (x, y, words, { size = 13, fill = ink.text, weight = 400, anchor = 'start' } = {}) =>
  `<text x="${x}" y="${y}" font-family="Inter" font-size="${size}" font-weight="${weight}" fill="${fill}" text-anchor="${anchor}">${words}</text>`
const bold = { weight: 600, fill: ink.strong }

/** A number as it is printed: upper ends are rounded up, lower ends down. */
const rounded = (value, digits, direction) => {
  const unit = 10 ** (Math.floor(Math.log10(value)) + 1 - digits)
  return Number((Math[direction](value / unit) * unit).toPrecision(digits)).toString()
}
const up = (value) => rounded(value, 3, 'ceil')
const down = (value) => rounded(value, 3, 'floor')

/** A picture of 28 by 28 pixels. */
function digit({ data }, x, y, pixel) {
  const squares = Array.from(data, (value, index) => {
    const level = Math.round(255 * (1 - value))
    const [row, column] = [Math.floor(index / 28), index % 28]
    // A little larger than its place: no seams.
    return `<rect x="${x + column * pixel}" y="${y + row * pixel}" width="${pixel + 0.3}" height="${pixel + 0.3}" fill="rgb(${level},${level},${level})"/>`
  })
  const size = 28 * pixel
  return `${squares.join('')}<rect x="${x}" y="${y}" width="${size}" height="${size}" fill="none" stroke="${ink.line}"/>`
}

// Left: the digit, the nearest picture of another class that was found, and between them what is certain.
const LEFT = 28
const TILE = { pixel: 4, y: 84 }
const tile = 28 * TILE.pixel
const second = LEFT + tile + 96
const { radius, attackRadius, adversarial, adversarialClass } = found
const axis = { y: 258, from: LEFT, to: second + tile }
const along = (distance) => axis.from + ((axis.to - axis.from) * distance) / attackRadius
const left = [
  text(LEFT, 38, 'How far may this 8 be changed?', { size: 17, ...bold }),
  text(LEFT, 60, 'Euclidean length of a change of all pixels together', { fill: ink.quiet }),
  digit(eight, LEFT, TILE.y, TILE.pixel),
  digit(adversarial, second, TILE.y, TILE.pixel),
  `<path d="M${LEFT + tile + 18} ${TILE.y + tile / 2}h60m-8 -6l8 6l-8 6" fill="none" stroke="${ink.quiet}" stroke-width="1.5"/>`,
  text(LEFT, TILE.y + tile + 20, 'read as 8', { fill: ink.text }),
  text(second, TILE.y + tile + 20, `read as ${net.summary.classes[adversarialClass]}`, { fill: ink.text }),
  `<rect x="${axis.from}" y="${axis.y - 7}" width="${along(radius) - axis.from}" height="14" fill="${colours.certified}"/>`,
  `<line x1="${axis.from}" y1="${axis.y}" x2="${axis.to}" y2="${axis.y}" stroke="${ink.quiet}"/>`,
  `<path d="M${axis.to} ${axis.y - 9}V${axis.y + 9}" stroke="${colours.product}" stroke-width="4"/>`,
  text(axis.from, axis.y + 28, `always an 8 up to ${down(radius)}`, { fill: colours.certified, weight: 600 }),
  text(axis.to + 2, axis.y + 28, `${up(attackRadius)}: a ${net.summary.classes[adversarialClass]}`, {
    fill: colours.product,
    weight: 600,
    anchor: 'end',
  }),
]

// Right: how many times as far as the input the outputs may move, each bar a way to bound it, on a logarithmic axis.
const RIGHT = 420
const bars = [
  ['norms multiplied, global', global.upper, up, colours.grey],
  ['layerwise, as in the papers', layerwise.upper, up, colours.product],
  ['certificate', certificate.upper, up, colours.certified],
  ['attained, a lower bound', certificate.lower, down, colours.attained],
]
const width = 230
const place = (value) => (width * Math.log10(value)) / Math.log10(global.upper)
const right = [
  text(RIGHT, 38, 'How far can the ten outputs move?', { size: 17, ...bold }),
  text(RIGHT, 60, `per change of the pixels, up to ${EPSILON} (log scale)`, { fill: ink.quiet }),
  ...bars.flatMap(([words, value, show, colour], index) => {
    const y = 84 + index * 51
    return [
      text(RIGHT, y + 11, words),
      `<rect x="${RIGHT}" y="${y + 18}" width="${place(value)}" height="14" fill="${colour}"/>`,
      text(RIGHT + place(value) + 8, y + 30, show(value), { size: 14, ...bold }),
    ]
  }),
]

const svg = `<svg xmlns="http://www.w3.org/2000/svg" width="740" height="312" viewBox="0 0 740 312">
<rect x="0.5" y="0.5" width="739" height="311" rx="10" fill="${ink.ground}" stroke="${ink.line}"/>
<line x1="386" y1="24" x2="386" y2="288" stroke="${ink.line}"/>
${[...left, ...right].join('\n')}
</svg>`

writeFileSync(join(root, 'docs', 'pictures', 'lipbound.png'), await toPng(svg))
net.dispose()
