//! What is remembered of logs, so that offsets of lines never shift and a page does not cost a whole log.
//!
//! A kubelet keeps the end of a log only (10 MiB, if not told otherwise), and serves "the last n lines" of that. Of
//! each log some lines are remembered, as marks: a line's offset and its time. A line is known by its time, which has
//! nanoseconds; of neighbours that share one, only the first can be a mark. Where a mark is found again, the lines
//! after it are counted on from its offset: by their place in the log and never by comparing times, since a container's
//! two streams, and clocks that are set, put times out of order.
//!
//! So, as long as this process remembers a log:
//! - a line keeps its offset when the lines before it are rotated away;
//! - lines that came and were rotated away between two readings were never numbered, and leave no hole.
//!
//! Another replica, a restarted process, or one that has read [`MAX_LOGS`] other logs since, knows nothing of what was
//! rotated away before: it gives offset 0 to the first line that is left. Of a log that was not rotated, all tell the
//! same offsets.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use tokio::sync::Mutex;

use super::lines::Line;
use crate::livy::LogWindow;

/// Logs that are remembered, at most; each takes up to 8 KiB.
const MAX_LOGS: u64 = 1024;
/// Marks of one log, at most. When there are more, every second one goes.
const MAX_MARKS: usize = 255;
/// A container runtime stores a long line in parts, and the kubelet's "last n lines" are parts. This is less than the
/// part of any runtime, so that parts are never counted too few.
const PART: usize = 4096;

/// The logs that this process has read.
pub(in crate::facade) struct Index {
    logs: Cache<String, Arc<Mutex<Known>>>,
}

impl Default for Index {
    fn default() -> Self {
        Self { logs: Cache::builder().max_capacity(MAX_LOGS).eviction_policy(EvictionPolicy::lru()).build() }
    }
}

impl Index {
    /// What is known of a log. One reading at a time learns; others wait for it, and are faster then.
    pub(super) fn of(&self, log: &str) -> Arc<Mutex<Known>> {
        self.logs.get_with_by_ref(log, Arc::default)
    }
}

/// What is known of one log.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// Some lines, by ascending offset. The first is the first line of the log, or the first that was left of it.
    marks: Vec<Mark>,
    /// The last line that can be a mark.
    last: Option<Mark>,
    /// Lines from one mark to the next.
    stride: usize,
    /// Offset of the first line that was not read yet.
    counted: usize,
    /// Parts that these lines were stored in, or more.
    parts: usize,
    end: Option<End>,
    /// All lines, if no more can come.
    total: Option<usize>,
}

#[derive(Clone, Copy, Debug)]
struct Mark {
    offset: usize,
    /// Parts of the lines before it.
    parts: usize,
    time: Timestamp,
}

/// The end of what was read.
#[derive(Clone, Copy, Debug)]
struct End {
    /// Of the last line.
    time: Timestamp,
    /// Lines of this time at the end.
    run: usize,
    /// The latest of all times.
    latest: Timestamp,
}

impl Known {
    /// Offset of the first line that was not read yet.
    pub(super) fn counted(&self) -> usize {
        self.counted
    }

    /// Of the first line that a reading for `window` needs.
    pub(super) fn start(&self, window: LogWindow) -> usize {
        match window {
            LogWindow::From { from, .. } => from.min(self.counted.saturating_sub(1)),
            LogWindow::Last(size) => self.counted.saturating_sub(size),
        }
    }

    /// How many of the last lines to read for all from offset `start` on, if no more than `slack` have come since;
    /// `None` for the whole log.
    pub(super) fn tail(&self, start: usize, slack: usize) -> Option<usize> {
        let mark = self.marks.iter().chain(&self.last).rfind(|mark| mark.offset <= start)?;
        let is_first = self.marks.first().is_none_or(|first| first.offset == mark.offset);
        (!is_first).then(|| self.parts - mark.parts + slack)
    }

    /// Takes in the line after those that were counted. Without times there is nothing to learn.
    pub(super) fn learn(&mut self, line: &Line<'_>) {
        if let Some(time) = line.time {
            if self.end.is_none_or(|end| end.time != time) {
                self.mark(Mark { offset: self.counted, parts: self.parts, time });
            }
            self.end = Some(match self.end {
                Some(end) if end.time == time => End { run: end.run + 1, ..end },
                end => End { time, run: 1, latest: end.map_or(time, |end| end.latest.max(time)) },
            });
        } else if self.end.is_none() {
            return;
        }
        self.counted += 1;
        self.parts += parts(line.length);
    }

    fn mark(&mut self, mark: Mark) {
        self.last = Some(mark);
        if self.marks.last().is_none_or(|last| mark.offset - last.offset >= self.stride) {
            self.marks.push(mark);
        }
        if self.marks.len() > MAX_MARKS {
            let mut nth = 0;
            self.marks.retain(|_| {
                nth += 1;
                nth % 2 == 1
            });
            self.stride = (2 * self.stride).max(2);
        }
    }

    /// The log begins with `first` now; what was before is gone.
    fn begin_at(&mut self, first: Mark) {
        self.marks.retain(|mark| mark.offset > first.offset);
        self.marks.insert(0, first);
        self.last = self.last.filter(|last| last.offset >= first.offset);
    }
}

/// Numbers the lines of one reading of a log, and learns from them.
pub(super) struct Numbering {
    /// Offset of the first line that is needed.
    start: usize,
    /// Whether the reading begins with the first line that is left.
    is_whole: bool,
    marks: BTreeMap<Timestamp, Mark>,
    /// Lines, and their parts, before the first whose offset can be told.
    skipped: usize,
    skipped_parts: usize,
    first: Option<Timestamp>,
    previous: Option<Timestamp>,
    /// Offset of the next line.
    next: usize,
    /// The kubelet tells no times: there is nothing to learn.
    is_untimed: bool,
}

/// The reading does not tell the offsets of the lines that are needed. Another one may.
#[derive(Debug)]
pub(super) struct ReadAgain;

impl Numbering {
    /// For a reading of the whole log, or of its last lines for those from `start` on.
    pub(super) fn new(known: &Known, start: usize, is_whole: bool) -> Self {
        Self {
            start,
            is_whole,
            marks: known.marks.iter().chain(&known.last).map(|&mark| (mark.time, mark)).collect(),
            skipped: 0,
            skipped_parts: 0,
            first: None,
            previous: None,
            next: known.counted,
            is_untimed: false,
        }
    }

    /// Whether the next line is the first whose offset can be told. If it is, [`Self::count`] tells it, and those of
    /// the lines that follow.
    pub(super) fn finds(&mut self, known: &mut Known, line: &Line<'_>) -> Result<bool, ReadAgain> {
        if let Some(offset) = self.place(known, line.time)? {
            self.next = offset;
            return Ok(true);
        }
        if self.skipped == 0 {
            self.first = line.time;
        }
        self.previous = line.time;
        self.skipped += 1;
        self.skipped_parts += parts(line.length);
        Ok(false)
    }

    /// The offset of a line, if it can be told.
    fn place(&mut self, known: &mut Known, time: Option<Timestamp>) -> Result<Option<usize>, ReadAgain> {
        let is_first = self.skipped == 0;
        if is_first && self.is_whole {
            self.is_untimed = time.is_none();
            if self.is_untimed || known.counted == 0 {
                return Ok(Some(0));
            }
        }
        // Of the lines that share a time only the first can be a mark, and the first line of a tail may be another.
        let can_be_mark = if is_first { self.is_whole } else { self.previous != time };
        let Some(mark) = time.and_then(|time| self.marks.get(&time)).filter(|_| can_be_mark).copied() else {
            return Ok(None);
        };
        if !self.is_whole {
            return if mark.offset <= self.start { Ok(Some(mark.offset)) } else { Err(ReadAgain) };
        }
        if is_first {
            known.begin_at(mark);
            return Ok(Some(mark.offset));
        }
        let offset = mark.offset.saturating_sub(self.skipped);
        Err(self.rotated(known, offset, mark.parts.saturating_sub(self.skipped_parts)))
    }

    /// The lines before the first are gone, and its offset is known now.
    fn rotated(&self, known: &mut Known, offset: usize, parts: usize) -> ReadAgain {
        if let Some(time) = self.first {
            known.begin_at(Mark { offset, parts, time });
        }
        ReadAgain
    }

    /// The reading ended before a line was found whose offset can be told.
    pub(super) fn found_nothing(&self, known: &mut Known) -> Result<(), ReadAgain> {
        if self.skipped == 0 {
            return Ok(());
        }
        // Nothing is left of what was read before.
        Err(if self.is_whole { self.rotated(known, known.counted, known.parts) } else { ReadAgain })
    }

    /// The offset of the next line.
    pub(super) fn count(&mut self, known: &mut Known, line: &Line<'_>) -> usize {
        let offset = self.next;
        self.next += 1;
        if line.is_ended && offset == known.counted && !self.is_untimed {
            known.learn(line);
        }
        offset
    }

    /// How many lines there are, where that is known before the end of the reading.
    pub(super) fn known_total(&self, known: &Known) -> Option<usize> {
        known.total.filter(|_| !self.is_untimed)
    }

    /// How many lines there are, at the end of the reading; `is_final` if no more can come.
    pub(super) fn total(&self, known: &mut Known, is_final: bool) -> usize {
        if is_final && !self.is_untimed {
            known.total = Some(self.next);
        }
        self.next
    }
}

fn parts(length: usize) -> usize {
    1 + length / PART
}

/// Finds, in the last lines of a log, the first that was not read yet. Lines that share a time are told apart by how many
/// they are, if they are fewer than the last lines.
pub(super) struct Resume {
    end: Option<End>,
    seen: usize,
    left: usize,
}

impl Resume {
    /// After what is known; within the last `tail` lines.
    pub(super) fn after(known: &Known, tail: usize) -> Self {
        Self { end: known.end, seen: 0, left: tail }
    }

    /// How many of the last lines to read; all if nothing is known.
    pub(super) fn tail(&self) -> Option<usize> {
        self.end.map(|_| self.left)
    }

    /// Whether the next line is new.
    pub(super) fn is_new(&mut self, time: Option<Timestamp>) -> Result<bool, ReadAgain> {
        let Some(end) = self.end else { return Ok(true) };
        if self.seen == end.run {
            return Ok(true);
        }
        if self.left == 0 || time.is_some_and(|time| time > end.latest) {
            return Err(ReadAgain);
        }
        self.left -= 1;
        self.seen = if time == Some(end.time) { self.seen + 1 } else { 0 };
        Ok(false)
    }
}

#[cfg(test)]
#[path = "index_tests.rs"]
mod tests;
