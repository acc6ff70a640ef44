// Where the package of the platform is missing, the error says so.

import assert from 'node:assert/strict'

await assert.rejects(import('lipbound'), (error) => {
  assert.equal(error.code, 'ERR_LIPBOUND_DEPENDENCY')
  assert.match(error.message, new RegExp(`lipbound-${process.platform}-${process.arch}`))
  return true
})
console.log('refused')
