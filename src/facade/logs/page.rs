//! A page of a log. However long the log is, only the lines of the page are held.

use std::collections::VecDeque;

use super::index::Known;
use super::reading::Reading;
use super::source::{NoLog, Open};
use crate::livy::LogWindow;

/// Most bytes of one page, as JSON. A page is held twice for a moment, as lines and as JSON, and the buffer of the
/// latter may be twice as large as needed: with all of that a request stays below 8 MiB.
const MAX_PAGE: usize = 2 * 1024 * 1024;
/// Some lines of a log.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) from: usize,
    pub(super) total: usize,
    pub(super) lines: Vec<String>,
}

/// Elements around the lines of a log, counted as lines of it.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Frame {
    pub(super) before: &'static [&'static str],
    pub(super) after: &'static [&'static str],
}

impl Frame {
    /// How many elements they are.
    pub(super) fn len(self) -> usize {
        self.before.len() + self.after.len()
    }

    /// The part of `window` that is of lines.
    fn within(self, window: LogWindow) -> LogWindow {
        match window {
            LogWindow::From { from, size } => LogWindow::From { from: from.saturating_sub(self.before.len()), size },
            LogWindow::Last(_) => window,
        }
    }
}

/// Reads the page `window` of a log; `is_final` if no more lines can come.
pub(super) async fn read(
    known: &mut Known,
    window: LogWindow,
    frame: Frame,
    is_final: bool,
    way: &impl Open,
) -> Result<Page, NoLog> {
    let mut reading = Reading::begin(known, known.start(frame.within(window)), way).await?;
    let mut kept = Kept::of(window);
    kept.offer_all(0, frame.before);
    while let Some((offset, line)) = reading.next(known).await? {
        kept.offer(frame.before.len() + offset, || line.text());
        if let Some(total) = reading.known_total(known).filter(|_| kept.is_done()) {
            return Ok(kept.page(frame.len() + total));
        }
    }
    let end = frame.before.len() + reading.total(known, is_final);
    kept.skip_to(end);
    kept.offer_all(end, frame.after);
    Ok(kept.page(end + frame.after.len()))
}

/// A page of `elements`, for a log without lines.
pub(super) fn of_elements(elements: &[&str], window: LogWindow) -> Page {
    let mut kept = Kept::of(window);
    kept.offer_all(0, elements);
    kept.page(elements.len())
}

/// The lines of a window.
struct Kept {
    window: LogWindow,
    lines: VecDeque<String>,
    bytes: usize,
    /// Offset of the line after those that were offered.
    next: usize,
    /// The page has no room for more.
    is_full: bool,
}

impl Kept {
    fn of(window: LogWindow) -> Self {
        Self { window, lines: VecDeque::new(), bytes: 0, next: 0, is_full: false }
    }

    fn offer_all(&mut self, at: usize, elements: &[&str]) {
        for (offset, element) in (at..).zip(elements) {
            self.offer(offset, || (*element).to_owned());
        }
    }

    /// Takes the line of this offset if it belongs to the page.
    fn offer(&mut self, offset: usize, line: impl FnOnce() -> String) {
        self.skip_to(offset);
        self.next = offset + 1;
        match self.window {
            LogWindow::From { from, size } if !self.is_full && offset >= from && offset - from < size => {
                self.push(line());
                self.is_full = self.bytes > MAX_PAGE;
                if self.is_full {
                    self.lines.pop_back();
                }
            }
            LogWindow::From { .. } => {}
            LogWindow::Last(size) => {
                self.push(line());
                while self.lines.len() > size || self.bytes > MAX_PAGE {
                    let Some(first) = self.lines.pop_front() else { break };
                    self.bytes -= json_length(&first);
                }
            }
        }
    }

    fn push(&mut self, line: String) {
        self.bytes += json_length(&line);
        self.lines.push_back(line);
    }

    /// Lines between those that were offered and this offset are gone, or not needed: a page that began before them
    /// begins after them.
    fn skip_to(&mut self, offset: usize) {
        if offset == self.next {
            return;
        }
        (self.next, self.bytes, self.is_full) = (offset, 0, false);
        self.lines.clear();
        if let LogWindow::From { from, .. } = &mut self.window {
            *from = offset.max(*from);
        }
    }

    /// Whether no line after those that were offered can belong to the page.
    fn is_done(&self) -> bool {
        match self.window {
            LogWindow::From { from, size } => self.is_full || self.next >= from.saturating_add(size),
            LogWindow::Last(_) => false,
        }
    }

    /// The page of `total` elements.
    fn page(self, total: usize) -> Page {
        let from = match self.window {
            LogWindow::From { from, .. } => from,
            LogWindow::Last(_) => total - self.lines.len(),
        };
        Page { from, total, lines: self.lines.into() }
    }
}

/// Bytes of `line` as a JSON string, with a comma.
fn json_length(line: &str) -> usize {
    let escaped = |byte: u8| match byte {
        b'"' | b'\\' | b'\n' | b'\r' | b'\t' | 0x08 | 0x0c => 2,
        0..=0x1f => 6,
        _ => 1,
    };
    line.bytes().map(escaped).sum::<usize>() + 3
}

#[cfg(test)]
#[path = "page_tests.rs"]
mod tests;
