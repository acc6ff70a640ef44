/** From a specification to SVG, with Vega, which is loaded when the first picture is made. */
import type { Config, Data, Mark, Spec } from 'vega'

import { load } from '../dependency.js'
import { escape } from './markup.js'
import { fontFamily, measure, weights } from './font.js'
import type { Palette } from './theme.js'

/** What is drawn. */
export interface Drawing {
  /** In pixels at 100 %. */
  readonly width: number
  /** In pixels at 100 %. */
  readonly height: number
  /** Name of the picture, for those who cannot see it. */
  readonly title: string
  /** What it shows, in sentences, for those who cannot see it. */
  readonly description: string
  readonly palette: Palette
  /** Whether to paint the ground, which a picture that stands on a page leaves to the page. */
  readonly ground: boolean
  /** What the marks are drawn from. */
  readonly data?: readonly Data[]
  readonly marks: readonly Mark[]
}

/** What of Vega is not in its types: how wide it takes texts to be. */
interface TextMetrics {
  textMetrics: { width: (item: { fontSize?: number; fontWeight?: unknown }, text: unknown) => number }
}

/** The same drawing gives the same bytes: nothing is drawn at random or numbered across drawings. */
export async function render(drawing: Drawing): Promise<string> {
  const vega = await load(() => import('vega'), 'vega', 'pictures')
  const view = new vega.View(vega.parse(specification(drawing)), { renderer: 'none' })
  // Vega asks a canvas if there is one, or guesses; the layout would depend on what else is installed.
  const { textMetrics } = vega as unknown as TextMetrics
  const usual = textMetrics.width
  try {
    textMetrics.width = (item, text) =>
      measure(String(text), item.fontSize ?? 11, Number(item.fontWeight) === weights.semibold ? 'semibold' : 'regular')
    view.run()
  } finally {
    textMetrics.width = usual
  }
  try {
    vega.resetSVGDefIds()
    return named(await view.toSVG(), drawing)
  } finally {
    view.finalize()
  }
}

/** Puts name and description in, in place of what Vega says of each mark: a picture is read as one. */
function named(svg: string, { title, description }: Drawing): string {
  const end = svg.indexOf('>')
  const open = svg.slice(0, end).replace(' class="marks"', '')
  const name = escape(title)
  return `${open} role="img" aria-label="${name}"><title>${name}</title><desc>${escape(description)}</desc>${svg.slice(end + 1)}\n`
}

function specification({ width, height, palette, ground, data = [], marks }: Drawing): Spec {
  return {
    $schema: 'https://vega.github.io/schema/vega/v6.json',
    width,
    height,
    padding: 0,
    autosize: 'none',
    ...(ground ? { background: palette.ground } : {}),
    config: configuration(palette),
    data: [...data],
    marks: [...marks],
  }
}

/** `aria` is missing in the types: a picture is read as one, not mark by mark. */
function configuration({ ink, soft, line, grid }: Palette): Config & { aria: boolean } {
  return {
    aria: false,
    text: { font: fontFamily, fontSize: 12, fill: ink },
    axis: {
      labelFont: fontFamily,
      labelFontSize: 12,
      labelColor: soft,
      labelLimit: 0,
      labelPadding: 6,
      titleFont: fontFamily,
      titleFontSize: 12,
      titleFontWeight: 'normal',
      titleColor: soft,
      titleLimit: 0,
      titlePadding: 10,
      domainColor: line,
      tickColor: line,
      tickSize: 5,
      gridColor: grid,
    },
    legend: { labelFont: fontFamily, labelFontSize: 12, labelColor: ink, labelLimit: 0 },
  }
}
