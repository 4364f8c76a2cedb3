//! Credentials of a request's conf: they go into a Secret and never into the resource.
//!
//! The resource is created first and names the Secret in its confFrom; the Secret is created second, owned by the
//! resource. A crash in between leaves a batch that waits for its Secret, never runs without it, and says so when its
//! time to start is over; there is no moment at which a Secret exists that nothing owns.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Resource as _, ResourceExt as _};
use ring::rand::{SecureRandom as _, SystemRandom};

use crate::api::redaction::Redaction;
use crate::api::{ConfObject, ConfSource, LABEL_BATCH, MANAGER, SparkBatch, SparkBatchSpec};
use crate::facade::AppState;
use crate::facade::error::{ApiError, shown};
use crate::facade::upstream::{Failure, call};
use crate::livy::Rejection;

/// Longest key of a Secret's data.
const MAX_KEY_LEN: usize = 253;
/// Times that a create without an answer is tried.
const MAX_TRIES: usize = 2;

/// The credentials of one request's conf, by key.
pub(super) struct Credentials(BTreeMap<String, String>);

impl Credentials {
    /// Takes the credentials out of `spec`'s conf and has its confFrom name the Secret that they will be in;
    /// `None` if there are none.
    pub(super) fn take(spec: &mut SparkBatchSpec, redaction: &Redaction) -> Result<Option<Self>, ApiError> {
        let values = redaction.extract(&mut spec.conf);
        if values.is_empty() {
            return Ok(None);
        }
        let mut keyed = BTreeMap::new();
        let mut reasons = Vec::new();
        for (key, value) in values {
            let key = key.trim();
            if !is_data_key(key) {
                reasons.push(format!(
                    "conf: '{}' looks like a credential, which Kubernetes keeps under a key of at most {MAX_KEY_LEN} \
                     letters, digits, '-', '_' and '.'; rename it",
                    shown(key)
                ));
            }
            keyed.insert(key.to_owned(), value);
        }
        if !reasons.is_empty() {
            return Err(Rejection::because(&reasons).into());
        }
        let secret = ConfObject { name: new_name()?, optional: None };
        spec.conf_from.push(ConfSource { secret_ref: Some(secret), config_map_ref: None });
        Ok(Some(Self(keyed)))
    }

    pub(super) fn values(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// Creates the Secret that `batch` waits for. That it exists already is as good: its name was drawn for this
    /// batch alone.
    ///
    /// # RBAC needed
    /// `secrets`: `create`, for the facade's own account.
    pub(super) async fn store(&self, state: &AppState, namespace: &str, batch: &SparkBatch) -> Result<(), Failure> {
        let secret = self.secret(batch);
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

    fn secret(&self, batch: &SparkBatch) -> Secret {
        let name = batch.spec.conf_from.iter().filter_map(|source| source.secret_ref.as_ref()).next_back();
        let labels = [
            ("app.kubernetes.io/managed-by".to_owned(), MANAGER.to_owned()),
            (LABEL_BATCH.to_owned(), batch.name_any()),
        ];
        Secret {
            metadata: ObjectMeta {
                name: name.map(|secret| secret.name.clone()),
                labels: Some(labels.into()),
                owner_references: batch.owner_ref(&()).map(|owner| vec![owner]),
                ..ObjectMeta::default()
            },
            immutable: Some(true),
            data: Some(
                self.0.iter().map(|(key, value)| (key.clone(), ByteString(value.clone().into_bytes()))).collect(),
            ),
            ..Secret::default()
        }
    }
}

fn is_data_key(key: &str) -> bool {
    (1..=MAX_KEY_LEN).contains(&key.len())
        && key.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
}

/// A name that nobody can have taken, since nobody could know it.
fn new_name() -> Result<String, ApiError> {
    let mut random = [0; 8];
    let drawn = SystemRandom::new().fill(&mut random);
    drawn.map_err(|_| ApiError::internal().because("no random numbers are to be had"))?;
    Ok(format!("batch-conf-{:016x}", u64::from_ne_bytes(random)))
}
