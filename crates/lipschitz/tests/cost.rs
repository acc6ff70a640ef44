//! What is predicted of a bound's cost, against multiply-adds that were counted.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use lipbound_lipschitz::{
    Affine, BoundOptions, Conv2dOptions, Kind, Layer, MethodRequest, Network, NetworkBuilder, Node, Quiet, Tensor,
    Unit, bound, conv2d, flatten, linear, unit,
};
use lipbound_operators::{LinearOperator, Workspace};
use lipbound_spectral::NormOptions;

/// An operator that counts what its products cost.
#[derive(Debug)]
struct Counting {
    operator: Arc<dyn LinearOperator>,
    work: Arc<AtomicUsize>,
}

impl Counting {
    fn count(&self) {
        self.work.fetch_add(self.operator.multiply_adds(), Ordering::Relaxed);
    }
}

impl LinearOperator for Counting {
    fn rows(&self) -> usize {
        self.operator.rows()
    }

    fn cols(&self) -> usize {
        self.operator.cols()
    }

    fn apply(&self, x: &[f64], y: &mut [f64], ws: &mut Workspace) {
        self.count();
        self.operator.apply(x, y, ws);
    }

    fn apply_adjoint(&self, y: &[f64], x: &mut [f64], ws: &mut Workspace) {
        self.count();
        self.operator.apply_adjoint(y, x, ws);
    }

    fn apply_abs(&self, x: &[f64], y: &mut [f64], ws: &mut Workspace) {
        self.count();
        self.operator.apply_abs(x, y, ws);
    }

    fn apply_abs_adjoint(&self, y: &[f64], x: &mut [f64], ws: &mut Workspace) {
        self.count();
        self.operator.apply_abs_adjoint(y, x, ws);
    }

    fn row_norms(&self, weights: Option<&[f64]>, norms: &mut [f64], ws: &mut Workspace) {
        self.count();
        self.operator.row_norms(weights, norms, ws);
    }

    fn rounding_length(&self) -> usize {
        self.operator.rounding_length()
    }

    fn abs_norm(&self) -> f64 {
        self.operator.abs_norm()
    }

    fn multiply_adds(&self) -> usize {
        self.operator.multiply_adds()
    }
}

/// Convolutions with units between them, then a linear layer.
fn network(work: &Arc<AtomicUsize>) -> Network {
    let mut builder = NetworkBuilder::new(vec![2, 16, 16]).unwrap();
    let mut state = 7u64;
    let mut weights = |shape: &[usize]| {
        let fan_in: usize = shape[1..].iter().product();
        let data = (0..shape.iter().product())
            .map(|_| {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                ((state >> 33) as f64 / f64::from(1u32 << 31) * 2.0 - 1.0) * (6.0 / fan_in as f64).sqrt()
            })
            .collect();
        Tensor::f64(shape.to_vec(), data).unwrap()
    };
    let mut push = |(layer, shape): (Layer, Vec<usize>)| {
        let layer = match layer {
            Layer::Affine(Affine { operator, bias }) => {
                let operator = Arc::new(Counting { operator, work: Arc::clone(work) });
                Layer::Affine(Affine { operator, bias })
            }
            other => other,
        };
        let inputs = vec![builder.last()];
        let name = format!("n{}", builder.last());
        builder.push(Node { name, kind: "test".into(), layer, inputs, shape: shape.clone(), parameters: 0 }).unwrap();
        shape
    };
    let mut shape = vec![2, 16, 16];
    for out in [8, 8, 8] {
        let options = Conv2dOptions { padding: [1; 4], ..Conv2dOptions::default() };
        shape = push(conv2d(&shape, &weights(&[out, shape[0], 3, 3]), None, &options).unwrap());
        shape = push(unit(&shape, Unit::Relu).unwrap());
    }
    let flat = push(flatten(&shape));
    push(linear(&flat, &weights(&[10, flat[0]]), None).unwrap());
    builder.build().unwrap()
}

#[test]
fn a_prediction_is_right_to_an_order_of_magnitude() {
    let work = Arc::new(AtomicUsize::new(0));
    let net = network(&work);
    let x0 = Tensor::f64(vec![2, 16, 16], (0..512).map(|i| f64::from(i).sin()).collect()).unwrap();
    let counted = |method: MethodRequest| {
        work.store(0, Ordering::Relaxed);
        let options = BoundOptions {
            epsilons: vec![0.05],
            kind: Kind::Centred,
            method,
            norm: NormOptions::default(),
            ..BoundOptions::default()
        };
        bound(&net, &x0, &options, &Quiet, &mut Workspace::new()).unwrap();
        work.load(Ordering::Relaxed) as f64
    };
    let cost = net.predicted_cost();
    net.evaluate(&x0).unwrap();
    assert_eq!(work.load(Ordering::Relaxed) as f64, cost.forward);
    for (method, predicted) in
        [(MethodRequest::Layerwise, cost.layerwise), (MethodRequest::Certificate, cost.certificate)]
    {
        let ratio = counted(method) / predicted;
        assert!((0.1..10.0).contains(&ratio), "{method:?}: {ratio} times the prediction");
        println!("{method:?}: {ratio} times the prediction, which is {} forward passes", predicted / cost.forward);
    }
    assert!(cost.certificate > 10.0 * cost.layerwise);
}
