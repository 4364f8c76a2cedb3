//! Leader election by Leases: of several replicas, one acts on a namespace's batches.
//!
//! IO. Namespaces are divided among shards by a stable hash of their names; each shard has a Lease, and whoever
//! holds it leads the shard. Replicas compete for all of them, and the first to come gets one.
//!
//! No clock is compared with another's. A holder counts its term from the moment before it asked for it; the others
//! count from the moment they saw the Lease change last, which is later (as client-go does). Every write carries the
//! resourceVersion that it was decided on, so of two who take a Lease one is refused.
//!
//! # RBAC needed
//! `leases` (coordination.k8s.io) get, create, update, in the namespace of the Leases.

use std::sync::Arc;
use std::time::Duration;

use futures::stream::{self, BoxStream, StreamExt as _};
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

/// Name of the Lease; with several shards, `-<shard>` follows.
pub const LEASE_NAME: &str = "sparkbatch-controller";

/// How replicas elect who leads.
#[derive(Clone, Debug)]
pub struct ElectionConfig {
    /// Namespace of the Leases.
    pub namespace: String,
    /// Who this process is; no two that run at once may be the same.
    pub identity: String,
    /// Among how many Leases the namespaces are divided.
    pub shards: u16,
    /// How long terms are.
    pub timing: Timing,
}

/// How long terms are. The defaults have a replica take over within 15 s of the leader's end, however it ended.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// After how long without a renewal others may take a Lease.
    pub duration: Duration,
    /// After how long without a renewal a leader begins nothing any more.
    pub deadline: Duration,
    /// How much sooner than others may take over everything that a leader has under way is cut off.
    pub margin: Duration,
    /// How often a leader renews.
    pub renew: Duration,
    /// How often the others look, and how soon a renewal that failed is tried again.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        Self {
            duration: Duration::from_secs(14),
            deadline: Duration::from_secs(10),
            margin: Duration::from_secs(1),
            renew: Duration::from_secs(5),
            retry: Duration::from_secs(1),
        }
    }
}

/// For how long a shard is this process's, as far as it knows.
#[derive(Clone, Copy)]
struct Term {
    /// Counts the terms that began anew rather than went on.
    number: u64,
    /// Until when something may be begun.
    act_until: Instant,
    /// Until when nobody else leads.
    sole_until: Instant,
}

/// What this process leads. Clones tell the same.
#[derive(Clone)]
pub struct Leadership {
    /// The term of each shard; `None` without an election, where the process leads everything.
    terms: Option<Arc<[watch::Receiver<Term>]>>,
}

impl Leadership {
    /// For how long nobody else leads `namespace`; `None` if nothing may be begun there.
    #[must_use]
    pub fn time_left(&self, namespace: &str) -> Option<Duration> {
        let Some(term) = self.term(namespace) else { return Some(Duration::MAX) };
        let (term, now) = (*term.borrow(), Instant::now());
        (now < term.act_until).then(|| term.sole_until - now)
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

/// What competes for the Leases.
pub struct Electors(Vec<Elector>);

/// Prepares an election; without a configuration there is none, and this process leads everything.
#[must_use]
pub fn elect(client: &Client, config: Option<&ElectionConfig>) -> (Leadership, Electors) {
    let Some(config) = config else { return (Leadership { terms: None }, Electors(Vec::new())) };
    let name = |shard| if config.shards > 1 { format!("{LEASE_NAME}-{shard}") } else { LEASE_NAME.to_owned() };
    let electors: Vec<_> =
        (0..config.shards.max(1)).map(|shard| Elector::new(client.clone(), config, name(shard))).collect();
    let terms = electors.iter().map(|elector| elector.term.subscribe()).collect();
    (Leadership { terms: Some(terms) }, Electors(electors))
}

impl Electors {
    /// Competes until `cancel`, and then lets go of what is held, so that another takes over at once.
    pub async fn run(self, cancel: CancellationToken) {
        // Tasks of their own: a renewal must not wait for what the leader does.
        let mut tasks: JoinSet<()> = self.0.into_iter().map(|elector| elector.run(cancel.clone())).collect();
        while tasks.join_next().await.is_some() {}
    }
}

/// What competes for one Lease.
struct Elector {
    leases: Api<Lease>,
    name: String,
    identity: String,
    timing: Timing,
    term: watch::Sender<Term>,
    /// The Lease as this process wrote it last.
    held: Option<Lease>,
    seen: Option<Seen>,
}

/// Another's Lease, and since when it has not changed.
struct Seen {
    spec: LeaseSpec,
    since: Instant,
}

impl Seen {
    fn expires(&self, timing: &Timing) -> Instant {
        let seconds = self.spec.lease_duration_seconds.and_then(|seconds| u64::try_from(seconds).ok());
        self.since + seconds.map_or(timing.duration, Duration::from_secs)
    }
}

impl Elector {
    fn new(client: Client, config: &ElectionConfig, name: String) -> Self {
        let now = Instant::now();
        Self {
            leases: Api::namespaced(client, &config.namespace),
            name,
            identity: config.identity.clone(),
            timing: config.timing,
            term: watch::Sender::new(Term { number: 0, act_until: now, sole_until: now }),
            held: None,
            seen: None,
        }
    }

    async fn run(mut self, cancel: CancellationToken) {
        while !cancel.is_cancelled() {
            let pause = match timeout(3 * self.timing.retry, self.compete()).await {
                Ok(Ok(())) if self.held.is_some() => self.timing.renew,
                Ok(Ok(())) => self.until_expiry(),
                Ok(Err(error)) => self.failed(&error),
                Err(_) => self.failed(&"no answer in time"),
            };
            tokio::select! { () = cancel.cancelled() => {}, () = sleep(pause) => {} }
        }
        self.release().await;
    }

    /// Takes the Lease or renews it, if it is nobody else's.
    async fn compete(&mut self) -> Result<(), kube::Error> {
        let found = match self.held.take() {
            Some(held) => Some(held),
            None => self.leases.get_opt(&self.name).await?,
        };
        let asked = Instant::now();
        let claim = claim(found, &self.identity, &self.timing, &mut self.seen, asked);
        let Some(claim) = claim else {
            self.end_term("another replica leads");
            return Ok(());
        };
        match self.write(&claim).await {
            Ok(written) => {
                self.held = Some(written);
                self.begin_or_extend(asked);
                Ok(())
            }
            // Another was faster, or somebody touched the Lease: the next look tells.
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(()),
            Err(error) => Err(error),
        }
    }

    async fn write(&self, claim: &Lease) -> Result<Lease, kube::Error> {
        if claim.metadata.resource_version.is_none() {
            let metadata = ObjectMeta { name: Some(self.name.clone()), ..ObjectMeta::default() };
            let lease = Lease { metadata, ..claim.clone() };
            return self.leases.create(&PostParams::default(), &lease).await;
        }
        self.leases.replace(&self.name, &PostParams::default(), claim).await
    }

    fn begin_or_extend(&mut self, asked: Instant) {
        let timing = self.timing;
        self.term.send_modify(|term| {
            // Whoever saw the term lapse did so before this.
            if term.act_until <= Instant::now() {
                term.number += 1;
                tracing::info!(lease = self.name, identity = self.identity, "leads");
            }
            term.act_until = asked + timing.deadline;
            term.sole_until = asked + timing.duration.saturating_sub(timing.margin);
        });
    }

    fn end_term(&mut self, why: &str) {
        let now = Instant::now();
        let ended = self.term.send_if_modified(|term| {
            let led = term.sole_until > now;
            (term.act_until, term.sole_until) = (term.act_until.min(now), term.sole_until.min(now));
            led
        });
        if ended {
            tracing::info!(lease = self.name, why, "leads no more");
        }
    }

    fn failed(&self, error: &dyn std::fmt::Display) -> Duration {
        tracing::warn!(lease = self.name, %error, "the Lease could not be read or written; it is tried again");
        self.timing.retry
    }

    fn until_expiry(&self) -> Duration {
        let expires = self.seen.as_ref().map(|seen| seen.expires(&self.timing));
        let left = expires.map(|at| at.saturating_duration_since(Instant::now()) + Duration::from_millis(1));
        left.unwrap_or(self.timing.retry).min(self.timing.retry)
    }

    /// Lets go of the Lease. Where that fails, it expires.
    async fn release(&mut self) {
        self.end_term("shutting down");
        let Some(mut lease) = self.held.take() else { return };
        if let Some(spec) = &mut lease.spec {
            spec.holder_identity = None;
        }
        match timeout(3 * self.timing.retry, self.write(&lease)).await {
            Ok(Ok(_)) => {}
            Ok(Err(error)) => drop(self.failed(&error)),
            Err(_) => drop(self.failed(&"no answer in time")),
        }
    }
}

/// The Lease to write to hold it, from what was found at `now`; `None` while it is another's.
fn claim(
    found: Option<Lease>,
    identity: &str,
    timing: &Timing,
    seen: &mut Option<Seen>,
    now: Instant,
) -> Option<Lease> {
    let mut lease = found.unwrap_or_default();
    let spec = lease.spec.get_or_insert_default();
    let holder = spec.holder_identity.as_deref().filter(|holder| !holder.is_empty());
    let is_renewal = holder == Some(identity);
    if holder.is_some() && !is_renewal {
        let last = seen.take().filter(|last| last.spec == *spec);
        let last = seen.insert(last.unwrap_or_else(|| Seen { spec: spec.clone(), since: now }));
        if now < last.expires(timing) {
            return None;
        }
    }
    *seen = None;
    let time = MicroTime(Timestamp::now());
    if !is_renewal {
        spec.acquire_time = Some(time.clone());
        spec.lease_transitions = Some(spec.lease_transitions.map_or(0, |count| count.saturating_add(1)));
    }
    spec.holder_identity = Some(identity.to_owned());
    spec.lease_duration_seconds = i32::try_from(timing.duration.as_secs()).ok();
    spec.renew_time = Some(time);
    Some(lease)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn lease(holder: Option<&str>, renewed: i64) -> Lease {
        let spec = LeaseSpec {
            holder_identity: holder.map(str::to_owned),
            lease_duration_seconds: Some(14),
            renew_time: Some(MicroTime(Timestamp::from_second(renewed).unwrap())),
            ..LeaseSpec::default()
        };
        Lease { spec: Some(spec), ..Lease::default() }
    }

    fn takes(found: Option<Lease>, seen: &mut Option<Seen>, now: Instant) -> bool {
        let claim = claim(found, "me", &Timing::default(), seen, now);
        claim.is_some_and(|claim| claim.spec.unwrap().holder_identity.as_deref() == Some("me"))
    }

    #[test]
    fn a_lease_that_is_absent_or_free_or_ones_own_is_taken_at_once() {
        for found in [None, Some(lease(None, 0)), Some(lease(Some(""), 0)), Some(lease(Some("me"), 0))] {
            assert!(takes(found, &mut None, Instant::now()));
        }
    }

    /// Its times are years off, one way or the other: they are not looked at.
    #[rstest]
    #[case(0)]
    #[case(9_000_000_000)]
    fn anothers_lease_is_taken_when_it_has_not_changed_for_its_duration(#[case] renewed: i64) {
        let (mut seen, start) = (None, Instant::now());
        let mut after = |seconds, renewed| {
            takes(Some(lease(Some("other"), renewed)), &mut seen, start + Duration::from_secs(seconds))
        };
        assert!(!after(0, renewed));
        assert!(!after(13, renewed));
        assert!(!after(13, renewed + 1), "it was renewed");
        assert!(!after(26, renewed + 1));
        assert!(after(27, renewed + 1));
    }

    #[test]
    fn a_change_of_hands_is_counted_and_a_renewal_is_not() {
        let transitions = |found| {
            let claim = claim(Some(found), "me", &Timing::default(), &mut None, Instant::now());
            claim.unwrap().spec.unwrap().lease_transitions
        };
        let mut free = lease(None, 0);
        free.spec.as_mut().unwrap().lease_transitions = Some(4);
        assert_eq!(transitions(free), Some(5));
        let mut mine = lease(Some("me"), 0);
        mine.spec.as_mut().unwrap().lease_transitions = Some(4);
        assert_eq!(transitions(mine), Some(4));
    }

    #[test]
    fn a_leader_stops_in_time_for_the_next_and_the_next_is_there_within_15_seconds() {
        let Timing { duration, deadline, margin, renew, retry } = Timing::default();
        assert!(deadline + margin < duration);
        assert!(renew + 3 * retry < deadline, "one renewal may fail");
        assert!(duration + retry <= Duration::from_secs(15));
    }

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
