//! A dense matrix, row-major, stored in f32 or f64.

use std::{
    fmt,
    sync::{Arc, Mutex, OnceLock, PoisonError},
};

use lipbound_kernels::{
    gemv::{Gemv, Stored},
    isa::{Isa, IsaError},
    pool::Threads,
};

use crate::{Description, Footprint, LinearOperator, Workspace, check_lengths, isa, rounding};

/// A stored number that widens exactly to f64.
pub trait Element: Stored + Into<f64> + fmt::Debug + 'static {}
impl Element for f32 {}
impl Element for f64 {}

/// A dense `rows x cols` matrix. Weights that came as f32 stay f32: the products are f64 all the same, with half the
/// memory to read.
#[derive(Clone)]
pub struct Dense<T: Element> {
    rows: usize,
    cols: usize,
    values: Arc<[T]>,
    gemv: Gemv,
    abs_norm: OnceLock<f64>,
}

impl<T: Element> fmt::Debug for Dense<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Dense({} x {})", self.rows, self.cols)
    }
}

const LANES: usize = 8;
/// Elements from which a pass over the matrix is worth sharing.
const SHARED_FROM: usize = 1 << 17;

impl<T: Element> Dense<T> {
    /// A matrix from its values, row by row.
    ///
    /// # Panics
    /// If there are not `rows * cols` values, or `LIPBOUND_ISA` cannot be obeyed.
    #[must_use]
    pub fn new(rows: usize, cols: usize, values: Arc<[T]>) -> Self {
        assert_eq!(Some(values.len()), rows.checked_mul(cols), "a dense matrix needs rows * cols values");
        let gemv = Gemv::new(rows, cols, isa()).expect("the processor can run the selected instruction set");
        Self { rows, cols, values, gemv, abs_norm: OnceLock::new() }
    }

    /// The same matrix by the kernels of `isa`.
    ///
    /// # Errors
    /// If the processor lacks `isa`.
    pub fn with_isa(self, isa: Isa) -> Result<Self, IsaError> {
        Ok(Self { gemv: Gemv::new(self.rows, self.cols, isa)?, ..self })
    }

    /// Row `i`.
    #[must_use]
    pub fn row(&self, i: usize) -> &[T] {
        &self.values[i * self.cols..(i + 1) * self.cols]
    }

    /// All values, row by row.
    #[must_use]
    pub fn values(&self) -> &[T] {
        &self.values
    }

    /// `sum of map(a_ij) * x_j` in eight lanes.
    fn dot(&self, i: usize, x: &[f64], map: impl Fn(f64) -> f64) -> f64 {
        let row = self.row(i);
        let mut lanes = [0.0; LANES];
        let (mut a, mut b) = (row.chunks_exact(LANES), x.chunks_exact(LANES));
        for (a, b) in (&mut a).zip(&mut b) {
            for k in 0..LANES {
                lanes[k] += map(a[k].into()) * b[k];
            }
        }
        for (k, (&a, &b)) in a.remainder().iter().zip(b.remainder()).enumerate() {
            lanes[k] += map(a.into()) * b;
        }
        lanes.iter().sum()
    }

    /// `of(i)` for each row, a range of rows at a time where there is enough to share.
    fn each_row(&self, results: &mut [f64], threads: &Threads, of: impl Fn(usize) -> f64 + Sync) {
        let at_once = (SHARED_FROM / 2 / self.cols.max(1)).max(1);
        let chunks: Vec<_> = results.chunks_mut(at_once).map(Mutex::new).collect();
        threads.run(chunks.len(), |_, chunk| {
            let mut results = chunks[chunk].lock().unwrap_or_else(PoisonError::into_inner);
            results.iter_mut().enumerate().for_each(|(i, result)| *result = of(chunk * at_once + i));
        });
    }

    /// The widest row and the tallest column of magnitudes, in one pass.
    fn by_sums(&self) -> f64 {
        let mut columns = vec![0.0; self.cols];
        let mut widest: f64 = 0.0;
        for i in 0..self.rows {
            let mut sum = 0.0;
            for (column, &a) in columns.iter_mut().zip(self.row(i)) {
                let a: f64 = a.into();
                *column += a.abs();
                sum += a.abs();
            }
            widest = widest.max(sum);
        }
        let tallest = rounding::max_or_infinite(&columns);
        rounding::from_sums(widest, tallest, self.rows + self.cols)
    }

    fn accumulate(&self, y: &[f64], x: &mut [f64], map: impl Fn(f64) -> f64) {
        x.fill(0.0);
        for (i, &factor) in y.iter().enumerate() {
            if factor != 0.0 {
                for (x, &a) in x.iter_mut().zip(self.row(i)) {
                    *x += map(a.into()) * factor;
                }
            }
        }
    }
}

impl<T: Element> LinearOperator for Dense<T> {
    fn rows(&self) -> usize {
        self.rows
    }

    fn cols(&self) -> usize {
        self.cols
    }

    fn apply(&self, x: &[f64], y: &mut [f64], ws: &mut Workspace) {
        check_lengths(self, x.len(), y.len());
        self.gemv.apply(&self.values, x, y, ws.threads());
    }

    fn apply_adjoint(&self, y: &[f64], x: &mut [f64], ws: &mut Workspace) {
        check_lengths(self, x.len(), y.len());
        let (threads, scratch) = ws.for_gemv();
        self.gemv.apply_adjoint(&self.values, y, x, threads, scratch);
    }

    fn apply_abs(&self, x: &[f64], y: &mut [f64], ws: &mut Workspace) {
        check_lengths(self, x.len(), y.len());
        let n = self.rounding_length();
        self.each_row(y, ws.threads(), |i| rounding::raise(self.dot(i, x, f64::abs), n));
    }

    fn apply_abs_adjoint(&self, y: &[f64], x: &mut [f64], _: &mut Workspace) {
        check_lengths(self, x.len(), y.len());
        self.accumulate(y, x, f64::abs);
        let n = self.rounding_length();
        x.iter_mut().for_each(|x| *x = rounding::raise(*x, n));
    }

    fn row_norms(&self, weights: Option<&[f64]>, norms: &mut [f64], ws: &mut Workspace) {
        check_lengths(self, weights.map_or(self.cols, <[f64]>::len), norms.len());
        let mut squares = ws.take(self.cols);
        match weights {
            Some(weights) => squares.iter_mut().zip(weights).for_each(|(s, &w)| *s = rounding::square_or_tiny(w)),
            None => squares.fill(1.0),
        }
        let n = self.cols.div_ceil(LANES) + LANES + 4;
        self.each_row(norms, ws.threads(), |i| {
            // The squares of weight and scale add two roundings each to those of the dot product.
            rounding::sqrt_up(rounding::raise(self.dot(i, &squares, rounding::square_or_tiny), n))
        });
        ws.give(squares);
    }

    /// The longest of the sums in the kernels and in the passes over magnitudes here: rows by lanes of cols / 8 sums and
    /// then eight lanes, columns one sum a row.
    fn describe(&self, description: &mut Description<'_>) {
        description.tag("dense");
        description.sizes(&[self.rows, self.cols]);
        description.numbers(self.values.iter().map(|&v| v.into()));
    }

    fn rounding_length(&self) -> usize {
        let kernels = self.gemv.accumulation_length().max(self.gemv.adjoint_accumulation_length());
        kernels.max((self.cols.div_ceil(LANES) + LANES).max(self.rows) + 1)
    }

    fn abs_norm(&self) -> f64 {
        *self.abs_norm.get_or_init(|| self.by_sums())
    }

    fn multiply_adds(&self) -> usize {
        self.rows * self.cols
    }

    fn footprint(&self) -> Footprint {
        Footprint {
            held: size_of_val(&self.values[..]),
            // Column sums; and a list of the ranges of rows that threads share.
            making: (self.cols + 8 * self.rows) * size_of::<f64>(),
            scratch: self.gemv.adjoint_scratch(),
            ..Footprint::plain(self.rows, self.cols)
        }
    }

    fn row_into(&self, i: usize, row: &mut [f64], _: &mut Workspace) {
        row.iter_mut().zip(self.row(i)).for_each(|(to, &a)| *to = a.into());
    }
}
