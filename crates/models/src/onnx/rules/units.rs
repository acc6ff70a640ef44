//! Element-wise piecewise linear operators.

use lipbound_lipschitz::{Bias, ModelError, Unit, Units};

use super::{
    super::{Array, Flow, Importer, Op, Value, array::Numbers},
    build::{
        Outputs, arity, broadcast, check_magnitudes, elements, flow, one, only_output, optional_constant, spread,
        weights,
    },
};

/// One unit for each value of a constant of shape `from`, broadcast to `to`: as few as its trailing axes allow.
pub(super) fn each(
    importer: &mut Importer,
    values: &[f64],
    from: &[usize],
    to: &[usize],
    unit: impl Fn(f64) -> Unit,
) -> Result<Units, ModelError> {
    if let [value] = values {
        return Ok(unit(*value).into());
    }
    let added = to.len() - from.len();
    let varies = |k: usize| k >= added && from[k - added] != 1;
    let end = (0..to.len()).rposition(varies).map_or(0, |k| k + 1);
    let repeat = to[end..].iter().product();
    let count = elements(&to[..end])?;
    importer.reserve(count, size_of::<Unit>() + size_of::<f64>() + size_of::<u32>())?;
    let kept = &from[..end.saturating_sub(added)];
    Ok(Units::each(spread(values, kept, &to[..end]).iter().map(|&value| unit(value)).collect(), repeat))
}

pub(super) fn relu(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 1, 1)?;
    one(importer.units(op, flow(inputs, 0, "the input")?, Unit::Relu, 0)?)
}

pub(super) fn abs(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 1, 1)?;
    one(importer.units(op, flow(inputs, 0, "the input")?, Unit::LeakyRelu { slope: -1.0 }, 0)?)
}

pub(super) fn leaky_relu(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 1, 1)?;
    let slope = f64::from(op.attributes.float("alpha", 0.01)?);
    one(importer.units(op, flow(inputs, 0, "the input")?, Unit::LeakyRelu { slope }, 0)?)
}

pub(super) fn prelu(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 2, 2)?;
    let input = flow(inputs, 0, "the input")?;
    let slope = weights(super::build::constant(inputs, 1, "the slope")?, "the slope")?;
    if slope.is_empty() || broadcast(slope.shape(), &input.shape)? != input.shape {
        return Err(ModelError::shape(format!(
            "the slope has shape {:?}, which does not broadcast to that of the input, {:?}",
            slope.shape(),
            input.shape
        )));
    }
    let units = each(importer, &slope.to_f64(), slope.shape(), &input.shape, |slope| Unit::LeakyRelu { slope })?;
    one(importer.units(op, input, units, slope.len())?)
}

/// One number; infinities are allowed, as ends of a range.
fn end(array: &Array, what: &str) -> Result<f64, ModelError> {
    match &array.numbers {
        Numbers::F32(v) if v.len() == 1 => Ok(v[0].into()),
        Numbers::F64(v) if v.len() == 1 => Ok(v[0]),
        Numbers::I64(_) => Err(ModelError::model(format!("{what} is a whole number, but the input is not"))),
        _ => Err(ModelError::shape(format!("{what} has shape {:?}, but must be one number", array.shape))),
    }
}

pub(super) fn clip(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    let input = flow(inputs, 0, "the input")?;
    let (low, high) = if op.opset < 11 {
        arity(inputs, 1, 1)?;
        (op.attributes.optional_float("min")?.map(f64::from), op.attributes.optional_float("max")?.map(f64::from))
    } else {
        arity(inputs, 1, 3)?;
        let read = |i: usize, what: &str| optional_constant(inputs, i, what)?.map(|a| end(a, what)).transpose();
        (read(1, "min")?, read(2, "max")?)
    };
    // An absent end is that of the numbers themselves. One that is there counts, even the largest number of the type.
    let (low, high) = (low.unwrap_or(f64::NEG_INFINITY), high.unwrap_or(f64::INFINITY));
    one(clipped(importer, op, input, low, high)?)
}

/// `min(max(x, low), high)`, which is `high` everywhere where `low` is not below it.
fn clipped(importer: &mut Importer, op: &Op, input: &Flow, low: f64, high: f64) -> Result<Flow, ModelError> {
    if low.is_nan() || high.is_nan() || low == f64::INFINITY || high == f64::NEG_INFINITY {
        return Err(ModelError::value(format!("cannot clip to a range from {low} to {high}")));
    }
    if low >= high {
        importer.constant(op, input, high)
    } else if low == f64::NEG_INFINITY && high == f64::INFINITY {
        importer.reshaped(op, input, input.shape.clone())
    } else if low == 0.0 && high == f64::INFINITY {
        importer.units(op, input, Unit::Relu, 0)
    } else {
        importer.units(op, input, Unit::Clip { low, high }, 0)
    }
}

/// `max(0, min(1, alpha x + beta))`.
pub(super) fn hard_sigmoid(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 1, 1)?;
    only_output(op)?;
    let input = flow(inputs, 0, "the input")?;
    let factors = [op.attributes.float("alpha", 0.2)?, op.attributes.float("beta", 0.5)?].map(f64::from);
    if factors.iter().any(|f| !f.is_finite()) {
        return Err(ModelError::value(format!("alpha and beta must be finite, got {factors:?}")));
    }
    check_magnitudes("alpha and beta", factors)?;
    let count = input.elements();
    let maps = vec![importer.scaling(factors[0], count)?];
    importer.reserve(count, size_of::<f64>())?;
    let bias = Bias { values: spread(&factors[1..], &[], &[count]), errors: None };
    let line = importer.chain(op, maps, Some(bias), input, input.shape.clone(), 0)?;
    one(importer.units(op, &line, Unit::Clip { low: 0.0, high: 1.0 }, 0)?)
}
