/** `lipbound enqueue`: bounds or radii of many inputs, by workers. */
import type { Command } from 'commander'
import { Option } from 'commander'

import type { BatchOutcome } from '../batch.js'
import type { BoundMethod } from '../bound.js'
import { InputError, LipboundError, errorTable } from '../errors.js'
import type { Network } from '../network.js'
import { enqueueBatch } from '../queue/index.js'
import type { QueueBatch } from '../queue/index.js'
import { errorToJson } from '../request.js'
import {
  addInputOptions,
  addKindOption,
  addMethodOption,
  addModelOptions,
  addNormOptions,
  normOptions,
  openModel,
  toNumber,
  toNumbers,
} from './arguments.js'
import type { Context, ModelWords, NormWords } from './arguments.js'
import { examples } from './help.js'
import { findInputs, openInput } from './inputs.js'
import type { PictureWords } from './inputs.js'
import { readLabels } from './labels.js'
import type { LabelWords } from './labels.js'
import { oneOrSeveral, printJson } from './output.js'
import { addQueueOptions, queueServer } from './queue.js'
import type { QueueWords } from './queue.js'
import { BAD_INPUT, FAILURE } from './status.js'

interface Words extends ModelWords, NormWords, PictureWords, QueueWords, LabelWords {
  input: string[]
  task: 'bound' | 'radius'
  method: BoundMethod
  epsilon?: number[]
  kind: 'centred' | 'uniform'
  maximum?: number
}

/** Adds the command to the program. */
export function addEnqueueCommand(program: Command, context: Context): void {
  const command = program
    .command('enqueue')
    .summary('have bounds or radii of many inputs computed by workers')
    .description(
      'Puts inputs into a queue, from which workers take them (see lipbound help worker), and prints JSON Lines: an object ' +
        'for each input, in its line as soon as it is done. What was asked before is not computed again.',
    )
  addInputOptions(command)
    .addOption(
      new Option('--task <task>', 'what to compute, as lipbound bound and lipbound certify do')
        .choices(['bound', 'radius'])
        .default('bound'),
    )
    .option(
      '--epsilon <radius...>',
      "bound: radius of the ball in the units of the network's input; or several",
      toNumbers,
    )
    .option('--label <class>', 'radius: the right class of all inputs, from 0', toNumber)
    .option('--labels <file>', 'radius: the right class of each input, one a line, in the order of the inputs')
    .option('--maximum <radius>', 'radius: largest radius of interest', toNumber)
  addKindOption(command)
  addMethodOption(command, 'the product of the layers, one norm of the whole network, or what is affordable')
  addNormOptions(addModelOptions(addQueueOptions(command)))
  examples(command, [
    ['enqueue mnist.onnx --input digits --epsilon 0.1 --redis redis://127.0.0.1:6379 > bounds.jsonl'],
    ['enqueue mnist.onnx --input digits --task radius --labels labels.txt --redis redis://127.0.0.1:6379'],
  ])
  command.action((model: string, words: Words) => enqueue(model, words, context))
}

async function enqueue(model: string, words: Words, context: Context): Promise<void> {
  checkWords(words)
  const connection = queueServer(words)
  const paths = await findInputs(words.input)
  const labels = await readLabels(words, paths.length)
  using network = await openModel(model, words, context)
  await using batch = await put(network, paths, labels, words, connection)
  const { signal } = context
  // Nobody waits for the rest. The results end with the reason.
  signal.addEventListener('abort', () => {
    batch.cancel(signal.reason).catch(() => undefined)
  })
  for await (const outcome of batch.results()) printOutcome(outcome)
}

function checkWords({ task, epsilon, label, labels, maximum }: Words): void {
  const fail = (what: string): InputError => new InputError('ERR_LIPBOUND_ARGUMENT', what)
  if (task === 'bound') {
    if (epsilon === undefined) throw fail('--task bound needs --epsilon, the radius of the ball')
    const stray = Object.entries({ label, labels, maximum }).find(([, value]) => value !== undefined)
    if (stray !== undefined) throw fail(`--${stray[0]} goes with --task radius`)
    return
  }
  if (epsilon !== undefined) throw fail('--epsilon goes with --task bound')
  if (label !== undefined && labels !== undefined) {
    throw fail('--label is for all inputs, --labels for each; give one of them')
  }
}

function put(
  network: Network,
  paths: readonly string[],
  labels: readonly (number | undefined)[],
  words: Words,
  connection: string,
): Promise<QueueBatch<object>> {
  const shared = { ...normOptions(words), connection, queue: words.queue, method: words.method }
  const total = paths.length
  const inputs = paths.map((path, index) => ({
    id: path,
    input: () => openInput(path, network, words),
    ...(labels[index] !== undefined && { label: labels[index] }),
  }))
  return words.task === 'bound'
    ? enqueueBatch(network, inputs, { ...shared, task: 'bound', epsilon: words.epsilon ?? [], kind: words.kind, total })
    : enqueueBatch(network, inputs, { ...shared, task: 'radius', maximum: words.maximum, total })
}

function printOutcome(outcome: BatchOutcome<object>): void {
  const input = String(outcome.id)
  if (outcome.ok) {
    const { result } = outcome
    printJson({ input, ...(Array.isArray(result) ? oneOrSeveral(result as object[]) : result) })
    return
  }
  const { error } = outcome
  const isCallers = error instanceof LipboundError && errorTable[error.code].fault === 'caller'
  if (process.exitCode !== FAILURE) process.exitCode = isCallers ? BAD_INPUT : FAILURE
  printJson({ input, error: errorToJson(error) })
}
