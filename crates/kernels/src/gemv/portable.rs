//! The kernels in plain Rust.

use super::{FUSED, LANES, Stored};

pub fn dots<W: Stored>(a: &[W], x: &[f64], y: &mut [f64]) {
    for (row, y) in y.iter_mut().enumerate() {
        let a = &a[row * x.len()..(row + 1) * x.len()];
        let mut sums = [0.0f64; LANES];
        let (mut lines, mut parts) = (a.chunks_exact(LANES), x.chunks_exact(LANES));
        for (a, x) in (&mut lines).zip(&mut parts) {
            for lane in 0..LANES {
                let a = a[lane].widen();
                sums[lane] = if FUSED { a.mul_add(x[lane], sums[lane]) } else { a * x[lane] + sums[lane] };
            }
        }
        *y = super::finish::<W, FUSED>(sums, lines.remainder(), parts.remainder());
    }
}

pub fn add_rows<W: Stored>(a: &[W], stride: usize, y: &[f64], sums: &mut [f64]) {
    let columns = sums.len();
    for (row, y) in y.iter().enumerate() {
        for (sum, a) in sums.iter_mut().zip(&a[row * stride..row * stride + columns]) {
            *sum = if FUSED { a.widen().mul_add(*y, *sum) } else { a.widen() * y + *sum };
        }
    }
}
