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
            // Positive again, whatever vanished or was no number, and of the size of one.
            let largest = rounding::max_or_infinite(&next);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::{Example, norm_of_columns};

    const KAPPA: f64 = 3.0;

    /// Weights of the units that take part; one of them does not.
    fn weights() -> Vec<Option<f64>> {
        vec![Some(0.3), Some(7.0), None, Some(1.1), Some(0.01), Some(2.0)]
    }

    /// `K` by columns, number by number: `(kappa dx, w e) -> (dy, w delta dv)`.
    fn expected(example: &Example) -> Vec<Vec<f64>> {
        let (increments, weights) = (example.increments(), weights());
        let (inputs, outputs) = (increments.inputs, increments.outputs());
        let takes_part = |at: usize, before: usize| at < before || weights[at - before].is_some();
        let scale = |at: usize, before: usize, of_all: f64| {
            if at < before { of_all } else { weights[at - before].unwrap() }
        };
        let columns = example.columns();
        (0..columns.len())
            .filter(|&j| takes_part(j, inputs))
            .map(|j| {
                (0..columns[j].len())
                    .filter(|&i| takes_part(i, outputs))
                    .map(|i| {
                        let delta = if i < outputs { 1.0 } else { increments.units[i - outputs].delta };
                        columns[j][i] * delta * scale(i, outputs, 1.0) / scale(j, inputs, KAPPA)
                    })
                    .collect()
            })
            .collect()
    }

    #[test]
    fn the_operator_is_that_of_the_theorem() {
        let (example, mut ws) = (Example::new(), Workspace::new());
        let increments = example.increments();
        let operator = Scaled::new(&increments, KAPPA, &weights(), &mut ws).unwrap();
        let columns = expected(&example);
        let (rows, cols) = (columns[0].len(), columns.len());
        assert_eq!((operator.rows(), operator.cols(), rows, cols), (7, 8, 7, 8));
        assert!(operator.kappa() >= KAPPA && operator.kappa() <= KAPPA * (1.0 + 1e-15));
        let near = |found: f64, exact: f64, what: &str| {
            assert!((found - exact).abs() <= 1e-13 * exact.abs(), "{what}: {found} for {exact}");
        };
        // What is from above is a bound, and no more than rounding away.
        let above = |found: f64, exact: f64, what: &str| {
            assert!(found >= exact && found <= exact * (1.0 + 1e-12) + 1e-200, "{what}: {found} for {exact}");
        };
        for (j, column) in columns.iter().enumerate() {
            let mut x = vec![0.0; cols];
            x[j] = 1.0;
            let (mut y, mut absolute) = (vec![f64::NAN; rows], vec![f64::NAN; rows]);
            operator.apply(&x, &mut y, &mut ws);
            operator.apply_abs(&x, &mut absolute, &mut ws);
            for i in 0..rows {
                near(y[i], column[i], &format!("row {i}, column {j}"));
                assert!(absolute[i] >= column[i].abs());
            }
        }
        for i in 0..rows {
            let mut y = vec![0.0; rows];
            y[i] = 1.0;
            let (mut x, mut absolute) = (vec![f64::NAN; cols], vec![f64::NAN; cols]);
            operator.apply_adjoint(&y, &mut x, &mut ws);
            operator.apply_abs_adjoint(&y, &mut absolute, &mut ws);
            for j in 0..cols {
                near(x[j], columns[j][i], &format!("adjoint, row {i}, column {j}"));
                assert!(absolute[j] >= columns[j][i].abs());
            }
        }
        // All coefficients by their magnitudes, the paths between them too.
        let positive = Example {
            maps: example
                .maps
                .iter()
                .map(|m| m.iter().map(|r| r.iter().map(|a| a.abs()).collect()).collect())
                .collect(),
            ..Example::new()
        };
        let absolute = expected(&positive);
        let ones = (vec![1.0; cols], vec![1.0; rows]);
        let (mut sums, mut adjoint_sums, mut norms) = (vec![0.0; rows], vec![0.0; cols], vec![0.0; rows]);
        operator.apply_abs(&ones.0, &mut sums, &mut ws);
        operator.apply_abs_adjoint(&ones.1, &mut adjoint_sums, &mut ws);
        operator.row_norms(None, &mut norms, &mut ws);
        for i in 0..rows {
            let exact: f64 = absolute.iter().map(|column| column[i]).sum();
            above(sums[i], exact, &format!("row {i}"));
            let norm = columns.iter().map(|column| column[i] * column[i]).sum::<f64>().sqrt();
            assert!(norms[i] >= norm && norms[i] <= exact * (1.0 + 1e-12), "row {i}: {} for {norm}", norms[i]);
        }
        for (j, column) in absolute.iter().enumerate() {
            above(adjoint_sums[j], column.iter().sum(), &format!("column {j}"));
        }
        let halves = vec![0.5; cols];
        operator.row_norms(Some(&halves), &mut norms, &mut ws);
        assert!(norms.iter().zip(&sums).all(|(half, whole)| (2.0 * half / whole - 1.0).abs() < 1e-12));
        // A few steps of the iteration come near the norm of magnitudes, from above.
        let exact = norm_of_columns(&absolute);
        assert!(operator.abs_norm() >= exact * (1.0 - 1e-12), "{} for {exact}", operator.abs_norm());
        assert!(operator.abs_norm() <= exact * 1.05, "{} for {exact}", operator.abs_norm());
        assert_eq!(format!("{operator:?}"), "Scaled(7 x 8)");
    }

    #[test]
    fn its_roundings_and_its_work_are_more_than_those_of_the_increments() {
        let (example, mut ws) = (Example::new(), Workspace::new());
        let increments = example.increments();
        let operator = Scaled::new(&increments, KAPPA, &weights(), &mut ws).unwrap();
        // The reciprocal of a weight and its product; the scale of a row and its product.
        let more = operator.rounding_length() - increments.rounding_length();
        assert_eq!(more, 4);
        // A product for every row and every column.
        assert_eq!(operator.multiply_adds(), increments.multiply_adds() + 7 + 8);
    }

    #[test]
    fn what_underflow_takes_is_counted_in_the_scales_that_are_used() {
        let (example, mut ws) = (Example::new(), Workspace::new());
        let increments = example.increments();
        let lost = |kappa: f64, weight: f64, ws: &mut Workspace| {
            Scaled::new(&increments, kappa, &[Some(weight); 6], ws).map(|operator| {
                assert!(operator.abs_norm() >= 1e60 * operator.lost(), "the norm covers what is lost");
                operator.lost()
            })
        };
        let ordinary = lost(1.0, 1.0, &mut ws).unwrap();
        // Each of the six rows of units, and each of the nine columns, loses at least once.
        assert!(ordinary >= 2.0 * LOST * (6f64.sqrt() + 9f64.sqrt()) && ordinary < 1e-240, "{ordinary:e}");
        // Behind rows scaled up by 1e40 as much more is lost; so it is behind columns.
        for (kappa, weight) in [(1.0, 1e40), (1.0, 1e-40), (1e-40, 1.0)] {
            let scaled = lost(kappa, weight, &mut ws).unwrap();
            assert!((1e38..1e42).contains(&(scaled / ordinary)), "{kappa} {weight}: {scaled:e} of {ordinary:e}");
        }
        // Beyond what norms may lose there is no operator.
        assert!(lost(1.0, 1e120, &mut ws).is_none() && lost(1e-120, 1.0, &mut ws).is_none());
    }

    /// The norm of magnitudes is as near where all coefficients are small.
    #[test]
    fn the_norm_of_magnitudes_does_not_depend_on_the_scale() {
        let mut ws = Workspace::new();
        let mut norm = |scale: f64| {
            let mut example = Example::new();
            example.maps.iter_mut().flatten().flatten().for_each(|a| *a *= scale);
            Scaled::new(&example.increments(), 1.0, &[Some(1.0); 6], &mut ws).unwrap().abs_norm() / scale
        };
        // Only the paths that go through one map alone are left where maps are small.
        let (small, smaller) = (norm(1e-8), norm(1e-12));
        assert!((small / smaller - 1.0).abs() < 1e-3, "{small} {smaller}");
        let mut blocks = Example::new();
        blocks.maps.iter_mut().flatten().flatten().for_each(|a| *a *= 1e-12);
        let columns: Vec<Vec<f64>> = blocks
            .columns()
            .iter()
            .map(|c| {
                let deltas = blocks.deltas.iter().flatten().filter(|d| **d > 0.0);
                let scales = [1.0, 1.0].into_iter().chain(deltas.copied());
                c.iter().zip(scales).map(|(c, s)| c.abs() * s).collect()
            })
            .collect();
        let exact = norm_of_columns(&columns) / 1e-12;
        assert!(smaller >= exact * (1.0 - 1e-9) && smaller <= exact * 1.05, "{smaller} for {exact}");
    }

    /// Every product of a pass loses a little, and so does every step at its end, which the steps behind it carry on:
    /// forwards to the rows, backwards to the columns, by the magnitudes of all coefficients.
    #[test]
    fn losses_are_carried_through_the_network() {
        let (example, mut ws) = (Example::new(), Workspace::new());
        let increments = example.increments();
        let weights = [2.0, 0.5, 1.0, 4.0, 0.25, 1.0];
        let operator = Scaled::new(&increments, 0.5, &weights.map(Some), &mut ws).unwrap();
        // In units of what one number loses.
        let mut of_units = increments.units.iter().zip(weights);
        let (mut z, mut rows): (Vec<f64>, Vec<f64>) = (vec![1.0; 3], Vec::new());
        for (k, map) in example.maps.iter().enumerate() {
            z = map.iter().map(|row| row.iter().zip(&z).map(|(a, z)| a.abs() * z).sum::<f64>() + 1.0).collect();
            let units = example.deltas.get(k).map_or(0, Vec::len);
            for (i, z) in z.iter_mut().enumerate().take(units) {
                let dv = *z;
                *z *= example.centres[k][i];
                if example.deltas[k][i] > 0.0 {
                    let (unit, weight) = of_units.next().unwrap();
                    rows.push(dv * unit.delta * weight + 1.0);
                    *z += 1.0;
                }
            }
            z.iter_mut().for_each(|z| *z += 1.0);
        }
        rows.extend(z);
        let mut of_units = increments.units.iter().zip(weights).rev();
        let (mut g, mut columns) = (vec![0.0; 2], Vec::new());
        for (k, map) in example.maps.iter().enumerate().rev() {
            let units = example.deltas.get(k).map_or(0, Vec::len);
            for i in (0..units).rev() {
                let at = g[i];
                g[i] *= example.centres[k][i];
                if example.deltas[k][i] > 0.0 {
                    let (_, weight) = of_units.next().unwrap();
                    columns.push(at / weight + 1.0);
                    g[i] += 1.0;
                }
            }
            g.iter_mut().for_each(|g| *g += 1.0);
            g = (0..map[0].len()).map(|j| map.iter().zip(&g).map(|(r, g)| r[j].abs() * g).sum::<f64>() + 1.0).collect();
        }
        columns.extend(g.iter().map(|g| g / 0.5 + 1.0));
        let norm = |values: &[f64]| values.iter().map(|v| v * v).sum::<f64>().sqrt();
        let exact = 2.0 * LOST * (norm(&rows) + norm(&columns));
        assert!(operator.lost() >= exact * (1.0 - 1e-9), "{:e} for {exact:e}", operator.lost());
        assert!(operator.lost() <= exact * (1.0 + 1e-9), "{:e} for {exact:e}", operator.lost());
    }

    #[test]
    fn weights_that_leave_the_range_of_numbers_make_no_operator() {
        let (example, mut ws) = (Example::new(), Workspace::new());
        let increments = example.increments();
        for (kappa, weight) in
            [(0.0, 1.0), (-1.0, 1.0), (f64::INFINITY, 1.0), (f64::NAN, 1.0), (1e-310, 1.0), (1.0, 0.0), (1.0, -1.0)]
        {
            assert!(Scaled::new(&increments, kappa, &[Some(weight); 6], &mut ws).is_none(), "{kappa} {weight}");
        }
        for weight in [1e-310, f64::INFINITY, f64::NAN, -2.0] {
            let mut weights = weights();
            weights[3] = Some(weight);
            assert!(Scaled::new(&increments, KAPPA, &weights, &mut ws).is_none(), "{weight}");
        }
    }
}
