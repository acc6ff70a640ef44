//! Operators that move numbers about, and those that read shapes.

use std::sync::Arc;

use lipbound_lipschitz::ModelError;

use super::{at_most, axes, axis, input, list, optional, reshaped, size, view};
use crate::onnx::{
    Op,
    array::{Array, Numbers, elements},
    budget::Budget,
};

type Folded = Result<Vec<Array>, ModelError>;

/// `Shape` and `Size` of a tensor of this shape, whatever its numbers.
pub(in crate::onnx) fn of_shape(budget: &mut Budget, op: &mut Op, shape: &[usize]) -> Result<Array, ModelError> {
    if op.kind == "Size" {
        budget.take(size_of::<i64>())?;
        return Ok(Array { shape: vec![], numbers: Numbers::I64(Arc::new([elements(shape)? as i64])) });
    }
    let rank = shape.len() as i64;
    let end = |value: i64| if value < 0 { value.saturating_add(rank) } else { value }.clamp(0, rank) as usize;
    let (start, stop) = (op.attributes.int("start", 0)?, op.attributes.int("end", rank)?);
    let sizes: Arc<[i64]> = shape.get(end(start)..end(stop)).unwrap_or(&[]).iter().map(|&n| n as i64).collect();
    budget.take(sizes.len() * size_of::<i64>())?;
    Ok(Array { shape: vec![sizes.len()], numbers: Numbers::I64(sizes) })
}

pub(super) fn shape(budget: &mut Budget, op: &mut Op, inputs: &[Option<Array>]) -> Folded {
    at_most(inputs, 1)?;
    Ok(vec![of_shape(budget, op, &input(inputs, 0, "data")?.shape)?])
}

pub(super) fn identity(_: &mut Budget, _: &mut Op, inputs: &[Option<Array>]) -> Folded {
    at_most(inputs, 1)?;
    Ok(vec![input(inputs, 0, "input")?.clone()])
}

pub(super) fn dropout(_: &mut Budget, op: &mut Op, inputs: &[Option<Array>]) -> Folded {
    at_most(inputs, if op.opset < 12 { 1 } else { 3 })?;
    if op.opset < 12 {
        op.attributes.take("ratio");
    } else {
        op.attributes.take("seed");
        let training = optional(inputs, 2).map(Array::integers).transpose()?;
        if training.is_some_and(|values| values.iter().any(|&v| v != 0)) {
            return Err(ModelError::model("is in training mode; export the model for inference"));
        }
    }
    Ok(vec![input(inputs, 0, "data")?.clone()])
}

pub(super) fn reshape(_: &mut Budget, op: &mut Op, inputs: &[Option<Array>]) -> Folded {
    at_most(inputs, 2)?;
    let data = input(inputs, 0, "data")?;
    let zero_is_zero = op.opset >= 14 && op.attributes.int("allowzero", 0)? != 0;
    let target = list(op, inputs, "shape", 1)?.ok_or_else(|| ModelError::model("input 1 (shape) is missing"))?;
    let mut shape = Vec::with_capacity(target.len());
    let mut open = None;
    for (k, &n) in target.iter().enumerate() {
        shape.push(match n {
            -1 if open.replace(k).is_none() => 1,
            0 if !zero_is_zero => *data
                .shape
                .get(k)
                .ok_or_else(|| ModelError::shape(format!("axis {k} is to be kept, but the input has none")))?,
            n => size(n)?,
        });
    }
    if let Some(k) = open {
        let rest = elements(&shape)?;
        shape[k] = data.len().checked_div(rest).unwrap_or(0);
    }
    Ok(vec![reshaped(data, shape)?])
}

pub(super) fn flatten(_: &mut Budget, op: &mut Op, inputs: &[Option<Array>]) -> Folded {
    at_most(inputs, 1)?;
    let data = input(inputs, 0, "input")?;
    let rank = data.shape.len();
    let at = op.attributes.int("axis", 1)?;
    // The axis may be one past the last.
    let at = if at == rank as i64 { rank } else { axis(at, rank)? };
    let shape = vec![elements(&data.shape[..at])?, elements(&data.shape[at..])?];
    Ok(vec![reshaped(data, shape)?])
}

pub(super) fn unsqueeze(_: &mut Budget, op: &mut Op, inputs: &[Option<Array>]) -> Folded {
    at_most(inputs, if op.opset < 13 { 1 } else { 2 })?;
    let data = input(inputs, 0, "data")?;
    let new = list(op, inputs, "axes", 1)?.ok_or_else(|| ModelError::model("'axes' are missing"))?;
    let chosen = axes(&new, data.shape.len() + new.len())?;
    let mut old = data.shape.iter();
    let shape = chosen.iter().map(|&new| if new { 1 } else { *old.next().expect("as many as are not new") }).collect();
    Ok(vec![reshaped(data, shape)?])
}

pub(super) fn squeeze(_: &mut Budget, op: &mut Op, inputs: &[Option<Array>]) -> Folded {
    at_most(inputs, if op.opset < 13 { 1 } else { 2 })?;
    let data = input(inputs, 0, "data")?;
    let chosen = match list(op, inputs, "axes", 1)? {
        Some(list) => axes(&list, data.shape.len())?,
        None => data.shape.iter().map(|&n| n == 1).collect(),
    };
    // An axis of more than one element shows as a wrong number of elements.
    let shape = data.shape.iter().zip(chosen).filter(|(_, gone)| !gone).map(|(&n, _)| n).collect();
    Ok(vec![reshaped(data, shape)?])
}

pub(super) fn transpose(budget: &mut Budget, op: &mut Op, inputs: &[Option<Array>]) -> Folded {
    at_most(inputs, 1)?;
    let data = input(inputs, 0, "data")?;
    let rank = data.shape.len();
    let order = op.attributes.ints("perm")?.unwrap_or_else(|| (0..rank as i64).rev().collect());
    if order.len() != rank {
        return Err(ModelError::shape(format!("perm has {} axes, but the tensor {rank}", order.len())));
    }
    axes(&order, rank)?;
    let order = order.iter().map(|&k| axis(k, rank)).collect::<Result<Vec<_>, _>>()?;
    let own = view::strides(&data.shape);
    let shape: Vec<usize> = order.iter().map(|&k| data.shape[k]).collect();
    let strides: Vec<isize> = order.iter().map(|&k| own[k]).collect();
    let walk = view::Walk::new(&shape, &strides, 0);
    Ok(vec![view::gathered(budget, data, shape, walk)?])
}

pub(super) fn expand(budget: &mut Budget, op: &mut Op, inputs: &[Option<Array>]) -> Folded {
    at_most(inputs, 2)?;
    let data = input(inputs, 0, "input")?;
    let target = list(op, inputs, "shape", 1)?.ok_or_else(|| ModelError::model("input 1 (shape) is missing"))?;
    let target = target.iter().map(|&n| size(n)).collect::<Result<Vec<_>, _>>()?;
    let shape = view::broadcast([&data.shape[..], &target[..]].into_iter())?;
    let walk = view::spread(&data.shape, &shape);
    Ok(vec![view::gathered(budget, data, shape, walk)?])
}

pub(super) fn tile(budget: &mut Budget, op: &mut Op, inputs: &[Option<Array>]) -> Folded {
    at_most(inputs, 2)?;
    let data = input(inputs, 0, "input")?;
    let repeats = list(op, inputs, "repeats", 1)?.ok_or_else(|| ModelError::model("input 1 (repeats) is missing"))?;
    if repeats.len() != data.shape.len() {
        return Err(ModelError::shape(format!("{} repeats of {} axes", repeats.len(), data.shape.len())));
    }
    // Each axis is two: the repeats, which do not move, and its own.
    let (mut shape, mut pairs, mut strides) = (Vec::new(), Vec::new(), Vec::new());
    for ((&n, own), &times) in data.shape.iter().zip(view::strides(&data.shape)).zip(&repeats) {
        let times = size(times)?;
        shape.push(n.checked_mul(times).ok_or_else(|| ModelError::shape("the result has 2^31 elements or more"))?);
        pairs.extend([times, n]);
        strides.extend([0, own]);
    }
    elements(&shape)?;
    let walk = view::Walk::new(&pairs, &strides, 0);
    Ok(vec![view::gathered(budget, data, shape, walk)?])
}

pub(super) fn gather(budget: &mut Budget, op: &mut Op, inputs: &[Option<Array>]) -> Folded {
    at_most(inputs, 2)?;
    let (data, indices) = (input(inputs, 0, "data")?, input(inputs, 1, "indices")?);
    let k = axis(op.attributes.int("axis", 0)?, data.shape.len())?;
    let size = data.shape[k];
    let shape = [&data.shape[..k], &indices.shape[..], &data.shape[k + 1..]].concat();
    elements(&shape)?;
    let whole = indices.integers()?;
    budget.work(whole.len())?;
    if let Some(&wrong) = whole.iter().find(|&&i| i < -(size as i64) || i >= size as i64) {
        return Err(ModelError::shape(format!("index {wrong} of an axis of {size} elements")));
    }
    let inner = elements(&data.shape[k + 1..])?;
    let outer = elements(&data.shape[..k])?;
    let places = (0..outer).flat_map(move |o| {
        whole.iter().flat_map(move |&i| {
            let i = if i < 0 { i + size as i64 } else { i } as usize;
            (0..inner).map(move |n| (o * size + i) * inner + n)
        })
    });
    Ok(vec![view::gathered(budget, data, shape, places)?])
}

pub(super) fn concat(budget: &mut Budget, op: &mut Op, inputs: &[Option<Array>]) -> Folded {
    let first = input(inputs, 0, "inputs")?;
    let k = axis(op.attributes.int("axis", if op.opset < 4 { 1 } else { 0 })?, first.shape.len())?;
    let mut shape = first.shape.clone();
    let mut parts = Vec::with_capacity(inputs.len());
    shape[k] = 0;
    for i in 0..inputs.len() {
        let part = input(inputs, i, "inputs")?;
        let fits = part.shape.len() == shape.len()
            && part.shape.iter().zip(&shape).enumerate().all(|(j, (a, b))| j == k || a == b);
        if !fits {
            return Err(ModelError::shape(format!(
                "shapes {:?} and {:?} do not join at axis {k}",
                first.shape, part.shape
            )));
        }
        shape[k] += part.shape[k];
        parts.push(part);
    }
    let count = elements(&shape)?;
    let outer = elements(&shape[..k])?;
    // Empty parts cost a step as well.
    budget.work(count.saturating_add(outer.saturating_mul(parts.len())))?;
    budget.take_elements(count, first.numbers.size())?;
    macro_rules! joined {
        ($kind:ident) => {{
            let mut slices = Vec::with_capacity(parts.len());
            for part in &parts {
                match &part.numbers {
                    Numbers::$kind(v) => slices.push((&v[..], part.len().checked_div(outer).unwrap_or(0))),
                    _ => return Err(ModelError::model("is not supported for tensors of different types")),
                }
            }
            let slices = &slices;
            let values =
                (0..outer).flat_map(|o| slices.iter().flat_map(move |(v, n)| v[o * n..(o + 1) * n].iter().copied()));
            Numbers::$kind(crate::onnx::array::filled(count, values))
        }};
    }
    let numbers = match &first.numbers {
        Numbers::F32(_) => joined!(F32),
        Numbers::F64(_) => joined!(F64),
        Numbers::I64(_) => joined!(I64),
    };
    Ok(vec![Array { shape, numbers }])
}

pub(super) fn slice(budget: &mut Budget, op: &mut Op, inputs: &[Option<Array>]) -> Folded {
    at_most(inputs, if op.opset < 10 { 1 } else { 5 })?;
    let data = input(inputs, 0, "data")?;
    let rank = data.shape.len();
    let missing = |name: &str| ModelError::model(format!("'{name}' is missing"));
    let starts = list(op, inputs, "starts", 1)?.ok_or_else(|| missing("starts"))?;
    let ends = list(op, inputs, "ends", 2)?.ok_or_else(|| missing("ends"))?;
    let chosen = list(op, inputs, "axes", 3)?.unwrap_or_else(|| (0..starts.len() as i64).collect());
    let steps =
        if op.opset < 10 { None } else { list(op, inputs, "steps", 4)? }.unwrap_or_else(|| vec![1; starts.len()]);
    if [&ends, &chosen, &steps].iter().any(|list| list.len() != starts.len()) {
        return Err(ModelError::shape("starts, ends, axes and steps must be of one length"));
    }
    axes(&chosen, rank)?;
    let mut shape = data.shape.clone();
    let mut strides = view::strides(&data.shape);
    let mut offset = 0;
    for (((&start, &end), &k), &step) in starts.iter().zip(&ends).zip(&chosen).zip(&steps) {
        let k = axis(k, rank)?;
        let n = data.shape[k] as i128;
        let (step, from_end) = (i128::from(step), |i: i64| i128::from(i) + if i < 0 { n } else { 0 });
        if step == 0 {
            return Err(ModelError::value("a step of zero"));
        }
        // Backwards, a slice begins at the last element at most and may end before the first.
        let (low, high) = if step > 0 { (0, n) } else { (-1, n - 1) };
        let start = from_end(start).clamp(low.max(0).min(high), high);
        let end = from_end(end).clamp(low, high);
        let count = ((end - start) + step - step.signum()) / step;
        shape[k] = count.max(0) as usize;
        if shape[k] > 0 {
            offset += start as isize * strides[k];
        }
        // The stride of one element is never gone.
        strides[k] = if shape[k] > 1 { strides[k] * step as isize } else { 0 };
    }
    elements(&shape)?;
    let walk = view::Walk::new(&shape, &strides, offset);
    Ok(vec![view::gathered(budget, data, shape, walk)?])
}

pub(super) fn split(budget: &mut Budget, op: &mut Op, inputs: &[Option<Array>]) -> Folded {
    at_most(inputs, if op.opset < 13 { 1 } else { 2 })?;
    let data = input(inputs, 0, "input")?;
    let k = axis(op.attributes.int("axis", 0)?, data.shape.len())?;
    let size_k = data.shape[k];
    let parts = op.outputs.len();
    if op.opset >= 18
        && let Some(said) = op.attributes.optional_int("num_outputs")?
        && said != parts as i64
    {
        return Err(ModelError::model(format!("num_outputs is {said}, but there are {parts} outputs")));
    }
    let sizes = match list(op, inputs, "split", 1)? {
        Some(sizes) => sizes.iter().map(|&n| size(n)).collect::<Result<Vec<_>, _>>()?,
        // Equal parts; since version 18, the last may be smaller.
        None if parts > 0 && (op.opset >= 18 || size_k % parts == 0) => {
            let each = size_k.div_ceil(parts);
            (0..parts).map(|i| each.min(size_k.saturating_sub(i * each))).collect()
        }
        None => return Err(ModelError::shape(format!("{size_k} elements do not split into {parts} equal parts"))),
    };
    if sizes.len() != parts || sizes.iter().try_fold(0usize, |n, &d| n.checked_add(d)) != Some(size_k) {
        return Err(ModelError::shape(format!(
            "an axis of {size_k} elements does not split into {} sizes for {parts} outputs",
            sizes.len()
        )));
    }
    let strides = view::strides(&data.shape);
    let mut start = 0;
    let mut results = Vec::with_capacity(parts);
    for size in sizes {
        let mut shape = data.shape.clone();
        shape[k] = size;
        let walk = view::Walk::new(&shape, &strides, start as isize * strides[k]);
        start += size;
        results.push(view::gathered(budget, data, shape, walk)?);
    }
    Ok(results)
}

pub(super) fn pad(budget: &mut Budget, op: &mut Op, inputs: &[Option<Array>]) -> Folded {
    at_most(inputs, if op.opset < 11 { 1 } else { 4 })?;
    let data = input(inputs, 0, "data")?;
    let rank = data.shape.len();
    let mode = op.attributes.string("mode", "constant")?;
    if mode != "constant" {
        return Err(ModelError::model(format!("mode '{mode}' is not supported on constants, only 'constant'")));
    }
    let pads = list(op, inputs, "pads", 1)?.ok_or_else(|| ModelError::model("'pads' are missing"))?;
    let chosen: Vec<usize> = match list(op, inputs, "axes", 3)? {
        Some(list) => {
            axes(&list, rank)?;
            list.iter().map(|&k| axis(k, rank)).collect::<Result<_, _>>()?
        }
        None => (0..rank).collect(),
    };
    if pads.len() != 2 * chosen.len() {
        return Err(ModelError::shape(format!("{} pads for {} axes", pads.len(), chosen.len())));
    }
    let (mut before, mut shape) = (vec![0; rank], data.shape.clone());
    for (i, &k) in chosen.iter().enumerate() {
        before[k] = size(pads[i])?;
        let after = size(pads[i + chosen.len()])?;
        shape[k] = shape[k]
            .checked_add(before[k])
            .and_then(|n| n.checked_add(after))
            .ok_or_else(|| ModelError::shape("the result has 2^31 elements or more"))?;
    }
    let count = elements(&shape)?;
    let attribute = if op.opset < 11 { op.attributes.float("value", 0.0)? } else { 0.0 };
    let value = optional(inputs, 2);
    if value.is_some_and(|value| value.len() != 1) {
        return Err(ModelError::shape("the padding value must be one number"));
    }
    budget.work(count.saturating_add(data.len()))?;
    budget.take_elements(count, data.numbers.size())?;
    let own = view::strides(&shape);
    let offset = if data.len() > 0 { before.iter().zip(&own).map(|(&b, s)| b as isize * s).sum() } else { 0 };
    let places = view::Walk::new(&data.shape, &own, offset);
    macro_rules! padded {
        ($kind:ident, $values:expr, $default:expr) => {{
            let fill = match value.map(|value| &value.numbers) {
                None => $default,
                Some(Numbers::$kind(v)) => v[0],
                Some(_) => return Err(ModelError::model("the padding value is of another type than the data")),
            };
            let mut all: Arc<[_]> = std::iter::repeat_n(fill, count).collect();
            let room = Arc::get_mut(&mut all).expect("nobody else has it yet");
            places.zip($values.iter()).for_each(|(place, &x)| room[place] = x);
            Numbers::$kind(all)
        }};
    }
    let numbers = match &data.numbers {
        Numbers::F32(v) => padded!(F32, v, attribute),
        Numbers::F64(v) => padded!(F64, v, f64::from(attribute)),
        Numbers::I64(v) => padded!(I64, v, 0),
    };
    Ok(vec![Array { shape, numbers }])
}
