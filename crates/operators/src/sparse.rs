//! A sparse matrix in compressed rows (CSR).

use std::fmt;

use crate::{Description, Footprint, LinearOperator, Workspace, check_lengths, rounding};

/// A sparse `rows x cols` matrix: row `i` has the entries `indptr[i]..indptr[i + 1]` of `indices` and `values`.
#[derive(Clone)]
pub struct Sparse {
    cols: usize,
    indptr: Vec<usize>,
    indices: Vec<usize>,
    values: Vec<f64>,
    longest_row: usize,
    longest_column: usize,
}

impl fmt::Debug for Sparse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sparse({} x {}, {} entries)", self.indptr.len() - 1, self.cols, self.values.len())
    }
}

/// Why three arrays are not a CSR matrix.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SparseError(String);

impl fmt::Display for SparseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SparseError {}

impl Sparse {
    /// A matrix from its compressed rows. A column must not appear twice in a row, since row norms are taken from the
    /// entries as they stand.
    ///
    /// # Errors
    /// A [`SparseError`] that names the array and what is wrong with it.
    pub fn new(cols: usize, indptr: Vec<usize>, indices: Vec<usize>, values: Vec<f64>) -> Result<Self, SparseError> {
        let fail = |text: String| Err(SparseError(text));
        if indptr.first() != Some(&0) {
            return fail("indptr must begin with 0 and have one element more than there are rows".into());
        }
        if let Some(i) = indptr.windows(2).position(|w| w[0] > w[1]) {
            return fail(format!(
                "indptr must not decrease, but falls from {} to {} after row {i}",
                indptr[i],
                indptr[i + 1]
            ));
        }
        let entries = indptr[indptr.len() - 1];
        if indices.len() != entries || values.len() != entries {
            return fail(format!(
                "indptr promises {entries} entries, but there are {} indices and {} values",
                indices.len(),
                values.len()
            ));
        }
        let mut last_row = vec![usize::MAX; cols];
        let mut in_column = vec![0; cols];
        for row in 0..indptr.len() - 1 {
            for &column in &indices[indptr[row]..indptr[row + 1]] {
                if column >= cols {
                    return fail(format!("row {row} has column index {column}, but there are {cols} columns"));
                }
                if last_row[column] == row {
                    return fail(format!("row {row} has column {column} twice"));
                }
                last_row[column] = row;
                in_column[column] += 1;
            }
        }
        let longest_row = indptr.windows(2).map(|w| w[1] - w[0]).max().unwrap_or(0);
        let longest_column = in_column.into_iter().max().unwrap_or(0);
        Ok(Self { cols, indptr, indices, values, longest_row, longest_column })
    }

    /// Number of stored entries.
    #[must_use]
    pub fn entries(&self) -> usize {
        self.values.len()
    }

    fn row(&self, i: usize) -> impl Iterator<Item = (usize, f64)> + '_ {
        let range = self.indptr[i]..self.indptr[i + 1];
        self.indices[range.clone()].iter().copied().zip(self.values[range].iter().copied())
    }

    fn gather(&self, x: &[f64], y: &mut [f64], map: impl Fn(f64) -> f64) {
        check_lengths(self, x.len(), y.len());
        for (i, y) in y.iter_mut().enumerate() {
            *y = self.row(i).map(|(j, a)| map(a) * x[j]).sum();
        }
    }

    fn scatter(&self, y: &[f64], x: &mut [f64], map: impl Fn(f64) -> f64) {
        check_lengths(self, x.len(), y.len());
        x.fill(0.0);
        for (i, &y) in y.iter().enumerate() {
            for (j, a) in self.row(i) {
                x[j] += map(a) * y;
            }
        }
    }
}

impl LinearOperator for Sparse {
    fn rows(&self) -> usize {
        self.indptr.len() - 1
    }

    fn cols(&self) -> usize {
        self.cols
    }

    fn apply(&self, x: &[f64], y: &mut [f64], _: &mut Workspace) {
        self.gather(x, y, |a| a);
    }

    fn apply_adjoint(&self, y: &[f64], x: &mut [f64], _: &mut Workspace) {
        self.scatter(y, x, |a| a);
    }

    fn apply_abs(&self, x: &[f64], y: &mut [f64], _: &mut Workspace) {
        self.gather(x, y, f64::abs);
        let n = self.rounding_length();
        y.iter_mut().for_each(|y| *y = rounding::raise(*y, n));
    }

    fn apply_abs_adjoint(&self, y: &[f64], x: &mut [f64], _: &mut Workspace) {
        self.scatter(y, x, f64::abs);
        let n = self.rounding_length();
        x.iter_mut().for_each(|x| *x = rounding::raise(*x, n));
    }

    fn row_norms(&self, weights: Option<&[f64]>, norms: &mut [f64], _: &mut Workspace) {
        check_lengths(self, weights.map_or(self.cols, <[f64]>::len), norms.len());
        for (i, norm) in norms.iter_mut().enumerate() {
            let sum: f64 = self
                .row(i)
                .map(|(j, a)| rounding::square_or_tiny(a) * weights.map_or(1.0, |w| rounding::square_or_tiny(w[j])))
                .sum();
            *norm = rounding::sqrt_up(rounding::raise(sum, self.longest_row + 4));
        }
    }

    fn describe(&self, description: &mut Description<'_>) {
        description.tag("sparse");
        description.size(self.cols);
        description.sizes(&self.indptr);
        description.sizes(&self.indices);
        description.numbers(self.values.iter().copied());
    }

    fn rounding_length(&self) -> usize {
        self.longest_row.max(self.longest_column) + 1
    }

    fn abs_norm(&self) -> f64 {
        let mut columns = vec![0.0; self.cols];
        let mut widest: f64 = 0.0;
        for i in 0..self.rows() {
            let mut sum = 0.0;
            for (j, a) in self.row(i) {
                columns[j] += a.abs();
                sum += a.abs();
            }
            widest = widest.max(sum);
        }
        rounding::from_sums(widest, rounding::max_or_infinite(&columns), self.longest_row + self.longest_column)
    }

    fn footprint(&self) -> Footprint {
        let held = (self.indptr.capacity() + self.indices.capacity()) * size_of::<usize>()
            + self.values.capacity() * size_of::<f64>();
        Footprint { held, making: self.cols * size_of::<f64>(), ..Footprint::plain(self.rows(), self.cols) }
    }

    fn multiply_adds(&self) -> usize {
        self.values.len()
    }

    fn row_into(&self, i: usize, row: &mut [f64], _: &mut Workspace) {
        row.fill(0.0);
        self.row(i).for_each(|(j, a)| row[j] = a);
    }
}
