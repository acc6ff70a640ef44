//! The kernels with AVX2 and with AVX-512, from one text.

use super::{GROUP, LANES, Stored};
use std::arch::x86_64::*;

/// What is left of a group of rows after its whole lines.
#[inline(always)]
fn add_rest<W: Stored>(a: &[W], stride: usize, y: &[f64], sums: &mut [f64]) {
    for (j, sum) in sums.iter_mut().enumerate() {
        for (i, y) in y.iter().enumerate() {
            *sum = a[i * stride + j].widen().mul_add(*y, *sum);
        }
    }
}

/// Defines `dots` and `add_rows` for a stored type and a vector type. `$load` widens one vector of stored numbers.
macro_rules! kernels {
    (
        $module:ident, $w:ty, $feature:literal, $vector:ty, $lanes:literal, $at_once:literal,
        $zero:ident, $broadcast:ident, $loadu:ident, $storeu:ident, $fmadd:ident, |$from:ident| $load:expr
    ) => {
        pub mod $module {
            use super::*;

            const PARTS: usize = LANES / $lanes;

            /// # Safety
            /// The processor has the features, and `a` has `x.len() * y.len()` elements.
            #[target_feature(enable = $feature)]
            pub unsafe fn dots(a: &[$w], x: &[f64], y: &mut [f64]) {
                debug_assert_eq!(a.len(), x.len() * y.len());
                let mut row = 0;
                while row < y.len() {
                    // SAFETY: the rows lie in `a`.
                    unsafe {
                        if row + $at_once <= y.len() {
                            some::<$at_once>(a, row, x, y);
                            row += $at_once;
                        } else {
                            some::<1>(a, row, x, y);
                            row += 1;
                        }
                    }
                }
            }

            /// # Safety
            /// The processor has the features, and `a` has `row + R` rows.
            #[target_feature(enable = $feature)]
            #[inline]
            unsafe fn some<const R: usize>(a: &[$w], row: usize, x: &[f64], y: &mut [f64]) {
                let columns = x.len();
                let whole = columns / LANES * LANES;
                let first = a[row * columns..(row + R) * columns].as_ptr();
                let mut sums = [[$zero(); PARTS]; R];
                let mut at = 0;
                while at < whole {
                    for part in 0..PARTS {
                        // SAFETY: `at` and the lanes after it are inside `x` and each row.
                        unsafe {
                            let x = $loadu(x.as_ptr().add(at + part * $lanes));
                            for r in 0..R {
                                let $from = first.add(r * columns + at + part * $lanes);
                                sums[r][part] = $fmadd($load, x, sums[r][part]);
                            }
                        }
                    }
                    at += LANES;
                }
                for r in 0..R {
                    let mut lanes = [0.0f64; LANES];
                    for part in 0..PARTS {
                        // SAFETY: the parts make up the lanes.
                        unsafe { $storeu(lanes.as_mut_ptr().add(part * $lanes), sums[r][part]) };
                    }
                    let end = (row + r) * columns;
                    y[row + r] = crate::gemv::finish::<$w, true>(lanes, &a[end + whole..end + columns], &x[whole..]);
                }
            }

            /// # Safety
            /// The processor has the features, and `a` has `y.len()` rows of `sums.len()` elements, `stride` apart.
            #[target_feature(enable = $feature)]
            pub unsafe fn add_rows(a: &[$w], stride: usize, y: &[f64], sums: &mut [f64]) {
                let mut row = 0;
                while row < y.len() {
                    // SAFETY: the rows lie in `a`.
                    unsafe {
                        if row + GROUP <= y.len() {
                            add_some::<GROUP>(&a[row * stride..], stride, &y[row..row + GROUP], sums);
                            row += GROUP;
                        } else {
                            add_some::<1>(&a[row * stride..], stride, &y[row..=row], sums);
                            row += 1;
                        }
                    }
                }
            }

            /// # Safety
            /// The processor has the features, and `a` has `R` rows of `sums.len()` elements.
            #[target_feature(enable = $feature)]
            #[inline]
            unsafe fn add_some<const R: usize>(a: &[$w], stride: usize, y: &[f64], sums: &mut [f64]) {
                let columns = sums.len();
                let whole = columns / LANES * LANES;
                let first = a[..(R - 1) * stride + columns].as_ptr();
                let mut factors = [$zero(); R];
                for r in 0..R {
                    factors[r] = $broadcast(y[r]);
                }
                let mut at = 0;
                while at < whole {
                    for part in 0..PARTS {
                        // SAFETY: `at` and the lanes after it are inside `sums` and each row.
                        unsafe {
                            let to = sums.as_mut_ptr().add(at + part * $lanes);
                            let mut sum = $loadu(to);
                            for r in 0..R {
                                let $from = first.add(r * stride + at + part * $lanes);
                                sum = $fmadd($load, factors[r], sum);
                            }
                            $storeu(to, sum);
                        }
                    }
                    at += LANES;
                }
                add_rest::<$w>(&a[whole..], stride, y, &mut sums[whole..]);
            }
        }
    };
}

kernels!(
    f64_avx512,
    f64,
    "avx512f",
    __m512d,
    8,
    4,
    _mm512_setzero_pd,
    _mm512_set1_pd,
    _mm512_loadu_pd,
    _mm512_storeu_pd,
    _mm512_fmadd_pd,
    |p| _mm512_loadu_pd(p)
);
kernels!(
    f32_avx512,
    f32,
    "avx512f",
    __m512d,
    8,
    4,
    _mm512_setzero_pd,
    _mm512_set1_pd,
    _mm512_loadu_pd,
    _mm512_storeu_pd,
    _mm512_fmadd_pd,
    |p| _mm512_cvtps_pd(_mm256_loadu_ps(p))
);
kernels!(
    f64_avx2,
    f64,
    "avx2,fma",
    __m256d,
    4,
    2,
    _mm256_setzero_pd,
    _mm256_set1_pd,
    _mm256_loadu_pd,
    _mm256_storeu_pd,
    _mm256_fmadd_pd,
    |p| _mm256_loadu_pd(p)
);
kernels!(
    f32_avx2,
    f32,
    "avx2,fma",
    __m256d,
    4,
    2,
    _mm256_setzero_pd,
    _mm256_set1_pd,
    _mm256_loadu_pd,
    _mm256_storeu_pd,
    _mm256_fmadd_pd,
    |p| _mm256_cvtps_pd(_mm_loadu_ps(p))
);
