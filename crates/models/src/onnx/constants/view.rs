//! Numbers of an array in another order: transposes, slices, broadcasts.

use std::{iter::FusedIterator, sync::Arc};

use lipbound_lipschitz::ModelError;

use crate::onnx::{
    array::{Array, Numbers, elements, filled},
    budget::Budget,
};

/// Places in an array, going through a shape with last axis fastest.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    /// Sizes, strides and indices; axes of one element are left out.
    axes: Vec<(usize, isize, usize)>,
    place: isize,
    left: usize,
}

impl Walk {
    /// All places `offset + sum(index * stride)`.
    pub fn new(shape: &[usize], strides: &[isize], offset: isize) -> Self {
        let axes = shape.iter().zip(strides).filter(|(size, _)| **size != 1).map(|(&n, &s)| (n, s, 0)).collect();
        Self { axes, place: offset, left: shape.iter().product() }
    }
}

impl Iterator for Walk {
    type Item = usize;

    fn next(&mut self) -> Option<usize> {
        self.left = self.left.checked_sub(1)?;
        let place = self.place as usize;
        for (size, stride, index) in self.axes.iter_mut().rev() {
            *index += 1;
            self.place += *stride;
            if *index < *size {
                break;
            }
            self.place -= *stride * *size as isize;
            *index = 0;
        }
        Some(place)
    }
}

impl FusedIterator for Walk {}

/// Strides of an array whose last axis is fastest.
pub(super) fn strides(shape: &[usize]) -> Vec<isize> {
    let mut strides = vec![1isize; shape.len()];
    for k in (1..shape.len()).rev() {
        strides[k - 1] = strides[k] * shape[k] as isize;
    }
    strides
}

/// The numbers at places that `walk` gives for each element of `shape`.
pub(super) fn gathered(
    budget: &mut Budget,
    array: &Array,
    shape: Vec<usize>,
    places: impl Iterator<Item = usize>,
) -> Result<Array, ModelError> {
    let count = elements(&shape)?;
    budget.work(count)?;
    budget.take_elements(count, array.numbers.size())?;
    let numbers = match &array.numbers {
        Numbers::F32(v) => Numbers::F32(picked(v, count, places)),
        Numbers::F64(v) => Numbers::F64(picked(v, count, places)),
        Numbers::I64(v) => Numbers::I64(picked(v, count, places)),
    };
    Ok(Array { shape, numbers })
}

fn picked<T: Copy + Default>(values: &[T], count: usize, places: impl Iterator<Item = usize>) -> Arc<[T]> {
    filled(count, places.map(|i| values[i]))
}

/// The shape that all shapes broadcast to.
pub(super) fn broadcast<'a>(shapes: impl Iterator<Item = &'a [usize]> + Clone) -> Result<Vec<usize>, ModelError> {
    let rank = shapes.clone().map(<[usize]>::len).max().unwrap_or(0);
    let mut result = vec![1; rank];
    for shape in shapes.clone() {
        for (all, &one) in result[rank - shape.len()..].iter_mut().zip(shape) {
            if *all == 1 {
                *all = one;
            } else if one != 1 && one != *all {
                let shapes: Vec<_> = shapes.take(8).collect();
                return Err(ModelError::shape(format!("shapes {shapes:?} do not broadcast")));
            }
        }
    }
    elements(&result)?;
    Ok(result)
}

/// Places of an array broadcast to a shape.
pub(super) fn spread(array: &[usize], shape: &[usize]) -> Walk {
    let own = strides(array);
    let missing = shape.len() - array.len();
    let strides: Vec<isize> =
        (0..shape.len()).map(|k| if k < missing || array[k - missing] == 1 { 0 } else { own[k - missing] }).collect();
    Walk::new(shape, &strides, 0)
}
