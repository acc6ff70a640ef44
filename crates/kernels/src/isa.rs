//! Which instruction set a kernel uses: detection, a process-wide override, and proof that a set can run here.
//!
//! Every packed object is built for one [`Isa`] and keeps it. [`Isa::selected`] is what production code passes: the
//! best set of this processor, unless the environment variable `LIPBOUND_ISA` (`avx512`, `avx2` or `portable`, read
//! once) says otherwise. Tests pass a set of their own, so all of them can be tried in one process. A set that the
//! processor lacks is an error wherever it is asked for, so no kernel ever meets an instruction it cannot execute.

use std::fmt;
use std::str::FromStr;
use std::sync::OnceLock;

/// The environment variable that overrides the choice.
pub const ISA_VARIABLE: &str = "LIPBOUND_ISA";

/// An instruction set that the kernels are written for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Isa {
    /// Plain Rust, vectorised by the compiler for the baseline of the target.
    Portable,
    /// AVX2 and FMA: 256-bit vectors.
    Avx2,
    /// AVX-512 F, VL, DQ and BW: 512-bit vectors.
    Avx512,
}

/// An instruction set was asked for that is unknown or that this processor lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IsaError(String);

impl fmt::Display for IsaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for IsaError {}

impl fmt::Display for Isa {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Isa {
    type Err = IsaError;

    fn from_str(text: &str) -> Result<Self, IsaError> {
        Self::ALL
            .into_iter()
            .find(|isa| isa.name() == text)
            .ok_or_else(|| IsaError(format!("unknown instruction set '{text}': allowed are avx512, avx2 and portable")))
    }
}

impl Isa {
    /// All sets, the plainest first.
    pub const ALL: [Self; 3] = [Self::Portable, Self::Avx2, Self::Avx512];

    /// The name that `LIPBOUND_ISA` uses.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Portable => "portable",
            Self::Avx2 => "avx2",
            Self::Avx512 => "avx512",
        }
    }

    /// Position in [`Self::ALL`].
    #[must_use]
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Whether this processor (and operating system) can run it.
    #[must_use]
    pub fn is_supported(self) -> bool {
        match self {
            Self::Portable => true,
            #[cfg(target_arch = "x86_64")]
            Self::Avx2 => is_x86_feature_detected!("avx2") && is_x86_feature_detected!("fma"),
            #[cfg(target_arch = "x86_64")]
            Self::Avx512 => {
                Self::Avx2.is_supported()
                    && is_x86_feature_detected!("avx512f")
                    && is_x86_feature_detected!("avx512vl")
                    && is_x86_feature_detected!("avx512dq")
                    && is_x86_feature_detected!("avx512bw")
            }
            #[cfg(not(target_arch = "x86_64"))]
            _ => false,
        }
    }

    /// The sets that this processor can run, the plainest first.
    pub fn supported() -> impl Iterator<Item = Self> {
        Self::ALL.into_iter().filter(|isa| isa.is_supported())
    }

    /// The best set of this processor; the environment is not asked.
    #[must_use]
    pub fn detect() -> Self {
        Self::supported().last().unwrap_or(Self::Portable)
    }

    /// `Ok(self)` if this processor can run it.
    ///
    /// # Errors
    /// An [`IsaError`] that names the set and what this processor can do.
    pub fn require(self) -> Result<Self, IsaError> {
        if self.is_supported() {
            return Ok(self);
        }
        let able: Vec<_> = Self::supported().map(Self::name).collect();
        Err(IsaError(format!("this processor cannot run {self} kernels, only {}", able.join(" and "))))
    }

    /// The set that this process uses: `LIPBOUND_ISA` if it is set and not empty, else [`Self::detect`]. The variable
    /// is read once.
    ///
    /// # Errors
    /// If the variable names no set, or one that this processor lacks.
    pub fn selected() -> Result<Self, IsaError> {
        static SELECTED: OnceLock<Result<Isa, IsaError>> = OnceLock::new();
        SELECTED.get_or_init(|| Self::parse_override(std::env::var_os(ISA_VARIABLE).as_deref())).clone()
    }

    fn parse_override(value: Option<&std::ffi::OsStr>) -> Result<Self, IsaError> {
        match value {
            None => Ok(Self::detect()),
            Some(text) if text.is_empty() => Ok(Self::detect()),
            Some(text) => text
                .to_string_lossy()
                .parse::<Self>()
                .and_then(Self::require)
                .map_err(|error| IsaError(format!("{ISA_VARIABLE}: {error}"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ffi::OsStr;

    #[test]
    fn the_override_is_validated() {
        assert_eq!(Isa::parse_override(None), Ok(Isa::detect()));
        assert_eq!(Isa::parse_override(Some(OsStr::new(""))), Ok(Isa::detect()));
        assert_eq!(Isa::parse_override(Some(OsStr::new("portable"))), Ok(Isa::Portable));
        let error = Isa::parse_override(Some(OsStr::new("sse9"))).unwrap_err().to_string();
        assert!(error.contains("LIPBOUND_ISA") && error.contains("sse9") && error.contains("avx512"), "{error}");
        for isa in Isa::ALL {
            let forced = Isa::parse_override(Some(OsStr::new(isa.name())));
            assert_eq!(forced.is_ok(), isa.is_supported());
        }
    }

    #[test]
    fn detection_gives_the_best_supported_set() {
        assert!(Isa::detect().is_supported());
        assert!(Isa::supported().all(|isa| isa <= Isa::detect()));
    }
}
