//! The rules: each turns one ONNX operator that reads a flow into nodes of the network.

mod layout;

use lipbound_lipschitz::ModelError;

use super::{Importer, Op, Value};

/// A rule: the values of the operator's outputs from those of its inputs (`None` for one that is left out). It takes all
/// attributes it knows from `op.attributes`; the driver refuses what is left.
pub(super) type Rule = fn(&mut Importer, &mut Op, &[Option<Value>]) -> Result<Vec<Value>, ModelError>;

/// Every operator that may read a flow.
pub(super) const RULES: &[(&str, Rule)] = &[("Identity", layout::identity), ("Relu", layout::relu)];
