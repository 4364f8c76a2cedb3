//! The competition for one Lease.

use std::time::Duration;

use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::MicroTime;
use kube::api::{ObjectMeta, PostParams};
use kube::{Api, Client};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::leadership::Term;
use super::{ElectionConfig, Timing};

/// What competes for one Lease.
pub(super) struct Elector {
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
    pub(super) fn new(client: Client, config: &ElectionConfig, name: String) -> Self {
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

    /// The term of this Lease's shard, as it changes.
    pub(super) fn term(&self) -> watch::Receiver<Term> {
        self.term.subscribe()
    }

    pub(super) async fn run(mut self, cancel: CancellationToken) {
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
                tracing::info!(lease = self.name, identity = self.identity, "became leader");
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
            tracing::info!(lease = self.name, why, "lost leadership");
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
}
