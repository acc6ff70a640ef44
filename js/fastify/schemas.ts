/**
 * Requests and answers as JSON Schema, for the OpenAPI document. They tell and do not check: what comes in is checked by
 * the library, whose messages are the better ones and which does not take long over many numbers, and what goes out is
 * what the library said.
 */
import type { RadiusResult } from '../radius.js'
import type { BoundRequestOptions, RadiusRequestOptions } from '../request.js'
import type {
  BoundResult,
  Bracket,
  FunctionalBound,
  LayerReport,
  LayerSummary,
  NetworkSummary,
  NormResult,
  OnnxSource,
  PredictedCost,
  PredictedMemory,
  Witness,
} from '../results.js'
import type { MarginReport } from '../radius.js'
import { RETRY_AFTER } from './failures.js'
import type { ErrorBody } from './failures.js'
import type { ServiceLimits } from './limits.js'
import type { BatchLine, HealthReply, ModelEntry, ModelReply, ModelsReply } from './types.js'

/** A JSON Schema. */
export type Schema = Readonly<Record<string, unknown>>

/** A schema for each property of a type: the compiler knows if one is missing, or one too many. */
type Properties<Type> = { readonly [Key in keyof Required<Type>]: Schema }

/** The keys of properties that are always there. */
type RequiredKeys<Type> = { [Key in keyof Type]-?: object extends Pick<Type, Key> ? never : Key }[keyof Type] & string

/** An object of these properties and no others. */
function object<Type>(
  properties: Properties<Type>,
  required: readonly RequiredKeys<Type>[],
  description?: string,
): Schema {
  return {
    type: 'object',
    ...(description !== undefined && { description }),
    properties,
    ...(required.length > 0 && { required }),
    additionalProperties: false,
  }
}

const described = (schema: Schema, description: string): Schema => ({ ...schema, description })
const list = (items: Schema): Schema => ({ type: 'array', items })
const number: Schema = { type: 'number' }
const number0: Schema = { type: 'number', minimum: 0 }
/** A number that may be infinite, which JSON cannot say. */
const numberOrNull = described({ type: ['number', 'null'] }, 'null if it is infinite')
const count: Schema = { type: 'integer', minimum: 0 }
const text: Schema = { type: 'string' }
const flag: Schema = { type: 'boolean' }
const shape = list({ type: 'integer', minimum: 1 })
const numbers = list(number)
const words = (...values: string[]): Schema => ({ type: 'string', enum: values })
const reference = (name: string): Schema => ({ $ref: `${name}#` })

const method = words('auto', 'layerwise', 'certificate')
const composition = words('layerwise', 'certificate')
const guarantee = words('deterministic', 'probabilistic')
const probability: Schema = { type: 'number', minimum: 0, maximum: 1 }
const failureProbability = described(probability, 'the probability that the result is wrong; 0 for a proof')
const seconds = described(number0, 'seconds spent')
const seed = described(count, 'the same seed gives the same result')
const notes = described(list(text), 'what to know of the network')

/** What is asked of norms, in every request. */
const normOptions = {
  failureProbability: described(
    { type: 'number', minimum: 1e-30, maximum: 0.5 },
    'largest probability of a wrong result',
  ),
  guarantee: described(words('auto', 'deterministic', 'probabilistic'), 'proofs to ask for'),
  timeLimit: described(
    { type: 'number', exclusiveMinimum: 0 },
    'seconds for each norm, after which to settle for less',
  ),
  seed,
}

function boundOptions({ epsilons, functionals, maxSteps, restarts }: ServiceLimits): Properties<BoundRequestOptions> {
  return {
    ...normOptions,
    epsilon: described(
      { anyOf: [number0, { type: 'array', items: number0, maxItems: epsilons }] },
      'radius of the ball around the input; or several, for an array of bounds',
    ),
    kind: described(
      words('centred', 'uniform'),
      'between the centre and any point of the ball, or between any two points',
    ),
    method,
    tolerance: { type: 'number', exclusiveMinimum: 0, exclusiveMaximum: 1 },
    maxSteps: { type: 'integer', minimum: 1, maximum: maxSteps },
    functionals: described(
      { type: 'array', items: numbers, maxItems: functionals },
      'linear functionals of the output to bound as well: one coefficient for every output',
    ),
    certificate: described(flag, 'whether to add what others need to check the bound'),
    restarts: { type: 'integer', minimum: 0, maximum: restarts },
    witness: described(flag, 'whether to return points that attain lower'),
  }
}

function radiusOptions({ maxSteps, attackSteps }: ServiceLimits): Properties<RadiusRequestOptions> {
  const end = described({ anyOf: [number, reference('TensorJson')] }, 'one number for all elements, or a tensor')
  return {
    ...normOptions,
    label: described(count, 'the right class, from 0; default: what the network answers'),
    inputBox: described(
      object<{ lower: unknown; upper: unknown }>({ lower: end, upper: end }, []),
      'inputs that can occur; only those count',
    ),
    maximum: described({ type: 'number', exclusiveMinimum: 0 }, 'largest radius of interest'),
    tolerance: { type: 'number', exclusiveMinimum: 0, exclusiveMaximum: 1 },
    method,
    maxSteps: { type: 'integer', minimum: 1, maximum: maxSteps },
    attackSteps: { type: 'integer', minimum: 0, maximum: attackSteps },
    witness: described(flag, 'whether to return the input of another class that was found'),
  }
}

const norm = object<NormResult>(
  {
    lower: number,
    upper: numberOrNull,
    guarantee,
    failureProbability,
    steps: count,
    termination: text,
    method: text,
    seed,
    seconds,
  },
  ['lower', 'upper', 'guarantee', 'failureProbability', 'steps', 'termination', 'method', 'seconds'],
)

const bracket = object<Bracket>({ lower: numberOrNull, upper: numberOrNull }, ['lower', 'upper'])

const layer = object<LayerReport>(
  {
    name: text,
    kind: text,
    members: list(text),
    inputShape: shape,
    outputShape: shape,
    norm,
    epsilonIn: numberOrNull,
    epsilonOut: numberOrNull,
    gain: numberOrNull,
    gainMethod: composition,
    failureProbability,
    still: count,
    stable: count,
    unstable: count,
    seconds,
  },
  ['name', 'kind', 'members', 'inputShape', 'outputShape', 'norm', 'epsilonIn', 'epsilonOut', 'gain', 'gainMethod'],
)

const functional = object<FunctionalBound>(
  { lower: number, upper: numberOrNull, method: composition, guarantee, failureProbability },
  ['lower', 'upper', 'method', 'guarantee', 'failureProbability'],
)

const tensor = object<{ shape: unknown; data: unknown }>({ shape: list(count), data: numbers }, ['shape', 'data'])

const bound = object<BoundResult>(
  {
    upper: described(numberOrNull, 'certified upper bound of the constant'),
    lower: described(number, 'largest ratio that is attained'),
    product: bracket,
    epsilon: numberOrNull,
    kind: words('centred', 'uniform', 'global'),
    method: composition,
    guarantee,
    failureProbability,
    seed,
    seconds,
    layers: list(layer),
    notes,
    functionals: list(functional),
    certificate: described({ type: 'object' }, 'what lipbound check takes'),
    witness: object<Witness>({ ratio: number, from: tensor, to: tensor }, ['ratio', 'from', 'to']),
  },
  [
    'upper',
    'lower',
    'product',
    'epsilon',
    'kind',
    'method',
    'guarantee',
    'failureProbability',
    'seed',
    'seconds',
    'layers',
    'notes',
  ],
  'A bound of a Lipschitz constant around the input.',
)

const margin = object<MarginReport>({ class: count, margin: number, lipschitz: numberOrNull, method: composition }, [
  'class',
  'margin',
  'lipschitz',
  'method',
])

const radius = object<RadiusResult>(
  {
    radius: described(numberOrNull, 'every input at most this far away has the same answer'),
    attackRadius: described(
      { type: ['number', 'null'] },
      'an input at this distance was found that has not; null where none was found',
    ),
    label: count,
    predicted: count,
    bindingClass: count,
    reason: words('misclassified', 'tied'),
    termination: words('converged', 'maximum', 'evaluation-limit', 'zero'),
    margins: list(margin),
    evaluations: count,
    method: composition,
    guarantee,
    failureProbability,
    seed,
    seconds,
    notes,
    adversarial: tensor,
    adversarialClass: count,
  },
  [
    'radius',
    'attackRadius',
    'label',
    'predicted',
    'termination',
    'margins',
    'evaluations',
    'method',
    'guarantee',
    'failureProbability',
    'seed',
    'seconds',
    'notes',
  ],
  'A certified radius around the input, in the l2 norm.',
)

const error = object<ErrorBody>(
  {
    error: object<ErrorBody['error']>(
      {
        code: described(text, 'for programs: ERR_LIPBOUND_..., or FST_... of Fastify'),
        message: described(text, 'for people'),
      },
      ['code', 'message'],
    ),
  },
  ['error'],
  'Why there is no answer.',
)

/** Numbers are not looked at one by one: the library has to do that anyway. */
const tensorJson: Schema = {
  description:
    "Numbers in row-major order, flat or nested; or with their shape; or as little-endian bytes in base64. The shape is that of the network's input where none is given.",
  anyOf: [
    { type: 'array', items: {}, minItems: 1 },
    tensor,
    object<{ shape?: unknown; type: unknown; base64: unknown }>(
      { shape: list(count), type: words('float32', 'float64'), base64: { type: 'string', contentEncoding: 'base64' } },
      ['type', 'base64'],
    ),
  ],
}

const layerSummary = object<LayerSummary>(
  {
    index: count,
    name: text,
    type: text,
    inputs: list(text),
    inputShape: shape,
    outputShape: shape,
    parameters: count,
    units: count,
  },
  ['index', 'name', 'type', 'inputs', 'inputShape', 'outputShape', 'parameters', 'units'],
)

const summary = object<NetworkSummary>(
  {
    name: text,
    inputShape: shape,
    outputShape: shape,
    parameters: count,
    units: count,
    classes: list(text),
    notes,
    onnx: object<OnnxSource>(
      { producer: text, opset: count, input: text, output: text, folded: count, unused: count },
      ['opset', 'input', 'output', 'folded', 'unused'],
    ),
    cost: described(
      object<PredictedCost>({ forward: number0, layerwise: number0, certificate: number0 }, [
        'forward',
        'layerwise',
        'certificate',
      ]),
      'multiply-adds',
    ),
    memory: described(
      object<PredictedMemory>({ network: number0, layerwise: number0, certificate: number0, radius: number0 }, [
        'network',
        'layerwise',
        'certificate',
        'radius',
      ]),
      'bytes',
    ),
    layers: list(layerSummary),
  },
  ['inputShape', 'outputShape', 'parameters', 'units', 'notes', 'cost', 'memory', 'layers'],
)

const digest = described({ type: 'string', pattern: '^[0-9a-f]{64}$' }, 'SHA-256 of what the network computes')

const health = object<HealthReply>(
  { status: words('ready', 'stopping'), version: text, running: count, waiting: count, models: list(text) },
  ['status', 'version', 'running', 'waiting', 'models'],
)

const models = object<ModelsReply>(
  {
    models: list(
      object<ModelEntry>({ name: text, digest, inputShape: shape, outputShape: shape }, [
        'name',
        'digest',
        'inputShape',
        'outputShape',
      ]),
    ),
  },
  ['models'],
)

const model = object<ModelReply>({ name: text, digest, summary }, ['name', 'digest', 'summary'])

const id: Schema = { type: ['string', 'number'] }
const batchLine: Schema = {
  description: 'A line of the answer to a batch. One without an index is the last: the batch ended early.',
  anyOf: [
    object<Extract<BatchLine, { ok: true }>>(
      {
        index: count,
        id,
        ok: { const: true },
        result: { anyOf: [reference('BoundResult'), list(reference('BoundResult')), reference('RadiusResult')] },
      },
      ['index', 'ok', 'result'],
    ),
    object<{ index?: number; id?: unknown; ok: false; error: unknown }>(
      {
        index: count,
        id,
        ok: { const: false },
        error: object<ErrorBody['error']>({ code: text, message: text }, ['code', 'message']),
      },
      ['ok', 'error'],
    ),
  ],
}

/** The schemas that others refer to, by their names. */
export const sharedSchemas: readonly Schema[] = [
  { $id: 'Error', ...error },
  { $id: 'TensorJson', ...tensorJson },
  { $id: 'BoundResult', ...bound },
  { $id: 'RadiusResult', ...radius },
  { $id: 'BatchLine', ...batchLine },
]

const statuses = {
  400: 'No JSON, or no HTTP.',
  401: 'The bearer token is missing or wrong.',
  404: 'There is no such model.',
  408: 'The body did not arrive in time.',
  413: 'The body is too large.',
  415: 'The body is of a type or an encoding that is not taken.',
  422: 'What is asked cannot be answered, or is more than is allowed.',
  500: 'A defect.',
  503: `Too much is being worked on, it takes too long, or the service is stopping. Header Retry-After: ${RETRY_AFTER}.`,
}

/** The answers of a route: what it is for, and errors. */
function answers(answer: Schema, description: string, ...failures: (keyof typeof statuses)[]): Schema {
  const refusals = failures.map((status) => [status, described(reference('Error'), statuses[status])])
  return { 200: { ...answer, description }, ...(Object.fromEntries(refusals) as Schema) }
}

const ofModel = object<{ model: string }>({ model: described(text, 'name of the model') }, ['model'])

/** The schemas of all routes. */
export function routeSchemas(limits: ServiceLimits, secured: boolean) {
  const guarded = { ...(secured && { security: [{ token: [] }] }) }
  const asks = (summary: string, properties: Schema, required: readonly string[], answer: Schema): Schema => ({
    summary,
    tags: ['computations'],
    ...guarded,
    params: ofModel,
    consumes: ['application/json'],
    body: {
      type: 'object',
      properties: { input: reference('TensorJson'), ...properties },
      required: ['input', ...required],
      additionalProperties: false,
    },
    response: answers(answer, 'The result, in full precision.', 400, 401, 404, 408, 413, 415, 422, 500, 503),
  })
  const item = (properties: Schema): Schema => ({
    type: 'object',
    properties: { input: reference('TensorJson'), id, ...properties },
    required: ['input'],
    additionalProperties: false,
  })
  const batchOf = (task: string, properties: Schema): Schema => ({
    type: 'object',
    properties: {
      task: { const: task },
      options: { type: 'object', properties, additionalProperties: false },
      items: { type: 'array', items: item(properties), maxItems: limits.batchItems },
    },
    required: ['task', 'items'],
    additionalProperties: false,
  })
  return {
    health: {
      summary: 'Whether the service is ready',
      tags: ['service'],
      response: {
        200: described(health, 'It is.'),
        503: described(health, 'It is stopping.'),
      },
    },
    metrics: {
      summary: 'Metrics, as Prometheus reads them',
      tags: ['service'],
      ...guarded,
      produces: ['text/plain'],
      response: answers(text, 'The metrics.', 401),
    },
    models: {
      summary: 'The models there are',
      tags: ['models'],
      ...guarded,
      response: answers(models, 'All of them.', 401),
    },
    model: {
      summary: 'What a model is made of',
      tags: ['models'],
      ...guarded,
      params: ofModel,
      response: answers(model, 'Its summary.', 401, 404),
    },
    bound: asks('Bound a local Lipschitz constant around an input', boundOptions(limits), ['epsilon'], {
      anyOf: [reference('BoundResult'), list(reference('BoundResult'))],
    }),
    radius: asks('Certify a radius around an input', radiusOptions(limits), [], reference('RadiusResult')),
    batch: {
      summary: 'Ask the same about many inputs',
      description:
        'The answer comes as JSON Lines, a line for each item as soon as it is there. Items may be sent as JSON Lines too ' +
        '(application/x-ndjson), with task and options in the query.',
      tags: ['computations'],
      ...guarded,
      params: ofModel,
      querystring: {
        type: 'object',
        properties: {
          ordered: described(words('true', 'false'), 'whether lines come in the order of the items; default: true'),
          task: described(words('bound', 'radius'), 'what is asked, for JSON Lines'),
          options: described(text, 'JSON of what all items are asked, for JSON Lines'),
        },
        additionalProperties: false,
      },
      body: {
        content: {
          'application/json': {
            schema: { anyOf: [batchOf('bound', boundOptions(limits)), batchOf('radius', radiusOptions(limits))] },
          },
          'application/x-ndjson': { schema: text },
        },
      },
      response: {
        ...answers({}, '', 400, 401, 404, 408, 413, 415, 422, 500, 503),
        200: {
          description: 'A line for each item; see BatchLine.',
          content: { 'application/x-ndjson': { schema: reference('BatchLine') } },
        },
      },
    },
  }
}
