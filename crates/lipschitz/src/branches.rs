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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Kind, Layer, Network, NetworkBuilder, Node, Unit, Units, example::near, nominal::Nominal, trace::Trace,
    };

    /// Two branches of two elements that meet in a layer.
    fn network(layer: Layer, width: usize) -> Network {
        let mut builder = NetworkBuilder::new(vec![2]).unwrap();
        let mut push = |name: &str, layer: Layer, inputs: Vec<usize>, width: usize| {
            let node =
                Node { name: name.into(), kind: "test".into(), layer, inputs, shape: vec![width], parameters: 0 };
            builder.push(node).unwrap();
        };
        push("a", Layer::Unit(Units::Same(Unit::Relu)), vec![0], 2);
        push("b", Layer::Unit(Units::Same(Unit::LeakyRelu { slope: 0.5 })), vec![0], 2);
        push("both", layer, vec![1, 2], width);
        builder.build().unwrap()
    }

    /// The input, and behind it branches with these errors.
    fn flows(errors: [(f64, f64); 2]) -> Vec<Flow> {
        let input = Flow::input(2, 0.5, None);
        let branch = |(error, still_error)| Flow { error, still_error, ..input.clone() };
        vec![input.clone(), branch(errors[0]), branch(errors[1])]
    }

    #[test]
    fn a_sum_has_the_errors_of_all_branches_and_its_own() {
        let network = network(Layer::Add, 2);
        let stage = &network.plan().stages[2];
        // Each digit is an error of its own, so that none can stand in for another. The sum's own has the norm 10000.
        let flows = flows([(1.0, 10.0), (100.0, 1000.0)]);
        let trace = Trace { values: Vec::new(), pre: Vec::new() };
        let nominal = Nominal { trace, local: vec![Vec::new(), Vec::new(), vec![6000.0, -8000.0]] };
        let ball = |nominal| Ball { nominal, extents: None, kind: Kind::Centred, epsilon: 0.5, refine: false };
        let output = ball(Some(&nominal)).add(2, stage, &flows).output;
        // What stands still in one branch may move in the other; what stands still in the sum does so in both.
        near(output.error, 11111.0);
        near(output.still_error, 11010.0);
        let output = ball(None).add(2, stage, &flows).output;
        near(output.error, 1111.0);
        near(output.still_error, 1010.0);
    }

    #[test]
    fn squares_of_errors_of_branches_behind_each_other_add_up() {
        let network = network(Layer::Concat, 4);
        let output = concat(&network.plan().stages[2], &flows([(3.0, 5.0), (4.0, 12.0)])).output;
        near(output.error, 5.0);
        near(output.still_error, 13.0);
    }
}
