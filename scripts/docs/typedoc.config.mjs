// npm run docs: the reference of the four entry points, from the comments in js/, into docs/api. What is public and has no
// comment, a type that is used but not exported, a link that leads nowhere: each is an error.

import { join } from 'node:path'

import { errorTable } from '../../dist/index.js'
import { serviceErrors } from '../../dist/fastify/index.js'
import { root } from '../run.mjs'

/** Entries of a table of errors document themselves: each has a `meaning`. */
const entries = (name, table) =>
  Object.entries(table).flatMap(([code, entry]) => {
    const place = `${name}.__type.${code}`
    return [place, ...Object.keys(entry).map((field) => `${place}.__type.${field}`)]
  })

/** Comments of the other entry points speak of what the main one exports. */
const mainEntry = ({ converter }) => {
  converter.addUnknownSymbolResolver(({ moduleSource, symbolReference }, { project }) => {
    if (moduleSource !== undefined) return undefined
    const main = project.getChildByName(['lipbound'])
    const target = symbolReference?.path?.reduce((parent, { path }) => parent?.getChildByName([path]), main)
    return target === undefined || target === main ? undefined : { target }
  })
}

export default {
  plugin: [mainEntry],
  name: 'lipbound',
  entryPoints: ['js/index.ts', 'js/report/index.ts', 'js/queue/index.ts', 'js/fastify/index.ts'].map((path) =>
    join(root, path),
  ),
  tsconfig: join(root, 'tsconfig.build.json'),
  readme: 'none',
  out: join(root, 'docs', 'api'),
  excludePrivate: true,
  excludeInternal: true,
  disableGit: true,
  sourceLinkTemplate: '../../{path}#L{line}',
  hideGenerator: true,
  treatWarningsAsErrors: true,
  treatValidationWarningsAsErrors: true,
  validation: {
    notExported: true,
    invalidLink: true,
    invalidPath: true,
    notDocumented: true,
    rewrittenLink: true,
    unusedMergeModuleWith: true,
  },
  intentionallyNotDocumented: [
    ...entries('lipbound.errorTable', errorTable),
    ...entries('lipbound/fastify.serviceErrors', serviceErrors),
  ],
}
