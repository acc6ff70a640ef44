/**
 * The LeNets of examples/models once more, independently of the library: outputs and gradients in double precision, and
 * an ONNX model of each. Read straight from the safetensors.
 */
import { readFileSync } from 'node:fs'

import { int, ints, writeModel } from '../onnx/writer.js'
import type { NodeDescription, TensorDescription } from '../onnx/writer.js'
import { repositoryFile } from './process.js'

type Numbers = Float64Array
type Weights = ReadonlyMap<string, { shape: readonly number[]; data: Float32Array }>

const [MEAN, DEVIATION] = [0.1307, 0.3081]

/** A stack of square images. */
interface Stack {
  channels: number
  side: number
  data: Numbers
}

export class Lenet {
  readonly #weights: Weights
  readonly #double = new Map<string, Numbers>()

  constructor(name: 'lenet' | 'lenet-regularised') {
    this.#weights = readSafetensors(repositoryFile(`examples/models/${name}.safetensors`))
    for (const [key, { data }] of this.#weights) this.#double.set(key, Float64Array.from(data))
  }

  /** The ten outputs for 784 pixels. */
  evaluate(pixels: Numbers): Numbers {
    return this.#run(pixels).outputs
  }

  /** The outputs, and the gradient of the difference between `rival(outputs)` and `label` with respect to the pixels. */
  gradient(
    pixels: Numbers,
    label: number,
    rival: (outputs: Numbers) => number,
  ): { outputs: Numbers; gradient: Numbers } {
    const { outputs, backward } = this.#run(pixels)
    const coefficients = new Float64Array(10)
    coefficients[label] = -1
    coefficients[rival(outputs)] = 1
    return { outputs, gradient: backward(coefficients) }
  }

  /** The network as an ONNX model. */
  onnx(): Uint8Array {
    const initializers: TensorDescription[] = [...this.#weights].map(([name, { shape, data }]) => ({
      name,
      type: 'float',
      dims: shape,
      values: [...data],
      storage: 'raw',
    }))
    const constant = (name: string, value: number): TensorDescription => ({
      name,
      type: 'float',
      dims: [],
      values: [value],
    })
    const conv = (k: number, input: string, output: string, pad: number): NodeDescription => ({
      op: 'Conv',
      inputs: [input, `conv${k}.weight`, `conv${k}.bias`],
      outputs: [output],
      attributes: { kernel_shape: ints([5, 5]), pads: ints([pad, pad, pad, pad]) },
    })
    const relu = (input: string, output: string): NodeDescription => ({
      op: 'Relu',
      inputs: [input],
      outputs: [output],
    })
    const pool = (input: string, output: string): NodeDescription => ({
      op: 'MaxPool',
      inputs: [input],
      outputs: [output],
      attributes: { kernel_shape: ints([2, 2]), strides: ints([2, 2]) },
    })
    const linear = (k: number, input: string, output: string): NodeDescription => ({
      op: 'Gemm',
      inputs: [input, `fc${k}.weight`, `fc${k}.bias`],
      outputs: [output],
      attributes: { transB: int(1) },
    })
    const nodes: NodeDescription[] = [
      { op: 'Sub', inputs: ['x', 'mean'], outputs: ['centred'] },
      { op: 'Div', inputs: ['centred', 'deviation'], outputs: ['normal'] },
      conv(1, 'normal', 'c1', 2),
      relu('c1', 'r1'),
      pool('r1', 'p1'),
      conv(2, 'p1', 'c2', 0),
      relu('c2', 'r2'),
      pool('r2', 'p2'),
      { op: 'Flatten', inputs: ['p2'], outputs: ['flat'] },
      linear(1, 'flat', 'f1'),
      relu('f1', 'r3'),
      linear(2, 'r3', 'f2'),
      relu('f2', 'r4'),
      linear(3, 'r4', 'y'),
    ]
    const all = [...initializers, constant('mean', MEAN), constant('deviation', DEVIATION)]
    const inputs = [{ name: 'x', dims: [1, 1, 28, 28] }]
    return writeModel({ opset: 13, graph: { nodes, inputs, outputs: [{ name: 'y' }], initializers: all } })
  }

  #run(pixels: Numbers): { outputs: Numbers; backward: (coefficients: Numbers) => Numbers } {
    const input: Stack = { channels: 1, side: 28, data: pixels.map((pixel) => (pixel - MEAN) / DEVIATION) }
    const first = this.#stage(1, input, 2)
    const second = this.#stage(2, first.output, 0)
    const layers = [1, 2, 3].reduce<Numbers[]>(
      (values, k) => [...values, this.#linear(k, values[k - 1] ?? input.data, k < 3)],
      [second.output.data],
    )
    const backward = (coefficients: Numbers): Numbers => {
      const through = [3, 2, 1].reduce((g, k) => this.#linearBack(k, g, layers[k] ?? g, k < 3), coefficients)
      return first.backward(second.backward(through)).map((g) => g / DEVIATION)
    }
    return { outputs: layers[3] ?? input.data, backward }
  }

  /** Convolution with kernels of 5 x 5, rectifier, and pools of 2 x 2. */
  #stage(k: number, input: Stack, padding: number): { output: Stack; backward: (g: Numbers) => Numbers } {
    const [weight, bias] = [this.#of(`conv${k}.weight`), this.#of(`conv${k}.bias`)]
    const padded = input.side + 2 * padding
    const side = padded - 4
    const source = new Float64Array(input.channels * padded * padded)
    for (let c = 0; c < input.channels; c++) {
      for (let row = 0; row < input.side; row++) {
        const from = (c * input.side + row) * input.side
        source.set(input.data.subarray(from, from + input.side), (c * padded + row + padding) * padded + padding)
      }
    }
    const [maps, area, taps] = [bias.length, side * side, input.channels * 25]
    /** For every weight of a map, the pixels that it is multiplied with. */
    const under = new Float64Array(taps * area)
    for (let tap = 0, to = 0; tap < taps; tap++) {
      const [c, i, j] = [Math.floor(tap / 25), Math.floor(tap / 5) % 5, tap % 5]
      for (let row = 0; row < side; row++) {
        let from = (c * padded + row + i) * padded + j
        for (const end = to + side; to < end; to++, from++) under[to] = source[from] ?? NaN
      }
    }
    const before = new Float64Array(maps * area)
    for (let m = 0; m < maps; m++) {
      before.fill(bias[m] ?? NaN, m * area, (m + 1) * area)
      for (let tap = 0; tap < taps; tap++)
        addMultiple(before, m * area, weight[m * taps + tap] ?? NaN, under, tap * area, area)
    }
    const half = side / 2
    const output: Stack = { channels: maps, side: half, data: new Float64Array(maps * half * half) }
    const winners = new Int32Array(output.data.length)
    for (let place = 0; place < winners.length; place++) {
      const [m, rest] = [Math.floor(place / (half * half)), place % (half * half)]
      const corner = (m * side + 2 * Math.floor(rest / half)) * side + 2 * (rest % half)
      let best = corner
      for (const other of [corner + 1, corner + side, corner + side + 1])
        if ((before[other] ?? NaN) > (before[best] ?? NaN)) best = other
      winners[place] = best
      output.data[place] = Math.max(0, before[best] ?? NaN)
    }
    const backward = (g: Numbers): Numbers => {
      const back = new Float64Array(source.length)
      // All that a pool passes on comes from its winner, and nothing from one that is not positive.
      for (let place = 0; place < winners.length; place++) {
        const winner = winners[place] ?? NaN
        if (!((before[winner] ?? NaN) > 0)) continue
        const [m, row, column] = [Math.floor(winner / area), Math.floor((winner % area) / side), winner % side]
        for (let line = 0; line < input.channels * 5; line++) {
          const to = (Math.floor(line / 5) * padded + row + (line % 5)) * padded + column
          addMultiple(back, to, g[place] ?? NaN, weight, m * taps + line * 5, 5)
        }
      }
      const inner = new Float64Array(input.data.length)
      for (let c = 0; c < input.channels; c++) {
        for (let row = 0; row < input.side; row++) {
          const from = (c * padded + row + padding) * padded + padding
          inner.set(back.subarray(from, from + input.side), (c * input.side + row) * input.side)
        }
      }
      return inner
    }
    return { output, backward }
  }

  #linear(k: number, x: Numbers, rectified: boolean): Numbers {
    const [weight, bias] = [this.#of(`fc${k}.weight`), this.#of(`fc${k}.bias`)]
    return bias.map((b, row) => {
      let sum = b
      for (let column = 0, at = row * x.length; column < x.length; column++, at++)
        sum += (weight[at] ?? NaN) * (x[column] ?? NaN)
      return rectified ? Math.max(0, sum) : sum
    })
  }

  #linearBack(k: number, g: Numbers, output: Numbers, rectified: boolean): Numbers {
    const weight = this.#of(`fc${k}.weight`)
    const columns = weight.length / output.length
    const back = new Float64Array(columns)
    output.forEach((value, row) => {
      const factor = g[row] ?? NaN
      if (factor === 0 || (rectified && value <= 0)) return
      for (let column = 0, at = row * columns; column < columns; column++, at++)
        back[column] = (back[column] ?? NaN) + factor * (weight[at] ?? NaN)
    })
    return back
  }

  #of(name: string): Numbers {
    const data = this.#double.get(name)
    if (data === undefined) throw new Error(`there is no tensor ${name}`)
    return data
  }
}

/** Adds `factor` times `count` numbers of `numbers` to those of `sums`, from these places on. */
function addMultiple(sums: Numbers, to: number, factor: number, numbers: Numbers, from: number, count: number): void {
  for (let i = 0; i < count; i++) sums[to + i] = (sums[to + i] ?? NaN) + factor * (numbers[from + i] ?? NaN)
}

function readSafetensors(path: string): Weights {
  const bytes = readFileSync(path)
  const length = Number(bytes.readBigUInt64LE(0))
  const header = JSON.parse(bytes.toString('utf8', 8, 8 + length)) as Record<
    string,
    { dtype: string; shape: number[]; data_offsets: [number, number] }
  >
  return new Map(
    Object.entries(header)
      .filter(([name]) => name !== '__metadata__')
      .map(
        ([
          name,
          {
            shape,
            data_offsets: [from, to],
          },
        ]) => {
          const content = bytes.subarray(8 + length + from, 8 + length + to)
          return [name, { shape, data: new Float32Array(new Uint8Array(content).buffer) }]
        },
      ),
  )
}
