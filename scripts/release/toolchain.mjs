// A gcc that links against glibc 2.17, so that what it makes runs on every Linux since 2014.
//
// The toolchains are packages of npm (crosstool-NG, put together by napi-rs), pinned by a lock of their own, because only a
// release needs them and they are large. `napi build --use-napi-cross` would fetch others, which the registry does not have.

import { createHash } from 'node:crypto'
import { chmodSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root, run } from '../run.mjs'
import { setupToolchains } from '../setup.mjs'

const home = join(root, 'scripts', 'release', 'toolchain')

/** The archive of a target's toolchain. */
function archiveOf(target) {
  const [machine] = target.triple.split('-')
  return join(home, 'node_modules', '@napi-rs', `cross-toolchain-x64-target-${machine}`, `${target.triple}.tar.xz`)
}

/** Unpacks the toolchain of a target, unless it is there. Returns where it is. */
async function unpack(target) {
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new Error(`the toolchains run on x64 Linux, and this is ${process.platform} on ${process.arch}`)
  }
  if (!(await setupToolchains())) throw new Error('the toolchains could not be installed')
  const archive = archiveOf(target)
  const wanted = createHash('sha256')
    .update(readFileSync(join(home, 'package-lock.json')))
    .digest('hex')
  const folder = join(root, 'target', 'toolchains', target.triple)
  const stamp = join(folder, '.lipbound')
  if (existsSync(stamp) && readFileSync(stamp, 'utf8') === wanted) return folder
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const { code, output } = await run('tar', ['-xJf', archive, '-C', folder], { show: false })
  if (code !== 0) throw new Error(`${archive} cannot be unpacked: ${output.trim()}`)
  writeFileSync(stamp, wanted)
  return folder
}

/**
 * What cargo has to be told so that it builds for a target with its toolchain.
 *
 * LAPACK lies beside the C library of the machine, in a folder that the linker is told of. The wrapper names the folders of the
 * old C library before it, or the linker would take the new one.
 */
export async function environmentOf(target) {
  const folder = await unpack(target)
  const tool = (name) => join(folder, 'bin', `${target.triple}-${name}`)
  const libraries = join(folder, target.triple, 'sysroot', 'usr', 'lib')
  const linker = join(folder, 'linker')
  writeFileSync(linker, `#!/bin/sh\nexec '${tool('gcc')}' '-L${libraries}' "$@"\n`)
  chmodSync(linker, 0o755)
  const suffix = target.triple.replaceAll('-', '_')
  return {
    [`CARGO_TARGET_${suffix.toUpperCase()}_LINKER`]: linker,
    [`CC_${suffix}`]: tool('gcc'),
    [`AR_${suffix}`]: tool('ar'),
  }
}
