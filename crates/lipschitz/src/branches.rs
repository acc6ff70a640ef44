//! Branches that meet, in the layerwise bound: sums, and branches behind each other.

use lipbound_operators::rounding;
use lipbound_spectral::NormBracket;

use crate::{
    UnitCounts,
    flow::Flow,
    increments::Change,
    layerwise::{Ball, Step},
    plan::Stage,
};

impl Ball<'_> {
    /// A sum: constants add up.
    pub fn add(&self, index: usize, stage: &Stage, flows: &[Flow]) -> Step {
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
pub(crate) fn concat(stage: &Stage, flows: &[Flow]) -> Step {
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
