//! Watches, and the reflectors that follow them.

use super::*;

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
