//! A convolution between two diagonals, as its factors: what the fused operator is made of.

use std::sync::Arc;

use crate::{Conv2d, rounding};

/// The diagonal of a diagonal matrix, of any signs; all ones if there are no values.
#[derive(Clone, Debug, Default)]
pub struct Scale {
    values: Option<Vec<f64>>,
    roundings: usize,
}

impl Scale {
    /// A diagonal whose values carry at most `roundings` relative roundings each.
    #[must_use]
    pub fn new(values: Vec<f64>, roundings: usize) -> Self {
        Self { values: Some(values), roundings }
    }

    /// The values, if they are not all one by construction.
    #[must_use]
    pub fn values(&self) -> Option<&[f64]> {
        self.values.as_deref()
    }

    /// How many roundings the values carry.
    #[must_use]
    pub fn roundings(&self) -> usize {
        self.roundings
    }

    /// Whether all values are exactly zero or one.
    #[must_use]
    pub fn is_mask(&self) -> bool {
        self.roundings == 0 && self.values().is_none_or(|values| values.iter().all(|&v| v == 0.0 || v == 1.0))
    }

    /// Upper bounds of the magnitudes of the unrounded values.
    #[must_use]
    pub fn magnitudes(&self) -> Option<Vec<f64>> {
        let magnitude = |v: &f64| if self.roundings == 0 { v.abs() } else { rounding::raise(v.abs(), self.roundings) };
        self.values().map(|values| values.iter().map(magnitude).collect())
    }

    /// The product of two diagonals; `None` if a value leaves the range in which a rounding is a relative one.
    #[must_use]
    pub fn times(self, other: Self) -> Option<Self> {
        let exact = self.is_mask() || other.is_mask();
        let roundings = self.roundings + other.roundings + usize::from(!exact);
        let values = match (self.values, other.values) {
            (Some(mut values), Some(other)) => {
                for (v, w) in values.iter_mut().zip(other) {
                    let product = *v * w;
                    if !(product.is_normal() || *v == 0.0 || w == 0.0) {
                        return None;
                    }
                    *v = product;
                }
                Some(values)
            }
            (values, other) => values.or(other),
        };
        Some(Self { roundings: if values.is_some() { roundings } else { 0 }, values })
    }
}

/// `diag(rows) A diag(cols)` with `A` a convolution.
#[derive(Clone, Debug)]
pub struct ScaledConv {
    /// The convolution.
    pub conv: Arc<Conv2d>,
    /// Scales of the outputs.
    pub rows: Scale,
    /// Scales of the inputs.
    pub cols: Scale,
}
