//! What the controller remembers of batches between two looks: what it wrote last, so that it never acts on a
//! cache that has not seen it yet, and how often in a row a batch failed. Nothing here decides an outcome; a
//! restart loses it and loses nothing.

use std::collections::{HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use jiff::Timestamp;
use kube::{Resource, ResourceExt as _};
use tokio::time::Instant;

use super::unanswered::Unanswered;
use crate::api::{ExecutorCounts, SparkBatchStatus};
use crate::observe::{LACK_GRACE, Lack};

/// For how long what is said of a driver without executors stays as it is.
const SAID_INTERVAL: Duration = Duration::from_secs(60);

#[derive(Default)]
pub(super) struct Memory(Mutex<HashMap<String, Entry>>);

#[derive(Default)]
struct Entry {
    written_version: Option<u64>,
    written_at: Option<Instant>,
    failures: u32,
    cleared_for: Option<i32>,
    rests_until: Option<Instant>,
    told_unreadable: bool,
    // There are as many entries as batches, and few have these.
    unanswered: Option<Box<Unanswered>>,
    executors: Option<Box<Executors>>,
}

/// What was seen and said of the executors of an attempt.
struct Executors {
    attempt: i32,
    /// Since when none runs.
    none_since: Timestamp,
    /// Whether there ever was one, as far as is known.
    had_any: bool,
    said: Option<(Lack, Instant)>,
}

/// How long a driver has had no executor that runs.
#[derive(Clone, Copy)]
pub(super) struct Lacking {
    pub(super) since: Timestamp,
    /// Whether it ever had one.
    pub(super) had_any: bool,
}

impl Memory {
    /// Whether the cached `object` is older than what the controller itself wrote.
    ///
    /// Kubernetes compares resource versions of one resource as integers since 1.35; etcd always gave them so.
    pub(super) fn is_stale(&self, object: &impl Resource) -> bool {
        let Some(uid) = object.meta().uid.as_deref() else { return false };
        let written = self.entries().get(uid).and_then(|entry| entry.written_version);
        matches!((written, version_of(object)), (Some(written), Some(cached)) if cached < written)
    }

    pub(super) fn wrote(&self, object: &impl Resource, at: Instant) {
        let (Some(uid), Some(version)) = (object.meta().uid.clone(), version_of(object)) else { return };
        let mut entries = self.entries();
        let entry = entries.entry(uid).or_default();
        entry.written_version = Some(version);
        entry.written_at = Some(at);
    }

    /// The status `after` is about to be written over `before`, which this version of the object has.
    pub(super) fn writes(
        &self,
        uid: &str,
        version: Option<String>,
        before: &SparkBatchStatus,
        after: &SparkBatchStatus,
    ) {
        let mut entries = self.entries();
        let unanswered = &mut entries.entry(uid.to_owned()).or_default().unanswered;
        let earlier = unanswered.take().map(|earlier| *earlier);
        *unanswered = Some(Box::new(Unanswered::with(earlier, version, before, after)));
    }

    /// Every write was answered.
    pub(super) fn answered(&self, uid: &str) {
        if let Some(entry) = self.entries().get_mut(uid) {
            entry.unanswered = None;
        }
    }

    /// What was written without an answer, once another version of the object tells what has come of it.
    pub(super) fn take_unanswered(&self, uid: &str, version: Option<&str>) -> Option<Unanswered> {
        let mut entries = self.entries();
        let unanswered = entries.get_mut(uid)?.unanswered.take_if(|unanswered| !unanswered.may_come_yet(version))?;
        Some(*unanswered)
    }

    /// How long ago the controller last wrote this object's status. What an earlier process wrote may have been written
    /// just now, so that it is counted from the first time that this one asks.
    pub(super) fn since_write(&self, uid: &str, now: Instant) -> Duration {
        let mut entries = self.entries();
        let at = *entries.entry(uid.to_owned()).or_default().written_at.get_or_insert(now);
        now.saturating_duration_since(at)
    }

    /// Takes in the `counts` of an attempt that runs `since` then. Of what was before the first look it is taken that
    /// all was well, unless the status `says` otherwise.
    pub(super) fn saw_executors(
        &self,
        uid: &str,
        attempt: i32,
        counts: &ExecutorCounts,
        since: Timestamp,
        says: bool,
        now: Timestamp,
    ) -> Lacking {
        let mut entries = self.entries();
        let known = &mut entries.entry(uid.to_owned()).or_default().executors;
        if known.as_ref().is_none_or(|known| known.attempt != attempt) {
            let had_any = !says && now.duration_since(since) >= LACK_GRACE;
            *known = Some(Box::new(Executors { attempt, none_since: since, had_any, said: None }));
        }
        let Some(known) = known else { return Lacking { since, had_any: false } };
        known.had_any |= counts.pending + counts.running + counts.succeeded + counts.failed > 0;
        if counts.running > 0 {
            known.none_since = now;
        }
        Lacking { since: known.none_since, had_any: known.had_any }
    }

    /// What to say of the lack of executors. For the same cause, it is what was said before while that is not long ago:
    /// the numbers in it change with every node.
    pub(super) fn say_of_executors(&self, uid: &str, lack: Option<Lack>, now: Instant) -> Option<String> {
        let mut entries = self.entries();
        let said = &mut entries.get_mut(uid)?.executors.as_mut()?.said;
        match (lack, &said) {
            (None, _) => *said = None,
            (Some(lack), Some((before, at)))
                if lack.cause == before.cause && now.saturating_duration_since(*at) < SAID_INTERVAL => {}
            (Some(lack), _) => *said = Some((lack, now)),
        }
        said.as_ref().map(|(lack, _)| lack.message.clone())
    }

    /// Nothing is to be asked for, for this object, until then: it was refused.
    pub(super) fn rest(&self, uid: &str, until: Instant) {
        self.entries().entry(uid.to_owned()).or_default().rests_until = Some(until);
    }

    /// For how long nothing is to be asked for, if so.
    pub(super) fn rests_for(&self, uid: &str, now: Instant) -> Option<Duration> {
        let until = self.entries().get(uid)?.rests_until?;
        Some(until.saturating_duration_since(now)).filter(|left| !left.is_zero())
    }

    /// Counts a failure; how many in a row that makes.
    pub(super) fn failed(&self, uid: &str) -> u32 {
        let mut entries = self.entries();
        let failures = &mut entries.entry(uid.to_owned()).or_default().failures;
        *failures = failures.saturating_add(1);
        *failures
    }

    /// How often in a row the batch failed.
    pub(super) fn failures(&self, uid: &str) -> u32 {
        self.entries().get(uid).map_or(0, |entry| entry.failures)
    }

    /// What the attempt before this one had left is gone.
    pub(super) fn cleared(&self, uid: &str, attempt: i32) {
        self.entries().entry(uid.to_owned()).or_default().cleared_for = Some(attempt);
    }

    pub(super) fn is_cleared(&self, uid: &str, attempt: i32) -> bool {
        self.entries().get(uid).is_some_and(|entry| entry.cleared_for == Some(attempt))
    }

    pub(super) fn succeeded(&self, uid: &str) {
        if let Some(entry) = self.entries().get_mut(uid) {
            entry.failures = 0;
        }
    }

    /// How many batches failed at their last look.
    pub(super) fn failing(&self) -> usize {
        self.entries().values().filter(|entry| entry.failures > 0).count()
    }

    /// Whether this is the first time that a batch which cannot be read is told of.
    pub(super) fn is_first_told(&self, uid: &str) -> bool {
        !std::mem::replace(&mut self.entries().entry(uid.to_owned()).or_default().told_unreadable, true)
    }

    /// Nothing more will happen to this batch.
    pub(super) fn forget(&self, uid: &str) {
        self.entries().remove(uid);
    }

    /// Forgets all batches but these: the others were deleted while no watch was open.
    pub(super) fn keep_only(&self, uids: &HashSet<String>) {
        self.entries().retain(|uid, _| uids.contains(uid));
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<String, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn version_of(object: &impl Resource) -> Option<u64> {
    object.resource_version().and_then(|version| version.parse().ok())
}

#[cfg(test)]
mod tests {
    use k8s_openapi::api::core::v1::Pod;

    use super::*;
    use crate::api::Reason;
    use crate::observe::LackCause;

    fn pod(version: &str) -> Pod {
        let mut pod = Pod::default();
        pod.metadata.uid = Some("u".into());
        pod.metadata.resource_version = Some(version.into());
        pod
    }

    #[test]
    fn a_cache_older_than_our_own_write_is_stale() {
        let memory = Memory::default();
        assert!(!memory.is_stale(&pod("9")));
        memory.wrote(&pod("10"), Instant::now());
        assert!(memory.is_stale(&pod("9")));
        assert!(!memory.is_stale(&pod("10")));
        memory.forget("u");
        assert!(!memory.is_stale(&pod("9")));
    }

    #[test]
    fn what_was_not_answered_is_remembered_until_another_version_tells_and_goes_with_its_batch() {
        let (memory, status) = (Memory::default(), SparkBatchStatus::default());
        let writes = || memory.writes("u", Some("7".into()), &status, &status);
        writes();
        assert!(memory.take_unanswered("u", Some("7")).is_none());
        assert!(memory.take_unanswered("u", Some("8")).is_some());
        assert!(memory.take_unanswered("u", Some("8")).is_none());
        for forget in [Memory::answered, Memory::forget] {
            writes();
            forget(&memory, "u");
            assert!(memory.take_unanswered("u", Some("8")).is_none());
        }
    }

    fn executors(pending: i32, running: i32) -> ExecutorCounts {
        ExecutorCounts { requested: 2, pending, running, ..ExecutorCounts::default() }
    }

    #[test]
    fn a_driver_lacks_executors_since_the_last_one_ran() {
        let (memory, at) = (Memory::default(), |second| Timestamp::from_second(second).unwrap());
        let saw = |attempt, counts, now| {
            let lacking = memory.saw_executors("u", attempt, &counts, at(100), false, at(now));
            (lacking.since.as_second(), lacking.had_any)
        };
        assert_eq!(saw(1, executors(0, 0), 101), (100, false));
        assert_eq!(saw(1, executors(1, 0), 110), (100, true));
        assert_eq!(saw(1, executors(0, 1), 120), (120, true));
        assert_eq!(saw(1, executors(0, 0), 150), (120, true));
        assert_eq!(saw(2, executors(0, 0), 101), (100, false), "another attempt");
    }

    #[test]
    fn what_was_before_this_process_is_taken_to_have_been_well_unless_it_was_said_not_to_be() {
        for (says, had_any) in [(false, true), (true, false)] {
            let now = Timestamp::from_second(200).unwrap();
            let lacking = Memory::default().saw_executors("u", 1, &executors(0, 0), Timestamp::UNIX_EPOCH, says, now);
            assert_eq!(lacking.had_any, had_any);
        }
    }

    #[test]
    fn what_is_said_stays_for_a_minute_and_is_taken_back_at_once() {
        let (memory, start) = (Memory::default(), Instant::now());
        memory.saw_executors("u", 1, &executors(0, 0), Timestamp::UNIX_EPOCH, false, Timestamp::UNIX_EPOCH);
        let say_for = |cause, text: Option<&str>, second| {
            let lack = text.map(|text| Lack { cause, message: text.to_owned() });
            memory.say_of_executors("u", lack, start + Duration::from_secs(second))
        };
        let say = |text, second| say_for(LackCause::Kept(Reason::Unschedulable), text, second);
        assert_eq!(say(Some("0/1 nodes"), 0).as_deref(), Some("0/1 nodes"));
        assert_eq!(say(Some("0/2 nodes"), 59).as_deref(), Some("0/1 nodes"));
        assert_eq!(say(Some("0/3 nodes"), 60).as_deref(), Some("0/3 nodes"));
        assert_eq!(say(None, 61), None);
        assert_eq!(say(Some("0/4 nodes"), 62).as_deref(), Some("0/4 nodes"));
        assert_eq!(say_for(LackCause::NotCreated, Some("quota"), 63).as_deref(), Some("quota"), "another cause");
    }

    #[test]
    fn what_was_refused_rests_for_its_time() {
        let (memory, now) = (Memory::default(), Instant::now());
        assert_eq!(memory.rests_for("u", now), None);
        memory.rest("u", now + Duration::from_secs(10));
        assert_eq!(memory.rests_for("u", now), Some(Duration::from_secs(10)));
        assert_eq!(memory.rests_for("u", now + Duration::from_secs(10)), None);
    }

    #[test]
    fn failures_are_counted_in_a_row() {
        let memory = Memory::default();
        assert_eq!((memory.failed("u"), memory.failed("u")), (1, 2));
        memory.succeeded("u");
        assert_eq!(memory.failed("u"), 1);
    }
}
