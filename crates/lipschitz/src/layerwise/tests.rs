use super::*;
use crate::{
    Layer, Network, Quiet, Unit,
    bound::nominal_at,
    example::{Walked, chain, doubtful, near, walk},
};

fn unit(unit: Unit) -> Layer {
    Layer::Unit(unit.into())
}

fn nominal(network: &Network, x: &[f64]) -> Nominal {
    nominal_at(network, x, &Quiet, &mut Workspace::new()).unwrap()
}

fn around(network: &Network, nominal: &Nominal, epsilon: f64) -> Walked {
    walk(network, &Ball { nominal: Some(nominal), extents: None, kind: Kind::Centred, epsilon, refine: false })
}

/// Computed as -1.5, a pre-activation is anywhere between -2.5 and -0.5. The ball moves it by 0.25, which leaves it below
/// zero; but the error is a movement as well, of up to 1: from -0.5 to 0.5, where the secant has the slope 1/2.
#[test]
fn slopes_cover_the_range_of_the_error() {
    let network = chain(1, vec![Layer::Affine(doubtful(&[vec![1.0]], &[-1.5], &[1.0])), unit(Unit::Relu)], &[1, 1]);
    let walked = around(&network, &nominal(&network, &[0.0]), 0.25);
    near(walked.flows[1].gain, 0.5);
    // Where the ball moves it farther, the ball it is: from -0.5 by 2.
    let walked = around(&network, &nominal(&network, &[0.0]), 2.0);
    near(walked.flows[1].gain, 0.75);
}

/// Behind a map or alone, one product with 0.1 is rounded for every element that moves, and for every one that does not.
#[test]
fn the_rounding_of_a_unit_itself_is_counted() {
    let behind = Layer::Affine(doubtful(&[vec![1.0, 0.0], vec![0.0, 0.0]], &[0.0, -4.0], &[0.0, 0.0]));
    for (leaky, of_unit) in [(false, 0.0), (true, 2.0_f64.powi(-54))] {
        let unit = || unit(if leaky { Unit::LeakyRelu { slope: 0.1 } } else { Unit::Relu });
        let alone = chain(2, vec![unit()], &[2]);
        let behind = chain(2, vec![behind.clone(), unit()], &[2, 2]);
        for (network, x) in [(alone, [-3.0, -4.0]), (behind, [-3.0, 0.0])] {
            let mut nominal = nominal(&network, &x);
            // Nothing else shall have an error.
            nominal.local[0].fill(0.0);
            let output = &around(&network, &nominal, 0.5).flows[1];
            // The computed values have the norm 0.5, each with a relative error of 2^-53 at most; that of 3 * 0.1, which
            // has one bit more than a double holds, is not far from it.
            near(output.error, of_unit);
            near(output.still_error, of_unit);
        }
    }
}

/// The second element is the constant 3 in the first stage and carries the error of its bias into the second, where
/// the mask of what moves hides it.
#[test]
fn errors_of_what_stands_still_travel_on() {
    let first = doubtful(&[vec![1.0, 0.0], vec![0.0, 0.0]], &[1.0, 3.0], &[0.0, 0.25]);
    let second = doubtful(&[vec![0.5, -4.0], vec![0.25, -3.0]], &[0.0, 0.0], &[0.0, 0.0]);
    let layers =
        vec![Layer::Affine(first), unit(Unit::Relu), Layer::Affine(second), unit(Unit::LeakyRelu { slope: -2.0 })];
    let network = chain(2, layers, &[2; 4]);
    let walked = around(&network, &nominal(&network, &[1.0, 5.0]), 0.125);
    let [_, behind_first, behind_second] = &walked.flows[..] else { panic!("two stages") };
    assert_eq!(behind_first.moves, [true, false]);
    near(behind_first.still_error, 0.25);
    // With 3.25 in place of 3 the outputs grow by 2 * 4 * 0.25 and 2 * 3 * 0.25. The bound takes the whole map, whose
    // norm it takes from its largest sums.
    let error = behind_second.error;
    assert!((2.5..3.0).contains(&error), "{error}");
}
