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
use lipbound_spectral::{GuaranteeRequest, NormBracket, NormOptions, norm_bracket};

use crate::{
    BoundError, BoundMonitor,
    increments::Increments,
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
#[derive(Clone, Copy, Debug)]
pub(crate) struct Certified {
    /// The Lipschitz constant is at most this.
    pub upper: f64,
    /// Probability that `upper` is wrong, over all norms that were taken.
    pub failure_probability: f64,
}

/// Certifies the constant from the input to the last source of `increments`.
///
/// `options.failure_probability` is for the whole of it. `memory` holds an earlier search to start from, and then this one.
pub(crate) fn certify(
    increments: &Increments,
    plan: &Plan,
    options: &NormOptions,
    memory: &mut Option<Search>,
    monitor: &dyn BoundMonitor,
    ws: &mut Workspace,
) -> Result<Certified, BoundError> {
    let takes_part = increments.reaching(ws);
    if !takes_part.iter().any(|&t| t) {
        // The network is affine over the ball: its constant is a norm.
        let none = vec![None; increments.units.len()];
        let Some(operator) = Scaled::new(increments, 1.0, &none, ws) else {
            return Ok(Certified { upper: f64::INFINITY, failure_probability: 0.0 });
        };
        let norm = norm_bracket(&operator, options, monitor, ws)?;
        return Ok(Certified { upper: norm.upper, failure_probability: norm.failure_probability });
    }
    let mut found = weights::search(increments, plan.effort, options.seed, memory.as_ref(), monitor, ws)?;

    let height = increments.height();
    let mut best = Certified { upper: f64::INFINITY, failure_probability: 0.0 };
    let mut slack = 1.0 + plan.tolerance;
    // One norm more than slacks: that of the search which goes on.
    let norms = plan.tries + 1;
    for k in 0..norms {
        let lambda = clamped(&found.lambda, &takes_part);
        let weights = graded(&lambda, &takes_part, increments, slack, height);
        let Some(operator) = Scaled::new(increments, found.value * slack, &weights, ws) else { break };
        let norm_options = NormOptions {
            failure_probability: options.failure_probability / norms as f64,
            tolerance: plan.tolerance,
            enough: 1.0,
            stream: options.stream + k as u64,
            ..*options
        };
        let norm = norm_of(&operator, &norm_options, monitor, ws)?;
        best.failure_probability = rounding::add_up(best.failure_probability, norm.failure_probability);
        // What is no number is no norm: it must not become one here.
        let sigma = if norm.upper.is_nan() { f64::INFINITY } else { norm.upper.max(1.0) };
        best.upper = (0..height).fold(operator.kappa(), |kappa, _| rounding::mul_up(kappa, sigma)).min(best.upper);
        // A larger slack cannot beat a contraction, and nothing near helps weights that are far off.
        if norm.upper <= 1.0 || norm.upper > 1.5 {
            break;
        }
        // The value converges faster than the weights, whose errors it feels squared only: the search goes on where it
        // came to rest early and much is lost, or where the operator is small, and so are steps.
        let steps = if is_formed(&operator) {
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
            slack *= norm.upper.powi(SLACK_PER_NORM);
        }
    }
    *memory = Some(found);
    Ok(best)
}

/// What a certificate may exceed the search's value by before the search goes on.
const MUCH_LOST: f64 = 1.02;

/// The tolerance of a search that goes on, relative to the first one.
const FINER: f64 = 1e-2;

/// About how many times the slack must grow by the factor that the norm shall shrink by: the slack is spread over the
/// levels, and each block of the operator sees only its share.
const SLACK_PER_NORM: i32 = 4;

/// Work (multiply-adds) up to which the operator is formed and its norm is exact.
const FORMED: f64 = 5e8;

fn is_formed(operator: &Scaled<'_>) -> bool {
    let (short, long) = (operator.rows().min(operator.cols()) as f64, operator.rows().max(operator.cols()) as f64);
    short * (0.5 * short * (long + short) + operator.multiply_adds() as f64) <= FORMED
}

/// The norm: exact and deterministic where the operator is small, by Lanczos elsewhere.
fn norm_of(
    operator: &Scaled<'_>,
    options: &NormOptions,
    monitor: &dyn BoundMonitor,
    ws: &mut Workspace,
) -> Result<NormBracket, BoundError> {
    let guarantee = match options.guarantee {
        GuaranteeRequest::Auto if is_formed(operator) => GuaranteeRequest::Deterministic,
        asked => asked,
    };
    Ok(norm_bracket(operator, &NormOptions { guarantee, ..*options }, monitor, ws)?)
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
mod tests {
    use lipbound_spectral::Silent;

    use super::*;
    use crate::{
        Kind, NetworkBuilder, Node, Tensor, Unit,
        increments::Step,
        layerwise::{Ball, Flow},
        linear, unit,
    };

    /// Three hidden layers with weights on a coarse grid: every unit may change over the global ball.
    fn network(seed: u64) -> crate::Network {
        let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
        let mut next = move || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            (state % 2001) as f64 / 1000.0 - 1.0
        };
        let mut builder = NetworkBuilder::new(vec![4]).unwrap();
        for (k, (rows, cols)) in [(6, 4), (5, 6), (4, 5), (3, 4)].into_iter().enumerate() {
            let weight = Tensor::f64(vec![rows, cols], (0..rows * cols).map(|_| next()).collect()).unwrap();
            let mut add = |name: &str, built: Result<(crate::Layer, Vec<usize>), crate::ModelError>| {
                let (layer, shape) = built.unwrap();
                let inputs = vec![builder.last()];
                let name = format!("{name}{k}");
                builder.push(Node { name, kind: "test".into(), layer, inputs, shape, parameters: 0 }).unwrap();
            };
            add("fc", linear(&[cols], &weight, None));
            if k < 3 {
                add("relu", unit(&[rows], Unit::Relu));
            }
        }
        builder.build().unwrap()
    }

    fn increments(network: &crate::Network) -> Increments {
        let ball = Ball { nominal: None, kind: Kind::Global, epsilon: f64::INFINITY, refine: false };
        let mut ws = Workspace::new();
        let mut increments = Increments::new(4);
        let mut flows = vec![Flow::input(4, f64::INFINITY)];
        for (index, stage) in network.plan().stages.iter().enumerate() {
            let step = ball
                .stage(index, stage, &flows, &increments, &NormOptions::default(), &mut None, &crate::Quiet, &mut ws)
                .unwrap();
            increments.units.extend(step.uncertain);
            let outputs = stage.shape.iter().product();
            increments.push(Step { inputs: stage.inputs.clone(), outputs, change: step.change }, step.levels);
            flows.push(step.output);
        }
        increments
    }

    /// The bound for given weights, with the stated exponent of the norm.
    fn bound_with(increments: &Increments, kappa: f64, weights: &[f64], exponent: usize) -> f64 {
        let mut ws = Workspace::new();
        let weights: Vec<Option<f64>> = weights.iter().copied().map(Some).collect();
        let operator = Scaled::new(increments, kappa, &weights, &mut ws).unwrap();
        let options = NormOptions { guarantee: GuaranteeRequest::Deterministic, ..NormOptions::default() };
        let sigma = norm_bracket(&operator, &options, &Silent, &mut ws).unwrap().upper;
        operator.kappa() * sigma.max(1.0).powi(exponent as i32)
    }

    /// The largest Jacobian norm over many points: a lower bound of the global constant.
    fn attained(network: &crate::Network) -> f64 {
        let mut best: f64 = 0.0;
        for i in 0..4000u64 {
            let x: Vec<f64> = (0..4).map(|k| ((i * (2 * k + 3) + k * k) as f64 * 0.618).sin()).collect();
            let direction: Vec<f64> = (0..4).map(|k| ((i * (k + 7)) as f64 * 0.377).cos()).collect();
            let y: Vec<f64> = x.iter().zip(&direction).map(|(x, d)| x + 1e-4 * d).collect();
            let at = |v: &[f64]| network.evaluate(&Tensor::f64(vec![4], v.to_vec()).unwrap()).unwrap().to_f64();
            let moved: f64 = at(&x).iter().zip(at(&y)).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
            let by: f64 = x.iter().zip(&y).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt();
            best = best.max(moved / by);
        }
        best
    }

    #[test]
    fn any_weights_give_a_valid_bound() {
        for seed in 1..40 {
            let net = network(seed);
            let inc = increments(&net);
            assert_eq!((inc.height(), inc.units.len()), (4, 15));
            let truth = attained(&net);
            let n = inc.units.len();
            let spread = |k: usize| (0..n).map(|u| 10f64.powf((u * k % 7) as f64 / 3.0 - 1.0)).collect::<Vec<_>>();
            for weights in [vec![1.0; n], vec![1e-2; n], vec![30.0; n], spread(3), spread(5)] {
                for kappa in [0.1, 1.0, 3.0, 20.0] {
                    let bound = bound_with(&inc, kappa, &weights, inc.height());
                    assert!(bound >= truth * (1.0 - 1e-9), "seed {seed}, kappa {kappa}: {bound} below {truth}");
                }
            }
        }
    }

    #[test]
    fn without_the_level_exponent_bounds_would_be_wrong() {
        // A small kappa makes the norm large; only its power by the number of levels makes up for it.
        let wrong = (1..40).any(|seed| {
            let net = network(seed);
            let inc = increments(&net);
            bound_with(&inc, 0.05, &vec![0.5; inc.units.len()], 1) < attained(&net)
        });
        assert!(wrong, "if an exponent of one were enough everywhere, this test would not see it being dropped");
    }

    #[test]
    fn found_weights_beat_constant_ones() {
        for seed in 1..10 {
            let net = network(seed);
            let inc = increments(&net);
            let plan = Plan { effort: Effort { rank: 4, steps: 200, tolerance: 1e-8 }, tries: 3, tolerance: 1e-4 };
            let mut ws = Workspace::new();
            let found = certify(&inc, &plan, &NormOptions::default(), &mut None, &crate::Quiet, &mut ws).unwrap().upper;
            assert!(found >= attained(&net) * (1.0 - 1e-9));
            let constant = [0.3, 1.0, 3.0]
                .into_iter()
                .flat_map(|w| [1.0, 2.0, 4.0, 8.0].map(|kappa| bound_with(&inc, kappa, &[w; 15], inc.height())))
                .fold(f64::INFINITY, f64::min);
            assert!(found < constant, "seed {seed}: {found}, constant weights {constant}");
        }
    }
}
