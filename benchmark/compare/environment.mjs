// The virtual environments of the Python methods, made from the requirements beside this file.

import { spawnSync } from 'node:child_process'
import { createHash } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'

export const here = fileURLToPath(new URL('.', import.meta.url))

const requirements = { peers: 'requirements.txt', lirpa: 'requirements-lirpa.txt' }

/** Runs a command; throws what it said last if it fails. */
function must(command, args) {
  const { status, stdout, stderr, error } = spawnSync(command, args, { encoding: 'utf8' })
  if (status === 0) return stdout
  const said = (error?.message ?? `${stderr}`).trim().split('\n').at(-1)
  throw new Error(`${command} ${args.slice(0, 3).join(' ')}: ${said}`)
}

/** Where the Python of an environment is, or would be. */
export const pythonOf = (name) => join(here, '.venv', name, 'bin', 'python')

/**
 * Makes an environment, unless what is there came of the same requirements. It takes the Python named by the variable
 * `PYTHON`, or `python3`.
 */
export function install(name) {
  const file = join(here, requirements[name])
  const python = process.env['PYTHON'] ?? 'python3'
  const version = must(python, ['--version']).trim()
  const wanted = createHash('sha256').update(readFileSync(file)).update(version).digest('hex')
  const stamp = join(here, '.venv', name, 'complete')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return
  console.error(`compare: installing ${requirements[name]} (some gigabytes)`)
  must(python, ['-m', 'venv', '--clear', join(here, '.venv', name)])
  must(pythonOf(name), ['-m', 'pip', 'install', '--quiet', '--no-deps', '-r', file])
  writeFileSync(stamp, wanted)
}
