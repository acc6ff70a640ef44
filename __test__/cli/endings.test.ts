/** How the command line ends where something comes between: interrupts, readers that go, full disks; and progress. */
import { spawn } from 'node:child_process'
import { existsSync } from 'node:fs'

import test from 'ava'

import { progressText, showDuration } from '../../dist/cli/progress.js'
import { commandLineFiles } from '../helpers/command-line.js'
import { safetensors } from '../helpers/files.js'
import { repositoryFile, runNode } from '../helpers/process.js'

const files = commandLineFiles()
const { model, input, other } = files

const weight = { shape: [32, 32, 3, 3], data: Float64Array.from({ length: 9216 }, (_, index) => Math.sin(index)) }
files.write('large.safetensors', safetensors({ weight }))
/** A network with a norm that takes minutes, if it is asked for with {@link forever}. */
const large = files.write(
  'large.json',
  JSON.stringify({
    format: 'lipbound-architecture',
    version: 1,
    input: [32, 64, 64],
    weights: 'large.safetensors',
    layers: [{ type: 'conv2d', weight: 'weight', padding: 1 }],
  }),
)
const forever = ['--tolerance', '1e-12', '--max-steps', '1000000', '--guarantee', 'probabilistic']

test('an interrupt ends a long computation with status 1', async (t) => {
  // From inside the process, a while after it has begun to listen: on a busy machine that may take long to come.
  const interrupt = `
    const poll = setInterval(() => {
      if (process.listenerCount('SIGINT') === 0) return
      clearInterval(poll)
      setTimeout(() => process.kill(process.pid, 'SIGINT'), 500)
    }, 10)
  `
  const preload = `data:text/javascript,${encodeURIComponent(interrupt)}`
  const { status, stdout, stderr } = await runNode([
    '--import',
    preload,
    'dist/cli/main.js',
    'global',
    large,
    ...forever,
  ])
  t.is(status, 1)
  t.is(stdout, '')
  t.is(stderr, 'interrupted\n')
})

/** Runs the command line, closes its stdout when the first words have come, and waits for the end. */
function readOnce(args: readonly string[]): Promise<{ status: number | null; stderr: string; read: string }> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['dist/cli/main.js', ...args], {
      cwd: repositoryFile(''),
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    let [read, stderr] = ['', '']
    child.stdout.setEncoding('utf8').once('data', (text: string) => {
      read = text
      child.stdout.destroy()
    })
    child.stderr.setEncoding('utf8').on('data', (text: string) => (stderr += text))
    child.on('error', reject)
    child.on('close', (status) => {
      resolve({ status, stderr, read })
    })
  })
}

test('a reader that has seen enough ends the work, and that is no failure', async (t) => {
  // More inputs than would ever be done.
  const inputs = Array<string>((100_000 / (input.length + 1)) | 0).fill(input)
  const args = ['bound', model, '--epsilon', '1', '--jsonl', '--method', 'layerwise', '--input', ...inputs]
  const { status, stderr, read } = await readOnce(args)
  t.is(status, 0, stderr)
  t.is(stderr, '')
  t.true(read.startsWith('{"input":'))
})

const full = existsSync('/dev/full') && existsSync('/bin/sh')
const checkFull = full ? test : test.skip

checkFull('status 1: an answer that cannot be printed', async (t) => {
  const script = `exec "$0" dist/cli/main.js inspect "$1" > /dev/full`
  const { status, stderr } = await new Promise<{ status: number | null; stderr: string }>((resolve, reject) => {
    const child = spawn('/bin/sh', ['-c', script, process.execPath, model], {
      cwd: repositoryFile(''),
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let text = ''
    child.stderr.setEncoding('utf8').on('data', (part: string) => (text += part))
    child.on('error', reject)
    child.on('close', (code) => {
      resolve({ status: code, stderr: text })
    })
  })
  t.is(status, 1)
  t.regex(stderr, /^lipbound: the answer could not be printed: .*ENOSPC/)
})

const clear = '\r\u001B[K'

// A terminal, as `script` of util-linux makes one.
const checkTerminal = existsSync('/usr/bin/script') ? test : test.skip

checkTerminal('progress is shown where somebody watches, and taken away', async (t) => {
  const run = `${process.execPath} dist/cli/main.js bound ${model} --epsilon 1 --input ${input} ${other} 2>&1 > /dev/null`
  const { status, stdout } = await new Promise<{ status: number | null; stdout: string }>((resolve, reject) => {
    const child = spawn('/usr/bin/script', ['--quiet', '--return', '--command', `stty cols 70; ${run}`, '/dev/null'], {
      cwd: repositoryFile(''),
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    let text = ''
    child.stdout.setEncoding('utf8').on('data', (part: string) => (text += part))
    child.on('error', reject)
    child.on('close', (code) => {
      resolve({ status: code, stdout: text })
    })
  })
  t.is(status, 0, stdout)
  t.true(stdout.includes(`${clear}  0 % [${' '.repeat(20)}] 0 of 2, one.npy, `), stdout)
  t.regex(stdout, /1 of 2, .*two\.npy, /)
  t.true(stdout.endsWith(clear), 'nothing is left of it')
  t.true(stdout.split(clear).every((line) => line.length < 70))
})

test('the line of progress: percentage, bar, inputs, time left, what is worked on', (t) => {
  const standing = { done: 0.42, seconds: 42, finished: 3, parts: 10, doing: ['eight.png', 'conv2', 'epsilon 0.1'] }
  t.is(
    progressText(standing, 120),
    ' 42 % [========            ] 3 of 10, about 58 s left, eight.png, conv2, epsilon 0.1',
  )
  t.is(progressText(standing, 50), ' 42 % 3 of 10, about 58 s left, eight.png, conv2\u2026')
  for (let columns = 0; columns < 130; columns++) t.true(progressText(standing, columns).length < Math.max(columns, 2))
  t.is(progressText({ ...standing, seconds: 0.5, parts: 1, doing: ['fc1'] }, 50), ' 42 % fc1', 'too early to guess')
  t.is(progressText({ ...standing, done: 1, doing: ['\u001b[31m'], parts: 1 }, 50), '100 % about 1 s left, ?[31m')
})

test('times as people say them', (t) => {
  const times = {
    0.2: '1 s',
    59.4: '59 s',
    60: '1 min',
    200: '3 min 20 s',
    3600: '1 h',
    9000: '2 h 30 min',
    1e5: '1 d 3 h',
  }
  for (const [seconds, said] of Object.entries(times)) t.is(showDuration(Number(seconds)), said)
})
