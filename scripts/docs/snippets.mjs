// Runs the snippets of documents as a reader would type them, and compares what they print with what is printed there.
//
//     node scripts/docs/snippets.mjs --in DIR [FILE...]
//
// DIR is where they are typed: a directory whose node_modules has lipbound. The files are those of a checkout, README.md
// unless told. A block of js is a module of its own, ts is checked and run, sh is given to bash, json and jsonl are
// parsed. A `text` block directly behind it has what it prints (scripts/docs/printed.mjs). A comment before a block says
// what is special about it, `<!-- snippet: CLAUSE; CLAUSE -->`:
//
//     skip: REASON         is not run; counted as skipped
//     needs PROGRAM        is skipped where there is no such program
//     continues            goes on in the module of the snippet before it, whose names it uses
//     file NAME            is not run but written to a file, which later snippets use
//     exits with N         ends with this status, not with 0
//     stays until "TEXT"   is left running once it has printed this, and ended with the file
//
// `<!-- snippets: ports 8080 -->` has the ports that the snippets of a file use. They are typed with free ones.

import { spawn } from 'node:child_process'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { delimiter, join, relative, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { finish, isMain, noCounts, root } from '../run.mjs'
import { snippetsOf } from './markdown.mjs'
import { matches } from './printed.mjs'

class SnippetError extends Error {}

const CLAUSES = {
  skip: /^skip: (.+)$/s,
  needs: /^needs (\S+)$/,
  continues: /^(continues)$/,
  file: /^file ([\w.-]+)$/,
  exits: /^exits with (\d+)$/,
  stays: /^stays until "(.+)"$/,
}

/** What a remark says, by clause. */
function clausesOf(remark) {
  const said = {}
  for (const clause of remark === undefined ? [] : /^skip:/.test(remark) ? [remark] : remark.split(/;\s*/)) {
    const [name, [, value]] = Object.entries(CLAUSES)
      .map(([key, pattern]) => [key, pattern.exec(clause)])
      .find(([, match]) => match !== null) ?? ['', []]
    if (name === '') throw new SnippetError(`says '${clause}', which is none of: ${Object.keys(CLAUSES).join(', ')}`)
    said[name] = value.replace(/\s+/g, ' ')
  }
  return said
}

const onPath = (program) =>
  process.env.PATH.split(delimiter).some((directory) => directory !== '' && existsSync(join(directory, program)))

const freePort = () =>
  new Promise((done) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address()
      server.close(() => done(port))
    })
  })

/** Runs a program in the directory. Resolves when it has ended, or once it has printed `until`. */
function start({ directory, command, args, until }) {
  const path = [join(directory, 'node_modules', '.bin'), process.env.PATH].join(delimiter)
  // A group of its own, so that what it starts in the background ends with it.
  const child = spawn(command, args, {
    cwd: directory,
    env: { ...process.env, PATH: path, NO_COLOR: '1', NO_UPDATE_NOTIFIER: '1' },
    stdio: ['ignore', 'pipe', 'pipe'],
    detached: true,
  })
  const output = { stdout: '', stderr: '', status: undefined }
  const end = () => {
    try {
      process.kill(-child.pid, 'SIGTERM')
    } catch (error) {
      if (error.code !== 'ESRCH') throw error
    }
  }
  return new Promise((done) => {
    const look = () => {
      if (until !== undefined && (output.stdout + output.stderr).includes(until)) done({ ...output, end })
    }
    for (const stream of ['stdout', 'stderr']) {
      child[stream].setEncoding('utf8').on('data', (text) => {
        output[stream] += text
        look()
      })
    }
    child.on('error', (error) => done({ ...output, status: 127, stderr: error.message, end: () => undefined }))
    child.on('close', (status) => done({ ...output, status: status ?? 1, end: () => undefined }))
  })
}

const indent = (text) => text.trimEnd().replace(/^/gm, '    ')

/** Complains where a program did not do what is written of it. */
function compare({ exits = '0', stays, printed }, { status, stdout, stderr }) {
  if (stays !== undefined) {
    if (status === undefined) return
    throw new SnippetError(`ended with ${status} and did not print '${stays}':\n${indent(stdout + stderr)}`)
  }
  if (status !== Number(exits)) throw new SnippetError(`ended with ${status}:\n${indent(stderr || stdout)}`)
  if (printed !== undefined && !matches(printed, stdout)) {
    throw new SnippetError(`printed\n${indent(stdout)}\n  where it says\n${indent(printed)}`)
  }
}

/** Between what one snippet of a module prints and what the next one does. */
const BORDER = '\u0001next snippet\u0001'

/** Runs snippets that are one module, and says of each what is to be said against it. */
async function runModule(parts, directory) {
  const source = parts.map(({ code }) => code).join(`\nconsole.log(${JSON.stringify(BORDER)});\n`)
  const file = join(directory, `.snippet-${process.pid}.mjs`)
  try {
    if (parts.some(({ language }) => language === 'ts')) {
      const { compile } = await import('./typescript.mjs')
      const { js, complaints } = compile(source, directory)
      if (complaints !== '') throw new SnippetError(`has wrong types:\n${indent(complaints)}`)
      writeFileSync(file, js)
    } else {
      writeFileSync(file, source)
    }
    const found = await start({ directory, command: process.execPath, args: [file], until: parts.at(-1).stays })
    if (found.status === undefined) return { stop: found.end, results: parts.map(() => undefined) }
    const outputs = found.stdout.split(`${BORDER}\n`)
    const results = parts.map((part, index) => {
      try {
        // A part whose end was reached did what it should: only the last one that began can have ended it all.
        const status = index < outputs.length - 1 ? 0 : found.status
        if (index >= outputs.length) throw new SnippetError('was not reached')
        compare(part, { ...found, status, stdout: outputs[index] })
        return undefined
      } catch (error) {
        return messageOf(error)
      }
    })
    return { stop: found.end, results }
  } catch (error) {
    return { results: parts.map(() => messageOf(error)) }
  } finally {
    rmSync(file, { force: true })
  }
}

function messageOf(error) {
  if (error instanceof SnippetError || error instanceof SyntaxError) return error.message
  throw error
}

/** Runs a block of shell, parses JSON, writes a file: whatever is no module. */
async function runBlock(part, directory) {
  try {
    if (part.language === 'json') JSON.parse(part.code)
    else if (part.language === 'jsonl')
      part.code
        .trim()
        .split('\n')
        .forEach((line) => JSON.parse(line))
    else if (part.language === 'sh') {
      const found = await start({
        directory,
        command: 'bash',
        args: ['-euo', 'pipefail', '-c', part.code],
        until: part.stays,
      })
      compare(part, found)
      return { stop: found.end, results: [undefined] }
    } else {
      throw new SnippetError(`is ${part.language}, which is not run here: a comment must say 'snippet: skip: REASON'`)
    }
    return { results: [undefined] }
  } catch (error) {
    return { results: [messageOf(error)] }
  }
}

/** The parts of the module that begins with the snippet at `first`. */
function moduleAt(snippets, first) {
  const end = snippets.findIndex(({ continues }, index) => index > first && continues === undefined)
  return snippets.slice(first, end < 0 ? undefined : end)
}

/** Runs the snippets of one file, and calls `say` with the outcome of each. */
async function runFile(text, directory, say) {
  const { snippets: written, ports } = snippetsOf(text)
  const free = new Map()
  for (const port of ports) free.set(String(port), String(await freePort()))
  const typed = (code) => [...free].reduce((result, [port, other]) => result.replaceAll(port, other), code)

  const snippets = written.map(({ remark, stray, code, printed, ...others }) => {
    const snippet = { ...others, code: typed(code), ...(printed !== undefined && { printed: typed(printed) }) }
    if (stray) return { ...snippet, wrong: 'is a remark with no snippet behind it' }
    try {
      return { ...snippet, ...clausesOf(remark) }
    } catch (error) {
      return { ...snippet, wrong: messageOf(error) }
    }
  })
  const stops = []
  for (let index = 0; index < snippets.length;) {
    const first = snippets[index]
    const isModule = ['js', 'ts'].includes(first.language) && first.file === undefined
    const parts = isModule ? moduleAt(snippets, index) : [first]
    index += parts.length
    const missing = first.needs !== undefined && !onPath(first.needs) ? `there is no ${first.needs} here` : undefined
    const skipped = first.skip ?? missing
    let results
    if (parts.some(({ wrong }) => wrong !== undefined)) {
      results = parts.map(({ wrong }) => wrong ?? 'is part of a module that is not run')
    } else if (skipped !== undefined) {
      parts.forEach((part) => say('skipped', part, skipped))
      continue
    } else if (first.continues !== undefined) {
      results = ['continues nothing']
    } else if (first.file !== undefined) {
      writeFileSync(join(directory, first.file), first.code)
      results = [undefined]
    } else {
      const outcome = await (isModule ? runModule(parts, directory) : runBlock(first, directory))
      results = outcome.results
      if (outcome.stop !== undefined) stops.push(outcome.stop)
    }
    parts.forEach((part, place) => {
      if (results[place] === undefined) say('passed', part)
      else say('failed', part, results[place])
    })
  }
  stops.reverse().forEach((stop) => stop())
}

/** Runs the snippets of files in a directory and says of each how it went. Resolves with the counts. */
export async function checkSnippets(files, directory, log = console.log) {
  const counts = noCounts()
  for (const file of files) {
    await runFile(readFileSync(file, 'utf8'), directory, (outcome, { line, language }, why) => {
      counts[outcome] += 1
      const mark = { passed: '✔', failed: '✘', skipped: '-' }[outcome]
      const place = `${relative(root, file)}:${line}`
      log(`${mark} ${place} ${language}${why === undefined ? '' : `: ${why}`}`)
    })
  }
  return counts
}

if (isMain(import.meta.url)) {
  const { values, positionals } = parseArgs({ options: { in: { type: 'string' } }, allowPositionals: true })
  const files = positionals.length > 0 ? positionals.map((file) => resolve(file)) : [join(root, 'README.md')]
  if (values.in === undefined || !existsSync(join(values.in, 'node_modules', 'lipbound'))) {
    console.error('usage: node scripts/docs/snippets.mjs --in DIR [FILE...], where DIR has node_modules/lipbound')
    process.exitCode = 2
  } else {
    finish(await checkSnippets(files, resolve(values.in)))
  }
}
