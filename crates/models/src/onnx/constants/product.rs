//! Products of constant matrices.

use std::{
    ops::{Add, Mul},
    sync::Arc,
};

use lipbound_lipschitz::ModelError;

use super::{at_most, input, optional, view};
use crate::onnx::{
    Op,
    array::{Array, Numbers, elements, filled},
    budget::Budget,
};

type Folded = Result<Vec<Array>, ModelError>;

pub(super) fn matmul(budget: &mut Budget, _: &mut Op, inputs: &[Option<Array>]) -> Folded {
    at_most(inputs, 2)?;
    let (a, b) = (input(inputs, 0, "A")?, input(inputs, 1, "B")?);
    if a.shape.is_empty() || b.shape.is_empty() {
        return Err(ModelError::shape("a scalar is no matrix"));
    }
    // A vector is a row on the left and a column on the right, and its axis goes again.
    let (left_vector, right_vector) = (a.shape.len() == 1, b.shape.len() == 1);
    let left = if left_vector { vec![1, a.shape[0]] } else { a.shape.clone() };
    let right = if right_vector { vec![b.shape[0], 1] } else { b.shape.clone() };
    let (left_batch, &[rows, inner]) = left.split_last_chunk().expect("two axes");
    let (right_batch, &[inner_b, cols]) = right.split_last_chunk().expect("two axes");
    if inner != inner_b {
        return Err(ModelError::shape(format!("shapes {:?} and {:?} do not multiply", a.shape, b.shape)));
    }
    let batch = view::broadcast([left_batch, right_batch].into_iter())?;
    let mut shape = batch.clone();
    shape.extend((!left_vector).then_some(rows));
    shape.extend((!right_vector).then_some(cols));
    let count = elements(&shape)?;
    let lefts = view::spread(left_batch, &batch).map(|i| i * rows * inner);
    let rights = view::spread(right_batch, &batch).map(|i| i * inner * cols);
    // Of each element of the result: where its row and its column begin.
    let places =
        lefts.zip(rights).flat_map(move |(a, b)| (0..rows * cols).map(move |i| (a + i / cols * inner, b + i % cols)));
    let numbers = products(budget, a, b, count, inner, [1, cols], places)?;
    Ok(vec![Array { shape, numbers }])
}

pub(super) fn gemm(budget: &mut Budget, op: &mut Op, inputs: &[Option<Array>]) -> Folded {
    at_most(inputs, 3)?;
    let (a, b) = (input(inputs, 0, "A")?, input(inputs, 1, "B")?);
    let (alpha, beta) = (op.attributes.float("alpha", 1.0)?, op.attributes.float("beta", 1.0)?);
    let [a_turned, b_turned] = ["transA", "transB"].map(|name| op.attributes.int(name, 0));
    let (&[a0, a1], &[b0, b1]) = (&a.shape[..], &b.shape[..]) else {
        return Err(ModelError::shape(format!("shapes {:?} and {:?} are not those of two matrices", a.shape, b.shape)));
    };
    let (rows, inner, row_stride, a_stride) = if a_turned? != 0 { (a1, a0, 1, a1) } else { (a0, a1, a1, 1) };
    let (inner_b, cols, col_stride, b_stride) = if b_turned? != 0 { (b1, b0, b1, 1) } else { (b0, b1, 1, b1) };
    if inner != inner_b {
        return Err(ModelError::shape(format!("shapes {:?} and {:?} do not multiply", a.shape, b.shape)));
    }
    let shape = vec![rows, cols];
    let count = elements(&shape)?;
    let places = (0..count).map(|i| (i / cols * row_stride, i % cols * col_stride));
    let product = products(budget, a, b, count, inner, [a_stride, b_stride], places)?;
    let added = optional(inputs, 2);
    if let Some(c) = added
        && view::broadcast([&c.shape[..], &shape[..]].into_iter()).ok().as_ref() != Some(&shape)
    {
        return Err(ModelError::shape(format!("shape {:?} of C does not broadcast to {shape:?}", c.shape)));
    }
    budget.work(2 * count)?;
    budget.take_elements(count, product.size())?;
    let numbers = match (&product, added.map(|c| (&c.numbers, view::spread(&c.shape, &shape)))) {
        (Numbers::F32(p), None) => Numbers::F32(filled(count, p.iter().map(|p| alpha * p))),
        (Numbers::F32(p), Some((Numbers::F32(c), walk))) => {
            Numbers::F32(filled(count, p.iter().zip(walk).map(|(p, i)| alpha * p + beta * c[i])))
        }
        (Numbers::F64(p), None) => Numbers::F64(filled(count, p.iter().map(|p| f64::from(alpha) * p))),
        (Numbers::F64(p), Some((Numbers::F64(c), walk))) => {
            Numbers::F64(filled(count, p.iter().zip(walk).map(|(p, i)| f64::from(alpha) * p + f64::from(beta) * c[i])))
        }
        _ => return Err(ModelError::model("needs floating-point matrices of one type")),
    };
    budget.give(count * product.size());
    Ok(vec![Array { shape, numbers }])
}

/// Scalar products of `inner` numbers with these strides, which begin at each of the places.
fn products(
    budget: &mut Budget,
    a: &Array,
    b: &Array,
    count: usize,
    inner: usize,
    strides: [usize; 2],
    places: impl Iterator<Item = (usize, usize)>,
) -> Result<Numbers, ModelError> {
    budget.work(count.saturating_mul(inner.max(1)))?;
    budget.take_elements(count, a.numbers.size())?;
    Ok(match (&a.numbers, &b.numbers) {
        (Numbers::F32(a), Numbers::F32(b)) => Numbers::F32(dots(a, b, count, inner, strides, places)),
        (Numbers::F64(a), Numbers::F64(b)) => Numbers::F64(dots(a, b, count, inner, strides, places)),
        _ => return Err(ModelError::model("needs floating-point matrices of one type")),
    })
}

fn dots<T: Copy + Default + Mul<Output = T> + Add<Output = T>>(
    a: &[T],
    b: &[T],
    count: usize,
    inner: usize,
    [a_stride, b_stride]: [usize; 2],
    places: impl Iterator<Item = (usize, usize)>,
) -> Arc<[T]> {
    filled(
        count,
        places.map(|(i, j)| (0..inner).fold(T::default(), |sum, k| sum + a[i + k * a_stride] * b[j + k * b_stride])),
    )
}
