/**
 * Bounds and certified radii over HTTP: a plugin of Fastify 5, and a server that has nothing else. What it needs besides is
 * installed by who uses it: `npm install fastify @fastify/swagger @fastify/swagger-ui prom-client @fastify/bearer-auth`.
 *
 * @module lipbound/fastify
 */
export { lipbound, lipbound as default } from './plugin.js'
export type { LipboundOptions } from './plugin.js'
export { startServer } from './server.js'
export type { RunningServer, ServerOptions } from './server.js'
export { defaultLimits } from './limits.js'
export type { ServiceLimits } from './limits.js'
export { serviceErrors } from './failures.js'
export type { ErrorBody, ServiceErrorCode } from './failures.js'
export type {
  BatchBody,
  BatchItemBody,
  BatchLine,
  BatchQuery,
  BoundBody,
  BoundReply,
  HealthReply,
  Json,
  ModelEntry,
  ModelReply,
  ModelsReply,
  RadiusBody,
  RadiusReply,
} from './types.js'
export type { ComputationRequest, RequestOptions, Task, TensorJson } from '../request.js'
export type { BoundRequestOptions, RadiusRequestOptions } from '../request.js'
