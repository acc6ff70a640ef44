//! Convolutions and their transposes.

use std::sync::Arc;

use lipbound_lipschitz::{Bias, Conv2dOptions, ModelError, Tensor, conv2d, transposed_kernel};
use lipbound_operators::{Conv2d, ConvShape};

use super::{
    super::{Array, Importer, Op, Value},
    build::{Outputs, arity, constant, elements, flow, one, only_output, optional_constant, size, strides, weights},
    windows::{AutoPad, Image, Window, pair},
};

/// The weight of a convolution over images: a signal's gets a height of one.
fn filters(array: &Array, dimensions: usize) -> Result<Tensor, ModelError> {
    let weight = weights(array, "the weight")?;
    if weight.shape().len() != dimensions + 2 || weight.is_empty() {
        return Err(ModelError::shape(format!(
            "the weight has shape {:?}, but needs {} axes, none of them empty",
            weight.shape(),
            dimensions + 2
        )));
    }
    let mut shape = weight.shape().to_vec();
    if dimensions == 1 {
        shape.insert(2, 1);
    }
    Tensor::new(shape, weight.data().clone())
}

pub(super) fn conv(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 2, 3)?;
    only_output(op)?;
    let input = flow(inputs, 0, "the input")?;
    let image = Image::of(input)?;
    let weight = filters(constant(inputs, 1, "the weight")?, image.dimensions)?;
    let bias = optional_constant(inputs, 2, "the bias")?.map(Array::tensor).transpose()?;
    let &[out_channels, _, height, width] = weight.shape() else { unreachable!("filters have four axes") };
    let mut window = Window::take(op, image.dimensions, Some([height, width]))?;
    window.resolve(image.size)?;
    let options = Conv2dOptions {
        stride: window.stride,
        padding: window.padding,
        dilation: window.dilation,
        groups: size("group", op.attributes.int("group", 1)?, 1)?,
    };
    if bias.is_some() {
        let shape = ConvShape {
            in_channels: image.channels,
            in_height: image.size[0],
            in_width: image.size[1],
            out_channels,
            kernel: window.kernel,
            stride: options.stride,
            padding: options.padding,
            dilation: options.dilation,
            groups: options.groups,
        };
        shape.validate()?;
        importer.reserve(shape.output_len(), size_of::<f64>())?;
    }
    let (layer, shape) = conv2d(&image.shape(), &weight, bias.as_ref(), &options)?;
    let parameters = weight.len() + bias.map_or(0, |b| b.len());
    one(importer.push(op, layer, &[input], image.full(shape[0], [shape[1], shape[2]]), parameters)?)
}

/// How a transposed convolution lies along an axis: what is taken away from (or, where negative, added to) its full
/// output at the beginning, and how long it is.
fn extent(
    op: &Op,
    window: &Window,
    axis: usize,
    input: usize,
    extra: usize,
    wanted: Option<usize>,
) -> Result<(usize, usize), ModelError> {
    let full = (input - 1) * window.stride[axis] + window.reach(axis)? + extra;
    let same = matches!(window.auto, AutoPad::SameUpper | AutoPad::SameLower);
    let out = match wanted {
        Some(out) => out,
        None if same => input * window.stride[axis],
        None => {
            let before = window.padding[axis];
            let out = full.checked_sub(before + window.padding[axis + 2]).filter(|&out| out > 0);
            return out.map(|out| (before, out)).ok_or_else(|| ModelError::shape("pads leave nothing of the output"));
        }
    };
    let total = full.checked_sub(out).ok_or_else(|| {
        ModelError::shape(format!("an output of {out} is longer than the {full} that a transposed convolution reaches"))
    })?;
    // Before version 11 the two places of the specification that say where an odd element is taken contradict each
    // other, and so did runtimes.
    if total % 2 == 1 && op.opset < 11 {
        return Err(ModelError::model(format!(
            "takes an odd number of elements, {total}, from its output; before opset 11 it is not defined from which end"
        )));
    }
    let before = if window.auto == AutoPad::SameUpper { total / 2 } else { total - total / 2 };
    Ok((before, out))
}

pub(super) fn conv_transpose(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 2, 3)?;
    only_output(op)?;
    let input = flow(inputs, 0, "the input")?;
    let image = Image::of(input)?;
    let weight = filters(constant(inputs, 1, "the weight")?, image.dimensions)?;
    let &[channels, per_group, kh, kw] = weight.shape() else { unreachable!("filters have four axes") };
    let groups = size("group", op.attributes.int("group", 1)?, 1)?;
    if channels != image.channels || channels % groups != 0 {
        return Err(ModelError::shape(format!(
            "the weight has shape {:?} and group is {groups}, but the input has {} channels",
            weight.shape(),
            image.channels
        )));
    }
    let out_channels = per_group.checked_mul(groups).ok_or_else(|| ModelError::shape("too many output channels"))?;
    let bias = optional_constant(inputs, 2, "the bias")?.map(|b| weights(b, "the bias")).transpose()?;
    let window = Window::take(op, image.dimensions, Some([kh, kw]))?;
    let extra = pair(op, "output_padding", image.dimensions, 0, 0)?.unwrap_or([0; 2]);
    let wanted = pair(op, "output_shape", image.dimensions, 1, 1)?;
    if wanted.is_some() && window.padding != [0; 4] {
        return Err(ModelError::model("pads and output_shape are both given, but only one can hold"));
    }
    // The input with zeros between its elements, cropped or padded, is convolved with the flipped kernel.
    let (mut spaced, mut padding, mut crop, mut out) = ([0; 2], [0; 4], [0; 2], [0; 2]);
    for axis in 0..2 {
        let size = image.size[axis];
        // A signal's height stays one, whatever its width does.
        let (before, length) = if axis < 2 - image.dimensions {
            (0, 1)
        } else {
            extent(op, &window, axis, size, extra[axis], wanted.map(|w| w[axis]))?
        };
        let reach = window.reach(axis)?;
        // Output `o` reads positions `o + before - (reach - 1)` to `o + before` of the spaced input.
        crop[axis] = before.saturating_sub(reach - 1);
        padding[axis] = (reach - 1).saturating_sub(before);
        let last = (size - 1) * window.stride[axis];
        let end = length + before;
        (spaced[axis], padding[axis + 2]) = if end > last { (last + 1, end - last - 1) } else { (end, 0) };
        spaced[axis] = spaced[axis].checked_sub(crop[axis]).filter(|&s| s > 0).ok_or_else(|| {
            ModelError::shape("no element of the output depends on the input: pads or output_padding are too large")
        })?;
        out[axis] = length;
    }
    let steps = strides(&image.shape());
    let places = [image.channels, spaced[0], spaced[1]];
    let select = importer.selection(input.elements(), &places, &|k, i| match k {
        0 => Some(i * steps[0]),
        _ => {
            let at = i + crop[k - 1];
            at.is_multiple_of(window.stride[k - 1]).then(|| at / window.stride[k - 1] * steps[k])
        }
    })?;
    let shape = ConvShape {
        in_channels: channels,
        in_height: spaced[0],
        in_width: spaced[1],
        out_channels,
        kernel: window.kernel,
        stride: [1; 2],
        padding,
        dilation: window.dilation,
        groups,
    };
    shape.validate()?;
    debug_assert_eq!([shape.out_height(), shape.out_width()], out);
    let flipped = transposed_kernel(&weight, groups);
    let bias = match bias {
        None => None,
        Some(bias) if bias.shape() == [out_channels] => {
            importer.reserve(shape.output_len(), size_of::<f64>())?;
            let (bias, plane) = (bias.to_f64(), out[0] * out[1]);
            let values = (0..shape.output_len()).map(|i| bias[i / plane]).collect();
            Some((Bias { values, errors: None }, out_channels))
        }
        Some(bias) => {
            return Err(ModelError::shape(format!(
                "the bias has shape {:?}, but there are {out_channels} output channels",
                bias.shape()
            )));
        }
    };
    let full = image.full(out_channels, out);
    elements(&full)?;
    let mut factors: Vec<_> = select.into_iter().collect();
    factors.push(Arc::new(Conv2d::new(shape, flipped)?));
    let (bias, biases) = bias.unzip();
    one(importer.chain(op, factors, bias, input, full, weight.len() + biases.unwrap_or(0))?)
}
