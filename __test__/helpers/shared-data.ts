/** Models of others, which are not part of this repository: tests look for them beside it, and say so when they skip. */
import { existsSync } from 'node:fs'
import { fileURLToPath } from 'node:url'

import test from 'ava'

/** The folder of the data, or one in it, whether or not it is there; it ends in a slash. */
export function sharedData(path = ''): { folder: string; check: typeof test | typeof test.skip } {
  const folder = fileURLToPath(new URL(`../../../shared/data/${path}`, import.meta.url))
  const present = existsSync(folder)
  if (!present)
    test.skip(`the reference data are not at ${folder}`, (t) => {
      t.pass()
    })
  return { folder, check: present ? test : test.skip }
}
