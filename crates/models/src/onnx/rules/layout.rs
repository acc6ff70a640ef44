//! Operators that change no value, and the unit that needs nothing else.

use lipbound_lipschitz::{Layer, ModelError, Unit};

use crate::onnx::{Flow, Importer, Op, Value};

fn flow(inputs: &[Option<Value>]) -> Result<&Flow, ModelError> {
    match inputs {
        [Some(Value::Flow(flow))] => Ok(flow),
        _ => Err(ModelError::model("takes one input")),
    }
}

pub(super) fn identity(
    importer: &mut Importer,
    op: &mut Op,
    inputs: &[Option<Value>],
) -> Result<Vec<Value>, ModelError> {
    let flow = flow(inputs)?;
    Ok(vec![Value::Flow(importer.reshaped(op, flow, flow.shape.clone())?)])
}

pub(super) fn relu(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Result<Vec<Value>, ModelError> {
    let flow = flow(inputs)?;
    Ok(vec![Value::Flow(importer.push(op, Layer::Unit(Unit::Relu), &[flow], flow.shape.clone(), 0)?)])
}
