/** What `npm run check:supply` makes of licences, locks and the answers of audits. */
import { mkdirSync } from 'node:fs'

import test from 'ava'

import { createDirectory } from './helpers/files.js'

interface Package {
  name: string
  version: string
  licence?: string
  production?: boolean
  optional?: boolean
  installed?: boolean
}

interface Verdict {
  outcome: 'passed' | 'failed' | 'skipped'
  text: string
}

const script = (name: string): Promise<unknown> => import(new URL(`../scripts/${name}`, import.meta.url).href)
const { objection, objections, npmPackages, cratesOf, cratesOfTree, document } = (await script('licences.mjs')) as {
  objection: (licence: unknown) => string | undefined
  objections: (packages: Package[]) => string[]
  npmPackages: (lock: object, folder: string) => Package[]
  cratesOf: (metadata: object) => Package[]
  cratesOfTree: (output: string) => Package[]
  document: (shipped: { packages: Package[]; crates: Package[] }) => string
}
const { gathered, standardLibrary, textsOf } = (await script('licences/texts.mjs')) as {
  gathered: (works: { name: string; texts: string[] }[]) => { names: string[]; text: string }[]
  standardLibrary: (html: string, own: string[], release: string) => string
  textsOf: (name: string, folder: string) => string[]
}
const { verdictOfNpm, verdictOfCargo } = (await script('audits.mjs')) as {
  verdictOfNpm: (output: string) => Verdict
  verdictOfCargo: (output: string) => Verdict
}

test('licences on the list, alone and combined', (t) => {
  for (const licence of [
    'MIT',
    'MIT/Apache-2.0',
    'Apache-2.0 / MIT',
    '(MIT AND CC-BY-3.0)',
    '(MIT OR Apache-2.0) AND Unicode-3.0',
    'MIT OR GPL-3.0-only',
    'MIT OR Apache-2.0 OR LGPL-2.1-or-later',
    'Apache-2.0 WITH LLVM-exception',
  ]) {
    t.is(objection(licence), undefined, licence)
  }
})

test('licences that are not on the list are named', (t) => {
  for (const licence of ['GPL-3.0-only', 'MIT AND GPL-2.0-or-later', 'AGPL-3.0-or-later', 'SSPL-1.0']) {
    t.is(objection(licence), `has the licence ${licence}, which is not on the list`)
  }
  for (const licence of ['SEE LICENSE IN LICENSE.md', 'UNLICENSED', 'BSD', 'MIT,']) {
    t.is(objection(licence), `has '${licence}' for a licence, which is no SPDX expression`)
  }
  for (const licence of [undefined, '', ' ']) t.is(objection(licence), 'names no licence')
  t.deepEqual(objections([{ name: 'good', version: '1.0.0', licence: 'ISC' }]), [])
  t.deepEqual(objections([{ name: 'bad', version: '1.2.3' }]), ['bad 1.2.3 names no licence'])
  // What was read for a tool of development may not reach users, nor change.
  const words = { name: '@cspell/dict-django', version: '4.1.7', licence: 'WTFPL', production: false }
  t.deepEqual(objections([words]), [])
  t.is(objections([{ ...words, production: true }]).length, 1)
  t.is(objections([{ ...words, licence: 'GPL-3.0-only' }]).length, 1)
  t.is(objections([{ ...words, name: '@cspell/dict-other' }]).length, 1)
})

test('a lock of npm', (t) => {
  const files = createDirectory()
  t.teardown(() => {
    files.remove()
  })
  for (const name of ['used', 'silent']) mkdirSync(`${files.path}/node_modules/${name}`, { recursive: true })
  files.write('node_modules/used/package.json', '{}')
  files.write('node_modules/silent/package.json', JSON.stringify({ license: { type: 'ISC' } }))
  const packages = {
    '': { name: 'mine', license: 'MIT' },
    'node_modules/used': { version: '1.0.0', license: 'MIT' },
    'node_modules/tool': { version: '2.0.0', license: 'MIT', dev: true },
    // Once for tools and once for users: users get it.
    'node_modules/tool/node_modules/@scope/both': { version: '3.0.0', license: 'ISC', dev: true },
    'node_modules/used/node_modules/@scope/both': { version: '3.0.0', license: 'ISC' },
    'node_modules/elsewhere': { version: '4.0.0', license: 'MIT', optional: true },
    'node_modules/alias': { name: 'real', version: '5.0.0', license: 'MIT', dev: true },
    'node_modules/silent': { version: '6.0.0', dev: true },
  }
  const found = npmPackages({ packages }, files.path)
  t.deepEqual(
    found.map(({ name, version, licence }) => [name, version, licence]),
    [
      ['@scope/both', '3.0.0', 'ISC'],
      ['elsewhere', '4.0.0', 'MIT'],
      ['real', '5.0.0', 'MIT'],
      ['silent', '6.0.0', 'ISC'],
      ['tool', '2.0.0', 'MIT'],
      ['used', '1.0.0', 'MIT'],
    ],
  )
  const names = (some: Package[]): string[] => some.map(({ name }) => name)
  t.deepEqual(names(found.filter(({ production }) => production)), ['@scope/both', 'elsewhere', 'used'])
  t.deepEqual(names(found.filter(({ installed }) => installed)), ['silent', 'used'])
  t.deepEqual(names(found.filter(({ optional }) => optional)), ['elsewhere'])
})

test('crates, without those of this repository', (t) => {
  const registry = 'registry+https://example.org/index'
  t.deepEqual(
    cratesOf({
      packages: [
        { name: 'two', version: '0.2.0', license: null, source: registry },
        { name: 'mine', version: '0.1.0', license: 'MIT', source: null },
        { name: 'one', version: '0.1.0', license: 'MIT/Apache-2.0', source: registry },
      ],
    }),
    [
      { name: 'one', version: '0.1.0', licence: 'MIT/Apache-2.0' },
      { name: 'two', version: '0.2.0', licence: undefined },
    ],
  )
  const tree =
    'mine v0.1.0 (/home/someone/mine)|MIT\ntwo v0.2.0|\none v0.1.0|(MIT OR ISC) AND Zlib (*)\ntwo v0.2.0| (*)\n'
  t.deepEqual(cratesOfTree(tree), [
    { name: 'one', version: '0.1.0', licence: '(MIT OR ISC) AND Zlib' },
    { name: 'two', version: '0.2.0', licence: '' },
  ])
})

test('the list has what users get, and no tools', (t) => {
  const text = document({
    packages: [
      { name: 'used', version: '1.0.0', licence: '(MIT)', production: true, optional: true },
      { name: 'tool', version: '2.0.0', licence: 'MIT', production: false },
    ],
    crates: [{ name: 'one', version: '0.1.0', licence: 'MIT/Apache-2.0' }],
  })
  t.regex(text, /^\| used +\| 1\.0\.0 +\| MIT +\| for some systems \|$/m)
  t.regex(text, /^\| one +\| 0\.1\.0 +\| MIT OR Apache-2\.0 \|$/m)
  t.notRegex(text, /tool/)
})

test('a crate brings the texts of its licences, or is known not to', (t) => {
  const files = createDirectory()
  t.teardown(() => {
    files.remove()
  })
  files.write('Cargo.toml', '')
  t.throws(() => textsOf('unheard-of', files.path), { message: /^unheard-of brings no licence text/ })
  t.regex(textsOf('napi', files.path).join(), /LongYinan[^]*Permission is hereby granted/)
  files.write('LICENSE-MIT', 'mit')
  files.write('NOTICE', 'notice')
  files.write('unlicense', 'unlicense')
  t.deepEqual(textsOf('unheard-of', files.path), ['mit', 'notice', 'unlicense'])
})

test('a text is there once, under all names', (t) => {
  const works = [
    { name: 'one 1', texts: ['\n  Permission is\n  granted.\n\n', 'Notice of one'] },
    { name: 'two 2', texts: ['Permission is granted.'] },
    { name: 'three 3', texts: ['Permission is denied.'] },
  ]
  t.deepEqual(gathered(works), [
    { names: ['one 1', 'two 2'], text: '  Permission is\n  granted.' },
    { names: ['one 1'], text: 'Notice of one' },
    { names: ['three 3'], text: 'Permission is denied.' },
  ])
})

test('the notices of the standard library of Rust', (t) => {
  const html =
    '<h1>Notices</h1><h2 id="in-tree-files">In-tree</h2>\n<p>File: <b>.</b></p>\n' +
    '<h2 id="out-of-tree-dependencies">Out</h2><h3>📦 gimli-0.1</h3><pre>\nUse &#34;as is&#34; &lt;x&gt;\n</pre>'
  const text = standardLibrary(html, ['Unicode'], '1.2.3')
  t.regex(text, /standard library of Rust 1\.2\.3[^]*File: \.[^]*Rust Project Developers[^]*Unicode/)
  t.regex(text, /\ngimli-0\.1\n-+\n\nUse "as is" <x>\n$/)
  t.throws(() => standardLibrary(html.replace('<h3>', '<h4>'), [], '1.2.3'), { message: /otherwise than expected/ })
})

const npmReport = (total: number, vulnerabilities: object): string =>
  JSON.stringify({ auditReportVersion: 2, vulnerabilities, metadata: { vulnerabilities: { high: total, total } } })

test('npm audit: clean, with advisories, without an answer', (t) => {
  t.like(verdictOfNpm(`npm warn of something\n${npmReport(0, {})}`), { outcome: 'passed' })
  const found = verdictOfNpm(
    npmReport(2, {
      low: { name: 'low', severity: 'high', via: [{ title: 'It reads what it should not' }] },
      above: { name: 'above', severity: 'high', via: ['low'] },
    }),
  )
  t.is(found.outcome, 'failed')
  t.regex(found.text, /low \(high\): It reads what it should not\n +above \(high\): by way of low/)
  const fails = (message: string): string => JSON.stringify({ message, error: { summary: '', detail: '' } })
  for (const [output, why] of [
    [JSON.stringify({ message: '405 Method Not Allowed', statusCode: 405, body: '' }), /answers 405/],
    [fails('request to http://x/ failed, reason: getaddrinfo ENOTFOUND x'), /cannot be reached \(ENOTFOUND\)/],
    [fails('network timeout at: http://x/'), /cannot be reached/],
  ] as const) {
    const { outcome, text } = verdictOfNpm(output)
    t.is(outcome, 'skipped', text)
    t.regex(text, why)
  }
  // What is wrong here is not skipped.
  const withoutLock = { error: { code: 'ENOLOCK', summary: 'This command requires an existing lockfile.' } }
  t.deepEqual(verdictOfNpm(JSON.stringify(withoutLock)), {
    outcome: 'failed',
    text: 'cannot be read: This command requires an existing lockfile.',
  })
  for (const output of ['', 'npm: not found', '{}']) t.is(verdictOfNpm(output).outcome, 'failed', output)
})

test('cargo audit: clean, with advisories, without a database', (t) => {
  const report = (list: object[], count = 800): string =>
    JSON.stringify({
      database: { 'advisory-count': count },
      vulnerabilities: { found: list.length > 0, count: list.length, list },
    })
  t.like(verdictOfCargo(report([])), { outcome: 'passed' })
  const advisory = { id: 'RUSTSEC-2026-0001', title: 'It writes what it should not' }
  t.deepEqual(verdictOfCargo(report([{ advisory, package: { name: 'one', version: '0.1.0' } }])), {
    outcome: 'failed',
    text: 'one 0.1.0: RUSTSEC-2026-0001, It writes what it should not',
  })
  t.is(verdictOfCargo(report([], 0)).outcome, 'failed')
  const noDatabase = "error: couldn't fetch advisory database: git operation failed: could not resolve host"
  t.is(verdictOfCargo(noDatabase).outcome, 'skipped')
  t.is(verdictOfCargo('error: not found: no lockfile').outcome, 'failed')
})
