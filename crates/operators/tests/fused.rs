//! The fused convolution against the plain one, over random geometries, masks and scales, on every instruction set.

use std::sync::Arc;

use lipbound_kernels::{ConvShape, isa::Isa, pool::Threads};
use lipbound_operators::{
    Compose, Conv2d, Dense, Diagonal, LinearOperator, Masked, Workspace, masked,
    rounding::{gamma, sum_of_squares},
};
use proptest::{prelude::*, test_runner::RngAlgorithm};

fn shape() -> impl Strategy<Value = ConvShape> {
    (
        (1usize..4, 1usize..7, 1usize..7, 1usize..9, 1usize..9),
        ([1usize..4, 1..4], [1usize..4, 1..4], [0usize..3, 0..3, 0..3, 0..3], [1usize..3, 1..3]),
    )
        .prop_map(|((groups, ci, co, h, w), (kernel, stride, padding, dilation))| ConvShape {
            in_channels: groups * ci,
            in_height: h,
            in_width: w,
            out_channels: groups * co,
            kernel,
            stride,
            padding,
            dilation,
            groups,
        })
        .prop_filter("the kernel fits", |shape| shape.validate().is_ok())
}

fn vector(len: usize) -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(-1.0f64..1.0, len)
}

fn mask(len: usize) -> impl Strategy<Value = Option<Vec<f64>>> {
    prop_oneof![
        1 => Just(None),
        2 => prop::collection::vec(prop_oneof![Just(0.0), Just(1.0)], len).prop_map(Some),
        1 => prop::collection::vec(prop_oneof![Just(0.0), Just(1.0), 0.0f64..1.0], len).prop_map(Some),
    ]
}

/// Diagonals of any sign, as a batch normalisation or a normalisation of the input has.
fn diagonal(len: usize) -> impl Strategy<Value = Option<Arc<dyn LinearOperator>>> {
    prop::option::weighted(0.3, (prop::collection::vec(prop_oneof![Just(0.0), -2.0f64..2.0], len), 0usize..6))
        .prop_map(|d| d.map(|(values, n)| Arc::new(Diagonal::rounded(values, n)) as Arc<dyn LinearOperator>))
}

type Mask = Option<Vec<f64>>;

#[derive(Clone, Debug)]
struct Case {
    shape: ConvShape,
    operator: Arc<dyn LinearOperator>,
    rows: Mask,
    cols: Mask,
    x: Vec<f64>,
    y: Vec<f64>,
}

impl Case {
    fn plain(&self) -> Masked {
        Masked::new(self.operator.clone(), self.rows.clone(), self.cols.clone())
    }

    fn fused(&self) -> Arc<dyn LinearOperator> {
        masked(self.operator.clone(), self.rows.as_deref(), self.cols.as_deref())
    }
}

fn case() -> impl Strategy<Value = Case> {
    (shape(), prop::sample::select(Isa::supported().collect::<Vec<_>>())).prop_flat_map(|(shape, isa)| {
        let (rows, cols) = (shape.output_len(), shape.input_len());
        (
            vector(shape.weight_len()),
            (diagonal(rows), diagonal(cols)),
            (mask(rows), mask(cols)),
            (vector(cols), vector(rows)),
        )
            .prop_map(move |(weights, (after, before), (rows, cols), (x, y))| {
                let conv = Conv2d::new(shape, weights.into()).unwrap().with_isa(isa).unwrap();
                let conv: Arc<dyn LinearOperator> = Arc::new(conv);
                let operator = match (before, after) {
                    (None, None) => conv,
                    (before, after) => Arc::new(Compose::new(before.into_iter().chain([conv]).chain(after).collect())),
                };
                Case { shape, operator, rows, cols, x, y }
            })
    })
}

/// `[channels][pixels]` to the blocked layout, written down a second time.
fn block(plain: &[f64], channels: usize, filler: f64) -> Vec<f64> {
    let pixels = plain.len() / channels;
    let mut blocked = vec![filler; channels.div_ceil(8) * pixels * 8];
    for (i, &v) in plain.iter().enumerate() {
        let (channel, pixel) = (i / pixels, i % pixels);
        blocked[(channel / 8 * pixels + pixel) * 8 + channel % 8] = v;
    }
    blocked
}

fn unblock(blocked: &[f64], channels: usize) -> Vec<f64> {
    let pixels = blocked.len() / channels.div_ceil(8) / 8;
    (0..channels * pixels).map(|i| blocked[(i / pixels / 8 * pixels + i % pixels) * 8 + i / pixels % 8]).collect()
}

fn apply(operator: &dyn LinearOperator, x: &[f64]) -> Vec<f64> {
    let mut y = vec![f64::NAN; operator.rows()];
    operator.apply(x, &mut y, &mut Workspace::new());
    y
}

fn apply_adjoint(operator: &dyn LinearOperator, y: &[f64]) -> Vec<f64> {
    let mut x = vec![f64::NAN; operator.cols()];
    operator.apply_adjoint(y, &mut x, &mut Workspace::new());
    x
}

fn near(a: &[f64], b: &[f64], tolerance: f64) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() <= tolerance * (1.0 + b.abs()))
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

fn active(operator: &dyn LinearOperator) -> (Vec<bool>, Vec<bool>) {
    let (mut rows, mut cols) = (vec![true; operator.rows()], vec![true; operator.cols()]);
    operator.mark_active_rows(&mut rows);
    operator.mark_active_cols(&mut cols);
    (rows, cols)
}

fn only(active: &[bool], mut vector: Vec<f64>) -> Vec<f64> {
    vector.iter_mut().zip(active).for_each(|(v, &a)| *v = if a { *v } else { 0.0 });
    vector
}

fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, max_shrink_iters: 200, rng_algorithm: RngAlgorithm::ChaCha, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config(1500))]

    #[test]
    fn products_agree_with_the_plain_operator(case in case()) {
        let (plain, fused) = (case.plain(), case.fused());
        let (inputs, outputs) = (case.shape.in_channels, case.shape.out_channels);
        prop_assert_eq!(fused.rows(), block(&case.y, outputs, 0.0).len(), "it is fused");
        // What lies in lanes without a channel is multiplied by zeros.
        let y = apply(&*fused, &block(&case.x, inputs, 7.0));
        prop_assert!(near(&unblock(&y, outputs), &apply(&plain, &case.x), 1e-12));
        let x = apply_adjoint(&*fused, &block(&case.y, outputs, 7.0));
        prop_assert!(near(&unblock(&x, inputs), &apply_adjoint(&plain, &case.y), 1e-12));
        // They are zeros in every result.
        prop_assert_eq!(&block(&unblock(&y, outputs), outputs, 0.0), &y);
        prop_assert_eq!(&block(&unblock(&x, inputs), inputs, 0.0), &x);
    }

    #[test]
    fn adjoints_are_adjoint(case in case()) {
        for operator in [case.operator.clone(), case.fused()] {
            let blocked = operator.rows() != case.y.len() || operator.cols() != case.x.len();
            let x = if blocked { block(&case.x, case.shape.in_channels, 0.0) } else { case.x.clone() };
            let y = if blocked { block(&case.y, case.shape.out_channels, 0.0) } else { case.y.clone() };
            let (forward, back) = (dot(&apply(&*operator, &x), &y), dot(&x, &apply_adjoint(&*operator, &y)));
            prop_assert!((forward - back).abs() <= 1e-12 * (1.0 + operator.abs_norm()) * (x.len() + y.len()) as f64);
        }
    }

    #[test]
    fn recurrences_agree_with_the_products(case in case(), a in -2.0f64..2.0, b in prop_oneof![Just(0.0), -2.0f64..2.0]) {
        let fused = case.fused();
        let (rows, cols) = active(&*fused);
        let x = only(&cols, block(&case.x, case.shape.in_channels, 0.0));
        let y = only(&rows, block(&case.y, case.shape.out_channels, 0.0));
        let mut ws = Workspace::new();

        let mut new = if b == 0.0 { vec![f64::NAN; y.len()] } else { y.clone() };
        let squares = fused.recur(a, &x, b, &mut new, &mut ws);
        let expected: Vec<f64> = apply(&*fused, &x).iter().zip(&y).map(|(t, y)| a * t - b * y).collect();
        prop_assert!(near(&new, &expected, 1e-12));
        prop_assert_eq!(&only(&rows, new.clone()), &new, "inactive rows stay zero");
        let exact = sum_of_squares(&new, 1.0);
        prop_assert!((squares - exact).abs() <= 2.0 * gamma(fused.norm_roundings()) * exact);

        let mut new = if b == 0.0 { vec![f64::NAN; x.len()] } else { x.clone() };
        let squares = fused.recur_adjoint(a, &y, b, &mut new, &mut ws);
        let expected: Vec<f64> = apply_adjoint(&*fused, &y).iter().zip(&x).map(|(t, x)| a * t - b * x).collect();
        prop_assert!(near(&new, &expected, 1e-12));
        prop_assert_eq!(&only(&cols, new.clone()), &new, "inactive columns stay zero");
        let exact = sum_of_squares(&new, 1.0);
        prop_assert!((squares - exact).abs() <= 2.0 * gamma(fused.norm_roundings()) * exact);
    }

    #[test]
    fn bounds_cover_the_matrix(case in case()) {
        let (plain, fused) = (case.plain(), case.fused());
        let (inputs, outputs) = (case.shape.in_channels, case.shape.out_channels);
        let mut ws = Workspace::new();
        let dense = fused.to_dense();
        let (rows, cols) = active(&*fused);
        let (plain_rows, plain_cols) = active(&plain);
        let count = |a: &[bool]| a.iter().filter(|&&a| a).count();
        prop_assert_eq!((count(&rows), count(&cols)), (count(&plain_rows).min(count(&rows)), count(&plain_cols).min(count(&cols))));
        let mut row = vec![f64::NAN; fused.cols()];
        let mut norms = vec![f64::NAN; fused.rows()];
        let mut absolute = vec![f64::NAN; fused.rows()];
        let weights: Vec<f64> = block(&case.x, inputs, 0.5).iter().map(|x| x.abs()).collect();
        let mut weighted = norms.clone();
        fused.row_norms(None, &mut norms, &mut ws);
        fused.row_norms(Some(&weights), &mut weighted, &mut ws);
        fused.apply_abs(&weights, &mut absolute, &mut ws);
        let mut of_plain = vec![f64::NAN; plain.rows()];
        plain.row_norms(None, &mut of_plain, &mut ws);
        prop_assert!(near(&unblock(&norms, outputs), &of_plain, 1e-12));
        for i in 0..fused.rows() {
            fused.row_into(i, &mut row, &mut ws);
            prop_assert!(near(&row, dense.row(i), 1e-12));
            prop_assert!(rows[i] || dense.row(i).iter().all(|&a| a == 0.0), "an inactive row is zero");
            prop_assert!((0..row.len()).all(|j| cols[j] || row[j] == 0.0), "an inactive column is zero");
            let room = 1.0 - 1e-14;
            let exact = sum_of_squares(dense.row(i), 1.0).sqrt();
            prop_assert!(norms[i] >= exact * room && norms[i] <= exact * (1.0 + 1e-12) + 1e-150);
            let exact: f64 = row.iter().zip(&weights).map(|(a, w)| (a * w).powi(2)).sum::<f64>().sqrt();
            prop_assert!(weighted[i] >= exact * room && weighted[i] <= exact * (1.0 + 1e-12) + 1e-150);
            let exact: f64 = row.iter().zip(&weights).map(|(a, w)| a.abs() * w).sum();
            prop_assert!(absolute[i] >= exact * room && absolute[i] <= exact * (1.0 + 1e-12));
        }
        let mut of_columns = vec![f64::NAN; fused.cols()];
        let ones = vec![1.0; fused.rows()];
        fused.apply_abs_adjoint(&ones, &mut of_columns, &mut ws);
        for (j, &sum) in of_columns.iter().enumerate() {
            let exact: f64 = (0..fused.rows()).map(|i| dense.row(i)[j].abs()).sum();
            prop_assert!(sum >= exact * (1.0 - 1e-14) && sum <= exact * (1.0 + 1e-12));
        }
        prop_assert!(fused.abs_norm() >= sum_of_squares(dense.values(), 1.0).sqrt() / (rows.len() as f64).sqrt() * (1.0 - 1e-12));
        if let Some(conv) = fused.convolution() {
            prop_assert_eq!(conv.shape, &case.shape);
            prop_assert!([conv.row_scale, conv.col_scale].into_iter().flatten().flatten().all(|&s| s >= 0.0));
        }
    }

    #[test]
    fn sums_are_as_exact_as_they_say(case in case()) {
        // A sum in another order is an exact reference up to what both orders may lose.
        let fused = case.fused();
        let (x, dense) = (block(&case.x, case.shape.in_channels, 0.0), fused.to_dense());
        let (mut y, mut size) = (apply(&*fused, &x), vec![0.0; fused.rows()]);
        let magnitudes: Vec<f64> = x.iter().map(|x| x.abs()).collect();
        fused.apply_abs(&magnitudes, &mut size, &mut Workspace::new());
        let error = gamma(fused.rounding_length() + 1) + gamma(x.len() + fused.rounding_length() + 1);
        y.iter_mut().enumerate().for_each(|(i, y)| *y -= dot(dense.row(i), &x));
        prop_assert!(y.iter().zip(&size).all(|(e, s)| e.abs() <= error * s));
    }
}

fn convolution(channels: usize, isa: Isa) -> Arc<dyn LinearOperator> {
    let shape = ConvShape {
        in_channels: channels,
        in_height: 24,
        in_width: 25,
        out_channels: 2 * channels,
        kernel: [3, 3],
        stride: [1, 1],
        padding: [1; 4],
        dilation: [1, 1],
        groups: 1,
    };
    let weights: Vec<f64> = (0..shape.weight_len()).map(|i| ((i * 7919 % 1009) as f64 - 500.0) / 500.0).collect();
    Arc::new(Conv2d::new(shape, weights.into()).unwrap().with_isa(isa).unwrap())
}

#[test]
fn threads_change_no_bit() {
    let wave = |n: usize| (0..n).map(|i| ((i * 31 % 101) as f64 - 50.0) / 50.0).collect::<Vec<_>>();
    let matrix = Arc::new(Dense::<f64>::new(700, 900, wave(700 * 900).into())) as Arc<dyn LinearOperator>;
    for operator in Isa::supported().map(|isa| convolution(40, isa)).chain([matrix]) {
        let half = |n: usize| (0..n).map(|i| f64::from(u8::from(i % 3 > 0))).collect::<Vec<_>>();
        let fused = masked(operator.clone(), Some(&half(operator.rows())), Some(&half(operator.cols())));
        let (_, cols) = active(&*fused);
        let results = [1, 2, 3].map(|threads| {
            let mut ws = Workspace::with_threads(Threads::new(threads).unwrap());
            let (mut x, mut y) = (only(&cols, wave(fused.cols())), vec![f64::NAN; fused.rows()]);
            let (mut norms, mut absolute) = (vec![f64::NAN; fused.rows()], vec![f64::NAN; fused.rows()]);
            let forward = fused.recur(0.5, &x, 0.0, &mut y, &mut ws);
            let back = fused.recur_adjoint(0.5, &y, 0.25, &mut x, &mut ws);
            fused.row_norms(None, &mut norms, &mut ws);
            fused.apply_abs(&vec![1.0; fused.cols()], &mut absolute, &mut ws);
            (forward.to_bits(), back.to_bits(), x, y, norms, absolute)
        });
        assert!(results[0] == results[1] && results[0] == results[2]);
    }
}

#[test]
fn each_step_is_one_call_of_the_kernels_of_the_set() {
    for isa in Isa::supported() {
        let fused = masked(convolution(16, isa), None, None);
        let mut ws = Workspace::new();
        let (mut x, mut y) = (vec![1.0; fused.cols()], vec![0.0; fused.rows()]);
        fused.recur(1.0, &x, 0.0, &mut y, &mut ws);
        let once = ws.tiles_computed(isa);
        assert!(once > 0);
        fused.recur(1.0, &x, 0.0, &mut y, &mut ws);
        assert_eq!(ws.tiles_computed(isa), 2 * once);
        fused.recur_adjoint(1.0, &y, 0.0, &mut x, &mut ws);
        assert!(ws.tiles_computed(isa) > 2 * once);
        assert!(Isa::ALL.into_iter().all(|other| other == isa || ws.tiles_computed(other) == 0));
    }
}

#[test]
fn what_is_no_scaled_convolution_is_masked_as_it_is() {
    let matrix = Arc::new(Dense::<f64>::new(2, 3, vec![1.0; 6].into())) as Arc<dyn LinearOperator>;
    let between = masked(matrix.clone(), Some(&[1.0, 0.0]), None);
    assert_eq!(apply(&*between, &[1.0; 3]), [3.0, 0.0]);
    assert!(Arc::ptr_eq(&masked(matrix.clone(), None, None), &matrix));
    // Two convolutions in a row, and scales whose product would vanish.
    let conv = convolution(1, Isa::detect());
    let head = Arc::new(Dense::<f64>::new(1, conv.rows(), vec![1.0; conv.rows()].into()));
    let long = Arc::new(Compose::new(vec![conv.clone(), head])) as Arc<dyn LinearOperator>;
    assert!(long.scaled_conv().is_none());
    let tiny = |n: usize| Arc::new(Diagonal::new(vec![1e-200; n])) as Arc<dyn LinearOperator>;
    let tiny = Arc::new(Compose::new(vec![tiny(conv.cols()), tiny(conv.cols()), conv])) as Arc<dyn LinearOperator>;
    assert!(tiny.scaled_conv().is_none());
}

#[test]
#[should_panic(expected = "one element a row")]
fn a_mask_of_the_wrong_length_is_refused() {
    let _ = masked(convolution(1, Isa::detect()), Some(&[1.0]), None);
}
