//! Transposed convolutions, as convolutions of an image with zeros put in.

use std::{ops::Range, sync::Arc};

use lipbound_operators::{Compose, Conv2d, ConvShape, LinearOperator, Selection};

use super::{Built, channel_bias, check_elements, check_magnitudes, image};
use crate::{Affine, Layer, ModelError, Tensor};

/// Attributes of a transposed convolution.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConvTranspose2dOptions {
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// What is cut off the output: top, left, bottom, right.
    pub padding: [usize; 4],
    /// What is added to the output at the bottom and on the right.
    pub output_padding: [usize; 2],
    /// Vertical and horizontal dilation.
    pub dilation: [usize; 2],
    /// Groups.
    pub groups: usize,
}

impl Default for ConvTranspose2dOptions {
    fn default() -> Self {
        Self { stride: [1; 2], padding: [0; 4], output_padding: [0; 2], dilation: [1; 2], groups: 1 }
    }
}

/// One direction of it: what the convolution with stride one sees of an image whose pixels are `stride` apart.
struct Axis {
    size: usize,
    stride: i128,
    /// Zeros before and after that the convolution pads by itself.
    padding: [usize; 2],
    /// The places that it sees; the first pixel is at 0.
    places: Range<i128>,
    out: usize,
}

impl Axis {
    fn new(axis: usize, size: usize, kernel: usize, options: &ConvTranspose2dOptions) -> Result<Self, ModelError> {
        let name = ["height", "width"][axis];
        let (stride, dilation) = (options.stride[axis], options.dilation[axis]);
        for (what, value) in [("stride", stride), ("dilation", dilation), ("kernel", kernel)] {
            if value == 0 {
                return Err(ModelError::shape(format!("{what} {name} must be at least 1, got 0")));
            }
        }
        let extra = options.output_padding[axis];
        if extra >= stride.max(dilation) {
            return Err(ModelError::shape(format!(
                "output_padding must be less than the stride or the dilation, which are {stride} and {dilation}, got {extra} for the {name}"
            )));
        }
        // Sizes come from files: no product of them may overflow.
        let wide = |n: usize| n as i128;
        let reach = wide(dilation) * (wide(kernel) - 1);
        let spread = (wide(size) - 1) * wide(stride) + 1;
        let before = reach - wide(options.padding[axis]);
        let after = reach - wide(options.padding[axis + 2]) + wide(extra);
        let out = spread + before + after - reach;
        if !(1..1 << 31).contains(&out) || spread + reach >= 1 << 31 {
            return Err(ModelError::shape(format!(
                "the output would have a {name} of {out}, but it must be from 1 to 2^31 - 1"
            )));
        }
        // More cut off than the kernel reaches: what the convolution sees is cut as well.
        let (padding, places) = if before >= 0 && after >= 0 {
            ([before as usize, after as usize], 0..spread)
        } else {
            ([0, 0], -before..spread + after)
        };
        Ok(Self { size, stride: wide(stride), padding, places, out: out as usize })
    }

    fn len(&self) -> usize {
        (self.places.end - self.places.start) as usize
    }

    /// The pixel at each place, if there is one.
    fn pixels(&self) -> impl Iterator<Item = Option<usize>> {
        self.places.clone().map(|at| {
            let pixel = (at % self.stride == 0).then_some(at / self.stride)?;
            usize::try_from(pixel).ok().filter(|&pixel| pixel < self.size)
        })
    }

    /// Whether the convolution sees the pixels and nothing else.
    fn is_plain(&self) -> bool {
        self.pixels().eq((0..self.size).map(Some))
    }
}

/// A transposed 2-D convolution; `weight` is `[in, out / groups, kernel height, kernel width]`, `bias` is `[out]`.
///
/// # Errors
/// If shapes do not meet, an attribute is impossible or a weight is out of range.
pub fn conv_transpose2d(
    input: &[usize],
    weight: &Tensor,
    bias: Option<&Tensor>,
    options: &ConvTranspose2dOptions,
) -> Built {
    let [channels, height, width] = image(input)?;
    let groups = options.groups;
    let &[in_channels, per_group, kernel_height, kernel_width] = weight.shape() else {
        return Err(ModelError::shape(format!(
            "weight has shape {:?}, but a transposed 2-D convolution needs [in, out / groups, kernel height, kernel width]",
            weight.shape()
        )));
    };
    if in_channels != channels || groups == 0 || !channels.is_multiple_of(groups) {
        return Err(ModelError::shape(format!(
            "weight has shape {:?} and groups is {groups}, which needs {in_channels} input channels in equal groups, but the input has shape {input:?}",
            weight.shape()
        )));
    }
    let vertical = Axis::new(0, height, kernel_height, options)?;
    let horizontal = Axis::new(1, width, kernel_width, options)?;
    let out_channels = per_group.saturating_mul(groups);
    let shape = vec![out_channels, vertical.out, horizontal.out];
    check_elements(&shape)?;
    let spread = check_elements(&[channels, vertical.len(), horizontal.len()])?;
    let conv = ConvShape {
        in_channels,
        in_height: vertical.len(),
        in_width: horizontal.len(),
        out_channels,
        kernel: [kernel_height, kernel_width],
        stride: [1; 2],
        padding: [vertical.padding[0], horizontal.padding[0], vertical.padding[1], horizontal.padding[1]],
        dilation: options.dilation,
        groups,
    };
    conv.validate()?;
    debug_assert_eq!([conv.out_height(), conv.out_width()], [vertical.out, horizontal.out]);
    let weights = transposed_kernel(weight, groups);
    check_magnitudes("weight", weights.iter().copied())?;
    let bias = channel_bias(bias, out_channels, vertical.out * horizontal.out)?;
    let convolution = Conv2d::new(conv, weights)?;
    let operator: Arc<dyn LinearOperator> = if vertical.is_plain() && horizontal.is_plain() {
        Arc::new(convolution)
    } else {
        let mut index = Vec::with_capacity(spread);
        for c in 0..channels {
            for y in vertical.pixels() {
                index.extend(horizontal.pixels().map(|x| match (y, x) {
                    (Some(y), Some(x)) => ((c * height + y) * width + x) as u32,
                    _ => Selection::ZERO,
                }));
            }
        }
        Arc::new(Compose::new(vec![Arc::new(Selection::new(channels * height * width, index)), Arc::new(convolution)]))
    };
    Ok((Layer::Affine(Affine { operator, bias }), shape))
}

/// Weights of the convolution that a transposed one is: `[out, in / groups, ..]` for `[in, out / groups, ..]`, and each
/// kernel turned half way round.
///
/// # Panics
/// If the weight does not have four axes, or its inputs are not in as many groups.
#[must_use]
pub fn transposed_kernel(weight: &Tensor, groups: usize) -> Arc<[f64]> {
    let &[inputs, outputs, height, width] = weight.shape() else { panic!("kernels have four axes") };
    assert!(inputs.is_multiple_of(groups), "inputs are in equal groups");
    let (inputs, taps) = (inputs / groups, height * width);
    (0..weight.len())
        .map(|k| {
            let (kernel, tap) = (k / taps, k % taps);
            let (out, input) = (kernel / inputs, kernel % inputs);
            let (group, out) = (out / outputs, out % outputs);
            weight.get((((group * inputs + input) * outputs + out) * taps) + taps - 1 - tap)
        })
        .collect()
}
