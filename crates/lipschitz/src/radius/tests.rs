use super::*;
use crate::{Conv2dOptions, NetworkBuilder, Node, conv2d, example::chain, linear};

fn single(input: Vec<usize>, (layer, shape): (crate::Layer, Vec<usize>)) -> Network {
    let mut builder = NetworkBuilder::new(input).unwrap();
    let (name, kind) = ("map".into(), "test".into());
    builder.push(Node { name, kind, layer, inputs: vec![0], shape, parameters: 0 }).unwrap();
    builder.build().unwrap()
}

fn dense(outputs: usize) -> Network {
    let weight = Tensor::f64(vec![outputs, 2], vec![1.0; 2 * outputs]).unwrap();
    single(vec![2], linear(&[2], &weight, None).unwrap())
}

fn options() -> RadiusOptions {
    RadiusOptions {
        label: None,
        input_box: None,
        maximum: None,
        tolerance: 0.01,
        method: MethodRequest::Auto,
        norm: NormOptions::default(),
        attack_steps: None,
    }
}

/// An evaluation of one rival, whose margin is `quotient` times its constant.
fn evaluation(epsilon: f64, quotient: f64) -> Evaluation {
    let (margin, lipschitz) = if quotient == f64::INFINITY { (1.0, 0.0) } else { (quotient, 1.0) };
    let margins = vec![Margin { class: 3, margin, lipschitz, method: Method::Certificate }];
    Evaluation { epsilon, margins, failure_probability: 0.0 }
}

fn attacked(distance: f64) -> Adversarial {
    Adversarial { point: vec![0.0], distance, class: 3 }
}

/// What is learnt of an evaluation, as by `run`; whether the bracket is as narrow as `tolerance` then.
fn learn(search: &mut Search, epsilon: f64, quotient: f64, tolerance: f64) -> bool {
    let evaluation = evaluation(epsilon, quotient);
    search.points.push((epsilon, evaluation.quotient()));
    if evaluation.radius() > search.low() {
        search.best = Some(evaluation);
    }
    search.low() >= search.limit || search.high() <= search.low() * (1.0 + tolerance)
}

#[test]
fn options_outside_their_range_are_refused() {
    let refused = |options: RadiusOptions, outputs: usize| match options.validate(&dense(outputs)) {
        Ok(()) => None,
        Err(error) => Some(error.to_string()),
    };
    assert_eq!(refused(options(), 3), None);
    for (label, outputs, classes) in [(2, 3, 3), (1, 1, 2), (0, 1, 2), (3, 3, 3), (2, 1, 2), (7, 2, 2)] {
        let error = refused(RadiusOptions { label: Some(label), ..options() }, outputs);
        assert_eq!(error.is_some(), label >= classes, "label {label} of {outputs}: {error:?}");
        if let Some(error) = error {
            assert!(error.contains(&format!("from 0 to {}", classes - 1)), "{error}");
            assert_eq!(error.contains("(0: negative, 1: positive)"), outputs == 1, "{error}");
        }
    }
    for maximum in [0.0, -1.0, f64::INFINITY, f64::NAN] {
        let error = refused(RadiusOptions { maximum: Some(maximum), ..options() }, 3).unwrap();
        assert!(error.contains("maximum"), "{error}");
    }
    assert_eq!(refused(RadiusOptions { maximum: Some(1e-300), ..options() }, 3), None);
    for tolerance in [0.0, 1.0, -0.1, 1.5, f64::NAN] {
        let error = refused(RadiusOptions { tolerance, ..options() }, 3).unwrap();
        assert!(error.contains("tolerance"), "{error}");
    }
}

#[test]
fn a_box_holds_the_input_and_tells_how_far_it_may_move() {
    let net = dense(2);
    let vector = |values: [f64; 2]| Tensor::f64(vec![2], values.to_vec()).unwrap();
    let read = |lower: [f64; 2], upper: [f64; 2]| read_box(&net, &(vector(lower), vector(upper)), &[0.5, -1.0]);
    let (lower, upper) = read([0.5, -3.0], [2.0, -1.0]).unwrap();
    assert_eq!((lower, upper), (vec![0.5, -3.0], vec![2.0, -1.0]));
    for (lower, upper, element) in
        [([0.6, -2.0], [1.0, 0.0], 0), ([0.0, -2.0], [0.4, 0.0], 0), ([0.0, -0.5], [1.0, 0.0], 1)]
    {
        let error = read(lower, upper).unwrap_err().to_string();
        assert!(error.contains(&format!("element {element} ")), "{error}");
    }
    // The farther end counts, rounded up; an element between equal ends is where it is.
    for (x, lower, upper, most) in [(0.5, 0.25, 2.0, 1.5), (0.5, -2.0, 1.0, 2.5), (-1.0, -1.0, -1.0, 0.0)] {
        let found = extent(x, lower, upper);
        assert!(found >= most && found <= most * (1.0 + 1e-15), "{found} for {most}");
    }
    assert!(extent(0.1, 0.1, 0.3) >= 0.2 && extent(1.0, 1.0, 1.0 + f64::EPSILON) >= f64::EPSILON);
}

#[test]
fn attacks_of_large_networks_stay_within_their_work() {
    assert_eq!(attack_steps(&dense(2)), ATTACK_STEPS);
    let mut between = 0;
    for side in [16, 64, 200, 256, 400, 512, 1024] {
        let input = vec![16, side, side];
        let weight = Tensor::f64(vec![16, 16, 3, 3], vec![1.0; 16 * 16 * 9]).unwrap();
        let net = single(input.clone(), conv2d(&input, &weight, None, &Conv2dOptions::default()).unwrap());
        let steps = attack_steps(&net);
        assert!((FEWEST_ATTACK_STEPS..=ATTACK_STEPS).contains(&steps));
        // Four descents of so many steps, each one pass forwards and one backwards.
        let work = |steps: usize| 4.0 * 2.0 * steps as f64 * net.multiply_adds() as f64;
        if (FEWEST_ATTACK_STEPS + 1..ATTACK_STEPS).contains(&steps) {
            between += 1;
            assert!(work(steps) <= ATTACK_WORK && work(steps + 1) > ATTACK_WORK * 0.999, "{side}: {steps}");
        }
    }
    assert!(between >= 2, "{between}");
}

#[test]
fn the_secant_of_a_power_law_is_exact() {
    // q = c / epsilon^p meets epsilon where epsilon^(1 + p) = c.
    for c in [1e-8f64, 0.3, 1.0, 20.0, 1e8] {
        for p in [0.0, 0.3, 1.0, 2.5] {
            let root = c.powf(1.0 / (1.0 + p));
            let at = |epsilon: f64| (epsilon, c / epsilon.powf(p));
            for (low, high) in [(0.1, 3.0), (0.5, 1.5), (0.9, 40.0)] {
                let found = secant(at(low * root), at(high * root));
                assert!((found / root - 1.0).abs() < 1e-12, "{found} for {root}");
            }
        }
    }
}

#[test]
fn few_evaluations_find_where_epsilon_and_quotient_are_the_same() {
    for distance in [None, Some(8.0), Some(30.0), Some(1e3)] {
        for scale in [1e-12, 1e-3, 1.0, 1e5, 1e12] {
            for p in [0.0, 0.4, 1.0, 3.0] {
                // Meets epsilon at `scale`, and falls the faster the larger the ball, up to nothing.
                let quotient = |epsilon: f64| scale * (1.2 / (0.2 + epsilon / scale)).powf(p);
                let attack = distance.map(|d| attacked(d * scale));
                let mut search = Search::new(f64::INFINITY, attack.as_ref());
                let mut evaluations = 0;
                loop {
                    let epsilon = search.next();
                    assert!(epsilon > 0.0 && epsilon.is_finite());
                    assert!(epsilon <= search.ceiling, "{epsilon} is beyond the attack");
                    let known = (search.low(), search.high());
                    if known.0 > 0.0 && known.1.is_finite() {
                        assert!(known.0 <= epsilon && epsilon <= known.1, "{epsilon} is outside {known:?}");
                    }
                    evaluations += 1;
                    if learn(&mut search, epsilon, quotient(epsilon), 1e-3) {
                        break;
                    }
                    // Without an attack the scale is not known, and found by halving its logarithm. So is the root of
                    // a constant, which no evaluation lies below.
                    let far = if distance.is_none() { f64::log10(scale).abs() as usize / 2 } else { 0 };
                    let most = far + if p == 0.0 { 16 } else { 9 };
                    assert!(evaluations < most, "{distance:?}, {scale}, {p}: {:?}", search.points);
                }
                let found = search.low();
                assert!(found <= scale && found >= scale * (1.0 - 1e-3), "{found} for {scale}");
            }
        }
    }
}

#[test]
fn quotients_of_zero_and_infinity_do_not_lead_astray() {
    // Nothing moves in small balls, and nothing is certified in large ones.
    for root in [1e-6, 1.0, 40.0, 1e9] {
        for attack in [None, Some(attacked(100.0 * root))] {
            let quotient = |epsilon: f64| match epsilon / root {
                x if x < 0.3 => f64::INFINITY,
                x if x > 4.0 => 0.0,
                x => root / x,
            };
            let mut search = Search::new(f64::INFINITY, attack.as_ref());
            let (mut evaluations, mut epsilon) = (0, search.next());
            while !learn(&mut search, epsilon, quotient(epsilon), 1e-3) {
                evaluations += 1;
                assert!(evaluations < 24, "{root}: {:?}", search.points);
                epsilon = search.next();
                assert!(epsilon > 0.0 && epsilon.is_finite(), "{root}: {:?}", search.points);
            }
            assert!(search.low() <= root && search.low() >= root * (1.0 - 1e-3), "{root}: {:?}", search.points);
        }
    }
}

#[test]
fn first_evaluations_lie_where_there_is_something_to_learn() {
    // Nothing is known at all.
    assert_eq!(Search::new(f64::INFINITY, None).next(), 1.0);
    assert_eq!(Search::new(0.25, None).next(), 0.25);
    for distance in [1e-6, 1.0, 1e9] {
        let attack = attacked(distance);
        // A product of layers reaches a small part of what an attack does, but some part.
        let mut search = Search::new(f64::INFINITY, Some(&attack));
        let first = search.next();
        assert!(first > distance * 1e-3 && first < distance * 0.1, "{first} of {distance}");
        assert_eq!(Search::new(distance * 1e-4, Some(&attack)).next(), distance * 1e-4);
        // Certificates reach farther than what products certify, and no farther than the attack.
        search.best = Some(evaluation(distance * 1e-4, distance));
        search.begin_anew();
        let next = search.next();
        assert!(next > distance * 1e-3 && next < distance * 0.1, "{next} between 1e-4 and 1 of {distance}");
        let mut alone = Search::new(f64::INFINITY, None);
        alone.best = Some(evaluation(distance, 2.0 * distance));
        let next = alone.next();
        assert!(next > 2.0 * distance && next < 10.0 * distance, "{next} from {distance}");
    }
}

#[test]
fn what_certifies_nothing_or_everything_changes_the_scale() {
    let mut search = Search::new(f64::INFINITY, None);
    learn(&mut search, 1.0, 0.0, 0.1);
    let smaller = search.next();
    assert!(smaller < 0.5 && smaller > 1e-3, "{smaller}");
    // Not below what is certified already.
    search.best = Some(evaluation(0.25, 0.25));
    assert!(search.next() >= search.low() && search.next() < 1.0);
    let mut search = Search::new(100.0, None);
    learn(&mut search, 1.0, f64::INFINITY, 0.1);
    let larger = search.next();
    assert!(larger > 2.0 && larger < 100.0, "{larger}");
    learn(&mut search, 50.0, f64::INFINITY, 0.1);
    assert_eq!(search.next(), 100.0);
    assert!(!search.is_settled());
    learn(&mut search, 100.0, f64::INFINITY, 0.1);
    assert!(search.is_settled(), "all of interest is certified");
    assert!(Search::new(1.0, None).is_settled(), "nothing is certified, and nothing will be");
}

#[test]
fn the_bracket_is_of_all_evaluations_of_a_stretch() {
    let attack = attacked(10.0);
    let mut search = Search::new(5.0, Some(&attack));
    assert_eq!((search.low(), search.high()), (0.0, 10.0));
    assert!(!learn(&mut search, 1.0, 4.0, 0.1));
    assert_eq!((search.low(), search.high()), (1.0, 4f64.next_down().next_down()));
    assert!(!learn(&mut search, 3.0, 2.0, 0.1));
    assert!(search.low() < 2.0 && search.low() > 1.999 && search.high() == 3.0);
    // A worse one changes nothing.
    assert!(!learn(&mut search, 3.5, 1.5, 0.1));
    assert!(search.low() > 1.999 && search.high() == 3.0);
    let epsilon = search.next();
    assert!(epsilon > search.low() * 1.01 && epsilon < search.high() * 0.99, "{epsilon} says something new");
    search.begin_anew();
    assert!(search.low() > 1.999 && search.high() == 10.0, "what is certified stays");
    // Where all of interest is inside the bracket, its end is asked for.
    let mut search = Search::new(2.0, None);
    learn(&mut search, 1.0, 5.0, 0.1);
    assert_eq!(search.next(), 2.0);
}

#[test]
fn a_result_says_why_it_ended_and_what_limits_it() {
    let empty = || Radius {
        radius: 0.0,
        adversarial: None,
        label: 0,
        predicted: 0,
        termination: RadiusTermination::Zero(ZeroRadius::Tied),
        margins: Vec::new(),
        binding: None,
        evaluations: 0,
        method: Method::Layerwise,
        guarantee: Guarantee::Deterministic,
        failure_probability: 0.0,
        seed: 7,
        seconds: 0.0,
    };
    let search = |limit: f64, converged: bool| {
        let mut search = Search::new(limit, None);
        learn(&mut search, 1.0, 2.0, 0.1);
        search.evaluations = 5;
        search.failure_probability = 1e-3;
        search.converged = converged;
        search
    };
    let found = search(9.0, true).result(empty(), Some(attacked(3.0)));
    assert_eq!((found.radius, found.termination, found.binding), (1.0, RadiusTermination::Converged, Some(3)));
    assert_eq!((found.evaluations, found.seed, found.method), (5, 7, Method::Certificate));
    assert_eq!((found.failure_probability, found.guarantee), (1e-3, Guarantee::Probabilistic));
    assert_eq!(found.adversarial.unwrap().distance, 3.0);
    assert_eq!(found.margins.len(), 1);
    let found = search(9.0, false).result(empty(), None);
    assert_eq!((found.termination, found.binding), (RadiusTermination::EvaluationLimit, Some(3)));
    let found = search(1.0, true).result(empty(), None);
    assert_eq!((found.termination, found.binding), (RadiusTermination::Maximum, None));
    let mut nothing = Search::new(1.0, None);
    nothing.evaluations = 4;
    let found = nothing.result(empty(), Some(attacked(2.0)));
    assert_eq!((found.radius, found.evaluations), (0.0, 4));
    assert_eq!(found.termination, RadiusTermination::Zero(ZeroRadius::Tied));
    assert_eq!(found.adversarial.unwrap().distance, 2.0);
}

/// Two layers of dense weights, with the same numbers for every seed.
fn two_layers(seed: u64, outputs: usize) -> Network {
    let weight = |rows: usize, cols: usize, stream: u64| {
        let values = lipbound_spectral::start::gaussian(&vec![true; rows * cols], seed, stream);
        linear(&[cols], &Tensor::f64(vec![rows, cols], values).unwrap(), None).unwrap().0
    };
    let layers = vec![weight(6, 3, 1), crate::Layer::Unit(crate::Unit::Relu.into()), weight(outputs, 6, 2)];
    chain(3, layers, &[6, 6, outputs])
}

/// Keeps the parts of the work that are reported done.
#[derive(Default)]
struct Watching(std::sync::Mutex<Vec<f64>>);

impl lipbound_spectral::Monitor for Watching {}

impl BoundMonitor for Watching {
    fn stage(&self, _name: &str, done: usize, of: usize, _epsilon: f64) {
        self.0.lock().unwrap().push(done as f64 / of as f64);
    }
}

fn radius(net: &Network, x: &[f64], options: &RadiusOptions) -> Radius {
    let input = Tensor::f64(vec![x.len()], x.to_vec()).unwrap();
    certified_radius(net, &input, options, &crate::Quiet, &mut Workspace::new()).unwrap()
}

#[test]
fn every_evaluation_may_fail_with_its_share_alone() {
    const FAILURE: f64 = 1e-3;
    let mut evaluations = Vec::new();
    for seed in 0..6 {
        let net = two_layers(seed, 3);
        for method in [MethodRequest::Layerwise, MethodRequest::Certificate] {
            let norm = NormOptions {
                failure_probability: FAILURE,
                guarantee: lipbound_spectral::GuaranteeRequest::Probabilistic,
                ..NormOptions::default()
            };
            let options = RadiusOptions { method, norm, tolerance: 1e-15, ..options() };
            let found = radius(&net, &[0.4, -0.3, 0.5], &options);
            if found.radius == 0.0 {
                continue;
            }
            let each = found.failure_probability / found.evaluations as f64;
            let all = FAILURE / (CHEAP_EVALUATIONS + EVALUATIONS) as f64;
            assert!(each <= all && each >= 0.1 * all, "{each} of {all}: {found:?}");
            assert!(found.failure_probability <= FAILURE);
            evaluations.push(found.evaluations);
        }
    }
    assert!(evaluations.iter().all(|&n| n <= CHEAP_EVALUATIONS + EVALUATIONS));
    assert!(evaluations.len() > 6 && evaluations.iter().any(|&n| n > EVALUATIONS), "{evaluations:?}");
}

#[test]
fn certificates_go_on_where_products_end() {
    let mut farther = 0;
    for seed in 0..8 {
        let net = two_layers(seed, 3);
        let of = |method, tolerance| radius(&net, &[0.4, -0.3, 0.5], &RadiusOptions { method, tolerance, ..options() });
        let (coarse, fine) = (of(MethodRequest::Certificate, 0.05), of(MethodRequest::Certificate, 1e-4));
        let products = of(MethodRequest::Layerwise, 1e-4);
        if fine.radius == 0.0 {
            continue;
        }
        assert_eq!(fine.termination, RadiusTermination::Converged, "{fine:?}");
        // To a tolerance, and with few evaluations: some of products, some of certificates.
        assert!(coarse.radius >= fine.radius * 0.94 && fine.radius >= products.radius * 0.999, "seed {seed}");
        assert!((4..=16).contains(&coarse.evaluations), "{}", coarse.evaluations);
        assert!((5..=26).contains(&fine.evaluations), "{}", fine.evaluations);
        assert!((3..=24).contains(&products.evaluations), "{}", products.evaluations);
        assert!(fine.seconds > 0.0 && fine.evaluations >= coarse.evaluations);
        farther += usize::from(fine.radius > 1.01 * products.radius);
        // What is certified is an evaluation's own, at its epsilon or below.
        let margin = &fine.margins[0];
        let quotient = margin.margin / margin.lipschitz;
        assert!(fine.radius <= quotient && fine.binding == Some(margin.class));
        let attack = fine.adversarial.unwrap();
        assert!(fine.radius < attack.distance);
    }
    assert!(farther > 2, "{farther}");
}

/// A finer tolerance makes the same evaluations and some more, of which the best is kept.
#[test]
fn more_evaluations_certify_no_less() {
    let mut more = 0;
    for seed in 0..12 {
        let net = two_layers(seed, 3);
        let mut before = (0.0, 0);
        for tolerance in [0.9, 0.5, 0.3, 0.2, 0.1, 0.05, 0.02, 0.01, 1e-3] {
            let options = RadiusOptions { method: MethodRequest::Layerwise, tolerance, ..options() };
            let found = radius(&net, &[0.4, -0.3, 0.5], &options);
            assert!(found.radius >= before.0 && found.evaluations >= before.1, "seed {seed}: {before:?}, {found:?}");
            more += usize::from(found.evaluations > before.1);
            before = (found.radius, found.evaluations);
        }
    }
    assert!(more > 30, "{more}");
    // What is not certain at the input is not certain anywhere: 0.1 + 0.2 - 0.3 is not zero as computed.
    let weight = Tensor::f64(vec![1, 3], vec![0.1, 0.2, -0.3]).unwrap();
    let found = radius(&single(vec![3], linear(&[3], &weight, None).unwrap()), &[1.0; 3], &options());
    assert_eq!((found.radius, found.termination), (0.0, RadiusTermination::Zero(ZeroRadius::Tied)), "{found:?}");
    assert!(found.margins.is_empty() && found.evaluations > 0);
}

#[test]
fn progress_goes_from_the_beginning_to_the_end_and_never_back() {
    for method in [MethodRequest::Layerwise, MethodRequest::Certificate] {
        for seed in 0..4 {
            let watching = Watching::default();
            let input = Tensor::f64(vec![3], vec![0.4, -0.3, 0.5]).unwrap();
            let options = RadiusOptions { method, tolerance: 1e-6, ..options() };
            let net = two_layers(seed, 3);
            let found = certified_radius(&net, &input, &options, &watching, &mut Workspace::new()).unwrap();
            let parts = watching.0.into_inner().unwrap();
            assert!(parts.iter().all(|part| (0.0..=1.0).contains(part)), "{parts:?}");
            assert!(parts.windows(2).all(|pair| pair[0] <= pair[1]), "{parts:?}");
            if found.evaluations > 6 {
                // The second evaluation begins where half of the work of its kind is left.
                assert!(parts.iter().any(|&part| part > 0.9), "{parts:?}");
                let different =
                    parts.iter().map(|part| (part * 1e6) as usize).collect::<std::collections::BTreeSet<_>>();
                assert!(different.len() > found.evaluations, "{different:?}");
            }
        }
    }
}

#[test]
fn inputs_of_no_margin_have_no_radius() {
    let weight = Tensor::f64(vec![2, 2], vec![1.0, 0.0, 0.0, 1.0]).unwrap();
    let net = single(vec![2], linear(&[2], &weight, None).unwrap());
    for (x, label, reason) in [
        ([1.0, 1.0], 0, ZeroRadius::Tied),
        ([1.0, 2.0], 0, ZeroRadius::Misclassified),
        ([0.0, 0.0], 1, ZeroRadius::Tied),
    ] {
        let found = radius(&net, &x, &RadiusOptions { label: Some(label), ..options() });
        assert_eq!((found.radius, found.termination), (0.0, RadiusTermination::Zero(reason)));
        let here = found.adversarial.unwrap();
        assert_eq!((here.point, here.distance, here.class), (x.to_vec(), 0.0, 1 - label));
        assert_eq!((found.evaluations, found.failure_probability), (0, 0.0));
    }
    // In one dimension of the difference: the boundary is where both are the same.
    let found = radius(&net, &[2.0, 1.0], &RadiusOptions { tolerance: 1e-3, ..options() });
    let boundary = 0.5f64.sqrt();
    assert!(found.radius < boundary && found.radius > boundary * 0.998, "{found:?}");
    assert_eq!((found.label, found.binding, found.guarantee), (0, Some(1), Guarantee::Deterministic));
    // Up to a maximum below it, in one evaluation where that is the first.
    for maximum in [0.1, 0.3, 0.7] {
        let found = radius(&net, &[2.0, 1.0], &RadiusOptions { maximum: Some(maximum), ..options() });
        assert_eq!((found.radius, found.termination), (maximum, RadiusTermination::Maximum), "{found:?}");
        assert!(found.evaluations <= if maximum < 0.5 { 4 } else { 12 }, "{found:?}");
    }
    // In a box whose corner is nearer than that, to the corner.
    let ends = [[1.9, 0.9], [2.1, 1.1]].map(|end| Tensor::f64(vec![2], end.to_vec()).unwrap());
    let [lower, upper] = ends;
    let found = radius(&net, &[2.0, 1.0], &RadiusOptions { input_box: Some((lower, upper)), ..options() });
    let corner = 0.1 * 2f64.sqrt();
    assert!((found.radius / corner - 1.0).abs() < 1e-12 && found.termination == RadiusTermination::Maximum);
    // Without room, one evaluation says all.
    let at = Tensor::f64(vec![2], vec![2.0, 1.0]).unwrap();
    let found = radius(&net, &[2.0, 1.0], &RadiusOptions { input_box: Some((at.clone(), at)), ..options() });
    assert_eq!((found.radius, found.termination), (0.0, RadiusTermination::Maximum));
    assert_eq!((found.evaluations, found.margins.len()), (1, 1));
}
