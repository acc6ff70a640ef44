// Results as the tables of COMPARE.md.

import { format, resolveConfig } from 'prettier'

import { everywhere, local, norms } from './methods.mjs'

const BEGIN = '<!-- Written by `npm run compare`: -->'
const END = '<!-- End of what `npm run compare` writes. -->'

const number = (value) => (value === 0 ? '0' : value >= 1e5 ? value.toExponential(3) : value.toPrecision(5))
const median = (values) => values.toSorted((a, b) => a - b)[values.length >> 1]
const seconds = (value) => (value < 0.001 ? '<0.001' : value >= 10 ? value.toFixed(0) : value.toPrecision(2))
const mebibytes = (value) => Math.round(value / 2 ** 20)

/** What is no further above the least than this is as good. */
const TIE = 1.0001

const HOLDS = {
  exact: 'yes, but for rounding',
  single: 'yes, but for rounding (f32)',
  attained: 'no: a floor',
  other: 'of another map',
}

/** The largest values that were attained: every true constant is at least these. */
export function floors(results, network) {
  const of = (kind, epsilon) => {
    const fitting = results.filter(
      (result) =>
        result.network === network &&
        // A ratio that is attained in a ball is attained in a larger one; a movement to its edge is not.
        (epsilon === undefined || (kind === 'movement' ? result.epsilon === epsilon : result.epsilon <= epsilon)),
    )
    const found = fitting.filter(({ method }) => method === `attack:${kind}`).map(({ value }) => value ?? 0)
    const ours = fitting
      .filter(({ method }) => method.startsWith('lipbound:'))
      .map(({ method, lower }) => {
        const uniform = method === 'lipbound:uniform'
        const global = method.startsWith('lipbound:global')
        if (kind === 'movement' || (global && epsilon !== undefined)) return 0
        return kind === 'centred' && (uniform || global) ? 0 : (lower ?? 0)
      })
    return Math.max(0, ...found, ...ours)
  }
  return (kind, epsilon) => {
    if (kind === 'global') return Math.max(of('uniform'), of('centred'))
    if (kind === 'uniform') return Math.max(of('uniform', epsilon), of('centred', epsilon))
    return of(kind, epsilon)
  }
}

/** Whether a value cannot be the upper bound that it is asked for: something larger was attained. */
export const refuted = (method, result, floor) =>
  method.holds !== 'attained' && result.value < floor(method.kind, result.epsilon ?? undefined)

/** What is said of a method as an upper bound, with what was measured of it. */
function soundness(method, rows, results) {
  if (method.holds === 'rounded') {
    const chance = Math.max(...rows.map((row) => (row.guarantee === 'probabilistic' ? row.failureProbability : 0)))
    return chance > 0 ? `yes, p ≤ ${chance.toPrecision(2)}` : 'yes'
  }
  if (method.holds !== 'below') return HOLDS[method.holds]
  const deficits = rows.map((row) => {
    const whole = results.find(
      (other) => other.method === method.of && other.network === row.network && other.epsilon === row.epsilon,
    )
    return whole?.value ? 1 - row.value / whole.value : 0
  })
  const most = Math.max(0, ...deficits)
  return most > 0 ? `**no**: up to ${(100 * most).toPrecision(2)} % below its formula` : '**no**: norms from below'
}

const row = (cells) => `| ${cells.join(' | ')} |`
const table = (head, rows) => [row(head), row(head.map(() => '---')), ...rows.map(row)].join('\n')

/** The columns that all tables end with: seconds of each answer, and memory of the process. */
function cost(rows) {
  const done = rows.filter((result) => result.value !== undefined)
  if (done.length === 0) return ['', '']
  const took = done.map((result) => seconds(median(result.seconds)))
  const last = done.at(-1)
  return [took.join(' / '), `${mebibytes(last.peak)} (${mebibytes(last.start)})`]
}

/** The methods that answered or failed in a network, each with its cells. */
function body(methods, network, epsilons, results) {
  const floor = floors(results, network)
  const of = (method) =>
    epsilons.map((epsilon) =>
      results.find((r) => r.network === network && r.method === method.id && r.epsilon === epsilon),
    )
  const counted = methods.filter(({ holds, kind }) => ['rounded', 'exact'].includes(holds) && kind !== 'movement')
  const least = epsilons.map((_, place) => Math.min(...counted.map((method) => of(method)[place]?.value ?? Infinity)))
  return methods
    .map((method) => ({ method, rows: of(method) }))
    .filter(({ rows }) => rows.some((result) => result !== undefined))
    .map(({ method, rows }) => {
      const done = rows.filter((result) => result?.value !== undefined)
      const error = rows.find((result) => result?.error)?.error
      const cells = rows.map((result, place) => {
        if (result?.value === undefined) return '–'
        if (refuted(method, result, floor)) return `${number(result.value)} ✗`
        const text = number(result.value)
        return counted.includes(method) && result.value <= least[place] * TIE ? `**${text}**` : text
      })
      const words = done.length > 0 ? soundness(method, done, results) : ''
      const verdict = [words, error && error.replaceAll('|', '\\|')].filter(Boolean).join('; ')
      return { method, cells, verdict, cost: cost(rows.filter(Boolean)) }
    })
}

const unique = (values) => [...new Set(values)]

/** All tables, in Markdown. */
export function tables(record) {
  const { results, epsilons } = record
  const layers = unique(results.filter((result) => result.epsilon === undefined).map((result) => result.network))
  const networks = unique(results.map((result) => result.network)).filter((name) => !layers.includes(name))
  const versions = Object.entries(record.versions).map(([name, version]) => `${name} ${version}`)
  const time = record.minutes === undefined ? 'in parts' : `in ${Math.round(record.minutes)} minutes`
  const parts = [
    `One run on ${record.date}, ${time}: ${record.machine}. ${versions.join(', ')}.`,
    `Seconds are medians of ${record.repeats} after a warm-up, or of the first run where that took more than 2 s. MiB are the most that the process had resident, in brackets what it had when its libraries and the network were loaded. A process that ran longer than ${record.limit} s for all its epsilons was ended.`,
  ]
  for (const network of networks) {
    const rows = body(local, network, epsilons, results)
    parts.push(
      `### ${network}`,
      table(
        ['Method', 'constant', ...epsilons.map((epsilon) => `ε = ${epsilon}`), 'an upper bound?', 'seconds', 'MiB'],
        rows.map(({ method, cells, verdict, cost }) => [method.label, method.kind, ...cells, verdict, ...cost]),
      ),
      'Everywhere:',
      table(
        ['Method', 'constant', 'an upper bound?', 'seconds', 'MiB'],
        body(everywhere, network, [null], results).map(({ method, cells, verdict, cost }) => [
          method.label,
          ...cells,
          verdict,
          ...cost,
        ]),
      ),
    )
  }
  const ofLayers = layers.flatMap((layer) => {
    const rows = norms.map((method) => [method, results.find((r) => r.network === layer && r.method === method.id)])
    const value = (id) => rows.find(([method]) => method.id === id)?.[1]?.value
    const reference = value('dense') ?? value('svds')
    return rows
      .filter(([, result]) => result !== undefined)
      .map(([method, result]) => {
        if (result.value === undefined) return [layer, method.label, '–', '', result.error, '', '']
        const verdict = method.holds === 'below' ? '**no**: from below' : soundness(method, [result], results)
        const ratio = reference === undefined ? '' : (result.value / reference).toFixed(6)
        return [layer, method.label, number(result.value), ratio, verdict, ...cost([result])]
      })
  })
  parts.push(
    '### Norms of convolutions',
    table(['Layer', 'Method', 'norm', 'to the norm', 'an upper bound?', 'seconds', 'MiB'], ofLayers),
  )
  return parts.join('\n\n')
}

/** COMPARE.md with its tables in place of the ones that are there. */
export async function rendered(document, record) {
  const [begin, end] = [document.indexOf(BEGIN), document.indexOf(END)]
  if (begin < 0 || end < begin) throw new Error(`COMPARE.md needs the lines ${BEGIN} and ${END}`)
  const written = `${document.slice(0, begin)}${BEGIN}\n\n${tables(record)}\n\n${document.slice(end)}`
  const config = await resolveConfig(new URL('../../COMPARE.md', import.meta.url))
  return format(written, { ...config, parser: 'markdown' })
}
