//! Piecewise-linear units and the interval of their secant slopes.

use std::sync::Arc;

use lipbound_operators::rounding::{add_down, add_up, div_down, div_up, mul_down, mul_up};

/// Which constant is bounded (all in the Euclidean norm; X is the ball of radius epsilon around x0).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The largest `norm(f(x) - f(x0)) / norm(x - x0)` over x in X: the papers' local Lipschitz constant.
    Centred,
    /// The largest `norm(f(x) - f(x')) / norm(x - x')` over x, x' in X.
    Uniform,
    /// The largest ratio over all pairs.
    Global,
}

/// A unit that acts on each element by itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Unit {
    /// `max(0, y)`.
    Relu,
    /// `y` for `y >= 0`, `slope * y` below; any finite slope.
    LeakyRelu {
        /// Slope below zero.
        slope: f64,
    },
    /// `min(max(y, low), high)`: ReLU6, hard tanh. `low < high`; either may be infinite.
    Clip {
        /// Least value; minus infinity for none.
        low: f64,
        /// Largest value; infinity for none.
        high: f64,
    },
}

/// The units of a layer.
#[derive(Clone, Debug, PartialEq)]
pub enum Units {
    /// The same for every element.
    Same(Unit),
    /// Element `i` has `units[i / repeat]`: one unit a channel, say.
    Each {
        /// The units, in order.
        units: Arc<[Unit]>,
        /// Elements that share one.
        repeat: usize,
    },
}

impl From<Unit> for Units {
    fn from(unit: Unit) -> Self {
        Self::Same(unit)
    }
}

impl Units {
    /// Units for runs of `repeat` elements each.
    #[must_use]
    pub fn each(units: Vec<Unit>, repeat: usize) -> Self {
        Self::Each { units: units.into(), repeat }
    }

    /// The unit of element `i`.
    ///
    /// # Panics
    /// If there are fewer elements.
    #[must_use]
    pub fn at(&self, i: usize) -> Unit {
        match self {
            Self::Same(unit) => *unit,
            Self::Each { units, repeat } => units[i / repeat],
        }
    }

    /// The units that occur.
    #[must_use]
    pub fn distinct(&self) -> &[Unit] {
        match self {
            Self::Same(unit) => std::slice::from_ref(unit),
            Self::Each { units, .. } => units,
        }
    }

    /// Whether there is a unit for each of `elements`, and no more.
    #[must_use]
    pub fn fit(&self, elements: usize) -> bool {
        match self {
            Self::Same(_) => true,
            Self::Each { units, repeat } => units.len().checked_mul(*repeat) == Some(elements),
        }
    }

    /// The most relative roundings of a value.
    #[must_use]
    pub fn roundings(&self) -> usize {
        self.distinct().iter().map(|unit| unit.roundings()).max().unwrap_or(0)
    }

    /// The largest magnitude of any slope.
    #[must_use]
    pub fn steepest(&self) -> f64 {
        self.distinct().iter().map(|unit| unit.global_slopes().magnitude()).fold(0.0, f64::max)
    }
}

/// The interval that contains every secant slope of a unit over a range of pre-activations.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Slope {
    /// Lower end.
    pub low: f64,
    /// Upper end.
    pub high: f64,
}

impl Slope {
    /// The largest magnitude: the unit's Lipschitz constant over the range.
    #[must_use]
    pub fn magnitude(self) -> f64 {
        // `f64::max` would pass over an end that is no number.
        if self.is_known() { self.low.abs().max(self.high.abs()) } else { f64::INFINITY }
    }

    /// Whether both ends are numbers.
    fn is_known(self) -> bool {
        !self.low.is_nan() && !self.high.is_nan()
    }

    /// Whether the unit is affine over the range.
    #[must_use]
    pub fn is_exact(self) -> bool {
        self.low == self.high
    }
}

/// What is known of a pre-activation: its nominal value is in `[low, high]`, and over X it moves by at most `deviation`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PreActivation {
    /// Nominal value, from below.
    pub low: f64,
    /// Nominal value, from above.
    pub high: f64,
    /// Largest deviation from the nominal value over X.
    pub deviation: f64,
}

impl Unit {
    /// The unit's value.
    #[must_use]
    pub fn value(self, y: f64) -> f64 {
        match self {
            Self::Relu => y.max(0.0),
            Self::LeakyRelu { slope } => {
                if y >= 0.0 {
                    y
                } else {
                    slope * y
                }
            }
            Self::Clip { low, high } => y.max(low).min(high),
        }
    }

    /// The slope at `y`; at a kink that below it for a ReLU, and zero for a clip, as frameworks have it.
    #[must_use]
    pub fn slope_at(self, y: f64) -> f64 {
        match self {
            Self::Relu => f64::from(y > 0.0),
            Self::LeakyRelu { slope } => {
                if y > 0.0 {
                    1.0
                } else {
                    slope
                }
            }
            Self::Clip { low, high } => f64::from(low < y && y < high),
        }
    }

    /// Whether the nominal value may be at a kink, where there is no one slope.
    #[must_use]
    pub fn may_kink(self, y: PreActivation) -> bool {
        let holds = |kink: f64| y.low <= kink && y.high >= kink;
        match self {
            Self::Relu | Self::LeakyRelu { .. } => holds(0.0),
            Self::Clip { low, high } => holds(low) || holds(high),
        }
    }

    /// Relative roundings of [`value`](Self::value).
    #[must_use]
    pub fn roundings(self) -> usize {
        match self {
            Self::Relu | Self::Clip { .. } => 0,
            Self::LeakyRelu { .. } => 1,
        }
    }

    /// The interval of secant slopes over the range, rounded outward.
    ///
    /// Centred (one end of the secant at the nominal value; arXiv 2008.06141, section 3): for ReLU, `y0 >= 0` gives
    /// `[min(1, y0 / dev), 1]` and `y0 < 0` gives `[0, max(0, (y0 + dev) / dev)]`. Both ends grow with `y0`, so an
    /// uncertain `y0` takes each end where it is loosest. Uniform: `[1, 1]` if the unit stays positive, `[0, 0]` if it
    /// stays negative, else `[0, 1]`. Leaky ReLU is `slope y + (1 - slope) relu(y)`; for a clip see `clip_slopes`.
    #[must_use]
    pub fn slopes(self, y: PreActivation, kind: Kind) -> Slope {
        let found = match self {
            Self::Relu => relu_slopes(y, kind),
            Self::Clip { low, high } => clip_slopes(low, high, y, kind),
            Self::LeakyRelu { slope } => {
                let relu = Self::Relu.slopes(y, kind);
                let at = |s: f64| {
                    // Exact where the unit is affine.
                    if s == 1.0 {
                        (1.0, 1.0)
                    } else if s == 0.0 {
                        (slope, slope)
                    } else {
                        let (down, up) = (add_down(1.0, -slope), add_up(1.0, -slope));
                        let product = [mul_down(down, s), mul_down(up, s), mul_up(down, s), mul_up(up, s)];
                        let low = product.into_iter().fold(f64::INFINITY, f64::min);
                        let high = product.into_iter().fold(f64::NEG_INFINITY, f64::max);
                        (add_down(slope, low), add_up(slope, high))
                    }
                };
                let (a, b) = (at(relu.low), at(relu.high));
                Slope { low: a.0.min(b.0), high: a.1.max(b.1) }
            }
        };
        // Quotients of infinities are no numbers, and say nothing: whoever takes the least of ends would pass over them.
        if found.is_known() { found } else { self.global_slopes() }
    }

    /// The interval of slopes when nothing is known of the pre-activation.
    #[must_use]
    pub fn global_slopes(self) -> Slope {
        match self {
            Self::Relu => Slope { low: 0.0, high: 1.0 },
            Self::LeakyRelu { slope } => Slope { low: slope.min(1.0), high: slope.max(1.0) },
            Self::Clip { low, high } => {
                let bent = low > f64::NEG_INFINITY || high < f64::INFINITY;
                Slope { low: if bent { 0.0 } else { 1.0 }, high: 1.0 }
            }
        }
    }
}

fn relu_slopes(y: PreActivation, kind: Kind) -> Slope {
    let PreActivation { low, high, deviation } = y;
    match kind {
        Kind::Global => Slope { low: 0.0, high: 1.0 },
        Kind::Uniform => Slope {
            low: if add_down(low, -deviation) >= 0.0 { 1.0 } else { 0.0 },
            // A number that is none proves nothing.
            high: if add_up(high, deviation) <= 0.0 { 0.0 } else { 1.0 },
        },
        Kind::Centred => {
            // What is no number takes the loose branch, or leaves an end that is none.
            let lower = if low >= 0.0 && low >= deviation {
                1.0
            } else if low >= 0.0 && deviation >= 0.0 {
                div_down(low, deviation).clamp(0.0, 1.0)
            } else {
                0.0
            };
            let reach = add_up(high, deviation);
            let upper = if high >= 0.0 {
                1.0
            } else if reach <= 0.0 {
                0.0
            } else {
                div_up(reach, deviation).clamp(0.0, 1.0)
            };
            Slope { low: lower, high: upper }
        }
    }
}

/// The secant slopes of `clip(y) = min(max(y, a), b)`, rounded outward.
///
/// Centred, from a certain nominal value `y0` over a deviation `d > 0`:
/// - `a <= y0 <= b`: the slope is one up to a kink and falls behind it, so the interval is
///   `[min(1, (b - y0) / d, (y0 - a) / d), 1]`;
/// - `y0 < a`: zero up to `a`, then `(y - a) / (y - y0)` grows up to the kink at `b`, behind which `(b - a) / (y - y0)`
///   falls. The interval is `[0, 1 - (a - y0) / min(d, b - y0)]`, or `[0, 0]` if `d <= a - y0`;
/// - `y0 > b`: the mirror image.
///
/// An uncertain `y0` in `[p, q]` takes each end where it is loosest. The lower end is a minimum of affine functions of
/// `y0` cut off at zero, so its least value is at `p` or `q`: `min(1, (b - q) / d, (p - a) / d)`. The upper end grows with
/// `y0` below `a`, is one from `a` to `b` and falls above: it is one if `[p, q]` meets `[a, b]`, that of `q` if `q < a`,
/// that of `p` if `p > b`.
fn clip_slopes(a: f64, b: f64, y: PreActivation, kind: Kind) -> Slope {
    let PreActivation { low: p, high: q, deviation: d } = y;
    // How far the nominal value is inside each kink, from below; a kink at infinity is out of reach, and a number that
    // is none proves nothing, here and below: comparisons with it are false and take the loose branch.
    let above_a = if a == f64::NEG_INFINITY { f64::INFINITY } else { add_down(p, -a) };
    let below_b = if b == f64::INFINITY { f64::INFINITY } else { add_down(b, -q) };
    let inside = above_a.min(below_b);
    let stays_below = add_up(q, d) <= a;
    let stays_above = add_down(p, -d) >= b;
    match kind {
        Kind::Global => Unit::Clip { low: a, high: b }.global_slopes(),
        Kind::Uniform => Slope {
            low: if above_a >= d && below_b >= d { 1.0 } else { 0.0 },
            high: if stays_below || stays_above { 0.0 } else { 1.0 },
        },
        Kind::Centred => {
            let low = if above_a >= d && below_b >= d {
                1.0
            } else if above_a >= 0.0 && below_b >= 0.0 && d >= 0.0 {
                div_down(inside, d).clamp(0.0, 1.0)
            } else {
                0.0
            };
            let high = if stays_below || stays_above {
                0.0
            } else if q <= a {
                reaching_slope(add_down(a, -q), d, add_up(b, -q))
            } else if p >= b {
                reaching_slope(add_down(p, -b), d, add_up(p, -a))
            } else {
                1.0
            };
            Slope { low, high }
        }
    }
}

/// `1 - distance / min(deviation, far)`, rounded up: the largest secant slope from a constant piece whose near kink is
/// at least `distance` away and whose far kink at most `far`.
fn reaching_slope(distance: f64, deviation: f64, far: f64) -> f64 {
    let slope = add_up(1.0, -div_down(distance, deviation.min(far)));
    if slope.is_nan() { 1.0 } else { slope.clamp(0.0, 1.0) }
}

#[cfg(test)]
mod tests;
