// Files that the methods of both languages read: safetensors and npy, in single precision.

import { writeFileSync } from 'node:fs'

const bytes = ({ data }) => Buffer.from(Float32Array.from(data).buffer)

/** Writes named tensors: the length of a header in JSON, the header, the numbers. */
export function writeSafetensors(path, tensors) {
  let end = 0
  const header = Object.fromEntries(
    Object.entries(tensors).map(([name, { shape, data }]) => {
      const begin = end
      end += 4 * data.length
      return [name, { dtype: 'F32', shape, data_offsets: [begin, end] }]
    }),
  )
  const text = Buffer.from(JSON.stringify(header))
  const length = Buffer.alloc(8)
  length.writeBigUInt64LE(BigInt(text.length))
  writeFileSync(path, Buffer.concat([length, text, ...Object.values(tensors).map(bytes)]))
}

/** Writes one tensor: a header that ends at a multiple of 64 bytes, the numbers. */
export function writeNpy(path, { shape, data }) {
  const said = `{'descr': '<f4', 'fortran_order': False, 'shape': (${shape.map((n) => `${n},`).join(' ')}), }`
  const header = Buffer.from(said.padEnd(Math.ceil((said.length + 11) / 64) * 64 - 11) + '\n', 'latin1')
  const magic = Buffer.from([0x93, ...Buffer.from('NUMPY'), 1, 0, header.length & 255, header.length >> 8])
  writeFileSync(path, Buffer.concat([magic, header, bytes({ data })]))
}
