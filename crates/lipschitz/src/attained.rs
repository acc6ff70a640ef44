//! Lower bounds: ratios that are really attained.
//!
//! An upper bound means more beside what the constant is known to reach. Two ratios are taken, both in f64 less a bound
//! of their own rounding: that of the Jacobian at x0 in the direction of its top singular vector (a limit of ratios,
//! where all slopes at x0 are certain), and those of points inside the ball: in the same direction, and by gradient ascent
//! from there.

use lipbound_operators::{Workspace, rounding};
use lipbound_spectral::{
    Cancelled,
    ritz::{self, Effort},
    start,
};

use crate::{
    BoundError, BoundMonitor, Units,
    nominal::{Nominal, poll},
    plan::{Action, Plan},
};

/// How far to look for the Jacobian's top singular vector.
const EFFORT: Effort = Effort { precision: 0.02, max_steps: 16 };

/// What a quotient must promise beyond the ratio that is already had: less may be rounding.
const MORE: f64 = 1.0 + 1e-6;

/// Distances tried, as fractions of epsilon: the largest ratio may lie at the rim, or close to a kink at x0.
const STEPS: [f64; 3] = [1.0, 1e-2, 1e-4];

/// Most steps of the ascent from the best of these points, and the growth of the ratio that is worth one.
const ASCENT_STEPS: usize = 5;
const WORTH_A_STEP: f64 = 1.002;

/// What a lower bound is asked of.
pub(crate) struct Question<'a> {
    pub plan: &'a Plan,
    /// The network at x0; for a global bound there is none, and zero takes its place.
    pub nominal: Option<&'a Nominal>,
    pub inputs: usize,
    pub epsilon: f64,
    /// The upper bound: no ratio is larger.
    pub upper: f64,
    pub seed: u64,
    /// The constant of each stage, if every slope at x0 is certain.
    pub smooth_gains: Option<Vec<f64>>,
    /// Coefficients of the outputs, if their sum is asked about and not all of them.
    pub functional: Option<&'a [f64]>,
}

impl Question<'_> {
    /// What an output (or a change of it) that was computed with an error of at most this norm is at least in size.
    fn size_down(&self, output: &[f64], error: f64) -> f64 {
        let Some(functional) = self.functional else {
            return rounding::add_down(rounding::norm_down(output), -error);
        };
        let (mut sum, mut size) = (0.0, 0.0);
        for (c, y) in functional.iter().zip(output) {
            sum += c * y;
            size += (c * y).abs();
        }
        // Underflow is absolute.
        let n = output.len() + 1;
        let rounded = rounding::mul_up(rounding::gamma(n), rounding::raise(size, n)) + n as f64 * f64::MIN_POSITIVE;
        rounding::add_down(sum.abs(), -rounding::add_up(rounded.next_up(), self.carried(error)))
    }

    /// What an error of the output of this norm does to the quantity asked about, at most.
    fn carried(&self, error: f64) -> f64 {
        self.functional.map_or(error, |functional| rounding::mul_up(rounding::norm_up(functional), error))
    }
}

/// The largest ratio attained, less its rounding; 0 where rounding would leave nothing of any ratio.
///
/// `direction` holds the top singular vector of the Jacobian at x0 from an earlier question about the same x0 and the same
/// outputs, and then this one's.
pub(crate) fn lower_bound(
    question: &Question<'_>,
    direction: &mut Option<Vec<f64>>,
    monitor: &dyn BoundMonitor,
    ws: &mut Workspace,
) -> Result<f64, BoundError> {
    let of_zero;
    let nominal = match question.nominal {
        Some(nominal) => nominal,
        None => {
            of_zero = Nominal::new(question.plan, &vec![0.0; question.inputs], monitor, ws)?;
            &of_zero
        }
    };
    // Around zero any distance is inside the "ball" of a global bound.
    let epsilon = if question.epsilon.is_finite() { question.epsilon } else { 1.0 };

    // The error of the point's evaluation is about as large again: where that leaves nothing, do not begin.
    let error = evaluation_error(question.plan, nominal, monitor, ws)?;
    let has_quotients = epsilon > 0.0 && 2.0 * question.carried(error) < epsilon * question.upper;
    if question.smooth_gains.is_none() && !has_quotients {
        return Ok(0.0);
    }
    let jacobian = Jacobian::new(question.plan, nominal, monitor);
    let v = match direction {
        Some(v) => &*v,
        None => &*direction.insert(match question.functional {
            // The Jacobian of a functional is one row, and its own top singular vector.
            Some(functional) => jacobian.apply_adjoint(functional, ws)?,
            None => jacobian.top_direction(question.seed, ws)?,
        }),
    };
    // Of the size of one: what is as small as a small Jacobian makes denormal images.
    let size = rounding::power_of_two_near(rounding::norm_up(v));
    let v: &[f64] = &v.iter().map(|x| x / size).collect::<Vec<_>>();
    let mut best: f64 = 0.0;
    if let Some(gains) = &question.smooth_gains {
        best = best.max(jacobian.ratio(v, gains, question, ws)?);
    }
    if !has_quotients {
        return Ok(best);
    }
    let quotients = Quotients { question, nominal, epsilon, error, monitor };
    // Near a smooth x0 quotients are what the Jacobian says.
    let fractions = if question.smooth_gains.is_some() { &STEPS[..1] } else { &STEPS[..] };
    let mut promising: Option<Candidate> = None;
    for step in fractions.iter().flat_map(|&fraction| [fraction, -fraction]) {
        let Some((x, distance)) = quotients.point(v, step) else { continue };
        let ratio = quotients.estimate(&x, distance, ws)?;
        if promising.as_ref().is_none_or(|best| ratio > best.ratio) {
            promising = Some(Candidate { ratio, x, fraction: step.abs() });
        }
    }
    let Some(mut top) = promising else { return Ok(best) };
    let mut there = Nominal::new(question.plan, &top.x, monitor, ws)?;
    if top.ratio > best * MORE {
        best = best.max(quotients.attained(&there, ws)?);
    }
    for _ in 0..ASCENT_STEPS {
        if there.overflow().is_some() {
            break;
        }
        // At the same distance from x0 the change of the output grows fastest along its own pull-back from there.
        let change = quotients.of_output(&there);
        let pulled = Jacobian::new(question.plan, &there, monitor).apply_adjoint(&change, ws)?;
        let Some((x, distance)) = quotients.point(&pulled, top.fraction) else { break };
        let ratio = quotients.estimate(&x, distance, ws)?;
        // No number is no progress.
        if ratio.is_nan() || ratio <= top.ratio * WORTH_A_STEP {
            break;
        }
        top = Candidate { ratio, x, ..top };
        there = Nominal::new(question.plan, &top.x, monitor, ws)?;
        best = best.max(quotients.attained(&there, ws)?);
    }
    Ok(best)
}

/// A point whose ratio looks large.
struct Candidate {
    ratio: f64,
    x: Vec<f64>,
    /// Its distance from x0 as a fraction of epsilon.
    fraction: f64,
}

/// Ratios `norm(f(x) - f(x0)) / norm(x - x0)`.
struct Quotients<'a> {
    question: &'a Question<'a>,
    nominal: &'a Nominal,
    epsilon: f64,
    /// Bound of the error of the computed `f(x0)`.
    error: f64,
    monitor: &'a dyn BoundMonitor,
}

impl Quotients<'_> {
    /// The point at `step` times epsilon in the direction `v`, and its distance from x0 rounded up, if it is inside the
    /// ball and not x0 itself.
    fn point(&self, v: &[f64], step: f64) -> Option<(Vec<f64>, f64)> {
        // The margin keeps the point inside the ball whatever the sum rounds to.
        let step = step * self.epsilon * (1.0 - 1e-9) / rounding::norm_up(v);
        let x: Vec<f64> = self.nominal.values[0].iter().zip(v).map(|(x, d)| x + step * d).collect();
        let distance = self.distance(&x);
        (distance > 0.0 && distance <= self.epsilon).then_some((x, distance))
    }

    fn distance(&self, x: &[f64]) -> f64 {
        let moved: Vec<f64> = x.iter().zip(&self.nominal.values[0]).map(|(a, b)| a - b).collect();
        rounding::mul_up(rounding::norm_up(&moved), 1.0 + 4.0 * rounding::UNIT_ROUNDOFF)
    }

    /// How the output changes from x0 to a point, as computed.
    fn difference(&self, output: &[f64]) -> Vec<f64> {
        let at_x0 = &self.nominal.values[self.nominal.values.len() - 1];
        output.iter().zip(at_x0).map(|(a, b)| a - b).collect()
    }

    /// At least the size of the change of the output, which was computed at x0 and at a point with errors of at most
    /// `error` together.
    fn change(&self, output: &[f64], error: f64) -> f64 {
        let change = self.difference(output);
        // Each difference is rounded once.
        let rounded = rounding::mul_up(2.0 * rounding::UNIT_ROUNDOFF, rounding::norm_up(&change));
        self.question.size_down(&change, rounding::add_up(error, rounded))
    }

    /// About what [`Self::attained`] will say, if rounding at the point is what it is at x0.
    fn estimate(&self, x: &[f64], distance: f64, ws: &mut Workspace) -> Result<f64, Cancelled> {
        let output = self.question.plan.forward(x, self.monitor, ws)?.pop().expect("there is at least the input");
        Ok(self.change(&output, 2.0 * self.error) / distance)
    }

    /// The direction of the output in which it changes from x0 to a point; for a functional its coefficients with the
    /// sign of the change.
    fn of_output(&self, there: &Nominal) -> Vec<f64> {
        let change = self.difference(&there.values[there.values.len() - 1]);
        match self.question.functional {
            Some(functional) => {
                let sign = dot(functional, &change).signum();
                functional.iter().map(|c| c * sign).collect()
            }
            None => change,
        }
    }

    /// The ratio less its rounding; 0 where the evaluation overflows.
    fn attained(&self, there: &Nominal, ws: &mut Workspace) -> Result<f64, Cancelled> {
        if there.overflow().is_some() {
            return Ok(0.0);
        }
        let both = rounding::add_up(self.error, evaluation_error(self.question.plan, there, self.monitor, ws)?);
        let change = self.change(&there.values[there.values.len() - 1], both);
        Ok(rounding::div_down(change, self.distance(&there.values[0])))
    }
}

/// Bound of the norm of the rounding error of a forward pass: local errors, carried along by cheap bounds of the
/// stages' norms. Loose for deep networks, where the Jacobian's ratio stands alone.
fn evaluation_error(
    plan: &Plan,
    nominal: &Nominal,
    monitor: &dyn BoundMonitor,
    ws: &mut Workspace,
) -> Result<f64, Cancelled> {
    let mut errors = vec![0.0];
    for (index, stage) in plan.stages.iter().enumerate() {
        poll(monitor)?;
        let carried = stage.inputs.iter().map(|&i| errors[i]).fold(0.0, rounding::add_up);
        let (gain, extra) = match &stage.action {
            Action::Affine { operator, unit, .. } => {
                let slope = steepest(unit.as_ref());
                let norm = operator.as_ref().map_or(1.0, |operator| {
                    let frobenius = rounding::norm_up(stage.full_row_norms(&**operator, ws));
                    frobenius.min(operator.abs_norm())
                });
                let of_unit = rounding::gamma(unit.as_ref().map_or(0, Units::roundings))
                    * rounding::norm_up(&nominal.values[index + 1]);
                (rounding::mul_up(norm, slope), rounding::mul_up(slope, of_unit.next_up()))
            }
            Action::Pool(pool) => (rounding::sqrt_up(pool.multiplicity() as f64), 0.0),
            Action::Add | Action::Concat => (1.0, 0.0),
        };
        let slope = match &stage.action {
            Action::Affine { unit, .. } => steepest(unit.as_ref()),
            _ => 1.0,
        };
        let local = rounding::mul_up(slope, rounding::norm_up(&nominal.local[index]));
        errors.push(rounding::add_up(rounding::mul_up(gain, carried), rounding::add_up(local, extra)));
    }
    Ok(errors[errors.len() - 1])
}

/// The largest slope of any unit, or one if that is larger or there is none.
fn steepest(units: Option<&Units>) -> f64 {
    units.map_or(1.0, |units| units.steepest().max(1.0))
}

/// The Jacobian at the nominal input, by the slopes of its computed values.
struct Jacobian<'a> {
    plan: &'a Plan,
    nominal: &'a Nominal,
    /// For each stage that is a pool, the index of each window's largest element.
    winners: Vec<Vec<usize>>,
    monitor: &'a dyn BoundMonitor,
}

impl<'a> Jacobian<'a> {
    fn new(plan: &'a Plan, nominal: &'a Nominal, monitor: &'a dyn BoundMonitor) -> Self {
        let winners = plan
            .stages
            .iter()
            .map(|stage| match &stage.action {
                Action::Pool(pool) => winners(pool, &nominal.values[stage.inputs[0]]),
                _ => Vec::new(),
            })
            .collect();
        Self { plan, nominal, winners, monitor }
    }

    /// About the top right singular vector, by `J J^T` on the side of the output, which is the small one.
    fn top_direction(&self, seed: u64, ws: &mut Workspace) -> Result<Vec<f64>, Cancelled> {
        let outputs = self.nominal.values[self.nominal.values.len() - 1].len();
        let start = start::gaussian(&vec![true; outputs], seed, u64::MAX);
        let left = ritz::top_eigenpair_from(start, EFFORT, |y, image| {
            image.copy_from_slice(&self.apply(&self.apply_adjoint(y, ws)?, ws)?);
            Ok(())
        })?;
        self.apply_adjoint(&left.vector, ws)
    }

    fn scale_by_slopes(&self, stage: usize, units: &Units, y: &mut [f64]) {
        let pre = &self.nominal.pre[stage];
        y.iter_mut().zip(pre).enumerate().for_each(|(i, (y, &at))| *y *= units.at(i).slope_at(at));
    }

    fn forward(&self, v: &[f64], ws: &mut Workspace) -> Result<Vec<Vec<f64>>, Cancelled> {
        let mut values = vec![v.to_vec()];
        for (index, stage) in self.plan.stages.iter().enumerate() {
            poll(self.monitor)?;
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
                        self.scale_by_slopes(index, unit, &mut y);
                    }
                    y
                }
                Action::Pool(_) => self.winners[index].iter().map(|&j| x[j]).collect(),
                Action::Add => {
                    let mut sum = x.clone();
                    for &other in &stage.inputs[1..] {
                        sum.iter_mut().zip(&values[other]).for_each(|(a, b)| *a += b);
                    }
                    sum
                }
                Action::Concat => stage.gather(&values),
            };
            values.push(output);
        }
        Ok(values)
    }

    fn apply(&self, v: &[f64], ws: &mut Workspace) -> Result<Vec<f64>, Cancelled> {
        Ok(self.forward(v, ws)?.pop().expect("there is at least the input"))
    }

    fn apply_adjoint(&self, w: &[f64], ws: &mut Workspace) -> Result<Vec<f64>, Cancelled> {
        let stages = &self.plan.stages;
        let mut pulled: Vec<Option<Vec<f64>>> = vec![None; stages.len() + 1];
        pulled[stages.len()] = Some(w.to_vec());
        for (index, stage) in stages.iter().enumerate().rev() {
            poll(self.monitor)?;
            let Some(mut g) = pulled[index + 1].take() else { continue };
            let back = match &stage.action {
                Action::Affine { operator, unit, .. } => {
                    if let Some(unit) = unit {
                        self.scale_by_slopes(index, unit, &mut g);
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
                    for (g, &j) in g.iter().zip(&self.winners[index]) {
                        x[j] += g;
                    }
                    x
                }
                Action::Add | Action::Concat => g,
            };
            let mut start = 0;
            for &input in &stage.inputs {
                let part = match &stage.action {
                    Action::Concat => {
                        let length = self.nominal.values[input].len();
                        start += length;
                        &back[start - length..start]
                    }
                    _ => &back[..],
                };
                match &mut pulled[input] {
                    Some(sum) => sum.iter_mut().zip(part).for_each(|(a, b)| *a += b),
                    empty => *empty = Some(part.to_vec()),
                }
            }
        }
        Ok(pulled[0].take().unwrap_or_else(|| vec![0.0; self.nominal.values[0].len()]))
    }

    /// `norm(J v) / norm(v)`, or `|c^T J v| / norm(v)` for a functional, rounded down: what rounding adds in each stage
    /// travels on by at most the stage's gain.
    fn ratio(&self, v: &[f64], gains: &[f64], question: &Question<'_>, ws: &mut Workspace) -> Result<f64, Cancelled> {
        let values = self.forward(v, ws)?;
        let mut errors = vec![0.0];
        for (stage, gain) in self.plan.stages.iter().zip(gains) {
            let carried = stage.inputs.iter().map(|&i| errors[i]).fold(0.0, rounding::add_up);
            let local = match &stage.action {
                Action::Affine { operator: Some(operator), unit, .. } => {
                    let input = rounding::norm_up(&values[stage.inputs[0]]);
                    let slope = steepest(unit.as_ref());
                    let gamma = rounding::gamma(operator.rounding_length() + 2);
                    rounding::mul_up(slope, rounding::mul_up(gamma, rounding::mul_up(operator.abs_norm(), input)))
                }
                Action::Affine { operator: None, unit, .. } => {
                    let slope = steepest(unit.as_ref());
                    rounding::mul_up(
                        slope,
                        rounding::mul_up(rounding::gamma(2), rounding::norm_up(&values[stage.inputs[0]])),
                    )
                }
                Action::Pool(_) | Action::Concat => 0.0,
                Action::Add => {
                    let sizes = stage.inputs.iter().map(|&i| rounding::norm_up(&values[i])).sum::<f64>();
                    rounding::gamma(stage.inputs.len() + 1) * sizes
                }
            };
            // Underflow is absolute, element by element.
            let lost = stage.shape.iter().product::<usize>() as f64 * f64::MIN_POSITIVE;
            errors.push(rounding::add_up(rounding::mul_up(*gain, carried), rounding::add_up(local, lost)));
        }
        let last = values.len() - 1;
        let image = question.size_down(&values[last], errors[last]);
        let size = rounding::norm_up(v);
        Ok(if size == 0.0 { 0.0 } else { rounding::div_down(image, size).max(0.0) })
    }
}

fn winners(pool: &crate::MaxPool, values: &[f64]) -> Vec<usize> {
    (0..pool.outputs())
        .map(|i| {
            let best = pool.window(i).iter().max_by(|&&a, &&b| values[a as usize].total_cmp(&values[b as usize]));
            *best.expect("a window has an element") as usize
        })
        .collect()
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
