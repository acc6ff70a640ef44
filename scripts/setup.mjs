// Makes a checkout ready to use: checks the tools, installs what is missing, builds the addon and the TypeScript.
// What is up to date is left alone. Needs Node alone: it runs before there are any dependencies.

import { createHash } from 'node:crypto'
import { existsSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join, relative } from 'node:path'
import { isMain, root, run } from './run.mjs'

const NODE = [20, 19]
const CARGO = [1, 89]

class SetupError extends Error {}

const say = (text) => {
  console.log(`setup: ${text}`)
}

/** `found` is a version text such as `v20.19.1` or `cargo 1.95.0 (…)`. */
function atLeast(found, [major, minor]) {
  const [, a, b] = /(\d+)\.(\d+)/.exec(found) ?? [0, 0, 0]
  return Number(a) > major || (Number(a) === major && Number(b) >= minor)
}

async function checkTools() {
  if (!atLeast(process.version, NODE)) {
    throw new SetupError(`Node ${NODE.join('.')} or newer is needed; this is ${process.version}`)
  }
  const cargo = await run('cargo', ['--version'], { show: false })
  if (cargo.code !== 0 || !atLeast(cargo.output, CARGO)) {
    const found = cargo.code === 0 ? cargo.output.trim() : 'none'
    throw new SetupError(`Rust ${CARGO.join('.')} or newer is needed (https://rustup.rs); found: ${found}`)
  }
}

/** The Debian packages that the build needs and that are not there. */
async function missingPackages() {
  const directory = `/usr/lib/${process.arch === 'arm64' ? 'aarch64' : 'x86_64'}-linux-gnu`
  const compiler = await run('cc', ['--version'], { show: false })
  return [
    compiler.code === 0 || 'gcc',
    compiler.code === 0 || 'libc6-dev',
    existsSync(`${directory}/liblapack_pic.a`) || 'liblapack-dev',
    existsSync(`${directory}/blas/libblas.a`) || 'libblas-dev',
  ].filter((name) => name !== true)
}

function hasApt() {
  const release = existsSync('/etc/os-release') ? readFileSync('/etc/os-release', 'utf8') : ''
  return /^ID(_LIKE)?=.*(debian|ubuntu)/m.test(release)
}

async function installPackages() {
  if (process.platform !== 'linux') {
    throw new SetupError(`the addon is built on Linux; on ${process.platform}, use a Linux machine or container`)
  }
  const missing = await missingPackages()
  if (missing.length > 0) await aptInstall(missing, 'install it and name its static libraries in .cargo/config.toml')
}

/** Installs Debian packages; `elsewhere` is what to do where there are none. */
async function aptInstall(packages, elsewhere) {
  const names = packages.join(' ')
  if (!hasApt()) throw new SetupError(`missing what Debian packages as ${names}: ${elsewhere}`)
  if (process.getuid() !== 0) {
    throw new SetupError(`missing packages; install them with: sudo apt-get install --no-install-recommends ${names}`)
  }
  say(`installing ${names}`)
  const env = { DEBIAN_FRONTEND: 'noninteractive' }
  const wait = ['-o', 'DPkg::Lock::Timeout=300']
  const install = () =>
    run('apt-get', [...wait, 'install', '-y', '--no-install-recommends', ...packages], { show: false, env })
  let result = await install()
  if (result.code !== 0) {
    await run('apt-get', [...wait, 'update'], { show: false, env })
    result = await install()
  }
  if (result.code !== 0) throw new SetupError(`apt-get could not install ${names}:\n${result.output}`)
}

/** Runs `npm ci` for the package in a folder, unless what is installed there came of the lock that is there now. */
async function installDependencies(folder, { args = [], env } = {}) {
  const stamp = join(folder, 'node_modules', '.lipbound-setup')
  const wanted = createHash('sha256')
    .update(readFileSync(join(folder, 'package-lock.json')))
    .update(`${process.platform} ${process.arch}`)
    .digest('hex')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return
  const where = relative(root, folder)
  say(`npm ci${where && ` in ${where}`}`)
  const { code } = await run('npm', ['ci', '--prefix', folder, ...args, '--no-audit', '--no-fund'], { env })
  if (code !== 0) throw new SetupError(`npm ci failed${where && ` in ${where}`}`)
  writeFileSync(stamp, wanted)
}

/** The times of all files under `paths`, of the directories too, since a file that went away changes those. */
function* times(paths) {
  for (const path of paths) {
    const entry = statSync(path, { throwIfNoEntry: false })
    yield entry?.mtimeMs
    if (entry?.isDirectory()) {
      const names = readdirSync(path).filter((name) => name !== 'target' && !name.startsWith('.'))
      yield* times(names.map((name) => join(path, name)))
    }
  }
}

/** Whether every output is there and no input is newer than any output. */
function upToDate(outputs, inputs) {
  const oldest = Math.min(...Array.from(times(outputs.map((path) => join(root, path))), (time) => time ?? -Infinity))
  return Array.from(times(inputs.map((path) => join(root, path)))).every((time) => (time ?? 0) < oldest)
}

async function build() {
  const addon = readdirSync(root).find((name) => /^lipbound\..*\.node$/.test(name)) ?? 'lipbound.node'
  const native = ['native.cjs', 'native.d.cts']
  const rust = ['crates', 'Cargo.toml', 'Cargo.lock', '.cargo/config.toml', 'package.json']
  if (!upToDate([addon, ...native], rust)) {
    say('building the native addon')
    const { code } = await run('npm', ['run', '--silent', 'build:native'])
    if (code !== 0) throw new SetupError('the native addon does not build')
  }
  const typescript = ['js', 'native.d.cts', 'tsconfig.json', 'tsconfig.build.json', 'package-lock.json']
  if (!upToDate(['dist/.tsbuildinfo'], typescript)) {
    say('building the TypeScript')
    const { code } = await run('npm', ['run', '--silent', 'build:ts'])
    if (code !== 0) throw new SetupError('the TypeScript does not build')
  }
}

/** Whether all of the steps went through. Prints what is wrong if one did not. */
async function succeeds(...steps) {
  try {
    for (const step of steps) await step()
    return true
  } catch (error) {
    if (!(error instanceof SetupError)) throw error
    console.error(`setup: ${error.message}`)
    return false
  }
}

/** Does all of it. Prints what is wrong and resolves with false if it cannot. */
export const setup = () =>
  succeeds(checkTools, installPackages, () => installDependencies(root, { args: ['--include=dev'] }), build)

/**
 * Installs onnxruntime, which only the tests need, and which is large. Its package has what runs on the processor;
 * without the variable it would fetch the libraries for graphics cards as well.
 */
export const setupReference = () =>
  succeeds(() =>
    installDependencies(join(root, '__test__', 'onnxruntime'), { env: { ONNXRUNTIME_NODE_INSTALL: 'skip' } }),
  )

/** Installs the toolchains that releases are built with (scripts/release/toolchain.mjs), and what unpacks them. */
export const setupToolchains = () =>
  succeeds(async () => {
    const { code } = await run('xz', ['--version'], { show: false })
    if (code !== 0) await aptInstall(['xz-utils'], 'install xz')
    await installDependencies(join(root, 'scripts', 'release', 'toolchain'))
  })

/** Installs Chromium, in which only the tests of how reports look open some. */
export const setupBrowser = () =>
  succeeds(async () => {
    const places = [process.env.CHROMIUM, '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']
    if (places.some((place) => place && existsSync(place))) return
    await aptInstall(['chromium'], 'install Chromium or Chrome and name its program in the variable CHROMIUM')
  })

/** Installs Redis, for the tests of queues. Its package would also start a server; the tests start their own. */
export const setupRedis = () =>
  succeeds(async () => {
    const places = [process.env.REDIS_SERVER, '/usr/bin/redis-server', '/usr/local/bin/redis-server']
    if (places.some((place) => place && existsSync(place))) return
    await aptInstall(['redis-server'], 'install Redis and name its program in the variable REDIS_SERVER')
  })

/** Installs PostgreSQL, for the tests of queues. */
export const setupPostgres = () =>
  succeeds(async () => {
    const debian = '/usr/lib/postgresql'
    const versions = existsSync(debian) ? readdirSync(debian).map((version) => join(debian, version, 'bin')) : []
    const places = [process.env.POSTGRES_BIN, ...versions]
    if (places.some((place) => place && existsSync(join(place, 'initdb')))) return
    await aptInstall(['postgresql'], 'install PostgreSQL and name the directory of its programs in POSTGRES_BIN')
  })

if (isMain(import.meta.url)) process.exitCode = (await setup()) ? 0 : 1
