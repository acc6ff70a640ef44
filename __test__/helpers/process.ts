/** Child processes: the command line, and probes that measure a process of their own. */
import { spawn } from 'node:child_process'
import { fileURLToPath } from 'node:url'

export interface Ended {
  status: number | null
  stdout: string
  stderr: string
}

const root = fileURLToPath(new URL('../../', import.meta.url))

/** A file of this repository, by its path from the root. */
export function repositoryFile(path: string): string {
  return `${root}${path}`
}

/** Milliseconds, more than anything here takes: what hangs is ended then, and fails its test. */
const PATIENCE = 540_000

/** Runs Node and waits for it to end. */
export function runNode(args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  return runProgram(process.execPath, args, env)
}

/** Runs a program and waits for it to end. */
export function runProgram(program: string, args: readonly string[], env: NodeJS.ProcessEnv = {}): Promise<Ended> {
  return new Promise((resolve, reject) => {
    const child = spawn(program, args, {
      cwd: root,
      env: { ...process.env, ...env },
      stdio: ['ignore', 'pipe', 'pipe'],
      timeout: PATIENCE,
    })
    const output = { stdout: '', stderr: '' }
    child.stdout.setEncoding('utf8').on('data', (text: string) => (output.stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => (output.stderr += text))
    child.on('error', reject)
    child.on('close', (status) => {
      resolve({ status, ...output })
    })
  })
}

/** Runs the command line as a user does. */
export function lipbound(...args: string[]): Promise<Ended> {
  return runNode(['dist/cli/main.js', ...args])
}

/** Runs a probe, a script that prints one JSON object, in a fresh process without the test runner in it. */
export async function probe(name: string): Promise<unknown> {
  const { status, stdout, stderr } = await runNode([
    '--expose-gc',
    '--import=@oxc-node/core/register',
    `__test__/probes/${name}.ts`,
  ])
  if (status !== 0) throw new Error(`probe ${name} ended with ${status}: ${stderr}`)
  return JSON.parse(stdout)
}
