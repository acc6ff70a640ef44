//! A selection: every output is one input.

use crate::{Description, LinearOperator, Workspace, check_lengths, rounding};

/// `y_i = x_{index_i}`: a reordering, a crop, or the winners of a max pool.
#[derive(Clone, Debug)]
pub struct Selection {
    cols: usize,
    index: Vec<usize>,
    most_chosen: usize,
}

impl Selection {
    /// The selection of `index` from `cols` inputs.
    ///
    /// # Panics
    /// If an index is not below `cols`.
    #[must_use]
    pub fn new(cols: usize, index: Vec<usize>) -> Self {
        let mut chosen = vec![0; cols];
        for &j in &index {
            chosen[j] += 1;
        }
        let most_chosen = chosen.into_iter().max().unwrap_or(0);
        Self { cols, index, most_chosen }
    }

    /// The number of outputs that the most chosen input has: the square of the norm, exactly.
    #[must_use]
    pub fn most_chosen(&self) -> usize {
        self.most_chosen
    }
}

impl LinearOperator for Selection {
    fn rows(&self) -> usize {
        self.index.len()
    }

    fn cols(&self) -> usize {
        self.cols
    }

    fn apply(&self, x: &[f64], y: &mut [f64], _: &mut Workspace) {
        check_lengths(self, x.len(), y.len());
        for (y, &j) in y.iter_mut().zip(&self.index) {
            *y = x[j];
        }
    }

    fn apply_adjoint(&self, y: &[f64], x: &mut [f64], _: &mut Workspace) {
        check_lengths(self, x.len(), y.len());
        x.fill(0.0);
        for (y, &j) in y.iter().zip(&self.index) {
            x[j] += y;
        }
    }

    fn apply_abs(&self, x: &[f64], y: &mut [f64], ws: &mut Workspace) {
        self.apply(x, y, ws);
    }

    fn apply_abs_adjoint(&self, y: &[f64], x: &mut [f64], ws: &mut Workspace) {
        self.apply_adjoint(y, x, ws);
        if self.most_chosen > 1 {
            x.iter_mut().for_each(|x| *x = rounding::raise(*x, self.most_chosen));
        }
    }

    fn row_norms(&self, weights: Option<&[f64]>, norms: &mut [f64], ws: &mut Workspace) {
        match weights {
            Some(weights) => self.apply(weights, norms, ws),
            None => norms.fill(1.0),
        }
    }

    fn describe(&self, description: &mut Description<'_>) {
        description.tag("selection");
        description.size(self.cols);
        description.sizes(&self.index);
    }

    fn rounding_length(&self) -> usize {
        self.most_chosen
    }

    fn abs_norm(&self) -> f64 {
        rounding::sqrt_up(self.most_chosen as f64)
    }

    fn multiply_adds(&self) -> usize {
        self.index.len()
    }

    fn monomial_rows(&self) -> Option<Vec<(usize, f64)>> {
        Some(self.index.iter().map(|&j| (j, 1.0)).collect())
    }
}
