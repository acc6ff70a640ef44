/** How reports look: one style sheet, with the font inside and the colours of both themes. */
import { readFileSync } from 'node:fs'

import { fontFile, fontFamily, weights } from './font.js'
import type { Weight } from './font.js'
import { colours, palettes } from './theme.js'
import type { Theme } from './theme.js'

/** Content this wide or wider gets the pictures for desktops, in CSS pixels. */
const WIDE = 640

/** The whole style sheet. */
export function styleSheet(): string {
  return [fontFace('regular'), fontFace('semibold'), themes, layout].join('\n')
}

function fontFace(weight: Weight): string {
  const bytes = readFileSync(fontFile(weight, 'woff2')).toString('base64')
  return `@font-face { font-family: Inter; font-weight: ${weights[weight]}; src: url(data:font/woff2;base64,${bytes}) format('woff2'); }`
}

const variables = (theme: Theme): string => colours.map((name) => `--${name}: ${palettes[theme][name]};`).join(' ')

const themes = `
:root { color-scheme: light dark; ${variables('light')} --raised: #f6f8fa; }
@media (prefers-color-scheme: dark) { :root { ${variables('dark')} --raised: #1b1f26; } }
@media print { :root { ${variables('light')} --raised: #ffffff; } }`

const layout = `
* { box-sizing: border-box; }
html { -webkit-text-size-adjust: 100%; }
body { margin: 0; background: var(--ground); color: var(--ink); font: 16px/1.5 ${fontFamily}; }
main, header, footer { max-width: 1080px; margin: 0 auto; padding: 0 16px; }
header { padding-top: 40px; }
footer { padding-bottom: 40px; color: var(--soft); font-size: 14px; }
h1 { font-size: 30px; line-height: 1.2; margin: 0 0 8px; overflow-wrap: anywhere; }
h2 { font-size: 22px; line-height: 1.3; margin: 48px 0 12px; padding-top: 16px; border-top: 1px solid var(--grid); }
h3 { font-size: 17px; line-height: 1.4; margin: 32px 0 8px; overflow-wrap: anywhere; }
h1, h2, h3, th, dt { font-weight: 600; }
p { margin: 0 0 12px; max-width: 72ch; overflow-wrap: anywhere; }
.soft { color: var(--soft); }
dl.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(150px, 1fr)); gap: 12px; margin: 16px 0; }
dl.facts > div { background: var(--raised); border: 1px solid var(--grid); border-radius: 8px; padding: 10px 14px; }
dl.facts dt { font-size: 13px; font-weight: 400; color: var(--soft); }
dl.facts dd { margin: 0; font-size: 18px; font-weight: 600; overflow-wrap: anywhere; }
.scroll { overflow-x: auto; margin: 0 0 20px; border: 1px solid var(--grid); border-radius: 8px; }
.scroll:focus-visible { outline: 2px solid var(--certified); }
table { border-collapse: collapse; width: 100%; font-size: 14px; }
caption { text-align: left; padding: 10px 12px; color: var(--soft); }
caption span { display: inline-block; position: sticky; left: 12px; max-width: calc(100vw - 58px); overflow-wrap: anywhere; }
th, td { padding: 6px 10px; border-top: 1px solid var(--grid); text-align: left; white-space: nowrap; }
thead th { background: var(--raised); }
th.right, td.right { text-align: right; }
td { font-variant-numeric: tabular-nums; }
td.long { white-space: normal; min-width: 140px; max-width: 320px; overflow-wrap: anywhere; }
figure { margin: 0 0 20px; }
figure svg { display: block; height: auto; margin: 0 -16px; }
figure svg.wide { display: none; }
figure svg.narrow { width: calc(100% + 32px); max-width: 480px; }
pre { background: var(--raised); border: 1px solid var(--grid); border-radius: 8px; padding: 12px 16px; overflow-x: auto; font-size: 14px; }
code { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, 'DejaVu Sans Mono', monospace; }
ul { padding-left: 20px; margin: 0 0 12px; }
li { overflow-wrap: anywhere; }
@media (min-width: ${WIDE}px) {
  figure svg.narrow { display: none; }
  figure svg.wide { display: block; width: calc(100% + 32px); max-width: 880px; }
}
@media print { figure, tr { break-inside: avoid; } h2, h3 { break-after: avoid; } .scroll { overflow: visible; } }`
