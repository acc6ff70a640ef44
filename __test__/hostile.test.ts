/**
 * Those who want a service no good: each is refused, and meanwhile somebody else is answered, and answered right. How long
 * that takes does not decide anything here.
 */
import { readFileSync } from 'node:fs'
import { request } from 'node:http'
import type { IncomingMessage } from 'node:http'
import { connect } from 'node:net'
import type { Socket } from 'node:net'
import { gzipSync } from 'node:zlib'

import test from 'ava'
import type { ExecutionContext } from 'ava'

import { loadModel } from '../dist/index.js'
import { toJson } from '../dist/request.js'
import { createDirectory, safetensors } from './helpers/files.js'
import { ask, codeOf, exchange, post, serve, serveProcess, timeless, until } from './helpers/service.js'
import type { Answer } from './helpers/service.js'

const files = createDirectory()
test.after.always(() => {
  files.remove()
})
files.write('secret.txt', 'not for you')
const models = `${files.path}/models`
const model = {
  format: 'lipbound-architecture',
  version: 1,
  input: [2],
  layers: [{ type: 'linear', weight: 'w' }, { type: 'relu' }],
}
const weights = safetensors({ w: { shape: [2, 2], data: Float64Array.of(3, 1, -1, 2) } })

const quick = { input: [1, 1], epsilon: 0.5, seed: 1 }
const MEBIBYTE = 2 ** 20
const NDJSON = { 'content-type': 'application/x-ndjson' }

/** Somebody who asks again and again while the others do their worst, and gets the right answer every time. */
async function besides<Result>(t: ExecutionContext, url: string, attack: () => Promise<Result>): Promise<Result> {
  using network = await loadModel(`${models}/small.json`)
  const expected = timeless(toJson(await network.bound([1, 1], { epsilon: 0.5, seed: 1 })))
  let attacking = true
  const going = (): boolean => attacking
  let answers = 0
  const client = (async () => {
    do {
      const { status, body } = await post(`${url}/models/small/bound`, quick)
      t.is(status, 200)
      t.deepEqual(timeless(body), expected)
      answers += 1
    } while (going())
  })()
  try {
    return await attack()
  } finally {
    attacking = false
    await client
    t.true(answers > 0)
  }
}

/** The refusal of a body of JSON. */
async function refusal(url: string, body: string, init?: RequestInit): Promise<string> {
  const answer: Answer = await post(url, body, init)
  return `${answer.status} ${codeOf(answer)}`
}

/** Bytes that a process has in memory. */
function residentMemory(pid: number | undefined): number {
  const [, kilobytes] = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8')) ?? []
  return Number(kilobytes) * 1024
}

/** Sends so many bytes for as long as the other side takes them, and says what came back: a status, or that it was cut off. */
function pour(
  url: string,
  bytes: number,
  headers: Record<string, string>,
  chunk = Buffer.alloc(MEBIBYTE, 0x20),
): Promise<string> {
  return new Promise((resolve) => {
    const client = request(url, { method: 'POST', headers })
    let left = bytes
    const send = (): void => {
      while (left > 0) {
        left -= chunk.length
        if (!client.write(chunk)) return
      }
      client.end()
    }
    client.on('drain', send)
    client.on('response', (response: IncomingMessage) => {
      left = 0
      let text = ''
      response.setEncoding('utf8').on('data', (part: string) => (text += part))
      response.on('error', () => undefined)
      response.on('close', () => {
        client.destroy()
        resolve(`${response.statusCode} ${text}`)
      })
    })
    client.on('error', () => {
      resolve('cut off')
    })
    send()
  })
}

test.before(async () => {
  const { mkdirSync, writeFileSync } = await import('node:fs')
  mkdirSync(models)
  writeFileSync(`${models}/small.json`, JSON.stringify({ ...model, weights: 'small.safetensors' }))
  writeFileSync(`${models}/small.safetensors`, weights)
})

test('a name of a model is never a path', async (t) => {
  const { url } = await serve(t, { models })
  const names = [
    '..%2fsecret.txt',
    '..%2f..%2f..%2fetc%2fpasswd',
    '%2e%2e%2fsecret',
    '%252e%252e%252fsecret',
    '..%5csecret',
    '..%c0%afsecret',
    '%2fetc%2fpasswd',
    'small.json',
    'small%00',
    'small%2f',
    'small%2fbound',
    './small',
    'small/../../secret.txt',
    '....//secret',
    '__proto__',
    'constructor',
    'toString',
    'x'.repeat(10_000),
  ]
  await besides(t, url, async () => {
    for (const name of names) {
      for (const [method, end] of [
        ['GET', ''],
        ['POST', '/bound'],
      ] as const) {
        const body = method === 'POST' ? JSON.stringify(quick) : ''
        // As it is: fetch would tidy it up.
        const answer = await exchange(
          url,
          `${method} /models/${name}${end} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-type: application/json\r\n` +
            `content-length: ${body.length}\r\n\r\n${body}`,
        )
        t.regex(answer, /^HTTP\/1\.1 4(00|04|05|14|31) /, name.slice(0, 40))
        t.regex(answer, /\{"error":\{"code":"(ERR_LIPBOUND|FST)_/, name)
        t.notRegex(answer, /not for you|root:/)
      }
    }
  })
})

test('a gigabyte is not taken, and takes no memory', async (t) => {
  const { url, child } = await serveProcess(t, [
    '--models',
    models,
    '--log-level',
    'silent',
    '--held-bytes',
    String(40 * MEBIBYTE),
  ])
  const gigabyte = 1024 * MEBIBYTE
  const json = { 'content-type': 'application/json' }
  const line = { ...NDJSON, 'transfer-encoding': 'chunked' }
  // Young generations and pools have their size before it is measured.
  for (let round = 0; round < 3; round += 1) await pour(`${url}/models/small/bound`, 30 * MEBIBYTE, json)
  const before = residentMemory(child.pid)
  const answers = await besides(t, url, () =>
    Promise.all([
      pour(`${url}/models/small/bound`, gigabyte, { ...json, 'content-length': String(gigabyte) }),
      pour(`${url}/models/small/radius`, gigabyte, { ...json, 'transfer-encoding': 'chunked' }),
      pour(`${url}/models/small/batch`, gigabyte, { ...json, 'transfer-encoding': 'chunked' }),
      // A line without end.
      pour(`${url}/models/small/batch?task=radius`, gigabyte, line, Buffer.alloc(MEBIBYTE, 0x31)),
      pour(`${url}/models/none/bound`, gigabyte, { ...json, 'transfer-encoding': 'chunked' }),
      pour(`${url}/nothing`, gigabyte, { ...json, 'transfer-encoding': 'chunked' }),
    ]),
  )
  const refusals = [
    /^(413|503) .*ERR_LIPBOUND_(LIMIT|BUSY)/,
    /^(413|503) .*ERR_LIPBOUND_(LIMIT|BUSY)/,
    /^(413|503) .*ERR_LIPBOUND_(LIMIT|BUSY)/,
  ]
  const expected = [...refusals, /^200 .*ERR_LIPBOUND_LIMIT/, /^404 /, /^404 /]
  answers.forEach((answer, index) => {
    if (answer !== 'cut off') t.regex(answer, expected[index] ?? /never/)
  })
  const after = residentMemory(child.pid)
  t.log({ answers, before, after })
  t.true(after - before < 150 * MEBIBYTE, `${before} bytes before, ${after} after`)
})

test('JSON that is meant to hurt is refused before it does', async (t) => {
  const { url } = await serve(t, { models })
  const bound = `${url}/models/small/bound`
  const deep = 100_000
  const cases: Record<string, [body: string, refusal: RegExp]> = {
    'lists in lists': [`{"epsilon":1,"input":${'['.repeat(deep)}${']'.repeat(deep)}}`, /^422 ERR_LIPBOUND_LIMIT/],
    'objects in objects': [`${'{"a":'.repeat(deep)}1${'}'.repeat(deep)}`, /^422 ERR_LIPBOUND_LIMIT/],
    'opened only': ['['.repeat(10 * MEBIBYTE), /^422 ERR_LIPBOUND_LIMIT/],
    'many properties': [
      `{${Array.from({ length: deep }, (_, index) => `"p${index}":1`).join()}}`,
      /^422 ERR_LIPBOUND_LIMIT/,
    ],
    'a property of a megabyte': [
      `{"input":[1,1],"epsilon":1,"${'x'.repeat(MEBIBYTE)}":1}`,
      /^422 ERR_LIPBOUND_ARGUMENT/,
    ],
    'a prototype': ['{"input":[1,1],"epsilon":1,"__proto__":{"epsilon":2}}', /^422 ERR_LIPBOUND_ARGUMENT/],
    'a prototype of options': [
      '{"input":[1,1],"constructor":{"prototype":{"epsilon":1}}}',
      /^422 ERR_LIPBOUND_ARGUMENT/,
    ],
    'an input of a prototype': ['{"__proto__":{"input":[1,1]},"epsilon":1}', /^422 ERR_LIPBOUND_ARGUMENT/],
    'a million epsilons': [`{"input":[1,1],"epsilon":[${'1,'.repeat(999_999)}1]}`, /^422 ERR_LIPBOUND_LIMIT/],
    'a million numbers': [`{"epsilon":1,"input":[${'1,'.repeat(999_999)}1]}`, /^422 ERR_LIPBOUND_SHAPE/],
    'a million dimensions': [
      `{"epsilon":1,"input":{"shape":[${'1,'.repeat(999_999)}1],"data":[1]}}`,
      /^422 ERR_LIPBOUND_LIMIT/,
    ],
    'a million lists': [`{"epsilon":1,"input":[${'[],'.repeat(999_999)}[]]}`, /^422 ERR_LIPBOUND_(SHAPE|ARGUMENT)/],
    'a huge shape': [
      '{"epsilon":1,"input":{"shape":[9007199254740991,9007199254740991],"data":[1]}}',
      /^422 ERR_LIPBOUND_SHAPE/,
    ],
    'not a number': ['{"epsilon":1,"input":[NaN,1]}', /^400 ERR_LIPBOUND_JSON/],
    infinity: ['{"epsilon":1,"input":[1e400,1]}', /^422 ERR_LIPBOUND_VALUE/],
    'NaN in base64': [`{"epsilon":1,"input":{"type":"float32","base64":"${base64(NaN)}"}}`, /^422 ERR_LIPBOUND_VALUE/],
    'infinity in base64': [
      `{"epsilon":1,"input":{"type":"float32","base64":"${base64(-Infinity)}"}}`,
      /^422 ERR_LIPBOUND_VALUE/,
    ],
    'no base64': ['{"epsilon":1,"input":{"type":"float32","base64":"AACA*wAAgD8="}}', /^422 ERR_LIPBOUND_ARGUMENT/],
    'half a string': ['{"epsilon":1,"input":"', /^400 ERR_LIPBOUND_JSON/],
    'a string of backslashes': [`{"epsilon":"${'\\\\'.repeat(MEBIBYTE)}`, /^400 ERR_LIPBOUND_JSON/],
    'no text': ['\0\xff', /^400 ERR_LIPBOUND_JSON/],
  }
  await besides(t, url, async () => {
    for (const [title, [body, expected]] of Object.entries(cases)) t.regex(await refusal(bound, body), expected, title)
    const packed = { body: gzipSync('{}') as unknown as string, headers: { 'content-encoding': 'gzip' } }
    t.is(await refusal(bound, '', packed), '415 ERR_LIPBOUND_MEDIA_TYPE')
    for (const type of ['text/plain', 'application/xml', 'multipart/form-data', 'application/json+x', 'x', '']) {
      t.regex(await refusal(bound, '{}', { headers: { 'content-type': type } }), /^415 /, type)
    }
  })
  t.is(({} as { epsilon?: unknown }).epsilon, undefined)
})

const base64 = (value: number): string => Buffer.from(Float32Array.of(1, value).buffer).toString('base64')

test('what is no HTTP, or too much of it, is refused', async (t) => {
  const { url } = await serve(t, { models })
  const head = 'POST /models/small/bound HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n'
  const many = Array.from({ length: 3000 }, (_, index) => `x-${index}: 1\r\n`).join('')
  const cases: Record<string, [bytes: string, status: RegExp]> = {
    'a huge header': [`${head}x: ${'x'.repeat(100_000)}\r\n\r\n`, /^HTTP\/1\.1 431 /],
    'many headers': [`${head}${many}\r\n`, /^HTTP\/1\.1 431 /],
    'two lengths': [`${head}content-length: 2\r\ncontent-length: 3\r\n\r\n{} `, /^HTTP\/1\.1 400 /],
    'a length and chunks': [
      `${head}content-length: 2\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n`,
      /^HTTP\/1\.1 400 /,
    ],
    'no length': [`${head}content-length: -1\r\n\r\n`, /^HTTP\/1\.1 400 /],
    'an unknown transfer': [`${head}transfer-encoding: rot13\r\n\r\n{}`, /^HTTP\/1\.1 400 /],
    'a chunk of no length': [`${head}transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n`, /^HTTP\/1\.1 400 /],
    'an unknown method': ['HACK / HTTP/1.1\r\nhost: x\r\n\r\n', /^HTTP\/1\.1 400 /],
    'a method for caches': ['PURGE /models HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n', /^HTTP\/1\.1 40[45] /],
    'no host': ['GET /health HTTP/1.1\r\n\r\n', /^HTTP\/1\.1 400 /],
    'another protocol': ['SSH-2.0-OpenSSH\r\n\r\n', /^HTTP\/1\.1 400 /],
    encryption: ['\x16\x03\x01\x02\x00\x01', /^HTTP\/1\.1 400 /],
    'a header with a line in it': ['GET /health HTTP/1.1\r\nhost: x\r\nx: a\rb: c\r\n\r\n', /^HTTP\/1\.1 400 /],
  }
  await besides(t, url, async () => {
    for (const [title, [bytes, expected]] of Object.entries(cases)) {
      const answer = await exchange(url, Buffer.from(bytes, 'latin1'))
      t.regex(answer, expected, `${title}: ${answer}`)
    }
    // Many requests at once on one connection are answered one after the other.
    const body = JSON.stringify(quick)
    const one = `${head}content-length: ${body.length}\r\n\r\n${body}`
    const last = one.replace('host: x', 'host: x\r\nconnection: close')
    const answers = await exchange(url, one.repeat(199), last)
    t.is(answers.match(/HTTP\/1\.1 200 /g)?.length, 200)
  })
})

test('who sends slowly, or half, is not waited for', async (t) => {
  const { url } = await serve(t, { models, headersSeconds: 1, limits: { idleSeconds: 1 } })
  const { hostname, port } = new URL(url)
  const head = 'POST /models/small/bound HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n'
  const half = {
    nothing: '',
    headers: 'GET /health HTTP/1.1\r\nhost: x\r\nx: ',
    body: `${head}content-length: 100\r\n\r\n{`,
    chunks: `${head}transfer-encoding: chunked\r\n\r\n1\r\n{\r\n`,
    batch: `${head.replace('bound', 'batch?task=radius').replace('json', 'x-ndjson')}transfer-encoding: chunked\r\n\r\n1\r\n{\r\n`,
  }
  const ends = await besides(t, url, () =>
    Promise.all(
      Object.entries(half)
        .flatMap((entry) => Array.from({ length: 60 }, () => entry))
        .map(
          async ([kind, text]) =>
            [kind, await drip(connect(Number(port), hostname), text, kind === 'body' ? '[' : 'x')] as const,
        ),
    ),
  )
  const expected: Record<string, RegExp> = {
    nothing: /^$|408/,
    headers: /408 .*ERR_LIPBOUND_SLOW/s,
    body: /408 .*ERR_LIPBOUND_SLOW/s,
    chunks: /(408|400) .*ERR_LIPBOUND_(SLOW|REQUEST)/s,
    batch: /(200|400|503) .*ERR_LIPBOUND_(SLOW|GONE|REQUEST|JSON|BUSY)/s,
  }
  for (const [kind, answer] of ends) t.regex(answer, expected[kind] ?? /never/, `${kind}: ${answer}`)
  await until(url, { running: 0, waiting: 0 })
})

/** Sends a beginning, and a byte now and then, until the other side has had enough. */
function drip(socket: Socket, beginning: string, byte: string): Promise<string> {
  return new Promise((resolve) => {
    let answer = ''
    const timer = setInterval(() => socket.write(byte), 300)
    if (beginning === '') clearInterval(timer)
    socket.setEncoding('latin1').on('data', (text: string) => (answer += text))
    socket.on('error', () => undefined)
    socket.on('close', () => {
      clearInterval(timer)
      resolve(answer)
    })
    socket.write(beginning)
  })
}

test('more connections than there may be are closed, and the others live', async (t) => {
  const { url } = await serve(t, { models, connections: 20, headersSeconds: 600 })
  const { hostname, port } = new URL(url)
  // The connection that is there already is kept.
  await besides(t, url, async () => {
    await ask(`${url}/health`)
    const sockets = Array.from({ length: 100 }, () => connect(Number(port), hostname))
    const closed = sockets.map(
      (socket) =>
        new Promise<void>((resolve) =>
          socket
            .on('close', () => {
              resolve()
            })
            .on('error', () => undefined)
            .resume(),
        ),
    )
    let count = 0
    for (const one of closed) void one.then(() => (count += 1))
    while (count < 80) await new Promise((resolve) => setTimeout(resolve, 20))
    for (const socket of sockets) socket.destroy()
    t.true(count >= 80)
  })
})
