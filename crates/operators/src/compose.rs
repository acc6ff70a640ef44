//! The product of operators.

use std::sync::Arc;

use crate::{
    Description, Footprint, LinearOperator, Scale, ScaledConv, Workspace, check_lengths, lost_behind, rounding,
};

/// `A_n ... A_2 A_1`: affine maps that follow each other without a unit between them.
#[derive(Clone, Debug)]
pub struct Compose {
    /// In the order in which they are applied: `factors[0]` reads the input.
    factors: Vec<Arc<dyn LinearOperator>>,
}

impl Compose {
    /// The product, given in the order of application.
    ///
    /// # Panics
    /// If there is no factor or the shapes of neighbours do not meet.
    #[must_use]
    pub fn new(factors: Vec<Arc<dyn LinearOperator>>) -> Self {
        assert!(!factors.is_empty(), "a product needs a factor");
        for pair in factors.windows(2) {
            assert_eq!(pair[0].rows(), pair[1].cols(), "neighbouring factors do not meet");
        }
        Self { factors }
    }

    fn last(&self) -> &Arc<dyn LinearOperator> {
        &self.factors[self.factors.len() - 1]
    }

    fn chain<'a>(
        factors: impl ExactSizeIterator<Item = &'a Arc<dyn LinearOperator>>,
        input: &[f64],
        output: &mut [f64],
        ws: &mut Workspace,
        len: impl Fn(&dyn LinearOperator) -> usize,
        action: impl Fn(&dyn LinearOperator, &[f64], &mut [f64], &mut Workspace),
    ) {
        let count = factors.len();
        let mut previous: Option<Vec<f64>> = None;
        for (k, factor) in factors.enumerate() {
            if k + 1 == count {
                action(&**factor, previous.as_deref().unwrap_or(input), output, ws);
            } else {
                let mut next = ws.take(len(&**factor));
                action(&**factor, previous.as_deref().unwrap_or(input), &mut next, ws);
                if let Some(old) = previous.replace(next) {
                    ws.give(old);
                }
            }
        }
        if let Some(old) = previous {
            ws.give(old);
        }
    }
}

/// Work (multiply-adds) up to which the rows of an operator are formed one by one for their norms.
const AFFORDABLE_ROW_WORK: usize = 1 << 31;

/// Whether forming every row (one adjoint a row) is acceptable.
pub(crate) fn rows_are_affordable(operator: &dyn LinearOperator) -> bool {
    operator.multiply_adds().checked_mul(operator.rows()).is_some_and(|work| work <= AFFORDABLE_ROW_WORK)
}

/// Row norms by one adjoint a row, (N2) of docs/soundness.md. What rounding may have taken from a row is added back:
/// `norm(row) <= norm(computed row) + gamma_n norm(|A|^T e_i)`.
pub(crate) fn row_norms_by_adjoint(
    operator: &dyn LinearOperator,
    weights: Option<&[f64]>,
    norms: &mut [f64],
    ws: &mut Workspace,
) {
    check_lengths(operator, weights.map_or(operator.cols(), <[f64]>::len), norms.len());
    let mut unit = ws.zeros(operator.rows());
    let (mut row, mut absolute) = (ws.take(operator.cols()), ws.take(operator.cols()));
    let error = rounding::gamma(operator.rounding_length() + 1);
    for (i, norm) in norms.iter_mut().enumerate() {
        unit[i] = 1.0;
        operator.apply_adjoint(&unit, &mut row, ws);
        operator.apply_abs_adjoint(&unit, &mut absolute, ws);
        unit[i] = 0.0;
        if let Some(weights) = weights {
            for ((a, b), &w) in row.iter_mut().zip(&mut absolute).zip(weights) {
                *a = rounding::mul_up(a.abs(), w);
                *b = rounding::mul_up(*b, w);
            }
        }
        *norm = rounding::add_up(rounding::norm_up(&row), rounding::mul_up(error, rounding::norm_up(&absolute)));
    }
    ws.give(unit);
    ws.give(row);
    ws.give(absolute);
}

impl LinearOperator for Compose {
    fn rows(&self) -> usize {
        self.last().rows()
    }

    fn cols(&self) -> usize {
        self.factors[0].cols()
    }

    fn apply(&self, x: &[f64], y: &mut [f64], ws: &mut Workspace) {
        check_lengths(self, x.len(), y.len());
        Self::chain(self.factors.iter(), x, y, ws, |f| f.rows(), |f, x, y, ws| f.apply(x, y, ws));
    }

    fn apply_adjoint(&self, y: &[f64], x: &mut [f64], ws: &mut Workspace) {
        check_lengths(self, x.len(), y.len());
        Self::chain(self.factors.iter().rev(), y, x, ws, |f| f.cols(), |f, y, x, ws| f.apply_adjoint(y, x, ws));
    }

    fn apply_abs(&self, x: &[f64], y: &mut [f64], ws: &mut Workspace) {
        check_lengths(self, x.len(), y.len());
        Self::chain(self.factors.iter(), x, y, ws, |f| f.rows(), |f, x, y, ws| f.apply_abs(x, y, ws));
    }

    fn apply_abs_adjoint(&self, y: &[f64], x: &mut [f64], ws: &mut Workspace) {
        check_lengths(self, x.len(), y.len());
        Self::chain(self.factors.iter().rev(), y, x, ws, |f| f.cols(), |f, y, x, ws| f.apply_abs_adjoint(y, x, ws));
    }

    /// Exact where outer factors have one entry a row and inner ones one entry a column (batch norms, reorderings, scales);
    /// else by forming the rows where that is affordable; else `norm(a_i^T B D) <= (|A| row norms of B D)_i`.
    fn row_norms(&self, weights: Option<&[f64]>, norms: &mut [f64], ws: &mut Workspace) {
        check_lengths(self, weights.map_or(self.cols(), <[f64]>::len), norms.len());
        let (first, rest) = (&self.factors[0], &self.factors[1..]);
        if rest.is_empty() {
            return first.row_norms(weights, norms, ws);
        }
        if let Some(inner) = first.row_weights_before(weights) {
            return Self { factors: rest.to_vec() }.row_norms(Some(&inner), norms, ws);
        }
        let before = &self.factors[..self.factors.len() - 1];
        if let Some(entries) = self.last().monomial_rows() {
            let mut inner = ws.take(self.last().cols());
            Self { factors: before.to_vec() }.row_norms(weights, &mut inner, ws);
            for (norm, (j, a)) in norms.iter_mut().zip(entries) {
                *norm = rounding::mul_up(a, inner[j]);
            }
            ws.give(inner);
        } else if rows_are_affordable(self) {
            row_norms_by_adjoint(self, weights, norms, ws);
        } else {
            let mut inner = ws.take(self.last().cols());
            Self { factors: before.to_vec() }.row_norms(weights, &mut inner, ws);
            self.last().apply_abs(&inner, norms, ws);
            ws.give(inner);
        }
    }

    fn describe(&self, description: &mut Description<'_>) {
        description.tag("compose");
        description.size(self.factors.len());
        self.factors.iter().for_each(|factor| factor.describe(description));
    }

    fn rounding_length(&self) -> usize {
        self.factors.iter().map(|f| f.rounding_length()).sum()
    }

    fn lost(&self) -> f64 {
        let forward = self.factors.iter().fold(0.0, |lost, f| lost_behind(&**f, f.cols(), lost));
        let adjoint = self.factors.iter().rev().fold(0.0, |lost, f| lost_behind(&**f, f.rows(), lost));
        forward.max(adjoint)
    }

    fn weighted_factors(&self) -> usize {
        self.factors.iter().map(|f| f.weighted_factors()).sum()
    }

    fn abs_norm(&self) -> f64 {
        self.factors.iter().fold(1.0, |norm, f| rounding::mul_up(norm, f.abs_norm()))
    }

    fn mark_active_cols(&self, active: &mut [bool]) {
        self.factors[0].mark_active_cols(active);
    }

    fn mark_active_rows(&self, active: &mut [bool]) {
        self.last().mark_active_rows(active);
    }

    fn multiply_adds(&self) -> usize {
        self.factors.iter().map(|f| f.multiply_adds()).sum()
    }

    /// Two vectors between factors, and those of row norms: a unit vector, two rows, or what a shorter product of the same
    /// factors says of its rows.
    fn footprint(&self) -> Footprint {
        let around = Footprint::around(&self.factors, self.factors.len().max(3) + 2);
        // The weights of rows that stand for inner factors, and the entries of rows with one.
        let beside = self.factors.iter().map(|f| 3 * f.rows() + f.cols()).sum();
        Footprint { beside, ..around }
    }

    fn parts(&self) -> Vec<Arc<dyn LinearOperator>> {
        self.factors.clone()
    }

    /// One convolution between diagonals: a normalisation of the input or a batch normalisation, say.
    fn scaled_conv(self: Arc<Self>) -> Option<ScaledConv> {
        let mut found: Option<ScaledConv> = None;
        let mut before = Scale::default();
        for factor in &self.factors {
            found = Some(match (factor.diagonal(), found.take()) {
                (Some(diagonal), Some(scaled)) => ScaledConv { rows: scaled.rows.times(diagonal)?, ..scaled },
                (Some(diagonal), None) => {
                    before = before.times(diagonal)?;
                    continue;
                }
                (None, Some(_)) => return None,
                (None, None) => {
                    let scaled = Arc::clone(factor).scaled_conv()?;
                    ScaledConv { cols: scaled.cols.times(std::mem::take(&mut before))?, ..scaled }
                }
            });
        }
        found
    }
}
