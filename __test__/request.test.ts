/** Computations as plain JSON: what goes over a network is answered as a call would be, or refused. */
import test from 'ava'
import fc from 'fast-check'

import { InputError, flatten, linear, relu, sequential } from '../dist/index.js'
import type { Network, Tensor } from '../dist/index.js'
import { answer, errorToJson, requestKey, tensorFromJson, tensorToJson, toJson } from '../dist/request.js'
import type { ComputationRequest } from '../dist/request.js'
import { toTensor } from '../dist/tensor.js'
import { withoutSeconds } from './helpers/seconds.js'

const small = (): Network =>
  sequential({ input: [1, 2] }, [
    flatten(),
    linear({
      weight: [
        [3, 1],
        [-1, 2],
      ],
    }),
    relu(),
    linear({
      weight: [
        [1, -1],
        [2, 0],
      ],
    }),
  ])

test('a request is answered as a call is', async (t) => {
  using network = small()
  const centre = { shape: [1, 2], data: Float64Array.of(0.5, -0.25) }
  const bound = { epsilon: [0.1, 1], kind: 'uniform', seed: 3, functionals: [[1, -1]], witness: true } as const
  t.deepEqual(
    withoutSeconds(await answer(network, { task: 'bound', input: [0.5, -0.25], options: bound })),
    withoutSeconds(await network.bound(centre, bound)),
  )
  const radius = { label: 1, seed: 3, maximum: 2, witness: true, attackSteps: 50 }
  const lower = { shape: [1, 2], data: Float64Array.of(-1, -1) }
  const request: ComputationRequest<'radius'> = {
    task: 'radius',
    input: tensorToJson(centre),
    options: { ...radius, inputBox: { lower: [[-1, -1]], upper: 1 } },
  }
  t.deepEqual(
    withoutSeconds(await answer(network, JSON.parse(JSON.stringify(request)) as typeof request)),
    withoutSeconds(await network.certifiedRadius(centre, { ...radius, inputBox: { lower, upper: 1 } })),
  )
  const reason = new Error('enough')
  await t.throwsAsync(answer(network, request, { signal: AbortSignal.abort(reason) }), { is: reason })
})

test('a tensor keeps every bit, however it is written', (t) => {
  const numbers = fc.double({ noNaN: true, noDefaultInfinity: true })
  fc.assert(
    fc.property(fc.array(numbers, { minLength: 1, maxLength: 6 }), fc.boolean(), (entries, single) => {
      const data = single ? Float32Array.from(entries, Math.fround) : Float64Array.from(entries)
      if (data.some((entry) => !Number.isFinite(entry))) return
      const tensor: Tensor = { shape: [1, data.length], data }
      const sent: unknown = JSON.parse(JSON.stringify(tensorToJson(tensor)))
      t.deepEqual(tensorFromJson(sent, [9], 'x'), tensor)
      // JSON writes -0 as 0.
      const plain: unknown = JSON.parse(JSON.stringify(toJson(tensor)))
      const wide = Float64Array.from(data, (entry) => entry + 0)
      t.deepEqual(tensorFromJson(plain, [9], 'x'), { ...tensor, data: wide })
      t.deepEqual(tensorFromJson([...wide], tensor.shape, 'x'), { ...tensor, data: wide })
      t.deepEqual(tensorFromJson([[...wide]], [9], 'x'), { ...tensor, data: wide })
    }),
  )
})

test('what is no tensor is refused', (t) => {
  const base64 = Buffer.from(Float32Array.of(1, NaN).buffer).toString('base64')
  const wrong: readonly [unknown, 'ARGUMENT' | 'SHAPE' | 'VALUE', RegExp][] = [
    [undefined, 'ARGUMENT', /x must be an array of numbers, \{ shape, data \} or \{ shape, type, base64 \}/],
    [null, 'ARGUMENT', /got null/],
    ['AAAA', 'ARGUMENT', /got 'AAAA'/],
    [{}, 'ARGUMENT', /got \{\}/],
    [{ data: [1, 2], dtype: 'f4' }, 'ARGUMENT', /dtype/],
    [{ data: { length: 2 } }, 'ARGUMENT', /x must be/],
    [{ data: [1, '2'] }, 'ARGUMENT', /x: data\[1\] must be a number, got '2'/],
    [[1, '2'], 'ARGUMENT', /x\[1\] must be a number/],
    [[1, null], 'ARGUMENT', /x\[1\] must be a number, got null/],
    [[[1], 2], 'ARGUMENT', /x\[1\] must be an array of length 1/],
    [[1, 2, 3], 'SHAPE', /takes 2 entries, but data has 3/],
    [[], 'SHAPE', /takes 2 entries, but data has 0/],
    [{ shape: [3], data: [1, 2] }, 'SHAPE', /takes 3 entries/],
    [JSON.parse('['.repeat(1e5) + ']'.repeat(1e5)), 'ARGUMENT', /x must be nested at most 32 deep/],
    [{ shape: [-2], data: [1, 2] }, 'ARGUMENT', /x: shape must be an array of positive integers/],
    [{ shape: [2 ** 40], data: [1, 2] }, 'SHAPE', /takes 1099511627776 entries/],
    [JSON.parse('[1, 1e999]'), 'VALUE', /the one at \[1\] is Infinity|the one at \[0, 1\] is Infinity/],
    [{ type: 'float32', base64 }, 'VALUE', /the one at \[0, 1\] is NaN/],
    [{ type: 'float16', base64 }, 'ARGUMENT', /type must be 'float32' or 'float64', got 'float16'/],
    [{ type: 'float32', base64: 'AAA*' }, 'ARGUMENT', /base64 must be numbers in base64/],
    [{ type: 'float32', base64: 7 }, 'ARGUMENT', /base64 must be numbers in base64, got 7/],
    [{ type: 'float64', base64: 'AAAAAA==' }, 'ARGUMENT', /whole numbers of 8 bytes each, got '4 bytes'/],
    [{ type: 'float32', base64, data: [1, 2] }, 'ARGUMENT', /x must be/],
  ]
  for (const [json, code, message] of wrong) {
    const error = t.throws(() => tensorFromJson(json, [1, 2], 'x'), { instanceOf: InputError, message })
    t.is(error.code, `ERR_LIPBOUND_${code}`)
  }
})

test('arrays with holes are refused', (t) => {
  // eslint-disable-next-line no-sparse-arrays
  for (const sparse of [[1, , 3], [[1, , 3]], new Array(3)]) {
    t.throws(() => toTensor(sparse, 'x'), { message: /must be a number, got undefined/ })
  }
})

test('base64 is refused as fast as it is read, however its padding is meant to be understood', (t) => {
  // A pattern that looks for padding at the end takes a square of their number: this test would not end.
  const base64 = `${'='.repeat(1_000_000)}A`
  for (const text of [base64, `AAAA${base64}`, `${base64}=`]) {
    t.throws(() => tensorFromJson({ type: 'float32', base64: text }, [1], 'x'), { message: /base64 must be numbers/ })
  }
})

test('options of a request cannot be what does not come from outside', async (t) => {
  using network = small()
  const wrong: readonly [unknown, RegExp][] = [
    [undefined, /^bound: options must be an object, got undefined/],
    [[], /^bound: options must be an object/],
    [{ epsilon: 1, signal: {} }, /option 'signal' cannot be part of a request/],
    [{ epsilon: 1, onProgress: 'x' }, /option 'onProgress' cannot be part of a request/],
    [JSON.parse('{"epsilon":1,"__proto__":{"seed":1}}'), /unknown option '__proto__'/],
    [{ epsilon: '1' }, /option 'epsilon' must be a finite number/],
  ]
  for (const [options, message] of wrong) {
    const request = { task: 'bound', input: [1, 2], options } as ComputationRequest<'bound'>
    await t.throwsAsync(answer(network, request), { instanceOf: InputError, message })
  }
  for (const inputBox of [7, { lower: 0 }, { lower: 0, upper: 1, middle: 0.5 }, { lower: 'low', upper: 1 }]) {
    const request = { task: 'radius', input: [1, 2], options: { inputBox } } as unknown as ComputationRequest<'radius'>
    await t.throwsAsync(answer(network, request), { instanceOf: InputError, message: /inputBox/ })
  }
})

test('results are JSON in which nothing is lost but infinities', (t) => {
  const tensor = { shape: [2], data: Float32Array.of(0.1, 2) }
  const result = {
    epsilon: Infinity,
    upper: 1 / 3,
    tiny: 5e-324,
    none: undefined,
    list: [-Infinity, true, 'x', null],
    tensor,
  }
  const json = toJson(result)
  t.deepEqual(json, {
    epsilon: null,
    upper: 1 / 3,
    tiny: 5e-324,
    list: [null, true, 'x', null],
    tensor: { shape: [2], data: [Math.fround(0.1), 2] },
  })
  t.deepEqual(JSON.parse(JSON.stringify(json)), json)
})

test('errors of this package explain themselves, others stay inside', (t) => {
  t.deepEqual(errorToJson(new InputError('ERR_LIPBOUND_SHAPE', 'too long')), {
    code: 'ERR_LIPBOUND_SHAPE',
    message: 'too long',
  })
  t.deepEqual(errorToJson(new Error('/etc/passwd')), { code: 'ERR_LIPBOUND_INTERNAL', message: 'internal error' })
})

test('equal requests have one key, others have others', (t) => {
  const digest = 'a'.repeat(64)
  const key = (request: ComputationRequest, model = digest): string => requestKey(model, request, [1, 2])
  const request: ComputationRequest = { task: 'bound', input: [1, 2], options: { epsilon: 1, seed: 2 } }
  const data = Float32Array.of(1, 2)
  const same: ComputationRequest[] = [
    { ...request, options: { seed: 2, epsilon: 1 } },
    { ...request, options: { seed: 2, epsilon: 1, kind: undefined } },
    { ...request, input: [[1, 2]] },
    { ...request, input: { shape: [1, 2], data: [1, 2] } },
    { ...request, input: tensorToJson({ shape: [1, 2], data }) },
  ]
  for (const other of same) t.is(key(other), key(request))
  const others: ComputationRequest[] = [
    { ...request, task: 'radius' },
    { ...request, input: [1, 2 + Number.EPSILON * 2] },
    { ...request, input: [2, 1] },
    { ...request, options: { epsilon: 1 } },
    { ...request, options: { epsilon: [1], seed: 2 } },
  ]
  const keys = [...others.map((other) => key(other)), key(request), key(request, 'b'.repeat(64))]
  t.is(new Set(keys).size, keys.length)
  for (const each of keys) t.regex(each, /^[0-9a-f]{64}$/)
})
