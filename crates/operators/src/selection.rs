//! A selection: every output is one input, or zero.

use crate::{Description, Footprint, LinearOperator, Workspace, check_lengths, rounding};

/// `y_i = x_{index_i}`, or zero: a reordering, a crop, zeros put between or around elements, a broadcast.
#[derive(Clone, Debug)]
pub struct Selection {
    cols: usize,
    index: Vec<u32>,
    most_chosen: usize,
    identity: bool,
}

impl Selection {
    /// The index of an output that is zero.
    pub const ZERO: u32 = u32::MAX;

    /// The selection of `index` from `cols` inputs; [`Selection::ZERO`] is an output of zero.
    ///
    /// # Panics
    /// If another index is not below `cols`.
    #[must_use]
    pub fn new(cols: usize, index: Vec<u32>) -> Self {
        let mut chosen = vec![0u32; cols];
        for &j in index.iter().filter(|&&j| j != Self::ZERO) {
            chosen[j as usize] += 1;
        }
        let most_chosen = chosen.into_iter().max().unwrap_or(0) as usize;
        let identity = index.len() == cols && index.iter().enumerate().all(|(i, &j)| i == j as usize);
        Self { cols, index, most_chosen, identity }
    }

    /// All of `n` inputs in their order.
    ///
    /// # Panics
    /// If there are 2^32 - 1 or more.
    #[must_use]
    pub fn identity(n: usize) -> Self {
        let end = u32::try_from(n).ok().filter(|&end| end < Self::ZERO).expect("fewer than 2^32 - 1 elements");
        Self { cols: n, index: (0..end).collect(), most_chosen: usize::from(n > 0), identity: true }
    }

    /// This selection of what `first` selected, as one.
    ///
    /// # Panics
    /// If `first` has another number of outputs than this has inputs.
    #[must_use]
    pub fn after(&self, first: &Self) -> Self {
        assert_eq!(self.cols, first.index.len(), "neighbouring selections do not meet");
        let through = |&j: &u32| if j == Self::ZERO { Self::ZERO } else { first.index[j as usize] };
        Self::new(first.cols, self.index.iter().map(through).collect())
    }

    /// Whether every output is the input in its place.
    #[must_use]
    pub fn is_identity(&self) -> bool {
        self.identity
    }

    /// The number of outputs that the most chosen input has: the square of the norm, exactly.
    #[must_use]
    pub fn most_chosen(&self) -> usize {
        self.most_chosen
    }

    fn gather(&self, x: &[f64]) -> impl Iterator<Item = f64> {
        self.index.iter().map(|&j| if j == Self::ZERO { 0.0 } else { x[j as usize] })
    }

    /// The chosen input of every output that has one.
    fn chosen(&self) -> impl Iterator<Item = (usize, usize)> {
        self.index.iter().enumerate().filter(|(_, j)| **j != Self::ZERO).map(|(i, &j)| (i, j as usize))
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
        y.iter_mut().zip(self.gather(x)).for_each(|(y, x)| *y = x);
    }

    fn apply_adjoint(&self, y: &[f64], x: &mut [f64], _: &mut Workspace) {
        check_lengths(self, x.len(), y.len());
        x.fill(0.0);
        self.chosen().for_each(|(i, j)| x[j] += y[i]);
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
            None => norms.iter_mut().zip(&self.index).for_each(|(n, &j)| *n = f64::from(u8::from(j != Self::ZERO))),
        }
    }

    fn describe(&self, description: &mut Description<'_>) {
        description.tag("selection");
        description.size(self.cols);
        description.size(self.index.len());
        self.index.iter().for_each(|&j| description.size(j as usize));
    }

    fn rounding_length(&self) -> usize {
        self.most_chosen
    }

    fn abs_norm(&self) -> f64 {
        rounding::sqrt_up(self.most_chosen as f64)
    }

    fn mark_active_cols(&self, active: &mut [bool]) {
        let mut chosen = vec![false; self.cols];
        self.chosen().for_each(|(_, j)| chosen[j] = true);
        active.iter_mut().zip(chosen).for_each(|(a, chosen)| *a &= chosen);
    }

    fn mark_active_rows(&self, active: &mut [bool]) {
        active.iter_mut().zip(&self.index).for_each(|(a, &j)| *a &= j != Self::ZERO);
    }

    fn footprint(&self) -> Footprint {
        let held = self.index.capacity() * size_of::<u32>();
        Footprint { held, making: self.cols, ..Footprint::plain(self.rows(), self.cols) }
    }

    fn multiply_adds(&self) -> usize {
        self.index.len()
    }

    fn monomial_rows(&self) -> Option<Vec<(usize, f64)>> {
        Some(self.index.iter().map(|&j| if j == Self::ZERO { (0, 0.0) } else { (j as usize, 1.0) }).collect())
    }

    /// Where no input is chosen twice, `norm(a^T S diag(w))` is that of `a` weighted with the selected weights.
    fn row_weights_before(&self, weights: Option<&[f64]>) -> Option<Vec<f64>> {
        (self.most_chosen <= 1).then(|| match weights {
            Some(weights) => self.gather(weights).collect(),
            None => self.index.iter().map(|&j| f64::from(u8::from(j != Self::ZERO))).collect(),
        })
    }

    fn selection(&self) -> Option<&Selection> {
        Some(self)
    }

    fn weighted_factors(&self) -> usize {
        0
    }
}
