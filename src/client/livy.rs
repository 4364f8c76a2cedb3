//! Batches through Livy's API: this project's facade, or any other Livy.

use std::io;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde::de::DeserializeOwned;

use super::{Batch, ClientError, Killed, LOOK_EVERY, LogOptions};
use crate::api::SparkBatchSpec;
use crate::livy::{BatchAnswer, ErrorAnswer, ListAnswer, LogAnswer, body_of, encoded, phase_of};

/// Time that an answer may take: a submission waits for the API server.
const TIMEOUT: Duration = Duration::from_secs(60);
/// Longest answer that is read.
const MAX_ANSWER: usize = 64 * 1024 * 1024;
/// Lines that one page of a log is asked for.
const LOG_PAGE: i32 = 1000;

/// A client of one collection of batches.
pub struct LivyClient {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    collection: String,
    token: Option<HeaderValue>,
}

impl LivyClient {
    /// A client of the collection below `url`: of its default namespace, or of `namespace`. A URL that ends with
    /// `/batches` is the collection itself. `token` is sent as a bearer token.
    ///
    /// # Errors
    /// What to change in URL or token.
    pub fn new(url: &str, namespace: Option<&str>, token: Option<&str>) -> Result<Self, String> {
        let token = token.map(|token| HeaderValue::try_from(format!("Bearer {}", token.trim())));
        let token = token.transpose().map_err(|_| "SPARKBATCH_TOKEN: has characters that no token has")?;
        let tls = HttpsConnectorBuilder::new().try_with_platform_verifier().map_err(|error| error.to_string())?;
        let client = Client::builder(TokioExecutor::new()).build(tls.https_or_http().enable_http1().build());
        let token = token.map(|mut token| {
            token.set_sensitive(true);
            token
        });
        Ok(Self { client, collection: collection(url, namespace)?, token })
    }

    /// URL of the collection.
    #[must_use]
    pub fn collection(&self) -> &str {
        &self.collection
    }

    pub(super) async fn submit(&self, spec: &SparkBatchSpec) -> Result<Batch, ClientError> {
        let body = body_of(spec).map_err(|problems| ClientError::Refused(problems.join("\n")))?;
        let created: BatchAnswer = self.call(Method::POST, "", body.to_string().into(), "").await?;
        Ok(batch_of(created))
    }

    pub(super) async fn list(&self, limit: usize) -> Result<(Vec<Batch>, usize), ClientError> {
        let page = |from: i64| {
            let path = format!("?order=latest&from={from}&size={limit}");
            async move { self.call::<ListAnswer>(Method::GET, &path, Bytes::new(), "").await }
        };
        let mut list = page(0).await?;
        let asked = i64::try_from(limit).unwrap_or(i64::MAX);
        // A Livy that knows no order begins with the eldest.
        let is_rising = list.sessions.first().map(|batch| batch.id) < list.sessions.last().map(|batch| batch.id);
        if is_rising && list.total > asked {
            list = page(list.total - asked).await?;
        }
        list.sessions.sort_by_key(|batch| std::cmp::Reverse(batch.id));
        let total = usize::try_from(list.total).unwrap_or_default();
        Ok((list.sessions.into_iter().take(limit).map(batch_of).collect(), total))
    }

    pub(super) async fn get(&self, asked: &str) -> Result<Batch, ClientError> {
        Ok(batch_of(self.call(Method::GET, &format!("/{}", encoded(asked)), Bytes::new(), asked).await?))
    }

    pub(super) async fn kill(&self, asked: &str) -> Result<Killed, ClientError> {
        let path = format!("/{}", encoded(asked));
        self.call::<serde_json::Value>(Method::DELETE, &path, Bytes::new(), asked).await?;
        Ok(Killed::Deleted)
    }

    pub(super) async fn log(
        &self,
        asked: &str,
        options: LogOptions,
        out: &mut (dyn io::Write + Send),
    ) -> Result<(), ClientError> {
        let page = |from: i32, size: i32| {
            let path = format!("/{}/log?from={from}&size={size}", encoded(asked));
            async move { self.call::<LogAnswer>(Method::GET, &path, Bytes::new(), asked).await }
        };
        let mut next = 0;
        if let Some(tail) = options.tail {
            let tail = i32::try_from(tail).unwrap_or(i32::MAX);
            let last = page(-1, 1).await?;
            next = last.total.saturating_sub(tail).max(0);
        }
        loop {
            // Before the page: what is written before the end is then in it.
            let has_ended = !options.follow || self.get(asked).await?.phase.is_final();
            let lines = page(next, LOG_PAGE).await?;
            for line in &lines.log {
                writeln!(out, "{line}")?;
            }
            out.flush()?;
            let read = i32::try_from(lines.log.len()).unwrap_or(i32::MAX);
            next = next.max(lines.from).saturating_add(read);
            match (read, has_ended) {
                (0, true) => return Ok(()),
                (0, false) => tokio::time::sleep(LOOK_EVERY).await,
                _ => {}
            }
        }
    }

    /// Where the server says the Spark UI is; or below the batch's path, where this project's facade has it, whose
    /// answer tells why if it is not there.
    pub(super) async fn ui(&self, asked: &str) -> Result<String, ClientError> {
        if let Some(url) = self.get(asked).await?.spark_ui_url {
            return Ok(url);
        }
        let path = format!("/{}/ui/", encoded(asked));
        self.send(Method::GET, &path, Bytes::new(), asked).await?;
        Ok(format!("{}{path}", self.collection))
    }

    /// The answer to a request for what stands at `path` below the collection.
    async fn call<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Bytes,
        asked: &str,
    ) -> Result<T, ClientError> {
        let body = self.send(method, path, body, asked).await?;
        let text = "did not answer like a Livy server; give its base URL, such as https://livy.example.com";
        serde_json::from_slice(&body).map_err(|_| ClientError::Refused(format!("{} {text}", self.collection)))
    }

    /// Sends a request for what stands at `path` below the collection: the body of its answer.
    async fn send(&self, method: Method, path: &str, body: Bytes, asked: &str) -> Result<Bytes, ClientError> {
        let uri = format!("{}{path}", self.collection);
        let unavailable = |error: &dyn std::fmt::Display| {
            ClientError::Unavailable(format!("{} cannot be reached: {error}", self.collection))
        };
        let mut request = Request::builder().method(method).uri(&uri).header(ACCEPT, "application/json");
        // Livy refuses what changes something without this header.
        request = request.header(CONTENT_TYPE, "application/json").header("X-Requested-By", "sparkbatch");
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(Full::new(body)).map_err(|error| ClientError::Refused(error.to_string()))?;
        let sending = async {
            let (head, body) =
                self.client.request(request).await.map_err(|error| unavailable(&causes(&error)))?.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| unavailable(&error))?;
            Ok::<_, ClientError>((head.status, body.to_bytes()))
        };
        let answered = tokio::time::timeout(TIMEOUT, sending).await;
        let (status, body) = answered.map_err(|_| unavailable(&"no answer in time"))??;
        // Redirects are Spark's, from the first page of its UI to that of its jobs.
        if status.is_success() || status.is_redirection() { Ok(body) } else { Err(self.refusal(status, &body, asked)) }
    }

    fn refusal(&self, status: StatusCode, body: &[u8], asked: &str) -> ClientError {
        let answer: Option<ErrorAnswer> = serde_json::from_slice(body).ok();
        let said = answer.map_or_else(|| format!("{} answers with {status}", self.collection), |answer| answer.msg);
        match status {
            StatusCode::NOT_FOUND if !asked.is_empty() && said.starts_with("Session") => {
                ClientError::NotFound(asked.to_owned())
            }
            StatusCode::UNAUTHORIZED if self.token.is_none() => {
                ClientError::Refused(format!("{said}\nSet SPARKBATCH_TOKEN to a token of yours."))
            }
            StatusCode::UNAUTHORIZED => {
                ClientError::Refused(format!("{said}\nSet SPARKBATCH_TOKEN to a token that is valid."))
            }
            StatusCode::TOO_MANY_REQUESTS => ClientError::Unavailable(said),
            status if status.is_server_error() => ClientError::Unavailable(said),
            _ => ClientError::Refused(said),
        }
    }
}

/// An error and those below it, on one line.
fn causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        text = format!("{text}: {error}");
        next = error.source();
    }
    text
}

fn collection(url: &str, namespace: Option<&str>) -> Result<String, String> {
    let url = url.trim().trim_end_matches('/');
    let is_url = url.starts_with("http://") || url.starts_with("https://");
    if !is_url || url.contains(['?', '#', '@']) || url.parse::<http::Uri>().is_err() {
        return Err("--livy-url: write a URL such as https://livy.example.com, without a query; a token goes into \
                    SPARKBATCH_TOKEN"
            .to_owned());
    }
    match (url.ends_with("/batches"), namespace) {
        (true, Some(_)) => Err("--namespace: the URL names a collection of batches already; leave one out".to_owned()),
        (true, None) => Ok(url.to_owned()),
        (false, Some(namespace)) => Ok(format!("{url}/namespaces/{}/batches", encoded(namespace))),
        (false, None) => Ok(format!("{url}/batches")),
    }
}

fn batch_of(answer: BatchAnswer) -> Batch {
    Batch {
        id: Some(answer.id),
        name: answer.name,
        phase: phase_of(&answer.state).unwrap_or_default(),
        owner: answer.owner,
        app_id: answer.app_id,
        spark_ui_url: answer.app_info.spark_ui_url,
        ..Batch::default()
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    #[rstest]
    #[case("http://a:8998", None, "http://a:8998/batches")]
    #[case("https://a/x/", Some("etl"), "https://a/x/namespaces/etl/batches")]
    #[case("https://a/v3/analytics_engines/7/livy/batches/", None, "https://a/v3/analytics_engines/7/livy/batches")]
    fn a_url_names_a_collection(#[case] url: &str, #[case] namespace: Option<&str>, #[case] expected: &str) {
        assert_eq!(collection(url, namespace), Ok(expected.to_owned()));
    }

    #[rstest]
    #[case("a:8998", None)]
    #[case("ftp://a", None)]
    #[case("https://me:pw@a", None)]
    #[case("https://a?x=y", None)]
    #[case("https://a/batches", Some("etl"))]
    fn other_urls_are_refused_without_repeating_them(#[case] url: &str, #[case] namespace: Option<&str>) {
        assert!(!collection(url, namespace).unwrap_err().contains("pw"));
    }
}
