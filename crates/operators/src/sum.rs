//! The sum of two operators: a residual connection made one.

use std::sync::Arc;

use crate::{Description, Footprint, LinearOperator, Workspace, check_lengths, compose, rounding};

/// `A + B`.
#[derive(Clone, Debug)]
pub struct Sum {
    left: Arc<dyn LinearOperator>,
    right: Arc<dyn LinearOperator>,
}

impl Sum {
    /// The sum of two operators of the same shape.
    ///
    /// # Panics
    /// If the shapes differ.
    #[must_use]
    pub fn new(left: Arc<dyn LinearOperator>, right: Arc<dyn LinearOperator>) -> Self {
        check_lengths(&*left, right.cols(), right.rows());
        Self { left, right }
    }
}

/// Runs both halves and adds the second to the first.
fn both(
    output: &mut [f64],
    ws: &mut Workspace,
    first: impl FnOnce(&mut [f64], &mut Workspace),
    second: impl FnOnce(&mut [f64], &mut Workspace),
    add: impl Fn(f64, f64) -> f64,
) {
    first(output, ws);
    let mut other = ws.take(output.len());
    second(&mut other, ws);
    output.iter_mut().zip(&other).for_each(|(a, &b)| *a = add(*a, b));
    ws.give(other);
}

impl LinearOperator for Sum {
    fn rows(&self) -> usize {
        self.left.rows()
    }

    fn cols(&self) -> usize {
        self.left.cols()
    }

    fn apply(&self, x: &[f64], y: &mut [f64], ws: &mut Workspace) {
        both(y, ws, |y, ws| self.left.apply(x, y, ws), |y, ws| self.right.apply(x, y, ws), |a, b| a + b);
    }

    fn apply_adjoint(&self, y: &[f64], x: &mut [f64], ws: &mut Workspace) {
        both(
            x,
            ws,
            |x, ws| self.left.apply_adjoint(y, x, ws),
            |x, ws| self.right.apply_adjoint(y, x, ws),
            |a, b| a + b,
        );
    }

    fn apply_abs(&self, x: &[f64], y: &mut [f64], ws: &mut Workspace) {
        both(y, ws, |y, ws| self.left.apply_abs(x, y, ws), |y, ws| self.right.apply_abs(x, y, ws), rounding::add_up);
    }

    fn apply_abs_adjoint(&self, y: &[f64], x: &mut [f64], ws: &mut Workspace) {
        both(
            x,
            ws,
            |x, ws| self.left.apply_abs_adjoint(y, x, ws),
            |x, ws| self.right.apply_abs_adjoint(y, x, ws),
            rounding::add_up,
        );
    }

    fn row_norms(&self, weights: Option<&[f64]>, norms: &mut [f64], ws: &mut Workspace) {
        if compose::rows_are_affordable(self) {
            compose::row_norms_by_adjoint(self, weights, norms, ws);
        } else {
            both(
                norms,
                ws,
                |n, ws| self.left.row_norms(weights, n, ws),
                |n, ws| self.right.row_norms(weights, n, ws),
                rounding::add_up,
            );
        }
    }

    fn describe(&self, description: &mut Description<'_>) {
        description.tag("sum");
        self.left.describe(description);
        self.right.describe(description);
    }

    fn rounding_length(&self) -> usize {
        self.left.rounding_length().max(self.right.rounding_length()) + 1
    }

    fn lost(&self) -> f64 {
        rounding::add_up(self.left.lost(), self.right.lost())
    }

    /// One at least: a sum of selections is none.
    fn weighted_factors(&self) -> usize {
        self.left.weighted_factors().max(self.right.weighted_factors()).max(1)
    }

    /// The second product, and a unit vector and two rows for row norms.
    fn footprint(&self) -> Footprint {
        Footprint::around(&self.parts(), 4)
    }

    fn parts(&self) -> Vec<Arc<dyn LinearOperator>> {
        vec![self.left.clone(), self.right.clone()]
    }

    fn abs_norm(&self) -> f64 {
        rounding::add_up(self.left.abs_norm(), self.right.abs_norm())
    }

    fn multiply_adds(&self) -> usize {
        self.left.multiply_adds() + self.right.multiply_adds() + self.rows()
    }
}
