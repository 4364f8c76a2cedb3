//! `from` and `size`, with Livy's rules and a bound on what one answer holds.

use std::ops::Range;

use thiserror::Error;

/// Livy's `size` where none is given.
pub const DEFAULT_SIZE: i32 = 100;
/// Most batches of one page; a larger `size` is cut to it.
pub const MAX_LIST_SIZE: i32 = 1000;
/// Most lines of one page of a log; a larger or negative `size` is cut to it.
pub const MAX_LOG_LINES: usize = 10_000;

/// A parameter that is no 32-bit integer, in Livy's words.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("For input string: \"{0}\"")]
pub struct BadInteger(String);

/// Reads an integer as `java.lang.Integer.parseInt` does, but for digits other than ASCII's.
pub fn parse_int(text: &str) -> Result<i32, BadInteger> {
    text.parse().map_err(|_| BadInteger(text.chars().take(100).collect()))
}

/// The part of a list of `total` batches that is asked for.
///
/// Livy 0.9: `SessionServlet`, `sessions.view(from, from + size)`: a negative `from` shortens the page, a `size` of
/// 0 or less empties it.
#[must_use]
pub fn list_range(from: i32, size: i32, total: usize) -> Range<usize> {
    let clamp = |offset: i64| usize::try_from(offset.max(0)).unwrap_or(usize::MAX).min(total);
    let end = i64::from(from) + i64::from(size.clamp(0, MAX_LIST_SIZE));
    let start = clamp(i64::from(from));
    start..clamp(end).max(start)
}

/// Which lines of a log are asked for. How many lines there are is known only after all were read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogWindow {
    /// The first `size` lines from offset `from` on.
    From {
        /// Offset of the first line.
        from: usize,
        /// Most lines.
        size: usize,
    },
    /// The last lines.
    Last(usize),
}

/// The window of `from` (default: the end) and `size` (default 100, negative: all).
///
/// Livy 0.9: `SessionServlet.serializeLogs`.
#[must_use]
pub fn log_window(from: Option<i32>, size: Option<i32>) -> LogWindow {
    let all = size.is_some_and(|size| size < 0);
    let size = match usize::try_from(size.unwrap_or(DEFAULT_SIZE)) {
        Ok(size) => size.min(MAX_LOG_LINES),
        Err(_) => MAX_LOG_LINES,
    };
    match usize::try_from(from.unwrap_or(-1)) {
        Ok(from) => LogWindow::From { from, size },
        // "All" begins with the first line, so that a client can read on where the bound cut it.
        Err(_) if all => LogWindow::From { from: 0, size },
        Err(_) => LogWindow::Last(size),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(0, 100, 15, 0..15)]
    #[case(1, 1, 15, 1..2)]
    #[case(-3, 100, 1, 0..1)]
    #[case(-3, 4, 15, 0..1)]
    #[case(-3, 2, 15, 0..0)]
    #[case(5, 2, 1, 1..1)]
    #[case(0, 0, 15, 0..0)]
    #[case(3, -1, 15, 3..3)]
    #[case(0, 5000, 9999, 0..1000)]
    #[case(i32::MAX, i32::MAX, 15, 15..15)]
    #[case(i32::MIN, i32::MIN, 15, 0..0)]
    fn lists_are_cut_as_livy_cuts_them(
        #[case] from: i32,
        #[case] size: i32,
        #[case] total: usize,
        #[case] range: Range<usize>,
    ) {
        assert_eq!(list_range(from, size, total), range);
    }

    #[rstest]
    #[case(None, None, LogWindow::Last(100))]
    #[case(None, Some(3), LogWindow::Last(3))]
    #[case(Some(-5), Some(2), LogWindow::Last(2))]
    #[case(Some(0), None, LogWindow::From { from: 0, size: 100 })]
    #[case(Some(1), Some(-1), LogWindow::From { from: 1, size: MAX_LOG_LINES })]
    #[case(None, Some(-1), LogWindow::From { from: 0, size: MAX_LOG_LINES })]
    #[case(Some(2), Some(i32::MAX), LogWindow::From { from: 2, size: MAX_LOG_LINES })]
    #[case(None, Some(0), LogWindow::Last(0))]
    fn log_windows_are_livys(#[case] from: Option<i32>, #[case] size: Option<i32>, #[case] window: LogWindow) {
        assert_eq!(log_window(from, size), window);
    }

    #[rstest]
    #[case("abc")]
    #[case("1.5")]
    #[case("")]
    #[case(" 1")]
    #[case("0x1")]
    #[case("1e3")]
    #[case("٣")]
    #[case("99999999999")]
    fn what_is_no_integer_is_told_in_livys_words(#[case] text: &str) {
        assert_eq!(parse_int(text).unwrap_err().to_string(), format!("For input string: \"{text}\""));
    }

    proptest! {
        #[test]
        fn a_range_never_leaves_the_list(from: i32, size: i32, total in 0usize..5000) {
            let range = list_range(from, size, total);
            prop_assert!(range.start <= range.end && range.end <= total && range.len() <= 1000);
        }
    }
}
