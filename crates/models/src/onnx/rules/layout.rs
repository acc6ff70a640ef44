//! Operators that move elements, or only say another shape.

use std::sync::Arc;

use lipbound_lipschitz::{ModelError, Tensor};

use super::{
    super::{Array, Flow, Importer, Op, Value, schema::data_type},
    build::{
        Outputs, arity, axes, axis, broadcast, check_rank, constant, elements, flow, one, only_output,
        optional_constant, size, strides,
    },
};

/// Whole numbers that an attribute holds in older versions, and input `i` since version `since`.
fn whole(
    op: &mut Op,
    inputs: &[Option<Value>],
    i: usize,
    name: &str,
    since: i64,
) -> Result<Option<Vec<i64>>, ModelError> {
    if op.opset < since {
        return op.attributes.ints(name);
    }
    let list = optional_constant(inputs, i, name)?.map(Array::integers).transpose();
    Ok(list.map_err(|error| error.at(name))?.map(<[i64]>::to_vec))
}

fn needed<T>(value: Option<T>, name: &str) -> Result<T, ModelError> {
    value.ok_or_else(|| ModelError::model(format!("'{name}' is missing")))
}

pub(super) fn identity(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 1, 1)?;
    let input = flow(inputs, 0, "the input")?;
    one(importer.reshaped(op, input, input.shape.clone())?)
}

pub(super) fn dropout(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    only_output(op)?;
    arity(inputs, 1, if op.opset < 12 { 1 } else { 3 })?;
    // How much is dropped in training, and how it is drawn.
    op.attributes.take("ratio");
    op.attributes.take("seed");
    let training = optional_constant(inputs, 2, "training_mode")?.map(Array::integers).transpose()?;
    if training.is_some_and(|training| training.iter().any(|&t| t != 0)) {
        return Err(ModelError::model(
            "training_mode is set, but only inference can be bounded: call model.eval() and export again",
        ));
    }
    let input = flow(inputs, 0, "the input")?;
    one(importer.reshaped(op, input, input.shape.clone())?)
}

pub(super) fn cast(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 1, 1)?;
    op.attributes.take("saturate");
    op.attributes.take("round_mode");
    let to = needed(op.attributes.optional_int("to")?, "to")?;
    // float, float16, double, bfloat16: in real arithmetic all the same.
    if ![1, 10, 11, 16].contains(&to) {
        let name = i32::try_from(to).map_or_else(|_| to.to_string(), data_type::name);
        return Err(ModelError::model(format!("casts to {name}, which rounds; only floating-point types do not")));
    }
    if [10, 16].contains(&to) {
        importer.note(format!(
            "'{}' rounds to {}: that rounding is no part of the network",
            op.name,
            data_type::name(to as i32)
        ));
    }
    let input = flow(inputs, 0, "the input")?;
    one(importer.reshaped(op, input, input.shape.clone())?)
}

pub(super) fn flatten(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 1, 1)?;
    let input = flow(inputs, 0, "the input")?;
    let rank = input.shape.len();
    // The axis may be the one behind the last.
    let split = match op.attributes.int("axis", 1)? {
        k if k == rank as i64 => rank,
        k => axis(k, rank)?,
    };
    let shape = vec![input.shape[..split].iter().product(), input.shape[split..].iter().product()];
    one(importer.reshaped(op, input, shape)?)
}

pub(super) fn reshape(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 2, 2)?;
    let input = flow(inputs, 0, "the input")?;
    let wanted = constant(inputs, 1, "the shape")?.integers()?;
    let keep_zero = op.attributes.int("allowzero", 0)? != 0;
    let mismatch = || ModelError::shape(format!("cannot reshape {:?} to {wanted:?}", input.shape));
    let mut shape = Vec::with_capacity(wanted.len());
    let mut open = None;
    for (k, &d) in wanted.iter().enumerate() {
        shape.push(match d {
            -1 if open.is_none() => {
                open = Some(k);
                1
            }
            0 if !keep_zero => *input.shape.get(k).ok_or_else(mismatch)?,
            _ => size("a size of the shape", d, 1)?,
        });
    }
    let count = elements(&input.shape)?;
    let known = elements(&shape)?;
    if let Some(k) = open {
        shape[k] = if count.is_multiple_of(known) { count / known } else { return Err(mismatch()) };
    } else if known != count {
        return Err(mismatch());
    }
    one(importer.reshaped(op, input, shape)?)
}

pub(super) fn squeeze(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 1, if op.opset < 13 { 1 } else { 2 })?;
    let input = flow(inputs, 0, "the input")?;
    let dropped: Vec<usize> = match whole(op, inputs, 1, "axes", 13)? {
        Some(list) => axes(&list, input.shape.len())?,
        None => (0..input.shape.len()).filter(|&k| input.shape[k] == 1).collect(),
    };
    if let Some(&k) = dropped.iter().find(|&&k| input.shape[k] != 1) {
        return Err(ModelError::shape(format!("axis {k} of shape {:?} is not of length one", input.shape)));
    }
    let shape = (0..input.shape.len()).filter(|k| !dropped.contains(k)).map(|k| input.shape[k]).collect();
    one(importer.reshaped(op, input, shape)?)
}

pub(super) fn unsqueeze(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 1, if op.opset < 13 { 1 } else { 2 })?;
    let input = flow(inputs, 0, "the input")?;
    let list = needed(whole(op, inputs, 1, "axes", 13)?, "axes")?;
    check_rank(list.len())?;
    let rank = input.shape.len() + list.len();
    let added = axes(&list, rank)?;
    let mut old = input.shape.iter();
    let shape = (0..rank)
        .map(|k| if added.contains(&k) { 1 } else { *old.next().expect("as many axes as are not added") })
        .collect();
    one(importer.reshaped(op, input, shape)?)
}

pub(super) fn transpose(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 1, 1)?;
    let input = flow(inputs, 0, "the input")?;
    let rank = input.shape.len();
    let order: Vec<usize> = match op.attributes.ints("perm")? {
        None => (0..rank).rev().collect(),
        Some(perm) if perm.len() == rank => axes(&perm, rank)?,
        Some(perm) => {
            return Err(ModelError::shape(format!("perm is {perm:?}, but the input has shape {:?}", input.shape)));
        }
    };
    let shape: Vec<usize> = order.iter().map(|&k| input.shape[k]).collect();
    let steps = strides(&input.shape);
    one(importer.select(op, input, &shape, &|k, i| Some(i * steps[order[k]]), shape.clone())?)
}

pub(super) fn concat(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 1, usize::MAX)?;
    let along = needed(op.attributes.optional_int("axis")?, "axis")?;
    // A piece: its flow or its numbers, and its length along the axis.
    enum Piece {
        Flow(usize),
        Constant(Tensor),
    }
    let (mut shape, mut pieces, mut flows): (Vec<usize>, Vec<(Piece, usize)>, Vec<Flow>) = Default::default();
    let mut parameters = 0;
    let mut split = 0;
    for (i, input) in inputs.iter().enumerate() {
        let own = match input {
            Some(Value::Flow(flow)) => flow.shape.clone(),
            Some(Value::Constant(array)) => array.shape.clone(),
            None => return Err(ModelError::model(format!("input {i} is missing"))),
        };
        if i == 0 {
            split = axis(along, own.len())?;
            shape = own.clone();
            shape[split] = 0;
        }
        let meets = own.len() == shape.len() && (0..own.len()).all(|k| k == split || own[k] == shape[k]);
        if !meets {
            return Err(ModelError::shape(format!("input {i} has shape {own:?}, which does not continue {shape:?}")));
        }
        shape[split] = shape[split].checked_add(own[split]).ok_or_else(|| ModelError::shape("too many elements"))?;
        let piece = match input {
            Some(Value::Flow(flow)) => {
                let known = flows.iter().position(|f| f.source == flow.source);
                Piece::Flow(known.unwrap_or_else(|| {
                    flows.push(flow.clone());
                    flows.len() - 1
                }))
            }
            Some(Value::Constant(array)) => {
                parameters += array.len();
                Piece::Constant(super::build::weights(array, "the constant")?)
            }
            None => unreachable!("refused above"),
        };
        pieces.push((piece, own[split]));
    }
    let count = elements(&shape)?;
    let outer: usize = shape[..split].iter().product();
    let inner: usize = shape[split + 1..].iter().product();
    let together: usize = flows.iter().map(Flow::elements).sum();
    if outer == 1 && parameters == 0 && flows.len() == pieces.len() {
        return one(importer.joined(op, &flows, shape)?);
    }
    let starts: Vec<usize> = flows
        .iter()
        .scan(0, |at, flow| {
            *at += flow.elements();
            Some(*at - flow.elements())
        })
        .collect();
    importer.reserve(count, size_of::<u32>() + if parameters > 0 { 2 * size_of::<f64>() } else { 0 })?;
    let mut index = Vec::with_capacity(count);
    let mut constants = Vec::with_capacity(if parameters > 0 { count } else { 0 });
    let numbers: Vec<Vec<f64>> = pieces
        .iter()
        .map(|(piece, _)| match piece {
            Piece::Constant(tensor) => tensor.to_f64(),
            Piece::Flow(_) => Vec::new(),
        })
        .collect();
    for block in 0..outer {
        for ((piece, length), numbers) in pieces.iter().zip(&numbers) {
            let run = length * inner;
            match piece {
                Piece::Flow(flow) => {
                    index.extend((0..run).map(|i| (starts[*flow] + block * run + i) as u32));
                    if parameters > 0 {
                        constants.extend(std::iter::repeat_n(0.0, run));
                    }
                }
                Piece::Constant(_) => {
                    index.extend(std::iter::repeat_n(lipbound_operators::Selection::ZERO, run));
                    constants.extend_from_slice(&numbers[block * run..(block + 1) * run]);
                }
            }
        }
    }
    let all = match flows.as_slice() {
        [flow] => flow.clone(),
        flows => importer.joined(op, flows, vec![1, elements(&[together])?])?,
    };
    let select = Arc::new(lipbound_operators::Selection::new(together, index));
    let bias = (parameters > 0).then(|| lipbound_lipschitz::Bias { values: constants.into(), errors: None });
    one(importer.affine(op, select, bias, &all, shape, parameters)?)
}

/// `length` positions along an axis, from `start` in steps of `step`.
fn part(importer: &mut Importer, op: &Op, input: &Flow, ranges: &[(usize, i64, usize)]) -> Result<Flow, ModelError> {
    let steps = strides(&input.shape);
    let shape: Vec<usize> = ranges.iter().map(|range| range.2).collect();
    let at = |k: usize, i: usize| (ranges[k].0 as i64 + i as i64 * ranges[k].1) as usize;
    importer.select(op, input, &shape, &|k, i| Some(at(k, i) * steps[k]), shape.clone())
}

pub(super) fn split(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 1, if op.opset < 13 { 1 } else { 2 })?;
    let input = flow(inputs, 0, "the input")?;
    let along = axis(op.attributes.int("axis", 0)?, input.shape.len())?;
    let (length, parts) = (input.shape[along], op.outputs.len());
    let given = whole(op, inputs, 1, "split", 13)?;
    let number = if op.opset < 18 { None } else { op.attributes.optional_int("num_outputs")? };
    let lengths = match (given, number) {
        (Some(_), Some(_)) => return Err(ModelError::model("split and num_outputs are both given")),
        (Some(list), None) => list.iter().map(|&n| size("split", n, 0)).collect::<Result<Vec<_>, _>>()?,
        (None, None) if op.opset >= 18 => return Err(ModelError::model("neither split nor num_outputs is given")),
        (None, None) => {
            if parts == 0 || !length.is_multiple_of(parts) {
                return Err(ModelError::shape(format!("cannot split {length} elements into {parts} equal parts")));
            }
            vec![length / parts; parts]
        }
        (None, Some(number)) => {
            // The last part is the smaller one, if they cannot be equal.
            let number = size("num_outputs", number, 1)?;
            let part = length.div_ceil(number);
            let last = (number - 1).checked_mul(part).and_then(|n| length.checked_sub(n)).filter(|&n| n > 0);
            match last {
                Some(last) if number == parts => {
                    let mut lengths = vec![part; number];
                    lengths[number - 1] = last;
                    lengths
                }
                _ => {
                    return Err(ModelError::shape(format!(
                        "cannot split {length} elements into {number} parts for {parts} outputs"
                    )));
                }
            }
        }
    };
    if lengths.len() != parts || lengths.iter().sum::<usize>() != length {
        return Err(ModelError::shape(format!(
            "parts of {lengths:?} do not make {parts} outputs of {length} elements together"
        )));
    }
    let mut start = 0;
    let mut values = Vec::with_capacity(parts);
    for (i, &part_length) in lengths.iter().enumerate() {
        // Nobody reads an output without a name, and a node that nobody reads may not be.
        values.push(Value::Flow(if op.outputs[i].is_empty() {
            input.clone()
        } else {
            let ranges: Vec<_> = (0..input.shape.len())
                .map(|k| if k == along { (start, 1, part_length) } else { (0, 1, input.shape[k]) })
                .collect();
            part(importer, op, input, &ranges)?
        }));
        start += part_length;
    }
    Ok(values)
}

pub(super) fn slice(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    let older = op.opset < 10;
    arity(inputs, if older { 1 } else { 3 }, if older { 1 } else { 5 })?;
    let input = flow(inputs, 0, "the input")?;
    let rank = input.shape.len();
    let starts = needed(whole(op, inputs, 1, "starts", 10)?, "starts")?;
    let ends = needed(whole(op, inputs, 2, "ends", 10)?, "ends")?;
    let along = match whole(op, inputs, 3, "axes", 10)? {
        Some(list) => axes(&list, rank)?,
        None => (0..starts.len()).collect(),
    };
    let steps = if older { None } else { whole(op, inputs, 4, "steps", 10)? }.unwrap_or(vec![1; starts.len()]);
    if [ends.len(), along.len(), steps.len()] != [starts.len(); 3] || along.iter().any(|&k| k >= rank) {
        return Err(ModelError::model(format!(
            "starts, ends, axes and steps must be as many, and not more than the {rank} axes of the input"
        )));
    }
    let mut ranges: Vec<(usize, i64, usize)> = input.shape.iter().map(|&d| (0, 1, d)).collect();
    for (i, &k) in along.iter().enumerate() {
        let (d, step) = (input.shape[k] as i64, steps[i]);
        if step == 0 {
            return Err(ModelError::model("a step of a slice must not be zero"));
        }
        let from_start = |v: i64| if v < 0 { v.saturating_add(d) } else { v };
        let (start, end) = (from_start(starts[i]), from_start(ends[i]));
        let (start, end) =
            if step > 0 { (start.clamp(0, d), end.clamp(0, d)) } else { (start.clamp(0, d - 1), end.clamp(-1, d - 1)) };
        let span = if step > 0 { end - start } else { start - end };
        let length = if span > 0 { (span as u64).div_ceil(step.unsigned_abs()) } else { 0 };
        // The step between two positions fits; one of a single position may be of any size.
        ranges[k] = (start.max(0) as usize, if length > 1 { step } else { 1 }, length as usize);
    }
    one(part(importer, op, input, &ranges)?)
}

pub(super) fn gather(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 2, 2)?;
    let input = flow(inputs, 0, "the data")?;
    let along = axis(op.attributes.int("axis", 0)?, input.shape.len())?;
    let indices = constant(inputs, 1, "the indices")?;
    let chosen: Vec<usize> =
        indices.integers()?.iter().map(|&i| axis(i, input.shape[along])).collect::<Result<_, _>>().map_err(|_| {
            ModelError::value(format!("an index is outside of the axis, which has a length of {}", input.shape[along]))
        })?;
    let steps = strides(&input.shape);
    let mut places = input.shape.clone();
    places[along] = chosen.len();
    let mut shape = input.shape[..along].to_vec();
    shape.extend(&indices.shape);
    shape.extend(&input.shape[along + 1..]);
    let offset = |k: usize, i: usize| Some(if k == along { chosen[i] } else { i } * steps[k]);
    one(importer.select(op, input, &places, &offset, shape)?)
}

/// The elements, or blocks of them, at constant places.
pub(super) fn gather_nd(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 2, 2)?;
    let input = flow(inputs, 0, "the data")?;
    let indices = constant(inputs, 1, "the indices")?;
    let (batch, rank) = (size("batch_dims", op.attributes.int("batch_dims", 0)?, 0)?, input.shape.len());
    let depth = *indices.shape.last().ok_or_else(|| ModelError::shape("the indices have no axis"))?;
    let end = batch.saturating_add(depth);
    if batch >= indices.shape.len() || depth == 0 || end > rank {
        return Err(ModelError::shape(format!(
            "indices of shape {:?} do not choose places of shape {:?} behind {batch} axes",
            indices.shape, input.shape
        )));
    }
    if input.shape[..batch] != indices.shape[..batch] || input.shape[..batch].iter().any(|&d| d != 1) {
        return Err(ModelError::shape(format!("the first {batch} axes must have a length of one, one example's")));
    }
    let axes = &input.shape[batch..end];
    let mut chosen = Vec::with_capacity(indices.len() / depth);
    for place in indices.integers()?.chunks_exact(depth) {
        let mut flat = 0;
        for (&i, &length) in place.iter().zip(axes) {
            let i = axis(i, length).map_err(|_| {
                ModelError::value(format!("an index is {i}, outside of an axis that has a length of {length}"))
            })?;
            flat = flat * length + i;
        }
        chosen.push(flat);
    }
    let block: usize = input.shape[end..].iter().product();
    let mut shape = indices.shape[..indices.shape.len() - 1].to_vec();
    shape.extend(&input.shape[end..]);
    let offset = |k: usize, i: usize| Some(if k == 0 { chosen[i] * block } else { i });
    one(importer.select(op, input, &[chosen.len(), block], &offset, shape)?)
}

pub(super) fn expand(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 2, 2)?;
    let input = flow(inputs, 0, "the input")?;
    let wanted = constant(inputs, 1, "the shape")?.integers()?;
    let wanted: Vec<usize> = wanted.iter().map(|&d| size("a size of the shape", d, 1)).collect::<Result<_, _>>()?;
    let shape = broadcast(&input.shape, &wanted)?;
    one(importer.expanded(op, input, &shape)?)
}

pub(super) fn tile(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 2, 2)?;
    let input = flow(inputs, 0, "the input")?;
    let repeats = constant(inputs, 1, "the repeats")?.integers()?;
    if repeats.len() != input.shape.len() {
        return Err(ModelError::shape(format!("{repeats:?} does not repeat each axis of shape {:?}", input.shape)));
    }
    let shape: Vec<usize> = input
        .shape
        .iter()
        .zip(repeats)
        .map(|(&d, &times)| {
            d.checked_mul(size("a repeat", times, 1)?).ok_or_else(|| ModelError::shape("too many elements"))
        })
        .collect::<Result<_, _>>()?;
    let steps = strides(&input.shape);
    one(importer.select(op, input, &shape, &|k, i| Some(i % input.shape[k] * steps[k]), shape.clone())?)
}

/// The axes of an image in channels-first order, and a block size.
fn blocks(op: &mut Op, input: &Flow) -> Result<([usize; 4], usize), ModelError> {
    let shape = <[usize; 4]>::try_from(input.shape.as_slice()).map_err(|_| {
        ModelError::shape(format!("needs an input of shape [1, channels, height, width], got {:?}", input.shape))
    })?;
    let block = size("blocksize", needed(op.attributes.optional_int("blocksize")?, "blocksize")?, 1)?;
    Ok((shape, block))
}

pub(super) fn depth_to_space(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 1, 1)?;
    let input = flow(inputs, 0, "the input")?;
    let ([n, c, h, w], b) = blocks(op, input)?;
    let columns_first = match op.attributes.string("mode", "DCR")?.as_str() {
        "DCR" => false,
        "CRD" => true,
        other => return Err(ModelError::model(format!("mode must be DCR or CRD, got '{other}'"))),
    };
    if !c.is_multiple_of(b * b) {
        return Err(ModelError::shape(format!("{c} channels are not made of blocks of {b} x {b}")));
    }
    let depth = c / (b * b);
    let plane = h * w;
    let channel = if columns_first { [b * b, b, 1] } else { [1, b * depth, depth] };
    // Axes: batch, channel, row, row in the block, column, column in the block.
    let steps = [c * plane, channel[0] * plane, w, channel[1] * plane, 1, channel[2] * plane];
    let places = [n, depth, h, b, w, b];
    one(importer.select(op, input, &places, &|k, i| Some(i * steps[k]), vec![n, depth, h * b, w * b])?)
}

pub(super) fn space_to_depth(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 1, 1)?;
    let input = flow(inputs, 0, "the input")?;
    let ([n, c, h, w], b) = blocks(op, input)?;
    if !h.is_multiple_of(b) || !w.is_multiple_of(b) {
        return Err(ModelError::shape(format!("an image of {h} x {w} is not made of blocks of {b} x {b}")));
    }
    // Axes: batch, row in the block, column in the block, channel, row, column.
    let steps = [c * h * w, w, 1, h * w, b * w, b];
    let places = [n, b, b, c, h / b, w / b];
    one(importer.select(op, input, &places, &|k, i| Some(i * steps[k]), vec![n, c * b * b, h / b, w / b])?)
}
