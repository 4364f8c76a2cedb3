//! What goes wrong between the processes and the API server: requests, answers and watches.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use fastrand::Rng;

use super::ledger::{Ledger, OPERATORS};
use super::stops::Stops;
use super::world::{World, lock};
use crate::common::apiserver::{Call, Fault};

/// How late creates land at the most that their sender has given up: within the margin by which a leader gives them up
/// before another may lead (docs/adr/0008). The API server ends what its client does not wait for.
const LATE_CREATE: u64 = 900;
/// All other writes name what they are about, and may land when they like.
const LATE: u64 = 40_000;

/// Draws what becomes of requests.
pub struct Dice {
    pub rng: Rng,
    /// In thousandths.
    pub chance: u32,
}

impl Dice {
    fn draw(&mut self, call: &Call) -> Option<(&'static str, Fault)> {
        if self.rng.u32(..1000) >= self.chance {
            return None;
        }
        let fault = Fault::on("*", "*");
        let millis = |rng: &mut Rng, most| Duration::from_millis(rng.u64(1..most));
        if call.is_write() && self.rng.u32(..4) == 0 {
            let late = millis(&mut self.rng, if call.verb == "create" { LATE_CREATE } else { LATE });
            let unanswered = self.rng.bool();
            let fault = fault.land_late(late);
            return Some(("fault: lands late", if unanswered { fault.lose_response() } else { fault }));
        }
        Some(match self.rng.u32(..12) {
            0 => ("fault: 409", fault.answer(409)),
            // A create is of no version.
            1 | 11 if (call.verb, call.resource.as_str()) == ("create", "pods") => ("fault: 403", fault.answer(403)),
            1 => ("fault: 410", fault.answer(410)),
            2 => ("fault: 429", fault.answer_retry_after(429, 1)),
            3 => ("fault: 500", fault.answer(500)),
            4 => ("fault: 503", fault.answer(503)),
            5 => ("fault: 504 of what was done", fault.lose_response().linger(millis(&mut self.rng, 40_000))),
            6 => ("fault: refused", fault.refuse()),
            7 | 8 => ("fault: answer lost", fault.lose_response()),
            9 if call.verb != "watch" => ("fault: slow", fault.delay(millis(&mut self.rng, 20_000))),
            10 if call.verb != "watch" => ("fault: answer late", fault.linger(millis(&mut self.rng, 70_000))),
            _ => ("fault: lost", fault.refuse()),
        })
    }
}

/// Has the server decide about each request by `dice`, and hold what stopped processes send.
pub fn decide(
    ledger: &Arc<Mutex<Ledger>>,
    dice: &Arc<Mutex<Dice>>,
    stops: &Arc<Mutex<Stops>>,
    call: &Call,
) -> Option<Fault> {
    let (mut ledger, mut stops) = (lock(ledger), lock(stops));
    if let Some(left) = stops.left(&call.client) {
        ledger.request(call, "waits: its process is stopped");
        return Some(Fault::on("*", "*").delay(left));
    }
    if let Some(time) = stops.falls_due(call) {
        ledger.request(call, "is the last before its process is stopped");
        ledger.seen.insert("process: stopped at a call");
        return Some(Fault::on("*", "*").linger(time));
    }
    drop(stops);
    let drawn = lock(dice).draw(call);
    ledger.request(call, drawn.as_ref().map_or("", |(name, _)| name));
    let (name, fault) = drawn?;
    ledger.seen.insert(name);
    Some(fault)
}

const WATCHED: [&str; 2] = ["sparkbatches", "pods"];

impl World {
    /// Something becomes of the watches: late news, in another order than they were made, or none any more.
    pub fn disturb_watches(&mut self) {
        let kind = WATCHED[self.rng.usize(..2)];
        let label = OPERATORS[self.rng.usize(..2)];
        let what = match self.rng.u32(..10) {
            0 | 1 => {
                self.server.hold_watches(kind);
                "watch: held, so that caches are stale"
            }
            2..=4 => {
                self.server.hold_watches_of(label, kind);
                "watch: held of one replica"
            }
            5 | 6 => {
                self.release_watches();
                "watch: late news"
            }
            7 => {
                self.server.end_watches(kind);
                "watch: ended"
            }
            8 => {
                self.server.break_watches(kind);
                "watch: broken"
            }
            _ => {
                // What happened meanwhile is heard of from a listing alone.
                self.server.expire_watches(kind);
                "watch: expired, events dropped"
            }
        };
        self.saw(what);
        self.note(&format!("{what}: {kind}, {label}"));
    }

    /// Delivers all events kept back.
    pub fn release_watches(&mut self) {
        for kind in WATCHED {
            self.server.release_watches(kind);
            for label in OPERATORS {
                self.server.release_watches_of(label, kind);
            }
        }
    }
}
