//! Traces to a collector, by the environment variables of `OpenTelemetry`. Nothing is set up where none names one.
//!
//! Spans wait in a queue of bounded length (`OTEL_BSP_MAX_QUEUE_SIZE`, 2048) for a thread of their own; what does not
//! fit is dropped, and nobody waits for a collector.

use std::fmt::Debug;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_rustls::HttpsConnectorBuilder;
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::{Connect, HttpConnector};
use hyper_util::rt::TokioExecutor;
use opentelemetry::KeyValue;
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, WithExportConfig as _, WithHttpConfig as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use tokio::runtime::Handle;

/// How often a collector that takes no spans is told of at the most.
const COMPLAINTS: Duration = Duration::from_secs(60);
/// `OpenTelemetry`: the default of `OTEL_EXPORTER_OTLP_TIMEOUT`.
const TIMEOUT: Duration = Duration::from_secs(10);
/// A collector answers with a few bytes.
const MAX_ANSWER: usize = 64 * 1024;
/// `OpenTelemetry`: values of `OTEL_TRACES_SAMPLER` that the SDK knows.
const SAMPLERS: [&str; 6] = [
    "always_on",
    "always_off",
    "traceidratio",
    "parentbased_always_on",
    "parentbased_always_off",
    "parentbased_traceidratio",
];

/// What the environment asks for.
#[derive(Debug, PartialEq, Eq)]
struct Settings {
    is_https: bool,
    timeout: Duration,
    has_service_name: bool,
}

/// What takes spans; `None` if the environment names no collector. Sends from the runtime that this is called in.
///
/// # Errors
/// Which variable asks for what cannot be done.
pub(super) fn provider() -> Result<Option<SdkTracerProvider>, String> {
    let Some(settings) = settings(|name| std::env::var(name).ok())? else { return Ok(None) };
    let builder = opentelemetry_otlp::SpanExporter::builder().with_http().with_protocol(Protocol::HttpBinary);
    let (runtime, timeout) = (Handle::current(), settings.timeout);
    let builder = if settings.is_https {
        let tls = HttpsConnectorBuilder::new().try_with_platform_verifier().map_err(|error| error.to_string())?;
        let client = Client::builder(TokioExecutor::new()).build(tls.https_only().enable_http1().build());
        builder.with_http_client(Sender { client, runtime, timeout })
    } else {
        let client = Client::builder(TokioExecutor::new()).build(HttpConnector::new());
        builder.with_http_client(Sender { client, runtime, timeout })
    };
    let exporter =
        Complaining { exporter: builder.build().map_err(|error| error.to_string())?, told: Mutex::default() };
    let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
    let resource = Resource::builder().with_attribute(version);
    let resource = if settings.has_service_name { resource } else { resource.with_service_name("sparkbatch") };
    Ok(Some(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource.build()).build()))
}

fn settings(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Settings>, String> {
    let variable = |name: &str| variable(name).map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    let either = |name: &str| {
        let names = [format!("OTEL_EXPORTER_OTLP_TRACES_{name}"), format!("OTEL_EXPORTER_OTLP_{name}")];
        names.into_iter().find_map(|name| variable(&name).map(|value| (name, value)))
    };
    let Some((_, endpoint)) = either("ENDPOINT") else { return Ok(None) };
    if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
        return Ok(None);
    }
    match variable("OTEL_TRACES_EXPORTER").as_deref() {
        None | Some("otlp") => {}
        Some("none") => return Ok(None),
        Some(_) => return Err("OTEL_TRACES_EXPORTER: must be 'otlp' or 'none'".to_owned()),
    }
    if let Some((name, _)) = either("PROTOCOL").filter(|(_, protocol)| protocol != "http/protobuf") {
        return Err(format!("{name}: must be 'http/protobuf', which collectors take at port 4318"));
    }
    if variable("OTEL_TRACES_SAMPLER").is_some_and(|sampler| !SAMPLERS.contains(&sampler.as_str())) {
        return Err(format!("OTEL_TRACES_SAMPLER: must be one of {}", SAMPLERS.join(", ")));
    }
    let timeout = either("TIMEOUT").map(|(name, millis)| {
        millis.parse().map(Duration::from_millis).map_err(|_| format!("{name}: must be a number of milliseconds"))
    });
    let attributes = variable("OTEL_RESOURCE_ATTRIBUTES").unwrap_or_default();
    let names_service = |pair: &str| pair.trim().starts_with("service.name=");
    Ok(Some(Settings {
        is_https: endpoint.get(..8).is_some_and(|scheme| scheme.eq_ignore_ascii_case("https://")),
        timeout: timeout.transpose()?.unwrap_or(TIMEOUT),
        has_service_name: variable("OTEL_SERVICE_NAME").is_some() || attributes.split(',').any(names_service),
    }))
}

/// The program's HTTP client, for a thread outside of its runtime.
#[derive(Debug)]
struct Sender<C> {
    client: Client<C, Full<Bytes>>,
    runtime: Handle,
    timeout: Duration,
}

impl<C: Connect + Clone + Debug + Send + Sync + 'static> HttpClient for Sender<C> {
    // As the trait's own attribute writes it.
    fn send_bytes<'a, 'f>(&'a self, request: Request<Bytes>) -> BoxFuture<'f, Result<Response<Bytes>, HttpError>>
    where
        'a: 'f,
        Self: 'f,
    {
        let (client, timeout) = (self.client.clone(), self.timeout);
        let sending = async move {
            let (head, body) = client.request(request.map(Full::new)).await?.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await?.to_bytes();
            Ok::<_, HttpError>(Response::from_parts(head, body))
        };
        // A timer belongs to the runtime, too.
        let sent = self.runtime.spawn(async move { tokio::time::timeout(timeout, sending).await });
        Box::pin(async move { sent.await?? })
    }
}

/// Tells when spans cannot be sent, and not each time.
#[derive(Debug)]
struct Complaining {
    exporter: opentelemetry_otlp::SpanExporter,
    told: Mutex<Option<Instant>>,
}

impl Complaining {
    fn is_time(&self, now: Instant) -> bool {
        let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
        let is_time = told.is_none_or(|told| now.saturating_duration_since(told) >= COMPLAINTS);
        if is_time {
            *told = Some(now);
        }
        is_time
    }
}

impl SpanExporter for Complaining {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let spans = batch.len();
        let exported = self.exporter.export(batch).await;
        if let Err(error) = &exported
            && self.is_time(Instant::now())
        {
            tracing::warn!(spans, %error, "spans could not be sent; this is told once a minute");
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Option<Settings>, String> {
        let find =
            |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
        settings(find)
    }

    const ENDPOINT: (&str, &str) = ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://collector:4318");

    #[rstest]
    #[case(&[])]
    #[case(&[("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")])]
    #[case(&[("OTEL_EXPORTER_OTLP_ENDPOINT", " ")])]
    #[case(&[ENDPOINT, ("OTEL_SDK_DISABLED", "TRUE")])]
    #[case(&[ENDPOINT, ("OTEL_TRACES_EXPORTER", "none")])]
    fn nothing_is_sent_that_was_not_asked_for(#[case] variables: &[(&str, &str)]) {
        assert_eq!(of(variables), Ok(None));
    }

    #[rstest]
    #[case("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc")]
    #[case("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "http/json")]
    #[case("OTEL_TRACES_EXPORTER", "zipkin")]
    #[case("OTEL_TRACES_SAMPLER", "xray")]
    #[case("OTEL_EXPORTER_OTLP_TIMEOUT", "10s")]
    fn what_cannot_be_done_is_refused_by_the_name_of_its_variable(#[case] name: &str, #[case] value: &str) {
        assert!(of(&[ENDPOINT, (name, value)]).unwrap_err().starts_with(&format!("{name}: ")));
    }

    #[test]
    fn the_variables_of_traces_go_before_those_of_all_signals() {
        let plain = of(&[ENDPOINT]).unwrap().unwrap();
        assert_eq!(plain, Settings { is_https: false, timeout: TIMEOUT, has_service_name: false });
        let own = [
            ENDPOINT,
            ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "HTTPS://traces/v1/traces"),
            ("OTEL_EXPORTER_OTLP_TIMEOUT", "5"),
            ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "7"),
            ("OTEL_RESOURCE_ATTRIBUTES", "a=b, service.name=mine"),
        ];
        let timeout = Duration::from_millis(7);
        assert_eq!(of(&own).unwrap().unwrap(), Settings { is_https: true, timeout, has_service_name: true });
    }
}
