//! Creating, reading and listing.

use super::*;

#[tokio::test]
async fn a_created_object_gets_its_identity_from_the_server() {
    let server = ApiServer::new();
    let api = pods(server.client());
    let mut sent = pod("one");
    sent.status = Some(of(json!({"phase": "Succeeded"})));
    let made = api.create(&post(), &sent).await.unwrap();
    assert_eq!(made.uid().unwrap(), "00000000-0000-4000-8000-000000000001");
    assert_eq!(made.resource_version().unwrap(), "2");
    assert_eq!(made.creation_timestamp().unwrap().0.to_string(), "2026-01-01T00:00:01Z");
    assert_eq!(made.status.unwrap().phase.unwrap(), "Pending");
    let made = batches(server.client()).create(&post(), &of(batch("b"))).await.unwrap();
    assert_eq!(made.metadata.generation, Some(1));
    assert_eq!(api.get("one").await.unwrap().metadata.namespace.unwrap(), "a");
}

#[tokio::test]
async fn a_name_can_be_taken_once_per_namespace() {
    let server = ApiServer::new();
    let api = pods(server.client());
    api.create(&post(), &pod("one")).await.unwrap();
    let refused = status(api.create(&post(), &pod("one")).await);
    assert!(refused.is_already_exists());
    assert_eq!(refused.message, "pods \"one\" already exists");
    let elsewhere: Api<Pod> = Api::namespaced(server.client(), "b");
    elsewhere.create(&post(), &pod("one")).await.unwrap();
    let all: Api<Pod> = Api::all(server.client());
    assert_eq!(all.list(&ListParams::default()).await.unwrap().items.len(), 2);
}

#[rstest]
#[case::generated(json!({"generateName": "x-"}), "metadata.generateName")]
#[case::upper_case(json!({"name": "Bad"}), "metadata.name")]
#[case::underscore(json!({"name": "a_b"}), "metadata.name")]
#[case::long(json!({"name": "x".repeat(254)}), "metadata.name")]
#[case::nameless(json!({}), "metadata.name")]
#[case::label(json!({"name": "a", "labels": {"k": "a b"}}), "metadata.labels")]
#[case::long_label(json!({"name": "a", "labels": {"k": "x".repeat(64)}}), "metadata.labels")]
#[case::owner(
    json!({"name": "a", "ownerReferences": [{"apiVersion": "v1", "kind": "Pod", "name": "p", "uid": ""}]}),
    "metadata.ownerReferences[0].uid"
)]
#[tokio::test]
async fn invalid_metadata_is_refused_with_its_cause(#[case] metadata: Value, #[case] field: &str) {
    let server = ApiServer::new();
    let api: Api<ConfigMap> = Api::namespaced(server.client(), "a");
    let refused = status(api.create(&post(), &of(json!({"metadata": metadata}))).await);
    assert_eq!((refused.code, refused.reason.as_str()), (422, "Invalid"));
    assert_eq!(refused.details.unwrap().causes[0].field, field);
    assert!(server.list("configmaps", "").is_empty());
}

#[tokio::test]
async fn namespaces_have_to_exist_only_if_that_is_enforced() {
    let server = ApiServer::new();
    let api = pods(server.client());
    api.create(&post(), &pod("one")).await.unwrap();
    server.options(|options| options.enforce_namespaces = true);
    let refused = status(api.create(&post(), &pod("two")).await);
    assert_eq!(refused.message, "namespaces \"a\" not found");
    let spaces: Api<Namespace> = Api::all(server.client());
    spaces.create(&post(), &of(json!({"metadata": {"name": "a"}}))).await.unwrap();
    api.create(&post(), &pod("two")).await.unwrap();
    spaces.delete("a", &DeleteParams::default()).await.unwrap();
    assert!(server.list("pods", "").is_empty());
}

#[tokio::test]
async fn dry_runs_change_nothing() {
    let server = ApiServer::new();
    let api = pods(server.client());
    let dry = PostParams { dry_run: true, ..post() };
    api.create(&dry, &pod("one")).await.unwrap();
    assert_eq!(api.get_opt("one").await.unwrap(), None);
    let made = api.create(&post(), &pod("one")).await.unwrap();
    let patch = Patch::Merge(json!({"metadata": {"labels": {"x": "y"}}}));
    let patched = api.patch("one", &PatchParams::default().dry_run(), &patch).await.unwrap();
    assert_eq!(patched.labels()["x"], "y");
    api.delete("one", &DeleteParams::default().dry_run()).await.unwrap();
    assert_eq!(api.get("one").await.unwrap(), made);
}

#[rstest]
#[case::equal("app=one", "", &["one"])]
#[case::double_equal("app==two,tier=driver", "", &["two"])]
#[case::unequal("app!=one", "", &["three", "two"])]
#[case::among("app in (one, two)", "", &["one", "two"])]
#[case::not_among("app notin (one,two),tier", "", &["three"])]
#[case::exists("tier", "", &["one", "three", "two"])]
#[case::absent("!tier", "", &[])]
#[case::name("", "metadata.name=two", &["two"])]
#[case::phase("", "status.phase!=Running", &["three", "two"])]
#[case::node("tier", "spec.nodeName=node-1,metadata.namespace=a", &["one"])]
#[tokio::test]
async fn lists_are_narrowed_by_selectors(#[case] labels: &str, #[case] fields: &str, #[case] expected: &[&str]) {
    let server = ApiServer::new();
    let api = pods(server.client());
    for name in ["one", "two", "three"] {
        api.create(&post(), &pod(name)).await.unwrap();
    }
    server.set_pod_running("a", "one");
    let query = ListParams::default().labels(labels).fields(fields);
    assert_eq!(names(&api.list(&query).await.unwrap().items), expected);
}

#[tokio::test]
async fn selectors_that_make_no_sense_are_refused() {
    let api = pods(ApiServer::new().client());
    for query in [
        ListParams::default().labels("a b"),
        ListParams::default().labels("a in (b"),
        ListParams::default().fields("spec.priority=1"),
    ] {
        assert_eq!(code(api.list(&query).await), 400);
    }
}

#[tokio::test]
async fn pages_show_one_state_until_it_is_compacted() {
    let server = ApiServer::new();
    let api = pods(server.client());
    for name in ["p1", "p2", "p3"] {
        api.create(&post(), &pod(name)).await.unwrap();
    }
    let first = api.list(&ListParams::default().limit(2)).await.unwrap();
    assert_eq!(first.metadata.remaining_item_count, Some(1));
    server.remove("pods", "a", "p3");
    let token = first.metadata.continue_.unwrap();
    let next = ListParams::default().limit(2).continue_token(&token);
    let second = api.list(&next).await.unwrap();
    assert_eq!(names(&second.items), ["p3"]);
    assert_eq!(second.metadata.resource_version, first.metadata.resource_version);
    assert_eq!(second.metadata.continue_, None);
    server.compact();
    assert_eq!(code(api.list(&next).await), 410);
}

#[tokio::test]
async fn metadata_can_be_asked_for_alone() {
    let server = ApiServer::new();
    let api = pods(server.client());
    api.create(&post(), &pod("one")).await.unwrap();
    let one = api.get_metadata("one").await.unwrap();
    assert_eq!(one.types.unwrap().kind, "PartialObjectMetadata");
    let list = api.list_metadata(&ListParams::default()).await.unwrap();
    assert_eq!(list.types.kind, "PartialObjectMetadataList");
    assert_eq!(list.items[0].labels()["app"], "one");
    let stream = api.watch_metadata(&WatchParams::default(), "0").await.unwrap().boxed();
    let (first, _) = stream.into_future().await;
    assert!(matches!(first, Some(Ok(WatchEvent::Added(o))) if o.name_any() == "one"));
}
