//! A status whose write was not answered: whether it was carried out shows at a later look. Then it is told of, as one
//! that was answered is.

use kube::ResourceExt as _;

use super::error::Error;
use super::events;
use super::step::Step;
use crate::api::{Reason, SparkBatchStatus};

/// How many statuses are remembered that may have been written over one: each has its own time.
const MOST: usize = 4;

/// The statuses that this process may have written over one that it saw.
#[derive(Debug)]
pub(super) struct Unanswered {
    /// The version of the batch with the status `before`: no other is written over.
    version: Option<String>,
    before: SparkBatchStatus,
    after: Vec<SparkBatchStatus>,
}

impl Unanswered {
    /// The `earlier` ones of the same version, and `after`. The first is the likeliest: it bars those that come later.
    pub(super) fn with(
        earlier: Option<Self>,
        version: Option<String>,
        before: &SparkBatchStatus,
        after: &SparkBatchStatus,
    ) -> Self {
        let earlier = earlier.filter(|earlier| earlier.version == version);
        let mut all = earlier.unwrap_or_else(|| Self { version, before: before.clone(), after: Vec::new() });
        all.after.truncate(MOST - 1);
        if !all.after.contains(after) {
            all.after.push(after.clone());
        }
        all
    }

    /// Whether none of them was written, as far as is known by this version of the batch.
    pub(super) fn may_come_yet(&self, version: Option<&str>) -> bool {
        self.version.as_deref() == version
    }

    /// The one that `stored` is, with what it was written over.
    fn find(self, stored: &SparkBatchStatus) -> Result<Option<(SparkBatchStatus, SparkBatchStatus)>, Error> {
        // Stored times are rounded.
        let stored = serde_json::to_value(stored)?;
        for after in self.after {
            if serde_json::to_value(&after)? == stored {
                return Ok(Some((self.before, after)));
            }
        }
        Ok(None)
    }
}

impl Step<'_> {
    /// Tells of the status that the batch has, if this process wrote it and had no answer.
    pub(super) async fn tell_of_unanswered(&self) -> Result<(), Error> {
        let version = self.batch.resource_version();
        let Some(unanswered) = self.context.memory.take_unanswered(&self.uid(), version.as_deref()) else {
            return Ok(());
        };
        let stored = self.batch.status.clone().unwrap_or_default();
        if let Some((before, after)) = unanswered.find(&stored)? {
            self.tell(&before, &after).await;
        }
        Ok(())
    }

    /// Counts and tells of the step from one status to the next, which was written.
    pub(super) async fn tell(&self, before: &SparkBatchStatus, after: &SparkBatchStatus) {
        let created = self.batch.metadata.creation_timestamp.as_ref().map(|time| time.0);
        self.context.counters.wrote(created, before, after);
        if before.phase != after.phase {
            let (namespace, name) = self.key();
            tracing::info!(
                namespace, name, phase = %after.phase, reason = after.reason.map(Reason::as_str),
                app_id = after.app_id, "batch changed its phase"
            );
        }
        events::publish(self.context, self.batch, before, after).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::api::Phase;

    fn at(second: i64) -> SparkBatchStatus {
        let completion_time = Some(jiff::Timestamp::from_second(second).unwrap());
        SparkBatchStatus { phase: Phase::Failed, completion_time, ..SparkBatchStatus::default() }
    }

    fn all_of(seconds: impl IntoIterator<Item = i64>) -> Unanswered {
        let before = SparkBatchStatus::default();
        let with = |earlier, second| Some(Unanswered::with(earlier, Some("7".into()), &before, &at(second)));
        seconds.into_iter().fold(None, with).unwrap()
    }

    #[test]
    fn any_that_was_written_over_the_same_version_may_be_the_one() {
        assert_eq!(all_of([1, 2, 1]).after.len(), 2);
        for second in [1, 2] {
            assert_eq!(all_of([1, 2]).find(&at(second)).unwrap().map(|(_, after)| after), Some(at(second)));
        }
        assert_eq!(all_of([1, 2]).find(&at(3)).unwrap(), None);
        let other = Unanswered::with(Some(all_of([1])), Some("8".into()), &at(1), &at(2));
        assert_eq!((other.before, other.after), (at(1), vec![at(2)]));
    }

    #[test]
    fn there_are_never_many_and_the_first_stays() {
        let all = all_of(1..100);
        assert_eq!((all.after.len(), &all.after[0], &all.after[MOST - 1]), (MOST, &at(1), &at(99)));
    }
}
