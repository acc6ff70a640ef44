/** The page around a report. */
import { createHash } from 'node:crypto'
import { createRequire } from 'node:module'

import { Markup, markup } from './markup.js'
import { NEWLINE } from './parts.js'
import { styleSheet } from './style.js'

/** What a page holds. */
export interface Page {
  readonly title: string
  /** One line below the title. */
  readonly lead: string
  /** Paragraphs below that. */
  readonly remarks: readonly string[]
  readonly sections: readonly Markup[]
}

/** This package's version. */
export function version(): string {
  return (createRequire(import.meta.url)('../../package.json') as { version: string }).version
}

/** A whole HTML file. Its policy lets a browser load and run nothing but the one style sheet and the font in it. */
export function page({ title, lead, remarks, sections }: Page): string {
  const style = styleSheet()
  const digest = createHash('sha256').update(style).digest('base64')
  const policy = `default-src 'none'; style-src 'sha256-${digest}'; font-src data:`
  return markup`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="${new Markup(policy)}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="generator" content="lipbound ${version()}">
<title>${title}</title>
<style>${new Markup(style)}</style>
</head>
<body>
<header>
<h1>${title}</h1>
<p class="soft">${lead}</p>
${remarks.map((remark) => [markup`<p>${remark}</p>`, NEWLINE])}</header>
<main>
${sections}</main>
<footer>
<p>Made by lipbound ${version()}. Ends of brackets are rounded outward: a printed bound is still a bound.</p>
</footer>
</body>
</html>
`.text
}
