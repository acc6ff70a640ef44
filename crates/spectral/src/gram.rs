//! Small problems, verified: the norm from the Gram matrix by Cholesky factorisation.
//!
//! If the floating-point Cholesky factorisation of `t I - G - c I` runs to completion, then `G < t I`, with `c` from
//! Rump, *Verification of positive definiteness*, BIT 46 (2006), theorem 2.3. So a factorisation proves an upper end,
//! and a Rayleigh quotient proves a lower one; how the candidates were found does not matter.

use lipbound_operators::{Dense, LinearOperator, Workspace, rounding};
use ndarray::{Array1, Array2, ArrayView2, Axis};
use ndarray_linalg::{Cholesky, Eigh, UPLO};

/// A deterministic bracket of a norm.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Verified {
    /// Lower end.
    pub lower: f64,
    /// Upper end.
    pub upper: f64,
    /// Products with the Gram matrix that the search took.
    pub steps: usize,
}

/// Multiply-adds of a verified bracket: forming the Gram matrix of the smaller side and factoring it a few times.
#[must_use]
pub fn predicted_work(operator: &dyn LinearOperator) -> f64 {
    let (short, long) = (operator.rows().min(operator.cols()), operator.rows().max(operator.cols()));
    let (short, long) = (short as f64, long as f64);
    short * short * long / 2.0 + short.powi(3) / 2.0 + short * operator.multiply_adds() as f64
}

/// The bracket of the norm of `operator`, by forming it. Exact to about `n^2` units roundoff.
///
/// `abs_norm` bounds the norm of the absolute operator. Returns `None` when the numbers leave the range in which the analysis holds (overflow of a square).
#[must_use]
pub fn verified_norm(operator: &dyn LinearOperator, abs_norm: f64) -> Option<Verified> {
    let formed_operator = operator.to_dense();
    let frobenius = rounding::norm_up(formed_operator.values());
    if !frobenius.is_finite() {
        return None;
    }
    // A power of two brings the entries near one: squares then neither overflow nor vanish, and scaling is exact but
    // for entries that are 300 orders of magnitude below the norm.
    let scale = if frobenius == 0.0 { 1.0 } else { rounding::power_of_two_near(frobenius) };
    let (rows, cols) = (operator.rows(), operator.cols());
    let scaled: Vec<f64> = formed_operator.values().iter().map(|v| v / scale).collect();
    let dense = Dense::<f64>::new(rows, cols, scaled.into());
    let mut ws = Workspace::new();
    // Entries of a product of factors are rounded; those of a single dense layer or convolution are the weights.
    let formed = rounding::mul_up(rounding::gamma(operator.rounding_length() + 1), abs_norm);
    let matrix = ArrayView2::from_shape((rows, cols), dense.values()).expect("a dense operator has rows * cols values");
    let gram = if rows <= cols { matrix.dot(&matrix.t()) } else { matrix.t().dot(&matrix) };
    let (short, long) = (gram.nrows(), rows.max(cols));

    if frobenius == 0.0 {
        return Some(Verified { lower: 0.0, upper: formed, steps: 0 });
    }
    let frobenius = rounding::mul_up(frobenius, 1.0 / scale);
    let squared = rounding::mul_up(frobenius, frobenius);
    // |G - fl(G)| <= gamma_long |B| |B|^T, whose norm is at most the squared Frobenius norm.
    let gram_error = rounding::mul_up(rounding::gamma(long + 1), squared);

    let (ritz, vector, steps) = top_eigenpair(&gram);
    let lower = rayleigh(&dense, &vector, rows <= cols, &mut ws);
    let lower = rounding::add_down(lower * scale, -formed).max(0.0);

    let mut slack = 1e-13 * short as f64;
    let mut upper = frobenius;
    while slack < 1.0 {
        let candidate = ritz * (1.0 + slack);
        if candidate >= squared {
            break;
        }
        if proves_below(&gram, candidate) {
            upper = rounding::sqrt_up(rounding::add_up(candidate, gram_error)).min(frobenius);
            break;
        }
        slack *= 8.0;
    }
    Some(Verified { lower, upper: rounding::add_up(rounding::mul_up(upper, scale), formed), steps })
}

/// Whether `gram <= t I` is proven by a factorisation.
fn proves_below(gram: &Array2<f64>, t: f64) -> bool {
    let n = gram.nrows();
    let error = rounding::gamma(n + 2);
    // trace(t I - G) <= n t; the diagonal t - g_ii is itself rounded.
    let shift = (error / (1.0 - error)) * n as f64 * t * 1.01 + 4.0 * rounding::UNIT_ROUNDOFF * t;
    let mut shifted = gram.mapv(|g| -g);
    for i in 0..n {
        // The product with the transpose is symmetric up to rounding; the factorisation reads one triangle, which is
        // the symmetric matrix that the error bound of the Gram matrix speaks of.
        shifted[[i, i]] = (t - shift) - gram[[i, i]];
    }
    match shifted.cholesky(UPLO::Lower) {
        // LAPACK stops at a pivot that is not positive; a NaN would be no pivot, so it is looked for.
        Ok(factor) => factor.diag().iter().all(|&d| d.is_finite() && d > 0.0),
        Err(_) => false,
    }
}

/// `norm(B^T w) / norm(w)` (or `norm(B w) / norm(w)`), rounded down.
fn rayleigh(dense: &Dense<f64>, w: &[f64], rows_side: bool, ws: &mut Workspace) -> f64 {
    let mut image = ws.take(if rows_side { dense.cols() } else { dense.rows() });
    if rows_side {
        dense.apply_adjoint(w, &mut image, ws);
    } else {
        dense.apply(w, &mut image, ws);
    }
    let size = rounding::norm_up(w);
    let error = rounding::mul_up(rounding::mul_up(rounding::gamma(dense.rounding_length()), rounding::norm_up(dense.values())), size);
    let lower = rounding::div_down(rounding::add_down(rounding::norm_down(&image), -error), size);
    ws.give(image);
    lower.max(0.0)
}

/// The largest eigenvalue of a symmetric positive semidefinite matrix and a vector for it, by Lanczos with full
/// reorthogonalisation: a few dozen products for a matrix of a few hundred rows. Only a candidate, nothing is claimed.
fn top_eigenpair(gram: &Array2<f64>) -> (f64, Vec<f64>, usize) {
    let n = gram.nrows();
    // The start only affects how soon the search ends: column norms lean towards the top eigenvector, and the
    // irregular term keeps it from being orthogonal to it by symmetry.
    let mut q: Array1<f64> = (0..n)
        .map(|i| gram.index_axis(Axis(0), i).dot(&gram.index_axis(Axis(0), i)).sqrt() + gram[[i, i]] * ((i * 37 + 11) % 101) as f64 / 50.0)
        .collect();
    let size = q.dot(&q).sqrt();
    if !(size > 0.0) {
        q.fill(1.0);
    }
    q /= q.dot(&q).sqrt();
    let mut basis: Vec<Array1<f64>> = vec![q];
    let (mut diagonal, mut beside): (Vec<f64>, Vec<f64>) = (Vec::new(), Vec::new());
    let (mut value, mut weights) = (0.0, Vec::new());
    for step in 1..=n.min(120) {
        let q = &basis[step - 1];
        let mut w = gram.dot(q);
        diagonal.push(q.dot(&w));
        for _ in 0..2 {
            for old in &basis {
                let overlap = old.dot(&w);
                w.scaled_add(-overlap, old);
            }
        }
        let remainder = w.dot(&w).sqrt();
        let complete = step == n.min(120) || remainder <= 1e-15 * diagonal[0].abs().max(value);
        if complete || step % 8 == 0 {
            let mut small = Array2::<f64>::zeros((step, step));
            for i in 0..step {
                small[[i, i]] = diagonal[i];
                if i + 1 < step {
                    small[[i, i + 1]] = beside[i];
                    small[[i + 1, i]] = beside[i];
                }
            }
            if let Ok((values, vectors)) = small.eigh(UPLO::Lower) {
                value = values[step - 1];
                weights = vectors.column(step - 1).to_vec();
                // The residual of the Ritz pair bounds its distance from the spectrum.
                if remainder * weights[step - 1].abs() <= 1e-13 * value {
                    break;
                }
            }
        }
        if complete {
            break;
        }
        beside.push(remainder);
        basis.push(w / remainder);
    }
    let mut vector = Array1::<f64>::zeros(n);
    for (weight, q) in weights.iter().zip(&basis) {
        vector.scaled_add(*weight, q);
    }
    if vector.iter().all(|&x| x == 0.0) {
        vector.fill(1.0);
    }
    (value, vector.to_vec(), diagonal.len())
}
