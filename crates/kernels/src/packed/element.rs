//! The two number types, and the code that is the same for every instruction set: copying a block of the input, and
//! the store that ends a tile.

use crate::aligned::Zeroable;
use crate::isa::Isa;
use std::fmt::Debug;

/// `f32` or `f64`. Sealed: the kernels are written for these two.
pub trait Element: kernels::Kernels + Zeroable + Send + Sync + PartialEq + Debug + 'static {
    /// Channels side by side in one 64-byte line of the blocked layout.
    const BLOCK: usize;
    /// Zero.
    const ZERO: Self;
    /// One.
    const ONE: Self;
    /// Unit roundoff: 2^-24 or 2^-53.
    const UNIT_ROUNDOFF: f64;
    /// Exact widening.
    fn widen(self) -> f64;
}

impl Element for f64 {
    const BLOCK: usize = 8;
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const UNIT_ROUNDOFF: f64 = f64::EPSILON / 2.0;
    fn widen(self) -> f64 {
        self
    }
}

impl Element for f32 {
    const BLOCK: usize = 16;
    const ZERO: Self = 0.0;
    const ONE: Self = 1.0;
    const UNIT_ROUNDOFF: f64 = (f32::EPSILON / 2.0) as f64;
    fn widen(self) -> f64 {
        f64::from(self)
    }
}

/// Most blocks of output channels that one tile covers.
pub(super) const MAX_BLOCKS: usize = 2;
/// Most output channels of a planar tile.
pub(super) const MAX_PLANES: usize = 4;

/// How a tile's sums are spread over vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    /// A vector is a block of output channels of one pixel; input scalars are broadcast.
    Channels {
        /// Blocks at a time.
        blocks: usize,
    },
    /// A vector is a block of channels of one pixel, input and output alike: depthwise convolutions.
    Lanewise,
    /// A vector is a run of pixels of one output channel; weights are broadcast. For a few output channels, which would
    /// leave most lanes of a block empty.
    Planar {
        /// Output channels, all of them.
        channels: usize,
    },
}

/// A tile that a micro-kernel is compiled for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct TileShape {
    pub style: Style,
    pub rows: usize,
    pub columns: usize,
}
/// Most lanes of one block.
const MAX_LANES: usize = 16;

/// A run of input channels under one tap of the kernel: `lanes` consecutive scalars of the packed input at `x`, each
/// with its own vector(s) of weights from `w` on. Offsets in elements.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment {
    pub x: u32,
    pub w: u32,
    pub lanes: u32,
}

/// What a micro-kernel needs: for each pixel of the tile, add up `weights * input` over all segments.
#[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "the portable kernel needs less"))]
pub(super) struct TileSum<T> {
    /// The packed input under the tile's first pixel. Pixels of a row are `BLOCK` elements apart, or one in planar tiles.
    pub x: *const T,
    /// Planar tiles: from one channel to the next, in elements of the packed input, and the columns that are wanted.
    pub plane_step: usize,
    pub columns: usize,
    /// From one row of the tile to the next, in elements of the packed input.
    pub row_step: usize,
    pub weights: *const T,
    pub segments: *const Segment,
    pub segment_count: usize,
    /// `[rows][columns][blocks][BLOCK]`, on a 64-byte boundary.
    pub sum: *mut T,
    /// Add to `sum` instead of overwriting it.
    pub add: bool,
    /// Addresses that will be needed soon.
    pub prefetch: *const *const T,
    pub prefetch_count: usize,
    /// Which instruction sets ran, by [`Isa::index`].
    pub calls: *mut [u64; 3],
}

/// What the end of a tile needs: `y <- scale * (a * sum) - b * y`.
pub(super) struct TileStore<T> {
    pub sum: *const T,
    pub rows: usize,
    pub columns: usize,
    pub blocks: usize,
    /// The output under the tile's first pixel and first block, and the steps to the next row, column and block.
    pub y: *mut T,
    pub row_step: usize,
    pub column_step: usize,
    pub block_step: usize,
    /// Null, or the scale under the tile's first pixel, laid out as `y`.
    pub scale: *const T,
    pub a: T,
    pub b: T,
}

/// Sums of squares of what was stored, one a lane: each is a plain running sum in `f64`.
#[derive(Clone, Copy)]
pub(super) struct Squares(pub [[f64; MAX_LANES]; MAX_BLOCKS]);

impl Squares {
    pub(super) const ZERO: Self = Self([[0.0; MAX_LANES]; MAX_BLOCKS]);
    /// Additions that [`Self::total`] makes, at most.
    pub(super) const REDUCTION: usize = MAX_LANES * MAX_BLOCKS;

    pub(super) fn total(&self) -> f64 {
        self.0.iter().flatten().sum()
    }
}

/// A copy of one row of lines into the packed block, each multiplied by its scale if there is one.
pub(super) struct RowCopy<T> {
    pub from: *const T,
    /// Elements from one line to the next in `from` (and `scale`).
    pub step: usize,
    /// Null, or laid out as `from`.
    pub scale: *const T,
    pub to: *mut T,
    pub lines: usize,
    /// 0, or the elements between channels: then the row is transposed, `to[channel * plane_step + pixel]`.
    pub plane_step: usize,
    /// Channels to transpose.
    pub channels: usize,
}

pub(super) type SumTile<T> = unsafe fn(&TileSum<T>);
pub(super) type StoreTile<T> = unsafe fn(&TileStore<T>, &mut Squares);
pub(super) type CopyRow<T> = unsafe fn(&RowCopy<T>);

pub(super) mod kernels {
    use super::*;

    /// The kernels of a number type, by instruction set.
    pub trait Kernels: Sized {
        #[doc(hidden)]
        #[allow(private_interfaces)]
        fn sum_tile(isa: Isa, shape: TileShape) -> Option<SumTile<Self>>;
        #[doc(hidden)]
        #[allow(private_interfaces)]
        fn store_tile(isa: Isa) -> StoreTile<Self>;
        #[doc(hidden)]
        #[allow(private_interfaces)]
        fn copy_row(isa: Isa) -> CopyRow<Self>;
    }
}

/// `x * y + z` with one rounding if `FUSED`, with two otherwise: a fused multiply-add without hardware for it is a slow
/// library call.
macro_rules! multiply_add {
    ($fused:expr, $x:expr, $y:expr, $z:expr) => {
        if $fused { $x.mul_add($y, $z) } else { $x * $y + $z }
    };
}
pub(super) use multiply_add;

/// Defines, for one number type, the bodies that each instruction set compiles for itself.
macro_rules! bodies {
    ($module:ident, $t:ty, $block:literal) => {
        pub(super) mod $module {
            use super::super::element::{RowCopy, Squares, TileStore};

            type Line = [$t; $block];

            /// # Safety
            /// The pointers of `tile` cover the tile, `y` is not accessed by anyone else.
            #[inline(always)]
            unsafe fn store<const FUSED: bool, const SCALE: bool, const BETA: bool>(
                tile: &TileStore<$t>,
                squares: &mut Squares,
            ) {
                let mut lanes = [[0.0f64; $block]; super::super::element::MAX_BLOCKS];
                for (lanes, squares) in lanes.iter_mut().zip(&squares.0) {
                    lanes.copy_from_slice(&squares[..$block]);
                }
                let mut sum = tile.sum.cast::<Line>();
                for row in 0..tile.rows {
                    for column in 0..tile.columns {
                        for block in 0..tile.blocks {
                            let at = row * tile.row_step + column * tile.column_step + block * tile.block_step;
                            // SAFETY: the caller's promise; `at` stays inside the tile.
                            unsafe {
                                let mut new: Line = sum.read();
                                sum = sum.add(1);
                                for lane in &mut new {
                                    *lane *= tile.a;
                                }
                                if SCALE {
                                    let scale: Line = tile.scale.add(at).cast::<Line>().read();
                                    for (lane, scale) in new.iter_mut().zip(&scale) {
                                        *lane *= scale;
                                    }
                                }
                                let y = tile.y.add(at).cast::<Line>();
                                if BETA {
                                    let old: Line = y.read();
                                    let b = -tile.b;
                                    for (lane, old) in new.iter_mut().zip(&old) {
                                        *lane = super::super::element::multiply_add!(FUSED, b, *old, *lane);
                                    }
                                }
                                y.write(new);
                                for (square, lane) in lanes[block].iter_mut().zip(&new) {
                                    let wide = f64::from(*lane);
                                    *square = super::super::element::multiply_add!(FUSED, wide, wide, *square);
                                }
                            }
                        }
                    }
                }
                for (lanes, squares) in lanes.iter().zip(&mut squares.0) {
                    squares[..$block].copy_from_slice(lanes);
                }
            }

            /// # Safety
            /// As [`store`].
            #[inline(always)]
            pub unsafe fn store_tile<const FUSED: bool>(tile: &TileStore<$t>, squares: &mut Squares) {
                // SAFETY: the caller's promise.
                unsafe {
                    match (!tile.scale.is_null(), tile.b != 0.0) {
                        (false, false) => store::<FUSED, false, false>(tile, squares),
                        (false, true) => store::<FUSED, false, true>(tile, squares),
                        (true, false) => store::<FUSED, true, false>(tile, squares),
                        (true, true) => store::<FUSED, true, true>(tile, squares),
                    }
                }
            }

            /// # Safety
            /// The pointers of `row` cover the row, `to` is not accessed by anyone else.
            #[inline(always)]
            pub unsafe fn copy_row(row: &RowCopy<$t>) {
                // SAFETY: the caller's promise.
                unsafe {
                    for line in 0..row.lines {
                        let to = row.to.cast::<Line>().add(line);
                        if row.scale.is_null() {
                            to.write(row.from.add(line * row.step).cast::<Line>().read());
                        } else {
                            to.write(scaled(row, line));
                        }
                    }
                }
            }

            /// # Safety
            /// As [`copy_row`], and there is a scale.
            #[inline(always)]
            unsafe fn scaled(row: &RowCopy<$t>, line: usize) -> Line {
                // SAFETY: the caller's promise.
                unsafe {
                    let mut value: Line = row.from.add(line * row.step).cast::<Line>().read();
                    let scale: Line = row.scale.add(line * row.step).cast::<Line>().read();
                    for (value, scale) in value.iter_mut().zip(&scale) {
                        *value *= scale;
                    }
                    value
                }
            }

            /// Copies lines `first..` transposed.
            ///
            /// # Safety
            /// As [`copy_row`].
            #[inline(always)]
            pub unsafe fn transpose_row(row: &RowCopy<$t>, first: usize) {
                // SAFETY: the caller's promise.
                unsafe {
                    for line in first..row.lines {
                        let value = if row.scale.is_null() {
                            row.from.add(line * row.step).cast::<Line>().read()
                        } else {
                            scaled(row, line)
                        };
                        for channel in 0..row.channels {
                            row.to.add(channel * row.plane_step + line).write(value[channel]);
                        }
                    }
                }
            }
        }
    };
}

bodies!(f64_bodies, f64, 8);
bodies!(f32_bodies, f32, 16);
