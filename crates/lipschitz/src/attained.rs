//! Lower bounds: ratios that are really attained.
//!
//! An upper bound means more beside what the constant is known to reach. Two ratios are taken, both in f64 less a bound
//! of their own rounding: that of the Jacobian at x0 in the direction of its top singular vector (a limit of ratios,
//! where all slopes at x0 are certain), and those of points inside the ball in the same direction.

use lipbound_operators::{Workspace, rounding};
use lipbound_spectral::start;

use crate::{
    BoundError, BoundMonitor, Unit,
    nominal::Nominal,
    plan::{Action, Plan},
};

/// Products with the Jacobian and its transpose in the search for its top singular vector.
const POWER_STEPS: usize = 30;

/// Distances tried, as fractions of epsilon: the largest ratio may lie at the rim, or close to a kink at x0.
const STEPS: [f64; 3] = [1.0, 1e-2, 1e-4];

/// What a lower bound is asked of.
pub(crate) struct Question<'a> {
    pub plan: &'a Plan,
    /// The network at x0; for a global bound there is none, and zero takes its place.
    pub nominal: Option<&'a Nominal>,
    pub inputs: usize,
    pub epsilon: f64,
    pub seed: u64,
    /// The constant of each stage, if every slope at x0 is certain.
    pub smooth_gains: Option<Vec<f64>>,
}

/// The largest ratio attained, less its rounding.
pub(crate) fn lower_bound(
    question: &Question<'_>,
    monitor: &dyn BoundMonitor,
    ws: &mut Workspace,
) -> Result<f64, BoundError> {
    let of_zero;
    let nominal = match question.nominal {
        Some(nominal) => nominal,
        None => {
            of_zero = Nominal::new(question.plan, &vec![0.0; question.inputs], ws);
            &of_zero
        }
    };
    let jacobian = Jacobian { plan: question.plan, nominal };
    // Around zero any distance is inside the "ball" of a global bound.
    let epsilon = if question.epsilon.is_finite() { question.epsilon } else { 1.0 };

    let mut v = start::gaussian(&vec![true; question.inputs], question.seed, u64::MAX);
    for _ in 0..POWER_STEPS {
        if monitor.cancelled() {
            return Err(BoundError::Cancelled);
        }
        let image = jacobian.apply(&v, ws);
        let next = jacobian.apply_adjoint(&image, ws);
        let size = rounding::norm_up(&next);
        if !(size > 0.0 && size.is_finite()) {
            break;
        }
        v = next.into_iter().map(|x| x / size).collect();
    }
    let mut best: f64 = 0.0;
    if let Some(gains) = &question.smooth_gains {
        best = best.max(jacobian.ratio(&v, gains, ws));
    }
    if epsilon > 0.0 {
        let size = rounding::norm_up(&v);
        let error = evaluation_error(question.plan, nominal, ws);
        for (sign, fraction) in STEPS.into_iter().flat_map(|f| [(1.0, f), (-1.0, f)]) {
            let x0 = &nominal.values[0];
            // The margin keeps the point inside the ball whatever the sum rounds to.
            let step = sign * fraction * epsilon * (1.0 - 1e-9) / size;
            let x: Vec<f64> = x0.iter().zip(&v).map(|(x, d)| x + step * d).collect();
            let moved: Vec<f64> = x.iter().zip(x0).map(|(a, b)| a - b).collect();
            let distance = rounding::mul_up(rounding::norm_up(&moved), 1.0 + 4.0 * rounding::UNIT_ROUNDOFF);
            if !(distance > 0.0 && distance <= epsilon) {
                continue;
            }
            let there = Nominal::new(question.plan, &x, ws);
            if there.overflow().is_some() {
                continue;
            }
            let both = rounding::add_up(error, evaluation_error(question.plan, &there, ws));
            let last = nominal.values.len() - 1;
            let change: Vec<f64> = there.values[last].iter().zip(&nominal.values[last]).map(|(a, b)| a - b).collect();
            let change = rounding::norm_down(&change) * (1.0 - 4.0 * rounding::UNIT_ROUNDOFF);
            best = best.max(rounding::div_down(rounding::add_down(change, -both), distance));
        }
    }
    Ok(best)
}

/// Bound of the norm of the rounding error of a forward pass: local errors, carried along by cheap bounds of the
/// stages' norms. Loose for deep networks, where the Jacobian's ratio stands alone.
fn evaluation_error(plan: &Plan, nominal: &Nominal, ws: &mut Workspace) -> f64 {
    let mut errors = vec![0.0];
    for (index, stage) in plan.stages.iter().enumerate() {
        let carried = stage.inputs.iter().map(|&i| errors[i]).fold(0.0, rounding::add_up);
        let (gain, extra) = match &stage.action {
            Action::Affine { operator, unit, .. } => {
                let slope = unit.map_or(1.0, |u| u.global_slopes().magnitude().max(1.0));
                let norm = operator.as_ref().map_or(1.0, |operator| {
                    let frobenius = rounding::norm_up(stage.full_row_norms(&**operator, ws));
                    frobenius.min(operator.abs_norm())
                });
                let of_unit =
                    rounding::gamma(unit.map_or(0, Unit::roundings)) * rounding::norm_up(&nominal.values[index + 1]);
                (rounding::mul_up(norm, slope), rounding::mul_up(slope, of_unit.next_up()))
            }
            Action::Pool(pool) => (rounding::sqrt_up(pool.multiplicity() as f64), 0.0),
            Action::Add => (1.0, 0.0),
        };
        let slope = match &stage.action {
            Action::Affine { unit: Some(unit), .. } => unit.global_slopes().magnitude().max(1.0),
            _ => 1.0,
        };
        let local = rounding::mul_up(slope, rounding::norm_up(&nominal.local[index]));
        errors.push(rounding::add_up(rounding::mul_up(gain, carried), rounding::add_up(local, extra)));
    }
    errors[errors.len() - 1]
}

/// The Jacobian at the nominal input, by the slopes of its computed values.
struct Jacobian<'a> {
    plan: &'a Plan,
    nominal: &'a Nominal,
}

impl Jacobian<'_> {
    fn slope(unit: Unit, y: f64) -> f64 {
        match unit {
            Unit::Relu => f64::from(y > 0.0),
            Unit::LeakyRelu { slope } => {
                if y > 0.0 {
                    1.0
                } else {
                    slope
                }
            }
        }
    }

    /// The index of each window's largest element.
    fn winners(&self, source: usize, pool: &crate::MaxPool) -> Vec<usize> {
        let values = &self.nominal.values[source];
        (0..pool.outputs())
            .map(|i| {
                let best = pool.window(i).iter().max_by(|&&a, &&b| values[a as usize].total_cmp(&values[b as usize]));
                *best.expect("a window has an element") as usize
            })
            .collect()
    }

    fn forward(&self, v: &[f64], ws: &mut Workspace) -> Vec<Vec<f64>> {
        let mut values = vec![v.to_vec()];
        for (index, stage) in self.plan.stages.iter().enumerate() {
            let x = &values[stage.inputs[0]];
            let output = match &stage.action {
                Action::Affine { operator, unit, .. } => {
                    let mut y = match operator {
                        Some(operator) => {
                            let mut y = vec![0.0; operator.rows()];
                            operator.apply(x, &mut y, ws);
                            y
                        }
                        None => x.clone(),
                    };
                    if let Some(unit) = unit {
                        y.iter_mut().zip(&self.nominal.pre[index]).for_each(|(y, &at)| *y *= Self::slope(*unit, at));
                    }
                    y
                }
                Action::Pool(pool) => self.winners(stage.inputs[0], pool).into_iter().map(|j| x[j]).collect(),
                Action::Add => {
                    let mut sum = x.clone();
                    for &other in &stage.inputs[1..] {
                        sum.iter_mut().zip(&values[other]).for_each(|(a, b)| *a += b);
                    }
                    sum
                }
            };
            values.push(output);
        }
        values
    }

    fn apply(&self, v: &[f64], ws: &mut Workspace) -> Vec<f64> {
        self.forward(v, ws).pop().expect("there is at least the input")
    }

    fn apply_adjoint(&self, w: &[f64], ws: &mut Workspace) -> Vec<f64> {
        let stages = &self.plan.stages;
        let mut pulled: Vec<Option<Vec<f64>>> = vec![None; stages.len() + 1];
        pulled[stages.len()] = Some(w.to_vec());
        for (index, stage) in stages.iter().enumerate().rev() {
            let Some(mut g) = pulled[index + 1].take() else { continue };
            let back = match &stage.action {
                Action::Affine { operator, unit, .. } => {
                    if let Some(unit) = unit {
                        g.iter_mut().zip(&self.nominal.pre[index]).for_each(|(g, &at)| *g *= Self::slope(*unit, at));
                    }
                    match operator {
                        Some(operator) => {
                            let mut x = vec![0.0; operator.cols()];
                            operator.apply_adjoint(&g, &mut x, ws);
                            x
                        }
                        None => g,
                    }
                }
                Action::Pool(pool) => {
                    let mut x = vec![0.0; pool.inputs()];
                    for (g, j) in g.iter().zip(self.winners(stage.inputs[0], pool)) {
                        x[j] += g;
                    }
                    x
                }
                Action::Add => g,
            };
            for &input in &stage.inputs {
                match &mut pulled[input] {
                    Some(sum) => sum.iter_mut().zip(&back).for_each(|(a, b)| *a += b),
                    empty => *empty = Some(back.clone()),
                }
            }
        }
        pulled[0].take().unwrap_or_else(|| vec![0.0; self.nominal.values[0].len()])
    }

    /// `norm(J v) / norm(v)` rounded down: what rounding adds in each stage travels on by at most the stage's gain.
    fn ratio(&self, v: &[f64], gains: &[f64], ws: &mut Workspace) -> f64 {
        let values = self.forward(v, ws);
        let mut errors = vec![0.0];
        for (stage, gain) in self.plan.stages.iter().zip(gains) {
            let carried = stage.inputs.iter().map(|&i| errors[i]).fold(0.0, rounding::add_up);
            let local = match &stage.action {
                Action::Affine { operator: Some(operator), unit, .. } => {
                    let input = rounding::norm_up(&values[stage.inputs[0]]);
                    let slope = unit.map_or(1.0, |u| u.global_slopes().magnitude().max(1.0));
                    let gamma = rounding::gamma(operator.rounding_length() + 2);
                    rounding::mul_up(slope, rounding::mul_up(gamma, rounding::mul_up(operator.abs_norm(), input)))
                }
                Action::Affine { operator: None, .. } => {
                    rounding::mul_up(rounding::gamma(2), rounding::norm_up(&values[stage.inputs[0]]))
                }
                Action::Pool(_) => 0.0,
                Action::Add => {
                    let sizes = stage.inputs.iter().map(|&i| rounding::norm_up(&values[i])).sum::<f64>();
                    rounding::gamma(stage.inputs.len() + 1) * sizes
                }
            };
            errors.push(rounding::add_up(rounding::mul_up(*gain, carried), local));
        }
        let last = values.len() - 1;
        let image = rounding::add_down(rounding::norm_down(&values[last]), -errors[last]);
        let size = rounding::norm_up(v);
        if size == 0.0 { 0.0 } else { rounding::div_down(image, size).max(0.0) }
    }
}
