/** The font of pictures and reports: a part of Inter, shipped with the package, so that text is the same everywhere. */
import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

export type Weight = 'regular' | 'semibold'

/** The weights as CSS and SVG number them. */
export const weights: Readonly<Record<Weight, number>> = { regular: 400, semibold: 600 }

/** Where the font is missing and not embedded, for instance in an SVG file by itself, what is like it comes instead. */
export const fontFamily = "Inter, system-ui, 'Segoe UI', 'Helvetica Neue', Arial, sans-serif"

const folder = new URL('../../fonts/', import.meta.url)

/** Path of a file of the font: TrueType for renderers, WOFF2 for the web. */
export function fontFile(weight: Weight, format: 'ttf' | 'woff2'): string {
  return fileURLToPath(new URL(`inter-${weight}.${format}`, folder))
}

/** Width of each character, in thousandths of the font size. */
type Widths = Readonly<Record<Weight, Readonly<Record<string, number>>>>

let widths: Widths | undefined

function loadWidths(): Widths {
  widths ??= JSON.parse(readFileSync(new URL('widths.json', folder), 'utf8')) as Widths
  return widths
}

/** Whether the font has every character of a text. */
export function covers(text: string): boolean {
  const known = loadWidths().regular
  return Array.from(text).every((character) => character === '\n' || Object.hasOwn(known, character))
}

/** Width of a line of text in pixels; of characters that the font has not, a guess. */
export function measure(text: string, size: number, weight: Weight = 'regular'): number {
  const known = loadWidths()[weight]
  let sum = 0
  for (const character of text) sum += known[character] ?? (character < '\u2e80' ? 650 : 1000)
  return (sum * size) / 1000
}

/** A text that is at most so wide, with the middle left out where it is longer: names often differ at both ends. */
export function shorten(text: string, width: number, size: number, weight: Weight = 'regular'): string {
  if (measure(text, size, weight) <= width) return text
  const characters = Array.from(text)
  for (let kept = characters.length - 1; kept > 0; kept -= 1) {
    const head = characters.slice(0, Math.ceil(kept / 2)).join('')
    const tail = characters.slice(characters.length - Math.floor(kept / 2)).join('')
    const short = `${head}…${tail}`
    if (measure(short, size, weight) <= width) return short
  }
  return '…'
}

/** Breaks a text into lines that are at most so wide, at spaces; words that are wider are shortened. */
export function wrap(text: string, width: number, size: number, weight: Weight = 'regular'): string[] {
  const lines: string[] = []
  for (const word of text.split(/\s+/).filter((part) => part !== '')) {
    const last = lines.at(-1)
    if (last !== undefined && measure(`${last} ${word}`, size, weight) <= width)
      lines[lines.length - 1] = `${last} ${word}`
    else lines.push(shorten(word, width, size, weight))
  }
  return lines
}
