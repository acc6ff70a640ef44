//! Good weights for the certificate, without a solver for semidefinite programs.
//!
//! The best weights solve the diagonal-multiplier program (LipSDP's relaxation with local slopes; Fazlyab et al., *Efficient
//! and accurate estimation of Lipschitz constants for deep neural networks*, NeurIPS 2019). Burer and Monteiro's low-rank
//! form of its dual is a power iteration on a few vectors at once: every error is aligned with the adjoint at its unit,
//! and its price is fed back to the unit's pre-activation. The value converges to the optimum from below. Nothing here
//! is certified and nothing needs to be: bad weights make a loose certificate, never a wrong one.

use lipbound_operators::{Workspace, rounding};
use lipbound_spectral::{Cancelled, start};

use crate::{
    BoundMonitor,
    increments::{Arithmetic, Bundle, Increments},
};

/// How long and how wide to search.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Effort {
    /// Vectors at once.
    pub rank: usize,
    /// Most steps.
    pub steps: usize,
    /// Relative change of the value over four steps below which the search ends.
    pub tolerance: f64,
}

/// Where a search begins and ends.
#[derive(Clone, Debug, Default)]
pub(crate) struct Search {
    /// The bundle at the input.
    pub input: Bundle,
    /// The adjoint at each unit, `rank` numbers each.
    pub adjoint: Vec<f64>,
    /// The value reached: a lower estimate of the best certificate.
    pub value: f64,
    /// `lambda_u = norm(g_u) / (delta_u norm(v_u))`, the squares of the weights.
    pub lambda: Vec<f64>,
    /// Steps taken.
    pub steps: usize,
}

fn norm(values: &[f64]) -> f64 {
    values.iter().map(|v| v * v).sum::<f64>().sqrt()
}

fn bundle_norm(bundle: &Bundle) -> f64 {
    bundle.iter().map(|v| rounding::sum_of_squares(v, 1.0)).sum::<f64>().sqrt()
}

/// Searches for weights of the units of `increments`; `from` may hold an earlier search of a similar network.
pub(crate) fn search(
    increments: &Increments,
    effort: Effort,
    seed: u64,
    from: Option<&Search>,
    monitor: &dyn BoundMonitor,
    ws: &mut Workspace,
) -> Result<Search, Cancelled> {
    let (rank, units) = (effort.rank, increments.units.len());
    let fresh = |len: usize, stream: u64| start::gaussian(&vec![true; len], seed, stream);
    let mut input: Bundle = match from {
        Some(search) if search.input.len() == rank && search.input[0].len() == increments.inputs => {
            search.input.clone()
        }
        _ => (0..rank).map(|k| fresh(increments.inputs, u64::MAX - 1 - k as u64)).collect(),
    };
    // Random adjoints of the size of one; an earlier search of the same units knows better.
    let mut g: Vec<f64> = match from {
        Some(search) if search.adjoint.len() == units * rank => search.adjoint.clone(),
        _ => fresh(units * rank, u64::MAX - 100),
    };
    let mut v = vec![0.0; units * rank];
    let mut value = 0.0;
    let mut history: Vec<f64> = Vec::with_capacity(effort.steps);
    for _ in 0..effort.steps {
        if monitor.cancelled() {
            return Err(Cancelled);
        }
        let size = bundle_norm(&input);
        if !(size > 0.0 && size.is_finite()) {
            break;
        }
        input.iter_mut().flatten().for_each(|x| *x /= size);

        let output = increments.forward(
            copy(&input, ws),
            Arithmetic::Signed,
            &mut |unit, at| {
                let range = unit * rank..(unit + 1) * rank;
                v[range.clone()].copy_from_slice(at);
                align(at, &g[range], increments.units[unit].delta);
            },
            ws,
        );
        value = bundle_norm(&output);
        let back = increments.backward(
            output,
            Arithmetic::Signed,
            &mut |unit, at| {
                let range = unit * rank..(unit + 1) * rank;
                g[range.clone()].copy_from_slice(at);
                align(at, &v[range], increments.units[unit].delta);
            },
            ws,
        );
        std::mem::replace(&mut input, back).into_iter().for_each(|old| ws.give(old));
        history.push(value);
        if let Some(&earlier) = history.len().checked_sub(5).and_then(|i| history.get(i))
            && (value - earlier).abs() <= effort.tolerance * value
        {
            break;
        }
    }
    let lambda = (0..units)
        .map(|unit| {
            let range = unit * rank..(unit + 1) * rank;
            norm(&g[range.clone()]) / (increments.units[unit].delta * norm(&v[range]))
        })
        .collect();
    // A search is kept; buffers of the workspace may be longer than they look.
    let kept = input.iter().map(|vector| vector.to_vec()).collect();
    input.into_iter().for_each(|vector| ws.give(vector));
    Ok(Search { input: kept, adjoint: g, value, lambda, steps: history.len() })
}

/// Replaces `at` by `delta norm(at)` in the direction of `towards`.
fn align(at: &mut [f64], towards: &[f64], delta: f64) {
    let (size, direction) = (norm(at), norm(towards));
    if direction > 0.0 {
        at.iter_mut().zip(towards).for_each(|(a, t)| *a = delta * size * t / direction);
    } else {
        at.fill(0.0);
    }
}

fn copy(bundle: &Bundle, ws: &mut Workspace) -> Bundle {
    bundle
        .iter()
        .map(|vector| {
            let mut copy = ws.take(vector.len());
            copy.copy_from_slice(vector);
            copy
        })
        .collect()
}
