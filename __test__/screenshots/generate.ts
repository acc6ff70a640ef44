/** Writes the committed pictures anew: `npm run generate:screenshots`. Look at them before you commit them. */
import { writeFileSync } from 'node:fs'

import { openBrowser } from '../helpers/browser.js'
import { compact } from './compare.js'
import { photograph, pictures, sampleReport, views } from './pages.js'

const file = (name: string): URL => new URL(`${name}.png`, import.meta.url)

const html = await sampleReport()
const browser = await openBrowser()
for (const [name, view] of Object.entries(views)) {
  writeFileSync(file(`report-${name}`), compact(await photograph(browser, html, view)))
}
await browser.close()
for (const [name, draw] of Object.entries(pictures)) writeFileSync(file(name), compact(await draw()))
