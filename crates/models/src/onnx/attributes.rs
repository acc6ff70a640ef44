//! Attributes of a node, decoded.

use std::collections::BTreeMap;

use bytes::Bytes;
use lipbound_lipschitz::ModelError;

use super::{
    array::Array,
    budget::Budget,
    external::ExternalFiles,
    graph::{Attribute, Attributes},
    schema::{AttributeProto, attribute_type as kind},
    tensor, wire,
};

/// Decoded attributes, and what gives their memory back.
pub(super) struct Decoded {
    pub attributes: Attributes,
    cost: usize,
    tensors: Vec<Array>,
}

impl Decoded {
    /// Gives back what the attributes took, once they have been dropped.
    pub fn release(self, budget: &mut Budget) {
        drop(self.attributes);
        budget.give(self.cost);
        self.tensors.into_iter().for_each(|array| budget.release(array));
    }
}

/// Decodes the attributes of a node.
pub(super) fn read(
    attributes: &[Bytes],
    files: &mut ExternalFiles,
    budget: &mut Budget,
) -> Result<Decoded, ModelError> {
    let (mut rest, mut cost, mut tensors) = (BTreeMap::new(), 0, Vec::new());
    for bytes in attributes {
        let (attribute, taken) = wire::decode::<AttributeProto>(bytes, budget).map_err(ModelError::model)?;
        cost += taken;
        let name = attribute.name.clone();
        let at = |error: ModelError| error.at(&format!("attribute '{name}'"));
        let value = value(attribute, files, budget).map_err(at)?;
        if let Attribute::Tensor(array) = &value {
            tensors.push(array.clone());
        }
        if rest.insert(name.clone(), value).is_some() {
            return Err(at(ModelError::model("is there more than once")));
        }
    }
    Ok(Decoded { attributes: Attributes::new(rest), cost, tensors })
}

fn value(attribute: AttributeProto, files: &mut ExternalFiles, budget: &mut Budget) -> Result<Attribute, ModelError> {
    let a = attribute;
    if !a.ref_attr_name.is_empty() {
        return Err(ModelError::model(format!(
            "refers to attribute '{}' of a function, but the node is in none",
            a.ref_attr_name
        )));
    }
    let there = [
        (kind::FLOAT, a.f.is_some()),
        (kind::INT, a.i.is_some()),
        (kind::STRING, a.s.is_some()),
        (kind::TENSOR, a.t.is_some()),
        (kind::GRAPH, a.g.is_some()),
        (kind::FLOATS, !a.floats.is_empty()),
        (kind::INTS, !a.ints.is_empty()),
        (kind::STRINGS, !a.strings.is_empty()),
        (kind::TENSORS, !a.tensors.is_empty()),
        (kind::GRAPHS, !a.graphs.is_empty()),
        (kind::SPARSE_TENSOR, a.sparse_tensor.is_some()),
        (kind::SPARSE_TENSORS, !a.sparse_tensors.is_empty()),
        (kind::TYPE_PROTO, a.tp.is_some()),
        (kind::TYPE_PROTOS, !a.type_protos.is_empty()),
    ];
    let mut present = there.iter().filter(|(_, there)| *there).map(|(kind, _)| *kind);
    let stated = if a.kind == kind::UNDEFINED {
        // The first versions of the format do not say which it is.
        let only = present.next().ok_or_else(|| ModelError::model("has no type and no value"))?;
        if present.next().is_some() {
            return Err(ModelError::model("has no type and several values"));
        }
        only
    } else {
        // Some writers put zeros beside the value.
        let other = present.find(|&kind| {
            kind != a.kind
                && !(kind == kind::FLOAT && a.f == Some(0.0))
                && !(kind == kind::INT && a.i == Some(0))
                && !(kind == kind::STRING && a.s.as_ref().is_some_and(Bytes::is_empty))
        });
        if let Some(other) = other {
            return Err(ModelError::model(format!("says it is of type {}, but has a value of type {other}", a.kind)));
        }
        a.kind
    };
    Ok(match stated {
        // A number that is left out is zero, as in all such files.
        kind::FLOAT => Attribute::Float(a.f.unwrap_or(0.0)),
        kind::INT => Attribute::Int(a.i.unwrap_or(0)),
        kind::STRING => {
            let text = a.s.unwrap_or_default();
            // A string is copied, which its cost as a slice does not have.
            budget.take(text.len())?;
            match String::from_utf8(text.to_vec()) {
                Ok(text) => Attribute::String(text),
                Err(_) => Attribute::Other("a string that is not UTF-8"),
            }
        }
        kind::TENSOR => match a.t {
            Some(bytes) => Attribute::Tensor(tensor::read(&bytes, files, budget)?),
            None => return Err(ModelError::model("says it is a tensor, but has none")),
        },
        kind::FLOATS => Attribute::Floats(a.floats),
        kind::INTS => Attribute::Ints(a.ints),
        kind::GRAPH => Attribute::Other("a graph"),
        kind::STRINGS => Attribute::Other("a list of strings"),
        kind::TENSORS => Attribute::Other("a list of tensors"),
        kind::GRAPHS => Attribute::Other("a list of graphs"),
        kind::SPARSE_TENSOR => Attribute::Other("a sparse tensor"),
        kind::SPARSE_TENSORS => Attribute::Other("a list of sparse tensors"),
        kind::TYPE_PROTO => Attribute::Other("a type"),
        kind::TYPE_PROTOS => Attribute::Other("a list of types"),
        other => return Err(ModelError::model(format!("is of type {other}, which is not known"))),
    })
}
