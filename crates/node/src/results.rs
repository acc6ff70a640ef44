//! Results, as JavaScript gets them.

use lipbound_lipschitz::{
    Adversarial, BoundResult, Certificate, CheckReport, Document, FunctionalBound, Kind, LayerReport, Method, Radius,
    RadiusTermination, StageKind, SweepPoint, Witness, ZeroRadius,
};
use lipbound_spectral::{self as spectral, Guarantee, NormBracket, Termination};
use napi::bindgen_prelude::{Either, Float64Array};
use napi_derive::napi;

use crate::convert::{NativeTensor, numbers};

fn kind_out(kind: Kind) -> String {
    match kind {
        Kind::Centred => "centred",
        Kind::Uniform => "uniform",
        Kind::Global => "global",
    }
    .into()
}

fn method_out(method: Method) -> String {
    match method {
        Method::Layerwise => "layerwise",
        Method::Certificate => "certificate",
    }
    .into()
}

/// A norm as a bracket.
#[napi(object)]
pub struct NormResult {
    pub lower: f64,
    pub upper: f64,
    pub guarantee: String,
    pub failure_probability: f64,
    pub steps: f64,
    pub termination: String,
    pub method: String,
    pub seed: Option<f64>,
    pub seconds: f64,
}

fn guarantee_out(guarantee: Guarantee) -> String {
    match guarantee {
        Guarantee::Deterministic => "deterministic",
        Guarantee::Probabilistic => "probabilistic",
    }
    .into()
}

pub fn norm_out(norm: &NormBracket, seed: u64, seconds: f64) -> NormResult {
    NormResult {
        lower: norm.lower,
        upper: norm.upper,
        guarantee: guarantee_out(norm.guarantee),
        failure_probability: norm.failure_probability,
        steps: norm.steps as f64,
        termination: match norm.termination {
            Termination::Converged => "converged",
            Termination::StepLimit => "step-limit",
            Termination::TimeLimit => "time-limit",
            Termination::Stalled => "stalled",
            Termination::Complete => "complete",
            Termination::Direct => "direct",
        }
        .into(),
        method: match norm.method {
            spectral::Method::Structure => "structure",
            spectral::Method::Cholesky => "cholesky",
            spectral::Method::Lanczos => "lanczos",
            spectral::Method::Frobenius => "frobenius",
            spectral::Method::RowColumnSums => "row-column-sums",
            spectral::Method::CollatzWielandt => "collatz-wielandt",
            spectral::Method::Fourier => "fourier",
        }
        .into(),
        seed: (norm.guarantee == Guarantee::Probabilistic).then_some(seed as f64),
        seconds,
    }
}

/// A bracket without a story.
#[napi(object)]
pub struct Bracket {
    pub lower: f64,
    pub upper: f64,
}

/// One stage of a layerwise bound.
#[napi(object)]
pub struct LayerResult {
    pub name: String,
    pub kind: String,
    pub members: Vec<String>,
    pub input_shape: Vec<f64>,
    pub output_shape: Vec<f64>,
    pub norm: NormResult,
    pub epsilon_in: f64,
    pub epsilon_out: f64,
    pub gain: f64,
    pub gain_method: String,
    pub failure_probability: f64,
    pub still: f64,
    pub stable: f64,
    pub unstable: f64,
    pub seconds: f64,
}

/// A bound of a functional.
#[napi(object)]
pub struct FunctionalResult {
    pub upper: f64,
    pub lower: f64,
    pub method: String,
    pub guarantee: String,
    pub failure_probability: f64,
}

fn functional_out(functional: &FunctionalBound) -> FunctionalResult {
    FunctionalResult {
        upper: functional.upper,
        lower: functional.lower,
        method: method_out(functional.method),
        guarantee: guarantee_out(functional.guarantee),
        failure_probability: functional.failure_probability,
    }
}

/// A bound with its story.
#[napi(object)]
pub struct NativeBoundResult {
    pub upper: f64,
    pub lower: f64,
    pub product: Bracket,
    pub epsilon: f64,
    pub kind: String,
    pub method: String,
    pub guarantee: String,
    pub failure_probability: f64,
    pub seed: f64,
    pub seconds: f64,
    pub layers: Vec<LayerResult>,
    pub functionals: Option<Vec<FunctionalResult>>,
    /// The JSON text of the certificate, where one was asked for.
    pub certificate: Option<String>,
    pub witness: Option<NativeWitness>,
}

/// Two points and the ratio between them.
#[napi(object)]
pub struct NativeWitness {
    pub ratio: f64,
    pub from: Float64Array,
    pub to: Float64Array,
}

fn witness_out(witness: &Witness) -> NativeWitness {
    let Witness { ratio, from, to } = witness;
    NativeWitness { ratio: *ratio, from: Float64Array::new(from.clone()), to: Float64Array::new(to.clone()) }
}

/// Bounds of one epsilon by both methods.
#[napi(object)]
pub struct NativeSweepPoint {
    pub layerwise: NativeBoundResult,
    pub certificate: Option<NativeBoundResult>,
}

pub fn sweep_out(point: &SweepPoint) -> NativeSweepPoint {
    NativeSweepPoint {
        layerwise: bound_out(&point.layerwise, false),
        certificate: point.certificate.as_ref().map(|result| bound_out(result, false)),
    }
}

/// The margin over another class.
#[napi(object)]
pub struct NativeMargin {
    #[napi(js_name = "class")]
    pub rival: f64,
    pub margin: f64,
    pub lipschitz: f64,
    pub method: String,
}

/// A certified radius.
#[napi(object)]
pub struct NativeRadius {
    pub radius: f64,
    pub attack_radius: f64,
    pub label: f64,
    pub predicted: f64,
    pub binding_class: Option<f64>,
    pub reason: Option<String>,
    pub termination: String,
    pub margins: Vec<NativeMargin>,
    pub evaluations: f64,
    pub method: String,
    pub guarantee: String,
    pub failure_probability: f64,
    pub seed: f64,
    pub seconds: f64,
    pub adversarial: Option<NativeTensor>,
    pub adversarial_class: Option<f64>,
}

/// A radius, with the input of another class that was found if that is wanted.
pub fn radius_out(radius: Radius, shape: &[usize], witness: bool) -> NativeRadius {
    let (attack_radius, adversarial) = match radius.adversarial {
        None => (f64::INFINITY, None),
        Some(Adversarial { point, distance, class }) => (distance, witness.then_some((point, class))),
    };
    let (adversarial, adversarial_class) = match adversarial {
        None => (None, None),
        Some((point, class)) => {
            let data = Either::B(Float64Array::new(point));
            (Some(NativeTensor { shape: numbers(shape), data }), Some(class as f64))
        }
    };
    let (termination, reason) = match radius.termination {
        RadiusTermination::Converged => ("converged", None),
        RadiusTermination::Maximum => ("maximum", None),
        RadiusTermination::EvaluationLimit => ("evaluation-limit", None),
        RadiusTermination::Zero(ZeroRadius::Misclassified) => ("zero", Some("misclassified")),
        RadiusTermination::Zero(ZeroRadius::Tied) => ("zero", Some("tied")),
    };
    NativeRadius {
        radius: radius.radius,
        attack_radius,
        label: radius.label as f64,
        predicted: radius.predicted as f64,
        binding_class: radius.binding.map(|class| class as f64),
        reason: reason.map(Into::into),
        termination: termination.into(),
        margins: radius
            .margins
            .iter()
            .map(|margin| NativeMargin {
                rival: margin.class as f64,
                margin: margin.margin,
                lipschitz: margin.lipschitz,
                method: method_out(margin.method),
            })
            .collect(),
        evaluations: radius.evaluations as f64,
        method: method_out(radius.method),
        guarantee: guarantee_out(radius.guarantee),
        failure_probability: radius.failure_probability,
        seed: radius.seed as f64,
        seconds: radius.seconds,
        adversarial,
        adversarial_class,
    }
}

/// A result, with its functionals if they were asked for.
pub fn bound_out(result: &BoundResult, functionals: bool) -> NativeBoundResult {
    NativeBoundResult {
        upper: result.upper,
        lower: result.lower,
        product: Bracket { lower: result.product.0, upper: result.product.1 },
        epsilon: result.epsilon,
        kind: kind_out(result.kind),
        method: method_out(result.method),
        guarantee: guarantee_out(result.guarantee),
        failure_probability: result.failure_probability,
        seed: result.seed as f64,
        seconds: result.seconds,
        layers: result.layers.iter().map(|layer| layer_out(layer, result.seed)).collect(),
        functionals: functionals.then(|| result.functionals.iter().map(functional_out).collect()),
        certificate: None,
        witness: result.witness.as_ref().map(witness_out),
    }
}

/// As [`bound_out`], with the certificate.
pub fn certified_out((result, certificate): (BoundResult, Certificate), functionals: bool) -> NativeBoundResult {
    NativeBoundResult { certificate: Some(Document::seal(certificate).to_json()), ..bound_out(&result, functionals) }
}

/// What a check found.
#[napi(object)]
pub struct NativeCheckReport {
    pub accepted: bool,
    pub reason: Option<String>,
    pub upper: f64,
    pub epsilon: f64,
    pub kind: String,
    pub guarantee: String,
    pub failure_probability: f64,
    pub seed: f64,
    pub seconds: f64,
}

pub fn check_out(report: CheckReport) -> NativeCheckReport {
    NativeCheckReport {
        accepted: report.accepted(),
        reason: report.refusal,
        upper: report.upper,
        epsilon: report.epsilon,
        kind: kind_out(report.kind),
        guarantee: guarantee_out(report.guarantee),
        failure_probability: report.failure_probability,
        seed: report.seed as f64,
        seconds: report.seconds,
    }
}

fn layer_out(layer: &LayerReport, seed: u64) -> LayerResult {
    LayerResult {
        name: layer.name.clone(),
        kind: match layer.kind {
            StageKind::AffineUnit => "affine-unit",
            StageKind::Affine => "affine",
            StageKind::Unit => "unit",
            StageKind::MaxPool => "max-pool",
            StageKind::Add => "add",
            StageKind::Concat => "concat",
        }
        .into(),
        members: layer.members.clone(),
        input_shape: numbers(&layer.input_shape),
        output_shape: numbers(&layer.output_shape),
        norm: norm_out(&layer.norm, seed, layer.seconds),
        epsilon_in: layer.epsilon_in,
        epsilon_out: layer.epsilon_out,
        gain: layer.gain,
        gain_method: method_out(layer.gain_method),
        failure_probability: layer.failure_probability,
        still: layer.units.still as f64,
        stable: layer.units.stable as f64,
        unstable: layer.units.unstable as f64,
        seconds: layer.seconds,
    }
}
