//! Networks have the same digest if, and only if, they are the same.

use std::sync::Arc;

use crate::common::{Random, network};
use lipbound_lipschitz::{
    Affine, AvgPool2d, BatchNorm2d, Conv2dOptions, Layer, MaxPool, MaxPool2dOptions, ModelError, Network,
    NetworkBuilder, Node, Tensor, Unit, Units, avg_pool2d, batch_norm2d, conv2d, flatten, linear, max_pool2d,
    normalize, sparse, unit,
};
use lipbound_operators::Selection;

type Built = Result<(Layer, Vec<usize>), ModelError>;

/// Makes a layer for an input of some shape.
type Make<'a> = &'a dyn Fn(&[usize]) -> Built;

/// A chain of layers, each made for the shape before it.
fn chain(input: &[usize], layers: &[Make<'_>]) -> Network {
    let mut builder = NetworkBuilder::new(input.to_vec()).unwrap();
    for (i, layer) in layers.iter().enumerate() {
        let (layer, shape) = layer(builder.shape(builder.last())).unwrap();
        let inputs = vec![builder.last()];
        builder.push(Node { name: format!("n{i}"), kind: "test".into(), layer, inputs, shape, parameters: 0 }).unwrap();
    }
    builder.build().unwrap()
}

fn numbers(shape: &[usize], first: f64) -> Tensor {
    let n: usize = shape.iter().product();
    Tensor::f64(shape.to_vec(), (0..n).map(|i| first + i as f64).collect()).unwrap()
}

#[test]
fn the_same_network_has_the_same_digest() {
    for seed in 0..100 {
        let of = || network(&mut Random::new(seed)).digest();
        assert_eq!(of(), of());
    }
}

#[test]
fn whatever_differs_changes_the_digest() {
    let conv = |first: f64, options: Conv2dOptions| {
        move |s: &[usize]| conv2d(s, &numbers(&[2, 2 / options.groups, 2, 2], first), None, &options)
    };
    let plain = Conv2dOptions::default();
    let pool = MaxPool2dOptions { kernel: [2; 2], stride: [1; 2], padding: [0; 4], dilation: [1; 2], ceil_mode: false };
    let average =
        AvgPool2d { kernel: [2; 2], stride: [1; 2], padding: [0; 4], ceil_mode: false, count_include_pad: true };
    let channels = [1.0, 2.0].map(|first| numbers(&[2], first));
    let norm = |eps: f64| {
        let tensors = BatchNorm2d {
            weight: Some(&channels[0]),
            bias: None,
            running_mean: &channels[1],
            running_var: &channels[0],
            eps,
        };
        move |s: &[usize]| batch_norm2d(s, &tensors)
    };
    let bias = numbers(&[2], 1.0);
    let flat = |s: &[usize]| Ok(flatten(s));
    let relu = |s: &[usize]| unit(s, Unit::Relu);
    let leaky = |slope: f64| move |s: &[usize]| unit(s, Unit::LeakyRelu { slope });
    let rows = |indices: [usize; 2], first: f64| {
        move |s: &[usize]| sparse(s, vec![0, 1, 2], indices.to_vec(), &numbers(&[2], first), None)
    };
    let slopes = |slopes: [f64; 2], repeat: usize| {
        let units = (0..32 / repeat).map(|c| Unit::LeakyRelu { slope: slopes[c % 2] }).collect::<Vec<_>>();
        move |s: &[usize]| unit(s, Units::each(units.clone(), repeat))
    };
    let windows = |members: [u32; 3]| {
        let pool = move || MaxPool::from_windows(2, vec![0, 1, 3], members.to_vec());
        move |_: &[usize]| Ok((Layer::MaxPool(Arc::new(pool()?)), vec![2]))
    };
    let chosen = |index: [u32; 2]| {
        move |_: &[usize]| {
            let operator = Arc::new(Selection::new(2, index.to_vec()));
            Ok((Layer::Affine(Affine { operator, bias: None }), vec![2]))
        }
    };
    let image = [2usize, 4, 4];
    let networks = [
        chain(&image, &[&conv(1.0, plain)]),
        chain(&image, &[&conv(1.0 + f64::EPSILON, plain)]),
        chain(&image, &[&conv(1.0, Conv2dOptions { padding: [1, 0, 0, 0], ..plain })]),
        chain(&image, &[&conv(1.0, Conv2dOptions { padding: [0, 1, 0, 0], ..plain })]),
        chain(&image, &[&conv(1.0, Conv2dOptions { stride: [2, 1], ..plain })]),
        chain(&image, &[&conv(1.0, Conv2dOptions { stride: [1, 2], ..plain })]),
        chain(&image, &[&conv(1.0, Conv2dOptions { dilation: [2, 1], ..plain })]),
        chain(&image, &[&conv(1.0, Conv2dOptions { groups: 2, ..plain })]),
        chain(&image, &[&|s| conv2d(s, &numbers(&[2, 2, 2, 2], 1.0), Some(&bias), &plain)]),
        chain(&[2, 4, 5], &[&conv(1.0, plain)]),
        chain(&image, &[&conv(1.0, plain), &relu]),
        chain(&image, &[&relu, &conv(1.0, plain)]),
        chain(&image, &[&conv(1.0, plain), &leaky(0.0)]),
        chain(&image, &[&conv(1.0, plain), &leaky(0.1)]),
        chain(&image, &[&conv(1.0, plain), &relu, &flat]),
        chain(&image, &[&|s| max_pool2d(s, &pool)]),
        chain(&image, &[&|s| max_pool2d(s, &MaxPool2dOptions { stride: [2, 1], ..pool })]),
        chain(&image, &[&|s| max_pool2d(s, &MaxPool2dOptions { kernel: [1, 2], ..pool })]),
        chain(&image, &[&|s| avg_pool2d(s, &average)]),
        chain(&image, &[&norm(1e-5)]),
        chain(&image, &[&norm(1e-4)]),
        chain(&image, &[&|s| normalize(s, &[0.5], &[2.0])]),
        chain(&image, &[&|s| normalize(s, &[0.25], &[2.0])]),
        chain(&image, &[&slopes([0.0, 0.1], 16)]),
        chain(&image, &[&slopes([0.1, 0.0], 16)]),
        chain(&image, &[&slopes([0.0, 0.1], 1)]),
        chain(&[2], &[&windows([0, 0, 1])]),
        chain(&[2], &[&windows([1, 0, 1])]),
        chain(&[2], &[&chosen([0, 1])]),
        chain(&[2], &[&chosen([1, 0])]),
        chain(&[2], &[&chosen([1, Selection::ZERO])]),
        chain(&[2], &[&rows([0, 1], 1.0)]),
        chain(&[2], &[&rows([1, 0], 1.0)]),
        chain(&[2], &[&rows([0, 1], 2.0)]),
        chain(&[2], &[&|s| linear(s, &numbers(&[2, 2], 1.0), None)]),
        chain(&[2], &[&|s| linear(s, &numbers(&[2, 2], 1.0), Some(&bias))]),
        chain(&[2], &[&|s| linear(s, &numbers(&[2, 2], 1.0), Some(&numbers(&[2], 0.0)))]),
    ];
    let digests: Vec<String> = networks.iter().map(|network| network.digest().to_string()).collect();
    for (i, a) in digests.iter().enumerate() {
        for (j, b) in digests[..i].iter().enumerate() {
            assert_ne!(a, b, "networks {i} and {j}");
        }
    }
}

#[test]
fn where_a_layer_reads_from_is_in_the_digest() {
    let sum = |first: usize, second: usize| {
        let mut builder = NetworkBuilder::new(vec![2]).unwrap();
        let mut add = |name: &str, inputs: Vec<usize>, built: Built| {
            let (layer, shape) = built.unwrap();
            builder.push(Node { name: name.into(), kind: "test".into(), layer, inputs, shape, parameters: 0 }).unwrap()
        };
        add("a", vec![0], linear(&[2], &numbers(&[2, 2], 1.0), None));
        add("b", vec![1], unit(&[2], Unit::Relu));
        add("c", vec![first, second], Ok((Layer::Add, vec![2])));
        builder.build().unwrap().digest()
    };
    assert_eq!(sum(0, 2), sum(0, 2));
    assert_ne!(sum(0, 2), sum(1, 2));
}
