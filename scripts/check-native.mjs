// npm run check:native: the built addon needs nothing but the C library and stays mapped once it is loaded.

import { readdirSync } from 'node:fs'
import { finish, noCounts, root, run } from './run.mjs'

const allowed = /^(libc\.so\.6|libm\.so\.6|libgcc_s\.so\.1|ld-linux-(x86-64\.so\.2|aarch64\.so\.1))$/

const counts = noCounts()
function check(ok, text) {
  counts[ok ? 'passed' : 'failed'] += 1
  console.log(`${ok ? '✔' : '✘'} ${text}`)
}

const addons = readdirSync(root).filter((name) => /^lipbound\..*\.node$/.test(name))
if (addons.length === 0) check(false, 'no addon is built; npm run setup builds it')
for (const addon of addons) {
  const { code, output } = await run('readelf', ['--dynamic', '--wide', addon], { show: false, env: { LC_ALL: 'C' } })
  const needed = Array.from(output.matchAll(/\(NEEDED\).*\[(.+)\]/g), (match) => match[1])
  const foreign = needed.filter((name) => !allowed.test(name))
  if (code !== 0 || needed.length === 0) {
    check(false, `${addon} cannot be read: ${output.trim()}`)
  } else if (foreign.length > 0) {
    check(false, `${addon} needs ${foreign.join(', ')}, which another machine may not have`)
  } else {
    check(true, `${addon} needs ${needed.join(', ')} alone`)
    check(/\(FLAGS_1\).*NODELETE/.test(output), `${addon} is marked as not to be unloaded`)
  }
}
finish(counts)
