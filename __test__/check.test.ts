/** Certificates: written, read, checked; and what is wrong with them is refused. */
import { readFileSync } from 'node:fs'

import test from 'ava'
import fc from 'fast-check'

import { InputError, linear, relu, sequential } from '../dist/index.js'
import type { Certificate, Network } from '../dist/index.js'
import { certifiedCases, contentDigest, corrupted, networkDigest, networkOf, sealed } from './helpers/certificates.js'
import type { CertifiedCase } from './helpers/certificates.js'
import { createDirectory } from './helpers/files.js'
import { moderate } from './helpers/large.js'
import { networkPlans } from './helpers/networks.js'
import { repositoryFile, runNode } from './helpers/process.js'
import { createRandom } from './helpers/random.js'

const files = createDirectory()
test.after.always(() => {
  files.remove()
})

const weight = [
  [3, 1],
  [-1, 2],
]
const small = (name?: string): Network =>
  sequential({ input: [2], name }, [linear({ weight, bias: [1, 0] }), relu(), linear({ weight, bias: [0, -1] })])
const centre = [1, -0.5]

async function certificateOf(network: Network): Promise<Certificate> {
  const { certificate } = await network.bound(centre, { epsilon: 0.5, certificate: true })
  if (certificate === undefined) throw new Error('a certificate was asked for')
  return certificate
}

const throughJson = (certificate: Certificate): Certificate => JSON.parse(JSON.stringify(certificate)) as Certificate

test('every certificate is accepted, here and by other kernels, and so are theirs', async (t) => {
  t.timeout(600_000)
  const cases = await certifiedCases(fc.sample(networkPlans, { numRuns: 120, seed: 7 }))
  let checked = 0
  for (const { plan, certificates } of cases) {
    using network = networkOf(plan)
    for (const certificate of certificates) {
      const { accepted, reason, failureProbability } = await network.check(throughJson(certificate))
      t.true(accepted, `${reason}: ${JSON.stringify(plan)}`)
      t.true(failureProbability <= 1e-9)
      checked += 1
    }
  }
  t.is(checked, 480)
  const file = files.write('cases.json', JSON.stringify(cases))
  const { status, stdout, stderr } = await runNode(
    ['--import=@oxc-node/core/register', '__test__/probes/recheck.ts', file],
    { LIPBOUND_ISA: 'portable' },
  )
  t.is(status, 0, stderr)
  const other = JSON.parse(stdout) as { checked: number; refusals: string[]; own: CertifiedCase[] }
  t.deepEqual([other.checked, other.refusals], [checked, []])
  for (const { plan, certificates } of other.own) {
    using network = networkOf(plan)
    for (const certificate of certificates) t.is((await network.check(certificate)).reason, undefined)
  }
})

test('500 random corruptions are refused', async (t) => {
  const cases = await certifiedCases(fc.sample(networkPlans, { numRuns: 30, seed: 8 }))
  const random = createRandom(1)
  let refused = 0
  while (refused < 500) {
    for (const { plan, certificates } of cases) {
      using network = networkOf(plan)
      for (const certificate of certificates) {
        const [spoiled, where] = corrupted(certificate, random)
        if (where === '') continue
        const { accepted, reason } = await network.check(spoiled)
        t.false(accepted, where)
        t.regex(reason ?? '', /digest/)
        refused += 1
      }
    }
  }
  t.true(refused >= 500)
})

test('digests are what the documentation says', async (t) => {
  const cases = await certifiedCases(fc.sample(networkPlans, { numRuns: 30, seed: 9 }))
  const certificates = cases.flatMap((each) => each.certificates)
  for (const certificate of certificates) t.is(contentDigest(certificate), certificate.digest)
  t.true(certificates.some(({ stages }) => stages.some(({ candidates }) => candidates !== undefined)))
  t.true(certificates.some(({ stages }) => stages.some(({ whole }) => whole !== undefined)))
  using network = small()
  t.is(
    networkDigest(2, [
      { weight, bias: [1, 0] },
      { weight, bias: [0, -1] },
    ]),
    network.digest,
  )
})

test('the certificate in the documentation is one', async (t) => {
  const text = readFileSync(repositoryFile('docs/certificate-format.md'), 'utf8')
  const certificate = JSON.parse(/```json\n([^]*?)```/.exec(text)?.[1] ?? '') as Certificate
  using network = sequential({ input: [2] }, [
    linear({ weight, bias: [1, 0] }),
    relu(),
    linear({ weight: weight.slice(0, 1) }),
  ])
  t.is((await network.check(certificate)).reason, undefined)
})

test('a forger who knows the digest is refused for what is wrong', async (t) => {
  using network = small()
  const certificate = await certificateOf(network)
  const [first, last] = certificate.stages
  if (first === undefined || last === undefined) throw new Error('the network has two stages')
  const { lower } = await network.bound(centre, { epsilon: 0.5 })
  const bound = 0.999 * lower
  const forgeries: [forged: Certificate, culprit: RegExp][] = [
    [{ ...certificate, upper: bound }, /the bound is claimed to be/],
    [{ ...certificate, upper: bound, stages: [first, { ...last, gain: bound }] }, /stage 1 'linear2': the constant/],
    [{ ...certificate, stages: [{ ...first, norm: 1 }, last] }, /stage 0 'linear1': its norm .* at least/],
    [{ ...certificate, stages: [{ ...first, norm: null }, last] }, /stage 0 'linear1': the constant up to here/],
    [{ ...certificate, stages: [first] }, /the network has 2 stages, but the certificate claims something of 1/],
    [{ ...certificate, stages: [{ ...first, slopes: { low: [1], high: [1] } }, last] }, /more units than the 1 slope/],
    [{ ...certificate, stages: [{ ...first, radius: 0.1 }, last] }, /stage 0 'linear1': the radius/],
    [{ ...certificate, epsilon: 50 }, /stage 0 'linear1': unit \d may have any slope in/],
    [{ ...certificate, epsilon: null }, /epsilon is inf, but must be finite/],
    [{ ...certificate, centre: [1] }, /the centre of the ball has 1 elements, but the network takes 2/],
    [{ ...certificate, kind: 'global', epsilon: null }, /a global bound has no centre/],
  ]
  for (const [forged, culprit] of forgeries) {
    const { accepted, reason } = await network.check(sealed(forged))
    t.false(accepted)
    t.regex(reason ?? '', culprit)
  }
  t.true((await network.check(sealed(certificate))).accepted)
})

test('a certificate is plain data, with the bound that it certifies', async (t) => {
  using network = small()
  const [near, far] = await network.bound(centre, { epsilon: [0.1, 10], certificate: true })
  for (const result of [near, far]) {
    const { certificate, upper, epsilon, kind, layers } = result ?? {}
    t.deepEqual(
      [certificate?.upper, certificate?.epsilon, certificate?.kind, certificate?.centre],
      [upper, epsilon, kind, centre],
    )
    t.is(certificate?.network, network.digest)
    t.deepEqual(
      certificate?.stages.map(({ gain }) => gain),
      layers?.map(({ gain }) => gain),
    )
  }
  const plain = await network.bound(centre, { epsilon: 0.1 })
  t.false('certificate' in plain)
  t.true(near !== undefined && plain.upper <= near.upper && near.upper <= plain.upper * 1.00001)
  const { certificate } = await network.globalBound({ certificate: true })
  t.deepEqual([certificate?.epsilon, certificate?.centre, certificate?.stages[0]?.radius], [null, [], null])
})

test('a check has a seed and a guarantee of its own', async (t) => {
  using network = small()
  const certificate = await certificateOf(network)
  const { seed } = await network.check(certificate, { seed: 5 })
  t.is(seed, 5)
  t.not((await network.check(certificate)).seed, (await network.check(certificate)).seed)
  const { accepted, guarantee, failureProbability } = await network.check(certificate, { guarantee: 'deterministic' })
  t.deepEqual([accepted, guarantee, failureProbability], [true, 'deterministic', 0])
})

test('the digest is that of what the network computes', (t) => {
  using network = small()
  t.regex(network.digest, /^[0-9a-f]{64}$/)
  using named = small('by another name')
  t.is(named.digest, network.digest)
  using single = sequential({ input: [2] }, [
    linear({ weight: { shape: [2, 2], data: new Float32Array(weight.flat()) }, bias: [1, 0] }),
    relu(),
    linear({ weight, bias: [0, -1] }),
  ])
  t.is(single.digest, network.digest, 'numbers are numbers in any precision')
  const others = [
    sequential({ input: [2] }, [linear({ weight, bias: [1, 0] }), relu(), linear({ weight, bias: [0, -2] })]),
    sequential({ input: [2] }, [linear({ weight, bias: [1, 0] }), relu(), linear({ weight })]),
    sequential({ input: [2] }, [linear({ weight, bias: [1, 0] }), linear({ weight, bias: [0, -1] })]),
    sequential({ input: [2] }, [linear({ weight, bias: [1, 0] }), relu()]),
  ]
  t.is(new Set([network, ...others].map(({ digest }) => digest)).size, 5)
  for (const other of others) other.dispose()
})

test('another model is refused, and both are named', async (t) => {
  using network = small()
  const certificate = await certificateOf(network)
  using other = sequential({ input: [2] }, [linear({ weight })])
  const { accepted, reason } = await other.check(certificate)
  t.false(accepted)
  t.regex(reason ?? '', new RegExp(`${network.digest}.*${other.digest}`))
})

const malformed: Record<string, [change: (certificate: Record<string, unknown>) => unknown, culprit: RegExp]> = {
  'another version': [(c) => ({ ...c, version: 2 }), /version must be 1, got 2/],
  'another format': [(c) => ({ ...c, format: 'diploma' }), /format must be "lipbound-certificate", got "diploma"/],
  'an empty object': [() => ({}), /format must be .*got nothing/],
  'a missing field': [({ upper: _, ...rest }) => rest, /missing field `upper`/],
  'an unknown field': [(c) => ({ ...c, note: 'hello' }), /unknown field `note`/],
  'a field of another type': [(c) => ({ ...c, stages: 'none' }), /stages|invalid type: string "none"/],
  'a digest that is none': [(c) => ({ ...c, digest: 'abc' }), /digest.*64 hexadecimal digits, got 'abc'/],
  'an unknown kind': [(c) => ({ ...c, kind: 'local' }), /kind must be .*got "local"/],
}

for (const [title, [change, culprit]] of Object.entries(malformed)) {
  test(`no certificate: ${title}`, async (t) => {
    using network = small()
    const given = change({ ...(await certificateOf(network)) }) as Certificate
    const error = await t.throwsAsync(network.check(given), { instanceOf: InputError })
    t.is(error.code, 'ERR_LIPBOUND_CERTIFICATE')
    t.regex(error.message, culprit)
  })
}

test('arguments of a check', async (t) => {
  using network = small()
  const certificate = await certificateOf(network)
  const check = network.check.bind(network) as (...given: unknown[]) => Promise<unknown>
  const cyclic: Record<string, unknown> = {}
  cyclic['self'] = cyclic
  for (const [given, culprit] of [
    [[undefined], /certificate must be .*undefined/],
    [['{}'], /certificate must be .*'{}'/],
    [[[certificate]], /certificate must be /],
    [[cyclic], /certificate cannot be written as JSON/],
    [[certificate, { tolerance: 0.1 }], /unknown option 'tolerance'; the options are failureProbability/],
    [[certificate, { failureProbability: 2 }], /'failureProbability'.*got 2/],
    [[certificate, { seed: -1 }], /'seed'.*got -1/],
  ] as const) {
    const error = await t.throwsAsync(check(...given), { instanceOf: InputError })
    t.is(error.code, 'ERR_LIPBOUND_ARGUMENT')
    t.regex(error.message, culprit)
  }
  const bad = network.bound(centre, { epsilon: 1, certificate: 'yes' as unknown as boolean })
  t.regex((await t.throwsAsync(bad)).message, /'certificate' must be true or false, got 'yes'/)
  network.dispose()
  t.is((await t.throwsAsync(network.check(certificate), { instanceOf: InputError })).code, 'ERR_LIPBOUND_DISPOSED')
  t.throws(() => network.digest, { instanceOf: InputError, message: /dispose/ })
})

test('a check reports progress and can be aborted', async (t) => {
  using network = small()
  const certificate = await certificateOf(network)
  const stages: string[] = []
  await network.check(certificate, { onProgress: ({ stage }) => stages.push(stage) })
  t.is(stages.length, certificate.stages.length)
  const reason = new Error('enough')
  const aborted = network.check(certificate, { signal: AbortSignal.abort(reason) })
  t.is(await aborted.catch((error: unknown) => error), reason)

  const [heavy, input] = moderate()
  using _disposed = heavy
  const { certificate: long } = await heavy.bound(input, { epsilon: 1, method: 'layerwise', certificate: true })
  if (long === undefined) throw new Error('a certificate was asked for')
  const controller = new AbortController()
  const check = heavy.check(long, {
    signal: controller.signal,
    onProgress: () => {
      controller.abort(reason)
    },
  })
  t.is(await check.catch((error: unknown) => error), reason)
})
