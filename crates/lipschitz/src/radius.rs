//! Certified radii: how far an input may move before the class of the output can change.
//!
//! [`crate::margins`] certifies, by one evaluation at any epsilon, the radius `min(epsilon, q(epsilon))` with `q` the
//! smallest quotient of margin and constant. Since constants grow with the ball, `q` falls, and the best radius is where
//! `q(epsilon) = epsilon`. Every evaluation gives a point on each side of it: `epsilon` itself and `q(epsilon)`, which makes
//! a bracket from the first one on; the secant through the last two evaluations, in logarithms, finds the next. The
//! product of layers, which costs little, shows where to begin with certificates, and an attack where to end.

use std::time::Instant;

use lipbound_operators::{Workspace, rounding};
use lipbound_spectral::{Guarantee, NormOptions};

use crate::{
    BoundError, BoundMonitor, Method, MethodRequest, ModelError, Network, Tensor,
    attack::{Adversarial, Attack, Limits},
    bound::{guarantee, nominal_at},
    margins::{Evaluation, Evaluator, Margin, Rivals, answer, class_count},
    phases::Phase,
    walk::{Memory, takes_certificates},
};

/// What is asked of a radius.
#[derive(Clone, Debug)]
pub struct RadiusOptions {
    /// The right class; by default the network's answer.
    pub label: Option<usize>,
    /// Inputs that can occur: the lower and upper ends of each element.
    pub input_box: Option<(Tensor, Tensor)>,
    /// Largest radius of interest.
    pub maximum: Option<f64>,
    /// Relative width at which the search ends.
    pub tolerance: f64,
    /// How to bound the constants of the margins.
    pub method: MethodRequest,
    /// Tolerance of each norm, failure probability of the whole result, limits and seed.
    pub norm: NormOptions,
    /// Steps of each descent of the attack; by default 200, and fewer for large networks.
    pub attack_steps: Option<usize>,
}

/// Why a radius is zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ZeroRadius {
    /// The network answers another class.
    Misclassified,
    /// Another class's output is as large as the label's, or not certainly smaller.
    Tied,
}

/// Why the search for a radius ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RadiusTermination {
    /// A radius larger by the tolerance could not be certified.
    Converged,
    /// Everything of interest is certified.
    Maximum,
    /// As many evaluations were made as there may be.
    EvaluationLimit,
    /// The radius is zero.
    Zero(ZeroRadius),
}

/// A certified radius.
#[derive(Clone, Debug)]
pub struct Radius {
    /// Every input (of the box) at most this far away has the label's output above all others.
    pub radius: f64,
    /// The nearest input that has not, as far as an attack found one.
    pub adversarial: Option<Adversarial>,
    /// The class whose answer is certified.
    pub label: usize,
    /// The class the network answers.
    pub predicted: usize,
    /// Why the search ended.
    pub termination: RadiusTermination,
    /// The other classes by the evaluation that certifies the radius, the smallest quotient first.
    pub margins: Vec<Margin>,
    /// The class that limits the radius, if any does.
    pub binding: Option<usize>,
    /// Evaluations that were made.
    pub evaluations: usize,
    /// What the constant of the binding class rests on.
    pub method: Method,
    /// Certainty of `radius`.
    pub guarantee: Guarantee,
    /// Probability that `radius` is too large.
    pub failure_probability: f64,
    /// Seed of the random choices.
    pub seed: u64,
    /// Time spent.
    pub seconds: f64,
}

/// Most evaluations with the product of layers, and with certificates. Each gets an equal part of the failure
/// probability: with one wrong constant the search would run after it.
const CHEAP_EVALUATIONS: usize = 24;
const EVALUATIONS: usize = 16;
const ALL_EVALUATIONS: usize = CHEAP_EVALUATIONS + EVALUATIONS;

/// Shares of the failure probability are summed up with rounding upwards: what all may have must not exceed the whole.
const ROUNDED_SHARES: f64 = 1.0 - 1e-12;

/// Where the cheap search may end: it only says where to begin.
const CHEAP_TOLERANCE: f64 = 0.05;

/// Growth from one evaluation to the next while nothing limits the radius.
const GROWTH: f64 = 16.0;

/// An epsilon at which the search gives up: what cannot be certified there cannot be certified.
const SMALLEST: f64 = 1e-200;

/// Steps of a descent, and multiply-adds for all descents of a large network.
const ATTACK_STEPS: usize = 200;
const FEWEST_ATTACK_STEPS: usize = 10;
const ATTACK_WORK: f64 = 2e11;

/// The largest radius around an input that can be certified, up to the tolerance, beside the distance of the nearest input
/// of another class that an attack finds.
///
/// # Errors
/// If an option or the input is invalid, or the monitor stops the work.
pub fn certified_radius(
    network: &Network,
    input: &Tensor,
    options: &RadiusOptions,
    monitor: &dyn BoundMonitor,
    ws: &mut Workspace,
) -> Result<Radius, BoundError> {
    let started = Instant::now();
    let x = network.read_input(input)?;
    options.validate(network)?;
    let (limits, extents) = match &options.input_box {
        None => (None, None),
        Some(ends) => {
            let limits = read_box(network, ends, &x)?;
            let extents: Vec<f64> = (0..x.len()).map(|i| extent(x[i], limits.0[i], limits.1[i])).collect();
            (Some(limits), Some(extents))
        }
    };
    let limits = limits.as_ref().map(|(lower, upper)| Limits { lower, upper });
    let nominal = nominal_at(network, &x, monitor, ws)?;
    let output = nominal.trace.output();
    let predicted = answer(output);
    let label = options.label.unwrap_or(predicted);
    let rivals = Rivals::new(output.len(), label);
    let result = Radius {
        radius: 0.0,
        adversarial: None,
        label,
        predicted,
        termination: RadiusTermination::Zero(ZeroRadius::Tied),
        margins: Vec::new(),
        binding: None,
        evaluations: 0,
        method: Method::Layerwise,
        guarantee: Guarantee::Deterministic,
        failure_probability: 0.0,
        seed: options.norm.seed,
        seconds: 0.0,
    };
    let finish = |result: Radius| Radius { seconds: started.elapsed().as_secs_f64(), ..result };

    let (nearest, margin) = rivals.smallest(output);
    if margin <= 0.0 {
        let reason = if margin < 0.0 { ZeroRadius::Misclassified } else { ZeroRadius::Tied };
        let here = Adversarial { point: x, distance: 0.0, class: rivals.class(nearest) };
        return Ok(finish(Radius { termination: RadiusTermination::Zero(reason), adversarial: Some(here), ..result }));
    }

    monitor.stage("attack", 0, 1, f64::INFINITY);
    let attack = Attack {
        plan: network.plan(),
        centre: &nominal.trace,
        rivals: &rivals,
        limits,
        steps: options.attack_steps.unwrap_or_else(|| attack_steps(network)),
        seed: options.norm.seed,
        monitor,
    };
    let adversarial = attack.run(ws)?;

    let evaluator = |method| Evaluator {
        network,
        nominal: &nominal,
        extents: extents.as_deref(),
        rivals: &rivals,
        method,
        norm: NormOptions {
            failure_probability: ROUNDED_SHARES * options.norm.failure_probability / ALL_EVALUATIONS as f64,
            ..options.norm
        },
        most: ALL_EVALUATIONS,
    };
    let certificates = takes_certificates(network, options.method);
    let corner = extents.as_deref().map_or(f64::INFINITY, rounding::norm_up);
    let mut search = Search::new(options.maximum.unwrap_or(f64::INFINITY).min(corner), adversarial.as_ref());
    let cheap = evaluator(MethodRequest::Layerwise);
    let mut run = |search: &mut Search, evaluator: &Evaluator<'_>, stretch: Stretch| {
        search.run(evaluator, &stretch, &mut Memory::new(network), monitor, ws)
    };
    if certificates {
        let tolerance = options.tolerance.max(CHEAP_TOLERANCE);
        run(&mut search, &cheap, Stretch { tolerance, most: CHEAP_EVALUATIONS, from: 0.1, to: 0.2 })?;
        if !search.is_settled() {
            search.begin_anew();
            let (tolerance, most) = (options.tolerance, search.evaluations + EVALUATIONS);
            run(&mut search, &evaluator(options.method), Stretch { tolerance, most, from: 0.2, to: 1.0 })?;
        }
    } else {
        let (tolerance, most) = (options.tolerance, ALL_EVALUATIONS);
        run(&mut search, &cheap, Stretch { tolerance, most, from: 0.1, to: 1.0 })?;
    }
    Ok(finish(search.result(result, adversarial)))
}

impl RadiusOptions {
    fn validate(&self, network: &Network) -> Result<(), BoundError> {
        self.norm.validate()?;
        let outputs: usize = network.output_shape().iter().product();
        let classes = class_count(outputs);
        if let Some(label) = self.label.filter(|&label| label >= classes) {
            return Err(ModelError::model(format!(
                "label must be a class from 0 to {}, since the network has {outputs} output{}, got {label}",
                classes - 1,
                if outputs == 1 { " (0: negative, 1: positive)" } else { "s" }
            ))
            .into());
        }
        if let Some(maximum) = self.maximum.filter(|m| !(*m > 0.0 && m.is_finite())) {
            return Err(ModelError::value(format!("maximum must be a finite number > 0, got {maximum}")).into());
        }
        if !(self.tolerance > 0.0 && self.tolerance < 1.0) {
            let tolerance = self.tolerance;
            return Err(ModelError::value(format!("tolerance must be between 0 and 1, got {tolerance}")).into());
        }
        Ok(())
    }
}

/// The ends of a box around an input.
fn read_box(
    network: &Network,
    (lower, upper): &(Tensor, Tensor),
    x: &[f64],
) -> Result<(Vec<f64>, Vec<f64>), ModelError> {
    let read = |tensor: &Tensor, end: &str| network.read_input(tensor).map_err(|e| e.at(&format!("inputBox.{end}")));
    let (lower, upper) = (read(lower, "lower")?, read(upper, "upper")?);
    for (i, &x) in x.iter().enumerate() {
        if !(lower[i] <= x && x <= upper[i]) {
            return Err(ModelError::value(format!(
                "the input must be inside inputBox, but its element {i} is {x} and not from {} to {}",
                lower[i], upper[i]
            )));
        }
    }
    Ok((lower, upper))
}

/// How far an element can move from `x` between two ends.
fn extent(x: f64, lower: f64, upper: f64) -> f64 {
    if lower == upper { 0.0 } else { rounding::add_up(upper, -x).max(rounding::add_up(x, -lower)) }
}

fn attack_steps(network: &Network) -> usize {
    // Four descents, each step a pass forwards and one backwards.
    let affordable = ATTACK_WORK / (8.0 * network.multiply_adds() as f64);
    (affordable as usize).clamp(FEWEST_ATTACK_STEPS, ATTACK_STEPS)
}

/// A part of the search by one evaluator.
struct Stretch {
    /// Relative width at which it ends.
    tolerance: f64,
    /// The number of all evaluations at which it ends.
    most: usize,
    /// The part of all work that it is, for people who watch.
    from: f64,
    to: f64,
}

/// What the search has learnt.
struct Search {
    /// Largest radius of interest.
    limit: f64,
    /// Distance of the nearest input of another class.
    ceiling: f64,
    /// The evaluation that certifies most.
    best: Option<Evaluation>,
    /// Epsilon and quotient of the evaluations of this stretch.
    points: Vec<(f64, f64)>,
    evaluations: usize,
    failure_probability: f64,
    /// Whether this stretch came to its end by itself.
    converged: bool,
}

impl Search {
    fn new(limit: f64, adversarial: Option<&Adversarial>) -> Self {
        let ceiling = adversarial.map_or(f64::INFINITY, |a| a.distance);
        Self {
            limit,
            ceiling,
            best: None,
            points: Vec::new(),
            evaluations: 0,
            failure_probability: 0.0,
            converged: false,
        }
    }

    /// The largest radius that is certified.
    fn low(&self) -> f64 {
        self.best.as_ref().map_or(0.0, Evaluation::radius)
    }

    /// The least radius known to be beyond this stretch's evaluator.
    fn high(&self) -> f64 {
        self.refused().min(self.ceiling)
    }

    /// The same, as far as evaluations say.
    fn refused(&self) -> f64 {
        self.points.iter().map(|(epsilon, quotient)| epsilon.max(*quotient)).fold(f64::INFINITY, f64::min)
    }

    /// Whether all is certified that can be of interest, or nothing at all can be.
    fn is_settled(&self) -> bool {
        self.low() >= self.limit || self.low() == 0.0
    }

    /// Forgets what only holds for the evaluator so far.
    fn begin_anew(&mut self) {
        self.points.clear();
    }

    fn run(
        &mut self,
        evaluator: &Evaluator<'_>,
        stretch: &Stretch,
        memory: &mut Memory,
        monitor: &dyn BoundMonitor,
        ws: &mut Workspace,
    ) -> Result<(), BoundError> {
        let mut left = 1.0;
        self.converged = false;
        while self.evaluations < stretch.most {
            let epsilon = self.next();
            // Nobody knows how many there will be: each takes half of what is left.
            let done = |left: f64| stretch.to - (stretch.to - stretch.from) * left;
            let (from, to) = (done(left), done(left / 2.0));
            left /= 2.0;
            let phase = Phase { inner: monitor, place: self.evaluations, places: evaluator.most, from, to };
            let evaluation = evaluator.evaluate(epsilon, self.evaluations, memory, &phase, ws)?;
            self.evaluations += 1;
            self.failure_probability = rounding::add_up(self.failure_probability, evaluation.failure_probability);
            self.points.push((epsilon, evaluation.quotient()));
            // In a box without room the first certain margin is all there is.
            if evaluation.radius() > self.low() || (self.best.is_none() && evaluation.quotient() > 0.0) {
                self.best = Some(evaluation);
            }
            if self.low() >= self.limit || self.high() <= self.low() * (1.0 + stretch.tolerance) || epsilon < SMALLEST {
                self.converged = true;
                break;
            }
        }
        Ok(())
    }

    /// Where to evaluate next.
    fn next(&self) -> f64 {
        let most = self.limit.min(self.ceiling);
        let Some(&(epsilon, quotient)) = self.points.last() else {
            // Attacks reach about ten times as far as certificates, and these as products of layers.
            let guess = match (self.low(), self.ceiling) {
                (0.0, ceiling) if ceiling.is_finite() => 0.03 * ceiling,
                (0.0, _) => 1.0,
                (low, ceiling) if ceiling.is_finite() => (low * ceiling).sqrt(),
                (low, _) => 4.0 * low,
            };
            return guess.min(most);
        };
        // Where quotients tell nothing but on which side it is: far away, but not beyond what is known of the other side.
        let halfway = |other: f64| epsilon.sqrt() * other.sqrt();
        if quotient == 0.0 {
            return (epsilon / GROWTH).max(halfway(self.low()));
        }
        if quotient == f64::INFINITY {
            return (epsilon * GROWTH).min(halfway(self.refused())).min(most);
        }
        // The nearest evaluations on both sides of the one that is looked for, where epsilon and quotient are the same.
        let usable = || self.points.iter().filter(|(_, q)| *q > 0.0 && q.is_finite());
        let below = usable().filter(|(e, q)| e <= q).max_by(|a, b| a.0.total_cmp(&b.0));
        let above = usable().filter(|(e, q)| e > q).min_by(|a, b| a.0.total_cmp(&b.0));
        let guess = match (below, above) {
            (Some(below), Some(above)) => secant(*below, *above),
            _ => (epsilon * quotient).sqrt(),
        };
        // Inside the bracket, and not at its ends, which say nothing new; but for the largest radius of interest, where
        // nothing was evaluated yet if the bracket goes beyond it. An evaluation with a quotient that is neither zero nor
        // infinite made the bracket, and the search would have ended if there were nothing between its ends.
        let (low, beyond) = (self.low(), self.high());
        let high = beyond.min(most);
        let inside = |share: f64| low.powf(1.0 - share) * high.powf(share);
        // Rounding may put the ends of a narrow bracket the other way round: no clamp.
        guess.max(inside(0.1)).min(if beyond > most { most } else { inside(0.9) }).min(most)
    }

    /// `empty` is the result where nothing is certified.
    fn result(self, empty: Radius, adversarial: Option<Adversarial>) -> Radius {
        let (radius, evaluations) = (self.low(), self.evaluations);
        let failure_probability = self.failure_probability;
        let Some(best) = self.best else {
            return Radius { adversarial, evaluations, ..empty };
        };
        let distance = adversarial.as_ref().map_or(f64::INFINITY, |a| a.distance);
        // An input of another class inside the radius would prove it wrong: unlucky start vectors, or an error of ours.
        debug_assert!(radius < distance, "radius {radius}, another class at {distance}");
        let termination = if radius >= self.limit {
            RadiusTermination::Maximum
        } else if self.converged {
            RadiusTermination::Converged
        } else {
            RadiusTermination::EvaluationLimit
        };
        Radius {
            radius: if radius < distance { radius } else { distance.next_down() },
            adversarial,
            termination,
            binding: (termination != RadiusTermination::Maximum).then(|| best.margins[0].class),
            method: best.margins[0].method,
            margins: best.margins,
            evaluations,
            guarantee: guarantee(failure_probability),
            failure_probability,
            ..empty
        }
    }
}

/// Where `log quotient - log epsilon` vanishes on the line through two evaluations.
fn secant(a: (f64, f64), b: (f64, f64)) -> f64 {
    let gap = |(epsilon, quotient): (f64, f64)| (quotient / epsilon).ln();
    let (log_a, log_b, gap_a, gap_b) = (a.0.ln(), b.0.ln(), gap(a), gap(b));
    (log_a + (log_b - log_a) * gap_a / (gap_a - gap_b)).exp()
}

#[cfg(test)]
mod tests;
