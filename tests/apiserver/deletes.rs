//! Deletion, finalizers and garbage collection.

use super::*;

#[tokio::test]
async fn a_delete_can_be_tied_to_a_version_and_a_uid() {
    let server = ApiServer::new();
    let api = pods(server.client());
    let made = api.create(&post(), &pod("one")).await.unwrap();
    let tied = |resource_version: Option<String>, uid: Option<String>| {
        DeleteParams::default().preconditions(Preconditions { resource_version, uid })
    };
    assert_eq!(code(api.delete("one", &tied(None, Some("other".into()))).await), 409);
    assert_eq!(code(api.delete("one", &tied(Some("1".into()), None)).await), 409);
    let right = tied(made.resource_version(), made.uid());
    assert!(api.delete("one", &right).await.unwrap().is_left());
    assert!(status(api.delete("one", &right).await).is_not_found());
    let custom = batches(server.client());
    custom.create(&post(), &of(batch("b"))).await.unwrap();
    let gone = custom.delete("b", &DeleteParams::default()).await.unwrap();
    assert!(gone.right().unwrap().is_success());
}

#[tokio::test]
async fn finalizers_keep_a_deleted_object() {
    let server = ApiServer::new();
    let api = batches(server.client());
    let mut sent = batch("b");
    sent["metadata"]["finalizers"] = json!(["sparkbatch.dev/x"]);
    api.create(&post(), &of(sent)).await.unwrap();
    let waiting = api.delete("b", &DeleteParams::default()).await.unwrap().left().unwrap();
    assert!(waiting.metadata.deletion_timestamp.is_some());
    assert_eq!(waiting.metadata.generation, Some(2));
    let again = api.delete("b", &DeleteParams::default()).await.unwrap().left().unwrap();
    assert_eq!(again.resource_version(), waiting.resource_version());
    let more = Patch::Merge(json!({"metadata": {"finalizers": ["sparkbatch.dev/x", "y.dev/y"]}}));
    assert_eq!(code(api.patch("b", &PatchParams::default(), &more).await), 422);
    let none = Patch::Merge(json!({"metadata": {"finalizers": null}}));
    api.patch("b", &PatchParams::default(), &none).await.unwrap();
    assert_eq!(api.get_opt("b").await.unwrap(), None);
}

#[tokio::test]
async fn pods_go_at_once_unless_graceful_deletion_is_on_and_they_run() {
    let server = ApiServer::new();
    let api = pods(server.client());
    server.options(|options| options.graceful_pod_deletion = true);
    for name in ["fresh", "running"] {
        api.create(&post(), &pod(name)).await.unwrap();
    }
    server.set_pod_running("a", "running");
    api.delete("fresh", &DeleteParams::default()).await.unwrap();
    assert_eq!(api.get_opt("fresh").await.unwrap(), None);
    let going = api.delete("running", &DeleteParams::default().grace_period(5)).await.unwrap();
    let meta = going.left().unwrap().metadata;
    assert_eq!(meta.deletion_grace_period_seconds, Some(5));
    assert_eq!(meta.deletion_timestamp.unwrap().0.to_string(), "2026-01-01T00:00:07Z");
    assert!(api.get_opt("running").await.unwrap().is_some());
    server.finish_pod_deletion("a", "running");
    assert_eq!(api.get_opt("running").await.unwrap(), None);
    api.create(&post(), &pod("forced")).await.unwrap();
    server.set_pod_running("a", "forced");
    api.delete("forced", &DeleteParams::default().grace_period(0)).await.unwrap();
    assert_eq!(api.get_opt("forced").await.unwrap(), None);
}

#[rstest]
#[case::background(DeleteParams::background(), 0)]
#[case::foreground(DeleteParams::foreground(), 0)]
#[case::orphan(DeleteParams::orphan(), 2)]
#[tokio::test]
async fn dependents_go_with_their_owner_unless_orphaned(#[case] how: DeleteParams, #[case] left: usize) {
    let server = ApiServer::new();
    let owner = server.insert("sparkbatches", batch("b"));
    let middle = server.insert("configmaps", owned("middle", &owner, true));
    server.insert("secrets", owned("last", &middle, true));
    server.insert("secrets", json!({"metadata": {"name": "stranger", "namespace": "a"}}));
    batches(server.client()).delete("b", &how).await.unwrap();
    let found = server.list("configmaps", "").len() + server.list("secrets", "").len();
    assert_eq!(found, left + 1);
    assert!(server.get("sparkbatches", "a", "b").is_none());
}

#[tokio::test]
async fn a_foreground_deletion_waits_for_blocking_dependents() {
    let server = ApiServer::new();
    let owner = server.insert("sparkbatches", batch("b"));
    let mut dependent = owned("c", &owner, true);
    dependent["metadata"]["finalizers"] = json!(["x.dev/x"]);
    server.insert("configmaps", dependent);
    batches(server.client()).delete("b", &DeleteParams::foreground()).await.unwrap();
    assert!(server.get("sparkbatches", "a", "b").is_some());
    server.update("configmaps", "a", "c", |c| c["metadata"]["finalizers"] = json!([]));
    assert!(server.get("configmaps", "a", "c").is_none());
    assert!(server.get("sparkbatches", "a", "b").is_none());
}

#[tokio::test]
async fn garbage_is_left_lying_if_its_collection_is_off() {
    let server = ApiServer::new();
    server.options(|options| options.collect_garbage = false);
    let owner = server.insert("sparkbatches", batch("b"));
    server.insert("secrets", owned("s", &owner, false));
    batches(server.client()).delete("b", &DeleteParams::default()).await.unwrap();
    assert!(server.get("secrets", "a", "s").is_some());
    server.collect_garbage();
    assert!(server.get("secrets", "a", "s").is_none());
}

#[tokio::test]
async fn a_collection_is_deleted_as_far_as_it_is_selected() {
    let server = ApiServer::new();
    let api = pods(server.client());
    for name in ["one", "two", "three"] {
        api.create(&post(), &pod(name)).await.unwrap();
    }
    let some = ListParams::default().labels("app in (one,two)");
    let gone = api.delete_collection(&DeleteParams::default(), &some).await.unwrap();
    assert_eq!(names(&gone.left().unwrap().items), ["one", "two"]);
    assert_eq!(server.list("pods", "a").len(), 1);
    assert_eq!(server.count("deletecollection", "pods"), 1);
}
