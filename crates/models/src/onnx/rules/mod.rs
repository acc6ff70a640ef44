//! The rules: each turns one ONNX operator that reads a flow into nodes of the network.

mod arithmetic;
mod build;
mod convolutions;
mod extrema;
mod layout;
mod matrices;
mod normalisation;
mod padding;
mod pools;
mod reductions;
mod resize;
#[cfg(test)]
mod tests;
mod units;
mod windows;

use lipbound_lipschitz::ModelError;

use super::{Importer, Op, Value};

/// A rule: the values of the operator's outputs from those of its inputs (`None` for one that is left out). It takes all
/// attributes it knows from `op.attributes`; the driver refuses what is left.
pub(super) type Rule = fn(&mut Importer, &mut Op, &[Option<Value>]) -> Result<Vec<Value>, ModelError>;

/// Every operator that may read a flow.
pub(super) const RULES: &[(&str, Rule)] = &[
    ("Abs", units::abs),
    ("Add", arithmetic::add),
    ("AveragePool", pools::average_pool),
    ("BatchNormalization", normalisation::batch_normalization),
    ("Cast", layout::cast),
    ("Clip", units::clip),
    ("Concat", layout::concat),
    ("Conv", convolutions::conv),
    ("ConvTranspose", convolutions::conv_transpose),
    ("DepthToSpace", layout::depth_to_space),
    ("Div", arithmetic::div),
    ("Dropout", layout::dropout),
    ("Expand", layout::expand),
    ("Flatten", layout::flatten),
    ("Gather", layout::gather),
    ("GatherND", layout::gather_nd),
    ("Gemm", matrices::gemm),
    ("GlobalAveragePool", pools::global_average_pool),
    ("GlobalMaxPool", pools::global_max_pool),
    ("HardSigmoid", units::hard_sigmoid),
    ("Identity", layout::identity),
    ("LeakyRelu", units::leaky_relu),
    ("MatMul", matrices::matmul),
    ("Max", extrema::max),
    ("MaxPool", pools::max_pool),
    ("Mean", arithmetic::mean),
    ("Min", extrema::min),
    ("Mul", arithmetic::mul),
    ("Neg", arithmetic::neg),
    ("PRelu", units::prelu),
    ("Pad", padding::pad),
    ("ReduceMax", reductions::max),
    ("ReduceMean", reductions::mean),
    ("ReduceMin", reductions::min),
    ("ReduceSum", reductions::sum),
    ("Relu", units::relu),
    ("Reshape", layout::reshape),
    ("Resize", resize::resize),
    ("Slice", layout::slice),
    ("SpaceToDepth", layout::space_to_depth),
    ("Split", layout::split),
    ("Squeeze", layout::squeeze),
    ("Sub", arithmetic::sub),
    ("Sum", arithmetic::sum),
    ("Tile", layout::tile),
    ("Transpose", layout::transpose),
    ("Unsqueeze", layout::unsqueeze),
    ("Upsample", resize::resize),
];
