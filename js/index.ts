/**
 * Sound bounds of the local Lipschitz constants of ReLU networks.
 *
 * @module lipbound
 */
export { loadModel } from './model.js'
export type { LoadModelOptions } from './model.js'

export { Network, sequential } from './network.js'
export type { SequentialOptions } from './network.js'

export type {
  BoundAnswer,
  BoundItemOptions,
  BoundMethod,
  BoundOptions,
  BoundsOptions,
  GlobalBoundOptions,
} from './bound.js'

export type {
  BatchAnswer,
  BatchControl,
  BatchFault,
  BatchInput,
  BatchItem,
  BatchOutcome,
  BatchProgress,
  BatchSource,
} from './batch.js'

export type { Certificate, CheckOptions, StageClaims, WholeClaim } from './certificate.js'

export type {
  InputBox,
  MarginReport,
  RadiiOptions,
  RadiusOptions,
  RadiusResult,
  RadiusTermination,
  ZeroRadiusReason,
} from './radius.js'
export type { SweepOptions, SweepPoint, SweepResult } from './sweep.js'

export { norm } from './norm.js'
export type { NormComputation, NormOptions } from './norm.js'

export { graph } from './graph.js'
export type { GraphBuilder, GraphNode, GraphOptions } from './graph.js'

export {
  abs,
  avgPool2d,
  batchNorm2d,
  clip,
  conv2d,
  convTranspose2d,
  dropout,
  globalAvgPool2d,
  globalMaxPool2d,
  leakyRelu,
  linear,
  maxPool2d,
  normalize,
  prelu,
  relu,
  relu6,
  sparse,
} from './layers.js'
export type {
  AvgPool2dOptions,
  BatchNorm2dOptions,
  ClipOptions,
  Conv2dOptions,
  ConvTranspose2dOptions,
  DropoutOptions,
  LeakyReluOptions,
  LinearOptions,
  MaxPool2dOptions,
  NormalizeOptions,
  PreluOptions,
  SparseOptions,
} from './layers.js'
export { flatten, pad2d, permute, reshape, upsample2d } from './rearranging.js'
export type { Pad2dOptions, PermuteOptions, ReshapeOptions, Upsample2dOptions } from './rearranging.js'
export { add, concat, maximum, minimum } from './branches.js'
export type { ConcatOptions } from './branches.js'
export type {
  Attribute,
  BranchLayer,
  BranchLayerType,
  Layer,
  LayerOptions,
  LayerType,
  Margin,
  Margins,
  Sizes,
} from './layer.js'

export { loadImage } from './image.js'
export type { LoadImageOptions } from './image.js'

export { loadTensor, tensor } from './tensor.js'
export type { NestedNumbers, Tensor, TensorLike } from './tensor.js'

export type { EndMessage, Operation, StartMessage, StepMessage } from './diagnostics.js'

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
  OnnxSource,
  PredictedCost,
  PredictedMemory,
  Progress,
  Termination,
  Witness,
} from './results.js'
