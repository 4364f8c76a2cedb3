//! What a caller reads while the watch is late, broken or wrong.

use super::*;

#[tokio::test]
async fn a_batch_of_another_replica_is_found_before_the_watch_shows_it() {
    let api = api_server();
    let (one, other) = (facade(&api).await, facade(&api).await);
    api.hold_watches("sparkbatches");
    assert_eq!(post(&one, APACHE, JOB).await.id(), 1);
    assert_eq!(get(&other, "/batches/1").await.status, 200);
    api.update("sparkbatches", NAMESPACE, "batch-1", |batch| batch["status"] = json!({ "phase": "Running" }));
    // What was read once is not read again, and is listed.
    assert_eq!(get(&other, "/batches/1/state").await.json()["state"], "starting");
    assert_eq!(get(&other, "/batches").await.json()["total"], 1);
    assert_eq!(call(&other, "DELETE", "/batches/1", "").await.status, 200);
    assert_eq!(get(&other, "/batches/1").await.status, 404);
}

#[tokio::test]
async fn a_deleted_batch_does_not_come_back_with_late_news_of_it() {
    let api = api_server();
    let router = facade(&api).await;
    post(&router, APACHE, JOB).await;
    caught_up(&api).await;
    api.hold_watches("sparkbatches");
    api.update("sparkbatches", NAMESPACE, "batch-1", |batch| batch["status"] = json!({ "phase": "Running" }));
    assert_eq!(call(&router, "DELETE", "/batches/1", "").await.status, 200);
    assert_eq!(get(&router, "/batches").await.json()["total"], 0);
    api.release_watches("sparkbatches");
    caught_up(&api).await;
    assert_eq!(get(&router, "/batches").await.json()["total"], 0);
}

#[tokio::test]
async fn delete_takes_only_the_batch_that_was_shown() {
    let api = api_server();
    let router = facade(&api).await;
    post(&router, APACHE, JOB).await;
    caught_up(&api).await;
    api.hold_watches("sparkbatches");
    api.remove("sparkbatches", NAMESPACE, "batch-1");
    api.insert(
        "sparkbatches",
        json!({ "metadata": { "namespace": NAMESPACE, "name": "batch-1" }, "spec": { "file": "/b.py" } }),
    );
    assert_eq!(call(&router, "DELETE", "/batches/1", "").await.status, 404);
    assert!(api.get("sparkbatches", NAMESPACE, "batch-1").is_some());
}

#[tokio::test]
async fn a_delete_that_meets_another_write_says_so_and_the_batch_stays() {
    let api = api_server();
    let router = facade(&api).await;
    post(&router, APACHE, JOB).await;
    caught_up(&api).await;
    api.inject(Fault::on("delete", "sparkbatches").answer(409));
    let answer = call(&router, "DELETE", "/batches/1", "").await;
    assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
    assert!(answer.msg().contains("try again"), "{}", answer.text);
    assert_eq!(get(&router, "/batches/1").await.status, 200);
    assert_eq!(call(&router, "DELETE", "/batches/1", "").await.status, 200);
    assert_eq!(get(&router, "/batches/1").await.status, 404);
}

#[tokio::test]
async fn a_namespace_that_is_made_anew_begins_with_the_first_id() {
    let api = api_server();
    let router = facade(&api).await;
    let namespace = json!({ "metadata": { "name": "brief" } });
    for _ in 0..2 {
        api.insert("namespaces", namespace.clone());
        assert_eq!(post(&router, "/namespaces/brief/batches", JOB).await.id(), 1);
        caught_up(&api).await;
        // What the namespace's end takes along.
        api.remove("sparkbatches", "brief", "batch-1");
        api.remove("configmaps", "brief", "sparkbatch-ids");
        caught_up(&api).await;
        api.remove("namespaces", "", "brief");
        api.until("the watch to catch up", |api| api.watches_caught_up("namespaces")).await;
        tokio::time::sleep(Duration::from_millis(30)).await;
    }
}

#[tokio::test]
async fn no_page_of_a_listing_is_larger_than_the_memory_is_meant_for() {
    let api = api_server();
    let _router = facade(&api).await;
    let lists: Vec<_> = api.calls().into_iter().filter(|call| call.verb == "list").collect();
    assert_eq!(lists.len(), 2);
    assert!(lists.iter().all(|call| call.query.get("limit").is_some_and(|limit| limit == "100")), "{lists:?}");
}

#[tokio::test]
async fn a_batch_applied_with_kubectl_shows_once_the_operator_gave_it_an_id() {
    let api = api_server();
    let router = facade(&api).await;
    api.insert(
        "sparkbatches",
        json!({ "metadata": { "namespace": NAMESPACE, "name": "pi" }, "spec": { "file": "/pi.py", "name": "pi" } }),
    );
    caught_up(&api).await;
    assert_eq!(get(&router, "/batches").await.json()["total"], 0);
    set_status(&api, "pi", json!({ "id": 7, "phase": "Running", "appId": "spark-7" })).await;
    assert_eq!(get(&router, "/batches/7").await.json()["state"], "running");
    assert_eq!(get(&router, INSTANCE).await.json()["sessions"][0]["id"], 7);
    // The id that is next is past it, with a margin, for the counter is not there.
    assert_eq!(post(&router, APACHE, JOB).await.id(), i64::from(8 + SAFETY_MARGIN));
    assert_eq!(call(&router, "DELETE", "/batches/7", "").await.status, 200);
    assert!(api.get("sparkbatches", NAMESPACE, "pi").is_none());
}

#[tokio::test]
async fn one_malformed_batch_does_not_hide_the_others() {
    let api = api_server();
    api.insert("sparkbatches", json!({ "metadata": { "namespace": NAMESPACE, "name": "bad" }, "spec": { "file": 7 }, "status": { "phase": "Odd" } }));
    let router = facade(&api).await;
    assert_eq!(post(&router, APACHE, JOB).await.id(), 1);
    api.insert("sparkbatches", json!({ "metadata": { "namespace": NAMESPACE, "name": "worse" }, "spec": [] }));
    set_status(&api, "batch-1", json!({ "phase": "Succeeded" })).await;
    assert_eq!(get(&router, "/batches/1/state").await.json()["state"], "success");
}

#[tokio::test]
async fn watches_that_break_or_expire_are_taken_up_again() {
    let api = api_server();
    let router = facade(&api).await;
    post(&router, APACHE, JOB).await;
    for expire in [false, true] {
        if expire {
            api.expire_watches("sparkbatches");
        } else {
            api.break_watches("sparkbatches");
        }
        assert_eq!(get(&router, "/batches/1").await.status, 200);
        api.until("the watch to be back", |api| api.open_watches("sparkbatches") > 0).await;
    }
    api.remove("sparkbatches", NAMESPACE, "batch-1");
    caught_up(&api).await;
    assert_eq!(get(&router, "/batches/1").await.status, 404);
}

#[tokio::test]
async fn before_the_caches_are_complete_callers_are_told_to_come_again() {
    let api = api_server();
    api.inject(Fault::on("list", "sparkbatches").hold());
    let router = unsynced(&api, config()).router();
    for (method, path) in [("GET", "/batches"), ("POST", INSTANCE), ("DELETE", "/batches/1")] {
        let answer = call(&router, method, path, JOB).await;
        assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
    }
    assert_eq!(get(&router, "/version").await.status, 200);
    assert_eq!(api.writes(), Vec::<String>::new());
}
