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

mod elector;
mod leadership;

use std::time::Duration;

use kube::Client;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use self::elector::Elector;
pub use self::leadership::Leadership;

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

/// What competes for the Leases.
pub struct Electors(Vec<Elector>);

/// Prepares an election; without a configuration there is none, and this process leads everything.
#[must_use]
pub fn elect(client: &Client, config: Option<&ElectionConfig>) -> (Leadership, Electors) {
    let Some(config) = config else { return (Leadership::of_all(), Electors(Vec::new())) };
    let name = |shard| if config.shards > 1 { format!("{LEASE_NAME}-{shard}") } else { LEASE_NAME.to_owned() };
    let electors: Vec<_> =
        (0..config.shards.max(1)).map(|shard| Elector::new(client.clone(), config, name(shard))).collect();
    let terms = electors.iter().map(Elector::term).collect();
    (Leadership::by_terms(terms), Electors(electors))
}

impl Electors {
    /// Competes until `cancel`, and then lets go of what is held, so that another takes over at once.
    pub async fn run(self, cancel: CancellationToken) {
        // Tasks of their own: a renewal must not wait for what the leader does.
        let mut tasks: JoinSet<()> = self.0.into_iter().map(|elector| elector.run(cancel.clone())).collect();
        while tasks.join_next().await.is_some() {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leader_stops_in_time_for_the_next_and_the_next_is_there_within_15_seconds() {
        let Timing { duration, deadline, margin, renew, retry } = Timing::default();
        assert!(deadline + margin < duration);
        assert!(renew + 3 * retry < deadline, "one renewal may fail");
        assert!(duration + retry <= Duration::from_secs(15));
    }
}
