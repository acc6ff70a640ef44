// Who is asked what, and why what they answer is an upper bound, or is none.

/**
 * What a method bounds: one of the constants of docs, or `movement`, the furthest that the output moves over the ball,
 * divided by epsilon, which is at most the centred constant.
 *
 * `holds` is the argument: `rounded` (rounding is counted), `exact` (a theorem of real arithmetic, computed in double
 * precision without counting rounding), `single` (the same in single precision), `below` (no upper bound), `attained`
 * (a floor). Those with `of` estimate from below what that other method computes to the end.
 */
export const local = [
  { id: 'lipbound:layerwise', label: 'lipbound, layerwise', kind: 'centred', holds: 'rounded' },
  { id: 'lipbound:certificate', label: 'lipbound, certificate', kind: 'centred', holds: 'rounded' },
  { id: 'lipbound:deterministic', label: 'lipbound, certificate, deterministic', kind: 'centred', holds: 'rounded' },
  { id: 'lipbound:uniform', label: 'lipbound, certificate', kind: 'uniform', holds: 'rounded' },
  {
    id: 'papers:power',
    label: 'Avant & Morgansen, 100 power iterations in f32',
    kind: 'centred',
    holds: 'below',
    of: 'papers:exact',
  },
  { id: 'papers:exact', label: 'Avant & Morgansen, exact norms in f64', kind: 'centred', holds: 'exact' },
  { id: 'lipsdp:centred', label: 'LipSDP, slopes of lipbound', kind: 'centred', holds: 'exact', dense: true },
  { id: 'lipsdp:uniform', label: 'LipSDP, slopes of lipbound', kind: 'uniform', holds: 'exact', dense: true },
  { id: 'eclipse:Acc', label: 'ECLipsE-Gen-Local-Acc', kind: 'uniform', holds: 'exact', dense: true },
  { id: 'eclipse:Fast', label: 'ECLipsE-Gen-Local-Fast', kind: 'uniform', holds: 'exact', dense: true },
  { id: 'eclipse:CF', label: 'ECLipsE-Gen-Local-CF', kind: 'uniform', holds: 'exact', dense: true },
  { id: 'lirpa:backward', label: 'auto_LiRPA, CROWN', kind: 'movement', holds: 'single' },
  { id: 'lirpa:CROWN-Optimized', label: 'auto_LiRPA, α-CROWN', kind: 'movement', holds: 'single' },
  { id: 'attack:centred', label: 'attained: ratio', kind: 'centred', holds: 'attained' },
  { id: 'attack:uniform', label: 'attained: Jacobian', kind: 'uniform', holds: 'attained' },
  { id: 'attack:movement', label: 'attained: movement', kind: 'movement', holds: 'attained' },
]

export const everywhere = [
  { id: 'lipbound:global-layerwise', label: 'lipbound, layerwise', holds: 'rounded' },
  { id: 'lipbound:global-certificate', label: 'lipbound, certificate', holds: 'rounded' },
  { id: 'lipbound:global-deterministic', label: 'lipbound, certificate, deterministic', holds: 'rounded' },
  {
    id: 'product:power',
    label: 'product of norms, 100 power iterations in f32',
    holds: 'below',
    of: 'product:exact',
  },
  { id: 'product:exact', label: 'product of norms, exact in f64', holds: 'exact' },
  { id: 'lipsdp:global', label: 'LipSDP', holds: 'exact', dense: true },
  { id: 'eclipse:ECLipsE', label: 'ECLipsE', holds: 'exact', dense: true },
  { id: 'eclipse:ECLipsE_Fast', label: 'ECLipsE-Fast', holds: 'exact', dense: true },
].map((method) => ({ ...method, kind: 'global' }))

export const norms = [
  { id: 'lipbound', label: 'lipbound `norm`', holds: 'rounded' },
  { id: 'lipbound:deterministic', label: 'lipbound `norm`, deterministic', holds: 'rounded' },
  { id: 'power', label: 'power iteration, 100 steps in f32', holds: 'below' },
  { id: 'svds', label: 'SciPy `svds` in f64', holds: 'below' },
  { id: 'dense', label: 'dense, by eigenvalues in f64', holds: 'exact' },
  { id: 'fourier-padded', label: 'Fourier, circulant of the padded size', holds: 'exact' },
  { id: 'gram-padded', label: 'Gram iteration, circulant of the padded size', holds: 'exact' },
  { id: 'gram', label: 'Gram iteration, circular padding', holds: 'other' },
  { id: 'fourier', label: 'Fourier, circular padding', holds: 'other' },
]

/** Whether a method is asked for the norm of a convolution; dense matrices are for small ones. */
export function askedOfLayer(method, { input, padding }) {
  if (method.id === 'dense') return input.reduce((a, b) => a * b) <= 2000
  return method.holds !== 'other' || padding > 0
}

/** What runs a method: which virtual environment, or Node. */
export const programOf = (id) => (id.startsWith('lipbound') ? 'node' : id.startsWith('lirpa') ? 'lirpa' : 'peers')

/** Whether a method is asked of a network at all. */
export function asked(method, network, quick) {
  if (method.dense && !network.dense) return false
  if (quick && !network.quick) return false
  // Minutes where networks have convolutions: once is enough.
  const slow = ['lirpa:CROWN-Optimized', 'lipbound:deterministic']
  if (slow.includes(method.id) && !network.dense) return !quick && network.name === 'lenet, digit 8'
  // A certificate takes minutes, singular values to the end too, and Jacobians have 1,000 rows of 150,528.
  if (network.large)
    return ['lipbound:layerwise', 'papers:power', 'lipbound:global-layerwise', 'product:power'].includes(method.id)
  return true
}
