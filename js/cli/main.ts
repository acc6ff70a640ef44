#!/usr/bin/env node
/**
 * The command line. Exit status: 0 answered, 2 bad usage or input, 1 anything else: a refused certificate, too.
 */
import { createRequire } from 'node:module'

import { Command, CommanderError } from 'commander'

import { LipboundError, errorTable } from '../errors.js'
import type { Context } from './arguments.js'
import { addBoundCommand } from './bound.js'
import { addCheckCommand } from './check.js'
import { addGlobalCommand } from './global.js'
import { addInspectCommand } from './inspect.js'
import { addNormCommand } from './norm.js'

const BAD_INPUT = 2
const FAILURE = 1

class Interrupted extends Error {}

function createProgram(context: Context): Command {
  const { version } = createRequire(import.meta.url)('../../package.json') as { version: string }
  const program = new Command('lipbound')
    .description('Sound bounds of the local Lipschitz constants of ReLU networks')
    .version(version)
    .showHelpAfterError('(--help shows what there is)')
    .exitOverride()
  addInspectCommand(program, context)
  addBoundCommand(program, context)
  addGlobalCommand(program, context)
  addNormCommand(program, context)
  addCheckCommand(program, context)
  return program
}

function exitStatus(error: unknown): number {
  // Commander has explained itself already; help and version leave with 0.
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : BAD_INPUT
  if (error instanceof Interrupted) {
    process.stderr.write('interrupted\n')
    return FAILURE
  }
  if (error instanceof LipboundError) {
    process.stderr.write(`lipbound: ${error.message} (${error.code})\n`)
    return errorTable[error.code].fault === 'caller' ? BAD_INPUT : FAILURE
  }
  process.stderr.write(`lipbound: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`)
  return FAILURE
}

const interruption = new AbortController()
// Once: a second interrupt ends the process the ordinary way.
process.once('SIGINT', () => {
  interruption.abort(new Interrupted())
})

// A reader that has seen enough, such as `head`, is not a failure.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  process.exitCode = error.code === 'EPIPE' ? 0 : FAILURE
})

try {
  await createProgram({ signal: interruption.signal }).parseAsync()
} catch (error) {
  // Not process.exit(): what is written is to arrive first.
  process.exitCode = exitStatus(error)
}
