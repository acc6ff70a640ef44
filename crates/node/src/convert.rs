//! Arguments across the boundary, and tensors both ways.

use std::time::Duration;

use lipbound_lipschitz::{Kind, MethodRequest, Tensor, TensorData};
use lipbound_models::{ImageOptions, Memory};
use lipbound_spectral::{self as spectral, GuaranteeRequest};
use napi::bindgen_prelude::{Either, Float32Array, Float64Array};
use napi_derive::napi;

use crate::error::Failure;

/// A tensor in JavaScript.
#[napi(object)]
pub struct NativeTensor {
    pub shape: Vec<f64>,
    pub data: Either<Float32Array, Float64Array>,
}

/// Copies a tensor in: JavaScript may change its buffer while work runs.
pub fn tensor_in(tensor: &NativeTensor, what: &str) -> Result<Tensor, Failure> {
    let shape = shape_in(&tensor.shape, what)?;
    let data = match &tensor.data {
        Either::A(values) => TensorData::F32(values.as_ref().into()),
        Either::B(values) => TensorData::F64(values.as_ref().into()),
    };
    Tensor::new(shape, data).map_err(|error| error.at(what).into())
}

pub fn shape_in(shape: &[f64], what: &str) -> Result<Vec<usize>, Failure> {
    shape
        .iter()
        .map(|&d| {
            if d.fract() == 0.0 && (0.0..4_294_967_296.0).contains(&d) {
                Ok(d as usize)
            } else {
                Err(Failure::argument(format!("{what}: a shape has whole numbers below 2^32, got {d}")))
            }
        })
        .collect()
}

pub fn tensor_out(tensor: &Tensor) -> NativeTensor {
    NativeTensor {
        shape: numbers(tensor.shape()),
        data: match tensor.data() {
            TensorData::F32(values) => Either::A(Float32Array::new(values.to_vec())),
            TensorData::F64(values) => Either::B(Float64Array::new(values.to_vec())),
        },
    }
}

pub fn numbers(shape: &[usize]) -> Vec<f64> {
    shape.iter().map(|&d| d as f64).collect()
}

/// Named tensors in memory.
pub fn memory_in(names: Vec<String>, tensors: &[NativeTensor]) -> Result<Memory, Failure> {
    if names.len() != tensors.len() {
        return Err(Failure::argument(format!("{} names for {} tensors", names.len(), tensors.len())));
    }
    let mut memory = Memory::new();
    for (name, tensor) in names.into_iter().zip(tensors) {
        let tensor = tensor_in(tensor, &format!("tensor '{name}'"))?;
        memory.insert(name, tensor);
    }
    Ok(memory)
}

/// Copies functionals in, as [`tensor_in`] does.
pub fn functionals_in(functionals: Option<&[Float64Array]>) -> Option<Vec<Vec<f64>>> {
    functionals.map(|functionals| functionals.iter().map(|functional| functional.to_vec()).collect())
}

/// What the tensor of a picture has to be.
#[napi(object)]
pub struct NativeImageOptions {
    /// 1 or 3.
    pub channels: Option<u32>,
    /// In pixels; with `width`.
    pub height: Option<u32>,
    /// In pixels; with `height`.
    pub width: Option<u32>,
    pub mean: Float64Array,
    pub std: Float64Array,
}

impl NativeImageOptions {
    pub fn read(&self) -> ImageOptions {
        ImageOptions {
            channels: self.channels.map(|channels| channels as usize),
            size: self.height.zip(self.width).map(|(height, width)| (height as usize, width as usize)),
            mean: self.mean.to_vec(),
            std: self.std.to_vec(),
        }
    }
}

/// Options of every norm.
#[napi(object)]
#[derive(Clone, Default)]
pub struct NormOptions {
    pub tolerance: Option<f64>,
    pub failure_probability: Option<f64>,
    pub max_steps: Option<f64>,
    pub seed: Option<f64>,
    #[napi(ts_type = "'auto' | 'deterministic' | 'probabilistic'")]
    pub guarantee: Option<String>,
    pub time_limit: Option<f64>,
}

/// Largest integer that a JavaScript number holds exactly.
const MAX_SAFE_INTEGER: u64 = (1 << 53) - 1;

/// A whole number.
pub fn whole(option: &str, value: f64) -> Result<usize, Failure> {
    if value.fract() == 0.0 && (0.0..=MAX_SAFE_INTEGER as f64).contains(&value) {
        Ok(value as usize)
    } else {
        Err(Failure::argument(format!("{option} must be a whole number from 0 to 2^53 - 1, got {value}")))
    }
}

impl NormOptions {
    pub fn read(&self) -> Result<spectral::NormOptions, Failure> {
        let defaults = spectral::NormOptions::default();
        let options = spectral::NormOptions {
            tolerance: self.tolerance.unwrap_or(defaults.tolerance),
            failure_probability: self.failure_probability.unwrap_or(defaults.failure_probability),
            max_steps: match self.max_steps {
                Some(steps) => whole("maxSteps", steps)?,
                None => defaults.max_steps,
            },
            seed: match self.seed {
                Some(seed) => whole("seed", seed)? as u64,
                None => random_seed()?,
            },
            stream: 0,
            enough: 0.0,
            guarantee: match self.guarantee.as_deref() {
                None | Some("auto") => GuaranteeRequest::Auto,
                Some("deterministic") => GuaranteeRequest::Deterministic,
                Some("probabilistic") => GuaranteeRequest::Probabilistic,
                Some(other) => {
                    return Err(Failure::argument(format!(
                        "guarantee must be 'auto', 'deterministic' or 'probabilistic', got '{other}'"
                    )));
                }
            },
            time_limit: match self.time_limit {
                None => None,
                Some(seconds) => Some(Duration::try_from_secs_f64(seconds).map_err(|_| {
                    Failure::argument(format!(
                        "timeLimit must be a number of seconds that is not negative, got {seconds}"
                    ))
                })?),
            },
        };
        options.validate()?;
        Ok(options)
    }
}

/// A seed from the operating system: nobody can have chosen a network against it.
fn random_seed() -> Result<u64, Failure> {
    getrandom::u64()
        .map(|seed| seed & MAX_SAFE_INTEGER)
        .map_err(|error| Failure::new("INTERNAL", format!("the system has no random numbers: {error}")))
}

pub fn kind_in(kind: &str) -> Result<Kind, Failure> {
    match kind {
        "centred" => Ok(Kind::Centred),
        "uniform" => Ok(Kind::Uniform),
        other => Err(Failure::argument(format!("kind must be 'centred' or 'uniform', got '{other}'"))),
    }
}

pub fn method_in(method: &str) -> Result<MethodRequest, Failure> {
    match method {
        "auto" => Ok(MethodRequest::Auto),
        "layerwise" => Ok(MethodRequest::Layerwise),
        "certificate" => Ok(MethodRequest::Certificate),
        other => Err(Failure::argument(format!("method must be 'auto', 'layerwise' or 'certificate', got '{other}'"))),
    }
}
