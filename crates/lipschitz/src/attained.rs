//! Lower bounds: ratios that are really attained.
//!
//! An upper bound means more beside what the constant is known to reach. Ratios are taken in f64 less a bound of their own
//! rounding: that of the Jacobian at x0 in the direction of its top singular vector (a limit of ratios, where all slopes at
//! x0 are certain), and those of pairs of points. For the `centred` constant one point is x0 and the other one lies in the
//! same direction, in random ones, or is found by gradient ascent from these. For the others any two points of the ball
//! will do: the points that were visited, each with a near one along the top singular vector of the Jacobian there.

use lipbound_operators::{Workspace, rounding};
use lipbound_spectral::{
    Cancelled,
    ritz::{self, Effort},
    start,
};

use crate::{
    BoundError, BoundMonitor, Kind, Units,
    nominal::{Nominal, poll},
    plan::{Action, Plan},
    trace::{Jacobian, Trace},
};

/// How far to look for a Jacobian's top singular vector.
const EFFORT: Effort = Effort { precision: 0.02, max_steps: 16 };

/// What a quotient must promise beyond the ratio that is already had: less may be rounding.
const MORE: f64 = 1.0 + 1e-6;

/// Distances tried, as fractions of epsilon: the largest ratio may lie at the rim, or close to a kink at x0.
const STEPS: [f64; 3] = [1.0, 1e-2, 1e-4];

/// The same for points that others are to evaluate, in single precision perhaps.
const STEPS_TO_SHOW: [f64; 2] = [1.0, 0.1];

/// Most steps of an ascent, and the growth of the ratio that is worth one.
const ASCENT_STEPS: usize = 8;
const WORTH_A_STEP: f64 = 1.002;

/// How far a climb may end from what the Jacobian at x0 says, relatively, for the network to look linear in the ball.
const LINEAR: f64 = 0.01;

/// How near a pair's other point is to the visited one, as a fraction of epsilon.
const NEAR: f64 = 0.05;

/// Streams of random numbers: of the search for top singular vectors, and of directions.
const TOP: u64 = u64::MAX;
const DIRECTIONS: u64 = u64::MAX - 10_000;

/// What a lower bound is asked of.
pub(crate) struct Question<'a> {
    pub plan: &'a Plan,
    /// The network at x0; for a global bound there is none, and zero takes its place.
    pub nominal: Option<&'a Nominal>,
    pub inputs: usize,
    pub kind: Kind,
    pub epsilon: f64,
    /// The upper bound: no ratio is larger.
    pub upper: f64,
    pub seed: u64,
    /// Random directions to climb from, beside the Jacobian's own.
    pub restarts: usize,
    /// Whether to climb from all of these where the network looks linear, and each climb leads to the same point.
    pub insist: bool,
    /// Whether points are wanted that show their ratio in single precision, too.
    pub witness: bool,
    /// The constant of each stage, if every slope at x0 is certain.
    pub smooth_gains: Option<Vec<f64>>,
    /// Coefficients of the outputs, if their sum is asked about and not all of them.
    pub functional: Option<&'a [f64]>,
}

/// Two points of the ball, and the least that the ratio between them can be.
#[derive(Clone, Debug, PartialEq)]
pub struct Witness {
    /// `norm(f(to) - f(from)) / norm(to - from)`, rounded down.
    pub ratio: f64,
    /// One point; x0 itself for a `centred` constant.
    pub from: Vec<f64>,
    /// The other one.
    pub to: Vec<f64>,
}

/// What was attained.
#[derive(Clone, Debug, Default)]
pub(crate) struct Attained {
    /// The largest ratio, be it one of points or the limit at x0; 0 where rounding would leave nothing of any.
    pub ratio: f64,
    /// The points with the largest ratio of all points.
    pub witness: Option<Witness>,
}

impl Attained {
    fn take(&mut self, witness: Witness) {
        if self.witness.as_ref().is_none_or(|best| witness.ratio > best.ratio) {
            self.ratio = self.ratio.max(witness.ratio);
            self.witness = Some(witness);
        }
    }
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

/// The largest ratio attained, less its rounding.
///
/// `direction` holds the top singular vector of the Jacobian at x0 from an earlier question about the same x0 and the same
/// outputs, and then this one's.
pub(crate) fn attained(
    question: &Question<'_>,
    direction: &mut Option<Vec<f64>>,
    monitor: &dyn BoundMonitor,
    ws: &mut Workspace,
) -> Result<Attained, BoundError> {
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
    let mut best = Attained::default();

    // The error of the point's evaluation is about as large again: where that leaves nothing, do not begin.
    let error = evaluation_error(question.plan, nominal, monitor, ws)?;
    let has_quotients = epsilon > 0.0 && 2.0 * question.carried(error) < epsilon * question.upper;
    if question.smooth_gains.is_none() && !has_quotients {
        return Ok(best);
    }
    let jacobian = Jacobian::new(question.plan, &nominal.trace, monitor);
    let v = match direction {
        Some(v) => &*v,
        None => &*direction.insert(top_direction(&jacobian, question, ws)?),
    };
    // Of the size of one: what is as small as a small Jacobian makes denormal images.
    let size = rounding::power_of_two_near(rounding::norm_up(v));
    let v: &[f64] = &v.iter().map(|x| x / size).collect::<Vec<_>>();
    if let Some(gains) = &question.smooth_gains {
        best.ratio = best.ratio.max(jacobian_ratio(&jacobian, v, gains, question, ws)?);
    }
    if !has_quotients {
        return Ok(best);
    }
    // What a linear network would have along `v`; zero where the Jacobian at x0 is one of several.
    let linear = best.ratio;
    let quotients = Quotients { question, nominal, epsilon, error, monitor };
    let mut visited = Vec::new();
    // Near a smooth x0 quotients are what the Jacobian says.
    let fractions = match (&question.smooth_gains, question.witness) {
        (Some(_), _) => &STEPS[..1],
        (None, true) => &STEPS_TO_SHOW,
        (None, false) => &STEPS,
    };
    let mut starts = vec![(v.to_vec(), fractions)];
    for restart in 0..question.restarts {
        let direction = start::gaussian(&vec![true; question.inputs], question.seed, DIRECTIONS - restart as u64);
        starts.push((direction, &STEPS[..1]));
    }
    for (direction, fractions) in starts {
        let Some(top) = quotients.climb(&direction, fractions, ws)? else { continue };
        if top.ratio > best.witness.as_ref().map_or(0.0, |w| w.ratio) * MORE {
            let there = Nominal::new(question.plan, &top.x, monitor, ws)?;
            best.take(quotients.attained(&there, ws)?);
        }
        visited.push(top.x);
        if !question.insist && (top.ratio - linear).abs() < LINEAR * linear {
            break;
        }
    }
    if question.kind != Kind::Centred {
        for x in visited {
            if let Some(witness) = near_pair(&quotients, &x, ws)? {
                best.take(witness);
            }
        }
    }
    Ok(best)
}

/// About the top right singular vector of a Jacobian, by `J J^T` on the side of the output, which is the small one. The
/// Jacobian of a functional is one row, and its own top singular vector.
fn top_direction(jacobian: &Jacobian<'_>, question: &Question<'_>, ws: &mut Workspace) -> Result<Vec<f64>, Cancelled> {
    if let Some(functional) = question.functional {
        return jacobian.apply_adjoint(functional, ws);
    }
    let start = start::gaussian(&vec![true; jacobian.outputs()], question.seed, TOP);
    let left = ritz::top_eigenpair_from(start, EFFORT, |y, image| {
        image.copy_from_slice(&jacobian.apply(&jacobian.apply_adjoint(y, ws)?, ws)?);
        Ok(())
    })?;
    jacobian.apply_adjoint(&left.vector, ws)
}

/// A visited point and a near one along the top singular vector of the Jacobian there. The visited one first moves a
/// little towards x0, so that its neighbours are in the ball, too.
fn near_pair(quotients: &Quotients<'_>, x: &[f64], ws: &mut Workspace) -> Result<Option<Witness>, BoundError> {
    let Quotients { question, nominal, epsilon, monitor, .. } = *quotients;
    let x0 = nominal.trace.input();
    let x: Vec<f64> = x.iter().zip(x0).map(|(x, x0)| x0 + (x - x0) * (1.0 - 2.0 * NEAR)).collect();
    if quotients.distance(&x) > epsilon * (1.0 - NEAR * (1.0 + 1e-9)) {
        return Ok(None);
    }
    let at = Nominal::new(question.plan, &x, monitor, ws)?;
    if at.overflow().is_some() {
        return Ok(None);
    }
    let error = evaluation_error(question.plan, &at, monitor, ws)?;
    let around = Quotients { nominal: &at, epsilon: NEAR * epsilon, error, ..*quotients };
    let v = top_direction(&Jacobian::new(question.plan, &at.trace, monitor), question, ws)?;
    let mut best: Option<Candidate> = None;
    for step in [1.0, -1.0] {
        let Some((x, distance)) = around.point(&v, step) else { continue };
        let ratio = around.estimate(&x, distance, ws)?;
        if best.as_ref().is_none_or(|best| ratio > best.ratio) {
            best = Some(Candidate { ratio, x, fraction: 1.0 });
        }
    }
    let Some(best) = best else { return Ok(None) };
    let there = Nominal::new(question.plan, &best.x, monitor, ws)?;
    Ok(Some(around.attained(&there, ws)?))
}

/// A point whose ratio looks large.
struct Candidate {
    ratio: f64,
    x: Vec<f64>,
    /// Its distance from x0 as a fraction of epsilon.
    fraction: f64,
}

/// Ratios `norm(f(x) - f(x0)) / norm(x - x0)`.
#[derive(Clone, Copy)]
struct Quotients<'a> {
    question: &'a Question<'a>,
    nominal: &'a Nominal,
    epsilon: f64,
    /// Bound of the error of the computed `f(x0)`.
    error: f64,
    monitor: &'a dyn BoundMonitor,
}

impl Quotients<'_> {
    /// The best of the points at these fractions of epsilon, forwards and backwards, and from there uphill: at the same
    /// distance from x0 the change of the output grows fastest along its own pull-back.
    fn climb(&self, direction: &[f64], fractions: &[f64], ws: &mut Workspace) -> Result<Option<Candidate>, Cancelled> {
        let plan = self.question.plan;
        let mut promising: Option<(Candidate, Trace)> = None;
        for step in fractions.iter().flat_map(|&fraction| [fraction, -fraction]) {
            let Some((x, distance)) = self.point(direction, step) else { continue };
            let there = Trace::new(plan, &x, self.monitor, ws)?;
            let ratio = self.ratio(&there, distance);
            if promising.as_ref().is_none_or(|(best, _)| ratio > best.ratio) {
                promising = Some((Candidate { ratio, x, fraction: step.abs() }, there));
            }
        }
        let Some((mut top, mut there)) = promising else { return Ok(None) };
        for _ in 0..ASCENT_STEPS {
            let pulled = Jacobian::new(plan, &there, self.monitor).apply_adjoint(&self.of_output(&there), ws)?;
            let Some((x, distance)) = self.point(&pulled, top.fraction) else { break };
            let next = Trace::new(plan, &x, self.monitor, ws)?;
            let ratio = self.ratio(&next, distance);
            // No number is no progress.
            if ratio.is_nan() || ratio <= top.ratio * WORTH_A_STEP {
                break;
            }
            (top, there) = (Candidate { ratio, x, ..top }, next);
        }
        Ok(Some(top))
    }

    /// The point at `step` times epsilon in the direction `v`, and its distance from x0 rounded up, if it is inside the
    /// ball and not x0 itself.
    fn point(&self, v: &[f64], step: f64) -> Option<(Vec<f64>, f64)> {
        // The margin keeps the point inside the ball whatever the sum rounds to.
        let step = step * self.epsilon * (1.0 - 1e-9) / rounding::norm_up(v);
        let x: Vec<f64> = self.nominal.trace.input().iter().zip(v).map(|(x, d)| x + step * d).collect();
        let distance = self.distance(&x);
        (distance > 0.0 && distance <= self.epsilon).then_some((x, distance))
    }

    fn distance(&self, x: &[f64]) -> f64 {
        distance_up(x, self.nominal.trace.input())
    }

    /// How the output changes from x0 to a point, as computed.
    fn difference(&self, output: &[f64]) -> Vec<f64> {
        output.iter().zip(self.nominal.trace.output()).map(|(a, b)| a - b).collect()
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
    fn ratio(&self, there: &Trace, distance: f64) -> f64 {
        self.change(there.output(), 2.0 * self.error) / distance
    }

    /// The same of a point.
    fn estimate(&self, x: &[f64], distance: f64, ws: &mut Workspace) -> Result<f64, Cancelled> {
        Ok(self.ratio(&Trace::new(self.question.plan, x, self.monitor, ws)?, distance))
    }

    /// The direction of the output in which it changes from x0 to a point; for a functional its coefficients with the
    /// sign of the change.
    fn of_output(&self, there: &Trace) -> Vec<f64> {
        let change = self.difference(there.output());
        match self.question.functional {
            Some(functional) => {
                let sign = dot(functional, &change).signum();
                functional.iter().map(|c| c * sign).collect()
            }
            None => change,
        }
    }

    /// The ratio less its rounding; 0 where the evaluation overflows.
    fn attained(&self, there: &Nominal, ws: &mut Workspace) -> Result<Witness, Cancelled> {
        let (from, to) = (self.nominal.trace.input().to_vec(), there.trace.input().to_vec());
        if there.overflow().is_some() {
            return Ok(Witness { ratio: 0.0, from, to });
        }
        let both = rounding::add_up(self.error, evaluation_error(self.question.plan, there, self.monitor, ws)?);
        let change = self.change(there.trace.output(), both);
        let ratio = rounding::div_down(change, self.distance(&to)).max(0.0);
        Ok(Witness { ratio, from, to })
    }
}

/// `norm(x - y)`, rounded up.
pub(crate) fn distance_up(x: &[f64], y: &[f64]) -> f64 {
    let moved: Vec<f64> = x.iter().zip(y).map(|(a, b)| a - b).collect();
    rounding::mul_up(rounding::norm_up(&moved), 1.0 + 4.0 * rounding::UNIT_ROUNDOFF)
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
                let norm = operator.as_ref().map_or(1.0, |operator| stage.cap(&**operator, ws));
                let of_unit = rounding::gamma(unit.as_ref().map_or(0, Units::roundings))
                    * rounding::norm_up(&nominal.trace.values[index + 1]);
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

/// `norm(J v) / norm(v)`, or `|c^T J v| / norm(v)` for a functional, rounded down: what rounding adds in each stage
/// travels on by at most the stage's gain.
fn jacobian_ratio(
    jacobian: &Jacobian<'_>,
    v: &[f64],
    gains: &[f64],
    question: &Question<'_>,
    ws: &mut Workspace,
) -> Result<f64, Cancelled> {
    let values = jacobian.forward(v, ws)?;
    let mut errors = vec![0.0];
    for (stage, gain) in question.plan.stages.iter().zip(gains) {
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

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}
