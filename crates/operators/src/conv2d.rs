//! A two-dimensional convolution.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use lipbound_kernels::direct;

use crate::{ConvShape, LinearOperator, ShapeError, Workspace, check_lengths, rounding};

/// The convolution of one example, as a matrix from the flat input to the flat output (both channel-major).
pub struct Conv2d {
    shape: ConvShape,
    weights: Arc<[f64]>,
    absolute: OnceLock<Vec<f64>>,
    squared: OnceLock<Vec<f64>>,
}

impl fmt::Debug for Conv2d {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Conv2d({:?})", self.shape)
    }
}

impl Conv2d {
    /// A convolution from its geometry and weights `[out, in / groups, kernel height, kernel width]`.
    ///
    /// # Errors
    /// If the geometry is impossible.
    ///
    /// # Panics
    /// If the number of weights is not that of the geometry.
    pub fn new(shape: ConvShape, weights: Arc<[f64]>) -> Result<Self, ShapeError> {
        shape.validate()?;
        assert_eq!(weights.len(), shape.weight_len(), "a convolution needs one weight for each tap");
        Ok(Self { shape, weights, absolute: OnceLock::new(), squared: OnceLock::new() })
    }

    /// The geometry.
    #[must_use]
    pub fn shape(&self) -> &ConvShape {
        &self.shape
    }

    /// The weights.
    #[must_use]
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    fn absolute(&self) -> &[f64] {
        self.absolute.get_or_init(|| self.weights.iter().map(|w| w.abs()).collect())
    }

    fn squared(&self) -> &[f64] {
        self.squared.get_or_init(|| self.weights.iter().map(|&w| rounding::square_or_tiny(w)).collect())
    }
}

impl LinearOperator for Conv2d {
    fn rows(&self) -> usize {
        self.shape.output_len()
    }

    fn cols(&self) -> usize {
        self.shape.input_len()
    }

    fn apply(&self, x: &[f64], y: &mut [f64], _: &mut Workspace) {
        direct::forward(&self.shape, &self.weights, x, y);
    }

    fn apply_adjoint(&self, y: &[f64], x: &mut [f64], _: &mut Workspace) {
        direct::adjoint(&self.shape, &self.weights, y, x);
    }

    fn apply_abs(&self, x: &[f64], y: &mut [f64], _: &mut Workspace) {
        direct::forward(&self.shape, self.absolute(), x, y);
        let n = self.rounding_length();
        y.iter_mut().for_each(|y| *y = rounding::raise(*y, n));
    }

    fn apply_abs_adjoint(&self, y: &[f64], x: &mut [f64], _: &mut Workspace) {
        direct::adjoint(&self.shape, self.absolute(), y, x);
        let n = self.rounding_length();
        x.iter_mut().for_each(|x| *x = rounding::raise(*x, n));
    }

    /// One convolution with the squared kernel: `norm(a_i^T D)^2 = (conv_{w^2}(d^2))_i`.
    fn row_norms(&self, weights: Option<&[f64]>, norms: &mut [f64], ws: &mut Workspace) {
        check_lengths(self, weights.map_or(self.cols(), <[f64]>::len), norms.len());
        let mut squares = ws.take(self.cols());
        match weights {
            Some(weights) => squares.iter_mut().zip(weights).for_each(|(s, &w)| *s = rounding::square_or_tiny(w)),
            None => squares.fill(1.0),
        }
        direct::forward(&self.shape, self.squared(), &squares, norms);
        let n = self.shape.fan_in() + 4;
        norms.iter_mut().for_each(|norm| *norm = rounding::sqrt_up(rounding::raise(*norm, n)));
        ws.give(squares);
    }

    fn rounding_length(&self) -> usize {
        self.shape.fan_in().max(self.shape.fan_out()) + 1
    }

    /// Row sums are at most those of a row that reads no padding; column sums at most those of an element that every
    /// tap reaches.
    fn abs_norm(&self) -> f64 {
        let taps = self.shape.kernel[0] * self.shape.kernel[1];
        let inputs = self.shape.in_channels / self.shape.groups;
        let outputs = self.shape.out_channels / self.shape.groups;
        let mut columns = vec![0.0; self.shape.in_channels];
        let mut widest: f64 = 0.0;
        for (o, filter) in self.weights.chunks(inputs * taps).enumerate() {
            let mut row = 0.0;
            for (c, taps) in filter.chunks(taps).enumerate() {
                let sum: f64 = taps.iter().map(|w| w.abs()).sum();
                row += sum;
                columns[o / outputs * inputs + c] += sum;
            }
            widest = widest.max(row);
        }
        rounding::from_sums(widest, rounding::max_or_infinite(&columns), self.shape.fan_in() + self.shape.fan_out())
    }

    fn multiply_adds(&self) -> usize {
        self.shape.multiply_adds()
    }
}
