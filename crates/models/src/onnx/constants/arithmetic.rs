//! Element-wise operators.

use lipbound_lipschitz::ModelError;

use super::{at_most, input, optional, view};
use crate::onnx::{
    Op,
    array::{Array, Numbers, filled, try_filled},
    budget::Budget,
    tensor::Cast,
};

type Folded = Result<Vec<Array>, ModelError>;

/// Operators that have no meaning for a type.
fn no_meaning(what: &str) -> ModelError {
    ModelError::model(format!("is not supported for {what}"))
}

fn overflow() -> ModelError {
    ModelError::value("whole numbers overflow or divide by zero")
}

/// One number from one.
fn unary(
    budget: &mut Budget,
    inputs: &[Option<Array>],
    single: impl Fn(f32) -> f32,
    double: impl Fn(f64) -> f64,
    whole: Option<impl Fn(i64) -> Option<i64>>,
) -> Folded {
    at_most(inputs, 1)?;
    let array = input(inputs, 0, "X")?;
    let count = array.len();
    budget.work(count)?;
    budget.take_elements(count, array.numbers.size())?;
    let numbers = match (&array.numbers, whole) {
        (Numbers::F32(v), _) => Numbers::F32(filled(count, v.iter().map(|&x| single(x)))),
        (Numbers::F64(v), _) => Numbers::F64(filled(count, v.iter().map(|&x| double(x)))),
        (Numbers::I64(v), Some(whole)) => {
            let mut v = v.iter();
            Numbers::I64(try_filled(count, || whole(*v.next().expect("counted")).ok_or_else(overflow))?)
        }
        (Numbers::I64(_), None) => return Err(no_meaning("whole numbers")),
    };
    Ok(vec![Array { shape: array.shape.clone(), numbers }])
}

/// No meaning for whole numbers.
const NONE: Option<fn(i64) -> Option<i64>> = None;

macro_rules! unaries {
    ($($name:ident: $single:expr, $double:expr, $whole:expr;)*) => {$(
        pub(super) fn $name(budget: &mut Budget, _: &mut Op, inputs: &[Option<Array>]) -> Folded {
            unary(budget, inputs, $single, $double, $whole)
        }
    )*};
}

unaries! {
    neg: |x| -x, |x| -x, Some(i64::checked_neg);
    abs: f32::abs, f64::abs, Some(i64::checked_abs);
    sqrt: f32::sqrt, f64::sqrt, NONE;
    reciprocal: f32::recip, f64::recip, NONE;
    floor: f32::floor, f64::floor, NONE;
    ceil: f32::ceil, f64::ceil, NONE;
    relu: |x| max32(x, 0.0), |x| max64(x, 0.0), Some(|x: i64| Some(x.max(0)));
}

pub(super) fn cast(budget: &mut Budget, op: &mut Op, inputs: &[Option<Array>]) -> Folded {
    at_most(inputs, 1)?;
    let array = input(inputs, 0, "input")?;
    let to = op.attributes.optional_int("to")?.ok_or_else(|| ModelError::model("attribute 'to' is missing"))?;
    // These matter for casts to 8-bit floats alone, which are refused.
    op.attributes.take("saturate");
    op.attributes.take("round_mode");
    let numbers = Cast::new(to)?.apply(&array.numbers, budget)?;
    Ok(vec![Array { shape: array.shape.clone(), numbers }])
}

/// One number from two of the same type, broadcast.
fn binary(
    budget: &mut Budget,
    a: &Array,
    b: &Array,
    single: impl Fn(f32, f32) -> f32,
    double: impl Fn(f64, f64) -> f64,
    whole: impl Fn(i64, i64) -> Option<i64>,
) -> Result<Array, ModelError> {
    let shape = view::broadcast([&a.shape[..], &b.shape[..]].into_iter())?;
    let count = shape.iter().product();
    budget.work(count)?;
    budget.take_elements(count, a.numbers.size())?;
    let mut pairs = view::spread(&a.shape, &shape).zip(view::spread(&b.shape, &shape));
    let numbers = match (&a.numbers, &b.numbers) {
        (Numbers::F32(a), Numbers::F32(b)) => Numbers::F32(filled(count, pairs.map(|(i, j)| single(a[i], b[j])))),
        (Numbers::F64(a), Numbers::F64(b)) => Numbers::F64(filled(count, pairs.map(|(i, j)| double(a[i], b[j])))),
        (Numbers::I64(a), Numbers::I64(b)) => Numbers::I64(try_filled(count, || {
            let (i, j) = pairs.next().expect("counted");
            whole(a[i], b[j]).ok_or_else(overflow)
        })?),
        _ => return Err(no_meaning("operands of different types")),
    };
    Ok(Array { shape, numbers })
}

fn two(inputs: &[Option<Array>]) -> Result<(&Array, &Array), ModelError> {
    at_most(inputs, 2)?;
    Ok((input(inputs, 0, "A")?, input(inputs, 1, "B")?))
}

macro_rules! binaries {
    ($($name:ident: $single:expr, $double:expr, $whole:expr;)*) => {$(
        pub(super) fn $name(budget: &mut Budget, _: &mut Op, inputs: &[Option<Array>]) -> Folded {
            let (a, b) = two(inputs)?;
            Ok(vec![binary(budget, a, b, $single, $double, $whole)?])
        }
    )*};
}

binaries! {
    add: |a, b| a + b, |a, b| a + b, i64::checked_add;
    sub: |a, b| a - b, |a, b| a - b, i64::checked_sub;
    mul: |a, b| a * b, |a, b| a * b, i64::checked_mul;
    div: |a, b| a / b, |a, b| a / b, i64::checked_div;
}

pub(super) fn modulo(budget: &mut Budget, op: &mut Op, inputs: &[Option<Array>]) -> Folded {
    let (a, b) = two(inputs)?;
    let like_c = op.attributes.int("fmod", 0)? != 0;
    if !like_c && !matches!(a.numbers, Numbers::I64(_)) {
        return Err(ModelError::model("needs fmod = 1 for floating-point numbers"));
    }
    // Without fmod, the sign is that of the divisor.
    let whole = |a: i64, b: i64| {
        let rest = a.checked_rem(b)?;
        Some(if !like_c && rest != 0 && (rest < 0) != (b < 0) { rest + b } else { rest })
    };
    Ok(vec![binary(budget, a, b, |a, b| a % b, |a, b| a % b, whole)?])
}

pub(super) fn pow(budget: &mut Budget, _: &mut Op, inputs: &[Option<Array>]) -> Folded {
    let (a, b) = two(inputs)?;
    // The exponent may be of another type; the result is of that of the base.
    let exponent = match (&a.numbers, &b.numbers) {
        (Numbers::F32(_), Numbers::F64(_) | Numbers::I64(_)) => Some(1),
        (Numbers::F64(_), Numbers::F32(_) | Numbers::I64(_)) => Some(11),
        _ => None,
    };
    let converted = match exponent {
        Some(to) => Some(Array { shape: b.shape.clone(), numbers: Cast::new(to)?.apply(&b.numbers, budget)? }),
        None => None,
    };
    let whole = |a: i64, b: i64| a.checked_pow(u32::try_from(b).ok()?);
    let result = binary(budget, a, converted.as_ref().unwrap_or(b), f32::powf, f64::powf, whole)?;
    if let Some(array) = converted {
        budget.release(array);
    }
    Ok(vec![result])
}

/// The larger; not a number if one is not.
pub(super) fn max32(a: f32, b: f32) -> f32 {
    if a.is_nan() || a > b { a } else { b }
}

/// The larger; not a number if one is not.
pub(super) fn max64(a: f64, b: f64) -> f64 {
    if a.is_nan() || a > b { a } else { b }
}

/// The smaller; not a number if one is not.
pub(super) fn min32(a: f32, b: f32) -> f32 {
    if a.is_nan() || a < b { a } else { b }
}

/// The smaller; not a number if one is not.
pub(super) fn min64(a: f64, b: f64) -> f64 {
    if a.is_nan() || a < b { a } else { b }
}

macro_rules! variadics {
    ($($name:ident: $single:expr, $double:expr, $whole:expr;)*) => {$(
        pub(super) fn $name(budget: &mut Budget, _: &mut Op, inputs: &[Option<Array>]) -> Folded {
            let mut result = input(inputs, 0, "data_0")?.clone();
            for i in 1..inputs.len() {
                let next = binary(budget, &result, input(inputs, i, "data")?, $single, $double, $whole)?;
                // What came between is ours alone; the first is still the input's.
                budget.release(std::mem::replace(&mut result, next));
            }
            Ok(vec![result])
        }
    )*};
}

variadics! {
    max: max32, max64, |a, b| Some(a.max(b));
    min: min32, min64, |a, b| Some(a.min(b));
    sum: |a, b| a + b, |a, b| a + b, i64::checked_add;
}

pub(super) fn clip(budget: &mut Budget, op: &mut Op, inputs: &[Option<Array>]) -> Folded {
    at_most(inputs, if op.opset < 11 { 1 } else { 3 })?;
    let mut result = input(inputs, 0, "input")?.clone();
    let [low, high] =
        ["min", "max"].map(|name| if op.opset < 11 { op.attributes.optional_float(name) } else { Ok(None) });
    let attribute = |value: Option<f32>| -> Result<Option<Array>, ModelError> {
        let Some(value) = value else { return Ok(None) };
        let numbers = match inputs[0].as_ref().map(|array| &array.numbers) {
            Some(Numbers::F32(_)) => Numbers::F32([value].into()),
            Some(Numbers::F64(_)) => Numbers::F64([value.into()].into()),
            _ => return Err(no_meaning("whole numbers")),
        };
        Ok(Some(Array { shape: vec![], numbers }))
    };
    let low = attribute(low?)?.or_else(|| optional(inputs, 1).cloned());
    let high = attribute(high?)?.or_else(|| optional(inputs, 2).cloned());
    for (end, lower) in [(low, true), (high, false)] {
        let Some(end) = end else { continue };
        if end.len() != 1 {
            return Err(ModelError::shape(format!("an end of shape {:?}, but it must be one number", end.shape)));
        }
        let end = super::reshaped(&end, vec![])?;
        let next = if lower {
            binary(budget, &result, &end, max32, max64, |a, b| Some(a.max(b)))?
        } else {
            binary(budget, &result, &end, min32, min64, |a, b| Some(a.min(b)))?
        };
        budget.release(std::mem::replace(&mut result, next));
    }
    Ok(vec![result])
}

/// One or zero from two of the same type.
fn compare(
    budget: &mut Budget,
    inputs: &[Option<Array>],
    float: impl Fn(f64, f64) -> bool,
    whole: impl Fn(i64, i64) -> bool,
) -> Folded {
    let (a, b) = two(inputs)?;
    let shape = view::broadcast([&a.shape[..], &b.shape[..]].into_iter())?;
    let count = shape.iter().product();
    budget.work(count)?;
    budget.take_elements(count, size_of::<i64>())?;
    let pairs = view::spread(&a.shape, &shape).zip(view::spread(&b.shape, &shape));
    let numbers = match (&a.numbers, &b.numbers) {
        // Single precision widens exactly, so this compares what a runtime compares.
        (Numbers::F32(a), Numbers::F32(b)) => filled(count, pairs.map(|(i, j)| float(a[i].into(), b[j].into()).into())),
        (Numbers::F64(a), Numbers::F64(b)) => filled(count, pairs.map(|(i, j)| float(a[i], b[j]).into())),
        (Numbers::I64(a), Numbers::I64(b)) => filled(count, pairs.map(|(i, j)| whole(a[i], b[j]).into())),
        _ => return Err(no_meaning("operands of different types")),
    };
    Ok(vec![Array { shape, numbers: Numbers::I64(numbers) }])
}

macro_rules! comparisons {
    ($($name:ident: $operator:tt;)*) => {$(
        pub(super) fn $name(budget: &mut Budget, _: &mut Op, inputs: &[Option<Array>]) -> Folded {
            compare(budget, inputs, |a, b| a $operator b, |a, b| a $operator b)
        }
    )*};
}

comparisons! {
    equal: ==;
    less: <;
    less_or_equal: <=;
    greater: >;
    greater_or_equal: >=;
}

/// Booleans are whole numbers.
fn booleans(inputs: &[Option<Array>]) -> Result<(), ModelError> {
    inputs.iter().flatten().try_for_each(|array| match &array.numbers {
        Numbers::I64(v) if v.iter().all(|v| matches!(v, 0 | 1)) => Ok(()),
        _ => Err(no_meaning("anything but booleans")),
    })
}

pub(super) fn and(budget: &mut Budget, _: &mut Op, inputs: &[Option<Array>]) -> Folded {
    booleans(inputs)?;
    compare(budget, inputs, |_, _| false, |a, b| a == 1 && b == 1)
}

pub(super) fn or(budget: &mut Budget, _: &mut Op, inputs: &[Option<Array>]) -> Folded {
    booleans(inputs)?;
    compare(budget, inputs, |_, _| false, |a, b| a == 1 || b == 1)
}

pub(super) fn not(budget: &mut Budget, _: &mut Op, inputs: &[Option<Array>]) -> Folded {
    booleans(inputs)?;
    unary(budget, inputs, |x| x, |x| x, Some(|x: i64| Some(1 - x)))
}

pub(super) fn choose(budget: &mut Budget, _: &mut Op, inputs: &[Option<Array>]) -> Folded {
    at_most(inputs, 3)?;
    let (condition, a, b) = (input(inputs, 0, "condition")?, input(inputs, 1, "X")?, input(inputs, 2, "Y")?);
    booleans(&inputs[..1])?;
    let condition_values = condition.integers()?;
    let shape = view::broadcast([&condition.shape[..], &a.shape[..], &b.shape[..]].into_iter())?;
    let count = shape.iter().product();
    budget.work(count)?;
    budget.take_elements(count, a.numbers.size())?;
    let pairs = view::spread(&condition.shape, &shape)
        .map(|i| condition_values[i] != 0)
        .zip(view::spread(&a.shape, &shape).zip(view::spread(&b.shape, &shape)));
    macro_rules! chosen {
        ($a:expr, $b:expr) => {
            filled(count, pairs.map(|(first, (i, j))| if first { $a[i] } else { $b[j] }))
        };
    }
    let numbers = match (&a.numbers, &b.numbers) {
        (Numbers::F32(a), Numbers::F32(b)) => Numbers::F32(chosen!(a, b)),
        (Numbers::F64(a), Numbers::F64(b)) => Numbers::F64(chosen!(a, b)),
        (Numbers::I64(a), Numbers::I64(b)) => Numbers::I64(chosen!(a, b)),
        _ => return Err(no_meaning("operands of different types")),
    };
    Ok(vec![Array { shape, numbers }])
}
