// Puts together what is published, in a folder that git ignores: the package itself, and one for the addon of each platform.

import { cpSync, mkdirSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { root, run } from '../run.mjs'

/** Where packages are put together and packed. */
export const STAGING = join(root, 'target', 'packages')

/** What accompanies a binary: whose work is in it, and on what terms. */
export const NOTICES = ['LICENSE', 'THIRD-PARTY.md', 'THIRD-PARTY-LICENCES.txt']

const readJson = (path) => JSON.parse(readFileSync(path, 'utf8'))
const writeJson = (path, value) => {
  writeFileSync(path, `${JSON.stringify(value, undefined, 2)}\n`)
}

export const manifest = () => readJson(join(root, 'package.json'))

/** Name of the package of a platform. */
export const packageOf = (target) => `${manifest().name}-${target.name}`

/**
 * What the manifests of all packages have in common. Provenance asks for the repository, which is known where they are
 * published from.
 */
function shared({ version, license, author, engines }) {
  const repository = process.env.GITHUB_REPOSITORY
  const url = repository && { repository: { type: 'git', url: `git+https://github.com/${repository}.git` } }
  return { version, license, author, engines, ...url }
}

/** The folder of the package of a platform, with its addon, which is at `addon`. */
export function stagePlatform(target, addon) {
  const whole = manifest()
  const name = packageOf(target)
  const folder = join(STAGING, name)
  const file = `lipbound.${target.name}.node`
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  cpSync(addon, join(folder, file))
  for (const notice of NOTICES) cpSync(join(root, notice), join(folder, notice))
  writeJson(join(folder, 'package.json'), {
    name,
    description: `The native part of ${whole.name} for ${target.triple}`,
    ...shared(whole),
    os: [target.os],
    cpu: [target.cpu],
    ...(target.libc && { libc: [target.libc] }),
    main: file,
    files: [file, ...NOTICES.filter((notice) => notice !== 'LICENSE')],
  })
  writeFileSync(
    join(folder, 'README.md'),
    `# ${name}\n\nThe native part of [${whole.name}](https://www.npmjs.com/package/${whole.name}) for \`${target.triple}\`` +
      (target.glibc ? ` (glibc ${target.glibc} or newer)` : '') +
      `. npm installs it with \`${whole.name}\`, where it fits; by itself it is of no use.\n\n` +
      'It contains work of others, which `THIRD-PARTY.md` lists; `THIRD-PARTY-LICENCES.txt` has their licences.\n',
  )
  return folder
}

/**
 * The folder of the package itself, without an addon. It names the packages of the platforms `targets`, which only have to be
 * there when it is published: the lock of the repository could not name them before.
 */
export async function stageMain(targets) {
  const whole = manifest()
  const folder = join(STAGING, whole.name)
  rmSync(folder, { recursive: true, force: true })
  mkdirSync(folder, { recursive: true })
  const files = whole.files.filter((pattern) => !pattern.endsWith('.node') && pattern !== 'THIRD-PARTY-LICENCES.txt')
  for (const { path } of (await contents(root)).files) {
    if (path.endsWith('.node') || path === 'THIRD-PARTY-LICENCES.txt') continue
    cpSync(join(root, path), join(folder, path))
  }
  const forWork = ['scripts', 'devDependencies', 'overrides', 'napi']
  const kept = Object.fromEntries(Object.entries(whole).filter(([key]) => !forWork.includes(key)))
  writeJson(join(folder, 'package.json'), {
    ...kept,
    ...shared(whole),
    files,
    optionalDependencies: Object.fromEntries(targets.map((target) => [packageOf(target), whole.version])),
  })
  return folder
}

const json = (output) => JSON.parse(output.slice(output.indexOf('[\n'), output.lastIndexOf(']') + 1))[0]

/** What `npm pack` would take from a folder. */
export async function contents(folder) {
  const { code, output } = await run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    show: false,
    cwd: folder,
  })
  if (code !== 0) throw new Error(`npm pack: ${output.trim()}`)
  return json(output)
}

/** Packs a folder into a tarball in `place`. Returns what is in it, and where it is. */
export async function pack(folder, place = join(STAGING, 'tarballs')) {
  mkdirSync(place, { recursive: true })
  const args = ['pack', '--json', '--ignore-scripts', '--pack-destination', place]
  const { code, output } = await run('npm', args, { show: false, cwd: folder })
  if (code !== 0) throw new Error(`npm pack: ${output.trim()}`)
  const { name, version, filename, size, unpackedSize, files, integrity } = json(output)
  return {
    name,
    version,
    path: join(place, filename),
    packed: size,
    unpacked: unpackedSize,
    files: files.map(({ path }) => path),
    integrity,
    manifest: readJson(join(folder, 'package.json')),
  }
}

/** Empties the folder. */
export function clear() {
  rmSync(STAGING, { recursive: true, force: true })
}

/** The versions that have to be the same, with where each is: of npm and its lock, of the crates, and of the generated loader. */
export function versions() {
  const [, crates] = /^\[workspace\.package\]\nversion = "(.*)"/m.exec(readFileSync(join(root, 'Cargo.toml'), 'utf8'))
  const loader = /expected (\S+) but got/.exec(readFileSync(join(root, 'native.cjs'), 'utf8'))?.[1]
  const lock = readJson(join(root, 'package-lock.json')).version
  return { 'package.json': manifest().version, 'package-lock.json': lock, 'Cargo.toml': crates, 'native.cjs': loader }
}

/** Every digit of the examples, so that none is forgotten. */
export const digits = () =>
  readdirSync(join(root, 'examples', 'models', 'digits')).filter((name) => /\.(npy|png)$/.test(name))
