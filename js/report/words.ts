/** Phrases that pictures share. */
import type { BoundResult } from '../results.js'
import { showShort } from './scale.js'

/** How sure something is, in few words. */
export function showCertainty({
  guarantee,
  failureProbability,
}: Pick<BoundResult, 'guarantee' | 'failureProbability'>): string {
  return guarantee === 'deterministic'
    ? 'deterministic'
    : `wrong with probability at most ${showShort(failureProbability, 'upper')}`
}
