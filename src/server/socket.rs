//! A socket that keeps time: a client that is too slow loses its connection.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep, sleep_until};

use super::ConnectionLimits;

/// Where a connection is. Its socket sees bytes, and its service sees requests; together they know.
#[derive(Clone)]
pub(super) struct Pace {
    phase: Arc<Mutex<Phase>>,
    head: Duration,
    stall: Duration,
    answer: Duration,
}

struct Phase {
    stage: Stage,
    /// When the stage has to be over.
    deadline: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    /// Between requests.
    Idle,
    /// Some of a request's head has come.
    Head,
    /// A request is being worked on.
    Request,
    /// The answer's body goes out.
    Answer,
    /// The answer's body is complete, and some of it may not have been written yet.
    Rest,
}

impl Pace {
    pub(super) fn new(limits: &ConnectionLimits) -> Self {
        let phase = Phase { stage: Stage::Idle, deadline: None };
        let ConnectionLimits { head, stall, answer, .. } = *limits;
        Self { phase: Arc::new(Mutex::new(phase)), head, stall, answer }
    }

    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, stage: Stage, deadline: Option<Instant>) {
        *self.phase() = Phase { stage, deadline };
    }

    pub(super) fn is_idle(&self) -> bool {
        self.phase().stage == Stage::Idle
    }

    /// The head is complete. From here on the router keeps the time.
    pub(super) fn request_begins(&self) {
        self.set(Stage::Request, None);
    }

    /// An answer whose length is not known goes on as long as it likes, and as its client reads.
    pub(super) fn answer_begins(&self, has_length: bool) {
        self.set(Stage::Answer, has_length.then(|| Instant::now() + self.answer));
    }

    fn body_ended(&self) {
        let deadline = self.phase().deadline.unwrap_or_else(|| Instant::now() + self.answer);
        self.set(Stage::Rest, Some(deadline));
    }

    fn bytes_came(&self) {
        if self.is_idle() {
            self.set(Stage::Head, Some(Instant::now() + self.head));
        }
    }

    fn written(&self) {
        if self.phase().stage == Stage::Rest {
            self.set(Stage::Idle, None);
        }
    }
}

/// A body that says when it is over.
pub(super) struct Timed {
    body: Body,
    pace: Pace,
}

impl Timed {
    pub(super) fn new(body: Body, pace: Pace) -> Self {
        Self { body, pace }
    }
}

impl HttpBody for Timed {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Timed {
    fn drop(&mut self) {
        self.pace.body_ended();
    }
}

/// The socket. Reading and writing fail once a deadline is over.
pub(super) struct Socket<S> {
    stream: S,
    pace: Pace,
    /// When the client has to have read something.
    stalled: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
    is_cut: bool,
}

impl<S> Socket<S> {
    pub(super) fn new(stream: S, pace: Pace) -> Self {
        Self { stream, pace, stalled: None, timer: None, is_cut: false }
    }

    /// Whether its time was over.
    pub(super) fn is_cut(&self) -> bool {
        self.is_cut
    }

    pub(super) fn into_inner(self) -> S {
        self.stream
    }

    /// Waits for the next deadline, if there is one, and fails when it is over.
    fn poll_deadline<T>(&mut self, context: &mut Context<'_>) -> Poll<io::Result<T>> {
        let deadline = self.pace.phase().deadline;
        let Some(deadline) = deadline.into_iter().chain(self.stalled).min() else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(deadline)));
        if timer.deadline() != deadline {
            timer.as_mut().reset(deadline);
        }
        ready!(timer.as_mut().poll(context));
        self.is_cut = true;
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the client is too slow")))
    }

    fn poll_written<T>(&mut self, context: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.stalled = None;
            return polled;
        }
        self.stalled.get_or_insert_with(|| Instant::now() + self.pace.stall);
        self.poll_deadline(context)
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Socket<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        match Pin::new(&mut self.stream).poll_read(context, buffer) {
            Poll::Ready(result) => {
                if buffer.filled().len() > before {
                    self.pace.bytes_came();
                }
                Poll::Ready(result)
            }
            Poll::Pending => self.poll_deadline(context),
        }
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Socket<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.poll_written(context, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write_vectored(context, pieces);
        self.poll_written(context, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when it has written all that it has. TLS may hold some of it until the client reads.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.stream).poll_flush(context);
        ready!(self.poll_written(context, polled))?;
        self.pace.written();
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
