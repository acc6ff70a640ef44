/** The log of commands that run until they are stopped: one JSON object a line on stderr. */
import type { Logger } from 'pino'

import { load } from '../dependency.js'

/** How much is logged, from everything to nothing. */
export const logLevels = ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const

/** One of {@link logLevels}. */
export type LogLevel = (typeof logLevels)[number]

/**
 * Makes a log; pino is loaded only here. Each line is written before the next thing happens, so that none is lost with the
 * process.
 *
 * @param name - what the lines say they are from
 */
export async function createLogger(name: string, level: LogLevel = 'info'): Promise<Logger> {
  const { pino } = await load(() => import('pino'), 'pino', 'logs')
  const timestamp = pino.stdTimeFunctions.isoTime
  const formatters = { level: (label: string) => ({ level: label }) }
  return pino({ name, level, timestamp, formatters }, pino.destination({ dest: 2, sync: true }))
}
