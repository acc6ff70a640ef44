//! Normalisations with constant statistics.

use lipbound_lipschitz::{BatchNorm2d, ModelError, batch_norm2d};

use super::{
    super::{Array, Importer, Op, Value},
    build::{Outputs, arity, constant, elements, flow, one},
    windows::single,
};

pub(super) fn batch_normalization(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 5, 5)?;
    // Others are statistics of a batch. Before opset 14 it is their number that says whether the operator trains, so they
    // count whether or not somebody reads them.
    let listed = op.outputs.iter().filter(|name| !name.is_empty()).count();
    if listed > 1 {
        return Err(ModelError::model(format!(
            "has {listed} outputs, as in training, but only inference can be bounded: call model.eval() and export again"
        )));
    }
    let input = flow(inputs, 0, "the input")?;
    let count = elements(&input.shape)?;
    // A tensor without axes for channels has one.
    let channels = input.shape.get(1).copied().unwrap_or(1);
    if input.shape.len() > 1 {
        single(input)?;
    }
    let eps = f64::from(op.attributes.float("epsilon", 1e-5)?);
    // How fast running statistics change while a network is trained.
    op.attributes.take("momentum");
    if op.attributes.int("training_mode", 0)? != 0 {
        return Err(ModelError::model(
            "training_mode is set, but only inference can be bounded: call model.eval() and export again",
        ));
    }
    if op.attributes.int("spatial", 1)? != 1 {
        return Err(ModelError::model("spatial must be 1: statistics for each element are not supported"));
    }
    let mut tensors = Vec::with_capacity(4);
    for (i, name) in ["scale", "B", "mean", "var"].into_iter().enumerate() {
        let tensor = constant(inputs, i + 1, name).and_then(Array::tensor)?;
        if tensor.shape() != [channels] {
            return Err(ModelError::shape(format!(
                "{name} has shape {:?}, but an input of shape {:?} needs [{channels}]",
                tensor.shape(),
                input.shape
            )));
        }
        tensors.push(tensor);
    }
    importer.reserve(count, 3 * size_of::<f64>())?;
    let [weight, bias, running_mean, running_var] = &tensors[..] else { unreachable!("four are read above") };
    let (layer, _) = batch_norm2d(
        &[channels, 1, count / channels],
        &BatchNorm2d { weight: Some(weight), bias: Some(bias), running_mean, running_var, eps },
    )?;
    one(importer.push(op, layer, &[input], input.shape.clone(), 4 * channels)?)
}
