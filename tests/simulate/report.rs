//! What schedules covered, and what a failure looks like.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::schedule::{Scenario, Schedule};
use super::world::Outcome;

/// What is seen less than that often, in two-thousandths of all schedules, is not simulated well enough.
const ENOUGH: &[(&str, u64)] = &[
    ("batch: cancelled in line", 5),
    ("batch: gone by its own time to live", 30),
    ("batch: gone by the default time to live", 100),
    ("batch: suspended in line", 5),
    ("batch: waits for its turn", 50),
    ("cut: before a call", 30),
    ("cut: after a call", 30),
    ("cut: before a write", 30),
    ("cut: after a write", 30),
    ("driver: attempt after the first", 100),
    ("driver: cleared by podRetention", 100),
    ("driver: ended by the operator", 100),
    ("driver: in a PodGroup", 100),
    ("driver: in the other namespace", 50),
    ("driver: lost", 50),
    ("driver: under a limit", 200),
    ("facade: DELETE", 5),
    ("facade: POST", 20),
    ("facade: POST with a key", 50),
    ("fault: 403", 5),
    ("fault: 409", 100),
    ("fault: 410", 100),
    ("fault: 429", 100),
    ("fault: 500", 100),
    ("fault: 503", 100),
    ("fault: 504 of what was done", 100),
    ("fault: answer late", 100),
    ("fault: answer lost", 100),
    ("fault: lands late", 80),
    ("fault: refused", 100),
    ("fault: slow", 100),
    ("leader: take-over", 100),
    ("leader: take-over of one shard, another stays", 15),
    ("leader: two at once, of a shard each", 40),
    ("pod: collected after its end", 30),
    ("pod: ended badly", 100),
    ("pod: ended well", 200),
    ("pod: evicted", 50),
    ("pod: executor", 50),
    ("pod: its node is silent", 30),
    ("pod: long in going", 10),
    ("pod: lost", 50),
    ("process: shut down in order", 50),
    ("process: started again", 200),
    ("process: stopped at a call", 60),
    ("process: stopped for a while", 100),
    ("watch: broken", 100),
    ("watch: ended", 100),
    ("watch: expired, events dropped", 100),
    ("watch: held of one replica", 100),
    ("watch: held, so that caches are stale", 100),
    ("watch: late news", 100),
];

/// Of each scenario there are so many, in two-thousandths.
const ENOUGH_OF_A_SCENARIO: u64 = 30;

/// How many schedules saw what.
#[derive(Default)]
pub struct Coverage {
    schedules: u64,
    seen: BTreeMap<&'static str, u64>,
}

impl Coverage {
    pub fn add(&mut self, outcome: &Outcome) {
        self.schedules += 1;
        for what in &outcome.ledger.seen {
            *self.seen.entry(what).or_default() += 1;
        }
    }

    pub fn table(&self) -> String {
        let mut table = format!("{:>9} schedules\n", self.schedules);
        for (what, count) in &self.seen {
            let _ = writeln!(table, "{count:>9} saw {what}");
        }
        table
    }

    /// What was seen too seldom.
    pub fn missing(&self) -> Vec<String> {
        let scenarios = Scenario::ALL.map(|scenario| (scenario.name(), ENOUGH_OF_A_SCENARIO));
        let wanted = ENOUGH.iter().copied().chain(scenarios);
        wanted
            .map(|(what, share)| {
                (what, self.schedules * share / 2000, self.seen.get(what).copied().unwrap_or_default())
            })
            .filter(|(_, wanted, seen)| seen < wanted)
            .map(|(what, wanted, seen)| format!("{what}: {seen} of {wanted}"))
            .collect()
    }
}

/// A schedule that broke an invariant, in words.
pub fn failure(schedule: &Schedule, outcome: &Outcome) -> String {
    let Outcome { ledger, ends, .. } = outcome;
    format!(
        "{schedule:#?}\n{}\nends: {ends:?}\n\n{}\n\nseed {}, {:?}: SPARKBATCH_SIMULATE_SCHEDULES=1 \
         SPARKBATCH_SIMULATE_SEED={} runs it alone",
        ledger.trace.join("\n"),
        ledger.violations.join("\n"),
        schedule.seed,
        schedule.cut,
        schedule.seed,
    )
}
