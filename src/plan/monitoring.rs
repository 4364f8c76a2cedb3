//! Where Prometheus finds the metrics of driver and executors.

use k8s_openapi::api::core::v1::ContainerPort;

use super::conf::ui_port;
use super::shape::PodShape;
use crate::api::validation::Problem;
use crate::api::{JmxExporter, Monitoring, ROLE_DRIVER, SparkBatchSpec};
use crate::spark::{Origin, SparkConf};

/// Port of the JMX exporter where none is given.
const DEFAULT_PORT: i32 = 8090;
const PORT_NAME: &str = "metrics";
const FIELD: Origin = Origin::Field("monitoring");
/// Path of the driver's own metrics. Spark: "Monitoring and Instrumentation", `PrometheusServlet`.
const SERVLET_PATH: &str = "spark.metrics.conf.*.sink.prometheusServlet.path";
const SERVLET_DRIVER_PATH: &str = "spark.metrics.conf.driver.sink.prometheusServlet.path";

/// Turns the metrics on in `conf`: what it says itself stays.
pub(super) fn set(conf: &mut SparkConf, monitoring: &Monitoring) {
    if monitoring.prometheus_servlet == Some(true) {
        let class = "org.apache.spark.metrics.sink.PrometheusServlet";
        conf.set_if_missing("spark.metrics.conf.*.sink.prometheusServlet.class", class, FIELD);
        conf.set_if_missing(SERVLET_PATH, "/metrics/prometheus", FIELD);
        // The executors' metrics, which the driver serves. False by default in Spark 3.5.
        conf.set_if_missing("spark.ui.prometheus.enabled", "true", FIELD);
    }
    if let Some(JmxExporter { jar, config_file, port }) = &monitoring.jmx_exporter {
        let agent = format!("-javaagent:{jar}={}:{config_file}", port.unwrap_or(DEFAULT_PORT));
        for key in ["spark.driver.extraJavaOptions", "spark.executor.extraJavaOptions"] {
            let own = conf.get(key).filter(|own| !own.is_empty()).map(|own| format!("{own} {agent}"));
            conf.set(key, own.unwrap_or_else(|| agent.clone()), FIELD);
        }
    }
}

/// What keeps the metrics from being served.
pub(super) fn problems(spec: &SparkBatchSpec, conf: &SparkConf) -> Vec<Problem> {
    let Some(monitoring) = &spec.monitoring else { return Vec::new() };
    let mut problems = Vec::new();
    if monitoring.prometheus_servlet == Some(true) && ui_port(conf).is_none() {
        let rule = "the driver's UI serves it, which has no port: let spark.ui.enabled be true and spark.ui.port be from \
                    1 to 65535, or use jmxExporter";
        problems.push(Problem::new("monitoring.prometheusServlet", rule));
    }
    let exporter = monitoring.jmx_exporter.as_ref().map(|exporter| exporter.port.unwrap_or(DEFAULT_PORT));
    if let Some(port) = exporter.filter(|port| [7078, 7079].contains(port) || ui_port(conf) == Some(*port)) {
        let rule = format!("{port} is one of Spark's own ports; choose another");
        problems.push(Problem::new("monitoring.jmxExporter.port", rule));
    }
    problems
}

/// The shape of the pods of `role` with what tells Prometheus where to look, under what the batch says itself.
///
/// An executor serves no HTTP of its own: its metrics are the driver's to show, unless it has the agent.
pub(super) fn scraped(mut shape: PodShape, role: &str, monitoring: &Monitoring, conf: &SparkConf) -> PodShape {
    let servlet = monitoring.prometheus_servlet == Some(true) && role == ROLE_DRIVER;
    let found = match &monitoring.jmx_exporter {
        Some(exporter) => Some((exporter.port.unwrap_or(DEFAULT_PORT), "/metrics".to_owned())),
        None => ui_port(conf).filter(|_| servlet).map(|port| (port, servlet_path(conf))),
    };
    let Some((port, path)) = found else { return shape };
    let annotations = [("scrape", "true".to_owned()), ("path", path), ("port", port.to_string())];
    for (name, value) in annotations {
        let name = format!("prometheus.io/{name}");
        if conf.get(&format!("spark.kubernetes.{role}.annotation.{name}")).is_none() {
            shape.annotations.entry(name).or_insert(value);
        }
    }
    if monitoring.jmx_exporter.is_some() {
        let ports = shape.container.ports.get_or_insert_default();
        if ports.iter().all(|own| own.name.as_deref() != Some(PORT_NAME)) {
            ports.push(ContainerPort {
                name: Some(PORT_NAME.to_owned()),
                container_port: port,
                protocol: Some("TCP".to_owned()),
                ..ContainerPort::default()
            });
        }
    }
    shape
}

/// With the slash that the servlet's server redirects to otherwise.
fn servlet_path(conf: &SparkConf) -> String {
    let path = [SERVLET_DRIVER_PATH, SERVLET_PATH].into_iter().find_map(|key| conf.get(key)).unwrap_or_default();
    format!("{}/", path.trim_end_matches('/'))
}
