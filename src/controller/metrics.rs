//! What the controller counts.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use kube::runtime::reflector::Store;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;

use super::context::Context;
use crate::api::{Phase, Reason, SparkBatchStatus};
use crate::lease::Leadership;
use crate::metrics::{Metrics, Watches};
use crate::observe::queued_since;

/// From a look at what the cache holds to the longest that one may take.
const LOOKS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1.0, 10.0, 60.0];
/// From a batch that cannot be started to one that runs for a day.
const RUNS: [f64; 12] = [1.0, 5.0, 15.0, 60.0, 180.0, 600.0, 1800.0, 3600.0, 7200.0, 21_600.0, 43_200.0, 86_400.0];
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
struct Ended {
    phase: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Until {
    until: &'static str,
}

/// Counters of the controller. Clones count into the same.
#[derive(Clone)]
pub(super) struct Counters {
    looks: Family<Looked, Histogram>,
    looking: Gauge,
    runs: Family<Ended, Histogram>,
    finished: Family<Finished, Counter>,
    starts: Family<Until, Histogram>,
    queued: Histogram,
    pub(super) watches: Watches,
}

impl Counters {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let help = "Time from a batch's creation until its first driver pod was created, and until it ran";
        let starts = Family::new_with_constructor((|| Histogram::new(STARTS)) as fn() -> Histogram);
        let starts = metrics.register("start_latency_seconds", help, &["until"], starts);
        let runs = Family::new_with_constructor((|| Histogram::new(RUNS)) as fn() -> Histogram);
        let runs =
            metrics.register("batch_duration_seconds", "Time from a batch's creation until its end", &["phase"], runs);
        let help = "Time that a reconciliation of a batch took, by its result";
        let looks = Family::new_with_constructor((|| Histogram::new(LOOKS)) as fn() -> Histogram);
        Self {
            looks: metrics.register("reconcile_duration_seconds", help, &["result"], looks),
            looking: metrics.register(
                "reconciles_in_flight",
                "Reconciliations that are going on",
                &[],
                Gauge::default(),
            ),
            runs,
            finished: metrics.register(
                "batches_finished",
                "Batches that came to their end",
                &["phase", "reason"],
                Family::default(),
            ),
            starts,
            queued: metrics.register(
                "queue_duration_seconds",
                "Time from when a batch joined its namespace's queue until its driver pod was created",
                &[],
                Histogram::new(STARTS),
            ),
            watches: Watches::new(metrics, "controller_watch_errors", "Errors of watches that feed the controller"),
        }
    }

    /// One look begins, and ends when what is returned is dropped.
    pub(super) fn looking(&self) -> Looking {
        self.looking.inc();
        Looking(self.looking.clone())
    }

    /// One look was taken at a batch.
    pub(super) fn looked(&self, result: &'static str, took: Duration) {
        self.looks.get_or_create(&Looked { result }).observe(took.as_secs_f64());
    }

    /// The status of a batch, created at that time, was written.
    pub(super) fn wrote(&self, created: Option<Timestamp>, before: &SparkBatchStatus, after: &SparkBatchStatus) {
        if after.phase.is_final() && !before.phase.is_final() {
            let reason = after.reason.map_or("none", Reason::as_str);
            let phase = after.phase.as_str();
            self.finished.get_or_create(&Finished { phase, reason }).inc();
            if let (Some(created), Some(ended)) = (created, after.completion_time) {
                let took = ended.duration_since(created).as_secs_f64().max(0.0);
                self.runs.get_or_create(&Ended { phase }).observe(took);
            }
        }
        if let (Some(since), Some(started)) = (queued_since(before), after.start_time) {
            self.queued.observe(started.duration_since(since).as_secs_f64().max(0.0));
        }
        // A later attempt, or one that somebody held up, says nothing about how fast drivers start.
        if after.attempt.is_some_and(|attempt| attempt > 1)
            || matches!(before.reason, Some(Reason::Suspended | Reason::Queued))
        {
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
}

/// A look at a batch that goes on.
pub(super) struct Looking(Gauge);

impl Drop for Looking {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Shows what is led, and how many batches there are in the caches.
pub(super) fn sample(metrics: &Metrics, leadership: &Leadership, contexts: &[Arc<Context>]) {
    let caches: Vec<_> = contexts.iter().map(|context| context.batches.clone()).collect();
    let failing = contexts.to_vec();
    let help = "Batches whose last reconciliation failed; they are tried again ever more rarely";
    metrics.sample("failing_batches", help, move || failing.iter().map(|context| context.memory.failing()).sum());
    let unreadable = caches.clone();
    let help = "Batches that this operator cannot read, since another version wrote them";
    metrics.sample("unreadable_batches", help, move || {
        unreadable.iter().flat_map(Store::state).filter(|batch| batch.0.is_err()).count()
    });
    let waiting = caches.clone();
    let help = "Batches whose driver does not run yet, by what they wait for";
    metrics.sample_by("waiting_batches", help, "reason", move || {
        let mut counts = Reason::ALL.map(|reason| (reason.as_str().to_owned(), 0));
        for batch in waiting.iter().flat_map(Store::state) {
            let Ok(batch) = &batch.0 else { continue };
            let reason = batch.status.as_ref().and_then(|status| status.reason);
            if matches!(batch.phase(), Phase::Pending | Phase::Starting) {
                let at = Reason::ALL.iter().position(|of| Some(*of) == reason);
                if let Some(at) = at {
                    counts[at].1 += 1;
                }
            }
        }
        counts.into_iter().filter(|(_, count)| *count > 0).collect()
    });
    let queues = contexts.to_vec();
    metrics.sample("batches_queued", "Batches that wait for their turn in the queues of their namespaces", move || {
        queues.iter().map(|context| context.queues.waiting()).sum()
    });
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
