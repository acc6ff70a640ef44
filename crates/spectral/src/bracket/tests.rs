use std::sync::Mutex;

use lipbound_operators::{Conv2d, ConvShape, Dense, Diagonal};

use super::*;
use crate::Silent;

/// A dense matrix that keeps what it was applied to.
#[derive(Debug)]
struct Recorder {
    inner: Dense<f64>,
    seen: Mutex<Vec<Vec<f64>>>,
}

impl Recorder {
    fn new(rows: usize, cols: usize, seed: u64, scale: f64) -> Self {
        let values = start::gaussian(&vec![true; rows * cols], seed, 9);
        let values: Vec<f64> = values.into_iter().map(|v| v * scale).collect();
        Self { inner: Dense::new(rows, cols, values.into()), seen: Mutex::default() }
    }

    /// What the products were of since the last time, as directions.
    fn taken(&self) -> Vec<Vec<f64>> {
        let mut seen = std::mem::take(&mut *self.seen.lock().unwrap());
        for x in &mut seen {
            let size = x.iter().map(|x| x * x).sum::<f64>().sqrt();
            x.iter_mut().for_each(|x| *x /= size);
        }
        seen
    }
}

impl LinearOperator for Recorder {
    fn rows(&self) -> usize {
        self.inner.rows()
    }

    fn cols(&self) -> usize {
        self.inner.cols()
    }

    fn apply(&self, x: &[f64], y: &mut [f64], ws: &mut Workspace) {
        self.seen.lock().unwrap().push(x.to_vec());
        self.inner.apply(x, y, ws);
    }

    fn apply_adjoint(&self, y: &[f64], x: &mut [f64], ws: &mut Workspace) {
        self.inner.apply_adjoint(y, x, ws);
    }

    fn apply_abs(&self, x: &[f64], y: &mut [f64], ws: &mut Workspace) {
        self.inner.apply_abs(x, y, ws);
    }

    fn apply_abs_adjoint(&self, y: &[f64], x: &mut [f64], ws: &mut Workspace) {
        self.inner.apply_abs_adjoint(y, x, ws);
    }

    fn row_norms(&self, weights: Option<&[f64]>, norms: &mut [f64], ws: &mut Workspace) {
        self.inner.row_norms(weights, norms, ws);
    }

    fn rounding_length(&self) -> usize {
        self.inner.rounding_length()
    }

    fn abs_norm(&self) -> f64 {
        self.inner.abs_norm()
    }

    fn multiply_adds(&self) -> usize {
        self.inner.multiply_adds()
    }
}

fn probabilistic(failure_probability: f64) -> NormOptions {
    NormOptions { guarantee: GuaranteeRequest::Probabilistic, failure_probability, ..NormOptions::default() }
}

fn bracket(operator: &dyn LinearOperator, options: &NormOptions) -> NormBracket {
    norm_bracket(operator, options, &Silent, &mut Workspace::new()).unwrap()
}

/// How many of the products were not the next ones of a run: those of a first vector and of starts.
fn largest_overlap(vectors: &[Vec<f64>]) -> f64 {
    let mut most: f64 = 0.0;
    for (i, a) in vectors.iter().enumerate() {
        for b in &vectors[..i] {
            most = most.max(a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>().abs());
        }
    }
    most
}

/// Several starts, and the vector that says how many, are independent: the same process twice would be unlucky twice.
#[test]
fn every_start_is_a_vector_of_its_own() {
    let operator = Recorder::new(60, 50, 1, 1.0);
    // One step a start, so that all vectors are starts: the first is that of the estimate.
    let mut all = Vec::new();
    for (stream, seed) in [(0, 0), (1, 0), (2, 0), (5, 0), (0, 1)] {
        let options = NormOptions { max_steps: 1, stream, seed, ..probabilistic(1e-25) };
        let norm = bracket(&operator, &options);
        let starts = operator.taken();
        assert!(starts.len() >= 3 && norm.steps == starts.len() - 1, "{} {norm:?}", starts.len());
        all.extend(starts);
    }
    let overlap = largest_overlap(&all);
    assert!(overlap < 0.75, "two of them are the same: {overlap}");
}

/// How many starts there are, and what they do, is no matter of units.
#[test]
fn starts_and_steps_do_not_depend_on_the_scale() {
    for p in [1e-3, 1e-9, 1e-12, 1e-14, 1e-20] {
        let steps = [1e-20, 1.0, 1e20].map(|scale| {
            let operator = Recorder::new(60, 50, 1, scale);
            let norm = bracket(&operator, &probabilistic(p));
            // Small as the probability may be, the overlaps that follow from it are far above rounding.
            assert!(norm.method == Method::Lanczos && norm.upper <= norm.lower * 1.005, "{p}: {norm:?}");
            assert!(matches!(norm.termination, Termination::Converged | Termination::Complete), "{p}: {norm:?}");
            (norm.steps, operator.taken().len(), (norm.upper / scale * 1e9).round())
        });
        assert_eq!(steps[0], steps[1], "{p}");
        assert_eq!(steps[2], steps[1], "{p}");
    }
}

/// Whatever there is of steps is shared by the starts, of which each has one at least.
#[test]
fn starts_share_the_steps() {
    // Nothing converges: the singular values are dense at the top.
    let diagonal = Diagonal::new((0..4000).map(|i| 1.0 + f64::from(i) * 1e-6).collect());
    for max_steps in [1, 2, 7, 20, 60] {
        let options = NormOptions { max_steps, tolerance: 1e-9, ..probabilistic(1e-25) };
        let norm = bracket(&diagonal, &options);
        assert_eq!(norm.steps, max_steps.max(3), "{norm:?}");
        assert!(norm.lower <= 1.003999 && norm.upper >= 1.003999, "{norm:?}");
        if norm.method == Method::Lanczos {
            assert_eq!((norm.guarantee, norm.failure_probability), (Guarantee::Probabilistic, 1e-25));
            assert_eq!(norm.termination, Termination::StepLimit);
        }
    }
}

/// The probability of several starts is that of all of them being unlucky: any one may be the lucky one, whose upper end holds.
#[test]
fn the_upper_end_of_several_starts_is_the_largest() {
    let operator = Recorder::new(120, 100, 1, 1.0);
    let (count, p, phi) = (100, 1e-25, lanczos::step_rounding(&operator, operator.abs_norm()));
    let mut largest = [0; 3];
    for seed in 0..30 {
        // Nothing converges in so few steps, so that each start makes as many.
        let options = NormOptions { max_steps: 75, tolerance: 1e-9, seed, ..probabilistic(p) };
        let norm = bracket(&operator, &options);
        assert_eq!((norm.steps, norm.termination), (75, Termination::StepLimit));
        let cap = search_of(&operator, None, 1, |search| search.caps.cap);
        let limits = Limits { tolerance: 1e-9, enough: 0.0, max_steps: 25, deadline: None };
        let uppers: Vec<f64> = (0..3)
            .map(|k| {
                let overlap = start::unlucky_overlap(count, p.powf(1.0 / 3.0));
                let vector = start::gaussian(&[true; 100], seed, k);
                let mut ws = Workspace::new();
                lanczos::run(&operator, vector, overlap, phi, (0.0, cap), &limits, 0, &Silent, &mut ws).unwrap().upper
            })
            .collect();
        // A run that knows the lower end of those before takes it into account, which makes little difference.
        let near = |upper: f64| (norm.upper / upper - 1.0).abs() < 1e-4;
        let most = uppers.iter().copied().fold(0.0, f64::max);
        assert!(near(most), "seed {seed}: {norm:?} of {uppers:?}");
        let which = uppers.iter().position(|&upper| upper == most).unwrap();
        largest[which] += usize::from(uppers.iter().filter(|&&upper| near(upper)).count() == 1);
    }
    assert!(largest.iter().all(|&n| n > 3), "{largest:?}");
}

#[test]
fn roots_of_counts_are_exact_or_one_step_away() {
    for count in (0..3000).chain([1 << 40, (1 << 40) + 1, 999_999_999_999]) {
        let norm = NormBracket::root_of(count);
        // `low^2 <= count <= high^2` of the very numbers: 26 bits a factor are exact, so roots are taken apart.
        let square = |root: f64| {
            let (top, rest) = (f64::from(root as f32), root - f64::from(root as f32));
            (top * top - count as f64) + 2.0 * top * rest + rest * rest
        };
        assert!(square(norm.lower) <= 0.0 && square(norm.upper) >= 0.0, "{count}: {norm:?}");
        let root = (count as f64).sqrt();
        let whole = root.fract() == 0.0;
        assert_eq!(norm.lower == norm.upper, whole, "{count}: {norm:?}");
        assert!(norm.upper - norm.lower <= 4.0 * f64::EPSILON * root);
        assert_eq!((norm.failure_probability, norm.method), (0.0, Method::Structure));
    }
}

#[test]
fn options_outside_their_range_are_named() {
    let good = NormOptions::default();
    let check = |options: NormOptions| options.validate().map_err(|error| (error.option, error.to_string()));
    assert_eq!(check(good), Ok(()));
    for tolerance in [0.0, 1.0, -1.0, 2.0, f64::NAN] {
        let (option, text) = check(NormOptions { tolerance, ..good }).unwrap_err();
        assert_eq!((option, text), ("tolerance", format!("tolerance must be above 0 and below 1, got {tolerance}")));
    }
    for failure_probability in [0.0, 0.9e-30, 0.51, -1.0, f64::NAN] {
        let (option, text) = check(NormOptions { failure_probability, ..good }).unwrap_err();
        assert!(option == "failureProbability" && text.contains(&failure_probability.to_string()), "{text}");
    }
    for max_steps in [0, 1_000_001, usize::MAX] {
        let (option, text) = check(NormOptions { max_steps, ..good }).unwrap_err();
        assert!(option == "maxSteps" && text.contains(&max_steps.to_string()), "{text}");
    }
    for at_the_end in [
        NormOptions { failure_probability: 1e-30, ..good },
        NormOptions { failure_probability: 0.5, ..good },
        NormOptions { max_steps: 1, ..good },
        NormOptions { max_steps: 1_000_000, ..good },
    ] {
        assert_eq!(check(at_the_end), Ok(()));
    }
}

/// A search for the norm of a small matrix, with so much time left.
fn with_search<R>(milliseconds: Option<u64>, threads: usize, ask: impl FnOnce(&mut Search<'_>) -> R) -> R {
    let operator = Dense::<f64>::new(3, 2, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0].into());
    search_of(&operator, milliseconds, threads, ask)
}

fn search_of<R>(
    operator: &dyn LinearOperator,
    milliseconds: Option<u64>,
    threads: usize,
    ask: impl FnOnce(&mut Search<'_>) -> R,
) -> R {
    let mut ws = Workspace::with_threads(Threads::new(threads).unwrap());
    let options = NormOptions::default();
    let mut search = Search {
        operator,
        options: &options,
        monitor: &Silent,
        deadline: milliseconds.map(|milliseconds| Instant::now() + Duration::from_millis(milliseconds)),
        support: Support::of(operator),
        caps: Caps::new(operator, &mut ws),
        ws: &mut ws,
    };
    ask(&mut search)
}

#[test]
fn direct_methods_are_taken_where_there_is_time_for_them() {
    // About a minute on two processors, whatever the deadline.
    assert!(with_search(None, 1, |search| search.is_affordable(2e12) && !search.is_affordable(2.1e12)));
    // 1e10 multiply-adds a second and thread; small work has one thread only. What passes between making the deadline and looking
    // at it is less than half.
    for (threads, most) in [(1, 4e10), (2, 8e10)] {
        let affordable = |work: f64| with_search(Some(4000), threads, |search| search.is_affordable(work));
        assert!(affordable(most * 0.5) && !affordable(most * 1.1), "{threads} threads");
    }
    // No time is none, however little there is to do.
    assert!(with_search(Some(0), 1, |search| !search.is_affordable(1.0)));
    assert!(with_search(Some(1000), 2, |search| search.is_affordable(1e8)));
    // 0.09 s on one processor, and less on two, which are not started for it.
    assert!(with_search(Some(60), 2, |search| !search.is_affordable(9e8)));
    for (work, threads) in [(0.0, 1), (0.9e9, 1), (1e9, 2), (2e12, 2)] {
        assert_eq!(with_search(None, 2, |search| search.threads_for(work).count()), threads, "{work}");
    }
    // Forming six numbers and factoring two rows takes some work.
    let work = with_search(None, 1, |search| search.gram_work());
    assert!((6.0..1000.0).contains(&work), "{work}");
}

/// What is known without iterating comes near the norm where a convolution says more than its rows and columns do.
#[test]
fn caps_are_improved_by_the_symbol_of_a_convolution() {
    let mut by_symbol = 0;
    for seed in 0..12 {
        let shape = ConvShape {
            in_channels: 2,
            in_height: 9,
            in_width: 8,
            out_channels: 3,
            kernel: [3, 3],
            stride: [1, 1],
            padding: [1; 4],
            dilation: [1, 1],
            groups: 1,
        };
        let mut weights = start::gaussian(&vec![true; shape.weight_len()], seed, 4);
        if seed % 4 == 3 {
            // Of one sign the magnitudes are the operator, and their iteration is as near as the symbol.
            weights.iter_mut().for_each(|w| *w = w.abs());
        }
        let conv = Conv2d::new(shape, weights.into()).unwrap();
        let exact = bracket(&conv, &NormOptions::default());
        assert!(exact.method == Method::Cholesky && exact.upper / exact.lower < 1.0 + 1e-9);
        let (before, after, method) = search_of(&conv, None, 2, |search| {
            let before = search.caps.cap;
            search.improve_caps().unwrap();
            (before, search.caps.cap, search.caps.method)
        });
        assert!(before >= exact.lower && after >= exact.lower, "seed {seed}");
        assert!(after <= before && after <= exact.upper * 1.15, "seed {seed}: {after} for {exact:?}");
        by_symbol += usize::from(method == Method::Fourier);
        // Without time it is what it was, or what the iteration still found.
        let late = search_of(&conv, Some(0), 2, |search| {
            search.improve_caps().unwrap();
            search.caps.method
        });
        assert_ne!(late, Method::Fourier);
    }
    assert!(by_symbol >= 6, "{by_symbol}");
}

/// A limit that is far away changes nothing.
#[test]
fn an_hour_is_as_good_as_no_limit() {
    let operator = Recorder::new(60, 50, 1, 1.0);
    for guarantee in [GuaranteeRequest::Auto, GuaranteeRequest::Deterministic, GuaranteeRequest::Probabilistic] {
        let options = NormOptions { guarantee, failure_probability: 1e-20, ..NormOptions::default() };
        let limited = NormOptions { time_limit: Some(Duration::from_secs(3600)), ..options };
        assert_eq!(bracket(&operator, &limited), bracket(&operator, &options));
    }
}

/// So large that it cannot be formed: the symbol bounds it, unless what is known already is enough.
#[test]
fn a_deterministic_end_of_a_large_convolution_is_its_symbol() {
    let shape = ConvShape {
        in_channels: 1,
        in_height: 300,
        in_width: 280,
        out_channels: 1,
        kernel: [3, 3],
        stride: [1, 1],
        padding: [1; 4],
        dilation: [1, 1],
        groups: 1,
    };
    let conv = Conv2d::new(shape, start::gaussian(&[true; 9], 2, 4).into()).unwrap();
    let deterministic = NormOptions { guarantee: GuaranteeRequest::Deterministic, ..NormOptions::default() };
    let found = bracket(&conv, &deterministic);
    assert_eq!((found.method, found.guarantee), (Method::Fourier, Guarantee::Deterministic), "{found:?}");
    assert!(found.lower <= found.upper && found.lower > found.upper * 0.98, "{found:?}");
    let likely = bracket(&conv, &probabilistic(1e-9));
    assert!(found.upper >= likely.lower && found.lower <= likely.upper, "{found:?} {likely:?}");
    let enough = bracket(&conv, &NormOptions { enough: 1e9, ..deterministic });
    assert!(enough.method != Method::Fourier && enough.upper >= likely.lower, "{enough:?}");
}

/// Where the direct method has no time, a deterministic end is a cap, with a lower end beside it.
#[test]
fn a_deterministic_end_without_time_is_a_cap() {
    for seed in 0..6 {
        let operator = Recorder::new(30, 20, seed, 1.0);
        let exact = bracket(&operator, &NormOptions::default());
        let late = search_of(&operator, Some(0), 1, |search| search.deterministic().unwrap());
        assert!(late.upper >= exact.lower && late.lower <= exact.upper, "{late:?} {exact:?}");
        assert!(late.method != Method::Cholesky && late.guarantee == Guarantee::Deterministic, "{late:?}");
        assert_eq!(late.termination, Termination::TimeLimit);
        let direct = search_of(&operator, None, 1, |search| search.deterministic().unwrap());
        assert_eq!(direct.method, Method::Cholesky);
        assert!(direct.lower <= exact.upper && direct.upper >= exact.lower && direct.upper <= exact.upper * 1.001);
        // The lower end alone, under a cap: its start vector is nothing that an upper end rests on.
        let under = search_of(&operator, None, 1, |search| search.by_lanczos(false).unwrap());
        assert!(under.lower <= exact.upper && under.lower >= exact.lower * 0.98, "{under:?} {exact:?}");
        assert!(under.upper >= exact.lower && under.steps <= LOWER_END_STEPS, "{under:?}");
        assert_eq!((under.guarantee, under.failure_probability), (Guarantee::Deterministic, 0.0));
    }
}

#[test]
fn brackets_say_what_they_rest_on() {
    let operator = Dense::<f64>::new(3, 2, vec![1.0, 2.0, 3.0, 4.0, 5.0, 6.0].into());
    // The eigenvalues of A^T A are (91 +- sqrt(91^2 - 4 * 24)) / 2.
    let exact = (0.5 * (91.0 + (91.0f64 * 91.0 - 96.0).sqrt())).sqrt();
    let of = |guarantee| bracket(&operator, &NormOptions { guarantee, ..NormOptions::default() });
    for norm in [of(GuaranteeRequest::Auto), of(GuaranteeRequest::Deterministic)] {
        assert_eq!((norm.guarantee, norm.method), (Guarantee::Deterministic, Method::Cholesky));
        assert_eq!((norm.termination, norm.failure_probability), (Termination::Direct, 0.0));
        assert!(norm.lower <= exact && norm.upper >= exact && norm.upper - norm.lower < 1e-9, "{norm:?} {exact}");
    }
    // Too large for all eigenvalues at once: the vector of the lower end comes from steps.
    let larger = Recorder::new(150, 140, 3, 1.0);
    let norm = bracket(&larger, &NormOptions { guarantee: GuaranteeRequest::Deterministic, ..NormOptions::default() });
    assert!(norm.method == Method::Cholesky && norm.steps > 0 && norm.steps <= 140, "{norm:?}");
    // Of one row the Frobenius norm is the norm: no cap can be improved, and none is kept that is not the least.
    let row = Diagonal::new((0..50).map(|i| if i == 3 { 2.0 } else { 0.0 }).collect());
    let norm = bracket(&row, &NormOptions::default());
    assert!(norm.lower <= 2.0 && norm.upper >= 2.0 && norm.upper < 2.0 + 1e-12, "{norm:?}");
    // Large: Lanczos, unless a deterministic end is asked for.
    let large = Diagonal::new((0..3000).map(|i| 1.0 / f64::from(1 + i)).collect());
    let norm = bracket(&large, &NormOptions { guarantee: GuaranteeRequest::Auto, ..NormOptions::default() });
    assert!(norm.lower <= 1.0 && norm.upper >= 1.0, "{norm:?}");
    let dense = Recorder::new(300, 300, 3, 1.0);
    let norm = bracket(&dense, &NormOptions::default());
    assert_eq!((norm.method, norm.guarantee), (Method::Lanczos, Guarantee::Probabilistic), "{norm:?}");
    // Beyond the range of squares the cap stands alone.
    for scale in [1e-150, 1e150] {
        let norm = bracket(&Diagonal::new(vec![scale, 0.5 * scale]), &NormOptions::default());
        assert!(norm.lower == 0.0 && norm.upper >= scale && norm.upper < 1.5 * scale, "{norm:?}");
        assert_eq!((norm.termination, norm.steps), (Termination::Direct, 0));
        assert!(norm.method != Method::Structure && norm.method != Method::Cholesky, "{norm:?}");
    }
}
