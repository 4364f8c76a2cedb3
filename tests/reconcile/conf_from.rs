//! `confFrom`: what a batch takes its conf from.

use super::*;

#[tokio::test]
async fn a_secret_of_another_namespace_is_never_asked_for() {
    let server = server();
    let _operator = start(server.client());
    submit(
        &server,
        "thief",
        json!({ "file": "/a.py", "confFrom": [{ "secretRef": { "name": "../../other/secrets/s" } }] }),
    );
    until_phase(&server, "thief", "Failed", "InvalidSpec").await;
    assert_eq!(server.count("get", "secrets"), 0);
}

#[tokio::test]
async fn a_batch_waits_for_its_conf_and_starts_with_it() {
    let server = server();
    let operator = start_with(server.client(), SignedDuration::from_secs(600));
    let spec = json!({ "file": "/a.py", "confFrom": [{ "secretRef": { "name": "keys" } }, { "configMapRef": { "name": "none", "optional": true } }] });
    submit(&server, "pi", spec);
    until_phase(&server, "pi", "Pending", "ConfUnavailable").await;
    assert!(drivers(&server).is_empty());
    drop(operator);
    // "spark.note: hush", in base64
    server.insert(
        "secrets",
        json!({ "metadata": { "name": "keys", "namespace": NS }, "data": { "spark.note": "aHVzaA==" } }),
    );
    let _again = start(server.client());
    let driver = driver_name(&server).await;
    until_phase(&server, "pi", "Starting", "DriverPending").await;
    let secret = server.get("secrets", NS, &driver.replace("-driver", "-conf")).unwrap();
    let properties = String::from_utf8(bytes_of(&secret["data"]["spark.properties"])).unwrap();
    assert!(properties.contains("spark.note=hush\n"), "{properties}");
    assert!(!server.list("sparkbatches", NS)[0].to_string().contains("hush"));
}

#[tokio::test]
async fn a_batch_whose_conf_must_not_be_read_says_which_right_is_missing() {
    let server = server();
    server.inject(Fault::on("get", "secrets").named("keys").answer(403).always());
    let _operator = start(server.client());
    submit(&server, "pi", json!({ "file": "/a.py", "confFrom": [{ "secretRef": { "name": "keys" } }] }));
    until_phase(&server, "pi", "Pending", "ConfUnavailable").await;
    let message = status(&server, "pi")["message"].clone();
    assert_eq!(
        message,
        "confFrom: the operator may not read Secret 'keys': grant its service account the right to get it"
    );
}

pub(super) fn bytes_of(text: &Value) -> Vec<u8> {
    serde_json::from_value::<k8s_openapi::ByteString>(text.clone()).unwrap().0
}
