//! The input of a graph: which it is, and its shape.

use lipbound_lipschitz::ModelError;

use super::{
    array::elements,
    schema::{TensorShapeProto, ValueInfoProto, data_type},
};

/// The full shape of an input, with its batch dimension.
///
/// # Errors
/// If it is no tensor of floating-point numbers, or its shape has unknown sizes that `given` does not tell.
pub(super) fn shape(input: &ValueInfoProto, given: Option<&[usize]>) -> Result<Vec<usize>, ModelError> {
    let at = |error: ModelError| error.at(&format!("input '{}'", input.name));
    let tensor = input
        .r#type
        .as_ref()
        .and_then(|t| t.tensor_type.as_ref())
        .ok_or_else(|| at(ModelError::model("is not declared to be a tensor")))?;
    if !matches!(tensor.elem_type, data_type::FLOAT | data_type::DOUBLE | data_type::FLOAT16 | data_type::BFLOAT16) {
        return Err(at(ModelError::model(format!(
            "has elements of type {}, but a network's input must be of floating point",
            data_type::name(tensor.elem_type)
        ))));
    }
    let shape = match (&tensor.shape, given) {
        (Some(declared), _) => resolved(declared, given).map_err(at)?,
        (None, Some(given)) => given.to_vec(),
        (None, None) => {
            return Err(at(ModelError::shape(
                "the file does not declare its shape; give it as option 'input' (on the command line --input-shape), with the batch dimension",
            )));
        }
    };
    match elements(&shape) {
        Ok(0) => Err(at(ModelError::shape(format!("has shape {shape:?}, but no size may be zero")))),
        Ok(_) => Ok(shape),
        Err(error) => Err(at(error)),
    }
}

/// The declared shape with its unknown sizes filled in.
fn resolved(declared: &TensorShapeProto, given: Option<&[usize]>) -> Result<Vec<usize>, ModelError> {
    let rank = declared.dim.len();
    if rank > 32 {
        return Err(ModelError::shape(format!("has {rank} axes, but at most 32 are read")));
    }
    // Writers put zero or minus one for a size that is not known.
    let known: Vec<Option<usize>> =
        declared.dim.iter().map(|dim| dim.dim_value.and_then(|d| usize::try_from(d).ok()).filter(|&d| d > 0)).collect();
    let shown = || {
        let sizes: Vec<String> = declared
            .dim
            .iter()
            .zip(&known)
            .map(|(dim, known)| match (known, &dim.dim_param) {
                (Some(size), _) => size.to_string(),
                (None, Some(name)) if !name.is_empty() => format!("'{name}'"),
                _ => "?".into(),
            })
            .collect();
        format!("[{}]", sizes.join(", "))
    };
    // Of two axes or more, the first is the batch: one example, if the file leaves it open.
    let mut shape = known.clone();
    if rank > 1 && shape[0].is_none() {
        shape[0] = Some(1);
    }
    if let Some(given) = given {
        let axes = if given.len() == rank {
            &mut shape[..]
        } else if given.len() + 1 == rank {
            &mut shape[1..]
        } else {
            return Err(ModelError::shape(format!(
                "option 'input' is {given:?}, but the file declares the shape {}, of {rank} axes with the batch",
                shown()
            )));
        };
        let first = axes.len() < rank;
        let declared = if first { &known[1..] } else { &known[..] };
        let batch = if first { known[0].filter(|&batch| batch != 1) } else { None };
        if batch.is_some()
            || given.iter().zip(declared).any(|(given, known)| known.is_some_and(|known| known != *given))
        {
            return Err(ModelError::shape(format!(
                "option 'input' is {given:?}, but the file declares the shape {}",
                shown()
            )));
        }
        axes.iter_mut().zip(given).for_each(|(axis, &given)| *axis = Some(given));
    }
    shape.iter().copied().collect::<Option<Vec<_>>>().ok_or_else(|| {
        ModelError::shape(format!(
            "the file leaves sizes of its shape {} open; give the shape of one example as option 'input' (on the command line --input-shape)",
            shown()
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::onnx::schema::{DimensionProto, TensorTypeProto, TypeProto};

    fn input(dims: &[Result<i64, &str>]) -> ValueInfoProto {
        let dim = dims
            .iter()
            .map(|dim| DimensionProto { dim_value: dim.ok(), dim_param: dim.err().map(str::to_string) })
            .collect();
        let tensor_type = Some(TensorTypeProto { elem_type: data_type::FLOAT, shape: Some(TensorShapeProto { dim }) });
        ValueInfoProto { name: "x".into(), r#type: Some(TypeProto { tensor_type }) }
    }

    #[test]
    fn an_open_batch_is_one_example() {
        assert_eq!(shape(&input(&[Err("N"), Ok(3), Ok(8)]), None).unwrap(), [1, 3, 8]);
        assert_eq!(shape(&input(&[Ok(-1), Ok(3)]), None).unwrap(), [1, 3]);
        assert_eq!(shape(&input(&[Ok(7)]), None).unwrap(), [7]);
        assert_eq!(shape(&input(&[Ok(5), Ok(3)]), None).unwrap(), [5, 3]);
    }

    #[test]
    fn other_open_sizes_are_asked_for() {
        let open = input(&[Err("N"), Ok(3), Err("height"), Err("width")]);
        let error = shape(&open, None).unwrap_err().to_string();
        assert!(error.contains("['N', 3, 'height', 'width']") && error.contains("option 'input'"), "{error}");
        assert_eq!(shape(&open, Some(&[3, 8, 9])).unwrap(), [1, 3, 8, 9]);
        assert_eq!(shape(&open, Some(&[1, 3, 8, 9])).unwrap(), [1, 3, 8, 9]);
        assert!(shape(&open, Some(&[4, 8, 9])).unwrap_err().to_string().contains("[4, 8, 9]"));
        assert!(shape(&open, Some(&[8, 9])).is_err());
        assert!(shape(&open, Some(&[3, 0, 9])).is_err());
        assert!(shape(&input(&[Err("n")]), None).is_err());
    }
}
