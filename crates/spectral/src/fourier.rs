//! A deterministic upper end of the norm of a zero-padded convolution, from its symbol.
//!
//! **The convolution is a compression of a circulant.** Let `T` be the convolution on the infinite lattice: output `m`
//! reads positions `s m + d i - p`, `i = 0 .. k-1`, along each axis (stride, dilation, leading padding). Let `M` be a
//! number of outputs, `N = s M`, and consider inputs with `x[q + N] = exp(2 pi i phi) x[q]`: `T` maps them to outputs
//! with the same law and period `M`, so on one period it is a matrix `C` (a circulant, twisted if `phi` is not zero),
//! and exponentials diagonalise it: `norm(C)` is the largest norm of the symbol (`symbol.rs`) at the frequencies
//! `2 pi (j + phi) / M`. The zero-padded convolution `A`, with inputs `0 .. H-1` and outputs `0 .. O-1`, is the block of
//! `C` with these rows and columns, and so `norm(A) <= norm(C)`, if `O <= M`, `H <= N`, and no position that a valid
//! output reads outside the input meets the input again after a shift by a multiple of `N`:
//! - positions below zero are at least `-p`; shifted up by `N` they are at least `H` if `N >= H + p`, and below `N`;
//! - positions from `H` on are at most `last = s (O-1) + d (k-1) - p`; they are no shift of the input if `N > last`.
//!
//! So **every `M >= max(O, (H + p) / s, (last + 1) / s)` and every `phi` give an upper bound** ((F1), (F2) of
//! docs/soundness.md), each axis with its own. `phi = 1/2` costs no more than 0, and misses peaks at zero frequency.
//!
//! **Coarser grids.** For a fixed vector `y`, `norm(F(w)^* y)^2` is a trigonometric polynomial of degree `n` (the largest
//! shift), between 0 and its maximum `P`. By M. Riesz's lemma it is at least `P cos^2(n t / 2)` at a distance `t <= pi/n`
//! from where it attains `P`, and some frequency of any `M`-point grid is within `pi / M`. So `norm(A)` is at most
//! `1 / cos(n pi / 2M)` times the largest norm on the grid, a factor for each axis that is coarser than (F2): (F3).
//!
//! **Groups** are blocks on the diagonal. **Masks** `R`, `D` multiply the bound by their largest elements at most.
//!
//! **The norm of a symbol** is at most its Frobenius norm; where that does not suffice, `F F^* <= t I` is proven by a
//! Cholesky factorisation of the real form of `t I - F F^*`. `t` starts below and is raised to what a Ritz value says
//! wherever a proof fails, so that most frequencies need one factorisation.

use std::sync::Mutex;

use lipbound_kernels::{ConvShape, pool::Threads};
use lipbound_operators::{MaskedConv, rounding};
use ndarray::{Array2, s};

use crate::{
    blocks,
    cholesky::SymmetricMatrix,
    monitor::{Context, Stop},
    ritz::{self, Effort},
    symbol::{self, AxisTaps, Frequencies, Panel, Symbol},
};

/// Relative looseness that a coarser grid may add, beyond which the bound is not worth its time.
const LOOSEST: f64 = 0.1;
/// Multiply-adds up to which more than one grid is tried.
const CHEAP_GRIDS: f64 = 1e10;
/// By how many frequencies along an axis they may exceed the smallest.
const LARGER_GRIDS: usize = 3;
/// Multiply-adds between two looks at the clock.
const ROUND: f64 = 5e8;
/// By how much a proof aims above the value that made the last one fail.
const SLACK: f64 = 1e-4;

/// The frequencies along one axis.
#[derive(Clone, Copy, Debug, PartialEq)]
struct AxisGrid {
    points: usize,
    /// `1 / cos(...)` of (F3), or one.
    factor: f64,
    /// Whether (F2) holds, so that shifted frequencies are bounds of their own.
    exact: bool,
}

/// What a bound would take.
#[derive(Clone, Debug)]
pub struct Plan {
    axes: [AxisTaps; 2],
    grid: [AxisGrid; 2],
    /// Multiply-adds of one grid.
    work: f64,
}

/// The smallest number of frequencies of (F2).
fn smallest_grid(shape: &ConvShape, axis: usize) -> usize {
    let (size, outputs) =
        if axis == 0 { (shape.in_height, shape.out_height()) } else { (shape.in_width, shape.out_width()) };
    let reach = shape.stride[axis] * (outputs - 1) + shape.dilation[axis] * (shape.kernel[axis] - 1);
    let end = (reach + 1).saturating_sub(shape.padding[axis]);
    outputs.max((size + shape.padding[axis]).max(end).div_ceil(shape.stride[axis]))
}

/// At least `1 / cos(degree * pi / (2 points))`, infinite where the cosine would be below 0.7.
fn coarse_factor(degree: usize, points: usize) -> f64 {
    if degree == 0 {
        return 1.0;
    }
    let x = std::f64::consts::FRAC_PI_2 * degree as f64 / points as f64;
    if x > 0.79 {
        return f64::INFINITY;
    }
    // The series of the cosine, cut after a negative term, is below it.
    let cosine = 1.0 - x.powi(2) / 2.0 + x.powi(4) / 24.0 - x.powi(6) / 720.0;
    1.0 / cosine * (1.0 + 1e-13)
}

impl AxisGrid {
    fn new(taps: &AxisTaps, exact: usize, looseness: f64) -> Self {
        let wanted = |points| coarse_factor(taps.degree, points) <= 1.0 + looseness;
        // 1 / cos x - 1 is about x^2 / 2: begin below, and go up.
        let guess = std::f64::consts::FRAC_PI_2 * taps.degree as f64 / (2.0 * looseness).sqrt();
        let coarse = (((0.9 * guess) as usize).max(1)..exact).find(|&points| wanted(points));
        match coarse {
            Some(points) => Self { points, factor: coarse_factor(taps.degree, points), exact: false },
            None => Self { points: exact, factor: 1.0, exact: true },
        }
    }
}

impl Plan {
    /// The grid that keeps what it adds below about half of `tolerance`, or the finest one of at most `most_work`
    /// multiply-adds; `None` if that would be too coarse to be of use.
    #[must_use]
    pub fn new(shape: &ConvShape, tolerance: f64, most_work: f64) -> Option<Self> {
        let axes = [AxisTaps::new(shape, 0), AxisTaps::new(shape, 1)];
        let exact = [smallest_grid(shape, 0), smallest_grid(shape, 1)];
        let mut looseness = (tolerance / 4.0).clamp(1e-6, LOOSEST / 2.0);
        loop {
            let grid = [0, 1].map(|k| AxisGrid::new(&axes[k], exact[k], looseness));
            let frequencies = grid[0].points as f64 * grid[1].points as f64 / 2.0 + 1.0;
            let work = frequencies * frequency_work(shape, &axes);
            if work <= most_work {
                return Some(Self { axes, grid, work });
            }
            if looseness >= LOOSEST / 2.0 {
                return None;
            }
            looseness = (looseness * 1.5).min(LOOSEST / 2.0);
        }
    }

    /// Multiply-adds that the bound takes, at most.
    #[must_use]
    pub fn predicted_work(&self) -> f64 {
        self.work * self.grids().len() as f64
    }

    /// The grids that are tried: any of (F2) is a bound, and while they are cheap the least of several is taken.
    fn grids(&self) -> Vec<[Frequencies; 2]> {
        let along = |axis: usize| -> Vec<(usize, Frequencies)> {
            let AxisGrid { points, exact, .. } = self.grid[axis];
            let more = if exact { LARGER_GRIDS } else { 0 };
            let halves: &[bool] = if exact { &[true, false] } else { &[false] };
            (0..=more)
                .flat_map(|extra| halves.iter().map(move |&half| (extra, Frequencies { points: points + extra, half })))
                .collect()
        };
        let horizontal = along(1);
        let mut all: Vec<_> =
            along(0).into_iter().flat_map(|(i, v)| horizontal.iter().map(move |&(j, h)| (i + j, [v, h]))).collect();
        all.sort_by_key(|&(extra, _)| extra);
        let affordable = (CHEAP_GRIDS / self.work) as usize;
        all.truncate(affordable.max(1));
        all.into_iter().map(|(_, grid)| grid).collect()
    }

    /// By how much the grid may loosen the bound: 1 for none.
    #[must_use]
    pub fn factor(&self) -> f64 {
        rounding::mul_up(self.grid[0].factor, self.grid[1].factor)
    }
}

/// Multiply-adds for all groups at one frequency.
fn frequency_work(shape: &ConvShape, axes: &[AxisTaps; 2]) -> f64 {
    let (outputs, inputs) = (shape.out_channels / shape.groups, shape.in_channels / shape.groups);
    let columns = inputs * axes[0].phases * axes[1].phases;
    let (short, long) = (outputs.min(columns) as f64, outputs.max(columns) as f64);
    // The symbol; two half products of short x 2 long; a factorisation of order 2 short. The constant is for what does
    // not scale.
    let gram = if short == 1.0 { 2.0 * long } else { 2.2 * short * short * long + 1.4 * short.powi(3) + 1e3 };
    shape.groups as f64 * (2.0 * (outputs * shape.fan_in()) as f64 + gram + 100.0)
}

/// An upper bound of `norm(R A D)` for a convolution `A` between masks; `None` if its weights leave the range of f64.
///
/// # Errors
/// A [`Stop`] when the context says so.
pub fn upper_bound(conv: &MaskedConv<'_>, plan: &Plan, context: &Context<'_>) -> Result<Option<f64>, Stop> {
    let shape = conv.shape;
    let size = rounding::norm_up(conv.weights);
    let masks = [conv.row_scale, conv.col_scale]
        .into_iter()
        .flatten()
        .fold(1.0, |product, scale| rounding::mul_up(product, largest_magnitude(scale)));
    if size == 0.0 || masks == 0.0 {
        return Ok(Some(0.0));
    }
    if !size.is_finite() {
        return Ok(None);
    }
    let scale = rounding::power_of_two_near(size);
    let symbols: Vec<Symbol> =
        (0..shape.groups).map(|group| Symbol::new(shape, conv.weights, group, scale, &plan.axes)).collect();
    let mut best = f64::INFINITY;
    for grid in plan.grids() {
        let search = Search { symbols: &symbols, axes: &plan.axes, grid, abandon_above: best };
        if let Some(squared) = search.run(plan, context)? {
            best = best.min(squared);
        }
    }
    if !best.is_finite() {
        return Ok(None);
    }
    let error = symbols.iter().fold(0.0, |m: f64, s| m.max(s.error));
    let gram_error = symbols.iter().fold(0.0, |m: f64, s| m.max(s.gram_error()));
    // (F9)
    let norm = rounding::add_up(rounding::sqrt_up(rounding::add_up(best, gram_error)), error);
    Ok(Some([plan.factor(), scale, masks].into_iter().fold(norm, rounding::mul_up)))
}

/// As [`rounding::max_or_infinite`], of any signs.
fn largest_magnitude(values: &[f64]) -> f64 {
    values.iter().fold(0.0, |m: f64, &v| if v.is_nan() { f64::INFINITY } else { m.max(v.abs()) })
}

impl Symbol {
    /// (F8): the Gram matrix of a computed symbol is off by at most this, as an operator.
    fn gram_error(&self) -> f64 {
        let relative = rounding::mul_up(2.02, rounding::gamma(2 * self.long + 2));
        rounding::mul_up(relative, self.abs_frobenius_squared)
    }
}

/// The proofs on one grid.
struct Search<'a> {
    symbols: &'a [Symbol],
    axes: &'a [AxisTaps; 2],
    grid: [Frequencies; 2],
    /// A bound above this is of no use.
    abandon_above: f64,
}

/// What one thread works in.
struct Slot {
    units: Vec<(f64, f64)>,
    panel: Panel,
    turned: Panel,
    real: Array2<f64>,
    imaginary: Array2<f64>,
    gram: SymmetricMatrix,
}

impl Slot {
    fn new(symbol: &Symbol) -> Self {
        let (short, long) = (symbol.short, symbol.long);
        // A symbol of one row is decided by its Frobenius norm.
        let order = if short == 1 { 0 } else { short };
        Self {
            units: Vec::new(),
            panel: Panel::zeros((short, 2 * long)),
            turned: Panel::zeros((order, 2 * long)),
            real: Array2::zeros((order, order)),
            imaginary: Array2::zeros((order, order)),
            gram: SymmetricMatrix::from_upper(Array2::zeros((2 * order, 2 * order))),
        }
    }
}

impl Search<'_> {
    /// A `t` with `F F^* <= t I` for the computed symbols at all frequencies, or `None` if it would be above the limit.
    ///
    /// Frequencies are taken in rounds, all of a round against the same `t`, so that the result does not depend on the
    /// number of threads.
    fn run(&self, plan: &Plan, context: &Context<'_>) -> Result<Option<f64>, Stop> {
        let mut waiting = scattered(symbol::without_opposites(self.grid));
        let each = plan.work / waiting.len().max(1) as f64;
        let alone = each > 0.5 * ROUND;
        let round = ((2.0 * ROUND / each) as usize).clamp(2, 4096);
        let threads = if alone { 1 } else { context.threads.count() };
        let slots: Vec<_> = (0..threads).map(|_| Mutex::new(Slot::new(&self.symbols[0]))).collect();
        let mut t = 0.0;
        while !waiting.is_empty() {
            context.check()?;
            let now: Vec<_> = waiting.split_off(waiting.len().saturating_sub(round));
            let mut tops = vec![0.0; now.len()];
            if alone {
                // Large symbols: threads share one, which can be interrupted inside.
                for (at, top) in now.iter().zip(&mut tops) {
                    *top = self.examine(*at, t, &slots[0], context)?;
                }
            } else {
                let results: Vec<_> = tops.iter_mut().map(Mutex::new).collect();
                context.threads.run(now.len(), |slot, item| {
                    let top = self.examine(now[item], t, &slots[slot], &Context::quiet(&Threads::serial()));
                    // A quiet context does not stop.
                    **results[item].lock().expect("no other thread has this item") = top.unwrap_or(f64::INFINITY);
                });
            }
            let top = tops.iter().fold(0.0, |m: f64, &v| m.max(v));
            if top > self.abandon_above || !top.is_finite() {
                return Ok(None);
            }
            if top > 0.0 {
                t = top.max(t) * (1.0 + SLACK);
                waiting.extend(now.iter().zip(&tops).filter(|&(_, &top)| top > 0.0).map(|(at, _)| *at));
            }
        }
        Ok(Some(t))
    }

    /// Zero if `F F^* <= t I` is proven for all groups at a frequency, else about the largest eigenvalue of `F F^*`.
    fn examine(&self, at: [usize; 2], t: f64, slot: &Mutex<Slot>, context: &Context<'_>) -> Result<f64, Stop> {
        let mut slot = slot.lock().expect("a thread that panicked took its search along");
        let slot = &mut *slot;
        symbol::tap_units(self.axes, self.grid, at, &mut slot.units);
        let mut top: f64 = 0.0;
        for symbol in self.symbols {
            symbol.evaluate(&slot.units, &mut slot.panel);
            let frobenius = squared_frobenius(&slot.panel);
            if frobenius <= t || frobenius == 0.0 {
                continue;
            }
            if symbol.short == 1 || !frobenius.is_finite() {
                top = if frobenius.is_nan() { f64::INFINITY } else { top.max(frobenius) };
                continue;
            }
            gram_of_panel(slot, symbol.long, context)?;
            if t > 0.0 && slot.gram.proves_below(t, context)? {
                continue;
            }
            let effort = Effort { precision: 1e-3, max_steps: 40 };
            let found = ritz::top_eigenpair::<Stop>(slot.gram.diagonal(), effort, |x, y| {
                slot.gram.multiply(x, y);
                Ok(())
            })?;
            // A search that fails must not pass for a proof.
            top = top.max(if found.value > 0.0 { found.value } else { frobenius });
        }
        Ok(top)
    }
}

/// At least the sum of the squares.
fn squared_frobenius(panel: &Panel) -> f64 {
    let values = panel.as_slice().expect("in standard layout");
    rounding::raise(rounding::sum_of_squares(values, 1.0), rounding::chunk_rounding(values.len()))
}

/// `F F^* = X + i Y` from the panel `[Re F | Im F]`, in the real form `[X, -Y; Y, X]`, which has the same eigenvalues
/// (each twice).
fn gram_of_panel(slot: &mut Slot, long: usize, context: &Context<'_>) -> Result<(), Stop> {
    let Slot { panel, turned, real, imaginary, gram, .. } = slot;
    turned.slice_mut(s![.., ..long]).assign(&panel.slice(s![.., long..]));
    turned.slice_mut(s![.., long..]).zip_mut_with(&panel.slice(s![.., ..long]), |to, &re| *to = -re);
    blocks::upper_product(panel.view(), panel.view(), real.view_mut(), context)?;
    blocks::upper_product(turned.view(), panel.view(), imaginary.view_mut(), context)?;
    let short = real.nrows();
    gram.refill(|entries| {
        for i in 0..short {
            for j in i..short {
                let x = real[[i, j]];
                entries[[i, j]] = x;
                entries[[short + i, short + j]] = x;
                // The upper triangle says what Y is: skew, with a zero diagonal.
                let y = if i == j { 0.0 } else { imaginary[[i, j]] };
                entries[[i, short + j]] = -y;
                entries[[j, short + i]] = y;
            }
        }
    });
    Ok(())
}

/// The same elements in an order in which neighbours are far apart, so that few have to be looked at before the largest
/// norm is nearly known.
fn scattered<T: Copy>(list: Vec<T>) -> Vec<T> {
    let n = list.len();
    let gcd = |mut a: usize, mut b: usize| {
        while b > 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    let step = ((n as f64 * 0.618) as usize..).find(|&step| gcd(step.max(1), n.max(1)) == 1).unwrap_or(1).max(1);
    (0..n).map(|i| list[i * step % n]).collect()
}
