// What the examples share in order to print: digits drawn with characters, tables, and a line of progress.

import { styleText } from 'node:util'

const { stdout, stderr } = process
const colour = stdout.isTTY && process.env.NO_COLOR === undefined
const style = (format) => (text) => (colour ? styleText(format, text) : text)

export const bold = style('bold')
export const green = style('green')

/** Four digits, rounded up (for upper bounds) or down (for lower ones), so that what is printed holds too. */
export function show(value, direction) {
  if (value === 0 || !Number.isFinite(value)) return String(value)
  const scale = 10 ** (Math.ceil(Math.log10(value)) - 4)
  const rounded = direction === 'up' ? Math.ceil(value / scale) : Math.floor(value / scale)
  const text = (rounded * scale).toPrecision(4)
  return text.includes('e+') ? String(Number(text)) : text
}

/** Prints rows under a heading: words to the left, numbers to the right, the column that matters most in green. */
export function table(columns, rows) {
  const widths = columns.map(({ title }, column) => Math.max(title.length, ...rows.map((row) => row[column].length)))
  const line = (row, paint) => {
    const cells = row.map((cell, column) => {
      const padded = columns[column].words ? cell.padEnd(widths[column]) : cell.padStart(widths[column])
      return paint(padded, columns[column])
    })
    return `  ${cells.join('   ')}`.trimEnd()
  }
  const titles = columns.map(({ title }) => title)
  console.log(line(titles, bold))
  for (const row of rows) console.log(line(row, (cell, { answer }) => (answer ? green(cell) : cell)))
}

/** The middle of a digit, two rows of pixels to a line, and a caption below. */
function picture({ shape: [, height, width], data }, caption) {
  const lines = []
  for (let row = 4; row < height - 4; row += 2) {
    const ink = (column) => (data[row * width + column] + data[(row + 1) * width + column]) / 2
    const columns = Array.from({ length: width - 8 }, (_, index) => index + 4)
    lines.push(columns.map((column) => ' ░▒▓█'[Math.min(4, Math.round(4.5 * ink(column)))]).join(''))
  }
  return [...lines, '', caption.padStart((width - 8 + caption.length) / 2).padEnd(width - 8)]
}

/** Prints digits side by side, each with its caption. */
export function showDigits(digits) {
  const pictures = digits.map(({ image, caption }) => picture(image, caption))
  for (let line = 0; line < pictures[0].length; line++) {
    console.log(`  ${pictures.map((rows) => rows[line].padEnd(20)).join('          ')}`.trimEnd())
  }
}

/**
 * Prints a sweep, one bar for each epsilon on a logarithmic scale: what is attained, and behind it the bounds. Every
 * second epsilon is enough.
 */
export function showSweep({ points, global }, width = 44) {
  const shown = points.filter((_, index) => index % 2 === 0)
  const bounds = shown.map(({ epsilon, lower, layerwise, certificate = layerwise }) => {
    return { epsilon, lower, local: certificate.upper, product: layerwise.upper }
  })
  const decades = (value) => Math.log10(Math.max(value, 1))
  const from = Math.floor(Math.min(...bounds.map(({ lower }) => decades(lower))))
  const to = Math.max(decades(global.upper), ...bounds.map(({ product }) => decades(product)))
  const place = (value) => Math.round((width * (decades(value) - from)) / (to - from))
  const bar = ({ lower, local, product }) => {
    const parts = ['█'.repeat(place(lower)), '▓'.repeat(place(local) - place(lower))]
    const whole = [...parts, '░'.repeat(Math.max(0, place(product) - place(local)))].join('').padEnd(width + 1)
    return `${whole.slice(0, place(global.upper))}│${whole.slice(place(global.upper) + 1)}`
  }
  table(
    [
      { title: 'epsilon' },
      { title: '█ attained' },
      { title: '▓ local', answer: true },
      { title: '░ product' },
      { title: `│ global: ${show(global.upper, 'up')}`, words: true },
    ],
    bounds.map((at) => [
      String(Number(at.epsilon.toPrecision(3))),
      show(at.lower, 'down'),
      show(at.local, 'up'),
      show(at.product, 'up'),
      bar(at),
    ]),
  )
}

const running = new Map()

/** An `onProgress` that keeps a line on stderr while somebody watches; several may run at the same time. */
export function progress(what) {
  if (!stderr.isTTY) return undefined
  return ({ done }) => {
    running.set(what, done)
    const parts = [...running]
      .filter(([, part]) => part < 1)
      .map(([name, part]) => `${name}: ${Math.floor(100 * part)} %`)
    stderr.write(`\r\u001B[K${parts.map((part) => `  ${part}`).join('')}`)
  }
}

/** Takes the line of progress away. */
export function endProgress() {
  running.clear()
  if (stderr.isTTY) stderr.write('\r\u001B[K')
}
