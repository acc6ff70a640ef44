/** Checks the certificates of another process, perhaps of another machine's kind, and writes its own of the same bounds. */
import { readFileSync } from 'node:fs'

import { certifiedCases, networkOf } from '../helpers/certificates.js'
import type { CertifiedCase } from '../helpers/certificates.js'

const [, , file = ''] = process.argv
const cases = JSON.parse(readFileSync(file, 'utf8')) as CertifiedCase[]
const refusals: string[] = []
let checked = 0
for (const { plan, certificates } of cases) {
  using network = networkOf(plan)
  for (const certificate of certificates) {
    const { reason } = await network.check(certificate)
    checked += 1
    if (reason !== undefined) refusals.push(reason)
  }
}
const own = await certifiedCases(cases.map(({ plan }) => plan))
console.log(JSON.stringify({ checked, refusals, own }))
