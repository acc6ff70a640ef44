//! The norm of an operator as a bracket with a guarantee.

use std::{
    fmt,
    time::{Duration, Instant},
};

use lipbound_kernels::pool::Threads;
use lipbound_operators::{LinearOperator, Workspace, rounding};

use crate::{
    Cancelled, Context, Monitor, Stop,
    caps::Caps,
    fourier,
    gram::{self, Support},
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
    /// Collatz-Wielandt iteration on the absolute operator.
    CollatzWielandt,
    /// The symbol of a convolution at the frequencies of a grid.
    Fourier,
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
    /// The upper end stopped coming down: rounding keeps the ends apart.
    Stalled,
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
    /// Stop too as soon as the upper end is at or below this; zero for never.
    pub enough: f64,
    /// Probability with which a probabilistic upper end may be wrong.
    pub failure_probability: f64,
    /// Most Lanczos steps, over all starts; each start makes one at least.
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
            enough: 0.0,
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
            return fail("failureProbability", format!("must be from 1e-30 to 0.5, got {}", self.failure_probability));
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
    /// The root of a count: how often an element is chosen, or in how many windows it is.
    #[must_use]
    pub fn root_of(count: usize) -> Self {
        // Roots of square numbers are exact. Not every root whose rounded square is the count is one.
        let root = count.isqrt();
        if root * root == count {
            Self::known(root as f64, root as f64)
        } else {
            Self::known(rounding::sqrt_down(count as f64), rounding::sqrt_up(count as f64))
        }
    }

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

/// Caps between which norms are iterated: outside, squares come near the ends of f64 and the cap stands alone.
const ITERATED: std::ops::RangeInclusive<f64> = 1e-140..=1e140;
/// Gram work (multiply-adds) below which a deterministic bracket is cheap.
pub(crate) const CHEAP_GRAM_WORK: f64 = 1.5e7;
/// Gram work up to which an exact bracket is preferred to bounds, when a deterministic one is asked for.
const QUICK_GRAM_WORK: f64 = 1e10;
/// Most multiply-adds of a direct method: about a minute on two cores.
const MOST_WORK: f64 = 2e12;
/// Multiply-adds from which threads are worth their start.
const THREADED_WORK: f64 = 1e9;
/// Multiply-adds a second and thread that a time limit counts on.
const SPEED: f64 = 1e10;
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
    let support = Support::of(operator);
    if support.is_empty() {
        return Ok(NormBracket::known(0.0, 0.0));
    }
    if let Some(selection) = operator.selection() {
        return Ok(NormBracket::root_of(selection.most_chosen()));
    }
    let caps = Caps::new(operator, ws);
    if caps.cap == 0.0 {
        return Ok(NormBracket::known(0.0, 0.0));
    }
    let deadline = options.time_limit.map(|limit| Instant::now() + limit);
    let mut this = Search { operator, options, monitor, deadline, support, caps, ws };
    if !ITERATED.contains(&this.caps.cap) {
        return Ok(this.capped(Termination::Direct));
    }
    match options.guarantee {
        GuaranteeRequest::Auto if this.gram_work() <= CHEAP_GRAM_WORK => match this.by_gram()? {
            Some(norm) => Ok(norm),
            None => this.by_lanczos(true),
        },
        GuaranteeRequest::Auto | GuaranteeRequest::Probabilistic => this.by_lanczos(true),
        GuaranteeRequest::Deterministic => this.deterministic(),
    }
}

/// One norm, and what has been learnt of it.
struct Search<'a> {
    operator: &'a dyn LinearOperator,
    options: &'a NormOptions,
    monitor: &'a dyn Monitor,
    deadline: Option<Instant>,
    support: Support,
    caps: Caps,
    ws: &'a mut Workspace,
}

/// Nothing, if there was no time for it.
fn unless_late<T>(result: Result<T, Stop>) -> Result<Option<T>, Cancelled> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Stop::TimeLimit) => Ok(None),
        Err(Stop::Cancelled) => Err(Cancelled),
    }
}

impl Search<'_> {
    fn capped(&self, termination: Termination) -> NormBracket {
        NormBracket { upper: self.caps.cap, termination, method: self.caps.method, ..NormBracket::known(0.0, 0.0) }
    }

    /// Multiply-adds of [`Self::by_gram`], infinite where memory would not suffice.
    fn gram_work(&self) -> f64 {
        if self.support.fits() { self.support.predicted_work(self.operator) } else { f64::INFINITY }
    }

    /// Threads for so many multiply-adds.
    fn threads_for(&self, work: f64) -> Threads {
        if work < THREADED_WORK { Threads::serial() } else { self.ws.threads().clone() }
    }

    fn is_affordable(&self, work: f64) -> bool {
        work <= MOST_WORK
            && self.deadline.is_none_or(|deadline| {
                work / (SPEED * self.threads_for(work).count() as f64)
                    <= deadline.saturating_duration_since(Instant::now()).as_secs_f64()
            })
    }

    fn by_gram(&mut self) -> Result<Option<NormBracket>, Cancelled> {
        let threads = self.threads_for(self.gram_work());
        let context = Context { threads: &threads, monitor: self.monitor, deadline: self.deadline };
        let verified = gram::verified_norm(self.operator, &self.support, self.caps.abs_norm, &context, self.ws);
        let Some(verified) = unless_late(verified)?.flatten() else { return Ok(None) };
        let capped = self.capped(Termination::Direct);
        // Both are certain. A lower end above the cap would show that something is not as it should be.
        debug_assert!(verified.lower <= capped.upper, "{verified:?} beside {capped:?}");
        let (upper, method) = if verified.upper <= capped.upper || verified.lower > capped.upper {
            (verified.upper, Method::Cholesky)
        } else {
            (capped.upper, capped.method)
        };
        Ok(Some(NormBracket { lower: verified.lower.min(upper), upper, steps: verified.steps, method, ..capped }))
    }

    /// The least of the deterministic upper ends. Exact ones at once where they are quick; else bounds first, and exact
    /// ones if these leave a gap.
    fn deterministic(&mut self) -> Result<NormBracket, Cancelled> {
        let gram_work = self.gram_work();
        if gram_work <= QUICK_GRAM_WORK
            && self.is_affordable(gram_work)
            && let Some(norm) = self.by_gram()?
        {
            return Ok(norm);
        }
        if self.caps.cap > self.options.enough {
            self.improve_caps()?;
        }
        let norm = self.by_lanczos(false)?;
        if norm.termination == Termination::Converged || !self.is_affordable(gram_work) {
            return Ok(norm);
        }
        let Some(exact) = self.by_gram()? else { return Ok(norm) };
        Ok(NormBracket {
            lower: exact.lower.max(norm.lower).min(exact.upper),
            steps: exact.steps + norm.steps,
            ..exact
        })
    }

    /// Collatz-Wielandt and, for a convolution, its symbol.
    fn improve_caps(&mut self) -> Result<(), Cancelled> {
        let serial = Threads::serial();
        let context = Context { threads: &serial, monitor: self.monitor, deadline: self.deadline };
        unless_late(self.caps.refine(self.operator, &context, self.ws))?;
        let Some(conv) = self.operator.convolution() else { return Ok(()) };
        let Some(plan) = fourier::Plan::new(conv.shape, self.options.tolerance, MOST_WORK) else { return Ok(()) };
        if !self.is_affordable(plan.predicted_work()) {
            return Ok(());
        }
        let threads = self.threads_for(plan.predicted_work());
        let context = Context { threads: &threads, ..context };
        if let Some(Some(bound)) = unless_late(fourier::upper_bound(&conv, &plan, &context))?
            && bound < self.caps.cap
        {
            (self.caps.cap, self.caps.method) = (bound, Method::Fourier);
        }
        Ok(())
    }

    /// Lanczos: both ends, or the lower one alone under the cap.
    fn by_lanczos(&mut self, both: bool) -> Result<NormBracket, Cancelled> {
        let (operator, options, caps) = (self.operator, self.options, self.caps);
        let mut active = vec![false; operator.cols()];
        self.support.cols().iter().for_each(|&j| active[j] = true);
        let count = self.support.cols().len();
        let max_steps = if both { options.max_steps } else { options.max_steps.min(LOWER_END_STEPS) };
        let phi = lanczos::step_rounding(operator, caps.abs_norm);
        // Without an upper end of its own the process needs no luck: an overlap of zero proves nothing above.
        let (starts, overlap) = if both {
            // A vector of its own: the number of starts must not depend on the luck of the starts.
            let vector = start::gaussian(&active, options.seed, options.stream * 4 + 3);
            let norm = lanczos::estimate(operator, &vector, self.ws);
            let starts = lanczos::starts_needed(count, options.failure_probability, phi / norm);
            (starts, start::unlucky_overlap(count, options.failure_probability.powf(1.0 / starts as f64)))
        } else {
            (1, 0.0)
        };
        let mut result = NormBracket { upper: 0.0, ..self.capped(Termination::Converged) };
        for k in 0..starts {
            // What is left of steps and time is shared by the starts to come: the upper end needs them all.
            let share = (starts - k) as u32;
            let limits = Limits {
                tolerance: options.tolerance,
                enough: options.enough,
                max_steps: ((max_steps - result.steps.min(max_steps)) / share as usize).max(1),
                deadline: self.deadline.map(|deadline| {
                    let now = Instant::now();
                    now + deadline.saturating_duration_since(now) / share
                }),
            };
            let vector = start::gaussian(&active, options.seed, options.stream * 4 + k as u64);
            let ends = (result.lower, caps.cap);
            let run = lanczos::run(operator, vector, overlap, phi, ends, &limits, result.steps, self.monitor, self.ws)?;
            result.steps += run.steps;
            result.lower = run.lower.max(result.lower);
            result.upper = run.upper.max(result.upper);
            if run.termination != Termination::Converged {
                result.termination = run.termination;
            }
        }
        if result.upper < caps.cap {
            result.guarantee = Guarantee::Probabilistic;
            result.failure_probability = options.failure_probability;
            result.method = Method::Lanczos;
        }
        // A lower end is certain. Above the upper end it shows an unlucky start, and the cap is what is left.
        if result.lower > result.upper {
            result = NormBracket { lower: result.lower, steps: result.steps, ..self.capped(result.termination) };
        }
        debug_assert!(result.lower <= result.upper, "{result:?}");
        if result.lower > result.upper {
            // Two certain ends that contradict each other: nothing is known of the norm.
            result.upper = f64::INFINITY;
        }
        Ok(result)
    }
}

#[cfg(test)]
mod tests;
