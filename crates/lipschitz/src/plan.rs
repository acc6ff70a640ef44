//! The network as stages: what follows each other without a unit between is one operator (see [`merge`]).

use std::sync::{Arc, OnceLock};

use lipbound_operators::{LinearOperator, Workspace, rounding};

use crate::{Affine, Layer, MaxPool, Node, StageKind, Units, merge};

/// What a stage computes.
#[derive(Debug)]
pub(crate) enum Action {
    /// `unit(A x + b)`; without a unit, `A x + b`; without an operator, `unit(x)`.
    Affine { maps: Vec<Affine>, operator: Option<Arc<dyn LinearOperator>>, unit: Option<Units> },
    /// Max pool.
    Pool(Arc<MaxPool>),
    /// Sum of branches.
    Add,
    /// Branches behind each other.
    Concat,
}

/// One step of the plan.
#[derive(Debug)]
pub(crate) struct Stage {
    /// Name of its heaviest layer, and that layer's number of parameters.
    pub name: String,
    pub parameters: usize,
    /// Names of all its layers.
    pub members: Vec<String>,
    /// Sources: 0 the network's input, `i + 1` stage `i`.
    pub inputs: Vec<usize>,
    pub input_shape: Vec<usize>,
    pub shape: Vec<usize>,
    pub action: Action,
    /// Row norms of the operator without a mask, computed once a network.
    pub full_row_norms: OnceLock<Vec<f64>>,
    /// What they and the operator's sums say of its norm, once a network too.
    pub cap: OnceLock<f64>,
}

impl Stage {
    /// What its sources hold, one behind the other.
    pub fn gather(&self, values: &[Vec<f64>]) -> Vec<f64> {
        self.inputs.iter().flat_map(|&input| &values[input]).copied().collect()
    }

    pub fn kind(&self) -> StageKind {
        match &self.action {
            Action::Affine { operator: Some(_), unit: Some(_), .. } => StageKind::AffineUnit,
            Action::Affine { operator: Some(_), unit: None, .. } => StageKind::Affine,
            Action::Affine { operator: None, .. } => StageKind::Unit,
            Action::Pool(_) => StageKind::MaxPool,
            Action::Add => StageKind::Add,
            Action::Concat => StageKind::Concat,
        }
    }

    /// A cheap upper bound of the norm of the stage's operator without a mask.
    pub fn cap(&self, operator: &dyn LinearOperator, ws: &mut Workspace) -> f64 {
        *self.cap.get_or_init(|| {
            let frobenius = rounding::norm_up(self.full_row_norms(operator, ws));
            frobenius.min(operator.abs_norm())
        })
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
        let shape_of = |source: usize| if source == 0 { input_shape } else { &nodes[source - 1].shape };
        let mut stages: Vec<Stage> = Vec::new();
        // The stage source of each node source: the identity has no stage of its own.
        let mut stage_of = vec![0usize; nodes.len() + 1];
        for (index, node) in nodes.iter().enumerate() {
            let affine = |maps, unit| Action::Affine { maps, operator: None, unit };
            let action = match &node.layer {
                Layer::Identity => {
                    let source = stage_of[node.inputs[0]];
                    stage_of[index + 1] = source;
                    if source > 0 {
                        stages[source - 1].shape.clone_from(&node.shape);
                    }
                    continue;
                }
                Layer::Affine(map) => affine(vec![map.clone()], None),
                Layer::Unit(unit) => affine(Vec::new(), Some(unit.clone())),
                Layer::MaxPool(pool) => Action::Pool(pool.clone()),
                Layer::Add => Action::Add,
                Layer::Concat => Action::Concat,
            };
            stages.push(Stage {
                name: node.name.clone(),
                parameters: node.parameters,
                members: vec![node.name.clone()],
                inputs: node.inputs.iter().map(|&i| stage_of[i]).collect(),
                input_shape: shape_of(node.inputs[0]).to_vec(),
                shape: node.shape.clone(),
                action,
                full_row_norms: OnceLock::new(),
                cap: OnceLock::new(),
            });
            stage_of[index + 1] = stages.len();
        }
        // The network's output is the last stage, unless that of an identity.
        let mut stages = merge::merged(stages);
        for stage in &mut stages {
            if let Action::Affine { maps, operator, .. } = &mut stage.action {
                *operator = (!maps.is_empty()).then(|| merge::product(maps));
            }
        }
        Self { stages }
    }
}
