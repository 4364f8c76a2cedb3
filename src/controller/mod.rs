//! The controller: watches batches and their pods, and brings each batch to its end.
//!
//! IO. What to do is decided by [`crate::plan`] and [`crate::observe`]; here it is done.
//!
//! # RBAC needed
//! `sparkbatches` get, list, watch, delete; `sparkbatches/status` patch; `sparkbatches/finalizers` update (to own
//! pods under `OwnerReferencesPermissionEnforcement`); `pods` get, list, watch, create, delete, deletecollection;
//! `secrets` get, create, delete; `configmaps` get, create, update; `events` (events.k8s.io) create, patch.

mod apply;
mod cancel;
mod context;
mod dereference;
mod error;
mod events;
mod finish;
mod memory;
mod pods;
mod reconcile;
mod retry;
mod start;
mod step;
mod watches;

use std::sync::Arc;

use futures::{StreamExt as _, stream};
use kube::Client;
use kube::runtime::controller::{Config, Error as ApplierError};
use kube::runtime::{applier, reflector};
use tokio_util::sync::CancellationToken;

use self::context::Context;
pub use self::context::ControllerConfig;
use crate::ids::IdAllocator;
pub use crate::observe::Deadlines;

/// Runs until `cancel` is cancelled, and then until the reconciliations in flight are done. `ready` is called once
/// the caches are filled.
pub async fn run(
    client: Client,
    ids: IdAllocator,
    config: ControllerConfig,
    cancel: CancellationToken,
    ready: impl FnOnce() + Send,
) {
    let concurrency = config.concurrency;
    let (store, cache) = reflector::store();
    let context = Arc::new(Context::new(client, ids, config, store.clone()));
    let batches = watches::batches(&context, cache);
    let pods = watches::pods(&context);
    // The queue's end starts the applier's own shutdown, which finishes what runs.
    let queue = Box::pin(stream::select(batches, pods).take_until(cancel.clone().cancelled_owned()));
    let results = applier(
        |batch, context| Box::pin(reconcile::reconcile(batch, context)),
        reconcile::error_policy,
        Arc::clone(&context),
        store.clone(),
        queue,
        Config::default().concurrency(concurrency),
    );
    let work = results.for_each(|result| async {
        match result {
            Ok(_) => {}
            Err(ApplierError::ObjectNotFound(object)) => tracing::debug!(%object, "batch is gone"),
            Err(ApplierError::ReconcilerFailed(error, object)) => {
                tracing::warn!(%object, category = error.category(), %error, "reconciliation failed; it is tried again");
            }
            Err(error) => tracing::error!(%error, "the controller's queue failed"),
        }
    });
    let announce = async {
        tokio::select! {
            () = cancel.cancelled() => {}
            filled = async { store.wait_until_ready().await.is_ok() && context.pods.wait_until_ready().await } => {
                if filled {
                    ready();
                    tracing::info!(batches = store.len(), "controller is ready");
                }
            }
        }
    };
    futures::join!(work, announce);
}
