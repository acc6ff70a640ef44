//! Constructors of layers: attributes and tensors in, a [`Layer`] and its output shape out.
//!
//! Shapes are those of one example, without a batch dimension: `[channels, height, width]` or `[features]`.

mod arrange;
mod branches;
mod transposed;

pub use arrange::{pad2d, permute, reshape, upsample2d};
pub use branches::{Parts, add, concat, maximum, minimum};
pub use transposed::{ConvTranspose2dOptions, conv_transpose2d, transposed_kernel};

use std::sync::Arc;

use lipbound_operators::{Compose, Conv2d, ConvShape, Dense, Diagonal, LinearOperator, Sparse, rounding};

use crate::{Affine, Bias, Layer, MaxPool, ModelError, PoolGeometry, Tensor, TensorData, Unit, Units};

type Built = Result<(Layer, Vec<usize>), ModelError>;

/// Weights of larger or smaller magnitude (and not zero) are refused: the squares of products of a few would overflow
/// or vanish in f64, and with them the bounds (see `MOST_MERGED` in the plan). Every finite f32 is inside.
pub(crate) const MAGNITUDES: std::ops::RangeInclusive<f64> = 1e-45..=1e45;

fn check_magnitudes(name: &str, values: impl IntoIterator<Item = f64>) -> Result<(), ModelError> {
    for (i, value) in values.into_iter().enumerate() {
        if value != 0.0 && !MAGNITUDES.contains(&value.abs()) {
            return Err(ModelError::value(format!(
                "element {i} of {name} is {value:e}; weights must be zero or of a magnitude from 1e-45 to 1e45"
            )));
        }
    }
    Ok(())
}

fn image(input: &[usize]) -> Result<[usize; 3], ModelError> {
    input
        .try_into()
        .map_err(|_| ModelError::shape(format!("needs an input of shape [channels, height, width], got {input:?}")))
}

fn expect_shape(name: &str, tensor: &Tensor, shape: &[usize], why: &str) -> Result<(), ModelError> {
    if tensor.shape() == shape {
        Ok(())
    } else {
        Err(ModelError::shape(format!("{name} has shape {:?}, but {why} needs {shape:?}", tensor.shape())))
    }
}

/// The number of elements of an output, if it can have that many.
fn check_elements(shape: &[usize]) -> Result<usize, ModelError> {
    let elements = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d)).filter(|&n| n > 0 && n < 1 << 31);
    elements.ok_or_else(|| {
        ModelError::shape(format!("an output of shape {shape:?} is not possible: it must have 1 to 2^31 - 1 elements"))
    })
}

fn linear_map(operator: Arc<dyn LinearOperator>) -> Layer {
    Layer::Affine(Affine { operator, bias: None })
}

/// One bias a channel, repeated over `plane` positions.
fn channel_bias(bias: Option<&Tensor>, channels: usize, plane: usize) -> Result<Option<Bias>, ModelError> {
    let Some(bias) = bias else { return Ok(None) };
    expect_shape("bias", bias, &[channels], "one bias for each output channel")?;
    check_magnitudes("bias", bias.to_f64())?;
    let values = (0..channels * plane).map(|i| bias.get(i / plane)).collect();
    Ok(Some(Bias { values, errors: None }))
}

/// Attributes of a convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conv2dOptions {
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Zero padding: top, left, bottom, right.
    pub padding: [usize; 4],
    /// Vertical and horizontal dilation.
    pub dilation: [usize; 2],
    /// Groups.
    pub groups: usize,
}

impl Default for Conv2dOptions {
    fn default() -> Self {
        Self { stride: [1; 2], padding: [0; 4], dilation: [1; 2], groups: 1 }
    }
}

/// A 2-D convolution; `weight` is `[out, in / groups, kernel height, kernel width]`, `bias` is `[out]`.
///
/// # Errors
/// If shapes do not meet or a weight is out of range.
pub fn conv2d(input: &[usize], weight: &Tensor, bias: Option<&Tensor>, options: &Conv2dOptions) -> Built {
    let [in_channels, in_height, in_width] = image(input)?;
    let &[out_channels, per_group, kernel_height, kernel_width] = weight.shape() else {
        return Err(ModelError::shape(format!(
            "weight has shape {:?}, but a 2-D convolution needs [out, in / groups, kernel height, kernel width]",
            weight.shape()
        )));
    };
    if options.groups == 0 || per_group.checked_mul(options.groups) != Some(in_channels) {
        return Err(ModelError::shape(format!(
            "weight has shape {:?} and groups is {}, which needs {} input channels, but the input has shape {input:?}",
            weight.shape(),
            options.groups,
            per_group.saturating_mul(options.groups)
        )));
    }
    let shape = ConvShape {
        in_channels,
        in_height,
        in_width,
        out_channels,
        kernel: [kernel_height, kernel_width],
        stride: options.stride,
        padding: options.padding,
        dilation: options.dilation,
        groups: options.groups,
    };
    shape.validate()?;
    let weights = weight.shared_f64();
    check_magnitudes("weight", weights.iter().copied())?;
    let (height, width) = (shape.out_height(), shape.out_width());
    let bias = channel_bias(bias, out_channels, height * width)?;
    let operator = Arc::new(Conv2d::new(shape, weights)?);
    Ok((Layer::Affine(Affine { operator, bias }), vec![out_channels, height, width]))
}

/// A fully connected layer; `weight` is `[out, in]`, `bias` is `[out]`. The input must be flat.
///
/// # Errors
/// If shapes do not meet or a weight is out of range.
pub fn linear(input: &[usize], weight: &Tensor, bias: Option<&Tensor>) -> Built {
    let &[rows, cols] = weight.shape() else {
        return Err(ModelError::shape(format!(
            "weight has shape {:?}, but a linear layer needs [out, in]",
            weight.shape()
        )));
    };
    if input != [cols] {
        return Err(ModelError::shape(format!(
            "weight has shape {:?}, which needs an input of shape [{cols}], but the input has shape {input:?}{}",
            weight.shape(),
            if input.len() > 1 { " (is a flatten missing?)" } else { "" }
        )));
    }
    if rows == 0 || cols == 0 {
        return Err(ModelError::shape(format!("weight has shape {:?}, but no size may be zero", weight.shape())));
    }
    let bias = channel_bias(bias, rows, 1)?;
    let operator: Arc<dyn LinearOperator> = match weight.data() {
        TensorData::F32(values) => {
            check_magnitudes("weight", values.iter().map(|&v| v.into()))?;
            Arc::new(Dense::new(rows, cols, values.clone()))
        }
        TensorData::F64(values) => {
            check_magnitudes("weight", values.iter().copied())?;
            Arc::new(Dense::new(rows, cols, values.clone()))
        }
    };
    Ok((Layer::Affine(Affine { operator, bias }), vec![rows]))
}

/// A sparse affine layer in compressed rows (CSR).
///
/// # Errors
/// If the arrays are no CSR matrix of the input's size.
pub fn sparse(
    input: &[usize],
    indptr: Vec<usize>,
    indices: Vec<usize>,
    values: &Tensor,
    bias: Option<&Tensor>,
) -> Built {
    let &[cols] = input else {
        return Err(ModelError::shape(format!("needs a flat input, got shape {input:?} (is a flatten missing?)")));
    };
    let values = values.to_f64();
    check_magnitudes("values", values.iter().copied())?;
    let operator = Sparse::new(cols, indptr, indices, values)?;
    let rows = operator.rows();
    if rows == 0 {
        return Err(ModelError::shape("a sparse layer needs a row"));
    }
    let bias = channel_bias(bias, rows, 1)?;
    Ok((Layer::Affine(Affine { operator: Arc::new(operator), bias }), vec![rows]))
}

/// Tensors of a batch normalisation at inference, all `[channels]`.
#[derive(Clone, Copy, Debug)]
pub struct BatchNorm2d<'a> {
    /// Scale; one if absent.
    pub weight: Option<&'a Tensor>,
    /// Shift; zero if absent.
    pub bias: Option<&'a Tensor>,
    /// Mean.
    pub running_mean: &'a Tensor,
    /// Variance, not negative.
    pub running_var: &'a Tensor,
    /// Added to the variance.
    pub eps: f64,
}

/// `(x - mean) / sqrt(var + eps) * weight + bias`, channel by channel.
///
/// # Errors
/// If shapes do not meet, or a variance plus eps is not positive.
pub fn batch_norm2d(input: &[usize], tensors: &BatchNorm2d<'_>) -> Built {
    let [channels, height, width] = image(input)?;
    for (name, tensor) in [
        ("weight", tensors.weight),
        ("bias", tensors.bias),
        ("running_mean", Some(tensors.running_mean)),
        ("running_var", Some(tensors.running_var)),
    ] {
        if let Some(tensor) = tensor {
            expect_shape(name, tensor, &[channels], &format!("an input of shape {input:?}"))?;
            // Quotients and products of these neither vanish nor overflow.
            check_magnitudes(name, tensor.to_f64())?;
        }
    }
    if !(tensors.eps.is_finite() && tensors.eps >= 0.0) {
        return Err(ModelError::value(format!(
            "eps must be a finite number that is not negative, got {}",
            tensors.eps
        )));
    }
    let read = |tensor: Option<&Tensor>, default: f64| tensor.map_or(vec![default; channels], Tensor::to_f64);
    let (weight, bias) = (read(tensors.weight, 1.0), read(tensors.bias, 0.0));
    let (mean, var) = (tensors.running_mean.to_f64(), tensors.running_var.to_f64());
    let mut scale = Vec::with_capacity(channels);
    let mut shift = Vec::with_capacity(channels);
    for c in 0..channels {
        let variance = var[c] + tensors.eps;
        if var[c] < 0.0 || variance <= 0.0 {
            return Err(ModelError::value(format!(
                "running_var[{c}] is {} and eps {}: the variance must not be negative and their sum must be positive",
                var[c], tensors.eps
            )));
        }
        // Roundings of the scale: sum (half of one, after the root), root, quotient.
        let s = weight[c] / variance.sqrt();
        // Roundings of the shift: those of the scale, product, difference.
        let product = s * mean[c];
        scale.push(s);
        shift.push((bias[c] - product, rounding::mul_up(rounding::gamma(6), bias[c].abs() + product.abs())));
    }
    per_channel(input, &scale, 4, &shift, height * width)
}

/// `(x - mean) / std`, channel by channel; one value or one for each channel. The input may have any shape whose first
/// axis is the channels.
///
/// # Errors
/// If the lengths do not fit or a standard deviation is not positive.
pub fn normalize(input: &[usize], mean: &[f64], std: &[f64]) -> Built {
    let channels = *input.first().unwrap_or(&1);
    let plane = input.iter().skip(1).product();
    for (name, values) in [("mean", mean), ("std", std)] {
        if values.len() != 1 && values.len() != channels {
            return Err(ModelError::shape(format!(
                "{name} has {} values, but an input of shape {input:?} needs 1 or {channels}",
                values.len()
            )));
        }
        if let Some(i) = values.iter().position(|v| !v.is_finite()) {
            return Err(ModelError::value(format!("{name}[{i}] is {}, but must be finite", values[i])));
        }
    }
    if let Some(i) = std.iter().position(|&s| s <= 0.0) {
        return Err(ModelError::value(format!("std[{i}] is {}, but must be positive", std[i])));
    }
    let at = |values: &[f64], c: usize| if values.len() == 1 { values[0] } else { values[c] };
    let scale: Vec<f64> = (0..channels).map(|c| 1.0 / at(std, c)).collect();
    let shift: Vec<(f64, f64)> = (0..channels)
        .map(|c| {
            let value = -at(mean, c) / at(std, c);
            (value, rounding::mul_up(rounding::gamma(2), value.abs()))
        })
        .collect();
    per_channel(input, &scale, 1, &shift, plane)
}

/// A scale (with its roundings) and a shift (with its error) for each channel.
fn per_channel(input: &[usize], scale: &[f64], roundings: usize, shift: &[(f64, f64)], plane: usize) -> Built {
    check_magnitudes("the scale", scale.iter().copied())?;
    check_magnitudes("the shift", shift.iter().map(|s| s.0))?;
    let spread = |values: &mut dyn Iterator<Item = f64>| -> Vec<f64> {
        values.flat_map(|v| std::iter::repeat_n(v, plane)).collect()
    };
    let operator = Arc::new(Diagonal::rounded(spread(&mut scale.iter().copied()), roundings));
    let bias = Some(Bias {
        values: spread(&mut shift.iter().map(|s| s.0)).into(),
        errors: Some(spread(&mut shift.iter().map(|s| s.1)).into()),
    });
    Ok((Layer::Affine(Affine { operator, bias }), input.to_vec()))
}

/// Attributes of an average pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AvgPool2d {
    /// Window height and width.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Zero padding: top, left, bottom, right.
    pub padding: [usize; 4],
    /// Whether a last, incomplete window counts.
    pub ceil_mode: bool,
    /// Whether padding counts in the divisor.
    pub count_include_pad: bool,
}

/// An average pool: a convolution with a kernel of ones in each channel, divided by the number of elements. As in
/// PyTorch, what ceil mode adds beyond the padding is never counted.
///
/// # Errors
/// If the window does not fit.
pub fn avg_pool2d(input: &[usize], options: &AvgPool2d) -> Built {
    let [channels, height, width] = image(input)?;
    let geometry = PoolGeometry {
        input: [channels, height, width],
        kernel: options.kernel,
        stride: options.stride,
        padding: options.padding,
        dilation: [1; 2],
        ceil_mode: options.ceil_mode,
    };
    let (oh, ow) = (geometry.out_size(0)?, geometry.out_size(1)?);
    // Ceil mode is padding at the far ends, as much as the last window needs.
    let far = |axis: usize, out: usize| {
        let needed = (out - 1) * options.stride[axis] + options.kernel[axis];
        let size = geometry.input[axis + 1] + options.padding[axis];
        options.padding[axis + 2].max(needed.saturating_sub(size))
    };
    let shape = ConvShape {
        in_channels: channels,
        in_height: height,
        in_width: width,
        out_channels: channels,
        kernel: options.kernel,
        stride: options.stride,
        padding: [options.padding[0], options.padding[1], far(0, oh), far(1, ow)],
        dilation: [1; 2],
        groups: channels,
    };
    shape.validate()?;
    debug_assert_eq!((shape.out_height(), shape.out_width()), (oh, ow));
    let count = |axis: usize, p: usize| {
        let (size, before, after) = (geometry.input[axis + 1], options.padding[axis], options.padding[axis + 2]);
        let start = p * options.stride[axis];
        let end = start + options.kernel[axis];
        if options.count_include_pad {
            end.min(size + before + after) - start
        } else {
            end.min(size + before).saturating_sub(start.max(before))
        }
    };
    let mut inverse = Vec::with_capacity(channels * oh * ow);
    for _ in 0..channels {
        for y in 0..oh {
            for x in 0..ow {
                let elements = count(0, y) * count(1, x);
                if elements == 0 {
                    return Err(ModelError::shape(format!(
                        "the window of output ({y}, {x}) lies wholly in the padding"
                    )));
                }
                inverse.push(1.0 / elements as f64);
            }
        }
    }
    let ones: Arc<[f64]> = vec![1.0; shape.weight_len()].into();
    let operator =
        Arc::new(Compose::new(vec![Arc::new(Conv2d::new(shape, ones)?), Arc::new(Diagonal::rounded(inverse, 1))]));
    Ok((Layer::Affine(Affine { operator, bias: None }), vec![channels, oh, ow]))
}

/// The average over all positions of each channel; output shape `[channels, 1, 1]`.
///
/// # Errors
/// If the input is no image.
pub fn global_avg_pool2d(input: &[usize]) -> Built {
    let [_, height, width] = image(input)?;
    let kernel = [height, width];
    avg_pool2d(input, &AvgPool2d { kernel, stride: [1; 2], padding: [0; 4], ceil_mode: false, count_include_pad: true })
}

/// Attributes of a max pool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MaxPool2dOptions {
    /// Window height and width.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Padding: top, left, bottom, right.
    pub padding: [usize; 4],
    /// Vertical and horizontal dilation.
    pub dilation: [usize; 2],
    /// Whether a last, incomplete window counts.
    pub ceil_mode: bool,
}

/// A max pool.
///
/// # Errors
/// If the window does not fit.
pub fn max_pool2d(input: &[usize], options: &MaxPool2dOptions) -> Built {
    let (pool, shape) = MaxPool::new(&PoolGeometry {
        input: image(input)?,
        kernel: options.kernel,
        stride: options.stride,
        padding: options.padding,
        dilation: options.dilation,
        ceil_mode: options.ceil_mode,
    })?;
    Ok((Layer::MaxPool(Arc::new(pool)), shape.to_vec()))
}

/// The largest element of each channel; output shape `[channels, 1, 1]`.
///
/// # Errors
/// If the input is no image.
pub fn global_max_pool2d(input: &[usize]) -> Built {
    let [_, height, width] = image(input)?;
    let kernel = [height, width];
    let options = MaxPool2dOptions { kernel, stride: [1; 2], padding: [0; 4], dilation: [1; 2], ceil_mode: false };
    max_pool2d(input, &options)
}

/// Leaky rectifiers with trained slopes: one for all elements, or one for each channel, the first axis of the input.
///
/// # Errors
/// If there is another number of slopes, or one is out of range.
pub fn prelu(input: &[usize], weight: &Tensor) -> Built {
    let channels = *input.first().unwrap_or(&1);
    if weight.shape() != [1] && weight.shape() != [channels] {
        return Err(ModelError::shape(format!(
            "weight has shape {:?}, but an input of shape {input:?} needs [1] or [{channels}]",
            weight.shape()
        )));
    }
    let slopes = weight.to_f64();
    check_magnitudes("weight", slopes.iter().copied())?;
    let units: Vec<Unit> = slopes.into_iter().map(|slope| Unit::LeakyRelu { slope }).collect();
    let units = match units[..] {
        [unit] => Units::Same(unit),
        _ => Units::each(units, input.iter().skip(1).product()),
    };
    unit(input, units)
}

/// `|x|`, which is a leaky rectifier of slope -1.
///
/// # Errors
/// None.
pub fn abs(input: &[usize]) -> Built {
    unit(input, Unit::LeakyRelu { slope: -1.0 })
}

/// Element-wise units.
///
/// # Errors
/// If a slope is not finite or out of range, or the ends of a clip are not in order or out of range.
pub fn unit(input: &[usize], units: impl Into<Units>) -> Built {
    let units = units.into();
    units.distinct().iter().try_for_each(|&unit| check_unit(unit))?;
    Ok((Layer::Unit(units), input.to_vec()))
}

fn check_unit(unit: Unit) -> Result<(), ModelError> {
    match unit {
        Unit::Relu => {}
        Unit::LeakyRelu { slope } => {
            if !slope.is_finite() {
                return Err(ModelError::value(format!("negative_slope must be finite, got {slope}")));
            }
            check_magnitudes("negative_slope", [slope])?;
        }
        Unit::Clip { low, high } => {
            // Neither NaN nor an end at the wrong infinity is below anything.
            if low.is_nan() || high.is_nan() || low >= high {
                return Err(ModelError::value(format!("min must be less than max, got min {low} and max {high}")));
            }
            for (name, end) in [("min", low), ("max", high)] {
                if end.is_finite() && end != 0.0 && !MAGNITUDES.contains(&end.abs()) {
                    return Err(ModelError::value(format!(
                        "{name} must be zero, infinite or of a magnitude from 1e-45 to 1e45, got {end:e}"
                    )));
                }
            }
        }
    }
    Ok(())
}

/// All axes in one.
#[must_use]
pub fn flatten(input: &[usize]) -> (Layer, Vec<usize>) {
    (Layer::Identity, vec![input.iter().product()])
}
