//! Whether a certificate is right.
//!
//! The walk of a bound, with every number taken from the certificate once it has been found to hold. By induction over
//! the stages, all that is accepted is true: what a stage claims follows from the network at hand, the ball, and the
//! claims of the stages before, which were accepted. docs/soundness.md, (C1) to (C4).

use std::time::Instant;

use lipbound_operators::Workspace;
use lipbound_spectral::{Guarantee, NormOptions};

use crate::{
    BoundError, BoundMonitor, Certificate, Kind, MethodRequest, ModelError, Network, Tensor,
    bound::{guarantee, nominal_at},
    functionals::Functionals,
    layerwise::Ball,
    ledger::{Ledger, Reader},
    walk::{Memory, Request},
};

/// Lanczos steps of one norm that suit a check: it goes on until a claim is decided, and a claim close to the norm takes
/// longer than a bracket that is merely narrow.
pub const CHECK_STEPS: usize = 10_000;

/// What a check found.
#[derive(Clone, Debug)]
pub struct CheckReport {
    /// Why the certificate is refused: the first claim that is wrong or could not be verified. None if it is accepted.
    pub refusal: Option<String>,
    /// The bound that is claimed.
    pub upper: f64,
    /// Radius of the ball; infinite for a global bound.
    pub epsilon: f64,
    /// Which constant.
    pub kind: Kind,
    /// What an acceptance rests on; a refusal needs no luck.
    pub guarantee: Guarantee,
    /// Probability with which a certificate whose bound is wrong would have been accepted.
    pub failure_probability: f64,
    /// Seed of the start vectors.
    pub seed: u64,
    /// Time spent.
    pub seconds: f64,
}

impl CheckReport {
    /// Whether the bound holds.
    #[must_use]
    pub fn accepted(&self) -> bool {
        self.refusal.is_none()
    }

    /// A certificate that is refused for `reason`, whatever the network says.
    pub(crate) fn refused(certificate: &Certificate, options: &NormOptions, reason: String) -> Self {
        Self {
            refusal: Some(reason),
            upper: certificate.upper,
            epsilon: certificate.epsilon,
            kind: certificate.kind,
            guarantee: Guarantee::Deterministic,
            failure_probability: 0.0,
            seed: options.seed,
            seconds: 0.0,
        }
    }
}

/// Checks a certificate against a network: recomputes what follows, and proves every norm with start vectors of its own.
///
/// `options` say how norms are proved; their tolerance is not used, and `failure_probability` is for the whole check.
/// The seed must not be known to whoever made the certificate.
///
/// # Errors
/// If an option is invalid, or the monitor stops the work. A wrong certificate is no error.
pub fn check(
    network: &Network,
    certificate: &Certificate,
    options: &NormOptions,
    monitor: &dyn BoundMonitor,
    ws: &mut Workspace,
) -> Result<CheckReport, BoundError> {
    options.validate()?;
    let started = Instant::now();
    let report = CheckReport::refused(certificate, options, String::new());
    let report = match verify(network, certificate, options, monitor, ws) {
        Ok(failure_probability) => {
            CheckReport { refusal: None, guarantee: guarantee(failure_probability), failure_probability, ..report }
        }
        Err(BoundError::Refused(reason)) => CheckReport { refusal: Some(reason), ..report },
        Err(other) => return Err(other),
    };
    Ok(CheckReport { seconds: started.elapsed().as_secs_f64(), ..report })
}

/// The probability with which an acceptance is wrong.
fn verify(
    network: &Network,
    certificate: &Certificate,
    options: &NormOptions,
    monitor: &dyn BoundMonitor,
    ws: &mut Workspace,
) -> Result<f64, BoundError> {
    let refuse = |reason: String| Err(BoundError::Refused(reason));
    let Certificate { kind, epsilon, upper, .. } = *certificate;
    if certificate.network != network.digest() {
        return refuse(format!(
            "the certificate is of the network {}, but this one is {}",
            certificate.network,
            network.digest()
        ));
    }
    let stages = network.plan().stages.len();
    if certificate.stages.len() != stages {
        return refuse(format!(
            "the network has {stages} stages, but the certificate claims something of {}",
            certificate.stages.len()
        ));
    }
    let right = if kind == Kind::Global { epsilon == f64::INFINITY } else { epsilon.is_finite() && epsilon >= 0.0 };
    if !right {
        return refuse(format!(
            "epsilon is {epsilon}, but must be finite and not negative, and infinite for a global bound"
        ));
    }
    let nominal = match kind {
        Kind::Global if certificate.centre.is_empty() => None,
        Kind::Global => return refuse("a global bound has no centre, but one is given".into()),
        Kind::Centred | Kind::Uniform => {
            let of_centre = |error: ModelError| BoundError::Refused(format!("the centre of the ball: {error}"));
            let elements: usize = network.input_shape().iter().product();
            if certificate.centre.len() != elements {
                return refuse(format!(
                    "the centre of the ball has {} elements, but the network takes {elements}",
                    certificate.centre.len()
                ));
            }
            let centre = Tensor::f64(network.input_shape().to_vec(), certificate.centre.clone()).map_err(of_centre)?;
            let x = network.read_input(&centre).map_err(of_centre)?;
            let nominal = nominal_at(network, &x, monitor, ws).map_err(|error| match error {
                BoundError::Cancelled => error,
                other => BoundError::Refused(other.to_string()),
            })?;
            Some(nominal)
        }
    };
    let request = Request {
        network,
        ball: Ball { nominal: nominal.as_ref(), kind, epsilon, refine: certificate.paths, extents: None },
        // What is certified is for the certificate to say.
        method: MethodRequest::Auto,
        norm: *options,
        functionals: Functionals::default(),
        whole: true,
        place: (0, 1),
    };
    let mut ledger = Ledger::Reading(Reader::new(certificate));
    let walk = request.walk(&mut ledger, monitor, &mut Memory::new(network), ws)?;
    if walk.output().gain <= upper {
        Ok(walk.failure_probability)
    } else {
        refuse(format!("the bound is claimed to be {upper:?}, but only {:?} follows", walk.output().gain))
    }
}
