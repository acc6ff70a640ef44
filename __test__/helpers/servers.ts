/** Redis and PostgreSQL for tests: each on a free port of this machine alone, with its data in a directory of its own. */
import { execFileSync, spawn } from 'node:child_process'
import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { chownSync, existsSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'

import { Client } from 'pg'

/** A server that runs. */
export interface TestServer {
  /** Where it is. */
  readonly url: string
  /** Ends it as a crash does, and starts it again with the data that it had. */
  restart: () => Promise<void>
  /** Ends it and removes its data. */
  remove: () => Promise<void>
}

/** Redis, or undefined where there is none. */
export const redisPath = [process.env['REDIS_SERVER'], '/usr/bin/redis-server', '/usr/local/bin/redis-server'].find(
  (place) => place !== undefined && existsSync(place),
)

/** The directory of PostgreSQL's programs, or undefined where there is none. */
export const postgresPath = [process.env['POSTGRES_BIN'], ...debianPostgres()].find(
  (place) => place !== undefined && existsSync(join(place, 'initdb')),
)

/** Debian has a directory for each version; the newest comes first. */
function debianPostgres(): string[] {
  const directory = '/usr/lib/postgresql'
  if (!existsSync(directory)) return []
  const versions = readdirSync(directory).sort((a, b) => Number(b) - Number(a))
  return versions.map((version) => join(directory, version, 'bin'))
}

/** Redis that keeps every change in a file. */
export async function startRedis(): Promise<TestServer> {
  const port = await freePort()
  const directory = mkdtempSync(join(tmpdir(), 'lipbound-redis-'))
  const program = redisPath ?? 'redis-server'
  const args = ['--port', `${port}`, '--bind', '127.0.0.1', '--dir', directory, '--appendonly', 'yes', '--save', '']
  const start = async (): Promise<ChildProcess> => {
    const child = spawn(program, args, { stdio: ['ignore', 'pipe', 'inherit'] })
    await saying(child, child.stdout, 'Ready to accept connections')
    return child
  }
  return serverOf(`redis://127.0.0.1:${port}`, directory, 'SIGKILL', start)
}

/** PostgreSQL with an empty database; it does not run as root, but as the user that its package makes. */
export async function startPostgres(): Promise<TestServer> {
  const port = await freePort()
  const directory = mkdtempSync(join(tmpdir(), 'lipbound-postgres-'))
  const programs = postgresPath ?? ''
  const user = process.getuid?.() === 0 ? userOf('postgres') : undefined
  if (user !== undefined) chownSync(directory, user.uid, user.gid)
  const data = join(directory, 'data')
  const settings = { cwd: directory, ...user }
  execFileSync(
    join(programs, 'initdb'),
    ['-D', data, '-A', 'trust', '-U', 'lipbound', '-E', 'UTF8', '--locale=C', '--no-sync'],
    { ...settings, stdio: ['ignore', 'ignore', 'inherit'] },
  )
  const url = `postgres://lipbound@127.0.0.1:${port}/postgres`
  const given = ['listen_addresses=127.0.0.1', 'unix_socket_directories=', 'fsync=off', 'logging_collector=off']
  const args = ['-D', data, '-p', `${port}`, ...given.flatMap((setting) => ['-c', setting])]
  const start = async (): Promise<ChildProcess> => {
    const child = spawn(join(programs, 'postgres'), args, { ...settings, stdio: 'ignore' })
    while (!(await answers(url))) {
      if (child.exitCode !== null) throw new Error(`postgres ended with ${child.exitCode}`)
      await sleep(50)
    }
    return child
  }
  // At once, without leaving anybody time to finish.
  return serverOf(url, directory, 'SIGQUIT', start)
}

async function serverOf(
  url: string,
  directory: string,
  crash: NodeJS.Signals,
  start: () => Promise<ChildProcess>,
): Promise<TestServer> {
  let child = await start()
  const stop = async (): Promise<void> => {
    const ended = once(child, 'exit')
    if (child.exitCode === null && child.signalCode === null && child.kill(crash)) await ended
  }
  // Whatever becomes of the tests.
  process.once('exit', () => child.kill(crash))
  return {
    url,
    restart: async () => {
      await stop()
      child = await start()
    },
    remove: async () => {
      await stop()
      rmSync(directory, { recursive: true, force: true })
    },
  }
}

async function answers(url: string): Promise<boolean> {
  const client = new Client({ connectionString: url })
  client.on('error', () => undefined)
  try {
    await client.connect()
    await client.query('SELECT 1')
    return true
  } catch {
    return false
  } finally {
    await client.end().catch(() => undefined)
  }
}

/** Waits until a process has written some text. */
async function saying(child: ChildProcess, output: NodeJS.ReadableStream, text: string): Promise<void> {
  let written = ''
  await new Promise<void>((resolve, reject) => {
    output.setEncoding('utf8').on('data', (chunk: string) => {
      written += chunk
      if (written.includes(text)) resolve()
    })
    child.once('error', reject)
    child.once('exit', (status) => {
      reject(new Error(`${child.spawnfile} ended with ${status}: ${written}`))
    })
  })
}

function userOf(name: string): { uid: number; gid: number } {
  const id = (flag: string): number => Number(execFileSync('id', [flag, name], { encoding: 'utf8' }))
  return { uid: id('-u'), gid: id('-g') }
}

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer()
    server.once('error', reject)
    server.listen(0, '127.0.0.1', () => {
      const address = server.address()
      server.close(() => {
        if (typeof address === 'object' && address !== null) resolve(address.port)
        else reject(new Error('no port'))
      })
    })
  })
}
