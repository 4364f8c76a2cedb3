//! Events and logs.

use super::*;

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
