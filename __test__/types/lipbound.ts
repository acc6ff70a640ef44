/**
 * Uses of `lipbound` that must compile, and wrong uses that must not; nothing here is run. The compiler sees them in every lint,
 * and again where the packed package is installed.
 */
import {
  InputError,
  LipboundError,
  add,
  conv2d,
  errorTable,
  flatten,
  graph,
  linear,
  loadImage,
  loadModel,
  loadTensor,
  maxPool2d,
  norm,
  relu,
  sequential,
  tensor,
} from 'lipbound'
import type {
  BatchOutcome,
  BoundResult,
  Bracket,
  Certificate,
  ErrorCode,
  InputErrorCode,
  Network,
  NormResult,
  RadiusResult,
  SweepResult,
  Tensor,
} from 'lipbound'

type IsAny<T> = 0 extends 1 & T ? true : false

/** True where two types are the same; `any` is the same as itself alone. */
type Same<A, B> = [A, IsAny<A>] extends [B, IsAny<B>] ? ([B] extends [A] ? true : false) : false

/** Takes a value that has exactly the type it is told. */
export function is<Expected>() {
  return <Actual>(_value: Actual, ..._proof: Same<Actual, Expected> extends true ? [] : [never]): void => undefined
}

export async function rightUses(signal: AbortSignal): Promise<void> {
  using net = await loadModel('model.onnx')
  is<Network>()(net)
  const x = await loadTensor('eight.npy')
  is<Tensor>()(x)
  is<Float32Array | Float64Array>()(x.data)
  is<Tensor>()(await loadImage('eight.png', { mean: 0.5, std: [0.5] }))

  // One epsilon, one result; several, several.
  is<BoundResult>()(await net.bound(x, { epsilon: 0.1, method: 'certificate', guarantee: 'deterministic', signal }))
  is<BoundResult[]>()(await net.bound(x, { epsilon: [0.1, 1], kind: 'uniform' }))
  const bound = await net.bound([[[0]]], { epsilon: 0.1, certificate: true, functionals: [[1, -1]] })
  is<number>()(bound.upper)
  is<number>()(bound.lower)
  is<'deterministic' | 'probabilistic'>()(bound.guarantee)
  is<Certificate | undefined>()(bound.certificate)
  is<BoundResult>()(await net.globalBound())
  is<RadiusResult>()(await net.certifiedRadius(x, { label: 8 }))
  is<SweepResult>()(await net.sweep(x, { from: 0.001, to: 1 }))
  const bracket: Bracket = await norm(linear({ weight: [[3, 4]] }), { input: [2] })
  is<number>()(bracket.upper)
  is<NormResult>()(await norm(conv2d({ weight: x }), { input: [1, 8, 8], tolerance: 1e-4 }))

  for await (const outcome of net.bounds([{ input: x }], { epsilon: 0.1, concurrency: 2 })) {
    is<BatchOutcome<BoundResult>>()(outcome)
    if (outcome.ok) is<BoundResult>()(outcome.result)
    else is<Error>()(outcome.error)
  }

  is<Network>()(sequential({ input: [1, 8, 8] }, [relu(), maxPool2d({ kernel: 2 }), flatten()]))
  is<Network>()(graph({ input: [4] }, (g) => g.apply(add(), g.chain([relu()], g.input), g.input)))
}

export function errors(error: unknown): ErrorCode | undefined {
  if (error instanceof InputError) is<InputErrorCode>()(error.code)
  is<'caller' | 'lipbound'>()(errorTable.ERR_LIPBOUND_SHAPE.fault as (typeof errorTable)[ErrorCode]['fault'])
  return error instanceof LipboundError ? error.code : undefined
}

export async function wrongUses(net: Network, x: Tensor): Promise<ErrorCode> {
  // @ts-expect-error a model is named by its path
  await loadModel(1)
  // @ts-expect-error there is no such option
  await net.bound(x, { epsilon: 0.1, epsilom: 0.1 })
  // @ts-expect-error a ball has a radius
  await net.bound(x, {})
  // @ts-expect-error a radius is a number
  await net.bound(x, { epsilon: '0.1' })
  // @ts-expect-error there is no such method
  await net.bound(x, { epsilon: 0.1, method: 'fast' })
  // @ts-expect-error there is no such kind
  await net.bound(x, { epsilon: 0.1, kind: 'local' })
  // @ts-expect-error several results have no upper end of their own
  is<number>()((await net.bound(x, { epsilon: [0.1, 1] })).upper)
  // @ts-expect-error results do not change
  ;(await net.bound(x, { epsilon: 0.1 })).upper = 1
  // @ts-expect-error there is no ball to give a radius of
  await net.globalBound({ epsilon: 0.1 })
  // @ts-expect-error where a sweep ends has to be said
  await net.sweep(x, { from: 0.1 })
  // @ts-expect-error a class is a number
  await net.certifiedRadius(x, { label: '8' })
  // @ts-expect-error the shape of the input has to be said
  await norm(conv2d({ weight: x }), {})
  // @ts-expect-error a convolution has weights
  conv2d({ stride: 2 })
  // @ts-expect-error a pool has a size
  maxPool2d({})
  // @ts-expect-error a sum has several sources, which are no chain
  sequential({ input: [1] }, [add()])
  // @ts-expect-error a tensor has a shape first
  tensor(new Float32Array(4), [4])
  // @ts-expect-error there is no such code
  const code: ErrorCode = 'ERR_LIPBOUND_NOTHING'
  return code
}
