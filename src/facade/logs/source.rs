//! Where a log is read: a container of a driver or of an executor.

use std::io;
use std::pin::Pin;

use futures::io::AsyncBufRead;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::LogParams;

use super::super::AppState;
use super::super::error::ApiError;
use super::super::upstream::call;
use crate::api::object_names::is_dns_subdomain;
use crate::api::{DRIVER_CONTAINER, EXECUTOR_CONTAINER};
use crate::livy::BatchView;

/// Ending of a driver pod's name. Before it stands what the names of the executors' pods begin with.
const DRIVER_ENDING: &str = "-driver";

/// A log's bytes. The request ends when this is dropped.
pub(super) type Bytes = Pin<Box<dyn AsyncBufRead + Send>>;

/// One container.
#[derive(Clone, Debug)]
pub(super) struct Source {
    namespace: String,
    pod: String,
    /// Which executor's it is, if it is not the driver's.
    executor: Option<i32>,
}

/// Opens one log, over and over.
pub(super) trait Open {
    /// Its bytes.
    type Log: AsyncBufRead + Send + Unpin;

    /// The log's last lines or, without a number, all that is left of it. Each has its time before it.
    fn open(&self, tail: Option<usize>) -> impl Future<Output = Result<Self::Log, NoLog>> + Send;
}

/// Why a log cannot be read.
#[derive(Debug)]
pub(super) enum NoLog {
    /// The container has not started, or the log is to be read again from what is known.
    NotYet,
    /// There is no such pod.
    Missing,
    /// Something failed.
    Failed(ApiError),
}

impl From<io::Error> for NoLog {
    fn from(error: io::Error) -> Self {
        Self::Failed(ApiError::unavailable("the log broke off; try again").because(error))
    }
}

/// A source, and the way to it.
pub(super) struct Way<'a> {
    pub(super) state: &'a AppState,
    pub(super) source: &'a Source,
}

impl Open for Way<'_> {
    type Log = Bytes;

    async fn open(&self, tail: Option<usize>) -> Result<Bytes, NoLog> {
        self.source.open(self.state, tail, false).await
    }
}

impl Source {
    /// The log of a batch's driver or of an executor. `None` while there is no driver.
    ///
    /// Spark: `BasicExecutorFeatureStep`, `<spark.kubernetes.executor.podNamePrefix>-exec-<n>`.
    pub(super) fn of(namespace: &str, view: &BatchView, executor: Option<i32>) -> Option<Self> {
        let driver = view.driver_pod.as_ref()?;
        let pod = match executor {
            None => driver.clone(),
            Some(n) => format!("{}-exec-{n}", driver.strip_suffix(DRIVER_ENDING)?),
        };
        is_dns_subdomain(&pod).then(|| Self { namespace: namespace.to_owned(), pod, executor })
    }

    /// By what the log is remembered. No two pods of one name come after each other: names of drivers hold the batch's
    /// uid and the attempt, and Spark gives no number twice.
    pub(super) fn key(&self) -> String {
        format!("{}/{}", self.namespace, self.pod)
    }

    /// Opens the log: the whole of it or its last lines, to its present end or, with `follow`, to the container's.
    ///
    /// # RBAC needed
    /// `pods/log`: `get`.
    pub(super) async fn open(&self, state: &AppState, tail: Option<usize>, follow: bool) -> Result<Bytes, NoLog> {
        let pods: Api<Pod> = Api::namespaced(state.client.clone(), &self.namespace);
        let container = if self.executor.is_none() { DRIVER_CONTAINER } else { EXECUTOR_CONTAINER };
        let params = LogParams {
            container: Some(container.to_owned()),
            follow,
            tail_lines: tail.map(|lines| i64::try_from(lines).unwrap_or(i64::MAX)),
            timestamps: true,
            ..LogParams::default()
        };
        match call(state.config.limits.upstream, pods.log_stream(&self.pod, &params)).await {
            Ok(log) => Ok(Box::pin(log)),
            Err(failure) => Err(match failure.code() {
                Some(400) => NoLog::NotYet,
                Some(404) => NoLog::Missing,
                _ => NoLog::Failed(failure.answer(&self.namespace)),
            }),
        }
    }
}
