//! Directed rounding by outward steps: each function returns a number on the stated side of the exact result.
//!
//! IEEE operations round to nearest, so the exact result lies between the neighbours of the computed one; one step
//! outward is a bound; docs/soundness.md, (R1) to (R4). Results that are exact (zero, infinity) keep their value where that is safe.

/// The unit roundoff of f64, `2^-53`.
pub const UNIT_ROUNDOFF: f64 = f64::EPSILON / 2.0;

/// `gamma_n = n u / (1 - n u)`, rounded up: the relative error of `n` roundings (Higham, section 3.1).
#[must_use]
pub fn gamma(n: usize) -> f64 {
    let nu = n as f64 * UNIT_ROUNDOFF;
    if nu >= 0.5 { f64::INFINITY } else { (nu / (1.0 - nu)) * (1.0 + 4.0 * UNIT_ROUNDOFF) }
}

/// The next number above, except that exact zero stays zero.
#[must_use]
fn above(value: f64) -> f64 {
    if value == 0.0 { value } else { value.next_up() }
}

/// At least `a + b`.
#[must_use]
pub fn add_up(a: f64, b: f64) -> f64 {
    // A sum that is zero is exact: addition does not underflow.
    above(a + b)
}

/// At most `a + b`.
#[must_use]
pub fn add_down(a: f64, b: f64) -> f64 {
    -add_up(-a, -b)
}

/// At least `a * b`.
#[must_use]
pub fn mul_up(a: f64, b: f64) -> f64 {
    if a == 0.0 || b == 0.0 { 0.0 } else { (a * b).next_up() }
}

/// At most `a * b`.
#[must_use]
pub fn mul_down(a: f64, b: f64) -> f64 {
    -mul_up(-a, b)
}

/// At least `a / b`, `b` not zero.
#[must_use]
pub fn div_up(a: f64, b: f64) -> f64 {
    if a == 0.0 { 0.0 } else { (a / b).next_up() }
}

/// At most `a / b`, `b` not zero.
#[must_use]
pub fn div_down(a: f64, b: f64) -> f64 {
    -div_up(-a, b)
}

/// At least `sqrt(a)`, `a >= 0`.
#[must_use]
pub fn sqrt_up(a: f64) -> f64 {
    above(a.sqrt())
}

/// At most `sqrt(a)`, `a >= 0`.
#[must_use]
pub fn sqrt_down(a: f64) -> f64 {
    if a == 0.0 { 0.0 } else { a.sqrt().next_down().max(0.0) }
}

/// At least `value * (1 + gamma(n))`, `value >= 0`: an upper bound of a quantity that was computed as `value` with `n`
/// roundings of non-negative terms. Note `x <= fl(x) / (1 - gamma)` is covered by counting one rounding more.
#[must_use]
pub fn raise(value: f64, n: usize) -> f64 {
    mul_up(value, 1.0 + gamma(n + 1) * (1.0 + 2.0 * gamma(n + 1)))
}

/// `w * w`, but never rounded to zero for a weight that is not: sums of squares must not lose a row to underflow.
#[must_use]
pub fn square_or_tiny(w: f64) -> f64 {
    if w == 0.0 { 0.0 } else { (w * w).max(f64::MIN_POSITIVE) }
}

/// `norm(|A|)_2 <= sqrt(norm_inf norm_1)` from the largest row and column sums, each computed with at most `n`
/// roundings.
#[must_use]
pub fn from_sums(widest_row: f64, tallest_column: f64, n: usize) -> f64 {
    mul_up(sqrt_up(raise(widest_row, n)), sqrt_up(raise(tallest_column, n)))
}

/// The largest value of a slice of non-negative numbers; NaN counts as infinite, so that nothing is lost.
#[must_use]
pub fn max_or_infinite(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |m: f64, &v| if v.is_nan() { f64::INFINITY } else { m.max(v) })
}

/// The Euclidean norm of a slice, rounded up. Scaled so that neither overflow nor underflow can hide an element.
#[must_use]
pub fn norm_up(values: &[f64]) -> f64 {
    let largest = values.iter().fold(0.0, |m: f64, &v| if v.is_nan() { f64::INFINITY } else { m.max(v.abs()) });
    if largest == 0.0 || largest.is_infinite() {
        return largest;
    }
    // A power of two, so that scaling is exact but for elements that are negligible beside the largest one; what
    // those lose to underflow (below n * 2^-1074 in the sum, which is at least 1) is inside the raise below.
    let scale = power_of_two_near(largest);
    let sum: f64 = sum_of_squares(values, 1.0 / scale);
    mul_up(sqrt_up(raise(sum, chunk_rounding(values.len()) + 2)), scale)
}

/// The Euclidean norm of a slice, rounded down.
#[must_use]
pub fn norm_down(values: &[f64]) -> f64 {
    let largest = values.iter().fold(0.0, |m: f64, &v| if v.is_nan() { f64::INFINITY } else { m.max(v.abs()) });
    if largest == 0.0 || largest.is_infinite() {
        return 0.0;
    }
    let scale = power_of_two_near(largest);
    let sum: f64 = sum_of_squares(values, 1.0 / scale);
    mul_down(sqrt_down(mul_down(sum, 1.0 - 2.0 * gamma(chunk_rounding(values.len()) + 2))), scale)
}

/// A power of two within a factor of two of `value > 0`, clamped so that its inverse is finite and normal.
#[must_use]
pub fn power_of_two_near(value: f64) -> f64 {
    2f64.powi((value.log2().floor() as i32).clamp(-1000, 1000))
}

const CHUNK: usize = 1024;
const LANES: usize = 8;

/// Sum of `(scale * v)^2` in a fixed order: eight lanes within chunks of 1024, then the chunks. At most
/// [`chunk_rounding`] roundings touch one term.
#[must_use]
pub fn sum_of_squares(values: &[f64], scale: f64) -> f64 {
    values
        .chunks(CHUNK)
        .map(|chunk| {
            let mut lanes = [0.0; LANES];
            let mut groups = chunk.chunks_exact(LANES);
            for group in &mut groups {
                for (lane, v) in lanes.iter_mut().zip(group) {
                    let v = v * scale;
                    *lane += v * v;
                }
            }
            for (lane, v) in lanes.iter_mut().zip(groups.remainder()) {
                let v = v * scale;
                *lane += v * v;
            }
            lanes.iter().sum::<f64>()
        })
        .sum()
}

/// Roundings that touch one term of [`sum_of_squares`] over `n` values: the scaling (twice), the square, the lane, the
/// lanes of a chunk, the chunks.
#[must_use]
pub fn chunk_rounding(n: usize) -> usize {
    3 + CHUNK / LANES + 1 + LANES + n.div_ceil(CHUNK)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outward_steps_are_on_the_stated_side() {
        assert!(add_up(0.1, 0.2) > 0.1 + 0.2 && add_down(0.1, 0.2) < 0.1 + 0.2);
        assert!(mul_up(0.1, 0.1) > 0.1 * 0.1 && mul_up(0.0, 5.0) == 0.0 && mul_up(1e-200, 1e-200) > 0.0);
        assert!(div_up(1.0, 3.0) * 3.0 >= 1.0 && div_down(1.0, 3.0) * 3.0 <= 1.0);
        assert!(add_up(-1.0, 1.0) == 0.0);
    }

    #[test]
    fn norms_bracket_extreme_values() {
        for scale in [1e-320, 1e-200, 1.0, 1e200, 1e307] {
            let values = [3.0 * scale, 4.0 * scale];
            // Denormal inputs are themselves rounded: compare with what they are.
            let exact = 5.0 * (values[0] / 3.0);
            assert!(norm_up(&values) >= exact * (1.0 - 1e-2 * f64::from(u8::from(scale < 1e-300))), "{scale}");
            assert!(norm_down(&values) <= norm_up(&values));
            assert!(norm_up(&values) <= exact * 1.1);
        }
        assert_eq!(norm_up(&[0.0, -0.0]), 0.0);
        assert_eq!(norm_up(&[f64::NAN]), f64::INFINITY);
    }
}
