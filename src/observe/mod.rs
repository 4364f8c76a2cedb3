//! From pods to what is known of a batch, and from that to its status.
//!
//! Pure. [`driver_facts`] and [`executor_state`] reduce a pod to the little that decides; [`outcome`] says
//! what that means for a batch; [`next_status`] writes it down without ever changing a final outcome.

mod deadlines;
mod facts;
mod outcome;
mod retry;
mod status;

pub use deadlines::{Deadlines, look_again_at};
pub use facts::{DriverEnd, DriverFacts, DriverState, EndCause, ExecutorState, driver_facts, executor_state};
pub use outcome::{Outcome, outcome};
pub use retry::{RetryPolicy, status_or_next_attempt};
pub use status::{Observation, merge_patch, next_status};
