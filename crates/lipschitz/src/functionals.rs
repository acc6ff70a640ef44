//! Bounds of scalar functionals `c^T f` of the output: one pass through the network, and a short end for each `c`.
//!
//! All that is known of the network before its last affine map holds for every functional: ranges, slopes, norms,
//! increments. A functional replaces that map `A` by the row `c^T A`, or adds the row `c^T` where the network ends in
//! something else. Its bound is the least of
//!
//! - `norm(c)` times the bound of the whole output;
//! - the constant of the network before times `norm(c^T A D)`;
//! - the certificate of the increments with the new end.
//!
//! Differences of outputs, `c = e_i - e_j`, are the margins of a classifier: their constants are far below `sqrt(2)` times
//! that of all outputs together.

use std::sync::Arc;

use lipbound_operators::{Compose, Dense, LinearOperator, Workspace, rounding};
use lipbound_spectral::{NormOptions, start};

use crate::{
    BoundError, BoundMonitor, FunctionalBound, Method, ModelError, Network, attained,
    bound::guarantee,
    certificate::{self, certify},
    flow::Flow,
    increments::{Change, Increments, Step},
    layers::MAGNITUDES,
    nominal::poll,
    plan::{Action, Plan},
    walk::FINAL,
    weights::Search,
};

/// Functionals of a network's output.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Functionals<'a> {
    /// Of the right length and in the range of numbers.
    Given(&'a [Vec<f64>]),
    /// As many margins, whose coefficients are 1 and -1; with many classes only those in use are written out.
    Margins(usize),
}

impl Default for Functionals<'_> {
    fn default() -> Self {
        Self::Given(&[])
    }
}

/// What the bound of the whole output leaves for its functionals.
pub(crate) struct Prefix {
    /// What is known of every source; the last is the output.
    pub flows: Vec<Flow>,
    /// What the gain of every stage rests on.
    pub gain_methods: Vec<Method>,
    /// The increments of all stages, if certificates are wanted.
    pub increments: Option<Increments>,
    /// The bound of the whole output.
    pub upper: f64,
    /// Probability that anything so far is wrong.
    pub failure_probability: f64,
}

impl<'a> Functionals<'a> {
    /// Checks the functionals against the network that they are of.
    pub fn new(network: &Network, functionals: &'a [Vec<f64>]) -> Result<Self, ModelError> {
        let outputs: usize = network.output_shape().iter().product();
        for (k, functional) in functionals.iter().enumerate() {
            if functional.len() != outputs {
                let (entries, needed) = (functional.len(), format!("one for each of the network's {outputs} outputs"));
                return Err(ModelError::shape(format!("functionals[{k}] must have {needed}, got {entries} entries")));
            }
            if let Some((i, value)) =
                functional.iter().enumerate().find(|(_, v)| **v != 0.0 && !MAGNITUDES.contains(&v.abs()))
            {
                return Err(ModelError::value(format!(
                    "functionals[{k}][{i}] must be zero or of a magnitude from 1e-45 to 1e45, got {value:e}"
                )));
            }
        }
        Ok(Self::Given(functionals))
    }

    pub fn is_empty(self) -> bool {
        self.len() == 0
    }

    pub fn len(self) -> usize {
        match self {
            Self::Given(functionals) => functionals.len(),
            Self::Margins(count) => count,
        }
    }

    /// Whether all of them make a product of one map more than the plan merges that stays inside the range of numbers
    /// when squared.
    fn are_moderate(self) -> bool {
        match self {
            Self::Given(functionals) => functionals.iter().flatten().all(|v| *v == 0.0 || MODERATE.contains(&v.abs())),
            Self::Margins(_) => true,
        }
    }

    /// Whether a certificate can say more than a norm: not where the network is one affine map.
    pub fn need_certificates(self, plan: &Plan) -> bool {
        let affine = |action: &Action| matches!(action, Action::Affine { unit: None, .. });
        !self.is_empty() && !plan.stages.iter().all(|stage| affine(&stage.action))
    }

    /// Whether each is one row with the network's last affine map.
    pub fn take_in_the_end(self, plan: &Plan) -> bool {
        End::of(plan, self).operator.is_some()
    }

    #[expect(clippy::too_many_arguments, reason = "what is known, what is asked, and how to go about it")]
    /// Bounds every functional. `options` are those of each certificate, the first of which has their stream;
    /// `memory` is the search of the last one, or of the whole output; `question` is the one about the whole output.
    pub fn bound<'p>(
        self,
        plan: &Plan,
        prefix: Prefix,
        mut question: attained::Question<'p>,
        options: &NormOptions,
        memory: &mut Option<Search>,
        monitor: &dyn BoundMonitor,
        ws: &mut Workspace,
    ) -> Result<Vec<FunctionalBound>, BoundError>
    where
        'a: 'p,
    {
        let mut ends = Ends::new(self, plan, prefix);
        question.restarts = 0;
        let Self::Given(functionals) = self else { unreachable!("margins are bounded one by one") };
        functionals
            .iter()
            .enumerate()
            .map(|(k, functional)| {
                poll(monitor)?;
                let options = NormOptions { stream: options.stream + STREAMS * k as u64, ..*options };
                let composed = ends.composed(functional, ws);
                let constant = ends.certified(functional, composed, &FINAL, &options, memory, monitor, ws)?;
                let Constant { upper, method, failure_probability } = constant;
                question.functional = Some(functional);
                question.upper = upper;
                // What cannot move has no direction to look in.
                let lower =
                    if upper == 0.0 { 0.0 } else { attained::attained(&question, &mut None, monitor, ws)?.ratio };
                debug_assert!(lower <= upper, "attained {lower}, upper bound {upper}");
                let guarantee = guarantee(failure_probability);
                Ok(FunctionalBound { upper: upper.max(lower), lower, method, guarantee, failure_probability })
            })
            .collect()
    }
}

/// An upper bound of the constant of one functional.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Constant {
    pub upper: f64,
    pub method: Method,
    /// Probability that it, or anything it rests on, is wrong.
    pub failure_probability: f64,
}

impl Constant {
    /// Of a functional that is zero.
    fn zero() -> Self {
        Self { upper: 0.0, method: Method::Layerwise, failure_probability: 0.0 }
    }
}

/// Streams of random starts that one functional may use.
pub(crate) const STREAMS: u64 = 16;

/// Magnitudes of coefficients that are moderate.
const MODERATE: std::ops::RangeInclusive<f64> = 1e-9..=1e9;

/// Where functionals meet the network.
struct End {
    /// The source that the merged row reads.
    source: usize,
    /// The network's last affine map, if the row takes it in.
    operator: Option<Arc<dyn LinearOperator>>,
}

impl End {
    fn of(plan: &Plan, functionals: Functionals<'_>) -> Self {
        if let Some(last) = plan.stages.last()
            && let Action::Affine { operator: Some(operator), unit: None, .. } = &last.action
            && (last.has_room() || functionals.are_moderate())
        {
            Self { source: last.inputs[0], operator: Some(operator.clone()) }
        } else {
            Self { source: plan.stages.len(), operator: None }
        }
    }
}

/// What is known of the network, and the short ends that functionals put behind it.
pub(crate) struct Ends {
    end: End,
    prefix: Prefix,
}

impl Ends {
    pub fn new(functionals: Functionals<'_>, plan: &Plan, mut prefix: Prefix) -> Self {
        let end = End::of(plan, functionals);
        if let (Some(increments), Some(_)) = (&mut prefix.increments, &end.operator) {
            increments.pop();
        }
        Self { end, prefix }
    }

    /// What the functional does with the source that it reads.
    fn row(&self, functional: &[f64]) -> Arc<dyn LinearOperator> {
        let row: Arc<dyn LinearOperator> = Arc::new(Dense::new(1, functional.len(), Arc::<[f64]>::from(functional)));
        match &self.end.operator {
            Some(last) => Arc::new(Compose::new(vec![last.clone(), row])),
            None => row,
        }
    }

    /// What the whole output's constant, and that of the network before its end, say of a functional.
    pub fn composed(&self, functional: &[f64], ws: &mut Workspace) -> Constant {
        let Prefix { flows, gain_methods, upper, failure_probability, .. } = &self.prefix;
        let failure_probability = *failure_probability;
        let size = rounding::norm_up(functional);
        if size == 0.0 {
            return Constant::zero();
        }
        // What a source's gain rests on; at the input itself nothing is composed.
        let method_of = |source: usize| source.checked_sub(1).map_or(Method::Layerwise, |s| gain_methods[s]);
        let whole = rounding::mul_up(size, *upper);
        let flow = &flows[self.end.source];
        let mut norm = [0.0];
        self.row(functional).row_norms(flow.mask().as_deref(), &mut norm, ws);
        // A norm that is no number (an overflow times a zero) is unbounded.
        let norm = if norm[0].is_nan() { f64::INFINITY } else { norm[0] };
        let composed = rounding::mul_up(flow.gain, norm);
        if composed <= whole {
            Constant { upper: composed, method: method_of(self.end.source), failure_probability }
        } else {
            Constant { upper: whole, method: method_of(flows.len() - 1), failure_probability }
        }
    }

    #[expect(clippy::too_many_arguments, reason = "what is known, what is asked, and how to go about it")]
    /// The functional's own certificate, where there are increments and it is less than what is known already.
    pub fn certified(
        &mut self,
        functional: &[f64],
        known: Constant,
        plan: &certificate::Plan,
        options: &NormOptions,
        memory: &mut Option<Search>,
        monitor: &dyn BoundMonitor,
        ws: &mut Workspace,
    ) -> Result<Constant, BoundError> {
        // Of a functional that is zero everything is known.
        if known.upper == 0.0 || self.prefix.increments.is_none() {
            return Ok(known);
        }
        let (row, source) = (self.row(functional), self.end.source);
        let Some(increments) = &mut self.prefix.increments else { return Ok(known) };
        let first = increments.units.len();
        let change = Change::Affine { operator: Some(row), centres: None, unstable: Vec::new(), first };
        increments.push(Step { inputs: vec![source], outputs: 1, change }, 0);
        let certified = certify(increments, plan, 1.0, options, memory, monitor, ws);
        increments.pop();
        let certified = certified?;
        stir(memory, options);
        let failure_probability = rounding::add_up(known.failure_probability, certified.failure_probability);
        Ok(if certified.upper < known.upper {
            Constant { upper: certified.upper, method: Method::Certificate, failure_probability }
        } else {
            Constant { failure_probability, ..known }
        })
    }
}

/// A tenth of something new for the next search to start with: what is best for one functional may be orthogonal to
/// all that another one sees.
fn stir(memory: &mut Option<Search>, options: &NormOptions) {
    let Some(search) = memory else { return };
    for (k, vector) in search.input.iter_mut().enumerate() {
        let active = vec![true; vector.len()];
        let stream = (u64::MAX - 200).wrapping_sub(STREAMS * options.stream + k as u64);
        let fresh = start::gaussian(&active, options.seed, stream);
        let norm = |v: &[f64]| rounding::sum_of_squares(v, 1.0).sqrt();
        let share = 0.1 * norm(vector).max(f64::MIN_POSITIVE) / norm(&fresh).max(f64::MIN_POSITIVE);
        vector.iter_mut().zip(&fresh).for_each(|(v, f)| *v += share * f);
    }
}
