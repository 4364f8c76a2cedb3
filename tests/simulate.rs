//! The whole operator, simulated: controllers, their election and the facade run against the in-process API server on
//! a simulated clock, under schedules of faults, cuts and restarts that a seed stands for.
//!
//! `SPARKBATCH_SIMULATE_SCHEDULES` schedules are run (`make simulate`), first those that cut the process before and
//! after each of its calls in each scenario, then those of the seeds from `SPARKBATCH_SIMULATE_SEED` on. A failure
//! prints its seed and all that happened.
#![allow(missing_docs, unreachable_pub, clippy::panic)]

mod common;

#[path = "simulate/clock.rs"]
mod clock;
#[path = "simulate/kubelet.rs"]
mod kubelet;
#[path = "simulate/ledger.rs"]
mod ledger;
#[path = "simulate/processes.rs"]
mod processes;
#[path = "simulate/report.rs"]
mod report;
#[path = "simulate/schedule.rs"]
mod schedule;
#[path = "simulate/stops.rs"]
mod stops;
#[path = "simulate/users.rs"]
mod users;
#[path = "simulate/weather.rs"]
mod weather;
#[path = "simulate/world.rs"]
mod world;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::apiserver::Crash;
use report::Coverage;
use schedule::{Cut, Scenario, Schedule};
use world::{lock, run};

/// How many schedules there are where nobody says.
const SCHEDULES: u64 = 1500;
/// How often the progress is told.
const TELL: Duration = Duration::from_secs(5);

fn variable(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name} is no number: {text}")))
}

/// Each scenario, cut before and after each call that the process makes in it, and where another would take over,
/// stopped after each; with the end that it has uncut.
fn cuts() -> Vec<(Schedule, Vec<String>)> {
    let of = |scenario| {
        let clean = run(&Schedule::cut(scenario, None));
        assert!(clean.ledger.violations.is_empty(), "{}", report::failure(&Schedule::cut(scenario, None), &clean));
        let calls = 1..=u64::try_from(clean.calls).unwrap_or_default();
        let deaths = calls.clone().flat_map(|n| [Crash::BeforeCall(n), Crash::AfterCall(n)]).map(Cut::Dies);
        let stops = calls.filter(|_| scenario == Scenario::LeaderChange).map(Cut::Stops);
        let cuts = deaths.chain(stops);
        cuts.map(move |cut| (Schedule::cut(scenario, Some(cut)), clean.ends.clone())).collect::<Vec<_>>()
    };
    Scenario::ALL.into_iter().flat_map(of).collect()
}

#[test]
fn no_schedule_breaks_an_invariant() {
    let cuts = if variable("SPARKBATCH_SIMULATE_SEED").is_some() { Vec::new() } else { cuts() };
    let total = variable("SPARKBATCH_SIMULATE_SCHEDULES").unwrap_or(SCHEDULES);
    let first = variable("SPARKBATCH_SIMULATE_SEED").unwrap_or(1);
    let (next, failed) = (AtomicU64::new(0), AtomicBool::new(false));
    let (coverage, failures) = (Mutex::new(Coverage::default()), Mutex::new(Vec::new()));
    let began = Instant::now();
    let work = || {
        while !failed.load(Ordering::Relaxed) {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let cut = usize::try_from(n).ok().and_then(|n| cuts.get(n));
            let seed = first + n.saturating_sub(cuts.len() as u64);
            let schedule = cut.map_or_else(|| Schedule::random(seed), |(schedule, _)| schedule.clone());
            if n >= total.max(cuts.len() as u64) {
                return;
            }
            let mut outcome = run(&schedule);
            if let Some((_, ends)) = cut.filter(|(_, ends)| *ends != outcome.ends) {
                outcome.ledger.violated(format!("without the cut it ends as {ends:?}"));
            }
            lock(&coverage).add(&outcome);
            if !outcome.ledger.violations.is_empty() {
                failed.store(true, Ordering::Relaxed);
                lock(&failures).push(format!("{}\nafter {n} schedules", report::failure(&schedule, &outcome)));
            }
        }
    };
    let tell = || {
        let mut told = Instant::now();
        while !failed.load(Ordering::Relaxed) && next.load(Ordering::Relaxed) < total {
            thread::sleep(Duration::from_millis(50));
            if told.elapsed() >= TELL {
                told = Instant::now();
                let done = next.load(Ordering::Relaxed);
                println!("{done} of {total} schedules, {} a second", done / began.elapsed().as_secs().max(1));
            }
        }
    };
    thread::scope(|scope| {
        (0..thread::available_parallelism().map_or(2, usize::from)).for_each(|_| drop(scope.spawn(work)));
        scope.spawn(tell);
    });
    if let Some(failure) = lock(&failures).first() {
        panic!("{failure}");
    }
    let coverage = lock(&coverage);
    println!("{}{} of them cut at one place; {:.1} s", coverage.table(), cuts.len(), began.elapsed().as_secs_f64());
    let missing = coverage.missing();
    assert!(
        total < SCHEDULES.max(2 * cuts.len() as u64) || missing.is_empty(),
        "not simulated often enough: {missing:#?}"
    );
}

/// Where several things happen at one moment, the libraries' hash maps and wakers say which comes first: with several
/// batches or processes a seed gives the same schedule, and not the same order of all calls.
#[test]
fn a_seed_with_one_batch_and_one_process_gives_the_same_calls_again() {
    let is_simple = |schedule: &Schedule| {
        schedule.batches.len() == 1 && schedule.replicas == 1 && !schedule.facade && !schedule.elected
    };
    let schedules: Vec<_> = (1..=400).map(Schedule::random).filter(is_simple).collect();
    let differs = |schedule: &&Schedule| run(schedule).ledger.trace != run(schedule).ledger.trace;
    let differing: Vec<_> = schedules.iter().filter(differs).map(|schedule| schedule.seed).collect();
    assert!(schedules.len() > 20 && differing.len() * 10 <= schedules.len(), "{differing:?} of {}", schedules.len());
}
