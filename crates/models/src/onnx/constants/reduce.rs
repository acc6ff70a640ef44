//! Reductions of constants.

use lipbound_lipschitz::ModelError;

use super::{at_most, axes, input, list, view};
use crate::onnx::{
    Op,
    array::{Array, Numbers, elements},
    budget::Budget,
};

type Folded = Result<Vec<Array>, ModelError>;

/// How two numbers become one.
struct Reduction {
    single: fn(f32, f32) -> f32,
    double: fn(f64, f64) -> f64,
    whole: fn(i64, i64) -> Option<i64>,
    /// Of nothing; `None` where that is an error.
    empty: Option<i8>,
    /// Whether the axes are an input from version 13, not 18.
    early: bool,
}

pub(super) fn sum(budget: &mut Budget, op: &mut Op, inputs: &[Option<Array>]) -> Folded {
    let reduction =
        Reduction { single: |a, b| a + b, double: |a, b| a + b, whole: i64::checked_add, empty: Some(0), early: true };
    reduce(budget, op, inputs, &reduction, false)
}

pub(super) fn mean(budget: &mut Budget, op: &mut Op, inputs: &[Option<Array>]) -> Folded {
    let reduction =
        Reduction { single: |a, b| a + b, double: |a, b| a + b, whole: |_, _| None, empty: None, early: false };
    if matches!(input(inputs, 0, "data")?.numbers, Numbers::I64(_)) {
        return Err(ModelError::model("the mean of whole numbers is not supported"));
    }
    reduce(budget, op, inputs, &reduction, true)
}

pub(super) fn prod(budget: &mut Budget, op: &mut Op, inputs: &[Option<Array>]) -> Folded {
    let reduction =
        Reduction { single: |a, b| a * b, double: |a, b| a * b, whole: i64::checked_mul, empty: Some(1), early: false };
    reduce(budget, op, inputs, &reduction, false)
}

pub(super) fn max(budget: &mut Budget, op: &mut Op, inputs: &[Option<Array>]) -> Folded {
    let reduction = Reduction {
        single: super::arithmetic::max32,
        double: super::arithmetic::max64,
        whole: |a, b| Some(a.max(b)),
        empty: None,
        early: false,
    };
    reduce(budget, op, inputs, &reduction, false)
}

pub(super) fn min(budget: &mut Budget, op: &mut Op, inputs: &[Option<Array>]) -> Folded {
    let reduction = Reduction {
        single: super::arithmetic::min32,
        double: super::arithmetic::min64,
        whole: |a, b| Some(a.min(b)),
        empty: None,
        early: false,
    };
    reduce(budget, op, inputs, &reduction, false)
}

fn reduce(budget: &mut Budget, op: &mut Op, inputs: &[Option<Array>], reduction: &Reduction, mean: bool) -> Folded {
    let input_from = if reduction.early { 13 } else { 18 };
    at_most(inputs, if op.opset >= input_from { 2 } else { 1 })?;
    let data = input(inputs, 0, "data")?;
    let rank = data.shape.len();
    let keep = op.attributes.int("keepdims", 1)? != 0;
    let nothing = op.opset >= input_from && op.attributes.int("noop_with_empty_axes", 0)? != 0;
    let chosen = list(op, inputs, "axes", 1)?.filter(|list| !list.is_empty());
    let chosen = match chosen {
        Some(list) => axes(&list, rank)?,
        None if nothing => return Ok(vec![data.clone()]),
        None => vec![true; rank],
    };
    let mut shape = Vec::new();
    // Each element of the data goes to a place in the result: axes that are reduced do not move it.
    let kept: Vec<usize> = (0..rank).map(|k| if chosen[k] { 1 } else { data.shape[k] }).collect();
    for k in 0..rank {
        if keep || !chosen[k] {
            shape.push(kept[k]);
        }
    }
    let count = elements(&shape)?;
    let own = view::strides(&kept);
    let strides: Vec<isize> = (0..rank).map(|k| if chosen[k] { 0 } else { own[k] }).collect();
    let each = data.len().checked_div(count).unwrap_or(0);
    if each == 0 && reduction.empty.is_none() && count > 0 {
        return Err(ModelError::shape("there is nothing to reduce"));
    }
    let empty = reduction.empty.unwrap_or(0);
    budget.work(data.len().saturating_add(count))?;
    budget.take_elements(count, data.numbers.size())?;
    let places = view::Walk::new(&data.shape, &strides, 0);
    // The first number of each place stands for itself: the walk meets it before all others of the place.
    let mut seen = vec![];
    budget.take(count)?;
    seen.resize(count, false);
    macro_rules! reduced {
        ($values:expr, $empty:expr, $join:expr, $finish:expr) => {{
            let mut results: std::sync::Arc<[_]> = std::iter::repeat_n($empty, count).collect();
            let all = std::sync::Arc::get_mut(&mut results).expect("nobody else has it yet");
            for (&value, place) in $values.iter().zip(places) {
                all[place] = if std::mem::replace(&mut seen[place], true) { $join(all[place], value)? } else { value };
            }
            if mean {
                all.iter_mut().for_each(|value| *value = $finish(*value));
            }
            results
        }};
    }
    let sure = |value: f32| Ok::<_, ModelError>(value);
    let numbers = match &data.numbers {
        Numbers::F32(v) => {
            Numbers::F32(reduced!(v, f32::from(empty), |a, b| sure((reduction.single)(a, b)), |x: f32| x / each as f32))
        }
        Numbers::F64(v) => Numbers::F64(reduced!(
            v,
            f64::from(empty),
            |a, b| Ok::<_, ModelError>((reduction.double)(a, b)),
            |x: f64| x / each as f64
        )),
        Numbers::I64(v) => Numbers::I64(reduced!(
            v,
            i64::from(empty),
            |a, b| (reduction.whole)(a, b).ok_or_else(|| ModelError::value("whole numbers overflow")),
            |x: i64| x
        )),
    };
    drop(seen);
    budget.give(count);
    Ok(vec![Array { shape, numbers }])
}
