//! From the body of a POST to a resource that the API server has stored.
//!
//! Everything that can be refused is refused before an id is taken. The resource is named by the id, so of two
//! who hold one id, by whatever accident, the API server lets one create it; the other takes the next.

use std::sync::Arc;

use http::StatusCode;
use kube::Api;
use kube::api::PostParams;
use tracing::{info, warn};

use super::AppState;
use super::error::ApiError;
use super::tenant::Tenant;
use super::upstream::{Failure, call};
use crate::api::{FACADE_NAME_PREFIX, LABEL_ID, SparkBatch, SparkBatchSpec};
use crate::livy::{BatchView, Dialect, Rejection, read_spec};

/// Ids that may turn out to be taken before a request is given up.
const MAX_TAKEN: usize = 5;
/// Looks at what became of a create that had no answer.
const MAX_LOOKS: usize = 2;

/// Stores the batch that `body` asks for.
///
/// # RBAC needed
/// `sparkbatches`: `create` and `get`; and what [`crate::ids`] needs.
pub(super) async fn submit(state: &AppState, tenant: &Tenant, body: &[u8]) -> Result<Arc<BatchView>, ApiError> {
    let spec = read_spec(body, tenant.takes())?;
    refuse_duplicate(state, tenant, &spec)?;
    let namespace = &tenant.namespace;
    for _ in 0..MAX_TAKEN {
        let id = state.ids.next(namespace, state.batches.highest(namespace)).await?;
        if let Some(stored) = create(state, tenant, id, &spec).await? {
            info!(namespace, id, bytes = body.len(), "batch accepted");
            state.batches.fetched(&stored);
            let view = BatchView::of(&stored).map(Arc::new);
            return view.ok_or_else(|| ApiError::unavailable("the batch was deleted as it was created"));
        }
        warn!(namespace, id, "an object of this batch's name exists already; taking the next id");
    }
    Err(ApiError::unavailable(format!(
        "the names {FACADE_NAME_PREFIX}<id> that are next in namespace '{namespace}' are taken; try again"
    )))
}

/// As far as this process knows, which is what Livy does too: names are no keys.
fn refuse_duplicate(state: &AppState, tenant: &Tenant, spec: &SparkBatchSpec) -> Result<(), Rejection> {
    if tenant.dialect != Dialect::Apache {
        return Ok(());
    }
    let Some(name) = &spec.name else { return Ok(()) };
    match state.batches.by_name(&tenant.namespace, name) {
        Some(other) => Err(Rejection::duplicate_name(name, other.id)),
        None => Ok(()),
    }
}

/// Creates the resource of `id`; `None` if that name is taken.
async fn create(
    state: &AppState,
    tenant: &Tenant,
    id: i32,
    spec: &SparkBatchSpec,
) -> Result<Option<SparkBatch>, ApiError> {
    let batches: Api<SparkBatch> = Api::namespaced(state.client.clone(), &tenant.namespace);
    let batch = resource(id, spec);
    let stored = call(state.config.limits.upstream, batches.create(&PostParams::default(), &batch)).await;
    match stored {
        Ok(stored) => Ok(Some(stored)),
        Err(failure) if failure.code() == Some(409) => Ok(None),
        Err(failure @ Failure::Refused(_)) => Err(failure.answer(&tenant.namespace)),
        Err(Failure::Unknown(cause)) => match look(state, &batches, &batch).await {
            Some(stored) => Ok(Some(stored)),
            None => Err(unknown(tenant, id).because(cause)),
        },
    }
}

fn resource(id: i32, spec: &SparkBatchSpec) -> SparkBatch {
    let mut batch = SparkBatch::new(&format!("{FACADE_NAME_PREFIX}{id}"), spec.clone());
    batch.metadata.labels = Some([(LABEL_ID.to_owned(), id.to_string())].into());
    batch
}

/// The resource, if a create whose answer was lost has made it. The id is this request's own, so what has its
/// name, its label and its spec is what this request created.
async fn look(state: &AppState, batches: &Api<SparkBatch>, sent: &SparkBatch) -> Option<SparkBatch> {
    let name = sent.metadata.name.as_deref()?;
    for _ in 0..MAX_LOOKS {
        match call(state.config.limits.upstream, batches.get_opt(name)).await {
            Ok(found) => {
                return found.filter(|found| found.spec == sent.spec && found.facade_id() == sent.facade_id());
            }
            Err(Failure::Refused(_)) => return None,
            Err(Failure::Unknown(_)) => {}
        }
    }
    None
}

/// A caller who tries again at once might run the batch twice.
fn unknown(tenant: &Tenant, id: i32) -> ApiError {
    let text = format!(
        "the Kubernetes API server did not answer. Batch {id} may have been created: see whether GET {}/{id} finds it \
         before you try again",
        tenant.base
    );
    ApiError::new(StatusCode::SERVICE_UNAVAILABLE, text).retry_after(1)
}
