// What licences of dependencies are accepted, and which dependencies users get. Used by scripts/supply.mjs.

import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import satisfies from 'spdx-satisfies'

/** Licences that ask for no more than to be named, or for changes of their own files to stay open (MPL). */
export const ALLOWED = [
  '0BSD',
  'Apache-2.0',
  'Apache-2.0 WITH LLVM-exception',
  'BlueOak-1.0.0',
  'BSD-2-Clause',
  'BSD-3-Clause',
  'CC-BY-3.0',
  'CC-BY-4.0',
  'CC0-1.0',
  'ISC',
  'MIT',
  'MPL-2.0',
  'OFL-1.1',
  'PSF-2.0',
  'Python-2.0',
  'Unicode-3.0',
  'Unlicense',
  'Zlib',
]

/**
 * Packages whose licences are not on the list, were read, and bind nobody as long as a tool of development alone reads them:
 * nothing of theirs is passed on.
 */
const READ = {
  // A list of words. Do what you want.
  '@cspell/dict-django': 'WTFPL',
  // A list of misspellings, to be passed on under the same terms (written without hyphens, which is no SPDX expression).
  '@cspell/dict-en-common-misspellings': 'CC BY-SA 4.0',
}

/** An SPDX expression without the slash that crates once had for `OR`, and without parentheses around all of it. */
export function normalise(licence) {
  const plain = licence.trim().replace(/\s*\/\s*/g, ' OR ')
  return /^\([^()]*\)$/.test(plain) ? plain.slice(1, -1) : plain
}

/** What is to be said against a licence; undefined if nothing is. */
export function objection(licence) {
  if (typeof licence !== 'string' || licence.trim() === '') return 'names no licence'
  const expression = normalise(licence)
  try {
    return satisfies(expression, ALLOWED) ? undefined : `has the licence ${expression}, which is not on the list`
  } catch {
    return `has '${licence}' for a licence, which is no SPDX expression`
  }
}

/** `name version` of each package with the objection to its licence. */
export const objections = (packages) =>
  packages.flatMap(({ name, version, licence, production }) => {
    if (production === false && READ[name] === licence && licence !== undefined) return []
    const found = objection(licence)
    return found === undefined ? [] : [`${name} ${version} ${found}`]
  })

/**
 * The packages of a lock of npm (`lock` is its JSON, `folder` where it is), each version once. What the lock does not
 * say of a licence, the installed package does.
 */
export function npmPackages(lock, folder) {
  const packages = new Map()
  for (const [path, entry] of Object.entries(lock.packages)) {
    if (path === '' || entry.link) continue
    const name = entry.name ?? path.slice(path.lastIndexOf('node_modules/') + 'node_modules/'.length)
    const manifest = join(folder, path, 'package.json')
    const installed = existsSync(manifest)
    const licence = entry.license ?? (installed ? licenceOf(JSON.parse(readFileSync(manifest, 'utf8'))) : undefined)
    const key = `${name} ${entry.version}`
    const known = packages.get(key)
    packages.set(key, {
      name,
      version: entry.version,
      licence,
      production: !(entry.dev || entry.devOptional) || (known?.production ?? false),
      // Built for some systems: npm takes the one that fits.
      optional: Boolean(entry.optional),
      installed: installed || (known?.installed ?? false),
    })
  }
  return sorted(packages.values())
}

/** The licence in a package.json, of old ones too. */
function licenceOf({ license, licenses }) {
  if (typeof license === 'string') return license
  if (license?.type) return license.type
  return Array.isArray(licenses) ? licenses.map(({ type }) => type).join(' OR ') : undefined
}

/** The crates of other authors in what `cargo metadata` prints. */
export const cratesOf = (metadata) =>
  sorted(
    metadata.packages
      .filter(({ source }) => source !== null)
      .map(({ name, version, license }) => ({ name, version, licence: license ?? undefined })),
  )

/** The lines `name version|licence` that `cargo tree` prints with `--prefix none --format '{p}|{l}'`. */
export function cratesOfTree(output) {
  const crates = new Map()
  for (const line of output.split('\n')) {
    const match = /^(\S+) v(\S+)( \([^|]*\))?\|(.*?)( \(\*\))?$/.exec(line)
    // A crate of this repository has its path in parentheses.
    if (match && !match[3])
      crates.set(`${match[1]} ${match[2]}`, { name: match[1], version: match[2], licence: match[4] })
  }
  return sorted(crates.values())
}

const sorted = (packages) =>
  [...packages].sort((a, b) => (a.name === b.name ? order(a.version, b.version) : order(a.name, b.name)))
const order = (a, b) => (a < b ? -1 : a > b ? 1 : 0)

/** THIRD-PARTY.md. */
export function document({ packages, crates }) {
  const rows = (list) => list.map(({ name, version, licence }) => [name, version, normalise(licence ?? 'none')])
  const shipped = packages.filter(({ production }) => production)
  return `${[
    '# What others have made',
    'What an installation of lipbound consists of besides its own code, with versions and licences.' +
      ' `npm run generate:licences` writes this file, and `npm run check:supply` compares it with the locks.',
    '## npm packages',
    'Installed beside lipbound. Of those for some systems, npm takes the one that fits.',
    table(
      ['package', 'version', 'licence', ''],
      shipped.map(({ name, version, licence, optional }) => [
        name,
        version,
        normalise(licence ?? 'none'),
        optional ? 'for some systems' : '',
      ]),
    ),
    '## Rust crates',
    'Linked into the addon. Where there is a choice of licences, any of them may be taken. `THIRD-PARTY-LICENCES.txt`,' +
      ' which is wherever the addon is, has the texts of all of them.',
    table(['crate', 'version', 'licence'], rows(crates)),
    '## Others',
    table(
      ['what', 'where', 'licence'],
      [
        ['LAPACK and BLAS, the reference implementations of netlib', 'linked into the addon', 'BSD-3-Clause'],
        ['parts of the standard library of Rust', 'linked into the addon', 'MIT OR Apache-2.0'],
        ['part of the font Inter', '`fonts/`, with its licence', 'OFL-1.1'],
        ['ten digits of MNIST, by Y. LeCun and C. Cortes', '`examples/models/digits/`, with a notice', 'CC-BY-SA-3.0'],
      ],
    ),
  ].join('\n\n')}\n`
}

/** A table of Markdown with even columns. */
function table(head, rows) {
  const widths = head.map((title, column) => Math.max(3, title.length, ...rows.map((row) => row[column].length)))
  const line = (cells) => `| ${cells.map((cell, column) => cell.padEnd(widths[column])).join(' | ')} |`
  return [line(head), line(widths.map((width) => '-'.repeat(width))), ...rows.map(line)].join('\n')
}
