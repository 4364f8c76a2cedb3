//! For how long the API server's answers on callers are believed, and what happens where it gives none.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use super::auth::*;
use super::*;

#[tokio::test]
async fn a_token_that_kubernetes_does_not_know_is_401_for_five_seconds() {
    let api = api_server();
    let (cluster, router) = guarded_facade(&api).await;
    for _ in 0..10 {
        assert_unauthorized(&get_as(&router, "t0k-new", "/batches").await);
    }
    assert_eq!(reviews(&api), (1, 0));
    cluster.user("t0k-new", "alice");
    pass(4).await;
    assert_unauthorized(&get_as(&router, "t0k-new", "/batches").await);
    pass(1).await;
    assert_eq!(get_as(&router, "t0k-new", "/batches").await.status, 200);
}

#[tokio::test]
async fn answers_are_believed_for_a_minute() {
    let api = api_server();
    let (cluster, router) = guarded_facade(&api).await;
    for _ in 0..10 {
        assert_eq!(get_as(&router, ALICE, "/batches").await.status, 200);
    }
    assert_eq!(reviews(&api), (1, 1));
    // Another token is another caller, whoever's it is; another right is another question.
    cluster.user("t0k-alice-2", "alice");
    get_as(&router, "t0k-alice-2", "/batches").await;
    get_as(&router, ALICE, "/batches/1").await;
    assert_eq!(reviews(&api), (2, 3));
    cluster.forbid(&format!("alice list sparkbatches.sparkbatch.dev {NAMESPACE}"));
    pass(59).await;
    assert_eq!(get_as(&router, ALICE, "/batches").await.status, 200);
    pass(1).await;
    assert_eq!(get_as(&router, ALICE, "/batches").await.status, 403);
    assert_eq!(reviews(&api), (3, 4));
    cluster.revoke(ALICE);
    pass(60).await;
    assert_unauthorized(&get_as(&router, ALICE, "/batches").await);
}

#[tokio::test]
async fn a_refusal_is_believed_for_five_seconds() {
    let api = api_server();
    let (cluster, router) = guarded_facade(&api).await;
    for _ in 0..10 {
        assert_eq!(get_as(&router, MALLORY, "/batches").await.status, 403);
    }
    assert_eq!(reviews(&api), (1, 1));
    cluster.allow(&format!("mallory list sparkbatches.sparkbatch.dev {NAMESPACE}"));
    pass(4).await;
    assert_eq!(get_as(&router, MALLORY, "/batches").await.status, 403);
    pass(1).await;
    assert_eq!(get_as(&router, MALLORY, "/batches").await.status, 200);
}

#[tokio::test]
async fn a_token_that_expires_sooner_is_believed_no_longer() {
    let api = api_server();
    let (cluster, router) = guarded_facade(&api).await;
    let exp = jiff::Timestamp::now().as_second() + 20;
    let token = format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(format!(r#"{{"exp":{exp}}}"#)));
    cluster.user(&token, "alice");
    assert_eq!(get_as(&router, &token, "/batches").await.status, 200);
    cluster.revoke(&token);
    pass(10).await;
    assert_eq!(get_as(&router, &token, "/batches").await.status, 200);
    pass(11).await;
    assert_unauthorized(&get_as(&router, &token, "/batches").await);
}

#[tokio::test]
async fn callers_who_come_at_once_are_asked_for_once() {
    let api = api_server();
    let (_, router) = guarded_facade(&api).await;
    for held in ["tokenreviews", "subjectaccessreviews"] {
        api.inject(Fault::on("create", held).hold());
    }
    let asking: Vec<_> = (0..50)
        .map(|_| {
            let router = router.clone();
            tokio::spawn(async move { get_as(&router, ALICE, "/batches").await.status })
        })
        .collect();
    for held in ["tokenreviews", "subjectaccessreviews"] {
        api.until(held, |api| api.held() == 1 && api.count("create", held) == 1).await;
        api.release_held();
        api.until("it to go on", |api| api.held() == 0 || held == "tokenreviews").await;
    }
    assert!(futures::future::join_all(asking).await.into_iter().all(|status| status.unwrap() == 200));
    assert_eq!(reviews(&api), (1, 1));
}

#[rstest]
#[tokio::test]
async fn who_cannot_be_checked_is_told_to_come_again(
    #[values("tokenreviews", "subjectaccessreviews")] review: &str,
    #[values(0, 403, 429, 500, 503)] code: u16,
) {
    let api = api_server();
    let (_, router) = guarded_facade(&api).await;
    let fault = Fault::on("create", review).times(2);
    api.inject(match code {
        0 => fault.refuse(),
        429 => fault.answer_retry_after(429, 7),
        _ => fault.answer(code),
    });
    for _ in 0..2 {
        let answer = get_as(&router, ALICE, "/batches").await;
        let pause = if code == 429 { "7" } else { "1" };
        assert_eq!((answer.status.as_u16(), answer.header("retry-after")), (503, pause), "{}", answer.text);
        assert_eq!(answer.msg().contains("grant it"), code == 403, "{}", answer.text);
    }
    assert_eq!(get_as(&router, ALICE, "/batches").await.status, 200);
}

#[tokio::test]
async fn an_api_server_that_does_not_answer_is_not_waited_for_long() {
    let api = api_server();
    Cluster::of(&api);
    let limits = Limits { upstream: Duration::from_millis(50), ..Limits::default() };
    let router = facade_with(&api, FacadeConfig { limits, ..guarded() }).await;
    api.inject(Fault::on("create", "tokenreviews").hold());
    assert_eq!(get_as(&router, ALICE, "/batches").await.status, 503);
    assert_eq!(get_as(&router, ALICE, "/batches").await.status, 200);
}

#[rstest]
#[case("POST", APACHE, "create")]
#[case("DELETE", "/batches/1", "delete")]
#[tokio::test]
async fn a_token_revoked_while_it_is_believed_writes_nothing_and_is_forgotten(
    #[case] method: &str,
    #[case] path: &str,
    #[case] verb: &str,
) {
    let api = api_server();
    let (cluster, router) = guarded_facade(&api).await;
    post_as(&router, ALICE, APACHE).await;
    cluster.revoke(ALICE);
    api.inject(Fault::on(verb, "sparkbatches").authorized_by(&format!("Bearer {ALICE}")).always().answer(401));
    assert_eq!(get_as(&router, ALICE, "/batches/1").await.status, 200);
    assert_unauthorized(&call_as(&router, ALICE, method, path, JOB).await);
    assert_eq!(api.list("sparkbatches", NAMESPACE).len(), 1);
    assert_unauthorized(&get_as(&router, ALICE, "/batches/1").await);
    assert_eq!(reviews(&api).0, 2);
}

#[tokio::test]
async fn a_right_that_was_taken_away_while_it_is_believed_writes_nothing() {
    let api = api_server();
    let (_, router) = guarded_facade(&api).await;
    api.inject(Fault::on("create", "sparkbatches").by_client("callers").answer(403));
    let answer = post_as(&router, ALICE, APACHE).await;
    assert_eq!((answer.status.as_u16(), answer.msg().contains("RBAC")), (403, true), "{}", answer.text);
}
