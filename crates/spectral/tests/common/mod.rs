//! Random operators of all kinds, and their norms by dense singular values.
#![allow(dead_code, reason = "each test program uses its own part")]

use std::sync::Arc;

use lipbound_operators::{Compose, Conv2d, ConvShape, Dense, Diagonal, LinearOperator, Masked, Selection, Sparse, Sum};
use ndarray::Array2;
use ndarray_linalg::SVD;
use proptest::{prelude::*, test_runner::RngAlgorithm};

pub fn svd_norm(operator: &dyn LinearOperator) -> f64 {
    let dense = operator.to_dense();
    let matrix = Array2::from_shape_vec((operator.rows(), operator.cols()), dense.values().to_vec()).unwrap();
    matrix.svd(false, false).unwrap().1[0]
}

pub fn values(n: usize) -> impl Strategy<Value = Vec<f64>> {
    prop_oneof![
        4 => prop::collection::vec(-1.0f64..1.0, n),
        1 => prop::collection::vec(prop_oneof![Just(0.0), Just(1.0), Just(-1.0), Just(0.5)], n),
        1 => (prop::collection::vec(-1.0f64..1.0, n), prop_oneof![Just(1e30), Just(1e-30), Just(1e-45)])
            .prop_map(|(v, s)| v.into_iter().map(|x| x * s).collect()),
    ]
}

pub fn conv() -> impl Strategy<Value = Arc<dyn LinearOperator>> {
    (
        (1usize..3, 1usize..3, 1usize..3, 1usize..7, 1usize..7),
        ([1usize..4, 1..4], [1usize..3, 1..3], [0usize..3, 0..3, 0..3, 0..3], [1usize..3, 1..3]),
    )
        .prop_map(|((groups, ci, co, h, w), (kernel, stride, padding, dilation))| ConvShape {
            in_channels: groups * ci,
            in_height: h,
            in_width: w,
            out_channels: groups * co,
            kernel,
            stride,
            padding,
            dilation,
            groups,
        })
        .prop_filter("the kernel fits", |shape| shape.validate().is_ok())
        .prop_flat_map(|shape| (Just(shape), values(shape.weight_len())))
        .prop_map(|(shape, w)| Arc::new(Conv2d::new(shape, w.into()).unwrap()) as Arc<dyn LinearOperator>)
}

pub fn dense(rows: impl Strategy<Value = usize>, cols: usize) -> impl Strategy<Value = Arc<dyn LinearOperator>> {
    rows.prop_flat_map(move |r| (Just(r), values(r * cols)))
        .prop_map(move |(r, v)| Arc::new(Dense::<f64>::new(r, cols, v.into())) as Arc<dyn LinearOperator>)
}

pub fn sparse() -> impl Strategy<Value = Arc<dyn LinearOperator>> {
    (1usize..8, prop::collection::vec(prop::collection::btree_map(0usize..8, -1.0f64..1.0, 0..5), 1..8)).prop_map(
        |(extra, rows)| {
            let mut indptr = vec![0];
            let (mut indices, mut values) = (Vec::new(), Vec::new());
            for row in rows {
                for (j, v) in row {
                    indices.push(j);
                    values.push(v);
                }
                indptr.push(indices.len());
            }
            Arc::new(Sparse::new(8 + extra, indptr, indices, values).unwrap()) as Arc<dyn LinearOperator>
        },
    )
}

/// A random operator of any kind, between random masks.
pub fn operator() -> impl Strategy<Value = Arc<dyn LinearOperator>> {
    let base = prop_oneof![
        4 => conv(),
        2 => (1usize..20).prop_flat_map(|cols| dense(1usize..20, cols)),
        1 => sparse(),
        1 => (1usize..10).prop_flat_map(values).prop_map(|v| Arc::new(Diagonal::new(v)) as Arc<dyn LinearOperator>),
        1 => (1usize..8).prop_flat_map(|n| (Just(n), prop::collection::vec(0..=n, 1..10)))
            // One beyond the inputs stands for an output of zero.
            .prop_map(|(n, i)| {
                let index = i.iter().map(|&j| if j == n { Selection::ZERO } else { j as u32 }).collect();
                Arc::new(Selection::new(n, index)) as Arc<dyn LinearOperator>
            }),
    ];
    base.prop_flat_map(|base| {
        let (rows, cols) = (base.rows(), base.cols());
        let plain = base.clone();
        let left = base.clone();
        prop_oneof![
            2 => Just(plain),
            1 => dense(1usize..6, rows).prop_map(move |after| {
                Arc::new(Compose::new(vec![left.clone(), after])) as Arc<dyn LinearOperator>
            }),
            1 => (dense(Just(rows), cols), Just(base)).prop_map(|(b, a)| Arc::new(Sum::new(a, b)) as Arc<dyn LinearOperator>),
        ]
    })
    .prop_flat_map(|inner| {
        let mask = |n: usize| prop::option::of(prop::collection::vec(prop_oneof![Just(0.0), Just(1.0), 0.0f64..1.0], n));
        (Just(inner.clone()), mask(inner.rows()), mask(inner.cols()))
    })
    .prop_map(|(inner, r, d)| Arc::new(Masked::new(inner, r, d)) as Arc<dyn LinearOperator>)
}

pub fn config(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, max_shrink_iters: 200, rng_algorithm: RngAlgorithm::ChaCha, ..ProptestConfig::default() }
}

/// Standard normal numbers.
pub fn normals(n: usize, seed: u64) -> Vec<f64> {
    lipbound_spectral::start::gaussian(&vec![true; n], seed, 5)
}

/// A matrix with the given singular values between random orthogonal factors, row by row.
pub fn with_singular_values(rows: usize, cols: usize, values: &[f64], seed: u64) -> Vec<f64> {
    let (left, right) = (orthonormal(rows, values.len(), seed), orthonormal(cols, values.len(), seed ^ 0xabcd));
    let mut matrix = vec![0.0; rows * cols];
    for ((u, v), s) in left.iter().zip(&right).zip(values) {
        for i in 0..rows {
            for j in 0..cols {
                matrix[i * cols + j] += s * u[i] * v[j];
            }
        }
    }
    matrix
}

fn orthonormal(n: usize, count: usize, seed: u64) -> Vec<Vec<f64>> {
    let mut basis: Vec<Vec<f64>> = Vec::new();
    for k in 0..count {
        let mut v = normals(n, seed.wrapping_mul(1000).wrapping_add(k as u64));
        for _ in 0..2 {
            for b in &basis {
                let overlap: f64 = b.iter().zip(&v).map(|(x, y)| x * y).sum();
                v.iter_mut().zip(b).for_each(|(x, y)| *x -= overlap * y);
            }
        }
        let size = v.iter().map(|x| x * x).sum::<f64>().sqrt();
        v.iter_mut().for_each(|x| *x /= size);
        basis.push(v);
    }
    basis
}
