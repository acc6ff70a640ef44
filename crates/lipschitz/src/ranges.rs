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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::example::Example;

    const EPSILON: f64 = 0.75;

    /// A thousand times less than what is affordable is enough here.
    fn paths<'a>(increments: &'a Increments, source: usize, ws: &mut Workspace) -> Paths<'a> {
        Paths::new(increments, source, EPSILON, (1, 0), 1, ws).unwrap()
    }

    /// The example up to source `source`.
    fn up_to(source: usize) -> Example {
        let mut example = Example::new();
        example.maps.truncate(source);
        example.centres.truncate(source);
        example.deltas.truncate(source);
        example
    }

    /// The largest `<row, dz>` that the increments allow: attained by the input along the functional's own coefficients,
    /// and by the errors of the units with their signs.
    fn attained(example: &Example, row: &[f64]) -> f64 {
        let increments = example.increments();
        let columns = example.columns();
        let outputs = increments.outputs();
        let at = |column: &Vec<f64>| column[..outputs].iter().zip(row).map(|(c, r)| c * r).sum::<f64>();
        let coefficients: Vec<f64> = columns.iter().map(at).collect();
        let (of_input, of_units) = coefficients.split_at(increments.inputs);
        let size = of_input.iter().map(|c| c * c).sum::<f64>().sqrt();
        let dx: Vec<f64> = of_input.iter().map(|c| EPSILON * c / size).collect();
        let e: Vec<f64> =
            of_units.iter().zip(&increments.units).map(|(c, u)| c.signum() * u.delta * u.deviation).collect();
        let (dz, _) = example.product(&dx, &e);
        dz.iter().zip(row).map(|(z, r)| z * r).sum()
    }

    #[test]
    fn ranges_by_paths_are_attained() {
        let mut ws = Workspace::new();
        for source in 1..=3 {
            let example = up_to(source);
            let increments = example.increments();
            let paths = paths(&increments, source, &mut ws);
            let outputs = increments.outputs();
            let check = |found: f64, exact: f64| {
                assert!(found >= exact * (1.0 - 1e-14), "source {source}: {found} below {exact}");
                assert!(found <= exact * (1.0 + 1e-12), "source {source}: {found} far above {exact}");
            };
            for i in 0..outputs {
                let row: Vec<f64> = (0..outputs).map(|j| f64::from(u8::from(i == j))).collect();
                check(paths.element(i, &mut ws), attained(&example, &row));
            }
            let row: Vec<f64> = (0..outputs).map(|j| 1.5 - j as f64).collect();
            check(paths.functional(row.clone(), None, 0, &mut ws), attained(&example, &row));
            // The rows of the next map, read through it.
            let whole = Example::new();
            if let Some(map) = whole.maps.get(source) {
                let operator = lipbound_operators::Dense::<f64>::new(map.len(), map[0].len(), map.concat().into());
                for (i, row) in map.iter().enumerate() {
                    check(paths.row(&operator, i, &mut ws), attained(&example, row));
                }
            }
        }
    }

    /// A coefficient that was computed with roundings may be off by their share of its absolute paths.
    #[test]
    fn roundings_of_a_row_are_counted_by_its_magnitudes() {
        let mut ws = Workspace::new();
        let example = up_to(1);
        let increments = example.increments();
        let paths = paths(&increments, 1, &mut ws);
        let absolute = [1e6, 2e6, 0.0, 3e6];
        let bound =
            |roundings: usize, ws: &mut Workspace| paths.functional(vec![0.0; 4], Some(&absolute), roundings, ws);
        // Each path by magnitudes: the input can be `EPSILON` in each element, and every error the largest.
        let total: f64 = (0..4)
            .map(|i| {
                let input: f64 = example.maps[0][i].iter().map(|a| a.abs() * EPSILON).sum();
                absolute[i] * (example.centres[0][i] * input + 0.5 * example.deltas[0][i])
            })
            .sum();
        let more = 1e6 as usize;
        let share = more as f64 * rounding::UNIT_ROUNDOFF;
        let grown = bound(more, &mut ws) - bound(0, &mut ws);
        assert!((grown / (total * share) - 1.0).abs() < 1e-3, "{grown} for {}", total * share);
        // Without any, those of the pass itself are left: several, and not many.
        let units = bound(0, &mut ws) / (total * rounding::UNIT_ROUNDOFF);
        let least = (increments.rounding_length() + 2) as f64;
        assert!(units >= least && units <= least + 1.0, "{units}");
    }

    #[test]
    fn what_costs_too_much_or_says_nothing_is_not_begun() {
        let mut ws = Workspace::new();
        let example = Example::new();
        let mut increments = example.increments();
        let mut begun = |increments: &Increments, epsilon: f64, count: usize, work: usize, patience: usize| {
            Paths::new(increments, 3, epsilon, (count, work), patience, &mut ws).is_some()
        };
        let pass = increments.multiply_adds();
        // A pass for each functional, and its own work.
        for patience in [1, 3] {
            let all = patience * AFFORDABLE;
            for count in [1, 2, 10] {
                let work = all / count - pass;
                assert!(begun(&increments, 1.0, count, work, patience), "{count} of {work}");
                assert!(!begun(&increments, 1.0, count, work + 1, patience), "{count} of {work}");
            }
        }
        assert!(!begun(&increments, 1.0, usize::MAX / 2, 0, 1) && !begun(&increments, 1.0, 0, 0, 1));
        for epsilon in [f64::INFINITY, f64::NAN] {
            assert!(!begun(&increments, epsilon, 1, 0, 1));
        }
        // So large that what underflow may take is no longer nothing.
        assert!(begun(&increments, 1e90, 1, 0, 1) && !begun(&increments, 1e110, 1, 0, 1));
        increments.units[2].deviation = 1e90;
        assert!(begun(&increments, 1.0, 1, 0, 1));
        for deviation in [1e110, f64::INFINITY, f64::NAN] {
            increments.units[2].deviation = deviation;
            assert!(!begun(&increments, 1.0, 1, 0, 1), "{deviation}");
        }
    }
}
