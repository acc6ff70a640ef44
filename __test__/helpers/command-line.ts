/** What the tests of the command line share: small files, and what every refusal has in common. */
import test from 'ava'
import type { ExecutionContext } from 'ava'

import { createDirectory, npy, safetensors } from './files.js'
import { jpeg, png } from './pictures.js'
import { lipbound } from './process.js'

/** A directory of the calling test file, with a network of two outputs and another one of pictures. */
export function commandLineFiles() {
  const files = createDirectory()
  test.after.always(() => {
    files.remove()
  })
  const model = files.write(
    'small.json',
    JSON.stringify({
      format: 'lipbound-architecture',
      version: 1,
      name: 'small',
      input: [2],
      weights: 'small.safetensors',
      classes: ['left', 'right'],
      layers: [{ type: 'linear', name: 'dense', weight: 'w', bias: 'b' }, { type: 'relu' }],
    }),
  )
  const weights = files.write(
    'small.safetensors',
    safetensors({
      w: { shape: [2, 2], data: new Float64Array([3, 1, -1, 2]) },
      b: { shape: [2], data: new Float64Array([1, 0]) },
    }),
  )
  files.write('seer.safetensors', safetensors({ w: { shape: [2, 3, 1, 1], data: Float64Array.of(1, 2, 3, 0, -1, 1) } }))
  return {
    ...files,
    /** The path of a file that need not be there. */
    at: (name: string): string => `${files.path}/${name}`,
    /** `relu(W x + b)` with `W = [3 1; -1 2]`, `b = (1, 0)`, and the classes left and right. */
    model,
    weights,
    /** The input (1, 1), answered with left: 5 against 1. */
    input: files.write('one.npy', npy([2], [1, 1])),
    /** The input (-2, 0.5), answered with right: 0 against 3. */
    other: files.write('two.npy', npy([2], [-2, 0.5])),
    /** A network that takes colour pictures of 8 by 8 pixels. */
    seer: files.write(
      'seer.json',
      JSON.stringify({
        format: 'lipbound-architecture',
        version: 1,
        input: [3, 8, 8],
        weights: 'seer.safetensors',
        layers: [{ type: 'conv2d', name: 'mix', weight: 'w' }, { type: 'relu' }, { type: 'global_avg_pool2d' }],
      }),
    ),
    /** A grey picture of 8 by 8 pixels. */
    grey: files.write('grey.png', png({ width: 8, height: 8, type: 0, data: Array.from({ length: 64 }, (_, i) => i) })),
    /** A colour picture of the same size. */
    colour: files.write('colour.jpeg', jpeg({ width: 1, height: 1, blocks: [[100, 90, 180]] })),
  }
}

/** The one object on stdout, which ends in the only newline. */
export function parse(stdout: string): unknown {
  if (stdout.indexOf('\n') !== stdout.length - 1) throw new Error(`not one line: ${stdout}`)
  return JSON.parse(stdout)
}

/** The objects of JSON Lines. */
export function parseLines(stdout: string): unknown[] {
  if (!stdout.endsWith('\n')) throw new Error(`the last line does not end: ${stdout}`)
  return stdout
    .slice(0, -1)
    .split('\n')
    .map((line) => JSON.parse(line) as unknown)
}

/** Ways to use a command wrongly, by their titles: the words, and what the message must name. */
export type BadUses = Readonly<Record<string, readonly [args: readonly string[], culprit: RegExp]>>

/** Tests that each of them ends with status 2, a message and nothing else. */
export function testBadUses(uses: BadUses): void {
  for (const [title, [args, culprit]] of Object.entries(uses)) {
    test(`exit status 2: ${title}`, async (t) => {
      await refuses(t, args, culprit)
    })
  }
}

/** Asserts that a use of the command line is refused. */
export async function refuses(t: ExecutionContext, args: readonly string[], culprit: RegExp): Promise<void> {
  const { status, stdout, stderr } = await lipbound(...args)
  t.is(status, 2, stderr)
  t.is(stdout, '')
  t.regex(stderr, culprit)
  t.notRegex(stderr, /\n +at /, 'no stack trace')
}

/** What every command with a model refuses, when it is given this model with these words. */
export function badModels(command: string, rest: readonly string[] = []): BadUses {
  return {
    'no model': [[command, ...rest], /missing required argument 'model'/],
    'a model that is not there': [[command, 'nothing.json', ...rest], /nothing\.json.*ERR_LIPBOUND_FILE/],
    'a model of another kind': [[command, 'package.js', ...rest], /package\.js.*ERR_LIPBOUND_ARGUMENT/],
    'an unknown option': [[command, 'nothing.json', ...rest, '--eps', '1'], /unknown option '--eps'/],
    'one argument too many': [[command, 'a.json', 'b.json', 'c.json', ...rest], /too many arguments/],
  }
}
