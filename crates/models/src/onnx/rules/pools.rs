//! Pools over images.

use std::sync::Arc;

use lipbound_lipschitz::{MaxPool2dOptions, ModelError, PoolGeometry, global_avg_pool2d, max_pool2d};
use lipbound_operators::{Compose, Conv2d, ConvShape, Diagonal};

use super::{
    super::{Importer, Op, Value},
    build::{Outputs, arity, flow, one, only_output},
    reductions::{Reduction, reduced},
    windows::{AutoPad, Image, Window, single},
};

/// A window of a pool over an image, its padding chosen, and the size of the output.
fn geometry(op: &mut Op, image: &Image) -> Result<(PoolGeometry, [usize; 2]), ModelError> {
    let mut window = Window::take(op, image.dimensions, None)?;
    window.resolve(image.size)?;
    let ceil_mode = op.attributes.int("ceil_mode", 0)? != 0;
    let geometry = PoolGeometry {
        input: image.shape(),
        kernel: window.kernel,
        stride: window.stride,
        padding: window.padding,
        dilation: window.dilation,
        ceil_mode,
    };
    let size = [geometry.out_size(0)?, geometry.out_size(1)?];
    if window.auto == AutoPad::Valid && ceil_mode {
        // The formula for VALID has no ceil mode, but runtimes honour it.
        let floor = PoolGeometry { ceil_mode: false, ..geometry };
        if size != [floor.out_size(0)?, floor.out_size(1)?] {
            return Err(ModelError::model("auto_pad VALID and ceil_mode ask for different sizes of the output"));
        }
    }
    Ok((geometry, size))
}

pub(super) fn max_pool(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 1, 1)?;
    only_output(op)?;
    let input = flow(inputs, 0, "the input")?;
    let image = Image::of(input)?;
    if op.attributes.int("storage_order", 0)? != 0 {
        return Err(ModelError::model("storage_order must be 0"));
    }
    let (geometry, size) = geometry(op, &image)?;
    let windows = image.channels.checked_mul(size[0]).and_then(|n| n.checked_mul(size[1]));
    let members = windows.and_then(|n| n.checked_mul(geometry.kernel[0])?.checked_mul(geometry.kernel[1]));
    importer.reserve(members.unwrap_or(usize::MAX), size_of::<u32>())?;
    importer.reserve(windows.unwrap_or(usize::MAX), size_of::<usize>())?;
    let options = MaxPool2dOptions {
        kernel: geometry.kernel,
        stride: geometry.stride,
        padding: geometry.padding,
        dilation: geometry.dilation,
        ceil_mode: geometry.ceil_mode,
    };
    let (layer, _) = max_pool2d(&image.shape(), &options)?;
    one(importer.push(op, layer, &[input], image.full(image.channels, size), 0)?)
}

/// An average pool: a convolution with ones in each channel, divided by how many elements each window has.
pub(super) fn average_pool(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 1, 1)?;
    only_output(op)?;
    let input = flow(inputs, 0, "the input")?;
    let image = Image::of(input)?;
    let count_padding = op.attributes.int("count_include_pad", 0)? != 0;
    let (geometry, out) = geometry(op, &image)?;
    let mut padding = geometry.padding;
    // Along each axis, how many elements of each window count.
    let mut counts: [Vec<usize>; 2] = Default::default();
    for axis in 0..2 {
        let (size, before, after) = (image.size[axis], padding[axis], padding[axis + 2]);
        let (kernel, stride, dilation) = (geometry.kernel[axis], geometry.stride[axis], geometry.dilation[axis]);
        let taps = |p: usize| (0..kernel).map(move |k| p * stride + k * dilation);
        // The work of counting, for windows that a file may make as many and as large as it likes.
        importer.reserve(out[axis].saturating_mul(kernel), 1)?;
        counts[axis] = (0..out[axis])
            .map(|p| {
                taps(p)
                    .filter(|&at| {
                        if count_padding { at < size + before + after } else { (before..before + size).contains(&at) }
                    })
                    .count()
            })
            .collect();
        let needed = (out[axis] - 1) * stride + (kernel - 1) * dilation + 1;
        let beyond = needed.saturating_sub(size + before + after);
        if beyond > 0 && count_padding && op.opset < 19 {
            // What the specification says since then, and what PyTorch and onnxruntime have in all versions today.
            importer.note(format!(
                "windows of '{}' that ceil_mode takes beyond the padding are divided by how many elements they have inside; \
                 before opset 19 the specification does not say",
                op.name
            ));
        }
        // Ceil mode is padding at the far end, as much as the last window needs.
        padding[axis + 2] = after + beyond;
    }
    if !count_padding && counts.iter().flatten().any(|&n| n == 0) {
        return Err(ModelError::shape("a window lies wholly in the padding"));
    }
    let shape = ConvShape {
        in_channels: image.channels,
        in_height: image.size[0],
        in_width: image.size[1],
        out_channels: image.channels,
        kernel: geometry.kernel,
        stride: geometry.stride,
        padding,
        dilation: geometry.dilation,
        groups: image.channels,
    };
    shape.validate()?;
    debug_assert_eq!([shape.out_height(), shape.out_width()], out);
    importer.reserve(shape.weight_len() + shape.output_len(), size_of::<f64>())?;
    let mut inverse = Vec::with_capacity(shape.output_len());
    for _ in 0..image.channels {
        for &rows in &counts[0] {
            inverse.extend(counts[1].iter().map(|cols| 1.0 / (rows * cols) as f64));
        }
    }
    let ones = Conv2d::new(shape, vec![1.0; shape.weight_len()].into())?;
    let operator = Compose::new(vec![Arc::new(ones), Arc::new(Diagonal::rounded(inverse, 1))]);
    one(importer.affine(op, Arc::new(operator), None, input, image.full(image.channels, out), 0)?)
}

pub(super) fn global_average_pool(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 1, 1)?;
    let input = flow(inputs, 0, "the input")?;
    if !matches!(input.shape.len(), 3 | 4) {
        return global(importer, op, inputs, Reduction::Mean);
    }
    let image = Image::of(input)?;
    importer.reserve(input.elements() + image.channels, size_of::<f64>())?;
    let (layer, _) = global_avg_pool2d(&image.shape())?;
    one(importer.push(op, layer, &[input], image.full(image.channels, [1; 2]), 0)?)
}

pub(super) fn global_max_pool(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 1, 1)?;
    global(importer, op, inputs, Reduction::Max)
}

/// A reduction over all axes but batch and channels, which stay with a length of one.
fn global(importer: &mut Importer, op: &Op, inputs: &[Option<Value>], kind: Reduction) -> Outputs {
    let input = flow(inputs, 0, "the input")?;
    if input.shape.len() < 2 {
        return Err(ModelError::shape(format!("needs an input of shape [1, channels, ..], got {:?}", input.shape)));
    }
    single(input)?;
    let over: Vec<bool> = (0..input.shape.len()).map(|k| k >= 2).collect();
    let shape = input.shape.iter().zip(&over).map(|(&d, &over)| if over { 1 } else { d }).collect();
    one(reduced(importer, op, input, &over, shape, kind)?)
}
