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
use lipbound_spectral::{Guarantee, NormOptions, start};

use crate::{
    BoundError, BoundMonitor, FunctionalBound, Method, ModelError, Network, attained,
    bound::guarantee,
    certificate::certify,
    flow::Flow,
    increments::{Change, Increments, Step},
    layers::MAGNITUDES,
    nominal::poll,
    plan::{Action, Plan},
    walk::FINAL,
    weights::Search,
};

/// Functionals of a network's output, of the right length and in the range of numbers.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Functionals<'a>(&'a [Vec<f64>]);

/// What the bound of the whole output leaves for its functionals.
pub(crate) struct Prefix<'a> {
    /// What is known of every source; the last is the output.
    pub flows: &'a [Flow],
    /// What the gain of every stage rests on.
    pub gain_methods: Vec<Method>,
    /// The increments of all stages, if certificates are wanted.
    pub increments: Option<Increments>,
    /// The bound of the whole output.
    pub upper: f64,
    /// Probability that anything so far is wrong.
    pub failure_probability: f64,
    /// For the lower ends; its functional is filled in.
    pub question: attained::Question<'a>,
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
        Ok(Self(functionals))
    }

    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    pub fn len(self) -> usize {
        self.0.len()
    }

    /// Whether a certificate can say more than a norm: not where the network is one affine map.
    pub fn need_certificates(self, plan: &Plan) -> bool {
        let affine = |action: &Action| matches!(action, Action::Affine { unit: None, .. });
        !self.is_empty() && !plan.stages.iter().all(|stage| affine(&stage.action))
    }

    /// Bounds every functional. `options` are those of each certificate, the first of which has their stream;
    /// `memory` is the search of the last one, or of the whole output.
    pub fn bound<'p>(
        self,
        plan: &Plan,
        mut prefix: Prefix<'p>,
        options: &NormOptions,
        memory: &mut Option<Search>,
        monitor: &dyn BoundMonitor,
        ws: &mut Workspace,
    ) -> Result<Vec<FunctionalBound>, BoundError>
    where
        'a: 'p,
    {
        let end = End::of(plan, self.0);
        if let (Some(increments), Some(_)) = (&mut prefix.increments, &end.operator) {
            increments.pop();
        }
        self.0
            .iter()
            .enumerate()
            .map(|(k, functional)| {
                poll(monitor)?;
                let options = NormOptions { stream: options.stream + STREAMS * k as u64, ..*options };
                prefix.question.functional = Some(functional);
                end.bound(functional, &mut prefix, &options, memory, monitor, ws)
            })
            .collect()
    }
}

/// Streams of random starts that one functional may use.
pub(crate) const STREAMS: u64 = 16;

/// Magnitudes that make a product of one map more than the plan merges stay inside the range of numbers when squared.
const MODERATE: std::ops::RangeInclusive<f64> = 1e-9..=1e9;

/// Where functionals meet the network.
struct End {
    /// The source that the merged row reads.
    source: usize,
    /// The network's last affine map, if the row takes it in.
    operator: Option<Arc<dyn LinearOperator>>,
}

impl End {
    fn of(plan: &Plan, functionals: &[Vec<f64>]) -> Self {
        let moderate = || functionals.iter().flatten().all(|v| *v == 0.0 || MODERATE.contains(&v.abs()));
        if let Some(last) = plan.stages.last()
            && let Action::Affine { operator: Some(operator), unit: None, .. } = &last.action
            && (last.has_room() || moderate())
        {
            Self { source: last.inputs[0], operator: Some(operator.clone()) }
        } else {
            Self { source: plan.stages.len(), operator: None }
        }
    }

    fn bound(
        &self,
        functional: &[f64],
        prefix: &mut Prefix<'_>,
        options: &NormOptions,
        memory: &mut Option<Search>,
        monitor: &dyn BoundMonitor,
        ws: &mut Workspace,
    ) -> Result<FunctionalBound, BoundError> {
        let size = rounding::norm_up(functional);
        if size == 0.0 {
            let guarantee = Guarantee::Deterministic;
            let (upper, lower, method, failure_probability) = (0.0, 0.0, Method::Layerwise, 0.0);
            return Ok(FunctionalBound { upper, lower, method, guarantee, failure_probability });
        }
        let row: Arc<dyn LinearOperator> = Arc::new(Dense::new(1, functional.len(), Arc::<[f64]>::from(functional)));
        let operator = match &self.operator {
            Some(last) => Arc::new(Compose::new(vec![last.clone(), row])),
            None => row,
        };
        // What a source's gain rests on; at the input itself nothing is composed.
        let method_of = |source: usize| source.checked_sub(1).map_or(Method::Layerwise, |s| prefix.gain_methods[s]);

        let whole = rounding::mul_up(size, prefix.upper);
        let flow = &prefix.flows[self.source];
        let mut norm = [0.0];
        operator.row_norms(flow.mask().as_deref(), &mut norm, ws);
        // A norm that is no number (an overflow times a zero) is unbounded.
        let norm = if norm[0].is_nan() { f64::INFINITY } else { norm[0] };
        let composed = rounding::mul_up(flow.gain, norm);
        let (mut upper, mut method) = if composed <= whole {
            (composed, method_of(self.source))
        } else {
            (whole, method_of(prefix.flows.len() - 1))
        };
        let mut failure_probability = prefix.failure_probability;
        if let Some(increments) = &mut prefix.increments {
            let first = increments.units.len();
            let change = Change::Affine { operator: Some(operator), centres: None, unstable: Vec::new(), first };
            increments.push(Step { inputs: vec![self.source], outputs: 1, change }, 0);
            let certified = certify(increments, &FINAL, 1.0, options, memory, monitor, ws);
            increments.pop();
            let certified = certified?;
            stir(memory, options);
            failure_probability = rounding::add_up(failure_probability, certified.failure_probability);
            if certified.upper < upper {
                (upper, method) = (certified.upper, Method::Certificate);
            }
        }
        prefix.question.upper = upper;
        let lower = attained::lower_bound(&prefix.question, &mut None, monitor, ws)?;
        debug_assert!(lower <= upper, "attained {lower}, upper bound {upper}");
        let guarantee = guarantee(failure_probability);
        Ok(FunctionalBound { upper: upper.max(lower), lower, method, guarantee, failure_probability })
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
