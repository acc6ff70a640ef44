//! Random networks with awkward features, and ratios sampled from them.

#![allow(dead_code, reason = "not all of it is used")]

use std::{cell::Cell, sync::Arc};

use lipbound_lipschitz::{
    Affine, AvgPool2d, BatchNorm2d, Bias, BoundMonitor, Conv2dOptions, Layer, MaxPool, MaxPool2dOptions, Network,
    NetworkBuilder, Node, Tensor, Unit, Units, avg_pool2d, batch_norm2d, conv2d, flatten, linear, max_pool2d,
    normalize, unit,
};
use lipbound_operators::{Selection, Workspace};
use lipbound_spectral::Monitor;
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// A monitor that counts how often it is asked.
#[derive(Default)]
pub struct Patient(Cell<usize>);

impl Patient {
    pub fn asked(&self) -> usize {
        self.0.get()
    }
}

impl Monitor for Patient {
    fn cancelled(&self) -> bool {
        self.0.set(self.0.get() + 1);
        false
    }
}

impl BoundMonitor for Patient {}

pub struct Random(pub ChaCha8Rng);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    pub fn below(&mut self, n: usize) -> usize {
        (self.0.next_u64() % n as u64) as usize
    }

    pub fn chance(&mut self, p: f64) -> bool {
        self.0.random::<f64>() < p
    }

    pub fn normal(&mut self) -> f64 {
        StandardNormal.sample(&mut self.0)
    }

    /// Normal numbers, or ones on a coarse grid (which makes ties and exact zeros), sometimes with dead rows.
    pub fn weights(&mut self, shape: &[usize]) -> Tensor {
        let n: usize = shape.iter().product();
        let grid = self.chance(0.4);
        let row = n / shape[0];
        let duplicate = self.chance(0.2);
        let mut data: Vec<f64> =
            (0..n).map(|_| if grid { [-1.0, -0.5, 0.0, 0.5, 1.0][self.below(5)] } else { self.normal() }).collect();
        if duplicate && shape[0] > 1 {
            let first = data[..row].to_vec();
            data[row..2 * row].copy_from_slice(&first);
        }
        if self.chance(0.15) {
            data[..row].fill(0.0);
        }
        Tensor::f64(shape.to_vec(), data).unwrap()
    }

    pub fn bias(&mut self, n: usize) -> Option<Tensor> {
        match self.below(4) {
            0 => None,
            1 => Some(Tensor::f64(vec![n], vec![0.0; n]).unwrap()),
            2 => Some(self.weights(&[n])),
            // Strongly negative: many dead units.
            _ => Some(Tensor::f64(vec![n], (0..n).map(|_| self.normal() - 2.0).collect()).unwrap()),
        }
    }

    pub fn unit(&mut self) -> Unit {
        match self.below(8) {
            0 => Unit::LeakyRelu { slope: 0.1 },
            1 => Unit::LeakyRelu { slope: [-0.5, 2.0, 0.0, 1.0][self.below(4)] },
            2 | 3 => self.clip(),
            _ => Unit::Relu,
        }
    }

    /// Clips whose ends are hit often: narrow, wide, around zero and away from it, one-sided.
    pub fn clip(&mut self) -> Unit {
        let (low, high) = [
            (0.0, 6.0),
            (0.0, 1.0),
            (-1.0, 1.0),
            (-0.5, 0.5),
            (0.25, 0.5),
            (f64::NEG_INFINITY, 0.5),
            (-0.5, f64::INFINITY),
        ][self.below(7)];
        Unit::Clip { low, high }
    }

    pub fn input(&mut self, shape: &[usize]) -> Tensor {
        let n: usize = shape.iter().product();
        let grid = self.chance(0.4);
        let data = (0..n).map(|_| if grid { [-1.0, 0.0, 0.5, 1.0][self.below(4)] } else { self.normal() }).collect();
        Tensor::f64(shape.to_vec(), data).unwrap()
    }
}

type Built = Result<(Layer, Vec<usize>), lipbound_lipschitz::ModelError>;

struct Chain {
    builder: NetworkBuilder,
    count: usize,
}

impl Chain {
    fn add(&mut self, inputs: Vec<usize>, built: Built) -> Option<usize> {
        let (layer, shape) = built.ok()?;
        self.count += 1;
        let node = Node { name: format!("n{}", self.count), kind: "test".into(), layer, inputs, shape, parameters: 0 };
        Some(self.builder.push(node).unwrap())
    }
}

/// Branches that meet again, and layers that are none of the usual ones.
impl Chain {
    fn pointwise(&mut self, at: usize, out: usize, random: &mut Random) -> usize {
        let shape = self.builder.shape(at).to_vec();
        let weight = random.weights(&[out, shape[0], 1, 1]);
        let bias = random.bias(out);
        self.add(vec![at], conv2d(&shape, &weight, bias.as_ref(), &Conv2dOptions::default())).unwrap()
    }

    /// Two or three affine branches from one source, of one map or of two, and perhaps the source itself.
    fn sum_of_affine_branches(&mut self, at: usize, random: &mut Random) -> Option<usize> {
        let shape = self.builder.shape(at).to_vec();
        let mut branches = if random.chance(0.5) { vec![at] } else { Vec::new() };
        for _ in 0..2 {
            let mut branch = self.pointwise(at, shape[0], random);
            if random.chance(0.5) {
                let mean = (0..shape[0]).map(|_| random.normal()).collect::<Vec<_>>();
                branch = self.add(vec![branch], normalize(&shape, &mean, &[0.75])).unwrap();
            }
            branches.push(branch);
        }
        self.add(branches, Ok((Layer::Add, shape)))
    }

    /// Up to three of: the source, an affine branch, a branch with units; perhaps one of them twice.
    fn branches_behind_each_other(&mut self, at: usize, random: &mut Random) -> Option<usize> {
        let shape = self.builder.shape(at).to_vec();
        let mut branches = vec![self.pointwise(at, 1 + random.below(2), random)];
        if random.chance(0.6) {
            let branch = self.pointwise(at, 1, random);
            let inner = self.builder.shape(branch).to_vec();
            branches.push(self.add(vec![branch], unit(&inner, random.unit())).unwrap());
        }
        if branches.len() < 2 || random.chance(0.5) {
            branches.push(at);
        }
        if random.chance(0.2) {
            branches.push(branches[0]);
        }
        let channels = branches.iter().map(|&b| self.builder.shape(b)[0]).sum();
        self.add(branches, Ok((Layer::Concat, vec![channels, shape[1], shape[2]])))
    }

    /// A reordering, a crop, zeros in between, elements that are there twice.
    fn selection(&mut self, at: usize, random: &mut Random) -> Option<usize> {
        let n: usize = self.builder.shape(at).iter().product();
        let mut order: Vec<u32> = (0..n as u32).collect();
        // Sometimes in their order, where only a constant may be added.
        if random.chance(0.75) {
            (1..n).rev().for_each(|i| order.swap(i, random.below(i + 1)));
        }
        match random.below(4) {
            0 => order.truncate(n.div_ceil(2)),
            1 => order.iter_mut().step_by(3).for_each(|j| *j = Selection::ZERO),
            2 => order.extend_from_within(..n / 2),
            _ => {}
        }
        let (operator, rows) = (Selection::new(n, order.clone()), order.len());
        let bias = random.bias(rows).map(|b| Bias { values: b.to_f64().into(), errors: None });
        let affine = Affine { operator: Arc::new(operator), bias };
        self.add(vec![at], Ok((Layer::Affine(affine), vec![1, 1, rows])))
    }

    /// The maxima of any sets of elements.
    fn windows(&mut self, at: usize, random: &mut Random) -> Option<usize> {
        let n: usize = self.builder.shape(at).iter().product();
        let (mut starts, mut members) = (vec![0], Vec::new());
        for _ in 0..1 + random.below(4) {
            let mut window: Vec<u32> = (0..1 + random.below(5)).map(|_| random.below(n) as u32).collect();
            window.sort_unstable();
            window.dedup();
            members.extend(window);
            starts.push(members.len());
        }
        let pool = MaxPool::from_windows(n, starts, members).unwrap();
        let outputs = pool.outputs();
        self.add(vec![at], Ok((Layer::MaxPool(Arc::new(pool)), vec![1, 1, outputs])))
    }
}

/// A small image network: convolutions, pools, batch norms, residual blocks, then linear layers.
pub fn network(random: &mut Random) -> Network {
    let input = vec![1 + random.below(2), 3 + random.below(4), 3 + random.below(4)];
    let mut chain = Chain { builder: NetworkBuilder::new(input).unwrap(), count: 0 };
    let mut at = 0;
    for _ in 0..random.below(4) {
        let shape = chain.builder.shape(at).to_vec();
        let next = match random.below(12) {
            0..=2 => {
                let groups = if shape[0].is_multiple_of(2) && random.chance(0.3) { 2 } else { 1 };
                let out = groups * (1 + random.below(2));
                let kernel = [1 + random.below(3), 1 + random.below(3)];
                let weight = random.weights(&[out, shape[0] / groups, kernel[0], kernel[1]]);
                let options = Conv2dOptions {
                    stride: [1 + random.below(2), 1 + random.below(2)],
                    padding: [random.below(2), random.below(2), random.below(2), random.below(2)],
                    dilation: [1 + random.below(2), 1],
                    groups,
                };
                let bias = random.bias(out);
                chain.add(vec![at], conv2d(&shape, &weight, bias.as_ref(), &options))
            }
            3 => {
                let kernel = [1 + random.below(3), 1 + random.below(3)];
                let options = MaxPool2dOptions {
                    kernel,
                    stride: [1 + random.below(2), 1 + random.below(2)],
                    padding: [0; 4],
                    dilation: [1; 2],
                    ceil_mode: random.chance(0.5),
                };
                chain.add(vec![at], max_pool2d(&shape, &options))
            }
            4 => {
                let options = AvgPool2d {
                    kernel: [1 + random.below(3), 1 + random.below(3)],
                    stride: [1 + random.below(2), 1],
                    padding: [0; 4],
                    ceil_mode: random.chance(0.5),
                    count_include_pad: true,
                };
                chain.add(vec![at], avg_pool2d(&shape, &options))
            }
            5 => {
                let c = shape[0];
                let (weight, mean) = (random.weights(&[c]), random.weights(&[c]));
                let var = Tensor::f64(vec![c], (0..c).map(|_| random.normal().abs() + 0.01).collect()).unwrap();
                let bias = random.bias(c);
                let tensors = BatchNorm2d {
                    weight: Some(&weight),
                    bias: bias.as_ref(),
                    running_mean: &mean,
                    running_var: &var,
                    eps: 1e-5,
                };
                chain.add(vec![at], batch_norm2d(&shape, &tensors))
            }
            6 => {
                // x + conv(unit(x)), with the unit on its own.
                let c = shape[0];
                let weight = random.weights(&[c, c, 1, 1]);
                let inner = chain.add(vec![at], unit(&shape, random.unit())).unwrap();
                let branch = chain.add(vec![inner], conv2d(&shape, &weight, None, &Conv2dOptions::default())).unwrap();
                chain.add(vec![at, branch], Ok((Layer::Add, shape.clone())))
            }
            7 => chain.sum_of_affine_branches(at, random),
            8 => chain.branches_behind_each_other(at, random),
            9 => chain.selection(at, random),
            10 => chain.windows(at, random),
            _ => {
                let units = (0..shape[0]).map(|_| random.unit()).collect();
                chain.add(vec![at], unit(&shape, Units::each(units, shape[1] * shape[2])))
            }
        };
        if let Some(next) = next {
            at = next;
            if random.chance(0.6) {
                let shape = chain.builder.shape(at).to_vec();
                at = chain.add(vec![at], unit(&shape, random.unit())).unwrap();
            }
        }
    }
    let shape = chain.builder.shape(at).to_vec();
    at = chain.add(vec![at], Ok(flatten(&shape))).unwrap();
    for _ in 0..1 + random.below(3) {
        let n = chain.builder.shape(at)[0];
        let out = 1 + random.below(6);
        let weight = random.weights(&[out, n]);
        let bias = random.bias(out);
        at = chain.add(vec![at], linear(&[n], &weight, bias.as_ref())).unwrap();
        if random.chance(0.7) {
            at = chain.add(vec![at], unit(&[out], random.unit())).unwrap();
        }
    }
    chain.builder.build().unwrap()
}

fn values(tensor: &Tensor) -> Vec<f64> {
    tensor.to_f64()
}

pub fn distance(a: &Tensor, b: &Tensor) -> f64 {
    values(a).iter().zip(values(b)).map(|(a, b)| (a - b) * (a - b)).sum::<f64>().sqrt()
}

/// A point of the ball around `x0`: on the sphere, inside, or along one axis.
pub fn nearby(random: &mut Random, x0: &Tensor, epsilon: f64) -> Tensor {
    let n = x0.len();
    let mut direction: Vec<f64> = (0..n).map(|_| random.normal()).collect();
    if random.chance(0.2) {
        let axis = random.below(n);
        direction.iter_mut().enumerate().for_each(|(i, d)| *d *= f64::from(u8::from(i == axis)));
    }
    let norm = direction.iter().map(|d| d * d).sum::<f64>().sqrt().max(1e-300);
    let radius = epsilon * if random.chance(0.5) { 1.0 - 1e-12 } else { random.0.random::<f64>() };
    let data = values(x0).iter().zip(&direction).map(|(x, d)| x + d / norm * radius).collect();
    Tensor::f64(x0.shape().to_vec(), data).unwrap()
}

/// `norm(f(a) - f(b)) / norm(a - b)` less what rounding can have added; `None` where the points coincide.
pub fn ratio(network: &Network, a: &Tensor, b: &Tensor) -> Option<f64> {
    let moved = distance(a, b);
    if moved == 0.0 {
        return None;
    }
    let (fa, fb) = (network.evaluate(a).unwrap(), network.evaluate(b).unwrap());
    let size = values(&fa).iter().chain(&values(&fb)).fold(1.0f64, |m, v| m.max(v.abs()));
    Some((distance(&fa, &fb) - 1e-12 * size) / moved)
}

/// The output node by node, whatever stages the network was made into.
pub fn node_by_node(network: &Network, x: &Tensor) -> Vec<f64> {
    let mut sources = vec![x.to_f64()];
    for node in network.nodes() {
        let inputs: Vec<&Vec<f64>> = node.inputs.iter().map(|&i| &sources[i]).collect();
        let output = match &node.layer {
            Layer::Affine(Affine { operator, bias }) => {
                let mut y = vec![0.0; operator.rows()];
                operator.apply(inputs[0], &mut y, &mut Workspace::new());
                if let Some(bias) = bias {
                    y.iter_mut().zip(&bias.values[..]).for_each(|(y, b)| *y += b);
                }
                y
            }
            Layer::Unit(units) => inputs[0].iter().enumerate().map(|(i, &y)| units.at(i).value(y)).collect(),
            Layer::MaxPool(pool) => {
                let mut y = vec![0.0; pool.outputs()];
                pool.apply(inputs[0], &mut y);
                y
            }
            Layer::Identity => inputs[0].clone(),
            Layer::Add => (0..inputs[0].len()).map(|i| inputs.iter().map(|x| x[i]).sum()).collect(),
            Layer::Concat => inputs.into_iter().flatten().copied().collect(),
        };
        sources.push(output);
    }
    sources.pop().unwrap()
}
