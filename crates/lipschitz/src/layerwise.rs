//! The layerwise bound: the affine-ReLU theorem for each stage, composed over the network.
//!
//! **Theorem** (Avant and Morgansen, arXiv 2008.06141, theorem 1). Let `z = unit(A x + b)`, `D = diag(d)` with `d_j = 0`
//! where input element `j` does not move over the ball of radius `eps`, and `R = diag(r)` with `r_i` the largest secant
//! slope of unit `i` while its pre-activation moves by at most `eps norm(a_i^T D)`. Then the local Lipschitz constant is
//! at most `norm(R A D)`, and element `i` of the output is still where the pre-activation stays at or below zero.
//!
//! Stages compose: the image of a ball of radius `eps` lies in a ball of radius `eps norm(R A D)`, where the next stage
//! takes over (arXiv 2104.14672). Sums of branches add their constants, branches behind each other the squares of theirs.
//!
//! # Rounding
//! What is bounded is the network in real arithmetic; its nominal values are only known as computed. The distance
//! between the two is carried along as a Euclidean norm: the computed values are those of a network disturbed by local
//! rounding errors, and a disturbance travels through `R A D` as any other movement inside the ball does, so
//! `error_out <= norm(R A D) error_in + norm(R local)`. Slopes are taken over deviations of at least that error, which
//! is what makes `R` valid for the disturbance too. Elements that do not move can still carry an error (a constant unit
//! with a rounded value): it is kept apart, since `D` hides it from `norm(R A D)`.

use std::sync::Arc;

use lipbound_operators::{LinearOperator, Workspace, masked, rounding};
use lipbound_spectral::{NormBracket, NormOptions, norm_bracket};

use crate::{
    BoundError, BoundMonitor, Kind, MaxPool, Unit, UnitCounts, Units,
    increments::{Change, Increments, Join, Uncertain, centre},
    ledger::{Ledger, Room},
    nominal::{Nominal, poll},
    plan::{Action, Stage},
    ranges::Paths,
    unit::PreActivation,
};

/// The masks of the last norm of a stage and what it was: neighbouring epsilons often share them.
pub(crate) type Remembered = Option<(Masks, NormBracket)>;

#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Masks {
    rows: Option<Vec<f64>>,
    cols: Option<Vec<f64>>,
}

/// What is known of a source (the input or a stage's output) over the ball.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    /// Upper bound of `norm(dz) / norm(dx)`: the least that is known.
    pub gain: f64,
    /// The product of the constants of the stages before, with the lower ends of all norms and with the upper ends.
    pub product: (f64, f64),
    /// Radius of a ball that contains all `dz`.
    pub radius: f64,
    /// Bound of each `|dz_i|`.
    reach: Vec<f64>,
    /// Which elements may move.
    moves: Vec<bool>,
    /// Norm of the rounding error of the nominal value, over the elements that move.
    error: f64,
    /// The same over the elements that do not.
    still_error: f64,
    /// Whether all slopes at x0 itself are certain, up to here.
    pub smooth: bool,
}

impl Flow {
    /// The network's input, anywhere in the ball.
    pub fn input(elements: usize, epsilon: f64) -> Self {
        Self {
            gain: 1.0,
            product: (1.0, 1.0),
            radius: epsilon,
            reach: vec![epsilon; elements],
            moves: vec![true; elements],
            error: 0.0,
            still_error: 0.0,
            smooth: true,
        }
    }

    /// Takes a smaller constant into account.
    pub fn tighten(&mut self, gain: f64, epsilon: f64) {
        if gain < self.gain {
            self.gain = gain;
            self.radius = self.radius.min(rounding::mul_up(epsilon, gain));
        }
    }

    fn element_error(&self, i: usize) -> f64 {
        if self.moves[i] { self.error } else { self.still_error }
    }

    /// The mask `D`, or `None` if everything moves.
    pub fn mask(&self) -> Option<Vec<f64>> {
        (!self.moves.iter().all(|&m| m)).then(|| self.moves.iter().map(|&m| f64::from(u8::from(m))).collect())
    }
}

/// What a stage adds to the story.
pub(crate) struct Step {
    pub norm: NormBracket,
    pub units: UnitCounts,
    pub output: Flow,
    /// The stage's increments, with its uncertain units and the levels that these take.
    pub change: Change,
    pub uncertain: Vec<Uncertain>,
    pub levels: usize,
}

/// What the stages are asked about: which constant, around what, how far.
pub(crate) struct Ball<'a> {
    pub nominal: Option<&'a Nominal>,
    pub kind: Kind,
    pub epsilon: f64,
    /// Whether deviations are refined by the paths of the increments (see [`crate::ranges`]).
    pub refine: bool,
}

impl Ball<'_> {
    /// One stage: its constant, and what is known of its output.
    #[expect(clippy::too_many_arguments, reason = "the stage and its surroundings, as the theorem names them")]
    pub fn stage(
        &self,
        index: usize,
        stage: &Stage,
        flows: &[Flow],
        increments: &Increments,
        options: &NormOptions,
        remembered: &mut Remembered,
        ledger: &mut Ledger<'_>,
        monitor: &dyn BoundMonitor,
        ws: &mut Workspace,
    ) -> Result<Step, BoundError> {
        let source = stage.inputs[0];
        let input = &flows[source];
        match &stage.action {
            Action::Affine { operator: Some(operator), unit, .. } => self.affine(
                index,
                stage,
                operator,
                unit.as_ref(),
                input,
                increments,
                options,
                remembered,
                ledger,
                monitor,
                ws,
            ),
            Action::Affine { operator: None, unit, .. } => self.lone_unit(
                index,
                unit.as_ref().expect("a stage without an operator has a unit"),
                input,
                increments,
                source,
                ledger,
            ),
            Action::Pool(pool) => self.pool(source, pool, input, increments, ledger, monitor, ws),
            Action::Add => Ok(self.add(index, stage, flows)),
            Action::Concat => Ok(concat(stage, flows)),
        }
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
        unit: Option<&Units>,
        input: &Flow,
        increments: &Increments,
        options: &NormOptions,
        remembered: &mut Remembered,
        ledger: &mut Ledger<'_>,
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

        // A norm that is no number (an overflow times a zero) is unbounded.
        norms.iter_mut().filter(|n| n.is_nan()).for_each(|n| *n = f64::INFINITY);

        let mut slopes = vec![1.0; rows];
        let mut moves = vec![false; rows];
        let mut reach = vec![0.0; rows];
        let mut units = UnitCounts::default();
        // Local rounding of the elements that move, after the unit, and errors of those that do not.
        let (mut local, mut still) = (vec![0.0; rows], vec![0.0; rows]);
        let mut smooth = input.smooth;
        let mut constant = false;
        let mut deviations: Vec<f64> = norms.iter().map(|&norm| deviation(input.radius, norm)).collect();
        if let (true, Some(unit)) = (self.refine, unit) {
            self.refine(index, stage, operator, unit, input, increments, &norms, &mut deviations, ledger, monitor, ws)?;
        }
        let level = increments.level_below(&stage.inputs) + 1;
        let (mut centres, mut unstable, mut uncertain) = (vec![0.0; rows], Vec::new(), Vec::new());
        for i in 0..rows {
            let rounded = self.nominal.map_or(0.0, |n| n.local[index][i]);
            let from_still = rounding::add_up(rounding::mul_up(full[i], input.still_error), rounded);
            let error = rounding::add_up(rounding::mul_up(norms[i], input.error), from_still);
            let deviation = ledger.room().deviation(deviations[i]);
            let y = self.pre_activation(index, i, ledger.room().error(error), deviation);
            let (magnitude, middle, delta) = match unit {
                None => (1.0, 1.0, 0.0),
                Some(units) => {
                    let unit = units.at(i);
                    let slope = ledger.slope(unit, unit.slopes(y, self.kind))?;
                    smooth &= slope.is_exact() || !unit.may_kink(y);
                    let (middle, delta) = centre(slope);
                    (slope.magnitude(), middle, delta)
                }
            };
            slopes[i] = magnitude;
            moves[i] = norms[i] != 0.0 && magnitude != 0.0;
            if moves[i] {
                reach[i] = rounding::mul_up(magnitude, deviation);
                local[i] = rounding::mul_up(magnitude, rounded);
                centres[i] = middle;
                if delta == 0.0 {
                    units.stable += 1;
                } else {
                    units.unstable += 1;
                    unstable.push(i as u32);
                    uncertain.push(Uncertain { delta, deviation, level });
                }
            } else {
                // Zero slope means that the computed value is that of the constant piece: no error at all.
                still[i] = rounding::mul_up(magnitude, from_still);
                constant |= magnitude > 0.0;
                units.still += 1;
            }
        }
        let masks = Masks { rows: slopes.iter().any(|&r| r != 1.0).then_some(slopes), cols };

        let between_masks = || masked(operator.clone(), masks.rows.as_deref(), masks.cols.as_deref());
        let norm = match (&*ledger, &*remembered) {
            (Ledger::Reading(reader), _) => reader.norm(&*between_masks(), options, monitor, ws)?,
            (_, Some((same, norm))) if *same == masks => *norm,
            _ => {
                let norm = norm_bracket(&*between_masks(), options, monitor, ws)?;
                *remembered = Some((masks.clone(), norm));
                norm
            }
        };
        let norm = ledger.found_norm(norm);
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
            product: stretched(input.product, norm.lower, norm.upper),
            radius: rounding::mul_up(input.radius, norm.upper),
            reach,
            moves,
            error,
            still_error: rounding::add_up(rounding::norm_up(&still), if constant { of_unit } else { 0.0 }),
            smooth,
        };
        let levels = usize::from(!unstable.is_empty());
        let change = Change::Affine {
            operator: Some(operator.clone()),
            centres: unit.map(|_| centres),
            unstable,
            first: increments.units.len(),
        };
        Ok(Step { norm, units, output, change, uncertain, levels })
    }

    /// Replaces the deviations of units that are not known to be stable by what the paths to them allow, if smaller.
    #[expect(clippy::too_many_arguments, reason = "the stage and its surroundings")]
    fn refine(
        &self,
        index: usize,
        stage: &Stage,
        operator: &Arc<dyn LinearOperator>,
        units: &Units,
        input: &Flow,
        increments: &Increments,
        norms: &[f64],
        deviations: &mut [f64],
        ledger: &Ledger<'_>,
        monitor: &dyn BoundMonitor,
        ws: &mut Workspace,
    ) -> Result<(), BoundError> {
        // At the input itself a row norm is exact.
        if !self.epsilon.is_finite() || stage.inputs[0] == 0 {
            return Ok(());
        }
        let doubt = ledger.doubt();
        let undecided: Vec<usize> = (0..norms.len())
            .filter(|&i| norms[i] != 0.0)
            .filter(|&i| {
                // The error of the nominal value is small beside any deviation that matters.
                let error = doubt.error(rounding::mul_up(norms[i], input.error));
                let deviation = doubt.deviation(deviations[i]);
                !units.at(i).slopes(self.pre_activation(index, i, error, deviation), self.kind).is_exact()
            })
            .collect();
        let work = (undecided.len(), 2 * operator.multiply_adds());
        if let Some(paths) = Paths::new(increments, stage.inputs[0], self.epsilon, work, ledger.patience(), ws) {
            for i in undecided {
                poll(monitor)?;
                deviations[i] = deviations[i].min(paths.row(&**operator, i, ws)).max(f64::MIN_POSITIVE);
            }
        }
        Ok(())
    }

    /// Norm of the roundings of the unit itself.
    fn unit_rounding(&self, stage: usize, unit: &Units) -> f64 {
        match (self.nominal, unit.roundings()) {
            (None, _) | (_, 0) => 0.0,
            (Some(nominal), n) => rounding::mul_up(rounding::gamma(n), rounding::norm_up(&nominal.values[stage + 1])),
        }
    }

    /// A unit without an affine map before it.
    fn lone_unit(
        &self,
        index: usize,
        of_layer: &Units,
        input: &Flow,
        increments: &Increments,
        source: usize,
        ledger: &mut Ledger<'_>,
    ) -> Result<Step, BoundError> {
        let mut units = UnitCounts::default();
        let level = increments.level_below(&[source]) + 1;
        let (mut centres, mut unstable, mut uncertain) = (vec![0.0; input.moves.len()], Vec::new(), Vec::new());
        let mut output = input.clone();
        let mut largest: f64 = 0.0;
        for (i, centre_of_unit) in centres.iter_mut().enumerate() {
            let unit = of_layer.at(i);
            let error = input.element_error(i);
            let deviation = if input.moves[i] { input.reach[i].min(input.radius).max(f64::MIN_POSITIVE) } else { 0.0 };
            let deviation = ledger.room().deviation(deviation);
            let y = self.pre_activation(index, i, ledger.room().error(error), deviation);
            let slope = ledger.slope(unit, unit.slopes(y, self.kind))?;
            let magnitude = slope.magnitude();
            output.smooth &= slope.is_exact() || !unit.may_kink(y);
            output.moves[i] = input.moves[i] && magnitude > 0.0;
            output.reach[i] = rounding::mul_up(magnitude, input.reach[i]);
            if output.moves[i] {
                largest = largest.max(magnitude);
                let (middle, delta) = centre(slope);
                *centre_of_unit = middle;
                if delta == 0.0 {
                    units.stable += 1;
                } else {
                    units.unstable += 1;
                    unstable.push(i as u32);
                    uncertain.push(Uncertain { delta, deviation, level });
                }
            } else {
                units.still += 1;
            }
        }
        let slope = of_layer.steepest().max(1.0);
        let of_unit = self.unit_rounding(index, of_layer);
        output.gain = rounding::mul_up(input.gain, largest);
        output.product = stretched(input.product, largest, largest);
        output.radius = rounding::mul_up(input.radius, largest);
        output.error = rounding::add_up(rounding::mul_up(slope, input.error), of_unit);
        output.still_error = rounding::add_up(rounding::mul_up(slope, input.still_error), of_unit);
        let levels = usize::from(!unstable.is_empty());
        let change = Change::Affine { operator: None, centres: Some(centres), unstable, first: increments.units.len() };
        Ok(Step { norm: NormBracket::known(largest, largest), units, output, change, uncertain, levels })
    }

    /// A max pool: `sqrt(m)`, with `m` the largest number of windows in which one element may be the maximum.
    #[expect(clippy::too_many_arguments, reason = "the stage and its surroundings")]
    fn pool(
        &self,
        source: usize,
        pool: &MaxPool,
        input: &Flow,
        increments: &Increments,
        ledger: &mut Ledger<'_>,
        monitor: &dyn BoundMonitor,
        ws: &mut Workspace,
    ) -> Result<Step, BoundError> {
        // An element is a candidate where its largest value reaches the largest of the smallest values.
        let (mut top, mut bottom) = (vec![f64::INFINITY; pool.inputs()], vec![f64::NEG_INFINITY; pool.inputs()]);
        if let Some(nominal) = self.nominal {
            for (i, &v) in nominal.values[source].iter().enumerate() {
                let movement = ledger.room().deviation(input.reach[i].min(input.radius));
                let room = rounding::add_up(movement, ledger.room().error(input.element_error(i)));
                top[i] = rounding::add_up(v, room);
                bottom[i] = rounding::add_down(v, -room);
            }
        }
        let outputs = pool.outputs();
        let (mut moves, mut reach) = (vec![false; outputs], vec![0.0; outputs]);
        let mut units = UnitCounts::default();
        let mut smooth = input.smooth;
        // Windows that each element takes part in.
        let mut windows = vec![0u32; pool.inputs()];
        let mut joins = Joins::new(increments.level_below(&[source]), increments.units.len());
        let mut candidates: Vec<usize> = Vec::new();
        let paths = self
            .refine
            .then(|| {
                let pairs = (0..pool.outputs()).map(|i| pool.window(i).len().saturating_sub(1)).sum();
                Paths::new(increments, source, self.epsilon, (pairs, pool.inputs()), ledger.patience(), ws)
            })
            .flatten();
        for i in 0..outputs {
            // A window's ranges by paths are a pass for each pair.
            if paths.is_some() {
                poll(monitor)?;
            }
            let window = pool.window(i);
            let threshold = window.iter().fold(f64::NEG_INFINITY, |m, &j| m.max(bottom[j as usize]));
            candidates.clear();
            candidates.extend(window.iter().map(|&j| j as usize).filter(|&j| top[j] >= threshold));
            if let Some(nominal) = self.nominal {
                let values = &nominal.values[source];
                candidates.sort_by(|&a, &b| values[b].total_cmp(&values[a]));
            }
            ledger.candidates(window, &mut candidates)?;
            for &j in &candidates {
                windows[j] += u32::from(input.moves[j]);
                moves[i] |= input.moves[j];
                reach[i] = f64::max(reach[i], input.reach[j]);
            }
            joins.window(self, source, &candidates, input, paths.as_ref(), ledger, ws)?;
            match (moves[i], candidates.len()) {
                (false, _) => units.still += 1,
                (true, 1) => units.stable += 1,
                (true, _) => {
                    units.unstable += 1;
                    smooth &= self.winner_is_certain(source, window, input);
                }
            }
        }
        let m = f64::from(windows.into_iter().max().unwrap_or(0));
        let root = m.sqrt();
        // Roots of square numbers are exact.
        let constant = if root * root == m { (root, root) } else { (rounding::sqrt_down(m), rounding::sqrt_up(m)) };
        let worst = rounding::sqrt_up(pool.multiplicity() as f64);
        let output = Flow {
            gain: rounding::mul_up(input.gain, constant.1),
            product: stretched(input.product, constant.0, constant.1),
            radius: rounding::mul_up(input.radius, constant.1),
            reach,
            moves,
            error: rounding::mul_up(worst, rounding::add_up(input.error, input.still_error)),
            still_error: rounding::mul_up(worst, input.still_error),
            smooth,
        };
        let Joins { winners, starts, joins, uncertain, levels, .. } = joins;
        let change = Change::Pool { inputs: pool.inputs(), multiplicity: pool.multiplicity(), winners, starts, joins };
        Ok(Step { norm: NormBracket::known(constant.0, constant.1), units, output, change, uncertain, levels })
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
            product: (
                branches.iter().map(|f| f.product.0).fold(0.0, rounding::add_down).max(0.0),
                sum(|f| f.product.1),
            ),
            radius: sum(|f| f.radius),
            reach: (0..elements).map(|i| branches.iter().map(|f| f.reach[i]).fold(0.0, rounding::add_up)).collect(),
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
            change: Change::Add,
            uncertain: Vec::new(),
            levels: 0,
        }
    }
}

/// Branches behind each other: their squares add up.
fn concat(stage: &Stage, flows: &[Flow]) -> Step {
    let branches: Vec<&Flow> = stage.inputs.iter().map(|&i| &flows[i]).collect();
    let norm = |of: fn(&Flow) -> f64| rounding::norm_up(&branches.iter().map(|f| of(f)).collect::<Vec<_>>());
    let moves: Vec<bool> = branches.iter().flat_map(|f| &f.moves).copied().collect();
    let still = moves.iter().filter(|m| !**m).count();
    let units = UnitCounts { still, stable: moves.len() - still, unstable: 0 };
    let lower = rounding::norm_down(&branches.iter().map(|f| f.product.0).collect::<Vec<_>>());
    let output = Flow {
        gain: norm(|f| f.gain),
        product: (lower, norm(|f| f.product.1)),
        radius: norm(|f| f.radius),
        reach: branches.iter().flat_map(|f| &f.reach).copied().collect(),
        moves,
        error: norm(|f| f.error),
        still_error: norm(|f| f.still_error),
        smooth: branches.iter().all(|f| f.smooth),
    };
    let change = Change::Concat { lengths: branches.iter().map(|f| f.moves.len()).collect() };
    Step { norm: NormBracket::known(1.0, 1.0), units, output, change, uncertain: Vec::new(), levels: 0 }
}

/// `eps norm(a_i^T D)`, rounded up, and not zero where a row moves: a ball of radius zero stands for arbitrarily small
/// ones, so that a unit exactly at its kink counts as unstable.
fn deviation(radius: f64, row_norm: f64) -> f64 {
    let deviation = rounding::mul_up(radius, row_norm);
    if row_norm == 0.0 {
        0.0
    } else if deviation.is_nan() {
        f64::INFINITY
    } else {
        deviation.max(f64::MIN_POSITIVE)
    }
}

fn stretched((lower, upper): (f64, f64), norm_lower: f64, norm_upper: f64) -> (f64, f64) {
    (rounding::mul_down(lower, norm_lower), rounding::mul_up(upper, norm_upper))
}

/// Builds the pairwise maxima of a pool, window by window.
struct Joins {
    /// Level of the pool's input, and number of its first unit.
    below: usize,
    first: usize,
    winners: Vec<u32>,
    starts: Vec<usize>,
    joins: Vec<Join>,
    uncertain: Vec<Uncertain>,
    /// Most uncertain joins of a window.
    levels: usize,
}

impl Joins {
    fn new(below: usize, first: usize) -> Self {
        let (winners, joins, uncertain) = (Vec::new(), Vec::new(), Vec::new());
        Self { below, first, winners, starts: vec![0], joins, uncertain, levels: 0 }
    }

    /// `run = max(run, b)` for the candidates in their order: that of their nominal values, the largest first, or as it
    /// is claimed. The difference `b - run` moves by at most `|db| + max |da|` over the members `a` so far, and by at
    /// most `sqrt(2)` times the norm of all movement, since `b` is none of them.
    #[expect(clippy::too_many_arguments, reason = "the window and its surroundings")]
    fn window(
        &mut self,
        ball: &Ball<'_>,
        source: usize,
        candidates: &[usize],
        input: &Flow,
        paths: Option<&Paths<'_>>,
        ledger: &mut Ledger<'_>,
        ws: &mut Workspace,
    ) -> Result<(), BoundError> {
        let winner = candidates[0];
        self.winners.push(winner as u32);
        let begin = self.joins.len();
        let mut run_moves = input.moves[winner];
        let mut run_reach = input.reach[winner];
        let mut run_error = input.element_error(winner);
        let values = ball.nominal.map(|nominal| &nominal.values[source][..]);
        let mut run_value = values.map_or(0.0, |values| values[winner]);
        let mut level = self.below;
        for &member in &candidates[1..] {
            let moving = f64::from(u8::from(run_moves)) + f64::from(u8::from(input.moves[member]));
            let by_norm = rounding::mul_up(input.radius, rounding::sqrt_up(moving));
            let by_reach = rounding::add_up(run_reach, input.reach[member]);
            run_moves |= input.moves[member];
            run_reach = run_reach.max(input.reach[member]);
            run_error = run_error.max(input.element_error(member));
            let run_before = run_value;
            run_value = values.map_or(0.0, |values| run_value.max(values[member]));
            if moving == 0.0 {
                continue;
            }
            let at = |room: Room, deviation: f64| match values {
                Some(values) => {
                    let (a, b) = (run_before, values[member]);
                    let error = room.error(rounding::mul_up(2.0, run_error));
                    let deviation = room.deviation(deviation);
                    PreActivation {
                        low: rounding::add_down(rounding::add_down(b, -a), -error),
                        high: rounding::add_up(rounding::add_up(b, -a), error),
                        deviation,
                    }
                }
                None => PreActivation { low: f64::NEG_INFINITY, high: f64::INFINITY, deviation: f64::INFINITY },
            };
            let mut deviation = by_norm.min(by_reach).max(f64::MIN_POSITIVE);
            if let Some(paths) = paths
                && !Unit::Relu.slopes(at(ledger.doubt(), deviation), ball.kind).is_exact()
            {
                deviation =
                    deviation.min(self.by_paths(paths, begin, winner, member, input, ws)).max(f64::MIN_POSITIVE);
            }
            let slope = ledger.slope(Unit::Relu, Unit::Relu.slopes(at(ledger.room(), deviation), ball.kind))?;
            let deviation = ledger.room().deviation(deviation);
            let (middle, delta) = centre(slope);
            if middle == 0.0 && delta == 0.0 {
                continue;
            }
            let unit = (delta > 0.0).then(|| {
                level += 1;
                self.uncertain.push(Uncertain { delta, deviation, level });
                (self.first + self.uncertain.len() - 1) as u32
            });
            self.joins.push(Join { member: member as u32, centre: middle, unit });
        }
        self.levels = self.levels.max(level - self.below);
        self.starts.push(self.joins.len());
        Ok(())
    }

    /// Bound of `|d(b - run)|` by the paths to the window: `run` is undone join by join, back to the nominal winner.
    fn by_paths(
        &self,
        paths: &Paths<'_>,
        begin: usize,
        winner: usize,
        member: usize,
        input: &Flow,
        ws: &mut Workspace,
    ) -> f64 {
        let mut row = ws.zeros(input.moves.len());
        row[member] += 1.0;
        let (mut run, mut from_window): (f64, f64) = (-1.0, 0.0);
        let mut largest_errors: f64 = 0.0;
        for join in self.joins[begin..].iter().rev() {
            if let Some(unit) = join.unit {
                let u = &self.uncertain[unit as usize - self.first];
                let error = rounding::mul_up(u.delta, u.deviation);
                largest_errors = rounding::add_up(largest_errors, error);
                from_window = rounding::add_up(from_window, rounding::mul_up(run.abs(), error));
            }
            let part = join.centre * run;
            row[join.member as usize] += part;
            run -= part;
        }
        row[winner] += run;
        // Each coefficient is a product of at most as many centres and complements as there are joins; all have
        // magnitudes of at most one, so their own rounding is relative to that.
        let joins = self.joins.len() - begin;
        let loose = rounding::gamma(4 * (joins + 1));
        let spread = self.joins[begin..]
            .iter()
            .map(|join| join.member as usize)
            .chain([winner, member])
            .map(|j| input.reach[j])
            .fold(0.0, rounding::add_up);
        let bound = paths.functional(row, None, 4 * (joins + 1), ws);
        [from_window, rounding::mul_up(loose, rounding::add_up(spread, largest_errors))]
            .into_iter()
            .fold(bound, rounding::add_up)
    }
}
