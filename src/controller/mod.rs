//! The controller: watches batches and their pods, and brings each batch to its end.
//!
//! IO. What to do is decided by [`crate::plan`] and [`crate::observe`]; here it is done.
//!
//! # RBAC needed
//! `sparkbatches` get, list, watch, delete; `sparkbatches/status` patch; `sparkbatches/finalizers` update (to own
//! pods under `OwnerReferencesPermissionEnforcement`); `pods` get, list, watch, create, delete, deletecollection;
//! `secrets` get, create, delete; `configmaps` get, create, update; `events` (events.k8s.io) create; for
//! batches of Volcano `podgroups` (scheduling.volcano.sh) get, create, delete; and for the election `leases`
//! ([`crate::lease`]). With [`ControllerConfig::namespaces`], Roles in these give all of it.

mod apply;
mod cancel;
mod context;
mod dereference;
mod error;
mod events;
mod finish;
mod gone;
mod memory;
mod metrics;
mod pods;
mod queue;
mod reconcile;
mod retry;
mod start;
mod step;
mod unanswered;
mod unreadable;
mod wait;
mod watches;

use std::sync::Arc;

use futures::{FutureExt as _, StreamExt as _, future, stream};
use kube::Client;
use kube::runtime::controller::{Config, Error as ApplierError};
use kube::runtime::reflector::store::Writer;
use kube::runtime::{applier, reflector};
use tokio_util::sync::CancellationToken;

pub use self::context::ControllerConfig;
use self::context::{Context, GuardedBatch, Process};
pub use self::events::event_reasons;
use self::metrics::Counters;
use crate::ids::IdAllocator;
use crate::lease;
use crate::metrics::Metrics;
pub use crate::observe::{Deadlines, Limits};

/// Runs until `cancel` is cancelled, and then until the reconciliations in flight are done; what this process leads,
/// it lets go of after them. `ready` is called once the caches are filled, whether it leads or not.
pub async fn run(
    client: Client,
    ids: IdAllocator,
    config: ControllerConfig,
    metrics: &Metrics,
    cancel: CancellationToken,
    ready: impl FnOnce() + Send,
) {
    let (leadership, electors) = lease::elect(&client, config.election.as_ref());
    let scopes = match &config.namespaces[..] {
        [] => vec![None],
        namespaces => namespaces.iter().cloned().map(Some).collect(),
    };
    let process = Process { client, ids, leadership, config, counters: Counters::new(metrics) };
    // Each namespace has its own caches and queue: one that cannot be watched holds up no other.
    let (contexts, caches): (Vec<_>, Vec<_>) = scopes
        .into_iter()
        .map(|scope| {
            let (batches, cache) = reflector::store();
            (Arc::new(Context::new(process.clone(), scope, batches, cancel.clone())), cache)
        })
        .unzip();
    metrics::sample(metrics, &process.leadership, &contexts);
    let done = CancellationToken::new();
    let controls = contexts.iter().zip(caches).map(|(context, cache)| control(context, cache, cancel.clone()));
    let work = async {
        future::join_all(controls).await;
        done.cancel();
    };
    let announce = async {
        tokio::select! {
            () = cancel.cancelled() => {}
            filled = future::join_all(contexts.iter().map(|context| context.wait_until_ready())) => {
                if filled.iter().all(|filled| *filled) {
                    ready();
                    let batches: usize = contexts.iter().map(|context| context.batches.len()).sum();
                    tracing::info!(batches, "controller is ready");
                }
            }
        }
    };
    futures::join!(work, announce, electors.run(done.clone()));
}

async fn control(context: &Arc<Context>, cache: Writer<GuardedBatch>, cancel: CancellationToken) {
    let changes = stream::select(watches::batches(context, cache), watches::pods(context));
    let turns = stream::select(watches::takeovers(context), watches::turns(context));
    let requests = stream::select(changes, turns);
    // The queue's end starts the applier's own shutdown, which finishes what runs.
    let queue = Box::pin(requests.take_until(cancel.clone().cancelled_owned()));
    let results = applier(
        |batch, context| Box::pin(reconcile::reconcile(batch, context)),
        reconcile::error_policy,
        Arc::clone(context),
        context.batches.clone(),
        queue,
        Config::default().concurrency(context.config.concurrency),
    );
    let done = results.for_each(|result| async {
            match result {
                Ok(_) => {}
                Err(ApplierError::ObjectNotFound(object)) => tracing::debug!(%object, "batch is gone"),
                Err(ApplierError::ReconcilerFailed(error, object)) => {
                    let (namespace, name) = (object.namespace.as_deref(), &object.name);
                    tracing::warn!(namespace, name, category = error.category(), %error, "reconciliation failed; it is tried again");
                }
                Err(error) => tracing::error!(%error, "the controller's queue failed"),
            }
        });
    // Until the cache is filled nothing has begun; once the watches have ended, nothing fills it any more.
    let unfilled = async {
        cancel.cancelled().await;
        if context.batches.wait_until_ready().now_or_never().is_some() {
            future::pending::<()>().await;
        }
    };
    tokio::select! {
        biased;
        () = done => {}
        () = unfilled => {}
    }
}
