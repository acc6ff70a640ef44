/** `lipbound serve`: the service in a process of its own. */
import test from 'ava'

import { createDirectory } from '../helpers/files.js'
import { lipbound, repositoryFile, runNode } from '../helpers/process.js'
import { ask, codeOf, post, serveProcess, until } from '../helpers/service.js'
import { loadTensor } from '../../dist/index.js'

const MODELS = repositoryFile('examples/models')
const image = await loadTensor(`${MODELS}/digits/8.npy`)
const laborious = { input: [...image.data], tolerance: 1e-6, attackSteps: 2000, method: 'certificate' }
const item = { ...laborious, epsilon: undefined }

const files = createDirectory()
test.after.always(() => {
  files.remove()
})

test('SIGTERM: health says so, nothing new begins, what runs too long is ended, and the exit status is 0', async (t) => {
  const { url, child, ended } = await serveProcess(t, ['--models', MODELS, '--grace', '2', '--computations', '2'])
  const long = post(`${url}/models/lenet/radius`, laborious)
  const batch = post(`${url}/models/lenet/batch`, { task: 'radius', items: [item, item] })
  await until(url, { running: 2 })
  child.kill('SIGTERM')
  for (;;) {
    const health = await ask(`${url}/health`)
    if (health.status === 200) continue
    t.is(health.status, 503)
    t.like(health.body, { status: 'stopping' })
    break
  }
  const refused = await post(`${url}/models/lenet/bound`, { input: [...image.data], epsilon: 0.1 })
  t.is(refused.status, 503)
  t.is(codeOf(refused), 'ERR_LIPBOUND_STOPPING')
  t.is(refused.headers.get('connection'), 'close')
  const stopped = await long
  t.is(stopped.status, 503, 'the computation needs longer than the time of grace')
  t.is(codeOf(stopped), 'ERR_LIPBOUND_STOPPING')
  t.like((await batch).body, [{ ok: false, error: { code: 'ERR_LIPBOUND_STOPPING' } }])
  const { status, stdout, stderr } = await ended
  t.is(status, 0)
  t.is(stdout, `lipbound listens on ${url}\n`)
  const messages = stderr
    .trimEnd()
    .split('\n')
    .map((line) => (JSON.parse(line) as { msg: string }).msg)
  t.true(messages.includes('request completed'))
  t.is(messages.at(-1), 'stopped')
})

test('an idle service ends at once by SIGINT, however many hold a connection', async (t) => {
  const { url, child, ended } = await serveProcess(t, ['--models', MODELS, '--log-level', 'silent', '--no-docs'])
  t.is((await ask(`${url}/docs`)).status, 404)
  t.is((await ask(`${url}/health`)).status, 200)
  child.kill('SIGINT')
  t.like(await ended, { status: 0, stderr: '' })
})

test('elsewhere than on loopback there has to be a token, which a file or the environment has', async (t) => {
  for (const host of ['0.0.0.0', '::', '192.0.2.1', 'example.org']) {
    const { status, stdout, stderr } = await runNode(
      ['dist/cli/main.js', 'serve', '--models', MODELS, '--host', host],
      { LIPBOUND_TOKEN: '' },
    )
    t.is(status, 2)
    t.is(stdout, '')
    t.regex(stderr, /--token-file or LIPBOUND_TOKEN.*ERR_LIPBOUND_ARGUMENT/)
  }
  const token = 'a token of a file'.replaceAll(' ', '-')
  const file = files.write('token.txt', `${token}\n`)
  const { url } = await serveProcess(t, ['--models', MODELS, '--host', '0.0.0.0', '--token-file', file])
  const here = url.replace('0.0.0.0', '127.0.0.1')
  t.is((await ask(`${here}/models`)).status, 401)
  t.is((await ask(`${here}/models`, { headers: { authorization: `Bearer ${token}` } })).status, 200)
})

test('exit status 2: what cannot be served', async (t) => {
  const refuses = async (args: string[], message: RegExp): Promise<void> => {
    const { status, stdout, stderr } = await lipbound('serve', ...args)
    t.is(status, 2, stderr)
    t.is(stdout, '')
    t.regex(stderr, message)
    t.notRegex(stderr, /\n +at /, 'no stack trace')
  }
  await refuses([], /--models/)
  await refuses(['--models', 'nowhere'], /nowhere.*ERR_LIPBOUND_FILE/)
  files.write('broken.json', '{"format":"lipbound-architecture","version":1}')
  await refuses(['--models', files.path], /broken\.json.*ERR_LIPBOUND_MODEL/)
  await refuses(['--models', MODELS, '--port', '65536'], /port.*ERR_LIPBOUND_ARGUMENT/)
  await refuses(['--models', MODELS, '--seconds', '0'], /seconds.*ERR_LIPBOUND_ARGUMENT/)
  await refuses(['--models', MODELS, '--log-level', 'loud'], /loud/)
  await refuses(['--models', MODELS, '--token-file', 'nowhere'], /--token-file.*nowhere.*ERR_LIPBOUND_FILE/)
})

test('a package that is not installed is named, with the command that installs it', async (t) => {
  const packages = ['fastify', 'prom-client', '@fastify/swagger', '@fastify/swagger-ui', '@fastify/bearer-auth']
  const hooks = `export const resolve = (name, context, next) => {
    if (name === process.env.MISSING || process.env.MISSING === 'all' && ${JSON.stringify(packages)}.includes(name)) throw new Error('no ' + name)
    return next(name, context)
  }`
  const script = `
    import { register } from 'node:module'
    register('data:text/javascript,' + encodeURIComponent(process.env.HOOKS))
    const { startServer } = await import('lipbound/fastify')
    const without = process.env.MISSING === 'all' ? { docs: false, metrics: false } : { token: 'a-token-of-a-test' }
    const { models } = process.env
    await startServer({ models, port: 0, ...without }).catch(({ code, message }) => console.log(code, message))
  `
  for (const missing of [...packages, 'all']) {
    const { stdout, stderr } = await runNode(['--input-type=module', '--eval', script], {
      HOOKS: hooks,
      MISSING: missing,
      models: MODELS,
    })
    const name = missing === 'all' ? 'fastify' : missing
    t.true(stdout.startsWith('ERR_LIPBOUND_DEPENDENCY '), stdout + stderr)
    t.true(stdout.endsWith(`install it with: npm install ${name}\n`), stdout)
  }
})
