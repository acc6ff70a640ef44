//! Folds against what the ONNX specification says, worked out by hand.

use std::collections::BTreeMap;

use super::*;
use crate::onnx::{
    array::Numbers,
    graph::{Attribute, Attributes},
};

fn f(shape: &[usize], values: &[f32]) -> Array {
    Array { shape: shape.to_vec(), numbers: Numbers::F32(values.into()) }
}

fn i(shape: &[usize], values: &[i64]) -> Array {
    Array { shape: shape.to_vec(), numbers: Numbers::I64(values.into()) }
}

fn list(values: &[i64]) -> Array {
    i(&[values.len()], values)
}

fn run(
    kind: &str,
    opset: i64,
    attributes: &[(&str, Attribute)],
    inputs: &[Option<Array>],
    outputs: usize,
) -> Result<Vec<Array>, ModelError> {
    let attributes: BTreeMap<String, Attribute> = attributes.iter().map(|(n, v)| (n.to_string(), v.clone())).collect();
    let mut op = Op {
        name: "n".into(),
        kind: kind.into(),
        opset,
        inputs: vec!["i".into(); inputs.len()],
        outputs: vec!["o".into(); outputs],
        attributes: Attributes::new(attributes),
    };
    let (_, fold) = FOLDS.iter().find(|(known, _)| *known == kind).expect("a known operator");
    let results = fold(&mut Budget::of_file(0), &mut op, inputs)?;
    op.attributes.finish()?;
    for array in &results {
        assert_eq!(array::elements(&array.shape).unwrap(), array.len(), "{kind}");
    }
    Ok(results)
}

#[track_caller]
fn gives(kind: &str, attributes: &[(&str, Attribute)], inputs: &[Array], expected: Array) {
    let inputs: Vec<_> = inputs.iter().cloned().map(Some).collect();
    assert_eq!(run(kind, 17, attributes, &inputs, 1).unwrap(), [expected]);
}

#[track_caller]
fn fails(kind: &str, attributes: &[(&str, Attribute)], inputs: &[Array], part: &str) {
    let inputs: Vec<_> = inputs.iter().cloned().map(Some).collect();
    let error = run(kind, 17, attributes, &inputs, 1).unwrap_err().to_string();
    assert!(error.contains(part), "{error}");
}

#[test]
fn the_table_is_sorted_and_has_each_operator_once() {
    assert!(FOLDS.windows(2).all(|pair| pair[0].0 < pair[1].0));
}

#[test]
fn arithmetic_is_in_the_precision_of_its_operands() {
    // In single precision, the one of 2^24 + 1 is lost.
    gives("Add", &[], &[f(&[2], &[0.5, 16_777_216.0]), f(&[2], &[0.25, 1.0])], f(&[2], &[0.75, 16_777_216.0]));
    gives("Div", &[], &[f(&[1], &[1.0]), f(&[], &[3.0])], f(&[1], &[0.333_333_34]));
    gives("Div", &[], &[list(&[-7, 7]), list(&[2])], list(&[-3, 3]));
    fails("Div", &[], &[list(&[1]), list(&[0])], "divide by zero");
    fails("Add", &[], &[list(&[i64::MAX]), list(&[1])], "overflow");
    fails("Add", &[], &[list(&[1]), f(&[1], &[1.0])], "different types");
    gives("Mod", &[], &[list(&[-4, 7, 5, 4, -7, 8]), list(&[2, -3, 8, -2, 3, 5])], list(&[0, -2, 5, 0, 2, 3]));
    let fmod = [("fmod", Attribute::Int(1))];
    gives("Mod", &fmod, &[list(&[-4, 7, 5, 4, -7, 8]), list(&[2, -3, 8, -2, 3, 5])], list(&[0, 1, 5, 0, -1, 3]));
    gives("Pow", &[], &[f(&[3], &[1.0, 2.0, 3.0]), list(&[4, 5, 6])], f(&[3], &[1.0, 32.0, 729.0]));
    gives("Pow", &[], &[list(&[2, -3]), list(&[10, 3])], list(&[1024, -27]));
    gives("Sqrt", &[], &[f(&[2], &[4.0, 2.0])], f(&[2], &[2.0, std::f32::consts::SQRT_2]));
    gives("Floor", &[], &[f(&[2], &[-1.5, 1.2])], f(&[2], &[-2.0, 1.0]));
    gives("Ceil", &[], &[f(&[2], &[-1.5, 1.2])], f(&[2], &[-1.0, 2.0]));
    fails("Sqrt", &[], &[list(&[4])], "whole numbers");
    gives("Max", &[], &[list(&[3, 2]), list(&[1, 4]), list(&[2])], list(&[3, 4]));
    gives("Sum", &[], &[f(&[1], &[1.0]), f(&[2, 1], &[2.0, 3.0])], f(&[2, 1], &[3.0, 4.0]));
    let nan = run("Max", 17, &[], &[Some(f(&[2], &[f32::NAN, 1.0])), Some(f(&[2], &[1.0, f32::NAN]))], 1).unwrap();
    assert!(matches!(&nan[0].numbers, Numbers::F32(v) if v.iter().all(|v| v.is_nan())));
    gives("Clip", &[], &[f(&[3], &[-2.0, 0.0, 2.0]), f(&[], &[-1.0]), f(&[], &[1.0])], f(&[3], &[-1.0, 0.0, 1.0]));
}

#[test]
fn comparisons_and_choices_broadcast() {
    gives("Less", &[], &[f(&[2, 1], &[1.0, 2.0]), f(&[2], &[1.5, 3.0])], i(&[2, 2], &[1, 1, 0, 1]));
    gives("Equal", &[], &[list(&[1, -1]), list(&[-1])], list(&[0, 1]));
    gives("Not", &[], &[list(&[1, 0])], list(&[0, 1]));
    gives("And", &[], &[list(&[1, 0]), list(&[1])], list(&[1, 0]));
    gives("Where", &[], &[i(&[2, 1], &[1, 0]), list(&[1, 2]), list(&[3])], i(&[2, 2], &[1, 2, 3, 3]));
    fails("Not", &[], &[list(&[2])], "booleans");
    fails("Add", &[], &[list(&[1, 2]), list(&[1, 2, 3])], "do not broadcast");
}

#[test]
fn numbers_move_to_their_places() {
    let six = i(&[2, 3], &[0, 1, 2, 3, 4, 5]);
    gives("Transpose", &[], std::slice::from_ref(&six), i(&[3, 2], &[0, 3, 1, 4, 2, 5]));
    gives("Gather", &[("axis", Attribute::Int(1))], &[six.clone(), list(&[-1, 0])], i(&[2, 2], &[2, 0, 5, 3]));
    gives("Gather", &[], &[list(&[5, 6]), i(&[], &[1])], i(&[], &[6]));
    fails("Gather", &[], &[six.clone(), list(&[2])], "index 2");
    gives(
        "Concat",
        &[("axis", Attribute::Int(-1))],
        &[six.clone(), i(&[2, 1], &[8, 9])],
        i(&[2, 4], &[0, 1, 2, 8, 3, 4, 5, 9]),
    );
    gives("Expand", &[], &[i(&[3, 1], &[1, 2, 3]), list(&[1, 2])], i(&[3, 2], &[1, 1, 2, 2, 3, 3]));
    gives("Tile", &[], &[i(&[2, 2], &[0, 1, 2, 3]), list(&[1, 2])], i(&[2, 4], &[0, 1, 0, 1, 2, 3, 2, 3]));
    gives("Reshape", &[], &[six.clone(), list(&[0, -1, 1])], i(&[2, 3, 1], &[0, 1, 2, 3, 4, 5]));
    fails("Reshape", &[], &[six.clone(), list(&[4, -1])], "cannot become");
    fails("Reshape", &[], &[six.clone(), list(&[-1, -1])], "size of -1");
    gives("Flatten", &[("axis", Attribute::Int(0))], std::slice::from_ref(&six), i(&[1, 6], &[0, 1, 2, 3, 4, 5]));
    gives("Unsqueeze", &[], &[list(&[7, 8]), list(&[-1, 0])], i(&[1, 2, 1], &[7, 8]));
    gives("Squeeze", &[], &[i(&[1, 2, 1], &[7, 8]), list(&[0])], i(&[2, 1], &[7, 8]));
    gives("Squeeze", &[], &[i(&[1, 2, 1], &[7, 8])], list(&[7, 8]));
    fails("Squeeze", &[], &[list(&[7, 8]), list(&[0])], "cannot become");
    gives("Pad", &[], &[i(&[1, 2], &[1, 2]), list(&[0, 1, 1, 0]), i(&[], &[9])], i(&[2, 3], &[9, 1, 2, 9, 9, 9]));
}

#[test]
fn slices_count_from_both_ends() {
    let slice = |starts: &[i64], ends: &[i64], axes: &[i64], steps: &[i64], expected: Array| {
        let data = i(&[2, 4], &[1, 2, 3, 4, 5, 6, 7, 8]);
        gives("Slice", &[], &[data, list(starts), list(ends), list(axes), list(steps)], expected);
    };
    // The examples of the specification.
    slice(&[1, 0], &[2, 3], &[0, 1], &[1, 2], i(&[1, 2], &[5, 7]));
    slice(&[0, 1], &[-1, 1000], &[0, 1], &[1, 1], i(&[1, 3], &[2, 3, 4]));
    slice(&[-1], &[i64::MIN], &[1], &[-1], i(&[2, 4], &[4, 3, 2, 1, 8, 7, 6, 5]));
    slice(&[3], &[0], &[1], &[-2], i(&[2, 2], &[4, 2, 8, 6]));
    slice(&[i64::MIN], &[i64::MAX], &[1], &[i64::MAX], i(&[2, 1], &[1, 5]));
    slice(&[3], &[1], &[1], &[1], i(&[2, 0], &[]));
    let old =
        [("starts", Attribute::Ints(vec![1])), ("ends", Attribute::Ints(vec![9])), ("axes", Attribute::Ints(vec![0]))];
    assert_eq!(run("Slice", 9, &old, &[Some(list(&[1, 2, 3]))], 1).unwrap(), [list(&[2, 3])]);
}

#[test]
fn splits_have_equal_or_given_sizes() {
    let six = || Some(list(&[1, 2, 3, 4, 5, 6]));
    assert_eq!(run("Split", 13, &[], &[six()], 2).unwrap(), [list(&[1, 2, 3]), list(&[4, 5, 6])]);
    assert_eq!(run("Split", 13, &[], &[six(), Some(list(&[2, 4]))], 2).unwrap(), [list(&[1, 2]), list(&[3, 4, 5, 6])]);
    let old = [("split", Attribute::Ints(vec![5, 1]))];
    assert_eq!(run("Split", 11, &old, &[six()], 2).unwrap(), [list(&[1, 2, 3, 4, 5]), list(&[6])]);
    let four = [("num_outputs", Attribute::Int(4))];
    assert_eq!(run("Split", 18, &four, &[six()], 4).unwrap()[3], list(&[]));
    assert!(run("Split", 13, &[], &[six()], 4).is_err());
    assert!(run("Split", 13, &[], &[six(), Some(list(&[2, 5]))], 2).is_err());
}

#[test]
fn reductions_take_axes_as_their_version_says() {
    let data = || f(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 7.0]);
    gives("ReduceSum", &[("keepdims", Attribute::Int(0))], &[data(), list(&[1])], f(&[2], &[6.0, 16.0]));
    gives("ReduceSum", &[], &[data()], f(&[1, 1], &[22.0]));
    gives("ReduceSum", &[("noop_with_empty_axes", Attribute::Int(1))], &[data()], data());
    gives("ReduceMax", &[("axes", Attribute::Ints(vec![0]))], &[data()], f(&[1, 3], &[4.0, 5.0, 7.0]));
    gives("ReduceMin", &[("axes", Attribute::Ints(vec![-1]))], &[data()], f(&[2, 1], &[1.0, 4.0]));
    gives("ReduceMean", &[("axes", Attribute::Ints(vec![0]))], &[data()], f(&[1, 3], &[2.5, 3.5, 5.0]));
    gives("ReduceProd", &[("keepdims", Attribute::Int(0))], &[list(&[1, 3, 8])], i(&[], &[24]));
    gives("ReduceProd", &[("keepdims", Attribute::Int(0))], &[list(&[])], i(&[], &[1]));
    assert!(run("ReduceMax", 17, &[], &[Some(data()), Some(list(&[1]))], 1).is_err());
    assert!(run("ReduceMax", 18, &[], &[Some(data()), Some(list(&[1]))], 1).is_ok());
}

#[test]
fn products_of_matrices() {
    let a = f(&[2, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    let b = f(&[3, 2], &[1.0, 0.0, 0.0, 1.0, 1.0, 1.0]);
    gives("MatMul", &[], &[a.clone(), b.clone()], f(&[2, 2], &[4.0, 5.0, 10.0, 11.0]));
    gives("MatMul", &[], &[a.clone(), f(&[3], &[1.0, 1.0, 1.0])], f(&[2], &[6.0, 15.0]));
    gives("MatMul", &[], &[f(&[2], &[1.0, 1.0]), a.clone()], f(&[3], &[5.0, 7.0, 9.0]));
    // The left matrices are two, and the right one serves both.
    let two = f(&[2, 1, 3], &[1.0, 2.0, 3.0, 4.0, 5.0, 6.0]);
    gives("MatMul", &[], &[two, b.clone()], f(&[2, 1, 2], &[4.0, 5.0, 10.0, 11.0]));
    fails("MatMul", &[], &[a.clone(), a.clone()], "do not multiply");
    let turned = [("transA", Attribute::Int(1)), ("transB", Attribute::Int(1)), ("alpha", Attribute::Float(2.0))];
    // The transposes: 3 rows of 2 by 2 rows of 3.
    let at = f(&[3, 2], &[1.0, 4.0, 2.0, 5.0, 3.0, 6.0]);
    let bt = f(&[2, 3], &[1.0, 0.0, 1.0, 0.0, 1.0, 1.0]);
    gives("Gemm", &turned, &[at, bt, f(&[2], &[1.0, 0.0])], f(&[2, 2], &[9.0, 10.0, 21.0, 22.0]));
    gives(
        "Gemm",
        &[("beta", Attribute::Float(0.5))],
        &[a, b, f(&[2, 1], &[2.0, 4.0])],
        f(&[2, 2], &[5.0, 6.0, 12.0, 13.0]),
    );
}

#[test]
fn constants_come_from_attributes_shapes_and_ranges() {
    let constant = |name: &str, value: Attribute| run("Constant", 17, &[(name, value)], &[], 1);
    assert_eq!(constant("value_int", Attribute::Int(3)).unwrap(), [i(&[], &[3])]);
    assert_eq!(constant("value_floats", Attribute::Floats(vec![1.0, 2.0])).unwrap(), [f(&[2], &[1.0, 2.0])]);
    assert_eq!(constant("value", Attribute::Tensor(list(&[1]))).unwrap(), [list(&[1])]);
    assert!(constant("value_string", Attribute::String("a".into())).is_err());
    assert!(run("Constant", 17, &[], &[], 1).is_err());
    gives("ConstantOfShape", &[], &[list(&[2])], f(&[2], &[0.0, 0.0]));
    gives("ConstantOfShape", &[("value", Attribute::Tensor(list(&[7])))], &[list(&[])], i(&[], &[7]));
    gives("Range", &[], &[i(&[], &[10]), i(&[], &[4]), i(&[], &[-2])], list(&[10, 8, 6]));
    gives("Range", &[], &[i(&[], &[3]), i(&[], &[3]), i(&[], &[1])], list(&[]));
    gives("Range", &[], &[f(&[], &[1.0]), f(&[], &[2.0]), f(&[], &[0.5])], f(&[2], &[1.0, 1.5]));
    let shape = i(&[2, 1, 2], &[0; 4]);
    gives("Shape", &[], std::slice::from_ref(&shape), list(&[2, 1, 2]));
    let ends = [("start", Attribute::Int(-2)), ("end", Attribute::Int(-1))];
    gives("Shape", &ends, std::slice::from_ref(&shape), list(&[1]));
    gives("Size", &[], &[shape], i(&[], &[4]));
    gives("Cast", &[("to", Attribute::Int(7))], &[f(&[2], &[-1.7, 2.9])], list(&[-1, 2]));
    gives("Dropout", &[], &[list(&[1]), f(&[], &[0.5])], list(&[1]));
    fails("Dropout", &[], &[list(&[1]), f(&[], &[0.5]), i(&[], &[1])], "training");
}
