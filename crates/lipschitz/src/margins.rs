//! The margins of a classifier: how far the label's output is above the others, and how fast that can change.
//!
//! Around `x0` the margin to class `j` is `m_j = f_label(x0) - f_j(x0)`. If `L_j` bounds the constant of that difference
//! over the ball of radius epsilon, it stays positive wherever `norm(x - x0) < m_j / L_j` inside the ball. So **one
//! evaluation at any epsilon certifies `min(epsilon, min_j m_j / L_j)`**, whichever of the two is smaller. A network
//! with one output has two classes, told apart by its sign.

use lipbound_operators::{Workspace, rounding};
use lipbound_spectral::NormOptions;

use crate::{
    BoundError, BoundMonitor, Kind, Method, MethodRequest, Network, certificate,
    functionals::{Constant, Ends, Functionals, STREAMS},
    layerwise::Ball,
    ledger::Ledger,
    nominal::{Nominal, poll},
    walk::{FINAL, Memory, Request},
    weights::Effort,
};

/// The classes beside the label. Over each the label has a margin, a functional of the output.
pub(crate) struct Rivals {
    outputs: usize,
    label: usize,
}

/// Number of classes of a network with so many outputs.
pub(crate) fn class_count(outputs: usize) -> usize {
    outputs.max(2)
}

/// The class that an output stands for: the first of the largest entries, or the sign of a single one.
pub(crate) fn answer(output: &[f64]) -> usize {
    match output {
        [only] => usize::from(*only > 0.0),
        _ => (1..output.len()).fold(0, |best, i| if output[i] > output[best] { i } else { best }),
    }
}

impl Rivals {
    pub fn new(outputs: usize, label: usize) -> Self {
        Self { outputs, label }
    }

    pub fn len(&self) -> usize {
        class_count(self.outputs) - 1
    }

    /// The class of rival `k`.
    pub fn class(&self, k: usize) -> usize {
        if k < self.label { k } else { k + 1 }
    }

    /// The terms of the margin over rival `k`: outputs, each with the coefficient 1 or -1.
    fn terms(&self, k: usize) -> impl Iterator<Item = (usize, f64)> {
        let (label, class) = (self.label, self.class(k));
        let terms = match (self.outputs, label) {
            (1, 1) => [Some((0, 1.0)), None],
            (1, _) => [Some((0, -1.0)), None],
            _ => [Some((label, 1.0)), Some((class, -1.0))],
        };
        terms.into_iter().flatten()
    }

    /// The coefficients of the margin over rival `k`.
    pub fn functional(&self, k: usize) -> Vec<f64> {
        let mut functional = vec![0.0; self.outputs];
        self.terms(k).for_each(|(output, coefficient)| functional[output] = coefficient);
        functional
    }

    /// The margin over rival `k` at an output, as computed.
    pub fn margin(&self, k: usize, output: &[f64]) -> f64 {
        self.terms(k).map(|(i, coefficient)| coefficient * output[i]).sum()
    }

    /// The sum of the magnitudes of its terms.
    pub fn size(&self, k: usize, output: &[f64]) -> f64 {
        self.terms(k).map(|(i, _)| output[i].abs()).sum()
    }

    /// The smallest margin at an output, as computed, and whose it is.
    pub fn smallest(&self, output: &[f64]) -> (usize, f64) {
        (0..self.len())
            .map(|k| (k, self.margin(k, output)))
            .min_by(|a, b| a.1.total_cmp(&b.1))
            .expect("there are at least two classes")
    }

    /// The same as a lower bound of the exact margin, if the output was computed with an error of at most this norm.
    fn margin_down(&self, k: usize, output: &[f64], error: f64) -> f64 {
        let terms = self.terms(k).map(|(i, coefficient)| coefficient * output[i]);
        // The coefficients are 1 and -1: only the sum is rounded.
        let margin = terms.reduce(rounding::add_down).expect("a margin has a term");
        let size = rounding::sqrt_up(self.terms(k).count() as f64);
        rounding::add_down(margin, -rounding::mul_up(size, error))
    }
}

/// What is known of one rival.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Margin {
    /// The rival class.
    pub class: usize,
    /// How far the label's output is above this class's at the input, rounded down.
    pub margin: f64,
    /// Upper bound of the constant of that difference over the ball of the evaluation.
    pub lipschitz: f64,
    /// How `lipschitz` was composed.
    pub method: Method,
}

impl Margin {
    /// The margin stays positive inside the ball up to this distance; strictly, at the distance itself too.
    pub fn quotient(&self) -> f64 {
        // What is no number is no margin.
        if self.margin.is_nan() || self.margin <= 0.0 {
            0.0
        } else if self.lipschitz == 0.0 {
            f64::INFINITY
        } else {
            // The next number below: times the constant, it is less than the margin.
            rounding::div_down(self.margin, self.lipschitz).next_down().max(0.0)
        }
    }
}

/// The margins' constants over one ball.
#[derive(Clone, Debug)]
pub(crate) struct Evaluation {
    pub epsilon: f64,
    /// The smallest quotient first.
    pub margins: Vec<Margin>,
    /// Probability that any of the constants is wrong.
    pub failure_probability: f64,
}

impl Evaluation {
    /// The smallest quotient of margin and constant.
    pub fn quotient(&self) -> f64 {
        self.margins[0].quotient()
    }

    /// The radius that follows.
    pub fn radius(&self) -> f64 {
        self.epsilon.min(self.quotient())
    }
}

/// What all evaluations around an input share.
pub(crate) struct Evaluator<'a> {
    pub network: &'a Network,
    pub nominal: &'a Nominal,
    /// How far each element of the input can move at all, where that is known.
    pub extents: Option<&'a [f64]>,
    pub rivals: &'a Rivals,
    pub method: MethodRequest,
    /// The failure probability is that of one evaluation.
    pub norm: NormOptions,
    /// Most evaluations there will be: each has streams of random numbers of its own.
    pub most: usize,
}

/// The certificates of a rival, one after the other, each made only where the quotient is not this many times what is
/// needed: what limits the radius shall be known by the best bound there is, and what does not need not be.
const ATTEMPTS: [(f64, &certificate::Plan); 2] = [
    (1.5, &certificate::Plan { effort: Effort { rank: 6, steps: 60, tolerance: 1e-4 }, tries: 2, tolerance: 5e-3 }),
    (1.15, &FINAL),
];

impl Evaluator<'_> {
    /// Bounds the margins over the ball of radius `epsilon`; `place` counts evaluations.
    pub fn evaluate(
        &self,
        epsilon: f64,
        place: usize,
        memory: &mut Memory,
        monitor: &dyn BoundMonitor,
        ws: &mut Workspace,
    ) -> Result<Evaluation, BoundError> {
        let ball =
            Ball { nominal: Some(self.nominal), extents: self.extents, kind: Kind::Centred, epsilon, refine: false };
        let functionals = Functionals::Margins(self.rivals.len());
        let request = Request {
            network: self.network,
            ball,
            method: self.method,
            norm: self.norm,
            functionals,
            whole: false,
            place: (place, self.most),
        };
        let walk = request.walk(&mut Ledger::Closed, monitor, memory, ws)?;
        let options = request.options_of_functionals(&walk);
        let (_, prefix) = request.prefix(walk);
        let mut failure_probability = prefix.failure_probability;
        let flow = &prefix.flows[prefix.flows.len() - 1];
        let error = rounding::add_up(flow.error, flow.still_error);
        let output = self.nominal.trace.output();
        let mut ends = Ends::new(functionals, self.network.plan(), prefix);

        let mut rivals: Vec<(usize, Margin, Constant)> = (0..self.rivals.len())
            .map(|k| {
                poll(monitor)?;
                let constant = ends.composed(&self.rivals.functional(k), ws);
                let margin = self.rivals.margin_down(k, output, error);
                let (class, Constant { upper, method, .. }) = (self.rivals.class(k), constant);
                Ok((k, Margin { class, margin, lipschitz: upper, method }, constant))
            })
            .collect::<Result<_, BoundError>>()?;
        let by_quotient = |a: &Margin, b: &Margin| a.quotient().total_cmp(&b.quotient()).then(a.class.cmp(&b.class));
        rivals.sort_by(|a, b| by_quotient(&a.1, &b.1));
        let share = options.failure_probability / ATTEMPTS.len() as f64;
        let mut smallest = f64::INFINITY;
        for (k, margin, constant) in &mut rivals {
            poll(monitor)?;
            let functional = &self.rivals.functional(*k);
            for (attempt, (far, plan)) in ATTEMPTS.iter().enumerate() {
                if margin.margin <= 0.0 || margin.quotient() >= far * smallest.min(epsilon) {
                    break;
                }
                let stream = options.stream + STREAMS * *k as u64 + (STREAMS / 2) * attempt as u64;
                let options = NormOptions { stream, failure_probability: share, ..options };
                let mut search = memory.search_of_rival(*k);
                let certified = ends.certified(functional, *constant, plan, &options, &mut search, monitor, ws)?;
                memory.remember_rival(*k, search);
                let added = rounding::add_up(certified.failure_probability, -constant.failure_probability);
                failure_probability = rounding::add_up(failure_probability, added);
                *constant = certified;
                (margin.lipschitz, margin.method) = (certified.upper, certified.method);
            }
            smallest = smallest.min(margin.quotient());
        }
        let mut margins: Vec<Margin> = rivals.into_iter().map(|(_, margin, _)| margin).collect();
        margins.sort_by(by_quotient);
        Ok(Evaluation { epsilon, margins, failure_probability })
    }
}

#[cfg(test)]
mod tests {
    use lipbound_spectral::GuaranteeRequest;

    use super::*;
    use crate::{
        Layer, ModelError, NetworkBuilder, Node, Quiet, Tensor, Unit,
        bound::nominal_at,
        example::{chain, doubtful},
        linear, unit,
    };

    fn network() -> Network {
        let mut builder = NetworkBuilder::new(vec![4]).unwrap();
        let mut add = |name: &str, built: Result<(Layer, Vec<usize>), ModelError>| {
            let (layer, shape) = built.unwrap();
            let inputs = vec![builder.last()];
            builder.push(Node { name: name.into(), kind: "test".into(), layer, inputs, shape, parameters: 0 }).unwrap();
        };
        let weight = |rows: usize, cols: usize| {
            let data = (0..rows * cols).map(|k| (k as f64 * 0.7 + rows as f64).sin()).collect();
            Tensor::f64(vec![rows, cols], data).unwrap()
        };
        add("fc1", linear(&[4], &weight(9, 4), None));
        add("relu1", unit(&[9], Unit::Relu));
        add("fc2", linear(&[9], &weight(3, 9), None));
        builder.build().unwrap()
    }

    #[test]
    fn rivals_are_all_classes_but_the_label() {
        for (outputs, label) in [(3, 0), (3, 1), (3, 2), (2, 1), (1, 0), (1, 1)] {
            let rivals = Rivals::new(outputs, label);
            let classes: Vec<usize> = (0..rivals.len()).map(|k| rivals.class(k)).collect();
            let expected: Vec<usize> = (0..outputs.max(2)).filter(|&class| class != label).collect();
            assert_eq!(classes, expected);
            let output: Vec<f64> = (0..outputs).map(|i| [5.0, 3.0, -2.0][i]).collect();
            for k in 0..rivals.len() {
                let margin = match outputs {
                    1 => [-5.0, 5.0][label],
                    _ => output[label] - output[rivals.class(k)],
                };
                let by_functional: f64 = rivals.functional(k).iter().zip(&output).map(|(c, y)| c * y).sum();
                assert_eq!((rivals.margin(k, &output), by_functional), (margin, margin));
                // The worst error of this norm is along the functional: a difference of two outputs has the norm sqrt 2.
                let lost = if outputs == 1 { 0.25 } else { 0.25 * 2.0_f64.sqrt() };
                let down = rivals.margin_down(k, &output, 0.25);
                assert!(down <= margin - lost, "{outputs} {label} {k}: {down}");
                assert!(down >= margin - lost * (1.0 + 1e-12), "{outputs} {label} {k}: {down}");
            }
        }
    }

    /// The label's output moves with the input, its rival's is a constant: each may be off by the error of its bias.
    #[test]
    fn a_margin_loses_the_errors_of_outputs_that_stand_still_too() {
        let map = doubtful(&[vec![1.0, 0.0], vec![0.0, 0.0]], &[2.0, 1.0], &[0.125, 0.25]);
        let (network, ws) = (chain(2, vec![Layer::Affine(map)], &[2]), &mut Workspace::new());
        let nominal = nominal_at(&network, &[1.0, 5.0], &Quiet, ws).unwrap();
        let (rivals, norm) = (Rivals::new(2, 0), NormOptions::default());
        let method = MethodRequest::Layerwise;
        let evaluator =
            Evaluator { network: &network, nominal: &nominal, extents: None, rivals: &rivals, method, norm, most: 1 };
        let evaluation = evaluator.evaluate(0.5, 0, &mut Memory::new(&network), &Quiet, ws).unwrap();
        let margin = evaluation.margins[0].margin;
        // 1 + 2 - 1 as computed, and it may be 1 + 1.875 - 1.25; of the errors no more than their norms is known.
        assert!(margin <= 1.625, "{margin}");
        assert!(margin >= 2.0 - 2.0_f64.sqrt() * 0.375 - 1e-12, "{margin}");
    }

    #[test]
    fn what_a_certificate_may_fail_with_is_counted() {
        let (network, ws) = (network(), &mut Workspace::new());
        let nominal = nominal_at(&network, &[0.4, -0.3, 0.9, 0.1], &Quiet, ws).unwrap();
        let rivals = Rivals::new(3, answer(nominal.trace.output()));
        let guarantee = GuaranteeRequest::Probabilistic;
        let norm = NormOptions { failure_probability: 1e-3, guarantee, ..NormOptions::default() };
        let method = MethodRequest::Certificate;
        let evaluator =
            Evaluator { network: &network, nominal: &nominal, extents: None, rivals: &rivals, method, norm, most: 4 };
        let mut evaluate =
            |epsilon: f64| evaluator.evaluate(epsilon, 0, &mut Memory::new(&network), &Quiet, ws).unwrap();
        // A ball in which cheap bounds do, and one in which each rival has both of its certificates: two norms, two
        // margins, each with an equal share.
        let (near, far) = (evaluate(1e-6), evaluate(3.0));
        assert!(near.margins.iter().all(|margin| margin.method == Method::Layerwise), "{near:?}");
        assert!(far.margins.iter().any(|margin| margin.method == Method::Certificate), "{far:?}");
        assert!(far.failure_probability > 1.1 * near.failure_probability, "{near:?} {far:?}");
        assert!(far.failure_probability <= norm.failure_probability, "{far:?}");
    }
}
