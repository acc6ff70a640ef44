/**
 * Batches in a queue (BullMQ, on Redis or PostgreSQL), answered by workers in other processes and on other machines.
 *
 * @module lipbound/queue
 */
export { QueueBatch } from './batch.js'
export type { QueueBatchProgress, ResultsOptions } from './batch.js'
export { enqueueBatch } from './enqueue.js'
export type { BatchModels, BoundJobs, ItemModel, ModelReference, QueueBatchControl, RadiusJobs } from './enqueue.js'
export type { QueueConnection } from './connection.js'
export type { ResultJson } from './job.js'
export type { ModelSource } from './models.js'
export { QueueWorker, startWorker } from './worker.js'
export type { JobEvent, ServedModel, WorkerEvent, WorkerOptions } from './worker.js'
