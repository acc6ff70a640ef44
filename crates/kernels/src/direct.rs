//! Plain convolution of any geometry: one multiply-add of a row at a time, which the compiler vectorises.
//!
//! Each output element is accumulated in memory in the order of the weights (input channel, kernel row, kernel
//! column), one rounding for the product and one for the sum, so its error is at most
//! `gamma_n * (|A| |x|)_i` with `n` the fan-in (forward) or the fan-out (adjoint) (Higham, *Accuracy and Stability of
//! Numerical Algorithms*, 2nd ed., section 3.1).

use crate::ConvShape;

fn check(shape: &ConvShape, weights: &[f64], input: usize, output: usize) {
    assert_eq!(weights.len(), shape.weight_len(), "weights do not have the length of the shape");
    assert_eq!(input, shape.input_len(), "the input does not have the length of the shape");
    assert_eq!(output, shape.output_len(), "the output does not have the length of the shape");
}

/// Calls `row(weight, input start, output start, count)` for every row segment of one output channel: output elements
/// `output start + t` read input elements `input start + t * horizontal stride`.
fn for_each_row(shape: &ConvShape, weights: &[f64], o: usize, mut row: impl FnMut(f64, usize, usize, usize)) {
    let (oh, ow) = (shape.out_height(), shape.out_width());
    let (ci, co) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
    let [kh, kw] = shape.kernel;
    for c in 0..ci {
        let channel = o / co * ci + c;
        for i in 0..kh {
            let rows = shape.valid_outputs(0, i);
            for j in 0..kw {
                let weight = weights[((o * ci + c) * kh + i) * kw + j];
                let cols = shape.valid_outputs(1, j);
                if weight == 0.0 || cols.is_empty() {
                    continue;
                }
                let left = shape.input_position(1, cols.start, j);
                for y in rows.clone() {
                    let top = shape.input_position(0, y, i);
                    row(
                        weight,
                        (channel * shape.in_height + top) * shape.in_width + left,
                        (o * oh + y) * ow + cols.start,
                        cols.len(),
                    );
                }
            }
        }
    }
}

/// `output = conv(input)`.
///
/// # Panics
/// If a slice does not have the length that `shape` states.
pub fn forward(shape: &ConvShape, weights: &[f64], input: &[f64], output: &mut [f64]) {
    check(shape, weights, input.len(), output.len());
    output.fill(0.0);
    let step = shape.stride[1];
    for o in 0..shape.out_channels {
        for_each_row(shape, weights, o, |w, from, to, count| {
            let out = &mut output[to..to + count];
            if step == 1 {
                for (y, x) in out.iter_mut().zip(&input[from..from + count]) {
                    *y += w * x;
                }
            } else {
                for (y, x) in out.iter_mut().zip(input[from..].iter().step_by(step)) {
                    *y += w * x;
                }
            }
        });
    }
}

/// `input = conv^T(output)`.
///
/// # Panics
/// If a slice does not have the length that `shape` states.
pub fn adjoint(shape: &ConvShape, weights: &[f64], output: &[f64], input: &mut [f64]) {
    check(shape, weights, input.len(), output.len());
    input.fill(0.0);
    let step = shape.stride[1];
    for o in 0..shape.out_channels {
        for_each_row(shape, weights, o, |w, from, to, count| {
            let out = &output[to..to + count];
            if step == 1 {
                for (x, y) in input[from..from + count].iter_mut().zip(out) {
                    *x += w * y;
                }
            } else {
                for (x, y) in input[from..].iter_mut().step_by(step).zip(out) {
                    *x += w * y;
                }
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference;

    #[test]
    fn agrees_with_the_reference_on_many_geometries() {
        // A small multiplicative generator keeps this crate free of dependencies for its tests.
        let mut state = 0x9e37_79b9_7f4a_7c15_u64;
        let mut next = |n: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            ((state >> 33) as usize) % n
        };
        let mut tried = 0;
        while tried < 500 {
            let groups = 1 + next(3);
            let shape = ConvShape {
                in_channels: groups * (1 + next(3)),
                in_height: 1 + next(9),
                in_width: 1 + next(9),
                out_channels: groups * (1 + next(3)),
                kernel: [1 + next(4), 1 + next(4)],
                stride: [1 + next(3), 1 + next(3)],
                padding: [next(4), next(4), next(4), next(4)],
                dilation: [1 + next(3), 1 + next(3)],
                groups,
            };
            if shape.validate().is_err() {
                continue;
            }
            tried += 1;
            let mut sample = |n: usize| (0..n).map(|_| next(2001) as f64 / 1000.0 - 1.0).collect::<Vec<_>>();
            let (w, x, y) = (sample(shape.weight_len()), sample(shape.input_len()), sample(shape.output_len()));
            let (mut fast, mut slow) = (vec![f64::NAN; y.len()], vec![0.0; y.len()]);
            forward(&shape, &w, &x, &mut fast);
            reference::forward(&shape, &w, &x, &mut slow);
            assert!(fast.iter().zip(&slow).all(|(a, b)| (a - b).abs() < 1e-12), "{shape:?}");
            let (mut fast, mut slow) = (vec![f64::NAN; x.len()], vec![0.0; x.len()]);
            adjoint(&shape, &w, &y, &mut fast);
            reference::adjoint(&shape, &w, &y, &mut slow);
            assert!(fast.iter().zip(&slow).all(|(a, b)| (a - b).abs() < 1e-12), "{shape:?}");
        }
    }
}
