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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Quiet, example::Example};

    const EFFORT: Effort = Effort { rank: 4, steps: 300, tolerance: 1e-7 };

    fn searched(example: &Example, effort: Effort, from: Option<&Search>) -> Search {
        search(&example.increments(), effort, 5, from, &Quiet, &mut Workspace::new()).unwrap()
    }

    /// The same functions in other units.
    fn scaled(scale: f64) -> Example {
        let mut example = Example::new();
        example.maps[2].iter_mut().flatten().for_each(|a| *a *= scale);
        example
    }

    #[test]
    fn the_value_of_separate_channels_is_their_largest_constant() {
        for (factors, exact) in [
            (vec![vec![2.0], vec![-3.0]], 6.0),
            (vec![vec![2.0, 0.5], vec![0.5, 3.0], vec![2.0, 2.0]], 3.0),
            (vec![vec![1e-6, 1.0], vec![1e-3, 2.0]], 2.0),
        ] {
            let found = searched(&Example::channels(&factors), EFFORT, None);
            assert!((found.value / exact - 1.0).abs() < 1e-4, "{} for {exact}", found.value);
        }
    }

    /// The dual's value is at least what any input and any errors within their bounds attain, here those that are found by
    /// looking at many of them.
    #[test]
    fn the_value_is_not_below_what_errors_attain() {
        let example = Example::new();
        let found = searched(&example, EFFORT, None);
        let increments = example.increments();
        let mut best: f64 = 0.0;
        for seed in 0..400 {
            let mut dx = start::gaussian(&[true; 3], seed, 9);
            for _ in 0..30 {
                // Errors that go along with what reaches the output, one unit after the other.
                let mut e = vec![0.0; 6];
                for u in 0..6 {
                    let dv = example.product(&dx, &e).1[u];
                    let sizes = [1.0, -1.0].map(|sign| {
                        let mut e = e.clone();
                        e[u] = sign * increments.units[u].delta * dv;
                        (norm(&example.product(&dx, &e).0), e)
                    });
                    e = if sizes[0].0 > sizes[1].0 { sizes[0].1.clone() } else { sizes[1].1.clone() };
                }
                let ratio = norm(&example.product(&dx, &e).0) / norm(&dx);
                best = best.max(ratio);
                dx.iter_mut().zip(start::gaussian(&[true; 3], seed + 1000, 3)).for_each(|(x, g)| *x += 0.1 * g);
            }
        }
        assert!(found.value >= best * (1.0 - 1e-3) && found.value <= best * 1.3, "{} for {best}", found.value);
    }

    #[test]
    fn a_search_ends_when_its_value_does_not_change() {
        let quick = searched(&scaled(1.0), Effort { tolerance: 1e-2, ..EFFORT }, None);
        let fine = searched(&scaled(1.0), EFFORT, None);
        assert!(quick.steps >= 5 && quick.steps < fine.steps && fine.steps < 300, "{} {}", quick.steps, fine.steps);
        assert!((quick.value / fine.value - 1.0).abs() < 0.05);
        // In other units it takes the same steps.
        for scale in [1e-9, 1e9] {
            let other = searched(&scaled(scale), EFFORT, None);
            assert!(other.steps.abs_diff(fine.steps) <= 1, "{} {}", other.steps, fine.steps);
            assert!((other.value / scale / fine.value - 1.0).abs() < 1e-6);
        }
        assert_eq!(searched(&scaled(1.0), Effort { steps: 7, tolerance: 0.0, ..EFFORT }, None).steps, 7);
    }

    #[test]
    fn a_search_goes_on_from_an_earlier_one_of_the_same_network() {
        let done = searched(&Example::new(), EFFORT, None);
        let once = Effort { steps: 1, ..EFFORT };
        let again = searched(&Example::new(), once, Some(&done));
        assert!((again.value / done.value - 1.0).abs() < 1e-5, "{} after {}", again.value, done.value);
        assert!(searched(&Example::new(), once, None).value < done.value * 0.9, "one step finds little");
        // Another rank, another input, other units: what does not fit is begun anew.
        for other in [Example::channels(&vec![vec![1.0; 4]; 2]), Example::channels(&vec![vec![1.0; 3]; 2])] {
            for effort in [EFFORT, Effort { rank: 3, ..EFFORT }] {
                let found = searched(&other, effort, Some(&done));
                assert!((found.value - 1.0).abs() < 1e-4, "{}", found.value);
                let found = searched(&Example::new(), effort, Some(&searched(&other, EFFORT, None)));
                assert!((found.value / done.value - 1.0).abs() < 1e-4, "{}", found.value);
            }
        }
    }

    #[test]
    fn what_reaches_no_output_has_the_value_zero() {
        let mut example = Example::new();
        example.maps[2].iter_mut().flatten().for_each(|a| *a = 0.0);
        let found = searched(&example, EFFORT, None);
        assert_eq!((found.value, found.steps), (0.0, 1));
    }

    #[test]
    fn errors_are_aligned_with_the_adjoint() {
        let mut at = [3.0, 4.0];
        align(&mut at, &[0.0, -2.0], 0.5);
        assert_eq!(at, [0.0, -2.5]);
        let mut at = [3.0, 4.0];
        align(&mut at, &[0.0, 0.0], 0.5);
        assert_eq!(at, [0.0, 0.0]);
    }
}
