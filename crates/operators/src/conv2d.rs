//! A two-dimensional convolution.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use lipbound_kernels::{
    isa::{Isa, IsaError},
    packed::{Element, Fused, PackedConv},
};

use crate::{
    ConvShape, Description, Footprint, LinearOperator, Scale, ScaledConv, ShapeError, Workspace, check_lengths, isa,
    rounding,
};

/// The convolution of one example, as a matrix from the flat input to the flat output (both channel-major).
///
/// The weights are packed for the kernels when they are first used, and so are their magnitudes and their squares: 8 bytes
/// a weight and direction. Of the latter two the forward direction is what bounds need.
pub struct Conv2d {
    shape: ConvShape,
    weights: Arc<[f64]>,
    isa: Isa,
    packed: OnceLock<PackedConv<f64>>,
    absolute: OnceLock<PackedConv<f64>>,
    absolute_adjoint: OnceLock<PackedConv<f64>>,
    squared: OnceLock<PackedConv<f64>>,
    abs_norm: OnceLock<f64>,
}

/// What [`LinearOperator::convolution`] says: `diag(row_scale) A diag(col_scale)` with `A` a convolution; `None` is all
/// ones.
#[derive(Clone, Copy, Debug)]
pub struct MaskedConv<'a> {
    /// The geometry.
    pub shape: &'a ConvShape,
    /// The weights `[out, in / groups, kernel height, kernel width]`.
    pub weights: &'a [f64],
    /// Scales of the outputs, all >= 0.
    pub row_scale: Option<&'a [f64]>,
    /// Scales of the inputs, all >= 0.
    pub col_scale: Option<&'a [f64]>,
}

impl fmt::Debug for Conv2d {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Conv2d({:?})", self.shape)
    }
}

impl Conv2d {
    /// A convolution from its geometry and weights `[out, in / groups, kernel height, kernel width]`.
    ///
    /// # Errors
    /// If the geometry is impossible.
    ///
    /// # Panics
    /// If the number of weights is not that of the geometry, or `LIPBOUND_ISA` cannot be obeyed.
    pub fn new(shape: ConvShape, weights: Arc<[f64]>) -> Result<Self, ShapeError> {
        shape.validate()?;
        assert_eq!(weights.len(), shape.weight_len(), "a convolution needs one weight for each tap");
        Ok(Self {
            shape,
            weights,
            isa: isa(),
            packed: OnceLock::new(),
            absolute: OnceLock::new(),
            absolute_adjoint: OnceLock::new(),
            squared: OnceLock::new(),
            abs_norm: OnceLock::new(),
        })
    }

    /// The same convolution by the kernels of `isa`.
    ///
    /// # Errors
    /// If the processor lacks `isa`.
    pub fn with_isa(self, isa: Isa) -> Result<Self, IsaError> {
        Ok(Self { isa: isa.require()?, ..Self::new(self.shape, self.weights).expect("the geometry has been checked") })
    }

    /// The geometry.
    #[must_use]
    pub fn shape(&self) -> &ConvShape {
        &self.shape
    }

    /// The weights.
    #[must_use]
    pub fn weights(&self) -> &[f64] {
        &self.weights
    }

    fn pack(&self, weights: &[f64]) -> PackedConv<f64> {
        PackedConv::new(&self.shape, weights, self.isa).expect("geometry and instruction set have been checked")
    }

    /// The weights as the kernels want them.
    pub(crate) fn packed(&self) -> &PackedConv<f64> {
        self.packed.get_or_init(|| self.pack(&self.weights))
    }

    fn mapped(&self, map: impl Fn(f64) -> f64) -> Vec<f64> {
        self.weights.iter().map(|&w| map(w)).collect()
    }

    fn pack_forward(&self, weights: &[f64]) -> PackedConv<f64> {
        PackedConv::forward_only(&self.shape, weights, self.isa)
            .expect("geometry and instruction set have been checked")
    }

    /// The magnitudes for the forward direction; where both are packed already, those.
    fn absolute(&self) -> &PackedConv<f64> {
        match self.absolute_adjoint.get() {
            Some(both) => both,
            None => self.absolute.get_or_init(|| self.pack_forward(&self.mapped(f64::abs))),
        }
    }

    fn absolute_adjoint(&self) -> &PackedConv<f64> {
        self.absolute_adjoint.get_or_init(|| self.pack(&self.mapped(f64::abs)))
    }

    fn squared(&self) -> &PackedConv<f64> {
        self.squared.get_or_init(|| self.pack_forward(&self.mapped(rounding::square_or_tiny)))
    }

    /// Row sums are at most those of a row that reads no padding; column sums at most those of an element that every
    /// tap reaches.
    fn by_sums(&self) -> f64 {
        let taps = self.shape.kernel[0] * self.shape.kernel[1];
        let inputs = self.shape.in_channels / self.shape.groups;
        let outputs = self.shape.out_channels / self.shape.groups;
        let mut columns = vec![0.0; self.shape.in_channels];
        let mut widest: f64 = 0.0;
        for (o, filter) in self.weights.chunks(inputs * taps).enumerate() {
            let mut row = 0.0;
            for (c, taps) in filter.chunks(taps).enumerate() {
                let sum: f64 = taps.iter().map(|w| w.abs()).sum();
                row += sum;
                columns[o / outputs * inputs + c] += sum;
            }
            widest = widest.max(row);
        }
        rounding::from_sums(widest, rounding::max_or_infinite(&columns), self.shape.fan_in() + self.shape.fan_out())
    }
}

/// Elements of the output and of the input of a convolution in the layout of the kernels.
#[must_use]
pub fn blocked(shape: &ConvShape) -> (usize, usize) {
    let of = |channels: usize, pixels: usize| channels.next_multiple_of(f64::BLOCK) * pixels;
    let outputs = of(shape.out_channels, shape.out_height() * shape.out_width());
    (outputs, of(shape.in_channels, shape.in_height * shape.in_width))
}

/// `y = conv(x)`, channel by channel.
fn forward(conv: &PackedConv<f64>, x: &[f64], y: &mut [f64], ws: &mut Workspace) {
    let (mut from, mut to) = (ws.take(conv.input_len()), ws.take(conv.output_len()));
    conv.pack_input(x, &mut from);
    let (threads, scratch) = ws.for_conv();
    conv.forward(&from, &mut to, &Fused::default(), threads, scratch);
    conv.unpack_output(&to, y);
    ws.give(from);
    ws.give(to);
}

/// `x = conv^T(y)`, channel by channel.
fn adjoint(conv: &PackedConv<f64>, y: &[f64], x: &mut [f64], ws: &mut Workspace) {
    let (mut from, mut to) = (ws.take(conv.output_len()), ws.take(conv.input_len()));
    conv.pack_output(y, &mut from);
    let (threads, scratch) = ws.for_conv();
    conv.adjoint(&from, &mut to, &Fused::default(), threads, scratch);
    conv.unpack_input(&to, x);
    ws.give(from);
    ws.give(to);
}

impl LinearOperator for Conv2d {
    fn rows(&self) -> usize {
        self.shape.output_len()
    }

    fn cols(&self) -> usize {
        self.shape.input_len()
    }

    fn apply(&self, x: &[f64], y: &mut [f64], ws: &mut Workspace) {
        check_lengths(self, x.len(), y.len());
        forward(self.packed(), x, y, ws);
    }

    fn apply_adjoint(&self, y: &[f64], x: &mut [f64], ws: &mut Workspace) {
        check_lengths(self, x.len(), y.len());
        adjoint(self.packed(), y, x, ws);
    }

    fn apply_abs(&self, x: &[f64], y: &mut [f64], ws: &mut Workspace) {
        check_lengths(self, x.len(), y.len());
        forward(self.absolute(), x, y, ws);
        let n = self.rounding_length();
        y.iter_mut().for_each(|y| *y = rounding::raise(*y, n));
    }

    fn apply_abs_adjoint(&self, y: &[f64], x: &mut [f64], ws: &mut Workspace) {
        check_lengths(self, x.len(), y.len());
        adjoint(self.absolute_adjoint(), y, x, ws);
        let n = self.rounding_length();
        x.iter_mut().for_each(|x| *x = rounding::raise(*x, n));
    }

    /// (N1) of docs/soundness.md: one convolution with the squared kernel: `norm(a_i^T D)^2 = (conv_{w^2}(d^2))_i`.
    fn row_norms(&self, weights: Option<&[f64]>, norms: &mut [f64], ws: &mut Workspace) {
        check_lengths(self, weights.map_or(self.cols(), <[f64]>::len), norms.len());
        let mut squares = ws.take(self.cols());
        match weights {
            Some(weights) => squares.iter_mut().zip(weights).for_each(|(s, &w)| *s = rounding::square_or_tiny(w)),
            None => squares.fill(1.0),
        }
        forward(self.squared(), &squares, norms, ws);
        let n = self.squared().accumulation_length() + 4;
        for norm in norms {
            // The kernels multiply by zeros where groups differ: what overflowed elsewhere would be NaN here.
            *norm = if norm.is_nan() { f64::INFINITY } else { rounding::sqrt_up(rounding::raise(*norm, n)) };
        }
        ws.give(squares);
    }

    fn describe(&self, description: &mut Description<'_>) {
        let ConvShape { in_channels, in_height, in_width, out_channels, kernel, stride, padding, dilation, groups } =
            self.shape;
        description.tag("conv2d");
        description.sizes(&[in_channels, in_height, in_width, out_channels, groups]);
        for sizes in [&kernel[..], &stride, &padding, &dilation] {
            description.sizes(sizes);
        }
        description.numbers(self.weights.iter().copied());
    }

    fn rounding_length(&self) -> usize {
        self.packed().accumulation_length()
    }

    fn abs_norm(&self) -> f64 {
        *self.abs_norm.get_or_init(|| self.by_sums())
    }

    fn multiply_adds(&self) -> usize {
        self.shape.multiply_adds()
    }

    /// The weights, their packed forms in both directions, those of their magnitudes in both and forwards once more, and
    /// forwards those of their squares. Vectors are converted to the layout of the kernels and back.
    fn footprint(&self) -> Footprint {
        let size = PackedConv::<f64>::size(&self.shape, self.isa).expect("the geometry has been checked");
        let (tall, wide) = blocked(&self.shape);
        let weights = size_of_val(&self.weights[..]);
        Footprint {
            held: weights + 4 * size.forward + 2 * size.adjoint,
            making: weights + size.making,
            longest: tall.max(wide),
            vectors: 3,
            beside: 0,
            scratch: size.scratch,
        }
    }

    /// The weights that output `i` reads, without a pass over the others.
    fn row_into(&self, i: usize, row: &mut [f64], _: &mut Workspace) {
        check_lengths(self, row.len(), self.rows());
        row.fill(0.0);
        let shape = &self.shape;
        let (oh, ow) = (shape.out_height(), shape.out_width());
        let (o, y, x) = (i / (oh * ow), i / ow % oh, i % ow);
        let inputs = shape.in_channels / shape.groups;
        let first = o / (shape.out_channels / shape.groups) * inputs;
        let [kh, kw] = shape.kernel;
        let filter = &self.weights[o * shape.fan_in()..(o + 1) * shape.fan_in()];
        for ki in (0..kh).filter(|&k| shape.valid_outputs(0, k).contains(&y)) {
            let top = shape.input_position(0, y, ki);
            for kj in (0..kw).filter(|&k| shape.valid_outputs(1, k).contains(&x)) {
                let left = shape.input_position(1, x, kj);
                for c in 0..inputs {
                    row[((first + c) * shape.in_height + top) * shape.in_width + left] =
                        filter[(c * kh + ki) * kw + kj];
                }
            }
        }
    }

    fn convolution(&self) -> Option<MaskedConv<'_>> {
        Some(MaskedConv { shape: &self.shape, weights: &self.weights, row_scale: None, col_scale: None })
    }

    fn scaled_conv(self: Arc<Self>) -> Option<ScaledConv> {
        Some(ScaledConv { conv: self, rows: Scale::default(), cols: Scale::default() })
    }
}
