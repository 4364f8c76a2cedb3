//! What the server can be told to do wrong, and what it tells of its callers.

use super::*;

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
