/** Colours. Those of data are of the palette of M. Okabe and K. Ito, which people of every colour vision tell apart. */

/** What a picture stands on: a light or a dark ground of its own. */
export type Theme = 'light' | 'dark'

/** Every colour that is used, by what it is for. */
export interface Palette {
  /** Behind everything. */
  readonly ground: string
  /** Titles and values. */
  readonly ink: string
  /** Labels, units, notes. */
  readonly soft: string
  /** Axes. */
  readonly line: string
  /** Grids, and the empty part of bars. */
  readonly grid: string
  /** What is certified: certificates, radii. */
  readonly certified: string
  /** Products of layers, and what makes bounds grow. */
  readonly product: string
  /** What was really attained or found. */
  readonly attained: string
  /** Units that cannot move. */
  readonly still: string
  /** Units that stay on one linear piece. */
  readonly stable: string
  /** Units that may change piece. */
  readonly unstable: string
}

export const palettes: Readonly<Record<Theme, Palette>> = {
  light: {
    ground: '#ffffff',
    ink: '#1b1f24',
    soft: '#545c66',
    line: '#8a929c',
    grid: '#e4e7eb',
    certified: '#0072b2',
    product: '#d55e00',
    attained: '#009e73',
    still: '#aeb5bd',
    stable: '#56b4e9',
    unstable: '#d55e00',
  },
  dark: {
    ground: '#14171c',
    ink: '#eceff3',
    soft: '#a9b2bd',
    line: '#6b7480',
    grid: '#2b3038',
    certified: '#56b4e9',
    product: '#f0883e',
    attained: '#2bc398',
    still: '#5d6671',
    stable: '#3f97cd',
    unstable: '#f0883e',
  },
}

/** The names of the colours, in a fixed order. */
export const colours = Object.keys(palettes.light) as (keyof Palette)[]

/** Colours that the page around a picture decides, so that one picture serves both themes. */
export const pagePalette = Object.fromEntries(colours.map((name) => [name, `var(--${name})`])) as unknown as Palette
