//! The larger or smaller of several tensors, element by element.

use std::sync::Arc;

use lipbound_lipschitz::{Layer, MaxPool, ModelError, Unit};

use super::{
    super::{Flow, Importer, Op, Value},
    arithmetic::operands,
    build::{Outputs, arity, one, only_output},
    units::each,
};

/// The larger of different flows of one shape: a pool whose windows are the elements of one place.
fn largest(importer: &mut Importer, op: &Op, flows: &[Flow], negate: bool) -> Result<Flow, ModelError> {
    let (count, several) = (flows[0].elements(), flows.len());
    let all = count.checked_mul(several).filter(|&n| n < 1 << 31);
    let all = all.ok_or_else(|| ModelError::shape("its inputs have 2^31 elements or more together"))?;
    let mut joined = importer.joined(op, flows, vec![1, all])?;
    if negate {
        joined = importer.times(op, &joined, -1.0)?;
    }
    importer.reserve(all, size_of::<u32>())?;
    importer.reserve(count + 1, size_of::<usize>())?;
    let pool = MaxPool::across(several, count)?;
    let result = importer.push(op, Layer::MaxPool(Arc::new(pool)), &[&joined], flows[0].shape.clone(), 0)?;
    if negate { importer.times(op, &result, -1.0) } else { Ok(result) }
}

fn extreme(importer: &mut Importer, op: &Op, inputs: &[Option<Value>], smallest: bool) -> Outputs {
    arity(inputs, 1, usize::MAX)?;
    only_output(op)?;
    let (flows, constants, shape) = operands(inputs)?;
    let mut distinct: Vec<Flow> = Vec::new();
    for flow in flows {
        let flow = importer.expanded(op, &flow, &shape)?;
        if distinct.iter().all(|known| known.source != flow.source) {
            distinct.push(flow);
        }
    }
    let mut result = if distinct.len() == 1 { distinct.remove(0) } else { largest(importer, op, &distinct, smallest)? };
    for constant in constants {
        let values = constant.to_f64();
        let unit = |c: f64| match smallest {
            true => Unit::Clip { low: f64::NEG_INFINITY, high: c },
            false if values.iter().all(|&v| v == 0.0) => Unit::Relu,
            false => Unit::Clip { low: c, high: f64::INFINITY },
        };
        let units = each(importer, &values, constant.shape(), &shape, unit)?;
        result = importer.units(op, &result, units, constant.len())?;
    }
    one(result)
}

pub(super) fn max(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    extreme(importer, op, inputs, false)
}

pub(super) fn min(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    extreme(importer, op, inputs, true)
}
