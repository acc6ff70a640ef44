//! Layers that put elements elsewhere: borders, other shapes and orders, repetition.

use std::sync::Arc;

use lipbound_operators::Selection;

use super::{Built, check_elements, check_magnitudes, image, linear_map};
use crate::{Affine, Bias, Layer, ModelError};

/// Places around an image; `padding` is top, left, bottom, right, and `value` what stands there.
///
/// # Errors
/// If the input is no image, the result is too large or the value out of range.
pub fn pad2d(input: &[usize], padding: [usize; 4], value: f64) -> Built {
    let [channels, height, width] = image(input)?;
    if !value.is_finite() {
        return Err(ModelError::value(format!("value must be finite, got {value}")));
    }
    check_magnitudes("value", [value])?;
    let [top, left, bottom, right] = padding;
    let padded = |size: usize, before: usize, after: usize| size.saturating_add(before).saturating_add(after);
    let shape = vec![channels, padded(height, top, bottom), padded(width, left, right)];
    let elements = check_elements(&shape)?;
    let mut index = Vec::with_capacity(elements);
    for c in 0..channels {
        for y in 0..shape[1] {
            let row = y.checked_sub(top).filter(|&y| y < height);
            for x in 0..shape[2] {
                let column = x.checked_sub(left).filter(|&x| x < width);
                index.push(match (row, column) {
                    (Some(y), Some(x)) => ((c * height + y) * width + x) as u32,
                    _ => Selection::ZERO,
                });
            }
        }
    }
    let bias = (value != 0.0).then(|| Bias {
        values: index.iter().map(|&j| if j == Selection::ZERO { value } else { 0.0 }).collect(),
        errors: None,
    });
    let operator = Arc::new(Selection::new(channels * height * width, index));
    Ok((Layer::Affine(Affine { operator, bias }), shape))
}

/// The same elements, in row-major order, as another shape.
///
/// # Errors
/// If the shape has another number of elements.
pub fn reshape(input: &[usize], shape: &[usize]) -> Built {
    let elements: usize = input.iter().product();
    let asked = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    if shape.is_empty() || asked != Some(elements) {
        return Err(ModelError::shape(format!(
            "shape must have the {elements} elements of the input of shape {input:?}, got {shape:?}"
        )));
    }
    Ok((Layer::Identity, shape.to_vec()))
}

/// The axes in another order: axis `k` of the output is axis `axes[k]` of the input.
///
/// # Errors
/// If `axes` does not name each axis of the input once.
pub fn permute(input: &[usize], axes: &[usize]) -> Built {
    let mut sorted = axes.to_vec();
    sorted.sort_unstable();
    if !sorted.into_iter().eq(0..input.len()) {
        return Err(ModelError::shape(format!(
            "axes must name each of the {} axes of the input of shape {input:?} once, from 0, got {axes:?}",
            input.len()
        )));
    }
    let mut strides = vec![1; input.len()];
    for k in (1..input.len()).rev() {
        strides[k - 1] = strides[k] * input[k];
    }
    let shape: Vec<usize> = axes.iter().map(|&axis| input[axis]).collect();
    // Axis after axis, the places of all elements so far.
    let mut index = vec![0u32];
    for &axis in axes {
        index = index
            .into_iter()
            .flat_map(|start| (0..input[axis]).map(move |i| (start, i)))
            .map(|(start, i)| start + (i * strides[axis]) as u32)
            .collect();
    }
    Ok((linear_map(Arc::new(Selection::new(index.len(), index))), shape))
}

/// Every pixel `scale` times, vertically and horizontally: nearest-neighbour enlargement.
///
/// # Errors
/// If the input is no image, a scale is zero or the result too large.
pub fn upsample2d(input: &[usize], scale: [usize; 2]) -> Built {
    let [channels, height, width] = image(input)?;
    if scale.contains(&0) {
        return Err(ModelError::model(format!("scale must be at least 1 in both directions, got {scale:?}")));
    }
    let shape = vec![channels, height.saturating_mul(scale[0]), width.saturating_mul(scale[1])];
    let mut index = Vec::with_capacity(check_elements(&shape)?);
    for c in 0..channels {
        for y in 0..shape[1] {
            let row = (c * height + y / scale[0]) * width;
            index.extend((0..shape[2]).map(|x| (row + x / scale[1]) as u32));
        }
    }
    Ok((linear_map(Arc::new(Selection::new(channels * height * width, index))), shape))
}
