//! Certificates: true ones are accepted, corrupted ones refused.

use std::sync::Arc;

use crate::common::{Random, nearby, network, ratio};
use lipbound_lipschitz::{
    Affine, Bias, BoundError, BoundMonitor, BoundOptions, BoundResult, Certificate, CheckReport, Document,
    GlobalOptions, Kind, Layer, MethodRequest, Network, NetworkBuilder, Node, Quiet, Slope, Tensor, Unit, WholeClaim,
    bound, bound_with_certificates, check, global_bound, global_bound_with_certificate, linear, unit,
};
use lipbound_operators::{Dense, Workspace};
use lipbound_spectral::{GuaranteeRequest, Monitor, NormOptions};

const EPSILONS: [f64; 8] = [0.0, 1e-9, 1e-4, 0.01, 0.1, 1.0, 10.0, 1e3];

fn seeded(seed: u64) -> NormOptions {
    NormOptions { seed, ..NormOptions::default() }
}

fn checked(network: &Network, certificate: &Certificate, seed: u64) -> CheckReport {
    check(network, certificate, &seeded(seed), &Quiet, &mut Workspace::new()).unwrap()
}

/// Everything that can be certified of a random network.
fn certificates(network: &Network, random: &mut Random, seed: u64) -> Vec<(BoundResult, Certificate)> {
    let x0 = random.input(network.input_shape());
    let mut all = Vec::new();
    for method in [MethodRequest::Certificate, MethodRequest::Layerwise] {
        for kind in [Kind::Centred, Kind::Uniform] {
            let epsilons = vec![EPSILONS[random.below(EPSILONS.len())], EPSILONS[random.below(EPSILONS.len())]];
            let options = BoundOptions { epsilons, kind, method, norm: seeded(seed), ..BoundOptions::default() };
            all.extend(bound_with_certificates(network, &x0, &options, &[], &Quiet, &mut Workspace::new()).unwrap());
        }
        let norm = seeded(seed);
        all.push(
            global_bound_with_certificate(
                network,
                &GlobalOptions { norm, method, ..GlobalOptions::default() },
                &[],
                &Quiet,
                &mut Workspace::new(),
            )
            .unwrap(),
        );
    }
    all
}

#[test]
fn every_certificate_is_accepted_with_another_seed() {
    let (mut whole, mut prefixes, mut layerwise) = (0, 0, 0);
    for seed in 0..400 {
        let mut random = Random::new(seed);
        let net = network(&mut random);
        for (result, certificate) in certificates(&net, &mut random, seed) {
            let report = checked(&net, &certificate, seed + 1_000_000);
            assert_eq!(report.refusal, None, "seed {seed}, {:?}, epsilon {}", result.kind, result.epsilon);
            assert_eq!((report.upper, report.epsilon), (result.upper, result.epsilon));
            let claims = certificate.stages.iter().filter(|s| s.whole.is_some()).count();
            let last = certificate.stages.last().unwrap().whole.is_some();
            whole += usize::from(last);
            prefixes += claims - usize::from(last);
            layerwise += usize::from(claims == 0);
        }
    }
    assert!(whole > 300 && prefixes > 100 && layerwise > 300, "each sort is there: {whole}, {prefixes}, {layerwise}");
}

#[test]
fn certificates_by_lanczos_are_accepted_with_another_seed() {
    let (mut probabilistic, mut tried) = (0, 0);
    for seed in 0..200 {
        let mut random = Random::new(seed + 20_000);
        let net = network(&mut random);
        let x0 = random.input(net.input_shape());
        let norm = NormOptions { guarantee: GuaranteeRequest::Probabilistic, ..seeded(seed) };
        let options = BoundOptions {
            epsilons: vec![0.01, 1.0],
            kind: Kind::Centred,
            method: MethodRequest::Certificate,
            norm,
            ..BoundOptions::default()
        };
        for (_, certificate) in
            bound_with_certificates(&net, &x0, &options, &[], &Quiet, &mut Workspace::new()).unwrap()
        {
            let norm = NormOptions { seed: seed + 1_000_000, ..norm };
            for norm in [norm, seeded(seed)] {
                let report = check(&net, &certificate, &norm, &Quiet, &mut Workspace::new()).unwrap();
                assert_eq!(report.refusal, None, "seed {seed}");
                assert!(report.failure_probability <= 1e-9);
                probabilistic += usize::from(report.failure_probability > 0.0);
                tried += 1;
            }
        }
    }
    assert!(probabilistic > 100 && tried == 800, "{probabilistic} of {tried}");
}

/// A number that is none, or is a little or very different.
fn another(random: &mut Random, x: f64) -> f64 {
    match random.below(12) {
        0 => 0.0,
        1 => -x,
        2 => f64::NAN,
        3 => f64::INFINITY,
        4 => f64::MIN_POSITIVE,
        5 => 1e300,
        6 => x + 1.0,
        7 => x.next_down(),
        k => x * (1.0 + 10f64.powi(-(random.below(10) as i32)) * if k % 2 == 0 { 1.0 } else { -1.0 }),
    }
}

/// Changes one thing that a certificate claims; what, or nothing if there is no such thing.
fn corrupt(random: &mut Random, c: &mut Certificate) -> Option<&'static str> {
    let stages = c.stages.len();
    let kind = random.below(18);
    let at = random.below(stages);
    let stage = &mut c.stages[at];
    let mut pick = |n: usize| (n > 0).then(|| random.below(n));
    let number = |random: &mut Random, x: &mut f64| *x = another(random, *x);
    Some(match kind {
        0 => {
            number(random, &mut c.epsilon);
            "epsilon"
        }
        1 => {
            let i = pick(c.centre.len())?;
            number(random, &mut c.centre[i]);
            "centre"
        }
        2 => {
            number(random, &mut c.upper);
            "upper"
        }
        3 => {
            number(random, &mut stage.gain);
            "gain"
        }
        4 => {
            number(random, &mut stage.radius);
            "radius"
        }
        5 | 6 => {
            number(random, stage.norm.as_mut()?);
            "norm"
        }
        7..=9 => {
            let i = pick(stage.slopes.len())?;
            let slope = &mut stage.slopes[i];
            if random.chance(0.5) {
                number(random, &mut slope.low)
            } else {
                number(random, &mut slope.high)
            }
            "slope"
        }
        10 | 11 => {
            let whole = stage.whole.as_mut()?;
            let i = (!whole.weights.is_empty()).then(|| random.below(whole.weights.len()))?;
            number(random, &mut whole.weights[i]);
            "weight"
        }
        12 => {
            let whole = stage.whole.as_mut()?;
            match random.below(4) {
                0 => number(random, &mut whole.kappa),
                1 => number(random, &mut whole.sigma),
                2 => number(random, &mut whole.bound),
                _ => whole.height = [0, whole.height + 1, whole.height.wrapping_sub(1), usize::MAX][random.below(4)],
            }
            "theorem"
        }
        13 => {
            let i = pick(stage.candidates.len())?;
            let window = &mut stage.candidates[i];
            match random.below(4) {
                0 => drop(window.pop()),
                1 => window.push(window[0]),
                2 => window.push(random.below(40)),
                _ => window.reverse(),
            }
            "candidates"
        }
        14 => {
            c.kind = [Kind::Centred, Kind::Uniform, Kind::Global][random.below(3)];
            "kind"
        }
        15 => {
            c.paths = !c.paths;
            "paths"
        }
        16 => {
            match random.below(5) {
                0 => drop(c.stages.remove(at)),
                1 => drop(stage.slopes.pop()?),
                2 => stage.slopes.push(*stage.slopes.first()?),
                3 => stage.norm = None,
                _ => drop(stage.whole.take()?),
            }
            "lengths"
        }
        _ => {
            let whole = stage.whole.as_mut()?;
            if random.chance(0.5) {
                whole.weights.truncate(whole.weights.len().checked_sub(1)?)
            } else {
                whole.weights.push(1.0)
            }
            "weights"
        }
    })
}

/// The same network with one number of one layer changed.
fn changed(random: &mut Random, network: &Network) -> Option<Network> {
    let mut builder = NetworkBuilder::new(network.input_shape().to_vec()).unwrap();
    let chosen: Vec<usize> =
        (0..network.nodes().len()).filter(|&i| matches!(network.nodes()[i].layer, Layer::Affine(_))).collect();
    let chosen = *chosen.get(random.below(chosen.len()))?;
    for (i, node) in network.nodes().iter().enumerate() {
        let mut node = node.clone();
        if let (true, Layer::Affine(Affine { operator, bias })) = (i == chosen, &mut node.layer) {
            match bias {
                Some(Bias { values, .. }) if random.chance(0.5) => {
                    let mut changed = values.to_vec();
                    let j = random.below(changed.len());
                    changed[j] = changed[j].next_up();
                    *values = changed.into();
                }
                _ => {
                    let mut matrix = operator.to_dense().values().to_vec();
                    let j = random.below(matrix.len());
                    matrix[j] = if random.chance(0.5) { matrix[j].next_up() } else { 1.0 - 2.0 * matrix[j] };
                    *operator = Arc::new(Dense::new(operator.rows(), operator.cols(), matrix.into()));
                }
            }
        }
        builder.push(node).unwrap();
    }
    Some(builder.build().unwrap())
}

#[test]
fn corruptions_are_refused() {
    let (mut corruptions, mut models) = (0, 0);
    for seed in 0..60 {
        let mut random = Random::new(seed);
        let net = network(&mut random);
        let all = certificates(&net, &mut random, seed);
        for (_, certificate) in &all {
            let sealed = Document::seal(certificate.clone());
            for _ in 0..3 {
                let mut document = sealed.clone();
                let Some(what) = corrupt(&mut random, &mut document.certificate) else { continue };
                if document == sealed {
                    continue;
                }
                let report = document.check(&net, &seeded(seed + 1_000_000), &Quiet, &mut Workspace::new()).unwrap();
                assert!(!report.accepted(), "seed {seed}: a changed {what} was accepted");
                corruptions += 1;
            }
            let Some(other) = changed(&mut random, &net) else { continue };
            let report = sealed.check(&other, &seeded(7), &Quiet, &mut Workspace::new()).unwrap();
            let reason = report.refusal.expect("another model is refused");
            assert!(reason.contains(&net.digest().to_string()) && reason.contains(&other.digest().to_string()));
            models += 1;
        }
    }
    assert!(corruptions >= 500 && models >= 200, "{corruptions}, {models}");
}

/// Whether a bound is contradicted by ratios that the network attains.
fn is_contradicted(random: &mut Random, net: &Network, c: &Certificate) -> bool {
    let norm = NormOptions::default();
    let lower = match c.kind {
        Kind::Global => {
            global_bound(
                net,
                &GlobalOptions { norm, method: MethodRequest::Layerwise, ..GlobalOptions::default() },
                &Quiet,
                &mut Workspace::new(),
            )
            .unwrap()
            .lower
        }
        kind => {
            let x0 = Tensor::f64(net.input_shape().to_vec(), c.centre.clone()).unwrap();
            // What is claimed for a larger radius holds for a smaller one, where inputs are in range.
            let radius = c.epsilon.min(1e20);
            let sampled = (0..30).any(|_| {
                let (a, b) = (nearby(random, &x0, radius), nearby(random, &x0, radius));
                let other = if kind == Kind::Centred { &x0 } else { &b };
                ratio(net, &a, other).is_some_and(|r| r > c.upper)
            });
            if sampled {
                return true;
            }
            let options = BoundOptions {
                epsilons: vec![c.epsilon],
                kind,
                method: MethodRequest::Layerwise,
                norm,
                ..BoundOptions::default()
            };
            bound(net, &x0, &options, &Quiet, &mut Workspace::new()).unwrap()[0].lower
        }
    };
    lower > c.upper
}

#[test]
fn what_a_forger_gets_accepted_is_true() {
    let (mut refused, mut accepted) = (0, 0);
    for seed in 0..150 {
        let mut random = Random::new(seed + 5000);
        let net = network(&mut random);
        for (_, certificate) in certificates(&net, &mut random, seed) {
            for _ in 0..6 {
                let mut forged = certificate.clone();
                let Some(what) = corrupt(&mut random, &mut forged) else { continue };
                // Of the same network, or of another one that it is made out to.
                let other = random.chance(0.2).then(|| changed(&mut random, &net)).flatten();
                let net = other.as_ref().unwrap_or(&net);
                forged.network = net.digest();
                let document = Document::seal(forged);
                let report = document.check(net, &seeded(seed + 77), &Quiet, &mut Workspace::new()).unwrap();
                if report.accepted() {
                    accepted += 1;
                    assert!(!is_contradicted(&mut random, net, &document.certificate), "seed {seed}: {what}");
                } else {
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 1000 && accepted > 200, "both happen: {refused}, {accepted}");
}

/// Ways to make a certificate claim `bound`, from the clumsy to the thorough.
fn lowered(certificate: &Certificate, bound: f64) -> Vec<Certificate> {
    let factor = bound / certificate.upper;
    let last = certificate.stages.len() - 1;
    let mut ways = vec![certificate.clone()];
    ways[0].upper = bound;
    let mut add = |change: &dyn Fn(&mut Certificate)| {
        let mut next = ways[ways.len() - 1].clone();
        change(&mut next);
        ways.push(next);
    };
    add(&|c| c.stages[last].gain = bound);
    add(&|c| c.stages[last].radius *= factor);
    if certificate.stages[last].whole.is_some() {
        let whole = |c: &mut Certificate, change: &dyn Fn(&mut WholeClaim)| {
            change(c.stages[last].whole.as_mut().unwrap());
        };
        add(&|c| whole(c, &|w| w.bound = bound));
        add(&|c| whole(c, &|w| w.kappa *= factor));
        add(&|c| whole(c, &|w| w.weights.iter_mut().for_each(|x| *x *= factor)));
        add(&|c| whole(c, &|w| w.sigma = 1.0));
    } else {
        add(&|c| c.stages[last].norm = c.stages[last].norm.map(|norm| norm * factor));
    }
    add(&|c| c.stages.iter_mut().for_each(|s| s.slopes.iter_mut().for_each(|x| x.high = x.low)));
    add(&|c| c.stages.iter_mut().for_each(|s| s.candidates.iter_mut().for_each(|w| w.truncate(1))));
    add(&|c| c.stages.iter_mut().for_each(|s| s.norm = s.norm.map(|norm| norm * factor)));
    add(&|c| c.stages.iter_mut().for_each(|s| (s.gain, s.radius) = (s.gain * factor, s.radius * factor)));
    ways
}

#[test]
fn a_bound_below_what_is_attained_is_always_refused() {
    let mut tried = 0;
    for seed in 0..150 {
        let mut random = Random::new(seed + 9000);
        let net = network(&mut random);
        for (result, certificate) in certificates(&net, &mut random, seed) {
            if result.lower == 0.0 {
                continue;
            }
            for (way, forged) in lowered(&certificate, 0.99 * result.lower).into_iter().enumerate() {
                let report = checked(&net, &forged, seed + 3);
                assert!(!report.accepted(), "seed {seed}, way {way}: {} below {}", forged.upper, result.lower);
                tried += 1;
            }
        }
    }
    assert!(tried > 3000, "{tried}");
}

/// A radius that is claimed to be infinite, or nearly so, is true of every stage, and says nothing of the units behind it.
#[test]
fn a_unit_behind_an_infinite_radius_may_have_any_slope() {
    for slope in [0.0, 0.01, -0.5] {
        let weight = |w: f64| Tensor::f64(vec![1, 1], vec![w]).unwrap();
        let bias = Tensor::f64(vec![1], vec![-25.0]).unwrap();
        let layers = [
            linear(&[1], &weight(1.0), None).unwrap().0,
            Layer::Unit(Unit::Relu.into()),
            linear(&[1], &weight(10.0), Some(&bias)).unwrap().0,
            Layer::Unit(Unit::LeakyRelu { slope }.into()),
        ];
        let mut builder = NetworkBuilder::new(vec![1]).unwrap();
        for (k, layer) in layers.into_iter().enumerate() {
            let (name, inputs) = (format!("n{k}"), vec![builder.last()]);
            let node = Node { name, kind: "test".into(), layer, inputs, shape: vec![1], parameters: 0 };
            builder.push(node).unwrap();
        }
        let net = builder.build().unwrap();
        // At 2 the last unit is off, and on from 2.5: from 2 to 3 the output moves by 5.
        let x0 = Tensor::f64(vec![1], vec![2.0]).unwrap();
        let options = BoundOptions {
            epsilons: vec![1.0],
            kind: Kind::Centred,
            method: MethodRequest::Layerwise,
            norm: seeded(1),
            ..BoundOptions::default()
        };
        let (_, honest) =
            bound_with_certificates(&net, &x0, &options, &[], &Quiet, &mut Workspace::new()).unwrap().remove(0);
        let off = Slope { low: slope, high: slope };
        let constant = 10.0 * slope.abs() * 1.001;
        for radius in [f64::INFINITY, f64::MAX, 1e308, 1e300] {
            let mut forged = honest.clone();
            forged.stages[0].radius = radius;
            let last = &mut forged.stages[1];
            (last.slopes[0], last.norm, last.gain, last.radius) = (off, Some(constant), constant, f64::INFINITY);
            forged.upper = constant;
            let report = checked(&net, &forged, 7);
            let reason = report.refusal.unwrap_or_default();
            assert!(reason.contains("may have any slope"), "{slope} {radius:e}: '{reason}'");
        }
    }
}

#[test]
fn slopes_narrower_than_they_are_are_refused() {
    let mut tried = 0;
    for seed in 0..60 {
        let mut random = Random::new(seed + 12_000);
        let net = network(&mut random);
        for (_, certificate) in certificates(&net, &mut random, seed) {
            for stage in 0..certificate.stages.len() {
                let wide: Vec<usize> = (0..certificate.stages[stage].slopes.len())
                    .filter(|&i| {
                        let slope = certificate.stages[stage].slopes[i];
                        slope.high - slope.low > 1e-3
                    })
                    .collect();
                if wide.is_empty() {
                    continue;
                }
                let mut forged = certificate.clone();
                let unit = wide[random.below(wide.len())];
                let slope = &mut forged.stages[stage].slopes[unit];
                let narrower = 1e-2 * (slope.high - slope.low);
                if random.chance(0.5) {
                    slope.low += narrower;
                } else {
                    slope.high -= narrower;
                }
                let reason = checked(&net, &forged, seed).refusal.expect("a slope may leave a narrower interval");
                assert!(reason.starts_with(&format!("stage {stage} ")), "{reason}");
                assert!(reason.contains(&format!("unit {unit} may have any slope in")), "{reason}");
                // Nor may they be wider than all slopes there are, or no interval.
                for wrong in [(-9.0, 9.0), (1.0, 0.0), (f64::NAN, 1.0), (0.0, f64::INFINITY)] {
                    (forged.stages[stage].slopes[unit].low, forged.stages[stage].slopes[unit].high) = wrong;
                    let reason = checked(&net, &forged, seed).refusal.expect("these are no slopes");
                    assert!(reason.contains(&format!("of unit {unit} are no interval inside [")), "{reason}");
                }
                tried += 1;
            }
        }
    }
    assert!(tried > 200, "{tried}");
}

#[test]
fn the_numbers_of_the_theorem_must_be_such() {
    let mut tried = 0;
    for seed in 0..40 {
        let mut random = Random::new(seed + 14_000);
        let net = network(&mut random);
        for (_, certificate) in certificates(&net, &mut random, seed) {
            let Some(stage) = certificate.stages.iter().position(|s| s.whole.is_some()) else { continue };
            let refusal = |change: &dyn Fn(&mut WholeClaim)| {
                let mut forged = certificate.clone();
                change(forged.stages[stage].whole.as_mut().unwrap());
                checked(&net, &forged, seed).refusal.expect("a number that cannot be")
            };
            assert!(refusal(&|w| w.height += 1).contains("states a height of"));
            assert!(refusal(&|w| w.kappa = -w.kappa).contains("states a kappa of"));
            assert!(refusal(&|w| w.kappa = 1e-320).contains("leaves the range of numbers"));
            assert!(refusal(&|w| w.sigma = f64::NAN).contains("which no norm can be"));
            assert!(refusal(&|w| w.weights.push(1.0)).contains("needs a weight for each of"));
            if !certificate.stages[stage].whole.as_ref().unwrap().weights.is_empty() {
                for wrong in [0.0, -1.0, f64::NAN, f64::INFINITY] {
                    assert!(refusal(&|w| w.weights[0] = wrong).contains("states a weight 0 of"));
                }
            }
            tried += 1;
        }
    }
    assert!(tried > 30, "{tried}");
}

#[test]
fn windows_without_an_element_that_may_win_are_refused() {
    let mut tried = 0;
    for seed in 0..400 {
        let mut random = Random::new(seed + 13_000);
        let net = network(&mut random);
        let x0 = random.input(net.input_shape());
        let options = BoundOptions {
            epsilons: vec![0.3],
            kind: Kind::Uniform,
            method: MethodRequest::Certificate,
            norm: seeded(seed),
            ..BoundOptions::default()
        };
        let (_, certificate) =
            bound_with_certificates(&net, &x0, &options, &[], &Quiet, &mut Workspace::new()).unwrap().remove(0);
        for stage in 0..certificate.stages.len() {
            let mut forged = certificate.clone();
            let windows = &mut forged.stages[stage].candidates;
            let Some(window) = windows.iter().position(|w| w.len() > 1) else { continue };
            let element = windows[window].pop().unwrap();
            let reason = checked(&net, &forged, seed).refusal.expect("the element may be the maximum");
            let expected = format!("element {element} may be the maximum of window {window}");
            assert!(reason.contains(&expected), "{reason}");
            tried += 1;
            // Others may join in any order, but each once, and from the window alone.
            let first = forged.stages[stage].candidates[window][0];
            forged.stages[stage].candidates[window].push(first);
            assert!(checked(&net, &forged, seed).refusal.unwrap().contains("is twice a candidate of window"));
            forged.stages[stage].candidates[window].pop();
            forged.stages[stage].candidates[window].push(1_000_000);
            let reason = checked(&net, &forged, seed).refusal.unwrap();
            assert!(reason.contains(&format!("element 1000000 is a candidate of window {window}, but not in it")));
        }
    }
    assert!(tried > 50, "{tried}");
}

#[test]
fn a_deterministic_certificate_can_be_checked_deterministically() {
    let mut tried = 0;
    for seed in 0..40 {
        let mut random = Random::new(seed + 15_000);
        let net = network(&mut random);
        let x0 = random.input(net.input_shape());
        let norm = NormOptions { guarantee: GuaranteeRequest::Deterministic, ..seeded(seed) };
        let options = BoundOptions {
            epsilons: vec![0.1, 10.0],
            kind: Kind::Uniform,
            method: MethodRequest::Certificate,
            norm,
            ..BoundOptions::default()
        };
        for (_, certificate) in
            bound_with_certificates(&net, &x0, &options, &[], &Quiet, &mut Workspace::new()).unwrap()
        {
            let report = check(&net, &certificate, &norm, &Quiet, &mut Workspace::new()).unwrap();
            assert_eq!(report.refusal, None, "seed {seed}");
            assert_eq!(report.failure_probability, 0.0);
            tried += 1;
        }
    }
    assert_eq!(tried, 80);
}

#[test]
fn certified_bounds_are_hardly_larger() {
    for seed in 0..60 {
        let mut random = Random::new(seed + 16_000);
        let net = network(&mut random);
        let x0 = random.input(net.input_shape());
        let options = BoundOptions {
            epsilons: vec![0.1],
            kind: Kind::Centred,
            method: MethodRequest::Layerwise,
            norm: seeded(seed),
            ..BoundOptions::default()
        };
        let plain = bound(&net, &x0, &options, &Quiet, &mut Workspace::new()).unwrap().remove(0);
        let (certified, _) =
            bound_with_certificates(&net, &x0, &options, &[], &Quiet, &mut Workspace::new()).unwrap().remove(0);
        assert!(certified.upper >= plain.upper, "seed {seed}");
        assert!(certified.upper <= plain.upper * (1.0 + 1e-4), "seed {seed}: {} {}", certified.upper, plain.upper);
    }
}

struct Impatient;

impl Monitor for Impatient {
    fn cancelled(&self) -> bool {
        true
    }
}
impl BoundMonitor for Impatient {}

#[test]
fn a_cancelled_check_is_no_refusal() {
    let mut random = Random::new(1);
    let net = network(&mut random);
    let (_, certificate) = certificates(&net, &mut random, 1).remove(0);
    let outcome = check(&net, &certificate, &seeded(2), &Impatient, &mut Workspace::new());
    assert_eq!(outcome.unwrap_err(), BoundError::Cancelled);
}

/// Where no unit is uncertain the norm of the whole network counts whatever it is: a scale that makes it vanish among
/// denormal numbers proves nothing.
#[test]
fn a_scale_that_makes_the_network_vanish_is_refused() {
    for depth in 1..=3 {
        let mut random = Random::new(depth);
        let mut builder = NetworkBuilder::new(vec![3]).unwrap();
        for k in 0..depth {
            let weight = Tensor::f64(vec![3, 3], (0..9).map(|_| random.normal().abs()).collect()).unwrap();
            let units = if k + 1 < depth { vec![("relu", unit(&[3], Unit::Relu))] } else { Vec::new() };
            for (name, built) in [("fc", linear(&[3], &weight, None))].into_iter().chain(units) {
                let ((layer, shape), inputs) = (built.unwrap(), vec![builder.last()]);
                let name = format!("{name}{k}");
                builder.push(Node { name, kind: "test".into(), layer, inputs, shape, parameters: 0 }).unwrap();
            }
        }
        let net = builder.build().unwrap();
        let x0 = Tensor::f64(vec![3], vec![0.7, 1.1, 0.4]).unwrap();
        let options = BoundOptions {
            epsilons: vec![1e-3],
            kind: Kind::Centred,
            method: MethodRequest::Certificate,
            norm: seeded(1),
            ..BoundOptions::default()
        };
        let (honest, certificate) =
            bound_with_certificates(&net, &x0, &options, &[], &Quiet, &mut Workspace::new()).unwrap().remove(0);
        assert!(honest.lower > 0.1);
        for guarantee in [GuaranteeRequest::Auto, GuaranteeRequest::Deterministic, GuaranteeRequest::Probabilistic] {
            for (exponent, sigma) in [(20, 1e-7), (100, 1e-31), (460, 1e-139), (550, 1e-185), (900, 1e-187)] {
                let mut forged = certificate.clone();
                let kappa = 2f64.powi(exponent);
                let bound = kappa * sigma * (1.0 + 1e-12);
                let last = forged.stages.last_mut().unwrap();
                last.whole = Some(WholeClaim { kappa, weights: Vec::new(), height: 1, sigma, bound });
                (last.gain, last.radius) = (bound, bound * 1e-3 * (1.0 + 1e-12));
                forged.upper = bound;
                let norm = NormOptions { guarantee, ..seeded(99) };
                let report = check(&net, &forged, &norm, &Quiet, &mut Workspace::new()).unwrap();
                assert!(!report.accepted() || bound >= honest.lower, "{depth}, 2^{exponent}: {bound:e} was accepted");
            }
        }
    }
}
