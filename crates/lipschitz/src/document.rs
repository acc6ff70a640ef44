//! Certificates as JSON: docs/certificate-format.md.

use std::fmt;

use lipbound_operators::Description;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use crate::{
    BoundError, BoundMonitor, Certificate, CheckReport, Digest, Kind, Network, Slope, StageClaims, WholeClaim, check,
    digest,
};

const FORMAT: &str = "lipbound-certificate";
const VERSION: u32 = 1;

/// A certificate as it came, with the digest of its content that it states.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// What is claimed.
    pub certificate: Certificate,
    /// The stated digest.
    pub digest: Digest,
}

/// Why a text is no certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentError(String);

impl fmt::Display for DocumentError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DocumentError {}

impl Document {
    /// A certificate with the digest that it has.
    #[must_use]
    pub fn seal(certificate: Certificate) -> Self {
        Self { digest: certificate.digest(), certificate }
    }

    /// Reads the JSON text of a certificate. Whether it has the digest that it states is for [`Document::check`].
    ///
    /// # Errors
    /// If it is no JSON, of another format or version, or has a field that is missing, unknown or of another type.
    pub fn parse(text: &str) -> Result<Self, DocumentError> {
        let fail = |reason: String| DocumentError(reason);
        let head: Head = serde_json::from_str(text).map_err(|error| fail(format!("it is no JSON object: {error}")))?;
        let got = |value: Option<Value>| value.map_or("nothing".into(), |v| v.to_string());
        if head.format != Some(FORMAT.into()) {
            return Err(fail(format!("format must be \"{FORMAT}\", got {}", got(head.format))));
        }
        if head.version != Some(VERSION.into()) {
            return Err(fail(format!("version must be {VERSION}, got {}", got(head.version))));
        }
        let body: Body = serde_json::from_str(text).map_err(|error| fail(error.to_string()))?;
        body.read()
    }

    /// The JSON text, on one line.
    ///
    /// # Panics
    /// Never: every field has a place in JSON.
    #[must_use]
    pub fn to_json(&self) -> String {
        serde_json::to_string(&Body::of(self)).expect("numbers and strings are JSON")
    }

    /// Checks the certificate: that it is undamaged, and then all that it claims. See [`check`].
    ///
    /// # Errors
    /// As [`check`].
    pub fn check(
        &self,
        network: &Network,
        options: &lipbound_spectral::NormOptions,
        monitor: &dyn BoundMonitor,
        ws: &mut lipbound_operators::Workspace,
    ) -> Result<CheckReport, BoundError> {
        let content = self.certificate.digest();
        if content != self.digest {
            options.validate()?;
            let reason = format!(
                "the certificate was damaged or changed: it states the digest {}, but its content has {content}",
                self.digest
            );
            return Ok(CheckReport::refused(&self.certificate, options, reason));
        }
        check(network, &self.certificate, options, monitor, ws)
    }
}

impl Certificate {
    /// SHA-256 of all that is claimed.
    #[must_use]
    pub fn digest(&self) -> Digest {
        // Some writers of JSON lose the sign of zero, which means nothing here.
        let number = |d: &mut Description<'_>, x: f64| d.number(x + 0.0);
        digest::of("lipbound certificate 1", |d| {
            d.tag(&self.network.to_string());
            d.tag(kind_out(self.kind));
            number(d, self.epsilon);
            d.numbers(self.centre.iter().map(|x| x + 0.0));
            d.size(usize::from(self.paths));
            number(d, self.upper);
            d.size(self.stages.len());
            for stage in &self.stages {
                d.tag(&stage.name);
                d.size(usize::from(stage.norm.is_some()));
                stage.norm.into_iter().for_each(|norm| number(d, norm));
                d.numbers(stage.slopes.iter().map(|s| s.low + 0.0));
                d.numbers(stage.slopes.iter().map(|s| s.high + 0.0));
                d.size(stage.candidates.len());
                stage.candidates.iter().for_each(|window| d.sizes(window));
                d.size(usize::from(stage.whole.is_some()));
                if let Some(whole) = &stage.whole {
                    number(d, whole.kappa);
                    d.size(whole.height);
                    number(d, whole.sigma);
                    number(d, whole.bound);
                    d.numbers(whole.weights.iter().map(|w| w + 0.0));
                }
                number(d, stage.gain);
                number(d, stage.radius);
            }
        })
    }
}

/// What is read first, to say what is wrong with what other versions write.
#[derive(Deserialize)]
struct Head {
    format: Option<Value>,
    version: Option<Value>,
}

/// The document, field by field. JSON has no infinity: it is written as null.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct Body {
    format: String,
    version: u32,
    digest: String,
    network: String,
    kind: String,
    #[serde(deserialize_with = "present")]
    epsilon: Option<f64>,
    centre: Vec<f64>,
    paths: bool,
    #[serde(deserialize_with = "present")]
    upper: Option<f64>,
    stages: Vec<StageBody>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
struct StageBody {
    name: String,
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present_or_absent")]
    norm: Option<Option<f64>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    slopes: Option<SlopesBody>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    candidates: Option<Vec<Vec<usize>>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    whole: Option<WholeBody>,
    #[serde(deserialize_with = "present")]
    gain: Option<f64>,
    #[serde(deserialize_with = "present")]
    radius: Option<f64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct SlopesBody {
    low: Vec<f64>,
    high: Vec<f64>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct WholeBody {
    kappa: f64,
    height: usize,
    sigma: f64,
    bound: f64,
    weights: Vec<f64>,
}

/// A number or null, which must not be missing.
fn present<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<f64>, D::Error> {
    Option::deserialize(deserializer)
}

/// A number, null, or nothing at all.
fn present_or_absent<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Option<f64>>, D::Error> {
    Option::deserialize(deserializer).map(Some)
}

fn finite(x: f64) -> Option<f64> {
    x.is_finite().then_some(x)
}

fn or_infinite(x: Option<f64>) -> f64 {
    x.unwrap_or(f64::INFINITY)
}

fn kind_out(kind: Kind) -> &'static str {
    match kind {
        Kind::Centred => "centred",
        Kind::Uniform => "uniform",
        Kind::Global => "global",
    }
}

impl Body {
    fn of(document: &Document) -> Self {
        let Document { certificate, digest } = document;
        Self {
            format: FORMAT.into(),
            version: VERSION,
            digest: digest.to_string(),
            network: certificate.network.to_string(),
            kind: kind_out(certificate.kind).into(),
            epsilon: finite(certificate.epsilon),
            centre: certificate.centre.clone(),
            paths: certificate.paths,
            upper: finite(certificate.upper),
            stages: certificate.stages.iter().map(StageBody::of).collect(),
        }
    }

    fn read(self) -> Result<Document, DocumentError> {
        let digest = |field: &str, text: &str| text.parse().map_err(|error| DocumentError(format!("{field}: {error}")));
        let kind = match self.kind.as_str() {
            "centred" => Kind::Centred,
            "uniform" => Kind::Uniform,
            "global" => Kind::Global,
            other => {
                return Err(DocumentError(format!(
                    "kind must be \"centred\", \"uniform\" or \"global\", got \"{other}\""
                )));
            }
        };
        let stages = self.stages.into_iter().enumerate().map(|(i, stage)| stage.read(i));
        let certificate = Certificate {
            network: digest("network", &self.network)?,
            kind,
            epsilon: or_infinite(self.epsilon),
            centre: self.centre,
            paths: self.paths,
            upper: or_infinite(self.upper),
            stages: stages.collect::<Result<_, _>>()?,
        };
        Ok(Document { certificate, digest: digest("digest", &self.digest)? })
    }
}

impl StageBody {
    fn of(claims: &StageClaims) -> Self {
        let StageClaims { name, norm, slopes, candidates, whole, gain, radius } = claims;
        Self {
            name: name.clone(),
            norm: norm.map(finite),
            slopes: (!slopes.is_empty()).then(|| SlopesBody {
                low: slopes.iter().map(|s| s.low).collect(),
                high: slopes.iter().map(|s| s.high).collect(),
            }),
            candidates: (!candidates.is_empty()).then(|| candidates.clone()),
            whole: whole.as_ref().map(|whole| WholeBody {
                kappa: whole.kappa,
                height: whole.height,
                sigma: whole.sigma,
                bound: whole.bound,
                weights: whole.weights.clone(),
            }),
            gain: finite(*gain),
            radius: finite(*radius),
        }
    }

    fn read(self, index: usize) -> Result<StageClaims, DocumentError> {
        let slopes = self.slopes.unwrap_or(SlopesBody { low: Vec::new(), high: Vec::new() });
        if slopes.low.len() != slopes.high.len() {
            return Err(DocumentError(format!(
                "stages[{index}].slopes needs as many numbers in low as in high, got {} and {}",
                slopes.low.len(),
                slopes.high.len()
            )));
        }
        Ok(StageClaims {
            name: self.name,
            norm: self.norm.map(or_infinite),
            slopes: slopes.low.into_iter().zip(slopes.high).map(|(low, high)| Slope { low, high }).collect(),
            candidates: self.candidates.unwrap_or_default(),
            whole: self.whole.map(|whole| WholeClaim {
                kappa: whole.kappa,
                weights: whole.weights,
                height: whole.height,
                sigma: whole.sigma,
                bound: whole.bound,
            }),
            gain: or_infinite(self.gain),
            radius: or_infinite(self.radius),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn certificate() -> Certificate {
        let whole = WholeClaim { kappa: 0.1, weights: vec![1e-300, 0.3, 7e21], height: 2, sigma: 1.0, bound: 0.1 };
        Certificate {
            network: digest::of("n", |_| {}),
            kind: Kind::Centred,
            epsilon: 0.1,
            centre: vec![1.0, -0.0, 5e-324, 1.0 / 3.0],
            paths: true,
            upper: 1.7976931348623157e308,
            stages: vec![
                StageClaims {
                    name: "a \"name\"".into(),
                    norm: Some(2.0),
                    slopes: vec![Slope { low: -0.1, high: 1.0 }],
                    gain: 2.0,
                    radius: 0.2,
                    ..StageClaims::default()
                },
                StageClaims {
                    norm: Some(f64::INFINITY),
                    candidates: vec![vec![3, 1], vec![0]],
                    whole: Some(whole),
                    gain: f64::INFINITY,
                    radius: f64::INFINITY,
                    ..StageClaims::default()
                },
            ],
        }
    }

    #[test]
    fn a_document_survives_its_text_bit_for_bit() {
        let document = Document::seal(certificate());
        let text = document.to_json();
        let read = Document::parse(&text).unwrap();
        assert_eq!(read, document);
        assert_eq!(read.to_json(), text);
        assert_eq!(read.certificate.digest(), read.digest);
    }

    #[test]
    fn the_sign_of_zero_may_be_lost() {
        let document = Document::seal(certificate());
        let text = document.to_json();
        assert!(text.contains("-0.0"));
        let read = Document::parse(&text.replace("-0.0,", "0,")).unwrap();
        assert_eq!(read.certificate.digest(), document.digest);
    }

    #[test]
    fn every_claim_is_in_the_digest() {
        let changes: [fn(&mut Certificate); 17] = [
            |c| c.network = digest::of("m", |_| {}),
            |c| c.kind = Kind::Uniform,
            |c| c.epsilon = 0.2,
            |c| c.centre[2] = 0.0,
            |c| c.paths = false,
            |c| c.upper = 1.0,
            |c| c.stages[0].name = "b".into(),
            |c| c.stages[0].norm = Some(1.0),
            |c| c.stages[0].slopes[0].low = 0.0,
            |c| c.stages[0].slopes[0].high = 0.5,
            |c| c.stages[1].candidates.swap(0, 1),
            |c| c.stages[1].whole.as_mut().unwrap().kappa = 0.2,
            |c| c.stages[1].whole.as_mut().unwrap().weights[1] = 0.2,
            |c| c.stages[1].whole.as_mut().unwrap().height = 1,
            |c| c.stages[1].whole.as_mut().unwrap().sigma = 2.0,
            |c| c.stages[0].gain = 1.0,
            |c| c.stages[0].radius = 1.0,
        ];
        let original = certificate().digest();
        for (i, change) in changes.into_iter().enumerate() {
            let mut changed = certificate();
            change(&mut changed);
            assert_ne!(changed.digest(), original, "change {i}");
        }
    }

    #[test]
    fn what_is_no_certificate_says_why() {
        let text = Document::seal(certificate()).to_json();
        for (from, to, reason) in [
            ("{\"format\"", "[{\"format\"", "it is no JSON object: "),
            ("lipbound-certificate", "other", "format must be \"lipbound-certificate\", got \"other\""),
            ("\"version\":1", "\"version\":2", "version must be 1, got 2"),
            ("\"version\":1,", "", "version must be 1, got nothing"),
            ("\"paths\":true,", "", "missing field `paths`"),
            ("\"epsilon\":0.1,", "", "missing field `epsilon`"),
            ("\"paths\":true", "\"paths\":true,\"more\":1", "unknown field `more`"),
            ("\"epsilon\":0.1", "\"epsilon\":\"0.1\"", "invalid type: string \"0.1\", expected f64"),
            ("\"epsilon\":0.1", "\"epsilon\":1e999", "number out of range"),
            ("centred", "centered", "kind must be \"centred\", \"uniform\" or \"global\", got \"centered\""),
            ("\"low\":[-0.1]", "\"low\":[]", "stages[0].slopes needs as many numbers in low as in high, got 0 and 1"),
            ("\"digest\":\"", "\"digest\":\"0", "digest: a digest has 64 hexadecimal digits, got '0"),
            ("\"height\":2", "\"height\":-2", "invalid value: integer `-2`, expected usize"),
        ] {
            assert!(text.contains(from), "{from}");
            let error = Document::parse(&text.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(reason), "{error}");
        }
        for end in 0..text.len() {
            if text.is_char_boundary(end) {
                assert!(Document::parse(&text[..end]).is_err());
            }
        }
    }
}
