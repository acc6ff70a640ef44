// npm run check:native: the built addon needs nothing but the C library and stays mapped once it is loaded.

import { readdirSync } from 'node:fs'
import { objectionsToElf, readElf } from './elf.mjs'
import { checks, finish, root } from './run.mjs'

const { counts, check } = checks()
const addons = readdirSync(root).filter((name) => /^lipbound\..*\.node$/.test(name))
if (addons.length === 0) check('no addon is built; npm run setup builds it', false)
for (const addon of addons) {
  await check(`${addon} needs nothing but the C library, and is not unloaded`, async () =>
    objectionsToElf(await readElf(addon)),
  )
}
finish(counts)
