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
mod tests {
    use super::*;
    use crate::{Conv2dOptions, NetworkBuilder, Node, conv2d, example::chain, linear};

    fn single(input: Vec<usize>, (layer, shape): (crate::Layer, Vec<usize>)) -> Network {
        let mut builder = NetworkBuilder::new(input).unwrap();
        let (name, kind) = ("map".into(), "test".into());
        builder.push(Node { name, kind, layer, inputs: vec![0], shape, parameters: 0 }).unwrap();
        builder.build().unwrap()
    }

    fn dense(outputs: usize) -> Network {
        let weight = Tensor::f64(vec![outputs, 2], vec![1.0; 2 * outputs]).unwrap();
        single(vec![2], linear(&[2], &weight, None).unwrap())
    }

    fn options() -> RadiusOptions {
        RadiusOptions {
            label: None,
            input_box: None,
            maximum: None,
            tolerance: 0.01,
            method: MethodRequest::Auto,
            norm: NormOptions::default(),
            attack_steps: None,
        }
    }

    /// An evaluation of one rival, whose margin is `quotient` times its constant.
    fn evaluation(epsilon: f64, quotient: f64) -> Evaluation {
        let (margin, lipschitz) = if quotient == f64::INFINITY { (1.0, 0.0) } else { (quotient, 1.0) };
        let margins = vec![Margin { class: 3, margin, lipschitz, method: Method::Certificate }];
        Evaluation { epsilon, margins, failure_probability: 0.0 }
    }

    fn attacked(distance: f64) -> Adversarial {
        Adversarial { point: vec![0.0], distance, class: 3 }
    }

    /// What is learnt of an evaluation, as by `run`; whether the bracket is as narrow as `tolerance` then.
    fn learn(search: &mut Search, epsilon: f64, quotient: f64, tolerance: f64) -> bool {
        let evaluation = evaluation(epsilon, quotient);
        search.points.push((epsilon, evaluation.quotient()));
        if evaluation.radius() > search.low() {
            search.best = Some(evaluation);
        }
        search.low() >= search.limit || search.high() <= search.low() * (1.0 + tolerance)
    }

    #[test]
    fn options_outside_their_range_are_refused() {
        let refused = |options: RadiusOptions, outputs: usize| match options.validate(&dense(outputs)) {
            Ok(()) => None,
            Err(error) => Some(error.to_string()),
        };
        assert_eq!(refused(options(), 3), None);
        for (label, outputs, classes) in [(2, 3, 3), (1, 1, 2), (0, 1, 2), (3, 3, 3), (2, 1, 2), (7, 2, 2)] {
            let error = refused(RadiusOptions { label: Some(label), ..options() }, outputs);
            assert_eq!(error.is_some(), label >= classes, "label {label} of {outputs}: {error:?}");
            if let Some(error) = error {
                assert!(error.contains(&format!("from 0 to {}", classes - 1)), "{error}");
                assert_eq!(error.contains("(0: negative, 1: positive)"), outputs == 1, "{error}");
            }
        }
        for maximum in [0.0, -1.0, f64::INFINITY, f64::NAN] {
            let error = refused(RadiusOptions { maximum: Some(maximum), ..options() }, 3).unwrap();
            assert!(error.contains("maximum"), "{error}");
        }
        assert_eq!(refused(RadiusOptions { maximum: Some(1e-300), ..options() }, 3), None);
        for tolerance in [0.0, 1.0, -0.1, 1.5, f64::NAN] {
            let error = refused(RadiusOptions { tolerance, ..options() }, 3).unwrap();
            assert!(error.contains("tolerance"), "{error}");
        }
    }

    #[test]
    fn a_box_holds_the_input_and_tells_how_far_it_may_move() {
        let net = dense(2);
        let vector = |values: [f64; 2]| Tensor::f64(vec![2], values.to_vec()).unwrap();
        let read = |lower: [f64; 2], upper: [f64; 2]| read_box(&net, &(vector(lower), vector(upper)), &[0.5, -1.0]);
        let (lower, upper) = read([0.5, -3.0], [2.0, -1.0]).unwrap();
        assert_eq!((lower, upper), (vec![0.5, -3.0], vec![2.0, -1.0]));
        for (lower, upper, element) in
            [([0.6, -2.0], [1.0, 0.0], 0), ([0.0, -2.0], [0.4, 0.0], 0), ([0.0, -0.5], [1.0, 0.0], 1)]
        {
            let error = read(lower, upper).unwrap_err().to_string();
            assert!(error.contains(&format!("element {element} ")), "{error}");
        }
        // The farther end counts, rounded up; an element between equal ends is where it is.
        for (x, lower, upper, most) in [(0.5, 0.25, 2.0, 1.5), (0.5, -2.0, 1.0, 2.5), (-1.0, -1.0, -1.0, 0.0)] {
            let found = extent(x, lower, upper);
            assert!(found >= most && found <= most * (1.0 + 1e-15), "{found} for {most}");
        }
        assert!(extent(0.1, 0.1, 0.3) >= 0.2 && extent(1.0, 1.0, 1.0 + f64::EPSILON) >= f64::EPSILON);
    }

    #[test]
    fn attacks_of_large_networks_stay_within_their_work() {
        assert_eq!(attack_steps(&dense(2)), ATTACK_STEPS);
        let mut between = 0;
        for side in [16, 64, 200, 256, 400, 512, 1024] {
            let input = vec![16, side, side];
            let weight = Tensor::f64(vec![16, 16, 3, 3], vec![1.0; 16 * 16 * 9]).unwrap();
            let net = single(input.clone(), conv2d(&input, &weight, None, &Conv2dOptions::default()).unwrap());
            let steps = attack_steps(&net);
            assert!((FEWEST_ATTACK_STEPS..=ATTACK_STEPS).contains(&steps));
            // Four descents of so many steps, each one pass forwards and one backwards.
            let work = |steps: usize| 4.0 * 2.0 * steps as f64 * net.multiply_adds() as f64;
            if (FEWEST_ATTACK_STEPS + 1..ATTACK_STEPS).contains(&steps) {
                between += 1;
                assert!(work(steps) <= ATTACK_WORK && work(steps + 1) > ATTACK_WORK * 0.999, "{side}: {steps}");
            }
        }
        assert!(between >= 2, "{between}");
    }

    #[test]
    fn the_secant_of_a_power_law_is_exact() {
        // q = c / epsilon^p meets epsilon where epsilon^(1 + p) = c.
        for c in [1e-8f64, 0.3, 1.0, 20.0, 1e8] {
            for p in [0.0, 0.3, 1.0, 2.5] {
                let root = c.powf(1.0 / (1.0 + p));
                let at = |epsilon: f64| (epsilon, c / epsilon.powf(p));
                for (low, high) in [(0.1, 3.0), (0.5, 1.5), (0.9, 40.0)] {
                    let found = secant(at(low * root), at(high * root));
                    assert!((found / root - 1.0).abs() < 1e-12, "{found} for {root}");
                }
            }
        }
    }

    #[test]
    fn few_evaluations_find_where_epsilon_and_quotient_are_the_same() {
        for distance in [None, Some(8.0), Some(30.0), Some(1e3)] {
            for scale in [1e-12, 1e-3, 1.0, 1e5, 1e12] {
                for p in [0.0, 0.4, 1.0, 3.0] {
                    // Meets epsilon at `scale`, and falls the faster the larger the ball, up to nothing.
                    let quotient = |epsilon: f64| scale * (1.2 / (0.2 + epsilon / scale)).powf(p);
                    let attack = distance.map(|d| attacked(d * scale));
                    let mut search = Search::new(f64::INFINITY, attack.as_ref());
                    let mut evaluations = 0;
                    loop {
                        let epsilon = search.next();
                        assert!(epsilon > 0.0 && epsilon.is_finite());
                        assert!(epsilon <= search.ceiling, "{epsilon} is beyond the attack");
                        let known = (search.low(), search.high());
                        if known.0 > 0.0 && known.1.is_finite() {
                            assert!(known.0 <= epsilon && epsilon <= known.1, "{epsilon} is outside {known:?}");
                        }
                        evaluations += 1;
                        if learn(&mut search, epsilon, quotient(epsilon), 1e-3) {
                            break;
                        }
                        // Without an attack the scale is not known, and found by halving its logarithm. So is the root of
                        // a constant, which no evaluation lies below.
                        let far = if distance.is_none() { f64::log10(scale).abs() as usize / 2 } else { 0 };
                        let most = far + if p == 0.0 { 16 } else { 9 };
                        assert!(evaluations < most, "{distance:?}, {scale}, {p}: {:?}", search.points);
                    }
                    let found = search.low();
                    assert!(found <= scale && found >= scale * (1.0 - 1e-3), "{found} for {scale}");
                }
            }
        }
    }

    #[test]
    fn quotients_of_zero_and_infinity_do_not_lead_astray() {
        // Nothing moves in small balls, and nothing is certified in large ones.
        for root in [1e-6, 1.0, 40.0, 1e9] {
            for attack in [None, Some(attacked(100.0 * root))] {
                let quotient = |epsilon: f64| match epsilon / root {
                    x if x < 0.3 => f64::INFINITY,
                    x if x > 4.0 => 0.0,
                    x => root / x,
                };
                let mut search = Search::new(f64::INFINITY, attack.as_ref());
                let (mut evaluations, mut epsilon) = (0, search.next());
                while !learn(&mut search, epsilon, quotient(epsilon), 1e-3) {
                    evaluations += 1;
                    assert!(evaluations < 24, "{root}: {:?}", search.points);
                    epsilon = search.next();
                    assert!(epsilon > 0.0 && epsilon.is_finite(), "{root}: {:?}", search.points);
                }
                assert!(search.low() <= root && search.low() >= root * (1.0 - 1e-3), "{root}: {:?}", search.points);
            }
        }
    }

    #[test]
    fn first_evaluations_lie_where_there_is_something_to_learn() {
        // Nothing is known at all.
        assert_eq!(Search::new(f64::INFINITY, None).next(), 1.0);
        assert_eq!(Search::new(0.25, None).next(), 0.25);
        for distance in [1e-6, 1.0, 1e9] {
            let attack = attacked(distance);
            // A product of layers reaches a small part of what an attack does, but some part.
            let mut search = Search::new(f64::INFINITY, Some(&attack));
            let first = search.next();
            assert!(first > distance * 1e-3 && first < distance * 0.1, "{first} of {distance}");
            assert_eq!(Search::new(distance * 1e-4, Some(&attack)).next(), distance * 1e-4);
            // Certificates reach farther than what products certify, and no farther than the attack.
            search.best = Some(evaluation(distance * 1e-4, distance));
            search.begin_anew();
            let next = search.next();
            assert!(next > distance * 1e-3 && next < distance * 0.1, "{next} between 1e-4 and 1 of {distance}");
            let mut alone = Search::new(f64::INFINITY, None);
            alone.best = Some(evaluation(distance, 2.0 * distance));
            let next = alone.next();
            assert!(next > 2.0 * distance && next < 10.0 * distance, "{next} from {distance}");
        }
    }

    #[test]
    fn what_certifies_nothing_or_everything_changes_the_scale() {
        let mut search = Search::new(f64::INFINITY, None);
        learn(&mut search, 1.0, 0.0, 0.1);
        let smaller = search.next();
        assert!(smaller < 0.5 && smaller > 1e-3, "{smaller}");
        // Not below what is certified already.
        search.best = Some(evaluation(0.25, 0.25));
        assert!(search.next() >= search.low() && search.next() < 1.0);
        let mut search = Search::new(100.0, None);
        learn(&mut search, 1.0, f64::INFINITY, 0.1);
        let larger = search.next();
        assert!(larger > 2.0 && larger < 100.0, "{larger}");
        learn(&mut search, 50.0, f64::INFINITY, 0.1);
        assert_eq!(search.next(), 100.0);
        assert!(!search.is_settled());
        learn(&mut search, 100.0, f64::INFINITY, 0.1);
        assert!(search.is_settled(), "all of interest is certified");
        assert!(Search::new(1.0, None).is_settled(), "nothing is certified, and nothing will be");
    }

    #[test]
    fn the_bracket_is_of_all_evaluations_of_a_stretch() {
        let attack = attacked(10.0);
        let mut search = Search::new(5.0, Some(&attack));
        assert_eq!((search.low(), search.high()), (0.0, 10.0));
        assert!(!learn(&mut search, 1.0, 4.0, 0.1));
        assert_eq!((search.low(), search.high()), (1.0, 4f64.next_down().next_down()));
        assert!(!learn(&mut search, 3.0, 2.0, 0.1));
        assert!(search.low() < 2.0 && search.low() > 1.999 && search.high() == 3.0);
        // A worse one changes nothing.
        assert!(!learn(&mut search, 3.5, 1.5, 0.1));
        assert!(search.low() > 1.999 && search.high() == 3.0);
        let epsilon = search.next();
        assert!(epsilon > search.low() * 1.01 && epsilon < search.high() * 0.99, "{epsilon} says something new");
        search.begin_anew();
        assert!(search.low() > 1.999 && search.high() == 10.0, "what is certified stays");
        // Where all of interest is inside the bracket, its end is asked for.
        let mut search = Search::new(2.0, None);
        learn(&mut search, 1.0, 5.0, 0.1);
        assert_eq!(search.next(), 2.0);
    }

    #[test]
    fn a_result_says_why_it_ended_and_what_limits_it() {
        let empty = || Radius {
            radius: 0.0,
            adversarial: None,
            label: 0,
            predicted: 0,
            termination: RadiusTermination::Zero(ZeroRadius::Tied),
            margins: Vec::new(),
            binding: None,
            evaluations: 0,
            method: Method::Layerwise,
            guarantee: Guarantee::Deterministic,
            failure_probability: 0.0,
            seed: 7,
            seconds: 0.0,
        };
        let search = |limit: f64, converged: bool| {
            let mut search = Search::new(limit, None);
            learn(&mut search, 1.0, 2.0, 0.1);
            search.evaluations = 5;
            search.failure_probability = 1e-3;
            search.converged = converged;
            search
        };
        let found = search(9.0, true).result(empty(), Some(attacked(3.0)));
        assert_eq!((found.radius, found.termination, found.binding), (1.0, RadiusTermination::Converged, Some(3)));
        assert_eq!((found.evaluations, found.seed, found.method), (5, 7, Method::Certificate));
        assert_eq!((found.failure_probability, found.guarantee), (1e-3, Guarantee::Probabilistic));
        assert_eq!(found.adversarial.unwrap().distance, 3.0);
        assert_eq!(found.margins.len(), 1);
        let found = search(9.0, false).result(empty(), None);
        assert_eq!((found.termination, found.binding), (RadiusTermination::EvaluationLimit, Some(3)));
        let found = search(1.0, true).result(empty(), None);
        assert_eq!((found.termination, found.binding), (RadiusTermination::Maximum, None));
        let mut nothing = Search::new(1.0, None);
        nothing.evaluations = 4;
        let found = nothing.result(empty(), Some(attacked(2.0)));
        assert_eq!((found.radius, found.evaluations), (0.0, 4));
        assert_eq!(found.termination, RadiusTermination::Zero(ZeroRadius::Tied));
        assert_eq!(found.adversarial.unwrap().distance, 2.0);
    }

    /// Two layers of dense weights, with the same numbers for every seed.
    fn two_layers(seed: u64, outputs: usize) -> Network {
        let weight = |rows: usize, cols: usize, stream: u64| {
            let values = lipbound_spectral::start::gaussian(&vec![true; rows * cols], seed, stream);
            linear(&[cols], &Tensor::f64(vec![rows, cols], values).unwrap(), None).unwrap().0
        };
        let layers = vec![weight(6, 3, 1), crate::Layer::Unit(crate::Unit::Relu.into()), weight(outputs, 6, 2)];
        chain(3, layers, &[6, 6, outputs])
    }

    /// Keeps the parts of the work that are reported done.
    #[derive(Default)]
    struct Watching(std::sync::Mutex<Vec<f64>>);

    impl lipbound_spectral::Monitor for Watching {}

    impl BoundMonitor for Watching {
        fn stage(&self, _name: &str, done: usize, of: usize, _epsilon: f64) {
            self.0.lock().unwrap().push(done as f64 / of as f64);
        }
    }

    fn radius(net: &Network, x: &[f64], options: &RadiusOptions) -> Radius {
        let input = Tensor::f64(vec![x.len()], x.to_vec()).unwrap();
        certified_radius(net, &input, options, &crate::Quiet, &mut Workspace::new()).unwrap()
    }

    #[test]
    fn every_evaluation_may_fail_with_its_share_alone() {
        const FAILURE: f64 = 1e-3;
        let mut evaluations = Vec::new();
        for seed in 0..6 {
            let net = two_layers(seed, 3);
            for method in [MethodRequest::Layerwise, MethodRequest::Certificate] {
                let norm = NormOptions {
                    failure_probability: FAILURE,
                    guarantee: lipbound_spectral::GuaranteeRequest::Probabilistic,
                    ..NormOptions::default()
                };
                let options = RadiusOptions { method, norm, tolerance: 1e-15, ..options() };
                let found = radius(&net, &[0.4, -0.3, 0.5], &options);
                if found.radius == 0.0 {
                    continue;
                }
                let each = found.failure_probability / found.evaluations as f64;
                let all = FAILURE / (CHEAP_EVALUATIONS + EVALUATIONS) as f64;
                assert!(each <= all && each >= 0.1 * all, "{each} of {all}: {found:?}");
                assert!(found.failure_probability <= FAILURE);
                evaluations.push(found.evaluations);
            }
        }
        assert!(evaluations.iter().all(|&n| n <= CHEAP_EVALUATIONS + EVALUATIONS));
        assert!(evaluations.len() > 6 && evaluations.iter().any(|&n| n > EVALUATIONS), "{evaluations:?}");
    }

    #[test]
    fn certificates_go_on_where_products_end() {
        let mut farther = 0;
        for seed in 0..8 {
            let net = two_layers(seed, 3);
            let of =
                |method, tolerance| radius(&net, &[0.4, -0.3, 0.5], &RadiusOptions { method, tolerance, ..options() });
            let (coarse, fine) = (of(MethodRequest::Certificate, 0.05), of(MethodRequest::Certificate, 1e-4));
            let products = of(MethodRequest::Layerwise, 1e-4);
            if fine.radius == 0.0 {
                continue;
            }
            assert_eq!(fine.termination, RadiusTermination::Converged, "{fine:?}");
            // To a tolerance, and with few evaluations: some of products, some of certificates.
            assert!(coarse.radius >= fine.radius * 0.94 && fine.radius >= products.radius * 0.999, "seed {seed}");
            assert!((4..=16).contains(&coarse.evaluations), "{}", coarse.evaluations);
            assert!((5..=26).contains(&fine.evaluations), "{}", fine.evaluations);
            assert!((3..=24).contains(&products.evaluations), "{}", products.evaluations);
            assert!(fine.seconds > 0.0 && fine.evaluations >= coarse.evaluations);
            farther += usize::from(fine.radius > 1.01 * products.radius);
            // What is certified is an evaluation's own, at its epsilon or below.
            let margin = &fine.margins[0];
            let quotient = margin.margin / margin.lipschitz;
            assert!(fine.radius <= quotient && fine.binding == Some(margin.class));
            let attack = fine.adversarial.unwrap();
            assert!(fine.radius < attack.distance);
        }
        assert!(farther > 2, "{farther}");
    }

    /// A finer tolerance makes the same evaluations and some more, of which the best is kept.
    #[test]
    fn more_evaluations_certify_no_less() {
        let mut more = 0;
        for seed in 0..12 {
            let net = two_layers(seed, 3);
            let mut before = (0.0, 0);
            for tolerance in [0.9, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 1e-3] {
                let options = RadiusOptions { method: MethodRequest::Layerwise, tolerance, ..options() };
                let found = radius(&net, &[0.4, -0.3, 0.5], &options);
                assert!(
                    found.radius >= before.0 && found.evaluations >= before.1,
                    "seed {seed}: {before:?}, {found:?}"
                );
                more += usize::from(found.evaluations > before.1);
                before = (found.radius, found.evaluations);
            }
        }
        assert!(more > 30, "{more}");
        // What is not certain at the input is not certain anywhere: 0.1 + 0.2 - 0.3 is not zero as computed.
        let weight = Tensor::f64(vec![1, 3], vec![0.1, 0.2, -0.3]).unwrap();
        let found = radius(&single(vec![3], linear(&[3], &weight, None).unwrap()), &[1.0; 3], &options());
        assert_eq!((found.radius, found.termination), (0.0, RadiusTermination::Zero(ZeroRadius::Tied)), "{found:?}");
        assert!(found.margins.is_empty() && found.evaluations > 0);
    }

    #[test]
    fn progress_goes_from_the_beginning_to_the_end_and_never_back() {
        for method in [MethodRequest::Layerwise, MethodRequest::Certificate] {
            for seed in 0..4 {
                let watching = Watching::default();
                let input = Tensor::f64(vec![3], vec![0.4, -0.3, 0.5]).unwrap();
                let options = RadiusOptions { method, tolerance: 1e-6, ..options() };
                let net = two_layers(seed, 3);
                let found = certified_radius(&net, &input, &options, &watching, &mut Workspace::new()).unwrap();
                let parts = watching.0.into_inner().unwrap();
                assert!(parts.iter().all(|part| (0.0..=1.0).contains(part)), "{parts:?}");
                assert!(parts.windows(2).all(|pair| pair[0] <= pair[1]), "{parts:?}");
                if found.evaluations > 6 {
                    // The second evaluation begins where half of the work of its kind is left.
                    assert!(parts.iter().any(|&part| part > 0.9), "{parts:?}");
                    let different =
                        parts.iter().map(|part| (part * 1e6) as usize).collect::<std::collections::BTreeSet<_>>();
                    assert!(different.len() > found.evaluations, "{different:?}");
                }
            }
        }
    }

    #[test]
    fn inputs_of_no_margin_have_no_radius() {
        let weight = Tensor::f64(vec![2, 2], vec![1.0, 0.0, 0.0, 1.0]).unwrap();
        let net = single(vec![2], linear(&[2], &weight, None).unwrap());
        for (x, label, reason) in [
            ([1.0, 1.0], 0, ZeroRadius::Tied),
            ([1.0, 2.0], 0, ZeroRadius::Misclassified),
            ([0.0, 0.0], 1, ZeroRadius::Tied),
        ] {
            let found = radius(&net, &x, &RadiusOptions { label: Some(label), ..options() });
            assert_eq!((found.radius, found.termination), (0.0, RadiusTermination::Zero(reason)));
            let here = found.adversarial.unwrap();
            assert_eq!((here.point, here.distance, here.class), (x.to_vec(), 0.0, 1 - label));
            assert_eq!((found.evaluations, found.failure_probability), (0, 0.0));
        }
        // In one dimension of the difference: the boundary is where both are the same.
        let found = radius(&net, &[2.0, 1.0], &RadiusOptions { tolerance: 1e-3, ..options() });
        let boundary = 0.5f64.sqrt();
        assert!(found.radius < boundary && found.radius > boundary * 0.998, "{found:?}");
        assert_eq!((found.label, found.binding, found.guarantee), (0, Some(1), Guarantee::Deterministic));
        // Up to a maximum below it, in one evaluation where that is the first.
        for maximum in [0.1, 0.3, 0.7] {
            let found = radius(&net, &[2.0, 1.0], &RadiusOptions { maximum: Some(maximum), ..options() });
            assert_eq!((found.radius, found.termination), (maximum, RadiusTermination::Maximum), "{found:?}");
            assert!(found.evaluations <= if maximum < 0.5 { 4 } else { 12 }, "{found:?}");
        }
        // In a box whose corner is nearer than that, to the corner.
        let ends = [[1.9, 0.9], [2.1, 1.1]].map(|end| Tensor::f64(vec![2], end.to_vec()).unwrap());
        let [lower, upper] = ends;
        let found = radius(&net, &[2.0, 1.0], &RadiusOptions { input_box: Some((lower, upper)), ..options() });
        let corner = 0.1 * 2f64.sqrt();
        assert!((found.radius / corner - 1.0).abs() < 1e-12 && found.termination == RadiusTermination::Maximum);
        // Without room, one evaluation says all.
        let at = Tensor::f64(vec![2], vec![2.0, 1.0]).unwrap();
        let found = radius(&net, &[2.0, 1.0], &RadiusOptions { input_box: Some((at.clone(), at)), ..options() });
        assert_eq!((found.radius, found.termination), (0.0, RadiusTermination::Maximum));
        assert_eq!((found.evaluations, found.margins.len()), (1, 1));
    }
}
