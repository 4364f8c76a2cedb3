//! The two watches, batches and pods, and which batches they say to look at.

use std::sync::Arc;

use futures::{Stream, StreamExt as _, future, stream};
use k8s_openapi::api::core::v1::Pod;
use kube::runtime::controller::{ReconcileReason, ReconcileRequest};
use kube::runtime::reflector::{ObjectRef, store::Writer};
use kube::runtime::watcher::{self, Event, watcher};
use kube::runtime::{WatchStreamExt as _, reflector};
use kube::{Resource as _, ResourceExt as _};

use super::context::{Context, GuardedBatch};
use super::pods::BatchKey;
use super::queue::Queues;
use crate::api::calls::LIST_PAGE;
use crate::api::{LABEL_BATCH, SparkBatchSpec};

pub(super) type Request = ReconcileRequest<GuardedBatch>;

/// The batches to look at since they changed. Keeps their cache.
pub(super) fn batches(
    context: &Arc<Context>,
    cache: Writer<GuardedBatch>,
) -> impl Stream<Item = Result<Request, watcher::Error>> + use<> {
    let events =
        watcher(context.watched(), watcher::Config::default().page_size(LIST_PAGE)).default_backoff().modify(trim);
    let context = Arc::clone(context);
    context.counters.watches.begins("sparkbatches", context.scope.as_deref());
    let mut listed: Vec<ObjectRef<GuardedBatch>> = Vec::new();
    reflector(cache, events).flat_map(move |event| {
        let touched = match event {
            Ok(Event::Apply(batch)) => {
                context.queues.saw(&batch, context.now());
                context.forget_gone_drivers(&key_of(&batch));
                vec![ObjectRef::from_obj(&batch)]
            }
            // Listed batches can be looked up only once the listing is complete.
            Ok(Event::InitApply(batch)) => {
                listed.push(ObjectRef::from_obj(&batch));
                Vec::new()
            }
            Ok(Event::InitDone) => {
                let there = context.batches.state();
                context.memory.keep_only(&there.iter().filter_map(|batch| batch.uid()).collect());
                context.queues.listed(&there, context.now());
                context.pods.with_gone_drivers().iter().for_each(|key| context.forget_gone_drivers(key));
                context.counters.watches.listed("sparkbatches", context.scope.as_deref());
                std::mem::take(&mut listed)
            }
            Ok(Event::Init) => {
                listed.clear();
                Vec::new()
            }
            Ok(Event::Delete(batch)) => {
                batch.uid().iter().for_each(|uid| context.memory.forget(uid));
                context.queues.lost_sight_of(&batch, context.now());
                context.forget_gone_drivers(&key_of(&batch));
                Vec::new()
            }
            Err(error) => {
                context.counters.watches.failed("sparkbatches", context.scope.as_deref(), &error);
                tracing::warn!(%error, "the watch of batches failed; it is opened again");
                Vec::new()
            }
        };
        stream::iter(touched.into_iter().map(|batch| request(batch, ReconcileReason::ObjectUpdated)))
    })
}

/// The batches to look at since their pods changed. Keeps the index of pods.
pub(super) fn pods(context: &Arc<Context>) -> impl Stream<Item = Result<Request, watcher::Error>> + use<> {
    let config = watcher::Config::default().labels(LABEL_BATCH).page_size(LIST_PAGE);
    let context = Arc::clone(context);
    let (watches, scope) = (context.counters.watches.clone(), context.scope.clone());
    watches.begins("pods", scope.as_deref());
    watcher(context.watched::<Pod>(), config)
        .default_backoff()
        .filter_map(move |event| {
            match &event {
                Ok(Event::InitDone) => watches.listed("pods", scope.as_deref()),
                Ok(_) => {}
                Err(error) => {
                    watches.failed("pods", scope.as_deref(), error);
                    tracing::warn!(%error, "the watch of pods failed; it is opened again");
                }
            }
            future::ready(event.ok())
        })
        .flat_map(move |event| {
            let touched = context.pods.apply(&event);
            for key in &touched {
                context.forget_gone_drivers(key);
                context.queues.saw_drivers(key, || context.pods.owners_at_work(key), context.now());
            }
            let reason = || ReconcileReason::Custom { reason: "pod changed".to_owned() };
            stream::iter(touched.into_iter().map(move |key| request(reference(&key), reason())))
        })
}

/// The batches that this process begins to lead.
pub(super) fn takeovers(context: &Arc<Context>) -> impl Stream<Item = Result<Request, watcher::Error>> + use<> {
    let context = Arc::clone(context);
    context.leadership.gained().flat_map(move |shard| {
        let leads = |batch: &GuardedBatch| {
            context.leadership.shard_of(batch.meta().namespace.as_deref().unwrap_or_default()) == shard
        };
        let batches = context.batches.state_filter(leads);
        let reason = || ReconcileReason::Custom { reason: "leadership began".to_owned() };
        stream::iter(batches.into_iter().map(move |batch| request(ObjectRef::from_obj(&*batch), reason())))
    })
}

/// The batches whose turn has come in their namespace's queue.
pub(super) fn turns(context: &Arc<Context>) -> impl Stream<Item = Result<Request, watcher::Error>> + use<> {
    Queues::called(Arc::clone(context)).flat_map(|called| {
        let reason = || ReconcileReason::Custom { reason: "turn in the queue".to_owned() };
        stream::iter(called.into_iter().map(move |key| request(reference(&key), reason())))
    })
}

fn key_of(batch: &GuardedBatch) -> BatchKey {
    (batch.namespace().unwrap_or_default(), batch.name_any())
}

fn reference((namespace, name): &BatchKey) -> ObjectRef<GuardedBatch> {
    ObjectRef::new(name).within(namespace)
}

#[expect(clippy::unnecessary_wraps, reason = "the applier takes a stream of results")]
fn request(obj_ref: ObjectRef<GuardedBatch>, reason: ReconcileReason) -> Result<Request, watcher::Error> {
    Ok(ReconcileRequest { obj_ref, reason })
}

/// Drops what the controller never reads: a cache of ten thousand batches is mostly that.
fn trim(guard: &mut GuardedBatch) {
    let Ok(batch) = &mut guard.0 else { return };
    batch.metadata.managed_fields = None;
    if let Some(annotations) = &mut batch.metadata.annotations {
        annotations.remove("kubectl.kubernetes.io/last-applied-configuration");
    }
    if batch.phase().is_final() {
        let SparkBatchSpec { scheduling, ttl_seconds_after_finished, pod_retention, .. } =
            std::mem::take(&mut batch.spec);
        batch.spec =
            SparkBatchSpec { scheduling, ttl_seconds_after_finished, pod_retention, ..SparkBatchSpec::default() };
    }
}
