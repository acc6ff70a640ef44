/** The writer of ONNX models, by what onnxruntime reads of them. */
import test from 'ava'

import type { Tensor } from '../dist/index.js'
import { openReference } from './onnx/runtime.js'
import {
  bfloatBits,
  float,
  floats,
  halfBits,
  int,
  ints,
  irVersionOf,
  string,
  tensor,
  writeModel,
} from './onnx/writer.js'
import type { ModelDescription, NodeDescription, TensorDescription } from './onnx/writer.js'

const X = { name: 'x', dims: [1, 3] } as const
const Y = { name: 'y' } as const

/** A model of one input of three entries, its output and its nodes. */
const model = (
  nodes: readonly NodeDescription[],
  initializers: readonly TensorDescription[] = [],
  rest: Partial<ModelDescription> = {},
): ModelDescription => ({ opset: 13, ...rest, graph: { nodes, inputs: [X], outputs: [Y], initializers } })

async function output(description: ModelDescription, input: readonly number[] = [1, -2, 0.5]): Promise<Tensor> {
  const reference = await openReference(writeModel(description))
  try {
    return await reference.evaluate(Float32Array.from(input))
  } finally {
    await reference.release()
  }
}

/** What a weight of three entries is to onnxruntime. */
async function weights(weight: TensorDescription, packed = false): Promise<number[]> {
  const cast = { op: 'Cast', inputs: ['w'], outputs: ['v'], attributes: { to: int(1) } }
  const add = { op: 'Add', inputs: ['x', 'v'], outputs: ['y'] }
  const { data } = await output(model([cast, add], [{ ...weight, name: 'w' }], { packed }), [0, 0, 0])
  return Array.from(data)
}

test('weights of every type arrive in raw and in typed fields, packed or not', async (t) => {
  const fractions = [1.5, -0.25, 3]
  for (const storage of ['raw', 'typed'] as const) {
    for (const packed of [false, true]) {
      for (const type of ['float', 'double', 'float16', 'bfloat16'] as const) {
        t.deepEqual(
          await weights({ type, dims: [3], values: fractions, storage }, packed),
          fractions,
          `${type} ${storage}`,
        )
      }
      for (const type of ['int8', 'int16', 'int32', 'int64'] as const) {
        t.deepEqual(await weights({ type, dims: [3], values: [1, -2, 100], storage }, packed), [1, -2, 100], type)
      }
      for (const type of ['uint8', 'uint16', 'uint32', 'uint64', 'bool'] as const) {
        t.deepEqual(await weights({ type, dims: [3], values: [1, 0, 1], storage }, packed), [1, 0, 1], type)
      }
    }
  }
})

test('the bits of half precision are those of the nearest number', async (t) => {
  const values = [0, 1, -2, 65504, 65519, 2 ** -14, 2 ** -24, 2 ** -25, 1.5 * 2 ** -24, 1 + 2 ** -11, 1 + 3 * 2 ** -11]
  const nearest = [0, 1, -2, 65504, 65504, 2 ** -14, 2 ** -24, 0, 2 ** -23, 1, 1 + 2 ** -9]
  for (let first = 0; first < values.length; first += 3) {
    const some = [...values.slice(first, first + 3), 0, 0].slice(0, 3)
    const expected = [...nearest.slice(first, first + 3), 0, 0].slice(0, 3)
    t.deepEqual(await weights({ type: 'float16', dims: [3], values: some }), expected)
  }
  t.is(halfBits(65520), 0x7c00)
  t.is(halfBits(-Infinity), 0xfc00)
  t.is(halfBits(-0), 0x8000)
  // 1/3 is 0x3eaaaaab, and 1 + 2^-8 lies between two, of which the even one is below.
  t.is(bfloatBits(1 / 3), 0x3eab)
  t.is(bfloatBits(1 + 2 ** -8), 0x3f80)
})

test('attributes of every kind arrive', async (t) => {
  const constant = (attributes: NodeDescription['attributes']): ModelDescription =>
    model([
      { op: 'Constant', inputs: [], outputs: ['c'], ...(attributes && { attributes }) },
      { op: 'Add', inputs: ['x', 'c'], outputs: ['y'] },
    ])
  const three = [1, 2, 3]
  for (const packed of [false, true]) {
    const listed = await output({ ...constant({ value_floats: floats(three) }), packed }, [0, 0, 0])
    t.deepEqual(Array.from(listed.data), three)
    const transposed = { op: 'Transpose', inputs: ['x'], outputs: ['y'], attributes: { perm: ints([1, 0]) } }
    t.deepEqual((await output(model([transposed], [], { packed }))).shape, [3, 1])
  }
  const one = await output(constant({ value_float: float(0.5) }), [0, 0, 0])
  t.deepEqual(Array.from(one.data), [0.5, 0.5, 0.5])
  const whole = await output(constant({ value: tensor({ type: 'float', dims: [3], values: three }) }), [0, 0, 0])
  t.deepEqual(Array.from(whole.data), three)
  const pads = { type: 'int64', dims: [4], values: [0, 1, 0, 1], name: 'pads' } as const
  const pad = { op: 'Pad', inputs: ['x', 'pads'], outputs: ['y'], attributes: { mode: string('edge') } }
  t.deepEqual(Array.from((await output(model([pad], [pads]))).data), [1, 1, -2, 0.5, 0.5])
})

test('an extent may have a name or none, and opsets have the version of the IR that came with them', async (t) => {
  for (const batch of ['N', null, 1]) {
    const graph = {
      nodes: [{ op: 'Relu', inputs: ['x'], outputs: ['y'], name: 'only', domain: '' }],
      inputs: [{ name: 'x', dims: [batch, 3] }],
      outputs: [{ name: 'y', dims: [batch, 3] }],
      values: [{ name: 'y', dims: [batch, 3] }],
    }
    const reference = await openReference(writeModel({ graph, opset: { '': 13, 'ai.onnx.ml': 2 } }))
    t.deepEqual(reference.input, [1, 3])
    t.deepEqual(await reference.evaluate(Float32Array.of(1, -2, 3)), { shape: [1, 3], data: Float32Array.of(1, 0, 3) })
    await reference.release()
  }
  t.deepEqual([7, 8, 9, 10, 11, 14, 15, 21, 26].map(irVersionOf), [3, 3, 4, 5, 6, 7, 8, 10, 13])
})

test('what is wrong is written as it was asked for', async (t) => {
  const add = { op: 'Add', inputs: ['x', 'w'], outputs: ['y'] }
  const weight = { name: 'w', type: 'float', dims: [3], values: [1, 2, 3] } as const
  await t.notThrowsAsync(output(model([add], [weight])))
  // More dimensions than entries, bytes that are cut off, a type that does not exist, a file that is not there.
  for (const wrong of [
    { ...weight, dims: [4] },
    { ...weight, dims: [-3] },
    { ...weight, raw: new Uint8Array(11) },
    { ...weight, type: 99 },
    { name: 'w', type: 'float', dims: [3], external: { location: 'nowhere.bin', offset: '0', length: '12' } },
    { ...weight, storage: 'typed', values: [1] },
  ] satisfies TensorDescription[]) {
    await t.throwsAsync(output(model([add], [wrong])), undefined, JSON.stringify(wrong))
  }
  // Field 6 of a model is the doc_string: bytes of another writer go through, and those of none do not.
  await t.notThrowsAsync(output(model([add], [weight], { extra: Uint8Array.of(0x32, 1, 0x61) })))
  await t.throwsAsync(output(model([add], [weight], { extra: Uint8Array.of(0x32, 9, 0x61) })))
})
