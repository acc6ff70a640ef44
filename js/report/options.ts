/** What the pictures may be asked for. */
import { expecting, oneOf, optional, parseOptions, text } from '../options.js'
import type { Check } from '../options.js'
import { pagePalette, palettes } from './theme.js'
import type { Palette, Theme } from './theme.js'

/** Options that all pictures have. */
export interface PictureOptions {
  /** What stands at its head. Default: what the picture is. */
  title?: string | undefined
  /** Width in pixels at 100 %, from 300 to 2000; narrow pictures are laid out for phones. Default: 720. */
  width?: number | undefined
  /** On a light ground or a dark one. Default: `light`. */
  theme?: Theme | undefined
}

/** How a picture is to look, after its options were checked. */
export interface Look {
  readonly title: string | undefined
  /** Whether the title stands in the picture. */
  readonly heading: boolean
  readonly width: number
  readonly palette: Palette
  /** Whether the picture paints its own ground. */
  readonly ground: boolean
}

const pixels = expecting(
  'a number from 300 to 2000',
  (value): value is number => typeof value === 'number' && value >= 300 && value <= 2000,
)

export const pictureSpecification = {
  title: optional(text),
  width: optional(pixels),
  theme: optional(oneOf('light', 'dark')),
} satisfies Record<string, Check<unknown>>

/** Checks the options of a picture that has no others. */
export function pictureOptions(where: string, options: PictureOptions): Look {
  return look(parseOptions(where, options, pictureSpecification))
}

/** How a picture with these options is to look. */
export function look({ title, width, theme }: PictureOptions): Look {
  return { title, heading: true, width: Math.round(width ?? 720), palette: palettes[theme ?? 'light'], ground: true }
}

/** How a picture in a report is to look: the page shows its title, has its ground, and decides about the theme. */
export function pageLook(title: string, width: number): Look {
  return { title, heading: false, width, palette: pagePalette, ground: false }
}
