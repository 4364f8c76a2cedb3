//! What drivers have told of their ends, after their pods are gone: a drain, a preemption or `kubectl delete pod` may
//! leave no time for a look in between.
//!
//! None of them is at work, and nobody who asks for the drivers that exist is given one of these.

use std::collections::HashMap;

use super::pods::BatchKey;
use crate::api::SparkBatchStatus;
use crate::observe::DriverFacts;

/// How many are remembered of each batch at the most. Only somebody who makes pods in its name comes to that many.
const MOST: usize = 3;

#[derive(Default)]
pub(super) struct Gone(HashMap<BatchKey, Vec<DriverFacts>>);

impl Gone {
    /// The driver's pod is gone. One that was at work, and that nothing took away, is forgotten with it.
    pub(super) fn remember(&mut self, batch: &BatchKey, driver: DriverFacts) {
        let Some(driver) = driver.after_deletion() else { return };
        let known = self.0.entry(batch.clone()).or_default();
        known.retain(|other| other.pod_uid != driver.pod_uid);
        known.push(driver);
        known.drain(..known.len().saturating_sub(MOST));
    }

    /// The last that went of those that `is_it` holds for.
    pub(super) fn find(&self, batch: &BatchKey, is_it: impl Fn(&DriverFacts) -> bool) -> Option<DriverFacts> {
        self.0.get(batch)?.iter().rev().find(|driver| is_it(driver)).cloned()
    }

    pub(super) fn has(&self, batch: &BatchKey) -> bool {
        self.0.contains_key(batch)
    }

    /// Of which batches anything is remembered.
    pub(super) fn batches(&self) -> Vec<BatchKey> {
        self.0.keys().cloned().collect()
    }

    /// Drops what a batch with this uid and status has no need of; everything if there is no such batch any more.
    pub(super) fn keep_needed(&mut self, batch: &BatchKey, known: Option<(&str, &SparkBatchStatus)>) {
        let Some(drivers) = self.0.get_mut(batch) else { return };
        drivers.retain(|driver| known.is_some_and(|(uid, status)| is_needed(driver, uid, status)));
        if drivers.is_empty() {
            self.0.remove(batch);
        }
    }
}

fn is_needed(driver: &DriverFacts, uid: &str, status: &SparkBatchStatus) -> bool {
    let attempt = status.attempt.unwrap_or(1);
    driver.owner_uid.as_deref() == Some(uid)
        && !status.phase.is_final()
        && driver.attempt.is_none_or(|of| of >= attempt)
}
