//! Which batches of a namespace changed, in order. Watchers read it at their own pace: nothing is queued for one
//! that is slow, and of a batch that changed twice meanwhile only the last change is left to read.

use std::collections::{BTreeMap, VecDeque};

use tokio::sync::watch;

/// Batches that are gone and still stand here. A watcher that missed more of them has to look at everything anew.
const MAX_GONE: usize = 1000;

/// Ids of batches by their last change. Changes are counted from 1.
#[derive(Default)]
pub(super) struct Journal {
    last: watch::Sender<u64>,
    ids: BTreeMap<u64, i32>,
    gone: VecDeque<u64>,
    /// The latest change that was forgotten.
    forgotten: u64,
}

impl Journal {
    /// The number of the last change, each time that there is one.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    /// Whether somebody waits for changes.
    pub(super) fn is_watched(&self) -> bool {
        self.last.receiver_count() > 0
    }

    /// Notes that a batch changed, which did so before at `previous`. Returns the number of this change.
    pub(super) fn changed(&mut self, id: i32, previous: Option<u64>) -> u64 {
        if let Some(previous) = previous {
            self.ids.remove(&previous);
        }
        let change = *self.last.borrow() + 1;
        self.ids.insert(change, id);
        self.last.send_replace(change);
        change
    }

    /// Notes that a batch is gone, which changed before at `previous`.
    pub(super) fn removed(&mut self, id: i32, previous: u64) {
        let change = self.changed(id, Some(previous));
        self.gone.push_back(change);
        if self.gone.len() > MAX_GONE
            && let Some(oldest) = self.gone.pop_front()
        {
            self.ids.remove(&oldest);
            self.forgotten = oldest;
        }
    }

    /// The changes after `change`, in order; `None` if some of them are forgotten.
    pub(super) fn after(&self, change: u64) -> Option<impl Iterator<Item = (u64, i32)>> {
        (change >= self.forgotten).then(|| self.ids.range(change + 1..).map(|(&change, &id)| (change, id)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(journal: &Journal, change: u64) -> Option<Vec<i32>> {
        journal.after(change).map(|changes| changes.map(|(_, id)| id).collect())
    }

    #[test]
    fn a_batch_stands_where_it_changed_last() {
        let mut journal = Journal::default();
        let first = journal.changed(7, None);
        journal.changed(8, None);
        let again = journal.changed(7, Some(first));
        assert_eq!(after(&journal, 0), Some(vec![8, 7]));
        assert_eq!(after(&journal, again), Some(vec![]));
        assert_eq!((again, *journal.subscribe().borrow()), (3, 3));
    }

    #[test]
    fn what_is_gone_is_told_and_forgotten_within_a_bound() {
        let mut journal = Journal::default();
        for id in 0..2000 {
            let change = journal.changed(id, None);
            journal.removed(id, change);
        }
        assert_eq!((journal.ids.len(), journal.gone.len()), (MAX_GONE, MAX_GONE));
        assert_eq!(after(&journal, 0), None);
        assert_eq!(after(&journal, 1999), None);
        // The removals of the batches 1000 to 1999 are the changes 2002, 2004, … 4000.
        assert_eq!(after(&journal, 2000).unwrap().len(), 1000);
        assert_eq!(after(&journal, 3998), Some(vec![1999]));
    }
}
