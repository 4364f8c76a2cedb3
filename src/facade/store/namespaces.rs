//! The namespaces that there are, and the instance ids that they go by.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use kube::ResourceExt;

use crate::api::LABEL_INSTANCE_ID;

/// Names of namespaces, with the instance id of each that has one.
#[derive(Default)]
pub(in crate::facade) struct NamespaceCache {
    inner: RwLock<Inner>,
}

#[derive(Default)]
struct Inner {
    namespaces: HashMap<String, Option<String>>,
    instances: HashMap<String, BTreeSet<String>>,
}

/// Whose an instance id is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::facade) enum Instance {
    /// One namespace's.
    Of(String),
    /// Several namespaces claim it.
    Ambiguous,
    /// Nobody's.
    Unknown,
}

impl NamespaceCache {
    fn read(&self) -> RwLockReadGuard<'_, Inner> {
        self.inner.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, Inner> {
        self.inner.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many namespaces there are.
    pub(in crate::facade) fn len(&self) -> usize {
        self.read().namespaces.len()
    }

    /// Whether a namespace exists.
    pub(in crate::facade) fn contains(&self, namespace: &str) -> bool {
        self.read().namespaces.contains_key(namespace)
    }

    /// The namespace that has `instance_id` as its label.
    pub(in crate::facade) fn instance(&self, instance_id: &str) -> Instance {
        let inner = self.read();
        let claims = inner.instances.get(instance_id).into_iter().flatten();
        let claims: Vec<&String> = claims.take(2).collect();
        match claims[..] {
            [] => Instance::Unknown,
            [namespace] => Instance::Of(namespace.clone()),
            _ => Instance::Ambiguous,
        }
    }

    /// Takes in a namespace that the watch shows.
    pub(in crate::facade) fn seen(&self, namespace: &impl ResourceExt) {
        let instance = namespace.labels().get(LABEL_INSTANCE_ID).filter(|id| !id.is_empty()).cloned();
        self.write().put(namespace.name_any(), instance);
    }

    /// Forgets a namespace.
    pub(in crate::facade) fn deleted(&self, namespace: &str) {
        self.write().remove(namespace);
    }

    /// Forgets the namespaces that a listing did not show, and names them; `only` is the one that was listed, if not all
    /// were.
    pub(in crate::facade) fn listing_ends(&self, only: Option<&str>, listed: &HashSet<String>) -> Vec<String> {
        let mut inner = self.write();
        let in_scope = |name: &&String| only.is_none_or(|only| only == name.as_str());
        let gone: Vec<String> =
            inner.namespaces.keys().filter(in_scope).filter(|name| !listed.contains(*name)).cloned().collect();
        for name in &gone {
            inner.remove(name);
        }
        gone
    }
}

impl Inner {
    fn put(&mut self, name: String, instance: Option<String>) {
        self.remove(&name);
        if let Some(instance) = &instance {
            self.instances.entry(instance.clone()).or_default().insert(name.clone());
        }
        self.namespaces.insert(name, instance);
    }

    fn remove(&mut self, name: &str) {
        let Some(Some(instance)) = self.namespaces.remove(name) else { return };
        if let Some(names) = self.instances.get_mut(&instance) {
            names.remove(name);
            if names.is_empty() {
                self.instances.remove(&instance);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache(namespaces: &[(&str, Option<&str>)]) -> NamespaceCache {
        let cache = NamespaceCache::default();
        for (name, instance) in namespaces {
            cache.write().put((*name).to_owned(), instance.map(str::to_owned));
        }
        cache
    }

    #[test]
    fn an_instance_id_is_one_namespaces_label() {
        let cache = cache(&[("a", Some("one")), ("b", Some("two")), ("c", Some("two")), ("d", None)]);
        assert_eq!(cache.instance("one"), Instance::Of("a".into()));
        assert_eq!(cache.instance("two"), Instance::Ambiguous);
        assert_eq!(cache.instance("d"), Instance::Unknown);
        assert!(cache.contains("d"));
    }

    #[test]
    fn a_label_that_changes_moves_the_id() {
        let cache = cache(&[("a", Some("one")), ("a", Some("two")), ("b", Some("one"))]);
        assert_eq!(cache.instance("one"), Instance::Of("b".into()));
        cache.deleted("a");
        assert_eq!(cache.instance("two"), Instance::Unknown);
    }

    #[test]
    fn a_listing_forgets_what_is_gone() {
        let cache = cache(&[("a", Some("one")), ("b", None)]);
        assert_eq!(cache.listing_ends(Some("b"), &HashSet::new()), ["b"]);
        assert!(cache.contains("a") && !cache.contains("b"));
        assert_eq!(cache.listing_ends(None, &HashSet::new()), ["a"]);
        assert_eq!(cache.instance("one"), Instance::Unknown);
    }
}
