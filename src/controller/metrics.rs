//! What the controller counts.

use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::reflector::Store;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;

use super::context::GuardedBatch;
use crate::api::{Phase, Reason, SparkBatchStatus};
use crate::lease::Leadership;
use crate::metrics::Metrics;

/// From a look at what the cache holds to the longest that one may take.
const LOOKS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 10.0, 60.0];
/// Kubernetes tells these times to the second.
const STARTS: [f64; 12] = [1.0, 2.0, 3.0, 5.0, 10.0, 20.0, 30.0, 60.0, 120.0, 300.0, 900.0, 3600.0];

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Looked {
    /// `ok`, or the category of the error.
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Finished {
    phase: &'static str,
    reason: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Until {
    until: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Resource {
    resource: &'static str,
}

/// Counters of the controller. Clones count into the same.
#[derive(Clone)]
pub(super) struct Counters {
    looks: Family<Looked, Histogram>,
    finished: Family<Finished, Counter>,
    starts: Family<Until, Histogram>,
    watch_errors: Family<Resource, Counter>,
}

impl Counters {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let help = "Time from a batch's creation until its first driver pod was created, and until it ran";
        let starts = Family::new_with_constructor((|| Histogram::new(STARTS)) as fn() -> Histogram);
        let starts = metrics.register("start_latency_seconds", help, starts);
        let help = "Time that a look at a batch took, by its result";
        let looks = Family::new_with_constructor((|| Histogram::new(LOOKS)) as fn() -> Histogram);
        Self {
            looks: metrics.register("reconcile_duration_seconds", help, looks),
            finished: metrics.register("batches_finished", "Batches that came to their end", Family::default()),
            starts,
            watch_errors: metrics.register(
                "controller_watch_errors",
                "Errors of watches that feed the controller",
                Family::default(),
            ),
        }
    }

    /// One look was taken at a batch.
    pub(super) fn looked(&self, result: &'static str, took: Duration) {
        self.looks.get_or_create(&Looked { result }).observe(took.as_secs_f64());
    }

    /// The status of a batch, created at that time, was written.
    pub(super) fn wrote(&self, created: Option<Timestamp>, before: &SparkBatchStatus, after: &SparkBatchStatus) {
        if after.phase.is_final() && !before.phase.is_final() {
            let reason = after.reason.map_or("none", Reason::as_str);
            self.finished.get_or_create(&Finished { phase: after.phase.as_str(), reason }).inc();
        }
        // A later attempt, or one that somebody held up, says nothing about how fast drivers start.
        if after.attempt.is_some_and(|attempt| attempt > 1) || before.reason == Some(Reason::Suspended) {
            return;
        }
        let times =
            [("created", before.start_time, after.start_time), ("running", before.running_time, after.running_time)];
        for (until, before, after) in times {
            if let (None, Some(at), Some(created)) = (before, after, created) {
                self.starts.get_or_create(&Until { until }).observe(at.duration_since(created).as_secs_f64().max(0.0));
            }
        }
    }

    /// A watch of `resource` failed.
    pub(super) fn watch_failed(&self, resource: &'static str) {
        self.watch_errors.get_or_create(&Resource { resource }).inc();
    }
}

/// Shows what is led, and how many batches there are in the caches.
pub(super) fn sample(metrics: &Metrics, leadership: &Leadership, caches: Vec<Store<GuardedBatch>>) {
    metrics.sample_by("batches", "Batches by phase, as every replica knows them", "phase", move || {
        let mut counts = Phase::ALL.map(|phase| (phase.as_str().to_owned(), 0));
        for batch in caches.iter().flat_map(Store::state) {
            if let Ok(batch) = &batch.0 {
                let at = Phase::ALL.iter().position(|phase| *phase == batch.phase()).unwrap_or_default();
                counts[at].1 += 1;
            }
        }
        counts.into()
    });
    let leadership = leadership.clone();
    metrics.sample_by("leader", "Whether this replica leads a shard", "shard", move || {
        leadership.shards().into_iter().map(|(shard, leads)| (shard.to_string(), usize::from(leads))).collect()
    });
}
