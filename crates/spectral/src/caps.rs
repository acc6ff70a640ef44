//! Cheap deterministic upper ends: what row norms and sums of magnitudes say. docs/soundness.md, (K1) to (K3).

use lipbound_operators::{LinearOperator, Workspace, rounding};

use crate::{
    bracket::Method,
    monitor::{Context, Stop},
};

/// Multiply-adds of an operator for which two more products are nothing.
pub const CHEAP_PASS: usize = 1 << 22;
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
    image: Vec<f64>,
    y: Vec<f64>,
    /// What underflow can take from an element of a product with `|A|` or its adjoint.
    lost: f64,
    /// `norm_inf(|A|^T)` is at most this.
    adjoint_sums: f64,
}

/// Any positive vector is good: a floor keeps it positive, and quotients by it in range.
const FLOOR: f64 = 1e-12;

impl CollatzWielandt {
    /// `abs_norm` is a positive upper bound of `norm(|A|)`.
    fn new(operator: &dyn LinearOperator, abs_norm: f64, ws: &mut Workspace) -> Self {
        let mut x = ws.take(operator.cols());
        x.fill(1.0);
        let adjoint_sums = rounding::mul_up(rounding::sqrt_up(operator.rows() as f64), abs_norm);
        let (image, y) = (ws.take(operator.cols()), ws.take(operator.rows()));
        Self { x, image, y, lost: operator.lost(), adjoint_sums }
    }

    fn step(&mut self, operator: &dyn LinearOperator, ws: &mut Workspace) -> f64 {
        let Self { x, image, y, .. } = self;
        operator.apply_abs(x, y, ws);
        // Between the two products the vector is brought near one, whatever `A` did to it.
        let size = rounding::power_of_two_near(rounding::max_or_infinite(y).max(f64::MIN_POSITIVE));
        y.iter_mut().for_each(|y| *y /= size);
        operator.apply_abs_adjoint(y, image, ws);
        // What was lost before the adjoint, by the scaling too, is multiplied by it.
        let before = rounding::add_up(rounding::div_up(self.lost, size), f64::MIN_POSITIVE);
        let lost = rounding::add_up(self.lost, rounding::mul_up(self.adjoint_sums, before));
        let ratio = x.iter().zip(&*image).fold(0.0, |m: f64, (&x, &image)| {
            let ratio = rounding::div_up(rounding::add_up(image, lost), x);
            if ratio.is_nan() { f64::INFINITY } else { m.max(ratio) }
        });
        let largest = rounding::max_or_infinite(image);
        if largest > 0.0 && largest.is_finite() {
            let size = rounding::power_of_two_near(largest);
            x.iter_mut().zip(&*image).for_each(|(x, &image)| *x = (image / size).max(FLOOR));
        }
        rounding::mul_up(rounding::sqrt_up(ratio), rounding::sqrt_up(size))
    }

    fn end(self, ws: &mut Workspace) {
        ws.give(self.x);
        ws.give(self.image);
        ws.give(self.y);
    }
}
