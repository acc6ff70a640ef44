// Bounds and certified radii over HTTP, for one network that is loaded once: a small service to start from.
//
//     node examples/service/server.js [MODEL]      # listens on http://127.0.0.1:8080; PORT=9000 for another port
//
// README.md beside this file has requests to try.

import { fileURLToPath } from 'node:url'

import Fastify from 'fastify'
import { LipboundError, errorTable, loadModel, tensor } from 'lipbound'

const MODEL = process.argv[2] ?? fileURLToPath(new URL('../models/lenet.json', import.meta.url))
const PORT = Number(process.env.PORT ?? 8080)
const MAX_BODY = 256 * 1024 // bytes; a digit takes about 10,000
const MAX_RUNNING = 2 // computations at a time; more get a 503 at once
const MAX_TIME = 120_000 // milliseconds for one answer
const GRACE = 10_000 // milliseconds that running computations have when the service is told to stop

const network = await loadModel(MODEL)
const { name, inputShape, outputShape } = network.summary

const app = Fastify({
  bodyLimit: MAX_BODY,
  requestTimeout: 10_000,
  // What is wrong is refused, not made to fit.
  ajv: { customOptions: { coerceTypes: false, removeAdditional: false } },
})

/** A JSON object with these properties and no others. */
const object = (properties, required = []) => ({ type: 'object', properties, required, additionalProperties: false })
const number = { type: 'number' }
const integer = { type: 'integer', minimum: 0, maximum: Number.MAX_SAFE_INTEGER }

// What every request may say; how many numbers an input has is for the library to check, which has a good message for it.
const common = {
  input: { type: 'array', items: number },
  method: { enum: ['auto', 'layerwise', 'certificate'] },
  guarantee: { enum: ['auto', 'deterministic', 'probabilistic'] },
  seed: integer,
}
// What every answer says, and can be relied on without knowing lipbound.
const stated = {
  method: { type: 'string' },
  guarantee: { type: 'string' },
  failureProbability: number,
  seed: integer,
  seconds: number,
}

const boundSchema = {
  body: object({ ...common, epsilon: { ...number, minimum: 0 }, kind: { enum: ['centred', 'uniform'] } }, [
    'input',
    'epsilon',
  ]),
  response: { 200: object({ upper: number, lower: number, epsilon: number, kind: { type: 'string' }, ...stated }) },
}

const radiusSchema = {
  body: object(
    {
      ...common,
      label: integer,
      inputBox: object({ lower: number, upper: number }, ['lower', 'upper']),
      maximum: { ...number, exclusiveMinimum: 0 },
      tolerance: { ...number, minimum: 0.001, exclusiveMaximum: 1 },
    },
    ['input'],
  ),
  response: {
    200: object({
      radius: number,
      attackRadius: { ...number, nullable: true }, // null where no attack succeeded
      label: integer,
      predicted: integer,
      bindingClass: integer,
      reason: { type: 'string' },
      ...stated,
    }),
  },
}

const refusal = (statusCode, code, message) => Object.assign(new Error(message), { statusCode, code })

/** What ends the computations that are running, one for each. */
const running = new Set()

/** A handler that computes, if there is room for it, until the client goes, time is up, or the service has to stop. */
const computing = (compute) => async (request, reply) => {
  if (running.size >= MAX_RUNNING) throw refusal(503, 'BUSY', `${running.size} computations are running`)
  const ending = new AbortController()
  const timer = setTimeout(() => ending.abort(refusal(503, 'TIMEOUT', 'this takes longer than is allowed')), MAX_TIME)
  // The response closes when it was sent, which ends nothing, or when the client has gone. (The request closes once its
  // body was read, so that it says nothing of the client; request.signal goes by that.)
  reply.raw.once('close', () => ending.abort(refusal(503, 'GONE', 'the client has gone')))
  running.add(ending)
  try {
    const { input, ...options } = request.body
    return await compute(tensor(inputShape, input), { ...options, signal: ending.signal })
  } finally {
    clearTimeout(timer)
    running.delete(ending)
  }
}

app.get('/health', () => ({
  status: 'ok',
  network: name,
  digest: network.digest,
  inputShape,
  outputShape,
  running: running.size,
}))

app.post(
  '/bound',
  { schema: boundSchema },
  computing((input, options) => network.bound(input, options)),
)

app.post(
  '/radius',
  { schema: radiusSchema },
  computing(async (input, options) => {
    const result = await network.certifiedRadius(input, options)
    return { ...result, attackRadius: Number.isFinite(result.attackRadius) ? result.attackRadius : null }
  }),
)

app.setErrorHandler((error, _request, reply) => {
  // What the caller can do something about is well-formed but cannot be answered: 422. The rest is Fastify's, or a defect.
  const ours = error instanceof LipboundError ? (errorTable[error.code].fault === 'caller' ? 422 : 500) : undefined
  const status = ours ?? error.statusCode ?? 500
  if (status === 500) console.error(error)
  return reply
    .code(status)
    .headers(status === 503 ? { 'retry-after': '5' } : {})
    .send({ error: error.code ?? 'INTERNAL', message: status === 500 ? 'internal error' : error.message })
})

let stopping = false
// A connection that is kept alive would keep the service alive, too.
app.addHook('onSend', async (_request, reply) => void (stopping && reply.header('connection', 'close')))

for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, async () => {
    stopping = true
    setTimeout(() => {
      for (const ending of running) ending.abort(refusal(503, 'STOPPING', 'the service is stopping'))
    }, GRACE).unref()
    await app.close() // takes no more requests, and waits for those that are being answered
    network.dispose()
  })
}

console.log(`${name} listens on ${await app.listen({ host: '127.0.0.1', port: PORT })}`)
