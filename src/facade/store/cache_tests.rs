use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::api::Phase;

fn batch(uid: &str, id: i32, version: u64, phase: &str) -> SparkBatch {
    changed(uid, id, version, phase, |_| {})
}

fn changed(uid: &str, id: i32, version: u64, phase: &str, change: impl FnOnce(&mut Value)) -> SparkBatch {
    let mut batch = json!({
        "apiVersion": "sparkbatch.dev/v1alpha1", "kind": "SparkBatch",
        "metadata": { "name": format!("batch-{id}"), "namespace": "ns", "uid": uid, "resourceVersion": version.to_string(),
            "labels": { "sparkbatch.dev/id": id.to_string() } },
        "spec": { "file": "/a.py", "name": format!("name-{uid}") },
        "status": { "phase": phase },
    });
    change(&mut batch);
    serde_json::from_value(batch).unwrap()
}

fn phase(cache: &BatchCache, id: i32) -> Option<Phase> {
    cache.by_id("ns", id).map(|view| view.phase)
}

fn count(cache: &BatchCache) -> usize {
    cache.list("ns", &ListQuery::default(), Dialect::Instance).0
}

#[test]
fn older_news_never_replaces_newer() {
    let cache = BatchCache::default();
    cache.seen(&batch("a", 1, 20, "Running"));
    cache.seen(&batch("a", 1, 10, "Starting"));
    assert_eq!(phase(&cache, 1), Some(Phase::Running));
}

#[test]
fn a_final_phase_never_changes() {
    let cache = BatchCache::default();
    cache.seen(&batch("a", 1, 10, "Succeeded"));
    cache.seen(&batch("a", 1, 20, "Running"));
    cache.seen(&batch("a", 1, 30, "Failed"));
    assert_eq!(phase(&cache, 1), Some(Phase::Succeeded));
}

#[test]
fn a_deleted_batch_does_not_come_back() {
    let cache = BatchCache::default();
    cache.seen(&batch("a", 1, 10, "Running"));
    cache.deleted("a");
    cache.seen(&batch("a", 1, 11, "Running"));
    cache.fetched(&batch("a", 1, 9, "Pending"));
    assert_eq!(phase(&cache, 1), None);
    assert_eq!(cache.by_name("ns", "name-a"), None);
    assert_eq!(cache.highest("ns"), 1);
}

#[test]
fn a_batch_that_is_being_deleted_is_gone() {
    let cache = BatchCache::default();
    cache.seen(&batch("a", 1, 10, "Running"));
    cache.seen(&changed("a", 1, 11, "Running", |batch| {
        batch["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    }));
    assert_eq!(phase(&cache, 1), None);
}

#[test]
fn another_batch_of_the_same_object_name_takes_the_place() {
    let cache = BatchCache::default();
    cache.seen(&batch("a", 1, 10, "Succeeded"));
    cache.seen(&batch("b", 1, 20, "Pending"));
    assert_eq!(phase(&cache, 1), Some(Phase::Pending));
    cache.deleted("a");
    assert_eq!(phase(&cache, 1), Some(Phase::Pending));
    assert_eq!(cache.by_name("ns", "name-a"), None);
}

#[test]
fn an_id_that_is_claimed_by_another_object_stays_where_it_is() {
    let squatter = changed("s", 1, 99, "Failed", |batch| {
        batch["metadata"]["name"] = json!("squatter");
        batch["status"]["id"] = json!(1);
    });
    let cache = BatchCache::default();
    cache.seen(&squatter);
    assert_eq!(phase(&cache, 1), Some(Phase::Failed));
    cache.seen(&batch("a", 1, 10, "Running"));
    cache.seen(&squatter);
    assert_eq!(phase(&cache, 1), Some(Phase::Running));
    cache.deleted("s");
    assert_eq!(phase(&cache, 1), Some(Phase::Running));
}

#[test]
fn a_listing_removes_what_it_does_not_show_and_spares_what_was_created_meanwhile() {
    let cache = BatchCache::default();
    cache.seen(&batch("a", 1, 10, "Running"));
    cache.fetched(&batch("b", 2, 11, "Pending"));
    cache.listing_begins(None);
    cache.fetched(&batch("c", 3, 12, "Pending"));
    cache.listing_ends(None, &HashSet::from(["b".to_owned()]));
    assert_eq!(
        (phase(&cache, 1), phase(&cache, 2), phase(&cache, 3)),
        (None, Some(Phase::Pending), Some(Phase::Pending))
    );
    cache.listing_begins(Some("other"));
    cache.listing_ends(Some("other"), &HashSet::new());
    assert_eq!(count(&cache), 2);
}

#[test]
fn a_batch_applied_with_kubectl_shows_once_it_has_its_id() {
    let cache = BatchCache::default();
    let applied = |id: Option<i32>| {
        changed("k", 0, 10 + u64::from(id.is_some()), "Pending", |batch| {
            batch["metadata"]["labels"] = json!({});
            batch["metadata"]["name"] = json!("pi");
            batch["status"]["id"] = json!(id);
        })
    };
    cache.seen(&applied(None));
    assert_eq!(count(&cache), 0);
    cache.seen(&applied(Some(4)));
    assert_eq!(cache.by_id("ns", 4).unwrap().object_name, "pi");
}

#[test]
fn a_filtered_list_is_whole_however_often_writers_have_their_turn() {
    let cache = BatchCache::default();
    let total = i32::try_from(2 * CHUNK).unwrap();
    for id in 1..=total {
        cache.seen(&batch(&id.to_string(), id, 1, if id % 2 == 0 { "Running" } else { "Failed" }));
    }
    let list = |parameters: &[(&str, &str)]| {
        let parameters: Vec<_> = parameters.iter().map(|(key, value)| ((*key).into(), (*value).into())).collect();
        let (total, page) = cache.list("ns", &ListQuery::parse(&parameters).unwrap(), Dialect::Apache);
        (total, page.iter().map(|view| view.id).collect::<Vec<_>>())
    };
    let even = usize::try_from(total / 2).unwrap();
    assert_eq!(list(&[("state", "running"), ("size", "2")]), (even, vec![2, 4]));
    assert_eq!(list(&[("state", "running"), ("from", "248")]), (even, vec![498, 500]));
    assert_eq!(list(&[("state", "running"), ("order", "latest"), ("size", "2")]), (even, vec![500, 498]));
    assert_eq!(list(&[("state", "running"), ("order", "latest"), ("from", "249")]), (even, vec![2]));
    assert_eq!(list(&[("state", "killed")]), (0, vec![]));
    assert_eq!(list(&[("order", "latest"), ("from", "498")]), (500, vec![2, 1]));
}

#[test]
fn changes_are_told_once_each_and_only_those_that_show() {
    let cache = BatchCache::default();
    let news = cache.subscribe("ns");
    let told = |after| {
        let changes = cache.changes("ns", after).unwrap();
        (changes.batches.iter().map(|(id, view)| (*id, view.is_some())).collect::<Vec<_>>(), changes.last)
    };
    cache.seen(&batch("a", 1, 10, "Pending"));
    cache.seen(&batch("b", 2, 11, "Pending"));
    cache.seen(&batch("a", 1, 12, "Running"));
    cache.seen(&batch("a", 1, 13, "Running"));
    cache.seen(&batch("a", 1, 9, "Pending"));
    assert_eq!(told(0), (vec![(2, true), (1, true)], 3));
    assert_eq!(*news.borrow(), 3);
    cache.deleted("b");
    assert_eq!(told(3), (vec![(2, false)], 4));
    assert_eq!(told(4), (vec![], 4));
}

#[test]
fn deletions_are_remembered_within_a_bound() {
    let cache = BatchCache::default();
    (0..MAX_DELETED + 500).for_each(|n| cache.deleted(&n.to_string()));
    let inner = cache.read();
    assert_eq!((inner.deleted.len(), inner.deleted_in_order.len()), (MAX_DELETED, MAX_DELETED));
}

fn known(cache: &BatchCache) -> (usize, usize) {
    let inner = cache.read();
    (inner.namespaces.len(), inner.gone.len())
}

#[test]
fn a_namespace_is_forgotten_once_it_and_its_batches_are_gone_in_either_order() {
    let cache = BatchCache::default();
    cache.seen(&batch("a", 7, 10, "Running"));
    cache.deleted("a");
    assert_eq!((cache.highest("ns"), known(&cache)), (7, (1, 0)));
    cache.namespace_gone("ns");
    assert_eq!((cache.highest("ns"), known(&cache)), (0, (0, 0)));

    cache.seen(&batch("b", 7, 20, "Running"));
    cache.namespace_gone("ns");
    assert_eq!((cache.highest("ns"), known(&cache)), (7, (1, 1)));
    cache.deleted("b");
    assert_eq!((cache.highest("ns"), known(&cache)), (0, (0, 0)));
    cache.namespace_gone("never-seen");
    assert_eq!(known(&cache), (0, 0));
}

#[test]
fn a_namespace_that_is_watched_keeps_its_journal_and_begins_its_ids_anew() {
    let cache = BatchCache::default();
    let news = cache.subscribe("ns");
    cache.seen(&batch("a", 7, 10, "Running"));
    cache.deleted("a");
    cache.namespace_gone("ns");
    assert_eq!((cache.highest("ns"), known(&cache)), (0, (1, 1)));
    assert!(cache.changes("ns", 1).is_some() && news.has_changed().is_ok());
    drop(news);
    cache.namespace_seen("other");
    assert_eq!(known(&cache), (0, 0));
}

#[test]
fn a_listing_of_namespaces_forgets_those_that_it_does_not_show() {
    let cache = BatchCache::default();
    drop((cache.subscribe("a"), cache.subscribe("b"), cache.subscribe("c")));
    cache.namespaces_listed(Some("a"), &HashSet::new());
    assert_eq!(known(&cache), (2, 0));
    cache.namespaces_listed(None, &HashSet::from(["c".to_owned()]));
    assert_eq!(known(&cache), (1, 0));
}

#[test]
fn a_namespace_that_is_back_is_not_forgotten_with_its_last_batch() {
    let cache = BatchCache::default();
    cache.seen(&batch("a", 7, 10, "Running"));
    cache.namespace_gone("ns");
    cache.namespace_seen("ns");
    cache.deleted("a");
    assert_eq!((cache.highest("ns"), known(&cache)), (7, (1, 0)));
}

proptest! {
    #[test]
    fn whatever_the_order_of_news_the_newest_is_shown(order in Just((1u64..=6).collect::<Vec<_>>()).prop_shuffle()) {
        let phases = ["Pending", "Starting", "Starting", "Running", "Running", "Succeeded"];
        let cache = BatchCache::default();
        let mut last = 0;
        for version in order {
            cache.seen(&batch("a", 1, version, phases[usize::try_from(version - 1).unwrap()]));
            let shown = phase(&cache, 1).unwrap();
            let rank = Phase::ALL.iter().position(|phase| *phase == shown).unwrap();
            prop_assert!(rank >= last);
            last = rank;
        }
        prop_assert_eq!(phase(&cache, 1), Some(Phase::Succeeded));
    }
}
