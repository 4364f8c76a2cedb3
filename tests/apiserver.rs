//! The fake API server, used through real kube clients.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod common;

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use common::apiserver::{ApiError, ApiServer, Crash, Fault, Kind};
use futures::{AsyncBufReadExt, StreamExt, TryStreamExt, pin_mut};
use k8s_openapi::{
    ByteString,
    api::{
        authentication::v1::{TokenReview, TokenReviewSpec},
        coordination::v1::Lease,
        core::v1::{ConfigMap, Namespace, Pod, Secret},
        events::v1::Event as K8sEvent,
    },
};
use kube::{
    Api, Client, Error, ResourceExt,
    api::{
        ApiResource, DeleteParams, DynamicObject, ListParams, LogParams, Patch, PatchParams, PostParams, Preconditions,
        WatchEvent, WatchParams,
    },
    core::Status,
    runtime::{
        WatchStreamExt,
        events::{Event, EventType, Recorder, Reporter},
        reflector,
        watcher::{self, watcher},
    },
};
use rstest::rstest;
use serde_json::{Value, json};

fn of<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn status<T: std::fmt::Debug>(result: Result<T, Error>) -> Status {
    match result {
        Err(Error::Api(status)) => *status,
        other => panic!("not refused: {other:?}"),
    }
}

fn code<T: std::fmt::Debug>(result: Result<T, Error>) -> u16 {
    status(result).code
}

/// Whether the connection broke instead of an answer.
fn broke<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Service(_)))
}

fn pod(name: &str) -> Pod {
    of(json!({
        "metadata": {"name": name, "labels": {"app": name, "tier": "driver"}},
        "spec": {"containers": [{"name": "main", "image": "spark"}]},
    }))
}

fn owned(name: &str, owner: &Value, block: bool) -> Value {
    json!({
        "metadata": {"name": name, "namespace": "a", "ownerReferences": [{
            "apiVersion": owner["apiVersion"], "kind": owner["kind"],
            "name": owner["metadata"]["name"], "uid": owner["metadata"]["uid"],
            "controller": true, "blockOwnerDeletion": block,
        }]},
    })
}

fn batch(name: &str) -> Value {
    json!({
        "apiVersion": "sparkbatch.dev/v1alpha1", "kind": "SparkBatch",
        "metadata": {"name": name, "namespace": "a"}, "spec": {"file": "local:///x.py"},
    })
}

fn batches(client: Client) -> Api<DynamicObject> {
    let resource = ApiResource {
        group: "sparkbatch.dev".into(),
        version: "v1alpha1".into(),
        api_version: "sparkbatch.dev/v1alpha1".into(),
        kind: "SparkBatch".into(),
        plural: "sparkbatches".into(),
    };
    Api::namespaced_with(client, "a", &resource)
}

fn pods(client: Client) -> Api<Pod> {
    Api::namespaced(client, "a")
}

fn post() -> PostParams {
    PostParams::default()
}

fn by(manager: &str) -> PatchParams {
    PatchParams::apply(manager).force()
}

fn names<K: ResourceExt>(items: &[K]) -> Vec<String> {
    items.iter().map(ResourceExt::name_any).collect()
}

// --- creating, reading, listing ---

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

// --- writing ---

#[tokio::test]
async fn a_replace_of_an_outdated_version_conflicts() {
    let server = ApiServer::new();
    let api = batches(server.client());
    let made = api.create(&post(), &of(batch("b"))).await.unwrap();
    server.update("sparkbatches", "a", "b", |b| b["spec"]["file"] = json!("other"));
    let refused = status(api.replace("b", &post(), &made).await);
    assert!(refused.is_conflict(), "{refused:?}");
    let mut unversioned = made.clone();
    unversioned.metadata.resource_version = None;
    assert_eq!(code(api.replace("b", &post(), &unversioned).await), 422);
    let mut fresh = api.get("b").await.unwrap();
    assert_eq!(fresh.metadata.generation, Some(2));
    fresh.metadata.uid = Some("someone-else".into());
    assert!(status(api.replace("b", &post(), &fresh).await).is_conflict());
}

#[tokio::test]
async fn spec_and_status_are_written_apart() {
    let server = ApiServer::new();
    let api = batches(server.client());
    let mut sent = batch("b");
    sent["status"] = json!({"state": "sneaked in"});
    let made = api.create(&post(), &of(sent)).await.unwrap();
    assert!(made.data.get("status").is_none());

    let both = json!({"spec": {"file": "new"}, "status": {"state": "running"}});
    let patch = Patch::Merge(&both);
    let seen = api.patch_status("b", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(seen.data["spec"]["file"], "local:///x.py");
    assert_eq!(seen.data["status"]["state"], "running");
    assert_eq!(seen.metadata.generation, Some(1));

    let other = json!({"spec": {"file": "new"}, "status": {"state": "dead"}});
    let seen = api.patch("b", &PatchParams::default(), &Patch::Merge(&other)).await.unwrap();
    assert_eq!(seen.data["spec"]["file"], "new");
    assert_eq!(seen.data["status"]["state"], "running");
    assert_eq!(seen.metadata.generation, Some(2));

    let mut whole = seen.clone();
    whole.data["status"] = json!({"state": "success"});
    let seen = api.replace_status("b", &post(), &whole).await.unwrap();
    assert_eq!(seen.data["status"], json!({"state": "success"}));
    let lacking: Api<Secret> = Api::namespaced(server.client(), "a");
    let patch = Patch::Merge(json!({}));
    assert_eq!(code(lacking.patch_status("s", &PatchParams::default(), &patch).await), 404);
}

#[tokio::test]
async fn a_write_that_changes_nothing_is_no_new_version() {
    let server = ApiServer::new();
    let api = batches(server.client());
    let made = api.create(&post(), &of(batch("b"))).await.unwrap();
    let same = api.replace("b", &post(), &made).await.unwrap();
    let spec = json!({"spec": {"file": "local:///x.py", "args": null}});
    let again = api.patch("b", &PatchParams::default(), &Patch::Merge(&spec)).await.unwrap();
    assert_eq!(same.resource_version(), made.resource_version());
    assert_eq!(again.resource_version(), made.resource_version());
}

#[tokio::test]
async fn a_patch_can_be_tied_to_a_version_and_a_uid() {
    let server = ApiServer::new();
    let api = pods(server.client());
    let made = api.create(&post(), &pod("one")).await.unwrap();
    let tied = |version: Option<String>, uid: &str| {
        let labels = json!({"x": version});
        Patch::Merge(json!({"metadata": {"resourceVersion": version, "uid": uid, "labels": labels}}))
    };
    let (uid, params) = (made.uid().unwrap(), PatchParams::default());
    api.patch("one", &params, &tied(made.resource_version(), &uid)).await.unwrap();
    let stale = api.patch("one", &params, &tied(made.resource_version(), &uid)).await;
    assert_eq!(code(stale), 409);
    assert_eq!(code(api.patch("one", &params, &tied(None, "someone-else")).await), 422);
}

#[tokio::test]
async fn json_patches_apply_in_order_or_not_at_all() {
    let server = ApiServer::new();
    let api = pods(server.client());
    let made = api.create(&post(), &pod("one")).await.unwrap();
    let patch = |value: Value| Patch::Json::<()>(of(value));
    let good = patch(json!([
        {"op": "test", "path": "/metadata/labels/app", "value": "one"},
        {"op": "add", "path": "/metadata/finalizers", "value": ["x.dev/a"]},
        {"op": "add", "path": "/metadata/finalizers/-", "value": "x.dev/b"},
        {"op": "move", "from": "/metadata/labels/tier", "path": "/metadata/labels/x.dev~1y"},
        {"op": "replace", "path": "/metadata/labels/app", "value": "two"},
        {"op": "remove", "path": "/metadata/finalizers/0"},
    ]));
    let seen = api.patch("one", &PatchParams::default(), &good).await.unwrap();
    assert_eq!(seen.finalizers(), ["x.dev/b"]);
    let expected = [("app", "two"), ("x.dev/y", "driver")].map(|(k, v)| (k.into(), v.into()));
    assert_eq!(seen.labels(), &BTreeMap::<String, String>::from(expected));
    let bad = patch(json!([
        {"op": "remove", "path": "/metadata/labels"},
        {"op": "test", "path": "/metadata/uid", "value": "other"},
    ]));
    assert_eq!(code(api.patch("one", &PatchParams::default(), &bad).await), 422);
    assert_eq!(api.get("one").await.unwrap().labels().len(), made.labels().len());
}

#[tokio::test]
async fn an_apply_creates_then_merges_and_drops_what_it_no_longer_has() {
    let server = ApiServer::new();
    let api = batches(server.client());
    let mut mine = batch("b");
    mine["metadata"]["labels"] = json!({"x": "1", "shared": "1"});
    let made = api.patch("b", &by("me"), &Patch::Apply(&mine)).await.unwrap();
    assert_eq!(server.calls().last().unwrap().code, Some(201));
    let mut theirs = batch("b");
    theirs["metadata"]["labels"] = json!({"y": "2", "shared": "1"});
    api.patch("b", &by("them"), &Patch::Apply(&theirs)).await.unwrap();
    let seen = api.patch("b", &by("me"), &Patch::Apply(&batch("b"))).await.unwrap();
    assert_eq!(names(&[made]), ["b"]);
    assert_eq!(json!(seen.labels()), json!({"y": "2", "shared": "1"}));

    let status = |value: Value| {
        let mut object = batch("b");
        object["status"] = value;
        object.as_object_mut().unwrap().remove("spec");
        Patch::Apply(object)
    };
    let ready = json!({"type": "Ready", "status": "True"});
    let first = status(json!({"error": "x", "conditions": [ready, {"type": "Old", "status": "True"}]}));
    api.patch_status("b", &by("me"), &first).await.unwrap();
    let second = status(json!({"conditions": [ready]}));
    let seen = api.patch_status("b", &by("me"), &second).await.unwrap();
    assert_eq!(seen.data["status"], json!({"conditions": [ready]}));
    assert_eq!(code(api.patch("b", &PatchParams::default(), &second).await), 422);
}

#[tokio::test]
async fn an_apply_never_revives_an_object_by_its_uid_and_takes_yaml() {
    let server = ApiServer::new();
    let client = server.client();
    let mut dead = batch("gone");
    dead["metadata"]["uid"] = json!("u-1");
    let api = batches(client.clone());
    assert_eq!(code(api.patch("gone", &by("me"), &Patch::Apply(&dead)).await), 409);
    let only_status = Patch::Apply(batch("gone"));
    assert_eq!(code(api.patch_status("gone", &by("me"), &only_status).await), 404);
    let yaml = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: c\ndata:\n  k: v\n";
    let request = http::Request::patch("/api/v1/namespaces/a/configmaps/c?fieldManager=me")
        .header("content-type", "application/apply-patch+yaml")
        .body(yaml.as_bytes().to_vec())
        .unwrap();
    let made: ConfigMap = client.request(request).await.unwrap();
    assert_eq!(made.data.unwrap()["k"], "v");
}

#[tokio::test]
async fn strategic_merges_are_for_built_in_kinds_and_pod_specs_stay() {
    let server = ApiServer::new();
    let api = pods(server.client());
    api.create(&post(), &pod("one")).await.unwrap();
    let patch = |field: &str| Patch::Strategic(json!({"spec": {"containers": [{"name": "main", field: "new"}]}}));
    let seen = api.patch("one", &PatchParams::default(), &patch("image")).await.unwrap();
    assert_eq!(seen.spec.unwrap().containers[0].image.as_deref(), Some("new"));
    let refused = status(api.patch("one", &PatchParams::default(), &patch("workingDir")).await);
    assert_eq!((refused.code, refused.details.unwrap().causes[0].field.as_str()), (422, "spec"));
    let custom = batches(server.client());
    custom.create(&post(), &of(batch("b"))).await.unwrap();
    assert_eq!(code(custom.patch("b", &PatchParams::default(), &patch("image")).await), 415);
}

#[tokio::test]
async fn an_immutable_secret_keeps_its_data() {
    let server = ApiServer::new();
    let api: Api<Secret> = Api::namespaced(server.client(), "a");
    let secret = json!({
        "metadata": {"name": "s"}, "stringData": {"k": "v"}, "immutable": true,
    });
    let made = api.create(&post(), &of(secret)).await.unwrap();
    assert_eq!(made.data.clone().unwrap()["k"], ByteString(b"v".to_vec()));
    assert_eq!(made.type_.as_deref(), Some("Opaque"));
    let mut changed = made.clone();
    changed.data.as_mut().unwrap().insert("k".into(), ByteString(b"w".to_vec()));
    let refused = status(api.replace("s", &post(), &changed).await);
    assert_eq!((refused.code, refused.details.unwrap().causes[0].field.as_str()), (422, "data"));
    let labelled = Patch::Merge(json!({"metadata": {"labels": {"x": "y"}}}));
    api.patch("s", &PatchParams::default(), &labelled).await.unwrap();
}

#[tokio::test]
async fn a_lease_is_held_by_whoever_replaces_the_version_it_saw() {
    let server = ApiServer::new();
    let (a, b): (Api<Lease>, Api<Lease>) =
        (Api::namespaced(server.client_as("a"), "a"), Api::namespaced(server.client_as("b"), "a"));
    let mut lease = a.create(&post(), &of(json!({"metadata": {"name": "l"}}))).await.unwrap();
    lease.spec = Some(of(json!({"holderIdentity": "b"})));
    b.replace("l", &post(), &lease).await.unwrap();
    assert_eq!(code(a.replace("l", &post(), &lease).await), 409);
    assert_eq!(server.calls_of("b").len(), 1);
}

#[tokio::test]
async fn admission_sets_defaults_and_refuses() {
    let server = ApiServer::new();
    server.admit("sparkbatches", |old, new| {
        if old.is_some_and(|old| old["spec"]["file"] != new["spec"]["file"]) {
            return Err(ApiError::new(422, "spec.file is immutable"));
        }
        new["spec"]["retries"] = json!(3);
        Ok(())
    });
    let api = batches(server.client());
    let made = api.create(&post(), &of(batch("b"))).await.unwrap();
    assert_eq!(made.data["spec"]["retries"], 3);
    let patch = Patch::Merge(json!({"spec": {"file": "x"}}));
    assert_eq!(code(api.patch("b", &PatchParams::default(), &patch).await), 422);
}

#[tokio::test]
async fn reviews_are_answered_and_not_stored() {
    let server = ApiServer::new();
    server.on_review("tokenreviews", |review| Ok(json!({"authenticated": review["spec"]["token"] == "good"})));
    let api: Api<TokenReview> = Api::all(server.client());
    for (token, expected) in [("good", true), ("bad", false)] {
        let spec = TokenReviewSpec { token: Some(token.into()), ..Default::default() };
        let review = TokenReview { spec, ..Default::default() };
        let answer = api.create(&post(), &review).await.unwrap();
        assert_eq!(answer.status.unwrap().authenticated, Some(expected));
    }
    assert!(server.list("tokenreviews", "").is_empty());
}

#[tokio::test]
async fn more_kinds_can_be_registered() {
    let server = ApiServer::new();
    server.register(Kind::cluster("", "v1", "nodes", "Node").with_status());
    server.insert("nodes", json!({"metadata": {"name": "n"}, "status": {"phase": "x"}}));
    let api: Api<k8s_openapi::api::core::v1::Node> = Api::all(server.client());
    assert_eq!(names(&api.list(&ListParams::default()).await.unwrap().items), ["n"]);
    let unknown: Api<k8s_openapi::api::core::v1::Service> = Api::all(server.client());
    assert_eq!(code(unknown.list(&ListParams::default()).await), 404);
}

#[tokio::test]
async fn version_and_discovery_are_served() {
    let server = ApiServer::new();
    let client = server.client();
    assert_eq!(client.apiserver_version().await.unwrap().minor, "33");
    let found = client.list_api_group_resources("sparkbatch.dev/v1alpha1").await.unwrap();
    assert_eq!(found.resources[0].name, "sparkbatches");
    server.inject(Fault::on("get", "/version").answer(503));
    assert_eq!(code(client.apiserver_version().await), 503);
}

// --- deleting ---

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

// --- watching ---

async fn read_words(
    stream: &mut (impl futures::Stream<Item = Result<WatchEvent<Pod>, Error>> + Unpin),
    count: usize,
) -> Vec<String> {
    let mut words = Vec::new();
    for _ in 0..count {
        let next = tokio::time::timeout(Duration::from_secs(5), stream.next()).await;
        words.push(match next.unwrap_or_else(|_| panic!("silence after {words:?}")) {
            Some(Ok(WatchEvent::Added(o))) => format!("+{}", o.name_any()),
            Some(Ok(WatchEvent::Modified(o))) => format!("~{}", o.name_any()),
            Some(Ok(WatchEvent::Deleted(o))) => format!("-{}", o.name_any()),
            Some(Ok(WatchEvent::Bookmark(b))) => format!("@{}", b.metadata.resource_version),
            Some(Ok(WatchEvent::Error(status))) => format!("!{}", status.code),
            Some(Err(error)) => format!("broken: {error}"),
            None => "end".to_owned(),
        });
    }
    words
}

#[tokio::test]
async fn a_watch_shows_objects_entering_and_leaving_its_selection() {
    let server = ApiServer::new();
    let api = pods(server.client());
    api.create(&post(), &pod("before")).await.unwrap();
    let query = WatchParams::default().labels("tier=driver");
    let from = server.version().to_string();
    let mut stream = api.watch(&query, &from).await.unwrap().boxed();
    api.create(&post(), &pod("one")).await.unwrap();
    let elsewhere: Api<Pod> = Api::namespaced(server.client(), "b");
    elsewhere.create(&post(), &pod("elsewhere")).await.unwrap();
    let tier = |value: &str| {
        server.update("pods", "a", "one", |p| p["metadata"]["labels"]["tier"] = json!(value));
    };
    tier("executor");
    tier("other");
    tier("driver");
    server.set_pod_phase("a", "one", "Running");
    server.send_bookmarks("pods");
    let at = format!("@{}", server.version());
    assert_eq!(read_words(&mut stream, 5).await, ["+one", "-one", "+one", "~one", &at]);
    server.remove("pods", "a", "one");
    assert_eq!(read_words(&mut stream, 1).await, ["-one"]);
    server.end_watches("pods");
    assert_eq!(read_words(&mut stream, 1).await, ["end"]);
    drop(stream);
    assert_eq!(server.open_watches("pods"), 0);
}

#[tokio::test]
async fn a_watch_from_before_a_compaction_is_gone_and_one_that_missed_nothing_goes_on() {
    let server = ApiServer::new();
    let api = pods(server.client());
    let from = server.version().to_string();
    let mut open = api.watch(&WatchParams::default(), &from).await.unwrap().boxed();
    server.compact();
    let mut late = api.watch(&WatchParams::default(), &from).await.unwrap().boxed();
    assert_eq!(read_words(&mut late, 2).await, ["!410", "end"]);
    api.create(&post(), &pod("one")).await.unwrap();
    assert_eq!(read_words(&mut open, 1).await, ["+one"]);
    api.create(&post(), &pod("two")).await.unwrap();
    server.compact();
    assert_eq!(read_words(&mut open, 2).await, ["!410", "end"]);
}

#[tokio::test]
async fn a_watcher_that_lags_behind_the_whole_history_is_told_so() {
    let server = ApiServer::new();
    let api = pods(server.client());
    api.create(&post(), &pod("one")).await.unwrap();
    let from = server.version().to_string();
    let mut stream = api.watch(&WatchParams::default(), &from).await.unwrap().boxed();
    for at in 0..5000 {
        server.update("pods", "a", "one", |p| p["status"]["message"] = json!(at.to_string()));
    }
    assert_eq!(read_words(&mut stream, 2).await, ["!410", "end"]);
}

#[tokio::test]
async fn faults_cut_break_and_hold_watches() {
    let server = ApiServer::new();
    let api = pods(server.client());
    server.inject(Fault::on("watch", "pods").cut_after(1));
    let from = server.version().to_string();
    let mut stream = api.watch(&WatchParams::default(), &from).await.unwrap().boxed();
    api.create(&post(), &pod("one")).await.unwrap();
    api.create(&post(), &pod("two")).await.unwrap();
    assert_eq!(read_words(&mut stream, 2).await, ["+one", "end"]);

    let mut stream = api.watch(&WatchParams::default(), &from).await.unwrap().boxed();
    server.hold_watches("pods");
    assert!(futures::poll!(stream.next()).is_pending());
    server.release_watches("pods");
    assert_eq!(read_words(&mut stream, 2).await, ["+one", "+two"]);
    server.break_watches("*");
    let last = read_words(&mut stream, 2).await;
    assert!(last[0].starts_with("broken"), "{last:?}");
    assert_eq!(last[1], "end");
}

#[rstest]
#[case::list_and_watch(watcher::Config::default().page_size(1))]
#[case::streamed_list(watcher::Config::default().streaming_lists())]
#[tokio::test]
async fn a_reflector_follows_over_cuts_and_relists_after_expiry(#[case] config: watcher::Config) {
    let server = ApiServer::new();
    let api = pods(server.client_as("operator"));
    for name in ["one", "two"] {
        api.create(&post(), &pod(name)).await.unwrap();
    }
    let (store, writer) = reflector::store::<Pod>();
    let inits = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counter = Arc::clone(&inits);
    let stream = watcher(api.clone(), config).reflect(writer).for_each(move |event| {
        if matches!(event, Ok(watcher::Event::InitDone)) {
            counter.fetch_add(1, Ordering::SeqCst);
        }
        futures::future::ready(())
    });
    let task = tokio::spawn(stream);
    store.wait_until_ready().await.unwrap();
    assert_eq!(store.len(), 2);
    let phase = |name: &str, phase: &str| {
        let of = |p: &Pod| p.status.as_ref().and_then(|s| s.phase.clone());
        store.find(|p| p.name_any() == name).is_some_and(|p| of(&p).as_deref() == Some(phase))
    };

    server.until("the first watch", |s| s.watches_caught_up("pods")).await;
    server.end_watches("pods");
    server.set_pod_phase("a", "one", "Running");
    server.until("the second watch", |s| s.watches_caught_up("pods") && phase("one", "Running")).await;
    assert_eq!(inits.load(Ordering::SeqCst), 1);

    server.hold_watches("pods");
    server.set_pod_phase("a", "one", "Failed");
    server.remove("pods", "a", "two");
    tokio::task::yield_now().await;
    assert!(phase("one", "Running"), "the cache is stale");
    server.expire_watches("pods");
    server.release_watches("pods");
    server.until("the relist", |s| s.open_watches("pods") == 1 && inits.load(Ordering::SeqCst) == 2).await;
    assert!(phase("one", "Failed"));
    assert_eq!(store.len(), 1);
    task.abort();
}

// --- events and logs ---

#[tokio::test]
async fn an_event_recorder_creates_and_then_counts() {
    let server = ApiServer::new();
    let made = pods(server.client()).create(&post(), &pod("one")).await.unwrap();
    let reporter = Reporter { controller: "sparkbatch".into(), instance: None };
    let recorder = Recorder::new(server.client(), reporter);
    let event = Event {
        type_: EventType::Warning,
        reason: "DriverFailed".into(),
        note: Some("exit code 1".into()),
        action: "Watching".into(),
        secondary: None,
    };
    let about = kube::Resource::object_ref(&made, &());
    recorder.publish(&event, &about).await.unwrap();
    recorder.publish(&event, &about).await.unwrap();
    let api: Api<K8sEvent> = Api::namespaced(server.client(), "a");
    let by_reason = ListParams::default().fields("reason=DriverFailed,regarding.name=one");
    let found = api.list(&by_reason).await.unwrap().items;
    assert_eq!(found.len(), 1);
    assert_eq!(found[0].series.as_ref().unwrap().count, 2);
    assert_eq!((server.count("create", "events"), server.count("patch", "events")), (1, 1));
}

#[tokio::test]
async fn logs_are_cut_as_asked() {
    let server = ApiServer::new();
    let api = pods(server.client());
    api.create(&post(), &pod("one")).await.unwrap();
    server.set_pod_running("a", "one");
    server.set_log("a", "one", "main", "first\nsecond\n");
    server.advance(Duration::from_secs(60));
    server.append_log("a", "one", "main", "third\n");
    let base = LogParams::default;
    let since = Some(server.now());
    for (params, expected) in [
        (base(), "first\nsecond\nthird\n"),
        (LogParams { tail_lines: Some(2), ..base() }, "second\nthird\n"),
        (LogParams { since_time: since, ..base() }, "third\n"),
        (LogParams { since_seconds: Some(30), ..base() }, "third\n"),
        (LogParams { limit_bytes: Some(8), ..base() }, "first\nse"),
        (LogParams { container: Some("main".into()), tail_lines: Some(0), ..base() }, ""),
        (LogParams { timestamps: true, tail_lines: Some(1), ..base() }, "2026-01-01T00:01:01.000000002Z third\n"),
    ] {
        assert_eq!(api.logs("one", &params).await.unwrap(), expected, "{params:?}");
    }
    let lines = api.log_stream("one", &base()).await.unwrap().lines();
    assert_eq!(lines.try_collect::<Vec<_>>().await.unwrap().len(), 3);
    assert_eq!(server.count("get", "pods/log"), 8);
}

#[tokio::test]
async fn logs_that_cannot_be_had_are_refused_as_the_kubelet_does() {
    let server = ApiServer::new();
    let api = pods(server.client());
    let base = LogParams::default;
    assert_eq!(code(api.logs("one", &base()).await), 404);
    api.create(&post(), &pod("one")).await.unwrap();
    server.set_unschedulable("a", "one", "no room");
    assert_eq!(api.logs("one", &base()).await.unwrap(), "");
    server.set_pod_waiting("a", "one", "ImagePullBackOff", "no such image");
    let refused = status(api.logs("one", &base()).await);
    assert_eq!(refused.code, 400);
    assert_eq!(refused.message, "container \"main\" in pod \"one\" is waiting to start: ImagePullBackOff");
    server.set_driver_terminated("a", "one", 3, "Error");
    for params in [LogParams { previous: true, ..base() }, LogParams { container: Some("nobody".into()), ..base() }] {
        assert_eq!(code(api.logs("one", &params).await), 400);
    }
    let seen = api.get("one").await.unwrap().status.unwrap();
    let ended = seen.container_statuses.unwrap()[0].state.clone().unwrap().terminated.unwrap();
    assert_eq!((seen.phase.as_deref(), ended.exit_code), (Some("Failed"), 3));
}

// --- faults and crashes ---

#[tokio::test]
async fn an_injected_answer_comes_instead_of_the_real_one() {
    let server = ApiServer::new();
    let client = server.client();
    let api = pods(client.clone());
    server.inject(Fault::on("create", "pods").named("one").nth(2).answer_retry_after(429, 7));
    api.create(&post(), &pod("one")).await.unwrap();
    let refused = status(api.create(&post(), &pod("one")).await);
    assert_eq!((refused.code, refused.reason.as_str()), (429, "TooManyRequests"));
    assert_eq!(refused.details.unwrap().retry_after_seconds, 7);
    assert_eq!(code(api.create(&post(), &pod("one")).await), 409);
    server.inject(Fault::on("*", "*").always().answer_retry_after(503, 1));
    let request = http::Request::get("/readyz").body(kube::client::Body::empty()).unwrap();
    let response = client.send(request).await.unwrap();
    assert_eq!(response.headers()["retry-after"], "1");
    server.clear_faults();
    assert_eq!(server.list("pods", "").len(), 1);
}

#[tokio::test]
async fn a_request_is_refused_before_or_lost_after_it_is_applied() {
    let server = ApiServer::new();
    let api = pods(server.client());
    server.inject(Fault::on("create", "pods").refuse());
    assert!(broke(&api.create(&post(), &pod("one")).await));
    assert!(server.list("pods", "").is_empty());
    server.inject(Fault::on("create", "pods").lose_response());
    assert!(broke(&api.create(&post(), &pod("one")).await));
    assert_eq!(code(api.create(&post(), &pod("one")).await), 409);
    assert_eq!(server.writes(), ["create pods a/one refused", "create pods a/one lost", "create pods a/one 409"]);
}

#[tokio::test]
async fn a_fault_can_be_about_one_client_and_one_namespace() {
    let server = ApiServer::new();
    let (a, b) = (pods(server.client_as("a")), pods(server.client_as("b")));
    server.inject(Fault::on("list", "pods").by_client("a").within("a").times(2).answer(500));
    let query = ListParams::default();
    b.list(&query).await.unwrap();
    assert_eq!(code(a.list(&query).await), 500);
    assert_eq!(code(a.list(&query).await), 500);
    a.list(&query).await.unwrap();
}

#[tokio::test]
async fn a_held_request_is_applied_when_released() {
    let server = ApiServer::new();
    let api = pods(server.client());
    server.inject(Fault::on("create", "pods").hold().delay(Duration::from_millis(1)));
    let task = tokio::spawn(async move { api.create(&post(), &pod("one")).await });
    server.until("the request", |s| s.held() == 1).await;
    assert!(server.list("pods", "").is_empty());
    server.release_held();
    task.await.unwrap().unwrap();
    assert_eq!((server.held(), server.list("pods", "").len()), (0, 1));
}

#[tokio::test]
async fn a_request_can_land_after_its_client_has_given_it_up_and_after_a_later_one() {
    let server = ApiServer::new();
    let api = pods(server.client_as("gone"));
    let late = || Fault::on("create", "pods").land_late(Duration::from_millis(20));
    server.inject(late().lose_response());
    assert!(broke(&api.create(&post(), &pod("one")).await));
    server.inject(late().answer(500));
    assert_eq!(code(api.create(&post(), &pod("two")).await), 500);
    assert!(server.list("pods", "").is_empty());
    api.create(&post(), &pod("three")).await.unwrap();
    server.kill("gone");
    server.until("what is late", |server| server.list("pods", "").len() == 3).await;
}

#[tokio::test]
async fn someone_else_can_be_faster() {
    let server = ApiServer::new();
    let api = batches(server.client());
    let made = api.create(&post(), &of(batch("b"))).await.unwrap();
    let after = Arc::new(AtomicBool::new(false));
    let seen = Arc::clone(&after);
    server.inject(
        Fault::on("update", "sparkbatches")
            .run_before(|server| {
                server.update("sparkbatches", "a", "b", |b| b["spec"]["x"] = json!(1));
            })
            .run_after(move |_| seen.store(true, Ordering::SeqCst)),
    );
    assert_eq!(code(api.replace("b", &post(), &made).await), 409);
    assert!(after.load(Ordering::SeqCst));
}

#[rstest]
#[case::before_call(Crash::BeforeCall(2), 0)]
#[case::after_call(Crash::AfterCall(2), 1)]
#[case::before_write(Crash::BeforeWrite(2), 1)]
#[case::after_write(Crash::AfterWrite(2), 2)]
#[tokio::test]
async fn a_crashed_client_stays_dead_until_it_is_made_anew(#[case] crash: Crash, #[case] made: usize) {
    let server = ApiServer::new();
    let api = pods(server.client_as("operator"));
    let stream = api.watch(&WatchParams::default(), "0").await.unwrap().boxed();
    server.crash("operator", crash);
    api.list(&ListParams::default()).await.unwrap();
    for name in ["one", "two", "three"] {
        if let Err(error) = api.create(&post(), &pod(name)).await {
            assert!(broke(&Err::<(), _>(error)));
        }
    }
    assert!(server.is_dead("operator"));
    assert_eq!(server.list("pods", "").len(), made);
    assert!(broke(&api.list(&ListParams::default()).await));
    pin_mut!(stream);
    while stream.next().await.is_some_and(|event| event.is_ok()) {}

    let restarted = pods(server.client_as("operator"));
    assert!(!server.is_dead("operator"));
    assert_eq!(restarted.list(&ListParams::default()).await.unwrap().items.len(), made);
    assert!(broke(&api.list(&ListParams::default()).await));
    server.kill("operator");
    assert!(broke(&restarted.list(&ListParams::default()).await));
    pods(server.client()).list(&ListParams::default()).await.unwrap();
}

#[tokio::test]
async fn calls_tell_who_did_what_with_which_result() {
    let server = ApiServer::new();
    let api = pods(server.client_as("facade"));
    api.create(&post(), &pod("one")).await.unwrap();
    api.get_opt("two").await.unwrap();
    let phase = Patch::Merge(json!({"status": {"phase": "Running"}}));
    api.patch_status("one", &PatchParams::default(), &phase).await.unwrap();
    api.delete("one", &DeleteParams::default()).await.unwrap();
    let words: Vec<String> = server.calls().iter().map(ToString::to_string).collect();
    assert_eq!(
        words,
        ["create pods a/one 201", "get pods a/two 404", "patch pods/status a/one 200", "delete pods a/one 200",]
    );
    assert_eq!(server.bodies("patch", "pods/status"), [json!({"status": {"phase": "Running"}})]);
    assert_eq!((server.count("*", "pods"), server.count("patch", "*")), (3, 1));
    server.clear_calls();
    api.list(&ListParams::default()).await.unwrap();
    assert_eq!(server.calls()[0].to_string(), "list pods a/ 200");
}

#[tokio::test]
async fn the_server_can_be_reached_over_a_socket() {
    let server = ApiServer::new();
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let uri = format!("http://{}", listener.local_addr().unwrap());
    let router = server.router("remote");
    let task = tokio::spawn(async move { axum::serve(listener, router).await });
    let client = Client::try_from(kube::Config::new(uri.parse().unwrap())).unwrap();
    let api = pods(client);
    api.create(&post(), &pod("one")).await.unwrap();
    server.inject(Fault::on("delete", "pods").lose_response());
    assert!(api.delete("one", &DeleteParams::default()).await.is_err());
    assert_eq!(server.writes(), ["create pods a/one 201", "delete pods a/one lost"]);
    task.abort();
}
