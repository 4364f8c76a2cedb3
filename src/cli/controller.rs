//! Flags of the controller.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use clap::Args;
use jiff::SignedDuration;

use super::Failure;
use crate::controller::{ControllerConfig, Deadlines};
use crate::lease::{ElectionConfig, Timing};
use crate::plan::Defaults;

/// Where a pod finds the namespace of its service account.
const OWN_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

#[derive(Debug, Args)]
pub(super) struct ControllerArgs {
    /// How long a batch may wait for its driver pod to be created. As --driver-start-timeout if not given.
    #[arg(long, env = "SPARKBATCH_PENDING_TIMEOUT")]
    pending_timeout: Option<SignedDuration>,
    /// How long a driver pod may wait to run, as in '10m' or '90s'.
    #[arg(long, env = "SPARKBATCH_DRIVER_START_TIMEOUT", default_value = "10m")]
    driver_start_timeout: SignedDuration,
    /// How long a driver may run. Without a limit if not given.
    #[arg(long, env = "SPARKBATCH_RUNNING_TIMEOUT")]
    running_timeout: Option<SignedDuration>,
    /// How often a batch without 'retry' is run again that failed for no fault of its application.
    #[arg(long, env = "SPARKBATCH_INFRASTRUCTURE_RETRIES", default_value_t = 0, value_parser = clap::value_parser!(i32).range(0..=100))]
    infrastructure_retries: i32,
    /// Batches that are worked on at once, in each namespace of --namespaces.
    #[arg(long, env = "SPARKBATCH_CONCURRENCY", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,
    #[command(flatten)]
    election: ElectionArgs,
}

#[derive(Debug, Args)]
struct ElectionArgs {
    /// Have replicas elect which of them acts, by a Lease. [default: true where the namespace of the Lease is known]
    #[arg(long, env = "SPARKBATCH_LEADER_ELECT", value_name = "BOOL")]
    leader_elect: Option<bool>,
    /// Namespace of the Lease. [default: the pod's own]
    #[arg(long, env = "POD_NAMESPACE", value_name = "NAMESPACE")]
    lease_namespace: Option<String>,
    /// Who this replica is. One that comes back as the same goes on at once, so no two that run may be the same.
    /// [default: host name and a random number]
    #[arg(long, env = "SPARKBATCH_LEASE_IDENTITY", value_name = "NAME")]
    lease_identity: Option<String>,
    /// Leases among which namespaces are divided, so that replicas share the work. Change it only while none runs.
    #[arg(long, env = "SPARKBATCH_SHARDS", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=64))]
    shards: u16,
}

impl ElectionArgs {
    /// `own_namespace` is the pod's, if this is one.
    fn config(self, own_namespace: Option<String>) -> Result<Option<ElectionConfig>, Failure> {
        let namespace = self.lease_namespace.or(own_namespace).filter(|namespace| !namespace.is_empty());
        let identity = self.lease_identity.filter(|identity| !identity.is_empty());
        match (self.leader_elect, namespace) {
            (Some(true), None) => Err("--leader-elect: say with --lease-namespace where the Lease is".into()),
            (Some(false), _) | (None, None) if self.shards > 1 => {
                Err("--shards: are divided by election; set --leader-elect and --lease-namespace".into())
            }
            (Some(false), _) | (None, None) => Ok(None),
            (_, Some(namespace)) => Ok(Some(ElectionConfig {
                namespace,
                identity: identity.unwrap_or_else(random_identity),
                shards: self.shards,
                timing: Timing::default(),
            })),
        }
    }
}

fn random_identity() -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let random = RandomState::new().build_hasher().finish();
    format!("{}_{random:016x}", host.trim())
}

impl ControllerArgs {
    pub(super) fn config(self, defaults: Defaults) -> Result<ControllerConfig, Failure> {
        let timeouts = [
            ("--pending-timeout", self.pending_timeout),
            ("--driver-start-timeout", Some(self.driver_start_timeout)),
            ("--running-timeout", self.running_timeout),
        ];
        if let Some((flag, _)) = timeouts.iter().find(|(_, time)| time.is_some_and(|time| time <= SignedDuration::ZERO))
        {
            return Err(format!("{flag}: must be longer than nothing").into());
        }
        let own_namespace = std::fs::read_to_string(OWN_NAMESPACE).ok().map(|name| name.trim().to_owned());
        let deadlines = Deadlines {
            pending: self.pending_timeout,
            driver_start: self.driver_start_timeout,
            running: self.running_timeout,
        };
        Ok(ControllerConfig {
            defaults,
            deadlines,
            infrastructure_retries: self.infrastructure_retries,
            concurrency: self.concurrency,
            election: self.election.config(own_namespace)?,
            namespaces: Vec::new(),
        })
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Flags {
        #[command(flatten)]
        election: ElectionArgs,
    }

    fn config(flags: &[&str], own_namespace: Option<&str>) -> Result<Option<ElectionConfig>, Failure> {
        let flags = Flags::try_parse_from([&["controller"], flags].concat()).unwrap();
        flags.election.config(own_namespace.map(str::to_owned))
    }

    #[test]
    fn replicas_elect_where_a_namespace_for_the_lease_is_known() {
        assert!(config(&[], None).unwrap().is_none());
        assert_eq!(config(&[], Some("own")).unwrap().unwrap().namespace, "own");
        assert_eq!(config(&["--lease-namespace", "a"], Some("own")).unwrap().unwrap().namespace, "a");
        assert!(config(&["--leader-elect", "false"], Some("own")).unwrap().is_none());
    }

    #[test]
    fn what_cannot_be_elected_is_refused_with_the_flag_to_set() {
        for flags in [&["--leader-elect", "true"][..], &["--shards", "2"]] {
            assert!(config(flags, None).unwrap_err().to_string().contains("--lease-namespace"));
        }
    }

    #[test]
    fn two_replicas_without_a_name_are_never_the_same() {
        let identity = || config(&[], Some("own")).unwrap().unwrap().identity;
        assert_ne!(identity(), identity());
    }
}
