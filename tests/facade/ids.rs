//! Batch ids.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_parallel_posts_over_three_replicas_get_a_hundred_ids() {
    let api = api_server();
    let routers = [facade(&api).await, facade(&api).await, facade(&api).await];
    let posts = (0..100).map(|n| {
        let router = routers[n % 3].clone();
        tokio::spawn(async move { post(&router, APACHE, JOB).await.id() })
    });
    let mut ids: Vec<i64> = futures::future::join_all(posts).await.into_iter().map(Result::unwrap).collect();
    ids.sort_unstable();
    assert_eq!(ids, (1..=100).collect::<Vec<_>>());
    assert_eq!(api.list("sparkbatches", NAMESPACE).len(), 100);
    // One write of the counter served many.
    let swaps = api.writes().iter().filter(|write| write.contains(" configmaps ") && !write.ends_with("409")).count();
    assert!(swaps < 100, "{swaps}");
}

#[tokio::test]
async fn a_counter_whose_answer_was_lost_leaves_a_gap_and_gives_no_id_twice() {
    let api = api_server();
    let router = facade(&api).await;
    assert_eq!(post(&router, APACHE, JOB).await.id(), 1);
    api.inject(Fault::on("update", "configmaps").lose_response());
    assert_eq!(post(&router, APACHE, JOB).await.status, 503);
    assert_eq!(post(&router, APACHE, JOB).await.id(), 3);
    assert_eq!(api.list("sparkbatches", NAMESPACE).len(), 2);
}

#[tokio::test]
async fn ids_survive_the_counters_deletion_and_restoration() {
    let api = api_server();
    let router = facade(&api).await;
    for id in 1..=3 {
        assert_eq!(post(&router, APACHE, JOB).await.id(), id);
    }
    api.remove("configmaps", NAMESPACE, "sparkbatch-ids");
    let after_deletion = post(&router, APACHE, JOB).await.id();
    assert_eq!(after_deletion, i64::from(4 + SAFETY_MARGIN));
    api.update("configmaps", NAMESPACE, "sparkbatch-ids", |counter| counter["data"]["next"] = json!("2"));
    assert_eq!(post(&router, APACHE, JOB).await.id(), after_deletion + 1 + i64::from(SAFETY_MARGIN));
    // Batches that are deleted free no id.
    for batch in api.list("sparkbatches", NAMESPACE) {
        let id = &batch["metadata"]["labels"]["sparkbatch.dev/id"];
        assert_eq!(call(&router, "DELETE", &format!("/batches/{}", id.as_str().unwrap()), "").await.status, 200);
    }
    assert_eq!(post(&router, APACHE, JOB).await.id(), after_deletion + 2 + i64::from(SAFETY_MARGIN));
}

#[rstest]
#[case(json!({ "next": "2147483648" }), "no batch id left")]
#[case(json!({ "next": "many" }), "holds no id in 'next'")]
#[case(json!({}), "holds no id in 'next'")]
#[case(json!({ "next": "-5" }), "holds no id in 'next'")]
#[tokio::test]
async fn a_counter_that_cannot_go_on_says_so(#[case] data: Value, #[case] part: &str) {
    let api = api_server();
    api.insert("configmaps", json!({ "metadata": { "namespace": NAMESPACE, "name": "sparkbatch-ids" }, "data": data }));
    let router = facade(&api).await;
    let answer = post(&router, APACHE, JOB).await;
    assert_eq!(answer.status, 503);
    assert!(answer.msg().contains(part), "{}", answer.text);
    assert_eq!(api.list("sparkbatches", NAMESPACE).len(), 0);
}

#[tokio::test]
async fn a_caller_that_goes_away_holds_nobody_up() {
    let api = api_server();
    let ids = IdAllocator::new(api.client_as("ids"));
    api.inject(Fault::on("create", "configmaps").hold());
    let first = tokio::spawn({
        let ids = ids.clone();
        async move { ids.next(NAMESPACE, 0).await }
    });
    api.until("the swap to be held", |api| api.held() > 0).await;
    let waiting: Vec<_> = (0..10)
        .map(|_| {
            let ids = ids.clone();
            tokio::spawn(async move { ids.next(NAMESPACE, 0).await })
        })
        .collect();
    tokio::task::yield_now().await;
    first.abort();
    api.release_held();
    let mut given: Vec<i32> =
        futures::future::join_all(waiting).await.into_iter().map(|id| id.unwrap().unwrap()).collect();
    given.sort_unstable();
    given.dedup();
    assert_eq!(given.len(), 10);
    // Two writes for eleven callers.
    assert_eq!(api.writes().len(), 2);
}

#[tokio::test]
async fn the_allocator_tells_one_reason_from_another() {
    let api = api_server();
    let ids = IdAllocator::new(api.client_as("ids"));
    assert!(matches!(ids.next("nope", 0).await, Err(IdError::NamespaceNotFound(namespace)) if namespace == "nope"));
    api.inject(Fault::on("get", "configmaps").answer(403));
    assert!(matches!(ids.next(NAMESPACE, 0).await, Err(IdError::Forbidden(_))));
    api.inject(Fault::on("get", "configmaps").refuse());
    assert!(matches!(ids.next(NAMESPACE, 0).await, Err(IdError::Unavailable(_))));
    assert_eq!(ids.next(NAMESPACE, 0).await.unwrap(), 1);
    assert_eq!(ids.next(NAMESPACE, 0).await.unwrap(), 2);
}
