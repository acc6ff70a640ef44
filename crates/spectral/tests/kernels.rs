//! That norms of convolutions are computed by the fused kernels, in their layout, and come out the same.

use std::sync::Arc;

use lipbound_kernels::{isa::Isa, pool::Threads};
use lipbound_operators::{Compose, Conv2d, ConvShape, Diagonal, LinearOperator, Masked, Workspace, masked};
use lipbound_spectral::{GuaranteeRequest, Method, NormOptions, Silent, norm_bracket};

fn wave(n: usize) -> Vec<f64> {
    (0..n).map(|i| ((i * 7919 % 1009) as f64 - 500.0) / 500.0).collect()
}

fn convolution(isa: Isa) -> Arc<dyn LinearOperator> {
    let shape = ConvShape {
        in_channels: 6,
        in_height: 12,
        in_width: 12,
        out_channels: 16,
        kernel: [5, 5],
        stride: [1, 1],
        padding: [0; 4],
        dilation: [1, 1],
        groups: 1,
    };
    Arc::new(Conv2d::new(shape, wave(shape.weight_len()).into()).unwrap().with_isa(isa).unwrap())
}

fn thirds(n: usize) -> Vec<f64> {
    (0..n).map(|i| f64::from(u8::from(i % 3 > 0))).collect()
}

fn options(guarantee: GuaranteeRequest, max_steps: usize) -> NormOptions {
    NormOptions { guarantee, max_steps, tolerance: 1e-6, failure_probability: 1e-6, ..NormOptions::default() }
}

/// Counted inside the kernels: besides a fixed number of calls for the bounds, a step is one pass forward and one back.
#[test]
fn a_step_is_one_fused_pass_each_way() {
    for isa in Isa::supported() {
        let conv = convolution(isa);
        let operator = masked(conv.clone(), Some(&thirds(conv.rows())), Some(&thirds(conv.cols())));
        let tiles = |max_steps: usize| {
            let mut ws = Workspace::new();
            let options = options(GuaranteeRequest::Probabilistic, max_steps);
            let norm = norm_bracket(&*operator, &options, &Silent, &mut ws).unwrap();
            assert_eq!(norm.method, Method::Lanczos);
            assert!(Isa::ALL.into_iter().all(|other| other == isa || ws.tiles_computed(other) == 0));
            (norm.steps as u64, ws.tiles_computed(isa))
        };
        let mut ws = Workspace::new();
        let (mut x, mut y) = (vec![0.0; operator.cols()], vec![0.0; operator.rows()]);
        operator.recur(1.0, &x, 0.0, &mut y, &mut ws);
        operator.recur_adjoint(1.0, &y, 0.0, &mut x, &mut ws);
        let step = ws.tiles_computed(isa);
        let ((few, start), (many, end)) = (tiles(6), tiles(16));
        assert!(many > few);
        assert_eq!(end - start, (many - few) * step);
    }
}

#[test]
fn fused_and_plain_operators_have_the_same_norm() {
    for isa in Isa::supported() {
        let conv = convolution(isa);
        let scale = |n: usize| Arc::new(Diagonal::new(wave(n))) as Arc<dyn LinearOperator>;
        let normalised = Compose::new(vec![scale(conv.cols()), conv.clone(), scale(conv.rows())]);
        for operator in [conv.clone(), Arc::new(normalised)] {
            let (rows, cols) = (thirds(operator.rows()), thirds(operator.cols()));
            let plain = Masked::new(operator.clone(), Some(rows.clone()), Some(cols.clone()));
            let fused = masked(operator, Some(&rows), Some(&cols));
            assert_ne!(fused.cols(), plain.cols(), "six channels are eight lanes");
            let bracket = |operator: &dyn LinearOperator, guarantee| {
                norm_bracket(operator, &options(guarantee, 1000), &Silent, &mut Workspace::new()).unwrap()
            };
            let exact = bracket(&plain, GuaranteeRequest::Deterministic);
            for guarantee in [GuaranteeRequest::Auto, GuaranteeRequest::Deterministic, GuaranteeRequest::Probabilistic]
            {
                let norm = bracket(&*fused, guarantee);
                assert!(norm.lower <= exact.upper && norm.upper >= exact.lower, "{guarantee:?}: {norm:?}, {exact:?}");
                assert!(norm.upper - norm.lower <= 1.1e-6 * norm.upper, "{guarantee:?}: {norm:?}");
            }
        }
    }
}

#[test]
fn threads_change_no_bit_of_a_bracket() {
    let conv = convolution(Isa::detect());
    let operator = masked(conv.clone(), Some(&thirds(conv.rows())), None);
    let [one, three] = [1, 3].map(|threads| {
        let mut ws = Workspace::with_threads(Threads::new(threads).unwrap());
        norm_bracket(&*operator, &options(GuaranteeRequest::Probabilistic, 1000), &Silent, &mut ws).unwrap()
    });
    assert_eq!(one, three);
}
