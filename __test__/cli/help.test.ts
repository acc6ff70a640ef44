/** The command line as such: help, versions, and words that mean nothing. */
import { readFileSync } from 'node:fs'

import test from 'ava'

import { testBadUses } from '../helpers/command-line.js'
import { lipbound, repositoryFile } from '../helpers/process.js'

const commands = ['inspect', 'bound', 'certify', 'sweep', 'global', 'norm', 'check', 'serve']

test('help needs nothing else: commands, examples, exit statuses, the environment', async (t) => {
  const { status, stdout, stderr } = await lipbound('--help')
  t.is(status, 0)
  t.is(stderr, '')
  for (const command of commands) t.regex(stdout, new RegExp(`^ +${command} `, 'm'))
  for (const part of [/^Examples:$/m, /^Exit status:$/m, /^ {2}2 {2}/m, /LIPBOUND_THREADS/, /LIPBOUND_ISA/, /docs\//]) {
    t.regex(stdout, part)
  }
  t.is((await lipbound('help')).stdout, stdout)
})

for (const command of commands) {
  test(`help of ${command}: every option with what it means, and examples`, async (t) => {
    const { status, stdout } = await lipbound('help', command)
    t.is(status, 0)
    t.regex(stdout, new RegExp(`^Usage: lipbound ${command} `))
    const [, typed = ''] = /^Examples:\n([^]*)$/m.exec(stdout) ?? []
    t.regex(typed, new RegExp(`^ {2}lipbound ${command} `, 'm'))
    t.is((await lipbound(command, '--help')).stdout, stdout)
    // An example that the program itself would refuse teaches nothing.
    const known = new Set([...stdout.matchAll(/^ {2}(?:-\w, )?(--[\w-]+)/gm)].map(([, option]) => option))
    for (const line of typed.split('\n').filter((text) => text.startsWith(`  lipbound ${command} `))) {
      for (const [option] of line.matchAll(/--[\w-]+/g)) t.true(known.has(option), `${option} in ${line}`)
    }
    // The full documentation leaves no option out.
    const manual = readFileSync(repositoryFile('docs/command-line.md'), 'utf8')
    for (const option of known) t.true(option === '--help' || manual.includes(`\`${option}`), `${option} in the manual`)
  })
}

test('the version is that of the package', async (t) => {
  const { status, stdout } = await lipbound('--version')
  t.is(status, 0)
  const { version } = JSON.parse(readFileSync(repositoryFile('package.json'), 'utf8')) as { version: string }
  t.is(stdout, `${version}\n`)
})

testBadUses({
  'no command': [[], /Usage/],
  'an unknown command': [['bounce'], /unknown command 'bounce'.*Did you mean bound/s],
  'help of an unknown command': [['help', 'bounce'], /Usage|bounce/],
  'an unknown option of the program': [['--quiet'], /unknown option '--quiet'/],
})
