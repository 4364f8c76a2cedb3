//! Batch ids: integers from 1, one sequence per namespace, none given twice.
//!
//! The counter is the `ConfigMap` `sparkbatch-ids` of the namespace; `data.next` is the next id to give. It is
//! advanced by compare-and-swap on its resourceVersion, so any number of processes may allocate at once.
//! While one swap is in flight, those who ask meanwhile wait for the next, which serves them all: ids are
//! dense when few ask, and one write serves many when many ask.
//!
//! An id that was allocated and not used (its caller went away, or the create failed) leaves a gap.
//!
//! # RBAC needed
//! `configmaps`: `get` and `update` on `sparkbatch-ids`, and `create`, in each namespace with batches.

use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::api::{Api, ObjectMeta, PostParams};
use kube::{Client, Error, ResourceExt as _};
use thiserror::Error;
use tokio::sync::oneshot;

use crate::api::MANAGER;

/// Name of the counter.
pub const COUNTER_NAME: &str = "sparkbatch-ids";
/// Key of the counter's data that holds the next id.
pub const COUNTER_KEY: &str = "next";
/// Ids that are skipped where the counter was deleted, or restored to less than an id that exists: as many
/// as may have been given, and their batches deleted, since.
pub const SAFETY_MARGIN: i32 = 1000;

/// How far past the counter an id may be that is believed. One further away was not given but made up by somebody who
/// may create batches: to follow it would use up the namespace's ids.
const MAX_JUMP: i64 = 1_000_000;

/// Callers that wait for an id of one namespace at once; more are turned away.
const MAX_WAITERS: usize = 4096;
/// Namespaces whose counter is remembered between swaps.
const MAX_REMEMBERED: usize = 1024;
/// Tries of one swap before those who wait are told to come again.
const MAX_TRIES: u32 = 20;
/// How long one call to the API server may take.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Why there is no id.
#[derive(Clone, Debug, Error)]
pub enum IdError {
    /// The namespace does not exist.
    #[error("namespace '{0}' does not exist")]
    NamespaceNotFound(String),
    /// The namespace is being deleted.
    #[error("namespace '{0}' is being deleted")]
    NamespaceTerminating(String),
    /// The process may not read or write the counter.
    #[error("the operator may not get, create and update ConfigMap '{COUNTER_NAME}' in namespace '{0}'; grant it")]
    Forbidden(String),
    /// Every id of the namespace has been given.
    #[error("namespace '{0}' has no batch id left: {max} were given; use another namespace", max = i32::MAX)]
    Exhausted(String),
    /// Somebody wrote something else into the counter.
    #[error(
        "ConfigMap '{COUNTER_NAME}' in namespace '{0}' holds no id in '{COUNTER_KEY}': set it to a number greater than \
         every batch id given so far"
    )]
    Unreadable(String),
    /// Too many callers, here or in other processes.
    #[error("too many batches are being submitted to namespace '{0}'; try again")]
    Busy(String),
    /// The API server asks to be called less often.
    #[error("the API server is overloaded")]
    Throttled(#[source] Arc<Error>),
    /// The API server does not answer, or not as expected.
    #[error("the API server is not available")]
    Unavailable(#[source] Option<Arc<Error>>),
}

impl IdError {
    /// Whether the same call may succeed a little later, though nobody changes anything.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Busy(_) | Self::Throttled(_) | Self::Unavailable(_))
    }
}

/// Allocates batch ids. Clones share one queue.
#[derive(Clone)]
pub struct IdAllocator {
    inner: Arc<Inner>,
}

struct Inner {
    client: Client,
    namespaces: Mutex<HashMap<String, Namespace>>,
}

#[derive(Default)]
struct Namespace {
    waiters: VecDeque<Waiter>,
    /// Whether a task serves the waiters.
    served: bool,
    /// The counter as the last swap left it, so that the next can do without a read.
    counter: Option<ConfigMap>,
}

struct Waiter {
    floor: i32,
    reply: oneshot::Sender<Result<i32, IdError>>,
}

impl IdAllocator {
    /// An allocator that calls the API server through `client`.
    #[must_use]
    pub fn new(client: Client) -> Self {
        Self { inner: Arc::new(Inner { client, namespaces: Mutex::default() }) }
    }

    /// The next id of `namespace`; always greater than `floor`, which is the highest id that the caller knows
    /// of (0 for none). A caller that goes away leaves at most a gap.
    pub async fn next(&self, namespace: &str, floor: i32) -> Result<i32, IdError> {
        let (reply, answer) = oneshot::channel();
        if self.inner.enqueue(namespace, Waiter { floor, reply })? {
            let server = Server { inner: Arc::clone(&self.inner), namespace: namespace.to_owned(), done: false };
            tokio::spawn(server.run());
        }
        answer.await.unwrap_or(Err(IdError::Unavailable(None)))
    }

    /// Forgets what is remembered of a namespace's counter, which went with the namespace: one of the same name is
    /// another, whose ids begin anew.
    pub fn forget(&self, namespace: &str) {
        let mut namespaces = self.inner.lock();
        match namespaces.get_mut(namespace) {
            Some(entry) if entry.served => entry.counter = None,
            _ => drop(namespaces.remove(namespace)),
        }
    }
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, HashMap<String, Namespace>> {
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds a waiter; true if nobody serves the namespace yet.
    fn enqueue(&self, namespace: &str, waiter: Waiter) -> Result<bool, IdError> {
        let mut namespaces = self.lock();
        if namespaces.len() >= MAX_REMEMBERED {
            namespaces.retain(|_, entry| entry.served);
        }
        let entry = namespaces.entry(namespace.to_owned()).or_default();
        if entry.waiters.len() >= MAX_WAITERS {
            return Err(IdError::Busy(namespace.to_owned()));
        }
        entry.waiters.push_back(waiter);
        Ok(!std::mem::replace(&mut entry.served, true))
    }
}

/// Serves one namespace until nobody waits.
struct Server {
    inner: Arc<Inner>,
    namespace: String,
    /// Whether it ended because nobody waits, rather than with its runtime.
    done: bool,
}

impl Server {
    async fn run(mut self) {
        while let Some((waiters, counter)) = self.take() {
            let floor = waiters.iter().map(|waiter| waiter.floor).max().unwrap_or_default();
            match self.reserve(waiters.len(), floor, counter).await {
                Ok((ids, counter)) => {
                    self.remember(counter);
                    self.hand_out(waiters, ids);
                }
                Err(error) => waiters.into_iter().for_each(|waiter| drop(waiter.reply.send(Err(error.clone())))),
            }
        }
        self.done = true;
    }

    /// Everyone who waits now and has not gone away; `None` ends the service.
    fn take(&self) -> Option<(Vec<Waiter>, Option<ConfigMap>)> {
        let mut namespaces = self.inner.lock();
        let entry = namespaces.get_mut(&self.namespace)?;
        let waiters: Vec<_> = entry.waiters.drain(..).filter(|waiter| !waiter.reply.is_closed()).collect();
        if waiters.is_empty() {
            entry.served = false;
            return None;
        }
        Some((waiters, entry.counter.take()))
    }

    fn remember(&self, counter: ConfigMap) {
        if let Some(entry) = self.inner.lock().get_mut(&self.namespace) {
            entry.counter = Some(counter);
        }
    }

    fn hand_out(&self, waiters: Vec<Waiter>, ids: std::ops::Range<i64>) {
        let mut ids = ids.filter_map(|id| i32::try_from(id).ok());
        for waiter in waiters {
            let id = ids.next().ok_or_else(|| IdError::Exhausted(self.namespace.clone()));
            // A caller who went away takes its id along: a gap.
            drop(waiter.reply.send(id));
        }
    }

    /// Takes up to `count` ids off the counter, from what is remembered of it or else from a read.
    async fn reserve(
        &self,
        count: usize,
        mut floor: i32,
        mut known: Option<ConfigMap>,
    ) -> Result<(std::ops::Range<i64>, ConfigMap), IdError> {
        let counters: Api<ConfigMap> = Api::namespaced(self.inner.client.clone(), &self.namespace);
        for attempt in 0..MAX_TRIES {
            let stored = match known.take() {
                Some(counter) => Some(counter),
                None => self.call(counters.get_opt(COUNTER_NAME)).await?,
            };
            let next = stored.as_ref().map(|counter| self.read(counter)).transpose()?;
            let ids = ids_from(next, floor, count).ok_or_else(|| IdError::Exhausted(self.namespace.clone()))?;
            let create = stored.is_none();
            let counter = advanced(stored, ids.end);
            let written = if create {
                self.call(counters.create(&PostParams::default(), &counter)).await
            } else {
                self.call(counters.replace(COUNTER_NAME, &PostParams::default(), &counter)).await
            };
            match written {
                Ok(counter) => return Ok((ids, trimmed(counter))),
                Err(IdError::Busy(_)) => {
                    // What the counter stood at is a floor, should it turn out to be deleted.
                    floor = next.and_then(|next| i32::try_from(next - 1).ok()).map_or(floor, |past| floor.max(past));
                    tokio::time::sleep(pause(attempt)).await;
                }
                Err(error) => return Err(error),
            }
        }
        Err(IdError::Busy(self.namespace.clone()))
    }

    fn read(&self, counter: &ConfigMap) -> Result<i64, IdError> {
        let text = counter.data.as_ref().and_then(|data| data.get(COUNTER_KEY));
        text.and_then(|text| text.trim().parse().ok())
            .filter(|next| (1..=i64::from(i32::MAX) + 1).contains(next))
            .ok_or_else(|| IdError::Unreadable(self.namespace.clone()))
    }

    async fn call<T>(&self, call: impl Future<Output = Result<T, Error>>) -> Result<T, IdError> {
        match tokio::time::timeout(CALL_TIMEOUT, call).await {
            Ok(Ok(done)) => Ok(done),
            Ok(Err(error)) => Err(self.reaction(error)),
            Err(_) => Err(IdError::Unavailable(None)),
        }
    }

    fn reaction(&self, error: Error) -> IdError {
        let namespace = || self.namespace.clone();
        let Error::Api(status) = &error else { return IdError::Unavailable(Some(Arc::new(error))) };
        let details = status.details.as_ref();
        match status.code {
            404 if details.is_some_and(|details| details.kind == "namespaces") => {
                IdError::NamespaceNotFound(namespace())
            }
            // Another process was faster, or the counter went away since it was read.
            404 | 409 => IdError::Busy(namespace()),
            403 if details
                .is_some_and(|details| details.causes.iter().any(|cause| cause.reason == "NamespaceTerminating")) =>
            {
                IdError::NamespaceTerminating(namespace())
            }
            403 => IdError::Forbidden(namespace()),
            429 => IdError::Throttled(Arc::new(error)),
            _ => IdError::Unavailable(Some(Arc::new(error))),
        }
    }
}

impl Drop for Server {
    /// Where the task was dropped with its runtime, those who wait are told by dropping their senders.
    fn drop(&mut self) {
        if !self.done {
            self.inner.lock().remove(&self.namespace);
        }
    }
}

/// The ids to give where the counter stands at `next` (`None`: it does not exist) and `floor` is the highest
/// that is known. `None` if there are none left.
fn ids_from(next: Option<i64>, floor: i32, count: usize) -> Option<std::ops::Range<i64>> {
    let floor = i64::from(floor.max(0));
    let first = match next {
        Some(next) if next > floor || floor - next > MAX_JUMP => next,
        None if floor == 0 => 1,
        // The counter was deleted or restored: ids past the floor may have been given.
        _ => floor + 1 + i64::from(SAFETY_MARGIN),
    };
    let end = first.saturating_add(i64::try_from(count).ok()?).min(i64::from(i32::MAX) + 1);
    (first < end).then_some(first..end)
}

fn advanced(counter: Option<ConfigMap>, next: i64) -> ConfigMap {
    let mut counter = counter.unwrap_or_else(|| {
        let labels = [("app.kubernetes.io/managed-by".to_owned(), MANAGER.to_owned())];
        let metadata =
            ObjectMeta { name: Some(COUNTER_NAME.to_owned()), labels: Some(labels.into()), ..ObjectMeta::default() };
        ConfigMap { metadata, ..ConfigMap::default() }
    });
    counter.data.get_or_insert_default().insert(COUNTER_KEY.to_owned(), next.to_string());
    counter
}

fn trimmed(mut counter: ConfigMap) -> ConfigMap {
    counter.managed_fields_mut().clear();
    counter
}

/// Full jitter over a window that doubles from 4 ms to 256 ms.
fn pause(attempt: u32) -> Duration {
    let random = std::collections::hash_map::RandomState::new().build_hasher().finish();
    let window = 4000 << attempt.min(6);
    Duration::from_micros(random % window)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case(None, 0, 1..4)]
    #[case(Some(1), 0, 1..4)]
    #[case(Some(8), 7, 8..11)]
    #[case(Some(80), 7, 80..83)]
    #[case(None, 7, 1008..1011)]
    #[case(Some(7), 7, 1008..1011)]
    #[case(Some(2), 7, 1008..1011)]
    #[case(Some(2), i32::MAX, 2..5)]
    #[case(Some(2_147_483_646), 7, 2_147_483_646..2_147_483_648)]
    fn ids_go_on_where_the_counter_stands(
        #[case] next: Option<i64>,
        #[case] floor: i32,
        #[case] ids: std::ops::Range<i64>,
    ) {
        assert_eq!(ids_from(next, floor, 3), Some(ids));
    }

    #[rstest]
    #[case(Some(2_147_483_648), 0)]
    #[case(None, i32::MAX)]
    #[case(Some(i64::from(i32::MAX) - 9), i32::MAX - 5)]
    fn no_id_is_given_past_the_last(#[case] next: Option<i64>, #[case] floor: i32) {
        assert_eq!(ids_from(next, floor, 1), None);
    }

    proptest! {
        #[test]
        fn ids_are_past_the_floor_and_positive(next in prop::option::of(1i64..1 << 31), floor: i32, count in 1usize..5000) {
            if let Some(ids) = ids_from(next, floor, count) {
                let is_believed = next.is_none_or(|next| i64::from(floor) - next <= MAX_JUMP);
                prop_assert!(!is_believed || ids.start > i64::from(floor));
                prop_assert!(ids.start >= 1 && ids.end - 1 <= i64::from(i32::MAX));
                prop_assert!(next.is_none_or(|next| ids.start >= next));
            }
        }
    }
}
