//! The network as stages: what follows each other without a unit between is one operator.
//!
//! Merging is free tightness: the norm of a product is at most the product of the norms.

use std::sync::{Arc, OnceLock};

use lipbound_operators::{Compose, LinearOperator, Workspace};
use lipbound_spectral::Cancelled;

use crate::{Affine, Bias, BoundMonitor, Layer, MaxPool, Node, StageKind, Unit, nominal::poll};

/// Most maps that become one operator. With weights from 1e-45 to 1e45 in magnitude, the squares of products of three
/// stay inside the range of f64, so that no norm overflows or vanishes; longer chains are bounded in parts.
const MOST_MERGED: usize = 3;

/// What a stage computes.
#[derive(Debug)]
pub(crate) enum Action {
    /// `unit(A x + b)`; without a unit, `A x + b`; without an operator, `unit(x)`.
    Affine { maps: Vec<Affine>, operator: Option<Arc<dyn LinearOperator>>, unit: Option<Unit> },
    /// Max pool.
    Pool(Arc<MaxPool>),
    /// Sum of branches.
    Add,
}

/// One step of the plan.
#[derive(Debug)]
pub(crate) struct Stage {
    /// Name of its heaviest layer.
    pub name: String,
    /// Names of all its layers.
    pub members: Vec<String>,
    /// Sources: 0 the network's input, `i + 1` stage `i`.
    pub inputs: Vec<usize>,
    pub input_shape: Vec<usize>,
    pub shape: Vec<usize>,
    pub action: Action,
    /// Row norms of the operator without a mask, computed once a network.
    pub full_row_norms: OnceLock<Vec<f64>>,
}

impl Stage {
    /// Whether one more affine map may be merged into it.
    pub fn has_room(&self) -> bool {
        matches!(&self.action, Action::Affine { maps, .. } if maps.len() < MOST_MERGED)
    }

    pub fn kind(&self) -> StageKind {
        match &self.action {
            Action::Affine { operator: Some(_), unit: Some(_), .. } => StageKind::AffineUnit,
            Action::Affine { operator: Some(_), unit: None, .. } => StageKind::Affine,
            Action::Affine { operator: None, .. } => StageKind::Unit,
            Action::Pool(_) => StageKind::MaxPool,
            Action::Add => StageKind::Add,
        }
    }

    /// `norm(a_i)` of every row of the stage's operator.
    pub fn full_row_norms(&self, operator: &dyn LinearOperator, ws: &mut Workspace) -> &[f64] {
        self.full_row_norms.get_or_init(|| {
            let mut norms = vec![0.0; operator.rows()];
            operator.row_norms(None, &mut norms, ws);
            norms
        })
    }
}

/// The stages of a network.
#[derive(Debug)]
pub(crate) struct Plan {
    pub stages: Vec<Stage>,
}

impl Plan {
    pub fn new(input_shape: &[usize], nodes: &[Node]) -> Self {
        // How many nodes read each source: what has two readers must stay visible.
        let mut readers = vec![0; nodes.len() + 1];
        nodes.iter().flat_map(|n| &n.inputs).for_each(|&i| readers[i] += 1);
        let shape_of = |source: usize| if source == 0 { input_shape } else { &nodes[source - 1].shape };

        let mut stages: Vec<Stage> = Vec::new();
        // The stage source of each node source, and the open stage (last of all, still without a unit) if any.
        let mut stage_of = vec![0usize; nodes.len() + 1];
        let mut heaviest: Vec<usize> = Vec::new();
        for (index, node) in nodes.iter().enumerate() {
            let source = node.inputs[0];
            // A stage can be extended by its only reader.
            let open = stage_of[source]
                .checked_sub(1)
                .filter(|_| readers[source] == 1 && source != 0)
                .filter(|&s| matches!(stages[s].action, Action::Affine { unit: None, .. }));
            let new_stage = |action| Stage {
                name: node.name.clone(),
                members: vec![node.name.clone()],
                inputs: node.inputs.iter().map(|&i| stage_of[i]).collect(),
                input_shape: shape_of(source).to_vec(),
                shape: node.shape.clone(),
                action,
                full_row_norms: OnceLock::new(),
            };
            let stage = match (&node.layer, open) {
                (Layer::Identity, _) => {
                    stage_of[index + 1] = stage_of[source];
                    if stage_of[source] > 0 {
                        stages[stage_of[source] - 1].shape.clone_from(&node.shape);
                    }
                    // What read through the identity reads the source itself: its readers add up.
                    readers[index + 1] += readers[source] - 1;
                    continue;
                }
                (Layer::Affine(affine), Some(s)) if stages[s].has_room() => {
                    let Action::Affine { maps, .. } = &mut stages[s].action else { unreachable!("filtered above") };
                    maps.push(affine.clone());
                    s
                }
                (Layer::Unit(unit), Some(s)) => {
                    let Action::Affine { unit: slot, .. } = &mut stages[s].action else {
                        unreachable!("filtered above")
                    };
                    *slot = Some(*unit);
                    s
                }
                (Layer::Affine(affine), _) => {
                    stages.push(new_stage(Action::Affine { maps: vec![affine.clone()], operator: None, unit: None }));
                    stages.len() - 1
                }
                (Layer::Unit(unit), None) => {
                    stages.push(new_stage(Action::Affine { maps: Vec::new(), operator: None, unit: Some(*unit) }));
                    stages.len() - 1
                }
                (Layer::MaxPool(pool), _) => {
                    stages.push(new_stage(Action::Pool(pool.clone())));
                    stages.len() - 1
                }
                (Layer::Add, _) => {
                    stages.push(new_stage(Action::Add));
                    stages.len() - 1
                }
            };
            heaviest.resize(stages.len(), node.parameters);
            let extended = stages[stage].members[0] != node.name;
            if extended {
                stages[stage].members.push(node.name.clone());
                stages[stage].shape.clone_from(&node.shape);
                if node.parameters > heaviest[stage] {
                    heaviest[stage] = node.parameters;
                    stages[stage].name.clone_from(&node.name);
                }
            }
            stage_of[index + 1] = stage + 1;
        }
        for stage in &mut stages {
            if let Action::Affine { maps, operator, .. } = &mut stage.action {
                *operator = match maps.len() {
                    0 => None,
                    1 => Some(maps[0].operator.clone()),
                    _ => Some(Arc::new(Compose::new(maps.iter().map(|m| m.operator.clone()).collect()))),
                };
            }
        }
        Self { stages }
    }

    /// The computed value of every source: the input, then the output of each stage.
    pub fn forward(
        &self,
        input: &[f64],
        monitor: &dyn BoundMonitor,
        ws: &mut Workspace,
    ) -> Result<Vec<Vec<f64>>, Cancelled> {
        let mut values: Vec<Vec<f64>> = Vec::with_capacity(self.stages.len() + 1);
        values.push(input.to_vec());
        for stage in &self.stages {
            poll(monitor)?;
            let x = &values[stage.inputs[0]];
            let output = match &stage.action {
                Action::Affine { maps, unit, .. } => {
                    let mut y = pre_activation(maps, x, ws);
                    if let Some(unit) = unit {
                        y.iter_mut().for_each(|y| *y = unit.value(*y));
                    }
                    y
                }
                Action::Pool(pool) => {
                    let mut y = vec![0.0; pool.outputs()];
                    pool.apply(x, &mut y);
                    y
                }
                Action::Add => {
                    let mut y = x.clone();
                    for &other in &stage.inputs[1..] {
                        y.iter_mut().zip(&values[other]).for_each(|(a, b)| *a += b);
                    }
                    y
                }
            };
            values.push(output);
        }
        Ok(values)
    }
}

/// `A_n(... A_1 x + b_1 ...) + b_n` as computed.
pub(crate) fn pre_activation(maps: &[Affine], x: &[f64], ws: &mut Workspace) -> Vec<f64> {
    let mut y = x.to_vec();
    for Affine { operator, bias } in maps {
        let mut next = vec![0.0; operator.rows()];
        operator.apply(&y, &mut next, ws);
        if let Some(Bias { values, .. }) = bias {
            next.iter_mut().zip(&values[..]).for_each(|(y, b)| *y += b);
        }
        y = next;
    }
    y
}
