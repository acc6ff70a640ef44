//! Sums, differences, and products with constants.

use std::sync::Arc;

use lipbound_lipschitz::{ModelError, Tensor};
use lipbound_operators::Diagonal;

use super::{
    super::{Flow, Importer, Op, Value},
    build::{INDEX, Outputs, arity, broadcast, check_magnitudes, elements, flow, one, only_output, spread, weights},
};

/// Flows, constants, and the shape that all have together.
type Operands = (Vec<Flow>, Vec<Tensor>, Vec<usize>);

/// Inputs, all present, taken apart.
pub(super) fn operands(inputs: &[Option<Value>]) -> Result<Operands, ModelError> {
    let (mut flows, mut constants, mut shape) = (Vec::new(), Vec::new(), Vec::new());
    for (i, input) in inputs.iter().enumerate() {
        match input {
            Some(Value::Flow(flow)) => {
                shape = broadcast(&shape, &flow.shape)?;
                flows.push(flow.clone());
            }
            Some(Value::Constant(array)) => {
                let tensor = weights(array, "the constant")?;
                shape = broadcast(&shape, tensor.shape())?;
                constants.push(tensor);
            }
            None => return Err(ModelError::model(format!("input {i} is missing"))),
        }
    }
    elements(&shape)?;
    Ok((flows, constants, shape))
}

fn expand_all(importer: &mut Importer, op: &Op, flows: &[Flow], shape: &[usize]) -> Result<Vec<Flow>, ModelError> {
    flows.iter().map(|flow| importer.expanded(op, flow, shape)).collect()
}

/// The sum of all inputs. Constants are added one by one, since their sum would be rounded.
fn total(importer: &mut Importer, op: &Op, inputs: &[Option<Value>]) -> Result<Flow, ModelError> {
    let (flows, constants, shape) = operands(inputs)?;
    let flows = expand_all(importer, op, &flows, &shape)?;
    let mut sum = importer.sum(op, &flows)?;
    for constant in constants {
        let bias = importer.spread_bias(&constant, 1.0, &shape)?;
        sum = importer.chain(op, Vec::new(), bias, &sum, shape.clone(), constant.len())?;
    }
    Ok(sum)
}

pub(super) fn add(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 2, 2)?;
    only_output(op)?;
    one(total(importer, op, inputs)?)
}

pub(super) fn sum(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 1, usize::MAX)?;
    only_output(op)?;
    one(total(importer, op, inputs)?)
}

pub(super) fn mean(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 1, usize::MAX)?;
    only_output(op)?;
    let sum = total(importer, op, inputs)?;
    let factors = vec![importer.division(inputs.len(), sum.elements())?];
    one(importer.chain(op, factors, None, &sum, sum.shape.clone(), 0)?)
}

pub(super) fn sub(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 2, 2)?;
    only_output(op)?;
    let (flows, constants, shape) = operands(inputs)?;
    let flows = expand_all(importer, op, &flows, &shape)?;
    let first_is_flow = matches!(inputs[0], Some(Value::Flow(_)));
    one(match (flows.as_slice(), constants.as_slice()) {
        ([a], [c]) if first_is_flow => {
            let bias = importer.spread_bias(c, -1.0, &shape)?;
            importer.chain(op, Vec::new(), bias, a, shape, c.len())?
        }
        ([b], [c]) => {
            let bias = importer.spread_bias(c, 1.0, &shape)?;
            let factors = vec![importer.scaling(-1.0, b.elements())?];
            importer.chain(op, factors, bias, b, shape, c.len())?
        }
        ([a, b], _) => {
            let b = importer.times(op, b, -1.0)?;
            importer.sum(op, &[a.clone(), b])?
        }
        _ => unreachable!("two inputs, one of them a flow"),
    })
}

pub(super) fn neg(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 1, 1)?;
    one(importer.times(op, flow(inputs, 0, "the input")?, -1.0)?)
}

/// A flow times a constant, or divided by it.
fn scaled(importer: &mut Importer, op: &Op, flow: &Flow, factor: &Tensor, divide: bool) -> Result<Flow, ModelError> {
    let shape = broadcast(&flow.shape, factor.shape())?;
    let count = elements(&shape)?;
    let mut values = factor.to_f64();
    let mut roundings = 0;
    if divide {
        if let Some(i) = values.iter().position(|&v| v == 0.0) {
            return Err(ModelError::value(format!("element {i} of the divisor is zero")));
        }
        // The quotient of one and a power of two, which alone has no bit set in its fraction, is exact.
        let exact = values.iter().all(|v| v.is_normal() && v.to_bits().trailing_zeros() >= f64::MANTISSA_DIGITS - 1);
        roundings = usize::from(!exact);
        values.iter_mut().for_each(|v| *v = 1.0 / *v);
        check_magnitudes("one over the divisor", values.iter().copied())?;
    }
    let flow = importer.expanded(op, flow, &shape)?;
    if values.iter().all(|&v| v == 1.0) {
        return importer.reshaped(op, &flow, shape);
    }
    importer.reserve(count, 2 * size_of::<f64>() + INDEX)?;
    let diagonal = Diagonal::rounded(spread(&values, factor.shape(), &shape).to_vec(), roundings);
    importer.chain(op, vec![Arc::new(diagonal)], None, &flow, shape, factor.len())
}

pub(super) fn mul(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 2, 2)?;
    only_output(op)?;
    let (flows, constants, _) = operands(inputs)?;
    match (flows.as_slice(), constants.as_slice()) {
        ([flow], [factor]) => one(scaled(importer, op, flow, factor, false)?),
        _ => Err(ModelError::model(
            "both factors depend on the network's input; a product of two such is not piecewise linear",
        )),
    }
}

pub(super) fn div(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 2, 2)?;
    only_output(op)?;
    let (flows, constants, _) = operands(inputs)?;
    match (&inputs[0], flows.as_slice(), constants.as_slice()) {
        (Some(Value::Flow(_)), [flow], [divisor]) => one(scaled(importer, op, flow, divisor, true)?),
        _ => Err(ModelError::model(
            "the divisor depends on the network's input; such a quotient is not piecewise linear",
        )),
    }
}
