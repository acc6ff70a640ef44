//! Proofs that a symmetric matrix has no eigenvalue above a number, by Cholesky factorisation.
//!
//! If the floating-point factorisation of `H = fl((t - shift) I - G)` runs to its end, the computed factor `L` satisfies
//! `L L^T = H + E` with `|E| <= gamma_{n+1} |L| |L|^T`, in whatever order the sums were taken (Higham, *Accuracy and
//! Stability of Numerical Algorithms*, 2nd ed., lemma 8.4 and theorem 10.3). `L L^T` has no negative eigenvalue and
//! `norm(E)` is a small multiple of the trace, so neither has `t I - G` if `shift` covers that multiple (after Rump,
//! *Verification of positive definiteness*, BIT 46, 2006). docs/soundness.md has the steps, (G4) to (G7).

use std::cmp::Ordering;

use lipbound_operators::rounding;
use ndarray::{Array2, ArrayView2, ArrayViewMut2, Axis, linalg::general_mat_mul, s};

use crate::{
    blocks::{self, ROWS},
    monitor::{Context, Stop},
};

/// A symmetric matrix in the strict upper triangle and a diagonal beside it; the lower triangle is working memory.
#[derive(Clone, Debug)]
pub struct SymmetricMatrix {
    entries: Array2<f64>,
    diagonal: Vec<f64>,
}

impl SymmetricMatrix {
    /// The symmetric matrix with the upper triangle of a square one.
    ///
    /// # Panics
    /// If the matrix is not square.
    #[must_use]
    pub fn from_upper(entries: Array2<f64>) -> Self {
        assert_eq!(entries.nrows(), entries.ncols(), "a symmetric matrix is square");
        let entries = entries.as_standard_layout().into_owned();
        let diagonal = entries.diag().to_vec();
        Self { entries, diagonal }
    }

    /// Number of rows.
    #[must_use]
    pub fn order(&self) -> usize {
        self.diagonal.len()
    }

    /// The diagonal.
    #[must_use]
    pub fn diagonal(&self) -> &[f64] {
        &self.diagonal
    }

    /// All of it.
    pub(crate) fn to_dense(&self) -> Array2<f64> {
        let n = self.order();
        Array2::from_shape_fn((n, n), |(i, j)| match i.cmp(&j) {
            Ordering::Less => self.entries[[i, j]],
            Ordering::Equal => self.diagonal[i],
            Ordering::Greater => self.entries[[j, i]],
        })
    }

    /// Overwrites the matrix: `fill` writes the upper triangle, diagonal included.
    pub(crate) fn refill(&mut self, fill: impl FnOnce(&mut Array2<f64>)) {
        fill(&mut self.entries);
        self.diagonal.iter_mut().zip(self.entries.diag()).for_each(|(d, &a)| *d = a);
    }

    /// `y = G x`, plain rounding; nothing rests on it.
    pub fn multiply(&self, x: &[f64], y: &mut [f64]) {
        y.iter_mut().zip(&self.diagonal).zip(x).for_each(|((y, d), x)| *y = d * x);
        for (i, row) in self.entries.rows().into_iter().enumerate() {
            let row = &row.to_slice().expect("rows are contiguous")[i + 1..];
            let (xi, mut dot) = (x[i], 0.0);
            let (head, tail) = y.split_at_mut(i + 1);
            for ((y, &a), &x) in tail.iter_mut().zip(row).zip(&x[i + 1..]) {
                *y += a * xi;
                dot += a * x;
            }
            head[i] += dot;
        }
    }

    /// Whether it is proven that no eigenvalue is above `t`.
    ///
    /// The matrix must be positive semidefinite up to rounding, its entries at most about one and `t` not tiny: then
    /// what underflow can do (`n^2` denormal numbers) is far inside the shift.
    ///
    /// # Errors
    /// A [`Stop`] when the context says so.
    pub fn proves_below(&mut self, t: f64, context: &Context<'_>) -> Result<bool, Stop> {
        let n = self.order();
        if t.is_nan() || self.diagonal.iter().any(|&d| d.is_nan() || d > t) {
            return Ok(false);
        }
        let error = rounding::gamma(n + 2);
        if error >= 0.1 {
            return Ok(false);
        }
        // (G6): the trace of H is at most n t (1 + 2u); the factor 1.01 covers that and the rounding of this line. Each
        // diagonal entry is off by at most 3 u t.
        let shift = (error / (1.0 - error)) * n as f64 * t * 1.01 + 4.0 * rounding::UNIT_ROUNDOFF * t;
        self.load_negated(t - shift);
        factor(self.entries.view_mut(), context)
    }

    /// Writes `top I - G` into the lower triangle and the diagonal of `entries`.
    fn load_negated(&mut self, top: f64) {
        let n = self.order();
        // In squares, so that both sides of the diagonal stay in the cache.
        for first in (0..n).step_by(ROWS) {
            for left in (0..=first).step_by(ROWS) {
                for i in first..(first + ROWS).min(n) {
                    for j in left..(left + ROWS).min(i) {
                        self.entries[[i, j]] = -self.entries[[j, i]];
                    }
                }
            }
        }
        for (i, &d) in self.diagonal.iter().enumerate() {
            self.entries[[i, i]] = top - d;
        }
    }
}

/// Order of the diagonal blocks that are factored row by row; a divisor of [`ROWS`] keeps halves aligned.
const FACTOR_BASE: usize = 64;
/// Columns that are solved for row by row.
const SOLVE_BASE: usize = 32;

/// Half of `n`, up to a multiple of `base`.
fn half(n: usize, base: usize) -> usize {
    (n / 2).div_ceil(base) * base
}

/// Replaces the lower triangle of `a` by its Cholesky factor; the strict upper triangle is not touched. False if a pivot
/// is not positive.
fn factor(mut a: ArrayViewMut2<'_, f64>, context: &Context<'_>) -> Result<bool, Stop> {
    let n = a.nrows();
    if n <= FACTOR_BASE {
        return Ok(factor_base(&mut a));
    }
    let n1 = half(n, FACTOR_BASE);
    let (top, bottom) = a.split_at(Axis(0), n1);
    let (mut a11, _) = top.split_at(Axis(1), n1);
    let (mut a21, a22) = bottom.split_at(Axis(1), n1);
    if !factor(a11.view_mut(), context)? {
        return Ok(false);
    }
    let l11 = a11.view();
    blocks::in_row_blocks(a21.view_mut(), context, |_, rows| solve(rows, l11))?;
    let mut a22 = a22;
    downdate(a22.view_mut(), a21.view(), context)?;
    factor(a22, context)
}

fn factor_base(a: &mut ArrayViewMut2<'_, f64>) -> bool {
    let n = a.nrows();
    let mut l = [[0.0; FACTOR_BASE]; FACTOR_BASE];
    for i in 0..n {
        for j in 0..=i {
            let dot: f64 = l[i][..j].iter().zip(&l[j][..j]).map(|(x, y)| x * y).sum();
            let rest = a[[i, j]] - dot;
            l[i][j] = if i > j {
                rest / l[j][j]
            } else if rest > 0.0 && rest.is_finite() {
                rest.sqrt()
            } else {
                // Not positive, or no number at all.
                return false;
            };
        }
    }
    for i in 0..n {
        for j in 0..=i {
            a[[i, j]] = l[i][j];
        }
    }
    true
}

/// `b <- b L^-T`, by substitution within blocks and products between them; no inverse, which the analysis would not cover.
fn solve(b: ArrayViewMut2<'_, f64>, l: ArrayView2<'_, f64>) {
    let n = l.nrows();
    if n <= SOLVE_BASE {
        return solve_base(b, l);
    }
    let n1 = half(n, SOLVE_BASE);
    let (mut b1, mut b2) = b.split_at(Axis(1), n1);
    solve(b1.view_mut(), l.slice(s![..n1, ..n1]));
    general_mat_mul(-1.0, &b1, &l.slice(s![n1.., ..n1]).t(), 1.0, &mut b2);
    solve(b2, l.slice(s![n1.., n1..]));
}

/// Eight rows at a time, transposed, so that the compiler vectorises across them.
fn solve_base(mut b: ArrayViewMut2<'_, f64>, l: ArrayView2<'_, f64>) {
    const LANES: usize = 8;
    let n = l.nrows();
    let mut x = [[0.0; LANES]; SOLVE_BASE];
    for mut rows in b.axis_chunks_iter_mut(Axis(0), LANES) {
        for (lane, row) in rows.rows().into_iter().enumerate() {
            row.iter().zip(&mut x).for_each(|(&value, x)| x[lane] = value);
        }
        for j in 0..n {
            let (done, rest) = x.split_at_mut(j);
            let target = &mut rest[0];
            let row = l.row(j);
            for (x, &factor) in done.iter().zip(row.iter()) {
                for (t, x) in target.iter_mut().zip(x) {
                    *t -= x * factor;
                }
            }
            for t in target.iter_mut() {
                *t /= row[j];
            }
        }
        for (lane, mut row) in rows.rows_mut().into_iter().enumerate() {
            row.iter_mut().zip(&x).for_each(|(value, x)| *value = x[lane]);
        }
    }
}

/// `c <- c - a a^T` in the lower triangle.
fn downdate(c: ArrayViewMut2<'_, f64>, a: ArrayView2<'_, f64>, context: &Context<'_>) -> Result<(), Stop> {
    blocks::in_row_blocks(c, context, |first, mut rows| {
        let count = rows.nrows();
        let own = a.slice(s![first..first + count, ..]);
        general_mat_mul(-1.0, &own, &a.slice(s![..first, ..]).t(), 1.0, &mut rows.slice_mut(s![.., ..first]));
        let square = own.dot(&own.t());
        for i in 0..count {
            for j in 0..=i {
                rows[[i, first + j]] -= square[[i, j]];
            }
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use lipbound_kernels::pool::Threads;
    use ndarray_linalg::{Eigh, UPLO};

    fn random(n: usize, k: usize, seed: u64) -> Array2<f64> {
        let values = crate::start::gaussian(&vec![true; n * k], seed, 0);
        Array2::from_shape_vec((n, k), values).unwrap()
    }

    #[test]
    fn proofs_agree_with_the_spectrum_at_every_block_boundary() {
        let threads = Threads::new(2).unwrap();
        let context = Context::quiet(&threads);
        for n in [1, 2, 31, 32, 33, 63, 64, 65, 96, 127, 129, 200, 321] {
            let b = random(n, n + 3, n as u64) / (n as f64).sqrt();
            let g = b.dot(&b.t());
            let top = g.eigh(UPLO::Lower).unwrap().0[n - 1];
            let mut matrix = SymmetricMatrix::from_upper(g);
            for (t, expected) in [
                (top * (1.0 + 1e-9), true),
                (top * 2.0, true),
                (top * (1.0 - 1e-9), false),
                (top * 0.5, false),
                (0.0, false),
                (f64::NAN, false),
            ] {
                assert_eq!(matrix.proves_below(t, &context), Ok(expected), "order {n}, t / top = {}", t / top);
            }
        }
    }

    #[test]
    fn the_factor_is_the_factor() {
        let n = 150;
        let b = random(n, n, 3);
        let h = b.dot(&b.t()) + Array2::<f64>::eye(n);
        let mut l = h.clone();
        assert_eq!(factor(l.view_mut(), &Context::quiet(&Threads::serial())), Ok(true));
        for i in 0..n {
            for j in i + 1..n {
                l[[i, j]] = 0.0;
            }
        }
        let size = h.diag().sum();
        for (&a, &b) in l.dot(&l.t()).iter().zip(&h) {
            assert!((a - b).abs() <= 1e-14 * size, "{a} {b}");
        }
    }

    #[test]
    fn products_use_both_triangles() {
        let g = random(70, 70, 5);
        let symmetric = &g + &g.t();
        let matrix = SymmetricMatrix::from_upper(symmetric.clone());
        let x = crate::start::gaussian(&[true; 70], 1, 1);
        let mut y = vec![0.0; 70];
        matrix.multiply(&x, &mut y);
        let expected = symmetric.dot(&ndarray::Array1::from(x));
        assert!(y.iter().zip(&expected).all(|(a, b)| (a - b).abs() < 1e-12));
    }
}
