//! The kernels for AVX-512 and AVX2.
//!
//! A micro-kernel keeps one accumulator for each pixel and output vector of its tile in registers: 14 pixels by 2
//! vectors with the 32 registers of AVX-512 (28 accumulators, 2 weights, 1 input), 6 pixels by 2 vectors (one line of
//! 64 bytes) with the 16 of AVX2. For each input scalar it loads the weights once, broadcasts each pixel's scalar, and
//! issues one fused multiply-add per accumulator: at 14 x 2 that is 28 multiply-adds for 16 loads, so the multipliers
//! and not the load ports are the limit.

use super::element::{RowCopy, Squares, StoreTile, SumTile, TileStore, TileSum, f32_bodies, f64_bodies};
use crate::isa::Isa;
use std::arch::x86_64::*;

/// How far ahead of their use weights are fetched into the nearest cache, in bytes.
const WEIGHTS_AHEAD: usize = 1536;

macro_rules! micro_kernel {
    (
        $name:ident, $t:ty, $isa:expr, $feature:literal, $vector:ty, $lanes:literal, $per_block:literal,
        $zero:ident, $broadcast:ident, $load:ident, $store:ident, $fmadd:ident, $add:ident
    ) => {
        /// # Safety
        /// The processor has the features; the pointers of `tile` cover what the segments name; `weights` and `sum` are
        /// on 64-byte boundaries; `sum` is not accessed by anyone else.
        #[target_feature(enable = $feature)]
        unsafe fn $name<const LANEWISE: bool, const BLOCKS: usize, const R: usize, const C: usize>(tile: &TileSum<$t>) {
            const BLOCK: usize = $lanes * $per_block;
            // SAFETY: the caller's promise.
            unsafe {
                (*tile.calls)[$isa.index()] += 1;
                let mut sums: [[[[$vector; $per_block]; BLOCKS]; C]; R] = [[[[$zero(); $per_block]; BLOCKS]; C]; R];
                for index in 0..tile.segment_count {
                    let segment = &*tile.segments.add(index);
                    if 2 * index < tile.prefetch_count {
                        _mm_prefetch::<_MM_HINT_T0>((*tile.prefetch.add(2 * index)).cast());
                        _mm_prefetch::<_MM_HINT_T0>((*tile.prefetch.add(2 * index + 1)).cast());
                    }
                    let mut x = tile.x.add(segment.x as usize);
                    let mut w = tile.weights.add(segment.w as usize);
                    for _ in 0..segment.lanes {
                        let mut weights = [[$zero(); $per_block]; BLOCKS];
                        for block in 0..BLOCKS {
                            let line = w.add(block * BLOCK);
                            _mm_prefetch::<_MM_HINT_T0>(line.cast::<i8>().wrapping_add(WEIGHTS_AHEAD));
                            for part in 0..$per_block {
                                weights[block][part] = $load(line.add(part * $lanes));
                            }
                        }
                        for row in 0..R {
                            let line = x.add(row * tile.row_step);
                            for column in 0..C {
                                let pixel = line.add(column * BLOCK);
                                if LANEWISE {
                                    for part in 0..$per_block {
                                        let value = $load(pixel.add(part * $lanes));
                                        for block in 0..BLOCKS {
                                            sums[row][column][block][part] =
                                                $fmadd(weights[block][part], value, sums[row][column][block][part]);
                                        }
                                    }
                                } else {
                                    let value = $broadcast(*pixel);
                                    for block in 0..BLOCKS {
                                        for part in 0..$per_block {
                                            sums[row][column][block][part] =
                                                $fmadd(weights[block][part], value, sums[row][column][block][part]);
                                        }
                                    }
                                }
                            }
                        }
                        x = x.add(1);
                        w = w.add(BLOCKS * BLOCK);
                    }
                }
                let mut to = tile.sum;
                for row in 0..R {
                    for column in 0..C {
                        for block in 0..BLOCKS {
                            for part in 0..$per_block {
                                let mut sum = sums[row][column][block][part];
                                if tile.add {
                                    sum = $add(sum, $load(to));
                                }
                                $store(to, sum);
                                to = to.add($lanes);
                            }
                        }
                    }
                }
            }
        }
    };
}

/// The kernel for a tile, out of all that are compiled.
macro_rules! choose {
    ($kernel:ident, $lanewise:expr, $blocks:expr, $rows:expr, $columns:expr, [$($both:literal),*], $shapes:tt) => {
        match ($lanewise, $blocks) {
            (true, 1) => choose!(@shapes $kernel, true, 1, $rows, $columns, $shapes),
            $((false, $both) => choose!(@shapes $kernel, false, $both, $rows, $columns, $shapes),)*
            _ => None,
        }
    };
    (@shapes $kernel:ident, $lanewise:literal, $blocks:literal, $rows:expr, $columns:expr, [$(($r:literal, $c:literal)),*]) => {
        match ($rows, $columns) {
            $(($r, $c) => Some($kernel::<$lanewise, $blocks, $r, $c>),)*
            _ => None,
        }
    };
}

micro_kernel!(
    sum_f64_avx512,
    f64,
    Isa::Avx512,
    "avx512f",
    __m512d,
    8,
    1,
    _mm512_setzero_pd,
    _mm512_set1_pd,
    _mm512_load_pd,
    _mm512_store_pd,
    _mm512_fmadd_pd,
    _mm512_add_pd
);
micro_kernel!(
    sum_f32_avx512,
    f32,
    Isa::Avx512,
    "avx512f",
    __m512,
    16,
    1,
    _mm512_setzero_ps,
    _mm512_set1_ps,
    _mm512_load_ps,
    _mm512_store_ps,
    _mm512_fmadd_ps,
    _mm512_add_ps
);
micro_kernel!(
    sum_f64_avx2,
    f64,
    Isa::Avx2,
    "avx2,fma",
    __m256d,
    4,
    2,
    _mm256_setzero_pd,
    _mm256_set1_pd,
    _mm256_load_pd,
    _mm256_store_pd,
    _mm256_fmadd_pd,
    _mm256_add_pd
);
micro_kernel!(
    sum_f32_avx2,
    f32,
    Isa::Avx2,
    "avx2,fma",
    __m256,
    8,
    2,
    _mm256_setzero_ps,
    _mm256_set1_ps,
    _mm256_load_ps,
    _mm256_store_ps,
    _mm256_fmadd_ps,
    _mm256_add_ps
);

macro_rules! x86 {
    ($module:ident, $t:ty, $bodies:ident, $wide:ident, $narrow:ident) => {
        pub(super) mod $module {
            use super::*;

            pub fn choose_avx512(lanewise: bool, blocks: usize, rows: usize, columns: usize) -> Option<SumTile<$t>> {
                choose!(
                    $wide,
                    lanewise,
                    blocks,
                    rows,
                    columns,
                    [1, 2],
                    [
                        (1, 1),
                        (1, 2),
                        (1, 3),
                        (1, 4),
                        (1, 5),
                        (1, 6),
                        (1, 7),
                        (1, 8),
                        (1, 9),
                        (1, 10),
                        (1, 11),
                        (1, 12),
                        (1, 13),
                        (1, 14),
                        (2, 1),
                        (2, 2),
                        (2, 3),
                        (2, 4),
                        (2, 5),
                        (2, 6),
                        (2, 7),
                        (4, 1),
                        (4, 2),
                        (4, 3)
                    ]
                )
            }

            pub fn choose_avx2(lanewise: bool, blocks: usize, rows: usize, columns: usize) -> Option<SumTile<$t>> {
                choose!(
                    $narrow,
                    lanewise,
                    blocks,
                    rows,
                    columns,
                    [1],
                    [(1, 1), (1, 2), (1, 3), (1, 4), (1, 5), (1, 6), (2, 1), (2, 2), (2, 3), (4, 1)]
                )
            }

            /// # Safety
            /// The processor has the features; the rest as the body's.
            #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
            unsafe fn store_avx512(tile: &TileStore<$t>, squares: &mut Squares) {
                // SAFETY: the caller's promise.
                unsafe { $bodies::store_tile::<true>(tile, squares) }
            }

            /// # Safety
            /// The processor has the features; the rest as the body's.
            #[target_feature(enable = "avx2,fma")]
            unsafe fn store_avx2(tile: &TileStore<$t>, squares: &mut Squares) {
                // SAFETY: the caller's promise.
                unsafe { $bodies::store_tile::<true>(tile, squares) }
            }

            pub const STORE_AVX512: StoreTile<$t> = store_avx512;
            pub const STORE_AVX2: StoreTile<$t> = store_avx2;

            /// # Safety
            /// The processor has the features; the rest as the body's.
            #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
            pub unsafe fn copy_avx512(row: &RowCopy<$t>) {
                // SAFETY: the caller's promise.
                unsafe { $bodies::copy_row(row) }
            }

            /// # Safety
            /// The processor has the features; the rest as the body's.
            #[target_feature(enable = "avx2,fma")]
            pub unsafe fn copy_avx2(row: &RowCopy<$t>) {
                // SAFETY: the caller's promise.
                unsafe { $bodies::copy_row(row) }
            }
        }
    };
}

x86!(double, f64, f64_bodies, sum_f64_avx512, sum_f64_avx2);
x86!(single, f32, f32_bodies, sum_f32_avx512, sum_f32_avx2);
