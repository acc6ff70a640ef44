// Shared by the scripts: running commands, and the one-line summary that each of them ends with.

import { spawn } from 'node:child_process'
import { dirname, join } from 'node:path'
import { fileURLToPath, pathToFileURL } from 'node:url'

export const root = dirname(dirname(fileURLToPath(import.meta.url)))

/** Path of a program that a dev dependency brings. */
export const bin = (name) => join(root, 'node_modules', '.bin', name)

/** Whether the module was started as a program, and not imported. */
export const isMain = (url) => process.argv[1] !== undefined && url === pathToFileURL(process.argv[1]).href

/**
 * Runs a command, in the root of the repository unless `cwd` says otherwise, without standard input.
 *
 * `show` passes its output on as it comes; `onLine` gets its standard output line by line instead.
 * `env` is added to the environment, or is all of it where that is to be `bare`.
 * Resolves with the exit code (127 if there is no such program) and what was captured.
 */
export function run(command, args, { show = true, onLine, env, cwd = root, bare = false } = {}) {
  const stdout = show && !onLine ? 'inherit' : 'pipe'
  return new Promise((resolve) => {
    const child = spawn(command, args, {
      cwd,
      env: bare ? env : { ...process.env, ...env },
      stdio: ['ignore', stdout, show ? 'inherit' : 'pipe'],
    })
    let output = ''
    let rest = ''
    const collect = (chunk) => {
      output += chunk
    }
    child.stdout?.setEncoding('utf8').on('data', (chunk) => {
      collect(chunk)
      if (!onLine) return
      const lines = (rest + chunk).split('\n')
      rest = lines.pop()
      lines.forEach(onLine)
    })
    child.stderr?.setEncoding('utf8').on('data', collect)
    child.on('error', (error) => {
      resolve({ code: 127, output: error.message })
    })
    child.on('close', (code) => {
      if (rest) onLine(rest)
      resolve({ code: code ?? 1, output })
    })
  })
}

/** Counts of checks that passed, failed and were skipped. */
export const noCounts = () => ({ passed: 0, failed: 0, skipped: 0 })

/** Adds `more` to `counts`. */
export function add(counts, more) {
  for (const key of Object.keys(counts)) counts[key] += more[key]
}

/**
 * Checks that are printed and counted as they are made. `check(text, answer)` takes whether it holds, or what is wrong as
 * texts, or a function that finds out; one that throws has failed. Resolves with whether it passed.
 */
export function checks(print = console.log) {
  const counts = noCounts()
  async function check(text, answer) {
    let wrong
    try {
      const found = typeof answer === 'function' ? await answer() : answer
      wrong = found === true || found === undefined ? [] : found === false ? [''] : found
    } catch (error) {
      wrong = [error.message]
    }
    const passed = wrong.length === 0
    counts[passed ? 'passed' : 'failed'] += 1
    print(`${passed ? '✔' : '✘'} ${text}`)
    for (const line of wrong.filter(Boolean)) print(`    ${line.replaceAll('\n', '\n    ')}`)
    return passed
  }
  const skip = (text) => {
    counts.skipped += 1
    print(`- ${text}`)
  }
  return { counts, check, skip }
}

/** The closing line of a script. */
export function summary({ passed, failed, skipped }) {
  return `${passed} passed, ${failed} failed${skipped ? `, ${skipped} skipped` : ''}`
}

/** Reads a closing line; undefined if it is another line. */
export function parseSummary(line) {
  const match = /^(\d+) passed, (\d+) failed(?:, (\d+) skipped)?$/.exec(line)
  return match && { passed: Number(match[1]), failed: Number(match[2]), skipped: Number(match[3] ?? 0) }
}

/** Prints the closing line and sets the exit code: 0 if something was checked and nothing failed. */
export function finish(counts) {
  console.log(`\n${summary(counts)}`)
  process.exitCode = counts.failed === 0 && counts.passed > 0 ? 0 : 1
}
