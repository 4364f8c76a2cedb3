//! Batches on behalf of others.

use sparkbatch::facade::ProxyUsers;

use super::auth::*;
use super::*;

const ON_BEHALF: &str = r#"{"file":"/a.py","proxyUser":"bob"}"#;

#[rstest]
#[case::a_proxy_user(APACHE, ON_BEHALF)]
#[case::do_as("/batches?doAs=bob", JOB)]
#[case::do_as_before_another("/batches?doAs=bob", r#"{"file":"/a.py","proxyUser":"alice"}"#)]
#[tokio::test]
async fn batches_on_behalf_of_others_are_made_where_the_policy_allows_them(#[case] path: &str, #[case] body: &str) {
    let api = api_server();
    let cluster = Cluster::of(&api);
    let facade = async |proxy_users| facade_with(&api, FacadeConfig { proxy_users, ..guarded() }).await;
    let refusing = call_as(&facade(ProxyUsers::Refuse).await, ALICE, "POST", path, body).await;
    let livys = "User 'alice' not allowed to impersonate 'Some(bob)'.";
    let msg = refusing.msg();
    assert!(msg.starts_with(livys) && msg.contains("--proxy-user"), "{msg}");
    assert_eq!(refusing.status, 403);

    let router = facade(ProxyUsers::Rbac).await;
    let without = call_as(&router, ALICE, "POST", path, body).await;
    let msg = without.msg();
    assert!(msg.starts_with(livys) && msg.contains("'impersonate' on the resource 'users'"), "{msg}");
    assert_eq!((without.status.as_u16(), api.count("create", "sparkbatches")), (403, 0));
    cluster.allow("alice impersonate users bob");
    pass(5).await;
    for router in [router, facade(ProxyUsers::Any).await] {
        let made = call_as(&router, ALICE, "POST", path, body).await;
        assert_eq!((&made.json()["owner"], &made.json()["proxyUser"]), (&json!("alice"), &json!("bob")));
    }
}

#[tokio::test]
async fn everybody_may_run_batches_on_their_own_behalf_where_rbac_decides() {
    let api = api_server();
    Cluster::of(&api);
    let router = facade_with(&api, FacadeConfig { proxy_users: ProxyUsers::Rbac, ..guarded() }).await;
    let made = call_as(&router, ALICE, "POST", "/batches?doAs=alice", JOB).await;
    assert_eq!(made.json()["proxyUser"], "alice");
    let invalid = call_as(&router, ALICE, "POST", "/batches?doAs=a%0Ab", JOB).await;
    assert_eq!((invalid.status.as_u16(), invalid.msg().contains("doAs")), (400, true), "{}", invalid.text);
}

#[tokio::test]
async fn do_as_is_heeded_where_batches_are_made_in_the_apache_dialect() {
    let api = api_server();
    let (_, router) = guarded_facade(&api).await;
    post_as(&router, ALICE, "/batches?doAs=").await.id();
    post_as(&router, ALICE, &format!("{INSTANCE}?doAs=bob")).await.id();
    for (method, path) in
        [("GET", "/batches?doAs=bob"), ("GET", "/batches/1?doAs=bob"), ("DELETE", "/batches/1?doAs=bob")]
    {
        assert_eq!(call_as(&router, ALICE, method, path, "").await.status, 200);
    }
    assert!(api.list("sparkbatches", NAMESPACE).iter().all(|batch| batch["spec"]["proxyUser"].is_null()));
}

#[rstest]
#[case(ProxyUsers::Refuse, 403)]
#[case(ProxyUsers::Rbac, 403)]
#[case(ProxyUsers::Any, 201)]
#[tokio::test]
async fn without_authentication_only_any_allows_a_proxy_user(#[case] proxy_users: ProxyUsers, #[case] status: u16) {
    let api = api_server();
    let router = facade_with(&api, FacadeConfig { proxy_users, ..config() }).await;
    assert_eq!(post(&router, APACHE, ON_BEHALF).await.status.as_u16(), status);
}
