//! `R A D` for a convolution `A`, in the layout of the kernels.
//!
//! A Lanczos process calls nothing but [`LinearOperator::recur`] and its adjoint, and looks at its vectors only through
//! their norms. So they may stay in the channel-blocked layout of the kernels for the whole run, and a half step is one
//! call: masks, scales, the recurrence and the sum of squares are computed while a line is in a register. As passes of
//! their own, they and the conversions would cost as much as the convolution where channels are few.
//!
//! Elements of the blocked layout without a channel are rows and columns of zeros, and reported as inactive.

use std::sync::Arc;

use lipbound_kernels::{
    aligned::AlignedVec,
    packed::{Element, Fused, PackedConv},
};

use crate::{
    Conv2d, Footprint, LinearOperator, Masked, MaskedConv, Scale, ScaledConv, Workspace, check_lengths, rounding,
};

/// `diag(rows) A diag(cols)`, in whatever layout is fastest; `None` is all ones.
///
/// Its norm is that of [`Masked`], but its vectors need not be: if `operator` is a convolution, possibly between
/// diagonals such as a batch normalisation, rows and columns are permuted and there may be more of them, all zero. For
/// callers that treat vectors as opaque, as norms do.
///
/// # Panics
/// If a scale does not have one element for each row or column of `operator`.
#[must_use]
pub fn masked(
    operator: Arc<dyn LinearOperator>,
    rows: Option<&[f64]>,
    cols: Option<&[f64]>,
) -> Arc<dyn LinearOperator> {
    check_lengths(&*operator, cols.map_or(operator.cols(), <[f64]>::len), rows.map_or(operator.rows(), <[f64]>::len));
    if let Some(fused) = Arc::clone(&operator).scaled_conv().and_then(|scaled| FusedConv::new(scaled, rows, cols)) {
        return Arc::new(fused);
    }
    if rows.is_none() && cols.is_none() {
        return operator;
    }
    Arc::new(Masked::new(operator, rows.map(<[f64]>::to_vec), cols.map(<[f64]>::to_vec)))
}

/// Scales in the blocked layout.
#[derive(Debug)]
struct Side {
    values: AlignedVec<f64>,
    is_mask: bool,
    roundings: usize,
}

impl Side {
    fn new(scale: &Scale, len: usize, pack: impl FnOnce(&[f64], &mut [f64])) -> Option<Self> {
        let plain = scale.values()?;
        let mut values = AlignedVec::zeroed(len);
        pack(plain, &mut values);
        Some(Self { values, is_mask: scale.is_mask(), roundings: scale.roundings() })
    }
}

/// The values of a side, if there is one.
fn all(side: &Option<Side>) -> Option<&[f64]> {
    side.as_ref().map(|side| &side.values[..])
}

/// The same for a vector that is already zero wherever a mask is: a mask would change nothing.
fn but_masks(side: &Option<Side>) -> Option<&[f64]> {
    all(side).filter(|_| side.as_ref().is_some_and(|side| !side.is_mask))
}

/// Roundings that scaling adds to one term.
fn roundings(side: &Option<Side>) -> usize {
    side.as_ref().map_or(0, |side| 1 + side.roundings)
}

/// The fused operator.
#[derive(Debug)]
struct FusedConv {
    conv: Arc<Conv2d>,
    rows: Option<Side>,
    cols: Option<Side>,
    /// The operator between the magnitudes of its scales, channel by channel: what bounds are taken from. They are
    /// asked for once in a run, so they may convert.
    bounds: Masked,
}

impl FusedConv {
    fn new(scaled: ScaledConv, rows: Option<&[f64]>, cols: Option<&[f64]>) -> Option<Self> {
        let mask = |values: Option<&[f64]>| values.map_or_else(Scale::default, |v| Scale::new(v.to_vec(), 0));
        let (rows, cols) = (scaled.rows.times(mask(rows))?, scaled.cols.times(mask(cols))?);
        let conv = scaled.conv;
        let packed = conv.packed();
        Some(Self {
            rows: Side::new(&rows, packed.output_len(), |plain, blocked| packed.pack_output(plain, blocked)),
            cols: Side::new(&cols, packed.input_len(), |plain, blocked| packed.pack_input(plain, blocked)),
            bounds: Masked::new(Arc::clone(&conv) as Arc<dyn LinearOperator>, rows.magnitudes(), cols.magnitudes()),
            conv,
        })
    }

    fn packed(&self) -> &PackedConv<f64> {
        self.conv.packed()
    }

    /// Calls `action` with vectors channel by channel: rows to columns if `adjoint`.
    fn converted(
        &self,
        adjoint: bool,
        from: Option<&[f64]>,
        to: &mut [f64],
        ws: &mut Workspace,
        action: impl FnOnce(Option<&[f64]>, &mut [f64], &mut Workspace),
    ) {
        let packed = self.packed();
        let (rows, cols) = (self.bounds.rows(), self.bounds.cols());
        let (from_len, to_len) = if adjoint { (rows, cols) } else { (cols, rows) };
        let mut result = ws.take(to_len);
        match from {
            Some(blocked) => {
                let mut plain = ws.take(from_len);
                if adjoint {
                    packed.unpack_output(blocked, &mut plain);
                } else {
                    packed.unpack_input(blocked, &mut plain);
                }
                action(Some(&plain), &mut result, ws);
                ws.give(plain);
            }
            None => action(None, &mut result, ws),
        }
        if adjoint {
            packed.pack_input(&result, to);
        } else {
            packed.pack_output(&result, to);
        }
        ws.give(result);
    }
}

/// Where an element of the blocked layout is among `channels` planes of `pixels`; `None` where there is no channel.
fn plain_index(index: usize, channels: usize, pixels: usize) -> Option<usize> {
    let (line, lane) = (index / f64::BLOCK, index % f64::BLOCK);
    let channel = line / pixels * f64::BLOCK + lane;
    (channel < channels).then_some(channel * pixels + line % pixels)
}

/// Clears what a scale makes zero and what has no channel.
fn mark(side: &Option<Side>, channels: usize, pixels: usize, active: &mut [bool]) {
    match side {
        // Elements without a channel have a scale of zero.
        Some(side) => active.iter_mut().zip(&side.values[..]).for_each(|(a, &d)| *a &= d != 0.0),
        None => active.iter_mut().enumerate().for_each(|(i, a)| *a &= plain_index(i, channels, pixels).is_some()),
    }
}

/// Whether a vector is zero wherever its scale is a zero of a mask.
fn respects(side: &Option<Side>, vector: &[f64]) -> bool {
    side.as_ref().is_none_or(|side| vector.iter().zip(&side.values[..]).all(|(&x, &d)| d != 0.0 || x == 0.0))
}

impl LinearOperator for FusedConv {
    fn rows(&self) -> usize {
        self.packed().output_len()
    }

    fn cols(&self) -> usize {
        self.packed().input_len()
    }

    fn apply(&self, x: &[f64], y: &mut [f64], ws: &mut Workspace) {
        let fused = Fused { input_scale: all(&self.cols), scale: all(&self.rows), ..Fused::default() };
        let (threads, scratch) = ws.for_conv();
        self.packed().forward(x, y, &fused, threads, scratch);
    }

    fn apply_adjoint(&self, y: &[f64], x: &mut [f64], ws: &mut Workspace) {
        let fused = Fused { input_scale: all(&self.rows), scale: all(&self.cols), ..Fused::default() };
        let (threads, scratch) = ws.for_conv();
        self.packed().adjoint(y, x, &fused, threads, scratch);
    }

    fn recur(&self, a: f64, x: &[f64], b: f64, y: &mut [f64], ws: &mut Workspace) -> f64 {
        debug_assert!(respects(&self.cols, x), "a Lanczos vector is zero in inactive columns");
        let fused = Fused { input_scale: but_masks(&self.cols), scale: all(&self.rows), a, b };
        let (threads, scratch) = ws.for_conv();
        self.packed().forward(x, y, &fused, threads, scratch)
    }

    fn recur_adjoint(&self, a: f64, y: &[f64], b: f64, x: &mut [f64], ws: &mut Workspace) -> f64 {
        debug_assert!(respects(&self.rows, y), "a Lanczos vector is zero in inactive rows");
        let fused = Fused { input_scale: but_masks(&self.rows), scale: all(&self.cols), a, b };
        let (threads, scratch) = ws.for_conv();
        self.packed().adjoint(y, x, &fused, threads, scratch)
    }

    fn apply_abs(&self, x: &[f64], y: &mut [f64], ws: &mut Workspace) {
        check_lengths(self, x.len(), y.len());
        self.converted(false, Some(x), y, ws, |x, y, ws| self.bounds.apply_abs(x.unwrap_or_default(), y, ws));
    }

    fn apply_abs_adjoint(&self, y: &[f64], x: &mut [f64], ws: &mut Workspace) {
        check_lengths(self, x.len(), y.len());
        self.converted(true, Some(y), x, ws, |y, x, ws| self.bounds.apply_abs_adjoint(y.unwrap_or_default(), x, ws));
    }

    fn row_norms(&self, weights: Option<&[f64]>, norms: &mut [f64], ws: &mut Workspace) {
        check_lengths(self, weights.map_or(self.cols(), <[f64]>::len), norms.len());
        self.converted(false, weights, norms, ws, |weights, norms, ws| self.bounds.row_norms(weights, norms, ws));
    }

    /// The products with the scales add a rounding each to those of the sums, and the scales their own.
    fn rounding_length(&self) -> usize {
        self.conv.rounding_length() + roundings(&self.rows) + roundings(&self.cols)
    }

    fn norm_roundings(&self) -> usize {
        rounding::chunk_rounding(self.rows().max(self.cols())).max(self.packed().square_sum_length())
    }

    fn lost(&self) -> f64 {
        self.bounds.lost()
    }

    fn abs_norm(&self) -> f64 {
        self.bounds.abs_norm()
    }

    fn mark_active_cols(&self, active: &mut [bool]) {
        let shape = self.conv.shape();
        mark(&self.cols, shape.in_channels, shape.in_height * shape.in_width, active);
    }

    fn mark_active_rows(&self, active: &mut [bool]) {
        let shape = self.conv.shape();
        mark(&self.rows, shape.out_channels, shape.out_height() * shape.out_width(), active);
    }

    fn multiply_adds(&self) -> usize {
        self.conv.multiply_adds()
    }

    /// The scales in both layouts; vectors are converted for bounds.
    fn footprint(&self) -> Footprint {
        let around = self.bounds.footprint();
        let scales = [&self.rows, &self.cols].into_iter().flatten().map(|side| size_of_val(&side.values[..]));
        Footprint { held: around.held + scales.sum::<usize>(), vectors: around.vectors + 3, ..around }
    }

    fn parts(&self) -> Vec<Arc<dyn LinearOperator>> {
        self.bounds.parts()
    }

    fn row_into(&self, i: usize, row: &mut [f64], ws: &mut Workspace) {
        let shape = self.conv.shape();
        let scale = all(&self.rows).map_or(1.0, |values| values[i]);
        let plain = plain_index(i, shape.out_channels, shape.out_height() * shape.out_width());
        let Some(plain) = plain.filter(|_| scale != 0.0) else { return row.fill(0.0) };
        self.converted(true, None, row, ws, |_, row, ws| self.conv.row_into(plain, row, ws));
        match all(&self.cols) {
            Some(cols) => row.iter_mut().zip(cols).for_each(|(a, d)| *a = *a * d * scale),
            None => row.iter_mut().for_each(|a| *a *= scale),
        }
    }

    fn convolution(&self) -> Option<MaskedConv<'_>> {
        self.bounds.convolution()
    }
}
