// The networks, inputs and layers that are compared: those that the repository ships, and seeded ones, which are written
// into a folder where every method finds them.

import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

import { convolutions, describe, plans } from '../networks.mjs'
import { writeNpy, writeSafetensors } from './files.mjs'

const shipped = (name) => fileURLToPath(new URL(`../../examples/models/${name}`, import.meta.url))

/** Networks without convolutions, for the methods that read no others. */
const dense = {
  'dense 8-16-16-4': { input: [8], convs: [], dense: [16, 16, 4], bias: 0.5 },
  'dense 16-32-32-32-8': { input: [16], convs: [], dense: [32, 32, 32, 8], bias: 0.5 },
  'dense 784-64-64-10': { input: [784], convs: [], dense: [64, 64, 10], bias: 0.5 },
}

/** What is compared: `made` of a plan, or shipped. `quick` is what `--quick` takes. */
export const networks = [
  { name: 'dense 8-16-16-4', made: dense['dense 8-16-16-4'], dense: true, quick: true },
  { name: 'dense 16-32-32-32-8', made: dense['dense 16-32-32-32-8'], dense: true },
  { name: 'dense 784-64-64-10', made: dense['dense 784-64-64-10'], dense: true },
  { name: 'lenet, digit 8', model: 'lenet.json', digit: 8, quick: true },
  { name: 'lenet, digit 1', model: 'lenet.json', digit: 1 },
  { name: 'lenet-regularised, digit 8', model: 'lenet-regularised.json', digit: 8 },
  { name: 'cifar-10 shape (papers)', made: plans['cifar-10 (papers)'] },
  { name: 'alexnet shape', made: plans.alexnet, large: true },
]

/** What the format calls layers that have another name in JavaScript. */
const TYPES = { maxPool2d: 'max_pool2d' }

const fileName = (name) => name.replaceAll(/[^a-z0-9]+/g, '-')

/** Writes a network that is made into `folder`; tells where model and input of any are. */
export function place(network, folder) {
  if (network.made === undefined) {
    return { model: shipped(network.model), input: shipped(`digits/${network.digit}.npy`) }
  }
  const base = join(folder, fileName(network.name))
  mkdirSync(folder, { recursive: true })
  const { layers, input } = describe(network.made)
  const tensors = {}
  const document = {
    format: 'lipbound-architecture',
    version: 1,
    name: network.name,
    input: network.made.input,
    weights: `${fileName(network.name)}.safetensors`,
    layers: layers.map(([type, options], index) => {
      const fields = Object.entries(options).map(([field, value]) => {
        if (typeof value === 'number') return [field, value]
        tensors[`${index}.${field}`] = value
        return [field, `${index}.${field}`]
      })
      return { type: TYPES[type] ?? type, ...Object.fromEntries(fields) }
    }),
  }
  writeSafetensors(`${base}.safetensors`, tensors)
  writeFileSync(`${base}.json`, JSON.stringify(document))
  writeNpy(`${base}.npy`, input)
  return { model: `${base}.json`, input: `${base}.npy` }
}

/** The convolutions whose norms are compared. */
const LAYERS = [
  ['lenet (MNIST)', 1],
  ['lenet (MNIST)', 2],
  ['cifar-10 (papers)', 2],
  ['alexnet', 3],
]

/** Writes them into `folder`; tells name, file, stride, padding and input of each. */
export function placeConvolutions(folder) {
  mkdirSync(folder, { recursive: true })
  return LAYERS.map(([plan, number]) => {
    const { weight, stride, padding, input } = convolutions(plan)[number - 1]
    const name = `${plan} conv${number}`
    const path = join(folder, `${fileName(name)}.npy`)
    writeNpy(path, weight)
    return { name, weight: path, shape: weight.shape, stride, padding, input }
  })
}
