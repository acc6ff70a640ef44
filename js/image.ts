/** Pictures as inputs: PNG and JPEG files. */
import { run } from './cancellation.js'
import { native } from './native.js'
import { argumentError, expecting, numbers, optional, parseOptions, signal as signalCheck } from './options.js'
import type { Check } from './options.js'
import { filePath } from './tensor.js'
import type { Tensor } from './tensor.js'

/** Options of {@link loadImage}. */
export interface LoadImageOptions {
  /** 1 for grey, 3 for red, green and blue. Default: as the file has them. */
  channels?: 1 | 3 | undefined
  /** Height and width in pixels that the picture must have; another is refused before it is decoded. */
  size?: readonly [height: number, width: number] | undefined
  /** Subtracted from the samples, which lie between 0 and 1: one number, or one for each channel. Default: 0. */
  mean?: number | readonly number[] | undefined
  /** What the difference is divided by, positive: one number, or one for each channel. Default: 1. */
  std?: number | readonly number[] | undefined
  /** Aborts reading: the promise rejects with `signal.reason`. */
  signal?: AbortSignal | undefined
}

/**
 * Reads a picture from a PNG or JPEG file; which of them is seen from what is in it, not from its name.
 *
 * Every sample is divided by the largest possible one (255, or 65535 where they have 16 bits), then
 * `(sample - mean) / std` is taken, as networks are trained on. Colour becomes grey by the luma of ITU-R BT.601,
 * 0.299 red + 0.587 green + 0.114 blue, which is not rounded to a level; grey becomes colour by repetition. Alpha is
 * dropped where all of the picture is opaque. Nothing is resized, blended or turned: a picture of another size, with
 * transparent pixels, or whose metadata (EXIF) ask to turn it is refused. Gamma and colour profiles are not applied.
 *
 * Mind the units: an epsilon is measured in what the network takes. After `std` 0.25, a change of the pixels (from 0 to
 * 1) of length 0.5 has length 2. See the `normalize` layer for networks that take pixels as they are.
 *
 * @param path - the file, of at most 2^24 pixels
 * @returns the tensor `[channels, height, width]`, in double precision
 * @throws {@link InputError} (by rejection) `ERR_LIPBOUND_FILE` if the file cannot be read, is no picture, is damaged or
 *   is refused for what was said above, `ERR_LIPBOUND_SHAPE` if it has another size, or there are neither one `mean` or
 *   `std` nor one a channel, `ERR_LIPBOUND_VALUE` where a number overflows, `ERR_LIPBOUND_ARGUMENT` for an unknown or
 *   malformed option; `signal.reason` when aborted
 *
 * @example
 * ```ts
 * const x = await loadImage('eight.png', { channels: 1, size: [28, 28], mean: 0.1307, std: 0.3081 })
 * ```
 */
export async function loadImage(path: string | URL, options: LoadImageOptions = {}): Promise<Tensor> {
  const file = filePath(path, 'loadImage: path')
  const {
    channels,
    size: [height, width] = [],
    mean = zero,
    std = one,
    signal,
  } = parseOptions('loadImage', options, {
    channels: optional(channelCount),
    size: optional(size),
    mean: optional(perChannel('a finite number', Number.isFinite)),
    std: optional(perChannel('a finite number > 0', (value) => value > 0 && Number.isFinite(value))),
    signal: optional(signalCheck),
  })
  return await run({ signal }, () => native.loadImage(file, { channels, height, width, mean, std }), {
    operation: 'load',
  })
}

const zero = Float64Array.of(0)
const one = Float64Array.of(1)

const channelCount = expecting('1 or 3', (value): value is 1 | 3 => value === 1 || value === 3)

/** Pixels along one side, as many as the native part can count. */
const isExtent = (value: unknown): boolean =>
  Number.isInteger(value) && (value as number) > 0 && (value as number) < 2 ** 32

const size = expecting(
  '[height, width], both positive integers',
  (value): value is readonly [number, number] => Array.isArray(value) && value.length === 2 && value.every(isExtent),
)

/** One number, or several: that there is one a channel is for the native part to say, which sees the picture. */
function perChannel(allowed: string, accepts: (value: number) => boolean): Check<Float64Array> {
  const several = numbers(allowed, accepts)
  return (value, subject) => {
    if (typeof value === 'number' && accepts(value)) return Float64Array.of(value)
    if (Array.isArray(value) && value.length > 0) return several(value, subject)
    throw argumentError(subject, `${allowed}, or an array with one for each channel`, value)
  }
}
