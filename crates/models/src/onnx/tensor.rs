//! Tensors of the file to arrays.

use std::sync::Arc;

use bytes::Bytes;
use half::{bf16, f16};
use lipbound_lipschitz::ModelError;

use super::{
    array::{Array, Numbers, elements, filled, try_filled},
    budget::Budget,
    external::ExternalFiles,
    schema::{TensorProto, data_type},
    wire,
};

/// Decodes a tensor. Its numbers are taken from the budget for as long as they live.
pub(super) fn read(bytes: &Bytes, files: &mut ExternalFiles, budget: &mut Budget) -> Result<Array, ModelError> {
    let (tensor, cost) = wire::decode::<TensorProto>(bytes, budget).map_err(ModelError::model)?;
    let name = tensor.name.clone();
    let array = array(&tensor, files, budget);
    drop(tensor);
    budget.give(cost);
    array.map_err(|error| error.at(&format!("tensor '{name}'")))
}

fn array(tensor: &TensorProto, files: &mut ExternalFiles, budget: &mut Budget) -> Result<Array, ModelError> {
    let shape = tensor
        .dims
        .iter()
        .map(|&d| {
            usize::try_from(d)
                .map_err(|_| ModelError::shape(format!("an axis of {d} elements; shapes have no negative sizes")))
        })
        .collect::<Result<Vec<_>, _>>()?;
    let count = elements(&shape)?;
    if tensor.segment.is_some() {
        return Err(ModelError::model("is stored in segments, which are not supported"));
    }
    let kind = Kind::new(tensor.data_type)?;
    let typed = [
        ("float_data", &tensor.float_data),
        ("int32_data", &tensor.int32_data),
        ("int64_data", &tensor.int64_data),
        ("double_data", &tensor.double_data),
        ("uint64_data", &tensor.uint64_data),
    ];
    let place = kind.typed_field();
    if let Some((field, _)) =
        typed.iter().find(|(field, runs)| *field != place && runs.iter().any(|run| !run.is_empty()))
    {
        return Err(ModelError::model(format!("has numbers in {field}, but those of its type belong into {place}")));
    }
    let runs = typed.iter().find(|(field, _)| *field == place).map_or(&[][..], |(_, runs)| runs);
    let has_typed = runs.iter().any(|run| !run.is_empty());
    let external = match tensor.data_location {
        0 => false,
        1 => true,
        other => {
            return Err(ModelError::model(format!("has data location {other}; 0 (here) and 1 (outside) are known")));
        }
    };
    if usize::from(external) + usize::from(tensor.raw_data.is_some()) + usize::from(has_typed) > 1 {
        return Err(ModelError::model("has its numbers in more than one place"));
    }
    let numbers = if external {
        let needed = count.checked_mul(kind.width()).expect("fewer than 2^31 elements of at most 8 bytes");
        let slice = files.read(&tensor.external_data, needed, budget)?;
        let numbers = kind.raw(&slice, count, &shape, budget);
        drop(slice);
        budget.give(needed);
        numbers?
    } else if let Some(raw) = &tensor.raw_data {
        kind.raw(raw, count, &shape, budget)?
    } else {
        kind.typed(runs, count, &shape, budget)?
    };
    Ok(Array { shape, numbers })
}

/// The types of elements that are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    F16,
    Bf16,
    F32,
    F64,
    Bool,
    I8,
    I16,
    I32,
    I64,
    U8,
    U16,
    U32,
    U64,
}

impl Kind {
    fn new(kind: i32) -> Result<Self, ModelError> {
        Ok(match kind {
            data_type::FLOAT16 => Self::F16,
            data_type::BFLOAT16 => Self::Bf16,
            data_type::FLOAT => Self::F32,
            data_type::DOUBLE => Self::F64,
            data_type::BOOL => Self::Bool,
            data_type::INT8 => Self::I8,
            data_type::INT16 => Self::I16,
            data_type::INT32 => Self::I32,
            data_type::INT64 => Self::I64,
            data_type::UINT8 => Self::U8,
            data_type::UINT16 => Self::U16,
            data_type::UINT32 => Self::U32,
            data_type::UINT64 => Self::U64,
            other => {
                return Err(ModelError::model(format!(
                    "has elements of type {}, but only FLOAT16, BFLOAT16, FLOAT, DOUBLE, whole numbers of 8 to 64 bits \
                     and BOOL are supported",
                    data_type::name(other)
                )));
            }
        })
    }

    /// Bytes of an element in raw data.
    fn width(self) -> usize {
        match self {
            Self::Bool | Self::I8 | Self::U8 => 1,
            Self::F16 | Self::Bf16 | Self::I16 | Self::U16 => 2,
            Self::F32 | Self::I32 | Self::U32 => 4,
            Self::F64 | Self::I64 | Self::U64 => 8,
        }
    }

    /// Where typed numbers of this kind are.
    fn typed_field(self) -> &'static str {
        match self {
            Self::F32 => "float_data",
            Self::F64 => "double_data",
            Self::I64 => "int64_data",
            Self::U32 | Self::U64 => "uint64_data",
            _ => "int32_data",
        }
    }

    /// Takes the numbers from the budget, before they are allocated.
    fn take(self, count: usize, budget: &mut Budget) -> Result<(), ModelError> {
        let size = if matches!(self, Self::F16 | Self::Bf16 | Self::F32) { 4 } else { 8 };
        budget.work(count)?;
        budget.take_elements(count, size)
    }

    /// From little-endian bytes.
    fn raw(self, bytes: &[u8], count: usize, shape: &[usize], budget: &mut Budget) -> Result<Numbers, ModelError> {
        let needed = count * self.width();
        if bytes.len() != needed {
            return Err(ModelError::shape(format!(
                "shape {shape:?} needs {needed} bytes of data, but there are {}",
                bytes.len()
            )));
        }
        self.take(count, budget)?;
        macro_rules! numbers {
            ($bytes:literal, $read:expr) => {
                filled(count, bytes.as_chunks::<$bytes>().0.iter().map(|&b| $read(b)))
            };
        }
        Ok(match self {
            Self::F16 => Numbers::F32(numbers!(2, |b| f16::from_le_bytes(b).to_f32())),
            Self::Bf16 => Numbers::F32(numbers!(2, |b| bf16::from_le_bytes(b).to_f32())),
            Self::F32 => Numbers::F32(numbers!(4, f32::from_le_bytes)),
            Self::F64 => Numbers::F64(numbers!(8, f64::from_le_bytes)),
            Self::Bool => Numbers::I64(self.checked(count, bytes.iter().map(|&b| i128::from(b)))?),
            Self::I8 => Numbers::I64(numbers!(1, |b| i64::from(i8::from_le_bytes(b)))),
            Self::U8 => Numbers::I64(numbers!(1, |b| i64::from(u8::from_le_bytes(b)))),
            Self::I16 => Numbers::I64(numbers!(2, |b| i64::from(i16::from_le_bytes(b)))),
            Self::U16 => Numbers::I64(numbers!(2, |b| i64::from(u16::from_le_bytes(b)))),
            Self::I32 => Numbers::I64(numbers!(4, |b| i64::from(i32::from_le_bytes(b)))),
            Self::U32 => Numbers::I64(numbers!(4, |b| i64::from(u32::from_le_bytes(b)))),
            Self::I64 => Numbers::I64(numbers!(8, i64::from_le_bytes)),
            Self::U64 => Numbers::I64(
                self.checked(count, bytes.as_chunks().0.iter().map(|&b| i128::from(u64::from_le_bytes(b))))?,
            ),
        })
    }

    /// From packed runs of typed numbers.
    fn typed(self, runs: &[Bytes], count: usize, shape: &[usize], budget: &mut Budget) -> Result<Numbers, ModelError> {
        let field = self.typed_field();
        let width = match self {
            Self::F32 => Some(4),
            Self::F64 => Some(8),
            _ => None,
        };
        let mut there = 0;
        for run in runs {
            there += match width {
                Some(width) if run.len() % width != 0 => {
                    return Err(ModelError::model(format!(
                        "{field} has {} bytes, which ends inside a number",
                        run.len()
                    )));
                }
                Some(width) => run.len() / width,
                None => run.iter().filter(|&&byte| byte < 0x80).count(),
            };
        }
        if there != count {
            return Err(ModelError::shape(format!("shape {shape:?} needs {count} numbers, but {field} has {there}")));
        }
        self.take(count, budget)?;
        let fixed = || runs.iter().flat_map(|run| run.iter().copied());
        Ok(match self {
            Self::F32 => {
                let mut bytes = fixed();
                Numbers::F32(filled(count, std::iter::from_fn(|| next_bytes(&mut bytes).map(f32::from_le_bytes))))
            }
            Self::F64 => {
                let mut bytes = fixed();
                Numbers::F64(filled(count, std::iter::from_fn(|| next_bytes(&mut bytes).map(f64::from_le_bytes))))
            }
            _ => {
                let mut runs = runs.iter();
                let mut rest: &[u8] = &[];
                let mut next = || {
                    while rest.is_empty() {
                        rest = runs.next()?;
                    }
                    wire::varint(&mut rest)
                };
                let broken = || ModelError::model(format!("{field} has a number that is cut short or too long"));
                match self {
                    Self::F16 | Self::Bf16 => Numbers::F32(try_filled(count, || {
                        let bits = next().ok_or_else(broken)?;
                        let bits = u16::try_from(bits).map_err(|_| {
                            ModelError::value(format!("{field} has {bits}, which is no half precision"))
                        })?;
                        let half = self == Self::F16;
                        Ok::<_, ModelError>(if half {
                            f16::from_bits(bits).to_f32()
                        } else {
                            bf16::from_bits(bits).to_f32()
                        })
                    })?),
                    _ => Numbers::I64(try_filled(count, || {
                        let bits = next().ok_or_else(broken)?;
                        // Negative numbers are sign-extended to 64 bits.
                        let unsigned = matches!(self, Self::U32 | Self::U64);
                        self.fit(if unsigned { bits.into() } else { (bits as i64).into() })
                    })?),
                }
            }
        })
    }

    fn checked(self, count: usize, mut values: impl Iterator<Item = i128>) -> Result<Arc<[i64]>, ModelError> {
        try_filled(count, || self.fit(values.next().expect("as many numbers as the shape has")))
    }

    /// A whole number of this kind.
    fn fit(self, value: i128) -> Result<i64, ModelError> {
        let (low, high): (i128, i128) = match self {
            Self::Bool => (0, 1),
            Self::I8 => (i8::MIN.into(), i8::MAX.into()),
            Self::I16 => (i16::MIN.into(), i16::MAX.into()),
            Self::I32 => (i32::MIN.into(), i32::MAX.into()),
            Self::U8 => (0, u8::MAX.into()),
            Self::U16 => (0, u16::MAX.into()),
            Self::U32 => (0, u32::MAX.into()),
            // What i64 does not hold is no size, axis or index.
            Self::U64 => (0, i64::MAX.into()),
            _ => (i64::MIN.into(), i64::MAX.into()),
        };
        if (low..=high).contains(&value) {
            Ok(value as i64)
        } else {
            Err(ModelError::value(format!("has the number {value}, but its type is read from {low} to {high}")))
        }
    }
}

/// A float or whole number cast to an ONNX type, as a runtime does where that is defined.
pub(super) struct Cast(Kind);

impl Cast {
    pub fn new(to: i64) -> Result<Self, ModelError> {
        i32::try_from(to)
            .map_err(|_| ModelError::model(format!("there is no element type {to}")))
            .and_then(Kind::new)
            .map(Self)
    }

    pub fn apply(&self, numbers: &Numbers, budget: &mut Budget) -> Result<Numbers, ModelError> {
        let count = match numbers {
            Numbers::F32(v) => v.len(),
            Numbers::F64(v) => v.len(),
            Numbers::I64(v) => v.len(),
        };
        self.0.take(count, budget)?;
        let kind = self.0;
        macro_rules! each {
            ($cast:expr) => {
                match numbers {
                    Numbers::F32(v) => filled(count, v.iter().map(|&x| $cast(f64::from(x), x))),
                    Numbers::F64(v) => filled(count, v.iter().map(|&x| $cast(x, x as f32))),
                    Numbers::I64(v) => filled(count, v.iter().map(|&x| $cast(x as f64, x as f32))),
                }
            };
        }
        let whole = |x: f64| -> Result<i64, ModelError> {
            if kind == Kind::Bool {
                return Ok((x != 0.0).into());
            }
            // What is far outside any range, and what is no number, would not survive the conversion.
            if !x.is_finite() || x.abs() >= 1e30 {
                return Err(ModelError::value(format!("{x} cannot be cast to a whole number")));
            }
            kind.fit(x.trunc() as i128)
        };
        Ok(match kind {
            Kind::F32 => Numbers::F32(each!(|_: f64, single: f32| single)),
            Kind::F64 => Numbers::F64(each!(|double: f64, _: f32| double)),
            Kind::F16 => Numbers::F32(each!(|double: f64, _: f32| f16::from_f64(double).to_f32())),
            Kind::Bf16 => Numbers::F32(each!(|double: f64, _: f32| bf16::from_f64(double).to_f32())),
            _ => Numbers::I64(match numbers {
                Numbers::F32(v) => {
                    let mut v = v.iter();
                    try_filled(count, || whole((*v.next().expect("counted")).into()))?
                }
                Numbers::F64(v) => {
                    let mut v = v.iter();
                    try_filled(count, || whole(*v.next().expect("counted")))?
                }
                Numbers::I64(v) => {
                    let mut v = v.iter();
                    try_filled(count, || {
                        let x = *v.next().expect("counted");
                        if kind == Kind::Bool { Ok((x != 0).into()) } else { kind.fit(x.into()) }
                    })?
                }
            }),
        })
    }
}

fn next_bytes<const N: usize>(bytes: &mut impl Iterator<Item = u8>) -> Option<[u8; N]> {
    let mut number = [0; N];
    for place in &mut number {
        *place = bytes.next()?;
    }
    Some(number)
}

#[cfg(test)]
mod tests {
    use prost::Message;

    use super::*;

    fn decoded(tensor: &TensorProto) -> Result<Array, ModelError> {
        read(&tensor.encode_to_vec().into(), &mut ExternalFiles::beside(None), &mut Budget::of_file(0))
    }

    fn raw(data_type: i32, dims: &[i64], data: &[u8]) -> TensorProto {
        TensorProto {
            dims: dims.to_vec(),
            data_type,
            name: "t".into(),
            raw_data: Some(Bytes::copy_from_slice(data)),
            ..Default::default()
        }
    }

    #[test]
    fn raw_numbers_of_every_type_are_little_endian() {
        let whole = |kind, width: usize| {
            // 0x80 in the last byte is the sign, where there is one.
            let mut data = vec![1u8; width];
            data[width - 1] = 0x80;
            decoded(&raw(kind, &[1], &data)).unwrap().integers().unwrap()[0]
        };
        assert_eq!(whole(data_type::INT8, 1), -128);
        assert_eq!(whole(data_type::UINT8, 1), 128);
        assert_eq!(whole(data_type::INT16, 2), -32767);
        assert_eq!(whole(data_type::UINT16, 2), 32769);
        assert_eq!(whole(data_type::INT32, 4), 0x8001_0101_u32 as i32 as i64);
        assert_eq!(whole(data_type::UINT32, 4), 0x8001_0101);
        assert_eq!(whole(data_type::INT64, 8), i64::from_le_bytes([1, 1, 1, 1, 1, 1, 1, 0x80]));
        let half = decoded(&raw(data_type::FLOAT16, &[2], &[0, 0x3c, 1, 0])).unwrap();
        assert_eq!(half.numbers, Numbers::F32(Arc::new([1.0, 2f32.powi(-24)])));
        let brain = decoded(&raw(data_type::BFLOAT16, &[1], &[0x80, 0xbf])).unwrap();
        assert_eq!(brain.numbers, Numbers::F32(Arc::new([-1.0])));
        let double = decoded(&raw(data_type::DOUBLE, &[], &0.1f64.to_le_bytes())).unwrap();
        assert_eq!(double, Array { shape: vec![], numbers: Numbers::F64(Arc::new([0.1])) });
    }

    #[test]
    fn typed_numbers_come_in_runs() {
        let floats = TensorProto {
            dims: vec![3],
            data_type: data_type::FLOAT,
            float_data: vec![
                [1f32.to_le_bytes(), 2f32.to_le_bytes()].concat().into(),
                3f32.to_le_bytes().to_vec().into(),
            ],
            ..Default::default()
        };
        assert_eq!(decoded(&floats).unwrap().numbers, Numbers::F32(Arc::new([1.0, 2.0, 3.0])));
        let whole = |data_type, run: &[u8]| TensorProto {
            dims: vec![2],
            data_type,
            int32_data: vec![Bytes::copy_from_slice(run)],
            ..Default::default()
        };
        let minus_one = [0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 5];
        assert_eq!(decoded(&whole(data_type::INT8, &minus_one)).unwrap().integers().unwrap(), [-1, 5]);
        // 300 is no signed byte.
        assert!(decoded(&whole(data_type::INT8, &[0xac, 2, 5])).unwrap_err().to_string().contains("300"));
        // Half precision as bits: 0x3c00 is one.
        let half = whole(data_type::FLOAT16, &[0x80, 0x78, 0]);
        assert_eq!(decoded(&half).unwrap().numbers, Numbers::F32(Arc::new([1.0, 0.0])));
        assert!(decoded(&whole(data_type::INT64, &[1, 2])).unwrap_err().to_string().contains("int64_data"));
    }

    #[test]
    fn what_does_not_fit_its_shape_is_refused() {
        let error = |tensor: &TensorProto| decoded(tensor).unwrap_err().to_string();
        assert!(error(&raw(data_type::FLOAT, &[3], &[0; 8])).contains("needs 12 bytes of data, but there are 8"));
        assert!(error(&raw(data_type::FLOAT, &[-1], &[])).contains("-1 elements"));
        assert!(error(&raw(data_type::FLOAT, &[1 << 31], &[])).contains("2^31"));
        assert!(error(&raw(data_type::FLOAT, &[i64::MAX, i64::MAX, 4], &[])).contains("2^31"));
        assert!(error(&raw(8, &[1], &[])).contains("STRING"));
        assert!(error(&raw(14, &[1], &[0; 8])).contains("COMPLEX64"));
        assert!(error(&raw(17, &[1], &[0])).contains("FLOAT8E4M3FN"));
        assert!(error(&raw(99, &[1], &[0])).contains("number 99"));
        let none = TensorProto { dims: vec![2], data_type: data_type::FLOAT, ..Default::default() };
        assert!(error(&none).contains("needs 2 numbers, but float_data has 0"));
        let twice = TensorProto { float_data: vec![vec![0; 8].into()], ..raw(data_type::FLOAT, &[2], &[0; 8]) };
        assert!(error(&twice).contains("more than one place"));
    }

    #[test]
    fn casts_round_to_nearest_and_truncate_to_whole_numbers() {
        let cast = |to, numbers: Numbers| Cast::new(to).unwrap().apply(&numbers, &mut Budget::of_file(0));
        let floats = || Numbers::F32(Arc::new([-1.9, 0.0, 2.5]));
        assert_eq!(cast(7, floats()).unwrap(), Numbers::I64(Arc::new([-1, 0, 2])));
        assert_eq!(cast(9, floats()).unwrap(), Numbers::I64(Arc::new([1, 0, 1])));
        assert_eq!(cast(11, floats()).unwrap(), Numbers::F64(Arc::new([f64::from(-1.9f32), 0.0, 2.5])));
        assert!(cast(2, floats()).is_err(), "-1.9 is cut to -1, which is no unsigned byte");
    }
}
