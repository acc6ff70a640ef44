//! Constant tensors of an ONNX graph.

use std::sync::Arc;

use lipbound_lipschitz::{ModelError, Tensor, TensorData};

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
