// All entry points from a program that is no module.

const assert = require('node:assert/strict')

const { linear, norm, tensor } = require('lipbound')
const { report } = require('lipbound/report')
const { enqueueBatch } = require('lipbound/queue')
const plugin = require('lipbound/fastify')
const { version } = require('lipbound/package.json')

for (const entry of [norm, report, enqueueBatch, plugin.lipbound, plugin.default])
  assert.equal(typeof entry, 'function')
assert.throws(() => require('lipbound/dist/index.js'), { code: 'ERR_PACKAGE_PATH_NOT_EXPORTED' })
assert.throws(() => tensor([2], [1, 2, 3]), { code: 'ERR_LIPBOUND_SHAPE' })

norm(linear({ weight: tensor([1, 2], [3, 4]) }), { input: [2] }).then(({ lower, upper }) => {
  assert.ok(lower <= 5 && 5 <= upper && upper < 5.0001, `${lower} to ${upper}`)
  // The two ways of loading give the same module: one addon, one class of errors.
  return import('lipbound').then((module) => {
    assert.equal(module.norm, norm)
    console.log(version)
  })
})
