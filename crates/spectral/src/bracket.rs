//! The norm of an operator as a bracket with a guarantee.

use std::{
    fmt,
    time::{Duration, Instant},
};

use lipbound_operators::{LinearOperator, Workspace, rounding};

use crate::{
    Cancelled, Monitor, gram,
    lanczos::{self, Limits},
    start,
};

/// What kind of certainty an upper end has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Guarantee {
    /// Always right.
    Deterministic,
    /// Right but with at most the stated failure probability, over the seed of the start vector.
    Probabilistic,
}

/// What kind of certainty is asked for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum GuaranteeRequest {
    /// Deterministic where that is cheap, probabilistic elsewhere.
    #[default]
    Auto,
    /// Deterministic always, however loose.
    Deterministic,
    /// Probabilistic always (for comparison and tests).
    Probabilistic,
}

/// How an upper end was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    /// The norm follows from the structure exactly (zero operator, pooling constant, identity).
    Structure,
    /// Verified Cholesky factorisation of the Gram matrix.
    Cholesky,
    /// Golub-Kahan-Lanczos with a random start.
    Lanczos,
    /// The root of the sum of the squared row norms.
    Frobenius,
    /// `sqrt(norm_1 norm_inf)`.
    RowColumnSums,
}

/// Why a computation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Termination {
    /// The bracket is as narrow as was asked for.
    Converged,
    /// The step limit was reached; the bracket is valid, only wider.
    StepLimit,
    /// The time limit was reached; the bracket is valid, only wider.
    TimeLimit,
    /// The Krylov space is complete: further steps would add nothing.
    Complete,
    /// A direct method, nothing iterated.
    Direct,
}

/// How a norm shall be computed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormOptions {
    /// Relative gap `(upper - lower) / upper` at which to stop.
    pub tolerance: f64,
    /// Probability with which a probabilistic upper end may be wrong.
    pub failure_probability: f64,
    /// Most Lanczos steps of one run.
    pub max_steps: usize,
    /// Seed of the start vectors.
    pub seed: u64,
    /// Which of the start vectors of this seed: computations that share a seed take different streams.
    pub stream: u64,
    /// The guarantee asked for.
    pub guarantee: GuaranteeRequest,
    /// Most time of the whole norm.
    pub time_limit: Option<Duration>,
}

impl Default for NormOptions {
    fn default() -> Self {
        Self {
            tolerance: 4e-3,
            failure_probability: 1e-9,
            max_steps: 1000,
            seed: 0,
            stream: 0,
            guarantee: GuaranteeRequest::Auto,
            time_limit: None,
        }
    }
}

/// An option outside its range.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OptionsError {
    /// Name of the option.
    pub option: &'static str,
    message: String,
}

impl fmt::Display for OptionsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.option, self.message)
    }
}

impl std::error::Error for OptionsError {}

impl NormOptions {
    /// Checks every option.
    ///
    /// # Errors
    /// An [`OptionsError`] that names the option, its value and what is allowed.
    pub fn validate(&self) -> Result<(), OptionsError> {
        let fail = |option, message| Err(OptionsError { option, message });
        if !(self.tolerance > 0.0 && self.tolerance < 1.0) {
            return fail("tolerance", format!("must be above 0 and below 1, got {}", self.tolerance));
        }
        if !(self.failure_probability >= 1e-30 && self.failure_probability <= 0.5) {
            return fail(
                "failureProbability",
                format!("must be from 1e-30 to 0.5, got {}", self.failure_probability),
            );
        }
        if self.max_steps == 0 || self.max_steps > 1_000_000 {
            return fail("maxSteps", format!("must be from 1 to 1000000, got {}", self.max_steps));
        }
        Ok(())
    }
}

/// The norm of an operator: `lower <= norm <= upper`.
///
/// `lower` is always deterministic. `upper` is wrong with probability at most `failure_probability` (zero when the
/// guarantee is deterministic).
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct NormBracket {
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// Certainty of the upper end.
    pub guarantee: Guarantee,
    /// Probability that the upper end is wrong.
    pub failure_probability: f64,
    /// Steps done, over all runs.
    pub steps: usize,
    /// Why the computation ended.
    pub termination: Termination,
    /// What the upper end rests on.
    pub method: Method,
}

impl NormBracket {
    /// A norm known from structure, within `[lower, upper]`.
    #[must_use]
    pub fn known(lower: f64, upper: f64) -> Self {
        Self {
            lower,
            upper,
            guarantee: Guarantee::Deterministic,
            failure_probability: 0.0,
            steps: 0,
            termination: Termination::Direct,
            method: Method::Structure,
        }
    }
}

/// Gram work (multiply-adds) below which a deterministic bracket is cheap.
const CHEAP_GRAM_WORK: f64 = 1.5e7;
/// Smaller side up to which a deterministic bracket is formed when it is asked for.
const LARGEST_GRAM: usize = 4096;
/// Most elements of an operator that is formed.
const LARGEST_FORMED: usize = 1 << 27;
/// Multiply-adds of an operator for which two more products are nothing.
const CHEAP_PASS: usize = 1 << 22;
/// Steps spent on the lower end alone, where the upper end is a cap.
const LOWER_END_STEPS: usize = 40;

/// The bracket of the spectral norm of `operator`.
///
/// # Errors
/// [`Cancelled`] when the monitor says so.
pub fn norm_bracket(
    operator: &dyn LinearOperator,
    options: &NormOptions,
    monitor: &dyn Monitor,
    ws: &mut Workspace,
) -> Result<NormBracket, Cancelled> {
    if monitor.cancelled() {
        return Err(Cancelled);
    }
    let deadline = options.time_limit.map(|limit| Instant::now() + limit);
    let Caps { longest_row, abs_norm, cap, cap_method, active } = caps(operator, ws);
    if cap == 0.0 {
        return Ok(NormBracket::known(0.0, 0.0));
    }
    let capped = |termination, steps| NormBracket {
        lower: 0.0,
        upper: cap,
        guarantee: Guarantee::Deterministic,
        failure_probability: 0.0,
        steps,
        termination,
        method: cap_method,
    };

    let small = operator.rows().min(operator.cols()) <= LARGEST_GRAM
        && operator.rows().saturating_mul(operator.cols()) <= LARGEST_FORMED;
    let cheap = gram::predicted_work(operator) <= CHEAP_GRAM_WORK;
    let form = match options.guarantee {
        GuaranteeRequest::Auto => cheap,
        GuaranteeRequest::Deterministic => small,
        GuaranteeRequest::Probabilistic => false,
    };
    if form && let Some(verified) = gram::verified_norm(operator, abs_norm) {
        let (upper, method) =
            if verified.upper <= cap { (verified.upper, Method::Cholesky) } else { (cap, cap_method) };
        return Ok(NormBracket {
            lower: verified.lower.min(upper),
            upper,
            steps: verified.steps,
            method,
            ..capped(Termination::Direct, 0)
        });
    }

    let count = active.iter().filter(|&&a| a).count();
    let deterministic = options.guarantee == GuaranteeRequest::Deterministic;
    let max_steps = if deterministic { options.max_steps.min(LOWER_END_STEPS) } else { options.max_steps };
    let limits = Limits { tolerance: options.tolerance, max_steps, deadline };
    let phi = lanczos::step_rounding(operator, abs_norm);
    let starts = if deterministic {
        1
    } else {
        let rounding = phi / longest_row;
        lanczos::starts_needed(count, options.failure_probability, rounding)
    };
    // A deterministic request takes only the lower end from the process: an overlap of zero proves nothing above.
    let overlap = if deterministic {
        0.0
    } else {
        start::unlucky_overlap(count, options.failure_probability.powf(1.0 / starts as f64))
    };
    let mut result = NormBracket { upper: 0.0, ..capped(Termination::Converged, 0) };
    for k in 0..starts {
        let vector = start::gaussian(&active, options.seed, options.stream * 4 + k as u64);
        let run =
            lanczos::run(operator, vector, overlap, phi, (result.lower, cap), &limits, result.steps, monitor, ws)?;
        result.steps += run.steps;
        result.lower = run.lower.max(result.lower);
        result.upper = run.upper.max(result.upper);
        if run.termination != Termination::Converged {
            result.termination = run.termination;
        }
    }
    if result.upper < cap {
        result.guarantee = Guarantee::Probabilistic;
        result.failure_probability = options.failure_probability;
        result.method = Method::Lanczos;
    }
    result.lower = result.lower.min(result.upper);
    Ok(result)
}

struct Caps {
    /// The longest row: about a lower bound of the norm (it is rounded up, so nothing may rest on it).
    longest_row: f64,
    /// Upper bound of the norm of the absolute operator, which scales the rounding bounds.
    abs_norm: f64,
    cap: f64,
    cap_method: Method,
    active: Vec<bool>,
}

/// What the row norms and sums say, and which columns take part.
fn caps(operator: &dyn LinearOperator, ws: &mut Workspace) -> Caps {
    let mut norms = ws.take(operator.rows());
    operator.row_norms(None, &mut norms, ws);
    let frobenius = rounding::norm_up(&norms);
    let mut sums = operator.abs_norm();
    if operator.multiply_adds() <= CHEAP_PASS {
        sums = sums.min(abs_norm_by_passes(operator, ws));
    }
    let (cap, cap_method) =
        if frobenius <= sums { (frobenius, Method::Frobenius) } else { (sums, Method::RowColumnSums) };
    let longest_row = rounding::max_or_infinite(&norms);
    ws.give(norms);
    let mut active = vec![true; operator.cols()];
    operator.mark_active_cols(&mut active);
    Caps { longest_row, abs_norm: sums, cap, cap_method, active }
}

/// `norm(|A|) <= sqrt(norm(|A|^T |A| 1)_inf)` (Collatz-Wielandt with the vector of ones), which sees masks.
fn abs_norm_by_passes(operator: &dyn LinearOperator, ws: &mut Workspace) -> f64 {
    let (mut x, mut y) = (ws.take(operator.cols()), ws.take(operator.rows()));
    x.fill(1.0);
    operator.apply_abs(&x, &mut y, ws);
    operator.apply_abs_adjoint(&y, &mut x, ws);
    let bound = rounding::sqrt_up(rounding::max_or_infinite(&x));
    ws.give(x);
    ws.give(y);
    bound
}
