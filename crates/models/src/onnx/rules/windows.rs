//! Windows that slide over images: what convolutions and pools share.

use lipbound_lipschitz::ModelError;

use super::{
    super::{Flow, Op},
    build::{elements, size},
};

/// How padding is chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AutoPad {
    /// As given.
    Explicit,
    /// None.
    Valid,
    /// As much as the output size needs; an odd one at the end.
    SameUpper,
    /// As much as the output size needs; an odd one at the beginning.
    SameLower,
}

/// An image: one example of `[channels, height, width]`; a signal is an image of height one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Image {
    pub channels: usize,
    pub size: [usize; 2],
    /// 1 or 2.
    pub dimensions: usize,
}

impl Image {
    /// The flow as an image.
    pub fn of(flow: &Flow) -> Result<Self, ModelError> {
        let shape = &flow.shape;
        let (channels, size) = match shape[..] {
            [_, c, w] => (c, [1, w]),
            [_, c, h, w] => (c, [h, w]),
            [_, _, _, _, _] => {
                return Err(ModelError::shape(format!(
                    "the input has shape {shape:?}; three-dimensional windows are not supported"
                )));
            }
            _ => {
                return Err(ModelError::shape(format!(
                    "needs an input of shape [1, channels, width] or [1, channels, height, width], got {shape:?}"
                )));
            }
        };
        single(flow)?;
        elements(shape)?;
        Ok(Self { channels, size, dimensions: shape.len() - 2 })
    }

    pub fn shape(&self) -> [usize; 3] {
        [self.channels, self.size[0], self.size[1]]
    }

    /// The ONNX shape of an image of as many dimensions.
    pub fn full(&self, channels: usize, size: [usize; 2]) -> Vec<usize> {
        let mut shape = vec![1, channels];
        shape.extend(&size[2 - self.dimensions..]);
        shape
    }
}

/// Refuses a batch of several examples.
pub(super) fn single(flow: &Flow) -> Result<(), ModelError> {
    match flow.shape.first() {
        None | Some(1) => Ok(()),
        Some(batch) => Err(ModelError::shape(format!(
            "the input has shape {:?}, a batch of {batch}, but one example is bounded at a time",
            flow.shape
        ))),
    }
}

/// A window with its stride, dilation and padding.
#[derive(Clone, Copy, Debug)]
pub(super) struct Window {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    pub dilation: [usize; 2],
    /// Top, left, bottom, right.
    pub padding: [usize; 4],
    pub auto: AutoPad,
}

/// A list attribute of one number a dimension, for both dimensions of an image.
pub(super) fn pair(
    op: &mut Op,
    name: &str,
    dimensions: usize,
    least: i64,
    default: usize,
) -> Result<Option<[usize; 2]>, ModelError> {
    let Some(list) = op.attributes.ints(name)? else { return Ok(None) };
    if list.len() != dimensions {
        return Err(ModelError::model(format!("{name} must have {dimensions} numbers, got {list:?}")));
    }
    let mut pair = [default; 2];
    for (to, &value) in pair[2 - dimensions..].iter_mut().zip(&list) {
        *to = size(name, value, least)?;
    }
    Ok(Some(pair))
}

impl Window {
    /// Takes the attributes, with padding as given. `kernel` is that of the weight, where there is one.
    pub fn take(op: &mut Op, dimensions: usize, kernel: Option<[usize; 2]>) -> Result<Self, ModelError> {
        let auto = match op.attributes.string("auto_pad", "NOTSET")?.as_str() {
            "NOTSET" | "" => AutoPad::Explicit,
            "VALID" => AutoPad::Valid,
            "SAME_UPPER" => AutoPad::SameUpper,
            "SAME_LOWER" => AutoPad::SameLower,
            other => {
                return Err(ModelError::model(format!(
                    "auto_pad must be NOTSET, VALID, SAME_UPPER or SAME_LOWER, got '{other}'"
                )));
            }
        };
        let given = pair(op, "kernel_shape", dimensions, 1, 1)?;
        let kernel = match (kernel, given) {
            (Some(kernel), Some(given)) if kernel != given => {
                return Err(ModelError::shape(format!("kernel_shape is {given:?}, but the weight has {kernel:?}")));
            }
            (None, None) => return Err(ModelError::model("attribute 'kernel_shape' is missing")),
            (Some(kernel), _) | (None, Some(kernel)) => kernel,
        };
        let stride = pair(op, "strides", dimensions, 1, 1)?.unwrap_or([1; 2]);
        let dilation = pair(op, "dilations", dimensions, 1, 1)?.unwrap_or([1; 2]);
        let mut padding = [0; 4];
        if let Some(list) = op.attributes.ints("pads")? {
            if list.len() != 2 * dimensions {
                return Err(ModelError::model(format!("pads must have {} numbers, got {list:?}", 2 * dimensions)));
            }
            let both = padding.chunks_exact_mut(2).flat_map(|half| &mut half[2 - dimensions..]);
            for (to, &value) in both.zip(&list) {
                *to = size("pads", value, 0)?;
            }
            if auto != AutoPad::Explicit && padding != [0; 4] {
                return Err(ModelError::model("pads and auto_pad are both given, but only one can hold"));
            }
        }
        Ok(Self { kernel, stride, dilation, padding, auto })
    }

    /// How far the dilated kernel reaches along an axis.
    pub fn reach(&self, axis: usize) -> Result<usize, ModelError> {
        (self.kernel[axis] - 1)
            .checked_mul(self.dilation[axis])
            .map(|reach| reach + 1)
            .filter(|&reach| reach < 1 << 31)
            .ok_or_else(|| ModelError::shape("the dilated kernel reaches over 2^31 elements"))
    }

    /// Chooses the padding that `auto_pad` asks for over an input of this size.
    pub fn resolve(&mut self, input: [usize; 2]) -> Result<(), ModelError> {
        if !matches!(self.auto, AutoPad::SameUpper | AutoPad::SameLower) {
            return Ok(());
        }
        for (axis, &size) in input.iter().enumerate() {
            let out = size.div_ceil(self.stride[axis]);
            let total = ((out - 1) * self.stride[axis] + self.reach(axis)?).saturating_sub(size);
            let (less, more) = (total / 2, total - total / 2);
            let (before, after) = if self.auto == AutoPad::SameUpper { (less, more) } else { (more, less) };
            (self.padding[axis], self.padding[axis + 2]) = (before, after);
        }
        Ok(())
    }
}
