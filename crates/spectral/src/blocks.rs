//! Products of dense matrices in blocks: shared among threads, interrupted within hundredths of a second.
//!
//! How a product is cut depends on its size alone, so results do not depend on the number of threads. The error bounds
//! that are used of these products hold for any order of summation.

use std::sync::Mutex;

use ndarray::{ArrayView2, ArrayViewMut2, Axis, linalg::general_mat_mul, s};

use crate::monitor::{Context, Stop};

/// Rows of one task.
pub(crate) const ROWS: usize = 64;
/// Terms that a task sums at a time.
const DEPTH: usize = 2048;

/// `out[i, j] = sum over k of a[i, k] b[j, k]` for `j` from the beginning of the block of [`ROWS`] rows that has `i`: the
/// upper triangle, and some of the lower.
pub(crate) fn upper_product(
    a: ArrayView2<'_, f64>,
    b: ArrayView2<'_, f64>,
    mut out: ArrayViewMut2<'_, f64>,
    context: &Context<'_>,
) -> Result<(), Stop> {
    let depth = a.ncols();
    for from in (0..depth.max(1)).step_by(DEPTH) {
        let terms = from..(from + DEPTH).min(depth);
        let (a, b) = (a.slice(s![.., terms.clone()]), b.slice(s![.., terms]));
        let keep = f64::from(u8::from(from > 0));
        in_row_blocks(out.view_mut(), context, |first, mut rows| {
            let last = first + rows.nrows();
            general_mat_mul(
                1.0,
                &a.slice(s![first..last, ..]),
                &b.slice(s![first.., ..]).t(),
                keep,
                &mut rows.slice_mut(s![.., first..]),
            );
        })?;
    }
    Ok(())
}

/// Calls `work(first row, rows)` for every block of [`ROWS`] rows.
pub(crate) fn in_row_blocks(
    mut matrix: ArrayViewMut2<'_, f64>,
    context: &Context<'_>,
    work: impl Fn(usize, ArrayViewMut2<'_, f64>) + Sync,
) -> Result<(), Stop> {
    let mut blocks = matrix.axis_chunks_iter_mut(Axis(0), ROWS).enumerate();
    loop {
        // One block a thread, then a look at the clock.
        let round: Vec<_> =
            blocks.by_ref().take(context.threads.count()).map(|block| Mutex::new(Some(block))).collect();
        if round.is_empty() {
            return Ok(());
        }
        context.check()?;
        context.threads.run(round.len(), |_, item| {
            // A block that was silently left out would be a wrong proof.
            let block = round[item].lock().expect("no other thread has this block").take();
            let (index, rows) = block.expect("each block is worked on once");
            work(index * ROWS, rows);
        });
    }
}
