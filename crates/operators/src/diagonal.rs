//! A diagonal matrix.

use crate::{Description, Footprint, LinearOperator, Scale, Workspace, check_lengths, rounding};

/// `diag(values)`: per-element scales such as batch normalisation.
///
/// The stored values may themselves be rounded results (a batch normalisation's `weight / sqrt(variance + eps)`); how
/// many roundings they carry is part of the operator, and every bound covers the unrounded diagonal.
#[derive(Clone, Debug)]
pub struct Diagonal {
    values: Vec<f64>,
    roundings: usize,
}

impl Diagonal {
    /// The diagonal matrix with these values.
    #[must_use]
    pub fn new(values: Vec<f64>) -> Self {
        Self { values, roundings: 0 }
    }

    /// The diagonal matrix whose entries were computed as `values` with at most `roundings` relative roundings each.
    #[must_use]
    pub fn rounded(values: Vec<f64>, roundings: usize) -> Self {
        Self { values, roundings }
    }

    fn magnitude(&self, value: f64) -> f64 {
        if self.roundings == 0 { value.abs() } else { rounding::raise(value.abs(), self.roundings) }
    }
}

impl LinearOperator for Diagonal {
    fn rows(&self) -> usize {
        self.values.len()
    }

    fn cols(&self) -> usize {
        self.values.len()
    }

    fn apply(&self, x: &[f64], y: &mut [f64], _: &mut Workspace) {
        check_lengths(self, x.len(), y.len());
        for ((y, x), a) in y.iter_mut().zip(x).zip(&self.values) {
            *y = a * x;
        }
    }

    fn apply_adjoint(&self, y: &[f64], x: &mut [f64], ws: &mut Workspace) {
        self.apply(y, x, ws);
    }

    fn apply_abs(&self, x: &[f64], y: &mut [f64], _: &mut Workspace) {
        check_lengths(self, x.len(), y.len());
        for ((y, &x), a) in y.iter_mut().zip(x).zip(&self.values) {
            *y = rounding::mul_up(self.magnitude(*a), x);
        }
    }

    fn apply_abs_adjoint(&self, y: &[f64], x: &mut [f64], ws: &mut Workspace) {
        self.apply_abs(y, x, ws);
    }

    fn row_norms(&self, weights: Option<&[f64]>, norms: &mut [f64], ws: &mut Workspace) {
        match weights {
            Some(weights) => self.apply_abs(weights, norms, ws),
            None => norms.iter_mut().zip(&self.values).for_each(|(n, a)| *n = self.magnitude(*a)),
        }
    }

    fn describe(&self, description: &mut Description<'_>) {
        description.tag("diagonal");
        description.size(self.roundings);
        description.numbers(self.values.iter().copied());
    }

    fn rounding_length(&self) -> usize {
        1 + self.roundings
    }

    fn abs_norm(&self) -> f64 {
        self.values.iter().fold(0.0, |m: f64, &v| m.max(self.magnitude(v)))
    }

    fn mark_active_cols(&self, active: &mut [bool]) {
        active.iter_mut().zip(&self.values).for_each(|(a, &v)| *a &= v != 0.0);
    }

    fn mark_active_rows(&self, active: &mut [bool]) {
        self.mark_active_cols(active);
    }

    fn footprint(&self) -> Footprint {
        let held = self.values.capacity() * size_of::<f64>();
        Footprint { held, ..Footprint::plain(self.rows(), self.cols()) }
    }

    fn multiply_adds(&self) -> usize {
        self.values.len()
    }

    fn monomial_rows(&self) -> Option<Vec<(usize, f64)>> {
        Some(self.values.iter().map(|&v| self.magnitude(v)).enumerate().collect())
    }

    fn row_weights_before(&self, weights: Option<&[f64]>) -> Option<Vec<f64>> {
        let magnitudes = self.values.iter().map(|&v| self.magnitude(v));
        Some(match weights {
            Some(weights) => magnitudes.zip(weights).map(|(a, &w)| rounding::mul_up(a, w)).collect(),
            None => magnitudes.collect(),
        })
    }

    fn diagonal(&self) -> Option<Scale> {
        Some(Scale::new(self.values.clone(), self.roundings))
    }
}
