// npm run check:supply: licences of all dependencies, the list of those that users get with the texts of their licences,
// and known advisories. npm run generate:licences writes list and texts.

import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { verdictOfCargo, verdictOfNpm } from './audits.mjs'
import { cratesOf, cratesOfTree, document, npmPackages, objections } from './licences.mjs'
import { STANDARD_LIBRARY, standardLibrary, texts } from './licences/texts.mjs'
import { finish, noCounts, root, run } from './run.mjs'

const LIST = 'THIRD-PARTY.md'
const TEXTS = 'THIRD-PARTY-LICENCES.txt'
const REFERENCE = join('__test__', 'onnxruntime')
const TOOLCHAINS = join('scripts', 'release', 'toolchain')
const SYSTEMS = ['x86_64-unknown-linux-gnu', 'aarch64-unknown-linux-gnu']
/** An answer that does not come is waited for once, not for minutes. */
const PATIENCE = ['--fetch-retries=0', '--fetch-timeout=20000']

const counts = noCounts()
const MARKS = { passed: '✔', failed: '✘', skipped: '-' }
function say(outcome, text) {
  counts[outcome] += 1
  console.log(`${MARKS[outcome]} ${text}`)
}

const lockOf = (folder) =>
  npmPackages(JSON.parse(readFileSync(join(root, folder, 'package-lock.json'), 'utf8')), join(root, folder))

function checkLicences(what, packages) {
  const against = objections(packages)
  if (packages.length === 0) say('failed', `${what}: there are none`)
  else if (against.length > 0) say('failed', `${what}:\n    ${against.join('\n    ')}`)
  else say('passed', `${what}: ${packages.length}`)
}

/** The standard output of cargo, which must succeed; what it says besides is shown. */
async function cargo(args) {
  const { code, output } = await run('cargo', args, { onLine: () => undefined })
  if (code === 0) return output
  say('failed', `cargo ${args[0]} ended with ${code}`)
  return undefined
}

/** The crates that are compiled into the addon on any system it is built for. */
async function cratesOfAddon() {
  const targets = SYSTEMS.flatMap((system) => ['--target', system])
  const edges = ['--edges', 'normal,no-proc-macro', '--prefix', 'none', '--format', '{p}|{l}']
  const output = await cargo(['tree', '--locked', '--package', 'lipbound-node', ...targets, ...edges])
  return output === undefined ? [] : cratesOfTree(output)
}

/** What the toolchain that is here says of its standard library. */
async function writeStandardLibrary() {
  const sysroot = (await run('rustc', ['--print', 'sysroot'], { show: false })).output.trim()
  const release = /^rustc (\S+)/.exec((await run('rustc', ['--version'], { show: false })).output)[1]
  const read = (...path) => readFileSync(join(sysroot, 'share', 'doc', 'rust', ...path), 'utf8')
  const own = ['Apache-2.0.txt', 'Unicode-3.0.txt'].map((name) => read('licenses', name))
  writeFileSync(join(root, STANDARD_LIBRARY), standardLibrary(read('COPYRIGHT-library.html'), own, release))
}

const read = (name) => (existsSync(join(root, name)) ? readFileSync(join(root, name), 'utf8') : '')

const packages = lockOf('.')
const metadata = JSON.parse((await cargo(['metadata', '--locked', '--format-version', '1'])) ?? '{"packages":[]}')
const folders = new Map(metadata.packages.map((one) => [`${one.name} ${one.version}`, dirname(one.manifest_path)]))
const crates = await cratesOfAddon()
const list = document({ packages, crates })
const textsOfCrates = () => texts(crates.map((one) => ({ ...one, folder: folders.get(`${one.name} ${one.version}`) })))

if (process.argv[2] === '--write') {
  await writeStandardLibrary()
  writeFileSync(join(root, LIST), list)
  writeFileSync(join(root, TEXTS), textsOfCrates())
} else {
  checkLicences('licences of npm packages', packages)
  // Of these the lock alone is known, which npm wrote from the packages themselves.
  const absent = packages.filter(({ installed }) => !installed)
  const missing = absent.filter(({ optional }) => !optional)
  if (absent.length > missing.length)
    console.log(`    ${absent.length - missing.length} of them for other systems, not here`)
  if (missing.length > 0) say('failed', `not installed: ${missing.map(({ name }) => name).join(', ')}`)
  checkLicences('licences of the packages of onnxruntime, for tests', lockOf(REFERENCE))
  checkLicences('licences of the toolchains of releases', lockOf(TOOLCHAINS))
  checkLicences('licences of crates', cratesOf(metadata))

  if (read(LIST) === list) say('passed', `${LIST} lists what users get`)
  else say('failed', `${LIST} is not what npm run generate:licences writes`)
  if (read(TEXTS) === textsOfCrates()) say('passed', `${TEXTS} has the licences of what is in the addon`)
  else say('failed', `${TEXTS} is not what npm run generate:licences writes`)

  for (const folder of ['.', REFERENCE, TOOLCHAINS]) {
    const { output } = await run('npm', ['audit', '--json', '--package-lock-only', '--prefix', folder, ...PATIENCE], {
      show: false,
    })
    const { outcome, text } = verdictOfNpm(output)
    say(outcome, `npm audit${folder === '.' ? '' : ` in ${folder}`}: ${text}`)
  }
  if ((await run('cargo', ['audit', '--version'], { show: false })).code === 0) {
    const { output } = await run('cargo', ['audit', '--json'], { show: false })
    const { outcome, text } = verdictOfCargo(output)
    say(outcome, `cargo audit: ${text}`)
  } else {
    say('skipped', 'cargo audit: not done: it is not installed (cargo install cargo-audit)')
  }
  finish(counts)
}
