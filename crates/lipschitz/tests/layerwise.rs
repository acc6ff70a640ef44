//! The layerwise bound against sampled ratios.

use crate::common::{Patient, Random, nearby, network, node_by_node, ratio};
use lipbound_lipschitz::{
    Attempts, BoundOptions, BoundResult, GlobalOptions, Kind, Layer, MethodRequest, Network, NetworkBuilder, Node,
    Quiet, Tensor, Unit, bound, global_bound, linear, normalize, unit,
};
use lipbound_operators::Workspace;
use lipbound_spectral::NormOptions;

const EPSILONS: [f64; 6] = [1e-6, 1e-3, 0.1, 1.0, 10.0, 1e3];

fn options(kind: Kind, epsilons: &[f64], seed: u64) -> BoundOptions {
    BoundOptions {
        epsilons: epsilons.to_vec(),
        kind,
        method: MethodRequest::Layerwise,
        norm: NormOptions { seed, ..NormOptions::default() },
        ..BoundOptions::default()
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
            &GlobalOptions {
                norm: NormOptions { seed, ..NormOptions::default() },
                method: MethodRequest::Layerwise,
                ..GlobalOptions::default()
            },
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

#[test]
fn merging_stages_does_not_change_the_function() {
    for seed in 0..2000 {
        let random = &mut Random::new(seed);
        let net = network(random);
        let x = random.input(net.input_shape());
        let (stages, nodes) = (net.evaluate(&x).unwrap().to_f64(), node_by_node(&net, &x));
        let size = nodes.iter().fold(1.0f64, |m, v| m.max(v.abs()));
        for (a, b) in stages.iter().zip(&nodes) {
            assert!((a - b).abs() <= 1e-10 * size, "seed {seed}: {a} for {b}");
        }
    }
}

type Built = (Layer, Vec<usize>);

/// A network of nodes, each with the sources it reads.
fn graph(input: usize, nodes: Vec<(Vec<usize>, Built)>) -> Network {
    let mut builder = NetworkBuilder::new(vec![input]).unwrap();
    for (i, (inputs, (layer, shape))) in nodes.into_iter().enumerate() {
        builder.push(Node { name: format!("n{i}"), kind: "test".into(), layer, inputs, shape, parameters: 0 }).unwrap();
    }
    builder.build().unwrap()
}

fn layerwise_bound(net: &Network) -> BoundResult {
    let norm = NormOptions { tolerance: 1e-9, ..NormOptions::default() };
    let options = BoundOptions {
        epsilons: vec![0.1],
        kind: Kind::Centred,
        method: MethodRequest::Layerwise,
        norm,
        ..BoundOptions::default()
    };
    let x = Tensor::f64(net.input_shape().to_vec(), vec![0.3; net.input_shape()[0]]).unwrap();
    bound(net, &x, &options, &Quiet, &mut Workspace::new()).unwrap().remove(0)
}

#[test]
fn a_sum_of_affine_branches_is_one_operator() {
    let dense = |values: [f64; 4], bias: [f64; 2]| {
        let bias = Tensor::f64(vec![2], bias.to_vec()).unwrap();
        linear(&[2], &Tensor::f64(vec![2, 2], values.to_vec()).unwrap(), Some(&bias)).unwrap()
    };
    // 2 (x - x + 2 x), then a unit.
    let net = graph(
        2,
        vec![
            (vec![0], dense([-1.0, 0.0, 0.0, -1.0], [0.5, 0.0])),
            (vec![0], dense([0.0, 2.0, 2.0, 0.0], [0.0, 0.0])),
            (vec![2], dense([0.0, 1.0, 1.0, 0.0], [0.0, 0.25])),
            (vec![0, 1, 3], (Layer::Add, vec![2])),
            (vec![4], dense([2.0, 0.0, 0.0, 2.0], [0.0, 0.0])),
            (vec![5], unit(&[2], Unit::Relu).unwrap()),
        ],
    );
    let result = layerwise_bound(&net);
    assert_eq!(result.layers.len(), 1, "{:?}", result.layers);
    assert!(result.upper >= 4.0 && result.upper <= 4.0 + 1e-6, "{}", result.upper);
    // 2 (x - x + (2 x - 1) / 2), then a unit.
    let net = graph(
        2,
        vec![
            (vec![0], dense([-1.0, 0.0, 0.0, -1.0], [0.5, 0.0])),
            (vec![0], dense([2.0, 0.0, 0.0, 2.0], [0.0, 0.25])),
            (vec![2], normalize(&[2], &[1.0], &[2.0]).unwrap()),
            (vec![0, 1, 3], (Layer::Add, vec![2])),
            (vec![4], dense([2.0, 0.0, 0.0, 2.0], [0.0, 0.0])),
            (vec![5], unit(&[2], Unit::Relu).unwrap()),
        ],
    );
    let result = layerwise_bound(&net);
    assert_eq!(result.layers.len(), 1, "{:?}", result.layers);
    assert_eq!(result.layers[0].members, ["n0", "n1", "n2", "n3", "n4", "n5"]);
    assert!(result.upper >= 2.0 && result.upper <= 2.0 + 1e-6, "{}", result.upper);
}

#[test]
fn branches_behind_each_other_add_their_squares() {
    let times = |c: f64| {
        let weight = Tensor::f64(vec![2, 2], vec![c, 0.0, 0.0, c]).unwrap();
        linear(&[2], &weight, None).unwrap()
    };
    let net = graph(2, vec![(vec![0], times(3.0)), (vec![0], times(4.0)), (vec![1, 2], (Layer::Concat, vec![4]))]);
    let result = layerwise_bound(&net);
    assert!(result.upper >= 5.0 && result.upper <= 5.0 + 1e-6, "{}", result.upper);
    assert!(result.lower > 4.99, "{}", result.lower);
}

/// Where the network is linear in the ball every climb leads to the same point: random directions are not tried, unless
/// they are asked for.
#[test]
fn random_directions_are_for_networks_that_bend() {
    let (mut bent, mut gained) = (0, 0);
    for seed in 0..40 {
        let mut random = Random::new(seed);
        let layers: [(Tensor, Tensor); 2] =
            [(6, 4), (3, 6)].map(|(rows, cols)| (random.weights(&[rows, cols]), random.weights(&[rows])));
        let net = graph(
            4,
            vec![
                (vec![0], linear(&[4], &layers[0].0, Some(&layers[0].1)).unwrap()),
                (vec![1], (Layer::Unit(Unit::Relu.into()), vec![6])),
                (vec![2], linear(&[6], &layers[1].0, Some(&layers[1].1)).unwrap()),
            ],
        );
        let x = random.input(net.input_shape());
        let found = |epsilon: f64, restarts: Option<usize>| {
            let monitor = Patient::default();
            let attempts = Attempts { restarts, witness: false };
            let options = BoundOptions { attempts, ..options(Kind::Centred, &[epsilon], seed) };
            let lower = bound(&net, &x, &options, &monitor, &mut Workspace::new()).unwrap()[0].lower;
            (lower, monitor.asked())
        };
        let (none, some, insisted) = (found(1e-5, Some(0)), found(1e-5, None), found(1e-5, Some(2)));
        assert_eq!(none, some, "seed {seed}");
        if none.0 > 0.0 {
            assert!(insisted.1 > none.1, "seed {seed}: {none:?} {insisted:?}");
            assert!((insisted.0 / none.0 - 1.0).abs() < 0.01, "seed {seed}: {none:?} {insisted:?}");
        }
        let (none, some) = (found(5.0, Some(0)), found(5.0, None));
        assert!(some.0 >= none.0, "seed {seed}");
        bent += usize::from(some.1 > none.1);
        gained += usize::from(some.0 > none.0 * 1.001);
    }
    assert!(bent > 20 && gained > 3, "{bent} {gained}");
}
