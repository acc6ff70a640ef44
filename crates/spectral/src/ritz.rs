//! The top eigenpair of a symmetric matrix, as a candidate: nothing is claimed, proofs are made elsewhere.

/// A Ritz pair.
#[derive(Clone, Debug)]
pub struct Candidate {
    /// The largest Ritz value.
    pub value: f64,
    /// Its vector, of about unit length.
    pub vector: Vec<f64>,
    /// Products that were taken.
    pub steps: usize,
}

/// How far the search goes.
#[derive(Clone, Copy, Debug)]
pub struct Effort {
    /// Residual, relative to the value, at which to stop.
    pub precision: f64,
    /// Most products.
    pub max_steps: usize,
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    const LANES: usize = 8;
    let mut lanes = [0.0; LANES];
    let (mut x, mut y) = (a.chunks_exact(LANES), b.chunks_exact(LANES));
    for (x, y) in (&mut x).zip(&mut y) {
        for k in 0..LANES {
            lanes[k] += x[k] * y[k];
        }
    }
    lanes.iter().sum::<f64>() + x.remainder().iter().zip(y.remainder()).map(|(x, y)| x * y).sum::<f64>()
}

fn add_scaled(y: &mut [f64], factor: f64, x: &[f64]) {
    y.iter_mut().zip(x).for_each(|(y, x)| *y += factor * x);
}

/// [`top_eigenpair_from`] a start that leans towards large diagonal entries, which is where the top eigenvector has its
/// weight; an irregular factor keeps it from being orthogonal to it by symmetry.
pub(crate) fn top_eigenpair<E>(
    diagonal: &[f64],
    effort: Effort,
    multiply: impl FnMut(&[f64], &mut [f64]) -> Result<(), E>,
) -> Result<Candidate, E> {
    let start = diagonal.iter().enumerate().map(|(i, d)| d * (1.0 + ((i * 37 + 11) % 101) as f64 / 50.0)).collect();
    top_eigenpair_from(start, effort, multiply)
}

/// Lanczos with full reorthogonalisation from a start of any length; `multiply` is the product with the matrix.
///
/// # Errors
/// Those of `multiply`.
pub fn top_eigenpair_from<E>(
    start: Vec<f64>,
    effort: Effort,
    mut multiply: impl FnMut(&[f64], &mut [f64]) -> Result<(), E>,
) -> Result<Candidate, E> {
    let n = start.len();
    let mut q = start;
    let mut size = dot(&q, &q).sqrt();
    if !(size > 0.0 && size.is_finite()) {
        q.fill(1.0);
        size = (n as f64).sqrt();
    }
    q.iter_mut().for_each(|x| *x /= size);
    let last = n.min(effort.max_steps);
    let mut basis = vec![q];
    let mut small = SmallTridiagonal::default();
    let (mut value, mut weights) = (0.0, vec![1.0]);
    for step in 1..=last {
        let q = &basis[step - 1];
        let mut w = vec![0.0; n];
        multiply(q, &mut w)?;
        small.diagonal.push(dot(q, &w));
        for _ in 0..2 {
            for old in &basis {
                let overlap = dot(old, &w);
                add_scaled(&mut w, -overlap, old);
            }
        }
        let remainder = dot(&w, &w).sqrt();
        let complete = step == last || remainder.is_nan() || remainder <= 1e-15 * small.diagonal[0].abs().max(value);
        if complete || step % 4 == 0 {
            (value, weights) = small.top();
            // The residual of a Ritz pair bounds its distance from the spectrum.
            if complete || remainder * weights[step - 1].abs() <= effort.precision * value {
                break;
            }
        }
        small.beside.push(remainder);
        w.iter_mut().for_each(|x| *x /= remainder);
        basis.push(w);
    }
    let mut vector = vec![0.0; n];
    for (&weight, q) in weights.iter().zip(&basis) {
        add_scaled(&mut vector, weight, q);
    }
    if !vector.iter().all(|x| x.is_finite()) || vector.iter().all(|&x| x == 0.0) {
        vector.fill(1.0);
    }
    Ok(Candidate { value, vector, steps: small.diagonal.len() })
}

/// A symmetric tridiagonal matrix with positive entries beside the diagonal.
#[derive(Default)]
struct SmallTridiagonal {
    diagonal: Vec<f64>,
    beside: Vec<f64>,
}

impl SmallTridiagonal {
    /// The pivots of `s I - T`, if all are positive: `s` is above the spectrum.
    fn pivots(&self, s: f64) -> Option<Vec<f64>> {
        let mut pivots: Vec<f64> = Vec::with_capacity(self.diagonal.len());
        for (i, &d) in self.diagonal.iter().enumerate() {
            let before = if i == 0 { 0.0 } else { self.beside[i - 1] * self.beside[i - 1] / pivots[i - 1] };
            let pivot = s - d - before;
            if pivot.is_nan() || pivot <= 0.0 {
                return None;
            }
            pivots.push(pivot);
        }
        Some(pivots)
    }

    /// The largest eigenvalue by bisection, its vector by inverse iteration just above it.
    fn top(&self) -> (f64, Vec<f64>) {
        let n = self.diagonal.len();
        let at = |i: usize| self.beside.get(i).copied().unwrap_or(0.0);
        let reach = |i: usize| self.diagonal[i] + at(i) + if i == 0 { 0.0 } else { at(i - 1) };
        let mut low = self.diagonal.iter().fold(f64::NEG_INFINITY, |m, &d| m.max(d));
        let mut high = (0..n).map(reach).fold(low, f64::max) * (1.0 + 1e-12);
        for _ in 0..60 {
            let middle = low + 0.5 * (high - low);
            if middle <= low || middle >= high {
                break;
            }
            if self.pivots(middle).is_some() { high = middle } else { low = middle }
        }
        let mut vector = vec![1.0; n];
        if let Some(pivots) = self.pivots(high) {
            for _ in 0..3 {
                // L D L^T with multipliers -beside / pivot.
                for i in 1..n {
                    vector[i] += self.beside[i - 1] / pivots[i - 1] * vector[i - 1];
                }
                for i in 0..n {
                    vector[i] /= pivots[i];
                }
                for i in (1..n).rev() {
                    vector[i - 1] += self.beside[i - 1] / pivots[i - 1] * vector[i];
                }
                let largest = vector.iter().fold(0.0, |m: f64, x| m.max(x.abs()));
                vector.iter_mut().for_each(|x| *x /= largest);
            }
        }
        let size = dot(&vector, &vector).sqrt();
        vector.iter_mut().for_each(|x| *x /= size);
        (low, vector)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::convert::Infallible;

    fn search(diagonal: &[f64], dense: impl Fn(usize, usize) -> f64) -> Candidate {
        let effort = Effort { precision: 1e-13, max_steps: 100 };
        let n = diagonal.len();
        top_eigenpair::<Infallible>(diagonal, effort, |x, y| {
            for (i, y) in y.iter_mut().enumerate() {
                *y = (0..n).map(|j| dense(i, j) * x[j]).sum();
            }
            Ok(())
        })
        .unwrap()
    }

    #[test]
    fn known_spectra() {
        // The second difference: 2 + 2 cos(pi / (n + 1)).
        let n = 40;
        let found = search(&vec![2.0; n], |i, j| [2.0, 1.0, 0.0][i.abs_diff(j).min(2)]);
        let exact = 2.0 + 2.0 * (std::f64::consts::PI / (n + 1) as f64).cos();
        assert!((found.value - exact).abs() < 1e-12, "{} {exact}", found.value);
        // Rank one, zero, and a multiple of the identity.
        let found = search(&[1.0; 9], |_, _| 1.0);
        assert!((found.value - 9.0).abs() < 1e-12 && found.vector.iter().all(|x| (x.abs() - 1.0 / 3.0).abs() < 1e-12));
        assert_eq!(search(&[0.0; 5], |_, _| 0.0).value, 0.0);
        let found = search(&[3.0; 6], |i, j| 3.0 * f64::from(u8::from(i == j)));
        assert!((found.value - 3.0).abs() < 1e-14);
    }
}
