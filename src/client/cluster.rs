//! Batches in a cluster, by its API server and with its user's own rights.
//!
//! # RBAC needed
//! | resource | verbs | for |
//! |---|---|---|
//! | `sparkbatches.sparkbatch.dev` | create, get, list, patch, delete | everything; delete takes back what has no Secret |
//! | `secrets` | create | credentials of conf |
//! | `pods/log` | get | logs |
//! | `pods/portforward` | get, create | the Spark UI |

mod log;

use k8s_openapi::api::core::v1::{Pod, Secret};
use kube::api::{ListParams, Patch, PatchParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, Error, ResourceExt as _};
use serde_json::json;

use super::forward::DriverUi;
use super::{Batch, ClientError, Killed, UiForward};
use crate::api::calls::only_of;
use crate::api::object_names::is_dns_subdomain;
use crate::api::redaction::Redaction;
use crate::api::{
    ANNOTATION_OWNER, FACADE_NAME_PREFIX, LABEL_ID, MANAGER, Phase, SparkBatch, SparkBatchSpec, validation,
};
use crate::credentials::{Credentials, random};
use crate::spark::app_name_label;

/// Batches that one call lists, and calls that one list takes at the most.
const PAGE: u32 = 500;
const MAX_PAGES: usize = 400;
/// Longest part of a resource's name that comes from the application's.
const MAX_STEM: usize = 40;

/// A client of the batches in one namespace.
pub struct ClusterClient {
    batches: Api<SparkBatch>,
    pods: Api<Pod>,
    secrets: Api<Secret>,
    namespace: String,
}

impl ClusterClient {
    /// A client of `namespace`, or of the one that the kubeconfig's context names.
    ///
    /// # Errors
    /// What is wrong with the kubeconfig.
    pub async fn connect(context: Option<&str>, namespace: Option<&str>) -> Result<Self, String> {
        let config = match context {
            Some(context) => {
                let kubeconfig = Kubeconfig::read().map_err(|error| format!("--context: {error}"))?;
                let options = KubeConfigOptions { context: Some(context.to_owned()), ..KubeConfigOptions::default() };
                let config = Config::from_custom_kubeconfig(kubeconfig, &options).await;
                config.map_err(|error| format!("--context: {error}"))?
            }
            None => Config::infer().await.map_err(|error| {
                format!("no cluster is named: set KUBECONFIG, or give a Livy by --livy-url ({error})")
            })?,
        };
        let namespace = namespace.map_or_else(|| config.default_namespace.clone(), str::to_owned);
        let client = Client::try_from(config).map_err(|error| error.to_string())?;
        Ok(Self::new(client, &namespace))
    }

    /// A client of `namespace`.
    #[must_use]
    pub fn new(client: Client, namespace: &str) -> Self {
        Self {
            batches: Api::namespaced(client.clone(), namespace),
            pods: Api::namespaced(client.clone(), namespace),
            secrets: Api::namespaced(client, namespace),
            namespace: namespace.to_owned(),
        }
    }

    pub(super) async fn submit(&self, mut spec: SparkBatchSpec, called: &str) -> Result<Batch, ClientError> {
        let problems = validation::problems(&spec);
        if !problems.is_empty() {
            let problems: Vec<_> = problems.iter().map(ToString::to_string).collect();
            return Err(ClientError::Refused(problems.join("\n")));
        }
        let refused = |error: &dyn std::fmt::Display| ClientError::Refused(error.to_string());
        let credentials = Credentials::take(&mut spec, &Redaction::default()).map_err(|error| refused(&error))?;
        let name = new_name(called).ok_or_else(|| refused(&"the operating system's random number generator failed"))?;
        let batch = SparkBatch::new(&name, spec);
        let params = PostParams { field_manager: Some(MANAGER.to_owned()), ..PostParams::default() };
        let stored = match self.batches.create(&params, &batch).await {
            Ok(stored) => stored,
            // Of a create that was sent twice; nobody else draws this name.
            Err(Error::Api(status)) if status.code == 409 => {
                self.batches.get(&name).await.map_err(|error| self.failed(&error))?
            }
            Err(error) => return Err(self.failed(&error)),
        };
        if let Some(credentials) = credentials {
            self.store(&credentials, &stored).await?;
        }
        Ok(self.batch_of(&stored))
    }

    /// Stores what `batch` waits for, or takes the batch back.
    async fn store(&self, credentials: &Credentials, batch: &SparkBatch) -> Result<(), ClientError> {
        match self.secrets.create(&PostParams::default(), &credentials.secret(batch)).await {
            Ok(_) => Ok(()),
            Err(Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => {
                let name = batch.name_any();
                let params = only_of(batch.metadata.uid.as_deref().unwrap_or_default());
                let left = match self.batches.delete(&name, &params).await {
                    Ok(_) => String::new(),
                    Err(_) => format!("; batch '{name}' was created but cannot start without it: delete it"),
                };
                let cause = self.failed(&error);
                Err(ClientError::Refused(format!("the Secret for the credentials in conf: {cause}{left}")))
            }
        }
    }

    pub(super) async fn list(&self, limit: usize) -> Result<(Vec<Batch>, usize), ClientError> {
        let mut all = Vec::new();
        self.each(|batch| {
            all.push(self.batch_of(batch));
            false
        })
        .await?;
        let total = all.len();
        all.sort_by_key(|batch| std::cmp::Reverse((batch.created, batch.id)));
        all.truncate(limit);
        Ok((all, total))
    }

    /// Shows every batch to `found` until it has seen enough.
    async fn each(&self, mut found: impl FnMut(&SparkBatch) -> bool) -> Result<(), ClientError> {
        let mut params = ListParams::default().limit(PAGE);
        for _ in 0..MAX_PAGES {
            let page = self.batches.list(&params).await.map_err(|error| self.failed(&error))?;
            if page.items.iter().any(&mut found) {
                return Ok(());
            }
            let Some(next) = page.metadata.continue_.filter(|next| !next.is_empty()) else { return Ok(()) };
            params = params.continue_token(&next);
        }
        Ok(())
    }

    pub(super) async fn get(&self, asked: &str) -> Result<Batch, ClientError> {
        Ok(self.batch_of(&self.find(asked).await?))
    }

    /// The batch of an id, of a resource's name, of an application's name (the latest), or of spark-submit's
    /// `namespace:driver-pod`.
    async fn find(&self, asked: &str) -> Result<SparkBatch, ClientError> {
        let missing = || ClientError::NotFound(asked.to_owned());
        let wanted = asked.split_once(':').filter(|(namespace, _)| *namespace == self.namespace);
        let wanted = wanted.map_or(asked, |(_, pod)| pod);
        let id: Option<i32> = wanted.parse().ok();
        let name = id.map_or_else(|| wanted.to_owned(), |id| format!("{FACADE_NAME_PREFIX}{id}"));
        if is_dns_subdomain(&name) {
            let found = self.batches.get_opt(&name).await.map_err(|error| self.failed(&error))?;
            if let Some(batch) = found.filter(|batch| id.is_none() || batch.batch_id() == id) {
                return Ok(batch);
            }
        }
        if let Some(id) = id {
            let labelled = ListParams::default().labels(&format!("{LABEL_ID}={id}")).limit(2);
            let labelled = self.batches.list(&labelled).await.map_err(|error| self.failed(&error))?;
            if let Some(batch) = labelled.items.into_iter().find(|batch| batch.facade_id() == Some(id)) {
                return Ok(batch);
            }
        }
        let mut best: Option<SparkBatch> = None;
        self.each(|batch| {
            let is_meant = match id {
                Some(_) => batch.batch_id() == id,
                None => batch.spec.name.as_deref() == Some(wanted) || driver_pod(batch).as_deref() == Some(wanted),
            };
            let is_later = best.as_ref().is_none_or(|best| created(best) < created(batch));
            if is_meant && is_later {
                best = Some(batch.clone());
            }
            is_meant && id.is_some()
        })
        .await?;
        best.ok_or_else(missing)
    }

    pub(super) async fn kill(&self, asked: &str) -> Result<Killed, ClientError> {
        let batch = self.find(asked).await?;
        if batch.phase().is_final() {
            return Ok(Killed::HadEnded);
        }
        let cancel = Patch::Merge(json!({ "metadata": { "uid": batch.uid() }, "spec": { "cancel": true } }));
        let patched = self.batches.patch(&batch.name_any(), &PatchParams::default(), &cancel).await;
        patched.map(|_| Killed::Cancelled).map_err(|error| self.failed(&error))
    }

    pub(super) async fn ui(&self, asked: &str, port: u16) -> Result<UiForward, ClientError> {
        let batch = self.find(asked).await?;
        let ui = DriverUi::of(&batch).ok_or_else(|| {
            let phase = batch.phase();
            let text = if phase.is_final() {
                "has ended, and its Spark UI with it; a history server shows it if it wrote an event log \
                 (spark.eventLog.enabled)"
            } else if phase == Phase::Running {
                "has no Spark UI: its conf has spark.ui.enabled=false or spark.ui.port=0"
            } else {
                "does not run yet, so it has no Spark UI; try again once it does"
            };
            ClientError::Refused(format!("batch {asked} ({phase}) {text}"))
        })?;
        ui.reach(&self.pods).await.map_err(|error| self.failed(&error))?;
        let forward = UiForward::listen(self.batches.clone(), self.pods.clone(), &batch, ui, port).await;
        forward.map_err(|error| ClientError::Refused(format!("--port {port}: {error}")))
    }

    fn failed(&self, error: &Error) -> ClientError {
        match error {
            Error::Api(status) if status.code == 404 && status.message.contains("page not found") => {
                let text =
                    "the resource SparkBatch is not installed in this cluster; apply its definition (sparkbatch crd)";
                ClientError::Refused(text.to_owned())
            }
            Error::Api(status) if status.code < 500 && status.code != 429 => {
                ClientError::Refused(format!("namespace '{}': {}", self.namespace, status.message))
            }
            error => ClientError::Unavailable(format!("the Kubernetes API server cannot be reached: {error}")),
        }
    }

    fn batch_of(&self, batch: &SparkBatch) -> Batch {
        let status = batch.status.clone().unwrap_or_default();
        let driver = status.driver.clone();
        Batch {
            id: batch.batch_id(),
            resource: batch.metadata.name.clone(),
            namespace: Some(self.namespace.clone()),
            name: batch.spec.name.clone(),
            phase: status.phase,
            reason: status.reason,
            message: status.message,
            attempt: status.attempt,
            executors: status.executors,
            exit_code: driver.as_ref().and_then(|driver| driver.exit_code),
            owner: batch.annotations().get(ANNOTATION_OWNER).cloned(),
            app_id: status.app_id,
            driver_pod: driver.map(|driver| driver.pod_name),
            spark_ui_url: None,
            created: created(batch),
            running_since: status.running_time,
            completed: status.completion_time,
        }
    }
}

fn created(batch: &SparkBatch) -> Option<jiff::Timestamp> {
    batch.metadata.creation_timestamp.as_ref().map(|time| time.0)
}

fn driver_pod(batch: &SparkBatch) -> Option<String> {
    Some(batch.status.as_ref()?.driver.as_ref()?.pod_name.clone())
}

/// A name that begins with what the application is called. Its end is letters alone, so that none is ever the facade's
/// `batch-<id>`.
fn new_name(called: &str) -> Option<String> {
    let label = app_name_label(called);
    let stem = label[..label.len().min(MAX_STEM)].trim_end_matches('-');
    let mut rest = random()?;
    let ending: String = (0..8)
        .map(|_| {
            let letter = u8::try_from(rest % 26).unwrap_or_default();
            rest /= 26;
            char::from(b'a' + letter)
        })
        .collect();
    Some(format!("{stem}-{ending}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::object_names::is_dns_label;

    #[test]
    fn a_resource_is_named_after_its_application_and_never_as_the_facade_names() {
        for (called, stem) in [("SparkPi", "sparkpi-"), ("batch", "batch-"), ("", "spark-"), ("Ünï code!", "n-code-")]
        {
            let (first, second) = (new_name(called).unwrap(), new_name(called).unwrap());
            assert!(first.starts_with(stem) && first != second, "{first} {second}");
            assert!(is_dns_label(&first) && first.bytes().next_back().unwrap().is_ascii_alphabetic(), "{first}");
        }
        assert!(new_name(&"x".repeat(100)).unwrap().len() <= MAX_STEM + 9);
    }
}
