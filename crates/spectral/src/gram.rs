//! Small problems, verified: the norm from the Gram matrix by Cholesky factorisation.
//!
//! Rows and columns that masks make zero are left out, the rest is formed, and so is the Gram matrix `G` of its smaller
//! side. A factorisation proves `G <= t I` ([`crate::cholesky`]) and so an upper end, a Rayleigh quotient proves a lower
//! one; how the candidates were found does not matter. docs/soundness.md, (G1) to (G8).

use lipbound_operators::{LinearOperator, Workspace, rounding};
use ndarray::{Array2, ArrayView2};
use ndarray_linalg::{Eigh, UPLO};

use crate::{
    blocks,
    cholesky::SymmetricMatrix,
    monitor::{Context, Stop},
    ritz::{self, Candidate, Effort},
};

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

/// Rows and columns that may differ from zero.
#[derive(Clone, Debug)]
pub struct Support {
    rows: Vec<usize>,
    cols: Vec<usize>,
}

/// Largest order of a Gram matrix: 300 MB.
const LARGEST_ORDER: usize = 6144;
/// Order up to which all eigenvalues cost no more than a few dozen products.
const DIRECT_ORDER: usize = 48;
/// Order from which the search for the top eigenpair saves products: the value converges twice as fast as the vector.
const LARGE_ORDER: usize = 1024;
/// Most elements of an operator that is formed: 1 GiB.
const LARGEST_FORMED: usize = 1 << 27;

impl Support {
    /// What the operator says of itself.
    #[must_use]
    pub fn of(operator: &dyn LinearOperator) -> Self {
        let marked = |len: usize, mark: &dyn Fn(&mut [bool])| {
            let mut active = vec![true; len];
            mark(&mut active);
            (0..len).filter(|&i| active[i]).collect::<Vec<_>>()
        };
        Self {
            rows: marked(operator.rows(), &|active| operator.mark_active_rows(active)),
            cols: marked(operator.cols(), &|active| operator.mark_active_cols(active)),
        }
    }

    /// The columns.
    #[must_use]
    pub fn cols(&self) -> &[usize] {
        &self.cols
    }

    /// Whether the operator is zero for want of rows or columns.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty() || self.cols.is_empty()
    }

    /// Whether the matrices fit into memory.
    #[must_use]
    pub fn fits(&self) -> bool {
        let (short, long) = self.sides();
        short <= LARGEST_ORDER && short.saturating_mul(long) <= LARGEST_FORMED
    }

    fn sides(&self) -> (usize, usize) {
        let (rows, cols) = (self.rows.len(), self.cols.len());
        (rows.min(cols), rows.max(cols))
    }

    /// Multiply-adds of a verified bracket: forming, the Gram matrix, the search, two factorisations.
    #[must_use]
    pub fn predicted_work(&self, operator: &dyn LinearOperator) -> f64 {
        let (short, long) = self.sides();
        let (short, long) = (short as f64, long as f64);
        let search = 60.0 * short * short;
        let forming = self.rows.len() as f64 * operator.cols() as f64 / 2.0;
        short * short * long / 2.0 + short.powi(3) / 3.0 + search + forming
    }
}

/// The bracket of the norm of `operator`, by forming it. Exact to about `n^2` units roundoff, `n` its smaller side.
///
/// `abs_norm` bounds the norm of the absolute operator. `None` when the numbers leave the range in which the analysis
/// holds (overflow of a square).
///
/// # Errors
/// A [`Stop`] when the context says so.
pub fn verified_norm(
    operator: &dyn LinearOperator,
    support: &Support,
    abs_norm: f64,
    context: &Context<'_>,
    ws: &mut Workspace,
) -> Result<Option<Verified>, Stop> {
    if support.is_empty() {
        return Ok(Some(Verified { lower: 0.0, upper: 0.0, steps: 0 }));
    }
    let mut values = form(operator, support, context, ws)?;
    let frobenius = rounding::norm_up(&values);
    if !frobenius.is_finite() {
        return Ok(None);
    }
    // (G1): entries of a product of factors are rounded; those of a single dense layer or convolution are the weights.
    let formed = rounding::mul_up(rounding::gamma(operator.rounding_length() + 1), abs_norm);
    if frobenius == 0.0 {
        return Ok(Some(Verified { lower: 0.0, upper: formed, steps: 0 }));
    }
    // A power of two brings the entries near one: squares then neither overflow nor vanish, and scaling is exact but
    // for entries that are 300 orders of magnitude below the norm.
    let scale = rounding::power_of_two_near(frobenius);
    values.iter_mut().for_each(|v| *v /= scale);
    let (rows, cols) = (support.rows.len(), support.cols.len());
    let matrix = ArrayView2::from_shape((rows, cols), &values).expect("one value for each row and column");
    let (side, (short, long)) = (if rows <= cols { matrix } else { matrix.t() }, support.sides());
    let mut gram = Array2::zeros((short, short));
    blocks::upper_product(side, side, gram.view_mut(), context)?;
    let mut gram = SymmetricMatrix::from_upper(gram);

    let frobenius = rounding::mul_up(frobenius, 1.0 / scale);
    let squared = rounding::mul_up(frobenius, frobenius);
    // (G2)
    let gram_error = rounding::mul_up(rounding::gamma(long + 1), squared);

    let top = search(&gram, context)?;
    let lower = rayleigh(matrix, &top.vector, frobenius);
    let lower = rounding::add_down(rounding::mul_down(lower, scale), -formed).max(0.0);

    // The first trial leaves room for the shift of the proof and the precision of the search.
    let precision = if short > LARGE_ORDER { 1e-8 } else { 1e-13 * short as f64 };
    let mut slack = precision + 4.0 * rounding::UNIT_ROUNDOFF * (short as f64).powi(2);
    let mut upper = frobenius;
    while slack < 1.0 {
        let candidate = top.value * (1.0 + slack);
        if candidate >= squared {
            break;
        }
        if gram.proves_below(candidate, context)? {
            // (G3)
            upper = rounding::sqrt_up(rounding::add_up(candidate, gram_error)).min(frobenius);
            break;
        }
        slack *= 16.0;
    }
    let upper = rounding::add_up(rounding::mul_up(upper, scale), formed);
    Ok(Some(Verified { lower, upper, steps: top.steps }))
}

/// The top eigenpair: by LAPACK where that is quickest, else by Lanczos.
fn search(gram: &SymmetricMatrix, context: &Context<'_>) -> Result<Candidate, Stop> {
    let order = gram.order();
    if order <= DIRECT_ORDER
        && let Ok((values, vectors)) = gram.to_dense().eigh(UPLO::Upper)
    {
        return Ok(Candidate { value: values[order - 1], vector: vectors.column(order - 1).to_vec(), steps: 0 });
    }
    let effort = if order > LARGE_ORDER {
        Effort { precision: 1e-6, max_steps: 200 }
    } else {
        Effort { precision: 1e-13, max_steps: 120 }
    };
    ritz::top_eigenpair(gram.diagonal(), effort, |x, y| {
        context.check()?;
        gram.multiply(x, y);
        Ok(())
    })
}

/// The rows and columns of the support, row by row.
fn form(
    operator: &dyn LinearOperator,
    support: &Support,
    context: &Context<'_>,
    ws: &mut Workspace,
) -> Result<Vec<f64>, Stop> {
    let cols = support.cols.len();
    let mut values = vec![0.0; support.rows.len() * cols];
    let mut row = ws.take(operator.cols());
    for (&i, target) in support.rows.iter().zip(values.chunks_exact_mut(cols)) {
        context.check()?;
        if cols == row.len() {
            operator.row_into(i, target, ws);
        } else {
            operator.row_into(i, &mut row, ws);
            target.iter_mut().zip(&support.cols).for_each(|(to, &j)| *to = row[j]);
        }
    }
    ws.give(row);
    Ok(values)
}

/// `norm(B^T w) / norm(w)` or `norm(B w) / norm(w)`, whichever `w` fits the smaller side of, rounded down; (G8).
fn rayleigh(b: ArrayView2<'_, f64>, w: &[f64], frobenius: f64) -> f64 {
    let (rows, cols) = b.dim();
    let mut image = vec![0.0; rows.max(cols)];
    if rows <= cols {
        for (row, &factor) in b.rows().into_iter().zip(w) {
            image.iter_mut().zip(row).for_each(|(y, a)| *y += a * factor);
        }
    } else {
        for (y, row) in image.iter_mut().zip(b.rows()) {
            *y = row.iter().zip(w).map(|(a, x)| a * x).sum();
        }
    }
    let size = rounding::norm_up(w);
    let error = rounding::mul_up(rounding::mul_up(rounding::gamma(w.len() + 1), frobenius), size);
    rounding::div_down(rounding::add_down(rounding::norm_down(&image), -error), size).max(0.0)
}
