//! An API server that fails, and bounds that are reached.

use super::*;

#[tokio::test]
async fn a_create_whose_answer_was_lost_is_acknowledged_once() {
    let api = api_server();
    let router = facade(&api).await;
    api.inject(Fault::on("create", "sparkbatches").lose_response());
    assert_eq!(post(&router, APACHE, JOB).await.id(), 1);
    assert_eq!(post(&router, APACHE, JOB).await.id(), 2);
    assert_eq!(api.list("sparkbatches", NAMESPACE).len(), 2);
}

#[tokio::test]
async fn a_create_of_which_nothing_is_known_says_where_to_look() {
    let api = api_server();
    let router = facade(&api).await;
    api.inject(Fault::on("create", "sparkbatches").lose_response());
    api.inject(Fault::on("get", "sparkbatches").refuse().times(2));
    let answer = post(&router, APACHE, JOB).await;
    assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
    assert!(
        answer.msg().contains("Batch 1 may have been created")
            && answer.msg().contains("GET /namespaces/spark/batches/1"),
        "{}",
        answer.text
    );
}

#[tokio::test]
async fn a_name_that_is_taken_is_left_alone() {
    let api = api_server();
    let router = facade(&api).await;
    api.insert(
        "sparkbatches",
        json!({ "metadata": { "namespace": NAMESPACE, "name": "batch-1" }, "spec": { "file": "/theirs.py" } }),
    );
    assert_eq!(post(&router, APACHE, JOB).await.id(), 2);
    assert_eq!(api.get("sparkbatches", NAMESPACE, "batch-1").unwrap()["spec"]["file"], "/theirs.py");
}

#[rstest]
#[case("create", "sparkbatches", "POST", APACHE)]
#[case("create", "configmaps", "POST", APACHE)]
#[case("get", "configmaps", "POST", APACHE)]
#[case("get", "sparkbatches", "GET", "/batches/2")]
#[case("get", "sparkbatches", "GET", "/batches/2/state")]
#[case("get", "sparkbatches", "DELETE", "/batches/2")]
#[case("delete", "sparkbatches", "DELETE", "/batches/1")]
#[case("get", "pods/log", "GET", "/batches/1/log")]
#[case("get", "namespaces", "GET", "/namespaces/new/batches")]
#[case("list", "namespaces", "GET", "/v3/analytics_engines/new/livy/batches")]
#[tokio::test]
async fn what_the_api_server_says_of_load_is_passed_on(
    #[case] verb: &str,
    #[case] resource: &str,
    #[case] method: &str,
    #[case] path: &str,
) {
    let api = api_server();
    let router = facade(&api).await;
    api.insert(
        "sparkbatches",
        json!({ "metadata": { "namespace": NAMESPACE, "name": "batch-1" }, "spec": { "file": "/a.py" },
            "status": { "id": 1, "phase": "Running", "driver": { "podName": "driver", "podUid": "u" } } }),
    );
    caught_up(&api).await;
    api.inject(Fault::on(verb, resource).answer_retry_after(429, 7));
    let answer = call(&router, method, path, JOB).await;
    assert_eq!(answer.status, 429, "{}", answer.text);
    assert_eq!(answer.header("retry-after"), "7");
    assert!(answer.msg().contains("is overloaded"), "{}", answer.text);
    assert_eq!(api.list("sparkbatches", NAMESPACE).len(), 1);
}

#[rstest]
#[case(403, 403)]
#[case(500, 503)]
#[case(503, 503)]
#[case(401, 503)]
#[tokio::test]
async fn what_the_api_server_refuses_is_told_without_its_words(#[case] code: u16, #[case] status: u16) {
    let api = api_server();
    let router = facade(&api).await;
    api.inject(Fault::on("create", "sparkbatches").answer(code));
    let answer = post(&router, APACHE, JOB).await;
    assert_eq!(answer.status, status, "{}", answer.text);
    assert!(!answer.text.contains("injected"), "{}", answer.text);
}

#[tokio::test]
async fn with_the_api_server_down_reads_go_on_and_writes_are_told_to_come_again() {
    let api = api_server();
    let router = facade(&api).await;
    post(&router, APACHE, JOB).await;
    caught_up(&api).await;
    api.kill("facade");
    assert_eq!(get(&router, "/batches/1").await.status, 200);
    for (method, path) in [("POST", APACHE), ("DELETE", "/batches/1"), ("GET", "/batches/2")] {
        let answer = call(&router, method, path, JOB).await;
        assert_eq!(
            (answer.status, answer.header("retry-after")),
            (StatusCode::SERVICE_UNAVAILABLE, "1"),
            "{method} {path}"
        );
    }
    assert_eq!(get(&router, "/batches/1").await.status, 200);
}

#[tokio::test]
async fn too_many_requests_at_once_are_turned_away_and_slow_ones_ended() {
    let api = api_server();
    let limits = Limits { in_flight: 1, request: Duration::from_millis(300), ..Limits::default() };
    let router = facade_with(&api, FacadeConfig { limits, ..config() }).await;
    api.inject(Fault::on("create", "sparkbatches").hold());
    let slow = tokio::spawn({
        let router = router.clone();
        async move { post(&router, APACHE, JOB).await }
    });
    api.until("the create to be held", |api| api.held() > 0).await;
    let turned_away = get(&router, "/batches").await;
    assert_eq!((turned_away.status, turned_away.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
    assert_eq!(slow.await.unwrap().status, 504);
    assert_eq!(get(&router, "/batches").await.status, 200);
}

#[tokio::test]
async fn the_server_says_when_it_is_ready_and_ends_when_told() {
    let clients = clients(&api_server());
    let config = FacadeConfig { listen: "127.0.0.1:0".parse().unwrap(), ..config() };
    let cancel = tokio_util::sync::CancellationToken::new();
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let serving = tokio::spawn({
        let cancel = cancel.clone();
        let ready = move || {
            let _ = ready.send(());
        };
        async move {
            let ids = IdAllocator::new(clients.own.clone());
            sparkbatch::facade::serve(clients, ids, config, &Metrics::default(), cancel, ready).await
        }
    });
    is_ready.await.unwrap();
    cancel.cancel();
    serving.await.unwrap().unwrap();
}
