//! NumPy's .npy files: f4 and f8, little-endian, C and Fortran order.

use std::{fs, path::Path};

use lipbound_lipschitz::{ModelError, Tensor, TensorData};
use npyz::{DType, NpyFile, NpyHeader, Order};

use crate::FileError;

/// Reads a tensor from a file.
///
/// # Errors
/// If the file cannot be read, is truncated, has another dtype, or holds a number that is not finite.
pub fn load_npy(path: &Path) -> Result<Tensor, FileError> {
    let bytes = fs::read(path).map_err(|error| FileError::file(path, error))?;
    read_npy(&bytes).map_err(|error| match error {
        FileError::File(problem) => FileError::file(path, problem),
        FileError::Model(error) => FileError::Model(error.at(&path.display().to_string())),
    })
}

/// The same for bytes in memory.
///
/// # Errors
/// As [`load_npy`].
pub fn read_npy(bytes: &[u8]) -> Result<Tensor, FileError> {
    let invalid = |problem: String| FileError::File(format!("not a valid .npy file: {problem}"));
    check_header(bytes).map_err(invalid)?;
    let mut rest = bytes;
    let header = NpyHeader::from_reader(&mut rest).map_err(|error| invalid(error.to_string()))?;
    let shape: Vec<usize> = header
        .shape()
        .iter()
        .map(|&d| usize::try_from(d).map_err(|_| invalid(format!("axis of {d} elements"))))
        .collect::<Result<_, _>>()?;
    let DType::Plain(kind) = header.dtype() else {
        return Err(invalid("a structured dtype, but tensors are <f4 or <f8".into()));
    };
    let kind = kind.to_string();
    let width = match kind.as_str() {
        "<f4" => 4,
        "<f8" => 8,
        other => return Err(invalid(format!("dtype {other}, but tensors are <f4 or <f8"))),
    };
    // The header is not trusted before it has been compared with what is there.
    let elements = shape.iter().try_fold(1usize, |n, &d| n.checked_mul(d));
    let promised = elements.and_then(|n| n.checked_mul(width));
    if promised != Some(rest.len()) {
        return Err(invalid(format!(
            "shape {shape:?} of {kind} needs {} bytes of data, but there are {}",
            promised.map_or("more than can be counted".into(), |n| n.to_string()),
            rest.len()
        )));
    }
    let order = header.order();
    let file = NpyFile::with_header(header, rest);
    let failed = |error: std::io::Error| invalid(error.to_string());
    let data = if width == 4 {
        TensorData::F32(c_order(file.into_vec().map_err(failed)?, &shape, order).into())
    } else {
        TensorData::F64(c_order(file.into_vec().map_err(failed)?, &shape, order).into())
    };
    Tensor::new(shape, data).map_err(|error: ModelError| FileError::Model(error))
}

/// The header must be there before the parser makes room for as much as it says it is long. And it must be as flat as
/// that of a plain array, a dictionary with one tuple: the parser takes time that doubles with each bracket inside another.
fn check_header(bytes: &[u8]) -> Result<(), String> {
    let Some(&[version, _, a, b, ..]) = bytes.strip_prefix(b"\x93NUMPY") else { return Ok(()) };
    let (promised, start) = match (version, bytes.get(10..12)) {
        (1, _) => (u64::from(u16::from_le_bytes([a, b])), 10),
        (_, Some(&[c, d])) => (u64::from(u32::from_le_bytes([a, b, c, d])), 12),
        (_, _) => return Ok(()),
    };
    let there = bytes.len().saturating_sub(start) as u64;
    if promised > there {
        return Err(format!("its header should be {promised} bytes long, but only {there} bytes follow (truncated?)"));
    }
    let header = &bytes[start..][..promised as usize];
    let has = |bracket: u8, most: usize| header.iter().filter(|&&b| b == bracket).count() <= most;
    if !(has(b'{', 1) && has(b'(', 1) && has(b'[', 0)) {
        return Err("its header is not that of a plain array, which has no list in it (a structured dtype?)".into());
    }
    Ok(())
}

/// The same elements with the last axis fastest.
fn c_order<T: Copy>(values: Vec<T>, shape: &[usize], order: Order) -> Vec<T> {
    if order == Order::C || shape.len() < 2 {
        return values;
    }
    let mut strides = vec![1; shape.len()];
    for k in 1..shape.len() {
        strides[k] = strides[k - 1] * shape[k - 1];
    }
    let mut index = vec![0; shape.len()];
    let mut sorted = Vec::with_capacity(values.len());
    for _ in 0..values.len() {
        sorted.push(values[index.iter().zip(&strides).map(|(i, s)| i * s).sum::<usize>()]);
        for k in (0..shape.len()).rev() {
            index[k] += 1;
            if index[k] < shape[k] {
                break;
            }
            index[k] = 0;
        }
    }
    sorted
}
