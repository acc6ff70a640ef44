/** What is compared with the committed pictures: reports in Chromium, and PNG files without a browser. */
import type { Browser } from 'playwright-core'

import { layersPicture, marginsPicture, radiiPicture, report, sweepPicture, toPng } from '../../dist/report/index.js'
import { show } from '../helpers/browser.js'
import type { View } from '../helpers/browser.js'
import { boundResult, radiusResult, radiusResults, summary, sweepResult } from '../helpers/results.js'

/** A report with everything in it, but little of each. */
export function sampleReport(): Promise<string> {
  const [radius, ...others] = [radiusResult(), ...radiusResults(7)].map((one, index) => ({
    ...one,
    input: `digits/${index}.npy`,
  }))
  return report({
    summary,
    file: 'models/lenet.json',
    digest: '9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08',
    bounds: [{ ...boundResult(), input: 'digits/8.npy' }],
    sweeps: [{ ...sweepResult(), input: 'digits/8.npy' }],
    radii: [
      ...(radius === undefined ? [] : [radius]),
      // Their margins would look alike.
      ...others.map((one) => ({ ...one, margins: [] })),
    ],
    remarks: ['A sample with numbers made by hand.'],
  })
}

/** Whole pages are large: dark ones show the colours in their upper part. */
export const views: Readonly<Record<string, View & { height?: number }>> = {
  'desktop-light': { width: 1280, theme: 'light' },
  'desktop-dark': { width: 1280, theme: 'dark', height: 1600 },
  'phone-light': { width: 390, theme: 'light' },
  'phone-dark': { width: 390, theme: 'dark', height: 2000 },
}

/** A page as PNG. Code is covered: its font is the machine's. */
export async function photograph(browser: Browser, html: string, view: View & { height?: number }): Promise<Buffer> {
  const { page } = await show(browser, html, view)
  const options = { fullPage: true, mask: [page.locator('pre')], maskColor: '#808080' }
  const { width, height } = view
  const picture = await page.screenshot({
    ...options,
    ...(height === undefined ? {} : { clip: { x: 0, y: 0, width, height } }),
  })
  await page.close()
  return picture
}

/** PNG files of pictures, by name. */
export const pictures: Readonly<Record<string, () => Promise<Uint8Array>>> = {
  sweep: async () => toPng(await sweepPicture(sweepResult()), { scale: 1 }),
  'layers-dark': async () => toPng(await layersPicture(boundResult(), { theme: 'dark' }), { scale: 1 }),
  radii: async () => toPng(await radiiPicture(radiusResults()), { scale: 1 }),
  'margins-narrow': async () =>
    toPng(await marginsPicture(radiusResult(), { width: 360, ...classNames }), { scale: 1 }),
}

const classNames = summary.classes === undefined ? {} : { classes: summary.classes }
