//! Direct convolution with packed weights, for the inner loop of a Lanczos process.
//!
//! A [`PackedConv`] is built once from a geometry and its weights, for one instruction set and one number type, and
//! then maps vectors in a channel-blocked layout (see [`PackedConv::pack_input`]) forward and back. One call is a
//! whole half-step of a Golub-Kahan-Lanczos process:
//!
//! ```text
//! y <- scale .* (a * A (input_scale .* x)) - b * y,        and the sum of squares of the new y.
//! ```
//!
//! # The Lanczos process of `M = R A D`
//! With diagonal `R` (outputs) and `D` (inputs), keep `u` and `v` unnormalised, with their norms beside them:
//! ```text
//! v = start,  beta = |v|,  u = 0
//! repeat: alpha^2 = forward(v, u, input_scale: D, scale: R, a: 1/beta,  b: beta/alpha)      (b: 0 the first time)
//!         beta^2  = adjoint(u, v, input_scale: R, scale: D, a: 1/alpha, b: alpha/beta)
//! ```
//! where `b` uses the norms before the call. Two vectors live at a time and nothing passes over them but the kernel:
//! the products with the diagonals, the recurrence, and the norms happen while a line is in a register. If `D` is a
//! mask of zeros and ones, a start vector that respects it stays so, and `input_scale` of the forward call can be left
//! out (likewise `R` in the adjoint). An input scale costs one more read of the vector and nothing else: it is applied
//! while the input is copied into the working block, once for each element and not once for each use.
//!
//! ```
//! use lipbound_kernels::{ConvShape, isa::Isa, packed::{Fused, PackedConv, Scratch}, pool::Threads};
//!
//! let shape = ConvShape {
//!     in_channels: 2, in_height: 4, in_width: 5, out_channels: 3,
//!     kernel: [3, 3], stride: [1, 1], padding: [1; 4], dilation: [1, 1], groups: 1,
//! };
//! let conv = PackedConv::<f64>::new(&shape, &[0.1f32; 54], Isa::selected()?)?;
//! let (threads, mut scratch) = (Threads::from_environment()?, Scratch::new());
//! let (mut v, mut u) = (vec![0.0; conv.input_len()], vec![f64::NAN; conv.output_len()]);
//! conv.pack_input(&[1.0; 40], &mut v);
//! let beta = 40f64.sqrt();
//! let alpha = conv.forward(&v, &mut u, &Fused { a: 1.0 / beta, ..Fused::default() }, &threads, &mut scratch).sqrt();
//! let back = Fused { a: 1.0 / alpha, b: alpha / beta, ..Fused::default() };
//! let beta = conv.adjoint(&u, &mut v, &back, &threads, &mut scratch).sqrt();
//! assert!(alpha > 1.0 && beta < alpha);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! # Rounding
//! Let `m` be [`PackedConv::accumulation_length`] and `u` the unit roundoff. The sum that enters the store differs from
//! the exact one by at most `gamma_m * (|A| |x|)_i`, `gamma_m = m u / (1 - m u)`, plus one more `u` relative to each
//! `x` if there is an input scale other than zeros and ones. The store rounds `a * sum`, the product with `scale`, and
//! `- b * y` (fused: one rounding; portable: two). The returned sum of squares is accumulated in `f64` from the stored
//! values, with a relative error of at most `gamma_k`, `k` = [`PackedConv::square_sum_length`] and `u` that of `f64`.
//! All this barring underflow, and overflow shows as infinities or NaN.
//!
//! Results depend on the geometry, the weights, the vectors and the instruction set, and on nothing else: not on the
//! number of threads, bit for bit.

mod dispatch;
mod element;
mod layout;
mod plan;
mod portable;
mod run;
#[cfg(target_arch = "x86_64")]
mod x86;

pub use element::Element;
pub use run::Scratch;

use crate::isa::{Isa, IsaError};
use crate::pool::Threads;
use crate::{ConvShape, ShapeError};
use plan::{Direction, Plan};
use std::fmt;

/// A convolution could not be packed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PackError {
    /// The geometry is not a convolution.
    Shape(ShapeError),
    /// The instruction set cannot run here.
    Isa(IsaError),
    /// The weights do not have the length of the geometry.
    Weights {
        /// What the geometry asks for.
        expected: usize,
        /// What was given.
        given: usize,
    },
}

impl fmt::Display for PackError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Shape(error) => error.fmt(f),
            Self::Isa(error) => error.fmt(f),
            Self::Weights { expected, given } => {
                write!(f, "the convolution has {expected} weights, but {given} were given")
            }
        }
    }
}

impl std::error::Error for PackError {}

/// What a call does beside the convolution; see the [module documentation](self). All slices are in the blocked layout.
#[derive(Clone, Copy, Debug)]
pub struct Fused<'a, T> {
    /// Multiplies the input, element by element.
    pub input_scale: Option<&'a [T]>,
    /// Multiplies the result, element by element.
    pub scale: Option<&'a [T]>,
    /// Multiplies the result.
    pub a: T,
    /// Multiplies the old output, which is subtracted; 0 means that the old output is not read (it may hold NaN).
    pub b: T,
}

impl<T: Element> Default for Fused<'_, T> {
    fn default() -> Self {
        Self { input_scale: None, scale: None, a: T::ONE, b: T::ZERO }
    }
}

/// What packing a convolution takes of memory, in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PackedSize {
    /// What is held for the forward direction, weights and all.
    pub forward: usize,
    /// The same for the adjoint.
    pub adjoint: usize,
    /// What is there beside it while the larger of them is made.
    pub making: usize,
    /// Scratch memory that each thread needs, for either direction.
    pub scratch: usize,
}

/// A convolution with its weights packed for both directions, or forwards alone. See the [module documentation](self).
#[derive(Clone, Debug)]
pub struct PackedConv<T: Element> {
    shape: ConvShape,
    forward: Plan<T>,
    adjoint: Option<Plan<T>>,
}

impl<T: Element> PackedConv<T> {
    /// Packs `weights` (`[out][in / groups][kernel height][kernel width]`), which are widened exactly if they are `f32`
    /// and `T` is `f64`.
    ///
    /// # Errors
    /// If the geometry is no convolution, the weights have another length, or the processor lacks `isa`.
    pub fn new<W: Copy + Into<T>>(shape: &ConvShape, weights: &[W], isa: Isa) -> Result<Self, PackError> {
        Self::pack(shape, weights, isa, true)
    }

    /// As [`Self::new`], without the weights of the adjoint: half the memory.
    ///
    /// # Errors
    /// As for [`Self::new`].
    pub fn forward_only<W: Copy + Into<T>>(shape: &ConvShape, weights: &[W], isa: Isa) -> Result<Self, PackError> {
        Self::pack(shape, weights, isa, false)
    }

    fn pack<W: Copy + Into<T>>(
        shape: &ConvShape,
        weights: &[W],
        isa: Isa,
        both_directions: bool,
    ) -> Result<Self, PackError> {
        shape.validate().map_err(PackError::Shape)?;
        if weights.len() != shape.weight_len() {
            return Err(PackError::Weights { expected: shape.weight_len(), given: weights.len() });
        }
        let isa = isa.require().map_err(PackError::Isa)?;
        let (oriented, turned) = oriented(shape);
        let [kh, kw] = shape.kernel;
        let (per_in, per_out) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
        let weight = |o: usize, i: usize, ky: usize, kx: usize| {
            let (ky, kx) = if turned { (kx, ky) } else { (ky, kx) };
            if o / per_out == i / per_in {
                weights[((o * per_in + i % per_in) * kh + ky) * kw + kx].into()
            } else {
                T::ZERO
            }
        };
        Ok(Self {
            shape: *shape,
            forward: Plan::new(&oriented, Direction::Forward, isa, weight),
            adjoint: both_directions.then(|| {
                Plan::new(&oriented, Direction::Adjoint, isa, |out, input, ky, kx| weight(input, out, ky, kx))
            }),
        })
    }

    /// What packing a convolution would take, without packing it.
    ///
    /// # Errors
    /// If the geometry is no convolution.
    pub fn size(shape: &ConvShape, isa: Isa) -> Result<PackedSize, ShapeError> {
        shape.validate()?;
        let (oriented, _) = oriented(shape);
        let (forward, of_forward, scratch) = Plan::<T>::measure(&oriented, Direction::Forward, isa);
        let (adjoint, of_adjoint, of_back) = Plan::<T>::measure(&oriented, Direction::Adjoint, isa);
        // Lists grow to twice their length while the old one is there.
        let making = 2 * (forward - of_forward).max(adjoint - of_adjoint);
        Ok(PackedSize { forward, adjoint, making, scratch: scratch.max(of_back) })
    }

    /// The geometry.
    #[must_use]
    pub const fn shape(&self) -> &ConvShape {
        &self.shape
    }

    /// The instruction set it was built for.
    #[must_use]
    pub fn isa(&self) -> Isa {
        self.forward.isa
    }

    /// Elements of an input in the blocked layout.
    #[must_use]
    pub fn input_len(&self) -> usize {
        layout::blocked_len::<T>(self.shape.in_channels, self.shape.in_height, self.shape.in_width)
    }

    /// Elements of an output in the blocked layout.
    #[must_use]
    pub fn output_len(&self) -> usize {
        layout::blocked_len::<T>(self.shape.out_channels, self.shape.out_height(), self.shape.out_width())
    }

    /// From `[channels][height][width]` to `[ceil(channels / B)][height][width][B]`, `B` = [`Element::BLOCK`]; lanes
    /// without a channel become zero.
    ///
    /// # Panics
    /// If a slice has a wrong length; so do the other conversions.
    pub fn pack_input(&self, chw: &[T], out: &mut [T]) {
        layout::pack(self.shape.in_channels, self.shape.in_height * self.shape.in_width, chw, out);
    }

    /// The inverse of [`Self::pack_input`].
    pub fn unpack_input(&self, blocked: &[T], chw: &mut [T]) {
        layout::unpack(self.shape.in_channels, self.shape.in_height * self.shape.in_width, blocked, chw);
    }

    /// As [`Self::pack_input`], for outputs.
    pub fn pack_output(&self, chw: &[T], out: &mut [T]) {
        layout::pack(self.shape.out_channels, self.shape.out_height() * self.shape.out_width(), chw, out);
    }

    /// The inverse of [`Self::pack_output`].
    pub fn unpack_output(&self, blocked: &[T], chw: &mut [T]) {
        layout::unpack(self.shape.out_channels, self.shape.out_height() * self.shape.out_width(), blocked, chw);
    }

    /// `y <- scale .* (a * A (input_scale .* x)) - b * y`; returns the sum of squares of the new `y`. Lanes of `y` without
    /// a channel must hold finite numbers if `b` is not 0, and zeros if the sum is to be that of the tensor.
    ///
    /// # Panics
    /// If a slice has a wrong length.
    pub fn forward(&self, x: &[T], y: &mut [T], fused: &Fused<'_, T>, threads: &Threads, scratch: &mut Scratch) -> f64 {
        self.check(x.len(), y.len(), fused, [self.input_len(), self.output_len()]);
        self.forward.run(x, y, fused, threads, scratch)
    }

    /// `x <- scale .* (a * A^T (input_scale .* y)) - b * x`; otherwise as [`Self::forward`].
    ///
    /// # Panics
    /// If a slice has a wrong length, or the convolution was packed forwards alone.
    pub fn adjoint(&self, y: &[T], x: &mut [T], fused: &Fused<'_, T>, threads: &Threads, scratch: &mut Scratch) -> f64 {
        self.check(y.len(), x.len(), fused, [self.output_len(), self.input_len()]);
        let adjoint = self.adjoint.as_ref().expect("the convolution was packed for both directions");
        adjoint.run(y, x, fused, threads, scratch)
    }

    fn check(&self, from: usize, to: usize, fused: &Fused<'_, T>, expected: [usize; 2]) {
        assert_eq!(from, expected[0], "the vector to map has a wrong length");
        assert_eq!(to, expected[1], "the result has a wrong length");
        if let Some(scale) = fused.input_scale {
            assert_eq!(scale.len(), expected[0], "the input scale has a wrong length");
        }
        if let Some(scale) = fused.scale {
            assert_eq!(scale.len(), expected[1], "the scale has a wrong length");
        }
    }

    /// The `m` of the [rounding bound](self#rounding), the larger of the directions it was packed for.
    #[must_use]
    pub fn accumulation_length(&self) -> usize {
        self.adjoint.as_ref().map_or(0, |plan| plan.accumulation).max(self.forward.accumulation)
    }

    /// The `k` of the rounding bound of the sum of squares, the larger of the directions it was packed for.
    #[must_use]
    pub fn square_sum_length(&self) -> usize {
        self.adjoint.as_ref().map_or(0, |plan| plan.square_sum).max(self.forward.square_sum)
    }
}

/// The geometry that is planned, and whether it is the other way round: a column of pixels is stored like a row of pixels,
/// and rows are what tiles are good at.
fn oriented(shape: &ConvShape) -> (ConvShape, bool) {
    let turned = shape.in_width == 1 && shape.out_width() == 1;
    (if turned { transposed(shape) } else { *shape }, turned)
}

/// The same map with rows and columns exchanged.
fn transposed(shape: &ConvShape) -> ConvShape {
    let swap = |[a, b]: [usize; 2]| [b, a];
    let [top, left, bottom, right] = shape.padding;
    ConvShape {
        in_height: shape.in_width,
        in_width: shape.in_height,
        kernel: swap(shape.kernel),
        stride: swap(shape.stride),
        padding: [left, top, right, bottom],
        dilation: swap(shape.dilation),
        ..*shape
    }
}
