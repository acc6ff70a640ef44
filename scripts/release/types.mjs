// Whether the types of a package are found and hold: publint and Are the types wrong, and programs that use them.

import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { checkPackage, createPackageFromTarballData } from '@arethetypeswrong/core'
import { publint } from 'publint'
import { formatMessage } from 'publint/utils'
import { bin, root, run } from '../run.mjs'

/** What publint finds in a tarball; suggestions too. */
export async function lintPackage({ path, manifest }) {
  const bytes = readFileSync(path)
  const tarball = bytes.buffer.slice(bytes.byteOffset, bytes.byteOffset + bytes.byteLength)
  const { messages } = await publint({ pack: { tarball }, strict: true })
  return messages.map((message) => formatMessage(message, manifest) ?? message.code)
}

/**
 * What is no fault here: `node10` is how TypeScript resolved for Node 10, which knows no `exports`; and the package needs a Node
 * that can `require` modules, so that they are modules for those who `require` them too.
 */
const ACCEPTED = { resolution: 'node10', kind: 'CJSResolvesToESM' }

/** What Are the types wrong finds in a tarball. */
export async function resolutions({ path }) {
  const { problems, types } = await checkPackage(createPackageFromTarballData(new Uint8Array(readFileSync(path))))
  if (types === false) return ['it has no types']
  return problems
    .filter(({ kind, resolutionKind }) => resolutionKind !== ACCEPTED.resolution && kind !== ACCEPTED.kind)
    .map(({ kind, entrypoint, resolutionKind, fileName }) =>
      [kind, entrypoint, resolutionKind, fileName].filter(Boolean).join(' '),
    )
}

const OPTIONS = '--ignoreConfig --noEmit --strict --target es2023 --module nodenext --types node'

/**
 * What the compiler says of programs in a folder where the package is installed. The types of Node are the checkout's; `thorough`
 * looks into the types of packages too.
 */
export async function compile(folder, files, { thorough = false } = {}) {
  const types = ['--typeRoots', join(root, 'node_modules', '@types'), '--skipLibCheck', String(!thorough)]
  const args = [...OPTIONS.split(' '), ...types, '--pretty', 'false', ...files]
  const { code, output } = await run(bin('tsc'), args, { show: false, cwd: folder })
  const errors = output.split('\n').filter((line) => /error TS\d+: /.test(line))
  return code !== 0 && errors.length === 0 ? [output.trim()] : errors
}
