//! Products with matrices.

use super::{Attribute, In, Random, T, case, fixed};

/// The product as NumPy defines it.
fn matmul(a: &T, b: &T) -> T {
    let (left, right) = (a.shape.len() == 1, b.shape.len() == 1);
    let a = if left { a.seen(&[1, a.shape[0]]) } else { a.clone() };
    let b = if right { b.seen(&[b.shape[0], 1]) } else { b.clone() };
    let rank = a.shape.len().max(b.shape.len());
    let dim = |t: &T, k: usize| (k + t.shape.len()).checked_sub(rank).map_or(1, |k| t.shape[k]);
    let mut shape: Vec<usize> = (0..rank - 2).map(|k| dim(&a, k).max(dim(&b, k))).collect();
    let (m, n, inner) = (dim(&a, rank - 2), dim(&b, rank - 1), dim(&a, rank - 1));
    shape.extend([m, n]);
    let mut product = T::of(&shape, |at| {
        (0..inner)
            .map(|i| {
                let (mut p, mut q) = (at.to_vec(), at.to_vec());
                p[rank - 1] = i;
                q[rank - 2] = i;
                a.broadcast_at(&p) * b.broadcast_at(&q)
            })
            .sum()
    });
    if right {
        product.shape.pop();
    }
    if left {
        product.shape.remove(rank - 2);
    }
    product
}

#[test]
fn matmuls() {
    let mut random = Random(11);
    let mut batched = 0;
    for _ in 0..800 {
        let (m, k, n) = (random.size(1, 4), random.size(1, 4), random.size(1, 4));
        let full = (0..random.size(0, 3)).map(|_| random.size(1, 3)).collect::<Vec<_>>();
        let batch = |random: &mut Random| -> Vec<usize> {
            let from = random.size(0, full.len());
            full[from..].iter().map(|&d| if random.coin() { d } else { 1 }).collect()
        };
        let (mut a, mut b) = (batch(&mut random), batch(&mut random));
        a.extend([m, k]);
        b.extend([k, n]);
        if random.size(0, 5) == 0 {
            a = vec![k];
        }
        if random.size(0, 5) == 0 {
            b = vec![k];
        }
        let (a, b) = (random.tensor(&a), random.tensor(&b));
        let expected = matmul(&a, &b);
        let inputs = if random.coin() {
            vec![In::Flow(a.clone()), fixed(&mut random, &b)]
        } else {
            vec![fixed(&mut random, &a), In::Flow(b.clone())]
        };
        batched += usize::from(expected.shape.len() > 2);
        case("MatMul", 13, vec![], inputs).gives(&expected);
    }
    assert!(batched > 200);
}

#[test]
fn gemms() {
    let mut random = Random(12);
    for _ in 0..800 {
        let (m, k, n) = (random.size(1, 4), random.size(1, 4), random.size(1, 4));
        let (ta, tb) = (random.coin(), random.coin());
        let a = random.tensor(&if ta { [k, m] } else { [m, k] });
        let b = random.tensor(&if tb { [n, k] } else { [k, n] });
        let shapes = [vec![], vec![1], vec![n], vec![1, n], vec![m, 1], vec![m, n], vec![1, 1]];
        let chosen = random.size(0, 6);
        let c = random.tensor(&shapes[chosen]);
        let choice = |random: &mut Random| [1.0, 0.5, 0.3, -2.7][random.size(0, 3)] as f32;
        let (alpha, beta) = (choice(&mut random), choice(&mut random));
        let mut attributes = vec![("transA", Attribute::Int(ta.into())), ("transB", Attribute::Int(tb.into()))];
        if alpha != 1.0 || random.coin() {
            attributes.push(("alpha", Attribute::Float(alpha)));
        }
        if beta != 1.0 || random.coin() {
            attributes.push(("beta", Attribute::Float(beta)));
        }
        let kind = random.size(0, 2);
        let expected = T::of(&[m, n], |at| {
            let product: f64 = (0..k)
                .map(|i| {
                    let p = if ta { a.at(&[i, at[0]]) } else { a.at(&[at[0], i]) };
                    let q = if tb { b.at(&[at[1], i]) } else { b.at(&[i, at[1]]) };
                    p * q
                })
                .sum();
            let c = if kind == 0 { 0.0 } else { c.broadcast_at(at) };
            f64::from(alpha) * product + f64::from(beta) * c
        });
        let mut inputs = if random.coin() {
            vec![In::Flow(a.clone()), fixed(&mut random, &b)]
        } else {
            vec![fixed(&mut random, &a), In::Flow(b.clone())]
        };
        match kind {
            0 => {}
            1 => inputs.push(fixed(&mut random, &c)),
            _ => inputs.push(In::Flow(c)),
        }
        case("Gemm", [7, 9, 11, 13][random.size(0, 3)], attributes, inputs).gives(&expected);
    }
}

#[test]
fn refusals() {
    let mut random = Random(13);
    let [a, b] = [[1, 3], [3, 2]].map(|shape| random.tensor(&shape));
    case("MatMul", 13, vec![], vec![In::Flow(a.clone()), In::Flow(b.clone())]).refuses("not piecewise linear");
    case("Gemm", 13, vec![], vec![In::Flow(a.clone()), In::Flow(b.clone())]).refuses("not piecewise linear");
    case("MatMul", 13, vec![], vec![In::Flow(b.clone()), In::Single(a.clone())]).refuses("inner size");
    let c = random.tensor(&[3, 2]);
    case("Gemm", 13, vec![], vec![In::Flow(a), In::Single(b), In::Single(c)]).refuses("does not broadcast");
}
