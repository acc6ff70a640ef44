// Without any of the packages that only some need: what needs them names them, and all else works.

import assert from 'node:assert/strict'
import { createRequire } from 'node:module'

import { loadModel, loadTensor } from 'lipbound'
import { lipbound, startServer } from 'lipbound/fastify'
import { enqueueBatch, startWorker } from 'lipbound/queue'
import { layersPicture, report, toPng } from 'lipbound/report'

const models = 'node_modules/lipbound/examples/models'
const { peerDependencies } = createRequire(import.meta.url)('lipbound/package.json')
for (const name of Object.keys(peerDependencies)) {
  await assert.rejects(import(name), { code: 'ERR_MODULE_NOT_FOUND' }, `${name} is there`)
}

/** Whether the promise is rejected with the error that names the package and how to install it. */
const asksFor = (name, promise) =>
  assert.rejects(promise, (error) => {
    assert.equal(error.code, 'ERR_LIPBOUND_DEPENDENCY')
    assert.match(error.message, new RegExp(`npm install ${name}$`))
    return true
  })

const net = await loadModel(`${models}/lenet.json`)
const input = await loadTensor(`${models}/digits/8.npy`)
const connection = 'redis://127.0.0.1:1'
await asksFor('bullmq', enqueueBatch(net, [{ id: 'a', input }], { connection, task: 'bound', epsilon: 0.01 }))
await asksFor('bullmq', startWorker({ connection, models: `${models}/lenet.json` }))
await asksFor('fastify', startServer({ models: { lenet: net } }))
assert.equal(typeof lipbound, 'function')

const result = await net.bound(input, { epsilon: 0.01, method: 'layerwise', seed: 1 })
const picture = await layersPicture(result)
assert.match(picture, /^<svg/)
const png = await toPng(picture)
assert.deepEqual([...png.subarray(1, 4)], [...Buffer.from('PNG')])
assert.match(await report({ summary: net.summary, bounds: [result] }), /^<!doctype html>/i)
console.log(Object.keys(peerDependencies).length)
