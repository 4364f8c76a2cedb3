//! A controller that is told its namespaces works in these alone.

use super::*;

#[tokio::test]
async fn namespaces_that_are_not_named_are_neither_watched_nor_written_to() {
    let server = server();
    let named = ControllerConfig { namespaces: vec!["a".into(), "b".into()], ..config(SignedDuration::from_secs(600)) };
    let operator = start_config(server.client_as("operator"), named);
    server.until("the caches to be filled", |_| operator.is_ready()).await;
    for namespace in ["a", "b", "c"] {
        server.insert("sparkbatches", json!({ "metadata": { "name": "pi", "namespace": namespace }, "spec": pi() }));
    }
    for namespace in ["a", "b"] {
        let starts = |server: &ApiServer| {
            let batch = server.get("sparkbatches", namespace, "pi").unwrap();
            batch["status"]["phase"] == "Starting"
        };
        server.until(&format!("the batch in {namespace} to start"), starts).await;
    }
    let elsewhere = |call: &common::apiserver::Call| !matches!(call.namespace.as_deref(), Some("a" | "b"));
    let calls = server.calls_of("operator");
    let calls: Vec<_> = calls.iter().filter(|call| elsewhere(call)).map(ToString::to_string).collect();
    assert_eq!(calls, Vec::<String>::new());
    assert!(server.list("pods", "c").is_empty());
}

#[tokio::test]
async fn a_namespace_that_may_not_be_watched_holds_up_no_other() {
    let server = server();
    server.inject(Fault::on("list", "*").within("b").answer(403).always());
    let named = ControllerConfig { namespaces: vec!["b".into(), NS.into()], ..config(SignedDuration::from_secs(600)) };
    let operator = start_config(server.client(), named);
    submit(&server, "pi", pi());
    until_phase(&server, "pi", "Starting", "DriverPending").await;
    assert!(!operator.is_ready());
}
