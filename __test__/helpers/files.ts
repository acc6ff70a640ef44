/** Files for tests, written when they are wanted: safetensors, NumPy arrays, and damaged ones of both. */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'

import type { Tensor } from '../../dist/index.js'

/** A directory of its own, and a function that removes it. */
export function createDirectory(): {
  path: string
  write: (name: string, content: string | Uint8Array) => string
  remove: () => void
} {
  const path = mkdtempSync(join(tmpdir(), 'lipbound-test-'))
  return {
    path,
    write(name, content) {
      const file = join(path, name)
      writeFileSync(file, content)
      return file
    },
    remove: () => {
      rmSync(path, { recursive: true, force: true })
    },
  }
}

/** One entry of the header of a safetensors file. */
export interface HeaderEntry {
  dtype: string
  shape: readonly number[]
  data_offsets: readonly [number, number]
}

/** A safetensors file with any header, true or not, and any data. */
export function rawSafetensors(
  header: string | Record<string, HeaderEntry>,
  data: Uint8Array,
  headerLength?: bigint,
): Uint8Array {
  const json = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(headerLength ?? BigInt(json.length))
  return Buffer.concat([length, json, data])
}

/** An honest safetensors file. */
export function safetensors(tensors: Readonly<Record<string, Tensor>>): Uint8Array {
  const header: Record<string, HeaderEntry> = {}
  const parts: Uint8Array[] = []
  let end = 0
  for (const [name, { shape, data }] of Object.entries(tensors)) {
    const begin = end
    end += data.byteLength
    header[name] = { dtype: data instanceof Float32Array ? 'F32' : 'F64', shape, data_offsets: [begin, end] }
    parts.push(new Uint8Array(data.buffer, data.byteOffset, data.byteLength))
  }
  return rawSafetensors(header, Buffer.concat(parts))
}

/** A NumPy file with any header. */
export function rawNpy(header: string, data: Uint8Array, version: 1 | 2 = 1): Uint8Array {
  const prefix = version === 1 ? 10 : 12
  const padded = `${header.padEnd(Math.ceil((prefix + header.length + 1) / 64) * 64 - prefix - 1)}\n`
  const start = Buffer.alloc(prefix)
  start.write('\u0093NUMPY', 'latin1')
  start[6] = version
  if (version === 1) start.writeUInt16LE(padded.length, 8)
  else start.writeUInt32LE(padded.length, 8)
  return Buffer.concat([start, Buffer.from(padded, 'latin1'), data])
}

/** The bytes of numbers in one of NumPy's types. */
export function bytes(type: '<f4' | '<f8' | '>f4' | '>f8' | '<i8', values: readonly number[]): Uint8Array {
  const width = Number(type[2])
  const buffer = Buffer.alloc(values.length * width)
  values.forEach((value, index) => {
    const at = index * width
    if (type === '<f4') buffer.writeFloatLE(value, at)
    else if (type === '<f8') buffer.writeDoubleLE(value, at)
    else if (type === '>f4') buffer.writeFloatBE(value, at)
    else if (type === '>f8') buffer.writeDoubleBE(value, at)
    else buffer.writeBigInt64LE(BigInt(value), at)
  })
  return buffer
}

/** A NumPy file of numbers in C or Fortran order. */
export function npy(
  shape: readonly number[],
  values: readonly number[],
  type: Parameters<typeof bytes>[0] = '<f8',
  fortran = false,
): Uint8Array {
  const extents = shape.length === 1 ? `${shape[0]},` : shape.join(', ')
  const header = `{'descr': '${type}', 'fortran_order': ${fortran ? 'True' : 'False'}, 'shape': (${extents}), }`
  return rawNpy(header, bytes(type, values))
}
