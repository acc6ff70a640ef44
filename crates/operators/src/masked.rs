//! `diag(r) A diag(d)`: an operator between two masks.

use std::sync::Arc;

use crate::{
    Footprint, LOST, LinearOperator, MaskedConv, Scale, ScaledConv, Workspace, check_lengths, lost_behind, rounding,
};

/// `diag(rows) A diag(cols)` with scales >= 0, the `R A D` of the affine-ReLU bound (arXiv 2008.06141, theorem 1).
#[derive(Clone, Debug)]
pub struct Masked {
    inner: Arc<dyn LinearOperator>,
    row_scale: Option<Vec<f64>>,
    col_scale: Option<Vec<f64>>,
}

impl Masked {
    /// The operator between two scales; `None` is all ones.
    ///
    /// # Panics
    /// If a scale does not have one element for each row or column.
    #[must_use]
    pub fn new(inner: Arc<dyn LinearOperator>, rows: Option<Vec<f64>>, cols: Option<Vec<f64>>) -> Self {
        check_lengths(
            &*inner,
            cols.as_ref().map_or(inner.cols(), Vec::len),
            rows.as_ref().map_or(inner.rows(), Vec::len),
        );
        Self { inner, row_scale: rows, col_scale: cols }
    }

    fn between(
        before: Option<&[f64]>,
        after: Option<&[f64]>,
        input: &[f64],
        output: &mut [f64],
        ws: &mut Workspace,
        action: impl FnOnce(&[f64], &mut [f64], &mut Workspace),
    ) {
        match before {
            Some(before) => {
                let mut scaled = ws.take(input.len());
                for ((s, x), d) in scaled.iter_mut().zip(input).zip(before) {
                    *s = x * d;
                }
                action(&scaled, output, ws);
                ws.give(scaled);
            }
            None => action(input, output, ws),
        }
        if let Some(after) = after {
            // What is left out is zero, even where the product overflowed.
            output.iter_mut().zip(after).for_each(|(y, &r)| *y = if r == 0.0 { 0.0 } else { *y * r });
        }
    }
}

impl LinearOperator for Masked {
    fn rows(&self) -> usize {
        self.inner.rows()
    }

    fn cols(&self) -> usize {
        self.inner.cols()
    }

    fn apply(&self, x: &[f64], y: &mut [f64], ws: &mut Workspace) {
        check_lengths(self, x.len(), y.len());
        let (before, after) = (self.col_scale.as_deref(), self.row_scale.as_deref());
        Self::between(before, after, x, y, ws, |x, y, ws| self.inner.apply(x, y, ws));
    }

    fn apply_adjoint(&self, y: &[f64], x: &mut [f64], ws: &mut Workspace) {
        check_lengths(self, x.len(), y.len());
        let (before, after) = (self.row_scale.as_deref(), self.col_scale.as_deref());
        Self::between(before, after, y, x, ws, |y, x, ws| self.inner.apply_adjoint(y, x, ws));
    }

    fn apply_abs(&self, x: &[f64], y: &mut [f64], ws: &mut Workspace) {
        check_lengths(self, x.len(), y.len());
        let (before, after) = (self.col_scale.as_deref(), self.row_scale.as_deref());
        Self::between(before, after, x, y, ws, |x, y, ws| self.inner.apply_abs(x, y, ws));
        y.iter_mut().for_each(|y| *y = rounding::raise(*y, 2));
    }

    fn apply_abs_adjoint(&self, y: &[f64], x: &mut [f64], ws: &mut Workspace) {
        check_lengths(self, x.len(), y.len());
        let (before, after) = (self.row_scale.as_deref(), self.col_scale.as_deref());
        Self::between(before, after, y, x, ws, |y, x, ws| self.inner.apply_abs_adjoint(y, x, ws));
        x.iter_mut().for_each(|x| *x = rounding::raise(*x, 2));
    }

    fn row_norms(&self, weights: Option<&[f64]>, norms: &mut [f64], ws: &mut Workspace) {
        match (weights, self.col_scale.as_deref()) {
            (Some(weights), Some(scale)) => {
                let product: Vec<f64> = weights.iter().zip(scale).map(|(&w, &d)| rounding::mul_up(w, d)).collect();
                self.inner.row_norms(Some(&product), norms, ws);
            }
            (weights, scale) => self.inner.row_norms(weights.or(scale), norms, ws),
        }
        if let Some(rows) = &self.row_scale {
            norms.iter_mut().zip(rows).for_each(|(n, &r)| *n = rounding::mul_up(*n, r));
        }
    }

    fn rounding_length(&self) -> usize {
        self.inner.rounding_length() + 2
    }

    fn lost(&self) -> f64 {
        let through = |inputs: usize, after: &Option<Vec<f64>>| {
            let largest = after.as_deref().map_or(1.0, rounding::max_or_infinite);
            rounding::add_up(LOST, rounding::mul_up(largest, lost_behind(&*self.inner, inputs, LOST)))
        };
        through(self.cols(), &self.row_scale).max(through(self.rows(), &self.col_scale))
    }

    fn abs_norm(&self) -> f64 {
        [&self.row_scale, &self.col_scale]
            .into_iter()
            .flatten()
            .fold(self.inner.abs_norm(), |norm, scale| rounding::mul_up(norm, rounding::max_or_infinite(scale)))
    }

    fn mark_active_cols(&self, active: &mut [bool]) {
        self.inner.mark_active_cols(active);
        if let Some(scale) = &self.col_scale {
            active.iter_mut().zip(scale).for_each(|(a, &d)| *a &= d != 0.0);
        }
    }

    fn mark_active_rows(&self, active: &mut [bool]) {
        self.inner.mark_active_rows(active);
        if let Some(scale) = &self.row_scale {
            active.iter_mut().zip(scale).for_each(|(a, &r)| *a &= r != 0.0);
        }
    }

    fn footprint(&self) -> Footprint {
        let scales = [&self.row_scale, &self.col_scale].into_iter().flatten().map(Vec::capacity).sum::<usize>();
        let around = Footprint::around(&self.parts(), 1);
        let beside = around.beside + self.cols();
        Footprint { held: around.held + scales * size_of::<f64>(), beside, ..around }
    }

    fn parts(&self) -> Vec<Arc<dyn LinearOperator>> {
        vec![self.inner.clone()]
    }

    fn multiply_adds(&self) -> usize {
        self.inner.multiply_adds()
    }

    fn row_into(&self, i: usize, row: &mut [f64], ws: &mut Workspace) {
        let scale = self.row_scale.as_ref().map_or(1.0, |r| r[i]);
        if scale == 0.0 {
            return row.fill(0.0);
        }
        self.inner.row_into(i, row, ws);
        if let Some(cols) = &self.col_scale {
            row.iter_mut().zip(cols).for_each(|(a, d)| *a *= d);
        }
        if scale != 1.0 {
            row.iter_mut().for_each(|a| *a *= scale);
        }
    }

    /// Masks of masks are not multiplied out: only one scale a side is handed on.
    fn convolution(&self) -> Option<MaskedConv<'_>> {
        let inner = self.inner.convolution()?;
        let twice = |inner: Option<&[f64]>, own: &Option<Vec<f64>>| inner.is_some() && own.is_some();
        if twice(inner.row_scale, &self.row_scale) || twice(inner.col_scale, &self.col_scale) {
            return None;
        }
        Some(MaskedConv {
            row_scale: self.row_scale.as_deref().or(inner.row_scale),
            col_scale: self.col_scale.as_deref().or(inner.col_scale),
            ..inner
        })
    }

    fn scaled_conv(self: Arc<Self>) -> Option<ScaledConv> {
        let scaled = Arc::clone(&self.inner).scaled_conv()?;
        let own = |scale: &Option<Vec<f64>>| scale.clone().map_or_else(Scale::default, |v| Scale::new(v, 0));
        Some(ScaledConv {
            rows: scaled.rows.times(own(&self.row_scale))?,
            cols: scaled.cols.times(own(&self.col_scale))?,
            conv: scaled.conv,
        })
    }
}
