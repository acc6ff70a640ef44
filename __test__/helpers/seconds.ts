/** A result without what no two runs have alike: the seconds it took, as a whole and in its parts. */
export function withoutSeconds(result: unknown): unknown {
  if (typeof result !== 'object' || result === null || ArrayBuffer.isView(result)) return result
  if (Array.isArray(result)) return result.map(withoutSeconds)
  const entries = Object.entries(result).filter(([key]) => key !== 'seconds')
  return Object.fromEntries(entries.map(([key, value]) => [key, withoutSeconds(value)]))
}
