/**
 * Writes ONNX models from plain descriptions, straight from onnx.proto.
 *
 * Nothing is checked: shapes need not fit their data, nor types their numbers, and every message takes bytes of its own
 * at its end, so that models which no exporter writes can be had as well.
 */
import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire'

/** The numbers of `TensorProto.DataType`. */
export const ELEMENT_TYPES = {
  undefined: 0,
  float: 1,
  uint8: 2,
  int8: 3,
  uint16: 4,
  int16: 5,
  int32: 6,
  int64: 7,
  string: 8,
  bool: 9,
  float16: 10,
  double: 11,
  uint32: 12,
  uint64: 13,
  complex64: 14,
  bfloat16: 16,
} as const

/** An element type by its name, or any number in its place. */
export type ElementType = keyof typeof ELEMENT_TYPES | number

type Integer = number | bigint

/** A `TensorProto`. */
export interface TensorDescription {
  name?: string
  type: ElementType
  dims: readonly Integer[]
  /** The entries, which are encoded as the type says. */
  values?: readonly Integer[]
  /** Where the entries go: into `raw_data`, or into the typed field of their type. */
  storage?: 'raw' | 'typed'
  /** What `raw_data` is, whatever the entries are. */
  raw?: Uint8Array
  /** Entries of a file beside the model, by key: `location`, `offset`, `length`. */
  external?: Readonly<Record<string, string>>
  extra?: Uint8Array
}

/** A `SparseTensorProto`: a list of values, and their positions. */
export interface SparseDescription {
  values: TensorDescription
  indices: TensorDescription
  dims: readonly Integer[]
}

/** The value of an attribute. The kinds are those of `AttributeProto`; see {@link int} and its neighbours. */
export type Attribute =
  | { kind: 'float'; value: number }
  | { kind: 'int'; value: Integer }
  | { kind: 'string'; value: string }
  | { kind: 'tensor'; value: TensorDescription }
  | { kind: 'graph'; value: GraphDescription }
  | { kind: 'floats'; value: readonly number[] }
  | { kind: 'ints'; value: readonly Integer[] }
  | { kind: 'strings'; value: readonly string[] }
  | { kind: 'sparse'; value: SparseDescription }

export const float = (value: number): Attribute => ({ kind: 'float', value })
export const int = (value: Integer): Attribute => ({ kind: 'int', value })
export const string = (value: string): Attribute => ({ kind: 'string', value })
export const tensor = (value: TensorDescription): Attribute => ({ kind: 'tensor', value })
export const graph = (value: GraphDescription): Attribute => ({ kind: 'graph', value })
export const floats = (value: readonly number[]): Attribute => ({ kind: 'floats', value })
export const ints = (value: readonly Integer[]): Attribute => ({ kind: 'ints', value })
export const strings = (value: readonly string[]): Attribute => ({ kind: 'strings', value })
export const sparse = (value: SparseDescription): Attribute => ({ kind: 'sparse', value })

/** A `NodeProto`. An empty name is an input or output that is not there. */
export interface NodeDescription {
  op: string
  inputs: readonly string[]
  outputs: readonly string[]
  attributes?: Readonly<Record<string, Attribute>>
  name?: string
  domain?: string
  extra?: Uint8Array
}

/** A `ValueInfoProto` of a tensor. */
export interface ValueDescription {
  name: string
  type?: ElementType
  /** An extent, the name of one, or null for one of which nothing is said. Without dims, the shape is left open. */
  dims?: readonly (Integer | string | null)[]
}

/** A `GraphProto`. */
export interface GraphDescription {
  name?: string
  nodes: readonly NodeDescription[]
  inputs: readonly ValueDescription[]
  outputs: readonly ValueDescription[]
  initializers?: readonly TensorDescription[]
  values?: readonly ValueDescription[]
  extra?: Uint8Array
}

/** A `ModelProto`. */
export interface ModelDescription {
  graph: GraphDescription
  /** The version of the default domain, or of each domain by its name. */
  opset: number | Readonly<Record<string, Integer>>
  irVersion?: number
  producer?: string
  /** Whether repeated numbers that proto2 writes one by one are packed, as writers after proto3 do. */
  packed?: boolean
  extra?: Uint8Array
}

/** The least version of the IR that came with each version of the operators. */
export function irVersionOf(opset: number): number {
  const firsts = [9, 10, 11, 12, 15, 19, 21, 23, 24, 26]
  const versions = [4, 5, 6, 7, 8, 9, 10, 11, 12, 13]
  return versions[firsts.findLastIndex((first) => opset >= first)] ?? 3
}

/** The bytes of a model. */
export function writeModel(model: ModelDescription): Uint8Array {
  const { graph: content, opset, packed = false, producer = 'lipbound-test', extra } = model
  const domains = typeof opset === 'number' ? { '': opset } : opset
  const writer = new Fields(packed)
  writer.integer(1, model.irVersion ?? irVersionOf(Math.max(...Object.values(domains).map(Number))))
  writer.text(2, producer)
  writer.message(7, () => {
    writeGraph(writer, content)
  })
  for (const [domain, version] of Object.entries(domains)) {
    writer.message(8, () => {
      if (domain !== '') writer.text(1, domain)
      writer.integer(2, version)
    })
  }
  writer.append(extra)
  return writer.finish()
}

function writeGraph(writer: Fields, { name = 'graph', nodes, ...graph }: GraphDescription): void {
  for (const node of nodes) {
    writer.message(1, () => {
      writeNode(writer, node)
    })
  }
  writer.text(2, name)
  for (const initializer of graph.initializers ?? []) {
    writer.message(5, () => {
      writeTensor(writer, initializer)
    })
  }
  const lists = [
    [11, graph.inputs],
    [12, graph.outputs],
    [13, graph.values ?? []],
  ] as const
  for (const [field, values] of lists) {
    for (const value of values) {
      writer.message(field, () => {
        writeValue(writer, value)
      })
    }
  }
  writer.append(graph.extra)
}

function writeNode(
  writer: Fields,
  { op, inputs, outputs, attributes = {}, name, domain, extra }: NodeDescription,
): void {
  for (const input of inputs) writer.text(1, input)
  for (const output of outputs) writer.text(2, output)
  if (name !== undefined) writer.text(3, name)
  writer.text(4, op)
  for (const [key, attribute] of Object.entries(attributes)) {
    writer.message(5, () => {
      writer.text(1, key)
      writeAttribute(writer, attribute)
    })
  }
  if (domain !== undefined) writer.text(7, domain)
  writer.append(extra)
}

const ATTRIBUTE_TYPES = {
  float: 1,
  int: 2,
  string: 3,
  tensor: 4,
  graph: 5,
  floats: 6,
  ints: 7,
  strings: 8,
  sparse: 11,
} as const satisfies Record<Attribute['kind'], number>

function writeAttribute(writer: Fields, attribute: Attribute): void {
  switch (attribute.kind) {
    case 'float':
      writer.float(2, attribute.value)
      break
    case 'int':
      writer.integer(3, attribute.value)
      break
    case 'string':
      writer.text(4, attribute.value)
      break
    case 'tensor':
      writer.message(5, () => {
        writeTensor(writer, attribute.value)
      })
      break
    case 'graph':
      writer.message(6, () => {
        writeGraph(writer, attribute.value)
      })
      break
    case 'floats':
      if (writer.packed) writer.bytes(7, encode(ELEMENT_TYPES.float, attribute.value))
      else for (const value of attribute.value) writer.float(7, value)
      break
    case 'ints':
      writer.integers(8, attribute.value)
      break
    case 'strings':
      for (const value of attribute.value) writer.text(9, value)
      break
    case 'sparse':
      writer.message(22, () => {
        writeSparse(writer, attribute.value)
      })
      break
  }
  writer.integer(20, ATTRIBUTE_TYPES[attribute.kind])
}

function writeSparse(writer: Fields, { values, indices, dims }: SparseDescription): void {
  writer.message(1, () => {
    writeTensor(writer, values)
  })
  writer.message(2, () => {
    writeTensor(writer, indices)
  })
  writer.integers(3, dims)
}

function writeTensor(writer: Fields, description: TensorDescription): void {
  const { name, dims, values = [], storage = 'raw', raw, external, extra } = description
  const type = numberOf(description.type)
  writer.integers(1, dims)
  writer.integer(2, type)
  if (storage === 'typed' && raw === undefined) writeTyped(writer, type, values)
  if (name !== undefined) writer.text(8, name)
  if (raw !== undefined || (storage === 'raw' && external === undefined)) writer.bytes(9, raw ?? encode(type, values))
  for (const [key, value] of Object.entries(external ?? {})) {
    writer.message(13, () => {
      writer.text(1, key)
      writer.text(2, value)
    })
  }
  if (external !== undefined) writer.integer(14, 1)
  writer.append(extra)
}

/** Entries in the field that onnx.proto has for their type. */
function writeTyped(writer: Fields, type: number, values: readonly Integer[]): void {
  switch (type) {
    case ELEMENT_TYPES.float:
      writer.bytes(4, encode(type, values))
      break
    case ELEMENT_TYPES.double:
      writer.bytes(10, encode(type, values))
      break
    case ELEMENT_TYPES.int64:
      writer.packedIntegers(7, values)
      break
    case ELEMENT_TYPES.uint32:
    case ELEMENT_TYPES.uint64:
      writer.packedIntegers(11, values)
      break
    case ELEMENT_TYPES.float16:
      writer.packedIntegers(
        5,
        values.map((value) => halfBits(Number(value))),
      )
      break
    case ELEMENT_TYPES.bfloat16:
      writer.packedIntegers(
        5,
        values.map((value) => bfloatBits(Number(value))),
      )
      break
    default:
      writer.packedIntegers(5, values)
  }
}

function writeValue(writer: Fields, { name, type = 'float', dims }: ValueDescription): void {
  writer.text(1, name)
  writer.message(2, () => {
    writer.message(1, () => {
      writer.integer(1, numberOf(type))
      if (dims === undefined) return
      writer.message(2, () => {
        for (const extent of dims) {
          writer.message(1, () => {
            if (typeof extent === 'string') writer.text(2, extent)
            else if (extent !== null) writer.integer(1, extent)
          })
        }
      })
    })
  })
}

const numberOf = (type: ElementType): number => (typeof type === 'number' ? type : ELEMENT_TYPES[type])

/** Entries as `raw_data` holds them, in little-endian order. Of types that are not known, bytes. */
export function encode(type: ElementType, values: readonly Integer[]): Uint8Array {
  const number = numberOf(type)
  const width = WIDTHS[number] ?? 1
  const bytes = new Uint8Array(values.length * width)
  const view = new DataView(bytes.buffer)
  values.forEach((value, index) => {
    const at = index * width
    if (number === ELEMENT_TYPES.float) view.setFloat32(at, Number(value), true)
    else if (number === ELEMENT_TYPES.double) view.setFloat64(at, Number(value), true)
    else if (number === ELEMENT_TYPES.float16) view.setUint16(at, halfBits(Number(value)), true)
    else if (number === ELEMENT_TYPES.bfloat16) view.setUint16(at, bfloatBits(Number(value)), true)
    else if (width === 8) view.setBigInt64(at, BigInt(value), true)
    else if (width === 4) view.setInt32(at, Number(value), true)
    else if (width === 2) view.setInt16(at, Number(value), true)
    else view.setInt8(at, Number(value))
  })
  return bytes
}

const WIDTHS: Readonly<Record<number, number>> = {
  [ELEMENT_TYPES.float]: 4,
  [ELEMENT_TYPES.uint16]: 2,
  [ELEMENT_TYPES.int16]: 2,
  [ELEMENT_TYPES.int32]: 4,
  [ELEMENT_TYPES.int64]: 8,
  [ELEMENT_TYPES.float16]: 2,
  [ELEMENT_TYPES.double]: 8,
  [ELEMENT_TYPES.uint32]: 4,
  [ELEMENT_TYPES.uint64]: 8,
  [ELEMENT_TYPES.bfloat16]: 2,
}

/** The bits of the half-precision number nearest to one; ties go to even. */
export function halfBits(value: number): number {
  const sign = value < 0 || Object.is(value, -0) ? 0x8000 : 0
  const size = Math.abs(value)
  if (Number.isNaN(value)) return 0x7e00
  if (size >= 65520) return sign | 0x7c00
  // Below 2^-14 the spacing of halves stays what it is there.
  const exponent = Math.max(-14, Math.floor(Math.log2(size || Number.MIN_VALUE)))
  const steps = roundToEven(size / 2 ** (exponent - 10))
  // The hidden bit of normal numbers adds one to the exponent, as a carry out of the mantissa does.
  return sign | ((exponent + 14) * 1024 + steps)
}

function roundToEven(value: number): number {
  const below = Math.floor(value)
  const rest = value - below
  return rest > 0.5 || (rest === 0.5 && below % 2 === 1) ? below + 1 : below
}

/** The bits of the bfloat16 nearest to a number, which is a float with its lower half rounded off. */
export function bfloatBits(value: number): number {
  const bits = new DataView(encode('float', [value]).buffer).getUint32(0, true)
  return (Number.isNaN(value) ? 0x7fc0_0000 : bits + 0x7fff + ((bits >>> 16) & 1)) >>> 16
}

/** A protobuf writer that takes field and value at once. */
class Fields {
  readonly #writer = new BinaryWriter()

  constructor(readonly packed: boolean) {}

  integer(field: number, value: Integer): void {
    this.#writer.tag(field, WireType.Varint).int64(value)
  }

  integers(field: number, values: readonly Integer[]): void {
    if (this.packed) this.packedIntegers(field, values)
    else for (const value of values) this.integer(field, value)
  }

  packedIntegers(field: number, values: readonly Integer[]): void {
    this.#writer.tag(field, WireType.LengthDelimited).fork()
    for (const value of values) this.#writer.int64(value)
    this.#writer.join()
  }

  float(field: number, value: number): void {
    this.#writer.tag(field, WireType.Bit32).float(value)
  }

  text(field: number, value: string): void {
    this.#writer.tag(field, WireType.LengthDelimited).string(value)
  }

  bytes(field: number, value: Uint8Array): void {
    this.#writer.tag(field, WireType.LengthDelimited).bytes(value)
  }

  message(field: number, write: () => void): void {
    this.#writer.tag(field, WireType.LengthDelimited).fork()
    write()
    this.#writer.join()
  }

  append(bytes: Uint8Array | undefined): void {
    if (bytes !== undefined) this.#writer.raw(bytes)
  }

  finish(): Uint8Array {
    return this.#writer.finish()
  }
}
