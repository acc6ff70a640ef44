//! Constant tensors of an ONNX graph.

use std::sync::Arc;

use lipbound_lipschitz::{ModelError, Tensor, TensorData};

/// Most axes of a tensor.
const MOST_AXES: usize = 32;

/// The number of elements of a shape: fewer than 2^31, on at most 32 axes. Beside a zero, the other sizes are bounded
/// too, so that strides are always small.
pub(super) fn elements(shape: &[usize]) -> Result<usize, ModelError> {
    if shape.len() > MOST_AXES {
        return Err(ModelError::shape(format!("a tensor of {} axes, but at most {MOST_AXES} are read", shape.len())));
    }
    match shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d.max(1))).filter(|&n| n < 1 << 31) {
        Some(_) if shape.contains(&0) => Ok(0),
        Some(n) => Ok(n),
        None => Err(ModelError::shape(format!("shape {shape:?} has 2^31 elements or more"))),
    }
}

/// `count` numbers, in one allocation.
pub(super) fn filled<T: Copy + Default>(count: usize, mut values: impl Iterator<Item = T>) -> Arc<[T]> {
    try_filled(count, || Ok::<_, ModelError>(values.next().expect("as many numbers as the shape has")))
        .expect("no number fails")
}

/// `count` numbers that may fail to be made, in one allocation.
pub(super) fn try_filled<T: Copy + Default, E>(
    count: usize,
    mut next: impl FnMut() -> Result<T, E>,
) -> Result<Arc<[T]>, E> {
    let mut all: Arc<[T]> = std::iter::repeat_n(T::default(), count).collect();
    for place in Arc::get_mut(&mut all).expect("nobody else has it yet") {
        *place = next()?;
    }
    Ok(all)
}

/// The numbers of an [`Array`], in the precision in which they are computed with.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Numbers {
    /// Single precision; half precisions are widened to it, exactly.
    F32(Arc<[f32]>),
    /// Double precision.
    F64(Arc<[f64]>),
    /// Whole numbers of all widths, and booleans as 0 and 1.
    I64(Arc<[i64]>),
}

/// A constant tensor, last axis fastest. Scalars have the empty shape.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Array {
    pub shape: Vec<usize>,
    pub numbers: Numbers,
}

impl Array {
    pub fn len(&self) -> usize {
        match &self.numbers {
            Numbers::F32(v) => v.len(),
            Numbers::F64(v) => v.len(),
            Numbers::I64(v) => v.len(),
        }
    }

    /// The numbers as weights: finite, floating point.
    pub fn tensor(&self) -> Result<Tensor, ModelError> {
        let data = match &self.numbers {
            Numbers::F32(v) => TensorData::F32(v.clone()),
            Numbers::F64(v) => TensorData::F64(v.clone()),
            Numbers::I64(_) => return Err(ModelError::model("whole numbers where floating-point numbers are needed")),
        };
        Tensor::new(self.shape.clone(), data)
    }

    /// The numbers as whole numbers: shapes, axes, bounds of slices.
    pub fn integers(&self) -> Result<&[i64], ModelError> {
        match &self.numbers {
            Numbers::I64(v) => Ok(v),
            _ => Err(ModelError::model("floating-point numbers where whole numbers are needed")),
        }
    }
}
