//! Namespaces and instance ids.

use super::*;

#[tokio::test]
async fn a_namespaces_name_is_an_instance_id_where_that_is_allowed() {
    let api = api_server();
    let allowed = FacadeConfig { instance_id_from_namespace_name: true, ..config() };
    let router = facade_with(&api, allowed).await;
    assert_eq!(post(&router, "/v3/analytics_engines/spark/livy/batches", JOB).await.id(), 1);
    // A namespace that was made a moment ago is found, whether or not the watch has shown it.
    api.hold_watches("namespaces");
    api.insert(
        "namespaces",
        json!({ "metadata": { "name": "new", "labels": { "sparkbatch.dev/instance-id": "i-2" } } }),
    );
    for instance in ["new", "i-2"] {
        let path = format!("/v3/analytics_engines/{instance}/livy/batches");
        assert_eq!(get(&router, &path).await.status, 200);
    }
    assert_eq!(get(&router, "/v3/analytics_engines/other/livy/batches").await.status, 404);
}

#[tokio::test]
async fn an_instance_id_of_two_namespaces_is_nobodys() {
    let api = api_server();
    for name in ["a", "b"] {
        api.insert(
            "namespaces",
            json!({ "metadata": { "name": name, "labels": { "sparkbatch.dev/instance-id": "i" } } }),
        );
    }
    let router = facade(&api).await;
    let answer = post(&router, "/v3/analytics_engines/i/livy/batches", JOB).await;
    assert_eq!(answer.status, 409);
    assert!(answer.msg().contains("remove it from all but one"), "{}", answer.text);
}

#[tokio::test]
async fn only_the_namespaces_of_the_configuration_are_served() {
    let api = api_server();
    api.insert(
        "namespaces",
        json!({ "metadata": { "name": "other", "labels": { "sparkbatch.dev/instance-id": "o" } } }),
    );
    let router = facade_with(&api, FacadeConfig { namespaces: vec![NAMESPACE.into()], ..config() }).await;
    assert_eq!(get(&router, APACHE).await.status, 200);
    assert_eq!(get(&router, INSTANCE).await.status, 200);
    assert_eq!(get(&router, "/namespaces/other/batches").await.status, 404);
    assert_eq!(get(&router, "/v3/analytics_engines/o/livy/batches").await.status, 404);
}

#[tokio::test]
async fn a_namespace_that_is_being_deleted_takes_no_batches() {
    let api = api_server();
    let router = facade(&api).await;
    api.update("namespaces", "", NAMESPACE, |namespace| {
        namespace["metadata"]["finalizers"] = json!(["test/hold"]);
        namespace["metadata"]["deletionTimestamp"] = json!("2026-01-01T00:00:00Z");
    });
    let answer = post(&router, APACHE, JOB).await;
    assert_eq!((answer.status, answer.msg()), (StatusCode::FORBIDDEN, "namespace 'spark' is being deleted".into()));
}
