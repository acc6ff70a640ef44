//! The tridiagonal matrix of a Golub-Kahan-Lanczos process, and what it says about the norm.
//!
//! With `t_1 = <x, v_1>, t_2 = <y, u_1>, t_3 = <x, v_2>, ...` for a top singular pair `A x = s y, A^T y = s x` and the
//! off-diagonal entries `g = (alpha_1, beta_1, alpha_2, ...)`, the process gives, row by row,
//!
//! ```text
//!     s t_m = g_{m-1} t_{m-1} + g_m t_{m+1} + e_m,      t_0 = 0,    |e_m| <= phi          (T)
//! ```
//!
//! where `e_m` is what rounding did in that half step: (L4) of docs/soundness.md. Two facts follow, (L3) and (L5) there.
//!
//! **Lower end.** The largest eigenvalue of the tridiagonal matrix (zero diagonal, `g` beside it) is the largest Ritz
//! value; it is at most the norm, up to what Paige's analysis allows for rounding ([`Tridiagonal::ritz_allowance`]).
//!
//! **Upper end** (Hochstenbach, *Probabilistic upper bounds for the matrix two-norm*, J. Sci. Comput. 2013). Let
//! `|t_1| >= delta`. For `s` above the spectrum of the leading matrices, the solution `h` of the homogeneous
//! recurrence with `h_1 = 1` is positive and grows with `s`, and so do all its Green functions; hence
//! `|t_m| >= tau_m`, the solution with `tau_1 = delta` and `-phi` as source in every row. But `|t_m| <= 1` up to the
//! rounding of a norm. So if `tau_m > 1` for some `m`, the norm is not `s`; nor is it any `s' > s`, since `h_m(s)`
//! grows with `s` and the ratio of each Green function to `h_m` falls (characteristic polynomials of trailing to those
//! of leading blocks). **The norm is below the smallest `s` for which this happens**, whatever rounding did, and one
//! event `|t_1| >= delta` covers all `m`. The last row needs no `g_m > 0`: the test is on `g_m tau_{m+1}`.

use lipbound_operators::rounding::{UNIT_ROUNDOFF, gamma};

/// The off-diagonal of the matrix, and the rounding of the process that made it.
#[derive(Clone, Debug, Default)]
pub struct Tridiagonal {
    offdiagonal: Vec<f64>,
    /// Bound of `|e_m|` in (T).
    phi: f64,
    /// The Lanczos vectors have norms of at most `1 + excess`.
    excess: f64,
}

impl Tridiagonal {
    /// An empty matrix for a process with these rounding bounds.
    #[must_use]
    pub fn new(phi: f64, excess: f64) -> Self {
        Self { offdiagonal: Vec::new(), phi, excess }
    }

    /// Adds the next off-diagonal entry.
    pub fn push(&mut self, g: f64) {
        self.offdiagonal.push(g);
    }

    /// Number of off-diagonal entries.
    #[must_use]
    pub fn len(&self) -> usize {
        self.offdiagonal.len()
    }

    /// Whether there is no entry yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.offdiagonal.is_empty()
    }

    /// Whether all eigenvalues of the matrix are below `s` (a Sturm sequence of the pivots of `s I - T`, divided by s).
    fn is_above_spectrum(&self, s: f64) -> bool {
        let mut pivot = 1.0;
        for g in &self.offdiagonal {
            let g = g / s;
            pivot = 1.0 - g * g / pivot;
            // A NaN is not above anything.
            if pivot.is_nan() || pivot <= 0.0 {
                return false;
            }
        }
        true
    }

    /// The largest Ritz value, from below, to the relative precision `precision`; `known` is an earlier value.
    #[must_use]
    pub fn ritz_lower(&self, known: f64, precision: f64) -> f64 {
        // A process that overflowed on its way says nothing.
        if !self.offdiagonal.iter().all(|g| g.is_finite()) {
            return known;
        }
        // By Gershgorin the spectrum is below twice the largest entry.
        let top = 2.0 * self.offdiagonal.iter().fold(0.0, |m: f64, &g| m.max(g));
        let mut low = self.offdiagonal.iter().fold(known, |m: f64, &g| m.max(g)).min(top);
        let mut high = top;
        if low <= 0.0 {
            return 0.0;
        }
        // `low` starts at a value that the spectrum reaches: an off-diagonal entry is a Rayleigh quotient.
        while high - low > precision * high {
            let middle = low + 0.5 * (high - low);
            if middle <= low || middle >= high {
                break;
            }
            if self.is_above_spectrum(middle) { high = middle } else { low = middle }
        }
        low
    }

    /// The factor by which a Ritz value may exceed the norm: for `m` Lanczos steps Paige (*Accuracy and effectiveness
    /// of the Lanczos algorithm for the symmetric eigenproblem*, Linear Algebra Appl. 1980, theorem 3.1 and equation
    /// 3.48) bounds it by `1 + m^{5/2} sqrt(2) max(6 e0, e1)` with `e0` the rounding of a norm and `e1` that of a step
    /// relative to the norm. Sturm sequences are exact for entries changed by a few units roundoff, which is added.
    #[must_use]
    pub fn ritz_allowance(&self, norm: f64) -> f64 {
        let m = (self.len() + 1) as f64;
        let step = (2.0 * self.phi / norm).max(6.0 * self.excess) + 8.0 * UNIT_ROUNDOFF;
        1.0 + m.powf(2.5) * std::f64::consts::SQRT_2 * step
    }

    /// Whether the norm is proven to be below `s`, given `|t_1| >= delta`.
    #[must_use]
    pub fn proves_below(&self, s: f64, delta: f64) -> bool {
        // The recurrences are evaluated for entries changed by a few units roundoff a row (backward error of the
        // pivots), and `tau` picks up as many relative roundings; both are far inside this allowance.
        let threshold = 1.0 + 2.0 * self.excess + gamma(16 * (self.len() + 1)) + 1e-10;
        let phi = self.phi / s;
        let (mut pivot, mut previous, mut tau, mut g_previous) = (1.0, 0.0, delta, 0.0);
        for g in &self.offdiagonal {
            let g = g / s;
            let next = tau - g_previous * previous - phi;
            if next.is_nan() || next <= 0.0 {
                return false;
            }
            if next > g * threshold {
                return true;
            }
            previous = tau;
            tau = next / g;
            g_previous = g;
            pivot = 1.0 - g * g / pivot;
            if pivot.is_nan() || pivot <= 0.0 {
                return false;
            }
        }
        false
    }

    /// The smallest proven upper end in `(low, high]`, to the relative precision `precision`; `high` if none is proven.
    ///
    /// `high` must be an upper end already (a cap, or an earlier proof under the same event).
    #[must_use]
    pub fn upper(&self, low: f64, high: f64, delta: f64, precision: f64) -> f64 {
        if !(low > 0.0 && high.is_finite() && low < high && self.proves_below(high, delta)) {
            return high;
        }
        let (mut low, mut proven) = (low, high);
        while proven - low > precision * proven {
            let middle = low + 0.5 * (proven - low);
            if middle <= low || middle >= proven {
                break;
            }
            if self.proves_below(middle, delta) { proven = middle } else { low = middle }
        }
        // Entries a few units roundoff off are those of an operator a few units roundoff larger.
        (proven * (1.0 + 64.0 * UNIT_ROUNDOFF)).min(high)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn example() -> Tridiagonal {
        let mut t = Tridiagonal::new(1e-15, 1e-14);
        for g in [1.0, 0.7, 0.9, 0.8, 0.6, 0.75] {
            t.push(g);
        }
        t
    }

    #[test]
    fn ritz_value_is_the_largest_eigenvalue() {
        // Two entries g1, g2: eigenvalues 0 and +- sqrt(g1^2 + g2^2).
        let mut t = Tridiagonal::new(0.0, 0.0);
        t.push(3.0);
        t.push(4.0);
        let ritz = t.ritz_lower(0.0, 1e-14);
        assert!((ritz - 5.0).abs() < 1e-12 && ritz <= 5.0, "{ritz}");
    }

    #[test]
    fn proof_is_monotone_and_fails_inside_the_spectrum() {
        let t = example();
        let ritz = t.ritz_lower(0.0, 1e-14);
        assert!(!t.proves_below(ritz * 0.999, 1e-3));
        let upper = t.upper(ritz, 10.0, 1e-3, 1e-9);
        assert!(upper > ritz && upper < 10.0);
        for k in 0..200 {
            assert!(t.proves_below(upper * (1.0 + 1e-9 + f64::from(k) * 0.01), 1e-3));
        }
    }

    #[test]
    fn rounding_loosens_the_upper_end_and_never_tightens_it() {
        let exact = example();
        let mut previous = 0.0;
        for phi in [0.0, 1e-9, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1.0] {
            let t = Tridiagonal { phi, ..exact.clone() };
            let upper = t.upper(t.ritz_lower(0.0, 1e-12), 50.0, 1e-3, 1e-12);
            assert!(upper >= previous * (1.0 - 1e-11), "phi {phi}: {upper} below {previous}");
            previous = upper;
        }
        assert_eq!(previous, 50.0, "with rounding above delta nothing is proven");
    }
}
