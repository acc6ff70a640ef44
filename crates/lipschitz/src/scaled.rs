//! The scaled increment operator `K`, whose norm is the certificate.

use std::fmt;

use lipbound_operators::{LinearOperator, Workspace, rounding};

use crate::increments::{Arithmetic, Increments, LOST};

/// `K : (kappa dx, w e) -> (dy, w delta dv)`, over the units that take part.
///
/// Stored are the reciprocals that the columns need; `1 / stored` is the weight, exactly, and `delta w` on the rows is
/// rounded up from it, so that `K` is at least the operator of the theorem, row by row.
pub(crate) struct Scaled<'a> {
    increments: &'a Increments,
    /// Column scale of the input, `1 / kappa`.
    inverse_kappa: f64,
    /// For every unit: its place among those that take part.
    place: Vec<Option<u32>>,
    /// Column scales of the errors, `1 / w`, by place.
    inverse_weights: Vec<f64>,
    /// Row scales of the pre-activations, `>= w delta`, by place.
    row_scales: Vec<f64>,
    abs_norm: f64,
    /// More than underflow can take from a product with the operator or its adjoint, as a norm.
    lost: f64,
}

/// Most that underflow may take. Ordinary networks lose about 1e-240; beyond this one the certificate is given up.
const MOST_LOST: f64 = 1e-150;

impl fmt::Debug for Scaled<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scaled({} x {})", self.rows(), self.cols())
    }
}

impl<'a> Scaled<'a> {
    /// The operator with weights for the units that take part; `None` where a weight leaves the range of numbers.
    pub fn new(increments: &'a Increments, kappa: f64, weights: &[Option<f64>], ws: &mut Workspace) -> Option<Self> {
        let inverse_kappa = 1.0 / kappa;
        let mut place = vec![None; weights.len()];
        let (mut inverse_weights, mut row_scales) = (Vec::new(), Vec::new());
        for (unit, weight) in weights.iter().enumerate() {
            let Some(weight) = weight else { continue };
            place[unit] = Some(inverse_weights.len() as u32);
            let inverse = 1.0 / weight;
            inverse_weights.push(inverse);
            row_scales.push(rounding::div_up(increments.units[unit].delta, inverse));
        }
        let usable = |x: f64| x.is_normal() && x > 0.0;
        if !usable(inverse_kappa) || !inverse_weights.iter().chain(&row_scales).all(|&x| usable(x)) {
            return None;
        }
        let mut this =
            Self { increments, inverse_kappa, place, inverse_weights, row_scales, abs_norm: f64::INFINITY, lost: 0.0 };
        this.lost = this.bound_lost(ws);
        if this.lost.is_nan() || this.lost > MOST_LOST {
            return None;
        }
        // A rounding bound is at least 1e-16 times this, and so covers what underflow takes from any vector that an
        // iteration goes on with.
        this.abs_norm = rounding::add_up(this.bound_abs_norm(ws), 1e60 * this.lost);
        Some(this)
    }

    /// The `kappa` that the columns really have, rounded up.
    pub fn kappa(&self) -> f64 {
        rounding::div_up(1.0, self.inverse_kappa)
    }

    /// What a pass makes of nothing but losses, forwards and backwards.
    fn bound_lost(&self, ws: &mut Workspace) -> f64 {
        let (mut x, mut y) = (vec![0.0; self.cols()], vec![0.0; self.rows()]);
        self.pass(&x, &mut y, Arithmetic::Lossy, ws);
        let forward = rounding::norm_up(&y);
        y.fill(0.0);
        self.pass_adjoint(&y, &mut x, Arithmetic::Lossy, ws);
        2.0 * rounding::add_up(forward, rounding::norm_up(&x))
    }

    /// `norm(|K|)^2 <= max_i (|K|^T |K| x)_i / x_i` for any positive x (Collatz and Wielandt); the first step has ones,
    /// the next what they became.
    fn bound_abs_norm(&self, ws: &mut Workspace) -> f64 {
        let (mut x, mut y) = (vec![1.0; self.cols()], vec![0.0; self.rows()]);
        let mut best = f64::INFINITY;
        for _ in 0..4 {
            let mut next = vec![0.0; x.len()];
            self.apply_abs(&x, &mut y, ws);
            self.apply_abs_adjoint(&y, &mut next, ws);
            let ratios: Vec<f64> = next.iter().zip(&x).map(|(&n, &x)| rounding::div_up(n, x)).collect();
            let ratio = rounding::max_or_infinite(&ratios);
            best = best.min(ratio);
            // Positive again, whatever vanished, and of the size of one.
            let largest = rounding::max_or_infinite(&next);
            if !(largest > 0.0 && largest.is_finite()) {
                break;
            }
            x = next.into_iter().map(|n| (n / largest).max(1e-6)).collect();
        }
        rounding::sqrt_up(best)
    }

    fn pass(&self, x: &[f64], y: &mut [f64], arithmetic: Arithmetic, ws: &mut Workspace) {
        let (inputs, outputs) = (self.increments.inputs, self.increments.outputs());
        let mut dx = ws.take(inputs);
        let lost = if arithmetic == Arithmetic::Lossy { LOST } else { 0.0 };
        dx.iter_mut().zip(x).for_each(|(d, x)| *d = x * self.inverse_kappa + lost);
        let (y_out, y_units) = y.split_at_mut(outputs);
        let dy = self.increments.forward(
            vec![dx],
            arithmetic,
            &mut |unit, at| match self.place[unit] {
                Some(place) => {
                    let place = place as usize;
                    y_units[place] = at[0] * self.row_scales[place] + lost;
                    at[0] = x[inputs + place] * self.inverse_weights[place] + lost;
                }
                None => at[0] = 0.0,
            },
            ws,
        );
        for dy in dy {
            y_out.copy_from_slice(&dy);
            ws.give(dy);
        }
    }

    fn pass_adjoint(&self, y: &[f64], x: &mut [f64], arithmetic: Arithmetic, ws: &mut Workspace) {
        let (inputs, outputs) = (self.increments.inputs, self.increments.outputs());
        let mut gy = ws.take(outputs);
        gy.copy_from_slice(&y[..outputs]);
        let lost = if arithmetic == Arithmetic::Lossy { LOST } else { 0.0 };
        let (x_in, x_units) = x.split_at_mut(inputs);
        // A unit whose step nothing reads is not visited.
        x_units.fill(0.0);
        let gx = self.increments.backward(
            vec![gy],
            arithmetic,
            &mut |unit, at| match self.place[unit] {
                Some(place) => {
                    let place = place as usize;
                    x_units[place] = at[0] * self.inverse_weights[place] + lost;
                    at[0] = y[outputs + place] * self.row_scales[place] + lost;
                }
                None => at[0] = 0.0,
            },
            ws,
        );
        for gx in gx {
            x_in.iter_mut().zip(&gx).for_each(|(x, g)| *x = g * self.inverse_kappa + lost);
            ws.give(gx);
        }
    }
}

impl LinearOperator for Scaled<'_> {
    fn rows(&self) -> usize {
        self.increments.outputs() + self.row_scales.len()
    }

    fn cols(&self) -> usize {
        self.increments.inputs + self.inverse_weights.len()
    }

    fn apply(&self, x: &[f64], y: &mut [f64], ws: &mut Workspace) {
        self.pass(x, y, Arithmetic::Signed, ws);
    }

    fn apply_adjoint(&self, y: &[f64], x: &mut [f64], ws: &mut Workspace) {
        self.pass_adjoint(y, x, Arithmetic::Signed, ws);
    }

    fn apply_abs(&self, x: &[f64], y: &mut [f64], ws: &mut Workspace) {
        self.pass(x, y, Arithmetic::Absolute, ws);
        let n = self.rounding_length();
        // What underflow took is missing in the computed sums, and must not be missing in a bound.
        y.iter_mut().for_each(|y| *y = rounding::add_up(rounding::raise(*y, n), self.lost));
    }

    fn apply_abs_adjoint(&self, y: &[f64], x: &mut [f64], ws: &mut Workspace) {
        self.pass_adjoint(y, x, Arithmetic::Absolute, ws);
        let n = self.rounding_length();
        x.iter_mut().for_each(|x| *x = rounding::add_up(rounding::raise(*x, n), self.lost));
    }

    /// The sums of the absolute rows, which bound their norms: one pass for all rows.
    fn row_norms(&self, weights: Option<&[f64]>, norms: &mut [f64], ws: &mut Workspace) {
        let ones = vec![1.0; self.cols()];
        self.apply_abs(weights.unwrap_or(&ones), norms, ws);
    }

    fn rounding_length(&self) -> usize {
        self.increments.rounding_length() + 4
    }

    fn lost(&self) -> f64 {
        self.lost
    }

    fn abs_norm(&self) -> f64 {
        self.abs_norm
    }

    fn multiply_adds(&self) -> usize {
        self.increments.multiply_adds() + self.rows() + self.cols()
    }
}
