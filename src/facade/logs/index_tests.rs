use std::collections::HashMap;

use futures::io::Cursor;
use proptest::prelude::*;

use super::super::kubelet::{Kubelet, PART, block_on};
use super::super::lines::Lines;
use super::super::page::{Frame, Page, read};
use super::super::source::{NoLog, Open};
use super::*;

/// Counts what is read.
struct Metered<'a>(&'a Kubelet, std::sync::Mutex<Vec<usize>>);

impl Open for Metered<'_> {
    type Log = Cursor<String>;

    async fn open(&self, tail: Option<usize>) -> Result<Self::Log, NoLog> {
        let text = self.0.text(tail);
        self.1.lock().unwrap().push(text.lines().count());
        Ok(Cursor::new(text))
    }
}

fn page(known: &mut Known, log: &impl Open, window: LogWindow, is_final: bool) -> Page {
    block_on(read(known, window, Frame::default(), is_final, log)).unwrap()
}

fn from(from: usize) -> LogWindow {
    LogWindow::From { from, size: 100 }
}

fn counting(lines: std::ops::Range<i64>) -> Kubelet {
    let mut kubelet = Kubelet::default();
    lines.for_each(|n| kubelet.write(n * 1_000, &n.to_string()));
    kubelet
}

fn numbers(page: &Page) -> Vec<usize> {
    page.lines.iter().map(|line| line.parse().unwrap()).collect()
}

#[test]
fn polling_a_log_that_grows_reads_its_end_only() {
    let (mut known, mut log) = (Known::default(), counting(0..50_000));
    page(&mut known, &log, from(0), false);
    for more in [10, 90, 900, 9_000] {
        let end = log.lines().count();
        (0..more).for_each(|n| log.write(1_000_000_000 * more + n, "x"));
        let metered = Metered(&log, std::sync::Mutex::default());
        let shown = page(&mut known, &metered, from(end), false);
        let more = usize::try_from(more).unwrap();
        assert_eq!((shown.from, shown.total, shown.lines.len()), (end, end + more, more.min(100)));
        let read: usize = metered.1.lock().unwrap().iter().sum();
        assert!(read < 11_000, "{read} lines for {more}");
    }
}

#[test]
fn a_log_is_paged_through_without_reading_it_again_for_each_page() {
    let (mut known, log) = (Known::default(), counting(0..20_000));
    page(&mut known, &log, from(0), true);
    for at in (0..20_000).step_by(100) {
        let metered = Metered(&log, std::sync::Mutex::default());
        let shown = page(&mut known, &metered, from(at), true);
        assert_eq!((shown.from, shown.total), (at, 20_000));
        assert_eq!(numbers(&shown), (at..at + 100).collect::<Vec<_>>());
        assert_eq!(metered.1.lock().unwrap().len(), 1);
    }
    assert!(known.marks.len() <= MAX_MARKS, "{}", known.marks.len());
    let next = known.marks[known.marks.len() / 2].offset;
    let tail = known.tail(next + 5, 100).unwrap();
    assert!(tail < 20_000 - next + 300, "{tail}");
}

#[test]
fn a_line_keeps_its_offset_when_those_before_it_are_rotated_away() {
    let (mut known, mut log) = (Known::default(), counting(0..1_000));
    page(&mut known, &log, from(0), false);
    log.rotate(700);
    (1_000..1_500).for_each(|n| log.write(n * 1_000, &n.to_string()));
    let shown = page(&mut known, &log, from(900), false);
    assert_eq!((shown.from, shown.total, numbers(&shown)), (900, 1_500, (900..1_000).collect()));
    // What is gone is not shown as something else: the page begins with what is left, and says so.
    let shown = page(&mut known, &log, from(650), false);
    assert_eq!((shown.from, shown.total, numbers(&shown)), (700, 1_500, (700..800).collect()));
    let shown = page(&mut known, &log, LogWindow::Last(2), false);
    assert_eq!((shown.from, shown.total, numbers(&shown)), (1_498, 1_500, vec![1_498, 1_499]));
}

#[test]
fn a_log_of_which_nothing_is_left_goes_on_where_it_was() {
    let (mut known, mut log) = (Known::default(), counting(0..1_000));
    page(&mut known, &log, from(0), false);
    log.rotate(1_000);
    let shown = page(&mut known, &log, from(0), false);
    assert_eq!((shown.from, shown.total, shown.lines.len()), (1_000, 1_000, 0));
    log.write(9_000_000, "new");
    let shown = page(&mut known, &log, from(1_000), false);
    assert_eq!((shown.from, shown.total, &shown.lines[..]), (1_000, 1_001, &["new".to_owned()][..]));
}

#[test]
fn a_kubelet_without_times_teaches_nothing() {
    let (mut known, log) = (Known::default(), Kubelet { is_untimed: true, ..counting(0..500) });
    for _ in 0..2 {
        assert_eq!(numbers(&page(&mut known, &log, from(300), true)), (300..400).collect::<Vec<_>>());
        assert_eq!((known.counted, known.total), (0, None));
    }
    // As a kubelet answers whose container is gone.
    let timed = counting(0..500);
    page(&mut known, &timed, from(0), true);
    let mut gone = Kubelet { is_untimed: true, ..Kubelet::default() };
    gone.write(0, "unable to retrieve container logs");
    let shown = page(&mut known, &gone, LogWindow::Last(9), true);
    assert_eq!((shown.from, shown.total), (0, 1));
    assert_eq!(known.total, Some(500));
}

#[test]
fn logs_are_remembered_within_a_bound() {
    let index = Index::default();
    for n in 0..3 * MAX_LOGS {
        index.of(&n.to_string());
    }
    index.logs.run_pending_tasks();
    assert!(index.logs.entry_count() <= MAX_LOGS);
    let (mut known, log) = (Known::default(), counting(0..100_000));
    page(&mut known, &log, from(0), false);
    assert!(known.marks.len() <= MAX_MARKS && known.marks.capacity() * size_of::<Mark>() < 9 * 1024);
}

/// One line: how much later than the one before (or earlier), and how long.
fn any_line(coarse: bool) -> impl Strategy<Value = (i64, usize)> {
    let length = prop_oneof![30 => 0..40usize, 1 => PART..3 * PART];
    // Times of two streams are out of order, and clocks are set back; a coarse clock tells the same time often.
    let step = if coarse {
        prop_oneof![3 => Just(0i64), 3 => 1_000..1_000_000_000i64].boxed()
    } else {
        prop_oneof![8 => 1_000..1_000_000_000i64, 2 => -5_000_000_000..-1_000i64].boxed()
    };
    (step, length)
}

fn any_window() -> impl Strategy<Value = LogWindow> {
    prop_oneof![
        (0..400usize, 0..50usize).prop_map(|(from, size)| LogWindow::From { from, size }),
        (0..50usize).prop_map(LogWindow::Last),
    ]
}

fn any_steps(coarse: bool) -> impl Strategy<Value = Vec<(Vec<(i64, usize)>, LogWindow)>> {
    prop::collection::vec((prop::collection::vec(any_line(coarse), 0..120), any_window()), 1..8)
}

fn write(log: &mut Kubelet, now: &mut i64, written: &mut usize, lines: &[(i64, usize)]) {
    for (step, length) in lines {
        *now += step;
        log.write(*now, &format!("{written} {}", "x".repeat(*length)));
        *written += 1;
    }
}

fn plain(lines: &[String], window: LogWindow) -> Page {
    let total = lines.len();
    let (at, size) = match window {
        LogWindow::From { from, size } => (from, size),
        LogWindow::Last(size) => (total - size.min(total), size),
    };
    Page { from: at, total, lines: lines.iter().skip(at).take(size).cloned().collect() }
}

proptest! {
    #[test]
    fn offsets_are_those_of_a_plain_count(steps in any::<bool>().prop_flat_map(any_steps)) {
        let (mut known, mut log) = (Known::default(), Kubelet::default());
        let (mut now, mut written) = (1_000_000_000_000, 0);
        for (lines, window) in steps {
            write(&mut log, &mut now, &mut written, &lines);
            let all: Vec<_> = log.lines().map(|(_, text)| text[..text.len().min(64 * 1024)].to_owned()).collect();
            prop_assert_eq!(page(&mut known, &log, window, false), plain(&all, window));
        }
    }

    #[test]
    fn offsets_never_shift(steps in any_steps(false), rotations in prop::collection::vec(0.0..1.3f64, 8)) {
        let (mut known, mut log) = (Known::default(), Kubelet::default());
        let (mut now, mut written) = (1_000_000_000_000, 0);
        let mut offsets = HashMap::new();
        for ((lines, window), part) in steps.into_iter().zip(rotations) {
            write(&mut log, &mut now, &mut written, &lines);
            let count = u32::try_from(log.lines().count()).unwrap();
            // A third of the times nothing is rotated, and now and then all is.
            let gone = (f64::from(count) * (part - 0.3)).clamp(0.0, f64::from(count));
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the count")]
            log.rotate(gone as usize);
            let shown = page(&mut known, &log, window, false);
            // The first reading that shows a line gives it the next number.
            for (time, _) in log.lines() {
                let next = offsets.len();
                offsets.entry(time).or_insert(next);
            }
            prop_assert_eq!(shown.total, offsets.len());
            let left: Vec<_> = log.lines().map(|(time, text)| (offsets[&time], text)).collect();
            let first = left.first().map_or(offsets.len(), |(offset, _)| *offset);
            let expected = match window {
                LogWindow::From { from, size } => LogWindow::From { from: from.max(first), size },
                last @ LogWindow::Last(_) => last,
            };
            let (from, size) = match expected {
                LogWindow::From { from, size } => (from, size),
                LogWindow::Last(size) => (offsets.len() - size.min(left.len()), size),
            };
            prop_assert_eq!(shown.from, from);
            let wanted = left.iter().filter(|(offset, _)| (from..from + size).contains(offset));
            let wanted: Vec<_> = wanted.map(|(_, text)| text[..text.len().min(64 * 1024)].to_owned()).collect();
            prop_assert_eq!(shown.lines, wanted);
        }
    }

    #[test]
    fn a_following_goes_on_with_the_first_new_line(
        coarse: bool,
        before in prop::collection::vec(any_line(true), 1..60),
        after in prop::collection::vec(any_line(true), 0..60),
        tail in 1..100usize,
    ) {
        let (mut known, mut log, mut now, mut written) = (Known::default(), Kubelet::default(), 1_000_000_000_000, 0);
        // A run of lines of one time is within the tail.
        let tail = if coarse { 200 } else { tail };
        let lines = |lines: Vec<(i64, usize)>| -> Vec<_> {
            lines.into_iter().map(|(step, length)| (if coarse { step } else { step.max(1) }, length % PART)).collect()
        };
        write(&mut log, &mut now, &mut written, &lines(before));
        page(&mut known, &log, LogWindow::Last(1), false);
        let old = written;
        write(&mut log, &mut now, &mut written, &lines(after));
        let mut resume = Resume::after(&known, tail);
        let text = log.text(resume.tail());
        let read = block_on(async {
            let (mut lines, mut new) = (Lines::of(Cursor::new(text)), Vec::new());
            while let Some(line) = lines.next().await.unwrap() {
                match resume.is_new(line.time) {
                    Ok(true) => new.push(line.text()),
                    Ok(false) => {}
                    Err(ReadAgain) => return None,
                }
            }
            Some(new)
        });
        let expected: Vec<_> = log.lines().skip(old).map(|(_, text)| text.to_owned()).collect();
        // Too many new lines for the tail are noticed, or else nothing is missing and nothing is there twice.
        if let Some(read) = read {
            prop_assert_eq!(read, expected);
        } else {
            prop_assert!(written - old >= tail);
        }
    }
}
