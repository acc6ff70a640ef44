//! Linear operators: matrix-free forward and adjoint, row norms, and what a rounding analysis needs of them.
//!
//! An operator is a real matrix `A` (rows x columns) that is never formed. Everything later — norms, bounds,
//! certificates — sees a layer through [`LinearOperator`] only.
//!
//! Each kind states how far its computed products may be off: an `n` with `|fl(A x) - A x| <= gamma_n |A| |x|`, element by
//! element, `gamma_n = n u / (1 - n u)` and `u = 2^-53` (N. Higham, _Accuracy and Stability of Numerical Algorithms_, 2nd
//! ed., section 3.1). [`mod@rounding`] has what follows from that, and docs/soundness.md, (R1) to (R5), the whole of it.

mod compose;
mod conv2d;
mod dense;
mod describe;
mod diagonal;
mod footprint;
mod fused;
mod masked;
pub mod rounding;
mod scale;
mod selection;
mod sparse;
mod sum;
mod workspace;

pub use compose::Compose;
pub use conv2d::{Conv2d, MaskedConv, blocked};
pub use dense::{Dense, Element};
pub use describe::Description;
pub use diagonal::Diagonal;
pub use footprint::Footprint;
pub use fused::masked;
pub use lipbound_kernels::{ConvShape, ShapeError};
pub use masked::Masked;
pub use scale::{Scale, ScaledConv};
pub use selection::Selection;
pub use sparse::{Sparse, SparseError};
pub use sum::Sum;
pub use workspace::Workspace;

use std::{fmt::Debug, sync::Arc};

use lipbound_kernels::isa::Isa;

/// A real matrix `A`, known by its action.
///
/// Results are written into caller-owned slices, scratch comes from a [`Workspace`]: a step of an iterative method
/// allocates nothing. The trait is object-safe, since a network holds operators of many kinds.
///
/// # Rounding
/// For every kind, `apply` and `apply_adjoint` in floating point differ from the exact product by at most
/// `gamma(n) * |A| |x|`, element by element, with `n` = [`rounding_length`](Self::rounding_length) and `|A| |x|` what
/// [`apply_abs`](Self::apply_abs) bounds (Higham, *Accuracy and Stability of Numerical Algorithms*, section 3.1, and
/// its sum and product rules for composed operators): (R5) of docs/soundness.md. Underflow is not in that bound; weights
/// are restricted to magnitudes for which it is irrelevant (see the `lipschitz` crate).
///
/// # Panics
/// Methods panic when a slice does not have the length that [`rows`](Self::rows) or [`cols`](Self::cols) says.
pub trait LinearOperator: Debug + Send + Sync {
    /// Number of outputs.
    fn rows(&self) -> usize;

    /// Number of inputs.
    fn cols(&self) -> usize;

    /// `y = A x`.
    fn apply(&self, x: &[f64], y: &mut [f64], ws: &mut Workspace);

    /// `x = A^T y`.
    fn apply_adjoint(&self, y: &[f64], x: &mut [f64], ws: &mut Workspace);

    /// `y >= |A| x` for `x >= 0`: element-wise upper bounds, rounded outward. For composed operators `|A|` is the
    /// product of the absolute factors.
    fn apply_abs(&self, x: &[f64], y: &mut [f64], ws: &mut Workspace);

    /// `x >= |A|^T y` for `y >= 0`, as [`apply_abs`](Self::apply_abs).
    fn apply_abs_adjoint(&self, y: &[f64], x: &mut [f64], ws: &mut Workspace);

    /// `norms[i] >= norm(a_i^T diag(weights))`, the norm of row `i`, rounded outward; `weights` (all >= 0) default to
    /// one. Exact up to rounding, except for the rows of large composed operators, where it is an upper bound.
    fn row_norms(&self, weights: Option<&[f64]>, norms: &mut [f64], ws: &mut Workspace);

    /// The `n` of the rounding bound above.
    fn rounding_length(&self) -> usize;

    /// An upper bound of the spectral norm of `|A|` (for composed operators: of the product of the absolute factors),
    /// from row and column sums: `norm(|A|)^2 <= norm_1 norm_inf`. Cheap; it scales the rounding bounds.
    fn abs_norm(&self) -> f64;

    /// More than underflow can take from any one element of a product with the operator, its magnitudes or their
    /// adjoints. Few operations touch an element of a plain kind, and each takes less than the smallest number there is;
    /// but where factors follow, what one has lost is multiplied by the next.
    fn lost(&self) -> f64 {
        LOST
    }

    /// Clears the entries of `active` whose column is known to be zero.
    fn mark_active_cols(&self, _active: &mut [bool]) {}

    /// Clears the entries of `active` whose row is known to be zero.
    fn mark_active_rows(&self, _active: &mut [bool]) {}

    /// Row `i`, each entry off by at most `gamma(rounding_length)` times that of `|A|`, as a product would be.
    fn row_into(&self, i: usize, row: &mut [f64], ws: &mut Workspace) {
        let mut unit = ws.zeros(self.rows());
        unit[i] = 1.0;
        self.apply_adjoint(&unit, row, ws);
        ws.give(unit);
    }

    /// The operator as a convolution between two scales, if it is one: that structure has norm bounds of its own.
    fn convolution(&self) -> Option<MaskedConv<'_>> {
        None
    }

    /// The operator as a convolution between two diagonals, if it is one, for [`masked`] to fuse.
    fn scaled_conv(self: Arc<Self>) -> Option<ScaledConv> {
        None
    }

    /// The diagonal, if the operator is diagonal.
    fn diagonal(&self) -> Option<Scale> {
        None
    }

    /// `y <- a A x - b y`, and the sum of squares of the new `y`: one half of a Lanczos step. With `b = 0` the old
    /// `y` is not read. `x` must be zero in the columns that [`mark_active_cols`](Self::mark_active_cols) clears, as
    /// all vectors of a process are whose start is: an operator need not mask it again.
    fn recur(&self, a: f64, x: &[f64], b: f64, y: &mut [f64], ws: &mut Workspace) -> f64 {
        recur_by(b, y, ws, |t, ws| self.apply(x, t, ws), a)
    }

    /// `x <- a A^T y - b x`, and the sum of squares of the new `x`: the other half of a Lanczos step. `y` must be zero
    /// in the rows that [`mark_active_rows`](Self::mark_active_rows) clears.
    fn recur_adjoint(&self, a: f64, y: &[f64], b: f64, x: &mut [f64], ws: &mut Workspace) -> f64 {
        recur_by(b, x, ws, |t, ws| self.apply_adjoint(y, t, ws), a)
    }

    /// Roundings that touch one term of the sums of squares above, and of [`rounding::sum_of_squares`] of a vector.
    fn norm_roundings(&self) -> usize {
        rounding::chunk_rounding(self.rows().max(self.cols()))
    }

    /// Multiply-adds of one `apply`, for predicting cost.
    fn multiply_adds(&self) -> usize;

    /// What the operator and its products take of memory. The default is that of products which need nothing but their
    /// input and output, and of an operator without coefficients.
    fn footprint(&self) -> Footprint {
        Footprint::plain(self.rows(), self.cols())
    }

    /// The operators that it is made of; the same one may be in several places.
    fn parts(&self) -> Vec<Arc<dyn LinearOperator>> {
        Vec::new()
    }

    /// If every row has at most one entry: the column of each row and an upper bound of the magnitude of its entry.
    /// Lets compositions keep exact row norms.
    fn monomial_rows(&self) -> Option<Vec<(usize, f64)>> {
        None
    }

    /// Weights `v` with `norm(b^T A diag(weights)) <= norm(b^T diag(v))` for every b, equal up to rounding, if there
    /// are any: the operator is diagonal, or chooses no input twice. `weights` default to one. Lets compositions keep
    /// exact row norms.
    fn row_weights_before(&self, _weights: Option<&[f64]>) -> Option<Vec<f64>> {
        None
    }

    /// The operator as a selection, if it is one.
    fn selection(&self) -> Option<&Selection> {
        None
    }

    /// How many factors of the operator have entries other than zero and one: products of too many leave the range of
    /// numbers when they are squared.
    fn weighted_factors(&self) -> usize {
        1
    }

    /// Tells what the operator is made of: its kind, its shape and all its coefficients, bit for bit. Operators with
    /// the same description are the same matrix. Kinds that networks hold tell their stored coefficients; the rows of
    /// the matrix, which this default tells, cost a product each and have the rounding of the machine's kernels.
    fn describe(&self, description: &mut Description<'_>) {
        description.matrix(self);
    }

    /// The matrix itself, row by row. For small operators and tests.
    fn to_dense(&self) -> Dense<f64> {
        let (rows, cols) = (self.rows(), self.cols());
        let mut ws = Workspace::new();
        let mut values = vec![0.0; rows * cols];
        if rows <= cols {
            let mut unit = vec![0.0; rows];
            for i in 0..rows {
                unit[i] = 1.0;
                self.apply_adjoint(&unit, &mut values[i * cols..(i + 1) * cols], &mut ws);
                unit[i] = 0.0;
            }
        } else {
            let (mut unit, mut column) = (vec![0.0; cols], vec![0.0; rows]);
            for j in 0..cols {
                unit[j] = 1.0;
                self.apply(&unit, &mut column, &mut ws);
                unit[j] = 0.0;
                for (i, &value) in column.iter().enumerate() {
                    values[i * cols + j] = value;
                }
            }
        }
        Dense::new(rows, cols, values.into())
    }
}

/// More than 2^31 operations can lose to underflow, none of whose results is multiplied afterwards.
pub(crate) const LOST: f64 = 1e-300;

/// What an element may have lost behind an operator with `inputs` inputs, each of which has lost at most `before`:
/// `norm_inf(|A|) <= sqrt(inputs) norm_2(|A|)`.
pub(crate) fn lost_behind(operator: &dyn LinearOperator, inputs: usize, before: f64) -> f64 {
    let carried = rounding::mul_up(rounding::mul_up(rounding::sqrt_up(inputs as f64), operator.abs_norm()), before);
    rounding::add_up(operator.lost(), carried)
}

fn recur_by(b: f64, y: &mut [f64], ws: &mut Workspace, action: impl FnOnce(&mut [f64], &mut Workspace), a: f64) -> f64 {
    let mut product = ws.take(y.len());
    action(&mut product, ws);
    if b == 0.0 {
        y.iter_mut().zip(&product).for_each(|(y, t)| *y = a * t);
    } else {
        y.iter_mut().zip(&product).for_each(|(y, t)| *y = a * t - b * *y);
    }
    ws.give(product);
    rounding::sum_of_squares(y, 1.0)
}

/// The instruction set of this process.
///
/// # Panics
/// If `LIPBOUND_ISA` asks for one that does not exist or cannot run here: to go on with another would make a test of
/// that set pass for nothing. Programs check [`Isa::selected`] when they start.
pub(crate) fn isa() -> Isa {
    Isa::selected().unwrap_or_else(|error| panic!("{error}"))
}

/// Checks the slices of an application; one line at the head of every implementation.
#[track_caller]
pub(crate) fn check_lengths(operator: &dyn LinearOperator, x: usize, y: usize) {
    assert_eq!(x, operator.cols(), "an input does not have one element a column");
    assert_eq!(y, operator.rows(), "an output does not have one element a row");
}
