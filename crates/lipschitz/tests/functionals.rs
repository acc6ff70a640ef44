//! Scalar functionals of the output, against sampled ratios, the whole output, and networks that end in them.

use crate::common::{Random, distance, nearby, network};
use lipbound_lipschitz::{
    BoundOptions, BoundResult, GlobalOptions, Kind, MethodRequest, Network, NetworkBuilder, Node, Quiet, Tensor, Unit,
    bound_functionals, global_bound_functionals, linear, unit,
};
use lipbound_operators::Workspace;
use lipbound_spectral::{Guarantee, NormOptions};

const EPSILONS: [f64; 6] = [1e-9, 1e-3, 0.1, 1.0, 10.0, 1e3];

fn options(kind: Kind, epsilons: &[f64], method: MethodRequest, seed: u64) -> BoundOptions {
    BoundOptions {
        epsilons: epsilons.to_vec(),
        kind,
        method,
        norm: NormOptions { seed, ..NormOptions::default() },
        ..BoundOptions::default()
    }
}

/// Single outputs, differences of two, and whatever comes.
fn functional(random: &mut Random, outputs: usize) -> Vec<f64> {
    let mut c = vec![0.0; outputs];
    match random.below(3) {
        0 => c[random.below(outputs)] = 1.0,
        1 => {
            c[random.below(outputs)] += 1.0;
            c[random.below(outputs)] -= 1.0;
        }
        _ => c = random.weights(&[outputs]).to_f64(),
    }
    c
}

fn norm(c: &[f64]) -> f64 {
    c.iter().map(|c| c * c).sum::<f64>().sqrt()
}

/// `|c^T (f(a) - f(b))| / norm(a - b)` less what rounding can have added.
fn ratio(net: &Network, c: &[f64], a: &Tensor, b: &Tensor) -> Option<f64> {
    let moved = distance(a, b);
    let (fa, fb) = (net.evaluate(a).unwrap().to_f64(), net.evaluate(b).unwrap().to_f64());
    let size = fa.iter().chain(&fb).fold(1.0f64, |m, v| m.max(v.abs())) * norm(c);
    let change: f64 = c.iter().zip(fa.iter().zip(&fb)).map(|(c, (a, b))| c * (a - b)).sum();
    (moved > 0.0).then(|| (change.abs() - 1e-12 * size) / moved)
}

#[test]
fn no_sampled_ratio_exceeds_the_bound_of_a_functional() {
    let mut tighter = 0;
    for seed in 0..600 {
        let mut random = Random::new(seed);
        let net = network(&mut random);
        let x0 = random.input(net.input_shape());
        let epsilon = EPSILONS[random.below(EPSILONS.len())];
        let outputs = net.output_shape().iter().product();
        let functionals: Vec<Vec<f64>> = (0..1 + random.below(4)).map(|_| functional(&mut random, outputs)).collect();
        for method in [MethodRequest::Layerwise, MethodRequest::Certificate] {
            let of = |kind| {
                let options = options(kind, &[epsilon], method, seed);
                bound_functionals(&net, &x0, &options, &functionals, &Quiet, &mut Workspace::new()).unwrap().remove(0)
            };
            let (centred, uniform) = (of(Kind::Centred), of(Kind::Uniform));
            let norms = NormOptions { seed, ..NormOptions::default() };
            let global = global_bound_functionals(
                &net,
                &GlobalOptions { norm: norms, method, ..GlobalOptions::default() },
                &functionals,
                &Quiet,
                &mut Workspace::new(),
            )
            .unwrap();
            for result in [&centred, &uniform, &global] {
                consistent(result, &functionals);
            }
            for (k, c) in functionals.iter().enumerate() {
                tighter += usize::from(centred.functionals[k].upper < 0.9 * norm(c) * centred.upper);
                for _ in 0..40 {
                    let (a, b) = (nearby(&mut random, &x0, epsilon), nearby(&mut random, &x0, epsilon));
                    if let Some(r) = ratio(&net, c, &a, &x0) {
                        let upper = centred.functionals[k].upper;
                        assert!(r <= upper, "seed {seed}, epsilon {epsilon}, {method:?}: {r} above {upper}");
                    }
                    if let Some(r) = ratio(&net, c, &a, &b) {
                        for result in [&uniform, &global] {
                            let upper = result.functionals[k].upper;
                            assert!(r <= upper, "seed {seed}, {:?}, {method:?}: {r} above {upper}", result.kind);
                        }
                    }
                }
            }
        }
    }
    assert!(tighter > 300, "functionals are there to be tighter than the whole output: {tighter}");
}

fn consistent(result: &BoundResult, functionals: &[Vec<f64>]) {
    assert_eq!(result.functionals.len(), functionals.len());
    for (of, c) in result.functionals.iter().zip(functionals) {
        assert!(of.lower <= of.upper, "{of:?}");
        assert!(of.upper <= norm(c) * result.upper * (1.0 + 1e-12), "{of:?} of {c:?}, but {} in all", result.upper);
        assert_eq!(of.guarantee == Guarantee::Deterministic, of.failure_probability == 0.0);
    }
    // One budget for all that is said: what the functionals share with the whole output is counted once.
    let own = |of: &lipbound_lipschitz::FunctionalBound| (of.failure_probability - result.failure_probability).max(0.0);
    let total = result.failure_probability + result.functionals.iter().map(own).sum::<f64>();
    assert!(total <= NormOptions::default().failure_probability * (1.0 + 1e-9), "{total}");
}

/// Weights on a coarse grid, so that `c^T W` is exact.
fn grid(random: &mut Random, rows: usize, cols: usize) -> Vec<f64> {
    (0..rows * cols).map(|_| random.below(17) as f64 / 8.0 - 1.0).collect()
}

fn mlp(layers: &[(usize, usize, Vec<f64>)], last_unit: bool) -> Network {
    let mut builder = NetworkBuilder::new(vec![layers[0].1]).unwrap();
    for (k, (rows, cols, weights)) in layers.iter().enumerate() {
        let weight = Tensor::f64(vec![*rows, *cols], weights.clone()).unwrap();
        let mut parts = vec![linear(&[*cols], &weight, None).unwrap()];
        if k + 1 < layers.len() || last_unit {
            parts.push(unit(&[*rows], Unit::Relu).unwrap());
        }
        for (i, (layer, shape)) in parts.into_iter().enumerate() {
            let inputs = vec![builder.last()];
            let name = format!("n{k}.{i}");
            builder.push(Node { name, kind: "test".into(), layer, inputs, shape, parameters: 0 }).unwrap();
        }
    }
    builder.build().unwrap()
}

#[test]
fn a_functional_has_the_bound_of_the_network_that_ends_in_it() {
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let (inputs, outputs) = (5, 4);
        let hidden = [(7, inputs, grid(&mut random, 7, inputs)), (6, 7, grid(&mut random, 6, 7))];
        let last = grid(&mut random, outputs, 6);
        let functionals: Vec<Vec<f64>> = (0..5).map(|_| grid(&mut random, 1, outputs)).collect();
        let x0 = Tensor::f64(vec![inputs], (0..inputs).map(|_| random.normal()).collect()).unwrap();
        let last_unit = random.chance(0.3);
        let whole = mlp(&[&hidden[..], &[(outputs, 6, last.clone())]].concat(), last_unit);
        for method in [MethodRequest::Layerwise, MethodRequest::Certificate] {
            let of = |net: &Network, functionals: &[Vec<f64>], epsilons: &[f64]| {
                let options = options(Kind::Centred, epsilons, method, seed);
                let mut results =
                    bound_functionals(net, &x0, &options, functionals, &Quiet, &mut Workspace::new()).unwrap();
                let norms = NormOptions { seed, ..NormOptions::default() };
                results.push(
                    global_bound_functionals(
                        net,
                        &GlobalOptions { norm: norms, method, ..GlobalOptions::default() },
                        functionals,
                        &Quiet,
                        &mut Workspace::new(),
                    )
                    .unwrap(),
                );
                results
            };
            let epsilons = [0.01, 1.0];
            let results = of(&whole, &functionals, &epsilons);
            for (k, c) in functionals.iter().enumerate() {
                let single = if last_unit {
                    mlp(&[&hidden[..], &[(outputs, 6, last.clone()), (1, outputs, c.clone())]].concat(), false)
                } else {
                    let row: Vec<f64> = (0..6).map(|j| (0..outputs).map(|i| c[i] * last[i * 6 + j]).sum()).collect();
                    mlp(&[&hidden[..], &[(1, 6, row)]].concat(), false)
                };
                for (merged, result) in of(&single, &[], &epsilons).iter().zip(&results) {
                    let (own, of) = (merged.upper, result.functionals[k].upper);
                    // Layer by layer the two are the same product; certificates stop within a tolerance of each other.
                    let room = if method == MethodRequest::Layerwise { 1e-9 } else { 5e-3 };
                    let least = own * (1.0 - room);
                    // The whole output's own bound may be the better one.
                    let by_whole = norm(c) * result.upper * (1.0 - 1e-9);
                    assert!(of <= own * (1.0 + room), "seed {seed}, {method:?}, {k}: {of}, of its own {own}");
                    assert!(of >= least.min(by_whole), "seed {seed}, {method:?}, {k}: {of}, of its own {own}");
                    assert!((result.functionals[k].lower - merged.lower) <= 1e-9 * own);
                }
            }
        }
    }
}

#[test]
fn a_functional_that_sees_nothing_of_the_one_before_it_loses_nothing() {
    // Two equal networks side by side: each output is a stranger to the other half.
    let mut random = Random::new(3);
    let half: Vec<(usize, usize, Vec<f64>)> =
        [(6, 4), (5, 6), (1, 5)].iter().map(|&(r, c)| (r, c, grid(&mut random, r, c))).collect();
    let double: Vec<_> = half
        .iter()
        .map(|(rows, cols, w)| {
            let mut both = vec![0.0; 4 * rows * cols];
            for i in 0..*rows {
                for j in 0..*cols {
                    both[i * 2 * cols + j] = w[i * cols + j];
                    both[(rows + i) * 2 * cols + cols + j] = w[i * cols + j];
                }
            }
            (2 * rows, 2 * cols, both)
        })
        .collect();
    let norms = NormOptions::default();
    let of = |net: &Network, functionals: &[Vec<f64>]| {
        let method = MethodRequest::Certificate;
        global_bound_functionals(
            net,
            &GlobalOptions { norm: norms, method, ..GlobalOptions::default() },
            functionals,
            &Quiet,
            &mut Workspace::new(),
        )
        .unwrap()
    };
    let alone = of(&mlp(&half, false), &[]).upper;
    let result = of(&mlp(&double, false), &[vec![1.0, 0.0], vec![0.0, 1.0], vec![1.0, 0.0]]);
    for functional in result.functionals {
        assert!((functional.upper / alone - 1.0).abs() < 5e-3, "{} beside {alone}", functional.upper);
    }
}

#[test]
fn a_functional_of_zeros_has_the_constant_zero_for_certain() {
    let net = mlp(&[(2, 2, vec![1.0, 2.0, 3.0, 4.0])], true);
    let x0 = Tensor::f64(vec![2], vec![1.0, 1.0]).unwrap();
    let options = options(Kind::Centred, &[1.0], MethodRequest::Certificate, 0);
    let zero = [vec![0.0, -0.0]];
    let result = &bound_functionals(&net, &x0, &options, &zero, &Quiet, &mut Workspace::new()).unwrap()[0];
    let of = result.functionals[0];
    assert_eq!((of.upper, of.lower, of.guarantee), (0.0, 0.0, Guarantee::Deterministic));
}

#[test]
fn functionals_that_do_not_fit_are_refused() {
    let net = mlp(&[(2, 2, vec![1.0, 2.0, 3.0, 4.0])], false);
    let x0 = Tensor::f64(vec![2], vec![1.0, 1.0]).unwrap();
    let options = options(Kind::Centred, &[1.0], MethodRequest::Auto, 0);
    for (functionals, words) in [
        (vec![vec![1.0, 0.0], vec![1.0]], ["functionals[1]", "2 outputs", "got 1"]),
        (vec![vec![1.0, f64::NAN]], ["functionals[0][1]", "1e45", "NaN"]),
        (vec![vec![f64::INFINITY, 0.0]], ["functionals[0][0]", "1e45", "inf"]),
        (vec![vec![1e-50, 0.0]], ["functionals[0][0]", "1e-45", "1e-50"]),
    ] {
        let local = bound_functionals(&net, &x0, &options, &functionals, &Quiet, &mut Workspace::new()).unwrap_err();
        let norms = NormOptions::default();
        let method = MethodRequest::Auto;
        let global = global_bound_functionals(
            &net,
            &GlobalOptions { norm: norms, method, ..GlobalOptions::default() },
            &functionals,
            &Quiet,
            &mut Workspace::new(),
        )
        .unwrap_err();
        for message in [local.to_string(), global.to_string()] {
            assert!(words.iter().all(|word| message.contains(word)), "{message}");
        }
    }
}
