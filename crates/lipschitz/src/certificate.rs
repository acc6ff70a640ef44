//! The whole-network certificate: one norm of one operator.
//!
//! **Theorem.** For any weights `w_u > 0` and `kappa > 0` let `K` map `(kappa dx, w e)` to `(dy, w delta dv)`. If
//! `norm(K) <= sigma`, then the Lipschitz constant is at most `kappa max(1, sigma)^h`, with `h` the number of levels from
//! input to output (the longest chain of unstable units, plus one).
//!
//! *Proof.* For `sigma <= 1`: `norm(dy)^2 + sum w^2 delta^2 dv^2 <= kappa^2 norm(dx)^2 + sum w^2 e^2`, and the sums cancel
//! since `|e| <= delta |dv|`. For `sigma > 1` give the input level 0, units levels 1, 2, ..., the output level `h`, and
//! multiply the block of `K` from level `a` to level `b` by `z^(b - a)`, `b > a`. For `|z| = 1` that is unitary on both
//! sides; the polynomial vanishes at 0, so by Schwarz's lemma `norm(K(z)) <= |z| sigma`, and `z = 1/sigma` gives a
//! contraction with `kappa sigma^h` in place of `kappa`. ∎
//!
//! `sigma` is the upper end of a norm bracket, so the whole is as certain as that.

use lipbound_operators::{LinearOperator, Workspace, rounding};
use lipbound_spectral::{GuaranteeRequest, NormOptions, norm_bracket};

use crate::{
    BoundError, BoundMonitor, WholeClaim,
    increments::Increments,
    prove::norm_at_most,
    scaled::Scaled,
    weights::{self, Effort, Search},
};

/// How hard to try.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// The search for weights.
    pub effort: Effort,
    /// Slacks tried: each makes `kappa` larger and the operator smaller.
    pub tries: usize,
    /// Tolerance of the norm.
    pub tolerance: f64,
}

/// A certified constant.
#[derive(Clone, Debug)]
pub(crate) struct Certified {
    /// The Lipschitz constant is at most this.
    pub upper: f64,
    /// Probability that `upper` is wrong, over all norms that were taken.
    pub failure_probability: f64,
    /// What `upper` rests on; absent where nothing was certified.
    pub claim: Option<WholeClaim>,
}

impl Certified {
    fn nothing() -> Self {
        Self { upper: f64::INFINITY, failure_probability: 0.0, claim: None }
    }

    /// Keeps the smaller constant, and counts both failures.
    fn or(self, other: Self) -> Self {
        let failure_probability = rounding::add_up(self.failure_probability, other.failure_probability);
        Self { failure_probability, ..if self.upper <= other.upper { self } else { other } }
    }
}

/// What is no number is no norm: it must not become one on the way.
fn number_or_infinite(x: f64) -> f64 {
    if x.is_nan() { f64::INFINITY } else { x }
}

/// The constant that follows from `norm(K) <= sigma`, rounded up. Without units that take part `K` is the network's own
/// matrix, scaled.
fn bound(kappa: f64, sigma: f64, height: Option<usize>) -> f64 {
    let sigma = number_or_infinite(sigma);
    match height {
        None => rounding::mul_up(kappa, sigma),
        Some(height) => (0..height).fold(kappa, |kappa, _| rounding::mul_up(kappa, sigma.max(1.0))),
    }
}

/// Where the norm must lie if no unit takes part: with units, `max(1, sigma)` counts, but an affine network's own norm
/// counts whatever it is, and rounding bounds cover underflow only where it is not tiny.
const NEAR_ONE: std::ops::RangeInclusive<f64> = 1e-9..=1e9;

/// The units that take part, and the height of the theorem if there are any.
fn participants(increments: &Increments, ws: &mut Workspace) -> (Vec<bool>, Option<usize>) {
    let takes_part = increments.reaching(ws);
    let height = takes_part.contains(&true).then(|| increments.height());
    (takes_part, height)
}

/// The theorem with one set of weights.
struct Attempt<'a> {
    increments: &'a Increments,
    height: Option<usize>,
    kappa: f64,
    /// Of all units; absent for those that take no part.
    weights: Vec<Option<f64>>,
}

/// What came of an attempt.
struct Outcome {
    certified: Certified,
    /// The norm's own upper end; no number where the operator leaves the range of numbers.
    norm: f64,
    /// Whether the operator is so small that its norm is exact.
    formed: bool,
}

impl Attempt<'_> {
    /// The constant, with the norm's upper end taken `room` times larger.
    fn certify(
        self,
        room: f64,
        options: &NormOptions,
        monitor: &dyn BoundMonitor,
        ws: &mut Workspace,
    ) -> Result<Outcome, BoundError> {
        let Some(operator) = Scaled::new(self.increments, self.kappa, &self.weights, ws) else {
            return Ok(Outcome { certified: Certified::nothing(), norm: f64::NAN, formed: false });
        };
        let norm = norm_bracket(&operator, &of_operator(&operator, options), monitor, ws)?;
        let sigma = number_or_infinite(if room == 1.0 { norm.upper } else { rounding::mul_up(norm.upper, room) });
        let sigma = if self.height.is_some() { sigma.max(1.0) } else { sigma };
        let upper = bound(operator.kappa(), sigma, self.height);
        let claim = WholeClaim {
            kappa: self.kappa,
            weights: self.weights.into_iter().flatten().collect(),
            height: self.height.unwrap_or(1),
            sigma,
            bound: upper,
        };
        let failure_probability = norm.failure_probability;
        let certified = if self.height.is_none() && !NEAR_ONE.contains(&sigma) {
            Certified { failure_probability, ..Certified::nothing() }
        } else {
            Certified { upper, failure_probability, claim: Some(claim) }
        };
        Ok(Outcome { certified, norm: norm.upper, formed: is_formed(&operator) })
    }
}

/// Certifies the constant from the input to the last source of `increments`.
///
/// `options.failure_probability` is for the whole of it. `memory` holds an earlier search to start from, and then this
/// one. Norms are taken `room` times larger than they are found to be.
pub(crate) fn certify(
    increments: &Increments,
    plan: &Plan,
    room: f64,
    options: &NormOptions,
    memory: &mut Option<Search>,
    monitor: &dyn BoundMonitor,
    ws: &mut Workspace,
) -> Result<Certified, BoundError> {
    let (takes_part, height) = participants(increments, ws);
    let Some(levels) = height else {
        // The network is affine over the ball: its constant is a norm.
        let attempt = |kappa| Attempt { increments, height, kappa, weights: vec![None; increments.units.len()] };
        let options = NormOptions { failure_probability: options.failure_probability / 2.0, ..*options };
        let first = attempt(1.0).certify(room, &options, monitor, ws)?;
        if NEAR_ONE.contains(&first.norm) || !(f64::MIN_POSITIVE..=f64::MAX).contains(&first.norm) {
            return Ok(first.certified);
        }
        // Far from one, numbers near the ends of their range would decide.
        let options = NormOptions { stream: options.stream + 1, ..options };
        let kappa = rounding::power_of_two_near(first.norm);
        return Ok(first.certified.or(attempt(kappa).certify(room, &options, monitor, ws)?.certified));
    };
    let mut found = weights::search(increments, plan.effort, options.seed, memory.as_ref(), monitor, ws)?;

    let mut best = Certified::nothing();
    let mut slack = 1.0 + plan.tolerance;
    // One norm more than slacks: that of the search which goes on.
    let norms = plan.tries + 1;
    for k in 0..norms {
        let lambda = clamped(&found.lambda, &takes_part);
        let weights = graded(&lambda, &takes_part, increments, slack, levels);
        let attempt = Attempt { increments, height, kappa: found.value * slack, weights };
        let options = NormOptions {
            failure_probability: options.failure_probability / norms as f64,
            tolerance: plan.tolerance,
            enough: 1.0,
            stream: options.stream + k as u64,
            ..*options
        };
        let Outcome { certified, norm, formed } = attempt.certify(room, &options, monitor, ws)?;
        best = best.or(certified);
        // A larger slack cannot beat a contraction, and nothing near helps weights that are far off.
        if norm.is_nan() || norm <= 1.0 || norm > 1.5 {
            break;
        }
        // The value converges faster than the weights, whose errors it feels squared only: the search goes on where it
        // came to rest early and much is lost, or where the operator is small, and so are steps.
        let steps = if formed {
            4 * plan.effort.steps
        } else if best.upper > MUCH_LOST * found.value {
            plan.effort.steps.saturating_sub(found.steps)
        } else {
            0
        };
        if k == 0 && steps > 0 {
            let effort = Effort { tolerance: plan.effort.tolerance * FINER, steps, ..plan.effort };
            found = weights::search(increments, effort, options.seed, Some(&found), monitor, ws)?;
        } else {
            slack *= norm.powi(SLACK_PER_NORM);
        }
    }
    *memory = Some(found);
    Ok(best)
}

/// What a certificate may exceed the search's value by before the search goes on.
const MUCH_LOST: f64 = 1.02;

/// The tolerance of a search that goes on, relative to the first one.
const FINER: f64 = 1e-2;

/// The constant that a claim states, if it is right.
///
/// # Errors
/// [`BoundError::Refused`] if it is not, or if that cannot be proved.
pub(crate) fn verify(
    increments: &Increments,
    claim: &WholeClaim,
    options: &NormOptions,
    monitor: &dyn BoundMonitor,
    ws: &mut Workspace,
) -> Result<Certified, BoundError> {
    let refuse = |reason: String| Err(BoundError::Refused(reason));
    let (takes_part, height) = participants(increments, ws);
    let count = takes_part.iter().filter(|&&t| t).count();
    if claim.weights.len() != count {
        return refuse(format!("needs a weight for each of {count} units, but has {}", claim.weights.len()));
    }
    if claim.height != height.unwrap_or(1) {
        return refuse(format!("states a height of {}, but has {}", claim.height, height.unwrap_or(1)));
    }
    // What is no norm at all, or no bound, is dealt with below.
    if height.is_none() && (0.0..f64::INFINITY).contains(&claim.sigma) && !NEAR_ONE.contains(&claim.sigma) {
        return refuse(format!(
            "states a norm of {:?}, which must be from 1e-9 to 1e9 where no unit is uncertain: kappa is too far from the bound",
            claim.sigma
        ));
    }
    let positive = |x: f64| x.is_finite() && x > 0.0;
    if !positive(claim.kappa) {
        return refuse(format!("states a kappa of {:?}, which must be positive", claim.kappa));
    }
    if let Some(i) = claim.weights.iter().position(|&w| !positive(w)) {
        return refuse(format!("states a weight {i} of {:?}, which must be positive", claim.weights[i]));
    }
    let mut given = claim.weights.iter();
    let weights: Vec<Option<f64>> = takes_part.iter().map(|&t| if t { given.next().copied() } else { None }).collect();
    let Some(operator) = Scaled::new(increments, claim.kappa, &weights, ws) else {
        return refuse("has weights with which the operator leaves the range of numbers".into());
    };
    let norm = norm_at_most(&operator, claim.sigma, &of_operator(&operator, options), monitor, ws)?;
    let upper = bound(operator.kappa(), norm.upper, height);
    if upper <= claim.bound {
        Ok(Certified { upper: claim.bound, failure_probability: norm.failure_probability, claim: None })
    } else {
        refuse(format!("states a bound of {:?}, but only {upper:?} follows", claim.bound))
    }
}

/// About how many times the slack must grow by the factor that the norm shall shrink by: the slack is spread over the
/// levels, and each block of the operator sees only its share.
const SLACK_PER_NORM: i32 = 4;

/// Work (multiply-adds) up to which the operator is formed and its norm is exact.
pub(crate) const FORMED: f64 = 5e8;

fn is_formed(operator: &Scaled<'_>) -> bool {
    let (short, long) = (operator.rows().min(operator.cols()) as f64, operator.rows().max(operator.cols()) as f64);
    short * (0.5 * short * (long + short) + operator.multiply_adds() as f64) <= FORMED
}

/// How the norm is taken: exact and deterministic where the operator is small, by Lanczos elsewhere.
fn of_operator(operator: &Scaled<'_>, options: &NormOptions) -> NormOptions {
    let guarantee = match options.guarantee {
        GuaranteeRequest::Auto if is_formed(operator) => GuaranteeRequest::Deterministic,
        asked => asked,
    };
    NormOptions { guarantee, ..*options }
}

/// Ratios of tiny numbers are clamped around the median of those that take part.
fn clamped(lambda: &[f64], takes_part: &[bool]) -> Vec<f64> {
    let mut sorted: Vec<f64> =
        lambda.iter().zip(takes_part).filter(|(l, t)| **t && l.is_finite() && **l > 0.0).map(|(l, _)| *l).collect();
    sorted.sort_by(f64::total_cmp);
    let median = sorted.get(sorted.len() / 2).copied().unwrap_or(1.0);
    lambda.iter().map(|&l| if l.is_nan() { median } else { l.clamp(median * 1e-9, median * 1e9) }).collect()
}

/// `w = sqrt(lambda)` times a factor that falls with the level from the slack to one.
fn graded(lambda: &[f64], takes_part: &[bool], increments: &Increments, slack: f64, height: usize) -> Vec<Option<f64>> {
    lambda
        .iter()
        .zip(takes_part)
        .zip(&increments.units)
        .map(|((&lambda, &takes_part), unit)| {
            takes_part.then(|| {
                let below = (height - unit.level) as f64 / height as f64;
                lambda.sqrt() * slack.powf(below)
            })
        })
        .collect()
}

#[cfg(test)]
mod tests;
