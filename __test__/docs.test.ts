/** That `npm run check:docs` can fail: every kind of mistake is made once, and has to be refused. */
import { mkdirSync, symlinkSync } from 'node:fs'
import { join } from 'node:path'

import test from 'ava'

import { createDirectory } from './helpers/files.js'
import { repositoryFile, runNode } from './helpers/process.js'

interface Counts {
  passed: number
  failed: number
  skipped: number
}

const script = (name: string): Promise<unknown> => import(new URL(`../scripts/docs/${name}`, import.meta.url).href)
const { checkLinks } = (await script('links.mjs')) as {
  checkLinks: (files: string[], folder: string, packed?: Set<string>) => { wrong: string[]; count: number }
}
const { checkSnippets } = (await script('snippets.mjs')) as {
  checkSnippets: (files: string[], directory: string, log: (line: string) => void) => Promise<Counts>
}
const { matches } = (await script('printed.mjs')) as { matches: (expected: string, printed: string) => boolean }
const { objection } = (await script('publishable.mjs')) as { objection: (manifest: object) => string | undefined }

const FENCE = '```'
const block = (language: string, code: string): string => `${FENCE}${language}\n${code}\n${FENCE}\n\n`

/** Runs the snippets of a document, and returns what is said of each. */
async function outcomes(document: string): Promise<{ counts: Counts; said: string[] }> {
  const directory = createDirectory()
  try {
    mkdirSync(join(directory.path, 'node_modules'))
    symlinkSync(repositoryFile(''), join(directory.path, 'node_modules', 'lipbound'))
    const said: string[] = []
    const counts = await checkSnippets([directory.write('page.md', document)], directory.path, (line) =>
      said.push(line),
    )
    return { counts, said }
  } finally {
    directory.remove()
  }
}

test('what is printed is compared to the last digit that is shown', (t) => {
  t.true(matches('28.79…\n', '28.795141\n'))
  t.false(matches('28.79\n', '28.795141\n'))
  t.false(matches('28.80…\n', '28.795141\n'))
  t.true(matches('a\n…\nz', 'a\nb\nc\nz\n'))
  t.true(matches('a\n…\nz', 'a\nz\n'))
  t.false(matches('a\n…\nz', 'a\nb\n'))
  t.false(matches('a', 'a\nb\n'))
  t.false(matches('a.c', 'abc\n'))
})

test('a snippet that does what is written of it passes, in every language', async (t) => {
  const { counts, said } = await outcomes(
    block('js', "import { tensor } from 'lipbound'\nconst x = tensor([2], [1, 2])\nconsole.log(x.shape)") +
      block('text', '[ 2 ]') +
      '<!-- snippet: continues -->\n\n' +
      block('js', 'console.log(x.data.length)') +
      block('text', '2') +
      block(
        'ts',
        "import { tensor, type Tensor } from 'lipbound'\nconst x: Tensor = tensor([1], [1])\nconsole.log(x.data[0])",
      ) +
      block('text', '1') +
      block('json', '{ "a": 1 }') +
      '<!-- snippet: file lines.jsonl -->\n\n' +
      block('jsonl', '{ "a": 1 }\n{ "a": 2 }') +
      block('sh', 'wc -l < lines.jsonl') +
      block('text', '2') +
      '<!-- snippet: exits with 3 -->\n\n' +
      block('sh', 'exit 3'),
  )
  t.deepEqual(counts, { passed: 7, failed: 0, skipped: 0 }, said.join('\n'))
})

for (const [mistake, document, culprit] of [
  ['a wrong printed answer', block('js', 'console.log(28.795)') + block('text', '28.796'), /printed\s+28\.795/],
  ['a wrong printed answer of a command', block('sh', 'echo no') + block('text', 'yes'), /printed\s+no/],
  ['an exception', block('js', "throw new Error('broken')"), /broken/],
  ['a function that the package does not have', block('js', "import { bounds } from 'lipbound'"), /bounds/],
  ['a wrong type', block('ts', "const x: number = 'text'"), /TS2322/],
  ['a command that fails', block('sh', 'false\necho done'), /ended with 1/],
  ['another exit status than is said', '<!-- snippet: exits with 1 -->\n\n' + block('sh', 'true'), /ended with 0/],
  ['text that is not JSON', block('json', '{ a: 1 }'), /JSON/],
  ['a language that is not run, without a reason', block('python', 'print(1)'), /snippet: skip: REASON/],
  ['a remark that nobody understands', '<!-- snippet: ignore -->\n\n' + block('js', ''), /says 'ignore'/],
  ['a remark that belongs to no snippet', '<!-- snippet: skip: lost -->\n\nWords.\n', /no snippet behind it/],
  [
    'a server that ends',
    '<!-- snippet: stays until "ready" -->\n\n' + block('sh', 'echo gone'),
    /did not print 'ready'/,
  ],
] as const) {
  test(`refused: ${mistake}`, async (t) => {
    const { counts, said } = await outcomes(document)
    t.is(counts.failed, 1, said.join('\n'))
    t.regex(said.join('\n'), culprit)
  })
}

test('what is skipped says why, and a server that stays is asked and ended', async (t) => {
  const { counts, said } = await outcomes(
    '<!-- snippets: ports 8080 -->\n\n' +
      '<!-- snippet: skip: needs a telescope -->\n\n' +
      block('python', 'look()') +
      '<!-- snippet: needs no-such-program -->\n\n' +
      block('sh', 'no-such-program') +
      '<!-- snippet: stays until "listening" -->\n\n' +
      block(
        'js',
        "import { createServer } from 'node:http'\ncreateServer((_, reply) => reply.end('hello')).listen(8080, '127.0.0.1', () => console.log('listening'))",
      ) +
      block('js', "console.log(await (await fetch('http://127.0.0.1:8080')).text())") +
      block('text', 'hello'),
  )
  t.deepEqual(counts, { passed: 2, failed: 0, skipped: 2 }, said.join('\n'))
  t.regex(said.join('\n'), /needs a telescope/)
  t.regex(said.join('\n'), /there is no no-such-program here/)
})

test('a link to a file, a directory or an anchor that is not there is refused', (t) => {
  const directory = createDirectory()
  t.teardown(directory.remove)
  directory.write('other.md', '# A heading, with `code`\n\n## Twice\n\n## Twice\n')
  directory.write('picture.svg', '<svg/>')
  const good = directory.write(
    'good.md',
    '# Here\n\n[a](other.md) [b](other.md#a-heading-with-code) [c](other.md#twice-1) [d](#here) ![e](picture.svg) [f](https://example.org/x)\n',
  )
  t.deepEqual(checkLinks([good], directory.path), { wrong: [], count: 5 })
  const bad = directory.write(
    'bad.md',
    '[a](missing.md) [b](other.md#missing) [c](#missing) ![d](missing.png) [e](../outside.md) <a href="gone.md">f</a>\n',
  )
  const { wrong, count } = checkLinks([bad], directory.path)
  t.is(count, 6)
  t.is(wrong.length, 6, wrong.join('\n'))
  const { wrong: unpacked } = checkLinks([good], directory.path, new Set(['good.md', 'picture.svg']))
  t.is(unpacked.length, 3)
  t.true(unpacked.every((line) => line.includes('not in the npm package')))
})

test('a package without a repository is not published', (t) => {
  t.regex(objection({}) ?? '', /repository/)
  t.regex(objection({ repository: { type: 'git' } }) ?? '', /repository/)
  t.is(objection({ repository: { type: 'git', url: 'git+https://example.org/a/b.git' } }), undefined)
  t.is(objection({ repository: 'github:a/b' }), undefined)
})

// cspell:ignore recieved
test('a misspelling is refused, in prose and in a comment, and American spelling too', async (t) => {
  const directory = createDirectory()
  t.teardown(directory.remove)
  const spell = (...files: string[]) =>
    runNode([
      repositoryFile('node_modules/cspell/bin.mjs'),
      'lint',
      '--no-progress',
      ...['--config', repositoryFile('cspell.config.json'), '--root', '/'],
      ...files,
    ])
  const wrong = {
    'prose.md': 'A layerwise bound is recieved.\n',
    'comment.ts': '/** The bracket that is recieved. */\nexport const n = 1\n',
    'comment.rs': '//! The bracket that is recieved.\n',
    'american.md': 'The behavior of a bound.\n',
  }
  const bad = await spell(...Object.entries(wrong).map(([name, content]) => directory.write(name, content)))
  t.is(bad.status, 1)
  for (const name of Object.keys(wrong)) t.regex(bad.stdout, new RegExp(`${name}.*(recieved|behavior)`))
  const good = await spell(
    directory.write('right.md', 'The norm that Golub-Kahan-Lanczos gives is received, and `recieved` is code.\n'),
  )
  t.is(good.status, 0, good.stdout)
})

test('an export without a comment, one of a type that is not exported, and a dead link are refused', async (t) => {
  const directory = createDirectory()
  t.teardown(directory.remove)
  directory.write('package.json', JSON.stringify({ name: 'trial', version: '1.0.0' }))
  directory.write(
    'tsconfig.json',
    JSON.stringify({ compilerOptions: { module: 'NodeNext', strict: true, types: [] }, include: ['*.ts'] }),
  )
  const base = repositoryFile('scripts/docs/typedoc.config.mjs')
  const build = (name: string, content: string) => {
    const own = {
      entryPoints: [directory.write(`${name}.ts`, content)],
      tsconfig: join(directory.path, 'tsconfig.json'),
      out: join(directory.path, 'api'),
      intentionallyNotDocumented: [],
    }
    const config = directory.write(
      `${name}.config.mjs`,
      `import base from ${JSON.stringify(base)}\nexport default { ...base, ...${JSON.stringify(own)} }\n`,
    )
    return runNode([repositoryFile('node_modules/typedoc/bin/typedoc'), '--options', config])
  }
  const good = await build('good', '/** Says so.\n * @module */\n/** Is one. */\nexport const one = 1\n')
  t.is(good.status, 0, good.stdout + good.stderr)
  const bad = await build(
    'bad',
    `export const bare = 1
    /** A pair. */
    export interface Pair { first: number }
    interface Hidden { a: number }
    /** It. See {@link nowhere}. */
    export const it: Hidden = { a: 1 }`,
  )
  t.not(bad.status, 0)
  for (const culprit of [
    /bare .*does not have any documentation/,
    /Pair\.first .*does not have any documentation/,
    /Hidden.*not included/,
    /nowhere/,
  ]) {
    t.regex(bad.stdout + bad.stderr, culprit)
  }
})
