//! Claims while a bound is computed: not kept, written down, or read and held to account.
//!
//! All three kinds of run are the same computation (`walk.rs`), so what a claim has to satisfy is stated once. A run
//! that writes commits itself: it takes every number with a little room, writes that down, and goes on with what it
//! wrote. A run that reads computes the same from the claims of the stages before, which it has verified, without the
//! room; what it finds must lie inside the claim, and it goes on with the claim. So each stage rests on claims alone,
//! and the last bits, in which machines differ, are lost in the room.

use lipbound_operators::{LinearOperator, Workspace, rounding};
use lipbound_spectral::{Monitor, NormBracket, NormOptions};

use crate::{
    BoundError, Certificate, Slope, StageClaims, Unit, WholeClaim,
    flow::Flow,
    plan::{Action, Stage},
    prove::norm_at_most,
};

/// How much wider than necessary the ranges of pre-activations are taken.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    /// Factor of bounds of rounding errors. Computed values of two machines differ by both their errors, and the bounds
    /// of these are up to about eight times larger where sums are not spread over the lanes of a vector.
    error: f64,
    /// Factor of deviations. They are rounded up for sums of positive terms, whose order is a machine's own.
    deviation: f64,
}

impl Room {
    const NONE: Self = Self { error: 1.0, deviation: 1.0 };
    const WRITING: Self = Self { error: 32.0, deviation: 1.0 + 1e-9 };
    /// More than that of any writer.
    const DOUBT: Self = Self { error: 64.0, deviation: 1.0 + 2e-9 };

    pub fn error(self, error: f64) -> f64 {
        if self.error == 1.0 { error } else { rounding::mul_up(error, self.error) }
    }

    pub fn deviation(self, deviation: f64) -> f64 {
        if self.deviation == 1.0 { deviation } else { rounding::mul_up(deviation, self.deviation) }
    }
}

/// How much above a norm's upper end it is claimed to be: where that end is close to the norm, proofs on other machines
/// end a little above or below it.
const NORM_ROOM: f64 = 1.0 + 1e-6;

/// The claims of a run.
#[derive(Debug)]
pub(crate) enum Ledger<'a> {
    /// Nothing is claimed.
    Closed,
    /// What is found is claimed.
    Writing(Vec<StageClaims>),
    /// What is found must be inside what is claimed.
    Reading(Reader<'a>),
}

/// A certificate and how far it has been read.
#[derive(Debug)]
pub(crate) struct Reader<'a> {
    certificate: &'a Certificate,
    stage: usize,
    /// Name of the stage in the network at hand.
    name: String,
    slopes: usize,
    windows: usize,
}

impl<'a> Reader<'a> {
    pub fn new(certificate: &'a Certificate) -> Self {
        Self { certificate, stage: 0, name: String::new(), slopes: 0, windows: 0 }
    }

    fn claims(&self) -> &'a StageClaims {
        &self.certificate.stages[self.stage]
    }

    /// The norm of the stage's operator, proved to be what it is claimed to be.
    pub fn norm(
        &self,
        operator: &dyn LinearOperator,
        options: &NormOptions,
        monitor: &dyn Monitor,
        ws: &mut Workspace,
    ) -> Result<NormBracket, BoundError> {
        let claim = self.claims().norm.unwrap_or(f64::NAN);
        norm_at_most(operator, claim, options, monitor, ws).or_else(|error| self.about("its norm", error))
    }

    /// For every stage, whether a constant of the network up to it as a whole is claimed.
    pub fn certified_stages(&self) -> Vec<bool> {
        self.certificate.stages.iter().map(|claims| claims.whole.is_some()).collect()
    }

    /// Whether deviations are to be refined path by path.
    pub fn takes_paths(&self) -> bool {
        self.certificate.paths
    }

    /// The constant of the network as a whole that is claimed at this stage.
    pub fn whole(&self) -> Option<&'a WholeClaim> {
        self.claims().whole.as_ref()
    }

    /// Says where and of what a claim was refused.
    pub fn about<T>(&self, what: &str, error: BoundError) -> Result<T, BoundError> {
        match error {
            BoundError::Refused(reason) => self.refuse(format_args!("{what} {reason}")),
            other => Err(other),
        }
    }

    fn refuse<T>(&self, what: impl std::fmt::Display) -> Result<T, BoundError> {
        Err(BoundError::Refused(format!("stage {} '{}': {what}", self.stage, self.name)))
    }

    /// Whether a number that follows from the claims so far is inside one that is claimed.
    fn at_most(&self, what: &str, found: f64, claimed: f64) -> Result<f64, BoundError> {
        if found <= claimed {
            return Ok(claimed);
        }
        self.refuse(format_args!("{what} is claimed to be at most {claimed:?}, but only {found:?} follows"))
    }
}

/// Room of a slope that is claimed: a few units in the last place of one, of which slopes are differences.
const SLOPE_ROOM: f64 = 64.0 * rounding::UNIT_ROUNDOFF;

impl Ledger<'_> {
    /// The room with which ranges are taken.
    pub fn room(&self) -> Room {
        if matches!(self, Self::Writing(_)) { Room::WRITING } else { Room::NONE }
    }

    /// The room with which it is decided whether a range is worth more effort: a reader must not spend less than the
    /// writer did.
    pub fn doubt(&self) -> Room {
        if matches!(self, Self::Reading(_)) { Room::DOUBT } else { self.room() }
    }

    /// The same as a factor of work.
    pub fn patience(&self) -> usize {
        if matches!(self, Self::Reading(_)) { 2 } else { 1 }
    }

    /// Opens the page of a stage.
    ///
    /// # Errors
    /// If the certificate has claims that such a stage cannot have.
    pub fn begin(&mut self, index: usize, stage: &Stage) -> Result<(), BoundError> {
        match self {
            Self::Closed => {}
            Self::Writing(pages) => {
                pages.push(StageClaims { name: stage.name.clone(), ..StageClaims::default() });
            }
            Self::Reading(reader) => {
                *reader = Reader { stage: index, name: stage.name.clone(), ..Reader::new(reader.certificate) };
                let has_norm = matches!(stage.action, Action::Affine { operator: Some(_), .. });
                match (has_norm, reader.claims().norm) {
                    (true, None) => return reader.refuse("it has an operator, but no norm is claimed"),
                    (false, Some(_)) => return reader.refuse("a norm is claimed, but it has no operator"),
                    _ => {}
                }
            }
        }
        Ok(())
    }

    /// The slope interval of the next unit of the stage.
    pub fn slope(&mut self, unit: Unit, found: Slope) -> Result<Slope, BoundError> {
        if matches!(self, Self::Closed) {
            return Ok(found);
        }
        // Outward rounding may have left the interval of all slopes there are, and a unit that stays exactly at its kink
        // stays on both of its pieces, which leaves no slope between them.
        let all = unit.global_slopes();
        let (low, high) = if found.low > found.high { (found.high, found.low) } else { (found.low, found.high) };
        // An end that is no number becomes that of all slopes.
        let found = Slope { low: low.max(all.low), high: high.min(all.high) };
        match self {
            Self::Closed => Ok(found),
            Self::Writing(pages) => {
                // Far from its kinks a unit's slope may be all rounding: an end that is not that of all slopes gets room.
                let inside = |end: f64| all.low < end && end < all.high;
                let Slope { low, high } = found;
                let found = Slope {
                    low: if inside(low) { (low - SLOPE_ROOM).max(all.low) } else { low },
                    high: if inside(high) { (high + SLOPE_ROOM).min(all.high) } else { high },
                };
                page(pages).slopes.push(found);
                Ok(found)
            }
            Self::Reading(reader) => {
                let i = reader.slopes;
                reader.slopes += 1;
                let Some(&claimed) = reader.claims().slopes.get(i) else {
                    return reader.refuse(format_args!(
                        "it has more units than the {} slope intervals that are claimed",
                        reader.claims().slopes.len()
                    ));
                };
                if !(all.low <= claimed.low && claimed.low <= claimed.high && claimed.high <= all.high) {
                    return reader.refuse(format_args!(
                        "the claimed slopes [{:?}, {:?}] of unit {i} are no interval inside [{:?}, {:?}], all that it has",
                        claimed.low, claimed.high, all.low, all.high
                    ));
                }
                if !(claimed.low <= found.low && found.high <= claimed.high) {
                    return reader.refuse(format_args!(
                        "unit {i} may have any slope in [{:?}, {:?}], but is claimed to stay inside [{:?}, {:?}]",
                        found.low, found.high, claimed.low, claimed.high
                    ));
                }
                Ok(claimed)
            }
        }
    }

    /// The elements of a pool's next window that may be its maximum, in the order in which they join.
    pub fn candidates(&mut self, window: &[u32], found: &mut Vec<usize>) -> Result<(), BoundError> {
        match self {
            Self::Closed => {}
            Self::Writing(pages) => page(pages).candidates.push(found.clone()),
            Self::Reading(reader) => {
                let i = reader.windows;
                reader.windows += 1;
                let Some(claimed) = reader.claims().candidates.get(i) else {
                    return reader.refuse(format_args!(
                        "it has more windows than the {} whose candidates are claimed",
                        reader.claims().candidates.len()
                    ));
                };
                let mut sorted = claimed.clone();
                sorted.sort_unstable();
                if let Some(pair) = sorted.windows(2).find(|pair| pair[0] == pair[1]) {
                    return reader.refuse(format_args!("element {} is twice a candidate of window {i}", pair[0]));
                }
                if let Some(j) = sorted.iter().find(|&&j| !window.iter().any(|&member| member as usize == j)) {
                    return reader.refuse(format_args!("element {j} is a candidate of window {i}, but not in it"));
                }
                if let Some(j) = found.iter().find(|j| sorted.binary_search(j).is_err()) {
                    return reader.refuse(format_args!(
                        "element {j} may be the maximum of window {i}, but is not among its candidates"
                    ));
                }
                found.clone_from(claimed);
            }
        }
        Ok(())
    }

    /// A norm that was found, as it is claimed.
    pub fn found_norm(&mut self, norm: NormBracket) -> NormBracket {
        let Self::Writing(pages) = self else { return norm };
        let upper = rounding::mul_up(norm.upper, NORM_ROOM);
        page(pages).norm = Some(upper);
        NormBracket { upper, ..norm }
    }

    /// The factor by which norms are claimed to be larger than they were found.
    pub fn norm_room(&self) -> f64 {
        if matches!(self, Self::Writing(_)) { NORM_ROOM } else { 1.0 }
    }

    /// A constant of the network as a whole that was found and is the least known.
    pub fn found_whole(&mut self, claim: WholeClaim) {
        if let Self::Writing(pages) = self {
            page(pages).whole = Some(claim);
        }
    }

    /// Closes the page of a stage.
    pub fn end(&mut self, output: &mut Flow) -> Result<(), BoundError> {
        match self {
            Self::Closed => {}
            Self::Writing(pages) => {
                let page = page(pages);
                (page.gain, page.radius) = (output.gain, output.radius);
            }
            Self::Reading(reader) => {
                let claims = reader.claims();
                for (what, claimed, used) in [
                    ("slope intervals", claims.slopes.len(), reader.slopes),
                    ("windows", claims.candidates.len(), reader.windows),
                ] {
                    if claimed != used {
                        return reader.refuse(format_args!("{claimed} {what} are claimed, but it has {used}"));
                    }
                }
                output.gain = reader.at_most("the constant up to here", output.gain, claims.gain)?;
                output.radius = reader.at_most("the radius", output.radius, claims.radius)?;
            }
        }
        Ok(())
    }
}

fn page(pages: &mut [StageClaims]) -> &mut StageClaims {
    pages.last_mut().expect("a stage has begun")
}
