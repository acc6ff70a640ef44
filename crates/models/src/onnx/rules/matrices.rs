//! Products with matrices.

use std::sync::Arc;

use lipbound_lipschitz::{ModelError, Tensor, TensorData};
use lipbound_operators::{Conv2d, ConvShape, Dense, LinearOperator};

use super::{
    super::{Flow, Importer, Op, Value, array::filled},
    build::{
        Factors, INDEX, Outputs, arity, broadcast, check_magnitudes, constant, elements, flow, one, only_output,
        spread, strides, weights,
    },
};

/// Matrices `[.., cols, rows]` as `[.., rows, cols]`. The driver has made room for a copy.
fn transposed(matrices: &Tensor) -> Result<Tensor, ModelError> {
    fn each<T: Copy + Default>(values: &[T], cols: usize, rows: usize) -> Arc<[T]> {
        let size = rows * cols;
        // Place `i` of a result is in row `i / cols` of its matrix.
        let from = |i: usize| i / size * size + i % cols * rows + i % size / cols;
        filled(values.len(), (0..values.len()).map(|i| values[from(i)]))
    }
    let mut shape = matrices.shape().to_vec();
    let &[.., cols, rows] = matrices.shape() else { unreachable!("callers give matrices") };
    let rank = shape.len();
    shape.swap(rank - 2, rank - 1);
    // A column is a row already.
    if rows == 1 || cols == 1 {
        return Tensor::new(shape, matrices.data().clone());
    }
    let data = match matrices.data() {
        TensorData::F32(values) => TensorData::F32(each(values, cols, rows)),
        TensorData::F64(values) => TensorData::F64(each(values, cols, rows)),
    };
    Tensor::new(shape, data)
}

/// The block diagonal of matrices `[groups, rows, cols]`, at each of `positions`: from `[groups, cols, positions]` to
/// `[groups, rows, positions]`.
fn blocks(matrices: &Tensor, groups: usize, positions: usize) -> Result<Arc<dyn LinearOperator>, ModelError> {
    let &[.., rows, cols] = matrices.shape() else { unreachable!("callers give matrices") };
    if groups == 1 && positions == 1 {
        return Ok(match matrices.data() {
            TensorData::F32(values) => Arc::new(Dense::new(rows, cols, values.clone())),
            TensorData::F64(values) => Arc::new(Dense::new(rows, cols, values.clone())),
        });
    }
    let shape = ConvShape {
        in_channels: groups * cols,
        in_height: 1,
        in_width: positions,
        out_channels: groups * rows,
        kernel: [1; 2],
        stride: [1; 2],
        padding: [0; 4],
        dilation: [1; 2],
        groups,
    };
    let values = match matrices.data() {
        TensorData::F32(values) => filled(values.len(), values.iter().map(|&v| v.into())),
        TensorData::F64(values) => values.clone(),
    };
    Ok(Arc::new(Conv2d::new(shape, values)?))
}

/// Matrices broadcast to the leading axes `batch`.
fn repeated(importer: &mut Importer, matrices: &Tensor, batch: &[usize]) -> Result<Tensor, ModelError> {
    let rank = matrices.shape().len();
    let mut shape = batch.to_vec();
    shape.extend(&matrices.shape()[rank - 2..]);
    let count = elements(&shape)?;
    if count == matrices.len() {
        return Tensor::new(shape, matrices.data().clone());
    }
    importer.reserve(count, size_of::<f64>() + INDEX)?;
    let values = spread(&matrices.to_f64(), matrices.shape(), &shape);
    Tensor::new(shape, TensorData::F64(values))
}

/// Swaps two neighbouring axes: `[a, b, c, d]` to `[a, c, b, d]`.
fn swap(importer: &mut Importer, [a, b, c, d]: [usize; 4]) -> Result<Factors, ModelError> {
    let steps = [b * c * d, d, c * d, 1];
    let select = importer.selection(a * b * c * d, &[a, c, b, d], &|k, i| Some(i * steps[k]))?;
    Ok(select.into_iter().collect())
}

/// The tensor of shape `from`, broadcast along its leading axes to `batch`, and with its last two axes swapped if so said.
fn matrices_of(importer: &mut Importer, from: &[usize], batch: &[usize], swapped: bool) -> Result<Factors, ModelError> {
    let own = &from[..from.len() - 2];
    let added = batch.len() - own.len();
    let steps = strides(from);
    let mut shape = batch.to_vec();
    let (rows, cols) = (from.len() - 2, from.len() - 1);
    let last = if swapped { [cols, rows] } else { [rows, cols] };
    shape.extend(last.map(|k| from[k]));
    let select = importer.selection(elements(from)?, &shape, &|k, i| {
        Some(match k.checked_sub(added) {
            None => 0,
            Some(k) if k >= own.len() => i * steps[last[k - own.len()]],
            Some(k) if own[k] == 1 => 0,
            Some(k) => i * steps[k],
        })
    })?;
    Ok(select.into_iter().collect())
}

/// A product and its shape.
type Product = Result<(Factors, Vec<usize>), ModelError>;

fn check_inner(x: &[usize], inner: usize, cols: usize) -> Result<(), ModelError> {
    if inner == cols {
        Ok(())
    } else {
        Err(ModelError::shape(format!("the input has shape {x:?}, but the matrix has an inner size of {cols}")))
    }
}

/// `x w^T` for `x` of shape `[.., m, k]` and `w` of `[.., n, k]`.
fn from_right(importer: &mut Importer, x: &[usize], w: &Tensor) -> Product {
    let (own, &[m, k]) = x.split_last_chunk::<2>().expect("callers give matrices");
    let (others, &[n, cols]) = w.shape().split_last_chunk::<2>().expect("callers give matrices");
    check_inner(x, k, cols)?;
    let batch = broadcast(own, others)?;
    let mut shape = batch.clone();
    shape.extend([m, n]);
    elements(&shape)?;
    let mut factors;
    if others.iter().all(|&d| d == 1) {
        // One matrix for all rows: they are positions, their elements channels.
        let positions = own.iter().product::<usize>() * m;
        factors = swap(importer, [1, positions, k, 1])?;
        factors.push(blocks(w, 1, positions)?);
        factors.extend(swap(importer, [1, n, positions, 1])?);
    } else {
        let groups = elements(&batch)?;
        factors = matrices_of(importer, x, &batch, true)?;
        let w = repeated(importer, w, &batch)?;
        factors.push(blocks(&w, groups, m)?);
        factors.extend(swap(importer, [groups, n, m, 1])?);
    }
    Ok((factors, shape))
}

/// `w x` for `w` of shape `[.., m, k]` and `x` of `[.., k, n]`.
fn from_left(importer: &mut Importer, w: &Tensor, x: &[usize]) -> Product {
    let (own, &[k, n]) = x.split_last_chunk::<2>().expect("callers give matrices");
    let (others, &[m, cols]) = w.shape().split_last_chunk::<2>().expect("callers give matrices");
    check_inner(x, k, cols)?;
    let batch = broadcast(own, others)?;
    let mut shape = batch.clone();
    shape.extend([m, n]);
    elements(&shape)?;
    let mut factors;
    if others.iter().all(|&d| d == 1) {
        let several = own.iter().product::<usize>();
        factors = swap(importer, [1, several, k, n])?;
        factors.push(blocks(w, 1, several * n)?);
        factors.extend(swap(importer, [1, m, several, n])?);
    } else {
        let groups = elements(&batch)?;
        factors = matrices_of(importer, x, &batch, false)?;
        let w = repeated(importer, w, &batch)?;
        factors.push(blocks(&w, groups, n)?);
    }
    Ok((factors, shape))
}

fn matrix(inputs: &[Option<Value>], i: usize) -> Result<Tensor, ModelError> {
    let matrix = weights(constant(inputs, i, "one of its inputs")?, "the matrix")?;
    if matrix.is_empty() {
        return Err(ModelError::shape(format!("the matrix has shape {:?}, without an element", matrix.shape())));
    }
    Ok(matrix)
}

fn both_flow(inputs: &[Option<Value>]) -> Result<(), ModelError> {
    match inputs {
        [Some(Value::Flow(_)), Some(Value::Flow(_)), ..] => Err(ModelError::model(
            "both matrices depend on the network's input; a product of two such is not piecewise linear",
        )),
        _ => Ok(()),
    }
}

pub(super) fn matmul(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 2, 2)?;
    only_output(op)?;
    both_flow(inputs)?;
    let on_right = matches!(inputs[0], Some(Value::Flow(_)));
    let input = flow(inputs, usize::from(!on_right), "the input")?;
    let w = matrix(inputs, usize::from(on_right))?;
    if input.shape.is_empty() || w.shape().is_empty() {
        return Err(ModelError::shape("a matrix product has no scalar factors"));
    }
    elements(&input.shape)?;
    // A vector is a row on the left side and a column on the right; the axis it lent is dropped from the result.
    let as_matrix = |shape: &[usize], left: bool| match *shape {
        [n] if left => vec![1, n],
        [n] => vec![n, 1],
        _ => shape.to_vec(),
    };
    let x = as_matrix(&input.shape, on_right);
    let w_shape = as_matrix(w.shape(), !on_right);
    let vector_left = if on_right { input.shape.len() } else { w.shape().len() } == 1;
    let vector_right = if on_right { w.shape().len() } else { input.shape.len() } == 1;
    let w = Tensor::new(w_shape, w.data().clone())?;
    let (factors, mut shape) = if on_right {
        let rows = transposed(&w)?;
        from_right(importer, &x, &rows)?
    } else {
        from_left(importer, &w, &x)?
    };
    let rank = shape.len();
    if vector_left {
        shape.remove(rank - 2);
    }
    if vector_right {
        shape.pop();
    }
    one(importer.chain(op, factors, None, input, shape, w.len())?)
}

/// `alpha A B + beta C`.
pub(super) fn gemm(importer: &mut Importer, op: &mut Op, inputs: &[Option<Value>]) -> Outputs {
    arity(inputs, 2, 3)?;
    only_output(op)?;
    both_flow(inputs)?;
    let on_right = matches!(inputs[0], Some(Value::Flow(_)));
    let mut input = flow(inputs, usize::from(!on_right), "the matrix")?.clone();
    let w = matrix(inputs, usize::from(on_right))?;
    if input.shape.len() != 2 || w.shape().len() != 2 {
        return Err(ModelError::shape(format!("needs two matrices, got shapes {:?} and {:?}", input.shape, w.shape())));
    }
    elements(&input.shape)?;
    let factors = [op.attributes.float("alpha", 1.0)?, op.attributes.float("beta", 1.0)?].map(f64::from);
    if factors.iter().any(|f| !f.is_finite()) {
        return Err(ModelError::value(format!("alpha and beta must be finite, got {factors:?}")));
    }
    check_magnitudes("alpha and beta", factors)?;
    let [alpha, beta] = factors;
    let trans = [op.attributes.int("transA", 0)? != 0, op.attributes.int("transB", 0)? != 0];
    if trans[usize::from(!on_right)] {
        let [rows, cols] = [input.shape[0], input.shape[1]];
        let turn = swap(importer, [1, rows, cols, 1])?;
        input = importer.chain(op, turn, None, &input, vec![cols, rows], 0)?;
    }
    let (mut maps, shape) = if on_right {
        let rows = if trans[1] { w.clone() } else { transposed(&w)? };
        from_right(importer, &input.shape, &rows)?
    } else {
        let rows = if trans[0] { transposed(&w)? } else { w.clone() };
        from_left(importer, &rows, &input.shape)?
    };
    // Scaled weights would be rounded; a scale of its own is exact.
    if alpha != 1.0 {
        maps.push(importer.scaling(alpha, elements(&shape)?)?);
    }
    let fits = |from: &[usize]| match broadcast(from, &shape) {
        Ok(together) if together == shape => Ok(()),
        _ => Err(ModelError::shape(format!("C has shape {from:?}, which does not broadcast to {shape:?}"))),
    };
    let (bias, parameters, other) = match inputs.get(2).and_then(Option::as_ref) {
        None => (None, 0, None),
        Some(Value::Constant(array)) => {
            let c = weights(array, "C")?;
            fits(c.shape())?;
            (importer.spread_bias(&c, beta, &shape)?, c.len(), None)
        }
        Some(Value::Flow(c)) => {
            fits(&c.shape)?;
            (None, 0, Some(c))
        }
    };
    let product = importer.chain(op, maps, bias, &input, shape, w.len() + parameters)?;
    let Some(other) = other else { return one(product) };
    let other = if beta == 1.0 { other.clone() } else { importer.times(op, other, beta)? };
    let other: Flow = importer.expanded(op, &other, &product.shape)?;
    one(importer.sum(op, &[product, other])?)
}
