//! What a caller may ask of a list and of a batch: filters, order, only what is new; and what no answer says.

use super::*;

const EVERY_ROUTE: [(&str, &str); 5] = [
    ("", "GET,HEAD,POST"),
    ("/", "GET,HEAD,POST"),
    ("/1", "DELETE,GET,HEAD"),
    ("/1/state", "GET,HEAD"),
    ("/1/log", "GET,HEAD"),
];

fn extended() -> FacadeConfig {
    FacadeConfig { instance_extensions: true, proxy_users: sparkbatch::facade::ProxyUsers::Any, ..config() }
}

fn ids(answer: &Answer) -> Vec<i64> {
    assert_eq!(answer.status, 200, "{}", answer.text);
    answer.json()["sessions"].as_array().unwrap().iter().map(|batch| batch["id"].as_i64().unwrap()).collect()
}

/// Six batches, created at 10:00, 11:00, … 15:00.
fn six(api: &ApiServer) {
    let phases = ["Succeeded", "Running", "Pending", "Failed", "Running", "Killed"];
    for (id, phase) in (1..).zip(phases) {
        let owner = if id % 2 == 0 { "alice" } else { "bob" };
        api.insert(
            "sparkbatches",
            json!({
                "metadata": { "namespace": NAMESPACE, "name": format!("batch-{id}"),
                    "labels": { "sparkbatch.dev/id": id.to_string() }, "annotations": { "sparkbatch.dev/owner": owner },
                    "creationTimestamp": format!("2026-01-31T{}:00:00Z", 9 + id) },
                "spec": { "file": "/a.py", "name": format!("job-{}", id / 3) },
                "status": { "phase": phase },
            }),
        );
    }
    api.update("sparkbatches", NAMESPACE, "batch-3", |batch| batch["spec"]["suspend"] = json!(false));
}

#[tokio::test]
async fn lists_are_filtered_then_ordered_then_paged() {
    let api = api_server();
    six(&api);
    let router = facade(&api).await;
    let cases: &[(&str, &[i64], i64)] = &[
        ("", &[1, 2, 3, 4, 5, 6], 6),
        ("?order=latest", &[6, 5, 4, 3, 2, 1], 6),
        ("?order=latest&size=2", &[6, 5], 6),
        ("?order=latest&from=4", &[2, 1], 6),
        ("?order=latest&from=-1&size=2", &[6], 6),
        ("?state=running", &[2, 5], 2),
        ("?state=dead,killed", &[4, 6], 2),
        ("?state=dead%2Ckilled&state=success", &[1, 4, 6], 3),
        ("?state=starting", &[3], 1),
        ("?state=not_started,idle,error", &[], 0),
        ("?state=running,success&from=1&size=1", &[2], 3),
        ("?state=running,success&order=latest&from=1", &[2, 1], 3),
        ("?state=running&size=0", &[], 2),
        ("?state=running&from=9", &[], 2),
        ("?name=job-1", &[3, 4, 5], 3),
        ("?name=job", &[], 0),
        ("?owner=alice", &[2, 4, 6], 3),
        ("?owner=alice&name=job-1&state=dead", &[4], 1),
        ("?createdAfter=2026-01-31T13:00:00Z", &[5, 6], 2),
        ("?createdAfter=2026-01-31T15:00:00%2B02:00&order=latest", &[6, 5], 2),
        ("?createdAfter=2100-01-01T00:00:00Z", &[], 0),
        ("?bogus=1&doAs=&=&&%zz=%FF&State=dead", &[1, 2, 3, 4, 5, 6], 6),
        ("?from=1&from=abc&size=1", &[2], 6),
        ("?order=latest&order=nonsense&watch=false", &[6, 5, 4, 3, 2, 1], 6),
    ];
    for (query, listed, total) in cases {
        let answer = get(&router, &format!("/batches{query}")).await;
        assert_eq!((ids(&answer), answer.json()["total"].as_i64()), (listed.to_vec(), Some(*total)), "{query}");
    }
}

#[rstest]
#[case("?state=up", "state: 'up' is no state; the states are not_started, starting")]
#[case("?createdAfter=2026-01-31T08:00:00+02:00", "createdAfter: '2026-01-31T08:00:00 02:00' is no time")]
#[case("?order=newest", "order: 'newest' is not known; send 'latest'")]
#[case("?watch=yes", "watch: 'yes' is neither true nor false")]
#[case("?watch=true&from=abc", "For input string: \"abc\"")]
#[tokio::test]
async fn parameters_that_say_nothing_known_are_named(#[case] query: &str, #[case] start: &str) {
    let api = api_server();
    let router = facade_with(&api, extended()).await;
    for path in [APACHE, INSTANCE] {
        let answer = get(&router, &format!("{path}{query}")).await;
        assert_eq!(answer.status, 400);
        assert!(answer.msg().starts_with(start), "{}", answer.text);
    }
    // Without the flag an instance knows no parameters at all.
    let plain = facade(&api).await;
    assert_eq!(get(&plain, &format!("{INSTANCE}{query}")).await.status, 200);
}

#[tokio::test]
async fn an_instance_has_the_extensions_only_with_their_flag_and_in_its_own_shape() {
    let api = api_server();
    six(&api);
    let (plain, extended) = (facade(&api).await, facade_with(&api, extended()).await);
    for query in ["", "?from=1&size=1", "?state=dead", "?order=latest", "?watch=true", "?name=x&owner=y"] {
        assert_eq!(ids(&get(&plain, &format!("{INSTANCE}{query}")).await), [1, 2, 3, 4, 5, 6], "{query}");
    }
    assert_eq!(get(&plain, &format!("{INSTANCE}/1?watch=true")).await.json()["state"], "success");
    assert_eq!(get(&plain, &format!("{INSTANCE}/1/log")).await.status, 404);

    // A list that asks for no page is whole, as it is without the flag.
    let whole = get(&extended, INSTANCE).await;
    assert_eq!((ids(&whole), whole.text.clone()), (vec![1, 2, 3, 4, 5, 6], get(&plain, INSTANCE).await.text));
    let page = get(&extended, &format!("{INSTANCE}?state=not_started,running&order=latest&from=1&size=1")).await;
    assert_eq!(
        page.text,
        r#"{"from":1,"sessions":[{"id":3,"appId":null,"appInfo":{"sparkUiUrl":null},"state":"not_started"}],"total":3}"#
    );
    let log = get(&extended, &format!("{INSTANCE}/3/log?from=0&size=5")).await;
    assert_eq!(log.text, r#"{"id":3,"from":0,"total":0,"log":[]}"#);
    assert_eq!(get(&extended, &format!("{INSTANCE}/job-1")).await.status, 404);
    let job = r#"{"file":"/a.py","proxyUser":"bob","archives":["/z.zip"],"queue":"q"}"#;
    assert_eq!(post(&plain, INSTANCE, job).await.status, 400);
    let created = post(&extended, INSTANCE, job).await;
    assert_eq!(
        created.json(),
        json!({ "id": created.id(), "appId": null, "appInfo": { "sparkUiUrl": null }, "app_info": {}, "state": "not_started" })
    );
}

async fn ask(router: &Router, method: &str, path: &str, tags: &[&str]) -> Answer {
    let request = Request::builder().method(method).uri(path);
    send(
        router,
        tags.iter().fold(request, |request, tag| request.header("if-none-match", *tag)).body(Body::empty()).unwrap(),
    )
    .await
}

#[tokio::test]
async fn what_a_caller_has_is_not_sent_again() {
    let api = api_server();
    six(&api);
    let (router, replica) = (facade(&api).await, facade(&api).await);
    let instance = |rest: &str| format!("{INSTANCE}{rest}");
    for path in [
        "/batches?state=running",
        "/batches/2",
        "/batches/2/state",
        &instance(""),
        &instance("/2"),
        &instance("/2/state"),
    ] {
        let full = get(&router, path).await;
        let tag = full.header("etag").to_owned();
        assert!(tag.starts_with("W/\"") && tag.len() == 26, "{tag}");
        assert_eq!(full.header("cache-control"), "private, no-cache");
        assert_eq!(get(&replica, path).await.header("etag"), tag);

        let strong = tag.trim_start_matches("W/");
        for tags in [&[tag.as_str()] as &[&str], &["*"], &[strong], &[r#""x", W/"y""#, &format!(r#""z",{tag}"#)]] {
            for method in ["GET", "HEAD"] {
                let same = ask(&replica, method, path, tags).await;
                assert_eq!(
                    (same.status, same.text.as_str()),
                    (StatusCode::NOT_MODIFIED, ""),
                    "{method} {path} {tags:?}"
                );
                assert_eq!((same.header("etag"), same.header("cache-control")), (tag.as_str(), "private, no-cache"));
                assert_eq!((same.header("content-length"), same.header("content-type")), ("", ""));
            }
        }
        for tags in [&[] as &[&str], &[r#"W/"other""#], &["x"], &["\""], &[""]] {
            let whole = ask(&router, "GET", path, tags).await;
            assert_eq!((whole.status, &whole.text), (StatusCode::OK, &full.text));
            let head = ask(&router, "HEAD", path, tags).await;
            assert_eq!(
                (head.header("etag"), head.header("content-length")),
                (tag.as_str(), full.text.len().to_string().as_str())
            );
        }
    }
    set_status(&api, "batch-2", json!({ "phase": "Succeeded" })).await;
    let changed = ask(&router, "GET", "/batches/2", &[get(&router, "/batches/3").await.header("etag")]).await;
    assert_eq!((changed.status, &changed.json()["state"]), (StatusCode::OK, &json!("success")));
}

#[tokio::test]
async fn only_reads_of_batches_are_tagged() {
    let api = api_server();
    let router = facade(&api).await;
    let created = call(&router, "POST", APACHE, JOB).await;
    let answers = [
        created,
        ask(&router, "GET", "/batches/9", &["*"]).await,
        ask(&router, "GET", "/batches?from=x", &["*"]).await,
        ask(&router, "GET", "/batches/1/log", &["*"]).await,
        ask(&router, "DELETE", "/batches/1", &["*"]).await,
    ];
    for answer in answers {
        assert_eq!((answer.header("etag"), answer.header("cache-control")), ("", ""), "{}", answer.text);
        assert_ne!(answer.status, StatusCode::NOT_MODIFIED);
    }
}

#[tokio::test]
async fn every_route_names_its_methods_and_answers_head() {
    let api = api_server();
    let router = facade(&api).await;
    post(&router, APACHE, JOB).await;
    for base in ["/batches", APACHE, INSTANCE] {
        for (rest, allowed) in EVERY_ROUTE {
            let path = format!("{base}{rest}");
            for method in ["PUT", "PATCH", "OPTIONS", "TRACE", "BREW"] {
                let answer = call(&router, method, &path, "").await;
                let mut listed: Vec<_> = answer.header("allow").split(',').collect();
                listed.sort_unstable();
                assert_eq!(
                    (answer.status, listed.join(",").as_str()),
                    (StatusCode::METHOD_NOT_ALLOWED, allowed),
                    "{method} {path}"
                );
            }
            let (full, head) = (get(&router, &path).await, call(&router, "HEAD", &path, "").await);
            assert_eq!((head.status, head.text.as_str()), (full.status, ""), "{path}");
            assert_eq!(head.header("content-length"), full.text.len().to_string(), "{path}");
        }
    }
}

#[tokio::test]
async fn the_body_of_a_get_is_not_waited_for() {
    let api = api_server();
    let router = facade(&api).await;
    post(&router, APACHE, JOB).await;
    for path in ["/batches", "/batches/1", "/batches/1/state", "/batches/1/log", INSTANCE, "/version"] {
        let endless = Body::from_stream(futures::stream::pending::<Result<Vec<u8>, std::io::Error>>());
        let request = Request::get(path).header("content-length", u64::MAX.to_string()).body(endless).unwrap();
        let answer = tokio::time::timeout(Duration::from_secs(5), send(&router, request)).await.unwrap();
        assert_eq!(answer.status, 200, "{path}");
    }
}

#[rstest]
#[case("1", 200)]
#[case("01", 200)]
#[case("0000000000000000000001", 200)]
#[case("%31", 200)]
#[case("+1", 404)]
#[case("-1", 404)]
#[case("%D9%A1", 404)]
#[case("1%20", 404)]
#[case("1%2f", 404)]
#[case("1%00", 404)]
#[case("%2e%2e", 404)]
#[case("..", 404)]
#[case("%2531", 404)]
#[case("1%0d%0aLocation:%20x", 404)]
#[case("99999999999999999999", 400)]
#[tokio::test]
async fn an_id_is_digits_and_nothing_else(#[case] id: &str, #[case] status: u16) {
    let api = api_server();
    let router = facade(&api).await;
    post(&router, APACHE, JOB).await;
    for base in ["/batches", INSTANCE] {
        for rest in ["", "/state"] {
            let answer = get(&router, &format!("{base}/{id}{rest}")).await;
            assert_eq!(answer.status, status, "{base}/{id}{rest}");
        }
    }
    assert_eq!(call(&router, "DELETE", &format!("/batches/{id}"), "").await.status, status);
}

#[tokio::test]
async fn a_location_is_a_plain_path() {
    let api = api_server();
    let options = FacadeConfig { instance_id_from_namespace_name: true, ..config() };
    let router = facade_with(&api, options).await;
    for (path, location) in [
        ("/batches", "/batches/1"),
        ("/batches/", "/batches/2"),
        ("/namespaces/s%70ark/batches", "/namespaces/spark/batches/3"),
        ("/v3/analytics_engines/%73park/livy/batches/", "/v3/analytics_engines/spark/livy/batches/4"),
    ] {
        assert_eq!(post(&router, path, JOB).await.header("location"), location);
    }
    for odd in ["spark%0d%0aX:%20y", "spark%00", "spark%7f", "%2e%2e", "spark%2f..", "sp%C3%A4rk"] {
        for path in [format!("/namespaces/{odd}/batches"), format!("/v3/analytics_engines/{odd}/livy/batches")] {
            let answer = post(&router, &path, JOB).await;
            assert_eq!((answer.status, answer.header("location")), (StatusCode::NOT_FOUND, ""), "{path}");
        }
    }
}

#[tokio::test]
async fn what_changes_something_has_to_say_who_asks_where_that_is_wanted() {
    let api = api_server();
    let router = facade_with(&api, FacadeConfig { require_requested_by: true, ..config() }).await;
    let with = |method: &str, path: &str, value: &str| {
        Request::builder().method(method).uri(path).header("X-Requested-By", value).body(Body::from(JOB)).unwrap()
    };
    for (method, path) in
        [("POST", APACHE), ("POST", INSTANCE), ("DELETE", "/batches/1"), ("PUT", "/batches/1"), ("POST", "/no")]
    {
        let answer = call(&router, method, path, JOB).await;
        assert_eq!(answer.status, 400, "{method} {path}");
        assert!(answer.msg().starts_with("Missing Required Header for CSRF protection."), "{}", answer.text);
    }
    assert_eq!(api.writes(), Vec::<String>::new());
    for (value, path) in [("airflow", APACHE), ("", INSTANCE)] {
        assert_eq!(send(&router, with("POST", path, value)).await.status, 201);
    }
    for (method, status) in [("GET", 200), ("HEAD", 200), ("OPTIONS", 405)] {
        assert_eq!(call(&router, method, "/batches/1", "").await.status, status);
    }
    assert_eq!(send(&router, with("DELETE", "/batches/1", "")).await.status, 200);
}

#[tokio::test]
async fn p4_states_move_forward_whatever_news_comes_late() {
    let api = api_server();
    let (one, other) = (facade(&api).await, facade(&api).await);
    api.hold_watches("sparkbatches");
    assert_eq!(post(&one, APACHE, JOB).await.id(), 1);
    for phase in ["Starting", "Running"] {
        api.update("sparkbatches", NAMESPACE, "batch-1", |batch| batch["status"] = json!({ "phase": phase }));
    }
    // Read from the API server itself, ahead of the watch, which then tells of what was before.
    assert_eq!(get(&other, "/batches/1/state").await.json()["state"], "running");
    let mut states = vec!["running".to_owned()];
    let reading = async {
        loop {
            let state = get(&other, "/batches/1/state").await.json()["state"].as_str().unwrap().to_owned();
            let listed = get(&other, "/batches").await.json()["sessions"][0]["state"].as_str().unwrap().to_owned();
            for state in [state, listed] {
                if states.last() != Some(&state) {
                    states.push(state);
                }
            }
            if states.last().unwrap() == "success" {
                return;
            }
            tokio::task::yield_now().await;
        }
    };
    let writing = async {
        api.release_watches("sparkbatches");
        caught_up(&api).await;
        api.break_watches("sparkbatches");
        api.until("the watches to be back", |api| api.open_watches("sparkbatches") == 2).await;
        api.expire_watches("sparkbatches");
        api.until("the watches to be back", |api| api.open_watches("sparkbatches") == 2).await;
        set_status(&api, "batch-1", json!({ "phase": "Succeeded" })).await;
    };
    tokio::time::timeout(Duration::from_secs(10), futures::future::join(reading, writing)).await.unwrap();
    assert_eq!(states, ["running", "success"]);
}
