//! What a bound says, and how it is asked for.

use lipbound_spectral::{Guarantee, Monitor, NormBracket, NormOptions};

use crate::{Kind, Witness};

/// How a bound shall be computed.
#[derive(Clone, Debug)]
pub struct BoundOptions {
    /// Radii of the ball around the input.
    pub epsilons: Vec<f64>,
    /// Which constant.
    pub kind: Kind,
    /// Layer by layer, or the network as a whole.
    pub method: MethodRequest,
    /// Tolerance of each norm, failure probability of the whole result, limits and seed.
    pub norm: NormOptions,
    /// How to look for a lower end.
    pub attempts: Attempts,
}

impl Default for BoundOptions {
    /// The `centred` constant by the best method that is affordable; epsilons are still to be named.
    fn default() -> Self {
        Self {
            epsilons: Vec::new(),
            kind: Kind::Centred,
            method: MethodRequest::Auto,
            norm: NormOptions::default(),
            attempts: Attempts::default(),
        }
    }
}

/// How a global bound shall be computed.
#[derive(Clone, Copy, Debug, Default)]
pub struct GlobalOptions {
    /// Layer by layer, or the network as a whole.
    pub method: MethodRequest,
    /// Tolerance of each norm, failure probability of the whole result, limits and seed.
    pub norm: NormOptions,
    /// How to look for a lower end.
    pub attempts: Attempts,
}

/// How ratios are looked for that are attained.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Random directions to climb from, beside the Jacobian's own; by default a few for small networks, unless
    /// these look linear in the ball.
    pub restarts: Option<usize>,
    /// Whether to return the points with the largest ratio; `lower` is then theirs, and no limit of ratios.
    pub witness: bool,
}

/// How an upper bound shall be composed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MethodRequest {
    /// The certificate where its predicted cost is acceptable, else layer by layer.
    #[default]
    Auto,
    /// The product of layer constants.
    Layerwise,
    /// The certificate, or the product where that is smaller.
    Certificate,
}

/// How an upper bound was composed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The product of layer constants (theory: arXiv 2008.06141).
    Layerwise,
    /// One norm of the whole network, or a product that rests on one of its prefixes.
    Certificate,
}

/// What a stage of the network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StageKind {
    /// An affine map followed by a unit.
    AffineUnit,
    /// An affine map.
    Affine,
    /// A unit on its own.
    Unit,
    /// A max pool.
    MaxPool,
    /// A sum of branches.
    Add,
    /// Branches behind each other.
    Concat,
}

/// Units of a stage by what the ball does to them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UnitCounts {
    /// The output provably does not move.
    pub still: usize,
    /// The output moves, and is affine over the ball.
    pub stable: usize,
    /// The unit may change its piece.
    pub unstable: usize,
}

/// One stage of a layerwise bound.
#[derive(Clone, Debug)]
pub struct LayerReport {
    /// Name of the stage's heaviest layer.
    pub name: String,
    /// What the stage is.
    pub kind: StageKind,
    /// Names of the layers that were merged.
    pub members: Vec<String>,
    /// Shape that goes in.
    pub input_shape: Vec<usize>,
    /// Shape that comes out.
    pub output_shape: Vec<usize>,
    /// The stage's constant, `norm(R A D)`.
    pub norm: NormBracket,
    /// Radius of the ball that contains the stage's input.
    pub epsilon_in: f64,
    /// Radius of the ball that contains the stage's output.
    pub epsilon_out: f64,
    /// The constant from the network's input to the stage's output is at most this.
    pub gain: f64,
    /// What `gain` rests on.
    pub gain_method: Method,
    /// Probability that a norm or certificate of this stage is wrong.
    pub failure_probability: f64,
    /// Its units; for stages without units, elements that do not move are still and all others stable.
    pub units: UnitCounts,
    /// Time spent.
    pub seconds: f64,
}

/// An upper bound of the Lipschitz constant of a linear functional of the output, `c^T f`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct FunctionalBound {
    /// The constant is at most this.
    pub upper: f64,
    /// The constant is at least this: the largest ratio that was attained.
    pub lower: f64,
    /// How `upper` was composed.
    pub method: Method,
    /// Certainty of `upper`.
    pub guarantee: Guarantee,
    /// Probability that `upper`, or anything it rests on, is wrong.
    pub failure_probability: f64,
}

/// An upper bound of a Lipschitz constant, with its story.
#[derive(Clone, Debug)]
pub struct BoundResult {
    /// The constant is at most this.
    pub upper: f64,
    /// The constant is at least this: the largest ratio that was attained.
    pub lower: f64,
    /// Product of the ends of the steps' brackets, at the radii and slopes of this result: how much of a layerwise
    /// `upper` is owed to norms not being exact. Radii are rounded up on the way, so the lower end may exceed what the
    /// formula gives in exact arithmetic; it is no lower bound of the constant.
    pub product: (f64, f64),
    /// Radius; infinite for a global bound.
    pub epsilon: f64,
    /// Which constant.
    pub kind: Kind,
    /// How it was composed.
    pub method: Method,
    /// Certainty of `upper`.
    pub guarantee: Guarantee,
    /// Probability that `upper` is wrong.
    pub failure_probability: f64,
    /// Seed of the start vectors.
    pub seed: u64,
    /// Time spent.
    pub seconds: f64,
    /// The stages.
    pub layers: Vec<LayerReport>,
    /// Bounds of the functionals that were asked for, in their order. They share the failure probability asked for with
    /// all else in the result.
    pub functionals: Vec<FunctionalBound>,
    /// Points that attain `lower`, if they were asked for and any ratio is certain.
    pub witness: Option<Witness>,
}

/// Observes a bound and may stop it.
pub trait BoundMonitor: Monitor {
    /// A stage begins: its name, how many stages of how many (over all epsilons) are done, and the epsilon.
    fn stage(&self, _name: &str, _done: usize, _of: usize, _epsilon: f64) {}
}

/// A monitor that neither listens nor stops.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Monitor for Quiet {}
impl BoundMonitor for Quiet {}
