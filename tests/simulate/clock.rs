//! One time for all: tokio's, which stands still until everybody waits, and then moves on to whoever waits least.

use std::cell::Cell;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use tokio::time::Instant;

/// 2026-01-01T00:00:00Z.
const EPOCH: Timestamp = Timestamp::constant(1_767_225_600, 0);

thread_local! {
    /// When the schedule of this thread began.
    static START: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Begins a schedule on this thread, inside of its runtime.
pub fn start() {
    START.set(Some(Instant::now()));
}

/// Time since the schedule began.
pub fn elapsed() -> Duration {
    START.get().map_or(Duration::ZERO, |start| start.elapsed())
}

/// The time of day, for the controller and for the API server.
pub fn now() -> Timestamp {
    EPOCH + SignedDuration::try_from(elapsed()).unwrap_or(SignedDuration::MAX)
}
