//! What a bound claims, stage by stage, so that others can check it without searching.

use crate::{Digest, Kind, Slope};

/// A bound with all that is needed to check it: [`crate::check`] recomputes what follows from the network and proves
/// the rest.
///
/// Plain data. Nothing in it is trusted by the check, whoever made it.
#[derive(Clone, Debug, PartialEq)]
pub struct Certificate {
    /// The network that the claims are about.
    pub network: Digest,
    /// Which constant.
    pub kind: Kind,
    /// Radius of the ball; infinite for a global bound.
    pub epsilon: f64,
    /// Centre of the ball; empty for a global bound.
    pub centre: Vec<f64>,
    /// Whether deviations were refined path by path.
    pub paths: bool,
    /// The constant is at most this.
    pub upper: f64,
    /// What is claimed of each stage.
    pub stages: Vec<StageClaims>,
}

/// What a certificate claims of a stage. Each claim may rest on those of the stages before.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct StageClaims {
    /// Name of the stage, for people: it proves nothing and is not compared.
    pub name: String,
    /// `norm(R A D)` is at most this; absent where the stage has no operator.
    pub norm: Option<f64>,
    /// An interval that contains the secant slopes of each unit over the ball. For a pool: one for each candidate that
    /// joins the maximum of its window, where the candidate or one before it moves.
    pub slopes: Vec<Slope>,
    /// For a pool, the elements of each window that may be its maximum, in the order in which they join.
    pub candidates: Vec<Vec<usize>>,
    /// A constant of the network up to here as a whole, where one was found that is smaller than the product.
    pub whole: Option<WholeClaim>,
    /// The constant from the network's input to the stage's output is at most this.
    pub gain: f64,
    /// The stage's output stays in a ball of this radius.
    pub radius: f64,
}

/// The theorem of the whole network with the numbers put in: docs/certificate.md.
#[derive(Clone, Debug, PartialEq)]
pub struct WholeClaim {
    /// The scale of the input.
    pub kappa: f64,
    /// The weights of the units that can reach the output of the stage, in the order of the units.
    pub weights: Vec<f64>,
    /// Levels from the input to the stage's output: the exponent of the theorem.
    pub height: usize,
    /// The operator with these weights has at most this norm.
    pub sigma: f64,
    /// The constant that follows.
    pub bound: f64,
}
