//! The few things a layer can be.

use std::sync::Arc;

use lipbound_operators::LinearOperator;

use crate::{MaxPool, Units};

/// The constant part of an affine map, and how far each computed constant may be off.
#[derive(Clone, Debug)]
pub struct Bias {
    /// The constants.
    pub values: Arc<[f64]>,
    /// Bounds of their rounding errors; `None` when they are exact.
    pub errors: Option<Arc<[f64]>>,
}

/// `z = A x + b`.
#[derive(Clone, Debug)]
pub struct Affine {
    /// The linear part.
    pub operator: Arc<dyn LinearOperator>,
    /// The constant part.
    pub bias: Option<Bias>,
}

/// A node's function.
#[derive(Clone, Debug)]
pub enum Layer {
    /// An affine map of one input.
    Affine(Affine),
    /// Element-wise units.
    Unit(Units),
    /// A max pool.
    MaxPool(Arc<MaxPool>),
    /// Nothing: flatten, dropout at inference.
    Identity,
    /// The sum of two or more branches of equal shape.
    Add,
    /// The elements of two or more branches, one branch behind the other.
    Concat,
}
