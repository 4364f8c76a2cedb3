//! From pods to what is known of a batch, and from that to its status.
//!
//! Pure. [`driver_facts`], [`executor_state`] and their like reduce a pod to the little that decides; [`outcome`] says
//! what that means for a batch; [`next_status`] writes it down without ever changing a final outcome.

mod deadlines;
mod ends;
mod executors;
mod facts;
mod mend;
mod outcome;
mod overdue;
mod queue;
mod retry;
mod status;

pub use deadlines::{Deadlines, look_again_at, pause_of, queued_since, startable_since, waiting_since};
pub use ends::{Disruption, DriverEnd, EndCause};
pub use executors::{
    ExecutorState, LACK_GRACE, Lack, LackCause, executor_failure, executor_state, executor_wait, lack, last_failures,
};
pub use facts::{DriverFacts, DriverState, driver_facts};
pub use mend::mended;
pub use outcome::{Outcome, outcome};
pub use overdue::{may_still_run, overdue_at, suspended_too_late};
pub use queue::{Limits, Place, Queue, Turn};
pub use retry::{RetryPolicy, jitter, status_or_next_attempt};
pub use status::{Observation, merge_patch, next_status};
