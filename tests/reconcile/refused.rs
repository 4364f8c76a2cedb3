//! Batches that can have no driver: by their own spec, by names that are taken, by the API server.

use super::*;

#[tokio::test]
async fn an_invalid_batch_fails_with_every_problem_and_makes_nothing() {
    let server = server();
    let _operator = start(server.client());
    submit(&server, "bad", json!({ "file": "x.py", "driverMemory": "lots", "conf": { "spark.master": "local" } }));
    until_phase(&server, "bad", "Failed", "InvalidSpec").await;
    let message = status(&server, "bad")["message"].as_str().unwrap().to_owned();
    for field in ["file:", "driverMemory:", "spark.master"] {
        assert!(message.contains(field), "{message}");
    }
    assert_eq!(server.count("create", "pods") + server.count("create", "secrets"), 0);
}

#[tokio::test]
async fn an_open_field_that_cannot_be_read_fails_its_batch_by_name() {
    let server = server();
    let _operator = start(server.client());
    let volumes = json!([{ "name": "data", "pvc": { "claimName": "data" } }]);
    let template = json!({ "spec": { "containers": "none" } });
    submit(&server, "typo", json!({ "file": "/a.py", "volumes": volumes, "executor": { "podTemplate": template } }));
    until_phase(&server, "typo", "Failed", "InvalidSpec").await;
    let message = status(&server, "typo")["message"].as_str().unwrap().to_owned();
    for part in ["volumes[0]: unknown field 'pvc'", "executor.podTemplate: spec.containers"] {
        assert!(message.contains(part), "{message}");
    }
}

#[tokio::test]
async fn names_of_the_rest_facade_are_refused_to_others() {
    let server = server();
    let _operator = start(server.client());
    submit(&server, "batch-7", pi());
    until_phase(&server, "batch-7", "Failed", "InvalidSpec").await;
    assert!(status(&server, "batch-7")["message"].as_str().unwrap().contains("batch-<number>"));
}

#[tokio::test]
async fn a_pod_of_the_name_that_is_anothers_is_never_adopted() {
    let server = server();
    let uid = server.insert("sparkbatches", json!({ "metadata": { "name": "pi", "namespace": NS }, "spec": pi() }))["metadata"]["uid"].clone();
    let names = sparkbatch::spark::AttemptNames::new("pi", uid.as_str().unwrap(), 1);
    server.insert(
        "pods",
        json!({ "metadata": { "name": names.driver_pod, "namespace": NS }, "spec": { "containers": [] } }),
    );
    let _operator = start(server.client());
    until_phase(&server, "pi", "Failed", "NameConflict").await;
    assert!(server.get("pods", NS, &names.driver_pod).is_some());
    assert_eq!(server.count("create", "secrets"), 0);
}

#[tokio::test]
async fn a_secret_of_the_name_that_is_anothers_never_starts_a_driver() {
    let server = server();
    let uid = server.insert("sparkbatches", json!({ "metadata": { "name": "pi", "namespace": NS }, "spec": pi() }))["metadata"]["uid"].clone();
    let names = sparkbatch::spark::AttemptNames::new("pi", uid.as_str().unwrap(), 1);
    server.insert("secrets", json!({ "metadata": { "name": names.conf_secret, "namespace": NS } }));
    let _operator = start(server.client());
    until_phase(&server, "pi", "Failed", "NameConflict").await;
    assert!(drivers(&server).is_empty());
}

#[tokio::test]
async fn a_refused_driver_waits_and_a_wrong_one_fails() {
    let server = server();
    server.inject(Fault::on("create", "pods").answer_with(ApiError::new(403, "exceeded quota: jobs")).always());
    let _operator = start(server.client());
    submit(&server, "quota", pi());
    until_phase(&server, "quota", "Pending", "DriverRefused").await;
    assert!(status(&server, "quota")["message"].as_str().unwrap().contains("exceeded quota"));

    server.clear_faults();
    server.inject(
        Fault::on("create", "pods").answer_with(ApiError::new(422, "volumeMounts[0].name: Not found")).always(),
    );
    submit(&server, "wrong", pi());
    until_phase(&server, "wrong", "Failed", "InvalidSpec").await;
}
