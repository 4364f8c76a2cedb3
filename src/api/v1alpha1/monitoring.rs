//! How the metrics of a batch reach Prometheus.

#![allow(clippy::doc_markdown, reason = "these comments become `kubectl explain`, where backticks are noise")]

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// How Prometheus finds the metrics of driver and executors: one of the two ways.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Monitoring {
    /// Whether the driver's UI serves them: its own at /metrics/prometheus, the executors' at
    /// /metrics/executors/prometheus. The driver is annotated for the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prometheus_servlet: Option<bool>,
    /// JMX exporter of the image, as Java agent of driver and executors, which are annotated.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jmx_exporter: Option<JmxExporter>,
}

/// The Java agent of Prometheus' JMX exporter.
#[derive(Clone, Debug, Default, PartialEq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct JmxExporter {
    /// Path of the agent's jar in the image.
    #[schemars(length(max = 1024), regex(pattern = r"^/[A-Za-z0-9._/-]+$"))]
    pub jar: String,
    /// Path of its configuration, in the image or, by sparkConfFrom, below /opt/spark/conf.
    #[schemars(length(max = 1024), regex(pattern = r"^/[A-Za-z0-9._/-]+$"))]
    pub config_file: String,
    /// Port to serve the metrics at. 8090 if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 65_535))]
    pub port: Option<i32>,
}
