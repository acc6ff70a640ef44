// Builds the addon as it is published: for glibc 2.17, optimised, without debug information.

import { copyFileSync, existsSync, mkdirSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { root, run } from '../run.mjs'
import { environmentOf } from './toolchain.mjs'

/** Apart from other builds, which are linked otherwise. */
const BUILDS = join(root, 'target', 'distribution-builds')

/** What Debian calls the architecture of a target. */
const debianOf = (target) => (target.cpu === 'x64' ? 'amd64' : target.cpu)

/** Builds the addon of a target and copies it to `path`. */
export async function buildAddon(target, path) {
  if (target.lapack === undefined) {
    throw new Error(`${target.name} is not built here: docs/platforms.md says what is known of it`)
  }
  if (!existsSync(join(target.lapack, 'liblapack_pic.a')) || !existsSync(join(target.lapack, 'blas', 'libblas.a'))) {
    const architecture = debianOf(target)
    throw new Error(
      `LAPACK for ${target.name} is not in ${target.lapack}; on Debian, install it with:\n` +
        `dpkg --add-architecture ${architecture} && apt-get update && ` +
        `apt-get install liblapack-dev:${architecture} libblas-dev:${architecture}`,
    )
  }
  const args = ['build', '--locked', '--profile', 'distribution', '--package', 'lipbound-node']
  const where = ['--target', target.triple, '--target-dir', BUILDS]
  const { code } = await run('cargo', [...args, ...where], { env: await environmentOf(target) })
  if (code !== 0) throw new Error(`the addon for ${target.name} does not build`)
  mkdirSync(dirname(path), { recursive: true })
  copyFileSync(join(BUILDS, target.triple, 'distribution', 'liblipbound_node.so'), path)
}

/** Takes the addon that the checkout is tested with, without what only those who debug it need. */
export async function takeAddon(target, path) {
  const addon = join(root, `lipbound.${target.name}.node`)
  if (!existsSync(addon)) throw new Error(`there is no addon for ${target.name}; npm run setup builds it`)
  mkdirSync(dirname(path), { recursive: true })
  const { code, output } = await run('strip', ['--strip-unneeded', '-o', path, addon], { show: false })
  if (code !== 0) throw new Error(`strip: ${output.trim()}`)
}
