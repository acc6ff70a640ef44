//! Cheap deterministic upper ends: what row norms and sums of magnitudes say. docs/soundness.md, (K1) to (K3).

use lipbound_operators::{LinearOperator, Workspace, rounding};

use crate::{
    bracket::Method,
    monitor::{Context, Stop},
};

/// Multiply-adds of an operator for which two more products are nothing.
const CHEAP_PASS: usize = 1 << 22;
/// Most steps of the Collatz-Wielandt iteration, and the gain below which it ends.
const STEPS: usize = 12;
const WORTHWHILE: f64 = 1e-3;

/// Upper ends that cost a few products at most.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Caps {
    /// Upper bound of the norm of the absolute operator, which scales the rounding bounds.
    pub abs_norm: f64,
    /// The least of the upper ends, and whose it is.
    pub cap: f64,
    pub method: Method,
}

impl Caps {
    /// Frobenius norm and row and column sums; for small operators also one step of Collatz-Wielandt.
    pub fn new(operator: &dyn LinearOperator, ws: &mut Workspace) -> Self {
        let mut norms = ws.take(operator.rows());
        operator.row_norms(None, &mut norms, ws);
        let frobenius = rounding::norm_up(&norms);
        ws.give(norms);
        let sums = operator.abs_norm();
        let (cap, method) =
            if frobenius <= sums { (frobenius, Method::Frobenius) } else { (sums, Method::RowColumnSums) };
        let mut this = Self { abs_norm: sums, cap, method };
        if operator.multiply_adds() <= CHEAP_PASS && is_positive(sums) {
            let mut iteration = CollatzWielandt::new(operator, sums, ws);
            this.improve(iteration.step(operator, ws));
            iteration.end(ws);
        }
        this
    }

    fn improve(&mut self, abs_norm: f64) {
        self.abs_norm = self.abs_norm.min(abs_norm);
        if abs_norm < self.cap {
            (self.cap, self.method) = (abs_norm, Method::CollatzWielandt);
        }
    }

    /// Iterates Collatz-Wielandt while that helps.
    pub fn refine(
        &mut self,
        operator: &dyn LinearOperator,
        context: &Context<'_>,
        ws: &mut Workspace,
    ) -> Result<(), Stop> {
        if !is_positive(self.abs_norm) {
            return Ok(());
        }
        let mut iteration = CollatzWielandt::new(operator, self.abs_norm, ws);
        let mut previous = f64::INFINITY;
        for _ in 0..STEPS {
            context.check()?;
            let bound = iteration.step(operator, ws);
            self.improve(bound);
            if bound.is_nan() || bound >= previous * (1.0 - WORTHWHILE) {
                break;
            }
            previous = bound;
        }
        iteration.end(ws);
        Ok(())
    }
}

fn is_positive(value: f64) -> bool {
    value > 0.0 && value.is_finite()
}

/// The spectral radius of a matrix `B >= 0` is at most `max_i (B x)_i / x_i` for any `x > 0` (Collatz and Wielandt), here
/// with `B = |A|^T |A|`, whose radius is `norm(|A|)^2 >= norm(A)^2`: (K3). The vector of ones gives `norm(B)_inf`; taking
/// `B x` for the next `x` never raises the bound, but for rounding.
struct CollatzWielandt {
    /// Elements from [`FLOOR`] to about two.
    x: Vec<f64>,
    scaled: Vec<f64>,
    y: Vec<f64>,
    /// A power of two that brings `A` near one, so that `B` neither overflows nor vanishes.
    scale: f64,
}

/// Any positive vector is good: a floor keeps it positive, and quotients by it in range.
const FLOOR: f64 = 1e-12;
/// More than what underflow can take from a quotient, with the operator scaled to a norm near one.
const UNDERFLOW: f64 = 1e-280;

impl CollatzWielandt {
    /// `abs_norm` is a positive upper bound of `norm(|A|)`.
    fn new(operator: &dyn LinearOperator, abs_norm: f64, ws: &mut Workspace) -> Self {
        let mut x = ws.take(operator.cols());
        x.fill(1.0);
        let scale = 1.0 / rounding::power_of_two_near(abs_norm);
        Self { x, scaled: ws.take(operator.cols()), y: ws.take(operator.rows()), scale }
    }

    fn step(&mut self, operator: &dyn LinearOperator, ws: &mut Workspace) -> f64 {
        self.scaled.iter_mut().zip(&self.x).for_each(|(scaled, x)| *scaled = x * self.scale);
        operator.apply_abs(&self.scaled, &mut self.y, ws);
        self.y.iter_mut().for_each(|y| *y *= self.scale);
        let image = &mut self.scaled;
        operator.apply_abs_adjoint(&self.y, image, ws);
        let ratio = self.x.iter().zip(&*image).fold(0.0, |m: f64, (&x, &image)| {
            let ratio = rounding::div_up(image, x);
            if ratio.is_nan() { f64::INFINITY } else { m.max(ratio) }
        });
        let largest = rounding::max_or_infinite(image);
        if largest > 0.0 && largest.is_finite() {
            let size = rounding::power_of_two_near(largest);
            self.x.iter_mut().zip(&*image).for_each(|(x, &image)| *x = (image / size).max(FLOOR));
        }
        rounding::div_up(rounding::sqrt_up(rounding::add_up(ratio, UNDERFLOW)), self.scale)
    }

    fn end(self, ws: &mut Workspace) {
        ws.give(self.x);
        ws.give(self.scaled);
        ws.give(self.y);
    }
}
