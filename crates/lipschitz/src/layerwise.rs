//! The layerwise bound: the affine-ReLU theorem for each stage, composed over the network.
//!
//! **Theorem** (Avant and Morgansen, arXiv 2008.06141, theorem 1). Let `z = unit(A x + b)`, `D = diag(d)` with `d_j = 0`
//! where input element `j` does not move over the ball of radius `eps`, and `R = diag(r)` with `r_i` the largest secant
//! slope of unit `i` while its pre-activation moves by at most `eps norm(a_i^T D)`. Then the local Lipschitz constant is
//! at most `norm(R A D)`, and element `i` of the output is still where the pre-activation stays at or below zero.
//!
//! Stages compose: the image of a ball of radius `eps` lies in a ball of radius `eps norm(R A D)`, where the next stage
//! takes over (arXiv 2104.14672). Sums of branches add their constants.
//!
//! # Rounding
//! What is bounded is the network in real arithmetic; its nominal values are only known as computed. The distance
//! between the two is carried along as a Euclidean norm: the computed values are those of a network disturbed by local
//! rounding errors, and a disturbance travels through `R A D` as any other movement inside the ball does, so
//! `error_out <= norm(R A D) error_in + norm(R local)`. Slopes are taken over deviations of at least that error, which
//! is what makes `R` valid for the disturbance too. Elements that do not move can still carry an error (a constant unit
//! with a rounded value): it is kept apart, since `D` hides it from `norm(R A D)`.

use std::{sync::Arc, time::Instant};

use lipbound_operators::{LinearOperator, Masked, Workspace, rounding};
use lipbound_spectral::{Guarantee, NormBracket, NormOptions, norm_bracket};

use crate::{
    BoundError, BoundMonitor, BoundOptions, BoundResult, Kind, LayerReport, MaxPool, Method, Network, Tensor, Unit,
    UnitCounts, attained,
    nominal::Nominal,
    plan::{Action, Stage},
    unit::PreActivation,
};

/// Upper bounds for an input and every epsilon asked for, in order.
///
/// # Errors
/// If an option or the input is invalid, or the monitor stops the work.
pub fn bound(
    network: &Network,
    input: &Tensor,
    options: &BoundOptions,
    monitor: &dyn BoundMonitor,
) -> Result<Vec<BoundResult>, BoundError> {
    options.norm.validate()?;
    if let Some(&epsilon) = options.epsilons.iter().find(|e| !e.is_finite() || **e < 0.0) {
        return Err(BoundError::Epsilon(epsilon));
    }
    let x = network.read_input(input)?;
    let mut ws = Workspace::new();
    let start = Instant::now();
    let nominal = Nominal::new(network.plan(), &x, &mut ws);
    if let Some(i) = nominal.values.iter().position(|v| v.iter().any(|x| !x.is_finite())) {
        let name = i.checked_sub(1).map_or("the input", |s| &network.plan().stages[s].name);
        return Err(crate::ModelError::value(format!("the values of '{name}' overflow at this input")).into());
    }
    let shared = start.elapsed().as_secs_f64() / options.epsilons.len().max(1) as f64;
    let mut memory = vec![None; network.plan().stages.len()];
    let mut results = Vec::with_capacity(options.epsilons.len());
    for (k, &epsilon) in options.epsilons.iter().enumerate() {
        let request = Request {
            network,
            nominal: Some(&nominal),
            kind: options.kind,
            epsilon,
            norm: options.norm,
            place: (k, options.epsilons.len()),
            started: Instant::now(),
        };
        let mut result = request.run(monitor, &mut memory, &mut ws)?;
        result.seconds += shared;
        results.push(result);
    }
    Ok(results)
}

/// An upper bound of the global Lipschitz constant: every unit may take any of its slopes.
///
/// # Errors
/// If an option is invalid, or the monitor stops the work.
pub fn global_bound(
    network: &Network,
    norm: &NormOptions,
    monitor: &dyn BoundMonitor,
) -> Result<BoundResult, BoundError> {
    norm.validate()?;
    let request = Request {
        network,
        nominal: None,
        kind: Kind::Global,
        epsilon: f64::INFINITY,
        norm: *norm,
        place: (0, 1),
        started: Instant::now(),
    };
    let mut memory = vec![None; network.plan().stages.len()];
    request.run(monitor, &mut memory, &mut Workspace::new())
}

/// The masks of the last norm of a stage and what it was: neighbouring epsilons often share them.
type Remembered = Option<(Masks, NormBracket)>;

#[derive(Clone, Debug, PartialEq)]
struct Masks {
    rows: Option<Vec<f64>>,
    cols: Option<Vec<f64>>,
}

/// What is known of a source (the input or a stage's output) over the ball.
#[derive(Clone, Debug)]
struct Flow {
    /// Upper bound of `norm(dz) / norm(dx)`.
    gain: f64,
    /// The same with the lower ends of all norms.
    gain_lower: f64,
    /// Radius of a ball that contains all `dz`.
    radius: f64,
    /// Bound of each `|dz_i|`.
    reach: Vec<f64>,
    /// Which elements may move.
    moves: Vec<bool>,
    /// Norm of the rounding error of the nominal value, over the elements that move.
    error: f64,
    /// The same over the elements that do not.
    still_error: f64,
    /// Whether all slopes at x0 itself are certain, up to here.
    smooth: bool,
}

impl Flow {
    fn element_error(&self, i: usize) -> f64 {
        if self.moves[i] { self.error } else { self.still_error }
    }

    /// The mask `D`, or `None` if everything moves.
    fn mask(&self) -> Option<Vec<f64>> {
        (!self.moves.iter().all(|&m| m)).then(|| self.moves.iter().map(|&m| f64::from(u8::from(m))).collect())
    }
}

/// What a stage adds to the story.
struct Step {
    norm: NormBracket,
    units: UnitCounts,
    output: Flow,
}

struct Request<'a> {
    network: &'a Network,
    nominal: Option<&'a Nominal>,
    kind: Kind,
    epsilon: f64,
    norm: NormOptions,
    /// Which epsilon of how many.
    place: (usize, usize),
    started: Instant,
}

impl Request<'_> {
    fn run(
        &self,
        monitor: &dyn BoundMonitor,
        memory: &mut [Remembered],
        ws: &mut Workspace,
    ) -> Result<BoundResult, BoundError> {
        let stages = &self.network.plan().stages;
        let inputs = self.network.input_shape().iter().product();
        let mut flows = vec![Flow {
            gain: 1.0,
            gain_lower: 1.0,
            radius: self.epsilon,
            reach: vec![self.epsilon; inputs],
            moves: vec![true; inputs],
            error: 0.0,
            still_error: 0.0,
            smooth: true,
        }];
        // The union bound over all norms of a result.
        let norms = stages.iter().filter(|s| matches!(s.action, Action::Affine { operator: Some(_), .. })).count();
        let share = self.norm.failure_probability / norms.max(1) as f64;
        let mut layers: Vec<LayerReport> = Vec::with_capacity(stages.len());
        for (index, stage) in stages.iter().enumerate() {
            if monitor.cancelled() {
                return Err(BoundError::Cancelled);
            }
            let (k, epsilons) = self.place;
            monitor.stage(&stage.name, k * stages.len() + index, epsilons * stages.len(), self.epsilon);
            let began = Instant::now();
            let input = &flows[stage.inputs[0]];
            let step = match &stage.action {
                Action::Affine { operator: Some(operator), unit, .. } => {
                    let options = NormOptions {
                        failure_probability: share,
                        stream: (k * stages.len() + index) as u64,
                        ..self.norm
                    };
                    self.affine(index, stage, operator, *unit, input, &options, &mut memory[index], monitor, ws)?
                }
                Action::Affine { operator: None, unit, .. } => {
                    self.lone_unit(index, unit.expect("a stage without an operator has a unit"), input)
                }
                Action::Pool(pool) => self.pool(stage.inputs[0], pool, input),
                Action::Add => self.add(index, stage, &flows),
            };
            layers.push(LayerReport {
                name: stage.name.clone(),
                kind: stage.kind(),
                members: stage.members.clone(),
                input_shape: stage.input_shape.clone(),
                output_shape: stage.shape.clone(),
                norm: step.norm,
                epsilon_in: input.radius,
                epsilon_out: step.output.radius,
                units: step.units,
                seconds: began.elapsed().as_secs_f64(),
            });
            flows.push(step.output);
        }
        let last = &flows[flows.len() - 1];
        let lower = attained::lower_bound(&attained::Question {
            plan: self.network.plan(),
            nominal: self.nominal,
            inputs,
            epsilon: self.epsilon,
            seed: self.norm.seed,
            // At a point where every slope is certain the Jacobian is exact, and the gains bound its rounding.
            smooth_gains: last.smooth.then(|| layers.iter().map(|l| l.norm.upper).collect()),
        }, monitor, ws)?;
        let failure_probability = layers.iter().map(|l| l.norm.failure_probability).sum();
        Ok(BoundResult {
            upper: last.gain,
            lower: lower.min(last.gain),
            product: (last.gain_lower, last.gain),
            epsilon: self.epsilon,
            kind: self.kind,
            method: Method::Layerwise,
            guarantee: if failure_probability == 0.0 { Guarantee::Deterministic } else { Guarantee::Probabilistic },
            failure_probability,
            seed: self.norm.seed,
            seconds: self.started.elapsed().as_secs_f64(),
            layers,
        })
    }

    /// The range of a pre-activation from its computed value, its error and its deviation.
    fn pre_activation(&self, stage: usize, i: usize, error: f64, deviation: f64) -> PreActivation {
        // The slopes also serve the rounding error (see the module's head), so they cover at least its range.
        let deviation = deviation.max(error);
        match self.nominal {
            Some(nominal) => {
                let y = nominal.pre[stage][i];
                PreActivation { low: rounding::add_down(y, -error), high: rounding::add_up(y, error), deviation }
            }
            None => PreActivation { low: f64::NEG_INFINITY, high: f64::INFINITY, deviation: f64::INFINITY },
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the stage and its surroundings, as the theorem names them")]
    fn affine(
        &self,
        index: usize,
        stage: &Stage,
        operator: &Arc<dyn LinearOperator>,
        unit: Option<Unit>,
        input: &Flow,
        options: &NormOptions,
        remembered: &mut Remembered,
        monitor: &dyn BoundMonitor,
        ws: &mut Workspace,
    ) -> Result<Step, BoundError> {
        let rows = operator.rows();
        let cols = input.mask();
        let full = stage.full_row_norms(&**operator, ws);
        let mut norms = full.to_vec();
        if let Some(mask) = &cols {
            operator.row_norms(Some(mask), &mut norms, ws);
        }

        let mut slopes = vec![1.0; rows];
        let mut moves = vec![false; rows];
        let mut reach = vec![0.0; rows];
        let mut units = UnitCounts::default();
        // Local rounding of the elements that move, after the unit, and errors of those that do not.
        let (mut local, mut still) = (vec![0.0; rows], vec![0.0; rows]);
        let mut smooth = input.smooth;
        let mut constant = false;
        for i in 0..rows {
            let rounded = self.nominal.map_or(0.0, |n| n.local[index][i]);
            let from_still = rounding::add_up(rounding::mul_up(full[i], input.still_error), rounded);
            let error = rounding::add_up(rounding::mul_up(norms[i], input.error), from_still);
            let deviation = deviation(input.radius, norms[i]);
            let y = self.pre_activation(index, i, error, deviation);
            let (magnitude, exact) = match unit {
                None => (1.0, true),
                Some(unit) => {
                    let slope = unit.slopes(y, self.kind);
                    smooth &= slope.is_exact() || !(y.low <= 0.0 && y.high >= 0.0);
                    (slope.magnitude(), slope.is_exact())
                }
            };
            slopes[i] = magnitude;
            moves[i] = norms[i] > 0.0 && magnitude > 0.0;
            if moves[i] {
                reach[i] = rounding::mul_up(magnitude, deviation);
                local[i] = rounding::mul_up(magnitude, rounded);
                if exact { units.stable += 1 } else { units.unstable += 1 }
            } else {
                // Zero slope means that the computed value is that of the constant piece: no error at all.
                still[i] = rounding::mul_up(magnitude, from_still);
                constant |= magnitude > 0.0;
                units.still += 1;
            }
        }
        let masks = Masks { rows: slopes.iter().any(|&r| r != 1.0).then_some(slopes), cols };

        let norm = match remembered {
            Some((same, norm)) if *same == masks => *norm,
            _ => {
                let masked = Masked::new(operator.clone(), masks.rows.clone(), masks.cols.clone());
                let norm = norm_bracket(&masked, options, monitor, ws)?;
                *remembered = Some((masks.clone(), norm));
                norm
            }
        };
        let of_unit = unit.map_or(0.0, |u| self.unit_rounding(index, u));
        // What reaches moving elements from still ones is not in norm(R A D): the whole operator bounds it.
        let through_still = if input.still_error > 0.0 {
            let largest = masks.rows.as_deref().map_or(1.0, rounding::max_or_infinite);
            rounding::mul_up(rounding::mul_up(largest, operator.abs_norm()), input.still_error)
        } else {
            0.0
        };
        let error = [rounding::mul_up(norm.upper, input.error), through_still, rounding::norm_up(&local), of_unit]
            .into_iter()
            .fold(0.0, rounding::add_up);
        let output = Flow {
            gain: rounding::mul_up(input.gain, norm.upper),
            gain_lower: rounding::mul_down(input.gain_lower, norm.lower),
            radius: rounding::mul_up(input.radius, norm.upper),
            reach,
            moves,
            error,
            still_error: rounding::add_up(rounding::norm_up(&still), if constant { of_unit } else { 0.0 }),
            smooth,
        };
        Ok(Step { norm, units, output })
    }

    /// Norm of the roundings of the unit itself.
    fn unit_rounding(&self, stage: usize, unit: Unit) -> f64 {
        match (self.nominal, unit.roundings()) {
            (None, _) | (_, 0) => 0.0,
            (Some(nominal), n) => rounding::mul_up(rounding::gamma(n), rounding::norm_up(&nominal.values[stage + 1])),
        }
    }

    /// A unit without an affine map before it.
    fn lone_unit(&self, index: usize, unit: Unit, input: &Flow) -> Step {
        let mut units = UnitCounts::default();
        let mut output = input.clone();
        let mut largest: f64 = 0.0;
        for i in 0..input.moves.len() {
            let error = input.element_error(i);
            let y = self.pre_activation(index, i, error, input.reach[i].min(input.radius));
            let slope = unit.slopes(y, self.kind);
            let magnitude = slope.magnitude();
            output.smooth &= slope.is_exact() || !(y.low <= 0.0 && y.high >= 0.0);
            output.moves[i] = input.moves[i] && magnitude > 0.0;
            output.reach[i] = rounding::mul_up(magnitude, input.reach[i]);
            if output.moves[i] {
                largest = largest.max(magnitude);
                if slope.is_exact() { units.stable += 1 } else { units.unstable += 1 }
            } else {
                units.still += 1;
            }
        }
        let slope = unit.global_slopes().magnitude().max(1.0);
        let of_unit = self.unit_rounding(index, unit);
        output.gain = rounding::mul_up(input.gain, largest);
        output.gain_lower = rounding::mul_down(input.gain_lower, largest);
        output.radius = rounding::mul_up(input.radius, largest);
        output.error = rounding::add_up(rounding::mul_up(slope, input.error), of_unit);
        output.still_error = rounding::add_up(rounding::mul_up(slope, input.still_error), of_unit);
        Step { norm: NormBracket::known(largest, largest), units, output }
    }

    /// A max pool: `sqrt(m)`, with `m` the largest number of windows in which one element may be the maximum.
    fn pool(&self, source: usize, pool: &MaxPool, input: &Flow) -> Step {
        // An element is a candidate where its largest value reaches the largest of the smallest values.
        let (mut top, mut bottom) = (vec![f64::INFINITY; pool.inputs()], vec![f64::NEG_INFINITY; pool.inputs()]);
        if let Some(nominal) = self.nominal {
            for (i, &v) in nominal.values[source].iter().enumerate() {
                let room = rounding::add_up(input.reach[i].min(input.radius), input.element_error(i));
                top[i] = rounding::add_up(v, room);
                bottom[i] = rounding::add_down(v, -room);
            }
        }
        let outputs = pool.outputs();
        let (mut moves, mut reach) = (vec![false; outputs], vec![0.0; outputs]);
        let mut units = UnitCounts::default();
        let mut smooth = input.smooth;
        let mut threshold = vec![f64::NEG_INFINITY; outputs];
        for i in 0..outputs {
            let window = pool.window(i);
            threshold[i] = window.iter().fold(f64::NEG_INFINITY, |m, &j| m.max(bottom[j as usize]));
            let mut candidates = 0;
            for j in window.iter().map(|&j| j as usize).filter(|&j| top[j] >= threshold[i]) {
                candidates += 1;
                moves[i] |= input.moves[j];
                reach[i] = f64::max(reach[i], input.reach[j]);
            }
            match (moves[i], candidates) {
                (false, _) => units.still += 1,
                (true, 1) => units.stable += 1,
                (true, _) => {
                    units.unstable += 1;
                    smooth &= self.winner_is_certain(source, window, input);
                }
            }
        }
        let m = pool.largest_multiplicity(|i, j| input.moves[j] && top[j] >= threshold[i]) as f64;
        let constant = (rounding::sqrt_down(m), if m <= 1.0 { m } else { rounding::sqrt_up(m) });
        let worst = rounding::sqrt_up(pool.multiplicity() as f64);
        let output = Flow {
            gain: rounding::mul_up(input.gain, constant.1),
            gain_lower: rounding::mul_down(input.gain_lower, constant.0),
            radius: rounding::mul_up(input.radius, constant.1),
            reach,
            moves,
            error: rounding::mul_up(worst, rounding::add_up(input.error, input.still_error)),
            still_error: rounding::mul_up(worst, input.still_error),
            smooth,
        };
        Step { norm: NormBracket::known(constant.0, constant.1), units, output }
    }

    /// Whether at x0 itself one element of the window is above all others, whatever rounding did.
    fn winner_is_certain(&self, source: usize, window: &[u32], input: &Flow) -> bool {
        let Some(nominal) = self.nominal else { return false };
        let values = &nominal.values[source];
        let of = |j: u32| (values[j as usize], input.element_error(j as usize));
        let Some(&winner) = window.iter().max_by(|&&a, &&b| of(a).0.total_cmp(&of(b).0)) else { return false };
        let (best, error) = of(winner);
        window.iter().filter(|&&j| j != winner).all(|&j| {
            let (value, other) = of(j);
            rounding::add_down(best, -error) > rounding::add_up(value, other)
        })
    }

    fn add(&self, index: usize, stage: &Stage, flows: &[Flow]) -> Step {
        let branches: Vec<&Flow> = stage.inputs.iter().map(|&i| &flows[i]).collect();
        let sum = |of: fn(&Flow) -> f64| branches.iter().map(|f| of(f)).fold(0.0, rounding::add_up);
        let local = self.nominal.map_or(0.0, |n| rounding::norm_up(&n.local[index]));
        let elements = branches[0].moves.len();
        let moves: Vec<bool> = (0..elements).map(|i| branches.iter().any(|f| f.moves[i])).collect();
        let still = moves.iter().filter(|m| !**m).count();
        let output = Flow {
            gain: sum(|f| f.gain),
            gain_lower: branches.iter().map(|f| f.gain_lower).sum(),
            radius: sum(|f| f.radius),
            reach: (0..elements)
                .map(|i| branches.iter().map(|f| f.reach[i]).fold(0.0, rounding::add_up))
                .collect(),
            moves,
            // A still element of one branch may move in the sum.
            error: rounding::add_up(rounding::add_up(sum(|f| f.error), sum(|f| f.still_error)), local),
            still_error: rounding::add_up(sum(|f| f.still_error), local),
            smooth: branches.iter().all(|f| f.smooth),
        };
        // The constants of the branches are in their own stages; the sum itself adds the gains.
        Step {
            norm: NormBracket::known(1.0, 1.0),
            units: UnitCounts { still, stable: elements - still, unstable: 0 },
            output,
        }
    }
}

/// `eps norm(a_i^T D)`, rounded up, and not zero where a row moves: a ball of radius zero stands for arbitrarily small
/// ones, so that a unit exactly at its kink counts as unstable.
fn deviation(radius: f64, row_norm: f64) -> f64 {
    if row_norm == 0.0 { 0.0 } else { rounding::mul_up(radius, row_norm).max(f64::MIN_POSITIVE) }
}
