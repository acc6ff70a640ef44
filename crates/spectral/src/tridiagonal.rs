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
//! `|t_m| >= tau_m`, the solution with `tau_1 = delta` and `-phi` as source in every row. (That `s` is above the spectrum
//! is seen from `tau` itself: a matrix `s I - T` that makes a positive vector positive is an M-matrix.) But `|t_m| <= 1` up to the
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
        // The recurrence is evaluated for entries changed by a few units roundoff a row, and `tau` picks up as many
        // relative roundings; both are far inside this allowance.
        let threshold = 1.0 + 2.0 * self.excess + gamma(16 * (self.len() + 1)) + 1e-10;
        let phi = self.phi / s;
        let (mut previous, mut tau, mut g_previous) = (0.0, delta, 0.0);
        for g in &self.offdiagonal {
            let g = g / s;
            let next = tau - g_previous * previous - phi;
            // Positive overlaps show that `s` is above the spectrum; what is no number shows nothing.
            if next.is_nan() || next <= 0.0 {
                return false;
            }
            if next > g * threshold {
                return true;
            }
            previous = tau;
            tau = next / g;
            g_previous = g;
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

    /// A matrix of equal entries: that of a string with `entries + 1` beads.
    fn string(entries: usize, entry: f64, phi: f64, excess: f64) -> Tridiagonal {
        let mut t = Tridiagonal::new(phi, excess);
        (0..entries).for_each(|_| t.push(entry));
        t
    }

    /// Its largest eigenvalue: the lowest frequency of that string.
    fn top(entries: usize) -> f64 {
        2.0 * (std::f64::consts::PI / (entries + 2) as f64).cos()
    }

    #[test]
    fn ritz_values_are_the_frequencies_of_a_string() {
        assert!(Tridiagonal::default().is_empty());
        for entries in 1..40 {
            for scale in [1e-3, 1.0, 1e5] {
                let t = string(entries, scale, 0.0, 0.0);
                assert!(!t.is_empty() && t.len() == entries);
                let exact = scale * top(entries);
                for precision in [0.0, 1e-12, 1e-6, 1e-2] {
                    for known in [0.0, 0.5 * exact, exact * (1.0 - 1e-9)] {
                        let ritz = t.ritz_lower(known, precision);
                        let story = format!("{entries} entries of {scale}: {ritz} for {exact}");
                        assert!(ritz <= exact * (1.0 + 1e-13), "{story}");
                        assert!(ritz >= exact * (1.0 - precision - 1e-13), "{story}");
                    }
                }
                for k in 1..100 {
                    let inside = exact * f64::from(k) / 100.0;
                    assert!(!t.is_above_spectrum(inside), "{entries} entries of {scale}: {inside}");
                    assert!(t.is_above_spectrum(exact * (1.0 + f64::from(k) * 1e-6)));
                }
            }
        }
        // An eigenvalue itself is not above the spectrum.
        assert!(!string(1, 1.0, 0.0, 0.0).is_above_spectrum(1.0));
        assert!(!string(2, f64::NAN, 0.0, 0.0).is_above_spectrum(1.0));
    }

    #[test]
    fn a_process_that_overflowed_or_vanished_has_no_new_ritz_value() {
        let mut t = example();
        t.push(f64::INFINITY);
        assert_eq!(t.ritz_lower(0.25, 1e-9), 0.25);
        assert_eq!(string(3, 0.0, 0.0, 0.0).ritz_lower(0.0, 1e-9), 0.0);
    }

    #[test]
    fn the_allowance_of_ritz_values_is_that_of_the_literature() {
        // Three entries are a matrix of four rows: 4^{5/2} = 32.
        let allowed = |phi, excess, norm| (string(3, 1.0, phi, excess).ritz_allowance(norm) - 1.0) / 2f64.sqrt();
        for (phi, excess, norm, expected) in
            [(1e-3, 0.0, 1.0, 0.064), (1e-3, 0.0, 4.0, 0.016), (0.0, 1e-3, 1.0, 0.192), (1e-3, 1e-3, 4.0, 0.192)]
        {
            let found = allowed(phi, excess, norm);
            assert!((found - expected).abs() < 1e-12, "phi {phi}, excess {excess}: {found} for {expected}");
        }
        // Without any other rounding, that of the Sturm sequences is left: a few units in the last place an entry.
        let least = allowed(0.0, 0.0, 1.0);
        assert!((4.0..=16.0).contains(&(least / (32.0 * UNIT_ROUNDOFF))), "{least}");
    }

    /// Of equal entries one the recurrence `tau_{m+1} = s tau_m - tau_{m-1} - phi` has a solution in closed form: with
    /// `s = 2 cosh(a)`, and `phi / (s - 2)` as the solution that stays.
    fn last_overlap(entries: usize, s: f64, delta: f64, phi: f64) -> f64 {
        let a = (0.5 * s).acosh();
        let wave = |m: usize| (m as f64 * a).sinh() / a.sinh();
        let stays = phi / (s - 2.0);
        stays + (delta - stays) * wave(entries + 1) + stays * wave(entries)
    }

    #[test]
    fn the_upper_end_of_a_string_is_where_the_closed_form_says() {
        for entries in [1, 2, 3, 5, 9, 20] {
            for (delta, phi, excess) in
                [(1e-3, 0.0, 0.0), (1e-6, 1e-9, 0.0), (1e-3, 1e-5, 0.02), (0.1, 1e-2, 0.05), (0.4, 0.0, 0.1)]
            {
                let t = string(entries, 1.0, phi, excess);
                // The first `s` at which the last overlap is more than the norm of a vector can be.
                let (mut low, mut high) = (2.0 + 1e-9, 1e8);
                for _ in 0..200 {
                    let middle = f64::midpoint(low, high);
                    let proven = last_overlap(entries, middle, delta, phi) > 1.0 + 2.0 * excess;
                    if proven { high = middle } else { low = middle }
                }
                let cap = 4.0 * high;
                let upper = t.upper(top(entries), cap, delta, 1e-13);
                let story = format!("{entries} entries, delta {delta}, phi {phi}: {upper} for {high}");
                if high > 2.0 + 1e-6 {
                    assert!(upper >= high * (1.0 - 1e-12), "{story}");
                    assert!(upper <= high * (1.0 + 1e-8), "{story}");
                }
                // Scaled, the norm is scaled.
                let scaled =
                    string(entries, 1e-4, phi * 1e-4, excess).upper(top(entries) * 1e-4, cap * 1e-4, delta, 1e-13);
                assert!((scaled * 1e4 / upper - 1.0).abs() < 1e-9, "{story}: {scaled} when scaled");
                // To a coarse precision it is no smaller, and not much larger.
                let coarse = t.upper(top(entries), cap, delta, 0.01);
                assert!(coarse >= upper && coarse <= upper / 0.985, "{story}: {coarse} to 1 %");
            }
        }
    }

    #[test]
    fn nothing_is_proven_by_what_is_no_number_or_no_overlap() {
        let t = example();
        assert!(!t.proves_below(1e6, 0.0) && !t.proves_below(1e6, -1.0) && !t.proves_below(1e6, f64::NAN));
        assert!(!string(3, f64::NAN, 0.0, 0.0).proves_below(1e6, 1e-3));
        assert!(!Tridiagonal::new(0.0, 0.0).proves_below(1.0, 0.5));
        // An end that is none, or none yet, is given back.
        let exact = t.upper(1.0, 50.0, 1e-3, 1e-9);
        assert!(exact < 50.0);
        for (low, high) in [(0.0, 50.0), (-1.0, 50.0), (f64::NAN, 50.0), (1.0, f64::INFINITY), (60.0, 50.0)] {
            assert_eq!(t.upper(low, high, 1e-3, 1e-9), high);
        }
        // Nor is what is given made larger, where it is the smallest that is proven.
        assert_eq!(t.upper(exact * 0.99999, exact, 1e-3, 1e-9).to_bits(), exact.to_bits());
    }

    /// The roundings of the recurrence are a few units roundoff a row; what is within them proves nothing.
    #[test]
    fn overlaps_within_rounding_of_one_prove_nothing() {
        for rows in [1usize, 10, 1000, 100_000] {
            let t = string(rows, 0.5, 0.0, 0.0);
            // At one the first overlap after the start is 2 delta.
            let rounding = 1e-10 + 16.0 * (rows + 1) as f64 * UNIT_ROUNDOFF;
            let beyond = |units: f64| {
                let mut first = Tridiagonal { offdiagonal: vec![0.5], ..t.clone() };
                first.offdiagonal.extend(std::iter::repeat_n(1e6, rows - 1));
                first.proves_below(1.0, 0.5 * (1.0 + rounding + units * UNIT_ROUNDOFF))
            };
            assert!(!beyond(-8.0) && beyond(8.0), "{rows} rows");
        }
    }

    #[test]
    fn an_upper_end_to_no_precision_comes_to_an_end() {
        let t = example();
        let (exact, fine) = (t.upper(1.0, 50.0, 1e-3, 0.0), t.upper(1.0, 50.0, 1e-3, 1e-12));
        assert!(exact <= fine && exact >= fine * (1.0 - 2e-12), "{exact} {fine}");
    }
}
