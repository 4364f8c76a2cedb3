//! Logs and traces.

mod otlp;

use std::io::IsTerminal as _;
use std::time::Duration;

use clap::ValueEnum;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_sdk::trace::SdkTracerProvider;
use thiserror::Error;
use tracing_subscriber::filter::{ParseError, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _};

use crate::traces;

/// How long the end of the process waits until the last spans are sent.
const FLUSH: Duration = Duration::from_secs(5);

/// Form of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people.
    Plain,
    /// One JSON object a line.
    Json,
}

/// Why logs or traces cannot be set up.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// The filter is none.
    #[error("--log-filter: {0}")]
    Filter(#[from] ParseError),
    /// The environment asks for traces that cannot be sent.
    #[error("{0}")]
    Traces(String),
}

/// What is to be ended with the process.
#[derive(Debug)]
#[must_use = "the last spans are sent by `end`"]
pub struct Telemetry {
    provider: Option<SdkTracerProvider>,
}

/// Starts logging to standard error, filtered as `filter` says (`info`, `sparkbatch=debug,kube=warn`, …), and sending
/// spans to the collector that the environment names (`OTEL_EXPORTER_OTLP_ENDPOINT`), if it names one.
///
/// # Errors
/// If `filter` is no filter, or the environment asks for traces that cannot be sent.
pub fn init(filter: &str, format: LogFormat) -> Result<Telemetry, TelemetryError> {
    let filter = EnvFilter::builder().parse(filter)?;
    let provider = otlp::provider().map_err(TelemetryError::Traces)?;
    let spans = provider.as_ref().map(|provider| {
        let layer = tracing_opentelemetry::layer().with_tracer(provider.tracer("sparkbatch"));
        let layer = layer.with_location(false).with_threads(false).with_tracked_inactivity(false);
        layer.with_target(false).with_filter(filter_fn(|of| of.is_span() && of.target() == traces::TARGET))
    });
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines = match format {
        LogFormat::Plain => lines.with_ansi(std::io::stderr().is_terminal()).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_span_list(false).boxed(),
    };
    tracing_subscriber::registry().with(spans).with(lines.with_filter(filter)).init();
    Ok(Telemetry { provider })
}

impl Telemetry {
    /// Sends what waits to be sent, for some seconds at the most.
    pub async fn end(self) {
        let Some(provider) = self.provider else { return };
        // The exporter's thread needs this runtime to send.
        let ending = tokio::task::spawn_blocking(move || provider.shutdown_with_timeout(FLUSH));
        if let Ok(Err(error)) = ending.await {
            tracing::warn!(%error, "the last spans could not be sent");
        }
    }
}
