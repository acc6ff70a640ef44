/** Pictures for tests, written when they are wanted: PNG of every kind, and JPEG whose blocks have one colour each. */
import { crc32, deflateSync } from 'node:zlib'

/** What a PNG file is made of. */
export interface PngParts {
  width: number
  height: number
  /** Colour type: 0 grey, 2 RGB, 3 palette, 4 grey and alpha, 6 RGB and alpha. */
  type: 0 | 2 | 3 | 4 | 6
  /** Bits a sample. */
  depth?: 1 | 2 | 4 | 8 | 16
  /** The rows one after another, packed as the depth says, without filter bytes. */
  data: readonly number[]
  /** Chunks between the header and the data: their names and contents. */
  chunks?: readonly (readonly [name: string, content: Uint8Array])[]
}

const samplesOf = { 0: 1, 2: 3, 3: 1, 4: 2, 6: 4 } as const

/** A PNG file. */
export function png({ width, height, type, depth = 8, data, chunks = [] }: PngParts): Buffer {
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width, 0)
  header.writeUInt32BE(height, 4)
  header.set([depth, type, 0, 0, 0], 8)
  const row = Math.ceil((width * samplesOf[type] * depth) / 8)
  const filtered = Array.from({ length: data.length / row }, (_, y) => [0, ...data.slice(y * row, (y + 1) * row)])
  const compressed = deflateSync(Uint8Array.from(filtered.flat()))
  const all = [['IHDR', header], ...chunks, ['IDAT', compressed], ['IEND', Buffer.alloc(0)]] as const
  return Buffer.concat([
    Buffer.from('\x89PNG\r\n\x1a\n', 'latin1'),
    ...all.map(([name, content]) => chunk(name, content)),
  ])
}

function chunk(name: string, content: Uint8Array): Buffer {
  const body = Buffer.concat([Buffer.from(name, 'latin1'), content])
  const [length, checksum] = [Buffer.alloc(4), Buffer.alloc(4)]
  length.writeUInt32BE(content.length)
  checksum.writeUInt32BE(crc32(body))
  return Buffer.concat([length, body, checksum])
}

/** What a JPEG file is made of. */
export interface JpegParts {
  /** In blocks of 8 by 8 pixels. */
  width: number
  /** The same. */
  height: number
  /** One colour for each block: one level, or Y, Cb and Cr. */
  blocks: readonly (readonly number[])[]
  /** EXIF metadata. */
  exif?: Uint8Array
}

/** A baseline JPEG file whose blocks have one colour each, so that nothing is lost in it. */
export function jpeg({ width, height, blocks, exif }: JpegParts): Buffer {
  const components = blocks[0]?.length ?? 1
  const ids = Array.from({ length: components }, (_, index) => index + 1)
  const size = [(height * 8) >> 8, (height * 8) & 255, (width * 8) >> 8, (width * 8) & 255]
  const bits: string[] = []
  const before = ids.map(() => 128)
  for (const block of blocks) {
    block.forEach((level, component) => {
      // A quantum of 8 makes the mean's coefficient the level itself.
      const step = level - (before[component] ?? 0)
      before[component] = level
      const category = step === 0 ? 0 : Math.floor(Math.log2(Math.abs(step))) + 1
      const written = step > 0 ? step : step + 2 ** category - 1
      const end = '0'
      bits.push(
        category.toString(2).padStart(4, '0'),
        category === 0 ? '' : written.toString(2).padStart(category, '0'),
        end,
      )
    })
  }
  const stream = bits.join('')
  const padded = stream.padEnd(Math.ceil(stream.length / 8) * 8, '1')
  const scan = (padded.match(/.{8}/g) ?? []).map((byte) => parseInt(byte, 2))
  return Buffer.concat([
    Buffer.from([0xff, 0xd8]),
    exif === undefined ? Buffer.alloc(0) : segment(0xe1, [...Buffer.from('Exif\0\0', 'latin1'), ...exif]),
    segment(0xdb, [0, ...Array<number>(64).fill(8)]),
    segment(0xc0, [8, ...size, components, ...ids.flatMap((id) => [id, 0x11, 0])]),
    // Nine categories in four bits each, and the end of a block in one.
    segment(0xc4, [0x00, 0, 0, 0, 9, ...Array<number>(12).fill(0), 0, 1, 2, 3, 4, 5, 6, 7, 8]),
    segment(0xc4, [0x10, 1, ...Array<number>(15).fill(0), 0]),
    segment(0xda, [components, ...ids.flatMap((id) => [id, 0]), 0, 63, 0]),
    Buffer.from(scan.flatMap((byte) => (byte === 0xff ? [byte, 0] : [byte]))),
    Buffer.from([0xff, 0xd9]),
  ])
}

function segment(marker: number, content: readonly number[]): Buffer {
  const length = content.length + 2
  return Buffer.from([0xff, marker, length >> 8, length & 255, ...content])
}

/** EXIF metadata that hold an orientation and nothing else. */
export function orientation(value: number): Buffer {
  const directory = [0, 1, 0x01, 0x12, 0, 3, 0, 0, 0, 1, 0, value, 0, 0, 0, 0, 0, 0]
  return Buffer.from([...Buffer.from('MM\0*', 'latin1'), 0, 0, 0, 8, ...directory])
}
