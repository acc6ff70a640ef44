// An empty directory on a machine that has nothing: no compiler, no Rust, no Python, nobody's settings.

import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { delimiter, dirname, join } from 'node:path'
import { run } from '../run.mjs'

/** What a shell takes for granted. */
const TOOLS =
  'sh bash env cat cp mv rm mkdir ls head tail grep sed tr wc sleep uname dirname readlink test echo printf true'

/** What must not be found there. */
const FORBIDDEN = ['cargo', 'rustc', 'gcc', 'cc', 'clang', 'python', 'python3', 'make', 'node-gyp']

const find = (name) =>
  process.env.PATH.split(delimiter)
    .map((folder) => join(folder, name))
    .find((path) => existsSync(path))

/** The command-line program of npm that runs this, or the one that would. */
const npm = () => process.env.npm_execpath ?? realpathSync(find('npm'))

/** What reaches a registry from here is needed there too. */
const NETWORK = /^(https?_proxy|no_proxy|NODE_EXTRA_CA_CERTS|SSL_CERT_(FILE|DIR))$/i

/** Makes the directory. `registry` is where npm shall look for packages, `cache` where it keeps them. */
export function createWorld({ registry, cache }) {
  const place = realpathSync(mkdtempSync(join(tmpdir(), 'lipbound-release-')))
  const [tools, home, work] = ['bin', 'home', 'work'].map((name) => join(place, name))
  for (const folder of [tools, home, work]) mkdirSync(folder)
  for (const name of TOOLS.split(' ')) {
    const path = find(name)
    if (path !== undefined) symlinkSync(path, join(tools, name))
  }
  symlinkSync(process.execPath, join(tools, 'node'))
  for (const name of ['npm', 'npx']) {
    const program = join(dirname(npm()), `${name}-cli.js`)
    writeFileSync(join(tools, name), `#!/bin/sh\nexec node '${program}' "$@"\n`, { mode: 0o755 })
  }
  const network = Object.fromEntries(Object.entries(process.env).filter(([name]) => NETWORK.test(name)))
  const settings = { registry, cache, audit: 'false', fund: 'false', update_notifier: 'false' }
  const env = {
    ...network,
    PATH: tools,
    HOME: home,
    LANG: 'C.UTF-8',
    ...Object.fromEntries(Object.entries(settings).map(([name, value]) => [`npm_config_${name}`, value])),
  }
  return {
    /** Where things are installed. */
    work,
    env,
    /** The programs that must not be there, and are. */
    intruders: () => readdirSync(tools).filter((name) => FORBIDDEN.includes(name)),
    /** Runs a command there. */
    run: (command, ...args) => run(join(tools, command), args, { show: false, cwd: work, env, bare: true }),
    /** Writes a file there. */
    write: (name, text) => {
      mkdirSync(dirname(join(work, name)), { recursive: true })
      writeFileSync(join(work, name), text)
    },
    remove: () => {
      rmSync(place, { recursive: true, force: true })
    },
  }
}
