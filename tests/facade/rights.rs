//! What callers may do, and what they are told where they may not.

use super::auth::*;
use super::*;

#[rstest]
#[case("GET", "/batches", "list", "")]
#[case("GET", APACHE, "list", "")]
#[case("POST", APACHE, "create", "")]
#[case("GET", "/batches/1", "get", "")]
#[case("GET", "/batches/1/state", "get", "")]
#[case("GET", "/batches/1/log", "get", "/log")]
#[case("DELETE", "/batches/1", "delete", "")]
#[tokio::test]
async fn every_route_needs_its_own_right_and_the_refusal_names_it(
    #[case] method: &str,
    #[case] path: &str,
    #[case] verb: &str,
    #[case] part: &str,
) {
    let api = api_server();
    let (cluster, router) = guarded_facade(&api).await;
    post_as(&router, ALICE, APACHE).await;
    cluster.user("t0k-bob", "bob");
    let right = format!("{verb} sparkbatches.sparkbatch.dev{part} {NAMESPACE}");
    // Everything but this.
    let others: Vec<_> = cluster.rights.lock().unwrap().iter().map(|right| right.replace("alice", "bob")).collect();
    others.iter().filter(|other| !other.ends_with(&format!(" {right}"))).for_each(|other| cluster.allow(other));
    api.clear_calls();
    let refused = call_as(&router, "t0k-bob", method, path, JOB).await;
    assert_eq!(refused.status, 403, "{}", refused.text);
    let words = format!(
        "User 'bob' cannot {verb} resource 'sparkbatches{part}' in API group 'sparkbatch.dev' in the namespace 'spark'. \
         Ask for a Role there with the verb '{verb}' on it."
    );
    assert_eq!(refused.msg(), words);
    assert_eq!(reviews(&api), (1, 1));
    assert_eq!(api.list("sparkbatches", NAMESPACE).len(), 1);
    // And this is enough.
    cluster.allow(&format!("bob {right}"));
    pass(5).await;
    let allowed = call_as(&router, "t0k-bob", method, path, JOB).await;
    assert!(allowed.status.is_success(), "{}", allowed.text);
}

#[tokio::test]
async fn rights_are_asked_for_with_all_that_the_token_says_of_the_user() {
    let api = api_server();
    let (_, router) = guarded_facade(&api).await;
    get_as(&router, ALICE, "/batches/1/log").await;
    assert_eq!(api.bodies("create", "tokenreviews")[0]["spec"], json!({ "token": ALICE }));
    let attributes = json!({
        "group": "sparkbatch.dev", "resource": "sparkbatches", "subresource": "log", "verb": "get", "namespace": "spark",
    });
    let spec = json!({
        "user": "alice", "uid": "uid of alice", "groups": ["system:authenticated", "team"],
        "extra": { "scopes": ["a", "b"] }, "resourceAttributes": attributes,
    });
    assert_eq!(api.bodies("create", "subjectaccessreviews")[0]["spec"], spec);
}

#[tokio::test]
async fn who_may_not_use_a_namespace_does_not_learn_whether_it_exists() {
    let api = api_server();
    let (cluster, router) = guarded_facade(&api).await;
    let namespaces = [NAMESPACE, "missing"];
    for rest in ["", "/1", "/1/state", "/1/log"] {
        let [there, missing] = namespaces.map(|namespace| format!("/namespaces/{namespace}/batches{rest}"));
        let (there, missing) = (get_as(&router, MALLORY, &there).await, get_as(&router, MALLORY, &missing).await);
        assert_eq!((there.status.as_u16(), missing.status.as_u16()), (403, 403));
        assert_eq!(there.msg().replace("'spark'", "'missing'"), missing.msg());
    }
    assert_eq!(post_as(&router, MALLORY, "/namespaces/missing/batches").await.status, 403);
    // Nor was anything looked up that could take its time.
    assert_eq!(api.count("get", "namespaces"), 0);
    cluster.allow("mallory list sparkbatches.sparkbatch.dev missing");
    pass(5).await;
    let missing = get_as(&router, MALLORY, "/namespaces/missing/batches").await;
    assert_eq!((missing.status.as_u16(), missing.msg().as_str()), (404, "Namespace 'missing' not found."));
}

#[tokio::test]
async fn an_instance_is_unknown_or_not_allowed_and_its_namespace_stays_unnamed() {
    let api = api_server();
    let (_, router) = guarded_facade(&api).await;
    let known = get_as(&router, MALLORY, INSTANCE).await;
    assert_eq!(
        (known.status.as_u16(), known.msg().as_str()),
        (
            403,
            "User 'mallory' cannot list resource 'sparkbatches' in API group 'sparkbatch.dev' of the instance \
             '43f79a18-768c-44c9-b9c2-b19ec78771bf'. Ask for a Role there with the verb 'list' on it."
        )
    );
    for token in [ALICE, MALLORY] {
        // Also a namespace's name, which is no instance id here.
        for instance in ["nobody", NAMESPACE] {
            let answer = get_as(&router, token, &format!("/v3/analytics_engines/{instance}/livy/batches")).await;
            let expected = (404, format!("Instance '{instance}' not found."));
            assert_eq!((answer.status.as_u16(), answer.msg()), expected);
        }
    }
    assert_eq!(get_as(&router, ALICE, INSTANCE).await.status, 200);
    assert_eq!(post_as(&router, ALICE, INSTANCE).await.id(), 1);
}

#[tokio::test]
async fn an_instance_that_is_a_namespaces_name_is_missing_for_who_may_not_use_it() {
    let api = api_server();
    let cluster = Cluster::of(&api);
    let router = facade_with(&api, FacadeConfig { instance_id_from_namespace_name: true, ..guarded() }).await;
    cluster.allow("alice list sparkbatches.sparkbatch.dev missing");
    let path = |instance: &str| format!("/v3/analytics_engines/{instance}/livy/batches");
    for (token, instance, status) in
        [(MALLORY, NAMESPACE, 404), (MALLORY, "missing", 404), (ALICE, "missing", 404), (ALICE, NAMESPACE, 200)]
    {
        let answer = get_as(&router, token, &path(instance)).await;
        assert_eq!(answer.status.as_u16(), status, "{}", answer.text);
        if status == 404 {
            assert_eq!(answer.msg(), format!("Instance '{instance}' not found."));
        }
    }
}

#[tokio::test]
async fn a_namespace_that_is_not_served_is_told_so_only_to_who_may_use_it() {
    let api = api_server();
    api.insert("namespaces", json!({ "metadata": { "name": "other" } }));
    let cluster = Cluster::of(&api);
    let router = facade_with(&api, FacadeConfig { namespaces: vec![NAMESPACE.into()], ..guarded() }).await;
    cluster.allow("alice list sparkbatches.sparkbatch.dev other");
    assert_eq!(get_as(&router, MALLORY, "/namespaces/other/batches").await.status, 403);
    assert_eq!(get_as(&router, ALICE, "/namespaces/other/batches").await.status, 404);
}

#[tokio::test]
async fn what_is_nobodys_needs_no_credentials() {
    let api = api_server();
    let (_, router) = guarded_facade(&api).await;
    assert_eq!(get(&router, "/version").await.status, 200);
    assert_eq!(get(&router, "/nothing").await.status, 404);
    assert_eq!(call(&router, "PUT", "/batches", "").await.status, 405);
}
