use futures::io::{BufReader, Cursor};
use proptest::prelude::*;
use rstest::rstest;

use super::super::kubelet::{Kubelet, block_on};
use super::super::lines::MAX_LINE;
use super::*;
use crate::livy::log_window;

const MARKED: Frame = Frame { before: &["stdout: "], after: &["\nstderr: "] };

/// What a kubelet writes, whatever part is asked for.
struct Raw(&'static [u8]);

impl Open for Raw {
    type Log = BufReader<Cursor<&'static [u8]>>;

    async fn open(&self, _: Option<usize>) -> Result<Self::Log, NoLog> {
        Ok(BufReader::with_capacity(7, Cursor::new(self.0)))
    }
}

fn read_with(known: &mut Known, log: &impl Open, window: LogWindow, frame: Frame) -> Page {
    block_on(read(known, window, frame, false, log)).unwrap()
}

fn read_page(log: &impl Open, from: Option<i32>, size: Option<i32>) -> Page {
    read_with(&mut Known::default(), log, log_window(from, size), Frame::default())
}

fn numbered(lines: usize) -> Kubelet {
    let lines: Vec<_> = (1..=lines).map(|n| format!("line {n}")).collect();
    Kubelet::of(lines.iter().map(String::as_str))
}

#[rstest]
#[case(None, Some(3), 150, &["line 151", "line 152", "line 153"])]
#[case(Some(0), Some(3), 0, &["line 1", "line 2", "line 3"])]
#[case(Some(150), Some(100), 150, &["line 151", "line 152", "line 153"])]
#[case(Some(500), Some(100), 500, &[])]
#[case(Some(-5), Some(2), 151, &["line 152", "line 153"])]
#[case(None, Some(0), 153, &[])]
fn pages_are_livys(#[case] from: Option<i32>, #[case] size: Option<i32>, #[case] at: usize, #[case] lines: &[&str]) {
    let log = numbered(153);
    for log in [log.clone(), Kubelet { is_untimed: true, ..log }] {
        let page = read_page(&log, from, size);
        assert_eq!((page.from, page.total), (at, 153));
        assert_eq!(page.lines, lines);
    }
}

#[test]
fn a_negative_size_is_all() {
    let page = read_page(&numbered(153), Some(1), Some(-1));
    assert_eq!((page.from, page.total, page.lines.len()), (1, 153, 152));
    assert_eq!(read_page(&numbered(153), None, Some(-1)).lines.len(), 153);
}

// As a live Livy 0.9 answered for a log of 150 lines and one of its own.
#[rstest]
#[case(Some(150), Some(100), 150, &["line 149", "line 150", "\nstderr: "])]
#[case(Some(0), Some(3), 0, &["stdout: ", "line 0", "line 1"])]
#[case(Some(-5), Some(2), 151, &["line 150", "\nstderr: "])]
#[case(None, Some(3), 150, &["line 149", "line 150", "\nstderr: "])]
#[case(Some(153), Some(3), 153, &[])]
fn markers_count_as_livys_do(
    #[case] from: Option<i32>,
    #[case] size: Option<i32>,
    #[case] at: usize,
    #[case] lines: &[&str],
) {
    let text: Vec<_> = (0..=150).map(|n| format!("line {n}")).collect();
    let log = Kubelet::of(text.iter().map(String::as_str));
    let mut known = Known::default();
    for _ in 0..2 {
        let page = read_with(&mut known, &log, log_window(from, size), MARKED);
        assert_eq!((page.from, page.total), (at, 153));
        assert_eq!(page.lines, lines);
    }
}

#[rstest]
#[case(None, 0, &["stdout: ", "\nstderr: "])]
#[case(Some(1), 1, &["\nstderr: "])]
fn an_empty_log_has_its_markers(#[case] from: Option<i32>, #[case] at: usize, #[case] lines: &[&str]) {
    let window = log_window(from, None);
    let read = read_with(&mut Known::default(), &Raw(b""), window, MARKED);
    assert_eq!(
        (read.from, read.total, &read.lines[..]),
        (at, 2, &lines.iter().map(|&l| l.to_owned()).collect::<Vec<_>>()[..])
    );
    assert_eq!(of_elements(&["stdout: ", "\nstderr: "], window), read);
}

#[test]
fn a_last_line_that_still_grows_is_a_line() {
    let page = read_page(&Raw(b"a\nb"), None, None);
    assert_eq!((page.total, &page.lines[..]), (2, &["a".to_owned(), "b".to_owned()][..]));
}

#[test]
fn a_page_is_held_within_a_bound_and_can_be_read_on() {
    let line = "y".repeat(MAX_LINE);
    let log = Kubelet::of(std::iter::repeat_n(line.as_str(), 100));
    let fit = MAX_PAGE / (MAX_LINE + 3);
    let tail = read_page(&log, None, Some(100));
    assert_eq!((tail.from, tail.lines.len(), tail.total), (100 - fit, fit, 100));
    let head = read_page(&log, Some(0), Some(-1));
    assert_eq!((head.from, head.lines.len(), head.total), (0, fit, 100));
}

#[test]
fn the_bound_is_on_what_is_sent() {
    let line = "\u{1}".repeat(10_000);
    let log = Kubelet::of(std::iter::repeat_n(line.as_str(), 100));
    let page = read_page(&log, Some(0), Some(-1));
    let sent = serde_json::to_vec(&page.lines).unwrap().len();
    assert!((MAX_PAGE - 70_000..=MAX_PAGE).contains(&sent), "{sent}");
}

proptest! {
    #[test]
    fn the_length_as_json_is_right(line in ".*") {
        prop_assert_eq!(json_length(&line), serde_json::to_string(&line).unwrap().len() + 1);
    }

    #[test]
    fn a_page_is_a_part_of_the_log(lines in prop::collection::vec("[a-z]{0,12}", 0..40), from in -9i32..50, size in -2i32..50) {
        let log = Kubelet::of(lines.iter().map(String::as_str));
        let shown = read_page(&log, Some(from), Some(size));
        prop_assert_eq!(shown.total, lines.len());
        let from = shown.from.min(lines.len());
        prop_assert_eq!(&lines[from..from + shown.lines.len()], &shown.lines[..]);
    }
}
