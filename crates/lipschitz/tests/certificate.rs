//! The whole-network certificate against sampled ratios and against the layerwise bound.

use crate::common::{Random, nearby, network, ratio};
use lipbound_lipschitz::{BoundOptions, GlobalOptions, Kind, Method, MethodRequest, Quiet, bound, global_bound};
use lipbound_operators::Workspace;
use lipbound_spectral::NormOptions;

const EPSILONS: [f64; 7] = [1e-9, 1e-4, 0.01, 0.1, 1.0, 10.0, 1e3];

fn options(kind: Kind, epsilon: f64, method: MethodRequest, seed: u64) -> BoundOptions {
    BoundOptions {
        epsilons: vec![epsilon],
        kind,
        method,
        norm: NormOptions { seed, ..NormOptions::default() },
        ..BoundOptions::default()
    }
}

#[test]
fn no_sampled_ratio_exceeds_the_certificate() {
    let mut tighter = 0;
    let mut by_certificate = 0;
    for seed in 0..3000 {
        let mut random = Random::new(seed);
        let net = network(&mut random);
        let x0 = random.input(net.input_shape());
        let epsilon = EPSILONS[random.below(EPSILONS.len())];
        let of = |kind, method| {
            bound(&net, &x0, &options(kind, epsilon, method, seed), &Quiet, &mut Workspace::new()).unwrap().remove(0)
        };
        let centred = of(Kind::Centred, MethodRequest::Certificate);
        let layerwise = of(Kind::Centred, MethodRequest::Layerwise);
        let uniform = of(Kind::Uniform, MethodRequest::Certificate);
        let norm = NormOptions { seed, ..NormOptions::default() };
        let global = global_bound(
            &net,
            &GlobalOptions { norm, method: MethodRequest::Certificate, ..GlobalOptions::default() },
            &Quiet,
            &mut Workspace::new(),
        )
        .unwrap();
        assert!(centred.upper <= layerwise.upper * 1.01, "seed {seed}: {} > {}", centred.upper, layerwise.upper);
        tighter += usize::from(centred.upper < layerwise.upper * 0.999);
        by_certificate += usize::from(centred.method == Method::Certificate);
        for _ in 0..100 {
            let (a, b) = (nearby(&mut random, &x0, epsilon), nearby(&mut random, &x0, epsilon));
            if let Some(r) = ratio(&net, &a, &x0) {
                assert!(r <= centred.upper, "seed {seed}, epsilon {epsilon}: {r} above {}", centred.upper);
            }
            if let Some(r) = ratio(&net, &a, &b) {
                assert!(r <= uniform.upper, "seed {seed}, epsilon {epsilon}: {r} above {}", uniform.upper);
                assert!(r <= global.upper, "seed {seed}: {r} above {}", global.upper);
            }
        }
    }
    assert!(tighter > 300 && by_certificate > 300, "the certificate is there to win: {tighter}, {by_certificate}");
}
