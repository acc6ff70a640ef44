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
        Unit::Clip { low: 0.0, high: 6.0 },
        Unit::Clip { low: -1.0, high: 1.0 },
        Unit::Clip { low: -0.37, high: 0.0 },
        Unit::Clip { low: 2.0, high: 2.5 },
        Unit::Clip { low: f64::NEG_INFINITY, high: 0.74 },
        Unit::Clip { low: -1.0, high: f64::INFINITY },
        Unit::Clip { low: f64::NEG_INFINITY, high: f64::INFINITY },
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

fn clips() -> impl Iterator<Item = (f64, f64)> {
    let infinity = f64::INFINITY;
    [(0.0, 6.0), (-1.0, 1.0), (-0.37, 0.0), (2.0, 2.5), (-infinity, 0.74), (-1.0, infinity)].into_iter()
}

#[test]
fn the_interval_of_a_clip_is_attained_at_both_ends() {
    for (low, high) in clips() {
        let unit = Unit::Clip { low, high };
        for i in -40..=40 {
            let y0 = f64::from(i) * 0.185;
            for deviation in [1e-3, 0.1, 0.37, 1.0, 2.22, 5.0, 100.0] {
                let secants: Vec<f64> = (-1000..=1000)
                    .map(|k| y0 + deviation * f64::from(k) / 1000.0)
                    .chain([low, high].into_iter().filter(|kink| (kink - y0).abs() <= deviation))
                    .filter(|y| (y - y0).abs() > 1e-4 * deviation)
                    .map(|y| (unit.value(y) - unit.value(y0)) / (y - y0))
                    .collect();
                let least = secants.iter().copied().fold(f64::INFINITY, f64::min);
                let most = secants.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let slope = unit.slopes(at(y0, deviation), Kind::Centred);
                assert!((slope.low - least).abs() < 1e-9, "{unit:?} {y0} {deviation}: {slope:?}, least {least}");
                assert!((slope.high - most).abs() < 1e-9, "{unit:?} {y0} {deviation}: {slope:?}, most {most}");
            }
        }
    }
}

#[test]
fn an_uncertain_nominal_value_widens_the_interval_of_a_clip_to_the_union() {
    for (low, high) in clips() {
        let unit = Unit::Clip { low, high };
        for i in -20..=20 {
            let from = f64::from(i) * 0.37;
            for (width, deviation) in [(1e-9, 0.3), (0.1, 0.1), (0.5, 1.0), (1.0, 1.3), (3.0, 3.0), (3.0, 50.0)] {
                let y = PreActivation { low: from, high: from + width, deviation };
                let slope = unit.slopes(y, Kind::Centred);
                let each: Vec<Slope> = (0..=1000)
                    .map(|k| (from + width * f64::from(k) / 1000.0).clamp(y.low, y.high))
                    .map(|y0| unit.slopes(at(y0, deviation), Kind::Centred))
                    .collect();
                let least = each.iter().map(|s| s.low).fold(f64::INFINITY, f64::min);
                let most = each.iter().map(|s| s.high).fold(f64::NEG_INFINITY, f64::max);
                assert!(slope.low <= least && slope.low >= least - 1e-9, "{unit:?} {y:?}: {slope:?}, {least}");
                assert!(slope.high >= most && slope.high <= most + 1e-2, "{unit:?} {y:?}: {slope:?}, {most}");
                if slope.magnitude() == 0.0 {
                    // All of the range is one constant piece, with the same value.
                    let ends = [y.low - deviation, y.high + deviation].map(|y| unit.value(y));
                    assert_eq!(ends[0].to_bits(), ends[1].to_bits(), "{unit:?} {y:?}");
                }
            }
        }
    }
}

#[test]
fn what_is_no_number_proves_nothing_of_a_clip() {
    for (low, high) in clips() {
        let unit = Unit::Clip { low, high };
        for y in [(f64::NAN, 0.5, 0.1), (0.5, f64::NAN, 0.1), (0.5, 0.5, f64::NAN), (-9.0, -9.0, f64::NAN)] {
            let y = PreActivation { low: y.0, high: y.1, deviation: y.2 };
            for kind in [Kind::Centred, Kind::Uniform] {
                let slope = unit.slopes(y, kind);
                assert!((0.0..=1.0).contains(&slope.low) && (0.0..=1.0).contains(&slope.high), "{slope:?}");
            }
        }
        let y = PreActivation { low: -9.0, high: 9.0, deviation: f64::NAN };
        assert_eq!(unit.slopes(y, Kind::Uniform), Slope { low: 0.0, high: 1.0 }, "{unit:?}");
    }
}

#[test]
fn infinite_deviation_is_global() {
    let y = PreActivation { low: f64::NEG_INFINITY, high: f64::INFINITY, deviation: f64::INFINITY };
    for kind in [Kind::Centred, Kind::Uniform, Kind::Global] {
        assert_eq!(Unit::Relu.slopes(y, kind), Slope { low: 0.0, high: 1.0 });
        for (low, high) in clips() {
            assert_eq!(Unit::Clip { low, high }.slopes(y, kind), Slope { low: 0.0, high: 1.0 });
        }
    }
}

/// Of a value that is known, however far it may move: what holds for a wide range holds for a wider one, up to none at all.
#[test]
fn no_end_comes_nearer_in_a_wider_range() {
    let mut units = vec![Unit::Relu];
    units.extend([-3.0, -0.5, 0.0, 0.01, 1.0, 1.5].map(|slope| Unit::LeakyRelu { slope }));
    units.extend(clips().map(|(low, high)| Unit::Clip { low, high }));
    let values = [0.0, 5e-324, 1e-300, 0.3, 1.0, 7.0, 1e20, 1e300, f64::MAX];
    let deviations = [0.3, 1.0, 10.0, 1e10, 1e300, 1e308, f64::MAX, f64::INFINITY];
    for unit in units {
        let all = unit.global_slopes();
        for y0 in values.into_iter().flat_map(|v| [-v, v]) {
            for kind in [Kind::Centred, Kind::Uniform, Kind::Global] {
                let ends = deviations.map(|deviation| unit.slopes(at(y0, deviation), kind));
                for (wide, wider) in ends.iter().zip(&ends[1..]) {
                    let holds = wider.low <= wide.low + 1e-15 && wider.high >= wide.high - 1e-15;
                    assert!(holds, "{unit:?} {y0} {kind:?}: {ends:?}");
                }
                // A clip has two kinks, of which the far one keeps secants from the value flat.
                if kind != Kind::Centred || !matches!(unit, Unit::Clip { .. }) {
                    let last = ends[ends.len() - 1];
                    let holds = last.low <= all.low + 1e-15 && last.high >= all.high - 1e-15;
                    assert!(holds, "{unit:?} {y0} {kind:?}: {last:?} of {all:?}");
                }
            }
        }
    }
}

#[test]
fn a_slope_that_is_no_number_has_no_least_magnitude() {
    for (low, high) in [(0.0, f64::NAN), (f64::NAN, 0.0), (f64::NAN, f64::NAN)] {
        assert_eq!(Slope { low, high }.magnitude(), f64::INFINITY);
    }
    assert_eq!(Slope { low: -2.0, high: 1.0 }.magnitude(), 2.0);
}

const LEAKY: Unit = Unit::LeakyRelu { slope: -3.0 };
const CLIP: Unit = Unit::Clip { low: 0.25, high: 2.0 };

#[test]
fn units_of_channels_are_those_of_their_elements() {
    let units = Units::each(vec![Unit::Relu, LEAKY, CLIP], 2);
    let each: Vec<Unit> = (0..6).map(|i| units.at(i)).collect();
    assert_eq!(each, [Unit::Relu, Unit::Relu, LEAKY, LEAKY, CLIP, CLIP]);
    assert_eq!(units.distinct(), [Unit::Relu, LEAKY, CLIP]);
    let fitting: Vec<usize> = (0..20).filter(|&n| units.fit(n)).collect();
    assert_eq!(fitting, [6]);
    assert!(!Units::each(vec![Unit::Relu; 2], usize::MAX).fit(usize::MAX - 1));
    let same = Units::from(LEAKY);
    assert!((0..20).all(|n| same.fit(n) && same.at(n) == LEAKY) && same.distinct() == [LEAKY]);
    // Only a product is rounded.
    let roundings = |unit: Unit| Units::from(unit).roundings();
    assert_eq!((units.roundings(), roundings(Unit::Relu), roundings(LEAKY), roundings(CLIP)), (1, 0, 1, 0));
    assert_eq!((units.steepest(), Units::from(CLIP).steepest()), (3.0, 1.0));
    assert_eq!(Units::from(Unit::LeakyRelu { slope: 0.1 }).steepest(), 1.0);
}

#[test]
fn slopes_are_those_of_values_nearby() {
    let units =
        [Unit::Relu, LEAKY, CLIP, Unit::Clip { low: -1.0, high: f64::INFINITY }, Unit::LeakyRelu { slope: 0.125 }];
    for unit in units {
        for i in -40..=40 {
            // Exact in binary, and no kink.
            let y = f64::from(i) / 8.0 + 1.0 / 16.0;
            let step = 1.0 / 64.0;
            let slope = (unit.value(y + step) - unit.value(y - step)) / (2.0 * step);
            assert_eq!(unit.slope_at(y), slope, "{unit:?} at {y}");
            let between = |low: f64, high: f64| unit.may_kink(PreActivation { low, high, deviation: 0.0 });
            // Where the slopes of both ends differ, there is a kink between them.
            for width in [0.0, 0.125, 1.0, 5.0] {
                let end = y + width;
                let kinks: &[f64] = match unit {
                    Unit::Clip { low, high } => &[low, high],
                    _ => &[0.0],
                };
                let holds = kinks.iter().any(|&kink| (y..=end).contains(&kink));
                assert_eq!(between(y, end), holds, "{unit:?} from {y} to {end}");
                let touches = kinks.iter().any(|&kink| between(kink - width, kink) && between(kink, kink + width));
                assert!(touches, "{unit:?}: an end of the range is in it");
            }
        }
    }
    // At kinks, what PyTorch takes for ReLU, leaky ReLU and hard tanh.
    let at_kinks = [(Unit::Relu, 0.0), (LEAKY, 0.0), (CLIP, 0.25), (CLIP, 2.0)].map(|(unit, y)| unit.slope_at(y));
    assert_eq!(at_kinks, [0.0, -3.0, 0.0, 0.0]);
    for (low, high, magnitude) in [(-2.0, 1.0, 2.0), (-1.0, 2.0, 2.0), (0.0, 0.0, 0.0), (-3.0, -1.0, 3.0)] {
        assert_eq!(Slope { low, high }.magnitude(), magnitude);
        assert_eq!(Slope { low, high }.is_exact(), low == high);
    }
}

/// No rounding makes a unit uncertain that stays on one piece.
#[test]
fn a_unit_that_stays_on_one_piece_is_affine() {
    let infinity = f64::INFINITY;
    for (unit, y0, deviation, slope) in [
        // Up to the kink itself.
        (Unit::Relu, 1.0, 1.0, 1.0),
        (Unit::Relu, 0.3, 0.1, 1.0),
        (Unit::Relu, -1.0, 1.0, 0.0),
        (Unit::Relu, -0.3, 0.1, 0.0),
        (LEAKY, 1.0, 1.0, 1.0),
        (LEAKY, -1.0, 1.0, -3.0),
        (Unit::LeakyRelu { slope: 0.1 }, -0.3, 0.1, 0.1),
        (Unit::Clip { low: 0.0, high: 6.0 }, -1.0, 1.0, 0.0),
        (Unit::Clip { low: -6.0, high: 0.0 }, 1.0, 1.0, 0.0),
        (CLIP, 1.0, 0.7, 1.0),
        (CLIP, 3.5, 1.0, 0.0),
        (CLIP, -3.5, 3.7, 0.0),
        (Unit::Clip { low: -infinity, high: 2.0 }, 1.0, 0.9, 1.0),
        (Unit::Clip { low: -infinity, high: 2.0 }, -1e9, 1e6, 1.0),
        (Unit::Clip { low: 2.0, high: infinity }, 3.0, 0.9, 1.0),
        (Unit::Clip { low: 2.0, high: infinity }, 1e9, 1e6, 1.0),
        (Unit::Clip { low: -infinity, high: infinity }, 1.0, infinity, 1.0),
    ] {
        for kind in [Kind::Centred, Kind::Uniform] {
            assert_eq!(unit.slopes(at(y0, deviation), kind), Slope { low: slope, high: slope }, "{unit:?} {y0}");
        }
    }
    // What may leave its piece may move.
    assert!(
        CLIP.slopes(at(2.5, 1.0), Kind::Uniform).high > 0.0 && CLIP.slopes(at(-1.0, 1.5), Kind::Uniform).high > 0.0
    );
}

#[test]
fn global_slopes_are_all_that_a_unit_has() {
    let infinity = f64::INFINITY;
    for (unit, low, high) in [
        (Unit::Relu, 0.0, 1.0),
        (LEAKY, -3.0, 1.0),
        (Unit::LeakyRelu { slope: 4.0 }, 1.0, 4.0),
        (CLIP, 0.0, 1.0),
        (Unit::Clip { low: -infinity, high: 2.0 }, 0.0, 1.0),
        (Unit::Clip { low: 2.0, high: infinity }, 0.0, 1.0),
        (Unit::Clip { low: -infinity, high: infinity }, 1.0, 1.0),
    ] {
        assert_eq!(unit.global_slopes(), Slope { low, high }, "{unit:?}");
        // Whatever the range.
        let leaky = matches!(unit, Unit::LeakyRelu { .. });
        for y in [at(5.0, 0.1), at(-5.0, 0.1)] {
            assert!(leaky || unit.slopes(y, Kind::Global) == Slope { low, high }, "{unit:?}");
        }
    }
}

/// With ends in binary fractions, the secants of a leaky ReLU are known to the last digit or two.
#[test]
fn the_interval_of_a_leaky_relu_is_attained_at_both_ends() {
    for slope in [-3.0, -0.5, 0.0, 0.01, 0.5, 1.0, 3.0] {
        let unit = Unit::LeakyRelu { slope };
        for i in -32..=32 {
            let y0 = f64::from(i) / 8.0;
            for deviation in [0.25, 1.0, 3.0, 16.0] {
                let secants: Vec<f64> = [-1.0, -0.5, 0.5, 1.0]
                    .into_iter()
                    .map(|k| y0 + k * deviation)
                    .map(|y| (unit.value(y) - unit.value(y0)) / (y - y0))
                    .collect();
                let least = secants.iter().copied().fold(f64::INFINITY, f64::min);
                let most = secants.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                let found = unit.slopes(at(y0, deviation), Kind::Centred);
                let story = format!("{unit:?} {y0} {deviation}: {found:?}, not from {least} to {most}");
                if y0 != 0.0 {
                    assert!((found.low - least).abs() < 1e-14 && (found.high - most).abs() < 1e-14, "{story}");
                } else {
                    assert!(found.low <= least && found.high >= most, "{story}");
                    assert_eq!((found.low, found.high), (slope.min(1.0), slope.max(1.0)), "{story}");
                }
                let uniform = unit.slopes(at(y0, deviation), Kind::Uniform);
                let bent = y0.abs() < deviation;
                let (low, high) = (if bent { slope.min(1.0) } else { least }, if bent { slope.max(1.0) } else { most });
                assert!((uniform.low - low).abs() < 1e-14 && (uniform.high - high).abs() < 1e-14, "{story}");
            }
        }
    }
}

/// Rounding goes outward: an interval of numbers that are no binary fractions holds the exact quotient.
#[test]
fn quotients_are_rounded_outward() {
    for (y0, deviation) in [(1.0, 3.0), (2.0, 3.0), (1.0, 7.0), (5.0, 49.0), (3.0, 11.0)] {
        // low <= y0 / deviation <= 1 - low', by exact comparison: both are multiples of 2^-60 that fit 128 bits.
        let times = |quotient: f64| (quotient * 2f64.powi(60)) as i128 * deviation as i128;
        let exact = (y0 as i128) << 60;
        let low = Unit::Relu.slopes(at(y0, deviation), Kind::Centred).low;
        assert!(times(low) <= exact && exact - times(low) < 1 << 14, "{y0} / {deviation}: {low}");
        let high = Unit::Relu.slopes(at(-y0, deviation), Kind::Centred).high;
        let exact = ((deviation - y0) as i128) << 60;
        assert!(times(high) >= exact && times(high) - exact < 1 << 14, "1 - {y0} / {deviation}: {high}");
    }
}

#[test]
fn what_is_no_number_proves_nothing_of_a_relu() {
    for y in [(f64::NAN, f64::NAN, 0.1), (1.0, 1.0, f64::NAN), (-1.0, -1.0, f64::NAN), (-9.0, 9.0, f64::NAN)] {
        let y = PreActivation { low: y.0, high: y.1, deviation: y.2 };
        assert_eq!(Unit::Relu.slopes(y, Kind::Uniform), Slope { low: 0.0, high: 1.0 }, "{y:?}");
        let centred = Unit::Relu.slopes(y, Kind::Centred);
        assert_eq!((centred.low, centred.high), (0.0, 1.0), "{y:?}");
    }
    // Nor does a ball of no size around a kink, which stands for arbitrarily small ones.
    assert_eq!(Unit::Relu.slopes(at(0.0, 0.0), Kind::Centred).high, 1.0);
}
