// Whether every relative link in the documents leads somewhere: to a file of the repository, and to an anchor in it.
// Links to other places are not followed: checks must not depend on who is reachable.

import { existsSync, readFileSync } from 'node:fs'
import { dirname, relative, resolve } from 'node:path'
import { anchorsOf, linksOf } from './markdown.mjs'

const EXTERNAL = /^([a-z][a-z\d+.-]*:|\/\/)/i

/**
 * What is wrong with the links of files, a line each; and how many were looked at.
 *
 * @param files - paths of Markdown files
 * @param folder - what links must not lead out of
 * @param packed - what the npm package has, as paths from `folder`: what is in it may only link to what is in it, too
 */
export function checkLinks(files, folder, packed = new Set()) {
  const wrong = []
  const anchors = new Map()
  const anchorsIn = (file) => {
    if (!anchors.has(file)) anchors.set(file, anchorsOf(readFileSync(file, 'utf8')))
    return anchors.get(file)
  }
  let count = 0
  for (const file of files) {
    for (const { target, line } of linksOf(readFileSync(file, 'utf8'))) {
      if (EXTERNAL.test(target)) continue
      count += 1
      const say = (what) => wrong.push(`${relative(folder, file)}:${line}: ${target} ${what}`)
      const [path, anchor] = decodeURI(target).split('#')
      const to = path === '' ? file : resolve(dirname(file), path)
      const name = relative(folder, to)
      if (name.startsWith('..') || path.startsWith('/')) say('leads out of the repository')
      else if (!existsSync(to)) say('is not there')
      else if (packed.has(relative(folder, file)) && !isPacked(packed, name))
        say('is not in the npm package, but this file is')
      else if (anchor !== undefined && (!to.endsWith('.md') || !anchorsIn(to).has(anchor))) say('has no such anchor')
    }
  }
  return { wrong, count }
}

/** Whether a file, or anything in a directory, is in the package. */
const isPacked = (packed, name) =>
  packed.has(name) || [...packed].some((file) => name === '' || file.startsWith(`${name.replace(/\/$/, '')}/`))

/** The files that the package would have, by npm. */
export async function packedFiles(run) {
  const { code, output } = await run('npm', ['pack', '--dry-run', '--json', '--ignore-scripts', '--silent'], {
    show: false,
  })
  if (code !== 0) throw new Error(`npm pack ended with ${code}: ${output}`)
  const [{ files }] = JSON.parse(output.slice(output.indexOf('[')))
  return new Set(files.map(({ path }) => path))
}
