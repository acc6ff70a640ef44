//! Whether a norm is at most what is claimed.

use std::cell::Cell;

use lipbound_operators::{LinearOperator, Workspace, rounding};
use lipbound_spectral::{Cancelled, GuaranteeRequest, Monitor, NormBracket, NormOptions, NormProgress, norm_bracket};

use crate::BoundError;

/// One way to decide a claim.
struct Attempt {
    guarantee: GuaranteeRequest,
    /// Its part of the failure probability.
    share: f64,
    tolerance: f64,
}

/// What is tried, one after the other, until the claim is decided.
fn attempts(asked: GuaranteeRequest) -> Vec<Attempt> {
    let deterministic = |tolerance| Attempt { guarantee: GuaranteeRequest::Deterministic, share: 0.0, tolerance };
    let until_decided = |share| Attempt { guarantee: asked, share, tolerance: 1e-9 };
    match asked {
        // Some of these proofs depend on the tolerance (the grid of a convolution's symbol), so that one which was found
        // with one tolerance may not be found with another.
        GuaranteeRequest::Deterministic => vec![deterministic(4e-3), deterministic(1e-4), deterministic(1e-6)],
        // A single start assumes so small an overlap that rounding may keep the upper end as far above the norm as the
        // claim is. A smaller probability makes it several starts with larger overlaps: (L7) of docs/soundness.md. And
        // what has few columns has few steps, whatever the starts: luck decides how narrow the bracket becomes.
        GuaranteeRequest::Auto | GuaranteeRequest::Probabilistic => {
            vec![until_decided(0.5), until_decided(1e-7), deterministic(1e-6)]
        }
    }
}

/// Stops as soon as a lower end is above the claim.
struct Watch<'a> {
    monitor: &'a dyn Monitor,
    claim: f64,
    /// A lower end above the claim.
    disproof: Cell<Option<f64>>,
}

impl Monitor for Watch<'_> {
    fn cancelled(&self) -> bool {
        self.disproof.get().is_some() || self.monitor.cancelled()
    }

    fn norm_progress(&self, progress: NormProgress) {
        if progress.lower > self.claim {
            self.disproof.set(Some(progress.lower));
        }
        self.monitor.norm_progress(progress);
    }
}

/// A bracket whose upper end is `claim`, which the operator's norm does not exceed.
///
/// # Errors
/// [`BoundError::Refused`] if it does, or if that cannot be excluded.
pub(crate) fn norm_at_most(
    operator: &dyn LinearOperator,
    claim: f64,
    options: &NormOptions,
    monitor: &dyn Monitor,
    ws: &mut Workspace,
) -> Result<NormBracket, BoundError> {
    if claim.is_nan() || claim < 0.0 {
        return Err(BoundError::Refused(format!("is claimed to be at most {claim}, which no norm can be")));
    }
    if claim == f64::INFINITY {
        return Ok(NormBracket::known(0.0, claim));
    }
    let disproved =
        |lower: f64| BoundError::Refused(format!("is claimed to be at most {claim:?}, but it is at least {lower:?}"));
    let (mut least, mut failure_probability) = (f64::INFINITY, 0.0);
    for Attempt { guarantee, share, tolerance } in attempts(options.guarantee) {
        let watch = Watch { monitor, claim, disproof: Cell::new(None) };
        let options = NormOptions {
            guarantee,
            failure_probability: share * options.failure_probability,
            tolerance,
            enough: claim,
            ..*options
        };
        let norm = match norm_bracket(operator, &options, &watch, ws) {
            Ok(norm) => norm,
            Err(Cancelled) => return Err(watch.disproof.get().map_or(BoundError::Cancelled, disproved)),
        };
        // A wrong claim passes if any of the attempts fails.
        failure_probability = rounding::add_up(failure_probability, norm.failure_probability);
        if norm.upper <= claim {
            return Ok(NormBracket { lower: norm.lower.min(claim), upper: claim, failure_probability, ..norm });
        }
        if norm.lower > claim {
            return Err(disproved(norm.lower));
        }
        least = least.min(norm.upper);
    }
    Err(BoundError::Refused(format!(
        "is claimed to be at most {claim:?}, but no more could be proved than that it is at most {least:?}"
    )))
}
