//! Answers of the API server, each kept for a time of its own.

use std::hash::Hash;
use std::time::Duration;

use moka::future::Cache;
use tokio::time::Instant;

use crate::facade::error::ApiError;

/// At most so many answers. Of callers who ask the same at once, one asks the API server.
pub(super) struct Answers<K, V> {
    cache: Cache<K, Kept<V>>,
}

#[derive(Clone)]
struct Kept<V> {
    answer: Result<V, ApiError>,
    until: Instant,
}

impl<V> Kept<V> {
    fn holds(&self) -> bool {
        Instant::now() < self.until
    }
}

impl<K, V> Answers<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// For `capacity` answers, none of which is worth keeping longer than `longest`.
    pub(super) fn new(capacity: u64, longest: Duration) -> Self {
        Self { cache: Cache::builder().max_capacity(capacity).time_to_live(longest).build() }
    }

    /// The answer to `key`; where none is kept that of `ask`, with how long it holds. What fails answers those who wait
    /// for it, and nobody after them.
    pub(super) async fn get(
        &self,
        key: K,
        ask: impl Future<Output = Result<(V, Duration), ApiError>>,
    ) -> Result<V, ApiError> {
        if let Some(kept) = self.cache.get(&key).await.filter(Kept::holds) {
            return kept.answer;
        }
        let asked = async {
            let (answer, holds) = match ask.await {
                Ok((answer, holds)) => (Ok(answer), holds),
                Err(error) => (Err(error), Duration::ZERO),
            };
            Kept { answer, until: Instant::now() + holds }
        };
        // Large as the cache's futures are, requests that need no asking do not carry one along.
        let kept = Box::pin(self.cache.entry(key).or_insert_with_if(asked, |kept| !kept.holds())).await;
        kept.into_value().answer
    }

    /// Forgets an answer that turned out wrong.
    pub(super) async fn forget(&self, key: &K) {
        self.cache.invalidate(key).await;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures::future::join_all;
    use tokio::time::{advance, sleep};

    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// A source of answers that takes a moment, and counts how often it is asked.
    #[derive(Default)]
    struct Source(AtomicUsize);

    impl Source {
        async fn ask(&self, holds: Duration) -> Result<(usize, Duration), ApiError> {
            let asked = self.0.fetch_add(1, Ordering::SeqCst) + 1;
            sleep(Duration::from_millis(10)).await;
            Ok((asked, holds))
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_holds_for_its_own_time() {
        let (answers, source) = (Answers::new(9, MINUTE), Source::default());
        let get = |key: &'static str, seconds| answers.get(key, source.ask(Duration::from_secs(seconds)));
        assert_eq!((get("long", 60).await.unwrap(), get("short", 5).await.unwrap()), (1, 2));
        advance(Duration::from_millis(4900)).await;
        assert_eq!((get("long", 60).await.unwrap(), get("short", 5).await.unwrap()), (1, 2));
        advance(Duration::from_millis(100)).await;
        assert_eq!((get("long", 60).await.unwrap(), get("short", 5).await.unwrap()), (1, 3));
        advance(Duration::from_secs(55)).await;
        assert_eq!(get("long", 60).await.unwrap(), 4);
    }

    #[tokio::test(start_paused = true)]
    async fn those_who_ask_at_once_are_answered_at_once() {
        let (answers, source) = (Answers::new(9, MINUTE), Source::default());
        let asked = join_all((0..100).map(|_| answers.get("key", source.ask(MINUTE)))).await;
        assert!(asked.into_iter().all(|answer| answer.unwrap() == 1));
    }

    #[tokio::test(start_paused = true)]
    async fn one_who_goes_away_leaves_the_others_their_answer() {
        let (answers, source) = (Answers::new(9, MINUTE), Source::default());
        let impatient = tokio::time::timeout(Duration::from_millis(1), answers.get("key", source.ask(MINUTE)));
        let (gone, stayed) = tokio::join!(impatient, answers.get("key", source.ask(MINUTE)));
        assert!(gone.is_err());
        assert_eq!(stayed.unwrap(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_told_to_all_who_wait_and_kept_for_nobody() {
        let (answers, source) = (Answers::new(9, MINUTE), Source::default());
        let failing = || async {
            source.ask(MINUTE).await?;
            Err(ApiError::unavailable("down"))
        };
        let asked = join_all((0..10).map(|_| answers.get("key", failing()))).await;
        assert!(asked.iter().all(Result::is_err));
        assert_eq!(source.0.load(Ordering::SeqCst), 1);
        assert_eq!(answers.get("key", source.ask(MINUTE)).await.unwrap(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_forgotten_is_asked_again() {
        let (answers, source) = (Answers::new(9, MINUTE), Source::default());
        assert_eq!(answers.get("key", source.ask(MINUTE)).await.unwrap(), 1);
        answers.forget(&"key").await;
        assert_eq!(answers.get("key", source.ask(MINUTE)).await.unwrap(), 2);
    }
}
