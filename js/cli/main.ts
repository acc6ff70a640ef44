#!/usr/bin/env node
/** The command line. `status.ts` has the exit statuses. */
import { createRequire } from 'node:module'

import { Command, CommanderError } from 'commander'

import { LipboundError, errorTable } from '../errors.js'
import type { Context } from './arguments.js'
import { addBoundCommand } from './bound.js'
import { addCertifyCommand } from './certify.js'
import { addCheckCommand } from './check.js'
import { addEnqueueCommand } from './enqueue.js'
import { addGlobalCommand } from './global.js'
import { MANUAL } from './help.js'
import { addInspectCommand } from './inspect.js'
import { addNormCommand } from './norm.js'
import { printError } from './output.js'
import { addServeCommand } from './serve.js'
import { ANSWERED, BAD_INPUT, FAILURE } from './status.js'
import { addSweepCommand } from './sweep.js'
import { addWorkerCommand } from './worker.js'

/** Why the work ends early. */
class Interrupted extends Error {}

/** A reader that has seen enough, such as `head`: the rest need not be computed. */
class ReaderGone extends Error {}

function createProgram(context: Context): Command {
  const { version } = createRequire(import.meta.url)('../../package.json') as { version: string }
  const program = new Command('lipbound')
    .description(
      'Upper bounds, with stated guarantees, on the local Lipschitz constants of ReLU networks, and certified radii.',
    )
    .version(version)
    .helpCommand('help [command]', 'say all there is to say of a command')
    .showHelpAfterError('(--help shows what there is)')
    .exitOverride()
    .addHelpText('after', MANUAL)
  addInspectCommand(program, context)
  addBoundCommand(program, context)
  addCertifyCommand(program, context)
  addSweepCommand(program, context)
  addGlobalCommand(program, context)
  addNormCommand(program, context)
  addCheckCommand(program, context)
  addEnqueueCommand(program, context)
  addWorkerCommand(program, context)
  addServeCommand(program, context)
  return program
}

function exitStatus(error: unknown): number {
  // Commander has explained itself already; help and version leave with 0.
  if (error instanceof CommanderError) return error.exitCode === 0 ? ANSWERED : BAD_INPUT
  if (error instanceof ReaderGone) return ANSWERED
  if (error instanceof Interrupted) {
    process.stderr.write('interrupted\n')
    return FAILURE
  }
  if (error instanceof LipboundError) {
    printError(error)
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

process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') {
    interruption.abort(new ReaderGone())
    return
  }
  // The disk is full, say.
  process.stderr.write(`lipbound: the answer could not be printed: ${error.message}\n`)
  process.exitCode = FAILURE
})

try {
  await createProgram({ signal: interruption.signal }).parseAsync()
} catch (error) {
  // Not process.exit(): what is written is to arrive first.
  process.exitCode = exitStatus(error)
}
