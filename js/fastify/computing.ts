/** One input, one answer: the routes `bound` and `radius`. */
import type { ServerResponse } from 'node:http'
import type { Socket } from 'node:net'

import { answer, toJson } from '../request.js'
import type { ComputationRequest, Task, TensorJson } from '../request.js'
import { checkAsked, checkDimensions, splitRequest } from './asked.js'
import type { ServedModel } from './models.js'
import type { Service } from './service.js'

/**
 * Answers a request, if there is room for it, until the client goes, time is up, or the service has to stop.
 *
 * @param body - as it came
 */
export async function compute(
  service: Service,
  task: Task,
  { name, network }: ServedModel,
  body: unknown,
  response: ServerResponse,
  socket: Socket,
): Promise<unknown> {
  const { input, options } = splitRequest(body, `${task}: the body`)
  checkAsked(task, options, service.limits)
  checkDimensions(`${task}: input`, input)
  const { places, limits, metrics, endings, turns } = service
  const endTurn = await turns.take(socket)
  const ending = endings.begin(response, limits.seconds)
  try {
    const release = await places.forRequest(ending.signal)
    try {
      const started = performance.now()
      // What they really are is checked there.
      const request = { task, input: input as TensorJson, options } as unknown as ComputationRequest
      const result = await answer(network, request, { signal: ending.signal })
      metrics.computed({ task, model: name }, (performance.now() - started) / 1000)
      return toJson(result)
    } finally {
      release()
    }
  } finally {
    ending.over()
    endTurn()
  }
}
