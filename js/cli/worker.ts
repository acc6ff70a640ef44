/** `lipbound worker`: answers for models until it is stopped. */
import type { Command } from 'commander'
import { Option } from 'commander'
import type { Logger } from 'pino'

import { startWorker } from '../queue/index.js'
import type { WorkerEvent } from '../queue/index.js'
import { toNumber } from './arguments.js'
import type { Context } from './arguments.js'
import { examples } from './help.js'
import { createLogger, logLevels } from './logger.js'
import type { LogLevel } from './logger.js'
import { addQueueOptions, queueServer } from './queue.js'
import type { QueueWords } from './queue.js'

interface Words extends QueueWords {
  models: string[]
  concurrency?: number
  grace?: number
  stalledAfter?: number
  logLevel: LogLevel
}

/** Adds the command to the program. */
export function addWorkerCommand(program: Command, context: Context): void {
  const command = program
    .command('worker')
    .summary('answer what is in a queue, for some models')
    .description(
      'Takes jobs from a queue (see lipbound help enqueue) and answers those about the models it has, until it is stopped: ' +
        'SIGTERM and SIGINT let what is running go on for a while, and give back what is not done then.',
    )
    .requiredOption('--models <path...>', 'models to answer for: model files, or directories that hold some')
  addQueueOptions(command)
    .option('--concurrency <number>', 'jobs of a model at a time (default: twice the number of threads)', toNumber)
    .option('--grace <seconds>', 'seconds for which jobs may go on when it is stopped (default: 30)', toNumber)
    .option(
      '--stalled-after <seconds>',
      'seconds without a sign of life of a worker after which its jobs are given to others (default: 15)',
      toNumber,
    )
    .addOption(
      new Option('--log-level <level>', 'how much to log, to stderr, one JSON object a line; debug has every job')
        .choices(logLevels)
        .default('info'),
    )
  examples(command, [
    ['worker --redis redis://127.0.0.1:6379 --models models --concurrency 4'],
    ['worker --postgres postgres://lipbound@127.0.0.1/queues --models mnist.onnx cifar.json'],
  ])
  command.action((words: Words) => work(words, context))
}

async function work(words: Words, { signal }: Context): Promise<void> {
  const { models, queue, concurrency, grace, stalledAfter } = words
  const connection = queueServer(words)
  const log = await createLogger('lipbound worker', words.logLevel)
  const termination = new AbortController()
  // Once: a second one ends the process the ordinary way.
  process.once('SIGTERM', () => {
    termination.abort()
  })
  const worker = await startWorker({
    connection,
    queue,
    models,
    concurrency,
    grace,
    stalledAfter,
    onEvent: logger(log),
    signal: AbortSignal.any([signal, termination.signal]),
  })
  await worker.closed
  // Not to be kept by what still waits for a server that is away; the log has been written.
  process.exit()
}

/** Writes what happens into the log. */
function logger(log: Logger): (event: WorkerEvent) => void {
  return ({ type, ...details }) => {
    switch (type) {
      case 'begun':
      case 'answered':
        log.debug(details, type)
        break
      case 'stalled':
        log.warn(details, type)
        break
      case 'failed':
      case 'error': {
        const { error, ...others } = details as { error: Error }
        if (type === 'failed') log.warn({ ...others, err: error }, type)
        else log.error({ err: error }, type)
        break
      }
      default:
        log.info(details, type)
    }
  }
}
