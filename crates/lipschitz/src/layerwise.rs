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
    BoundError, BoundMonitor, Kind, UnitCounts, Units,
    branches::concat,
    flow::{Flow, stretched},
    increments::{Change, Increments, Uncertain, centre},
    ledger::Ledger,
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
    /// How far each element of the input can move at all, where that is known.
    pub extents: Option<&'a [f64]>,
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
                monitor,
                ws,
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
                let y = nominal.trace.pre[stage][i];
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
            // The error of the nominal value is small beside any deviation that matters.
            let error_of = |i: usize| (norms[i] != 0.0).then(|| rounding::mul_up(norms[i], input.error));
            let along = |i: usize, paths: &Paths<'_>, ws: &mut Workspace| paths.row(&**operator, i, ws);
            let (source, work) = (stage.inputs[0], 2 * operator.multiply_adds());
            self.refine(index, source, unit, work, error_of, along, increments, &mut deviations, ledger, monitor, ws)?;
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
    /// `error_of` is the error of the nominal value of an element that moves, `along` the movement of its pre-activation
    /// by paths, each with `work` multiply-adds beside those of the paths themselves.
    #[expect(clippy::too_many_arguments, reason = "the stage and its surroundings")]
    fn refine(
        &self,
        index: usize,
        source: usize,
        units: &Units,
        work: usize,
        error_of: impl Fn(usize) -> Option<f64>,
        along: impl Fn(usize, &Paths<'_>, &mut Workspace) -> f64,
        increments: &Increments,
        deviations: &mut [f64],
        ledger: &Ledger<'_>,
        monitor: &dyn BoundMonitor,
        ws: &mut Workspace,
    ) -> Result<(), BoundError> {
        // At the input itself a row norm is exact.
        if !self.epsilon.is_finite() || source == 0 {
            return Ok(());
        }
        let doubt = ledger.doubt();
        let undecided: Vec<usize> = (0..deviations.len())
            .filter(|&i| {
                error_of(i).is_some_and(|error| {
                    let (error, deviation) = (doubt.error(error), doubt.deviation(deviations[i]));
                    !units.at(i).slopes(self.pre_activation(index, i, error, deviation), self.kind).is_exact()
                })
            })
            .collect();
        let work = (undecided.len(), work);
        if let Some(paths) = Paths::new(increments, source, self.epsilon, work, ledger.patience(), ws) {
            for i in undecided {
                poll(monitor)?;
                deviations[i] = deviations[i].min(along(i, &paths, ws)).max(f64::MIN_POSITIVE);
            }
        }
        Ok(())
    }

    /// Norm of the roundings of the unit itself.
    fn unit_rounding(&self, stage: usize, unit: &Units) -> f64 {
        match (self.nominal, unit.roundings()) {
            (None, _) | (_, 0) => 0.0,
            (Some(nominal), n) => {
                rounding::mul_up(rounding::gamma(n), rounding::norm_up(&nominal.trace.values[stage + 1]))
            }
        }
    }

    /// A unit without an affine map before it: behind a sum, say.
    #[expect(clippy::too_many_arguments, reason = "the stage and its surroundings")]
    fn lone_unit(
        &self,
        index: usize,
        of_layer: &Units,
        input: &Flow,
        increments: &Increments,
        source: usize,
        ledger: &mut Ledger<'_>,
        monitor: &dyn BoundMonitor,
        ws: &mut Workspace,
    ) -> Result<Step, BoundError> {
        let mut deviations: Vec<f64> = (0..input.moves.len())
            .map(|i| if input.moves[i] { input.reach[i].min(input.radius).max(f64::MIN_POSITIVE) } else { 0.0 })
            .collect();
        let errors: Vec<f64> = (0..input.moves.len()).map(|i| input.element_error(i)).collect();
        if self.refine {
            let error_of = |i: usize| input.moves[i].then_some(errors[i]);
            let along = |i: usize, paths: &Paths<'_>, ws: &mut Workspace| paths.element(i, ws);
            self.refine(index, source, of_layer, 0, error_of, along, increments, &mut deviations, ledger, monitor, ws)?;
        }
        let mut units = UnitCounts::default();
        let level = increments.level_below(&[source]) + 1;
        let (mut centres, mut unstable, mut uncertain) = (vec![0.0; input.moves.len()], Vec::new(), Vec::new());
        let mut output = input.clone();
        let mut largest: f64 = 0.0;
        for (i, centre_of_unit) in centres.iter_mut().enumerate() {
            let unit = of_layer.at(i);
            let deviation = ledger.room().deviation(deviations[i]);
            let y = self.pre_activation(index, i, ledger.room().error(errors[i]), deviation);
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

#[cfg(test)]
mod tests;
