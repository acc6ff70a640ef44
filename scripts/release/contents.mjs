// What a tarball must have, must not have, and may weigh.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../run.mjs'
import { NOTICES, digits, manifest } from './stage.mjs'

/** Bytes that each package may have, packed and unpacked; a little more than it has. */
export const BUDGET = JSON.parse(readFileSync(join(root, 'scripts', 'release', 'budget.json'), 'utf8'))

/** Nothing that is only there by accident. */
const STRAY = /(^|\/)(node_modules|\.[^/]+|.*\.(tgz|log|rs|test\.\w+|tsbuildinfo))(\/|$)/

const examples = () => [
  ...['lenet.json', 'lenet.safetensors', 'digits/README.md'].map((name) => `examples/models/${name}`),
  ...digits().map((name) => `examples/models/digits/${name}`),
]

/** The files that the manifest points at. */
function namedBy({ exports = {}, bin = {}, main }) {
  const paths = (value) => (typeof value === 'string' ? [value] : Object.values(value).flatMap(paths))
  return [...paths(exports), ...paths(bin), ...(main ? [main] : [])].map((path) => path.replace(/^\.\//, ''))
}

/** What is wrong with the files of the package itself. */
export function objectionsToMain({ files, manifest: own }) {
  const wanted = [
    ...['LICENSE', 'README.md', 'THIRD-PARTY.md', 'native.cjs', 'native.d.cts', 'fonts/LICENSE'],
    ...namedBy(own),
    ...examples(),
  ]
  return [...absent(files, wanted), ...stray(files), ...stale(files)]
}

/** What is wrong with the files of a platform. */
export function objectionsToPlatform({ files, manifest: own }) {
  const extra = files.filter((path) => ![own.main, 'package.json', 'README.md', ...NOTICES].includes(path))
  return [
    ...absent(files, [own.main, 'README.md', ...NOTICES]),
    ...extra.map((path) => `${path} is in it, and should not be`),
    ...['os', 'cpu', ...(own.os?.[0] === 'linux' ? ['libc'] : []), 'engines']
      .filter((key) => own[key] === undefined)
      .map((key) => `package.json has no ${key}`),
    ...(own.version === manifest().version ? [] : [`its version is ${own.version}, not ${manifest().version}`]),
  ]
}

const absent = (files, wanted) => wanted.filter((path) => !files.includes(path)).map((path) => `${path} is not in it`)
const stray = (files) => files.filter((path) => STRAY.test(path)).map((path) => `${path} is in it, and should not be`)

/** What the compiler made of a module that is not there any more: it removes nothing. */
const stale = (files) =>
  files
    .filter((path) => /^dist\/.*\.js$/.test(path))
    .filter((path) => !existsSync(join(root, path.replace(/^dist/, 'js').replace(/\.js$/, '.ts'))))
    .map((path) => `${path} has no source; remove dist and build again`)

const size = (bytes) => `${(bytes / 1e6).toFixed(2)} MB`

/** How the sizes of a tarball stand to its budget, in words. */
export function sizes({ packed, unpacked }, budget) {
  const one = (name, bytes, limit) => `${name} ${size(bytes)}, ${Math.round((100 * bytes) / limit)} % of ${size(limit)}`
  return `${one('packed', packed, budget.packed)}; ${one('unpacked', unpacked, budget.unpacked)}`
}

/** What is wrong with the sizes of a tarball. */
export function objectionsToSize(tarball, budget) {
  if (budget === undefined) return [`scripts/release/budget.json has no budget for ${tarball.name}`]
  return ['packed', 'unpacked']
    .filter((key) => !(tarball[key] <= budget[key]))
    .map((key) => `${key} ${size(tarball[key])} are more than the budget of ${size(budget[key])}`)
}
