//! Logs of drivers and executors, read through the API server: pages with Livy's offsets, and streams.
//!
//! A page begins at the offset that was asked for, unless that line was rotated away: then at the first line that is
//! left, which `from` tells. For what is remembered of a log, and what is not, see [`index`].

mod diagnostics;
mod follow;
mod index;
mod lines;
mod page;
mod reading;
mod source;

use axum::extract::State;
use axum::response::Response;
use http::{Method, StatusCode};

pub(super) use index::Index;

use self::page::{Frame, Page};
use self::source::{NoLog, Source, Way};
use super::AppState;
use super::auth::{Allowed, Log as Right};
use super::batches::find;
use super::error::{ApiError, json};
use super::extract::{Asked, Parameters};
use super::tenant::Tenant;
use crate::api::{DRIVER_CONTAINER, Phase};
use crate::livy::{BatchView, LogBody, LogWindow, log_window};

/// Livy 0.9: `SparkApp`, `LineBufferedProcess`: elements that part the streams of its `spark-submit`. A driver's log
/// is one stream.
const MARKERS: Frame = Frame { before: &["stdout: "], after: &["\nstderr: "] };

/// Livy 0.9: `SessionServlet`, `GET /:id/log`. The managed services have no logs here.
pub(super) async fn read(
    State(state): State<AppState>,
    Allowed { tenant, .. }: Allowed<Right>,
    asked: Asked,
    method: Method,
    parameters: Parameters,
) -> Result<Response, ApiError> {
    let view = find(&state, &tenant, &asked).await?;
    if !tenant.extensions {
        return Err(no_logs_here(&tenant, &view));
    }
    let log = Log { state: &state, namespace: &tenant.namespace, view: &view, executor: executor(&parameters)? };
    let window = log_window(parameters.int("from")?, parameters.int("size")?);
    if parameters.flag("follow")? {
        return follow::answer(&log, window, &method).await;
    }
    let page = log.page(window).await?;
    let body = LogBody { id: view.id, from: page.from, total: page.total, log: page.lines };
    Ok(json(StatusCode::OK, &body))
}

fn no_logs_here(tenant: &Tenant, view: &BatchView) -> ApiError {
    let Tenant { namespace, .. } = tenant;
    let kubectl = view.driver_pod.as_ref().map_or_else(String::new, |pod| {
        format!("kubectl logs --namespace {namespace} {pod} --container {DRIVER_CONTAINER}, or ")
    });
    ApiError::not_found(format!(
        "This API has no logs. Read them by {kubectl}GET /namespaces/{namespace}/batches/{}/log.",
        view.id
    ))
}

fn executor(parameters: &Parameters) -> Result<Option<i32>, ApiError> {
    match parameters.int("executor")? {
        Some(n) if n < 1 => Err(ApiError::bad_request("executors are counted from 1: ask for executor=1")),
        n => Ok(n),
    }
}

/// The log that is asked for.
struct Log<'a> {
    state: &'a AppState,
    namespace: &'a str,
    view: &'a BatchView,
    /// Which executor's it is, if it is not the driver's.
    executor: Option<i32>,
}

impl Log<'_> {
    /// A page, with the elements around it. A driver that has written nothing is told of by the resource.
    async fn page(&self, window: LogWindow) -> Result<Page, ApiError> {
        let frame = if self.state.config.log_markers { MARKERS } else { Frame::default() };
        let is_gone = match self.lines(window, frame).await {
            Ok(page) if page.total > frame.len() => return Ok(page),
            Ok(_) => false,
            Err(none) => {
                let is_gone = matches!(none, NoLog::Missing);
                self.forgive(none)?;
                is_gone
            }
        };
        let told = match self.executor {
            None => diagnostics::lines(self.state, self.namespace, self.view, is_gone).await?,
            Some(_) => Vec::new(),
        };
        let told = told.iter().map(String::as_str);
        let elements: Vec<_> = frame.before.iter().chain(frame.after).copied().chain(told).collect();
        Ok(page::of_elements(&elements, window))
    }

    /// A page of what the container has written.
    async fn lines(&self, window: LogWindow, frame: Frame) -> Result<Page, NoLog> {
        let source = &self.source()?;
        let known = self.state.logs.of(&source.key());
        let way = Way { state: self.state, source };
        page::read(&mut *known.lock().await, window, frame, self.is_final(), &way).await
    }

    fn source(&self) -> Result<Source, NoLog> {
        Source::of(self.namespace, self.view, self.executor).ok_or(NoLog::Missing)
    }

    /// Whether the driver has ended by itself, so that all that it wrote is there. What is killed may write on.
    fn is_final(&self) -> bool {
        self.executor.is_none() && matches!(self.view.phase, Phase::Succeeded | Phase::Failed)
    }

    /// A log that is not there yet, or not any more, is an empty one. An executor that is not there is an error.
    fn forgive(&self, none: NoLog) -> Result<(), ApiError> {
        match (none, self.executor) {
            (NoLog::NotYet, _) | (NoLog::Missing, None) => Ok(()),
            (NoLog::Missing, Some(n)) => Err(self.no_executor(n)),
            (NoLog::Failed(error), _) => Err(error),
        }
    }

    fn no_executor(&self, n: i32) -> ApiError {
        ApiError::not_found(format!(
            "Executor {n} of batch {} not found: it has not been made yet, or it ended and Spark deleted its pod, the \
             log with it. Set spark.kubernetes.executor.deleteOnTermination=false in conf to keep such pods.",
            self.view.id
        ))
    }
}

#[cfg(test)]
mod kubelet;
