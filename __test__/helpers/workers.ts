/** Workers in processes of their own, and what they log. */
import { spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'

import type { ExecutionContext } from 'ava'

import { repositoryFile } from './process.js'

/** A line of the log. */
export interface LogLine {
  readonly level: string
  readonly msg: string
  readonly [key: string]: unknown
}

/** `lipbound worker`, running. */
export interface WorkerProcess {
  readonly child: ChildProcess
  /** What it has logged. */
  readonly log: readonly LogLine[]
  /** Waits for a line of the log, from the first one on. */
  logged: (message: string, times?: number) => Promise<void>
  /** Its exit status, once it has ended, or the signal that ended it. */
  readonly ended: Promise<number | NodeJS.Signals | null>
}

/** Starts a worker and waits until it is ready; it is ended with the test, if the test did not do it. */
export async function startWorkerProcess(t: ExecutionContext, ...args: readonly string[]): Promise<WorkerProcess> {
  const child = spawn(
    process.execPath,
    [repositoryFile('dist/cli/main.js'), 'worker', '--log-level', 'debug', ...args],
    // Several share the machine.
    { env: { ...process.env, LIPBOUND_THREADS: '1' }, stdio: ['ignore', 'ignore', 'pipe'] },
  )
  t.teardown(() => child.kill('SIGKILL'))
  const log: LogLine[] = []
  let rest = ''
  child.stderr.setEncoding('utf8').on('data', (text: string) => {
    const lines = (rest + text).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) log.push(JSON.parse(line) as LogLine)
  })
  const ended = once(child, 'close').then(([status, signal]) => (status ?? signal) as number | NodeJS.Signals | null)
  let over = false
  void ended.then(() => (over = true))
  const logged = async (message: string, times = 1): Promise<void> => {
    while (log.filter(({ msg }) => msg === message).length < times) {
      if (over) throw new Error(`the worker ended without '${message}': ${JSON.stringify(log.at(-1))} ${rest}`)
      await sleep(20)
    }
  }
  await logged('ready')
  return { child, log, logged, ended }
}
