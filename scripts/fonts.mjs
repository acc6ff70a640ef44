// Writes fonts/ anew: the part of Inter that pictures and reports use, as TrueType for PNG files and WOFF2 for HTML, and
// the widths of its characters. Needed only when the characters or the font change; its tools are not dependencies:
//
//   npm install --no-save @expo-google-fonts/inter@0.4.2 subset-font@2.9.0 opentype.js@1.3.4 && node scripts/fonts.mjs

import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { root } from './run.mjs'

const { default: subset } = await import('subset-font')
const { default: opentype } = await import('opentype.js')

const source = dirname(createRequire(import.meta.url).resolve('@expo-google-fonts/inter/package.json'))
const weights = { regular: '400Regular', semibold: '600SemiBold' }

/** First and last code point: Latin, Greek, punctuation, superscripts, arrows, mathematics. */
const ranges = [
  [0x20, 0x7e],
  [0xa0, 0x17f],
  [0x391, 0x3c9],
  [0x2010, 0x2027],
  [0x2030, 0x203a],
  [0x2070, 0x208e],
  [0x2190, 0x2193],
  [0x2200, 0x22ff],
]
const wanted = ranges.flatMap(([first, last]) =>
  Array.from({ length: last - first + 1 }, (_, index) => String.fromCodePoint(first + index)),
)

const folder = join(root, 'fonts')
mkdirSync(folder, { recursive: true })
copyFileSync(join(source, 'LICENSE_FONT'), join(folder, 'LICENSE'))

const widths = {}
for (const [weight, name] of Object.entries(weights)) {
  const bytes = readFileSync(join(source, name, `Inter_${name}.ttf`))
  const font = opentype.parse(new Uint8Array(bytes).buffer)
  const has = wanted.filter((character) => font.charToGlyphIndex(character) > 0)
  for (const [extension, targetFormat] of Object.entries({ ttf: 'sfnt', woff2: 'woff2' })) {
    const options = { targetFormat, keepFeatures: ['kern', 'tnum'], preserveNameIds: [1, 2, 4, 6, 16, 17] }
    writeFileSync(join(folder, `inter-${weight}.${extension}`), await subset(bytes, has.join(''), options))
  }
  // In thousandths of the font size.
  widths[weight] = Object.fromEntries(
    has.map((character) => [
      character,
      Math.round((font.charToGlyph(character).advanceWidth / font.unitsPerEm) * 1000),
    ]),
  )
}
writeFileSync(join(folder, 'widths.json'), `${JSON.stringify(widths)}\n`)
