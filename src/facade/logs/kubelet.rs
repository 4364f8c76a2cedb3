//! A kubelet for tests: one container's log, served as a kubelet serves it.

use std::fmt::Write as _;

use futures::io::Cursor;
use jiff::Timestamp;

use super::source::{NoLog, Open};

/// Longest part of a line.
pub(super) const PART: usize = 16 * 1024;

/// A log, of which the first lines may be gone.
#[derive(Clone, Debug, Default)]
pub(super) struct Kubelet {
    pub(super) lines: Vec<(i64, String)>,
    /// Without times, as no kubelet does.
    pub(super) is_untimed: bool,
}

impl Kubelet {
    /// Writes a line at this nanosecond.
    pub(super) fn write(&mut self, nanosecond: i64, text: &str) {
        self.lines.push((nanosecond, text.to_owned()));
    }

    /// A log of these lines, each a millisecond later than the one before.
    pub(super) fn of<'a>(lines: impl IntoIterator<Item = &'a str>) -> Self {
        let mut kubelet = Self::default();
        for (at, text) in (0..).zip(lines) {
            kubelet.write(at * 1_000_000, text);
        }
        kubelet
    }

    pub(super) fn rotate(&mut self, lines: usize) {
        self.lines.drain(..lines);
    }

    pub(super) fn lines(&self) -> impl Iterator<Item = (i64, &str)> {
        self.lines.iter().map(|(at, text)| (*at, text.as_str()))
    }

    /// The last `tail` parts of lines. What is left of a line has its time again.
    pub(super) fn text(&self, tail: Option<usize>) -> String {
        let (mut left, mut shown) = (tail.unwrap_or(usize::MAX), Vec::new());
        for (at, text) in self.lines.iter().rev() {
            if left == 0 {
                break;
            }
            let parts = 1 + text.len().saturating_sub(1) / PART;
            let skipped = parts.saturating_sub(left) * PART;
            left = left.saturating_sub(parts);
            shown.push((at, &text[skipped..]));
        }
        let mut out = String::new();
        for (at, text) in shown.into_iter().rev() {
            if !self.is_untimed {
                write!(out, "{:.9} ", Timestamp::from_nanosecond(i128::from(*at)).unwrap()).unwrap();
            }
            writeln!(out, "{text}").unwrap();
        }
        out
    }
}

impl Open for Kubelet {
    type Log = Cursor<String>;

    async fn open(&self, tail: Option<usize>) -> Result<Self::Log, NoLog> {
        Ok(Cursor::new(self.text(tail)))
    }
}

pub(super) fn block_on<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}
