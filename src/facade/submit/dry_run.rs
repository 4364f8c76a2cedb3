//! `POST ?dryRun=true`: what a request would make, made by nobody.

use kube::ResourceExt as _;
use kube::api::PostParams;
use serde::Serialize;

use super::{Request, Submission};
use crate::api::SparkBatch;
use crate::facade::AppState;
use crate::facade::error::ApiError;
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

/// What `request` would make: held against every rule, the API server's own admission among them.
///
/// # RBAC needed
/// For the caller, `sparkbatches`: `create`.
pub(in crate::facade) async fn dry_run(state: &AppState, request: &Request) -> Result<DryRun, ApiError> {
    let submission = Submission::read(state, request, None).await?;
    submission.refuse_duplicate()?;
    let batches = submission.callers_batches();
    let batch = SparkBatch::new(NAME, submission.spec.clone());
    let params = PostParams { dry_run: true, field_manager: None };
    let admitted = call(state.config.limits.upstream, batches.create(&params, &batch)).await;
    let mut admitted = match admitted {
        Ok(admitted) => admitted,
        Err(failure) => return Err(submission.refused(failure).await),
    };
    admitted.managed_fields_mut().clear();

    let referenced: Vec<_> = submission.credentials.iter().map(|credentials| credentials.values().clone()).collect();
    let batch = validate(&admitted, 1, &referenced, &state.config.defaults).map_err(|problems| {
        let reasons: Vec<_> = problems.iter().map(ToString::to_string).collect();
        ApiError::from(Rejection::because(&reasons))
    })?;
    let explanation = explain(&build(&batch), &state.config.redaction);
    Ok(DryRun { id: None, spark_batch: admitted, explanation })
}
