//! The symbol of a convolution: one small complex matrix for each frequency.
//!
//! Along an axis with stride `s`, dilation `d` and leading padding `p`, output `m` reads input `s m + d i - p` through
//! tap `i`. Write `d i - p = s a_i + r_i` with `0 <= r_i < s`: with the input cut into `s` phases, tap `i` reads element
//! `m + a_i` of phase `r_i`, which is a convolution of stride one from (phase, channel) to channel. Its symbol is
//! `F(w)[o, (r, c)] = sum over the taps of phase r of weight * exp(i w a_i)`; in two dimensions the exponents add.
//! Phases that no tap reads are left out, and the shifts of a phase are counted from its smallest, which multiplies
//! columns by numbers of modulus one.
//!
//! Rounding: docs/soundness.md, (F6) to (F8).

use lipbound_kernels::ConvShape;
use lipbound_operators::rounding;

/// The taps along one axis.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AxisTaps {
    /// Phase (counted among those in use) and shift of each tap.
    taps: Vec<(usize, usize)>,
    /// Phases in use.
    pub phases: usize,
    /// Largest shift: the degree of `F F^*` as a trigonometric polynomial.
    pub degree: usize,
}

impl AxisTaps {
    /// The taps of `shape` along `axis` (0 vertical, 1 horizontal).
    pub fn new(shape: &ConvShape, axis: usize) -> Self {
        let (stride, dilation) = (shape.stride[axis] as isize, shape.dilation[axis] as isize);
        let before = shape.padding[axis] as isize;
        let position = |i: usize| i as isize * dilation - before;
        let mut phases: Vec<(isize, isize)> = Vec::new();
        let mut taps = Vec::new();
        for i in 0..shape.kernel[axis] {
            let (phase, shift) = (position(i).rem_euclid(stride), position(i).div_euclid(stride));
            // Positions grow with the tap, so the first of a phase has its smallest shift.
            let index = phases.iter().position(|&(p, _)| p == phase).unwrap_or_else(|| {
                phases.push((phase, shift));
                phases.len() - 1
            });
            taps.push((index, (shift - phases[index].1) as usize));
        }
        let degree = taps.iter().map(|&(_, shift)| shift).max().unwrap_or(0);
        Self { taps, phases: phases.len(), degree }
    }
}

/// The frequencies `2 pi (j + half/2) / points`, `j = 0 .. points - 1`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Frequencies {
    /// How many.
    pub points: usize,
    /// Whether they are shifted by half a step.
    pub half: bool,
}

impl Frequencies {
    /// The index of the opposite frequency.
    fn opposite(self, j: usize) -> usize {
        (2 * self.points - j - usize::from(self.half)) % self.points
    }

    /// `exp(i shift * frequency j)`.
    fn unit(self, j: usize, shift: usize) -> (f64, f64) {
        let turn = 2 * self.points;
        unit((2 * j + usize::from(self.half)) % turn * (shift % turn) % turn, self.points)
    }
}

/// One of each pair of opposite frequencies of a two-dimensional grid: the symbols of a real convolution there are each
/// other's conjugates, and have the same norm.
pub(crate) fn without_opposites(grid: [Frequencies; 2]) -> Vec<[usize; 2]> {
    let mut list = Vec::new();
    for j in 0..grid[0].points {
        for k in 0..grid[1].points {
            if [j, k] <= [grid[0].opposite(j), grid[1].opposite(k)] {
                list.push([j, k]);
            }
        }
    }
    list
}

/// `exp(i <frequency, shift>)` for every tap.
pub(crate) fn tap_units(axes: &[AxisTaps; 2], grid: [Frequencies; 2], at: [usize; 2], units: &mut Vec<(f64, f64)>) {
    units.clear();
    for &(_, ay) in &axes[0].taps {
        let (cy, sy) = grid[0].unit(at[0], ay);
        units.extend(axes[1].taps.iter().map(|&(_, ax)| {
            let (cx, sx) = grid[1].unit(at[1], ax);
            (cy * cx - sy * sx, sy * cx + cy * sx)
        }));
    }
}

/// Bound of the error of each of [`tap_units`], as a complex number: two [`unit`]s and their product; (F6).
const UNIT_ERROR: f64 = 16.0 * rounding::UNIT_ROUNDOFF;

/// `exp(i pi m / n)`, `m < 2 n`. Of our own, since the error of a library's sine is not specified.
fn unit(m: usize, n: usize) -> (f64, f64) {
    // Octants, exactly, on integers: the angle is pi times r / (4 n) with 4 m = r + n * octant.
    let (octant, r) = (4 * m / n, 4 * m % n);
    let (odd, r) = (octant % 2 == 1, if octant % 2 == 1 { n - r } else { r });
    let (c, s) = series(std::f64::consts::PI * (r as f64 / (4 * n) as f64));
    let (c, s) = if odd { (s, c) } else { (c, s) };
    match octant / 2 {
        0 => (c, s),
        1 => (-s, c),
        2 => (-c, -s),
        _ => (s, -c),
    }
}

/// Cosine and sine for `0 <= x <= pi / 4` by their Taylor series, to below 3 units roundoff for the exact `x`.
fn series(x: f64) -> (f64, f64) {
    let square = x * x;
    let (mut c, mut s) = (1.0, 1.0);
    for k in (1..=9).rev() {
        let k = f64::from(k);
        c = 1.0 - square / (2.0 * k * (2.0 * k - 1.0)) * c;
        s = 1.0 - square / (2.0 * k * (2.0 * k + 1.0)) * s;
    }
    (c, x * s)
}

/// The weights of one group, ordered for evaluation, with the smaller side first.
#[derive(Clone, Debug)]
pub(crate) struct Symbol {
    /// Rows: the smaller of (output channels, phases times input channels).
    pub short: usize,
    /// Columns.
    pub long: usize,
    /// Whether the transpose is what is evaluated, since it has fewer rows.
    transposed: bool,
    /// Weights scaled by a power of two, tap by tap, each a matrix `[output][input channel]`, or its transpose.
    weights: Vec<f64>,
    outputs: usize,
    inputs: usize,
    axes: [AxisTaps; 2],
    /// Bound of the squared Frobenius norm of the matrix of absolute sums `S`, `S[o, q] = sum |w|`.
    pub abs_frobenius_squared: f64,
    /// `norm(computed F - F)` is at most this; (F7).
    pub error: f64,
}

/// Values of a symbol, real and imaginary parts side by side: row `i` is `[Re F_i | Im F_i]`.
pub(crate) type Panel = ndarray::Array2<f64>;

impl Symbol {
    /// The symbol of group `group` with its weights divided by `scale`.
    pub fn new(shape: &ConvShape, weights: &[f64], group: usize, scale: f64, axes: &[AxisTaps; 2]) -> Self {
        let (outputs, inputs) = (shape.out_channels / shape.groups, shape.in_channels / shape.groups);
        let [kh, kw] = shape.kernel;
        let own = &weights[group * outputs * shape.fan_in()..(group + 1) * outputs * shape.fan_in()];
        let columns = axes[0].phases * axes[1].phases * inputs;
        let transposed = outputs > columns;
        let mut ordered = Vec::with_capacity(own.len());
        for tap in 0..kh * kw {
            let scaled = |o: usize, c: usize| own[(o * inputs + c) * kh * kw + tap] / scale;
            if transposed {
                (0..inputs).for_each(|c| ordered.extend((0..outputs).map(|o| scaled(o, c))));
            } else {
                (0..outputs).for_each(|o| ordered.extend((0..inputs).map(|c| scaled(o, c))));
            }
        }
        let mut this = Self {
            short: outputs.min(columns),
            long: outputs.max(columns),
            transposed,
            weights: ordered,
            outputs,
            inputs,
            axes: axes.clone(),
            abs_frobenius_squared: 0.0,
            error: 0.0,
        };
        let mut sums = Panel::zeros((this.short, this.long));
        this.for_each_row(|row, first, weights, _| {
            sums.row_mut(row).iter_mut().skip(first).zip(weights).for_each(|(sum, w)| *sum += w.abs());
        });
        let frobenius = rounding::norm_up(sums.as_slice().expect("in standard layout"));
        let roundings = kh * kw;
        this.abs_frobenius_squared = rounding::raise(rounding::mul_up(frobenius, frobenius), 2 * roundings);
        let widest = sums.rows().into_iter().map(|row| row.sum()).fold(0.0, f64::max);
        let tallest = sums.columns().into_iter().map(|column| column.sum()).fold(0.0, f64::max);
        let norm = rounding::from_sums(widest, tallest, roundings + outputs + columns)
            .min(rounding::raise(frobenius, roundings));
        // (F7); underflow of products with weights far below the largest is in the last summand.
        let relative = rounding::gamma(roundings + 1) + UNIT_ERROR * 1.01;
        this.error = rounding::add_up(rounding::mul_up(relative, norm), 1e-290);
        this
    }

    /// Calls `row(row of the panel, first column, weights, tap)` for every tap and row.
    fn for_each_row(&self, mut row: impl FnMut(usize, usize, &[f64], usize)) {
        let taps = self.axes[0].taps.iter().flat_map(|&(ry, _)| self.axes[1].taps.iter().map(move |&(rx, _)| (ry, rx)));
        let width = if self.transposed { self.outputs } else { self.inputs };
        let matrices = self.weights.chunks_exact(self.outputs * self.inputs);
        for (tap, ((ry, rx), weights)) in taps.zip(matrices).enumerate() {
            let column = (ry * self.axes[1].phases + rx) * self.inputs;
            for (i, weights) in weights.chunks_exact(width).enumerate() {
                if self.transposed { row(column + i, 0, weights, tap) } else { row(i, column, weights, tap) }
            }
        }
    }

    /// Evaluates `F` (or its transpose) at a frequency, into a panel of `short x 2 long`; `units` are those of
    /// [`tap_units`].
    pub fn evaluate(&self, units: &[(f64, f64)], panel: &mut Panel) {
        panel.fill(0.0);
        let long = self.long;
        let values = panel.as_slice_mut().expect("in standard layout");
        self.for_each_row(|row, first, weights, tap| {
            let (c, s) = units[tap];
            let (real, imaginary) = values[2 * long * row..2 * long * (row + 1)].split_at_mut(long);
            for ((re, im), w) in real[first..].iter_mut().zip(&mut imaginary[first..]).zip(weights) {
                *re += w * c;
                *im += w * s;
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units_are_accurate_and_exact_on_the_axes() {
        for n in [1, 2, 3, 5, 8, 15, 57, 225, 1000, 12345] {
            for m in 0..2 * n {
                let (c, s) = unit(m, n);
                // The library's functions of a rounded angle: good to a few units roundoff, times up to 2 pi.
                let angle = std::f64::consts::PI * (m as f64 / n as f64);
                assert!((c - angle.cos()).hypot(s - angle.sin()) < 16.0 * f64::EPSILON, "{m}/{n}: {c} {s}");
                assert!((c * c + s * s - 1.0).abs() < 8.0 * f64::EPSILON);
            }
            assert_eq!(unit(0, n), (1.0, 0.0));
            assert_eq!(unit(n, n), (-1.0, -0.0));
        }
    }

    #[test]
    fn every_frequency_is_there_or_its_opposite() {
        for (points, half) in [(1, false), (1, true), (4, false), (4, true), (5, false), (5, true)] {
            for (others, other_half) in [(3, false), (3, true), (6, true)] {
                let grid = [Frequencies { points, half }, Frequencies { points: others, half: other_half }];
                let kept = without_opposites(grid);
                for j in 0..points {
                    for k in 0..others {
                        let opposite = [grid[0].opposite(j), grid[1].opposite(k)];
                        assert!(kept.contains(&[j, k]) || kept.contains(&opposite));
                        let (a, b) = (grid[0].unit(j, 1), grid[0].unit(opposite[0], 1));
                        assert!((a.0 - b.0).abs() < 1e-14 && (a.1 + b.1).abs() < 1e-14);
                    }
                }
            }
        }
    }
}
