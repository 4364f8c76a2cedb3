//! Flags of the controller.

use std::hash::{BuildHasher as _, Hasher as _, RandomState};

use clap::{Args, ValueEnum};
use jiff::SignedDuration;

use super::Failure;
use crate::api::PodRetention;
use crate::controller::{ControllerConfig, Deadlines, Limits};
use crate::lease::{ElectionConfig, Timing};
use crate::plan::Defaults;

/// Where a pod finds the namespace of its service account.
const OWN_NAMESPACE: &str = "/var/run/secrets/kubernetes.io/serviceaccount/namespace";

#[derive(Debug, Args)]
pub(super) struct ControllerArgs {
    /// Batches of one namespace that may have a driver at once; the others wait in the order of their creation. 0: any
    /// number.
    #[arg(long, env = "SPARKBATCH_MAX_ACTIVE_BATCHES", default_value_t = 0, value_name = "N")]
    max_active_batches: u32,
    /// The same for one namespace: 'namespace=N', any number of times, or commas between.
    #[arg(long, env = "SPARKBATCH_MAX_ACTIVE_BATCHES_OF", value_delimiter = ',', value_parser = limit_of, value_name = "NAMESPACE=N")]
    max_active_batches_of: Vec<(String, u32)>,
    /// How long a batch may wait for its turn in that order.
    #[arg(long, env = "SPARKBATCH_QUEUE_TIMEOUT", default_value = "24h")]
    queue_timeout: SignedDuration,
    /// How long a batch may wait for its driver pod to be created. As --driver-start-timeout if not given.
    #[arg(long, env = "SPARKBATCH_PENDING_TIMEOUT")]
    pending_timeout: Option<SignedDuration>,
    /// How long a driver pod may wait to run, as in '10m' or '90s'.
    #[arg(long, env = "SPARKBATCH_DRIVER_START_TIMEOUT", default_value = "10m")]
    driver_start_timeout: SignedDuration,
    /// How long a driver may run. A year, as no phase lasts for ever.
    #[arg(long, env = "SPARKBATCH_RUNNING_TIMEOUT", default_value = "8760h")]
    running_timeout: SignedDuration,
    /// How long a batch stays after its end that does not say so itself. For ever if not given.
    #[arg(long, env = "SPARKBATCH_TTL_AFTER_FINISHED")]
    ttl_after_finished: Option<SignedDuration>,
    /// Which driver pods, and their logs, stay after the end of batches that do not say so themselves.
    #[arg(long, env = "SPARKBATCH_POD_RETENTION", value_enum, default_value_t)]
    pod_retention: Retention,
    /// Retries after infrastructure failures, for batches that set no 'retry'.
    #[arg(long, env = "SPARKBATCH_INFRASTRUCTURE_RETRIES", default_value_t = 0, value_parser = clap::value_parser!(i32).range(0..=100))]
    infrastructure_retries: i32,
    /// Batches that are worked on at once, in each namespace of --namespaces.
    #[arg(long, env = "SPARKBATCH_CONCURRENCY", default_value_t = 32, value_parser = clap::value_parser!(u16).range(1..))]
    concurrency: u16,
    #[command(flatten)]
    election: ElectionArgs,
}

#[derive(Clone, Copy, Debug, Default, ValueEnum)]
enum Retention {
    /// All.
    #[default]
    Always,
    /// Those of batches that did not succeed.
    OnFailure,
    /// None.
    Never,
}

impl From<Retention> for PodRetention {
    fn from(retention: Retention) -> Self {
        match retention {
            Retention::Always => Self::Always,
            Retention::OnFailure => Self::OnFailure,
            Retention::Never => Self::Never,
        }
    }
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
                Err("--shards needs leader election: set --leader-elect=true and --lease-namespace".into())
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
            ("--queue-timeout", Some(self.queue_timeout)),
            ("--pending-timeout", self.pending_timeout),
            ("--driver-start-timeout", Some(self.driver_start_timeout)),
            ("--running-timeout", Some(self.running_timeout)),
        ];
        if let Some((flag, _)) = timeouts.iter().find(|(_, time)| time.is_some_and(|time| time <= SignedDuration::ZERO))
        {
            return Err(format!("{flag}: must be greater than zero").into());
        }
        if self.ttl_after_finished.is_some_and(|ttl| ttl < SignedDuration::ZERO) {
            return Err("--ttl-after-finished: must not be negative".into());
        }
        let own_namespace = std::fs::read_to_string(OWN_NAMESPACE).ok().map(|name| name.trim().to_owned());
        let deadlines = Deadlines {
            queued: self.queue_timeout,
            pending: self.pending_timeout,
            driver_start: self.driver_start_timeout,
            running: self.running_timeout,
        };
        Ok(ControllerConfig {
            defaults,
            deadlines,
            limits: Limits {
                default: self.max_active_batches,
                by_namespace: self.max_active_batches_of.into_iter().collect(),
            },
            ttl_after_finished: self.ttl_after_finished,
            pod_retention: self.pod_retention.into(),
            infrastructure_retries: self.infrastructure_retries,
            concurrency: self.concurrency,
            election: self.election.config(own_namespace)?,
            ..ControllerConfig::default()
        })
    }
}

fn limit_of(text: &str) -> Result<(String, u32), String> {
    let (namespace, limit) = text.split_once('=').ok_or("write namespace=N")?;
    let limit = limit.trim().parse().map_err(|_| format!("'{limit}' is no number of batches"))?;
    Ok((namespace.trim().to_owned(), limit))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    #[test]
    fn limits_of_namespaces_go_before_the_common_one() {
        #[derive(Parser)]
        struct Flags {
            #[command(flatten)]
            controller: ControllerArgs,
        }
        let limits = |flags: &[&str]| {
            let flags = Flags::try_parse_from([&["controller"], flags].concat()).map_err(|error| error.to_string())?;
            Ok::<_, String>(flags.controller.config(Defaults::default()).unwrap().limits)
        };
        let given =
            ["--max-active-batches", "3", "--max-active-batches-of", "a=1,b=0", "--max-active-batches-of", "c=9"];
        let limits_given = limits(&given).unwrap();
        let of = ["a", "b", "c", "d"].map(|namespace| limits_given.of(namespace));
        assert_eq!(of, [Some(1), None, Some(9), Some(3)]);
        assert_eq!(limits(&[]).unwrap().of("a"), None);
        for wrong in ["a", "a=", "a=many"] {
            assert!(limits(&["--max-active-batches-of", wrong]).is_err(), "{wrong}");
        }
    }

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
