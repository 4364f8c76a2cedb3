//! `POST ?dryRun=true`: what a request would make, made by nobody.

use http::StatusCode;
use kube::api::PostParams;
use kube::{Api, ResourceExt as _};
use serde::Serialize;

use super::{Submission, refuse_duplicate};
use crate::api::SparkBatch;
use crate::facade::AppState;
use crate::facade::error::ApiError;
use crate::facade::tenant::Tenant;
use crate::facade::upstream::call;
use crate::livy::Rejection;
use crate::plan::{Explanation, build, explain, validate};

/// Stands for the name that a batch gets with its id, which a dry run takes none of.
const NAME: &str = "batch-dry-run";

/// The answer to a dry run. Names that are made from id and uid are examples.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(in crate::facade) struct DryRun {
    id: Option<i32>,
    spark_batch: SparkBatch,
    #[serde(flatten)]
    explanation: Explanation,
}

/// What `body` would make: held against every rule, the API server's own admission among them.
///
/// # RBAC needed
/// `sparkbatches`: `create`.
pub(in crate::facade) async fn dry_run(state: &AppState, tenant: &Tenant, body: &[u8]) -> Result<DryRun, ApiError> {
    let submission = Submission::read(state, tenant, body, None)?;
    refuse_duplicate(state, tenant, &submission.spec)?;
    let batches: Api<SparkBatch> = submission.batches();
    let batch = SparkBatch::new(NAME, submission.spec.clone());
    let params = PostParams { dry_run: true, field_manager: None };
    let admitted = call(state.config.limits.upstream, batches.create(&params, &batch)).await;
    let mut admitted = admitted.map_err(|failure| failure.answer(&tenant.namespace))?;
    admitted.managed_fields_mut().clear();

    let referenced: Vec<_> = submission.credentials.iter().map(|credentials| credentials.values().clone()).collect();
    let batch = validate(&admitted, 1, &referenced, &state.config.defaults).map_err(|problems| {
        let reasons: Vec<_> = problems.iter().map(ToString::to_string).collect();
        ApiError::new(StatusCode::BAD_REQUEST, Rejection::because(&reasons).to_string())
    })?;
    let explanation = explain(&build(&batch), &state.config.redaction);
    Ok(DryRun { id: None, spark_batch: admitted, explanation })
}
