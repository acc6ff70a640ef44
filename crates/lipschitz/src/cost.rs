//! What bounds will cost, before any is computed.

use crate::{
    Network,
    plan::{Action, Stage},
    walk::{plan_at, worth_certifying},
};

/// Multiply-adds. The forward pass is counted; the bounds are predictions, good to an order of magnitude: how many steps a
/// norm or a search takes depends on the weights, the ball and the tolerance.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Cost {
    /// Of a forward pass.
    pub forward: f64,
    /// Of a layerwise bound.
    pub layerwise: f64,
    /// Of a certified local bound. It begins with the layerwise one.
    pub certificate: f64,
}

/// Lanczos steps that a norm takes at the default tolerance, within a factor of two for the networks of BENCHMARKS.md.
const STEPS: f64 = 100.0;

/// Norms of the scaled operator that a certificate takes: of the first weights, and after more slack or more search.
const NORMS: f64 = 2.0;

/// Products in one step: with the operator and its adjoint.
const PRODUCTS: f64 = 2.0;

impl Network {
    /// What bounds of it will cost.
    #[must_use]
    pub fn predicted_cost(&self) -> Cost {
        let stages = &self.plan().stages;
        let layerwise = stages.iter().map(|stage| stage.work() * (1.0 + PRODUCTS * STEPS)).sum();
        let certified = worth_certifying(self, true);
        let mut certificate: f64 = layerwise;
        // Each certificate is of the network so far, and searches as long as it may.
        let mut so_far = 0.0;
        for (index, stage) in stages.iter().enumerate() {
            so_far += stage.work();
            if certified[index] {
                let effort = plan_at(self, index).effort;
                let search = effort.rank as f64 * effort.steps as f64;
                certificate += PRODUCTS * (search + NORMS * STEPS) * so_far;
            }
        }
        Cost { forward: self.multiply_adds() as f64, layerwise, certificate }
    }
}

impl Stage {
    /// Multiply-adds of its affine part.
    fn work(&self) -> f64 {
        match &self.action {
            Action::Affine { operator: Some(operator), .. } => operator.multiply_adds() as f64,
            _ => 0.0,
        }
    }
}
