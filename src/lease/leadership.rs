//! What this process leads, and for how long.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt as _};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

/// For how long a shard is this process's, as far as it knows.
#[derive(Clone, Copy)]
pub(super) struct Term {
    /// Counts the terms that began anew rather than went on.
    pub(super) number: u64,
    /// Until when something may be begun.
    pub(super) act_until: Instant,
    /// Until when nobody else leads.
    pub(super) sole_until: Instant,
}

/// What this process leads. Clones tell the same.
#[derive(Clone)]
pub struct Leadership {
    /// The term of each shard; `None` without an election, where the process leads everything.
    terms: Option<Arc<[watch::Receiver<Term>]>>,
}

impl Leadership {
    /// Without an election.
    pub(super) fn of_all() -> Self {
        Self { terms: None }
    }

    /// By the terms of each shard.
    pub(super) fn by_terms(terms: Arc<[watch::Receiver<Term>]>) -> Self {
        Self { terms: Some(terms) }
    }

    /// For how long nobody else leads `namespace`; `None` if nothing may be begun there.
    #[must_use]
    pub fn time_left(&self, namespace: &str) -> Option<Duration> {
        let Some(term) = self.term(namespace) else { return Some(Duration::MAX) };
        let (term, now) = (*term.borrow(), Instant::now());
        (now < term.act_until).then(|| term.sole_until - now)
    }

    /// Which of this process's terms in `namespace` it is: another number, and another may have led in between.
    #[must_use]
    pub fn term_number(&self, namespace: &str) -> u64 {
        self.term(namespace).map_or(0, |term| term.borrow().number)
    }

    /// Waits until another may lead `namespace`.
    pub async fn lost(&self, namespace: &str) {
        let Some(mut term) = self.term(namespace).cloned() else { return std::future::pending().await };
        loop {
            let until = term.borrow_and_update().sole_until;
            if until <= Instant::now() {
                return;
            }
            tokio::select! {
                () = sleep_until(until) => {}
                // Without an elector the term goes on as it is.
                Ok(()) = term.changed() => {}
            }
        }
    }

    /// Each shard that this process begins to lead, whenever it does.
    #[must_use]
    pub fn gained(&self) -> BoxStream<'static, usize> {
        let Some(terms) = &self.terms else { return stream::pending().boxed() };
        let shards = terms.iter().cloned().enumerate().map(|(shard, term)| {
            let beginnings = stream::unfold((term, 0), move |(mut term, last)| async move {
                let number = term.wait_for(|term| term.number > last).await.ok()?.number;
                Some((shard, (term, number)))
            });
            beginnings.boxed()
        });
        stream::select_all(shards).boxed()
    }

    /// Each shard, and whether this process leads it.
    #[must_use]
    pub fn shards(&self) -> Vec<(usize, bool)> {
        let Some(terms) = &self.terms else { return vec![(0, true)] };
        let now = Instant::now();
        terms.iter().map(|term| now < term.borrow().act_until).enumerate().collect()
    }

    /// The shard that `namespace` belongs to.
    #[must_use]
    pub fn shard_of(&self, namespace: &str) -> usize {
        self.terms.as_ref().map_or(0, |terms| shard_of(namespace, terms.len()))
    }

    fn term(&self, namespace: &str) -> Option<&watch::Receiver<Term>> {
        self.terms.as_ref()?.get(self.shard_of(namespace))
    }
}

/// FNV-1a: it has to give the same on every replica, whatever the version, unlike the standard library's.
fn shard_of(namespace: &str, shards: usize) -> usize {
    let hash = namespace
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3));
    let shards = u64::try_from(shards).unwrap_or(u64::MAX).max(1);
    usize::try_from(hash % shards).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shard_of_a_namespace_is_the_same_in_every_version() {
        assert_eq!(["a", "spark-jobs", "default"].map(|name| shard_of(name, 1)), [0, 0, 0]);
        assert_eq!(["a", "spark-jobs", "default"].map(|name| shard_of(name, 5)), [1, 3, 2]);
    }

    #[test]
    fn namespaces_are_spread_over_the_shards() {
        let mut counts = [0; 4];
        (0..400).for_each(|n| counts[shard_of(&format!("team-{n}"), 4)] += 1);
        assert!(counts.iter().all(|count| (60..=140).contains(count)), "{counts:?}");
    }
}
