//! Batches as they change, as server-sent events.

use axum::body::BodyDataStream;
use futures::StreamExt as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

/// What a browser makes of a stream.
struct Watch {
    body: BodyDataStream,
    text: String,
}

impl Watch {
    async fn open(router: &Router, path: &str) -> Self {
        let response = router.clone().oneshot(Request::get(path).body(Body::empty()).unwrap()).await.unwrap();
        let header = |name: &str| response.headers()[name].to_str().unwrap();
        assert_eq!((response.status(), header("content-type")), (StatusCode::OK, "text/event-stream"));
        assert_eq!((header("cache-control"), header("x-accel-buffering")), ("no-store", "no"));
        let mut watch = Self { body: response.into_body().into_data_stream(), text: String::new() };
        assert_eq!(watch.block().await.unwrap(), "retry: 2000");
        watch
    }

    /// The lines up to the next empty one; `None` at the end.
    async fn block(&mut self) -> Option<String> {
        loop {
            if let Some((block, rest)) = self.text.split_once("\n\n") {
                let (block, rest) = (block.to_owned(), rest.to_owned());
                self.text = rest;
                return Some(block);
            }
            let next = tokio::time::timeout(Duration::from_secs(10), self.body.next()).await;
            let chunk = next.unwrap_or_else(|_| panic!("no event in time"))?.unwrap();
            self.text += std::str::from_utf8(&chunk).unwrap();
        }
    }

    /// The next event with its data; `None` at the end.
    async fn event(&mut self) -> Option<(String, Value)> {
        let block = self.block().await?;
        let field =
            |name: &str| block.lines().find_map(|line| line.strip_prefix(name)).map(str::trim).unwrap_or_default();
        Some((field("event:").to_owned(), golden(field("data:"))))
    }

    /// The next event in short: `batch 1 running`.
    async fn next(&mut self) -> String {
        let Some((name, data)) = self.event().await else { return "end".to_owned() };
        let words =
            [Some(name), data["id"].as_i64().map(|id| id.to_string()), data["state"].as_str().map(str::to_owned)];
        words.into_iter().flatten().collect::<Vec<_>>().join(" ")
    }
}

async fn set_phase(api: &ApiServer, id: i32, phase: &str) {
    set_status(api, &format!("batch-{id}"), json!({ "phase": phase })).await;
}

#[tokio::test]
async fn a_list_is_shown_and_then_what_becomes_of_it() {
    let api = api_server();
    let (router, replica) = (facade(&api).await, facade(&api).await);
    for _ in 0..2 {
        post(&router, APACHE, JOB).await;
    }
    caught_up(&api).await;
    let mut watch = Watch::open(&router, "/batches?watch=true").await;
    let (name, data) = watch.event().await.unwrap();
    assert_eq!((name.as_str(), &data), ("batch", &get(&router, "/batches/1").await.json()));
    assert_eq!(watch.next().await, "batch 2 starting");
    assert_eq!(watch.event().await, Some(("synced".into(), json!({}))));

    set_phase(&api, 2, "Running").await;
    assert_eq!(watch.next().await, "batch 2 running");
    post(&replica, INSTANCE, JOB).await;
    assert_eq!(watch.next().await, "batch 3 starting");
    // What nobody is shown is no change.
    api.update("sparkbatches", NAMESPACE, "batch-2", |batch| batch["status"]["message"] = json!("m"));
    set_phase(&api, 2, "Succeeded").await;
    assert_eq!(watch.next().await, "batch 2 success");
    call(&router, "DELETE", "/batches/1", "").await;
    assert_eq!(watch.event().await, Some(("deleted".into(), json!({ "id": 1 }))));
    call(&replica, "DELETE", "/batches/3", "").await;
    assert_eq!(watch.next().await, "deleted 3");
}

#[tokio::test]
async fn a_batch_is_shown_until_its_final_state() {
    let api = api_server();
    let router = facade(&api).await;
    post(&router, APACHE, r#"{"file":"/a.py","name":"job-a"}"#).await;
    post(&router, APACHE, JOB).await;
    caught_up(&api).await;
    let mut watches =
        [Watch::open(&router, "/batches/1?watch=true").await, Watch::open(&router, "/batches/job-a?watch=true").await];
    for watch in &mut watches {
        assert_eq!(watch.next().await, "batch 1 starting");
    }
    set_phase(&api, 2, "Running").await;
    for (phase, state) in [("Starting", None), ("Running", Some("running")), ("Failed", Some("dead"))] {
        set_phase(&api, 1, phase).await;
        for (watch, state) in watches.iter_mut().filter_map(|watch| Some((watch, state?))) {
            assert_eq!(watch.next().await, format!("batch 1 {state}"));
        }
    }
    for watch in &mut watches {
        assert_eq!(watch.next().await, "end");
    }
    // Asked again, the final state is all there is; a browser that has it already is told to stop asking.
    let mut again = Watch::open(&router, "/batches/1?watch=true").await;
    assert!(again.block().await.unwrap().ends_with("\nid: final"));
    assert_eq!(again.next().await, "end");
    let reconnect = |path: &str| Request::get(path).header("last-event-id", "final").body(Body::empty()).unwrap();
    let answer = router.clone().oneshot(reconnect("/batches/1?watch=true")).await.unwrap();
    assert_eq!(answer.status(), StatusCode::NO_CONTENT);
    let other = router.clone().oneshot(reconnect("/batches/2?watch=true")).await.unwrap();
    assert_eq!(other.status(), StatusCode::OK);
    assert_eq!(get(&router, "/batches/9?watch=true").await.status, 404);
}

#[tokio::test]
async fn a_batch_that_is_deleted_ends_its_stream() {
    let api = api_server();
    let router = facade(&api).await;
    post(&router, APACHE, JOB).await;
    let mut watch = Watch::open(&router, "/batches/1?watch=true").await;
    assert_eq!(watch.next().await, "batch 1 starting");
    call(&router, "DELETE", "/batches/1", "").await;
    assert_eq!([watch.next().await, watch.next().await], ["deleted 1", "end"]);
}

#[tokio::test]
async fn a_filter_says_which_batches_are_shown_and_which_leave() {
    let api = api_server();
    let router = facade(&api).await;
    for name in ["a", "b", "c"] {
        post(&router, APACHE, format!(r#"{{"file":"/a.py","name":"{name}"}}"#)).await;
    }
    set_phase(&api, 1, "Running").await;
    let mut running = Watch::open(&router, "/batches?watch=true&state=running").await;
    let mut named = Watch::open(&router, "/batches?watch=true&name=b&order=latest&size=0").await;
    assert_eq!([running.next().await, running.next().await], ["batch 1 running", "synced"]);
    assert_eq!([named.next().await, named.next().await], ["batch 2 starting", "synced"]);

    let steps = [
        (2, "Running", "batch 2 running"),
        (1, "Succeeded", "left 1 success"),
        (2, "Failed", "left 2 dead"),
        (3, "Running", "batch 3 running"),
    ];
    for (id, phase, event) in steps {
        set_phase(&api, id, phase).await;
        assert_eq!(running.next().await, event);
        if id == 2 {
            assert_eq!(named.next().await, event.replace("left", "batch"));
        }
    }
    for id in [1, 2, 3] {
        call(&router, "DELETE", &format!("/batches/{id}"), "").await;
    }
    // What has left is not told of again.
    assert_eq!([running.next().await, named.next().await], ["deleted 3", "deleted 2"]);
}

#[tokio::test]
async fn an_instance_is_watched_in_its_own_shape_where_that_is_allowed() {
    let api = api_server();
    let router = facade_with(&api, FacadeConfig { instance_extensions: true, ..config() }).await;
    post(&router, INSTANCE, JOB).await;
    let body = json!({ "id": 1, "appId": null, "appInfo": { "sparkUiUrl": null }, "state": "not_started" });
    for path in [INSTANCE.to_owned(), format!("{INSTANCE}/1")] {
        let mut watch = Watch::open(&router, &format!("{path}?watch=true")).await;
        assert_eq!(watch.event().await, Some(("batch".into(), body.clone())));
    }
}

#[tokio::test]
async fn p4_a_stream_shows_states_move_forward_only() {
    let api = api_server();
    let (one, other) = (facade(&api).await, facade(&api).await);
    api.hold_watches("sparkbatches");
    post(&one, APACHE, JOB).await;
    for phase in ["Starting", "Running"] {
        api.update("sparkbatches", NAMESPACE, "batch-1", |batch| batch["status"] = json!({ "phase": phase }));
    }
    let mut watch = Watch::open(&other, "/batches?watch=true").await;
    assert_eq!(watch.next().await, "synced");
    assert_eq!(get(&other, "/batches/1/state").await.json()["state"], "running");
    assert_eq!(watch.next().await, "batch 1 running");
    api.release_watches("sparkbatches");
    caught_up(&api).await;
    api.expire_watches("sparkbatches");
    api.until("the watches to be back", |api| api.open_watches("sparkbatches") == 2).await;
    set_phase(&api, 1, "Succeeded").await;
    assert_eq!(watch.next().await, "batch 1 success");
}

#[tokio::test]
async fn what_is_gone_after_a_gap_in_the_facades_own_watch_is_told() {
    let api = api_server();
    let router = facade(&api).await;
    post(&router, APACHE, JOB).await;
    caught_up(&api).await;
    let mut watch = Watch::open(&router, "/batches?watch=true").await;
    assert_eq!([watch.next().await, watch.next().await], ["batch 1 starting", "synced"]);
    api.hold_watches("sparkbatches");
    api.remove("sparkbatches", NAMESPACE, "batch-1");
    api.expire_watches("sparkbatches");
    assert_eq!(watch.next().await, "deleted 1");
}

/// Three thousand changes while the client looks elsewhere: it is shown what there is, not what there was.
#[tokio::test]
async fn a_client_that_falls_behind_sees_the_latest_of_each_batch() {
    let api = api_server();
    let router = facade(&api).await;
    let insert = |id: i32| {
        api.insert(
            "sparkbatches",
            json!({ "metadata": { "namespace": NAMESPACE, "name": format!("batch-{id}"),
                "labels": { "sparkbatch.dev/id": id.to_string() } }, "spec": { "file": "/a.py" } }),
        );
    };
    (1..=300).for_each(insert);
    caught_up(&api).await;
    let mut watch = Watch::open(&router, "/batches?watch=true").await;
    for id in 301..=1500 {
        insert(id);
        if id % 2 == 0 {
            let phase = json!({ "phase": "Running" });
            api.update("sparkbatches", NAMESPACE, &format!("batch-{id}"), |batch| batch["status"] = phase);
        }
    }
    for id in 1..=1400 {
        api.remove("sparkbatches", NAMESPACE, &format!("batch-{id}"));
    }
    caught_up(&api).await;
    let listed = get(&router, "/batches?size=1000").await.json()["sessions"].clone();
    assert_eq!(listed.as_array().unwrap().len(), 100);

    let mut shown = std::collections::BTreeMap::new();
    let mut events = 0;
    while shown.values().collect::<Vec<_>>() != listed.as_array().unwrap().iter().collect::<Vec<_>>() {
        let (name, data) = watch.event().await.unwrap();
        events += 1;
        match name.as_str() {
            "batch" => drop(shown.insert(data["id"].as_i64().unwrap(), data)),
            "deleted" => assert!(shown.remove(&data["id"].as_i64().unwrap()).is_some()),
            other => assert_eq!(other, "synced"),
        }
    }
    // At most what was shown before, its deletion, and what is there now.
    assert!(events < 1000, "{events}");
}

#[tokio::test]
async fn streams_are_counted_and_end_with_their_clients() {
    let api = api_server();
    let limits = Limits { streams: 1, in_flight: 2, ..Limits::default() };
    let router = facade_with(&api, FacadeConfig { limits, ..config() }).await;
    let watch = Watch::open(&router, "/batches?watch=true").await;
    let refused = get(&router, "/batches?watch=true").await;
    assert_eq!((refused.status, refused.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
    // It takes no place from other requests.
    assert_eq!(get(&router, "/batches").await.status, 200);
    drop(watch);
    let is_free = |router: &Router| {
        let request = Request::head("/batches?watch=true").body(Body::empty()).unwrap();
        let answer = router.clone().oneshot(request);
        async { answer.await.unwrap().status() == StatusCode::OK }
    };
    for _ in 0..2 {
        // The second time it is the HEAD that gave its place back.
        let waiting = async {
            while !is_free(&router).await {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(10), waiting).await.unwrap();
    }
}

/// Of two clients over TCP, one reads and one never does; a shutdown ends both within the time for it.
#[tokio::test]
async fn a_shutdown_ends_streams() {
    let api = api_server();
    let clients = clients(&api);
    let address = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let config = FacadeConfig { listen: address, ..config() };
    let cancel = tokio_util::sync::CancellationToken::new();
    let (ready, is_ready) = tokio::sync::oneshot::channel();
    let serving = tokio::spawn({
        let cancel = cancel.clone();
        async move {
            let (ids, ready) = (IdAllocator::new(clients.own.clone()), move || ready.send(()).unwrap_or_default());
            sparkbatch::facade::serve(clients, ids, config, &Metrics::default(), cancel, ready).await
        }
    });
    is_ready.await.unwrap();

    let open = || async {
        let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
        connection.write_all(b"GET /batches?watch=true HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        connection
    };
    let (mut reader, _never_reads) = (open().await, open().await);
    let mut text = String::new();
    let mut buffer = [0; 4096];
    while !text.contains("event: synced") {
        let read = reader.read(&mut buffer).await.unwrap();
        text += std::str::from_utf8(&buffer[..read]).unwrap();
    }
    cancel.cancel();
    let mut rest = String::new();
    reader.read_to_string(&mut rest).await.unwrap();
    assert!(rest.ends_with("0\r\n\r\n"), "{rest}");
    tokio::time::timeout(Duration::from_secs(10), serving).await.unwrap().unwrap().unwrap();
}

/// The answer that has no body has no length either, so that the connection goes on.
#[tokio::test]
async fn on_the_wire_what_is_not_modified_has_no_length() {
    let api = api_server();
    let router = facade(&api).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tokio::spawn(async move { axum::serve(listener, router).await });
    let mut connection = tokio::net::TcpStream::connect(address).await.unwrap();
    let request = "GET /batches HTTP/1.1\r\nHost: x\r\nIf-None-Match: *\r\n";
    connection.write_all(format!("{request}\r\n{request}Connection: close\r\n\r\n").as_bytes()).await.unwrap();
    let mut text = String::new();
    connection.read_to_string(&mut text).await.unwrap();
    let text = text.to_ascii_lowercase();
    assert_eq!(text.matches("http/1.1 304 not modified\r\n").count(), 2, "{text}");
    assert!(!text.contains("content-length") && !text.contains("transfer-encoding"), "{text}");
    server.abort();
}
