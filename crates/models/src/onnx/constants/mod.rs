//! Operators whose inputs are all constant: they are computed, in the precision of their operands.
//!
//! A runtime that folds constants would compute the same. Half precisions are computed with in single precision, and whole
//! numbers of all widths in 64 bits, where an overflow is an error.

mod arithmetic;
mod make;
mod product;
mod reduce;
mod shapes;
mod view;

use lipbound_lipschitz::ModelError;

use super::{
    Op,
    array::{self, Array},
    budget::Budget,
};

pub(super) use shapes::of_shape;

/// Computes an operator: the values of its outputs from those of its inputs (`None` for one that is left out).
pub(super) type Fold = fn(&mut Budget, &mut Op, &[Option<Array>]) -> Result<Vec<Array>, ModelError>;

/// Every operator that is computed.
pub(super) const FOLDS: &[(&str, Fold)] = &[
    ("Abs", arithmetic::abs),
    ("Add", arithmetic::add),
    ("And", arithmetic::and),
    ("Cast", arithmetic::cast),
    ("Ceil", arithmetic::ceil),
    ("Clip", arithmetic::clip),
    ("Concat", shapes::concat),
    ("Constant", make::constant),
    ("ConstantOfShape", make::constant_of_shape),
    ("Div", arithmetic::div),
    ("Dropout", shapes::dropout),
    ("Equal", arithmetic::equal),
    ("Expand", shapes::expand),
    ("Flatten", shapes::flatten),
    ("Floor", arithmetic::floor),
    ("Gather", shapes::gather),
    ("Gemm", product::gemm),
    ("Greater", arithmetic::greater),
    ("GreaterOrEqual", arithmetic::greater_or_equal),
    ("Identity", shapes::identity),
    ("Less", arithmetic::less),
    ("LessOrEqual", arithmetic::less_or_equal),
    ("MatMul", product::matmul),
    ("Max", arithmetic::max),
    ("Min", arithmetic::min),
    ("Mod", arithmetic::modulo),
    ("Mul", arithmetic::mul),
    ("Neg", arithmetic::neg),
    ("Not", arithmetic::not),
    ("Or", arithmetic::or),
    ("Pad", shapes::pad),
    ("Pow", arithmetic::pow),
    ("Range", make::range),
    ("Reciprocal", arithmetic::reciprocal),
    ("ReduceMax", reduce::max),
    ("ReduceMean", reduce::mean),
    ("ReduceMin", reduce::min),
    ("ReduceProd", reduce::prod),
    ("ReduceSum", reduce::sum),
    ("Relu", arithmetic::relu),
    ("Reshape", shapes::reshape),
    ("Shape", shapes::shape),
    ("Size", shapes::shape),
    ("Slice", shapes::slice),
    ("Split", shapes::split),
    ("Sqrt", arithmetic::sqrt),
    ("Squeeze", shapes::squeeze),
    ("Sub", arithmetic::sub),
    ("Sum", arithmetic::sum),
    ("Tile", shapes::tile),
    ("Transpose", shapes::transpose),
    ("Unsqueeze", shapes::unsqueeze),
    ("Where", arithmetic::choose),
];

/// An input that has to be there.
fn input<'a>(inputs: &'a [Option<Array>], index: usize, name: &str) -> Result<&'a Array, ModelError> {
    optional(inputs, index).ok_or_else(|| ModelError::model(format!("input {index} ({name}) is missing")))
}

/// An input that may be left out.
fn optional(inputs: &[Option<Array>], index: usize) -> Option<&Array> {
    inputs.get(index).and_then(Option::as_ref)
}

/// At most so many inputs: more would mean something else.
fn at_most(inputs: &[Option<Array>], most: usize) -> Result<(), ModelError> {
    if inputs.len() > most {
        return Err(ModelError::model(format!("has {} inputs, but takes at most {most}", inputs.len())));
    }
    Ok(())
}

/// Whole numbers that are an attribute in old versions and an input in later ones.
fn list(op: &mut Op, inputs: &[Option<Array>], name: &str, index: usize) -> Result<Option<Vec<i64>>, ModelError> {
    let attribute = op.attributes.ints(name)?;
    match (attribute, optional(inputs, index)) {
        (Some(_), Some(_)) => Err(ModelError::model(format!("'{name}' is there twice, as attribute and as input"))),
        (Some(values), None) => Ok(Some(values)),
        (None, Some(array)) if array.len() <= MOST_LISTED => Ok(Some(array.integers()?.to_vec())),
        (None, Some(array)) => Err(ModelError::model(format!("'{name}' has {} entries", array.len()))),
        (None, None) => Ok(None),
    }
}

/// Most entries of a list of axes or sizes; tensors have fewer axes.
const MOST_LISTED: usize = 1024;

/// An axis, which may count from the end.
fn axis(axis: i64, rank: usize) -> Result<usize, ModelError> {
    let signed = rank as i64;
    let resolved = if axis < 0 { axis.checked_add(signed) } else { Some(axis) };
    resolved
        .and_then(|axis| usize::try_from(axis).ok())
        .filter(|&axis| axis < rank)
        .ok_or_else(|| ModelError::shape(format!("axis {axis} of a tensor of {rank} axes")))
}

/// Distinct axes.
fn axes(list: &[i64], rank: usize) -> Result<Vec<bool>, ModelError> {
    let mut chosen = vec![false; rank];
    for &entry in list {
        let axis = axis(entry, rank)?;
        if std::mem::replace(&mut chosen[axis], true) {
            return Err(ModelError::shape(format!("axis {axis} is there twice")));
        }
    }
    Ok(chosen)
}

/// A size: not negative.
fn size(value: i64) -> Result<usize, ModelError> {
    usize::try_from(value).map_err(|_| ModelError::shape(format!("a size of {value}")))
}

/// The same numbers in another shape.
fn reshaped(array: &Array, shape: Vec<usize>) -> Result<Array, ModelError> {
    if array::elements(&shape)? != array.len() {
        return Err(ModelError::shape(format!("shape {:?} cannot become {shape:?}", array.shape)));
    }
    Ok(Array { shape, numbers: array.numbers.clone() })
}

#[cfg(test)]
mod tests;
