//! What is known of a source of the network over the ball.

use lipbound_operators::rounding;

/// What is known of a source (the input or a stage's output) over the ball.
#[derive(Clone, Debug)]
pub(crate) struct Flow {
    /// Upper bound of `norm(dz) / norm(dx)`: the least that is known.
    pub gain: f64,
    /// The product of the constants of the stages before, with the lower ends of all norms and with the upper ends.
    pub product: (f64, f64),
    /// Radius of a ball that contains all `dz`.
    pub radius: f64,
    /// Bound of each `|dz_i|`.
    pub reach: Vec<f64>,
    /// Which elements may move.
    pub moves: Vec<bool>,
    /// Norm of the rounding error of the nominal value, over the elements that move.
    pub error: f64,
    /// The same over the elements that do not.
    pub still_error: f64,
    /// Whether all slopes at x0 itself are certain, up to here.
    pub smooth: bool,
}

impl Flow {
    /// The network's input, anywhere in the ball; `extents` says how far each element can move at all.
    pub fn input(elements: usize, epsilon: f64, extents: Option<&[f64]>) -> Self {
        let reach = match extents {
            Some(extents) => extents.iter().map(|extent| extent.min(epsilon)).collect(),
            None => vec![epsilon; elements],
        };
        Self {
            gain: 1.0,
            product: (1.0, 1.0),
            radius: extents.map_or(epsilon, |extents| epsilon.min(rounding::norm_up(extents))),
            // A ball of radius zero stands for arbitrarily small ones: only extents say that an element cannot move.
            moves: extents.map_or(vec![true; elements], |extents| extents.iter().map(|&e| e > 0.0).collect()),
            reach,
            error: 0.0,
            still_error: 0.0,
            smooth: true,
        }
    }

    /// Takes a smaller constant into account.
    pub fn tighten(&mut self, gain: f64, epsilon: f64) {
        if gain < self.gain {
            self.gain = gain;
            self.radius = self.radius.min(rounding::mul_up(epsilon, gain));
        }
    }

    pub fn element_error(&self, i: usize) -> f64 {
        if self.moves[i] { self.error } else { self.still_error }
    }

    /// The mask `D`, or `None` if everything moves.
    pub fn mask(&self) -> Option<Vec<f64>> {
        (!self.moves.iter().all(|&m| m)).then(|| self.moves.iter().map(|&m| f64::from(u8::from(m))).collect())
    }
}

/// A product of brackets with one more factor.
pub(crate) fn stretched((lower, upper): (f64, f64), norm_lower: f64, norm_upper: f64) -> (f64, f64) {
    (rounding::mul_down(lower, norm_lower).max(0.0), rounding::mul_up(upper, norm_upper))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_element_has_the_error_of_those_that_move_as_it_does() {
        let flow = Flow { error: 3.0, still_error: 7.0, ..Flow::input(2, 1.0, Some(&[0.5, 0.0])) };
        assert_eq!([flow.element_error(0), flow.element_error(1)], [3.0, 7.0]);
    }
}
