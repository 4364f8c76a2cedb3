//! The queues of the namespaces that have a limit of active batches: what watches and looks tell them, under one lock,
//! and whom they call. Nothing is kept of the other namespaces.
//!
//! The limit holds whatever a cache has not heard of yet: what was told to start is active until its status or its end
//! is heard of, and what was started before this process began to lead is asked of the API server, once.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::{Stream, stream};
use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use tokio::sync::{Mutex as AsyncMutex, Notify};

use super::context::{Context, GuardedBatch};
use super::error::{During as _, Error};
use super::pods::BatchKey;
use crate::api::{LABEL_BATCH, LABEL_SPARK_ROLE, Phase, ROLE_DRIVER, Reason, SparkBatch};
use crate::observe::{Limits, Place, Queue, Turn, driver_facts};

/// Driver pods that are read at once.
const PAGE: u32 = 500;

pub(super) struct Queues {
    limits: Limits,
    namespaces: Mutex<HashMap<String, Namespace>>,
    has_called: Notify,
    counting: AsyncMutex<()>,
}

struct Namespace {
    queue: Queue,
    /// The term in which the driver pods were counted.
    counted_in: Option<u64>,
    /// By the name of their batch, the uids of those of whose driver pods the watch tells.
    drivers: HashMap<String, HashSet<Arc<str>>>,
    called: Vec<Place>,
}

impl Queues {
    pub(super) fn new(limits: Limits) -> Self {
        Self { limits, namespaces: Mutex::default(), has_called: Notify::new(), counting: AsyncMutex::default() }
    }

    /// How many batches wait.
    pub(super) fn waiting(&self) -> usize {
        self.lock().values().map(|namespace| namespace.queue.waiting()).sum()
    }

    /// The watch of batches tells of a batch that was made or changed.
    pub(super) fn saw(&self, batch: &GuardedBatch, now: Timestamp) {
        self.with(&batch.namespace().unwrap_or_default(), now, |namespace| see(&mut namespace.queue, batch, now));
    }

    /// The watch of batches tells that one is gone.
    pub(super) fn lost_sight_of(&self, batch: &GuardedBatch, now: Timestamp) {
        let Some(uid) = batch.uid() else { return };
        self.with(&batch.namespace().unwrap_or_default(), now, |namespace| namespace.queue.gone(&uid.into(), now));
    }

    /// A listing tells of every batch that exists.
    pub(super) fn listed(&self, batches: &[Arc<GuardedBatch>], now: Timestamp) {
        let mut by_namespace: HashMap<_, Vec<_>> = self.lock().keys().map(|name| (name.clone(), Vec::new())).collect();
        for batch in batches {
            by_namespace.entry(batch.namespace().unwrap_or_default()).or_default().push(batch);
        }
        for (name, batches) in by_namespace {
            self.with(&name, now, |namespace| {
                for batch in &batches {
                    see(&mut namespace.queue, batch, now);
                }
                let existing = batches.iter().filter_map(|batch| batch.uid().map(Arc::from)).collect();
                namespace.queue.only(&existing, now);
            });
        }
    }

    /// The watch of pods tells whose drivers by the name of `batch` have not ended: the uids of their owners.
    pub(super) fn saw_drivers(&self, batch: &BatchKey, owners: impl FnOnce() -> HashSet<Arc<str>>, now: Timestamp) {
        self.with(&batch.0, now, |namespace| {
            let owners = owners();
            let before = namespace.drivers.remove(&batch.1).unwrap_or_default();
            before.difference(&owners).for_each(|uid| namespace.queue.pods(uid, false));
            owners.difference(&before).for_each(|uid| namespace.queue.pods(uid, true));
            if !owners.is_empty() {
                namespace.drivers.insert(batch.1.clone(), owners);
            }
        });
    }

    /// A look at the batch begins.
    pub(super) fn look_begins(&self, batch: &SparkBatch, now: Timestamp) {
        self.with_place(batch, now, |queue, place| queue.look_begins(&place.uid));
    }

    /// It is over, and `went_well` or not.
    pub(super) fn look_ends(&self, batch: &SparkBatch, went_well: bool, now: Timestamp) {
        self.with_place(batch, now, |queue, place| queue.look_ends(&place.uid, went_well, now));
    }

    /// Whose turn it is: this batch's, or its place in line.
    pub(super) fn ask(&self, batch: &SparkBatch, now: Timestamp) -> Turn {
        self.with_place(batch, now, |queue, place| queue.ask(place, now)).unwrap_or(Turn::Starts)
    }

    /// Starts the batch if it is its turn.
    ///
    /// # RBAC needed
    /// `pods` list.
    pub(super) async fn take(&self, context: &Context, batch: &SparkBatch) -> Result<Turn, Error> {
        let namespace = batch.namespace().unwrap_or_default();
        if self.limits.of(&namespace).is_none() {
            return Ok(Turn::Starts);
        }
        self.count(context, &namespace).await?;
        let now = context.now();
        Ok(self.with_place(batch, now, |queue, place| queue.take(place, now)).unwrap_or(Turn::Starts))
    }

    /// The batch has no driver and is about to get none.
    pub(super) fn step_aside(&self, batch: &SparkBatch, now: Timestamp) {
        self.with_place(batch, now, |queue, place| queue.step_aside(&place.uid));
    }

    /// Batches whose turn has come, by namespace and name, whenever there are any.
    pub(super) fn called(context: Arc<Context>) -> impl Stream<Item = Vec<BatchKey>> {
        stream::unfold(context, |context| async move {
            context.queues.has_called.notified().await;
            let called = context.queues.take_called();
            Some((called, context))
        })
    }

    fn take_called(&self) -> Vec<BatchKey> {
        let mut namespaces = self.lock();
        let called = namespaces.iter_mut().flat_map(|(name, namespace)| {
            let called = std::mem::take(&mut namespace.called);
            called.into_iter().map(move |place| (name.clone(), place.name))
        });
        called.collect()
    }

    /// Reckons with the drivers that others have started and of which the watch has not told, once in each term.
    async fn count(&self, context: &Context, namespace: &str) -> Result<(), Error> {
        let term = context.leadership.term_number(namespace);
        if self.is_counted(namespace, term) {
            return Ok(());
        }
        let _one_at_a_time = self.counting.lock().await;
        if self.is_counted(namespace, term) {
            return Ok(());
        }
        let pods: Api<Pod> = Api::namespaced(context.client.clone(), namespace);
        let mut params = ListParams::default()
            .labels(&format!("{LABEL_BATCH},{LABEL_SPARK_ROLE}={ROLE_DRIVER}"))
            .fields("status.phase!=Succeeded,status.phase!=Failed")
            .limit(PAGE);
        loop {
            let page = pods.list(&params).await.during("count the driver pods")?;
            let now = context.now();
            let drivers = page.items.iter().map(driver_facts).filter(|driver| !driver.has_ended());
            self.with(namespace, now, |namespace| {
                drivers
                    .filter_map(|driver| driver.owner_uid)
                    .for_each(|uid| namespace.queue.expect_pod(&uid.into(), now));
            });
            match page.metadata.continue_.filter(|next| !next.is_empty()) {
                Some(next) => params = params.continue_token(&next),
                None => break,
            }
        }
        self.with(namespace, context.now(), |namespace| namespace.counted_in = Some(term));
        Ok(())
    }

    fn is_counted(&self, namespace: &str, term: u64) -> bool {
        self.lock().get(namespace).is_some_and(|namespace| namespace.counted_in == Some(term))
    }

    fn with_place<T>(
        &self,
        batch: &SparkBatch,
        now: Timestamp,
        act: impl FnOnce(&mut Queue, &Place) -> T,
    ) -> Option<T> {
        self.with(&batch.namespace().unwrap_or_default(), now, |namespace| act(&mut namespace.queue, &place_of(batch)))
    }

    /// Acts on a namespace that has a limit, and calls whose turn has come by it.
    fn with<T>(&self, name: &str, now: Timestamp, act: impl FnOnce(&mut Namespace) -> T) -> Option<T> {
        let limit = self.limits.of(name)?;
        let mut namespaces = self.lock();
        if !namespaces.contains_key(name) {
            namespaces.insert(name.to_owned(), Namespace::new(limit));
        }
        let namespace = namespaces.get_mut(name)?;
        let acted = act(namespace);
        let called = namespace.queue.call(now);
        if !called.is_empty() {
            namespace.called.extend(called);
            self.has_called.notify_one();
        }
        if namespace.queue.is_empty() {
            namespaces.remove(name);
        }
        Some(acted)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, Namespace>> {
        self.namespaces.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Namespace {
    fn new(limit: usize) -> Self {
        Self { queue: Queue::new(limit), counted_in: None, drivers: HashMap::new(), called: Vec::new() }
    }
}

fn place_of(batch: &SparkBatch) -> Place {
    Place {
        created: batch.metadata.creation_timestamp.as_ref().map_or(Timestamp::UNIX_EPOCH, |time| time.0),
        id: batch.batch_id().unwrap_or(i32::MAX),
        uid: batch.uid().unwrap_or_default().into(),
        name: batch.name_any(),
    }
}

fn see(queue: &mut Queue, batch: &GuardedBatch, now: Timestamp) {
    match &batch.0 {
        Ok(batch) => {
            let has_driver = matches!(batch.phase(), Phase::Starting | Phase::Running);
            queue.seen(&place_of(batch), has_driver, waits(batch));
        }
        // What cannot be read is never started.
        Err(_) => batch.uid().iter().for_each(|uid| queue.gone(&uid.as_str().into(), now)),
    }
}

/// Whether a batch waits for its turn, as far as it tells itself. The new ones are taken to, so that none that is looked
/// at earlier goes before them.
fn waits(batch: &SparkBatch) -> Option<bool> {
    let is_barred = batch.spec.suspend == Some(true)
        || batch.spec.cancel == Some(true)
        || batch.metadata.deletion_timestamp.is_some()
        || batch.phase() != Phase::Pending;
    if is_barred {
        return Some(false);
    }
    let reason = batch.status.as_ref().and_then(|status| status.reason);
    matches!(reason, None | Some(Reason::Queued)).then_some(true)
}
