//! Batches as a person or a script reaches them: through Livy's API, or by a kubeconfig.
//!
//! What the two cannot both say is absent from [`Batch`], never made up.

mod cluster;
mod forward;
mod livy;

use std::io;

use jiff::Timestamp;
use serde::Serialize;
use thiserror::Error;

pub use cluster::ClusterClient;
pub use forward::UiForward;
pub use livy::LivyClient;

use crate::api::{ExecutorCounts, Phase, Reason, SparkBatchSpec};

/// Longest time between two looks at a batch.
pub const LOOK_EVERY: std::time::Duration = std::time::Duration::from_secs(1);

/// Looks in a row that may fail before a batch is given up: five minutes.
pub const MAX_FAILED_LOOKS: u32 = 300;

/// Why a batch could not be reached.
#[derive(Debug, Error)]
pub enum ClientError {
    /// There is no such batch.
    #[error("there is no batch '{0}'; 'sparkbatch list' shows those that there are")]
    NotFound(String),
    /// The server answered that it will not do it.
    #[error("{0}")]
    Refused(String),
    /// No answer, or one that says to try again.
    #[error("{0}")]
    Unavailable(String),
    /// What was to be shown cannot be written.
    #[error("cannot write: {0}")]
    Output(#[from] io::Error),
}

/// What is known of a batch.
#[derive(Clone, Debug, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Batch {
    /// Livy's id; `None` until a batch that was submitted to the cluster has got one.
    pub id: Option<i32>,
    /// Name of the resource. Livy's API does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
    /// Namespace of the resource. Livy's API does not tell.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub namespace: Option<String>,
    /// Name of the application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// Where it is in its life.
    pub phase: Phase,
    /// Why it is there.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<Reason>,
    /// The reason in words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The attempt, from 1.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<i32>,
    /// Executors by state.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub executors: Option<ExecutorCounts>,
    /// Exit code of the driver.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exit_code: Option<i32>,
    /// The user who submitted it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// Id of the Spark application.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub app_id: Option<String>,
    /// Name of the driver's pod.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver_pod: Option<String>,
    /// Where its Spark UI is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spark_ui_url: Option<String>,
    /// When it was created.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub created: Option<Timestamp>,
    /// When its driver started to run.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub running_since: Option<Timestamp>,
    /// When it ended.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed: Option<Timestamp>,
}

impl Batch {
    /// What to ask for it by.
    #[must_use]
    pub fn handle(&self) -> String {
        self.resource.clone().or_else(|| self.id.map(|id| id.to_string())).unwrap_or_default()
    }
}

/// Which part of a log.
#[derive(Clone, Copy, Debug, Default)]
pub struct LogOptions {
    /// Go on until the batch has ended.
    pub follow: bool,
    /// Begin with the last lines, so many.
    pub tail: Option<u32>,
}

/// What a kill did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Killed {
    /// The resource is told to end; it and its log stay.
    Cancelled,
    /// Livy's API forgets what it kills.
    Deleted,
    /// It had ended before.
    HadEnded,
}

/// The way to a batch's Spark UI.
pub enum Ui {
    /// It is there for whoever may see it.
    Url(String),
    /// It is there for as long as this is served.
    Forward(Box<UiForward>),
}

/// Where batches are.
pub enum Target {
    /// Behind Livy's API.
    Livy(Box<LivyClient>),
    /// In a namespace of a cluster.
    Cluster(Box<ClusterClient>),
}

impl Target {
    /// Creates a batch. `called` is what to name its resource after.
    ///
    /// # Errors
    /// Why it was not created, or that nobody knows.
    pub async fn submit(&self, spec: SparkBatchSpec, called: &str) -> Result<Batch, ClientError> {
        match self {
            Self::Livy(livy) => livy.submit(&spec).await,
            Self::Cluster(cluster) => cluster.submit(spec, called).await,
        }
    }

    /// The latest batches, the latest first, and how many there are in all.
    ///
    /// # Errors
    /// Why they cannot be listed.
    pub async fn list(&self, limit: usize) -> Result<(Vec<Batch>, usize), ClientError> {
        match self {
            Self::Livy(livy) => livy.list(limit).await,
            Self::Cluster(cluster) => cluster.list(limit).await,
        }
    }

    /// The batch of an id or a name.
    ///
    /// # Errors
    /// [`ClientError::NotFound`], and why it cannot be read.
    pub async fn get(&self, asked: &str) -> Result<Batch, ClientError> {
        match self {
            Self::Livy(livy) => livy.get(asked).await,
            Self::Cluster(cluster) => cluster.get(asked).await,
        }
    }

    /// Ends the batch of an id or a name.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub async fn kill(&self, asked: &str) -> Result<Killed, ClientError> {
        match self {
            Self::Livy(livy) => livy.kill(asked).await,
            Self::Cluster(cluster) => cluster.kill(asked).await,
        }
    }

    /// Writes the driver's log of the batch of an id or a name.
    ///
    /// # Errors
    /// As [`Self::get`], and what cannot be written.
    pub async fn log(
        &self,
        asked: &str,
        options: LogOptions,
        out: &mut (dyn io::Write + Send),
    ) -> Result<(), ClientError> {
        match self {
            Self::Livy(livy) => livy.log(asked, options, out).await,
            Self::Cluster(cluster) => cluster.log(asked, options, out).await,
        }
    }
    /// The way to the Spark UI of the batch of an id or a name: by Livy's API a URL, in a cluster `port` of this
    /// machine, 0 for a free one.
    ///
    /// # Errors
    /// As [`Self::get`], and why there is no UI.
    pub async fn ui(&self, asked: &str, port: u16) -> Result<Ui, ClientError> {
        match self {
            Self::Livy(livy) => livy.ui(asked).await.map(Ui::Url),
            Self::Cluster(cluster) => cluster.ui(asked, port).await.map(|forward| Ui::Forward(Box::new(forward))),
        }
    }
}
