//! A log as a stream of lines, to the end of its container.
//!
//! What is there already is read to its end; what comes then is followed, from the last line on. Whenever a
//! following ends, the log is read on from that line, so that a connection that breaks loses and repeats nothing. Lines
//! are read only as fast as the client takes them.
//!
//! The stream ends where the container ends. If it ends for anything else, it breaks off, as HTTP tells its client.

use std::io;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::response::Response;
use futures::{FutureExt as _, StreamExt as _, stream};
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method};
use tokio::sync::mpsc::{Sender, channel};
use tokio::time::{sleep, timeout};

use super::index::{Known, ReadAgain, Resume};
use super::lines::{Line, Lines};
use super::page::Frame;
use super::reading::Reading;
use super::source::{NoLog, Source, Way};
use super::{ApiError, AppState, Log};
use crate::livy::{BatchView, LogWindow};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
/// How long a log is followed.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);
/// How long a following may be silent before it is begun again: its connection may be dead.
const SILENCE: Duration = Duration::from_secs(5 * 60);
/// First pause between two tries. Each is twice the one before.
const SHORTEST_PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);
/// Failures in a row, at which a stream breaks off: after half a minute.
const MAX_FAILURES: u32 = 8;
/// Lines that are sent at once, in bytes.
const CHUNK: usize = 64 * 1024;
/// The last lines among which a following looks for the one that was read last.
const TAIL: usize = 1000;

/// The log as a stream: the lines of `window`, of whose `size` only the end of a log takes notice, and all that follow.
pub(super) async fn answer(log: &Log<'_>, window: LogWindow, method: &Method) -> Result<Response, ApiError> {
    let mut response = Response::new(Body::empty());
    response.headers_mut().insert(CONTENT_TYPE, TEXT);
    // What is wrong at once is told while there is a status to tell it by.
    let opened = async { log.source()?.open(log.state, Some(0), false).await };
    if let Err(none) = opened.await {
        log.forgive(none)?;
    }
    if *method == Method::HEAD {
        return Ok(response);
    }
    let permit = log.state.streams.permit()?;
    let (out, mut lines) = channel(1);
    let following = Following::of(log, out);
    let work = async move {
        // All of it, and not just the part that is named below.
        let permit = permit;
        tokio::select! {
            () = permit.closing.cancelled() => Err(io::Error::other("the process ends")),
            () = sleep(LONGEST) => Err(io::Error::other("the log was followed for its longest time")),
            end = following.run(window) => end,
        }
    };
    // Both are driven by the client that reads, and dropped with its connection.
    let lines = stream::poll_fn(move |context| lines.poll_recv(context)).map(Ok);
    let failure = work.into_stream().filter_map(async |end| end.err().map(Err));
    *response.body_mut() = Body::from_stream(stream::select(lines, Box::pin(failure)));
    Ok(response)
}

/// How long to wait before the next try.
#[derive(Default)]
struct Patience {
    tries: u32,
    failures: u32,
}

impl Patience {
    /// After a try that brought lines or not, and failed or not; `None` after too many failures.
    fn pause(&mut self, grew: bool, has_failed: bool) -> Option<Duration> {
        if grew {
            *self = Self::default();
        }
        self.failures = if has_failed { self.failures + 1 } else { 0 };
        let pause = SHORTEST_PAUSE.saturating_mul(2_u32.saturating_pow(self.tries)).min(LONGEST_PAUSE);
        self.tries += 1;
        (self.failures <= MAX_FAILURES).then_some(pause)
    }
}

struct Following {
    state: AppState,
    namespace: String,
    view: BatchView,
    executor: Option<i32>,
    source: Option<Source>,
    known: Known,
    /// Offset of the next line to send.
    next: usize,
    /// Lines that there are.
    total: usize,
    /// Lines that are about to be sent.
    chunk: String,
    out: Sender<Bytes>,
}

impl From<ReadAgain> for NoLog {
    fn from(_: ReadAgain) -> Self {
        Self::NotYet
    }
}

impl Following {
    fn of(log: &Log<'_>, out: Sender<Bytes>) -> Self {
        Self {
            state: log.state.clone(),
            namespace: log.namespace.to_owned(),
            view: log.view.clone(),
            executor: log.executor,
            source: None,
            known: Known::default(),
            next: 0,
            total: 0,
            chunk: String::new(),
            out,
        }
    }

    async fn run(mut self, window: LogWindow) -> io::Result<()> {
        let (mut patience, mut is_ended) = (Patience::default(), false);
        loop {
            let is_over = self.is_over() || is_ended;
            let before = (self.total, self.next);
            let outcome = self.read_on(window, is_over).await;
            self.send().await;
            let grew = (self.total, self.next) != before;
            let has_failed = matches!(outcome, Err(NoLog::Failed(_)));
            match outcome {
                Ok(()) | Err(NoLog::NotYet | NoLog::Missing) if is_over => return Ok(()),
                Err(NoLog::Missing) if self.executor.is_some() || self.total > 0 => return Ok(()),
                // An end after which nothing came, of a log that has lines, is the container's.
                Ok(()) => is_ended = !grew && self.total > 0,
                Err(NoLog::Missing) => self.source = None,
                Err(NoLog::NotYet | NoLog::Failed(_)) => {}
            }
            let Some(pause) = patience.pause(grew, has_failed) else {
                return Err(io::Error::other("the log cannot be read"));
            };
            sleep(pause).await;
        }
    }

    /// Whether no more can come: the batch has ended or is gone.
    fn is_over(&mut self) -> bool {
        match self.state.batches.by_id(&self.namespace, self.view.id) {
            Some(view) if view.uid == self.view.uid => {
                self.view = BatchView::clone(&view);
                view.phase.is_final()
            }
            _ => true,
        }
    }

    async fn read_on(&mut self, window: LogWindow, is_over: bool) -> Result<(), NoLog> {
        if self.source.is_none() {
            self.begin(window).await?;
        }
        self.catch_up(is_over).await?;
        if is_over { Ok(()) } else { self.pass_on().await }
    }

    /// Finds the first line to send.
    async fn begin(&mut self, window: LogWindow) -> Result<(), NoLog> {
        let Self { state, namespace, view, executor, .. } = &*self;
        let log = Log { state, namespace, view, executor: *executor };
        let source = log.source()?;
        let from = match window {
            LogWindow::From { from, .. } => from,
            LogWindow::Last(_) => log.lines(window, Frame::default()).await?.from,
        };
        self.known = state.logs.of(&source.key()).lock().await.clone();
        (self.source, self.next) = (Some(source), from);
        Ok(())
    }

    /// Reads what there is, to its end. A last line that may still grow is left, unless no more can come.
    async fn catch_up(&mut self, is_over: bool) -> Result<(), NoLog> {
        let source = self.source.clone().ok_or(NoLog::Missing)?;
        let state = self.state.clone();
        let start = self.known.start(LogWindow::From { from: self.next, size: 0 });
        let mut reading = Reading::begin(&mut self.known, start, &Way { state: &state, source: &source }).await?;
        while let Some((offset, line)) = reading.next(&mut self.known).await? {
            if line.is_ended || is_over {
                self.take(offset, &line);
            }
            if self.chunk.len() >= CHUNK {
                self.send().await;
            }
        }
        Ok(())
    }

    /// Follows the log from the last line that is known, to the container's end.
    async fn pass_on(&mut self) -> Result<(), NoLog> {
        let mut resume = Resume::after(&self.known, TAIL);
        let source = self.source.as_ref().ok_or(NoLog::Missing)?;
        let mut lines = Lines::of(source.open(&self.state, resume.tail(), true).await?);
        let mut offset = self.known.counted();
        loop {
            // A connection may be dead, and nobody told.
            let mut next = timeout(SILENCE, lines.next()).await.map_err(|_| NoLog::NotYet)?;
            loop {
                let Some(line) = next? else { return Ok(()) };
                if line.is_ended && resume.is_new(line.time)? {
                    self.known.learn(&line);
                    self.take(offset, &line);
                    offset += 1;
                }
                if self.chunk.len() >= CHUNK {
                    break;
                }
                match lines.next().now_or_never() {
                    Some(more) => next = more,
                    None => break,
                }
            }
            self.send().await;
        }
    }

    fn take(&mut self, offset: usize, line: &Line<'_>) {
        self.total = self.total.max(offset + 1);
        if offset >= self.next {
            self.next = offset + 1;
            self.chunk.push_str(&line.text());
            self.chunk.push('\n');
        }
    }

    /// Waits until the client takes more.
    async fn send(&mut self) {
        let chunk = std::mem::take(&mut self.chunk);
        if !chunk.is_empty() {
            // If nobody is there to take it, nobody drives this work any more.
            drop(self.out.send(chunk.into()).await);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_come_ever_slower_until_something_comes() {
        let mut patience = Patience::default();
        let mut pause = |grew| patience.pause(grew, false).unwrap().as_millis();
        assert_eq!([pause(true), pause(false), pause(false)], [250, 500, 1000]);
        assert!((0..100).all(|_| pause(false) <= 5000));
        assert_eq!(pause(true), 250);
    }

    #[test]
    fn patience_ends_after_half_a_minute_of_failures() {
        let mut patience = Patience::default();
        let waited: Duration = std::iter::from_fn(|| patience.pause(false, true)).sum();
        assert!((Duration::from_secs(20)..Duration::from_secs(40)).contains(&waited), "{waited:?}");
        let mut patience = Patience::default();
        assert!((0..100).all(|_| patience.pause(true, true).is_some()));
        assert!((0..100).all(|n| patience.pause(false, n % 2 == 0).is_some()));
    }
}
