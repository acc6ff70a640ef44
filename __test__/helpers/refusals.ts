/** What is refused, and how that is said. */
import { inspect } from 'node:util'

import type { ExecutionContext } from 'ava'

import { InputError, LipboundError } from '../../dist/index.js'
import type { ErrorCode } from '../../dist/index.js'

/** Checks code and message, wherever the error comes from: a throw or a rejection. */
export async function fails(
  t: ExecutionContext,
  code: ErrorCode,
  culprits: readonly RegExp[],
  act: () => unknown,
): Promise<void> {
  const error: unknown = await Promise.resolve()
    .then(act)
    .then(
      () => undefined,
      (caught: unknown) => caught,
    )
  if (!(error instanceof LipboundError)) {
    t.fail(`expected ${code}, but got ${inspect(error)}`)
    return
  }
  t.is(error.code, code, error.message)
  for (const culprit of culprits) t.regex(error.message, culprit)
  t.true(error instanceof InputError)
}
