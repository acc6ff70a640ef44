//! What a norm takes of memory, before it is taken: upper bounds in bytes, from what the code allocates.

use crate::bracket::CHEAP_GRAM_WORK;

const NUMBER: usize = size_of::<f64>();

/// Coefficients of a Lanczos process of as many steps as are allowed by default, in a list that grows.
const COEFFICIENTS: usize = 32 << 10;

/// Vectors that a norm takes from a workspace at once, beside those of a product: three of an iteration, one for a masked
/// product.
pub const VECTORS: usize = 4;

/// Multiply-adds of an operator up to which all of these are taken; for others it is two of a process, less one.
pub use crate::caps::CHEAP_PASS;

/// Bytes of an exact norm of a `rows x cols` matrix: the matrix, twice its Gram matrix, and the search for its top
/// eigenvector with all vectors of the search.
#[must_use]
pub fn of_formed(rows: usize, cols: usize) -> usize {
    let (short, long) = (rows.min(cols), rows.max(cols));
    let search = short.min(204) * short + 12 * short;
    // LAPACK gets copies of small matrices.
    let direct = 8 * short.min(48) * short.min(48) + 64 * short.min(48);
    // Products of matrices are packed in panels of up to 256 terms, by 64 rows and 1024 columns.
    let packed = long.min(256).next_multiple_of(8) * (80 + short.min(1024).next_multiple_of(8));
    NUMBER * (rows * cols + 2 * short * short + search + direct + packed + 2 * long + (1 << 13))
}

/// The largest `x` up to `most` for which `holds`; it holds for all below.
fn largest(most: usize, holds: impl Fn(f64) -> bool) -> usize {
    let (mut low, mut high) = (0, most);
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if holds(middle as f64) { low = middle } else { high = middle - 1 }
    }
    low
}

/// Multiply-adds of an exact norm, or less.
fn work(rows: f64, cols: f64) -> f64 {
    let (short, long) = (rows.min(cols), rows.max(cols));
    short * short * long / 2.0 + short.powi(3) / 3.0 + 60.0 * short * short + rows * cols / 2.0
}

/// Whether the norm of a `rows x cols` matrix is taken exactly since that is cheap, at default options.
#[must_use]
pub fn is_cheap(rows: usize, cols: usize) -> bool {
    work(rows as f64, cols as f64) <= CHEAP_GRAM_WORK
}

/// Bytes of an exact norm that is taken since it is cheap: the most over all numbers of rows that masks may leave of
/// `rows x cols`, and of columns where these are masked too.
fn of_cheap(rows: usize, cols: usize, masked_cols: bool) -> usize {
    // Each row that is left is formed with all its columns.
    let rows = largest(rows, |rows| rows * cols as f64 / 2.0 <= CHEAP_GRAM_WORK);
    if !masked_cols {
        let left = largest(rows, |rows| work(rows, cols as f64) <= CHEAP_GRAM_WORK);
        return if left == 0 { 0 } else { of_formed(left, cols) };
    }
    let most = largest(rows.min(cols), |n| work(n, n) <= CHEAP_GRAM_WORK);
    (1..=most)
        .map(|short| {
            let long = largest(rows.max(cols), |long| work(short as f64, long) <= CHEAP_GRAM_WORK);
            of_formed(short, long.max(short))
        })
        .max()
        .unwrap_or(0)
}

/// Bytes of the lists of rows and columns that count, and of a process that starts with a vector over the columns.
#[must_use]
pub fn of_process(rows: usize, cols: usize) -> usize {
    // Lists grow to twice their length while the old one is there.
    let support = 2 * NUMBER * rows + 3 * NUMBER * cols + rows.max(cols);
    support + cols + 2 * NUMBER * cols + COEFFICIENTS
}

/// Bytes of a norm at default options of what masks leave of a `rows x cols` operator, whose vectors may be longer in the
/// layout of its kernels, beside the operator and the workspace.
#[must_use]
pub fn of_norm((rows, cols): (usize, usize), (tall, wide): (usize, usize), masked_cols: bool) -> usize {
    let support = of_process(tall, wide);
    // The matrix is formed before any process begins.
    let lists = 2 * NUMBER * (tall + wide);
    support.max(lists + of_cheap(rows, cols, masked_cols))
}
