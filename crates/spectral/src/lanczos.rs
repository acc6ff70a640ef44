//! Golub-Kahan-Lanczos bidiagonalisation with a random start.
//!
//! ```text
//!     alpha_j u_j     = A v_j   - beta_{j-1} u_{j-1}
//!     beta_j  v_{j+1} = A^T u_j - alpha_j    v_j
//! ```
//!
//! Three vectors, no reorthogonalisation (it changed no digit of either end in f64). The vectors are kept unscaled and
//! their norms are divided out in the next half step, so that a half step is one pass over the data.

use std::time::Instant;

use lipbound_operators::{LinearOperator, Workspace, rounding};

use crate::{Cancelled, Monitor, NormProgress, Termination, start, tridiagonal::Tridiagonal};

/// When to stop a run.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Relative gap `(upper - lower) / upper` at which the run has converged.
    pub tolerance: f64,
    /// An upper end at or below this is good enough, however wide the bracket.
    pub enough: f64,
    /// Most steps (a step is one product with `A` and one with `A^T`).
    pub max_steps: usize,
    /// Point in time after which no step is begun.
    pub deadline: Option<Instant>,
}

/// What one run found.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Run {
    /// Lower end, deterministic.
    pub lower: f64,
    /// Upper end, wrong with at most the stated probability.
    pub upper: f64,
    /// Steps done.
    pub steps: usize,
    /// Why the run ended.
    pub termination: Termination,
}

/// The bound of `|e_m|` (see [`crate::tridiagonal`]; docs/soundness.md, (L1)): a product with `A` or its adjoint is off by at most
/// `gamma_n norm(|A|)`, and the handful of scalings, the difference and the coefficients by a few roundings of numbers
/// that are at most the norm each.
#[must_use]
pub fn step_rounding(operator: &dyn LinearOperator, abs_norm: f64) -> f64 {
    rounding::mul_up(rounding::gamma(operator.rounding_length() + 16), abs_norm) * 1.01
}

/// How far the norm of a computed Lanczos vector can exceed one; (L2).
#[must_use]
pub fn norm_rounding(operator: &dyn LinearOperator) -> f64 {
    rounding::gamma(operator.norm_roundings() + 8)
}

/// Runs the process from `start_vector` (any length, zero where the operator has no active column) until `limits`.
///
/// `overlap` is the `delta` with which `|<x, v_1>| >= delta` is assumed, `phi` the
/// [`step_rounding`], `cap` a deterministic upper bound of the norm,
/// `floor` a deterministic lower bound.
///
/// # Errors
/// [`Cancelled`] when the monitor says so.
#[expect(clippy::too_many_arguments, reason = "one internal caller; a struct would only rename them")]
pub fn run(
    operator: &dyn LinearOperator,
    start_vector: Vec<f64>,
    overlap: f64,
    phi: f64,
    (floor, cap): (f64, f64),
    limits: &Limits,
    steps_before: usize,
    monitor: &dyn Monitor,
    ws: &mut Workspace,
) -> Result<Run, Cancelled> {
    let mut t = Tridiagonal::new(phi, norm_rounding(operator));
    let mut result = Run { lower: floor, upper: cap, steps: 0, termination: Termination::StepLimit };
    let mut ritz = 0.0;

    let mut v = start_vector;
    let mut u = ws.take(operator.rows());
    let mut v_norm = rounding::sum_of_squares(&v, 1.0).sqrt();
    let (mut u_scale, mut beta) = (0.0, 0.0);
    let mut next_check = 3;
    // Where the upper end last came down by a part that matters.
    let mut progress = (0, f64::INFINITY);

    while result.steps < limits.max_steps {
        if monitor.cancelled() {
            return Err(Cancelled);
        }
        if limits.deadline.is_some_and(|deadline| Instant::now() >= deadline) {
            result.termination = Termination::TimeLimit;
            break;
        }
        let v_scale = 1.0 / v_norm;
        let alpha = operator.recur(v_scale, &v, beta * u_scale, &mut u, ws).sqrt();
        t.push(alpha);
        result.steps += 1;
        let mut complete = is_breakdown(alpha, phi);
        if !complete {
            u_scale = 1.0 / alpha;
            beta = operator.recur_adjoint(u_scale, &u, alpha * v_scale, &mut v, ws).sqrt();
            t.push(beta);
            v_norm = beta;
            complete = is_breakdown(beta, phi);
        }

        if complete || result.steps >= next_check || result.steps == limits.max_steps {
            next_check = result.steps + (result.steps / 8).max(2);
            let precision = 0.01 * limits.tolerance.max(1e-11);
            ritz = t.ritz_lower(ritz, precision);
            if ritz > 0.0 {
                result.lower = result.lower.max(ritz * (2.0 - t.ritz_allowance(ritz)));
            }
            result.upper = t.upper(ritz.max(result.lower), result.upper, overlap, precision);
            monitor.norm_progress(NormProgress {
                steps: steps_before + result.steps,
                lower: result.lower,
                upper: result.upper,
            });
            if result.upper - result.lower <= limits.tolerance * result.upper || result.upper <= limits.enough {
                result.termination = Termination::Converged;
                break;
            }
            if result.upper < progress.1 * (1.0 - 0.1 * limits.tolerance) {
                progress = (result.steps, result.upper);
            } else if result.steps > 2 * progress.0 + 40 {
                result.termination = Termination::Stalled;
                break;
            }
        }
        if complete {
            result.termination = Termination::Complete;
            break;
        }
    }
    // The start vector is not the workspace's: it would grow by one in each run.
    ws.give(u);
    Ok(result)
}

/// A remainder that rounding alone could have made (or that is no number at all) has no direction worth following.
fn is_breakdown(norm: f64, phi: f64) -> bool {
    norm.is_nan() || norm.is_infinite() || norm <= phi.max(1e-140)
}

/// About the norm, from one step: `norm(A^T A v) / norm(A v)`.
#[must_use]
pub fn estimate(operator: &dyn LinearOperator, vector: &[f64], ws: &mut Workspace) -> f64 {
    let (mut image, mut back) = (ws.take(operator.rows()), ws.take(operator.cols()));
    let size = operator.recur(1.0, vector, 0.0, &mut image, ws).sqrt();
    let estimate = operator.recur_adjoint(1.0 / size, &image, 0.0, &mut back, ws).sqrt();
    ws.give(image);
    ws.give(back);
    estimate
}

/// The fewest independent starts for which rounding is small beside the overlap each of them assumes; (L7).
///
/// With `r` starts, each unlucky with probability `p^(1/r)`, the largest of the upper ends fails only if all are
/// unlucky: probability `p`. A single start has the smallest overlap `delta`; where rounding (`phi`) comes near it, two
/// cost little more, since the steps needed grow with `log(1/delta)`.
#[must_use]
pub fn starts_needed(active: usize, p: f64, phi_over_norm: f64) -> usize {
    (1..=3).find(|&r| start::unlucky_overlap(active, p.powf(1.0 / f64::from(r))) >= 200.0 * phi_over_norm).unwrap_or(3)
        as usize
}
