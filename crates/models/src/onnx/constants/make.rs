//! Constants out of nothing.

use std::sync::Arc;

use lipbound_lipschitz::ModelError;

use super::{at_most, input, size};
use crate::onnx::{
    Op,
    array::{Array, Numbers, elements, filled},
    budget::Budget,
    graph::Attribute,
};

type Folded = Result<Vec<Array>, ModelError>;

pub(super) fn constant(budget: &mut Budget, op: &mut Op, inputs: &[Option<Array>]) -> Folded {
    at_most(inputs, 0)?;
    const FORMS: [&str; 8] = [
        "value",
        "value_float",
        "value_floats",
        "value_int",
        "value_ints",
        "value_string",
        "value_strings",
        "sparse_value",
    ];
    let mut values = FORMS.iter().filter_map(|name| op.attributes.take(name).map(|value| (name, value)));
    let (Some((name, value)), None) = (values.next(), values.next()) else {
        return Err(ModelError::model("needs exactly one attribute that says its value"));
    };
    Ok(vec![match (*name, value) {
        ("value", Attribute::Tensor(array)) => array,
        ("value_float", Attribute::Float(value)) => Array { shape: vec![], numbers: Numbers::F32(Arc::new([value])) },
        ("value_int", Attribute::Int(value)) => Array { shape: vec![], numbers: Numbers::I64(Arc::new([value])) },
        ("value_floats", Attribute::Floats(values)) => {
            budget.take_elements(values.len(), size_of::<f32>())?;
            Array { shape: vec![values.len()], numbers: Numbers::F32(values.into()) }
        }
        ("value_ints", Attribute::Ints(values)) => {
            budget.take_elements(values.len(), size_of::<i64>())?;
            Array { shape: vec![values.len()], numbers: Numbers::I64(values.into()) }
        }
        (name, _) => return Err(ModelError::model(format!("attribute '{name}' is of a type that is not supported"))),
    }])
}

pub(super) fn constant_of_shape(budget: &mut Budget, op: &mut Op, inputs: &[Option<Array>]) -> Folded {
    at_most(inputs, 1)?;
    let sizes = input(inputs, 0, "the shape")?;
    if sizes.shape.len() != 1 {
        return Err(ModelError::shape(format!("the shape must be a list, got a tensor of shape {:?}", sizes.shape)));
    }
    let shape: Vec<usize> = sizes.integers()?.iter().take(64).map(|&n| size(n)).collect::<Result<_, _>>()?;
    let count = elements(&shape)?;
    let value = match op.attributes.take("value") {
        None => Numbers::F32(Arc::new([0.0])),
        Some(Attribute::Tensor(array)) if array.len() == 1 => array.numbers,
        Some(_) => return Err(ModelError::model("attribute 'value' must be a tensor of one element")),
    };
    budget.work(count)?;
    budget.take_elements(count, value.size())?;
    let numbers = match value {
        Numbers::F32(v) => Numbers::F32(std::iter::repeat_n(v[0], count).collect()),
        Numbers::F64(v) => Numbers::F64(std::iter::repeat_n(v[0], count).collect()),
        Numbers::I64(v) => Numbers::I64(std::iter::repeat_n(v[0], count).collect()),
    };
    Ok(vec![Array { shape, numbers }])
}

pub(super) fn range(budget: &mut Budget, _: &mut Op, inputs: &[Option<Array>]) -> Folded {
    at_most(inputs, 3)?;
    let [start, limit, delta] = [(0, "start"), (1, "limit"), (2, "delta")].map(|(i, name)| {
        let array = input(inputs, i, name)?;
        if array.len() == 1 { Ok(&array.numbers) } else { Err(ModelError::shape(format!("{name} must be one number"))) }
    });
    let too_many = || ModelError::shape("the range has 2^31 elements or more, or no end");
    let mut count = |steps: f64, size: usize| -> Result<usize, ModelError> {
        if steps.is_nan() || steps >= 2f64.powi(31) {
            return Err(too_many());
        }
        let count = steps.max(0.0) as usize;
        budget.work(count)?;
        budget.take_elements(count, size)?;
        Ok(count)
    };
    let numbers = match (start?, limit?, delta?) {
        (Numbers::F32(a), Numbers::F32(b), Numbers::F32(d)) => {
            let n = count((f64::from(b[0] - a[0]) / f64::from(d[0])).ceil(), 4)?;
            Numbers::F32(filled(n, (0..n).map(|i| a[0] + i as f32 * d[0])))
        }
        (Numbers::F64(a), Numbers::F64(b), Numbers::F64(d)) => {
            let n = count(((b[0] - a[0]) / d[0]).ceil(), 8)?;
            Numbers::F64(filled(n, (0..n).map(|i| a[0] + i as f64 * d[0])))
        }
        (Numbers::I64(a), Numbers::I64(b), Numbers::I64(d)) => {
            let (a, b, d) = (i128::from(a[0]), i128::from(b[0]), i128::from(d[0]));
            if d == 0 {
                return Err(ModelError::value("delta must not be zero"));
            }
            // Rounded up, whatever the signs.
            let steps = ((b - a) + d - d.signum()) / d;
            let n = count(steps as f64, 8)?;
            Numbers::I64(filled(n, (0..n).map(|i| (a + i as i128 * d) as i64)))
        }
        _ => return Err(ModelError::model("start, limit and delta must be of one type")),
    };
    let count = match &numbers {
        Numbers::F32(v) => v.len(),
        Numbers::F64(v) => v.len(),
        Numbers::I64(v) => v.len(),
    };
    Ok(vec![Array { shape: vec![count], numbers }])
}
