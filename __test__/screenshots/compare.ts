/** Whether two pictures look the same. */
import pixelmatch from 'pixelmatch'
import { PNG } from 'pngjs'

/** Side of the squares that are compared, in pixels: what breaks may be small beside a page. */
const SQUARE = 64

/**
 * Part of a square's pixels that may differ visibly (pixelmatch's threshold of 0.1, edges that were smoothed otherwise not
 * counted): other versions of a browser draw a few otherwise. A line of text is ten times as much.
 */
const TOLERANCE = 0.01

/** What is different, for people; undefined where nothing is. */
export function difference(expected: Uint8Array, actual: Uint8Array): string | undefined {
  const [a, b] = [PNG.sync.read(Buffer.from(expected)), PNG.sync.read(Buffer.from(actual))]
  if (a.width !== b.width || a.height !== b.height) {
    return `${b.width} x ${b.height} pixels instead of ${a.width} x ${a.height}`
  }
  const marked = new PNG({ width: a.width, height: a.height })
  const { width, height } = marked
  pixelmatch(a.data, b.data, marked.data, width, height, { threshold: 0.1, diffMask: true })
  const counts = new Map<string, number>()
  for (let index = 0; index < width * height; index += 1) {
    // Of the marks, only what differs and is no smoothed edge is red.
    const [red, green, , alpha] = marked.data.subarray(index * 4, index * 4 + 4)
    if (alpha === 0 || red !== 255 || green !== 0) continue
    const place = `${Math.floor((index % width) / SQUARE) * SQUARE}, ${Math.floor(index / width / SQUARE) * SQUARE}`
    counts.set(place, (counts.get(place) ?? 0) + 1)
  }
  const broken = Array.from(counts).filter(([, count]) => count > TOLERANCE * SQUARE ** 2)
  if (broken.length === 0) return undefined
  const [place, count] = broken[0] ?? []
  return `${broken.length} squares of ${SQUARE} pixels differ, the first at ${place} by ${count} pixels`
}

/** Levels of a channel that are kept apart in committed pictures: far fewer bytes, and no difference that is looked for. */
const LEVEL = 16

/** A picture as it is committed. */
export function compact(bytes: Uint8Array): Buffer {
  const picture = PNG.sync.read(Buffer.from(bytes))
  picture.data = picture.data.map((value) => Math.min(255, Math.round(value / LEVEL) * LEVEL)) as Buffer
  return PNG.sync.write(picture, { colorType: 2, filterType: 0, deflateLevel: 9, deflateStrategy: 0 })
}
