/** Many inputs, a line each: the route `batch`. */
import type { ServerResponse } from 'node:http'

import type { BatchOutcome } from '../batch.js'
import type { BoundItemOptions, BoundsOptions } from '../bound.js'
import { InputError } from '../errors.js'
import type { Network } from '../network.js'
import type { RadiiOptions } from '../radius.js'
import { argumentError } from '../options.js'
import type { RadiusOptions } from '../radius.js'
import { checkTask, optionsFromJson, tensorFromJson, toJson } from '../request.js'
import type { RequestResult, Task } from '../request.js'
import type { Tensor } from '../tensor.js'
import { checkAsked, checkDimensions, splitRequest } from './asked.js'
import type { Ending } from './endings.js'
import { ServiceError, toFailure } from './failures.js'
import { isObject, parseJson } from './json.js'
import type { ServedModel } from './models.js'
import type { Release } from './places.js'
import type { Service } from './service.js'

/** A batch as it was asked for. */
export interface AskedBatch {
  readonly task: Task
  readonly options: Readonly<Record<string, unknown>>
  readonly ordered: boolean
  /** The items: what JSON said, or lines that are still to be read. */
  readonly items: Iterable<unknown> | AsyncIterable<Buffer>
}

type Query = Readonly<Record<string, unknown>>

/** Reads a batch that came as one document. */
export function batchOfDocument(query: Query, body: unknown, limits: { readonly batchItems: number }): AskedBatch {
  const ordered = orderedOf(query, ['ordered'])
  if (!isObject(body)) throw argumentError('batch: the body', 'an object with task and items', body)
  const { task, options = {}, items, ...others } = body
  refuseOthers('batch', others, ['task', 'options', 'items'])
  if (!Array.isArray(items)) throw argumentError('batch: items', 'an array', items)
  if (items.length > limits.batchItems) throw tooManyItems(limits)
  return { task: checkTask(task, 'batch: task'), options: sharedOptions(options), ordered, items }
}

/** Reads a batch whose items come line by line. */
export function batchOfLines(query: Query, items: AsyncIterable<Buffer>): AskedBatch {
  const ordered = orderedOf(query, ['ordered', 'task', 'options'])
  const { task, options = '{}' } = query
  if (typeof options !== 'string') throw argumentError('batch: options', 'JSON', options)
  const shared = sharedOptions(parseJson(Buffer.from(options)))
  return { task: checkTask(task, 'batch: task'), options: shared, ordered, items }
}

function orderedOf(query: Query, known: readonly string[]): boolean {
  refuseOthers('batch: the query', query, known)
  const { ordered = 'true' } = query
  if (ordered !== 'true' && ordered !== 'false') throw argumentError('batch: ordered', 'true or false', ordered)
  return ordered === 'true'
}

function refuseOthers(where: string, given: Query, known: readonly string[]): void {
  const stray = Object.keys(given).find((name) => !known.includes(name))
  if (stray === undefined) return
  const message = `${where}: unknown property '${stray}'; there are ${known.join(', ')}`
  throw new InputError('ERR_LIPBOUND_ARGUMENT', message)
}

function sharedOptions(options: unknown): Readonly<Record<string, unknown>> {
  if (!isObject(options)) throw argumentError('batch: options', 'an object', options)
  return refuseControl(options)
}

/** How a batch goes about its work is the service's business. */
function refuseControl(options: Readonly<Record<string, unknown>>): Readonly<Record<string, unknown>> {
  const name = ['concurrency', 'ordered', 'total'].find((control) => Object.hasOwn(options, control))
  if (name === undefined) return options
  throw new InputError('ERR_LIPBOUND_ARGUMENT', `batch: option '${name}' cannot be part of a request`)
}

const tooManyItems = ({ batchItems }: { readonly batchItems: number }): InputError =>
  new InputError('ERR_LIPBOUND_LIMIT', `a batch has at most ${batchItems} items`)

/**
 * Starts a batch: everything is checked that can be before there are items.
 *
 * @param response - what the lines are written to; the batch ends with it
 * @returns the lines, each with its newline
 */
export async function startBatch(
  service: Service,
  model: ServedModel,
  asked: AskedBatch,
  response: ServerResponse,
): Promise<AsyncGenerator<string, void, undefined>> {
  const { limits, endings } = service
  checkAsked(asked.task, asked.options, limits)
  await checkOptions(asked, model.network)
  if (service.batches >= limits.batches) {
    throw new ServiceError('ERR_LIPBOUND_BUSY', `${service.batches} batches are running`)
  }
  service.batches += 1
  const ending = endings.begin(response, limits.batchSeconds)
  // Also where the client has gone before the first line was asked for.
  response.once('close', () => {
    service.batches -= 1
    ending.over()
  })
  return new Batch(service, model, asked, ending, response).lines()
}

/** A batch without items checks its options. */
async function checkOptions({ task, options }: AskedBatch, network: Network): Promise<void> {
  await outcomes(network, task, [], optionsFromJson(task, options, network.summary.inputShape), {}).next()
}

interface Item {
  readonly input: () => Promise<Tensor>
  readonly id?: string | number
}

/** The batches of the library. */
function outcomes(
  network: Network,
  task: Task,
  items: Iterable<Item> | AsyncIterable<Item>,
  options: Readonly<Record<string, unknown>>,
  control: BoundsOptions & RadiiOptions,
): AsyncGenerator<BatchOutcome<RequestResult[Task]>, void, undefined> {
  // What options really are is checked there.
  return task === 'bound'
    ? network.bounds(items as AsyncIterable<Item & BoundItemOptions<number>>, { ...options, ...control })
    : network.certifiedRadii(items as AsyncIterable<Item & RadiusOptions>, { ...options, ...control })
}

class Batch {
  readonly #service: Service
  readonly #model: ServedModel
  readonly #asked: AskedBatch
  readonly #ending: Ending
  readonly #response: ServerResponse
  /** The places of items that are being computed; which item has which does not matter. */
  readonly #held: Release[] = []
  #over = false

  constructor(service: Service, model: ServedModel, asked: AskedBatch, ending: Ending, response: ServerResponse) {
    this.#service = service
    this.#model = model
    this.#asked = asked
    this.#ending = ending
    this.#response = response
  }

  async *lines(): AsyncGenerator<string, void, undefined> {
    const { limits } = this.#service
    const { task, options, ordered } = this.#asked
    const { network } = this.#model
    const { inputShape } = network.summary
    try {
      const found = outcomes(network, task, this.#items(), optionsFromJson(task, options, inputShape), {
        concurrency: limits.batchComputations,
        ordered,
        signal: this.#ending.signal,
        // As soon as an item has its outcome, however long that then waits for its reader.
        onProgress: () => this.#held.pop()?.(),
      })
      for await (const outcome of found) yield* this.#inTime(this.#toLine(outcome))
    } catch (error) {
      const { body, status } = toFailure(error)
      if (status === 500) throw error
      yield* this.#inTime(`${JSON.stringify({ ok: false, ...body })}\n`)
    } finally {
      this.#over = true
      while (this.#held.length > 0) this.#held.pop()?.()
    }
  }

  /** Who does not read for long does not read at all. */
  *#inTime(line: string): Generator<string, void, undefined> {
    const timer = setTimeout(() => this.#response.destroy(), this.#service.limits.idleSeconds * 1000)
    try {
      yield line
    } finally {
      clearTimeout(timer)
    }
  }

  #toLine(outcome: BatchOutcome<RequestResult[Task]>): string {
    const { metrics } = this.#service
    const labels = { task: this.#asked.task, model: this.#model.name }
    const { index, id } = outcome
    const place = { index, ...(id !== undefined && { id }) }
    metrics.item({ ...labels, outcome: outcome.ok ? 'answered' : 'failed' })
    if (!outcome.ok) return `${JSON.stringify({ ...place, ok: false, ...toFailure(outcome.error).body })}\n`
    const { result } = outcome
    const seconds = [result].flat().reduce((sum, one) => sum + one.seconds, 0)
    metrics.computed(labels, seconds)
    return `${JSON.stringify({ ...place, ok: true, result: toJson(result) })}\n`
  }

  async *#items(): AsyncGenerator<Item, void, undefined> {
    const { limits } = this.#service
    let count = 0
    for await (const item of this.#asked.items) {
      if (count === limits.batchItems) throw tooManyItems(limits)
      yield this.#toItem(item, `item ${count}`)
      count += 1
    }
  }

  /** An item takes its place before anything else, so that each outcome gives one back; what is wrong with it is its own. */
  #toItem(item: unknown, subject: string): Item {
    const { task } = this.#asked
    const { inputShape } = this.#model.network.summary
    const taking = async (): Promise<void> => {
      const release = await this.#service.places.forItem(this.#ending.signal)
      // Nobody gives back what is taken after the end.
      if (this.#over) release()
      else this.#held.push(release)
    }
    let id: string | number | undefined
    try {
      const { input, options } = splitRequest(Buffer.isBuffer(item) ? parseJson(item) : item, subject)
      const { id: given, ...own } = options
      id = toId(given, subject)
      checkAsked(task, own, this.#service.limits)
      checkDimensions(`${subject}: input`, input)
      return {
        ...optionsFromJson(task, refuseControl(own), inputShape),
        ...(id !== undefined && { id }),
        input: async () => {
          await taking()
          return tensorFromJson(input, inputShape, `${task}: input`)
        },
      }
    } catch (error) {
      const input = async (): Promise<never> => {
        await taking()
        throw error
      }
      return { ...(id !== undefined && { id }), input }
    }
  }
}

const LONGEST_ID = 256

function toId(id: unknown, subject: string): string | number | undefined {
  if (id === undefined || (typeof id === 'number' && Number.isFinite(id))) return id
  if (typeof id === 'string' && id.length <= LONGEST_ID) return id
  throw argumentError(`${subject}: id`, `a number or a string of at most ${LONGEST_ID} characters`, id)
}
