/** Text that goes into HTML and SVG. */

const entities: Readonly<Record<string, string>> = {
  '&': '&amp;',
  '<': '&lt;',
  '>': '&gt;',
  '"': '&quot;',
  "'": '&#39;',
}

/** Characters that neither XML nor HTML allows, controls and halves of surrogate pairs, and line breaks. */
const forbidden = /[\p{Cc}\p{Surrogate}\ufffe\uffff]/gu

/** A text without what may not stand in a document: it becomes U+FFFD, and line breaks become spaces. */
export function printable(text: string): string {
  return text.replace(/[\t\r\n]+/g, ' ').replace(forbidden, '\ufffd')
}

/** A text as it stands between tags or in a quoted attribute. */
export function escape(text: string): string {
  return printable(text).replace(/[&<>"']/g, (character) => entities[character] ?? character)
}

/** What {@link markup} makes: text that is safe to put in. */
export class Markup {
  constructor(readonly text: string) {}

  toString(): string {
    return this.text
  }
}

/** What may be put into {@link markup}: text, which is escaped; markup, which is not; and lists of them, one after the other. */
export type Content = string | number | Markup | readonly Content[] | undefined

/** A template of HTML: everything put into it is escaped, but for what is markup already. */
export function markup(pieces: TemplateStringsArray, ...contents: Content[]): Markup {
  return new Markup(pieces.map((piece, index) => (index === 0 ? piece : set(contents[index - 1]) + piece)).join(''))
}

function set(content: Content): string {
  if (content === undefined) return ''
  if (content instanceof Markup) return content.text
  if (typeof content === 'object') return content.map(set).join('')
  return escape(String(content))
}
