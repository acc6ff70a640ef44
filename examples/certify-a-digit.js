// How much may a handwritten digit be changed before the network reads another one? A radius that is proven, beside the
// nearest picture of another digit that an attack found, drawn as text.
//
//     node examples/certify-a-digit.js        # the 8
//     node examples/certify-a-digit.js 3      # another one, 0 to 9

import { readFile } from 'node:fs/promises'

import { loadModel, loadTensor, tensor } from 'lipbound'

import { bold, endProgress, progress, show, showDigits, table } from './terminal.js'

const digit = Number(process.argv[2] ?? 8)
const models = new URL('models/', import.meta.url)

const network = await loadModel(new URL('lenet.json', models))
const image = await loadTensor(new URL(`digits/${digit}.npy`, models))
const { classes } = network.summary

const result = await network.certifiedRadius(image, {
  label: digit,
  inputBox: { lower: 0, upper: 1 }, // pixels are between black and white; what lies outside is no picture
  tolerance: 0.1, // the search ends where a radius larger by a tenth could not be certified
  witness: true, // return the picture that the attack found
  seed: 1,
  onProgress: progress(`certifying the ${digit}`),
})
endProgress()

const { radius, attackRadius, label, bindingClass, margins, adversarial, adversarialClass } = result
const sure =
  result.guarantee === 'deterministic'
    ? 'This is proven.'
    : `This is wrong with probability at most ${show(result.failureProbability, 'up')}, over the random seed ${result.seed}.`

console.log(bold(`Every picture at most ${show(radius, 'down')} away from this ${digit} is read as ${classes[label]}.`))
console.log(`${sure}\n`)

if (result.reason !== undefined) console.log(`The radius is 0 because the picture is ${result.reason}.\n`)

const original = { image, caption: `read as ${classes[result.predicted]}` }
if (adversarial === undefined) {
  showDigits([original])
  console.log('\nNo picture of another class was found.')
} else {
  const changes = image.data.map((pixel, index) => Math.abs(adversarial.data[index] - pixel))
  const most = Math.max(...changes)
  showDigits([
    original,
    { image: adversarial, caption: `read as ${classes[adversarialClass]}` },
    {
      image: tensor(
        image.shape,
        changes.map((change) => change / most),
      ),
      caption: 'what was changed',
    },
  ])
  console.log(`
  certified radius   ${show(radius, 'down').padEnd(7)}   no picture this near is read as anything else
  attack radius      ${show(attackRadius, 'up').padEnd(7)}   the picture in the middle, read as ${classes[adversarialClass]}, is this far away

No pixel of it was changed by more than ${show(most, 'up')}. Between the two radii nobody knows: the network may be
safer than the bound can show, or weaker than the attack could find.`)
}

if (bindingClass !== undefined) {
  console.log(`
The radius is limited by the ${classes[bindingClass]}. A margin is how far the score of the ${classes[label]} lies above that of another digit;
"moves by" bounds how much of it is lost for each unit of distance, for distances up to the certified radius. The
quotient says how far the margin lasts, and the smallest one binds:
`)
  table(
    [
      { title: 'other digit', words: true },
      { title: 'margin' },
      { title: 'moves by' },
      { title: 'quotient', answer: true },
    ],
    margins.map((other) => [
      classes[other.class],
      show(other.margin, 'down'),
      show(other.lipschitz, 'up'),
      show(other.margin / other.lipschitz, 'down'),
    ]),
  )
}

// The units are those of the network's input. This file normalises inside the network, so they are pixels from 0 to 1.
const { layers } = JSON.parse(await readFile(new URL('lenet.json', models), 'utf8'))
const {
  std: [std],
} = layers.find(({ type }) => type === 'normalize')
console.log(`
Distances are Euclidean, over all ${image.data.length} pixels together, in the units of the network's input: here pixels from
0 to 1, because the file has the normalisation as its first layer. The same certified radius elsewhere:

  pixels from 0 to 255                  ${show(255 * radius, 'down')}   (x 255)
  pixels normalised before the network  ${show(radius / std, 'down')}   (/ std ${std})

The other way round, a radius of a network that gets normalised pixels is one in pixels once multiplied by std, the
smallest one if each channel has its own.`)

network.dispose()
