// npm run check:docs: the reference builds without a warning, links lead somewhere, words are spelt as they should be, and
// every snippet of every document does what is written of it.

import { mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { dirname, join } from 'node:path'
import { add, bin, finish, isMain, noCounts, root, run } from '../run.mjs'
import { setup } from '../setup.mjs'
import { checkLinks, packedFiles } from './links.mjs'
import { checkSnippets } from './snippets.mjs'

/** Commands whose exit status says it all. */
const commands = [
  ['typedoc', bin('typedoc'), ['--options', join('scripts', 'docs', 'typedoc.config.mjs')]],
  ['rustdoc', 'cargo', ['doc', '--no-deps', '--workspace', '--quiet'], { RUSTDOCFLAGS: '--deny warnings' }],
  ['cspell', bin('cspell'), ['lint', '--no-progress', '--no-summary', '--no-color']],
]

/** The documents of the repository, those that are not committed yet among them. */
async function documents() {
  const list = ['ls-files', '--cached', '--others', '--exclude-standard', '*.md']
  const { output } = await run('git', list, { show: false })
  return [...new Set(output.trim().split('\n'))]
}

/** A directory in which lipbound, and what a service or a queue needs beside it, is installed: the checkout itself. */
function installed() {
  const directory = mkdtempSync(join(tmpdir(), 'lipbound-docs-'))
  const { name, bin: programs, peerDependencies } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8'))
  const modules = join(directory, 'node_modules')
  mkdirSync(join(modules, '.bin'), { recursive: true })
  symlinkSync(root, join(modules, name))
  for (const peer of Object.keys(peerDependencies)) {
    mkdirSync(dirname(join(modules, peer)), { recursive: true })
    symlinkSync(join(root, 'node_modules', peer), join(modules, peer))
  }
  for (const [program, file] of Object.entries(programs)) {
    const text = `#!/bin/sh\nexec '${process.execPath}' '${join(root, file)}' "$@"\n`
    writeFileSync(join(modules, '.bin', program), text, { mode: 0o755 })
  }
  return directory
}

/** Runs the snippets of a document as if it had been read by somebody who has nothing but the package. */
async function snippetsOf(document) {
  const directory = installed()
  const lines = []
  const counts = await checkSnippets([join(root, document)], directory, (line) => lines.push(line))
  rmSync(directory, { recursive: true, force: true })
  if (lines.length > 0) console.log(lines.join('\n'))
  return counts
}

/** Goes through `items`, two at a time. */
async function inTwos(items, work) {
  const rest = [...items]
  const one = async () => {
    for (let item = rest.shift(); item !== undefined; item = rest.shift()) await work(item)
  }
  await Promise.all([one(), one()])
}

async function check() {
  const counts = noCounts()
  if (!(await setup())) {
    counts.failed += 1
    return counts
  }
  const say = (passed, text, details = '') => {
    counts[passed ? 'passed' : 'failed'] += 1
    console.log(`${passed ? '✔' : '✘'} ${text}${passed || details === '' ? '' : `\n${details.trimEnd()}`}`)
  }
  const files = await documents()
  const links = async () => {
    const { wrong, count } = checkLinks(
      files.map((file) => join(root, file)),
      root,
      await packedFiles(run),
    )
    say(wrong.length === 0, `${count} links`, wrong.join('\n'))
  }
  const command = async ([name, program, args, env]) => {
    const { code, output } = await run(program, args, { show: false, env })
    say(code === 0, name, output)
  }
  const work = [
    ...commands.map((one) => () => command(one)),
    links,
    ...files.map((file) => async () => add(counts, await snippetsOf(file))),
  ]
  await inTwos(work, (one) => one())
  return counts
}

if (isMain(import.meta.url)) finish(await check())
