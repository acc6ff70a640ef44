/** What reports are put together from: sections, tables, figures. */
import type { Column, Table } from '../wording.js'
import { Markup, markup } from './markup.js'
import { pageLook } from './options.js'
import type { Look } from './options.js'

/** A section with its heading. */
export function section(title: string, ...content: readonly (Markup | readonly Markup[])[]): Markup {
  return markup`<section>
<h2>${title}</h2>
${content.flat().map((part) => [part, NEWLINE])}</section>
`
}

/** Between parts, so that people can read the source. */
export const NEWLINE = new Markup('\n')

/** The few numbers that matter most. */
export function facts(entries: readonly (readonly [name: string, value: string])[]): Markup {
  const pairs = entries.map(([name, value]) => markup`<div><dt>${name}</dt><dd>${value}</dd></div>`)
  return markup`<dl class="facts">${pairs}</dl>`
}

export const left = (title: string): Column => ({ title, align: 'left' })
export const right = (title: string): Column => ({ title, align: 'right' })

/** Cells longer than this many characters may break their lines. */
const LONG = 40

/** A table in a box that scrolls by itself, so that the page never does. */
export function setTable(caption: string, { columns, rows }: Table): Markup {
  const heads = columns.map(({ align, title }) => markup`<th scope="col" class="${align}">${title}</th>`)
  const cell = ({ align }: Column, text: string): Markup =>
    markup`<td class="${text.length > LONG ? `${align} long` : align}">${text}</td>`
  const lines = rows.map((row) => [
    markup`<tr>${columns.map((column, index) => cell(column, row[index] ?? ''))}</tr>`,
    NEWLINE,
  ])
  return markup`<div class="scroll" tabindex="0" role="region" aria-label="${caption}"><table>
<caption><span>${caption}</span></caption>
<thead><tr>${heads}</tr></thead>
<tbody>
${lines}</tbody>
</table></div>`
}

/** Widths of the pictures for phones, margins included, and for desktops. */
const NARROW = 390
const WIDE = 720

/** A picture for both; the style sheet shows one of them, in the colours of the theme. */
export async function figure(title: string, draw: (look: Look) => Promise<string>): Promise<Markup> {
  const classed = (svg: string, name: string): Markup => new Markup(svg.replace('<svg ', `<svg class="${name}" `))
  const wide = classed(await draw(pageLook(title, WIDE)), 'wide')
  const narrow = classed(await draw(pageLook(title, NARROW)), 'narrow')
  return markup`<figure>
${wide}${narrow}</figure>`
}
