//! Reductions over axes.

use std::sync::Arc;

use lipbound_lipschitz::{Layer, MaxPool, ModelError};
use lipbound_operators::{Conv2d, ConvShape};

use super::{
    super::{Array, Flow, Importer, Op, Value},
    build::{Factors, Outputs, arity, axes, elements, flow, one, only_output, optional_constant, strides},
};

/// What is made of the elements along the axes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reduction {
    Sum,
    Mean,
    Max,
    Min,
}

/// Reduces the axes marked in `over`; `shape` is what is left, with or without them.
pub(super) fn reduced(
    importer: &mut Importer,
    op: &Op,
    input: &Flow,
    over: &[bool],
    shape: Vec<usize>,
    kind: Reduction,
) -> Result<Flow, ModelError> {
    let count = elements(&input.shape)?;
    let kept = elements(&shape)?;
    if kept == count {
        return importer.reshaped(op, input, shape);
    }
    match kind {
        Reduction::Max => largest(importer, op, input, over, shape),
        Reduction::Min => {
            let negative = importer.times(op, input, -1.0)?;
            let result = largest(importer, op, &negative, over, shape)?;
            importer.times(op, &result, -1.0)
        }
        Reduction::Sum | Reduction::Mean => {
            let mut factors = summing(importer, input, over, kept)?;
            if kind == Reduction::Mean {
                factors.push(importer.division(count / kept, kept)?);
            }
            importer.chain(op, factors, None, input, shape, 0)
        }
    }
}

/// The sum over axes as a convolution: over all channels at each position where the axes come first, and else along the
/// rows of an image, for which they are brought last.
fn summing(importer: &mut Importer, input: &Flow, over: &[bool], kept: usize) -> Result<Factors, ModelError> {
    let several = input.elements() / kept;
    let (steps, long) = (strides(&input.shape), |k: usize| input.shape[k] > 1);
    let first_kept = (0..over.len()).find(|&k| long(k) && !over[k]);
    let last_over = (0..over.len()).rfind(|&k| long(k) && over[k]);
    let channels_first = first_kept > last_over || first_kept.is_none();
    let mut factors = Factors::new();
    let plane = ConvShape {
        in_channels: 1,
        in_height: 1,
        in_width: 1,
        out_channels: 1,
        kernel: [1; 2],
        stride: [1; 2],
        padding: [0; 4],
        dilation: [1; 2],
        groups: 1,
    };
    let shape = if channels_first {
        ConvShape { in_channels: several, in_width: kept, ..plane }
    } else {
        let order: Vec<usize> =
            (0..over.len()).filter(|&k| !over[k]).chain((0..over.len()).filter(|&k| over[k])).collect();
        let places: Vec<usize> = order.iter().map(|&k| input.shape[k]).collect();
        factors.extend(importer.selection(input.elements(), &places, &|k, i| Some(i * steps[order[k]]))?);
        ConvShape { in_height: kept, in_width: several, kernel: [1, several], ..plane }
    };
    importer.reserve(several, size_of::<f64>())?;
    factors.push(Arc::new(Conv2d::new(shape, vec![1.0; several].into())?));
    Ok(factors)
}

/// The flat indices of all positions along the axes that `chosen` says.
fn positions(shape: &[usize], chosen: impl Fn(usize) -> bool) -> Vec<u32> {
    let steps = strides(shape);
    let mut positions = vec![0u32];
    for k in (0..shape.len()).filter(|&k| chosen(k)) {
        positions = positions
            .iter()
            .flat_map(|&at| (0..shape[k]).map(move |i| (at, i)))
            .map(|(at, i)| at + (i * steps[k]) as u32)
            .collect();
    }
    positions
}

fn largest(
    importer: &mut Importer,
    op: &Op,
    input: &Flow,
    over: &[bool],
    shape: Vec<usize>,
) -> Result<Flow, ModelError> {
    let (count, kept) = (input.elements(), elements(&shape)?);
    let several = count / kept;
    importer.reserve(count, 2 * size_of::<u32>())?;
    importer.reserve(kept + 1, size_of::<usize>())?;
    let window = positions(&input.shape, |k| over[k]);
    let corners = positions(&input.shape, |k| !over[k]);
    let members = corners.iter().flat_map(|&at| window.iter().map(move |&i| at + i)).collect();
    let pool = MaxPool::from_windows(count, (0..=kept).map(|i| i * several).collect(), members)?;
    importer.push(op, Layer::MaxPool(Arc::new(pool)), &[input], shape, 0)
}

fn reduce(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>], kind: Reduction) -> Outputs {
    only_output(op)?;
    let input = flow(inputs, 0, "the input")?;
    let rank = input.shape.len();
    // The axes became an input, for sums before the others.
    let since = if kind == Reduction::Sum { 13 } else { 18 };
    let mut keep_all = false;
    let list = if op.opset < since {
        arity(inputs, 1, 1)?;
        op.attributes.ints("axes")?
    } else {
        arity(inputs, 1, 2)?;
        let list = optional_constant(inputs, 1, "axes")?.map(Array::integers).transpose()?.map(<[i64]>::to_vec);
        let noop = op.attributes.int("noop_with_empty_axes", 0)? != 0;
        keep_all = noop && list.as_ref().is_none_or(Vec::is_empty);
        list
    };
    let keepdims = op.attributes.int("keepdims", 1)? != 0;
    let mut over = vec![!keep_all; rank];
    if let Some(list) = list.filter(|list| !list.is_empty()) {
        over.fill(false);
        axes(&list, rank)?.into_iter().for_each(|k| over[k] = true);
    }
    let shape = input
        .shape
        .iter()
        .zip(&over)
        .filter(|(_, over)| keepdims || !**over)
        .map(|(&d, &over)| if over { 1 } else { d })
        .collect();
    one(reduced(importer, op, input, &over, shape, kind)?)
}

pub(super) fn sum(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    reduce(importer, op, inputs, Reduction::Sum)
}

pub(super) fn mean(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    reduce(importer, op, inputs, Reduction::Mean)
}

pub(super) fn max(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    reduce(importer, op, inputs, Reduction::Max)
}

pub(super) fn min(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    reduce(importer, op, inputs, Reduction::Min)
}
