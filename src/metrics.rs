//! Metrics of the process, for Prometheus. Whoever has some registers them here, and the admin port shows them.
//!
//! Labels hold what the program chooses from, such as routes and reasons; never what users choose.

mod calls;

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric as _};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

pub use self::calls::{ApiCalls, CountCalls};

/// Content type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// The registry of one process. Clones are handles on the same.
#[derive(Clone, Debug)]
pub struct Metrics(Arc<Mutex<Registry>>);

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("sparkbatch");
        registry.register("build", "The program that runs", Info::new([("version", env!("CARGO_PKG_VERSION"))]));
        Self(Arc::new(Mutex::new(registry)))
    }
}

impl Metrics {
    fn registry(&self) -> MutexGuard<'_, Registry> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Shows `metric` as `sparkbatch_<name>`; a counter's name gets `_total` besides. Returns it.
    pub fn register<M: Metric + Clone>(&self, name: &str, help: &str, metric: M) -> M {
        self.registry().register(name, help, metric.clone());
        metric
    }

    /// Shows what `read` gives as the gauge `sparkbatch_<name>`; it is asked whenever the metrics are.
    pub fn sample(&self, name: &'static str, help: &'static str, read: impl Fn() -> usize + Send + Sync + 'static) {
        self.registry().register_collector(Box::new(Sampled { name, help, read: Box::new(read) }));
    }

    /// Like [`Self::sample`], with a gauge for each value of `label`. `read` has to give few values, and the same.
    pub fn sample_by(
        &self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        read: impl Fn() -> Vec<(String, usize)> + Send + Sync + 'static,
    ) {
        self.registry().register_collector(Box::new(SampledBy { name, help, label, read: Box::new(read) }));
    }

    /// All metrics, in the text format of `OpenMetrics`.
    ///
    /// # Errors
    /// If a metric cannot be written.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut written = String::new();
        text::encode(&mut written, &self.registry())?;
        Ok(written)
    }
}

/// A gauge that is read where it is, instead of being kept up to date.
struct Sampled {
    name: &'static str,
    help: &'static str,
    read: Box<dyn Fn() -> usize + Send + Sync>,
}

impl fmt::Debug for Sampled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sampled").field(&self.name).finish()
    }
}

impl Collector for Sampled {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let value = ConstGauge::new(i64::try_from((self.read)()).unwrap_or(i64::MAX));
        value.encode(encoder.encode_descriptor(self.name, self.help, None, MetricType::Gauge)?)
    }
}

/// Gauges that are read where they are.
struct SampledBy {
    name: &'static str,
    help: &'static str,
    label: &'static str,
    read: Box<dyn Fn() -> Vec<(String, usize)> + Send + Sync>,
}

impl fmt::Debug for SampledBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SampledBy").field(&self.name).finish()
    }
}

impl Collector for SampledBy {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut gauges = encoder.encode_descriptor(self.name, self.help, None, MetricType::Gauge)?;
        for (value, count) in (self.read)() {
            let gauge = ConstGauge::new(i64::try_from(count).unwrap_or(i64::MAX));
            gauge.encode(gauges.encode_family(&[(self.label, value)])?)?;
        }
        Ok(())
    }
}
