//! The geometry of a two-dimensional convolution.

use std::fmt;

/// Geometry of a 2-D convolution (cross-correlation, as every deep-learning framework defines it) of one example.
///
/// Tensors are channel-major (`[channels, height, width]`), weights `[out, in / groups, kernel height, kernel width]`.
/// Output element `(o, y, x)` is
/// `sum over c, i, j of w[o, c, i, j] * in[g(o) + c, y*stride - top + i*dilation, x*stride - left + j*dilation]`,
/// where reads outside the input are zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ConvShape {
    /// Input channels.
    pub in_channels: usize,
    /// Input height.
    pub in_height: usize,
    /// Input width.
    pub in_width: usize,
    /// Output channels.
    pub out_channels: usize,
    /// Kernel height and width.
    pub kernel: [usize; 2],
    /// Vertical and horizontal stride.
    pub stride: [usize; 2],
    /// Zero padding: top, left, bottom, right.
    pub padding: [usize; 4],
    /// Vertical and horizontal dilation.
    pub dilation: [usize; 2],
    /// Number of groups; divides both channel counts.
    pub groups: usize,
}

/// Why a geometry is not a convolution.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShapeError(String);

impl fmt::Display for ShapeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ShapeError {}

/// Largest number of elements of one tensor: far above any real layer, far below overflow.
const MAX_ELEMENTS: usize = 1 << 31;

impl ConvShape {
    /// Checks that the geometry is meaningful: nothing is zero, groups divide the channels, the (dilated) kernel fits
    /// into the padded input, and no tensor has 2^31 elements or more.
    ///
    /// # Errors
    /// A [`ShapeError`] that names the field, its value and what is allowed.
    pub fn validate(&self) -> Result<(), ShapeError> {
        let fail = |text: String| Err(ShapeError(text));
        for (name, value) in [
            ("in_channels", self.in_channels),
            ("in_height", self.in_height),
            ("in_width", self.in_width),
            ("out_channels", self.out_channels),
            ("kernel height", self.kernel[0]),
            ("kernel width", self.kernel[1]),
            ("vertical stride", self.stride[0]),
            ("horizontal stride", self.stride[1]),
            ("vertical dilation", self.dilation[0]),
            ("horizontal dilation", self.dilation[1]),
            ("groups", self.groups),
        ] {
            if value == 0 || value >= MAX_ELEMENTS {
                return fail(format!("{name} must be at least 1 and below 2^31, got {value}"));
            }
        }
        if self.padding.iter().any(|&p| p >= MAX_ELEMENTS) {
            return fail(format!("padding must be below 2^31, got {:?}", self.padding));
        }
        if !self.in_channels.is_multiple_of(self.groups) || !self.out_channels.is_multiple_of(self.groups) {
            return fail(format!(
                "groups ({}) must divide the input channels ({}) and the output channels ({})",
                self.groups, self.in_channels, self.out_channels
            ));
        }
        for (axis, size, before, after, k) in [
            ("height", self.in_height, self.padding[0], self.padding[2], 0),
            ("width", self.in_width, self.padding[1], self.padding[3], 1),
        ] {
            let reach = (self.kernel[k] - 1).checked_mul(self.dilation[k]).map(|r| r + 1);
            let padded = size + before + after;
            if reach.is_none_or(|r| r > padded) {
                return fail(format!(
                    "the kernel {} of {} with dilation {} does not fit into the padded input {axis} {padded}",
                    axis, self.kernel[k], self.dilation[k]
                ));
            }
        }
        for (name, factors) in [
            ("input", vec![self.in_channels, self.in_height, self.in_width]),
            ("output", vec![self.out_channels, self.out_height(), self.out_width()]),
            ("weight", vec![self.out_channels, self.in_channels / self.groups, self.kernel[0], self.kernel[1]]),
        ] {
            let elements = factors.iter().try_fold(1usize, |product, &f| product.checked_mul(f));
            if elements.is_none_or(|n| n >= MAX_ELEMENTS) {
                return fail(format!("the {name} {factors:?} has 2^31 elements or more"));
            }
        }
        Ok(())
    }

    /// Output height.
    #[must_use]
    pub fn out_height(&self) -> usize {
        let reach = (self.kernel[0] - 1) * self.dilation[0] + 1;
        (self.in_height + self.padding[0] + self.padding[2] - reach) / self.stride[0] + 1
    }

    /// Output width.
    #[must_use]
    pub fn out_width(&self) -> usize {
        let reach = (self.kernel[1] - 1) * self.dilation[1] + 1;
        (self.in_width + self.padding[1] + self.padding[3] - reach) / self.stride[1] + 1
    }

    /// Elements of the input tensor.
    #[must_use]
    pub fn input_len(&self) -> usize {
        self.in_channels * self.in_height * self.in_width
    }

    /// Elements of the output tensor.
    #[must_use]
    pub fn output_len(&self) -> usize {
        self.out_channels * self.out_height() * self.out_width()
    }

    /// Elements of the weight tensor.
    #[must_use]
    pub fn weight_len(&self) -> usize {
        self.out_channels * self.fan_in()
    }

    /// Input elements that one output element reads: `in / groups * kernel height * kernel width`.
    #[must_use]
    pub fn fan_in(&self) -> usize {
        self.in_channels / self.groups * self.kernel[0] * self.kernel[1]
    }

    /// Output elements that read one input element, at most.
    #[must_use]
    pub fn fan_out(&self) -> usize {
        self.out_channels / self.groups * self.kernel[0] * self.kernel[1]
    }

    /// Multiply-adds of one application.
    #[must_use]
    pub fn multiply_adds(&self) -> usize {
        self.output_len() * self.fan_in()
    }

    /// The range of output positions along an axis (0 vertical, 1 horizontal) whose tap `tap` lies inside the input:
    /// all `p` with `0 <= p * stride + tap * dilation - padding < size`.
    #[must_use]
    pub fn valid_outputs(&self, axis: usize, tap: usize) -> std::ops::Range<usize> {
        let (size, out) =
            if axis == 0 { (self.in_height, self.out_height()) } else { (self.in_width, self.out_width()) };
        let (stride, offset, before) = (self.stride[axis], tap * self.dilation[axis], self.padding[axis]);
        let first = before.saturating_sub(offset).div_ceil(stride);
        let last = (size + before).saturating_sub(offset).div_ceil(stride);
        first.min(out)..last.min(out).max(first.min(out))
    }

    /// The input position that output position `p` reads through `tap`; meaningful inside [`Self::valid_outputs`].
    #[must_use]
    pub fn input_position(&self, axis: usize, p: usize, tap: usize) -> usize {
        p * self.stride[axis] + tap * self.dilation[axis] - self.padding[axis]
    }
}
