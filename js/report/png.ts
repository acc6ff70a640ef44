/** From SVG to PNG, without a browser and with the package's own font. */
import type { ResvgRenderOptions } from '@resvg/resvg-js'

import { InputError } from '../errors.js'
import { load } from '../dependency.js'
import { covers, fontFile } from './font.js'
import { expecting, optional, parseOptions, positiveInteger, text } from '../options.js'

/** Options of {@link toPng}; at most one of them. */
export interface PngOptions {
  /** Width in pixels; the height follows. */
  width?: number | undefined
  /** Pixels for each pixel of the SVG. Default: 2, for screens with fine pixels and for print. */
  scale?: number | undefined
}

const specification = {
  width: optional(positiveInteger),
  scale: optional(
    expecting(
      'a number > 0 and at most 16',
      (value): value is number => typeof value === 'number' && value > 0 && value <= 16,
    ),
  ),
}

/**
 * Turns a picture into a PNG file.
 *
 * The font comes with the package: nothing need be installed, and the bytes do not depend on the machine. Only characters that
 * it does not have, as names of layers may, are taken from the fonts of the system.
 *
 * @param svg - what one of the pictures returned
 * @returns the bytes of the file
 * @throws {@link InputError} `ERR_LIPBOUND_ARGUMENT` for a wrong option or text that is not SVG, `ERR_LIPBOUND_DEPENDENCY` without
 *   `@resvg/resvg-js`
 */
export async function toPng(svg: string, options: PngOptions = {}): Promise<Uint8Array> {
  text(svg, 'toPng: svg')
  const { width, scale } = parseOptions('toPng', options, specification)
  if (width !== undefined && scale !== undefined) {
    throw new InputError('ERR_LIPBOUND_ARGUMENT', `toPng: options 'width' and 'scale' exclude each other`)
  }
  const { Resvg } = await load(() => import('@resvg/resvg-js'), '@resvg/resvg-js', 'PNG files')
  const settings: ResvgRenderOptions = {
    fitTo: width === undefined ? { mode: 'zoom', value: scale ?? 2 } : { mode: 'width', value: width },
    font: {
      loadSystemFonts: !covers(svg),
      fontFiles: [fontFile('regular', 'ttf'), fontFile('semibold', 'ttf')],
      defaultFontFamily: 'Inter',
    },
  }
  try {
    return new Resvg(svg, settings).render().asPng()
  } catch (error) {
    throw new InputError('ERR_LIPBOUND_ARGUMENT', `toPng: svg cannot be read: ${String(error)}`, { cause: error })
  }
}
