//! From the body of a POST to a resource that the API server has stored.
//!
//! Everything that can be refused is refused before an id is taken. The resource is named by the id, so of two
//! who hold one id, by whatever accident, the API server lets one create it; the other takes the next. Under an
//! `Idempotency-Key` the resource is named by the key, so of two who hold one key one creates it, and the other
//! answers with what the first created.

mod credentials;
mod dry_run;
mod key;

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::body::Bytes;
use http::StatusCode;
use kube::api::PostParams;
use kube::{Api, ResourceExt as _};
use tracing::{Instrument as _, info, warn};

pub(super) use self::dry_run::dry_run;
pub(super) use self::key::{IDEMPOTENT_REPLAYED, IdempotencyKey};
use super::AppState;
use super::auth::{Caller, settle_proxy_user};
use super::error::ApiError;
use super::tenant::Tenant;
use super::upstream::{Failure, call};
use crate::api::calls::only_of;
use crate::api::{
    ANNOTATION_OWNER, ANNOTATION_REQUEST_DIGEST, ANNOTATION_TRACEPARENT, FACADE_NAME_PREFIX, LABEL_ID, Phase,
    SparkBatch, SparkBatchSpec,
};
use crate::credentials::Credentials;
use crate::livy::{BatchView, Dialect, Rejection, read_spec};
use crate::traces::TraceParent;

/// Ids that may turn out to be taken before a request is given up.
const MAX_TAKEN: usize = 5;
/// Looks at what became of a create that had no answer.
const MAX_LOOKS: usize = 2;

/// A POST of a batch, by somebody who may create one.
pub(super) struct Request {
    pub(super) tenant: Tenant,
    pub(super) caller: Caller,
    /// Whom the query names to run the batch on behalf of.
    pub(super) do_as: Option<String>,
    pub(super) body: Bytes,
    /// The span that the batch is made in, or that its caller sent.
    pub(super) trace: Option<TraceParent>,
}

/// A batch that the API server has stored.
pub(super) struct Accepted {
    pub(super) view: Arc<BatchView>,
    /// An earlier request under the same key made it.
    pub(super) is_replay: bool,
}

/// [`submit`], gone through with even if the caller goes away: a batch is not left without its credentials because
/// of a broken connection.
pub(super) async fn to_its_end(
    state: AppState,
    request: Request,
    key: Option<IdempotencyKey>,
) -> Result<Accepted, ApiError> {
    let submitted = async move { submit(&state, &request, key.as_ref()).await };
    let task = tokio::spawn(submitted.in_current_span());
    task.await.unwrap_or_else(|error| Err(ApiError::internal().because(error)))
}

/// Stores the batch that is asked for, or finds the one that an earlier request under `key` stored.
///
/// # RBAC needed
/// For the caller, `sparkbatches`: `create`, and `delete` to take back a batch whose credentials could not be stored.
/// For the facade, `sparkbatches`: `get`; `secrets`: `create`; and what [`crate::ids`] needs.
async fn submit(state: &AppState, request: &Request, key: Option<&IdempotencyKey>) -> Result<Accepted, ApiError> {
    let submission = Submission::read(state, request, key).await?;
    if let Some(name) = submission.keyed_name()
        && let Some(stored) = submission.find(name).await?
    {
        return submission.replay(&stored).await;
    }
    submission.refuse_duplicate()?;
    let namespace = &request.tenant.namespace;
    for _ in 0..MAX_TAKEN {
        let id = state.ids.next(namespace, state.batches.highest(namespace)).await?;
        if let Some(stored) = submission.create(id).await? {
            submission.store_credentials(&stored).await?;
            info!(namespace, id, bytes = request.body.len(), "batch accepted");
            return accepted(state, &stored, false);
        }
        if let Some(name) = submission.keyed_name() {
            let stored = submission.find(name).await?;
            let stored =
                stored.ok_or_else(|| ApiError::unavailable("the batch of this key is being deleted; try again"));
            return submission.replay(&stored?).await;
        }
        warn!(namespace, id, "an object of this batch's name exists already; taking the next id");
    }
    Err(ApiError::unavailable(format!(
        "the names {FACADE_NAME_PREFIX}<id> that are next in namespace '{namespace}' are taken; try again"
    )))
}

fn accepted(state: &AppState, stored: &SparkBatch, is_replay: bool) -> Result<Accepted, ApiError> {
    state.batches.fetched(stored);
    let view = BatchView::of(stored).map(Arc::new);
    let view = view.ok_or_else(|| ApiError::unavailable("the batch was deleted as it was created"))?;
    Ok(Accepted { view, is_replay })
}

/// The answer where the batch of a key could not be completed. Another request may have been told of it, and have stored
/// its credentials, which the facade may not look for: the batch stays.
fn incomplete(stored: &SparkBatch, failure: Failure) -> ApiError {
    let batch = stored.batch_id().map_or_else(|| "a batch".to_owned(), |id| format!("batch {id}"));
    let text = format!(
        "{batch} was made, but its credentials could not be stored. Send the request again with the same \
         Idempotency-Key."
    );
    ApiError::unavailable(text).because(failure.into_cause())
}

/// A request for a batch, read and checked.
struct Submission<'a> {
    state: &'a AppState,
    tenant: &'a Tenant,
    caller: &'a Caller,
    /// What is stored: without credentials.
    spec: SparkBatchSpec,
    credentials: Option<Credentials>,
    trace: Option<&'a TraceParent>,
    /// The key, and the digest of the request under it.
    key: Option<(&'a IdempotencyKey, String)>,
}

impl<'a> Submission<'a> {
    async fn read(
        state: &'a AppState,
        Request { tenant, caller, do_as, body, trace }: &'a Request,
        key: Option<&'a IdempotencyKey>,
    ) -> Result<Self, ApiError> {
        let mut spec = read_spec(body, tenant.takes())?;
        if tenant.takes() == Dialect::Apache {
            spec = settle_proxy_user(state, caller, spec, do_as.as_deref()).await?;
        }
        let digest = |key: &'a IdempotencyKey| key.digest(&spec).map(|digest| (key, digest));
        let key = key.map(digest).transpose().map_err(|error| ApiError::internal().because(error))?;
        let credentials = Credentials::take(&mut spec, &state.config.redaction)?;
        Ok(Self { state, tenant, caller, spec, credentials, trace: trace.as_ref(), key })
    }

    /// As far as this process knows, which is what Livy does too: names are no keys.
    fn refuse_duplicate(&self) -> Result<(), Rejection> {
        let name = self.spec.name.as_deref().filter(|_| self.tenant.dialect == Dialect::Apache);
        match name.and_then(|name| self.state.batches.by_name(&self.tenant.namespace, name)) {
            Some(other) => Err(Rejection::duplicate_name(name.unwrap_or_default(), other.id)),
            None => Ok(()),
        }
    }

    /// For what the caller asks for: with the caller's own account.
    fn callers_batches(&self) -> Api<SparkBatch> {
        Api::namespaced(self.caller.client(), &self.tenant.namespace)
    }

    /// For what the facade has to know: with its own account.
    fn own_batches(&self) -> Api<SparkBatch> {
        Api::namespaced(self.state.client.clone(), &self.tenant.namespace)
    }

    /// The answer to a caller who was refused.
    async fn refused(&self, failure: Failure) -> ApiError {
        self.state.auth.refused(self.caller, failure, &self.tenant.namespace).await
    }

    fn keyed_name(&self) -> Option<&str> {
        self.key.as_ref().map(|(key, _)| key.object_name())
    }

    fn resource(&self, id: i32) -> SparkBatch {
        let name = self.keyed_name().map_or_else(|| format!("{FACADE_NAME_PREFIX}{id}"), str::to_owned);
        let mut batch = SparkBatch::new(&name, self.spec.clone());
        batch.metadata.labels = Some([(LABEL_ID.to_owned(), id.to_string())].into());
        let owner = self.caller.user().map(|owner| (ANNOTATION_OWNER.to_owned(), owner.to_owned()));
        let digest = self.key.as_ref().map(|(_, digest)| (ANNOTATION_REQUEST_DIGEST.to_owned(), digest.clone()));
        let trace = self.trace.map(|trace| (ANNOTATION_TRACEPARENT.to_owned(), trace.to_string()));
        batch.metadata.annotations =
            Some(owner.into_iter().chain(digest).chain(trace).collect()).filter(|all: &BTreeMap<_, _>| !all.is_empty());
        batch
    }

    /// Creates the resource of `id`; `None` if its name is taken.
    async fn create(&self, id: i32) -> Result<Option<SparkBatch>, ApiError> {
        let batches = self.callers_batches();
        let batch = self.resource(id);
        let stored = call(self.state.config.limits.upstream, batches.create(&PostParams::default(), &batch)).await;
        match stored {
            Ok(stored) => Ok(Some(stored)),
            Err(failure) if failure.code() == Some(409) => Ok(None),
            Err(failure @ Failure::Refused(_)) => Err(self.refused(failure).await),
            Err(Failure::Unknown(cause)) => match self.look(&batch).await {
                Some(stored) => Ok(Some(stored)),
                None => Err(self.unknown(id).because(cause)),
            },
        }
    }

    /// The resource, if a create whose answer was lost has made it. The id is this request's own, so what has its
    /// name, its label and its spec is what this request created.
    async fn look(&self, sent: &SparkBatch) -> Option<SparkBatch> {
        for _ in 0..MAX_LOOKS {
            match call(self.state.config.limits.upstream, self.own_batches().get_opt(&sent.name_any())).await {
                Ok(found) => {
                    return found.filter(|found| found.spec == sent.spec && found.facade_id() == sent.facade_id());
                }
                Err(Failure::Refused(_)) => return None,
                Err(Failure::Unknown(_)) => {}
            }
        }
        None
    }

    async fn find(&self, name: &str) -> Result<Option<SparkBatch>, ApiError> {
        let found = call(self.state.config.limits.upstream, self.own_batches().get_opt(name)).await;
        found.map_err(|failure| failure.answer(&self.tenant.namespace))
    }

    /// Answers with what an earlier request under the same key stored, and completes it where that request was
    /// interrupted.
    async fn replay(&self, stored: &SparkBatch) -> Result<Accepted, ApiError> {
        let digest = stored.annotations().get(ANNOTATION_REQUEST_DIGEST);
        if self.key.as_ref().map(|(_, digest)| digest) != digest {
            let id = stored.batch_id().map_or_else(String::new, |id| format!(" that made batch {id}"));
            let text =
                format!("this Idempotency-Key was used for another request{id}; send a new key with a new request");
            return Err(ApiError::new(StatusCode::CONFLICT, text));
        }
        if stored.phase() == Phase::Pending
            && let Some(credentials) = &self.credentials
        {
            let completed = credentials::store(credentials, self.state, &self.tenant.namespace, stored).await;
            completed.map_err(|failure| incomplete(stored, failure))?;
        }
        accepted(self.state, stored, true)
    }

    /// Stores the credentials of the batch that this request has just created. A batch that cannot have them is taken
    /// back: only this request may, for nobody was told of it yet.
    async fn store_credentials(&self, stored: &SparkBatch) -> Result<(), ApiError> {
        let Some(credentials) = &self.credentials else { return Ok(()) };
        let Err(failure) = credentials::store(credentials, self.state, &self.tenant.namespace, stored).await else {
            return Ok(());
        };
        // Another request under the key may complete it meanwhile, and answer with it.
        if self.key.is_some() && matches!(failure, Failure::Unknown(_)) {
            return Err(incomplete(stored, failure));
        }
        let taken_back = self.take_back(stored).await;
        match (failure, stored.batch_id()) {
            (Failure::Unknown(cause), Some(id)) if !taken_back => Err(self.unknown(id).because(cause)),
            (failure, _) => Err(failure.answer(&self.tenant.namespace)),
        }
    }

    /// Deletes what was just created. Where that fails, too, the batch fails for want of its Secret.
    async fn take_back(&self, stored: &SparkBatch) -> bool {
        let params = only_of(stored.metadata.uid.as_deref().unwrap_or_default());
        let batches = self.callers_batches();
        call(self.state.config.limits.upstream, batches.delete(&stored.name_any(), &params)).await.is_ok()
    }

    /// A caller who tries again at once, without a key, might run the batch twice.
    fn unknown(&self, id: i32) -> ApiError {
        let advice = if self.key.is_some() {
            "Send the request again with the same Idempotency-Key.".to_owned()
        } else {
            format!(
                "Batch {id} may have been created: see whether GET {}/{id} finds it before you try again, or send an \
                 Idempotency-Key next time.",
                self.tenant.base
            )
        };
        let text = format!("the Kubernetes API server did not answer. {advice}");
        ApiError::new(StatusCode::SERVICE_UNAVAILABLE, text).retry_after(1)
    }
}
