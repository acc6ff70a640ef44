// Installs tarballs where there is nothing, and uses them as a stranger would.

import { cpSync, existsSync, readdirSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { parseSummary, root, run } from '../run.mjs'
import { serve } from './registry.mjs'
import { compile } from './types.mjs'
import { createWorld } from './world.mjs'

const SNIPPETS = join('scripts', 'docs', 'snippets.mjs')
const NUMBERS = join('scripts', 'release', 'trial', 'numbers.mjs')

/** A setting of npm that is an address or a path; npm may say other things besides. */
const configOf = async (key) => {
  const { output } = await run('npm', ['config', 'get', key], { show: false })
  return output.split('\n').find((line) => /^(https?:\/\/|\/|[A-Z]:\\)/.test(line))
}

/** Runs something, and is what went wrong if it did not end well. */
async function succeeds(promise) {
  const { code, output } = await promise
  return code === 0 || [output.trim()]
}

/** What the checkout's build answers to the questions of `trial/numbers.mjs`. */
async function expectedNumbers() {
  const args = [NUMBERS, join(root, 'dist', 'index.js'), join(root, 'examples', 'models')]
  return JSON.parse((await run(process.execPath, args, { show: false })).output)
}

/**
 * Installs and tries. `check` and `skip` are those of `checks` in run.mjs.
 *
 * @param what - what is installed, as npm understands it: a name, or the path of a tarball
 * @param tarballs - what is not published yet
 * @param addon - name of the folder in `node_modules` that the addon is in
 */
export async function tryOut({ check, skip }, { what, tarballs, addon, thorough }) {
  const registry = await serve(tarballs, await configOf('registry'))
  const world = createWorld({ registry: registry.url, cache: await configOf('cache') })
  try {
    const node = (...args) => world.run('node', ...args)
    const program = (name) => {
      cpSync(join(root, 'scripts', 'release', 'trial', name), join(world.work, name))
      return node(name)
    }
    const installed = await check(
      `npm install ${what.split('/').at(-1)}, where there is neither compiler nor Python`,
      () => {
        const intruders = world.intruders()
        return intruders.length > 0 ? intruders : succeeds(world.run('npm', 'install', what))
      },
    )
    if (!installed) return
    await check(`the addon is in node_modules/${addon}, and nowhere else`, () => {
      const modules = join(world.work, 'node_modules')
      const found = readdirSync(modules)
        .filter((name) => name.startsWith('lipbound'))
        .filter((name) => readdirSync(join(modules, name)).some((file) => file.endsWith('.node')))
      return (found.length === 1 && found[0] === addon) || [`it is in: ${found.join(', ')}`]
    })
    await check('the bounds of the "8" are those of the checkout', async () => {
      const { code, output } = await program('numbers.mjs')
      return code === 0 ? differences(JSON.parse(output), await expectedNumbers()) : [output.trim()]
    })
    await check('npx lipbound bounds the "8" too', () => commandLine(world))
    if (!thorough) return
    await check('require() loads all entry points, and the same module as import', () =>
      succeeds(program('require.cjs')),
    )
    await check('without optional packages, errors name them, and all else works', () => succeeds(program('peers.mjs')))
    await typesHold(check, world)
    await snippets({ check, skip }, world)
    await check('without the package of the platform, the error names it', () => {
      renameSync(join(world.work, 'node_modules', addon), join(world.work, 'elsewhere'))
      return succeeds(program('absent.mjs'))
    })
  } finally {
    world.remove()
    await registry.close()
  }
}

/** Where numbers differ by more than the functions of another C library may round. */
function differences(found, expected, path = '') {
  if (typeof expected === 'number') {
    const near = Math.abs(found - expected) <= 1e-12 * Math.abs(expected)
    return near ? [] : [`${path}: ${found} instead of ${expected}`]
  }
  if (typeof expected !== 'object') return found === expected ? [] : [`${path}: ${found} instead of ${expected}`]
  return Object.keys(expected).flatMap((key) => differences(found?.[key], expected[key], path ? `${path}.${key}` : key))
}

async function commandLine(world) {
  const models = 'node_modules/lipbound/examples/models'
  const ask = ['bound', `${models}/lenet.json`, '--input', `${models}/digits/8.png`]
  const options = ['--epsilon', '0.01', '--method', 'layerwise', '--seed', '1', '--json']
  const { code, output } = await world.run('npx', '--no-install', 'lipbound', ...ask, ...options)
  if (code !== 0) return [output.trim()]
  const { upper } = JSON.parse(output)
  return (upper > 280 && upper < 290) || [`its upper end is ${upper}`]
}

/**
 * The tests of types, where the optional packages are missing. Who has the compiler look into the types of packages is told which
 * ones are missing, and nothing else; others are not bothered.
 */
async function typesHold(check, world) {
  const [own, optional] = [
    ['lipbound.ts', 'report.ts'],
    ['queue.ts', 'fastify.ts'],
  ]
  for (const name of [...own, ...optional]) cpSync(join(root, '__test__', 'types', name), join(world.work, name))
  await check('types hold, also those of what it needs', () => compile(world.work, own, { thorough: true }))
  await check('types of queues and services hold without their packages', () => compile(world.work, optional))
  await check('a compiler that looks into them names the packages', async () => {
    const errors = await compile(world.work, optional, { thorough: true })
    const missing = errors.map((error) => /TS2307: Cannot find module '([^']+)'/.exec(error)?.[1])
    const named = ['bullmq', 'fastify'].filter((name) => !missing.includes(name)).map((name) => `${name} is not named`)
    return [...named, ...errors.filter((_, i) => !['bullmq', 'fastify'].includes(missing[i]))]
  })
}

/** The snippets of the README, each of which counts. */
async function snippets({ check, skip }, world) {
  if (!existsSync(join(root, SNIPPETS))) {
    skip(`the snippets of the README are not run: there is no ${SNIPPETS}`)
    return
  }
  const args = [join(root, SNIPPETS), '--in', world.work, join(root, 'README.md')]
  const { code, output } = await run(process.execPath, args, { show: false, env: world.env, bare: true })
  const counts = parseSummary(output.trim().split('\n').at(-1))
  await check(`the snippets of the README run there${counts ? `: ${counts.passed}` : ''}`, () =>
    code === 0 && counts?.passed > 0 && counts.failed === 0 ? true : [output.trim()],
  )
}
