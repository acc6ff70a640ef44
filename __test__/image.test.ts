/** Pictures as inputs: what the numbers are, and what is refused. */
import test from 'ava'

import { InputError, loadImage, loadTensor } from '../dist/index.js'
import type { InputErrorCode, LoadImageOptions } from '../dist/index.js'
import { createDirectory, npy } from './helpers/files.js'
import { jpeg, orientation, png } from './helpers/pictures.js'
import { sharedData } from './helpers/shared-data.js'

const files = createDirectory()
test.after.always(() => {
  files.remove()
})

const shared = sharedData('avant-mnist/')

shared.check('a digit is what its array says', async (t) => {
  const { shape, data } = await loadImage(`${shared.folder}eight.png`, { mean: 0.1307, std: 0.3081 })
  const expected = await loadTensor(`${shared.folder}eight.npy`)
  t.deepEqual([1, ...shape], expected.shape, 'the array has a batch of one')
  // Single precision rounds quotient, difference and quotient: three times half a unit of at most 2.83 / 0.3081.
  t.true(data.every((value, index) => Math.abs(value - (expected.data[index] ?? NaN)) < 3 * 2 ** -22))
})

/** Levels from 0 to 255, from `[channel][pixel]`. */
const levels = (...channels: readonly (readonly number[])[]): number[] => channels.flat().map((level) => level / 255)

const palette: [string, Uint8Array] = ['PLTE', Uint8Array.of(255, 0, 0, 9, 8, 7, 50, 50, 50)]

const kinds: Record<string, [content: Uint8Array, shape: readonly number[], expected: readonly number[]]> = {
  grey: [png({ width: 2, height: 2, type: 0, data: [0, 51, 255, 1] }), [1, 2, 2], levels([0, 51, 255, 1])],
  'grey of one bit': [png({ width: 3, height: 1, type: 0, depth: 1, data: [0b10100000] }), [1, 1, 3], [1, 0, 1]],
  'grey of 16 bits': [
    png({ width: 2, height: 1, type: 0, depth: 16, data: [0x12, 0x34, 0x00, 0x01] }),
    [1, 1, 2],
    [0x1234 / 65535, 1 / 65535],
  ],
  'opaque grey with alpha': [png({ width: 1, height: 1, type: 4, data: [7, 255] }), [1, 1, 1], levels([7])],
  palette: [
    png({ width: 2, height: 1, type: 3, data: [2, 1], chunks: [palette] }),
    [3, 1, 2],
    levels([50, 9], [50, 8], [50, 7]),
  ],
  'a palette of two bits with opaque alpha': [
    png({
      width: 2,
      height: 1,
      type: 3,
      depth: 2,
      data: [0b00010000],
      chunks: [palette, ['tRNS', Uint8Array.of(255, 255, 0)]],
    }),
    [3, 1, 2],
    levels([255, 9], [0, 8], [0, 7]),
  ],
  RGB: [png({ width: 1, height: 2, type: 2, data: [1, 2, 3, 4, 5, 6] }), [3, 2, 1], levels([1, 4], [2, 5], [3, 6])],
  'opaque RGBA': [
    png({ width: 2, height: 1, type: 6, data: [1, 2, 3, 255, 4, 5, 6, 255] }),
    [3, 1, 2],
    levels([1, 4], [2, 5], [3, 6]),
  ],
  'RGB of 16 bits': [
    png({ width: 1, height: 1, type: 2, depth: 16, data: [0xff, 0xff, 0x80, 0x00, 0x00, 0xff] }),
    [3, 1, 1],
    [1, 0x8000 / 65535, 255 / 65535],
  ],
  'grey JPEG': [
    jpeg({ width: 2, height: 1, blocks: [[10], [200]] }),
    [1, 8, 16],
    levels(Array.from({ length: 8 }, () => [...Array<number>(8).fill(10), ...Array<number>(8).fill(200)]).flat()),
  ],
  'upright JPEG': [
    jpeg({ width: 1, height: 1, blocks: [[255]], exif: orientation(1) }),
    [1, 8, 8],
    Array<number>(64).fill(1),
  ],
}

for (const [title, [content, shape, expected]] of Object.entries(kinds)) {
  test(title, async (t) => {
    const read = await loadImage(files.write(`${title}.picture`, content))
    t.deepEqual(read.shape, shape)
    t.true(read.data instanceof Float64Array)
    t.deepEqual([...read.data], [...expected])
  })
}

test('a colour JPEG, to the level by which decoders may differ', async (t) => {
  const [y, cb, cr] = [100, 90, 180]
  const path = files.write('colour.jpg', jpeg({ width: 1, height: 2, blocks: Array<number[]>(2).fill([y, cb, cr]) }))
  const { shape, data } = await loadImage(path)
  t.deepEqual(shape, [3, 16, 8])
  const colour = [y + 1.402 * (cr - 128), y - 0.344136 * (cb - 128) - 0.714136 * (cr - 128), y + 1.772 * (cb - 128)]
  t.true(data.every((value, index) => Math.abs(255 * value - (colour[Math.floor(index / 128)] ?? NaN)) <= 1))
})

test('the content says what a picture is, not its name', async (t) => {
  const path = files.write('truly.jpg', png({ width: 1, height: 1, type: 0, data: [255] }))
  t.deepEqual([...(await loadImage(path)).data], [1])
})

test('grey and colour become each other', async (t) => {
  const grey = files.write('grey.png', png({ width: 2, height: 1, type: 0, data: [51, 102] }))
  const colour = files.write('colour.png', png({ width: 2, height: 1, type: 2, data: [255, 0, 51, 77, 77, 77] }))
  t.deepEqual([...(await loadImage(grey, { channels: 3 })).data], [0.2, 0.4, 0.2, 0.4, 0.2, 0.4])
  const { shape, data } = await loadImage(colour, { channels: 1 })
  t.deepEqual(shape, [1, 1, 2])
  t.true(Math.abs((data[0] ?? NaN) - (0.299 + 0.114 * 0.2)) < 1e-15)
  t.is(data[1], 77 / 255, 'grey pixels keep their level')
})

test('mean and standard deviation, one or one a channel', async (t) => {
  const colour = files.write('normal.png', png({ width: 1, height: 1, type: 2, data: [255, 0, 51] }))
  const expected = [(1 - 0.5) / 0.25, (0 - 0.4) / 0.5, (0.2 - 0.3) / 2]
  t.deepEqual([...(await loadImage(colour, { mean: [0.5, 0.4, 0.3], std: [0.25, 0.5, 2] })).data], expected)
  t.deepEqual([...(await loadImage(colour, { mean: 0.2 })).data], [0.8, -0.2, 0])
  t.deepEqual([...(await loadImage(colour, { std: 0.5, size: [1, 1] })).data], [2, 0, 0.4])
})

const small = png({ width: 3, height: 2, type: 0, data: [1, 2, 3, 4, 5, 6] })
const block = jpeg({ width: 2, height: 2, blocks: [[10], [20], [30], [40]] })
const wide = png({ width: 2 ** 31 - 1, height: 2 ** 31 - 1, type: 0, data: [] })

const refusals: Record<
  string,
  [code: InputErrorCode, culprit: RegExp, content: Uint8Array, options?: LoadImageOptions]
> = {
  'a picture of another size': [
    'ERR_LIPBOUND_SHAPE',
    /2 pixels high and 3 wide, but has to be 28 high and 28 wide/,
    small,
    { size: [28, 28] },
  ],
  'three means for one channel': [
    'ERR_LIPBOUND_SHAPE',
    /3 numbers for mean, but 1 channel/,
    small,
    { mean: [0, 0, 0] },
  ],
  'two deviations for three channels': [
    'ERR_LIPBOUND_SHAPE',
    /2 numbers for std, but 3 channels/,
    small,
    { channels: 3, std: [1, 1] },
  ],
  'a quotient that overflows': ['ERR_LIPBOUND_VALUE', /inf/, small, { mean: 1e300, std: 1e-300 }],
  'transparent pixels': [
    'ERR_LIPBOUND_FILE',
    /transparent, at row 0, column 1/,
    png({ width: 2, height: 1, type: 6, data: [1, 2, 3, 255, 4, 5, 6, 254] }),
  ],
  'a transparent colour of a palette': [
    'ERR_LIPBOUND_FILE',
    /transparent/,
    png({ width: 1, height: 1, type: 3, data: [0], chunks: [palette, ['tRNS', Uint8Array.of(0)]] }),
  ],
  'an animation': [
    'ERR_LIPBOUND_FILE',
    /animated/,
    png({ width: 1, height: 1, type: 0, data: [0], chunks: [['acTL', Uint8Array.of(0, 0, 0, 2, 0, 0, 0, 0)]] }),
  ],
  'a JPEG to be turned': [
    'ERR_LIPBOUND_FILE',
    /EXIF orientation 6/,
    jpeg({ width: 1, height: 1, blocks: [[1]], exif: orientation(6) }),
  ],
  'a PNG to be turned': [
    'ERR_LIPBOUND_FILE',
    /EXIF orientation 3/,
    png({ width: 1, height: 1, type: 0, data: [0], chunks: [['eXIf', orientation(3)]] }),
  ],
  'a PNG whose data are cut off': ['ERR_LIPBOUND_FILE', /not a valid PNG/, small.subarray(0, -20)],
  'a PNG without an end': ['ERR_LIPBOUND_FILE', /not a valid PNG/, small.subarray(0, -12)],
  'a PNG with a wrong checksum': ['ERR_LIPBOUND_FILE', /not a valid PNG/, small.with(small.length - 14, 1)],
  'a JPEG whose header is cut off': ['ERR_LIPBOUND_FILE', /not a valid JPEG/, block.subarray(0, 60)],
  'a JPEG whose data are cut off': ['ERR_LIPBOUND_FILE', /not a valid JPEG/, block.subarray(0, -5)],
  'a JPEG without an end': ['ERR_LIPBOUND_FILE', /not a valid JPEG/, block.subarray(0, -2)],
  'a PNG of more pixels than any memory': ['ERR_LIPBOUND_FILE', /at most 16777216 pixels/, wide],
  'a JPEG in CMYK': ['ERR_LIPBOUND_FILE', /CMYK/, jpeg({ width: 1, height: 1, blocks: [[1, 2, 3, 4]] })],
  'an array': ['ERR_LIPBOUND_FILE', /a \.npy file, not a picture/, npy([1], [1])],
  'no picture': ['ERR_LIPBOUND_FILE', /neither a PNG nor a JPEG/, Buffer.from('GIF89a')],
  nothing: ['ERR_LIPBOUND_FILE', /neither a PNG nor a JPEG/, Buffer.alloc(0)],
}

for (const [title, [code, culprit, content, options]] of Object.entries(refusals)) {
  test(`refused: ${title}`, async (t) => {
    const path = files.write(`refused ${title}.png`, content)
    const error = await t.throwsAsync(loadImage(path, options), { instanceOf: InputError })
    t.is(error.code, code, error.message)
    t.regex(error.message, culprit)
    t.true(error.message.includes(path), error.message)
  })
}

const untyped = loadImage as (...given: unknown[]) => Promise<unknown>

const badOptions: Record<string, [options: unknown, culprit: RegExp]> = {
  'two channels': [{ channels: 2 }, /'channels' must be 1 or 3, got 2/],
  'a size of one number': [{ size: 28 }, /'size' must be \[height, width\].*got 28/],
  'a size of zero': [{ size: [28, 0] }, /'size'/],
  'a mean that is not finite': [{ mean: [0, Infinity, 0] }, /'mean'\[1\] must be a finite number, got Infinity/],
  'no means': [{ mean: [] }, /'mean'.*one for each channel/],
  'a deviation of zero': [{ std: 0 }, /'std' must be a finite number > 0.*got 0/],
  'a negative deviation': [{ std: [1, -1, 1] }, /'std'\[1\].*-1/],
  'an unknown option': [{ resize: true }, /unknown option 'resize'/],
}

for (const [title, [options, culprit]] of Object.entries(badOptions)) {
  test(`an option: ${title}`, async (t) => {
    const error = await t.throwsAsync(untyped('x.png', options), { instanceOf: InputError })
    t.is(error.code, 'ERR_LIPBOUND_ARGUMENT')
    t.regex(error.message, culprit)
  })
}

test('a file that is not there, and a signal', async (t) => {
  const path = `${files.path}/missing.png`
  const error = await t.throwsAsync(loadImage(path), { instanceOf: InputError })
  t.is(error.code, 'ERR_LIPBOUND_FILE')
  t.true(error.message.includes(path))
  const reason = new Error('enough')
  t.is(await t.throwsAsync(loadImage(path, { signal: AbortSignal.abort(reason) })), reason)
})
