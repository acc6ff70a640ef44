// What the library answers, as one line of JSON; compared with what the checkout answers. Argument: where lipbound is.

const [, , lipbound = 'lipbound', models = 'node_modules/lipbound/examples/models'] = process.argv
const { loadImage, loadModel, loadTensor } = await import(lipbound)

const net = await loadModel(`${models}/lenet.json`)
const eight = await loadTensor(`${models}/digits/8.npy`)
const common = { seed: 1, epsilon: 0.01 }
const layerwise = await net.bound(eight, { ...common, method: 'layerwise' })
const certificate = await net.bound(eight, { ...common, method: 'certificate', restarts: 0 })
const outputs = []
for (let digit = 0; digit <= 9; digit++) {
  for (const input of [loadTensor(`${models}/digits/${digit}.npy`), loadImage(`${models}/digits/${digit}.png`)]) {
    const { data } = await net.evaluate(await input)
    outputs.push(data.indexOf(Math.max(...data)))
  }
}
console.log(
  JSON.stringify({
    digest: net.digest,
    outputs,
    layerwise: [layerwise.lower, layerwise.upper],
    certificate: [certificate.lower, certificate.upper],
  }),
)
