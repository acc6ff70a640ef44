// What the checks of the documentation need to know of a Markdown file: its snippets, its links, its anchors.

import GithubSlugger from 'github-slugger'
import MarkdownIt from 'markdown-it'

const parser = new MarkdownIt({ html: true })

/** What is said of a snippet, in a comment before it: `<!-- snippet: skip: needs PyTorch -->`. */
const REMARK = /^<!--\s*snippet:\s*([^]*?)\s*-->$/
/** Ports that the snippets of a file use: others are taken where it is checked. */
const PORTS = /^<!--\s*snippets:\s*ports\s+([\d\s]+?)\s*-->$/

/**
 * The snippets of a text, in order.
 *
 * A `text` block directly behind a snippet is what it prints.
 */
export function snippetsOf(text) {
  const snippets = []
  const ports = []
  let remark
  // The snippet whose printed answer the next block would be.
  let before
  const stray = (lost) => {
    if (lost !== undefined) snippets.push({ language: 'none', line: lost.line, code: '', stray: true })
  }
  for (const { type, content, info, map } of parser.parse(text, {})) {
    const line = map ? map[0] + 1 : undefined
    if (type === 'paragraph_open' || type === 'heading_open') {
      stray(remark)
      remark = undefined
    } else if (type === 'html_block') {
      stray(remark)
      remark = undefined
      const [, listed] = PORTS.exec(content.trim()) ?? []
      if (listed) ports.push(...listed.split(/\s+/).map(Number))
      const [, said] = REMARK.exec(content.trim()) ?? []
      if (said !== undefined) remark = { said, line }
      else if (!listed && /^<!--\s*snippets?\b/.test(content)) remark = { said: content.trim(), line }
    } else if (type === 'fence') {
      const [language = ''] = info.trim().split(/\s+/)
      if (language === 'text' && before !== undefined && remark === undefined) {
        before.printed = content
      } else if (language !== '' && language !== 'text') {
        before = { language, line, code: content, remark: remark?.said }
        snippets.push(before)
        remark = undefined
        continue
      } else if (remark !== undefined) {
        snippets.push({ language: language || 'none', line, code: content, remark: remark.said })
      }
      remark = undefined
    }
    before = undefined
  }
  stray(remark)
  return { snippets, ports }
}

/** The links and pictures of a text, with the lines of the paragraphs they are in. */
export function linksOf(text) {
  const links = []
  let line = 1
  const visit = (token) => {
    if (token.map) line = token.map[0] + 1
    const target = token.attrGet('href') ?? token.attrGet('src')
    if (target !== null) links.push({ target, line })
    if (token.type === 'html_block' || token.type === 'html_inline') {
      for (const [, written] of token.content.matchAll(/\b(?:href|src|srcset)="([^"]*)"/g)) {
        links.push({ target: written, line })
      }
    }
    token.children?.forEach(visit)
  }
  parser.parse(text, {}).forEach(visit)
  return links
}

/** The anchors of a text, as GitHub and npm make them of headings, and those that are named in HTML. */
export function anchorsOf(text) {
  const slugger = new GithubSlugger()
  const tokens = parser.parse(text, {})
  const anchors = new Set()
  tokens.forEach(({ type, content }, index) => {
    if (type === 'heading_open') {
      const words = tokens[index + 1].children
        .filter((child) => child.type === 'text' || child.type === 'code_inline')
        .map((child) => child.content)
      anchors.add(slugger.slug(words.join('')))
    } else if (type === 'html_block') {
      for (const [, name] of content.matchAll(/\b(?:id|name)="([^"]*)"/g)) anchors.add(name)
    }
  })
  return anchors
}
