//! Networks that are known exactly: where along a ray their answer changes, in fractions, and what they give in twice the digits.

use std::sync::Arc;

use super::vector;
use crate::common::Random;
use lipbound_lipschitz::{Layer, MaxPool, Network, NetworkBuilder, Node, Tensor, Unit, linear, unit};

/// A fraction in lowest terms, its denominator positive. What leaves the range of numbers is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Fraction(pub(super) i128, pub(super) i128);

impl Fraction {
    pub(super) fn of(over: i128, under: i128) -> Option<Self> {
        let (mut a, mut b) = (over.unsigned_abs(), under.unsigned_abs());
        while b != 0 {
            (a, b) = (b, a % b);
        }
        let (gcd, sign) = (i128::try_from(a.max(1)).ok()?, under.signum());
        Some(Self(sign * over / gcd, sign * under / gcd))
    }

    /// Of a number that is exact in 40 binary digits behind the point.
    pub(super) fn exactly(x: f64) -> Option<Self> {
        let scaled = x * 2f64.powi(40);
        if scaled.fract() != 0.0 || scaled.abs() > 2f64.powi(90) {
            return None;
        }
        Self::of(scaled as i128, 1 << 40)
    }

    pub(super) fn plus(self, other: Self) -> Option<Self> {
        let over = self.0.checked_mul(other.1)?.checked_add(other.0.checked_mul(self.1)?)?;
        Self::of(over, self.1.checked_mul(other.1)?)
    }

    pub(super) fn times(self, other: Self) -> Option<Self> {
        Self::of(self.0.checked_mul(other.0)?, self.1.checked_mul(other.1)?)
    }

    pub(super) fn minus(self, other: Self) -> Option<Self> {
        self.plus(Self(-other.0, other.1))
    }

    pub(super) fn over(self, other: Self) -> Option<Self> {
        Self::of(self.0.checked_mul(other.1)?, self.1.checked_mul(other.0)?)
    }

    pub(super) fn below(self, other: Self) -> Option<bool> {
        Some(self.minus(other)?.0 < 0)
    }

    pub(super) fn value(self) -> f64 {
        self.0 as f64 / self.1 as f64
    }
}

/// A value and its slope along a ray.
pub(super) type Moving = (Fraction, Fraction);

pub(super) const ZERO: Fraction = Fraction(0, 1);

/// Layers of an exactly known network.
pub(super) enum Exact {
    Affine(Vec<Vec<f64>>, Vec<f64>),
    Unit(Unit),
    /// Maxima of neighbouring pairs.
    Pairs,
    /// The input of the network behind what there is.
    AndInput,
}

pub(super) struct ExactNetwork {
    pub(super) inputs: usize,
    pub(super) layers: Vec<Exact>,
}

impl ExactNetwork {
    pub(super) fn grid(random: &mut Random) -> f64 {
        [-2.0, -1.0, -1.0, -0.5, -0.25, 0.0, 0.25, 0.5, 1.0, 1.0, 1.5, 3.0][random.below(12)]
    }

    pub(super) fn random(random: &mut Random, inputs: usize) -> Self {
        let mut layers = Vec::new();
        let mut width = inputs;
        // Units, maxima and branches that read the input itself.
        match random.below(8) {
            0 => layers.push(Exact::Unit(random.clip())),
            1 if inputs > 1 => {
                layers.push(Exact::Pairs);
                width = width.div_ceil(2);
            }
            _ => {}
        }
        for _ in 0..1 + random.below(3) {
            let rows = 1 + random.below(5);
            let mut matrix: Vec<Vec<f64>> =
                (0..rows).map(|_| (0..width).map(|_| Self::grid(random)).collect()).collect();
            if rows > 1 && random.chance(0.1) {
                matrix[1] = matrix[0].clone();
            }
            let bias = (0..rows).map(|_| if random.chance(0.3) { 0.0 } else { Self::grid(random) }).collect();
            layers.push(Exact::Affine(matrix, bias));
            width = rows;
            match random.below(10) {
                0 => {}
                1 => layers.push(Exact::Unit(Unit::LeakyRelu { slope: [0.25, -0.5, -1.0, 2.0][random.below(4)] })),
                2 => layers.push(Exact::Unit(random.clip())),
                3 if width >= 2 => {
                    layers.push(Exact::Pairs);
                    width = width.div_ceil(2);
                }
                4 => {
                    layers.push(Exact::AndInput);
                    width += inputs;
                }
                _ => layers.push(Exact::Unit(Unit::Relu)),
            }
        }
        if random.chance(0.7) {
            let rows = 1 + random.below(4);
            let matrix = (0..rows).map(|_| (0..width).map(|_| Self::grid(random)).collect()).collect();
            layers.push(Exact::Affine(matrix, (0..rows).map(|_| Self::grid(random)).collect()));
        }
        Self { inputs, layers }
    }

    pub(super) fn build(&self) -> Network {
        let mut builder = NetworkBuilder::new(vec![self.inputs]).unwrap();
        for (k, layer) in self.layers.iter().enumerate() {
            let last = builder.last();
            let width: usize = builder.shape(last).iter().product();
            let mut inputs = vec![last];
            let (layer, shape) = match layer {
                Exact::Affine(matrix, bias) => {
                    let weight = Tensor::f64(vec![matrix.len(), width], matrix.concat()).unwrap();
                    linear(&[width], &weight, Some(&vector(bias))).unwrap()
                }
                Exact::Unit(which) => unit(&[width], *which).unwrap(),
                Exact::Pairs => {
                    let members: Vec<u32> = (0..width as u32).collect();
                    let starts = (0..width).step_by(2).chain([width]).collect();
                    let pool = MaxPool::from_windows(width, starts, members).unwrap();
                    (Layer::MaxPool(Arc::new(pool)), vec![width.div_ceil(2)])
                }
                Exact::AndInput => {
                    inputs.push(0);
                    (Layer::Concat, vec![width + self.inputs])
                }
            };
            builder
                .push(Node { name: format!("l{k}"), kind: "test".into(), layer, inputs, shape, parameters: 0 })
                .unwrap();
        }
        builder.build().unwrap()
    }

    /// The outputs just behind a point of a ray, and how far it is from there to the next kink of anything.
    pub(super) fn behind(&self, point: &[Moving]) -> Option<(Vec<Moving>, Option<Fraction>)> {
        let mut values = point.to_vec();
        let mut next: Option<Fraction> = None;
        let meets = |gap: Fraction, speed: Fraction, next: &mut Option<Fraction>| {
            // `gap + t speed = 0` for a t > 0.
            if speed.0 != 0 && gap.0 != 0 {
                let t = Fraction(-gap.0, gap.1).over(speed)?;
                if t.0 > 0 && next.map_or(Some(true), |next| t.below(next))? {
                    *next = Some(t);
                }
            }
            Some(())
        };
        for layer in &self.layers {
            values = match layer {
                Exact::Affine(matrix, bias) => {
                    let mut out = Vec::new();
                    for (row, bias) in matrix.iter().zip(bias) {
                        let (mut y, mut slope) = (Fraction::exactly(*bias)?, ZERO);
                        for (a, (v, s)) in row.iter().zip(&values) {
                            let a = Fraction::exactly(*a)?;
                            y = y.plus(a.times(*v)?)?;
                            slope = slope.plus(a.times(*s)?)?;
                        }
                        out.push((y, slope));
                    }
                    out
                }
                Exact::Unit(unit) => {
                    let mut out = Vec::new();
                    for &(y, slope) in &values {
                        let mut piece = |low: Option<f64>, high: Option<f64>, below: f64| {
                            let side = |end: Fraction| {
                                let gap = y.minus(end)?;
                                Some((gap, if gap.0 == 0 { slope.0.signum() } else { gap.0.signum() }))
                            };
                            let mut at = (y, slope);
                            if let Some(low) = low {
                                let end = Fraction::exactly(low)?;
                                let (gap, sign) = side(end)?;
                                meets(gap, slope, &mut next)?;
                                if sign < 0 || (sign == 0 && below != 1.0) {
                                    let below = Fraction::exactly(below)?;
                                    at = (end.plus(below.times(gap)?)?, below.times(slope)?);
                                }
                            }
                            if let Some(high) = high {
                                let end = Fraction::exactly(high)?;
                                let (gap, sign) = side(end)?;
                                meets(gap, slope, &mut next)?;
                                if sign > 0 {
                                    at = (end, ZERO);
                                }
                            }
                            Some(at)
                        };
                        out.push(match *unit {
                            Unit::Relu => piece(Some(0.0), None, 0.0)?,
                            Unit::LeakyRelu { slope } => piece(Some(0.0), None, slope)?,
                            Unit::Clip { low, high } => {
                                let end = |x: f64| x.is_finite().then_some(x);
                                piece(end(low), end(high), 0.0)?
                            }
                        });
                    }
                    out
                }
                Exact::Pairs => {
                    let mut out = Vec::new();
                    for pair in values.chunks(2) {
                        let mut at = pair[0];
                        if let Some(&(b, speed)) = pair.get(1) {
                            let (gap, faster) = (b.minus(at.0)?, speed.minus(at.1)?);
                            meets(gap, faster, &mut next)?;
                            if gap.0 > 0 || (gap.0 == 0 && faster.0 > 0) {
                                at = (b, speed);
                            }
                        }
                        out.push(at);
                    }
                    out
                }
                Exact::AndInput => values.iter().chain(point).copied().collect(),
            };
        }
        Some((values, next))
    }

    /// The least `t > 0` (or at most `far`) at which `x + t d` has not the label's output above all others: `Some(None)` if
    /// there is none, `None` where numbers grow too long.
    pub(super) fn boundary(&self, x: &[f64], d: &[i128], label: usize, far: Fraction) -> Option<Option<Fraction>> {
        let mut t = ZERO;
        let x: Vec<Fraction> = x.iter().map(|&x| Fraction::exactly(x)).collect::<Option<_>>()?;
        for _ in 0..500 {
            let at: Vec<Moving> = x
                .iter()
                .zip(d)
                .map(|(x, &d)| Some((x.plus(t.times(Fraction(d, 1))?)?, Fraction(d, 1))))
                .collect::<Option<_>>()?;
            let (outputs, next) = self.behind(&at)?;
            let mut first: Option<Fraction> = None;
            let margins: Vec<Moving> = if let [(y, slope)] = outputs[..] {
                let sign = Fraction(if label == 1 { 1 } else { -1 }, 1);
                vec![(y.times(sign)?, slope.times(sign)?)]
            } else {
                (0..outputs.len())
                    .filter(|&j| j != label)
                    .map(|j| Some((outputs[label].0.minus(outputs[j].0)?, outputs[label].1.minus(outputs[j].1)?)))
                    .collect::<Option<_>>()?
            };
            for (margin, slope) in margins {
                if margin.0 <= 0 {
                    return Some(Some(t));
                }
                if slope.0 < 0 {
                    let zero = Fraction(-margin.0, margin.1).over(slope)?;
                    if first.map_or(Some(true), |first| zero.below(first))? {
                        first = Some(zero);
                    }
                }
            }
            if let Some(first) = first
                && next.map_or(Some(true), |next| Some(!next.below(first)?))?
            {
                let hit = t.plus(first)?;
                return Some(if far.below(hit)? { None } else { Some(hit) });
            }
            let Some(next) = next else { return Some(None) };
            t = t.plus(next)?;
            if far.below(t)? {
                return Some(None);
            }
        }
        None
    }
}

/// Whether `radius^2 < t^2 |d|^2`, exactly; `radius` is cut to 45 digits, downwards by less than a part in 1e13.
pub(super) fn is_below(radius: f64, t: Fraction, d: &[i128]) -> Option<bool> {
    let cut = f64::from_bits(radius.to_bits() & !0xff);
    let exponent = 44 - cut.log2().floor() as i32;
    if !(-20..80).contains(&exponent) {
        return Some(radius < t.value() * (d.iter().map(|d| d * d).sum::<i128>() as f64).sqrt() * (1.0 + 1e-12));
    }
    let r = if exponent > 0 {
        Fraction::of((cut * 2f64.powi(exponent)) as i128, 1i128.checked_shl(exponent as u32)?)?
    } else {
        Fraction(cut as i128, 1)
    };
    if let [d] = d {
        return r.below(t.times(Fraction(d.abs(), 1))?);
    }
    let squared = Fraction(d.iter().map(|d| d * d).sum(), 1);
    let ratio = r.over(t)?;
    match ratio.times(ratio).and_then(|ratio| ratio.below(squared)) {
        Some(below) => Some(below),
        None => Some(ratio.value() < squared.value().sqrt() * (1.0 + 1e-12)),
    }
}

/// About twice the digits of f64: a number and what it leaves.
#[derive(Clone, Copy, Debug)]
pub(super) struct Precise(pub(super) f64, pub(super) f64);

impl Precise {
    pub(super) fn plus(self, other: Self) -> Self {
        let sum = self.0 + other.0;
        let part = sum - self.0;
        let rest = (self.0 - (sum - part)) + (other.0 - part) + self.1 + other.1;
        Self(sum + rest, rest - ((sum + rest) - sum))
    }

    pub(super) fn minus(self, other: Self) -> Self {
        self.plus(Self(-other.0, -other.1))
    }

    pub(super) fn times(self, other: Self) -> Self {
        let product = self.0 * other.0;
        let rest = self.0.mul_add(other.0, -product) + (self.0 * other.1 + self.1 * other.0);
        Self(product + rest, rest - ((product + rest) - product))
    }

    /// Whether this is above another number, or both are zero.
    pub(super) fn reaches(self, other: Self) -> bool {
        let less = self.minus(other);
        less.0 > 0.0 || (less.0 == 0.0 && less.1 >= 0.0)
    }
}

impl ExactNetwork {
    /// The output at any point, with twice the digits.
    pub(super) fn precisely(&self, x: &[f64]) -> Vec<Precise> {
        let input: Vec<Precise> = x.iter().map(|&x| Precise(x, 0.0)).collect();
        let mut values = input.clone();
        for layer in &self.layers {
            values = match layer {
                Exact::Affine(matrix, bias) => matrix
                    .iter()
                    .zip(bias)
                    .map(|(row, &bias)| {
                        row.iter().zip(&values).fold(Precise(bias, 0.0), |y, (&a, v)| y.plus(v.times(Precise(a, 0.0))))
                    })
                    .collect(),
                Exact::Unit(unit) => values
                    .iter()
                    .map(|&y| {
                        let (low, high, below) = match *unit {
                            Unit::Relu => (0.0, f64::INFINITY, 0.0),
                            Unit::LeakyRelu { slope } => (0.0, f64::INFINITY, slope),
                            Unit::Clip { low, high } => (low, high, 0.0),
                        };
                        if y.0 < low {
                            let beyond = y.minus(Precise(low, 0.0));
                            Precise(low, 0.0).plus(beyond.times(Precise(below, 0.0)))
                        } else if y.0 > high {
                            Precise(high, 0.0)
                        } else {
                            y
                        }
                    })
                    .collect(),
                Exact::Pairs => values
                    .chunks(2)
                    .map(|pair| match *pair {
                        [a, b] if b.reaches(a) => b,
                        _ => pair[0],
                    })
                    .collect(),
                Exact::AndInput => values.into_iter().chain(input.iter().copied()).collect(),
            };
        }
        values
    }
}

/// The square of a distance.
pub(super) fn apart(a: &[Precise], b: &[Precise]) -> Precise {
    a.iter().zip(b).map(|(a, b)| a.minus(*b)).fold(Precise(0.0, 0.0), |sum, d| sum.plus(d.times(d)))
}
