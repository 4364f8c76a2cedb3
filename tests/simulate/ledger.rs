//! The invariants that hold at every moment, held against each change as it is made.

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::Value;
use sparkbatch::api::PodRetention;

use super::clock;
use super::schedule::{NS, Schedule, TEAM};
use crate::common::apiserver::{Call, Seen};

/// What processes of the operator are called.
pub const OPERATORS: [&str; 2] = ["operator-a", "operator-b"];

/// What names the group of a driver.
const GROUP: &str = "/metadata/annotations/scheduling.k8s.io~1group-name";

/// All that is known of one schedule.
#[derive(Default)]
pub struct Ledger {
    /// What broke an invariant, in words.
    pub violations: Vec<String>,
    /// What the schedule has seen, for the table of what was covered.
    pub seen: BTreeSet<&'static str>,
    /// All that happened.
    pub trace: Vec<String>,
    /// Driver pods that exist, by name.
    drivers: BTreeMap<String, Driver>,
    /// Secrets that ever were, by name.
    secrets: BTreeSet<String>,
    /// Batches that exist, by uid.
    batches: BTreeMap<String, Value>,
    /// Attempts that ever had a driver pod.
    attempts: BTreeSet<(String, i64)>,
    /// Volcano's groups that exist.
    groups: BTreeSet<String>,
    /// How many batches may have a driver at once; 0 for any number.
    limit: u32,
    /// What becomes of finished batches that do not say so themselves.
    retention: PodRetention,
    ttl: Option<u32>,
    /// Attempts whose driver an operator has ended.
    ended: BTreeSet<(String, i64)>,
    /// Batches that somebody ever wished to end.
    unwanted: BTreeSet<String>,
    /// Batches of which a driver ended well.
    succeeded: BTreeSet<String>,
    /// Who got each id of a namespace.
    ids: BTreeMap<(&'static str, i64), String>,
    /// Who holds each Lease.
    holders: BTreeMap<String, String>,
    /// How many batches were created to run each file.
    files: BTreeMap<String, usize>,
}

struct Driver {
    batch: String,
    group: String,
    attempt: i64,
    deleting: bool,
    ended: bool,
}

/// A string inside an object.
pub fn text<'a>(object: &'a Value, pointer: &str) -> &'a str {
    object.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// Whether a batch's status is final.
pub fn is_final(batch: &Value) -> bool {
    matches!(text(batch, "/status/phase"), "Succeeded" | "Failed" | "Killed")
}

/// The attempt that a pod's label names.
pub fn attempt_of(pod: &Value) -> i64 {
    pod["metadata"]["labels"]["sparkbatch.dev/attempt"].as_str().and_then(|n| n.parse().ok()).unwrap_or_default()
}

/// Where what has this name is.
pub fn namespace_of(name: &str) -> &'static str {
    if name.starts_with(TEAM) { TEAM } else { NS }
}

/// Whether a pod is a driver.
pub fn is_driver(pod: &Value) -> bool {
    pod["metadata"]["labels"]["spark-role"] == "driver"
}

/// Whether a pod has ended.
pub fn has_ended(pod: &Value) -> bool {
    matches!(text(pod, "/status/phase"), "Succeeded" | "Failed")
}

impl Ledger {
    pub fn of(schedule: &Schedule) -> Self {
        let Schedule { limit, retention, ttl, .. } = *schedule;
        Self { limit, retention, ttl, ..Self::default() }
    }

    pub fn note(&mut self, what: &str) {
        let at = clock::elapsed();
        self.trace.push(format!("{:>9.3} {what}", at.as_secs_f64()));
    }

    pub fn violated(&mut self, what: String) {
        self.note(&format!("VIOLATION: {what}"));
        self.violations.push(what);
    }

    /// How many batches were created to run a file.
    pub fn created(&self, file: &str) -> usize {
        self.files.get(file).copied().unwrap_or_default()
    }

    /// A request as it arrives: deletions and writes of a status name what they are about.
    pub fn request(&mut self, call: &Call, fate: &str) {
        let name = call.name.as_deref().unwrap_or_default();
        // The names of Events are made of the real time.
        let shown = if call.resource == "events" { "" } else { name };
        self.note(&format!("{} {} {} {shown} {fate}", call.client, call.verb, call.resource));
        if !OPERATORS.contains(&call.client.as_str()) {
            return;
        }
        let has = |pointer: &str| call.body.as_ref().is_some_and(|body| !text(body, pointer).is_empty());
        let is_bare = match (call.verb, call.resource.as_str()) {
            ("delete", "pods" | "secrets" | "sparkbatches" | "podgroups") => !has("/preconditions/uid"),
            ("patch", "sparkbatches/status") => !has("/metadata/resourceVersion"),
            _ => false,
        };
        if is_bare {
            self.violated(format!("{} {} {name} without a precondition", call.verb, call.resource));
        }
    }

    /// A change as it is made.
    pub fn change(&mut self, seen: &Seen<'_>) {
        let name = text(seen.new, "/metadata/name");
        let what = if seen.deleted { "deleted" } else { "stored" };
        let by = if seen.by.is_empty() { "world" } else { seen.by };
        if text(seen.new, "/status/reason") == "Queued" {
            self.seen.insert("batch: waits for its turn");
        }
        let phase = format!("{} {}", text(seen.new, "/status/phase"), text(seen.new, "/status/reason"));
        let shown = if seen.plural == "events" { "" } else { name };
        self.note(&format!("  {what} {} {shown} {phase} by {by}", seen.plural));
        match seen.plural {
            "pods" if is_driver(seen.new) => self.driver(seen, name),
            "secrets" if !seen.deleted => drop(self.secrets.insert(name.to_owned())),
            "podgroups" => self.group(seen, name),
            "sparkbatches" => self.batch(seen, name),
            "leases" => self.lease(seen, name),
            _ => {}
        }
    }

    /// A Lease is taken, or renewed.
    fn lease(&mut self, seen: &Seen<'_>, name: &str) {
        let holder = text(seen.new, "/spec/holderIdentity").to_owned();
        let others = || self.holders.iter().filter(|(lease, _)| *lease != name).map(|(_, other)| other);
        let shares = others().any(|other| !holder.is_empty() && !other.is_empty() && *other != holder);
        let before = self.holders.insert(name.to_owned(), holder.clone());
        if shares {
            self.seen.insert("leader: two at once, of a shard each");
        }
        if seen.new["spec"]["leaseTransitions"].as_i64() > Some(0) {
            self.seen.insert("leader: take-over");
            let changes_hands = !holder.is_empty() && before.is_some_and(|before| before != holder);
            if shares && changes_hands {
                self.seen.insert("leader: take-over of one shard, another stays");
            }
        }
    }

    fn driver(&mut self, seen: &Seen<'_>, name: &str) {
        let batch = text(seen.new, "/metadata/ownerReferences/0/uid").to_owned();
        let attempt = attempt_of(seen.new);
        let deleting = seen.deleted || seen.new["metadata"]["deletionTimestamp"].is_string();
        let ended = has_ended(seen.new);
        if text(seen.new, "/status/phase") == "Succeeded" {
            self.succeeded.insert(batch.clone());
        }
        let before = self.drivers.remove(name);
        let had_ended = before.as_ref().is_some_and(|before| before.ended);
        if deleting && had_ended && OPERATORS.contains(&seen.by) {
            self.cleared(name, &batch, attempt);
        }
        let is_first_deletion = deleting && before.as_ref().is_none_or(|before| !before.deleting);
        if is_first_deletion && !ended && OPERATORS.contains(&seen.by) {
            self.ended_by_operator(name, &batch, attempt);
        }
        if seen.deleted {
            return;
        }
        let group = text(seen.new, GROUP).to_owned();
        if seen.old.is_none() {
            self.started(name, &batch, attempt);
            self.check_group(name, &batch, &group);
        }
        self.drivers.insert(name.to_owned(), Driver { batch, group, attempt, deleting, ended });
    }

    /// Volcano makes a group of its own for a pod that comes before its group.
    fn check_group(&mut self, name: &str, batch: &str, group: &str) {
        // One whose create lands late is ended at once.
        let is_wanted = !self.unwanted.contains(batch) && !self.batches.get(batch).is_none_or(is_final);
        if !group.is_empty() && is_wanted && !self.groups.contains(group) {
            self.violated(format!("'{name}' is created before its group '{group}'"));
        }
    }

    fn group(&mut self, seen: &Seen<'_>, name: &str) {
        if !seen.deleted {
            self.seen.insert("driver: in a PodGroup");
            self.groups.insert(name.to_owned());
            return;
        }
        self.groups.remove(name);
        // Without its batch, all goes by garbage collection, in any order.
        let runs = |(pod, driver): &(&String, &Driver)| {
            driver.group == name
                && !driver.ended
                && !driver.deleting
                && self.secrets.contains(&secret_of(pod))
                && self.batches.contains_key(&driver.batch)
        };
        let running = self.drivers.iter().find(runs).map(|(pod, _)| pod.clone());
        if let Some(pod) = running.filter(|_| OPERATORS.contains(&seen.by)) {
            self.violated(format!("'{name}' is deleted, and its driver '{pod}' may run"));
        }
    }

    /// An operator deletes a driver that has ended.
    fn cleared(&mut self, name: &str, batch: &str, attempt: i64) {
        let Some(object) = self.batches.get(batch) else { return };
        let (keeps, is_current) = (self.keeps_pods(object), object["status"]["attempt"].as_i64() == Some(attempt));
        if text(object, "/status/phase") != "Succeeded" || !is_current {
            return;
        }
        if !keeps {
            self.seen.insert("driver: cleared by podRetention");
        } else if !self.unwanted.contains(batch) {
            self.violated(format!("'{name}' has succeeded and is to stay, and the operator deletes it"));
        }
    }

    /// Whether the drivers of a finished batch stay.
    pub fn keeps_pods(&self, batch: &Value) -> bool {
        let own = serde_json::from_value(batch["spec"]["podRetention"].clone());
        match own.unwrap_or(self.retention) {
            PodRetention::Always => true,
            PodRetention::OnFailure => text(batch, "/status/phase") != "Succeeded",
            PodRetention::Never => false,
        }
    }

    /// A driver pod is created.
    fn started(&mut self, name: &str, batch: &str, attempt: i64) {
        self.attempts.insert((batch.to_owned(), attempt));
        if attempt > 1 {
            self.seen.insert("driver: attempt after the first");
        }
        if namespace_of(name) == TEAM {
            self.seen.insert("driver: in the other namespace");
        }
        if self.secrets.contains(&secret_of(name)) {
            self.violated(format!("attempt {attempt} is started twice: '{name}' is created again"));
        }
        let live = self.drivers.iter().filter(|(_, driver)| driver.batch == batch && !driver.ended);
        let live: Vec<_> = live.map(|(name, _)| name.clone()).collect();
        if !live.is_empty() {
            self.violated(format!("'{name}' is created while {live:?} may run"));
        }
        self.check_limit(name);
        if self.batches.get(batch).is_some_and(is_final) {
            // Named, but no violation by itself: one with an old cache does so, and the leader ends it.
            self.seen.insert("driver: of a finished batch");
        }
    }

    /// While one process leads a namespace, at most so many of its drivers may run, those that go included.
    fn check_limit(&mut self, name: &str) {
        let is_near = |(of, driver): &(&String, &Driver)| !driver.ended && namespace_of(of) == namespace_of(name);
        let (active, limit) = (self.drivers.iter().filter(is_near).count(), self.limit);
        if limit == 0 {
            return;
        }
        self.seen.insert("driver: under a limit");
        if active >= usize::try_from(limit).unwrap_or(usize::MAX) {
            self.violated(format!("'{name}' is created beside {active} that may run, and the limit is {limit}"));
        }
    }

    /// An operator ends a driver that has not ended by itself.
    fn ended_by_operator(&mut self, name: &str, batch: &str, attempt: i64) {
        self.seen.insert("driver: ended by the operator");
        let Some(status) = self.batches.get(batch).map(|batch| &batch["status"]) else { return };
        let is_told = matches!(text(status, "/phase"), "Succeeded" | "Failed" | "Killed")
            || matches!(text(status, "/reason"), "Cancelled" | "Suspended")
            || status["attempt"].as_i64().unwrap_or(1) > attempt;
        self.ended.insert((batch.to_owned(), attempt));
        if !is_told && self.secrets.contains(&secret_of(name)) {
            let status = status.clone();
            self.violated(format!("the operator ends '{name}' before it has written why: {status}"));
        }
    }

    fn batch(&mut self, seen: &Seen<'_>, name: &str) {
        let uid = text(seen.new, "/metadata/uid").to_owned();
        if seen.deleted {
            self.batches.remove(&uid);
            if OPERATORS.contains(&seen.by) {
                self.expired(name, seen.new);
            }
            return;
        }
        if ["suspend", "cancel"].iter().any(|wish| seen.new["spec"][wish] == true) {
            self.unwanted.insert(uid.clone());
        }
        match seen.old {
            None => *self.files.entry(text(seen.new, "/spec/file").to_owned()).or_default() += 1,
            Some(old) => self.moved(name, &uid, old, seen.new),
        }
        let label = text(seen.new, "/metadata/labels/sparkbatch.dev~1id").parse().ok();
        for id in [label, seen.new["status"]["id"].as_i64()].into_iter().flatten() {
            let owner = self.ids.entry((namespace_of(name), id)).or_insert_with(|| uid.clone());
            if *owner != uid {
                let owner = owner.clone();
                self.violated(format!("id {id} is given to '{name}' ({uid}), and was to {owner}"));
            }
        }
        self.batches.insert(uid, seen.new.clone());
    }

    /// An operator deletes a batch.
    fn expired(&mut self, name: &str, batch: &Value) {
        if !is_final(batch) {
            self.violated(format!("the operator deletes '{name}', which has not ended"));
        }
        // What the user has changed since is not known of, perhaps.
        if batch["spec"]["ttlSecondsAfterFinished"].is_i64() {
            self.seen.insert("batch: gone by its own time to live");
            return;
        }
        let ended = text(batch, "/status/completionTime").parse::<Timestamp>().unwrap_or(Timestamp::MAX);
        let stays = self.ttl.map_or(SignedDuration::MAX, |ttl| SignedDuration::from_secs(ttl.into()));
        if clock::now().duration_since(ended) < stays {
            self.violated(format!("the operator deletes '{name}', which ended at {ended}, before its time is up"));
        }
        self.seen.insert("batch: gone by the default time to live");
    }

    fn moved(&mut self, name: &str, uid: &str, old: &Value, new: &Value) {
        let (before, after) = (&old["status"], &new["status"]);
        if text(before, "/reason") == "Queued" {
            for (wish, what) in [("suspend", "batch: suspended in line"), ("cancel", "batch: cancelled in line")] {
                if new["spec"][wish] == true && old["spec"][wish] != true {
                    self.seen.insert(what);
                }
            }
        }
        if is_final(old) && before != after {
            self.violated(format!("'{name}' was final and changes: {before} to {after}"));
        }
        let attempt = |status: &Value| status["attempt"].as_i64().unwrap_or(1);
        if attempt(after) < attempt(before) || (before["id"].is_i64() && before["id"] != after["id"]) {
            self.violated(format!("'{name}' goes back: {before} to {after}"));
        }
        if text(after, "/phase") == "Succeeded" && !self.succeeded.contains(uid) {
            self.violated(format!("'{name}' is said to have succeeded, and no driver of it did"));
        }
        let records = |status: &Value| status["attempts"].as_array().cloned().unwrap_or_default();
        let added = records(after).pop().filter(|record| !records(before).contains(record));
        let lost = match added {
            Some(record) if record["reason"] == "DriverLost" => record["attempt"].as_i64(),
            None if text(after, "/reason") == "DriverLost" && !is_final(old) => Some(attempt(after)),
            _ => None,
        };
        if let Some(attempt) = lost {
            self.lost(name, uid, attempt);
        }
    }

    /// A driver is said to be lost.
    fn lost(&mut self, name: &str, uid: &str, attempt: i64) {
        self.seen.insert("driver: lost");
        if !self.attempts.contains(&(uid.to_owned(), attempt)) {
            self.violated(format!("the driver of '{name}', attempt {attempt}, is said to be lost and never was"));
        }
        if self.ended.contains(&(uid.to_owned(), attempt)) {
            self.violated(format!("the driver of '{name}', attempt {attempt}, is said to be lost, and was ended"));
        }
        let lives =
            |driver: &Driver| driver.batch == uid && driver.attempt == attempt && !driver.ended && !driver.deleting;
        if self.drivers.values().any(lives) {
            self.violated(format!("the driver of '{name}', attempt {attempt}, is said to be lost and lives"));
        }
    }
}

/// The Secret that is the start gate of a driver.
pub fn secret_of(driver: &str) -> String {
    driver.strip_suffix("-driver").map(|prefix| format!("{prefix}-conf")).unwrap_or_default()
}
