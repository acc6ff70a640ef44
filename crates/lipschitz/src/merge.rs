//! Stages that become one: affine maps that follow each other, and sums of affine branches.
//!
//! Merging is free tightness: the norm of a product is at most the product of the norms, and that of a sum at most the
//! sum of theirs.

use std::sync::Arc;

use lipbound_operators::{Compose, LinearOperator, Selection, Sum, Workspace, rounding};

use crate::{
    Affine, Bias, Quiet,
    nominal::map_with_error,
    plan::{Action, Stage},
};

/// Most weighted maps that become one operator. With weights from 1e-45 to 1e45 in magnitude, the squares of products of
/// three stay inside the range of f64, so that no norm overflows or vanishes; longer chains are bounded in parts.
const MOST_MERGED: usize = 3;

/// Most multiply-adds of a product that is worth having one stage less: this one is made when a network is.
const AFFORDABLE_CONSTANT: usize = 1 << 20;

impl Stage {
    fn weighted_factors(&self) -> usize {
        match &self.action {
            Action::Affine { maps, .. } => maps.iter().map(|map| map.operator.weighted_factors()).sum(),
            _ => 0,
        }
    }

    /// Whether one more affine map may be merged into it.
    pub fn has_room(&self) -> bool {
        matches!(&self.action, Action::Affine { .. }) && self.weighted_factors() < MOST_MERGED
    }

    /// The maps of an affine stage without units.
    fn affine_maps(&self) -> Option<&[Affine]> {
        match &self.action {
            Action::Affine { maps, unit: None, .. } => Some(maps),
            _ => None,
        }
    }

    /// Takes in the names of a stage that is merged with it.
    fn take_names(&mut self, mut other: Self) {
        self.members.append(&mut other.members);
        // A layer may be several maps.
        self.members.dedup();
        if other.parameters > self.parameters {
            (self.name, self.parameters) = (other.name, other.parameters);
        }
    }

    /// Whether it may take in the stage behind it, if that alone reads it.
    fn can_absorb(&self, next: &Self) -> bool {
        self.affine_maps().is_some()
            && matches!(next.action, Action::Affine { .. })
            && self.weighted_factors() + next.weighted_factors() <= MOST_MERGED
    }

    fn absorb(&mut self, next: Self) {
        let (Action::Affine { maps, unit, .. }, Action::Affine { maps: more, unit: units, .. }) =
            (&mut self.action, &next.action)
        else {
            unreachable!("only affine stages are merged")
        };
        more.iter().for_each(|map| follow(maps, map));
        unit.clone_from(units);
        self.shape.clone_from(&next.shape);
        self.take_names(next);
    }
}

fn is_identity(map: &Affine) -> bool {
    map.operator.selection().is_some_and(Selection::is_identity)
}

/// Adds a map behind others. Selections that follow each other are one, and an added constant is part of the map before.
fn follow(maps: &mut Vec<Affine>, map: &Affine) {
    let Some(last) = maps.last_mut() else { return maps.push(map.clone()) };
    if is_identity(map) {
        last.bias = sum_of(&last.bias.iter().chain(&map.bias).cloned().collect::<Vec<_>>());
    } else if last.bias.is_none()
        && let (Some(first), Some(second)) = (last.operator.selection(), map.operator.selection())
    {
        *last = Affine { operator: Arc::new(second.after(first)), bias: map.bias.clone() };
    } else {
        maps.push(map.clone());
    }
}

/// The product of the maps' operators; there is at least one.
pub(crate) fn product(maps: &[Affine]) -> Arc<dyn LinearOperator> {
    // Where a constant is subtracted first, say, the identity would hide the structure of what follows.
    let mut factors: Vec<_> = maps.iter().filter(|map| !is_identity(map)).map(|map| map.operator.clone()).collect();
    match factors.len() {
        0 => maps[0].operator.clone(),
        1 => factors.remove(0),
        _ => Arc::new(Compose::new(factors)),
    }
}

/// The same function in fewer stages.
pub(crate) fn merged(stages: Vec<Stage>) -> Vec<Stage> {
    let mut stages = chains(stages);
    loop {
        let before = stages.len();
        stages = fused_sums(stages);
        if stages.len() == before {
            return stages;
        }
        // A sum that is one operator may be the branch of another, with what follows it.
        stages = chains(stages);
    }
}

/// How many stages read each source; the output is read from outside.
fn readers(stages: &[Stage]) -> Vec<usize> {
    let mut readers = vec![0; stages.len() + 1];
    stages.iter().flat_map(|stage| &stage.inputs).for_each(|&input| readers[input] += 1);
    readers[stages.len()] += 1;
    readers
}

/// Affine stages take in what alone reads them.
fn chains(stages: Vec<Stage>) -> Vec<Stage> {
    let readers = readers(&stages);
    let mut kept: Vec<Stage> = Vec::with_capacity(stages.len());
    let mut place = vec![0];
    for mut stage in stages {
        let alone = readers[stage.inputs[0]] == 1;
        stage.inputs.iter_mut().for_each(|input| *input = place[*input]);
        let before = stage.inputs[0];
        match before.checked_sub(1) {
            Some(s) if alone && stage.inputs.len() == 1 && kept[s].can_absorb(&stage) => {
                kept[s].absorb(stage);
                place.push(before);
            }
            _ => {
                kept.push(stage);
                place.push(kept.len());
            }
        }
    }
    kept
}

/// Turns every sum of affine branches from one source into one affine stage.
fn fused_sums(stages: Vec<Stage>) -> Vec<Stage> {
    let mut readers = readers(&stages);
    let mut slots: Vec<Option<Stage>> = stages.into_iter().map(Some).collect();
    for k in 0..slots.len() {
        let Some((fork, operator, bias)) = sum_of_branches(&slots, &readers, k) else { continue };
        let mut sum = slots[k].take().expect("it is a sum");
        let mut branches = std::mem::replace(&mut sum.inputs, vec![fork]);
        // The branches read it, or the sum itself did, once for each; now one stage does.
        readers[fork] -= branches.len() - 1;
        branches.retain(|&branch| branch != fork);
        branches.sort_unstable();
        sum.action = Action::Affine { maps: vec![Affine { operator, bias }], operator: None, unit: None };
        let members = std::mem::take(&mut sum.members);
        for branch in branches {
            let branch = slots[branch - 1].take().expect("a branch is there");
            sum.input_shape.clone_from(&branch.input_shape);
            sum.take_names(branch);
        }
        sum.members.extend(members);
        sum.members.dedup();
        slots[k] = Some(sum);
    }
    let mut place = vec![0];
    let mut kept: Vec<Stage> = Vec::with_capacity(slots.len());
    for slot in slots {
        if let Some(mut stage) = slot {
            stage.inputs.iter_mut().for_each(|input| *input = place[*input]);
            kept.push(stage);
        }
        place.push(kept.len());
    }
    kept
}

/// If stage `k` is a sum of branches that come from one source, each by an affine stage that nothing else reads or by
/// itself: that source, and the sum of the branches as one map.
fn sum_of_branches(
    slots: &[Option<Stage>],
    readers: &[usize],
    k: usize,
) -> Option<(usize, Arc<dyn LinearOperator>, Option<Bias>)> {
    let sum = slots[k].as_ref().filter(|stage| matches!(stage.action, Action::Add))?;
    let behind = |branch: usize| {
        let stage = slots[branch.checked_sub(1)?].as_ref()?;
        let maps = stage.affine_maps().filter(|_| readers[branch] == 1)?;
        Some((stage.inputs[0], maps))
    };
    let (fork, _) = sum.inputs.iter().find_map(|&branch| behind(branch))?;
    let mut operators: Vec<Arc<dyn LinearOperator>> = Vec::new();
    let mut constants: Vec<Bias> = Vec::new();
    for &branch in &sum.inputs {
        if branch == fork {
            operators.push(Arc::new(Selection::identity(sum.shape.iter().product())));
        } else {
            let (_, maps) = behind(branch).filter(|(source, _)| *source == fork)?;
            constants.extend(constant_part(maps)?);
            operators.push(product(maps));
        }
    }
    let operator = operators.into_iter().reduce(|a, b| Arc::new(Sum::new(a, b)))?;
    Some((fork, operator, sum_of(&constants)))
}

/// What a chain of maps makes of zero; the outer `None` where that would take products worth avoiding.
fn constant_part(maps: &[Affine]) -> Option<Option<Bias>> {
    let mut constant: Option<Bias> = None;
    let mut ws = Workspace::new();
    for map in maps {
        constant = match constant {
            None => map.bias.clone(),
            Some(Bias { values, errors }) => {
                if map.operator.multiply_adds() > AFFORDABLE_CONSTANT {
                    return None;
                }
                let errors = errors.map_or_else(|| vec![0.0; values.len()], |errors| errors.to_vec());
                let (values, errors) = map_with_error(map, &values, errors, &Quiet, &mut ws).expect("nobody cancels");
                Some(Bias { values: values.into(), errors: Some(errors.into()) })
            }
        };
    }
    Some(constant)
}

fn sum_of(constants: &[Bias]) -> Option<Bias> {
    let (first, more) = constants.split_first()?;
    if more.is_empty() {
        return Some(first.clone());
    }
    let gamma = rounding::gamma(constants.len());
    let (values, errors): (Vec<f64>, Vec<f64>) = (0..first.values.len())
        .map(|i| {
            let value = constants.iter().map(|c| c.values[i]).sum::<f64>();
            let size = constants.iter().map(|c| c.values[i].abs()).fold(0.0, rounding::add_up);
            let carried = constants.iter().filter_map(|c| c.errors.as_ref()).map(|e| e[i]).fold(0.0, rounding::add_up);
            (value, rounding::add_up(carried, rounding::mul_up(gamma, size)))
        })
        .unzip();
    Some(Bias { values: values.into(), errors: Some(errors.into()) })
}
