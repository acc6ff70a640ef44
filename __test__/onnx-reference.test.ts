/**
 * ONNX models of others, each against onnxruntime on random inputs. The files are not part of this repository: the test
 * looks for them beside it, and says so when it skips.
 */
import { loadModel } from '../dist/index.js'
import { createRandom } from './helpers/random.js'
import { sizeOf } from './onnx/builder.js'
import { distance, withoutBatch } from './onnx/cases.js'
import { openReference } from './onnx/runtime.js'
import { sharedData } from './helpers/shared-data.js'

const { folder, check } = sharedData()

/** onnxruntime computes in single precision. */
const TOLERANCE = 1e-4
const INPUTS = 100

for (const [index, file] of [
  'avant-mnist/lenet.onnx',
  'cntk-mnist.onnx',
  'vnncomp/cifar_base_kw.onnx',
  'vnncomp/mnist-net_256x2.onnx',
  'vnncomp/resnet_2b.onnx',
  'vnncomp/test_small.onnx',
].entries()) {
  check(`${file} computes what it does in onnxruntime`, async (t) => {
    const path = `${folder}${file}`
    const reference = await openReference(path)
    using network = await loadModel(path)
    const random = createRandom(index)
    let [farthest, largest] = [0, 0]
    for (let count = 0; count < INPUTS; count++) {
      // Single precision, so that both get the same numbers.
      const input = Float32Array.from({ length: sizeOf(reference.input) }, () => random.gaussian())
      const expected = await reference.evaluate(input)
      const found = await network.evaluate({ shape: withoutBatch(reference.input), data: input })
      t.deepEqual(found.shape, withoutBatch(expected.shape))
      farthest = Math.max(farthest, distance(found.data, expected.data))
      for (const value of expected.data) largest = Math.max(largest, Math.abs(value))
    }
    await reference.release()
    t.true(farthest <= TOLERANCE, `${farthest.toExponential(1)} apart`)
    // An output that is zero everywhere would tell nothing.
    t.true(largest > 0)
  })
}
