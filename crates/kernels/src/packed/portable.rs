//! The kernels in plain Rust: arrays of one line, which the compiler turns into whatever vectors the target has.

use super::element::{
    RowCopy, Squares, StoreTile, Style, SumTile, TileShape, TileStore, TileSum, f32_bodies, f64_bodies, multiply_add,
};
use crate::isa::Isa;

/// Whether the baseline of the target has fused multiply-adds.
const FUSED: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));

/// Widest tile, in pixels: three pixels of 64 bytes are 12 SSE registers.
pub(super) const COLUMNS: usize = 3;

macro_rules! portable {
    ($module:ident, $t:ty, $block:literal, $bodies:ident) => {
        pub(super) mod $module {
            use super::*;

            type Line = [$t; $block];

            /// # Safety
            /// The pointers of `tile` cover what the segments name; `sum` is not accessed by anyone else.
            unsafe fn sum_tile<const LANEWISE: bool, const C: usize>(tile: &TileSum<$t>) {
                let mut sums: [Line; C] = [[0.0; $block]; C];
                // SAFETY: the caller's promise.
                unsafe {
                    (*tile.calls)[Isa::Portable.index()] += 1;
                    for index in 0..tile.segment_count {
                        let segment = &*tile.segments.add(index);
                        let mut x = tile.x.add(segment.x as usize);
                        let mut w = tile.weights.add(segment.w as usize).cast::<Line>();
                        for _ in 0..segment.lanes {
                            let weights = &*w;
                            for (column, sum) in sums.iter_mut().enumerate() {
                                let pixel = x.add(column * $block);
                                for lane in 0..$block {
                                    let value = *pixel.add(if LANEWISE { lane } else { 0 });
                                    sum[lane] = multiply_add!(FUSED, weights[lane], value, sum[lane]);
                                }
                            }
                            x = x.add(1);
                            w = w.add(1);
                        }
                    }
                    for (column, sum) in sums.iter_mut().enumerate() {
                        let to = tile.sum.cast::<Line>().add(column);
                        if tile.add {
                            for (lane, old) in sum.iter_mut().zip(&*to) {
                                *lane += old;
                            }
                        }
                        to.write(*sum);
                    }
                }
            }

            /// # Safety
            /// As [`sum_tile`].
            unsafe fn sum_planes<const CHANNELS: usize>(tile: &TileSum<$t>) {
                let mut sums: [Line; CHANNELS] = [[0.0; $block]; CHANNELS];
                // SAFETY: the caller's promise.
                unsafe {
                    (*tile.calls)[Isa::Portable.index()] += 1;
                    for index in 0..tile.segment_count {
                        let segment = &*tile.segments.add(index);
                        let mut x = tile.x.add(segment.x as usize);
                        let mut w = tile.weights.add(segment.w as usize);
                        for _ in 0..segment.lanes {
                            let values: Line = x.cast::<Line>().read();
                            for (channel, sum) in sums.iter_mut().enumerate() {
                                let weight = *w.add(channel);
                                for lane in 0..$block {
                                    sum[lane] = multiply_add!(FUSED, weight, values[lane], sum[lane]);
                                }
                            }
                            x = x.add(tile.plane_step);
                            w = w.add(CHANNELS);
                        }
                    }
                    for column in 0..tile.columns {
                        let to = tile.sum.cast::<Line>().add(column);
                        let mut line: Line = [0.0; $block];
                        for channel in 0..CHANNELS {
                            line[channel] = sums[channel][column];
                            if tile.add {
                                line[channel] += (*to)[channel];
                            }
                        }
                        to.write(line);
                    }
                }
            }

            pub fn choose(shape: TileShape) -> Option<SumTile<$t>> {
                Some(match (shape.style, shape.rows, shape.columns) {
                    (Style::Channels { blocks: 1 }, 1, 1) => sum_tile::<false, 1>,
                    (Style::Channels { blocks: 1 }, 1, 2) => sum_tile::<false, 2>,
                    (Style::Channels { blocks: 1 }, 1, 3) => sum_tile::<false, 3>,
                    (Style::Lanewise, 1, 1) => sum_tile::<true, 1>,
                    (Style::Lanewise, 1, 2) => sum_tile::<true, 2>,
                    (Style::Lanewise, 1, 3) => sum_tile::<true, 3>,
                    (Style::Planar { channels: 1 }, 1, 1..=$block) => sum_planes::<1>,
                    (Style::Planar { channels: 2 }, 1, 1..=$block) => sum_planes::<2>,
                    (Style::Planar { channels: 3 }, 1, 1..=$block) => sum_planes::<3>,
                    (Style::Planar { channels: 4 }, 1, 1..=$block) => sum_planes::<4>,
                    _ => return None,
                })
            }

            /// # Safety
            /// As the body's.
            unsafe fn store(tile: &TileStore<$t>, squares: &mut Squares) {
                // SAFETY: the caller's promise.
                unsafe { $bodies::store_tile::<FUSED>(tile, squares) }
            }

            pub const STORE: StoreTile<$t> = store;

            /// # Safety
            /// As the body's.
            pub unsafe fn copy_row(row: &RowCopy<$t>) {
                // SAFETY: the caller's promise.
                unsafe { if row.plane_step == 0 { $bodies::copy_row(row) } else { $bodies::transpose_row(row, 0) } }
            }
        }
    };
}

portable!(double, f64, 8, f64_bodies);
portable!(single, f32, 16, f32_bodies);
