/** The programs in examples/, run as their first lines say; what they print has to make sense, whatever the numbers. */
import { readFileSync } from 'node:fs'

import test from 'ava'
import type { ExecutionContext } from 'ava'

import { repositoryFile, runNode } from './helpers/process.js'

/** What an example prints where nobody watches: nothing on stderr, and no colours. */
async function output(t: ExecutionContext, name: string, ...args: string[]): Promise<string> {
  t.timeout(560_000)
  const { status, stdout, stderr } = await runNode([`examples/${name}`, ...args])
  t.is(status, 0, stderr)
  t.is(stderr, '')
  t.false(stdout.includes('\u001B'))
  return stdout
}

/** The numbers of the first match, from its groups. */
function numbers(t: ExecutionContext, text: string, pattern: RegExp): number[] {
  t.regex(text, pattern)
  return (pattern.exec(text) ?? []).slice(1).map(Number)
}

/** The numbers of a row of a table, without signs of percent. */
function row(t: ExecutionContext, text: string, title: string): number[] {
  const [line = ''] = new RegExp(`^ *${title}  .*$`, 'm').exec(text) ?? []
  const cells =
    line
      .trim()
      .slice(title.length)
      .match(/[-+]?\d[\d.]*/g) ?? []
  t.true(cells.length > 0, `no row ${title}`)
  return cells.map(Number)
}

const least = (values: readonly number[]): number => Math.min(...values)

test.serial('a certified radius is below the attack, and the binding class is the first', async (t) => {
  const text = await output(t, 'certify-a-digit.js', '3')
  const [radius = NaN, predicted] = numbers(t, text, /^Every picture at most ([\d.]+) away .* read as (\d)\.$/m)
  const [certified] = numbers(t, text, /certified radius +([\d.]+) /)
  const [attack = NaN, read] = numbers(t, text, /attack radius +([\d.]+) .*, read as (\d),/)
  const [binding] = numbers(t, text, /limited by the (\d)/)
  t.is(predicted, 3)
  t.is(certified, radius)
  t.true(radius > 0 && radius < attack)
  t.not(read, 3)
  t.regex(text, new RegExp(`read as 3 +read as ${read} +what was changed`))

  const rows = [...text.matchAll(/^ {2}(\d) +([\d.]+) +([\d.]+) +([\d.]+)$/gm)].map((match) =>
    match.slice(1).map(Number),
  )
  t.deepEqual(rows.map(([other]) => other).toSorted(), [0, 1, 2, 4, 5, 6, 7, 8, 9])
  t.is(rows[0]?.[0], binding)
  for (const [, margin = NaN, constant = NaN, quotient = NaN] of rows) {
    t.true(quotient >= radius && Math.abs(quotient - margin / constant) < 2e-3 * quotient)
  }

  const [grey = NaN] = numbers(t, text, /from 0 to 255 +([\d.]+)/)
  const [normalised = NaN, std = NaN] = numbers(t, text, /before the network +([\d.]+) +\(\/ std ([\d.]+)\)/)
  t.is(std, 0.3081)
  t.true(Math.abs(grey - 255 * radius) < 1e-3 * grey)
  t.true(Math.abs(normalised * std - radius) < 1e-3 * radius)
})

test.serial('the comparison of trainings draws its conclusion from its numbers', async (t) => {
  const text = await output(t, 'compare-trainings.js', '3', '5')
  for (const digit of ['3', '5']) {
    const [radius = NaN, attack = NaN, regularisedRadius = NaN, regularisedAttack = NaN] = row(t, text, digit)
    t.true(radius > 0 && radius < attack && regularisedRadius > 0 && regularisedRadius < regularisedAttack)
  }
  const [three = [], five = [], median = []] = ['3', '5', 'median'].map((title) => row(t, text, title))
  median.forEach((value, column) => {
    t.true(Math.abs(value - ((three[column] ?? NaN) + (five[column] ?? NaN)) / 2) < 2e-3 * value)
  })
  t.regex(text, /digits read right +2 of 2 +2 of 2$/m)
  const [plain = NaN, regularised = NaN] = row(t, text, 'global bound')
  t.true(regularised < plain)
  const [bounds = NaN, radii = NaN] = numbers(
    t,
    text,
    /bound ([\d.]+) times smaller[^]*radius is ([\d.]+) times larger/,
  )
  t.true(Math.abs(bounds - plain / regularised) < 0.01 * bounds)
  t.true(Math.abs(radii - (median[2] ?? NaN) / (median[0] ?? NaN)) < 0.06)
})

test.serial('the layer to fix is the one that saves most, and its trials are told as they went', async (t) => {
  const text = await output(t, 'find-the-layer-to-fix.js')
  const [upper = NaN, lower = NaN] = numbers(t, text, /^The bound is ([\d.]+), and ([\d.]+) is attained/m)
  t.true(lower > 0 && lower <= upper)
  const names = ['conv1', 'conv2', 'fc1', 'fc2']
  const bounds = names.map((name) => {
    const [norm = NaN, unstable = NaN, bound = NaN, saved = NaN] = row(t, text, name)
    t.true(norm > 0 && unstable > 0 && bound > 0)
    t.true(Math.abs(saved - 100 * (1 - bound / upper)) < 0.6)
    return bound
  })
  const [culprit = ''] = (/the layer to fix is (\w+)/.exec(text) ?? []).slice(1)
  t.is(bounds[names.indexOf(culprit)], least(bounds))

  const [before = NaN, margin = NaN, radius = NaN] = row(t, text, 'as it is')
  const [frozenBound, , frozenMargin, frozenRadius = NaN] = row(t, text, `ReLU behind ${culprit} frozen`)
  const [shrunkBound = NaN, change = NaN, shrunkMargin = NaN] = row(t, text, `weights of ${culprit} x 0.8`)
  t.is(before, upper)
  t.is(frozenBound, least(bounds))
  t.is(frozenMargin, margin, 'at the image the frozen network says the same')
  t.true(radius > 0 && frozenRadius > 0)
  t.true(shrunkMargin < margin && shrunkBound < before)
  t.true(Math.abs(change - 100 * (shrunkBound / before - 1)) < 0.6)
})

test('every example is in the list of examples, with a line that runs it', (t) => {
  const list = readFileSync(repositoryFile('examples/README.md'), 'utf8')
  for (const name of [
    'demo',
    'certify-a-digit',
    'compare-trainings',
    'find-the-layer-to-fix',
    'report',
    'service/server',
  ]) {
    t.true(list.includes(`${name}.js`), name)
    const [first = ''] = readFileSync(repositoryFile(`examples/${name}.js`), 'utf8').split('\n\n')
    t.true(first.split('\n').every((line) => line.startsWith('//')))
    t.true(first.includes(`node examples/${name}.js`), `${name} says how to run it`)
  }
})
