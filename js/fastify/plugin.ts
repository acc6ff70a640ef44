/** The routes of a service, as a plugin of Fastify. */
import { createRequire } from 'node:module'
import { Readable } from 'node:stream'

import type { FastifyInstance, FastifyPluginAsync, FastifyReply, FastifyRequest } from 'fastify'

import { InputError } from '../errors.js'
import type { Network } from '../network.js'
import { argumentError, flag, optional, parseOptions, positive } from '../options.js'
import type { Check } from '../options.js'
import { load } from '../dependency.js'
import type { Task } from '../request.js'
import { toJson } from '../request.js'
import { requireToken } from './authorization.js'
import { batchOfDocument, batchOfLines, startBatch } from './batching.js'
import type { AskedBatch } from './batching.js'
import { lines, receive } from './bodies.js'
import { compute } from './computing.js'
import { RETRY_AFTER, ServiceError, toFailure } from './failures.js'
import type { ErrorBody } from './failures.js'
import { parseJson } from './json.js'
import { toLimits } from './limits.js'
import type { ServiceLimits } from './limits.js'
import { createMetrics, noMetrics } from './metrics.js'
import { loadModels, toModels } from './models.js'
import type { ServedModel, ServedModels } from './models.js'
import { Places } from './places.js'
import { routeSchemas, sharedSchemas } from './schemas.js'
import { createService } from './service.js'
import type { Service } from './service.js'
import type {
  BatchBody,
  BatchQuery,
  BoundBody,
  BoundReply,
  HealthReply,
  ModelReply,
  ModelsReply,
  RadiusBody,
  RadiusReply,
} from './types.js'

/** Options of the plugin. */
export interface LipboundOptions {
  /** The directory of the models, all of which are loaded at the start; or networks that are there already, by name. */
  models: string | Readonly<Record<string, Network>>
  /** How much is given to each and to all; see {@link ServiceLimits}. */
  limits?: Partial<ServiceLimits> | undefined
  /** What callers have to show: `authorization: Bearer ...`. Only `/health` is open then. Default: nothing. */
  token?: string | undefined
  /** Whether there are `/openapi.json` and `/docs`; needs `@fastify/swagger` and `@fastify/swagger-ui`. Default: true. */
  docs?: boolean | undefined
  /** Whether there is `/metrics`; needs `prom-client`. Default: true. */
  metrics?: boolean | undefined
  /** Seconds that running work has when Fastify is closed. Default: 10. */
  grace?: number | undefined
}

const { version } = createRequire(import.meta.url)('../../package.json') as { version: string }

/** Short ones can be guessed, and others cannot be sent. */
const SHORTEST_TOKEN = 16
const token: Check<string> = (value, subject) => {
  if (typeof value === 'string' && /^[!-~]+$/.test(value) && value.length >= SHORTEST_TOKEN) return value
  // Which one it was is not for logs.
  const allowed = `at least ${SHORTEST_TOKEN} visible ASCII characters without spaces`
  throw new InputError('ERR_LIPBOUND_ARGUMENT', `${subject} must be a string of ${allowed}`)
}

const models: Check<string | Readonly<Record<string, Network>>> = (value, subject) => {
  if (typeof value === 'string' && value !== '') return value
  if (typeof value === 'object' && value !== null) return value as Readonly<Record<string, Network>>
  throw argumentError(subject, 'a directory, or an object of networks', value)
}

const specification = {
  models,
  limits: (value: unknown) => toLimits('lipbound', value as Partial<ServiceLimits> | undefined),
  token: optional(token),
  docs: optional(flag),
  metrics: optional(flag),
  grace: optional(positive),
  // Fastify's own.
  prefix: (value: unknown) => value,
  logLevel: (value: unknown) => value,
  logSerializers: (value: unknown) => value,
}

/**
 * Bounds and certified radii over HTTP, for the models of a directory.
 *
 * Error handler, body parsers and hooks are the plugin's own and do not touch other routes. Networks that it has loaded are
 * disposed of when Fastify is closed, those that it was given are not.
 *
 * @throws {@link InputError} (by rejection) `ERR_LIPBOUND_ARGUMENT` for an unknown or malformed option,
 *   `ERR_LIPBOUND_DEPENDENCY` for a package that is not installed; what `loadModel` throws
 *
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { lipbound } from 'lipbound/fastify'
 *
 * const app = Fastify()
 * await app.register(lipbound, { prefix: '/lipbound', models: 'models/', limits: { seconds: 20 } })
 * await app.listen({ port: 8080 })
 * ```
 */
export const lipbound: FastifyPluginAsync<LipboundOptions> = async (app, options) => {
  const { limits, docs = true, metrics = true, grace = 10, ...given } = parseOptions('lipbound', options, specification)
  const places = new Places(limits)
  const counted = metrics ? await createMetrics(places) : undefined
  const own = typeof given.models === 'string'
  const served = typeof given.models === 'string' ? await loadModels(given.models) : toModels(given.models)
  const service = createService({ version, models: served, limits, places, metrics: counted ?? noMetrics })

  app.setValidatorCompiler(() => () => true)
  app.setSerializerCompiler(() => (data) => JSON.stringify(data))
  app.setErrorHandler((error, request, reply) => refuse(service, error, request, reply))
  // That there is one has our hooks run for what is not found, one of which says so.
  app.setNotFoundHandler(() => undefined)
  addHooks(app, service)
  app.addHook('preClose', async () => {
    await service.endings.stop(grace)
  })
  app.addHook('onClose', () => {
    if (own) for (const { network } of served.values()) network.dispose()
  })

  const schemas = routeSchemas(limits, given.token !== undefined)
  if (docs) await addDocument(app, given.token !== undefined)
  app.get<{ Reply: HealthReply }>('/health', { schema: schemas.health }, (_request, reply) => {
    const { stopping } = service.endings
    const { running, waiting } = places
    void reply.code(stopping ? 503 : 200)
    return { status: stopping ? 'stopping' : 'ready', version, running, waiting, models: [...served.keys()] }
  })
  await app.register(async (guarded) => {
    if (given.token !== undefined) await requireToken(guarded, given.token)
    if (counted) {
      guarded.get('/metrics', { schema: schemas.metrics }, async (_request, reply) => {
        const { type, text } = await counted.text()
        return reply.type(type).serializer(String).send(text)
      })
    }
    if (docs) await addPages(guarded)
    addModels(guarded, service, schemas)
    await guarded.register((computing) => {
      addComputations(computing, service, schemas)
      return Promise.resolve()
    })
  })
  addOtherMethods(app, {
    '/health': 'GET',
    ...(counted && { '/metrics': 'GET' }),
    ...(docs && { '/openapi.json': 'GET' }),
    '/models': 'GET',
    '/models/:model': 'GET',
    '/models/:model/bound': 'POST',
    '/models/:model/radius': 'POST',
    '/models/:model/batch': 'POST',
  })
}

function addHooks(app: FastifyInstance, service: Service): void {
  const { endings, metrics } = service
  app.addHook('onRequest', async (request, reply) => {
    const { raw } = reply
    endings.answering(raw)
    raw.once('close', () => {
      const status = raw.writableFinished ? raw.statusCode : 499
      metrics.request({ route: request.routeOptions.url ?? 'none', method: request.method, status })
    })
    // Before its body is received.
    if (request.is404) throw new ServiceError('ERR_LIPBOUND_NOT_FOUND', 'there is no such route')
    if (endings.stopping && !request.routeOptions.url?.endsWith('/health')) {
      throw new ServiceError('ERR_LIPBOUND_STOPPING', 'the service is stopping')
    }
  })
  app.addHook('onSend', async (request, reply) => {
    // A connection that is kept would keep the service alive, and what was not read of a body is not wanted.
    if (endings.stopping || !request.raw.complete) reply.header('connection', 'close')
  })
}

function refuse(service: Service, error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { status, body } = toFailure(error)
  if (status === 500) request.log.error(error)
  service.metrics.refused(body.error.code)
  return reply
    .code(status)
    .headers(status === 503 ? { 'retry-after': String(RETRY_AFTER) } : {})
    .type('application/json; charset=utf-8')
    .serializer(JSON.stringify)
    .send(body)
}

async function addDocument(app: FastifyInstance, secured: boolean): Promise<void> {
  const { default: swagger } = await load(() => import('@fastify/swagger'), '@fastify/swagger', 'OpenAPI documents')
  await app.register(swagger, {
    openapi: {
      openapi: '3.1.0',
      info: {
        title: 'lipbound',
        version,
        description: 'Sound upper bounds on local Lipschitz constants of ReLU networks, and certified radii.',
      },
      ...(secured && { components: { securitySchemes: { token: { type: 'http', scheme: 'bearer' } } } }),
    },
    refResolver: {
      buildLocalReference: ({ $id }, _base, _fragment, index) => (typeof $id === 'string' ? $id : `schema${index}`),
    },
  })
  for (const schema of sharedSchemas) app.addSchema(schema)
}

async function addPages(app: FastifyInstance): Promise<void> {
  const { default: pages } = await load(() => import('@fastify/swagger-ui'), '@fastify/swagger-ui', 'pages of routes')
  app.get('/openapi.json', { schema: { hide: true } }, () => app.swagger())
  await app.register(pages, { routePrefix: '/docs', staticCSP: true })
}

type Schemas = ReturnType<typeof routeSchemas>

interface OfModel {
  Params: { model: string }
}

function find(served: ServedModels, request: FastifyRequest): ServedModel {
  const { model } = request.params as OfModel['Params']
  const found = served.get(model)
  if (found === undefined) throw new ServiceError('ERR_LIPBOUND_NOT_FOUND', 'there is no model of that name')
  return found
}

function addModels(app: FastifyInstance, { models: served }: Service, schemas: Schemas): void {
  app.get<{ Reply: ModelsReply }>('/models', { schema: schemas.models }, () => ({
    models: [...served.values()].map(({ name, digest, network: { summary } }) => {
      const { inputShape, outputShape } = summary
      return { name, digest, inputShape, outputShape }
    }),
  }))
  app.get<OfModel & { Reply: ModelReply }>('/models/:model', { schema: schemas.model }, (request) => {
    const { name, digest, network } = find(served, request)
    return { name, digest, summary: toJson(network.summary) as ModelReply['summary'] }
  })
}

function addComputations(app: FastifyInstance, service: Service, schemas: Schemas): void {
  const { limits, models: served, room } = service
  app.removeAllContentTypeParsers()
  /** Parsed or not, a body takes memory until it is answered. */
  const held = new WeakMap<FastifyRequest, () => void>()
  app.addHook('onRequest', (request, reply, done) => {
    reply.raw.once('close', () => held.get(request)?.())
    // Before any of the body is received.
    find(served, request)
    const { 'content-encoding': encoding = 'identity' } = request.headers
    if (encoding === 'identity') done()
    else done(new ServiceError('ERR_LIPBOUND_MEDIA_TYPE', 'bodies are not taken in other encodings, such as gzip'))
  })
  app.addContentTypeParser('application/json', async (request: FastifyRequest) => {
    const { body, giveBack } = receive(request.raw, limits, room)
    held.set(request, giveBack)
    const bytes = await body
    if (bytes.length === 0) throw new ServiceError('ERR_LIPBOUND_JSON', 'the body is empty')
    return parseJson(bytes)
  })
  const answering = (task: Task) => (request: FastifyRequest, reply: FastifyReply) =>
    compute(service, task, find(served, request), request.body, reply.raw, request.raw.socket)

  app.post<OfModel & { Body: BoundBody; Reply: BoundReply | ErrorBody }>(
    '/models/:model/bound',
    { schema: schemas.bound },
    answering('bound') as (request: FastifyRequest, reply: FastifyReply) => Promise<BoundReply>,
  )
  app.post<OfModel & { Body: RadiusBody; Reply: RadiusReply | ErrorBody }>(
    '/models/:model/radius',
    { schema: schemas.radius },
    answering('radius') as (request: FastifyRequest, reply: FastifyReply) => Promise<RadiusReply>,
  )
  void app.register((batches) => {
    batches.addContentTypeParser('application/x-ndjson', (_request, payload, done) => {
      done(null, payload)
    })
    batches.post<OfModel & { Querystring: BatchQuery; Body: BatchBody | Readable }>(
      '/models/:model/batch',
      { schema: schemas.batch },
      async (request, reply) => {
        const asked = readBatch(request, limits)
        const answer = await startBatch(service, find(served, request), asked, reply.raw)
        // Lines that are still to come may never be read.
        if (!request.raw.complete) reply.header('connection', 'close')
        // Silence is watched in both directions by the batch itself.
        request.raw.socket.setTimeout(0)
        return reply
          .type('application/x-ndjson')
          .send(Readable.from(answer, { objectMode: false, highWaterMark: 65_536 }))
      },
    )
    return Promise.resolve()
  })
}

function readBatch(request: FastifyRequest, limits: ServiceLimits): AskedBatch {
  const query = request.query as Readonly<Record<string, unknown>>
  return request.body instanceof Readable
    ? batchOfLines(query, lines(request.raw, limits))
    : batchOfDocument(query, request.body, limits)
}

/** Routes that exist say so to methods that they have not. */
function addOtherMethods(app: FastifyInstance, routes: Readonly<Record<string, 'GET' | 'POST'>>): void {
  for (const [url, allowed] of Object.entries(routes)) {
    const allow = allowed === 'GET' ? ['GET', 'HEAD'] : ['POST']
    app.route({
      method: app.supportedMethods.filter((method) => !allow.includes(method)),
      url,
      schema: { hide: true },
      onRequest: async (_request, reply) => {
        reply.header('allow', allow.join(', '))
        throw new ServiceError('ERR_LIPBOUND_METHOD', `the method here is ${allow.join(' or ')}`)
      },
      handler: () => undefined,
    })
  }
}

export default lipbound
