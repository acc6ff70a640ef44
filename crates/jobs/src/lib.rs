//! Jobs in lanes that share a few threads fairly.
//!
//! [`Lanes`] decides who is next and is pure: it is told what time it is. [`Queue`] puts a clock, a lock and waiting
//! threads around it. Neither knows what a job does.

mod lanes;
mod queue;

pub use lanes::{LaneId, Lanes, Ticket};
pub use queue::Queue;
