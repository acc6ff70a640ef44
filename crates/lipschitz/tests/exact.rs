//! Networks of one input, whose constants are known exactly: they are piecewise linear curves, and their kinks can be
//! listed. On a piece `norm(f(x) - f(x0)) / |x - x0| = norm(a / t + b)` with `t = x - x0` is convex in `1 / t`, so its
//! largest value is at an end of the piece; the uniform constant is the largest slope of a piece.

use crate::common::Random;
use lipbound_lipschitz::{
    BoundOptions, GlobalOptions, Kind, MethodRequest, NetworkBuilder, Node, Quiet, Tensor, Unit, bound,
    bound_functionals, global_bound, global_bound_functionals, linear, unit,
};
use lipbound_operators::Workspace;
use lipbound_spectral::NormOptions;

/// Weights (rows x columns) and biases of the layers; a unit behind each but the last.
struct Mlp {
    layers: Vec<(Vec<Vec<f64>>, Vec<f64>)>,
    unit: Unit,
}

impl Mlp {
    fn new(random: &mut Random) -> Self {
        let mut width = 1;
        let depth = 2 + random.below(3);
        let layers = (0..depth)
            .map(|_| {
                let rows = 1 + random.below(4);
                let weights = random.weights(&[rows, width]).to_f64();
                let bias = random.bias(rows).map_or(vec![0.0; rows], |b| b.to_f64());
                let matrix = weights.chunks(width).map(<[f64]>::to_vec).collect();
                width = rows;
                (matrix, bias)
            })
            .collect();
        let slope = [0.0, 0.0, 0.1, -0.5, 2.0][random.below(5)];
        let unit = if random.chance(0.4) { random.clip() } else { Unit::LeakyRelu { slope } };
        Self { layers, unit }
    }

    fn affine((matrix, bias): &(Vec<Vec<f64>>, Vec<f64>), x: &[f64]) -> Vec<f64> {
        matrix.iter().zip(bias).map(|(row, b)| row.iter().zip(x).map(|(a, x)| a * x).sum::<f64>() + b).collect()
    }

    fn unit(&self, y: f64) -> f64 {
        match self.unit {
            Unit::Relu => y.max(0.0),
            Unit::LeakyRelu { slope } => y * if y >= 0.0 { 1.0 } else { slope },
            Unit::Clip { low, high } => y.clamp(low, high),
        }
    }

    /// Where the unit bends.
    fn kinks(&self) -> Vec<f64> {
        match self.unit {
            Unit::Clip { low, high } => [low, high].into_iter().filter(|k| k.is_finite()).collect(),
            _ => vec![0.0],
        }
    }

    fn value(&self, x: f64) -> Vec<f64> {
        let mut z = vec![x];
        for (k, layer) in self.layers.iter().enumerate() {
            z = Self::affine(layer, &z);
            if k + 1 < self.layers.len() {
                z.iter_mut().for_each(|z| *z = self.unit(*z));
            }
        }
        z
    }

    /// The kinks inside an interval, with its ends: layer by layer, where a pre-activation crosses a kink on a piece.
    fn pieces(&self, low: f64, high: f64) -> Vec<f64> {
        let mut ends = vec![low, high];
        for depth in 1..self.layers.len() {
            let before = |x: f64| {
                let mut z = vec![x];
                for (k, layer) in self.layers[..depth].iter().enumerate() {
                    z = Self::affine(layer, &z);
                    if k + 1 < depth {
                        z.iter_mut().for_each(|z| *z = self.unit(*z));
                    }
                }
                z
            };
            let mut crossings = Vec::new();
            for pair in ends.windows(2) {
                for (a, b) in before(pair[0]).into_iter().zip(before(pair[1])) {
                    for (a, b) in self.kinks().into_iter().map(|kink| (a - kink, b - kink)) {
                        if a * b < 0.0 {
                            crossings.push(pair[0] + (pair[1] - pair[0]) * (a / (a - b)));
                        }
                    }
                }
            }
            ends.extend(crossings);
            ends.sort_by(f64::total_cmp);
        }
        ends
    }

    fn network(&self) -> lipbound_lipschitz::Network {
        let mut builder = NetworkBuilder::new(vec![1]).unwrap();
        for (k, (matrix, bias)) in self.layers.iter().enumerate() {
            let (rows, cols) = (matrix.len(), matrix[0].len());
            let weight = Tensor::f64(vec![rows, cols], matrix.concat()).unwrap();
            let bias = Tensor::f64(vec![rows], bias.clone()).unwrap();
            let mut layers = vec![linear(&[cols], &weight, Some(&bias)).unwrap()];
            if k + 1 < self.layers.len() {
                layers.push(unit(&[rows], self.unit).unwrap());
            }
            for (i, (layer, shape)) in layers.into_iter().enumerate() {
                let inputs = vec![builder.last()];
                let name = format!("n{k}.{i}");
                builder.push(Node { name, kind: "test".into(), layer, inputs, shape, parameters: 0 }).unwrap();
            }
        }
        builder.build().unwrap()
    }
}

fn distance(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
}

/// The exact constants of a curve over a ball, less what rounding may have added: centred and uniform. `size` measures
/// a difference of two values.
fn constants(mlp: &Mlp, x0: f64, epsilon: f64, size: impl Fn(&[f64], &[f64]) -> f64) -> (f64, f64, f64) {
    let mut ends = mlp.pieces(x0 - epsilon, x0 + epsilon);
    ends.push(x0);
    ends.sort_by(f64::total_cmp);
    let at_x0 = mlp.value(x0);
    // Differences of values are rounded: pieces and distances too short to tell are left out.
    let largest = ends.iter().flat_map(|&x| mlp.value(x)).fold(1.0f64, |m, v| m.max(v.abs()));
    let room = 1e-13 * largest;
    let centred = ends
        .iter()
        .filter(|&&x| (x - x0).abs() > 1e-6 * epsilon)
        .map(|&x| (size(&mlp.value(x), &at_x0) - room) / (x - x0).abs())
        .fold(0.0, f64::max);
    let uniform = ends
        .windows(2)
        .filter(|pair| pair[1] - pair[0] > 1e-6 * epsilon)
        .map(|pair| (size(&mlp.value(pair[0]), &mlp.value(pair[1])) - room) / (pair[1] - pair[0]))
        .fold(0.0, f64::max);
    (centred, uniform, room)
}

#[test]
fn bounds_of_functionals_hold_the_exact_constants_of_curves() {
    let mut gaps = Vec::new();
    for seed in 0..500 {
        let mut random = Random::new(seed);
        let mlp = Mlp::new(&mut random);
        let net = mlp.network();
        let x0 = [0.0, 0.5, -1.0, 0.3][random.below(4)];
        let epsilon = [1e-3, 0.1, 1.0, 10.0][random.below(4)];
        let outputs = net.output_shape()[0];
        let functionals: Vec<Vec<f64>> = (0..3).map(|_| random.weights(&[outputs]).to_f64()).collect();
        let input = Tensor::f64(vec![1], vec![x0]).unwrap();
        for (k, functional) in functionals.iter().enumerate() {
            let size = |a: &[f64], b: &[f64]| -> f64 {
                functional.iter().zip(a.iter().zip(b)).map(|(c, (a, b))| c * (a - b)).sum::<f64>().abs()
            };
            let (centred, uniform, room) = constants(&mlp, x0, epsilon, size);
            let room = room * 10.0;
            for method in [MethodRequest::Layerwise, MethodRequest::Certificate] {
                let norm = NormOptions::default();
                for (kind, truth) in [(Kind::Centred, centred - room), (Kind::Uniform, uniform - room)] {
                    let options =
                        BoundOptions { epsilons: vec![epsilon], kind, method, norm, ..BoundOptions::default() };
                    let result =
                        bound_functionals(&net, &input, &options, &functionals, &Quiet, &mut Workspace::new()).unwrap();
                    let of = result[0].functionals[k];
                    assert!(of.upper >= truth, "seed {seed}, {kind:?}, {method:?}: {} below {truth}", of.upper);
                    if kind == Kind::Centred {
                        assert!(of.lower <= centred * (1.0 + 1e-9) + room / epsilon, "seed {seed}: {}", of.lower);
                        if method == MethodRequest::Certificate && centred > 0.0 {
                            gaps.push(of.upper / centred);
                        }
                    }
                }
                let global = global_bound_functionals(
                    &net,
                    &GlobalOptions { norm, method, ..GlobalOptions::default() },
                    &functionals,
                    &Quiet,
                    &mut Workspace::new(),
                )
                .unwrap();
                let upper = global.functionals[k].upper;
                assert!(upper >= uniform - room, "seed {seed}, global, {method:?}: {upper} below {uniform}");
            }
        }
    }
    gaps.sort_by(f64::total_cmp);
    let median = gaps[gaps.len() / 2];
    assert!(median < 1.2, "on curves the certificate is close to the truth: the median ratio is {median}");
}

#[test]
fn bounds_hold_the_exact_constants_of_curves() {
    let mut gaps = Vec::new();
    for seed in 0..800 {
        let mut random = Random::new(seed);
        let mlp = Mlp::new(&mut random);
        let net = mlp.network();
        let x0 = [0.0, 0.5, -1.0, 0.3][random.below(4)];
        let epsilon = [1e-3, 0.1, 1.0, 10.0][random.below(4)];
        let (centred, uniform, room) = constants(&mlp, x0, epsilon, distance);
        let input = Tensor::f64(vec![1], vec![x0]).unwrap();
        for method in [MethodRequest::Layerwise, MethodRequest::Certificate] {
            for (kind, truth) in [(Kind::Centred, centred), (Kind::Uniform, uniform)] {
                let options = BoundOptions {
                    epsilons: vec![epsilon],
                    kind,
                    method,
                    norm: NormOptions::default(),
                    ..BoundOptions::default()
                };
                let result = bound(&net, &input, &options, &Quiet, &mut Workspace::new()).unwrap().remove(0);
                assert!(result.upper >= truth, "seed {seed}, {kind:?}, {method:?}: {} below {truth}", result.upper);
                if kind == Kind::Centred {
                    assert!(result.lower <= centred * (1.0 + 1e-9) + room / epsilon, "seed {seed}: {}", result.lower);
                    if method == MethodRequest::Certificate && truth > 0.0 {
                        gaps.push(result.upper / truth);
                    }
                }
            }
            let global = global_bound(
                &net,
                &GlobalOptions { method, ..GlobalOptions::default() },
                &Quiet,
                &mut Workspace::new(),
            )
            .unwrap();
            assert!(global.upper >= uniform, "seed {seed}, global, {method:?}: {} below {uniform}", global.upper);
        }
    }
    gaps.sort_by(f64::total_cmp);
    let median = gaps[gaps.len() / 2];
    assert!(median < 1.2, "on curves the certificate is close to the truth: the median ratio is {median}");
}
