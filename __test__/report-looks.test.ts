/** Reports and pictures as people see them: in Chromium and as PNG files, beside the ones in `screenshots/`. */
import { readFileSync } from 'node:fs'

import test from 'ava'
import type { Browser } from 'playwright-core'

import { browserPath, openBrowser, show } from './helpers/browser.js'
import { difference } from './screenshots/compare.js'
import { photograph, pictures, sampleReport, views } from './screenshots/pages.js'

const expected = (name: string): Buffer => readFileSync(new URL(`screenshots/${name}.png`, import.meta.url))

for (const [name, draw] of Object.entries(pictures)) {
  test(`the PNG file of ${name} looks as it did`, async (t) => {
    t.is(difference(expected(name), await draw()), undefined)
  })
}

// The set-up installs the browser where it may; on a developer's machine without it, the tests are skipped.
const required = process.env['CI'] === 'true' && process.getuid?.() === 0
const seen = browserPath !== undefined || required ? test : test.skip

let browser: Browser | undefined
test.before(async () => {
  if (browserPath !== undefined) browser = await openBrowser()
})
test.after.always(() => browser?.close())

function opened(): Browser {
  if (browser === undefined) throw new Error('there is no Chromium; install Debian’s package chromium')
  return browser
}

for (const [name, view] of Object.entries(views)) {
  seen(`a report looks as it did: ${name}`, async (t) => {
    t.is(difference(expected(`report-${name}`), await photograph(opened(), await sampleReport(), view)), undefined)
  })

  seen(`a report fits, asks for nothing and keeps its own policy: ${name}`, async (t) => {
    const { page, complaints, requests } = await show(opened(), await sampleReport(), view)
    t.deepEqual(complaints, [])
    t.deepEqual(requests, [])
    t.is(await page.evaluate('document.documentElement.scrollWidth'), view.width)
    t.is(await page.evaluate('[...document.fonts].map((font) => font.status).join()'), 'loaded,loaded')
    // One of the two widths of each picture is shown, and nothing of it is cut off.
    const cut = `[...document.querySelectorAll('figure')].map((figure) => {
      const shown = [...figure.querySelectorAll('svg')].filter((svg) => svg.getBoundingClientRect().width > 0)
      const box = shown[0].getBoundingClientRect()
      const out = [...shown[0].querySelectorAll('text')].filter((text) => {
        const { left, right, top, bottom } = text.getBoundingClientRect()
        return left < box.left || right > box.right || top < box.top || bottom > box.bottom
      })
      return [shown.length, ...out.map((text) => text.textContent)].join()
    })`
    t.deepEqual(
      await page.evaluate(cut),
      Array.from({ length: await page.locator('figure').count() }, () => '1'),
    )
    await page.close()
  })
}

seen('the comparison sees what breaks', async (t) => {
  const html = await sampleReport()
  const view = { width: 390, theme: 'light', height: 2400 } as const
  const whole = await photograph(opened(), html, view)
  t.is(difference(whole, await photograph(opened(), html, view)), undefined, 'twice the same')
  const breaks: Record<string, (page: string) => string> = {
    'a legend is gone': (page) =>
      page.replace(
        /(<svg class="narrow".*?)<g class="mark-group role-legend" aria-hidden="true">/s,
        '$1<g display="none">',
      ),
    'a rule of the style sheet is gone': (page) => page.replaceAll('.scroll { overflow-x: auto;', '.scroll {'),
    'the palette is another': (page) => page.replaceAll('--certified: #0072b2', '--certified: #d55e00'),
    'the font is missing': (page) =>
      page.replaceAll('@font-face { font-family: Inter;', '@font-face { font-family: Outer;'),
  }
  for (const [what, broken] of Object.entries(breaks)) {
    const changed = broken(html)
    t.true(changed !== html, what)
    // The page allows its own style sheet only.
    const loose = changed.replace(/<meta http-equiv="Content-Security-Policy"[^>]*>/, '')
    t.not(difference(whole, await photograph(opened(), loose, view)), undefined, what)
  }
})
