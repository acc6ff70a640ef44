/** The checks of what is published: that they find what is wrong. That all is well is for `npm run check:package` to say. */
import { spawnSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

import test from 'ava'
import type { ExecutionContext } from 'ava'

import { createDirectory } from './helpers/files.js'
import { repositoryFile } from './helpers/process.js'

interface Elf {
  machine?: string
  needed: string[]
  glibc: string
  stays: boolean
  debug: boolean
}

interface Tarball {
  name: string
  version: string
  path: string
  files: string[]
  packed: number
  unpacked: number
  integrity: string
  manifest: Record<string, unknown>
}

interface Sizes {
  packed: number
  unpacked: number
}

type Check = (text: string, answer: unknown) => Promise<boolean>

const script = (name: string): Promise<unknown> => import(new URL(`../scripts/${name}`, import.meta.url).href)
const { compare, objectionsToElf, readElf } = (await script('elf.mjs')) as {
  compare: (a: string, b: string) => number
  objectionsToElf: (elf: Elf, limits?: object) => string[]
  readElf: (path: string) => Promise<Elf>
}
const { BUDGET, objectionsToMain, objectionsToPlatform, objectionsToSize, sizes } = (await script(
  'release/contents.mjs',
)) as {
  BUDGET: Record<string, Sizes>
  objectionsToMain: (tarball: Tarball) => string[]
  objectionsToPlatform: (tarball: Tarball) => string[]
  objectionsToSize: (tarball: Tarball, budget?: Sizes) => string[]
  sizes: (tarball: Tarball, budget: Sizes) => string
}
const { lintPackage, resolutions } = (await script('release/types.mjs')) as {
  lintPackage: (tarball: Tarball) => Promise<string[]>
  resolutions: (tarball: Tarball) => Promise<string[]>
}
const { pack } = (await script('release/stage.mjs')) as {
  pack: (folder: string, place: string) => Promise<Tarball>
}
const { serve } = (await script('release/registry.mjs')) as {
  serve: (tarballs: Tarball[], upstream: string) => Promise<{ url: string; close: () => Promise<void> }>
}
const { createWorld } = (await script('release/world.mjs')) as {
  createWorld: (where: { registry: string; cache: string }) => {
    work: string
    run: (command: string, ...args: string[]) => Promise<{ code: number; output: string }>
    intruders: () => string[]
    remove: () => void
  }
}
const { TARGETS } = (await script('release/targets.mjs')) as {
  TARGETS: { name: string; triple: string; glibc?: string; state: string }[]
}
const { checks } = (await script('run.mjs')) as {
  checks: (print: (line: string) => void) => { counts: Record<string, number>; check: Check }
}

const manifest = JSON.parse(readFileSync(repositoryFile('package.json'), 'utf8')) as Record<string, unknown>

const good: Elf = { machine: 'AArch64', needed: ['libc.so.6', 'libm.so.6'], glibc: '2.17', stays: true, debug: false }
const limits = { machine: 'AArch64', glibc: '2.17', stripped: true }

test('versions are compared as numbers', (t) => {
  t.true(compare('2.9', '2.17') < 0)
  t.true(compare('2.17', '2.2.5') > 0)
  t.is(compare('2.17', '2.17'), 0)
  t.true(compare('2.17', '2.17.1') < 0)
})

test('an addon that asks for too much', (t) => {
  t.deepEqual(objectionsToElf(good, limits), [])
  const found = (change: Partial<Elf>): string => objectionsToElf({ ...good, ...change }, limits).join()
  t.regex(found({ glibc: '2.18' }), /wants GLIBC_2\.18; the limit is GLIBC_2\.17/)
  t.regex(found({ needed: ['libc.so.6', 'libgfortran.so.5'] }), /needs libgfortran\.so\.5, which/)
  t.regex(found({ needed: ['libopenblas.so.0'] }), /libopenblas/)
  t.regex(found({ stays: false }), /not to be unloaded/)
  t.regex(found({ machine: 'Advanced Micro Devices X86-64' }), /is for Advanced Micro Devices X86-64, not for AArch64/)
  t.regex(found({ debug: true }), /debug information/)
})

/** Compiles a library from C. */
function compiled(t: ExecutionContext, source: string, ...options: string[]): string {
  const files = createDirectory()
  t.teardown(() => {
    files.remove()
  })
  files.write('library.c', source)
  const path = `${files.path}/library.node`
  const done = spawnSync('cc', ['-shared', '-fPIC', ...options, '-o', path, `${files.path}/library.c`, '-lm'])
  t.is(done.status, 0, done.stderr.toString())
  return path
}

test('a real library with a symbol of a newer C library is found out', async (t) => {
  // The symbol `exp` has had a new version since glibc 2.29.
  const source = '#include <math.h>\ndouble f(double x) { return exp(x); }\n'
  const elf = await readElf(compiled(t, source, '-g', '-Wl,-z,nodelete'))
  t.true(compare(elf.glibc, '2.29') >= 0, elf.glibc)
  t.true(elf.stays)
  t.true(elf.debug)
  const wrong = objectionsToElf(elf, { glibc: '2.17', stripped: true })
  t.is(wrong.length, 2)
  t.regex(wrong[0] ?? '', new RegExp(`wants GLIBC_${elf.glibc}; the limit is GLIBC_2.17`))
  const plain = await readElf(compiled(t, 'int f(void) { return 1; }\n', '-Wl,--no-as-needed'))
  t.deepEqual(objectionsToElf(plain), ['is not marked as not to be unloaded (-z nodelete)'])
})

test('what is no library is refused', async (t) => {
  await t.throwsAsync(readElf(repositoryFile('package.json')), { message: /cannot be read/ })
  await t.throwsAsync(readElf(repositoryFile('nothing.node')), { message: /cannot be read/ })
})

const tarball = (files: string[], own: Record<string, unknown>): Tarball => ({
  name: 'lipbound-linux-x64-gnu',
  version: '0.1.0',
  path: '',
  files,
  packed: 1000,
  unpacked: 3000,
  integrity: '',
  manifest: own,
})

test('a package of a platform that lacks something, or has too much', (t) => {
  const own = {
    version: manifest['version'],
    main: 'lipbound.linux-x64-gnu.node',
    os: ['linux'],
    cpu: ['x64'],
    libc: ['glibc'],
    engines: {},
  }
  const files = [own.main, 'LICENSE', 'README.md', 'THIRD-PARTY.md', 'THIRD-PARTY-LICENCES.txt', 'package.json']
  t.deepEqual(objectionsToPlatform(tarball(files, own)), [])
  for (const name of files.filter((name) => name !== 'package.json')) {
    const rest = files.filter((one) => one !== name)
    t.deepEqual(objectionsToPlatform(tarball(rest, own)), [`${name} is not in it`])
  }
  t.deepEqual(objectionsToPlatform(tarball([...files, 'core'], own)), ['core is in it, and should not be'])
  t.deepEqual(objectionsToPlatform(tarball(files, { ...own, cpu: undefined })), ['package.json has no cpu'])
  t.regex(objectionsToPlatform(tarball(files, { ...own, version: '9.9.9' })).join(), /its version is 9\.9\.9/)
})

test('a package without what its manifest names, or its examples, or with what nobody needs', (t) => {
  const listed = spawnSync('npm', ['pack', '--dry-run', '--json', '--ignore-scripts'], {
    cwd: repositoryFile('.'),
    encoding: 'utf8',
  })
  const [{ files }] = JSON.parse(listed.stdout) as [{ files: { path: string }[] }]
  const names = files.map(({ path }) => path)
  t.deepEqual(objectionsToMain(tarball(names, manifest)), [])
  for (const name of [
    'dist/index.js',
    'dist/queue/index.d.ts',
    'dist/cli/main.js',
    'LICENSE',
    'examples/models/lenet.safetensors',
    'examples/models/digits/8.npy',
    'examples/models/digits/README.md',
  ]) {
    const rest = names.filter((one) => one !== name)
    t.deepEqual(objectionsToMain(tarball(rest, manifest)), [`${name} is not in it`])
  }
  for (const name of ['.npmrc', 'dist/.tsbuildinfo', 'dist/cli/main.test.js', 'npm.log']) {
    t.is(objectionsToMain(tarball([...names, name], manifest))[0], `${name} is in it, and should not be`)
  }
  t.regex(objectionsToMain(tarball([...names, 'dist/gone.js'], manifest)).join(), /^dist\/gone\.js has no source/)
})

test('a package over its budget', (t) => {
  const one = tarball([], {})
  t.deepEqual(objectionsToSize(one, { packed: 1000, unpacked: 3000 }), [])
  t.regex(objectionsToSize(one, { packed: 999, unpacked: 3000 }).join(), /^packed 0\.00 MB are more than the budget/)
  t.is(objectionsToSize(one, { packed: 999, unpacked: 2999 }).length, 2)
  t.regex(objectionsToSize(one, undefined).join(), /has no budget for lipbound-linux-x64-gnu/)
  t.regex(sizes({ ...one, packed: 2_000_000 }, { packed: 4e6, unpacked: 3000 }), /packed 2\.00 MB, 50 % of 4\.00 MB/)
  for (const { name, state } of TARGETS) t.is(`lipbound-${name}` in BUDGET, state !== 'planned', name)
})

test('a check fails that is false, that finds something, and that throws', async (t) => {
  const printed: string[] = []
  const { counts, check } = checks((line) => printed.push(line))
  t.true(await check('holds', true))
  t.true(await check('has nothing against it', []))
  t.true(await check('says nothing', () => undefined))
  t.false(await check('does not hold', false))
  t.false(await check('has something against it', () => ['something']))
  t.false(
    await check('breaks down', () => {
      throw new Error('down')
    }),
  )
  t.like(counts, { passed: 3, failed: 3 })
  t.deepEqual(printed.slice(-3), ['    something', '✘ breaks down', '    down'])
})

/** Packs a package of a few files. */
async function packed(t: ExecutionContext, files: Record<string, string>): Promise<Tarball> {
  const folder = createDirectory()
  t.teardown(() => {
    folder.remove()
  })
  for (const [name, text] of Object.entries(files)) folder.write(name, text)
  return pack(folder.path, folder.path)
}

test('types that are not found, and a manifest that names what is not there', async (t) => {
  const own = (more: object): string =>
    JSON.stringify({ name: 'lipbound-broken', version: '1.0.0', type: 'module', ...more })
  const types = await packed(t, {
    'package.json': own({ exports: { types: './index.d.cts', default: './index.js' } }),
    'index.js': 'export const a = 1\n',
    'index.d.cts': 'export declare const a: number\n',
  })
  t.regex((await resolutions(types)).join(), /FalseCJS/)
  const none = await packed(t, { 'package.json': own({ exports: './index.js' }), 'index.js': '' })
  t.deepEqual(await resolutions(none), ['it has no types'])
  const absent = await packed(t, { 'package.json': own({ exports: { '.': './nothing.js' } }), 'index.js': '' })
  t.regex((await lintPackage(absent)).join(), /nothing\.js/)
})

test('the registry has what is not published, and names another for the rest', async (t) => {
  const one = await packed(t, {
    'package.json': '{"name":"lipbound-fresh","version":"1.2.3"}',
    'index.js': '// fresh\n',
  })
  const registry = await serve([one], 'http://localhost:9/upstream/')
  t.teardown(registry.close)
  const other = await fetch(`${registry.url}@scope%2fother`, { redirect: 'manual' })
  t.is(other.status, 307)
  t.is(other.headers.get('location'), 'http://localhost:9/upstream/@scope%2fother')
  t.is((await fetch(`${registry.url}lipbound-linux-arm64-gnu`)).status, 404)

  const files = createDirectory()
  const world = createWorld({ registry: registry.url, cache: `${files.path}/cache` })
  t.teardown(() => {
    world.remove()
    files.remove()
  })
  t.deepEqual(world.intruders(), [])
  const { code, output } = await world.run('npm', 'install', 'lipbound-fresh')
  t.is(code, 0, output)
  t.is(readFileSync(`${world.work}/node_modules/lipbound-fresh/index.js`, 'utf8'), '// fresh\n')
  const compiler = await world.run('sh', '-c', 'command -v cc cargo rustc gcc python3 || echo none')
  t.is(compiler.output.trim(), 'none')
})

test('every target is told of as far as it has come', (t) => {
  const text = readFileSync(repositoryFile('docs/platforms.md'), 'utf8')
  const words = { run: 'built and run', emulated: 'built, run under emulation', planned: 'configured, never built' }
  for (const { triple, state, glibc } of TARGETS) {
    const row = text.split('\n').find((line) => line.includes(`\`${triple}\``)) ?? ''
    t.true(row.includes(words[state as keyof typeof words]), `${triple}: ${row}`)
    if (glibc !== undefined) t.true(row.includes(glibc), row)
  }
})
