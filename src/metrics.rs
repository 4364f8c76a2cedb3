//! Metrics of the process, for Prometheus. Whoever has some registers them here, and the admin port shows them.
//!
//! Labels hold what the program chooses from, such as routes and reasons; never what users choose.

mod calls;
mod watches;

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
use self::watches::Listings;
pub use self::watches::Watches;

/// Content type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// What comes before each name.
const PREFIX: &str = "sparkbatch";

/// What a process has of one metric, whatever its labels.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Described {
    /// As queries name it.
    pub name: String,
    /// `counter`, `gauge`, `histogram` or `info`.
    pub kind: String,
    /// Names of its labels.
    pub labels: Vec<String>,
    /// What it tells.
    pub help: String,
}

/// The registry of one process. Clones are handles on the same.
#[derive(Clone, Debug)]
pub struct Metrics {
    registered: Arc<Mutex<Registered>>,
    /// What its watches have yet to list.
    listings: Listings,
}

#[derive(Debug)]
struct Registered {
    registry: Registry,
    described: Vec<Described>,
}

impl Default for Metrics {
    fn default() -> Self {
        let registered = Registered { registry: Registry::with_prefix(PREFIX), described: Vec::new() };
        let metrics = Self { registered: Arc::new(Mutex::new(registered)), listings: Listings::default() };
        let mut registered = metrics.registered();
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registered.describe("build", "The program that runs", &["version"], MetricType::Info);
        registered.registry.register("build", "The program that runs", build);
        drop(registered);
        metrics
    }
}

impl Registered {
    fn describe(&mut self, name: &str, help: &str, labels: &[&str], kind: MetricType) {
        let end = match kind {
            MetricType::Counter => "_total",
            MetricType::Info => "_info",
            _ => "",
        };
        self.described.push(Described {
            name: format!("{PREFIX}_{name}{end}"),
            kind: kind.as_str().to_owned(),
            labels: labels.iter().map(|&label| label.to_owned()).collect(),
            help: help.to_owned(),
        });
    }
}

impl Metrics {
    fn registered(&self) -> MutexGuard<'_, Registered> {
        self.registered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Every metric that was registered, whether there is anything to show of it yet or not.
    #[must_use]
    pub fn described(&self) -> Vec<Described> {
        self.registered().described.clone()
    }

    /// Shows `metric`, which has those labels, as `sparkbatch_<name>`; a counter's name gets `_total` besides. Returns it.
    pub fn register<M: Metric + Clone>(&self, name: &str, help: &str, labels: &[&str], metric: M) -> M {
        let mut registered = self.registered();
        registered.describe(name, help, labels, metric.metric_type());
        registered.registry.register(name, help, metric.clone());
        metric
    }

    /// Shows what `read` gives as the gauge `sparkbatch_<name>`; it is asked whenever the metrics are.
    pub fn sample(&self, name: &'static str, help: &'static str, read: impl Fn() -> usize + Send + Sync + 'static) {
        let mut registered = self.registered();
        registered.describe(name, help, &[], MetricType::Gauge);
        registered.registry.register_collector(Box::new(Sampled { name, help, read: Box::new(read) }));
    }

    /// Like [`Self::sample`], with a gauge for each value of `label`. `read` has to give few values, and the same.
    pub fn sample_by(
        &self,
        name: &'static str,
        help: &'static str,
        label: &'static str,
        read: impl Fn() -> Vec<(String, usize)> + Send + Sync + 'static,
    ) {
        let mut registered = self.registered();
        registered.describe(name, help, &[label], MetricType::Gauge);
        registered.registry.register_collector(Box::new(SampledBy { name, help, label, read: Box::new(read) }));
    }

    /// What keeps caches from being filled: each cause once, in words.
    #[must_use]
    pub fn unlisted(&self) -> Vec<String> {
        self.listings.causes().into_iter().collect()
    }

    /// All metrics, in the text format of `OpenMetrics`.
    ///
    /// # Errors
    /// If a metric cannot be written.
    pub fn text(&self) -> Result<String, fmt::Error> {
        let mut written = String::new();
        text::encode(&mut written, &self.registered().registry)?;
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
