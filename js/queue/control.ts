/**
 * Messages to workers: events of a queue that has no jobs, so that nobody has to read results to get them. A message that
 * is missed is sent again by whoever waits for its effect.
 */
import type { QueueEvents, QueueEventsListener, QueueEventsProducer } from 'bullmq'

/** Messages that are kept for workers that are slow to read. */
const KEPT = 1000

interface CancelMessage {
  readonly jobs: string
}

interface Messages extends QueueEventsListener {
  cancel: (message: CancelMessage) => void
}

/** Tells workers that nobody wants these jobs, as `lifeOf` calls them, any more. */
export async function publishCancel(publisher: QueueEventsProducer, jobs: readonly string[]): Promise<void> {
  await publisher.publishEvent({ eventName: 'cancel', jobs: jobs.join(',') }, KEPT)
}

/** Calls back for each job that nobody wants any more. */
export function onCancel(events: QueueEvents, callback: (job: string) => void): void {
  events.on<Messages, 'cancel'>('cancel', ({ jobs }) => {
    for (const job of jobs.split(',')) callback(job)
  })
}
