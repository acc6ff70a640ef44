//! Whether work is given up soon after nobody wants it any more: between any two products with an operator.

use std::cell::Cell;

use lipbound_operators::Workspace;
use lipbound_spectral::{Cancelled, Monitor, NormOptions};

use crate::{
    BoundError, BoundMonitor, Kind, Layer, MaxPool2dOptions, ModelError, Network, NetworkBuilder, Node, Tensor, Unit,
    attained,
    flow::Flow,
    increments::{Increments, Step},
    layerwise::Ball,
    ledger::Ledger,
    linear, max_pool2d,
    nominal::Nominal,
    unit,
};

/// Counts how often it is asked, and says stop from some time on.
struct Impatient {
    asked: Cell<usize>,
    patience: usize,
}

impl Impatient {
    fn new(patience: usize) -> Self {
        Self { asked: Cell::new(0), patience }
    }
}

impl Monitor for Impatient {
    fn cancelled(&self) -> bool {
        self.asked.set(self.asked.get() + 1);
        self.asked.get() > self.patience
    }
}

impl BoundMonitor for Impatient {}

/// Two layers of 12 units as images of 2 x 6, a max pool behind them, and a last layer.
fn network() -> Network {
    let mut builder = NetworkBuilder::new(vec![5]).unwrap();
    let mut add = |name: &str, built: Result<(Layer, Vec<usize>), ModelError>, shape: Option<Vec<usize>>| {
        let (layer, own) = built.unwrap();
        let inputs = vec![builder.last()];
        let (name, kind, shape) = (name.into(), "test".into(), shape.unwrap_or(own));
        builder.push(Node { name, kind, layer, inputs, shape, parameters: 0 }).unwrap();
    };
    let weight = |rows: usize, cols: usize| {
        let data = (0..rows * cols).map(|k| (k as f64 * 0.7 + rows as f64).sin()).collect();
        Tensor::f64(vec![rows, cols], data).unwrap()
    };
    add("fc1", linear(&[5], &weight(12, 5), None), None);
    add("relu1", unit(&[12], Unit::Relu), None);
    add("fc2", linear(&[12], &weight(12, 12), None), None);
    add("relu2", unit(&[12], Unit::Relu), Some(vec![1, 2, 6]));
    let (kernel, stride, padding, dilation) = ([2, 2], [1, 1], [0; 4], [1; 2]);
    let pool = MaxPool2dOptions { kernel, stride, padding, dilation, ceil_mode: false };
    add("pool", max_pool2d(&[1, 2, 6], &pool), Some(vec![5]));
    add("fc3", linear(&[5], &weight(3, 5), None), None);
    builder.build().unwrap()
}

const INPUT: [f64; 5] = [0.3, -0.2, 0.1, 0.5, -0.4];

#[test]
fn a_forward_pass_asks_between_its_products() {
    let net = network();
    let run = |monitor: &Impatient| Nominal::new(net.plan(), &INPUT, monitor, &mut Workspace::new()).map(|_| ());
    let all = Impatient::new(usize::MAX);
    run(&all).unwrap();
    // Once a stage, and twice more for each of three affine maps.
    assert_eq!(all.asked.get(), 4 + 3 * 2);
    gives_up_at_once(all.asked.get(), |monitor| run(monitor).map_err(|Cancelled| BoundError::Cancelled));
}

#[test]
fn the_search_for_an_attained_ratio_asks_in_every_stage() {
    let net = network();
    let nominal = Nominal::new(net.plan(), &INPUT, &crate::Quiet, &mut Workspace::new()).unwrap();
    let question = attained::Question {
        plan: net.plan(),
        nominal: Some(&nominal),
        inputs: 5,
        kind: Kind::Centred,
        epsilon: 0.1,
        upper: f64::INFINITY,
        seed: 1,
        restarts: 0,
        insist: false,
        witness: false,
        smooth_gains: None,
        functional: None,
    };
    let run =
        |monitor: &Impatient| attained::attained(&question, &mut None, monitor, &mut Workspace::new()).map(|_| ());
    let all = Impatient::new(usize::MAX);
    run(&all).unwrap();
    // Two steps at least, backwards and forwards through four stages, and forward passes to six points behind them.
    assert!(all.asked.get() >= 2 * 2 * 4 + 6 * 4, "{}", all.asked.get());
    gives_up_at_once(all.asked.get(), run);
}

#[test]
fn ranges_by_paths_ask_for_every_unit_and_every_window() {
    let net = network();
    let nominal = Nominal::new(net.plan(), &INPUT, &crate::Quiet, &mut Workspace::new()).unwrap();
    let mut flows = vec![Flow::input(5, 10.0, None)];
    let mut increments = Increments::of(&flows[0]);
    for (index, stage) in net.plan().stages.iter().enumerate() {
        let asked = |refine: bool, patience: usize| {
            let monitor = Impatient::new(patience);
            let ball = Ball { nominal: Some(&nominal), kind: Kind::Centred, epsilon: 10.0, refine, extents: None };
            let mut ws = Workspace::new();
            let options = NormOptions::default();
            let step = ball.stage(
                index,
                stage,
                &flows,
                &increments,
                &options,
                &mut None,
                &mut Ledger::Closed,
                &monitor,
                &mut ws,
            );
            (step, monitor.asked.get())
        };
        let (_, without) = asked(false, usize::MAX);
        let (step, with) = asked(true, usize::MAX);
        let step = step.unwrap();
        // The first stage reads the input and the last has no units; a ball this large leaves all others undecided.
        let more = [0, 12, 5, 0][index];
        assert_eq!(with, without + more, "stage {index}");
        for patience in 0..more {
            let (step, asked) = asked(true, patience);
            assert!(matches!(step, Err(BoundError::Cancelled)) && asked == patience + 1, "stage {index}, {asked}");
        }
        increments.units.extend(step.uncertain);
        let outputs = stage.shape.iter().product();
        increments.push(Step { inputs: stage.inputs.clone(), outputs, change: step.change }, step.levels);
        flows.push(step.output);
    }
}

/// Whenever it is told to stop, work asks no second time.
fn gives_up_at_once(asked: usize, run: impl Fn(&Impatient) -> Result<(), BoundError>) {
    for patience in 0..asked {
        let monitor = Impatient::new(patience);
        assert_eq!(run(&monitor), Err(BoundError::Cancelled));
        assert_eq!(monitor.asked.get(), patience + 1);
    }
}
