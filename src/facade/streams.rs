//! Answers that go on: logs that are followed, batches that are watched, pages of a Spark UI. They are not held to
//! the time limit of other requests, so they are counted on their own and end when the process does.

use std::sync::Arc;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::error::ApiError;

/// The streams of one process.
pub(super) struct Streams {
    permits: Arc<Semaphore>,
    closing: CancellationToken,
}

/// One stream's place; given back when dropped. Keep it with what feeds the body.
pub(super) struct Permit {
    _permit: OwnedSemaphorePermit,
    /// Cancelled when the process is about to end: the stream is to end, too.
    pub(super) closing: CancellationToken,
}

impl Streams {
    /// At most `limit` streams, until `closing`.
    pub(super) fn new(limit: usize, closing: CancellationToken) -> Self {
        Self { permits: Arc::new(Semaphore::new(limit.min(Semaphore::MAX_PERMITS))), closing }
    }

    /// A place for one more stream; 503 if there is none.
    pub(super) fn permit(&self) -> Result<Permit, ApiError> {
        let permit = Arc::clone(&self.permits).try_acquire_owned();
        let permit = permit.map_err(|_| ApiError::unavailable("too many streams are open at once; try again"))?;
        Ok(Permit { _permit: permit, closing: self.closing.clone() })
    }

    /// Streams that may yet be opened.
    pub(super) fn free(&self) -> usize {
        self.permits.available_permits()
    }

    /// Tells every stream to end.
    pub(super) fn close(&self) {
        self.closing.cancel();
    }
}
