// node examples/report.js [folder]: what is to be known of a LeNet and a few digits, as pictures and as one HTML file.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { loadModel, loadTensor } from 'lipbound'
import { layersPicture, marginsPicture, radiiPicture, report, sweepPicture } from 'lipbound/report'

const [folder = 'report'] = process.argv.slice(2)
mkdirSync(folder, { recursive: true })
const write = (name, text) => writeFileSync(join(folder, name), text)

const file = (name) => fileURLToPath(new URL(`models/${name}`, import.meta.url))
/** Of every random choice: the same pictures each time. */
const seed = 1

const net = await loadModel(file('lenet.json'))
const inputs = Array.from({ length: 10 }, (_, digit) => `digits/${digit}.npy`)
const eight = await loadTensor(file(inputs[8]))

const bound = await net.bound(eight, { epsilon: 0.03, seed })
const sweep = await net.sweep(eight, { from: 0.001, to: 1, points: 17, seed })
const radii = []
for (const input of inputs)
  radii.push({ ...(await net.certifiedRadius(await loadTensor(file(input)), { seed })), input })

write('sweep.svg', await sweepPicture(sweep, { title: 'A LeNet around the digit 8' }))
write('layers.svg', await layersPicture(bound, { title: 'The bound at 0.03 around the digit 8' }))
write('radii.svg', await radiiPicture(radii, { title: 'Certified radii of ten digits' }))
write('margins.svg', await marginsPicture(radii[8], { title: 'What limits the radius of the digit 8' }))
write(
  'report.html',
  await report({
    summary: net.summary,
    file: 'examples/models/lenet.json',
    digest: net.digest,
    bounds: [{ ...bound, input: inputs[8] }],
    sweeps: [{ ...sweep, input: inputs[8] }],
    radii,
    command: 'node examples/report.js',
  }),
)
