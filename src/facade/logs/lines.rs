//! A log as it comes from the kubelet, line by line. However long a line is, only its beginning is held.

use std::io::{self, BufRead as _};

use futures::io::{AsyncBufRead, AsyncBufReadExt as _};
use jiff::Timestamp;

/// Longest line that is shown; the rest of a longer one is dropped.
pub(super) const MAX_LINE: usize = 64 * 1024;
/// Longest time before a line, with the space after it.
const MAX_PREFIX: usize = 40;

/// The lines of `source`, each with the time that the kubelet puts before it.
pub(super) struct Lines<R> {
    source: R,
    line: Vec<u8>,
    length: usize,
    /// Whether `line` is a whole one.
    is_read: bool,
    is_ended: bool,
}

/// One line.
#[derive(Debug)]
pub(super) struct Line<'a> {
    /// When the container wrote it; `None` where the kubelet told none.
    pub(super) time: Option<Timestamp>,
    text: &'a [u8],
    /// Bytes of the whole line, of which `text` may be a part.
    pub(super) length: usize,
    /// Whether its end was read: a line without may still grow.
    pub(super) is_ended: bool,
}

impl<R: AsyncBufRead + Unpin> Lines<R> {
    pub(super) fn of(source: R) -> Self {
        Self { source, line: Vec::new(), length: 0, is_read: false, is_ended: false }
    }

    /// The next line; `None` at the end. What was read is kept if the future is dropped before it is done.
    pub(super) async fn next(&mut self) -> io::Result<Option<Line<'_>>> {
        if std::mem::take(&mut self.is_read) {
            self.line.clear();
            self.length = 0;
        }
        self.is_ended = false;
        while !self.is_ended {
            let chunk = self.source.fill_buf().await?;
            if chunk.is_empty() {
                break;
            }
            let used = { chunk }.skip_until(b'\n')?;
            let part = chunk.get(..used).unwrap_or_default();
            self.is_ended = part.ends_with(b"\n");
            let part = part.strip_suffix(b"\n").unwrap_or(part);
            let room = (MAX_PREFIX + MAX_LINE).saturating_sub(self.line.len());
            self.line.extend_from_slice(part.get(..room).unwrap_or(part));
            self.length += used;
            self.source.consume_unpin(used);
        }
        self.is_read = self.length > 0;
        Ok(self.current())
    }

    /// The line that was read last.
    pub(super) fn current(&self) -> Option<Line<'_>> {
        self.is_read.then(|| {
            let (time, text) = split_time(&self.line);
            let text = text.get(..MAX_LINE).unwrap_or(text);
            let text = text.strip_suffix(b"\r").unwrap_or(text);
            Line { time, text, length: self.length, is_ended: self.is_ended }
        })
    }
}

impl Line<'_> {
    /// What the container wrote; bytes that are no text are replaced.
    pub(super) fn text(&self) -> String {
        String::from_utf8_lossy(self.text).into_owned()
    }
}

/// The kubelet writes a line's time (RFC 3339, with nanoseconds) and a space before it.
fn split_time(line: &[u8]) -> (Option<Timestamp>, &[u8]) {
    let split = || {
        let end = line.iter().take(MAX_PREFIX).position(|&byte| byte == b' ')?;
        let (time, text) = line.split_at_checked(end)?;
        let time = std::str::from_utf8(time).ok()?.parse().ok()?;
        Some((Some(time), text.get(1..)?))
    };
    split().unwrap_or((None, line))
}

#[cfg(test)]
mod tests {
    use futures::io::BufReader;
    use rstest::rstest;

    use super::*;

    fn read(log: &[u8]) -> Vec<(Option<i64>, String, bool)> {
        let work = async {
            // A small buffer splits lines over chunks.
            let mut lines = Lines::of(BufReader::with_capacity(7, log));
            let mut read = Vec::new();
            while let Some(line) = lines.next().await.unwrap() {
                read.push((line.time.map(Timestamp::as_second), line.text(), line.is_ended));
            }
            read
        };
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    #[rstest]
    #[case("", &[])]
    #[case("\n", &[("", true)])]
    #[case("a", &[("a", false)])]
    #[case("a\r\nb", &[("a", true), ("b", false)])]
    #[case("a\n\nb\n", &[("a", true), ("", true), ("b", true)])]
    fn lines_end_where_they_end(#[case] log: &str, #[case] expected: &[(&str, bool)]) {
        let expected: Vec<_> = expected.iter().map(|&(text, ended)| (None, text.to_owned(), ended)).collect();
        assert_eq!(read(log.as_bytes()), expected);
    }

    #[rstest]
    #[case("1970-01-01T00:00:07.000000001Z a b\n", Some(7), "a b")]
    #[case("1970-01-01T02:00:07.5+02:00 \n", Some(7), "")]
    #[case("1970-01-01 a\n", None, "1970-01-01 a")]
    #[case("unable to retrieve container logs\n", None, "unable to retrieve container logs")]
    fn the_kubelets_time_is_taken_off(#[case] log: &str, #[case] second: Option<i64>, #[case] text: &str) {
        assert_eq!(read(log.as_bytes()), [(second, text.to_owned(), true)]);
    }

    #[test]
    fn a_long_line_is_cut_and_counted_whole() {
        for time in ["", "1970-01-01T00:00:07.000000001Z "] {
            let log = format!("{time}{}\nend\n", "x".repeat(10_000_000));
            let lines = read(log.as_bytes());
            assert_eq!((lines[0].1.len(), lines[1].1.as_str(), lines.len()), (MAX_LINE, "end", 2));
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        assert_eq!(read(b"a\xff\n")[0].1, "a\u{fffd}");
    }
}
