//! Layers that bring branches together. Some are a few nodes behind each other: the first reads the branches, each of the
//! others the one before it.

use std::sync::Arc;

use lipbound_operators::{Diagonal, Selection};

use super::{check_elements, linear_map};
use crate::{Layer, MaxPool, ModelError};

/// Nodes behind each other, each with its output shape.
pub type Parts = Vec<(Layer, Vec<usize>)>;

/// Two branches at least.
fn several(inputs: &[&[usize]]) -> Result<(), ModelError> {
    if inputs.len() < 2 {
        return Err(ModelError::model(format!("needs two or more inputs, got {}", inputs.len())));
    }
    Ok(())
}

/// The shape that all branches have.
fn common_shape<'a>(inputs: &[&'a [usize]]) -> Result<&'a [usize], ModelError> {
    several(inputs)?;
    if let Some(i) = inputs.iter().position(|shape| *shape != inputs[0]) {
        return Err(ModelError::shape(format!(
            "needs inputs of equal shape, but the first has shape {:?} and input {i} (from 0) {:?}",
            inputs[0], inputs[i]
        )));
    }
    Ok(inputs[0])
}

/// The sum of branches of equal shape.
///
/// # Errors
/// If there are fewer than two, or their shapes differ.
pub fn add(inputs: &[&[usize]]) -> Result<Parts, ModelError> {
    Ok(vec![(Layer::Add, common_shape(inputs)?.to_vec())])
}

/// Branches behind each other along an axis; 0 is that of the channels.
///
/// # Errors
/// If there are fewer than two, there is no such axis, or their shapes differ elsewhere.
pub fn concat(inputs: &[&[usize]], axis: usize) -> Result<Parts, ModelError> {
    several(inputs)?;
    let first = inputs[0];
    if axis >= first.len() {
        return Err(ModelError::shape(format!(
            "axis must be from 0 to {} for inputs of shape {first:?}, got {axis}",
            first.len() - 1
        )));
    }
    for (i, shape) in inputs.iter().enumerate() {
        let meets = shape.len() == first.len() && (0..first.len()).all(|k| k == axis || shape[k] == first[k]);
        if !meets {
            return Err(ModelError::shape(format!(
                "needs inputs whose shapes differ along axis {axis} only, but the first has shape {first:?} and input {i} (from 0) {shape:?}"
            )));
        }
    }
    let mut shape = first.to_vec();
    shape[axis] = inputs.iter().map(|shape| shape[axis]).sum();
    let elements = check_elements(&shape)?;
    let outer: usize = first[..axis].iter().product();
    if outer == 1 {
        return Ok(vec![(Layer::Concat, shape)]);
    }
    // One branch behind the other is another order of the same elements.
    let blocks: Vec<usize> = inputs.iter().map(|shape| shape[axis..].iter().product()).collect();
    let mut index = Vec::with_capacity(elements);
    for o in 0..outer {
        let mut start = 0;
        for block in &blocks {
            index.extend((start + o * block..start + (o + 1) * block).map(|j| j as u32));
            start += outer * block;
        }
    }
    let order = linear_map(Arc::new(Selection::new(elements, index)));
    Ok(vec![(Layer::Concat, vec![elements]), (order, shape)])
}

/// The largest element of branches of equal shape, place by place.
///
/// # Errors
/// If there are fewer than two, or their shapes differ.
pub fn maximum(inputs: &[&[usize]]) -> Result<Parts, ModelError> {
    let shape = common_shape(inputs)?.to_vec();
    let (concat, pool) = (together(inputs)?, across(inputs)?);
    Ok(vec![concat, (pool, shape)])
}

/// The smallest element: the negative of the largest negative.
///
/// # Errors
/// As [`maximum`].
pub fn minimum(inputs: &[&[usize]]) -> Result<Parts, ModelError> {
    let shape = common_shape(inputs)?.to_vec();
    let (concat, pool) = (together(inputs)?, across(inputs)?);
    let negative = |elements: usize| linear_map(Arc::new(Diagonal::new(vec![-1.0; elements])));
    let (all, one) = (concat.1[0], shape.iter().product());
    Ok(vec![concat, (negative(all), vec![all]), (pool, shape.clone()), (negative(one), shape)])
}

fn together(inputs: &[&[usize]]) -> Result<(Layer, Vec<usize>), ModelError> {
    let elements: usize = inputs[0].iter().product();
    let all = check_elements(&[inputs.len(), elements])?;
    Ok((Layer::Concat, vec![all]))
}

/// A window over what stands at the same place of each of the branches, which lie behind each other.
fn across(inputs: &[&[usize]]) -> Result<Layer, ModelError> {
    Ok(Layer::MaxPool(Arc::new(MaxPool::across(inputs.len(), inputs[0].iter().product())?)))
}
