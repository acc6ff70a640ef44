// What npm runs before it publishes (`prepublishOnly`): links and pictures of README.md are relative, and the page on npm
// resolves them by the field `repository`, which only who publishes can know. Without it every one of them would be dead.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { isMain, root } from '../run.mjs'

/** What keeps a package from being published; undefined if nothing does. */
export function objection({ repository }) {
  const url = typeof repository === 'string' ? repository : repository?.url
  if (typeof url === 'string' && url !== '') return undefined
  return (
    "package.json has no 'repository', by which npm resolves the links and pictures of README.md; name the repository " +
    'that you publish from: npm pkg set repository.type=git repository.url=git+https://HOST/OWNER/NAME.git'
  )
}

if (isMain(import.meta.url)) {
  const against = objection(JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')))
  if (against !== undefined) {
    console.error(against)
    process.exitCode = 1
  }
}
