//! How far a pre-activation can move, path by path.
//!
//! `eps L norm(a_i^T D)` uses one constant for all directions. The increments know better: any linear functional of a
//! source is `F dx + sum over units u before of G_u e_u` with `|e_u| <= delta_u |dv_u|`, so it moves by at most
//! `eps norm(F) + sum |G_u| delta_u dev_u`. One backward pass a functional.

use lipbound_operators::{LinearOperator, Workspace, rounding};

use crate::increments::{Arithmetic, Increments, LOST};

/// Most work (multiply-adds) spent on the functionals of one stage.
const AFFORDABLE: usize = 2_000_000_000;

/// The paths from the input, and from all units before, to one source.
pub(crate) struct Paths<'a> {
    increments: &'a Increments,
    source: usize,
    epsilon: f64,
    /// Largest `|e|` of every unit.
    errors: Vec<f64>,
    /// `|F| eps + |G| errors` of every element of the source.
    spread: Vec<f64>,
    /// What underflow can take from a functional.
    lost: f64,
}

/// Most that underflow may take from a functional; ordinary networks lose about 1e-240.
const MOST_LOST: f64 = 1e-150;

impl<'a> Paths<'a> {
    /// Paths to `source`; `None` if `count` functionals, each with `work` multiply-adds of its own, cost too much:
    /// `patience` times what is affordable.
    pub fn new(
        increments: &'a Increments,
        source: usize,
        epsilon: f64,
        (count, work): (usize, usize),
        patience: usize,
        ws: &mut Workspace,
    ) -> Option<Self> {
        let pass = increments.multiply_adds() + work;
        if count == 0 || !epsilon.is_finite() || pass.checked_mul(count).is_none_or(|work| work > patience * AFFORDABLE)
        {
            return None;
        }
        let errors: Vec<f64> = increments.units.iter().map(|u| rounding::mul_up(u.delta, u.deviation)).collect();
        if !errors.iter().all(|e| e.is_finite()) {
            return None;
        }
        let n = increments.rounding_length() + 2;
        let mut spread = increments
            .forward_to(
                source,
                vec![vec![epsilon; increments.inputs]],
                Arithmetic::Lossy,
                &mut |unit, at| at[0] = errors[unit],
                ws,
            )
            .remove(0);
        spread.iter_mut().for_each(|s| *s = rounding::raise(*s, n));
        let mut from_units: f64 = 0.0;
        let inputs = increments.backward_from(
            source,
            vec![vec![LOST; spread.len()]],
            Arithmetic::Lossy,
            &mut |unit, at| {
                from_units += at[0] * errors[unit];
                at[0] = LOST;
            },
            ws,
        );
        let lost = 2.0 * (epsilon * rounding::norm_up(&inputs[0]) + from_units);
        if lost.is_nan() || lost > MOST_LOST || spread.iter().any(|s| !s.is_finite()) {
            return None;
        }
        Some(Self { increments, source, epsilon, errors, spread, lost: lost.max(f64::MIN_POSITIVE) })
    }

    /// Bound of `|<row, dz>|` over the ball, where `dz` is the increment of the source. `row` was computed with at most
    /// `roundings` roundings of terms whose absolute sum is at most that of `absolute_row`, or of `row` if there is none.
    pub fn functional(&self, row: Vec<f64>, absolute_row: Option<&[f64]>, roundings: usize, ws: &mut Workspace) -> f64 {
        // A computed coefficient is off by at most gamma times its absolute paths, and the sum of those bounds a norm.
        let total: f64 = absolute_row.unwrap_or(&row).iter().zip(&self.spread).map(|(r, s)| r.abs() * s).sum();
        let n = self.increments.rounding_length() + roundings + 2;
        let lost = rounding::mul_up(rounding::gamma(n), rounding::raise(total, row.len() + n));
        let (mut sum, mut terms) = (0.0, 0);
        let centre_row = self.increments.backward_from(
            self.source,
            vec![row],
            Arithmetic::Signed,
            &mut |unit, at| {
                sum += at[0].abs() * self.errors[unit];
                terms += 1;
                // Errors are inputs of their own here: nothing is fed back.
                at[0] = 0.0;
            },
            ws,
        );
        let from_input = rounding::mul_up(self.epsilon, rounding::norm_up(&centre_row[0]));
        centre_row.into_iter().for_each(|r| ws.give(r));
        rounding::add_up(
            rounding::add_up(from_input, rounding::raise(sum, terms + 1)),
            rounding::add_up(lost, self.lost),
        )
    }

    /// Bound of `|dz_i|` for element `i` of the source.
    pub fn element(&self, i: usize, ws: &mut Workspace) -> f64 {
        let mut row = ws.zeros(self.spread.len());
        row[i] = 1.0;
        self.functional(row, None, 0, ws)
    }

    /// Bound of `|dv_i|` for row `i` of an operator that reads the source.
    pub fn row(&self, operator: &dyn LinearOperator, i: usize, ws: &mut Workspace) -> f64 {
        let mut unit = ws.zeros(operator.rows());
        unit[i] = 1.0;
        let mut row = ws.take(operator.cols());
        let mut absolute = ws.take(operator.cols());
        operator.apply_adjoint(&unit, &mut row, ws);
        operator.apply_abs_adjoint(&unit, &mut absolute, ws);
        let bound = self.functional(row, Some(&absolute), operator.rounding_length(), ws);
        ws.give(unit);
        ws.give(absolute);
        bound
    }
}
