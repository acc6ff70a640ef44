// The licence texts of what is linked into the addon, as THIRD-PARTY-LICENCES.txt has them. Used by scripts/supply.mjs.

import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../run.mjs'

const here = (name) => join(root, 'scripts', 'licences', name)

/** The notices of Rust's standard library, which its toolchain brings, as this repository keeps them. */
export const STANDARD_LIBRARY = join('scripts', 'licences', 'rust-std.txt')

/**
 * Crates that come without the text of their licence, which they say is MIT, or MIT among others: who has the copyright,
 * from their READMEs and Cargo.toml.
 */
const MIT = {
  napi: 'Copyright (c) 2020 LongYinan',
  'napi-sys': 'Copyright (c) 2020 LongYinan',
  npyz: 'Copyright 2021 Michael Lamparski\nCopyright 2018 Pavel Potoček (npy)',
  lax: 'Copyright Toshiki Teramura and contributors',
  'ndarray-linalg': 'Copyright Toshiki Teramura and contributors',
}

const isLicence = (name) => /^(licen[cs]e|copying|copyright|notice|unlicense)/i.test(name)

/** The texts that a crate in a folder brings. Throws if there are none, and nobody has said what they would be. */
export function textsOf(name, folder) {
  const files = readdirSync(folder, { withFileTypes: true })
    .filter((entry) => entry.isFile() && isLicence(entry.name))
    .map((entry) => entry.name)
    .sort()
  if (files.length > 0) return files.map((name) => readFileSync(join(folder, name), 'utf8'))
  if (!(name in MIT))
    throw new Error(`${name} brings no licence text; scripts/licences/texts.mjs does not have it either`)
  return [mit(MIT[name])]
}

const mit = (copyright) => `MIT License\n\n${copyright}\n\n${readFileSync(here('mit.txt'), 'utf8')}`

/** A text with the same words on lines of its own: what differs by blanks alone is the same text. */
const words = (text) => text.replace(/\s+/g, ' ').trim().toLowerCase()

const tidy = (text) =>
  text
    .replace(/\r\n?/g, '\n')
    .replace(/[ \t]+$/gm, '')
    .replace(/^\n+|\s+$/g, '')

/** Each text once, under the names of all that it belongs to, in the order of the first of them. */
export function gathered(works) {
  const texts = new Map()
  for (const { name, texts: own } of works) {
    for (const text of own) {
      const known = texts.get(words(text)) ?? { text: tidy(text), names: [] }
      if (!known.names.includes(name)) known.names.push(name)
      texts.set(words(text), known)
    }
  }
  return [...texts.values()]
}

const RULE = '-'.repeat(78)

const section = ({ names, text }) => `${RULE}\n${names.join('\n')}\n${RULE}\n\n${text}\n`

/**
 * THIRD-PARTY-LICENCES.txt.
 *
 * @param crates - name and version of each crate, and its folder
 */
export function texts(crates) {
  const works = crates.map(({ name, version, folder }) => ({
    name: `${name} ${version}`,
    texts: textsOf(name, folder),
  }))
  works.push({
    name: 'LAPACK and BLAS, the reference implementations',
    texts: [readFileSync(here('lapack.txt'), 'utf8')],
  })
  const opening =
    'The addon of lipbound (lipbound.*.node) contains work of others. These are their licences; where there is a choice\n' +
    'of them, any may be taken. Written by npm run generate:licences.\n'
  const library = readFileSync(join(root, STANDARD_LIBRARY), 'utf8')
  return `${[opening, ...gathered(works).map(section), library].join('\n').trimEnd()}\n`
}

const unescape = (html) =>
  html
    .replace(/<[^>]+>/g, '')
    .replace(/&#(\d+);/g, (_, code) => String.fromCodePoint(Number(code)))
    .replace(/&(lt|gt|quot|amp);/g, (_, name) => ({ lt: '<', gt: '>', quot: '"', amp: '&' })[name])

/**
 * What `rustc` brings about its standard library, as text and each licence once.
 *
 * @param html - COPYRIGHT-library.html
 * @param own - the licences of the library itself, besides MIT
 * @param release - which `rustc` it is
 */
export function standardLibrary(html, own, release) {
  const [, inTree, outOfTree] = /<h2 id="in-tree-files">[^\n]*\n(.*)<h2 id="out-of-tree-dependencies">(.*)/s.exec(html)
  const files = unescape(inTree)
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '')
  const crates = outOfTree.split('<h3>').slice(1)
  const works = crates.map((part) => ({
    name: unescape(/^[^<]*/.exec(part)[0]).replace(/^[^\w]*/u, ''),
    texts: Array.from(part.matchAll(/<pre>(.*?)<\/pre>/gs), (match) => unescape(match[1])),
  }))
  works.unshift({
    name: 'the standard library itself',
    texts: [mit('Copyright (c) The Rust Project Developers'), ...own],
  })
  if (files.length === 0 || works.length === 1)
    throw new Error('the notices of the standard library read otherwise than expected')
  const head = `${RULE}\nThe standard library of Rust ${release}, of which the addon has parts\n${RULE}\n\n${files.join('\n')}\n`
  return `${[head, ...gathered(works).map(section)].join('\n').trimEnd()}\n`
}
