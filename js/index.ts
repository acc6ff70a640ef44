/**
 * Sound bounds of the local Lipschitz constants of ReLU networks.
 *
 * @packageDocumentation
 */
export { loadModel } from './model.js'
export type { LoadModelOptions } from './model.js'

export { Network, sequential } from './network.js'
export type { BoundMethod, BoundOptions, GlobalBoundOptions, SequentialOptions } from './network.js'

export type { Certificate, CheckOptions, StageClaims, WholeClaim } from './certificate.js'

export { norm } from './norm.js'
export type { NormComputation, NormOptions } from './norm.js'

export {
  avgPool2d,
  batchNorm2d,
  clip,
  conv2d,
  dropout,
  flatten,
  globalAvgPool2d,
  leakyRelu,
  linear,
  maxPool2d,
  normalize,
  relu,
  relu6,
  sparse,
} from './layers.js'
export type {
  Attribute,
  AvgPool2dOptions,
  BatchNorm2dOptions,
  ClipOptions,
  Conv2dOptions,
  DropoutOptions,
  Layer,
  LayerOptions,
  LayerType,
  LeakyReluOptions,
  LinearOptions,
  Margins,
  MaxPool2dOptions,
  NormalizeOptions,
  Sizes,
  SparseOptions,
} from './layers.js'

export { loadTensor, tensor } from './tensor.js'
export type { NestedNumbers, Tensor, TensorLike } from './tensor.js'

export { InputError, InternalError, LipboundError, errorTable } from './errors.js'
export type { ErrorCode, InputErrorCode } from './errors.js'

export type { RunOptions } from './cancellation.js'
export type {
  BoundKind,
  BoundResult,
  Bracket,
  FunctionalBound,
  CheckResult,
  Guarantee,
  LayerKind,
  CompositionMethod,
  LayerReport,
  LayerSummary,
  NetworkSummary,
  NormMethod,
  NormResult,
  Progress,
  Termination,
} from './results.js'
