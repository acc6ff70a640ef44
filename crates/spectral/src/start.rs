//! Random start vectors and the probability that one is unlucky.

use rand_chacha::{ChaCha8Rng, rand_core::SeedableRng};
use rand_distr::{Distribution, StandardNormal};

/// A vector with independent standard normal entries where `active`, zero elsewhere: its direction is uniform on the
/// sphere of the active coordinates. `stream` separates the vectors that share a seed.
#[must_use]
pub fn gaussian(active: &[bool], seed: u64, stream: u64) -> Vec<f64> {
    let mut generator = ChaCha8Rng::seed_from_u64(seed);
    generator.set_stream(stream);
    active.iter().map(|&a| if a { StandardNormal.sample(&mut generator) } else { 0.0 }).collect()
}

/// A `delta` such that a uniform unit vector `v` in `R^n` and any fixed unit vector `x` satisfy
/// `P(|<x, v>| < delta) <= p`.
///
/// See (L6) of docs/soundness.md. The exact value is `sqrt(I^-1_{1/2, (n-1)/2}(p))` with the inverse regularised incomplete beta function
/// (Hochstenbach 2013, section 3). For `n >= 3` the density of `<x, v>` is largest at zero, where it is
/// `gamma(n/2) / (sqrt(pi) gamma((n-1)/2)) <= sqrt((n-1) / (2 pi))` (Wendel's inequality), so
/// `delta = p sqrt(pi / (2 (n-1)))` is on the safe side; it is within 2 % of the exact value for `p <= 0.2` and n of ten or more.
#[must_use]
pub fn unlucky_overlap(n: usize, p: f64) -> f64 {
    let delta = match n {
        0 | 1 => return 1.0,
        2 => (std::f64::consts::FRAC_PI_2 * p).sin(),
        _ => p * (std::f64::consts::FRAC_PI_2 / (n - 1) as f64).sqrt(),
    };
    // One per cent for the roundings here, of the norm, and of the sampler, whose numbers lie on a grid: it costs nothing,
    // since the steps needed grow with the logarithm only.
    (delta * 0.99).min(1.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overlap_is_unlucky_no_more_often_than_stated() {
        for n in [1, 2, 3, 4, 10, 100] {
            let (p, trials) = (0.2, 20_000);
            let delta = unlucky_overlap(n, p);
            let unlucky = (0..trials)
                .filter(|&seed| {
                    let v = gaussian(&vec![true; n], seed, 7);
                    let norm = v.iter().map(|x| x * x).sum::<f64>().sqrt();
                    v[0].abs() / norm < delta
                })
                .count();
            // Three standard deviations above p would be 0.2085; the bound itself is on the safe side.
            assert!(unlucky as f64 / trials as f64 <= 0.2085, "n = {n}: {unlucky} of {trials}");
            assert!(n == 1 || unlucky as f64 / trials as f64 >= 0.15, "n = {n}: delta is needlessly small");
        }
    }

    #[test]
    fn streams_and_seeds_differ_and_repeat() {
        let active = [true, false, true];
        assert_eq!(gaussian(&active, 1, 0), gaussian(&active, 1, 0));
        assert_ne!(gaussian(&active, 1, 0), gaussian(&active, 1, 1));
        assert_ne!(gaussian(&active, 1, 0), gaussian(&active, 2, 0));
        assert_eq!(gaussian(&active, 1, 0)[1], 0.0);
    }

    /// `P(|<x, v>| < delta)` for n = 1 to 5 (Archimedes' cap for n = 3).
    fn probability(n: usize, delta: f64) -> f64 {
        let (d, angle) = (delta, delta.asin());
        match n {
            1 => f64::from(u8::from(d > 1.0)),
            2 => angle * std::f64::consts::FRAC_2_PI,
            3 => d,
            4 => std::f64::consts::FRAC_2_PI * (angle + d * (1.0 - d * d).sqrt()),
            _ => 0.5 * d * (3.0 - d * d),
        }
    }

    #[test]
    fn overlap_is_within_a_fifth_of_the_exact_one() {
        for n in 1..=5 {
            for p in [0.5, 0.1, 1e-3, 1e-9] {
                let exact = probability(n, unlucky_overlap(n, p));
                // One per cent is left for rounding and the sampler.
                assert!(exact <= p * 0.9905, "n = {n}, p = {p}: {exact}");
                assert!(n == 1 || exact >= p * 0.8, "n = {n}, p = {p}: {exact}");
            }
        }
        assert_eq!((unlucky_overlap(0, 0.1), unlucky_overlap(1, 0.1)), (1.0, 1.0));
        // In many dimensions a coordinate is nearly normal with variance 1 / n: P(|x| < d) is about d sqrt(2 n / pi).
        for n in [1000, 1_000_000] {
            let exact = unlucky_overlap(n, 1e-6) * (n as f64 * std::f64::consts::FRAC_2_PI).sqrt();
            assert!((0.985e-6..=0.9915e-6).contains(&exact), "n = {n}: {exact}");
        }
    }
}
