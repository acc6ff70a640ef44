//! Every bracket against the dense singular values, over random operators of all kinds.

mod common;

use common::{config, operator, svd_norm};
use lipbound_operators::{Diagonal, LinearOperator, Workspace};
use lipbound_spectral::{Guarantee, GuaranteeRequest, NormOptions, Silent, norm_bracket};
use proptest::prelude::*;

proptest! {
    #![proptest_config(config(2500))]

    #[test]
    fn brackets_hold(operator in operator(), seed in any::<u64>()) {
        let exact = svd_norm(&*operator);
        // The reference itself is rounded: a few n u, n below 400 here.
        let room = 1e-13 * exact;
        // Sums and products may cancel: then what rounding cannot tell from zero is the scale of tightness.
        let noise = 1e-12 * operator.abs_norm();
        for guarantee in [GuaranteeRequest::Auto, GuaranteeRequest::Deterministic, GuaranteeRequest::Probabilistic] {
            let options = NormOptions { guarantee, seed, failure_probability: 1e-6, ..NormOptions::default() };
            let norm = norm_bracket(&*operator, &options, &Silent, &mut Workspace::new()).unwrap();
            prop_assert!(norm.lower <= exact + room, "{guarantee:?}: lower {} above {exact}: {norm:?}", norm.lower);
            prop_assert!(norm.upper >= exact - room, "{guarantee:?}: upper {} below {exact}: {norm:?}", norm.upper);
            prop_assert!(norm.lower >= 0.0 && norm.upper.is_finite());
            match guarantee {
                GuaranteeRequest::Deterministic => {
                    prop_assert_eq!(norm.guarantee, Guarantee::Deterministic);
                    prop_assert_eq!(norm.failure_probability, 0.0);
                    prop_assert!(norm.upper <= exact * (1.0 + 1e-6) + noise, "verified norms are tight: {norm:?}, {exact}");
                    prop_assert!(norm.lower >= exact * (1.0 - 1e-6) - noise, "verified norms are tight: {norm:?}, {exact}");
                }
                GuaranteeRequest::Probabilistic => {
                    prop_assert!(norm.upper <= exact * 1.01 + noise, "{norm:?}, {exact}");
                    prop_assert!(norm.lower >= exact * 0.99 - noise, "{norm:?}, {exact}");
                }
                GuaranteeRequest::Auto => {}
            }
        }
    }

    #[test]
    fn adjoints_and_row_norms_agree_with_the_dense_matrix(operator in operator(), seed in any::<u64>()) {
        let (rows, cols) = (operator.rows(), operator.cols());
        let dense = operator.to_dense();
        let mut ws = Workspace::new();
        let x = lipbound_spectral::start::gaussian(&vec![true; cols], seed, 0);
        let y = lipbound_spectral::start::gaussian(&vec![true; rows], seed, 1);
        let (mut ax, mut aty) = (vec![f64::NAN; rows], vec![f64::NAN; cols]);
        operator.apply(&x, &mut ax, &mut ws);
        operator.apply_adjoint(&y, &mut aty, &mut ws);
        let (mut abs_x, mut abs_y) = (vec![0.0; rows], vec![0.0; cols]);
        let absolute = |v: &[f64]| v.iter().map(|x| x.abs()).collect::<Vec<_>>();
        operator.apply_abs(&absolute(&x), &mut abs_x, &mut ws);
        operator.apply_abs_adjoint(&absolute(&y), &mut abs_y, &mut ws);

        let left: f64 = ax.iter().zip(&y).map(|(a, b)| a * b).sum();
        let right: f64 = aty.iter().zip(&x).map(|(a, b)| a * b).sum();
        let size: f64 = abs_x.iter().zip(&y).map(|(a, b)| a * b.abs()).sum();
        prop_assert!((left - right).abs() <= 1e-12 * size, "<Ax, y> = {left}, <x, A^T y> = {right}, size {size}");

        let mut reference = vec![0.0; rows];
        dense.apply(&x, &mut reference, &mut ws);
        let gamma = lipbound_operators::rounding::gamma(operator.rounding_length() + dense.rounding_length());
        for i in 0..rows {
            prop_assert!((ax[i] - reference[i]).abs() <= gamma * abs_x[i] + 1e-300, "row {i}");
        }

        let weights: Vec<f64> = absolute(&x).iter().map(|v| v.min(1.0)).collect();
        for weights in [None, Some(&weights[..])] {
            let mut norms = vec![0.0; rows];
            operator.row_norms(weights, &mut norms, &mut ws);
            for (i, &norm) in norms.iter().enumerate() {
                let exact = dense.row(i).iter().enumerate()
                    .map(|(j, a)| a * weights.map_or(1.0, |w| w[j])).map(|a| a * a).sum::<f64>().sqrt();
                prop_assert!(norm >= exact * (1.0 - 1e-13), "row {i}: {norm} below {exact}");
                prop_assert!(norm <= exact * (1.0 + 1e-9) + 1e-12 * operator.abs_norm(), "row {i}: {norm} far above {exact}");
            }
        }
    }
}

/// A bracket at a coarse failure probability fails about as often as stated, and no more: the probability is real.
#[test]
fn stated_failure_probability_is_kept_over_many_seeds() {
    // One large singular value well apart: the process converges at once, so the upper end is as tight as it gets.
    let n = 60;
    let diagonal: Vec<f64> = (0..n).map(|i| if i == 0 { 1.0 } else { 0.5 - i as f64 * 0.005 }).collect();
    let operator = Diagonal::new(diagonal);
    let trials = 20_000;
    let mut violations = 0;
    for seed in 0..trials {
        let options = NormOptions {
            guarantee: GuaranteeRequest::Probabilistic,
            failure_probability: 0.2,
            tolerance: 1e-12,
            max_steps: 2,
            seed,
            ..NormOptions::default()
        };
        let norm = norm_bracket(&operator, &options, &Silent, &mut Workspace::new()).unwrap();
        violations += usize::from(norm.upper < 1.0);
        assert!(norm.lower <= 1.0);
    }
    let rate = violations as f64 / trials as f64;
    assert!(rate <= 0.2, "observed {rate}");
    assert!(rate > 0.0, "at p = 0.2 and two steps some upper ends must fail; if none do, the test tests nothing");
}
