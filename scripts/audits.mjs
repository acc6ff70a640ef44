// What `npm audit --json` and `cargo audit --json` answered, in one form. Used by scripts/supply.mjs.

// Clean, with advisories, without sense, or not done because nobody could be asked.
const clean = { outcome: 'passed', text: 'no advisories' }
const found = (advisories) => ({ outcome: 'failed', text: advisories.join('\n    ') })
const broken = (output) => ({ outcome: 'failed', text: `cannot be read: ${firstLine(output)}` })
const unreachable = (why) => ({ outcome: 'skipped', text: `not done: ${why}` })

const firstLine = (output) => output.trim().split('\n', 1)[0]

/** The object that a program printed among other things, such as warnings. */
function parse(output) {
  try {
    return JSON.parse(output.slice(output.indexOf('{'), output.lastIndexOf('}') + 1))
  } catch {
    return undefined
  }
}

/** The verdict of `npm audit --json`, from all of its output. */
export function verdictOfNpm(output) {
  const report = parse(output)
  if (report?.metadata?.vulnerabilities !== undefined) {
    const advisories = Object.values(report.vulnerabilities).map(({ name, severity, via }) => {
      const titles = via.flatMap((one) => (typeof one === 'string' ? `by way of ${one}` : (one.title ?? [])))
      return `${name} (${severity}): ${titles.join('; ')}`
    })
    return report.metadata.vulnerabilities.total === 0 && advisories.length === 0 ? clean : found(advisories)
  }
  // Without an answer there is a status of HTTP, or how the request failed; anything else is wrong here, not there.
  if (report?.statusCode >= 400) return unreachable(`the registry answers ${report.statusCode} to the question`)
  const message = report?.message ?? ''
  if (/^(request to .* failed|network timeout|socket timeout|response timeout|cache mode is)/i.test(message)) {
    const [code] = /\bE[A-Z]{4,}\b/.exec(message) ?? []
    return unreachable(`the registry cannot be reached${code ? ` (${code})` : ''}`)
  }
  return broken(report?.error?.summary || report?.message || output)
}

/** The verdict of `cargo audit --json`, from all of its output. */
export function verdictOfCargo(output) {
  const report = parse(output)
  if (report?.vulnerabilities?.list !== undefined) {
    const advisories = report.vulnerabilities.list.map(
      ({ advisory, package: { name, version } }) => `${name} ${version}: ${advisory.id}, ${advisory.title}`,
    )
    if (!(report.database?.['advisory-count'] > 0)) return broken('the database has no advisories')
    return report.vulnerabilities.found || advisories.length > 0 ? found(advisories) : clean
  }
  if (
    /couldn't fetch advisory database|git operation failed|failed to fetch|io error.*(connect|resolve)/i.test(output)
  ) {
    return unreachable('the database of advisories cannot be fetched')
  }
  return broken(output)
}
