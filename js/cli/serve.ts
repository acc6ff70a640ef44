/** `lipbound serve`: a service over HTTP, until a signal ends it. */
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'

import { Option } from 'commander'
import type { Command } from 'commander'

import { InputError } from '../errors.js'
import { isLoopback, startServer } from '../fastify/server.js'
import type { ServiceLimits } from '../fastify/limits.js'
import { toNumber } from './arguments.js'
import type { Context } from './arguments.js'
import { reasonOf } from './files.js'
import { examples } from './help.js'
import { createLogger, logLevels } from './logger.js'
import type { LogLevel } from './logger.js'
import { print } from './output.js'

interface Words extends Partial<ServiceLimits> {
  models: string
  host: string
  port: number
  tokenFile?: string
  docs: boolean
  metrics: boolean
  grace: number
  connections: number
  logLevel: LogLevel
}

/** Limits as options: what they are called, and what they mean. */
const limitOptions: Readonly<Record<keyof ServiceLimits, readonly [flags: string, meaning: string]>> = {
  bodyBytes: ['--body-bytes <number>', 'bytes of a JSON body (default: 16777216)'],
  heldBytes: ['--held-bytes <number>', 'bytes of all JSON bodies together that are worked on (default: 67108864)'],
  lineBytes: ['--line-bytes <number>', 'bytes of a line in a batch of JSON Lines (default: 4194304)'],
  epsilons: ['--epsilons <number>', 'epsilons of a request (default: 100)'],
  functionals: ['--functionals <number>', 'functionals of a request (default: 100)'],
  maxSteps: ['--max-steps <number>', 'steps that a request may ask for (default: 10000)'],
  restarts: ['--restarts <number>', 'restarts that a request may ask for (default: 100)'],
  attackSteps: ['--attack-steps <number>', 'steps of attacks that a request may ask for (default: 2000)'],
  seconds: ['--seconds <number>', 'seconds for an answer, those of waiting among them (default: 120)'],
  idleSeconds: ['--idle-seconds <number>', 'seconds for a body to arrive, or for a batch to move (default: 30)'],
  computations: ['--computations <number>', 'computations at a time (default: as many as threads)'],
  waiting: ['--waiting <number>', 'requests that wait for their turn (default: 32)'],
  batches: ['--batches <number>', 'batches at a time (default: 4)'],
  batchComputations: ['--batch-computations <number>', 'computations of batches at a time (default: half of all)'],
  batchItems: ['--batch-items <number>', 'items of a batch (default: 10000)'],
  batchSeconds: ['--batch-seconds <number>', 'seconds for a batch (default: 3600)'],
}

/** Adds the command to the program. */
export function addServeCommand(program: Command, context: Context): void {
  const command = program
    .command('serve')
    .summary('answer over HTTP, for the models of a directory')
    .description(
      'Answers over HTTP, for the models of a directory, which are loaded at the start. SIGTERM and SIGINT end it, with ' +
        'a time of grace for what is running. Needs packages that are installed beside lipbound: fastify, ' +
        '@fastify/swagger, @fastify/swagger-ui, prom-client and, with a token, @fastify/bearer-auth.',
    )
    .requiredOption('--models <directory>', 'models to serve, under their names without .onnx or .json')
    .option('--host <address>', 'address to listen on; any but loopback needs a token', '127.0.0.1')
    .option('--port <number>', 'port to listen on; 0 for one that is free', toNumber, 8080)
    .option('--token-file <file>', 'file with the bearer token that callers have to show (default: $LIPBOUND_TOKEN)')
    .option('--no-docs', 'leave out /openapi.json and /docs')
    .option('--no-metrics', 'leave out /metrics')
    .option('--grace <seconds>', 'seconds that running work has when the service is told to stop', toNumber, 10)
    .option('--connections <number>', 'connections at a time', toNumber, 1024)
    .addOption(new Option('--log-level <level>', 'how much to log on stderr').choices(logLevels).default('info'))
  for (const [flags, meaning] of Object.values(limitOptions)) command.option(flags, meaning, toNumber)
  examples(command, [
    ['serve --models models/'],
    ['serve --models models/ --host 0.0.0.0 --token-file token.txt', 'for others than this machine'],
  ])
  command.action((words: Words) => serve(words, context))
}

async function serve(words: Words, { signal }: Context): Promise<void> {
  const { models, host, port, docs, metrics, grace, connections, logLevel } = words
  const token = await readToken(words.tokenFile)
  if (!isLoopback(host) && token === undefined) {
    throw new InputError(
      'ERR_LIPBOUND_ARGUMENT',
      `--host ${host}: whoever reaches it could compute here; give a token by --token-file or LIPBOUND_TOKEN`,
    )
  }
  const limits = Object.fromEntries(
    Object.keys(limitOptions).flatMap((name) => {
      const value = words[name as keyof ServiceLimits]
      return value === undefined ? [] : [[name, value]]
    }),
  )
  const logger = await createLogger('lipbound serve', logLevel)
  const options = { models, host, port, token, docs, metrics, grace, connections, limits, logger }
  // From now on, and while models are loaded.
  const ended = Promise.race([once(process, 'SIGTERM'), aborted(signal)])
  const server = await startServer(options)
  print(`lipbound listens on ${server.url}`)
  await ended
  logger.info('stopping')
  await server.close()
  logger.info('stopped')
}

/** An interrupt is how a service ends, and no failure. */
function aborted(signal: AbortSignal): Promise<unknown> {
  return signal.aborted ? Promise.resolve() : once(signal, 'abort')
}

async function readToken(file: string | undefined): Promise<string | undefined> {
  if (file === undefined) {
    const { LIPBOUND_TOKEN: token } = process.env
    return token === '' ? undefined : token
  }
  try {
    return (await readFile(file, 'utf8')).trim()
  } catch (error) {
    throw new InputError('ERR_LIPBOUND_FILE', `--token-file: cannot read ${file}: ${reasonOf(error)}`, { cause: error })
  }
}
