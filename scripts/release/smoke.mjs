// node scripts/release/smoke.mjs FOLDER: installs the tarballs in a folder that are for this machine, and uses them. For machines
// that have nothing but a checkout and Node; `npm run release:check` does more.

import { cpSync, mkdtempSync, readdirSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join, resolve } from 'node:path'
import { checks, finish, root, run } from '../run.mjs'
import { hereName } from './targets.mjs'

const folder = resolve(process.argv[2] ?? 'tarballs')
const { counts, check } = checks()
const work = mkdtempSync(join(tmpdir(), 'lipbound-smoke-'))

/** Runs a command in the empty directory; what went wrong, if anything did. */
async function succeeds(command, ...args) {
  const { code, output } = await run(command, args, { show: false, cwd: work })
  return code === 0 || [output.trim()]
}

try {
  const tarballs = readdirSync(folder).filter((name) => /^lipbound-\d.*\.tgz$/.test(name) || name.includes(hereName()))
  await check(`${folder} has a package, and an addon for ${hereName()}`, tarballs.length === 2 || tarballs)
  await check(`${tarballs.join(' and ')} can be installed`, () =>
    succeeds('npm', 'install', ...tarballs.map((name) => join(folder, name))),
  )
  for (const name of ['numbers.mjs', 'require.cjs', 'peers.mjs']) {
    cpSync(join(root, 'scripts', 'release', 'trial', name), join(work, name))
    await check(`${name} on Node ${process.version}`, () => succeeds(process.execPath, name))
  }
} finally {
  rmSync(work, { recursive: true, force: true })
}
finish(counts)
