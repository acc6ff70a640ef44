//! Where tensors come from: a safetensors file or memory.

use std::{collections::HashMap, fs, path::Path};

use half::{bf16, f16};
use lipbound_lipschitz::{ModelError, Tensor, TensorData};
use safetensors::{
    Dtype, SafeTensors,
    tensor::{TensorInfo, TensorView},
};
use serde_json::Value;

use crate::FileError;

/// Tensors by name.
pub trait TensorSource {
    /// A tensor of weights.
    ///
    /// # Errors
    /// If there is no such tensor, it is not of floating point, or a number is not finite.
    fn tensor(&self, name: &str) -> Result<Tensor, ModelError>;

    /// A tensor of indices.
    ///
    /// # Errors
    /// If there is no such tensor or an element is not a whole number.
    fn integers(&self, name: &str) -> Result<Vec<usize>, ModelError>;
}

fn missing<'a>(name: &str, known: impl Iterator<Item = &'a str>) -> ModelError {
    let mut known: Vec<&str> = known.collect();
    known.sort_unstable();
    let more = known.len().saturating_sub(20);
    known.truncate(20);
    let tail = if more > 0 { format!(" and {more} more") } else { String::new() };
    ModelError::model(format!("there is no tensor '{name}'; there are '{}'{tail}", known.join("', '")))
}

fn index(name: &str, i: usize, value: i128) -> Result<usize, ModelError> {
    usize::try_from(value)
        .map_err(|_| ModelError::value(format!("element {i} of tensor '{name}' is {value}, which is no index")))
}

/// Tensors in memory.
#[derive(Debug, Default)]
pub struct Memory(HashMap<String, Tensor>);

impl Memory {
    /// An empty source.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a tensor.
    pub fn insert(&mut self, name: String, tensor: Tensor) {
        self.0.insert(name, tensor);
    }
}

impl TensorSource for Memory {
    fn tensor(&self, name: &str) -> Result<Tensor, ModelError> {
        self.0.get(name).cloned().ok_or_else(|| missing(name, self.0.keys().map(String::as_str)))
    }

    fn integers(&self, name: &str) -> Result<Vec<usize>, ModelError> {
        let values = self.tensor(name)?.to_f64();
        values
            .into_iter()
            .enumerate()
            .map(|(i, value)| {
                if value.fract() == 0.0 && value.abs() <= 2f64.powi(53) {
                    index(name, i, value as i128)
                } else {
                    Err(ModelError::value(format!("element {i} of tensor '{name}' is {value}, which is no index")))
                }
            })
            .collect()
    }
}

/// A safetensors file.
pub struct Safetensors {
    bytes: Vec<u8>,
}

impl std::fmt::Debug for Safetensors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Safetensors({} bytes)", self.bytes.len())
    }
}

impl Safetensors {
    /// Reads and checks a file: the header must describe the bytes exactly, without holes or overlaps.
    ///
    /// # Errors
    /// If the file cannot be read or its header is not true.
    pub fn open(path: &Path) -> Result<Self, FileError> {
        let bytes = fs::read(path).map_err(|error| FileError::file(path, error))?;
        Self::check(&bytes).map_err(|problem| FileError::file(path, problem))?;
        Ok(Self { bytes })
    }

    /// The same for bytes in memory.
    ///
    /// # Errors
    /// If the header is not true.
    pub fn from_bytes(bytes: Vec<u8>) -> Result<Self, ModelError> {
        Self::check(&bytes).map_err(ModelError::model)?;
        Ok(Self { bytes })
    }

    fn check(bytes: &[u8]) -> Result<(), String> {
        SafeTensors::deserialize(bytes).map(drop).map_err(|error| {
            let problem = disagreement(bytes).unwrap_or_else(|| error.to_string());
            format!("not a valid safetensors file: {problem}")
        })
    }

    fn view(&self, name: &str) -> Result<TensorView<'_>, ModelError> {
        let file = SafeTensors::deserialize(&self.bytes).map_err(|error| ModelError::model(error.to_string()))?;
        match file.tensor(name) {
            Ok(view) => Ok(view),
            Err(_) => Err(missing(name, file.names().into_iter())),
        }
    }
}

/// Where the header and the bytes after it disagree, which the parser sees but does not tell.
fn disagreement(bytes: &[u8]) -> Option<String> {
    let Some((length, rest)) = bytes.split_first_chunk() else {
        return Some(format!("it has {} bytes, too few even for the length of its header", bytes.len()));
    };
    let length = u64::from_le_bytes(*length);
    let Some((header, data)) = usize::try_from(length).ok().and_then(|length| rest.split_at_checked(length)) else {
        return Some(format!("its header should be {length} bytes long, but only {} bytes follow", rest.len()));
    };
    let header: HashMap<String, Value> = serde_json::from_slice(header).ok()?;
    let mut tensors = Vec::new();
    for (name, value) in header.into_iter().filter(|(name, _)| name != "__metadata__") {
        tensors.push((serde_json::from_value::<TensorInfo>(value).ok()?, name));
    }
    tensors.sort_by(|(a, a_name), (b, b_name)| (a.data_offsets, a_name).cmp(&(b.data_offsets, b_name)));
    let (mut covered, mut before) = (0, "");
    for (TensorInfo { dtype, shape, data_offsets: (begin, end) }, name) in &tensors {
        let needed =
            shape.iter().try_fold(dtype.bitsize(), |bits, &d| bits.checked_mul(d)).map(|bits| bits.div_ceil(8));
        if end < begin {
            return Some(format!("tensor '{name}' ends at byte {end} of the data, before its beginning at {begin}"));
        }
        if needed != Some(end - begin) {
            let needed = needed.map_or("more than can be counted".into(), |n| n.to_string());
            let there = end - begin;
            return Some(format!(
                "tensor '{name}' of {dtype:?} {shape:?} takes {needed} bytes, but its offsets span {there}"
            ));
        }
        if *end > data.len() {
            let there = data.len();
            return Some(format!(
                "tensor '{name}' ends at byte {end} of the data, of which there are {there} (truncated?)"
            ));
        }
        if *begin < covered {
            return Some(format!("tensors '{before}' and '{name}' overlap"));
        }
        if *begin > covered {
            return Some(format!(
                "bytes {covered} to {begin} of the data, before tensor '{name}', belong to no tensor"
            ));
        }
        (covered, before) = (*end, name);
    }
    (covered != data.len()).then(|| format!("the last {} bytes belong to no tensor", data.len() - covered))
}

impl TensorSource for Safetensors {
    fn tensor(&self, name: &str) -> Result<Tensor, ModelError> {
        let view = self.view(name)?;
        let (shape, bytes) = (view.shape().to_vec(), view.data());
        let data = match view.dtype() {
            Dtype::F32 => TensorData::F32(bytes.as_chunks().0.iter().map(|&b| f32::from_le_bytes(b)).collect()),
            Dtype::F64 => TensorData::F64(bytes.as_chunks().0.iter().map(|&b| f64::from_le_bytes(b)).collect()),
            // Every half is a single, exactly.
            Dtype::F16 => TensorData::F32(bytes.as_chunks().0.iter().map(|&b| f16::from_le_bytes(b).into()).collect()),
            Dtype::BF16 => {
                TensorData::F32(bytes.as_chunks().0.iter().map(|&b| bf16::from_le_bytes(b).into()).collect())
            }
            other => {
                return Err(ModelError::model(format!(
                    "tensor '{name}' has dtype {other:?}, but weights must be F16, BF16, F32 or F64"
                )));
            }
        };
        Tensor::new(shape, data).map_err(|error| error.at(&format!("tensor '{name}'")))
    }

    fn integers(&self, name: &str) -> Result<Vec<usize>, ModelError> {
        let view = self.view(name)?;
        let bytes = view.data();
        let read = |i: usize, value: i128| index(name, i, value);
        match view.dtype() {
            Dtype::I32 => {
                bytes.as_chunks().0.iter().enumerate().map(|(i, &b)| read(i, i32::from_le_bytes(b).into())).collect()
            }
            Dtype::U32 => {
                bytes.as_chunks().0.iter().enumerate().map(|(i, &b)| read(i, u32::from_le_bytes(b).into())).collect()
            }
            Dtype::I64 => {
                bytes.as_chunks().0.iter().enumerate().map(|(i, &b)| read(i, i64::from_le_bytes(b).into())).collect()
            }
            Dtype::U64 => {
                bytes.as_chunks().0.iter().enumerate().map(|(i, &b)| read(i, u64::from_le_bytes(b).into())).collect()
            }
            other => Err(ModelError::model(format!(
                "tensor '{name}' has dtype {other:?}, but indices must be I32, U32, I64 or U64"
            ))),
        }
    }
}
