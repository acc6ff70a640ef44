// Whether what a snippet printed is what its documentation says it prints.
//
// `…` stands for anything within a line, and for any lines where it is alone on one. Everything else is compared
// character by character: 28.9… is the beginning of a number, 28.9 is all of it.

const escape = (text) => text.replace(/[\\^$.*+?()[\]{}|]/g, '\\$&')

const lines = (text) =>
  text
    .replace(/\s+$/, '')
    .split('\n')
    .map((line) => line.trimEnd())

/** Whether `printed` is what `expected` says. */
export function matches(expected, printed) {
  const pattern = lines(expected)
    .map((line) => (line.trim() === '…' ? '(?:[^\\n]*\\n)*' : `${line.split('…').map(escape).join('[^\\n]*')}\\n`))
    .join('')
  return new RegExp(`^${pattern}$`).test(`${lines(printed).join('\n')}\n`)
}
