//! What is predicted of memory, against bytes that were counted.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    sync::Arc,
};

use crate::common::{Random, network};
use lipbound_lipschitz::{
    BoundOptions, Conv2dOptions, GlobalOptions, Kind, Layer, MaxPool2dOptions, MethodRequest, Network, NetworkBuilder,
    Node, PredictedMemory, Quiet, RadiusOptions, Tensor, Unit, bound, bound_functionals, certified_radius, conv2d,
    flatten, global_bound, linear, max_pool2d, sweep, unit,
};
use lipbound_operators::Workspace;
use lipbound_spectral::NormOptions;

/// Counts the live bytes of each thread and their peak; nothing here starts threads.
struct Counting;

thread_local! {
    static LIVE: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

// SAFETY: every call goes on to the system's allocator as it came; the counters allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        LIVE.set(LIVE.get() + layout.size() as isize);
        PEAK.set(PEAK.get().max(LIVE.get()));
        // SAFETY: as it came.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        LIVE.set(LIVE.get() - layout.size() as isize);
        // SAFETY: as it came.
        unsafe { System.dealloc(place, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most that was live at once during some work, beside what was before.
fn peak<T>(work: impl FnOnce() -> T) -> usize {
    let before = LIVE.get();
    PEAK.set(before);
    drop(work());
    (PEAK.get() - before) as usize
}

/// What was counted.
#[derive(Debug)]
#[allow(dead_code, reason = "shown where a promise is broken")]
struct Counted {
    first: usize,
    network: usize,
    layerwise: usize,
    certificate: usize,
    radius: usize,
}

/// Runs everything on a network, and checks that nothing took more than was predicted.
fn check(what: &str, build: impl FnOnce() -> Network, epsilon: f64, certify: bool) -> (PredictedMemory, Counted) {
    let before = LIVE.get();
    let net = build();
    let predicted = net.predicted_memory(1);
    let n: usize = net.input_shape().iter().product();
    let outputs: usize = net.output_shape().iter().product();
    let x = Tensor::f64(net.input_shape().to_vec(), (0..n).map(|i| (i as f64 * 0.7).sin()).collect()).unwrap();
    let norm = NormOptions { seed: 1, ..NormOptions::default() };
    let options = |epsilons: &[f64], kind, method| BoundOptions {
        epsilons: epsilons.to_vec(),
        kind,
        method,
        norm,
        ..BoundOptions::default()
    };
    let one = |kind, method| {
        peak(|| bound(&net, &x, &options(&[epsilon], kind, method), &Quiet, &mut Workspace::new()).unwrap())
    };
    let several = |method| {
        let options = options(&[epsilon / 8.0, epsilon, 3.0 * epsilon], Kind::Centred, method);
        peak(|| bound(&net, &x, &options, &Quiet, &mut Workspace::new()).unwrap())
    };
    let global = |method| {
        let options = GlobalOptions { method, norm, ..GlobalOptions::default() };
        peak(|| global_bound(&net, &options, &Quiet, &mut Workspace::new()).unwrap())
    };
    let functionals: Vec<Vec<f64>> =
        (0..outputs.min(3)).map(|k| (0..outputs).map(|i| f64::from(u8::from(i == k))).collect()).collect();
    let of_functionals = |method| {
        let options = options(&[epsilon], Kind::Centred, method);
        peak(|| bound_functionals(&net, &x, &options, &functionals, &Quiet, &mut Workspace::new()).unwrap())
    };

    // The first bound makes what the network keeps.
    let used = LIVE.get() - before;
    let first = used as usize + one(Kind::Centred, MethodRequest::Layerwise);
    assert!(first <= predicted.network + predicted.layerwise, "{what}: {first} bytes at first, {predicted:?}");
    let layerwise = one(Kind::Centred, MethodRequest::Layerwise)
        .max(one(Kind::Uniform, MethodRequest::Layerwise))
        .max(several(MethodRequest::Layerwise))
        .max(of_functionals(MethodRequest::Layerwise))
        .max(global(MethodRequest::Layerwise));
    assert!(layerwise <= predicted.layerwise, "{what}: {layerwise} bytes, {predicted:?}");
    let (mut certificate, mut radius) = (0, 0);
    if certify {
        let method = MethodRequest::Certificate;
        certificate = one(Kind::Centred, method)
            .max(one(Kind::Uniform, method))
            .max(several(method))
            .max(of_functionals(method))
            .max(global(method));
        let points = options(&[epsilon / 8.0, epsilon], Kind::Centred, method);
        certificate = certificate.max(peak(|| sweep(&net, &x, &points, &Quiet, &mut Workspace::new()).unwrap()));
        assert!(certificate <= predicted.certificate, "{what}: {certificate} bytes, {predicted:?}");
        let asked = RadiusOptions {
            label: None,
            input_box: None,
            maximum: Some(1.0),
            tolerance: 0.05,
            method: MethodRequest::Auto,
            norm,
            attack_steps: Some(20),
        };
        radius = peak(|| certified_radius(&net, &x, &asked, &Quiet, &mut Workspace::new()).unwrap());
        assert!(radius <= predicted.radius, "{what}: {radius} bytes, {predicted:?}");
    }
    drop((x, functionals));
    let network = (LIVE.get() - before) as usize;
    assert!(network <= predicted.network, "{what}: {network} bytes stay, {predicted:?}");
    (predicted, Counted { first, network, layerwise, certificate, radius })
}

/// A chain of layers with weights from a formula.
struct Chain {
    builder: NetworkBuilder,
    count: usize,
}

impl Chain {
    fn new(input: &[usize]) -> Self {
        Self { builder: NetworkBuilder::new(input.to_vec()).unwrap(), count: 0 }
    }

    fn shape(&self) -> Vec<usize> {
        self.builder.shape(self.builder.last()).to_vec()
    }

    fn add(&mut self, (layer, shape): (Layer, Vec<usize>)) {
        self.count += 1;
        let inputs = vec![self.builder.last()];
        let node = Node { name: format!("n{}", self.count), kind: "test".into(), layer, inputs, shape, parameters: 0 };
        self.builder.push(node).unwrap();
    }

    fn weights(&self, shape: &[usize]) -> Tensor {
        let n: usize = shape.iter().product();
        let size = (shape[0] as f64 / n as f64).sqrt();
        let phase = self.count as f64;
        let value = |i: usize| (size * (i as f64 * 1.234_567 + phase).sin() * 1.4) as f32;
        Tensor::new(shape.to_vec(), lipbound_lipschitz::TensorData::F32((0..n).map(value).collect())).unwrap()
    }

    fn conv(mut self, out: usize, kernel: usize, stride: usize, padding: usize) -> Self {
        let shape = self.shape();
        let weight = self.weights(&[out, shape[0], kernel, kernel]);
        let options = Conv2dOptions { stride: [stride; 2], padding: [padding; 4], ..Conv2dOptions::default() };
        self.add(conv2d(&shape, &weight, None, &options).unwrap());
        self
    }

    fn linear(mut self, out: usize) -> Self {
        let shape = self.shape();
        if shape.len() > 1 {
            self.add(flatten(&shape));
        }
        let cols = self.shape()[0];
        let weight = self.weights(&[out, cols]);
        self.add(linear(&[cols], &weight, None).unwrap());
        self
    }

    fn relu(mut self) -> Self {
        let shape = self.shape();
        self.add(unit(&shape, Unit::Relu).unwrap());
        self
    }

    fn pool(mut self, kernel: usize, stride: usize) -> Self {
        let shape = self.shape();
        let options = MaxPool2dOptions {
            kernel: [kernel; 2],
            stride: [stride; 2],
            padding: [0; 4],
            dilation: [1; 2],
            ceil_mode: false,
        };
        self.add(max_pool2d(&shape, &options).unwrap());
        self
    }

    fn build(self) -> Network {
        self.builder.build().unwrap()
    }
}

fn lenet() -> Network {
    let features = Chain::new(&[1, 28, 28]).conv(6, 5, 1, 2).relu().pool(2, 2).conv(16, 5, 1, 0).relu().pool(2, 2);
    features.linear(120).relu().linear(84).relu().linear(10).build()
}

fn residual() -> Network {
    let mut chain = Chain::new(&[4, 8, 8]).conv(8, 3, 1, 1).relu();
    let fork = chain.builder.last();
    chain = chain.conv(8, 3, 1, 1).relu().conv(8, 3, 1, 1);
    let (shape, branch) = (chain.shape(), chain.builder.last());
    let add = |name: &str, layer, inputs, shape| Node {
        name: name.into(),
        kind: "test".into(),
        layer,
        inputs,
        shape,
        parameters: 0,
    };
    chain.builder.push(add("sum", Layer::Add, vec![branch, fork], shape.clone())).unwrap();
    chain = chain.relu();
    let branch = chain.builder.last();
    chain.builder.push(add("both", Layer::Concat, vec![branch, fork], vec![16, 8, 8])).unwrap();
    chain.conv(8, 3, 2, 0).relu().linear(10).build()
}

/// A name, a network, and whether certificates of it are made.
type Case = (&'static str, fn() -> Network, bool);

/// For networks of more than a megabyte: at most twice what was counted, with the network.
fn is_useful((predicted, counted): &(PredictedMemory, Counted)) -> bool {
    let promised = predicted.network + predicted.layerwise;
    let taken = counted.first.max(counted.network + counted.layerwise);
    counted.network < 1 << 20 || promised <= 2 * taken
}

#[test]
fn no_more_is_taken_than_was_predicted() {
    let dense = || Chain::new(&[784]).linear(128).relu().linear(64).relu().linear(10).build();
    let cifar = || {
        let first = Chain::new(&[3, 32, 32]).conv(32, 3, 1, 1).relu().conv(32, 4, 2, 1).relu();
        first.conv(64, 4, 2, 1).relu().linear(256).relu().linear(10).build()
    };
    let pools = || {
        let features = Chain::new(&[1, 14, 14]).conv(6, 3, 1, 1).relu().pool(2, 2).conv(8, 3, 1, 0).relu().pool(2, 1);
        features.linear(30).relu().linear(10).build()
    };
    let wide = || Chain::new(&[4096]).linear(512).relu().linear(256).relu().linear(1000).build();
    let strided = || Chain::new(&[3, 64, 64]).conv(64, 11, 4, 2).relu().pool(3, 2).conv(96, 5, 1, 2).relu().build();
    let cases: [Case; 7] = [
        ("dense", dense, true),
        ("lenet", lenet, false),
        ("pools", pools, true),
        ("residual", residual, true),
        ("cifar", cifar, false),
        ("wide", wide, false),
        ("strided", strided, false),
    ];
    for (what, build, certify) in cases {
        let result = check(what, build, 0.05, certify);
        println!("{what}: {:?}\n  {:?}", result.0, result.1);
        assert!(is_useful(&result), "{what}: {result:?}");
    }
}

#[test]
fn random_networks_take_no_more_than_was_predicted() {
    for seed in 0..40 {
        let epsilon = [1e-3, 0.1, 1.0, 30.0][seed as usize % 4];
        check(&format!("seed {seed}"), || network(&mut Random::new(seed)), epsilon, true);
    }
}

#[test]
fn what_several_hold_is_counted_once() {
    let weights: Arc<[f64]> = vec![0.5; 250_000].into();
    let operator = Arc::new(lipbound_operators::Dense::new(500, 500, weights));
    let mut chain = Chain::new(&[500]);
    for _ in 0..4 {
        let affine = lipbound_lipschitz::Affine { operator: operator.clone(), bias: None };
        chain.add((Layer::Affine(affine), vec![500]));
        chain = chain.relu();
    }
    let predicted = chain.build().predicted_memory(1);
    assert!(predicted.network >= 2_000_000 && predicted.network < 2_200_000, "{predicted:?}");
}

#[test]
fn more_threads_take_more() {
    let net = lenet();
    let (one, many) = (net.predicted_memory(1), net.predicted_memory(16));
    assert!(one.network == many.network && one.layerwise < many.layerwise && one.certificate < many.certificate);
}
