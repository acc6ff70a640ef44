//! SHA-256 (FIPS 180-4) of networks and certificates.

use std::{fmt, str::FromStr};

use lipbound_operators::Description;
use sha2::{Digest as _, Sha256};

use crate::{Affine, Layer, Node, Unit, Units};

/// A SHA-256 digest; shown, and read, as 64 hexadecimal digits.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Digest([u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// What is no digest.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DigestError(String);

impl fmt::Display for DigestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "a digest has 64 hexadecimal digits, got '{}'", self.0)
    }
}

impl std::error::Error for DigestError {}

impl FromStr for Digest {
    type Err = DigestError;

    fn from_str(text: &str) -> Result<Self, DigestError> {
        let fail = || DigestError(text.chars().take(80).collect());
        let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect();
        let digits = digits.filter(|d| d.len() == 64).ok_or_else(fail)?;
        let mut bytes = [0; 32];
        bytes.iter_mut().zip(digits.chunks_exact(2)).for_each(|(byte, pair)| *byte = 16 * pair[0] + pair[1]);
        Ok(Self(bytes))
    }
}

/// The digest of what `describe` tells, under a title that no other kind of description has.
pub(crate) fn of(title: &str, describe: impl FnOnce(&mut Description<'_>)) -> Digest {
    let mut hash = Sha256::new();
    let mut write = |bytes: &[u8]| hash.update(bytes);
    let mut description = Description::new(&mut write);
    description.tag(title);
    describe(&mut description);
    Digest(hash.finalize().into())
}

pub(crate) fn of_network(input_shape: &[usize], nodes: &[Node]) -> Digest {
    of("lipbound network 1", |description| {
        description.sizes(input_shape);
        description.size(nodes.len());
        for node in nodes {
            description.sizes(&node.inputs);
            description.sizes(&node.shape);
            match &node.layer {
                Layer::Affine(Affine { operator, bias }) => {
                    description.tag("affine");
                    operator.describe(description);
                    let bias = bias.as_ref();
                    for part in [bias.map(|b| &b.values), bias.and_then(|b| b.errors.as_ref())] {
                        description.size(usize::from(part.is_some()));
                        part.into_iter().for_each(|part| description.numbers(part.iter().copied()));
                    }
                }
                Layer::Unit(units) => {
                    if let Units::Each { units, repeat } = units {
                        description.tag("units");
                        description.sizes(&[units.len(), *repeat]);
                    }
                    units.distinct().iter().for_each(|&unit| describe_unit(unit, description));
                }
                Layer::MaxPool(pool) => {
                    description.tag("max pool");
                    pool.describe(description);
                }
                Layer::Identity => description.tag("identity"),
                Layer::Add => description.tag("add"),
                Layer::Concat => description.tag("concat"),
            }
        }
    })
}

fn describe_unit(unit: Unit, description: &mut Description<'_>) {
    match unit {
        Unit::Relu => description.tag("relu"),
        Unit::LeakyRelu { slope } => {
            description.tag("leaky relu");
            description.number(slope);
        }
        Unit::Clip { low, high } => {
            description.tag("clip");
            description.numbers([low, high].into_iter());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_sha_256() {
        // The title is eight bytes of length, then itself.
        let mut hash = Sha256::new();
        hash.update(b"\x03\0\0\0\0\0\0\0abc");
        let digest = of("abc", |_| {});
        assert_eq!(digest.0, <[u8; 32]>::from(hash.finalize()));
        assert_eq!(
            Digest(Sha256::digest(b"abc").into()).to_string(),
            "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        );
    }

    #[test]
    fn digests_are_read_as_they_are_shown() {
        let digest = of("x", |d| d.numbers((0..2000).map(f64::from)));
        assert_eq!(digest.to_string().parse(), Ok(digest));
        for wrong in ["", "12", &"g".repeat(64), &"0".repeat(65)] {
            assert!(wrong.parse::<Digest>().is_err());
        }
    }

    #[test]
    fn pieces_do_not_run_together() {
        let a = of("x", |d| {
            d.sizes(&[1, 2]);
            d.sizes(&[]);
        });
        let b = of("x", |d| {
            d.sizes(&[1]);
            d.sizes(&[2]);
        });
        let c = of("x", |d| {
            d.tag("ab");
            d.tag("c");
        });
        let d = of("x", |d| {
            d.tag("a");
            d.tag("bc");
        });
        assert!(a != b && c != d);
    }
}
