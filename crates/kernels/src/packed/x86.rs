//! The kernels for AVX-512 and AVX2.
//!
//! A micro-kernel keeps one accumulator for each pixel and output vector of its tile in registers: 14 pixels by 2
//! vectors with the 32 registers of AVX-512 (28 accumulators, 2 weights, 1 input), 6 pixels by 2 vectors (one line of
//! 64 bytes) with the 16 of AVX2. For each input scalar it loads the weights once, broadcasts each pixel's scalar, and
//! issues one fused multiply-add per accumulator: at 14 x 2 that is 28 multiply-adds for 16 loads, so the multipliers
//! and not the load ports are the limit. Planar tiles turn this round: vectors of pixels, broadcast weights.

use super::element::{
    MAX_PLANES, RowCopy, Squares, StoreTile, Style, SumTile, TileShape, TileStore, TileSum, f32_bodies, f64_bodies,
};
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

macro_rules! planar_kernel {
    (
        $name:ident, $t:ty, $block:literal, $isa:expr, $feature:literal, $vector:ty, $lanes:literal,
        $zero:ident, $broadcast:ident, $loadu:ident, $storeu:ident, $fmadd:ident
    ) => {
        /// # Safety
        /// The processor has the features; the pointers of `tile` cover what the segments name, rounded up to whole
        /// vectors; `sum` is not accessed by anyone else.
        #[target_feature(enable = $feature)]
        unsafe fn $name<const CHANNELS: usize, const VECTORS: usize>(tile: &TileSum<$t>) {
            // SAFETY: the caller's promise.
            unsafe {
                (*tile.calls)[$isa.index()] += 1;
                let mut sums = [[$zero(); VECTORS]; CHANNELS];
                for index in 0..tile.segment_count {
                    let segment = &*tile.segments.add(index);
                    if 2 * index < tile.prefetch_count {
                        _mm_prefetch::<_MM_HINT_T0>((*tile.prefetch.add(2 * index)).cast());
                        _mm_prefetch::<_MM_HINT_T0>((*tile.prefetch.add(2 * index + 1)).cast());
                    }
                    let mut x = tile.x.add(segment.x as usize);
                    let mut w = tile.weights.add(segment.w as usize);
                    for _ in 0..segment.lanes {
                        let mut weights = [$zero(); CHANNELS];
                        for channel in 0..CHANNELS {
                            weights[channel] = $broadcast(*w.add(channel));
                        }
                        for vector in 0..VECTORS {
                            let values = $loadu(x.add(vector * $lanes));
                            for channel in 0..CHANNELS {
                                sums[channel][vector] = $fmadd(weights[channel], values, sums[channel][vector]);
                            }
                        }
                        x = x.add(tile.plane_step);
                        w = w.add(CHANNELS);
                    }
                }
                let mut plain = [[[0.0; $lanes]; VECTORS]; CHANNELS];
                for channel in 0..CHANNELS {
                    for vector in 0..VECTORS {
                        $storeu(plain[channel][vector].as_mut_ptr(), sums[channel][vector]);
                    }
                }
                for column in 0..tile.columns {
                    let to = tile.sum.cast::<[$t; $block]>().add(column);
                    let mut line = [0.0; $block];
                    for channel in 0..CHANNELS {
                        line[channel] = *plain[channel].as_flattened().get_unchecked(column);
                        if tile.add {
                            line[channel] += (*to)[channel];
                        }
                    }
                    to.write(line);
                }
            }
        }
    };
}

/// The kernel for a shape, out of all that are compiled.
macro_rules! choose {
    ($kernel:ident, $shape:expr, [$($both:literal),*], $shapes:tt) => {
        match $shape.style {
            Style::Lanewise => choose!(@shapes $kernel, true, 1, $shape, $shapes),
            $(Style::Channels { blocks: $both } => choose!(@shapes $kernel, false, $both, $shape, $shapes),)*
            _ => None,
        }
    };
    (@shapes $kernel:ident, $lanewise:literal, $blocks:literal, $shape:expr, [$(($r:literal, $c:literal)),*]) => {
        match ($shape.rows, $shape.columns) {
            $(($r, $c) => Some($kernel::<$lanewise, $blocks, $r, $c>),)*
            _ => None,
        }
    };
}

/// The planar kernel for a shape.
macro_rules! choose_planar {
    ($kernel:ident, $channels:expr, $vectors:expr, $([$c:literal: $($v:literal),*]),*) => {
        match ($channels, $vectors) {
            $($(($c, $v) => Some($kernel::<$c, $v>),)*)*
            _ => None,
        }
    };
}

/// Most vectors of a planar tile of 1, 2, 3 and 4 channels: what registers hold beside weights and input.
pub(super) const PLANAR_AVX512: [usize; MAX_PLANES] = [8, 8, 8, 6];
pub(super) const PLANAR_AVX2: [usize; MAX_PLANES] = [8, 6, 4, 2];

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

planar_kernel!(
    planes_f64_avx512,
    f64,
    8,
    Isa::Avx512,
    "avx512f",
    __m512d,
    8,
    _mm512_setzero_pd,
    _mm512_set1_pd,
    _mm512_loadu_pd,
    _mm512_storeu_pd,
    _mm512_fmadd_pd
);
planar_kernel!(
    planes_f32_avx512,
    f32,
    16,
    Isa::Avx512,
    "avx512f",
    __m512,
    16,
    _mm512_setzero_ps,
    _mm512_set1_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_fmadd_ps
);
planar_kernel!(
    planes_f64_avx2,
    f64,
    8,
    Isa::Avx2,
    "avx2,fma",
    __m256d,
    4,
    _mm256_setzero_pd,
    _mm256_set1_pd,
    _mm256_loadu_pd,
    _mm256_storeu_pd,
    _mm256_fmadd_pd
);
planar_kernel!(
    planes_f32_avx2,
    f32,
    16,
    Isa::Avx2,
    "avx2,fma",
    __m256,
    8,
    _mm256_setzero_ps,
    _mm256_set1_ps,
    _mm256_loadu_ps,
    _mm256_storeu_ps,
    _mm256_fmadd_ps
);

/// Transposes 4 x 4 numbers from lines `step` apart to planes `plane` apart.
///
/// # Safety
/// The processor has AVX2; the pointers cover the numbers; `scale` is null or laid out as `from`.
#[target_feature(enable = "avx2")]
unsafe fn transpose_f64(from: *const f64, scale: *const f64, step: usize, to: *mut f64, plane: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut rows = [_mm256_setzero_pd(); 4];
        for (i, row) in rows.iter_mut().enumerate() {
            *row = _mm256_loadu_pd(from.add(i * step));
            if !scale.is_null() {
                *row = _mm256_mul_pd(*row, _mm256_loadu_pd(scale.add(i * step)));
            }
        }
        let [a, b, c, d] = rows;
        let (e, f) = (_mm256_unpacklo_pd(a, b), _mm256_unpackhi_pd(a, b));
        let (g, h) = (_mm256_unpacklo_pd(c, d), _mm256_unpackhi_pd(c, d));
        _mm256_storeu_pd(to, _mm256_permute2f128_pd::<0x20>(e, g));
        _mm256_storeu_pd(to.add(plane), _mm256_permute2f128_pd::<0x20>(f, h));
        _mm256_storeu_pd(to.add(2 * plane), _mm256_permute2f128_pd::<0x31>(e, g));
        _mm256_storeu_pd(to.add(3 * plane), _mm256_permute2f128_pd::<0x31>(f, h));
    }
}

/// As [`transpose_f64`].
///
/// # Safety
/// As [`transpose_f64`].
#[target_feature(enable = "avx2")]
unsafe fn transpose_f32(from: *const f32, scale: *const f32, step: usize, to: *mut f32, plane: usize) {
    // SAFETY: the caller's promise.
    unsafe {
        let mut rows = [_mm_setzero_ps(); 4];
        for (i, row) in rows.iter_mut().enumerate() {
            *row = _mm_loadu_ps(from.add(i * step));
            if !scale.is_null() {
                *row = _mm_mul_ps(*row, _mm_loadu_ps(scale.add(i * step)));
            }
        }
        let [a, b, c, d] = rows;
        let (e, f) = (_mm_unpacklo_ps(a, b), _mm_unpackhi_ps(a, b));
        let (g, h) = (_mm_unpacklo_ps(c, d), _mm_unpackhi_ps(c, d));
        _mm_storeu_ps(to, _mm_movelh_ps(e, g));
        _mm_storeu_ps(to.add(plane), _mm_movehl_ps(g, e));
        _mm_storeu_ps(to.add(2 * plane), _mm_movelh_ps(f, h));
        _mm_storeu_ps(to.add(3 * plane), _mm_movehl_ps(h, f));
    }
}

macro_rules! x86 {
    (
        $module:ident, $t:ty, $bodies:ident, $wide:ident, $narrow:ident, $wide_planes:ident, $narrow_planes:ident,
        $wide_lanes:literal, $narrow_lanes:literal, $transpose:ident
    ) => {
        pub(super) mod $module {
            use super::*;

            pub fn choose_avx512(shape: TileShape) -> Option<SumTile<$t>> {
                if let Style::Planar { channels } = shape.style {
                    return choose_planar!(
                        $wide_planes, channels, shape.columns.div_ceil($wide_lanes),
                        [1: 1, 2, 3, 4, 5, 6, 7, 8], [2: 1, 2, 3, 4, 5, 6, 7, 8], [3: 1, 2, 3, 4, 5, 6, 7, 8],
                        [4: 1, 2, 3, 4, 5, 6]
                    );
                }
                choose!($wide, shape, [1, 2], [
                    (1, 1), (1, 2), (1, 3), (1, 4), (1, 5), (1, 6), (1, 7), (1, 8), (1, 9), (1, 10), (1, 11), (1, 12),
                    (1, 13), (1, 14), (2, 1), (2, 2), (2, 3), (2, 4), (2, 5), (2, 6), (2, 7), (4, 1), (4, 2), (4, 3)
                ])
            }

            pub fn choose_avx2(shape: TileShape) -> Option<SumTile<$t>> {
                if let Style::Planar { channels } = shape.style {
                    return choose_planar!(
                        $narrow_planes, channels, shape.columns.div_ceil($narrow_lanes),
                        [1: 1, 2, 3, 4, 5, 6, 7, 8], [2: 1, 2, 3, 4, 5, 6], [3: 1, 2, 3, 4], [4: 1, 2]
                    );
                }
                choose!($narrow, shape, [1], [
                    (1, 1), (1, 2), (1, 3), (1, 4), (1, 5), (1, 6), (2, 1), (2, 2), (2, 3), (4, 1)
                ])
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

            /// # Safety
            /// The processor has the features; the rest as the body's.
            #[target_feature(enable = "avx2,fma")]
            unsafe fn transpose_row(row: &RowCopy<$t>) {
                let mut line = 0;
                // Whole groups of four channels are written, also where the last ones do not exist: the planes of a block
                // are all there.
                while line + 4 <= row.lines {
                    for channel in (0..row.channels).step_by(4) {
                        let at = line * row.step + channel;
                        // SAFETY: the caller's promise.
                        unsafe {
                            $transpose(
                                row.from.add(at),
                                if row.scale.is_null() { row.scale } else { row.scale.add(at) },
                                row.step,
                                row.to.add(channel * row.plane_step + line),
                                row.plane_step,
                            );
                        }
                    }
                    line += 4;
                }
                // SAFETY: the caller's promise.
                unsafe { $bodies::transpose_row(row, line) }
            }

            pub const STORE_AVX512: StoreTile<$t> = store_avx512;
            pub const STORE_AVX2: StoreTile<$t> = store_avx2;

            /// # Safety
            /// The processor has the features; the rest as the body's.
            #[target_feature(enable = "avx512f,avx512vl,avx512dq,avx512bw,avx2,fma")]
            pub unsafe fn copy_avx512(row: &RowCopy<$t>) {
                // SAFETY: the caller's promise.
                unsafe {
                    if row.plane_step == 0 { $bodies::copy_row(row) } else { transpose_row(row) }
                }
            }

            /// # Safety
            /// The processor has the features; the rest as the body's.
            #[target_feature(enable = "avx2,fma")]
            pub unsafe fn copy_avx2(row: &RowCopy<$t>) {
                // SAFETY: the caller's promise.
                unsafe {
                    if row.plane_step == 0 { $bodies::copy_row(row) } else { transpose_row(row) }
                }
            }
        }
    };
}

x86!(double, f64, f64_bodies, sum_f64_avx512, sum_f64_avx2, planes_f64_avx512, planes_f64_avx2, 8, 4, transpose_f64);
x86!(single, f32, f32_bodies, sum_f32_avx512, sum_f32_avx2, planes_f32_avx512, planes_f32_avx2, 16, 8, transpose_f32);
