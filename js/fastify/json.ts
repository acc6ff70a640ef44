/** JSON from strangers: what would take long to read, or longer to complain about, is refused before it is parsed. */
import { ServiceError } from './failures.js'

/** Containers within containers; a tensor and the body around it need fewer. */
const DEEPEST = 32
/** Properties of one object; no request has more than twenty. */
const MOST_PROPERTIES = 64

const [QUOTE, BACKSLASH, COMMA] = [0x22, 0x5c, 0x2c]
const [OPEN_LIST, CLOSE_LIST, OPEN_OBJECT, CLOSE_OBJECT] = [0x5b, 0x5d, 0x7b, 0x7d]

/**
 * Parses JSON.
 *
 * @param bytes - UTF-8
 * @throws {@link ServiceError} `ERR_LIPBOUND_JSON` if it is none, `ERR_LIPBOUND_LIMIT` if it is nested too deeply or has an
 *   object of too many properties
 */
export function parseJson(bytes: Buffer): unknown {
  checkStructure(bytes)
  try {
    return JSON.parse(bytes.toString('utf8')) as unknown
  } catch {
    // What V8 says of it repeats the text.
    throw new ServiceError('ERR_LIPBOUND_JSON', 'the text is not JSON')
  }
}

/** One pass over the bytes. Text that is no JSON gets through now and then, and is the parser's concern. */
function checkStructure(bytes: Buffer): void {
  /** For each open container: the properties so far, or -1 for a list. */
  const open: number[] = []
  for (let at = 0; at < bytes.length; at += 1) {
    switch (bytes[at]) {
      case QUOTE:
        at = endOfString(bytes, at)
        break
      case OPEN_LIST:
      case OPEN_OBJECT:
        if (open.length === DEEPEST) throw tooMuch(`is nested more than ${DEEPEST} deep`)
        open.push(bytes[at] === OPEN_LIST ? -1 : 1)
        break
      case CLOSE_LIST:
      case CLOSE_OBJECT:
        open.pop()
        break
      case COMMA: {
        const properties = open.at(-1) ?? -1
        if (properties < 0) break
        if (properties === MOST_PROPERTIES) throw tooMuch(`has an object of more than ${MOST_PROPERTIES} properties`)
        open[open.length - 1] = properties + 1
        break
      }
    }
  }
}

/** Where the string that begins here ends; the end of the text if it does not. */
function endOfString(bytes: Buffer, start: number): number {
  for (let from = start + 1; ;) {
    const quote = bytes.indexOf(QUOTE, from)
    if (quote < 0) return bytes.length
    let slashes = 0
    while (quote - slashes - 1 > start && bytes[quote - slashes - 1] === BACKSLASH) slashes += 1
    if (slashes % 2 === 0) return quote
    from = quote + 1
  }
}

const tooMuch = (what: string): ServiceError => new ServiceError('ERR_LIPBOUND_LIMIT', `the JSON ${what}`, 422)

/** An object, and no array. */
export function isObject(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}
