//! Credentials of a conf: they go into a Secret and never into the resource.
//!
//! The resource is created first and names the Secret in its confFrom; the Secret is created second, owned by the
//! resource. A crash in between leaves a batch that waits for its Secret, never runs without it, and says so when its
//! time to start is over; there is no moment at which a Secret exists that nothing owns.

use std::collections::BTreeMap;

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::ObjectMeta;
use kube::{Resource as _, ResourceExt as _};
use ring::rand::{SecureRandom as _, SystemRandom};
use thiserror::Error;

use crate::api::redaction::Redaction;
use crate::api::{ConfObject, ConfSource, LABEL_BATCH, MANAGER, SparkBatch, SparkBatchSpec};

/// Longest key of a Secret's data.
const MAX_KEY_LEN: usize = 253;
/// Longest part of a key that a message repeats, in characters.
const MAX_SHOWN: usize = 100;

/// Why credentials cannot be kept.
#[derive(Debug, Error)]
pub enum CredentialsError {
    /// Keys that no Secret can hold, each with what to do.
    #[error("{}", .0.join("; "))]
    Keys(Vec<String>),
    /// The machine has no random numbers.
    #[error("the operating system's random number generator failed")]
    Random,
}

/// The credentials of one batch's conf, by key.
pub struct Credentials(BTreeMap<String, String>);

impl Credentials {
    /// Takes the credentials out of `spec`'s conf and has its confFrom name the Secret that they will be in;
    /// `None` if there are none.
    pub fn take(spec: &mut SparkBatchSpec, redaction: &Redaction) -> Result<Option<Self>, CredentialsError> {
        let values = redaction.extract(&mut spec.conf);
        if values.is_empty() {
            return Ok(None);
        }
        let mut keyed = BTreeMap::new();
        let mut reasons = Vec::new();
        for (key, value) in values {
            let key = key.trim();
            if !is_data_key(key) {
                let shown: String = key.chars().take(MAX_SHOWN).collect();
                reasons.push(format!(
                    "conf: '{shown}' looks like a credential, which Kubernetes keeps under a key of at most \
                     {MAX_KEY_LEN} letters, digits, '-', '_' and '.'; rename it"
                ));
            }
            keyed.insert(key.to_owned(), value);
        }
        if !reasons.is_empty() {
            return Err(CredentialsError::Keys(reasons));
        }
        let name = format!("batch-conf-{:016x}", random().ok_or(CredentialsError::Random)?);
        let secret = ConfObject { name, optional: None };
        spec.conf_from.push(ConfSource { secret_ref: Some(secret), config_map_ref: None });
        Ok(Some(Self(keyed)))
    }

    /// Credentials by key.
    #[must_use]
    pub fn values(&self) -> &BTreeMap<String, String> {
        &self.0
    }

    /// The Secret that `batch`, as the API server has stored it, waits for.
    #[must_use]
    pub fn secret(&self, batch: &SparkBatch) -> Secret {
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

/// A number that nobody can have guessed; `None` if the machine has none to give.
#[must_use]
pub fn random() -> Option<u64> {
    let mut random = [0; 8];
    SystemRandom::new().fill(&mut random).ok()?;
    Some(u64::from_ne_bytes(random))
}
