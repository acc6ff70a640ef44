/** Results of the native part as callers get them. */
import type { Certificate } from './certificate.js'
import type { NativeBoundResult, NativeSweepPoint } from './native.js'
import type { BoundResult, NetworkSummary } from './results.js'
import type { SweepPoint } from './sweep.js'

type Bounded = Pick<NetworkSummary, 'notes' | 'inputShape'>

/** A bound with its certificate as plain data, its witness as tensors, and what to know of its network. */
export function toBoundResult(
  { certificate, witness, ...result }: NativeBoundResult,
  { notes, inputShape: shape }: Bounded,
): BoundResult {
  return {
    ...result,
    notes,
    ...(certificate !== undefined && { certificate: JSON.parse(certificate) as Certificate }),
    ...(witness !== undefined && {
      witness: {
        ratio: witness.ratio,
        from: { shape, data: witness.from },
        to: { shape, data: witness.to },
      },
    }),
  }
}

/** The bounds of one epsilon. */
export function toSweepPoint({ layerwise, certificate }: NativeSweepPoint, network: Bounded): SweepPoint {
  const { epsilon, lower } = layerwise
  return {
    epsilon,
    lower,
    layerwise: toBoundResult(layerwise, network),
    ...(certificate !== undefined && { certificate: toBoundResult(certificate, network) }),
  }
}
