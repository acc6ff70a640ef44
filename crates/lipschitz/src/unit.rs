//! Piecewise-linear units and the interval of their secant slopes.

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
        self.low.abs().max(self.high.abs())
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
        }
    }

    /// Relative roundings of [`value`](Self::value).
    #[must_use]
    pub fn roundings(self) -> usize {
        match self {
            Self::Relu => 0,
            Self::LeakyRelu { .. } => 1,
        }
    }

    /// The interval of secant slopes over the range, rounded outward.
    ///
    /// Centred (one end of the secant at the nominal value; arXiv 2008.06141, section 3): for ReLU, `y0 >= 0` gives
    /// `[min(1, y0 / dev), 1]` and `y0 < 0` gives `[0, max(0, (y0 + dev) / dev)]`. Both ends grow with `y0`, so an
    /// uncertain `y0` takes each end where it is loosest. Uniform: `[1, 1]` if the unit stays positive, `[0, 0]` if it
    /// stays negative, else `[0, 1]`. Leaky ReLU is `slope y + (1 - slope) relu(y)`.
    #[must_use]
    pub fn slopes(self, y: PreActivation, kind: Kind) -> Slope {
        let relu = relu_slopes(y, kind);
        match self {
            Self::Relu => relu,
            Self::LeakyRelu { slope } => {
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
        }
    }

    /// Whether the output provably does not move over the range.
    #[must_use]
    pub fn is_still(self, y: PreActivation) -> bool {
        self.slopes(y, Kind::Uniform).magnitude() == 0.0
    }

    /// The interval of slopes when nothing is known of the pre-activation.
    #[must_use]
    pub fn global_slopes(self) -> Slope {
        match self {
            Self::Relu => Slope { low: 0.0, high: 1.0 },
            Self::LeakyRelu { slope } => Slope { low: slope.min(1.0), high: slope.max(1.0) },
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
            // NaN takes the loose branch in both.
            let lower = if low >= 0.0 && low >= deviation {
                1.0
            } else if low >= 0.0 && deviation > 0.0 {
                div_down(low, deviation).clamp(0.0, 1.0)
            } else {
                0.0
            };
            let upper = if high >= 0.0 || deviation.is_infinite() {
                1.0
            } else {
                let reach = add_up(high, deviation);
                if reach <= 0.0 {
                    0.0
                } else if reach < deviation {
                    div_up(reach, deviation).clamp(0.0, 1.0)
                } else {
                    1.0
                }
            };
            Slope { low: lower, high: upper }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(y0: f64, deviation: f64) -> PreActivation {
        PreActivation { low: y0, high: y0, deviation }
    }

    #[test]
    fn centred_relu_slopes_are_those_of_the_paper() {
        for (y0, dev, low, high) in [
            (2.0, 1.0, 1.0, 1.0),
            (1.0, 2.0, 0.5, 1.0),
            (0.0, 1.0, 0.0, 1.0),
            (-1.0, 2.0, 0.0, 0.5),
            (-1.0, 1.0, 0.0, 0.0),
            (-2.0, 1.0, 0.0, 0.0),
            // A deviation far below one unit in the last place of y0 leaves the slope at one.
            (1.0, 1e-300, 1.0, 1.0),
        ] {
            let slope = Unit::Relu.slopes(at(y0, dev), Kind::Centred);
            assert!(slope.low <= low && slope.low >= low - 1e-15, "{y0} {dev}: {slope:?}");
            assert!(slope.high >= high && slope.high <= high + 1e-15, "{y0} {dev}: {slope:?}");
        }
    }

    #[test]
    fn no_secant_leaves_the_interval() {
        let units = [
            Unit::Relu,
            Unit::LeakyRelu { slope: 0.01 },
            Unit::LeakyRelu { slope: -0.5 },
            Unit::LeakyRelu { slope: 3.0 },
        ];
        for unit in units {
            for i in -20..=20 {
                let y0 = f64::from(i) * 0.37;
                for deviation in [1e-9, 0.1, 0.37, 1.0, 5.0, 100.0] {
                    let points: Vec<f64> = (-50..=50).map(|k| y0 + deviation * f64::from(k) / 50.0).collect();
                    let centred = unit.slopes(at(y0, deviation), Kind::Centred);
                    let uniform = unit.slopes(at(y0, deviation), Kind::Uniform);
                    let global = unit.global_slopes();
                    assert!(global.low <= uniform.low && uniform.high <= global.high);
                    assert!(uniform.low <= centred.low + 1e-15 && centred.high <= uniform.high + 1e-15);
                    for &a in &points {
                        for &b in [y0].iter().chain(&points) {
                            if (a - b).abs() < 1e-6 * deviation {
                                continue;
                            }
                            let secant = (unit.value(a) - unit.value(b)) / (a - b);
                            // What the secant itself may be off by: rounded values over a small difference.
                            let room = 8.0 * f64::EPSILON * (a.abs() + b.abs()) / (a - b).abs() + 1e-14;
                            assert!(uniform.low - room <= secant && secant <= uniform.high + room);
                            if b == y0 {
                                assert!(centred.low - room <= secant && secant <= centred.high + room, "{unit:?}");
                            }
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn infinite_deviation_is_global() {
        let y = PreActivation { low: f64::NEG_INFINITY, high: f64::INFINITY, deviation: f64::INFINITY };
        for kind in [Kind::Centred, Kind::Uniform, Kind::Global] {
            assert_eq!(Unit::Relu.slopes(y, kind), Slope { low: 0.0, high: 1.0 });
        }
    }
}
