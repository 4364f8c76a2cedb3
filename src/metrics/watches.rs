//! The watches that feed caches: their errors, counted, and what they have yet to list before the process is ready.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use kube::runtime::watcher;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

use super::Metrics;

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Resource {
    resource: &'static str,
}

/// What a watch is of: for whom, which resource, and in which namespace, or in all.
type Key = (&'static str, &'static str, Option<String>);

/// What was not listed yet, and why, in words.
#[derive(Clone, Debug, Default)]
pub(super) struct Listings(Arc<Mutex<BTreeMap<Key, String>>>);

impl Listings {
    fn awaited(&self) -> MutexGuard<'_, BTreeMap<Key, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Each cause once, whoever waits for it.
    pub(super) fn causes(&self) -> BTreeSet<String> {
        self.awaited().values().cloned().collect()
    }
}

/// The watches of one part of a process. Clones are of the same.
#[derive(Clone, Debug)]
pub struct Watches {
    errors: Family<Resource, Counter>,
    listings: Listings,
    part: &'static str,
}

impl Watches {
    /// None yet; their errors are shown in `metrics` as `sparkbatch_<name>_total`.
    #[must_use]
    pub fn new(metrics: &Metrics, name: &'static str, help: &str) -> Self {
        let errors = metrics.register(name, help, &["resource"], Family::default());
        Self { errors, listings: metrics.listings.clone(), part: name }
    }

    /// A watch of `resource` is to be listed first: in `namespace`, or in all.
    pub fn begins(&self, resource: &'static str, namespace: Option<&str>) {
        let cause = format!("has not listed {} yet", named(resource, namespace));
        self.listings.awaited().insert(self.key(resource, namespace), cause);
    }

    /// It was listed.
    pub fn listed(&self, resource: &'static str, namespace: Option<&str>) {
        self.listings.awaited().remove(&self.key(resource, namespace));
    }

    /// It failed, and is tried again.
    pub fn failed(&self, resource: &'static str, namespace: Option<&str>, error: &watcher::Error) {
        self.errors.get_or_create(&Resource { resource }).inc();
        if let Some(cause) = self.listings.awaited().get_mut(&self.key(resource, namespace)) {
            *cause = because(resource, namespace, error);
        }
    }

    fn key(&self, resource: &'static str, namespace: Option<&str>) -> Key {
        (self.part, resource, namespace.map(str::to_owned))
    }
}

/// Why a list that failed has not come, as far as somebody can do something about it.
fn because(resource: &str, namespace: Option<&str>, error: &watcher::Error) -> String {
    let code = match error {
        watcher::Error::InitialListFailed(kube::Error::Api(status)) => status.code,
        _ => 0,
    };
    let named = named(resource, namespace);
    match code {
        404 if resource == "sparkbatches" => "the CRD sparkbatches.sparkbatch.dev is not installed".to_owned(),
        403 => format!("may not list {named}: the service account needs list and watch"),
        _ => format!("has not listed {named} yet"),
    }
}

fn named(resource: &str, namespace: Option<&str>) -> String {
    match (resource, namespace) {
        ("namespaces", None) => resource.to_owned(),
        ("namespaces", Some(name)) => format!("namespaces named {name}"),
        (_, None) => format!("{resource} in all namespaces"),
        (_, Some(namespace)) => format!("{resource} in namespace {namespace}"),
    }
}

#[cfg(test)]
mod tests {
    use kube::core::Status;
    use rstest::rstest;

    use super::*;

    fn refused(code: u16) -> watcher::Error {
        watcher::Error::InitialListFailed(kube::Error::Api(Box::new(Status { code, ..Status::default() })))
    }

    #[rstest]
    #[case("sparkbatches", None, 404, "the CRD sparkbatches.sparkbatch.dev is not installed")]
    #[case("pods", None, 404, "has not listed pods in all namespaces yet")]
    #[case("pods", Some("a"), 403, "may not list pods in namespace a: the service account needs list and watch")]
    #[case("namespaces", None, 403, "may not list namespaces: the service account needs list and watch")]
    #[case("namespaces", Some("a"), 500, "has not listed namespaces named a yet")]
    fn a_list_that_fails_says_what_to_do(
        #[case] resource: &'static str,
        #[case] namespace: Option<&str>,
        #[case] code: u16,
        #[case] cause: &str,
    ) {
        let metrics = Metrics::default();
        let watches = Watches::new(&metrics, "errors", "help");
        watches.begins(resource, namespace);
        assert!(metrics.unlisted()[0].starts_with("has not listed"));
        watches.failed(resource, namespace, &refused(code));
        assert_eq!(metrics.unlisted(), [cause]);
        watches.listed(resource, namespace);
        watches.failed(resource, namespace, &refused(code));
        assert_eq!(metrics.unlisted(), Vec::<String>::new(), "it serves what it has");
    }

    #[test]
    fn what_two_parts_wait_for_is_said_once_until_both_have_it() {
        let metrics = Metrics::default();
        let parts = ["one", "two"].map(|name| Watches::new(&metrics, name, "help"));
        for part in &parts {
            part.begins("sparkbatches", None);
            part.failed("sparkbatches", None, &refused(404));
        }
        parts[0].listed("sparkbatches", None);
        assert_eq!(metrics.unlisted().len(), 1);
        parts[1].listed("sparkbatches", None);
        assert!(metrics.unlisted().is_empty());
    }
}
