//! What the controller remembers of batches between two looks: what it wrote last, so that it never acts on a
//! cache that has not seen it yet, and how often in a row a batch failed. Nothing here decides an outcome; a
//! restart loses it and loses nothing.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use kube::{Resource, ResourceExt as _};

#[derive(Default)]
pub(super) struct Memory(Mutex<HashMap<String, Entry>>);

#[derive(Default)]
struct Entry {
    written_version: Option<u64>,
    written_at: Option<Instant>,
    failures: u32,
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

    /// How long ago the controller last wrote this object's status.
    pub(super) fn since_write(&self, uid: &str, now: Instant) -> Option<Duration> {
        self.entries().get(uid)?.written_at.map(|at| now.saturating_duration_since(at))
    }

    /// Counts a failure; how many in a row that makes.
    pub(super) fn failed(&self, uid: &str) -> u32 {
        let mut entries = self.entries();
        let failures = &mut entries.entry(uid.to_owned()).or_default().failures;
        *failures = failures.saturating_add(1);
        *failures
    }

    pub(super) fn succeeded(&self, uid: &str) {
        if let Some(entry) = self.entries().get_mut(uid) {
            entry.failures = 0;
        }
    }

    /// Nothing more will happen to this batch.
    pub(super) fn forget(&self, uid: &str) {
        self.entries().remove(uid);
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
    fn failures_are_counted_in_a_row() {
        let memory = Memory::default();
        assert_eq!((memory.failed("u"), memory.failed("u")), (1, 2));
        memory.succeeded("u");
        assert_eq!(memory.failed("u"), 1);
    }
}
