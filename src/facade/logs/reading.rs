//! A log read from one of its lines to its end, each line with its offset.

use std::io;

use futures::io::AsyncBufRead;

use super::index::{Known, Numbering, ReadAgain};
use super::lines::{Line, Lines};
use super::source::{NoLog, Open};
use crate::facade::error::ApiError;

/// How many more than the last lines that are needed are asked for at each try, since a log grows. After these the
/// whole log is read; once more if it turns out to be rotated, and again if it was rotated meanwhile.
const TRIES: [Option<usize>; 5] = [Some(100), Some(10_000), None, None, None];

/// One reading of a log.
pub(super) struct Reading<R> {
    lines: Lines<R>,
    numbering: Numbering,
    /// The first line was read, and not handed out yet.
    is_held: bool,
}

impl<R: AsyncBufRead + Send + Unpin> Reading<R> {
    /// Begins at the line of offset `start`, or before.
    pub(super) async fn begin(known: &mut Known, start: usize, way: &impl Open<Log = R>) -> Result<Self, NoLog> {
        for slack in TRIES {
            let tail = slack.and_then(|slack| known.tail(start, slack));
            let numbering = Numbering::new(known, start, tail.is_none());
            let mut reading = Self { lines: Lines::of(way.open(tail).await?), numbering, is_held: false };
            if reading.find(known).await?.is_ok() {
                return Ok(reading);
            }
        }
        Err(NoLog::Failed(ApiError::unavailable("the log is rotated faster than it can be read; try again")))
    }

    /// Reads up to the first line whose offset can be told.
    async fn find(&mut self, known: &mut Known) -> io::Result<Result<(), ReadAgain>> {
        while let Some(line) = self.lines.next().await? {
            match self.numbering.finds(known, &line) {
                Ok(true) => {
                    self.is_held = true;
                    return Ok(Ok(()));
                }
                Ok(false) => {}
                Err(again) => return Ok(Err(again)),
            }
        }
        Ok(self.numbering.found_nothing(known))
    }

    /// The next line, with its offset; `None` at the end.
    pub(super) async fn next(&mut self, known: &mut Known) -> io::Result<Option<(usize, Line<'_>)>> {
        let line = if std::mem::take(&mut self.is_held) { self.lines.current() } else { self.lines.next().await? };
        Ok(line.map(|line| (self.numbering.count(known, &line), line)))
    }

    /// How many lines there are, where that is known before the end.
    pub(super) fn known_total(&self, known: &Known) -> Option<usize> {
        self.numbering.known_total(known)
    }

    /// How many lines there are, at the end; `is_final` if no more can come.
    pub(super) fn total(&self, known: &mut Known, is_final: bool) -> usize {
        self.numbering.total(known, is_final)
    }
}
