//! Tensors: a shape and its numbers, in the precision they came in.

use std::sync::Arc;

use crate::ModelError;

/// Numbers of a tensor.
#[derive(Clone, Debug, PartialEq)]
pub enum TensorData {
    /// Single precision.
    F32(Arc<[f32]>),
    /// Double precision.
    F64(Arc<[f64]>),
}

/// A dense tensor, last axis fastest.
#[derive(Clone, Debug, PartialEq)]
pub struct Tensor {
    shape: Vec<usize>,
    data: TensorData,
}

impl Tensor {
    /// A tensor of finite numbers.
    ///
    /// # Errors
    /// If the shape does not have as many elements as there are numbers, or a number is NaN or infinite.
    pub fn new(shape: Vec<usize>, data: TensorData) -> Result<Self, ModelError> {
        let elements = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
        let tensor = Self { shape, data };
        if elements != Some(tensor.len()) {
            return Err(ModelError::shape(format!(
                "shape {:?} needs {} numbers, but there are {}",
                tensor.shape,
                elements.map_or("more than can be counted".into(), |n| n.to_string()),
                tensor.len()
            )));
        }
        if let Some(i) = (0..tensor.len()).find(|&i| !tensor.get(i).is_finite()) {
            return Err(ModelError::value(format!(
                "element {i} is {}, but every number must be finite",
                tensor.get(i)
            )));
        }
        Ok(tensor)
    }

    /// A double-precision tensor.
    ///
    /// # Errors
    /// As [`Tensor::new`].
    pub fn f64(shape: Vec<usize>, data: Vec<f64>) -> Result<Self, ModelError> {
        Self::new(shape, TensorData::F64(data.into()))
    }

    /// The shape.
    #[must_use]
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// The numbers as they are stored.
    #[must_use]
    pub fn data(&self) -> &TensorData {
        &self.data
    }

    /// Number of elements.
    #[must_use]
    pub fn len(&self) -> usize {
        match &self.data {
            TensorData::F32(v) => v.len(),
            TensorData::F64(v) => v.len(),
        }
    }

    /// Whether there is no element.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(crate) fn get(&self, i: usize) -> f64 {
        match &self.data {
            TensorData::F32(v) => f64::from(v[i]),
            TensorData::F64(v) => v[i],
        }
    }

    /// The numbers, widened exactly and without a copy in between; double ones are shared.
    #[must_use]
    pub fn shared_f64(&self) -> Arc<[f64]> {
        match &self.data {
            TensorData::F32(v) => v.iter().map(|&x| f64::from(x)).collect(),
            TensorData::F64(v) => v.clone(),
        }
    }

    /// The numbers, widened exactly.
    #[must_use]
    pub fn to_f64(&self) -> Vec<f64> {
        match &self.data {
            TensorData::F32(v) => v.iter().map(|&x| f64::from(x)).collect(),
            TensorData::F64(v) => v.to_vec(),
        }
    }
}
