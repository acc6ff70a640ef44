// npm run release:check [-- --target NAME...]: builds what would be published, checks it, installs it where there is nothing
// and uses it. Publishes nothing. npm run check:package does the same with the addon that the tests built.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { objectionsToElf, readElf } from '../elf.mjs'
import { STANDARD_LIBRARY } from '../licences/texts.mjs'
import { checks, finish, root, run } from '../run.mjs'
import { setup } from '../setup.mjs'
import { buildAddon, takeAddon } from './build.mjs'
import { BUDGET, objectionsToMain, objectionsToPlatform, objectionsToSize, sizes } from './contents.mjs'
import { STAGING, clear, pack, packageOf, stageMain, stagePlatform, versions } from './stage.mjs'
import { hereName, targetOf } from './targets.mjs'
import { tryOut } from './trial.mjs'
import { lintPackage, resolutions } from './types.mjs'

const { values } = parseArgs({
  options: { tested: { type: 'boolean', default: false }, target: { type: 'string', multiple: true } },
})
const report = checks()
const { counts, check } = report

/** Builds, checks and packs the addon of one target; undefined where that did not go through. */
async function platform(target) {
  const addon = join(STAGING, 'addons', `lipbound.${target.name}.node`)
  const built = await check(
    `${target.name}: the addon is ${values.tested ? 'taken from the tests' : 'built'}`,
    async () => {
      await (values.tested ? takeAddon : buildAddon)(target, addon)
    },
  )
  if (!built) return undefined
  // What the tests are built with is as new as the machine.
  const limits = { machine: target.machine, stripped: true, ...(values.tested ? {} : { glibc: target.glibc }) }
  await check(
    `${target.name}: it needs nothing but the C library${values.tested ? '' : `, glibc ${target.glibc} or newer`}`,
    async () => objectionsToElf(await readElf(addon), limits),
  )
  const tarball = await pack(stagePlatform(target, addon))
  await check(`${tarball.name}: it has what it must have`, objectionsToPlatform(tarball))
  await check(
    `${tarball.name}: ${sizes(tarball, BUDGET[tarball.name])}`,
    objectionsToSize(tarball, BUDGET[tarball.name]),
  )
  return tarball
}

/** Packs and checks the package itself, for the platforms whose packages there are. */
async function main(targets) {
  const tarball = await pack(await stageMain(targets))
  await check(`${tarball.name}: it has what it must have, and no addon`, [
    ...objectionsToMain(tarball),
    ...tarball.files.filter((path) => path.endsWith('.node')),
  ])
  await check(`${tarball.name}: ${sizes(tarball, BUDGET.lipbound)}`, objectionsToSize(tarball, BUDGET.lipbound))
  await check(`${tarball.name}: publint has nothing against it`, () => lintPackage(tarball))
  await check(`${tarball.name}: types are found wherever they are looked for`, () => resolutions(tarball))
  return tarball
}

if (await check('everything is set up', () => setup())) {
  clear()
  const here = targetOf(hereName())
  const targets = (values.target ?? [here.name]).map(targetOf)
  await check('versions agree', () => {
    const found = Object.entries(versions())
    return found.every(([, version]) => version === found[0][1]) || found.map((pair) => pair.join(' says '))
  })
  if (!values.tested) {
    await check('the notices of the standard library are those of the rustc that builds', async () => {
      const { output } = await run('rustc', ['--version'], { show: false })
      const [, release] = /^rustc (\S+)/.exec(output) ?? []
      const notices = readFileSync(join(root, STANDARD_LIBRARY), 'utf8')
      return (
        notices.includes(`standard library of Rust ${release},`) || [
          `this is Rust ${release}: npm run generate:licences`,
        ]
      )
    })
  }
  const tarballs = []
  for (const target of targets) tarballs.push(await platform(target))
  const built = tarballs.filter((tarball) => tarball !== undefined)
  const whole = await main(targets)
  if (targets.includes(here) && built.some(({ name }) => name === packageOf(here))) {
    await tryOut(report, {
      what: whole.name,
      tarballs: [whole, ...built],
      addon: packageOf(here),
      thorough: true,
    })
  }
  if (!values.tested) {
    // Not beside what is published, whose name it has.
    const plain = await pack(root, join(STAGING, 'plain'))
    await check('npm pack in the checkout: it has what it must have', objectionsToMain(plain))
    await tryOut(report, { what: plain.path, tarballs: [], addon: plain.name, thorough: false })
  }
}
finish(counts)
