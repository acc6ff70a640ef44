//! Small networks and increments for tests, beside what they are when they are computed number by number.

use std::sync::Arc;

use lipbound_operators::{Dense, LinearOperator, Workspace};
use lipbound_spectral::{NormBracket, NormOptions};

use crate::{
    Affine, Bias, Layer, Network, NetworkBuilder, Node, Quiet, UnitCounts,
    flow::Flow,
    increments::{Change, Increments, Step, Uncertain},
    layerwise::Ball,
    ledger::Ledger,
};

/// A matrix, row by row.
pub(crate) type Matrix = Vec<Vec<f64>>;

/// Maps with units behind all but the last: element `i` behind map `k` has the centre `centres[k][i]` and the half-width
/// `deltas[k][i]`, zero where its slope is certain.
pub(crate) struct Example {
    pub maps: Vec<Matrix>,
    pub centres: Vec<Vec<f64>>,
    pub deltas: Vec<Vec<f64>>,
}

impl Example {
    /// Three inputs, four units of which one is certain, three units, two outputs.
    pub fn new() -> Self {
        Self {
            maps: vec![
                vec![vec![1.0, -2.0, 0.5], vec![0.25, 1.5, -1.0], vec![-0.75, 0.5, 3.0], vec![2.0, 1.0, -0.5]],
                vec![vec![0.5, -1.0, 1.25, 0.75], vec![-2.0, 0.5, 0.25, 1.0], vec![1.0, 1.5, -0.5, -0.25]],
                vec![vec![1.0, -0.5, 2.0], vec![-1.5, 0.75, 0.5]],
            ],
            centres: vec![vec![0.5, 1.0, 0.75, 0.375], vec![0.25, 0.5, 0.625]],
            deltas: vec![vec![0.5, 0.0, 0.25, 0.375], vec![0.25, 0.5, 0.125]],
        }
    }

    /// Diagonal maps: channels that never meet, between ReLUs of which nothing is known. The constant of a channel is the
    /// product of its factors.
    pub fn channels(factors: &[Vec<f64>]) -> Self {
        let width = factors[0].len();
        let row = |f: &[f64], i: usize| (0..width).map(|j| if i == j { f[i] } else { 0.0 }).collect();
        let maps = factors.iter().map(|f| (0..width).map(|i| row(f, i)).collect()).collect();
        let units = vec![vec![0.5; width]; factors.len() - 1];
        Self { maps, centres: units.clone(), deltas: units }
    }

    /// How many units are uncertain.
    pub fn units(&self) -> usize {
        self.deltas.iter().flatten().filter(|d| **d > 0.0).count()
    }

    pub fn increments(&self) -> Increments {
        let inputs = self.maps[0][0].len();
        let mut increments =
            Increments { inputs, moves: None, steps: Vec::new(), units: Vec::new(), source_levels: vec![0] };
        for (k, map) in self.maps.iter().enumerate() {
            let values: Vec<f64> = map.concat();
            let operator: Arc<dyn LinearOperator> = Arc::new(Dense::<f64>::new(map.len(), map[0].len(), values.into()));
            let first = increments.units.len();
            let deltas = self.deltas.get(k).map_or(&[][..], |d| d);
            let unstable: Vec<u32> = (0..deltas.len()).filter(|&i| deltas[i] > 0.0).map(|i| i as u32).collect();
            let unit = |&i: &u32| Uncertain { delta: deltas[i as usize], deviation: 0.5, level: k + 1 };
            increments.units.extend(unstable.iter().map(unit));
            let levels = usize::from(!unstable.is_empty());
            let centres = self.centres.get(k).cloned();
            let change = Change::Affine { operator: Some(operator), centres, unstable, first };
            increments.push(Step { inputs: vec![k], outputs: map.len(), change }, levels);
        }
        increments
    }

    /// `dy`, and `dv` of the uncertain units, for these increments of the input and errors of the uncertain units.
    pub fn product(&self, dx: &[f64], e: &[f64]) -> (Vec<f64>, Vec<f64>) {
        let mut errors = e.iter();
        let mut seen = Vec::new();
        let mut z = dx.to_vec();
        for (k, map) in self.maps.iter().enumerate() {
            z = map.iter().map(|row| row.iter().zip(&z).map(|(a, z)| a * z).sum()).collect();
            let Some(deltas) = self.deltas.get(k) else { continue };
            for i in 0..z.len() {
                let dv = z[i];
                z[i] = self.centres[k][i] * dv;
                if deltas[i] > 0.0 {
                    seen.push(dv);
                    z[i] += errors.next().unwrap();
                }
            }
        }
        (z, seen)
    }

    /// The matrix of `(dx, e) -> (dy, dv)`, by columns.
    pub fn columns(&self) -> Matrix {
        let (inputs, units) = (self.maps[0][0].len(), self.units());
        let unit_vector = |n: usize, at: Option<usize>| (0..n).map(|i| f64::from(u8::from(at == Some(i)))).collect();
        (0..inputs + units)
            .map(|j| {
                let dx: Vec<f64> = unit_vector(inputs, (j < inputs).then_some(j));
                let e: Vec<f64> = unit_vector(units, j.checked_sub(inputs));
                let (dy, dv) = self.product(&dx, &e);
                [dy, dv].concat()
            })
            .collect()
    }
}

/// The largest singular value of a matrix given by its columns, by many steps of a power iteration: from below, and so
/// near that it makes no difference here.
pub(crate) fn norm_of_columns(columns: &[Vec<f64>]) -> f64 {
    let mut x: Vec<f64> = (0..columns.len()).map(|j| 1.0 + (j as f64 * 0.7).sin()).collect();
    let mut norm = 0.0;
    for _ in 0..5000 {
        let size = x.iter().map(|x| x * x).sum::<f64>().sqrt();
        x.iter_mut().for_each(|x| *x /= size);
        let y: Vec<f64> = (0..columns[0].len()).map(|i| columns.iter().zip(&x).map(|(c, x)| c[i] * x).sum()).collect();
        norm = y.iter().map(|y| y * y).sum::<f64>().sqrt();
        x = columns.iter().map(|c| c.iter().zip(&y).map(|(c, y)| c * y).sum()).collect();
    }
    norm
}

/// What a walk through the stages of a network finds.
pub(crate) struct Walked {
    pub increments: Increments,
    /// Of the input, and behind every stage.
    pub flows: Vec<Flow>,
    pub norms: Vec<NormBracket>,
    pub units: Vec<UnitCounts>,
}

/// Goes through the stages with nothing claimed, from an input whose elements may move as the ball says.
pub(crate) fn walk(network: &Network, ball: &Ball<'_>) -> Walked {
    let mut ws = Workspace::new();
    let inputs = network.input_shape().iter().product();
    let flows = vec![Flow::input(inputs, ball.epsilon, ball.extents)];
    let increments = Increments::of(&flows[0]);
    let mut this = Walked { increments, flows, norms: Vec::new(), units: Vec::new() };
    for (index, stage) in network.plan().stages.iter().enumerate() {
        let (options, ledger) = (NormOptions::default(), &mut Ledger::Closed);
        let Walked { increments, flows, .. } = &mut this;
        let step = ball.stage(index, stage, flows, increments, &options, &mut None, ledger, &Quiet, &mut ws).unwrap();
        increments.units.extend(step.uncertain);
        let outputs = stage.shape.iter().product();
        increments.push(Step { inputs: stage.inputs.clone(), outputs, change: step.change }, step.levels);
        flows.push(step.output);
        this.norms.push(step.norm);
        this.units.push(step.units);
    }
    this
}

/// Layers behind each other.
pub(crate) fn chain(inputs: usize, layers: Vec<Layer>, widths: &[usize]) -> Network {
    let mut builder = NetworkBuilder::new(vec![inputs]).unwrap();
    for (k, (layer, &width)) in layers.into_iter().zip(widths).enumerate() {
        let inputs = vec![builder.last()];
        let node =
            Node { name: format!("n{k}"), kind: "test".into(), layer, inputs, shape: vec![width], parameters: 0 };
        builder.push(node).unwrap();
    }
    builder.build().unwrap()
}

/// An affine map each of whose constants may be off by its error.
pub(crate) fn doubtful(map: &[Vec<f64>], bias: &[f64], errors: &[f64]) -> Affine {
    let operator = Arc::new(Dense::<f64>::new(map.len(), map[0].len(), map.concat().into()));
    Affine { operator, bias: Some(Bias { values: bias.into(), errors: Some(errors.into()) }) }
}

/// That a number rounded up is not below the exact one, and hardly above it.
pub(crate) fn near(found: f64, exact: f64) {
    assert!(found >= exact && found <= exact * (1.0 + 1e-12), "{found:e} for {exact:e}");
}
