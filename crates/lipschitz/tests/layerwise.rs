//! The layerwise bound against sampled ratios.

mod common;

use common::{Random, nearby, network, ratio};
use lipbound_lipschitz::{BoundOptions, Kind, MethodRequest, Quiet, bound, global_bound};
use lipbound_operators::Workspace;
use lipbound_spectral::NormOptions;

const EPSILONS: [f64; 6] = [1e-6, 1e-3, 0.1, 1.0, 10.0, 1e3];

fn options(kind: Kind, epsilons: &[f64], seed: u64) -> BoundOptions {
    BoundOptions {
        epsilons: epsilons.to_vec(),
        kind,
        method: MethodRequest::Layerwise,
        norm: NormOptions { seed, ..NormOptions::default() },
    }
}

#[test]
fn no_sampled_ratio_exceeds_the_upper_bound() {
    for seed in 0..600 {
        let mut random = Random::new(seed);
        let net = network(&mut random);
        let x0 = random.input(net.input_shape());
        let epsilon = EPSILONS[random.below(EPSILONS.len())];
        let centred =
            &bound(&net, &x0, &options(Kind::Centred, &[epsilon], seed), &Quiet, &mut Workspace::new()).unwrap()[0];
        let uniform =
            &bound(&net, &x0, &options(Kind::Uniform, &[epsilon], seed), &Quiet, &mut Workspace::new()).unwrap()[0];
        let global = global_bound(
            &net,
            &NormOptions { seed, ..NormOptions::default() },
            MethodRequest::Layerwise,
            &Quiet,
            &mut Workspace::new(),
        )
        .unwrap();
        for result in [centred, uniform, &global] {
            assert!(result.lower <= result.upper, "seed {seed}: {result:?}");
            assert!(result.product.0 <= result.product.1, "seed {seed}: {result:?}");
        }
        assert!(centred.upper <= uniform.upper * 1.01, "seed {seed}");
        assert!(uniform.upper <= global.upper * 1.01, "seed {seed}");
        for _ in 0..200 {
            let (a, b) = (nearby(&mut random, &x0, epsilon), nearby(&mut random, &x0, epsilon));
            if let Some(r) = ratio(&net, &a, &x0) {
                assert!(r <= centred.upper, "seed {seed}, epsilon {epsilon}: {r} above {}", centred.upper);
            }
            if let Some(r) = ratio(&net, &a, &b) {
                assert!(r <= uniform.upper, "seed {seed}, epsilon {epsilon}: {r} above {}", uniform.upper);
                assert!(r <= global.upper, "seed {seed}: {r} above {}", global.upper);
            }
        }
    }
}

#[test]
fn one_linear_layer_is_bounded_by_its_norm() {
    use lipbound_lipschitz::{NetworkBuilder, Node, Tensor, linear};
    let weight = Tensor::f64(vec![2, 2], vec![3.0, 0.0, 4.0, 0.0]).unwrap();
    let (layer, shape) = linear(&[2], &weight, None).unwrap();
    let mut builder = NetworkBuilder::new(vec![2]).unwrap();
    builder
        .push(Node { name: "fc".into(), kind: "linear".into(), layer, inputs: vec![0], shape, parameters: 4 })
        .unwrap();
    let net = builder.build().unwrap();
    let x0 = Tensor::f64(vec![2], vec![0.3, -0.7]).unwrap();
    for result in
        bound(&net, &x0, &options(Kind::Centred, &[0.0, 1e-9, 1.0], 0), &Quiet, &mut Workspace::new()).unwrap()
    {
        assert!(result.upper >= 5.0 && result.upper <= 5.0 + 1e-9, "{result:?}");
        assert!(result.lower <= 5.0 && result.lower >= 5.0 - 1e-6, "{result:?}");
    }
}

#[test]
fn a_network_that_nothing_moves_has_the_constant_zero() {
    use lipbound_lipschitz::{NetworkBuilder, Node, Tensor, Unit, linear, unit};
    let weight = Tensor::f64(vec![2, 1], vec![1.0, -2.0]).unwrap();
    let bias = Tensor::f64(vec![2], vec![-10.0, -10.0]).unwrap();
    let mut builder = NetworkBuilder::new(vec![1]).unwrap();
    for (name, (layer, shape)) in
        [("fc", linear(&[1], &weight, Some(&bias)).unwrap()), ("relu", unit(&[2], Unit::Relu).unwrap())]
    {
        let inputs = vec![builder.last()];
        builder.push(Node { name: name.into(), kind: "test".into(), layer, inputs, shape, parameters: 0 }).unwrap();
    }
    let net = builder.build().unwrap();
    let x0 = Tensor::f64(vec![1], vec![0.0]).unwrap();
    let results = bound(&net, &x0, &options(Kind::Centred, &[1.0, 100.0], 0), &Quiet, &mut Workspace::new()).unwrap();
    assert_eq!((results[0].upper, results[0].lower), (0.0, 0.0));
    assert_eq!(results[0].layers[0].units.still, 2);
    assert!(results[1].upper > 0.0);
}
