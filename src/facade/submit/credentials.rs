//! The Secret of a request's credentials, stored by the facade's own account.

use k8s_openapi::api::core::v1::Secret;
use kube::Api;
use kube::api::PostParams;

use crate::api::SparkBatch;
use crate::credentials::{Credentials, CredentialsError};
use crate::facade::AppState;
use crate::facade::error::ApiError;
use crate::facade::upstream::{Failure, call};
use crate::livy::Rejection;

/// Times that a create without an answer is tried.
const MAX_TRIES: usize = 2;

/// Creates the Secret that `batch` waits for. That it exists already is as good: its name was drawn for this batch
/// alone.
///
/// # RBAC needed
/// `secrets`: `create`, for the facade's own account.
pub(super) async fn store(
    credentials: &Credentials,
    state: &AppState,
    namespace: &str,
    batch: &SparkBatch,
) -> Result<(), Failure> {
    let secret = credentials.secret(batch);
    let secrets: Api<Secret> = Api::namespaced(state.client.clone(), namespace);
    let mut tries = 0;
    loop {
        tries += 1;
        match call(state.config.limits.upstream, secrets.create(&PostParams::default(), &secret)).await {
            Ok(_) => return Ok(()),
            Err(failure) if failure.code() == Some(409) => return Ok(()),
            Err(Failure::Unknown(_)) if tries < MAX_TRIES => {}
            Err(failure) => return Err(failure),
        }
    }
}

impl From<CredentialsError> for ApiError {
    fn from(error: CredentialsError) -> Self {
        match error {
            CredentialsError::Keys(reasons) => Rejection::because(&reasons).into(),
            CredentialsError::Random => Self::internal().because(error),
        }
    }
}
