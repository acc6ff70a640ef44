/** What the routes of a service share. */
import { Endings } from './endings.js'
import { Room } from './bodies.js'
import { Turns } from './turns.js'
import type { ServiceLimits } from './limits.js'
import type { Metrics } from './metrics.js'
import type { ServedModels } from './models.js'
import type { Places } from './places.js'

/** A service while it runs. */
export interface Service {
  readonly version: string
  readonly models: ServedModels
  readonly limits: ServiceLimits
  readonly places: Places
  readonly metrics: Omit<Metrics, 'text'>
  readonly endings: Endings
  /** For bodies. */
  readonly room: Room
  /** For requests that come on one connection. */
  readonly turns: Turns
  /** Batches that run. */
  batches: number
}

/** The beginnings of a service. */
export function createService(given: Pick<Service, 'version' | 'models' | 'limits' | 'places' | 'metrics'>): Service {
  return { ...given, endings: new Endings(), room: new Room(given.limits.heldBytes), turns: new Turns(), batches: 0 }
}
