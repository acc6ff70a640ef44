/** Chromium without a window, and what it shows. */
import { existsSync } from 'node:fs'

import { chromium } from 'playwright-core'
import type { Browser, Page } from 'playwright-core'

/** Where Chromium may be; never one that a package downloads. */
const places = [process.env['CHROMIUM'], '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome']

/** The browser, or undefined where there is none. */
export const browserPath = places.find((place) => place !== undefined && existsSync(place))

/** Text comes out alike whatever the machine prefers: no hinting, no subpixels. */
const args = ['--no-sandbox', '--font-render-hinting=none', '--disable-lcd-text', '--force-color-profile=srgb']

export function openBrowser(): Promise<Browser> {
  return chromium.launch({ ...(browserPath === undefined ? {} : { executablePath: browserPath }), args })
}

/** How a page is looked at. */
export interface View {
  /** In CSS pixels. */
  readonly width: number
  readonly theme: 'light' | 'dark'
}

/** A page as it came out, and what the browser complained of or asked the network for meanwhile. */
export interface Shown {
  readonly page: Page
  readonly complaints: readonly string[]
  readonly requests: readonly string[]
}

/** Shows a text of HTML; nothing but the text itself can be had. */
export async function show(browser: Browser, html: string, { width, theme }: View): Promise<Shown> {
  const page = await browser.newPage({
    viewport: { width, height: 800 },
    colorScheme: theme,
    javaScriptEnabled: true,
    offline: true,
  })
  const complaints: string[] = []
  const requests: string[] = []
  page.on('console', (message) => complaints.push(message.text()))
  page.on('request', (request) => {
    if (!request.url().startsWith('data:')) requests.push(request.url())
  })
  await page.setContent(html, { waitUntil: 'load' })
  await page.evaluate('document.fonts.ready.then(() => true)')
  return { page, complaints, requests }
}
