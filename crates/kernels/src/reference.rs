//! The textbook definition of a convolution and its adjoint, one loop an index. Slow on purpose: every faster kernel
//! is tested against it.

use crate::ConvShape;

/// Calls `visit(output index, input index, weight index)` for every product of the convolution.
pub fn for_each_product(shape: &ConvShape, mut visit: impl FnMut(usize, usize, usize)) {
    let (oh, ow) = (shape.out_height(), shape.out_width());
    let (ci, co) = (shape.in_channels / shape.groups, shape.out_channels / shape.groups);
    for o in 0..shape.out_channels {
        for y in 0..oh {
            for x in 0..ow {
                for c in 0..ci {
                    for i in 0..shape.kernel[0] {
                        for j in 0..shape.kernel[1] {
                            let row = (y * shape.stride[0] + i * shape.dilation[0]).checked_sub(shape.padding[0]);
                            let col = (x * shape.stride[1] + j * shape.dilation[1]).checked_sub(shape.padding[1]);
                            let (Some(row), Some(col)) = (row, col) else { continue };
                            if row >= shape.in_height || col >= shape.in_width {
                                continue;
                            }
                            let channel = o / co * ci + c;
                            visit(
                                (o * oh + y) * ow + x,
                                (channel * shape.in_height + row) * shape.in_width + col,
                                ((o * ci + c) * shape.kernel[0] + i) * shape.kernel[1] + j,
                            );
                        }
                    }
                }
            }
        }
    }
}

/// `output = conv(input)`.
pub fn forward(shape: &ConvShape, weights: &[f64], input: &[f64], output: &mut [f64]) {
    output.fill(0.0);
    for_each_product(shape, |o, i, w| output[o] += weights[w] * input[i]);
}

/// `input = conv^T(output)`.
pub fn adjoint(shape: &ConvShape, weights: &[f64], output: &[f64], input: &mut [f64]) {
    input.fill(0.0);
    for_each_product(shape, |o, i, w| input[i] += weights[w] * output[o]);
}
