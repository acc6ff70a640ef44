//! Dense matrix times vector, forward and adjoint, at the speed of memory.
//!
//! The matrix is row-major and read exactly as it lies there, so nothing is packed. It may be stored in `f32`: its
//! elements are widened to `f64`, exactly, in registers, which halves the memory traffic; vectors and sums are always
//! `f64`. [`Gemv::gram_apply`] computes `A^T S A v` while it reads the matrix once: a block of rows is still in the
//! cache when the second product needs it. (The two-sided Golub-Kahan process cannot do that: its second product needs
//! the norm of all of the first.)
//!
//! # Order of accumulation
//! All cuts depend on the matrix's size only, so results do not depend on the number of threads, bit for bit.
//! - `A x`: each row has 16 partial sums, of every 16th product in order, which are added in a fixed tree. The error is
//!   at most `gamma_m (|A| |x|)_i` with `m = ceil(columns / 16) + 4` ([`Gemv::accumulation_length`]).
//! - `A^T y`: rows are cut into chunks; inside a chunk products are added in order of the rows, then the chunks' sums
//!   in order: `m = (rows of the longest chunk) + (chunks - 1)` ([`Gemv::adjoint_accumulation_length`]).
//! - `A^T S A v`: `t` as `A x`, then the products `s_i t_i` are rounded, then as `A^T y`.
//!
//! Multiply-adds are fused except on portable targets without them, where product and sum round separately; since the
//! first sum (with zero) is exact, the same `m` hold. All barring underflow.

use crate::isa::{Isa, IsaError};
use crate::pool::{Disjoint, Threads};
use std::ops::Range;

mod portable;
#[cfg(target_arch = "x86_64")]
mod x86;

/// Partial sums of a row.
const LANES: usize = 16;
/// Columns of the adjoint that are worked on at once: their sums fill a third of a first-level cache.
const PANEL: usize = 1536;
/// Rows that the adjoint adds to a panel at once.
const GROUP: usize = 8;
/// Bytes of matrix that are handed to a thread at a time.
const CHUNK_BYTES: usize = 512 << 10;
/// Bytes of matrix that `gram_apply` reads twice in a row: half of a second-level cache.
const GRAM_BYTES: usize = 512 << 10;
/// Pieces that the rows of an adjoint are cut into, at most: each costs a vector of partial sums.
const PIECES: usize = 16;
/// Elements below which threads cost more than they save.
const PARALLEL_FROM: usize = 1 << 17;

/// `f32` or `f64`, as a matrix may be stored. Sealed: the kernels are written for these two.
pub trait Stored: sealed::Kernels + Copy + Send + Sync + 'static {
    /// Exact widening.
    fn widen(self) -> f64;
}

impl Stored for f32 {
    #[inline(always)]
    fn widen(self) -> f64 {
        f64::from(self)
    }
}

impl Stored for f64 {
    #[inline(always)]
    fn widen(self) -> f64 {
        self
    }
}

mod sealed {
    use crate::isa::Isa;

    /// The kernels of a stored type.
    pub trait Kernels: Sized {
        /// `y <- A x`.
        ///
        /// # Safety
        /// The processor can run `isa`.
        unsafe fn dots(isa: Isa, a: &[Self], x: &[f64], y: &mut [f64]);
        /// `sums[j] += sum over i of a[i * stride + j] * y[i]`, rows in order.
        ///
        /// # Safety
        /// The processor can run `isa`.
        unsafe fn add_rows(isa: Isa, a: &[Self], stride: usize, y: &[f64], sums: &mut [f64]);
    }
}

/// Working memory of the adjoint products, grown at first use and kept.
#[derive(Clone, Debug, Default)]
pub struct GemvScratch {
    partial: Vec<f64>,
}

impl GemvScratch {
    /// Empty scratch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Bytes held.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.partial.capacity() * size_of::<f64>()
    }
}

/// The products of matrices of one size, on one instruction set.
#[derive(Clone, Copy, Debug)]
pub struct Gemv {
    rows: usize,
    columns: usize,
    isa: Isa,
}

/// The `index`-th of `parts` nearly equal parts of `0..len`, cut at multiples of `unit`.
fn part(len: usize, parts: usize, index: usize, unit: usize) -> Range<usize> {
    let units = len.div_ceil(unit);
    let cut = |i: usize| (i * units / parts * unit).min(len);
    cut(index)..cut(index + 1)
}

impl Gemv {
    /// For matrices of `rows` x `columns`.
    ///
    /// # Errors
    /// If the processor lacks `isa`.
    pub fn new(rows: usize, columns: usize, isa: Isa) -> Result<Self, IsaError> {
        Ok(Self { rows, columns, isa: isa.require()? })
    }

    /// The `m` of `A x`; see the [module documentation](self).
    #[must_use]
    pub fn accumulation_length(&self) -> usize {
        self.columns.div_ceil(LANES) + 4
    }

    /// The `m` of `A^T y`; see the [module documentation](self).
    #[must_use]
    pub fn adjoint_accumulation_length(&self) -> usize {
        // The pieces of both element types are at most this long and this many.
        self.rows.div_ceil(GROUP).div_ceil(self.pieces()) * GROUP + self.pieces() - 1
    }

    /// The `m` of the second product of [`Self::gram_apply`], with `t` and `s` as given: the rounding of `s_i t_i`
    /// included.
    #[must_use]
    pub fn gram_accumulation_length(&self) -> usize {
        self.rows.div_ceil(GROUP).div_ceil(self.gram_pieces()) * GROUP + self.gram_pieces()
    }

    /// Bytes of scratch memory that an adjoint product needs.
    #[must_use]
    pub fn adjoint_scratch(&self) -> usize {
        if self.pieces() == 1 { 0 } else { self.pieces() * self.columns * size_of::<f64>() }
    }

    /// Pieces of the rows in an adjoint product: few when the columns alone keep threads busy.
    fn pieces(&self) -> usize {
        let panels = self.columns.div_ceil(PANEL).max(1);
        let by_size = (self.rows * self.columns / PARALLEL_FROM).max(1);
        let by_rows = (self.rows / (4 * GROUP)).max(1);
        (PIECES / panels).clamp(1, by_size.min(by_rows))
    }

    /// Pieces of the rows in a Gram product, whose columns cannot be cut.
    fn gram_pieces(&self) -> usize {
        let by_size = (self.rows * self.columns / PARALLEL_FROM).max(1);
        let by_rows = (self.rows / (4 * GROUP)).max(1);
        PIECES.min(by_size).min(by_rows)
    }

    fn choose<'a>(&self, threads: &'a Threads, serial: &'a Threads) -> &'a Threads {
        if self.rows * self.columns >= PARALLEL_FROM { threads } else { serial }
    }

    /// `y <- A x`.
    ///
    /// # Panics
    /// If a slice has a wrong length; so do the other products.
    pub fn apply<W: Stored>(&self, a: &[W], x: &[f64], y: &mut [f64], threads: &Threads) {
        assert_eq!(a.len(), self.rows * self.columns, "the matrix has a wrong length");
        assert_eq!(x.len(), self.columns, "the vector to map has a wrong length");
        assert_eq!(y.len(), self.rows, "the result has a wrong length");
        if self.rows == 0 {
            return;
        }
        let per_chunk = (CHUNK_BYTES / (size_of::<W>() * self.columns.max(1)) / 4 * 4).max(4);
        let chunks = self.rows.div_ceil(per_chunk);
        let shared = Disjoint::new(y);
        self.choose(threads, &Threads::serial()).run(chunks, |_, chunk| {
            let rows = chunk * per_chunk..((chunk + 1) * per_chunk).min(self.rows);
            // SAFETY: chunks are disjoint ranges of `y`.
            let y = unsafe { std::slice::from_raw_parts_mut(shared.get().add(rows.start), rows.len()) };
            self.dots(&a[rows.start * self.columns..rows.end * self.columns], x, y);
        });
    }

    /// `x <- A^T y`.
    ///
    /// # Panics
    /// If a slice has a wrong length.
    pub fn apply_adjoint<W: Stored>(
        &self,
        a: &[W],
        y: &[f64],
        x: &mut [f64],
        threads: &Threads,
        scratch: &mut GemvScratch,
    ) {
        assert_eq!(a.len(), self.rows * self.columns, "the matrix has a wrong length");
        assert_eq!(y.len(), self.rows, "the vector to map has a wrong length");
        assert_eq!(x.len(), self.columns, "the result has a wrong length");
        let (pieces, panels) = (self.pieces(), self.columns.div_ceil(PANEL).max(1));
        let serial = Threads::serial();
        let threads = self.choose(threads, &serial);
        let partial = self.partial(pieces, x, scratch);
        threads.run(pieces * panels, |_, item| {
            let (piece, panel) = (item / panels, item % panels);
            let (rows, columns) = (part(self.rows, pieces, piece, GROUP), part(self.columns, panels, panel, LANES));
            // SAFETY: each item has a range of columns of a piece's vector to itself.
            let sums = unsafe {
                std::slice::from_raw_parts_mut(partial.get().add(piece * self.columns + columns.start), columns.len())
            };
            sums.fill(0.0);
            self.add_rows(a, rows.start, &y[rows], columns.start, sums);
        });
        self.reduce(pieces, scratch, x);
    }

    /// `t <- A v` and `w <- A^T S t`, `S` diagonal (the identity if absent), reading the matrix once.
    ///
    /// # Panics
    /// If a slice has a wrong length.
    #[allow(clippy::too_many_arguments)]
    pub fn gram_apply<W: Stored>(
        &self,
        a: &[W],
        s: Option<&[f64]>,
        v: &[f64],
        t: &mut [f64],
        w: &mut [f64],
        threads: &Threads,
        scratch: &mut GemvScratch,
    ) {
        assert_eq!(a.len(), self.rows * self.columns, "the matrix has a wrong length");
        assert!(s.is_none_or(|s| s.len() == self.rows), "the diagonal has a wrong length");
        assert_eq!(v.len(), self.columns, "the vector to map has a wrong length");
        assert_eq!(t.len(), self.rows, "the intermediate result has a wrong length");
        assert_eq!(w.len(), self.columns, "the result has a wrong length");
        let pieces = self.gram_pieces();
        let serial = Threads::serial();
        let threads = self.choose(threads, &serial);
        let partial = self.partial(pieces, w, scratch);
        let t = Disjoint::new(t);
        let at_once = (GRAM_BYTES / (size_of::<W>() * self.columns.max(1)) / GROUP * GROUP).clamp(GROUP, 256);
        threads.run(pieces, |_, piece| {
            let rows = part(self.rows, pieces, piece, GROUP);
            // SAFETY: each piece has a vector of partial sums and a range of `t` to itself.
            let (sums, t) = unsafe {
                (
                    std::slice::from_raw_parts_mut(partial.get().add(piece * self.columns), self.columns),
                    std::slice::from_raw_parts_mut(t.get().add(rows.start), rows.len()),
                )
            };
            sums.fill(0.0);
            let mut scaled = [0.0; 256];
            for (index, t) in t.chunks_mut(at_once).enumerate() {
                let first = rows.start + index * at_once;
                self.dots(&a[first * self.columns..(first + t.len()) * self.columns], v, t);
                let scaled = &mut scaled[..t.len()];
                scaled.copy_from_slice(t);
                if let Some(s) = s {
                    scaled.iter_mut().zip(&s[first..]).for_each(|(t, s)| *t *= s);
                }
                for start in (0..self.columns).step_by(PANEL) {
                    let end = (start + PANEL).min(self.columns);
                    self.add_rows(a, first, scaled, start, &mut sums[start..end]);
                }
            }
        });
        self.reduce(pieces, scratch, w);
    }

    /// Room for the partial sums of `pieces`: the result itself if there is only one.
    fn partial(&self, pieces: usize, result: &mut [f64], scratch: &mut GemvScratch) -> Disjoint<f64> {
        if pieces == 1 {
            return Disjoint::new(result);
        }
        if scratch.partial.len() < pieces * self.columns {
            // The old ones go first: they hold nothing that is needed.
            scratch.partial = Vec::new();
            scratch.partial = vec![0.0; pieces * self.columns];
        }
        Disjoint::new(&mut scratch.partial)
    }

    fn reduce(&self, pieces: usize, scratch: &GemvScratch, result: &mut [f64]) {
        if pieces > 1 {
            for (piece, sums) in scratch.partial[..pieces * self.columns].chunks_exact(self.columns).enumerate() {
                if piece == 0 {
                    result.copy_from_slice(sums);
                } else {
                    result.iter_mut().zip(sums).for_each(|(r, s)| *r += s);
                }
            }
        }
    }

    /// `y <- A x` for whole rows.
    fn dots<W: Stored>(&self, a: &[W], x: &[f64], y: &mut [f64]) {
        assert_eq!(a.len(), x.len() * y.len());
        // SAFETY: `Gemv::new` has made sure that the processor can run the set.
        unsafe { W::dots(self.isa, a, x, y) }
    }

    /// `sums += A[first.., column..]^T y` for the rows of `y` and the columns of `sums`.
    fn add_rows<W: Stored>(&self, a: &[W], first: usize, y: &[f64], column: usize, sums: &mut [f64]) {
        if sums.is_empty() || y.is_empty() {
            return;
        }
        assert!(column + sums.len() <= self.columns && first + y.len() <= self.rows);
        // SAFETY: `Gemv::new` has made sure that the processor can run the set.
        unsafe { W::add_rows(self.isa, &a[first * self.columns + column..], self.columns, y, sums) }
    }
}

/// Whether the baseline of the target has fused multiply-adds.
const FUSED: bool = cfg!(any(target_arch = "aarch64", target_feature = "fma"));

/// What is left of a row after its whole lines, and the tree that ends its sum.
#[inline(always)]
fn finish<W: Stored, const FUSED: bool>(mut sums: [f64; LANES], a: &[W], x: &[f64]) -> f64 {
    for ((sum, a), x) in sums.iter_mut().zip(a).zip(x) {
        *sum = if FUSED { a.widen().mul_add(*x, *sum) } else { a.widen() * x + *sum };
    }
    let mut half = LANES / 2;
    while half > 0 {
        for lane in 0..half {
            sums[lane] += sums[lane + half];
        }
        half /= 2;
    }
    sums[0]
}

macro_rules! dispatch {
    ($w:ty, $wide:ident, $narrow:ident) => {
        impl sealed::Kernels for $w {
            unsafe fn dots(isa: Isa, a: &[Self], x: &[f64], y: &mut [f64]) {
                match isa {
                    // SAFETY: the caller's promise; lengths are checked there.
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => unsafe { x86::$wide::dots(a, x, y) },
                    // SAFETY: as above.
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => unsafe { x86::$narrow::dots(a, x, y) },
                    _ => portable::dots(a, x, y),
                }
            }

            unsafe fn add_rows(isa: Isa, a: &[Self], stride: usize, y: &[f64], sums: &mut [f64]) {
                match isa {
                    // SAFETY: the caller's promise; slices are checked there.
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx512 => unsafe { x86::$wide::add_rows(a, stride, y, sums) },
                    // SAFETY: as above.
                    #[cfg(target_arch = "x86_64")]
                    Isa::Avx2 => unsafe { x86::$narrow::add_rows(a, stride, y, sums) },
                    _ => portable::add_rows(a, stride, y, sums),
                }
            }
        }
    };
}

dispatch!(f64, f64_avx512, f64_avx2);
dispatch!(f32, f32_avx512, f32_avx2);

#[cfg(test)]
mod tests;
