//! Lines of a driver's log, read through the API server. However long the log is, only the lines that are asked
//! for are held.

use std::collections::VecDeque;
use std::io;
use std::pin::pin;

use futures::io::{AsyncBufRead, AsyncBufReadExt as _};
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;

use super::AppState;
use super::error::ApiError;
use super::upstream::call;
use crate::api::DRIVER_CONTAINER;
use crate::api::object_names::is_dns_subdomain;
use crate::livy::LogWindow;

/// Longest line that is shown; the rest of a longer one is dropped.
const MAX_LINE: usize = 64 * 1024;
/// Most bytes of one page.
const MAX_PAGE: usize = 8 * 1024 * 1024;

/// Some lines of a log.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Page {
    pub(super) from: usize,
    pub(super) total: usize,
    pub(super) lines: Vec<String>,
}

/// The `window` of the driver's log. A driver that does not exist, has not started or is gone has written
/// nothing: Livy's answer there is an empty log, too.
///
/// # RBAC needed
/// `pods/log`: `get`.
pub(super) async fn read(
    state: &AppState,
    namespace: &str,
    pod: Option<&str>,
    window: LogWindow,
) -> Result<Page, ApiError> {
    let Some(pod) = pod.filter(|pod| is_dns_subdomain(pod)) else { return Ok(empty(window)) };
    let pods: Api<Pod> = Api::namespaced(state.client.clone(), namespace);
    let params = LogParams { container: Some(DRIVER_CONTAINER.to_owned()), ..LogParams::default() };
    match call(state.config.limits.upstream, pods.log_stream(pod, &params)).await {
        // The request's own time limit ends a log that takes too long.
        Ok(stream) => page(pin!(stream), window)
            .await
            .map_err(|error| ApiError::unavailable("the driver's log broke off; try again").because(error)),
        // 400: the container is waiting to start.
        Err(failure) if matches!(failure.code(), Some(400 | 404)) => Ok(empty(window)),
        Err(failure) => Err(failure.answer(namespace)),
    }
}

fn empty(window: LogWindow) -> Page {
    Kept::of(window).page()
}

async fn page(mut log: impl AsyncBufRead + Unpin, window: LogWindow) -> io::Result<Page> {
    let mut kept = Kept::of(window);
    let mut line = Vec::new();
    let mut pending = false;
    loop {
        let chunk = log.fill_buf().await?;
        if chunk.is_empty() {
            break;
        }
        let end = chunk.iter().position(|&byte| byte == b'\n');
        let part = &chunk[..end.unwrap_or(chunk.len())];
        if kept.wants_next() {
            line.extend_from_slice(&part[..part.len().min(MAX_LINE - line.len())]);
        }
        let used = part.len() + usize::from(end.is_some());
        pending = end.is_none();
        log.consume_unpin(used);
        if !pending {
            kept.push(&line);
            line.clear();
        }
    }
    if pending {
        kept.push(&line);
    }
    Ok(kept.page())
}

/// The lines of a window, and a count of all.
struct Kept {
    window: LogWindow,
    lines: VecDeque<String>,
    bytes: usize,
    total: usize,
    /// The page has no room for more.
    full: bool,
}

impl Kept {
    fn of(window: LogWindow) -> Self {
        Self { window, lines: VecDeque::new(), bytes: 0, total: 0, full: false }
    }

    fn wants_next(&self) -> bool {
        match self.window {
            LogWindow::From { from, size } => !self.full && self.total >= from && self.total - from < size,
            LogWindow::Last(size) => size > 0,
        }
    }

    fn push(&mut self, line: &[u8]) {
        if self.wants_next() {
            let line = String::from_utf8_lossy(line.strip_suffix(b"\r").unwrap_or(line)).into_owned();
            self.keep(line);
        }
        self.total += 1;
    }

    fn keep(&mut self, line: String) {
        self.bytes += line.len();
        match self.window {
            LogWindow::From { .. } if self.bytes > MAX_PAGE => self.full = true,
            LogWindow::From { .. } => self.lines.push_back(line),
            LogWindow::Last(size) => {
                self.lines.push_back(line);
                while self.lines.len() > size || self.bytes > MAX_PAGE {
                    let Some(first) = self.lines.pop_front() else { break };
                    self.bytes -= first.len();
                }
            }
        }
    }

    fn page(self) -> Page {
        let from = match self.window {
            LogWindow::From { from, .. } => from,
            LogWindow::Last(_) => self.total - self.lines.len(),
        };
        Page { from, total: self.total, lines: self.lines.into() }
    }
}

#[cfg(test)]
mod tests {
    use futures::io::BufReader;
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;
    use crate::livy::log_window;

    fn block_on<T>(work: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
    }

    fn read_page(log: &str, from: Option<i32>, size: Option<i32>) -> Page {
        // A small buffer splits lines over chunks.
        block_on(page(BufReader::with_capacity(7, log.as_bytes()), log_window(from, size))).unwrap()
    }

    fn numbered(lines: usize) -> String {
        (1..=lines).map(|n| format!("line {n}\n")).collect::<Vec<_>>().concat()
    }

    #[rstest]
    #[case(None, Some(3), 150, &["line 151", "line 152", "line 153"])]
    #[case(Some(0), Some(3), 0, &["line 1", "line 2", "line 3"])]
    #[case(Some(150), Some(100), 150, &["line 151", "line 152", "line 153"])]
    #[case(Some(500), Some(100), 500, &[])]
    #[case(Some(-5), Some(2), 151, &["line 152", "line 153"])]
    #[case(None, Some(0), 153, &[])]
    fn pages_are_livys(
        #[case] from: Option<i32>,
        #[case] size: Option<i32>,
        #[case] at: usize,
        #[case] lines: &[&str],
    ) {
        let page = read_page(&numbered(153), from, size);
        assert_eq!((page.from, page.total), (at, 153));
        assert_eq!(page.lines, lines);
    }

    #[test]
    fn a_negative_size_is_all() {
        let page = read_page(&numbered(153), Some(1), Some(-1));
        assert_eq!((page.from, page.total, page.lines.len()), (1, 153, 152));
        assert_eq!(read_page(&numbered(153), None, Some(-1)).lines.len(), 153);
    }

    #[rstest]
    #[case("", &[])]
    #[case("\n", &[""])]
    #[case("a", &["a"])]
    #[case("a\r\nb", &["a", "b"])]
    #[case("a\n\nb\n", &["a", "", "b"])]
    fn lines_end_where_they_end(#[case] log: &str, #[case] lines: &[&str]) {
        assert_eq!(read_page(log, None, None).lines, lines);
    }

    #[test]
    fn long_lines_and_long_logs_are_held_within_a_bound() {
        let wide = format!("{}\nend\n", "x".repeat(200_000));
        let page = read_page(&wide, None, None);
        assert_eq!((page.lines[0].len(), page.lines[1].as_str()), (MAX_LINE, "end"));

        let log = format!("{}\n", "y".repeat(MAX_LINE)).repeat(200);
        let tail = read_page(&log, None, Some(200));
        assert_eq!((tail.from, tail.lines.len(), tail.total), (72, 128, 200));
        let head = read_page(&log, Some(0), Some(-1));
        assert_eq!((head.from, head.lines.len(), head.total), (0, 128, 200));
    }

    #[test]
    fn bytes_that_are_no_text_are_replaced() {
        let log: &[u8] = b"a\xff\n";
        assert_eq!(block_on(page(log, LogWindow::Last(9))).unwrap().lines, ["a\u{fffd}"]);
    }

    proptest! {
        #[test]
        fn a_page_is_a_part_of_the_log(lines in prop::collection::vec("[a-z]{0,12}", 0..40), from in -9i32..50, size in -2i32..50) {
            let log = lines.iter().map(|line| format!("{line}\n")).collect::<Vec<_>>().concat();
            let shown = read_page(&log, Some(from), Some(size));
            prop_assert_eq!(shown.total, lines.len());
            let from = shown.from.min(lines.len());
            prop_assert_eq!(&lines[from..from + shown.lines.len()], &shown.lines[..]);
        }
    }
}
