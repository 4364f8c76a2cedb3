//! Replaces, patches and applies.

use super::*;

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
