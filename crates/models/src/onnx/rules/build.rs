//! What rules are made of: shapes, the inputs of an operator, selections, and chains of linear maps.

use std::sync::Arc;

use lipbound_lipschitz::{Affine, Bias, Layer, ModelError, Tensor, TensorData, Units, unit};
use lipbound_operators::{Compose, Diagonal, LinearOperator, Selection};

use super::super::{Array, Flow, Importer, Op, Value, array::filled};

/// What every rule gives: the values of the outputs.
pub(super) type Outputs = Result<Vec<Value>, ModelError>;

/// One output.
pub(super) fn one(flow: Flow) -> Outputs {
    Ok(vec![Value::Flow(flow)])
}

/// Most axes of a tensor: far above those of any model, and few enough for work that grows with their square.
const MOST_AXES: usize = 64;

/// Checks the number of axes of a tensor.
pub(super) fn check_rank(rank: usize) -> Result<(), ModelError> {
    if rank <= MOST_AXES {
        Ok(())
    } else {
        Err(ModelError::shape(format!("a tensor of {rank} axes; {MOST_AXES} are the most that are supported")))
    }
}

/// The number of elements of a shape: at least one and fewer than 2^31, as the core needs it.
pub(super) fn elements(shape: &[usize]) -> Result<usize, ModelError> {
    check_rank(shape.len())?;
    let count = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    count.filter(|n| (1..1 << 31).contains(n)).ok_or_else(|| {
        ModelError::shape(format!("a tensor of shape {shape:?} has no element, or 2^31 elements or more"))
    })
}

/// The shape that two shapes have together, by the rules of NumPy.
pub(super) fn broadcast(a: &[usize], b: &[usize]) -> Result<Vec<usize>, ModelError> {
    let rank = a.len().max(b.len());
    let at = |shape: &[usize], k: usize| (k + shape.len()).checked_sub(rank).map_or(1, |k| shape[k]);
    (0..rank)
        .map(|k| match (at(a, k), at(b, k)) {
            (x, y) if x == y || y == 1 => Ok(x),
            (1, y) => Ok(y),
            _ => Err(ModelError::shape(format!("shapes {a:?} and {b:?} do not broadcast"))),
        })
        .collect()
}

/// Elements from one position of each axis to the next.
pub(super) fn strides(shape: &[usize]) -> Vec<usize> {
    let mut strides = vec![1; shape.len()];
    for k in (1..shape.len()).rev() {
        strides[k - 1] = strides[k] * shape[k];
    }
    strides
}

/// An axis, counted from the end where it is negative.
pub(super) fn axis(axis: i64, rank: usize) -> Result<usize, ModelError> {
    let from_start = if axis < 0 { axis.checked_add_unsigned(rank as u64) } else { Some(axis) };
    from_start
        .and_then(|k| usize::try_from(k).ok())
        .filter(|&k| k < rank)
        .ok_or_else(|| ModelError::shape(format!("axis {axis} is not one of a tensor with {rank} axes")))
}

/// Different axes, as given.
pub(super) fn axes(list: &[i64], rank: usize) -> Result<Vec<usize>, ModelError> {
    check_rank(list.len())?;
    let axes: Vec<usize> = list.iter().map(|&k| axis(k, rank)).collect::<Result<_, _>>()?;
    match (1..axes.len()).find(|&i| axes[..i].contains(&axes[i])) {
        Some(i) => Err(ModelError::model(format!("axis {} is given twice", axes[i]))),
        None => Ok(axes),
    }
}

/// A size from the file: at least `least`, and small enough that products of two cannot overflow.
pub(super) fn size(name: &str, value: i64, least: i64) -> Result<usize, ModelError> {
    match usize::try_from(value) {
        Ok(size) if value >= least && value < 1 << 31 => Ok(size),
        _ => Err(ModelError::model(format!("{name} must be at least {least} and below 2^31, got {value}"))),
    }
}

/// Checks how many inputs there are.
pub(super) fn arity(inputs: &[Option<Value>], least: usize, most: usize) -> Result<(), ModelError> {
    let given = inputs.iter().rposition(Option::is_some).map_or(0, |i| i + 1);
    if (least..=most).contains(&given) {
        Ok(())
    } else {
        Err(ModelError::model(format!("has {given} inputs, but takes from {least} to {most}")))
    }
}

/// Refuses outputs behind the first that somebody reads.
pub(super) fn only_output(op: &Op) -> Result<(), ModelError> {
    match op.outputs.iter().skip(1).find(|name| !name.is_empty()) {
        None => Ok(()),
        Some(name) => Err(ModelError::model(format!("its output '{name}' is used, but only the first can be"))),
    }
}

/// Input `i`, which must depend on the network's input.
pub(super) fn flow<'a>(inputs: &'a [Option<Value>], i: usize, what: &str) -> Result<&'a Flow, ModelError> {
    match inputs.get(i) {
        Some(Some(Value::Flow(flow))) => Ok(flow),
        Some(Some(Value::Constant(_))) => {
            Err(ModelError::model(format!("{what} is constant while another input is not; that has no rule")))
        }
        _ => Err(ModelError::model(format!("{what} is missing"))),
    }
}

/// Input `i`, which must be constant, if it is there.
pub(super) fn optional_constant<'a>(
    inputs: &'a [Option<Value>],
    i: usize,
    what: &str,
) -> Result<Option<&'a Array>, ModelError> {
    match inputs.get(i) {
        Some(Some(Value::Constant(array))) => Ok(Some(array)),
        Some(Some(Value::Flow(_))) => {
            Err(ModelError::model(format!("{what} depends on the network's input, but must be constant")))
        }
        _ => Ok(None),
    }
}

/// Input `i`, which must be constant.
pub(super) fn constant<'a>(inputs: &'a [Option<Value>], i: usize, what: &str) -> Result<&'a Array, ModelError> {
    optional_constant(inputs, i, what)?.ok_or_else(|| ModelError::model(format!("{what} is missing")))
}

/// The weights of a constant: finite, and zero or of a magnitude the bounds are sound for (see `layers` in the core).
pub(super) fn weights(array: &Array, what: &str) -> Result<Tensor, ModelError> {
    let tensor = array.tensor().map_err(|error| error.at(what))?;
    match tensor.data() {
        TensorData::F32(values) => check_magnitudes(what, values.iter().map(|&v| v.into()))?,
        TensorData::F64(values) => check_magnitudes(what, values.iter().copied())?,
    }
    Ok(tensor)
}

/// The check of magnitudes that the core makes of the layers it constructs.
pub(super) fn check_magnitudes(what: &str, values: impl IntoIterator<Item = f64>) -> Result<(), ModelError> {
    let mut values = values.into_iter().enumerate();
    match values.find(|(_, v)| *v != 0.0 && !(1e-45..=1e45).contains(&v.abs())) {
        None => Ok(()),
        Some((i, value)) => Err(ModelError::value(format!(
            "element {i} of {what} is {value:e}; weights must be zero or of a magnitude from 1e-45 to 1e45"
        ))),
    }
}

/// Where an element of a tensor comes from: the flat index is the sum of one offset an axis, given axis and position;
/// `None` is no element at all, a zero.
pub(super) type Offset<'a> = &'a dyn Fn(usize, usize) -> Option<usize>;

/// The flat indices of a tensor of this shape.
fn indices(shape: &[usize], offset: Offset<'_>) -> Vec<u32> {
    let mut indices = vec![0];
    for (k, &length) in shape.iter().enumerate() {
        let steps: Vec<Option<usize>> = (0..length).map(|i| offset(k, i)).collect();
        let mut next = Vec::with_capacity(indices.len() * length);
        for &from in &indices {
            next.extend(steps.iter().map(|step| match step {
                Some(step) if from != Selection::ZERO => from + *step as u32,
                _ => Selection::ZERO,
            }));
        }
        indices = next;
    }
    indices
}

/// The offsets that broadcast a tensor of shape `from` to `to`.
fn broadcasting(from: &[usize], to: &[usize]) -> impl Fn(usize, usize) -> Option<usize> {
    let added = to.len() - from.len();
    let steps: Vec<usize> = strides(from).iter().zip(from).map(|(&s, &d)| if d == 1 { 0 } else { s }).collect();
    move |k, i| Some(k.checked_sub(added).map_or(0, |k| steps[k] * i))
}

/// Values of shape `from`, broadcast to `to`. The caller reserves what that takes: the values, and [`INDEX`] for each.
pub(super) fn spread<T: Copy + Default>(values: &[T], from: &[usize], to: &[usize]) -> Arc<[T]> {
    let count = to.iter().product();
    match values {
        [value] => filled(count, std::iter::repeat(*value)),
        _ if values.len() == count => values.into(),
        _ => filled(count, indices(to, &broadcasting(from, to)).into_iter().map(|i| values[i as usize])),
    }
}

/// Bytes of an index, which spreading a value may take.
pub(super) const INDEX: usize = size_of::<u32>();

/// `a b` in f64, and what rounding may have taken from it.
pub(super) fn product(a: f64, b: f64) -> (f64, f64) {
    let rounded = a * b;
    // The residual of a product is a number of f64 itself.
    let residual = a.mul_add(b, -rounded).abs();
    (rounded, if residual == 0.0 { 0.0 } else { residual.next_up() })
}

/// Linear maps in the order in which they are applied.
pub(super) type Factors = Vec<Arc<dyn LinearOperator>>;

impl Importer {
    /// The selection of a tensor of this shape from `inputs` elements; nothing if it selects all in their order.
    pub(super) fn selection(
        &mut self,
        inputs: usize,
        shape: &[usize],
        offset: Offset<'_>,
    ) -> Result<Option<Arc<dyn LinearOperator>>, ModelError> {
        let count = elements(shape)?;
        let steps = strides(shape);
        let in_order = |k: usize| (0..shape[k]).all(|i| offset(k, i) == Some(i * steps[k]));
        if count == inputs && (0..shape.len()).all(in_order) {
            return Ok(None);
        }
        // The list of indices, and that of the axes but the last on the way to it.
        self.reserve(count, 2 * size_of::<u32>())?;
        Ok(Some(Arc::new(Selection::new(inputs, indices(shape, offset)))))
    }

    /// A node that selects a tensor of shape `places`, seen as `shape`.
    pub(super) fn select(
        &mut self,
        op: &Op,
        input: &Flow,
        places: &[usize],
        offset: Offset<'_>,
        shape: Vec<usize>,
    ) -> Result<Flow, ModelError> {
        let factors = self.selection(input.elements(), places, offset)?.into_iter().collect();
        self.chain(op, factors, None, input, shape, 0)
    }

    /// A node that applies linear maps, one after the other, and adds a bias.
    pub(super) fn chain(
        &mut self,
        op: &Op,
        mut factors: Factors,
        bias: Option<Bias>,
        input: &Flow,
        shape: Vec<usize>,
        parameters: usize,
    ) -> Result<Flow, ModelError> {
        let operator = match factors.len() {
            0 if bias.is_none() => return self.reshaped(op, input, shape),
            0 => {
                self.reserve(input.elements(), size_of::<u32>())?;
                Arc::new(Selection::identity(input.elements()))
            }
            1 => factors.remove(0),
            _ => Arc::new(Compose::new(factors)),
        };
        self.affine(op, operator, bias, input, shape, parameters)
    }

    /// A bias from a constant that broadcasts to `shape`, times `factor`.
    pub(super) fn spread_bias(
        &mut self,
        constant: &Tensor,
        factor: f64,
        shape: &[usize],
    ) -> Result<Option<Bias>, ModelError> {
        let (values, errors): (Vec<f64>, Vec<f64>) = constant.to_f64().into_iter().map(|v| product(factor, v)).unzip();
        check_magnitudes("a constant", values.iter().copied())?;
        let exact = errors.iter().all(|&e| e == 0.0);
        self.reserve(elements(shape)?, INDEX + size_of::<f64>() * if exact { 1 } else { 2 })?;
        Ok(Some(Bias {
            values: spread(&values, constant.shape(), shape),
            errors: (!exact).then(|| spread(&errors, constant.shape(), shape)),
        }))
    }

    /// A diagonal of one value.
    pub(super) fn scaling(&mut self, value: f64, count: usize) -> Result<Arc<dyn LinearOperator>, ModelError> {
        self.reserve(count, size_of::<f64>())?;
        Ok(Arc::new(Diagonal::new(vec![value; count])))
    }

    /// A diagonal of one quotient, `1 / divisor`.
    pub(super) fn division(&mut self, divisor: usize, count: usize) -> Result<Arc<dyn LinearOperator>, ModelError> {
        self.reserve(count, size_of::<f64>())?;
        let roundings = usize::from(!divisor.is_power_of_two());
        Ok(Arc::new(Diagonal::rounded(vec![1.0 / divisor as f64; count], roundings)))
    }

    /// A flow broadcast to `shape`; itself if it has it.
    pub(super) fn expanded(&mut self, op: &Op, input: &Flow, shape: &[usize]) -> Result<Flow, ModelError> {
        if input.shape == shape {
            return Ok(input.clone());
        }
        self.select(op, input, shape, &broadcasting(&input.shape, shape), shape.to_vec())
    }

    /// The flow times `value`.
    pub(super) fn times(&mut self, op: &Op, input: &Flow, value: f64) -> Result<Flow, ModelError> {
        let factors = vec![self.scaling(value, input.elements())?];
        self.chain(op, factors, None, input, input.shape.clone(), 0)
    }

    /// The sum of flows of one shape. One that comes several times is scaled.
    pub(super) fn sum(&mut self, op: &Op, flows: &[Flow]) -> Result<Flow, ModelError> {
        let mut terms: Vec<(&Flow, f64)> = Vec::new();
        for flow in flows {
            match terms.iter_mut().find(|(known, _)| known.source == flow.source) {
                Some((_, count)) => *count += 1.0,
                None => terms.push((flow, 1.0)),
            }
        }
        let terms: Vec<Flow> = terms
            .into_iter()
            .map(|(flow, count)| if count == 1.0 { Ok(flow.clone()) } else { self.times(op, flow, count) })
            .collect::<Result<_, _>>()?;
        match terms.as_slice() {
            [term] => Ok(term.clone()),
            terms => self.push(op, Layer::Add, &terms.iter().collect::<Vec<_>>(), terms[0].shape.clone(), 0),
        }
    }

    /// The elements of different flows behind each other, as `shape`.
    pub(super) fn joined(&mut self, op: &Op, flows: &[Flow], shape: Vec<usize>) -> Result<Flow, ModelError> {
        match flows {
            [flow] => self.reshaped(op, flow, shape),
            flows => self.push(op, Layer::Concat, &flows.iter().collect::<Vec<_>>(), shape, 0),
        }
    }

    /// A node of units.
    pub(super) fn units(
        &mut self,
        op: &Op,
        input: &Flow,
        units: impl Into<Units>,
        parameters: usize,
    ) -> Result<Flow, ModelError> {
        let (layer, _) = unit(&input.shape, units)?;
        self.push(op, layer, &[input], input.shape.clone(), parameters)
    }

    /// A constant output: nothing of the input, and a bias.
    pub(super) fn constant(&mut self, op: &Op, input: &Flow, value: f64) -> Result<Flow, ModelError> {
        check_magnitudes("a constant", [value])?;
        let count = input.elements();
        self.reserve(count, size_of::<u32>() + size_of::<f64>())?;
        let operator = Arc::new(Selection::new(count, vec![Selection::ZERO; count]));
        let bias = Bias { values: spread(&[value], &[], &[count]), errors: None };
        self.push(op, Layer::Affine(Affine { operator, bias: Some(bias) }), &[input], input.shape.clone(), 0)
    }
}
