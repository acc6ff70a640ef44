/** What the commands around queues share: where the queue is. */
import type { Command } from 'commander'

import { InputError } from '../errors.js'

/** The options of {@link addQueueOptions}. */
export interface QueueWords {
  redis?: string
  postgres?: string
  queue?: string
}

const SERVERS = {
  redis: { protocols: ['redis:', 'rediss:'], example: 'redis://127.0.0.1:6379', variable: 'LIPBOUND_REDIS' },
  postgres: {
    protocols: ['postgres:', 'postgresql:'],
    example: 'postgres://user@127.0.0.1:5432/database',
    variable: 'LIPBOUND_POSTGRES',
  },
} as const

/** Adds `--redis`, `--postgres` and `--queue`. */
export function addQueueOptions(command: Command): Command {
  return command
    .option(
      '--redis <url>',
      `Redis server that has the queue, such as ${SERVERS.redis.example} (default: $${SERVERS.redis.variable}, where a ` +
        'password is not seen by others)',
    )
    .option(
      '--postgres <url>',
      `PostgreSQL database that has it, such as ${SERVERS.postgres.example} (default: $${SERVERS.postgres.variable})`,
    )
    .option('--queue <name>', 'what the queue is called (default: lipbound)')
}

/**
 * The URL of the server that has the queue.
 *
 * @throws {@link InputError} `ERR_LIPBOUND_ARGUMENT` unless there is one, and it is one
 */
export function queueServer(words: QueueWords): string {
  const kinds = ['redis', 'postgres'] as const
  const given = kinds.filter((kind) => words[kind] !== undefined)
  const present = given.length > 0 ? given : kinds.filter((kind) => process.env[SERVERS[kind].variable])
  const [kind, another] = present
  if (kind === undefined || another !== undefined) {
    const what = kind === undefined ? 'where the queue is has to be said' : 'a queue is in one place'
    throw new InputError(
      'ERR_LIPBOUND_ARGUMENT',
      `${what}: --redis ${SERVERS.redis.example} or --postgres ${SERVERS.postgres.example}`,
    )
  }
  const { protocols, example, variable } = SERVERS[kind]
  const named = given.length > 0 ? `--${kind}` : variable
  const url = words[kind] ?? process.env[variable] ?? ''
  const allowed: readonly string[] = protocols
  if (!URL.canParse(url) || !allowed.includes(new URL(url).protocol)) {
    // Not shown: there may be a password in it.
    throw new InputError('ERR_LIPBOUND_ARGUMENT', `${named} must be a URL such as ${example}, and is none`)
  }
  return url
}
