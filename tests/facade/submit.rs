//! Credentials, idempotency keys and dry runs.

use super::*;
use crate::common::apiserver::Crash;

const SECRET_JOB: &str = r#"{"file":"/a.py","conf":{
    "spark.hadoop.fs.cos.mycos.endpoint":"https://s3.example.com",
    "spark.hadoop.fs.cos.mycos.access.key":"canary-access",
    "spark.hadoop.fs.cos.mycos.secret.key":"canary-secret",
    "spark.driver.extraJavaOptions":"-Ddb.password=canary-option"}}"#;

async fn post_keyed(router: &Router, key: &str, body: &'static str) -> Answer {
    let request = Request::post(APACHE).header("idempotency-key", key).body(Body::from(body)).unwrap();
    send(router, request).await
}

fn secrets(api: &ApiServer) -> Vec<Value> {
    api.list("secrets", NAMESPACE)
}

fn decoded(secret: &Value, key: &str) -> String {
    use base64::Engine as _;
    let text = secret["data"][key].as_str().unwrap_or_else(|| panic!("no {key} in {secret}"));
    String::from_utf8(base64::engine::general_purpose::STANDARD.decode(text).unwrap()).unwrap()
}

#[tokio::test]
async fn credentials_go_into_a_secret_that_the_batch_owns_and_nowhere_else() {
    let api = api_server();
    let router = facade(&api).await;
    let created = post(&router, APACHE, SECRET_JOB).await;
    assert_eq!(created.id(), 1);
    let batch = api.get("sparkbatches", NAMESPACE, "batch-1").unwrap();
    assert_eq!(batch["spec"]["conf"], json!({ "spark.hadoop.fs.cos.mycos.endpoint": "https://s3.example.com" }));
    let [secret] = &secrets(&api)[..] else { panic!("not one Secret") };
    let name = &secret["metadata"]["name"];
    assert_eq!(batch["spec"]["confFrom"], json!([{ "secretRef": { "name": name } }]));
    assert_eq!(secret["metadata"]["ownerReferences"][0]["uid"], batch["metadata"]["uid"]);
    assert_eq!(secret["immutable"], true);
    assert_eq!(decoded(secret, "spark.hadoop.fs.cos.mycos.access.key"), "canary-access");
    assert_eq!(decoded(secret, "spark.hadoop.fs.cos.mycos.secret.key"), "canary-secret");
    assert_eq!(decoded(secret, "spark.driver.extraJavaOptions"), "-Ddb.password=canary-option");
    assert_eq!(api.count("get", "secrets") + api.count("list", "secrets"), 0, "the facade read a Secret");

    let mut shown = batch.to_string() + &created.text;
    for path in ["", "/1", "/1/state", "/1/log"] {
        shown += &get(&router, &format!("{APACHE}{path}")).await.text;
    }
    shown += &post(&router, &format!("{APACHE}?dryRun=true"), SECRET_JOB).await.text;
    assert!(!shown.contains("canary"), "{shown}");

    assert_eq!(call(&router, "DELETE", &format!("{APACHE}/1"), "").await.status, 200);
    api.collect_garbage();
    assert_eq!(secrets(&api), Vec::<Value>::new());
}

#[tokio::test]
async fn a_credential_whose_key_no_secret_can_hold_is_refused_without_its_value() {
    let api = api_server();
    let router = facade(&api).await;
    let long = format!(r#"{{"file":"/a.py","conf":{{"spark.password.{}":"canary"}}}}"#, "x".repeat(300));
    for body in [r#"{"file":"/a.py","conf":{"spark.a/password":"canary"}}"#.to_owned(), long] {
        let answer = post(&router, APACHE, body).await;
        assert_eq!(answer.status, 400);
        assert!(answer.msg().contains("rename it") && !answer.text.contains("canary"), "{}", answer.text);
    }
    assert_eq!(api.list("sparkbatches", NAMESPACE).len(), 0);
}

#[tokio::test]
async fn a_batch_whose_credentials_are_refused_is_taken_back() {
    let api = api_server();
    let router = facade(&api).await;
    api.inject(Fault::on("create", "secrets").answer(403));
    let answer = post(&router, APACHE, SECRET_JOB).await;
    assert_eq!(answer.status, 403);
    assert!(!answer.text.contains("canary"));
    assert_eq!((api.list("sparkbatches", NAMESPACE).len(), secrets(&api).len()), (0, 0));
}

#[tokio::test]
async fn a_secret_whose_answer_was_lost_is_found_to_be_there() {
    let api = api_server();
    let router = facade(&api).await;
    api.inject(Fault::on("create", "secrets").lose_response());
    assert_eq!(post(&router, APACHE, SECRET_JOB).await.id(), 1);
    assert_eq!((api.list("sparkbatches", NAMESPACE).len(), secrets(&api).len()), (1, 1));
}

#[tokio::test]
async fn a_batch_that_can_neither_have_its_credentials_nor_be_taken_back_is_told_of() {
    let api = api_server();
    let router = facade(&api).await;
    api.inject(Fault::on("create", "secrets").refuse().times(2));
    api.inject(Fault::on("delete", "sparkbatches").refuse());
    let answer = post(&router, APACHE, SECRET_JOB).await;
    assert_eq!(answer.status, 503);
    assert!(answer.msg().contains("Batch 1 may have been created"), "{}", answer.text);
    // It waits for its Secret: nothing runs without it.
    let batch = api.get("sparkbatches", NAMESPACE, "batch-1").unwrap();
    assert_eq!(batch["spec"]["confFrom"].as_array().unwrap().len(), 1);
}

/// Another request under its key may have completed it by then.
#[tokio::test]
async fn a_keyed_batch_whose_credentials_got_no_answer_stays_and_is_completed_by_the_next_request() {
    let api = api_server();
    let router = facade(&api).await;
    api.inject(Fault::on("create", "secrets").refuse().times(2));
    let answer = post_keyed(&router, "k-1", SECRET_JOB).await;
    assert_eq!(answer.status, 503);
    assert!(answer.msg().contains("same Idempotency-Key"), "{}", answer.text);
    assert_eq!((api.list("sparkbatches", NAMESPACE).len(), secrets(&api).len()), (1, 0));
    assert_eq!(post_keyed(&router, "k-1", SECRET_JOB).await.id(), 1);
    assert_eq!((api.list("sparkbatches", NAMESPACE).len(), secrets(&api).len()), (1, 1));
}

#[tokio::test]
async fn a_caller_that_goes_away_does_not_leave_a_batch_without_its_credentials() {
    let api = api_server();
    let router = facade(&api).await;
    api.inject(Fault::on("create", "secrets").hold());
    let impatient = tokio::spawn(async move { post(&router, APACHE, SECRET_JOB).await.status });
    api.until("the Secret to be asked for", |api| api.held() == 1).await;
    impatient.abort();
    assert!(impatient.await.unwrap_err().is_cancelled());
    api.release_held();
    api.until("the Secret", |api| !api.list("secrets", NAMESPACE).is_empty()).await;
}

/// Cuts the facade before and after each write of a POST with credentials, and sends it again to another replica.
#[rstest]
#[tokio::test]
async fn a_keyed_post_is_one_complete_batch_whatever_crash_comes_between(
    #[values(1, 2, 3)] write: u64,
    #[values(true, false)] is_applied: bool,
) {
    let api = api_server();
    let first = facade(&api).await;
    api.crash("facade", if is_applied { Crash::AfterWrite(write) } else { Crash::BeforeWrite(write) });
    let cut = post_keyed(&first, "k-1", SECRET_JOB).await;
    assert_eq!(cut.status, 503, "{}", cut.text);
    assert!(!cut.text.contains("canary"));

    let second = facade(&api).await;
    let answer = post_keyed(&second, "k-1", SECRET_JOB).await;
    let id = answer.id();
    let [batch] = &api.list("sparkbatches", NAMESPACE)[..] else { panic!("not one batch") };
    assert_eq!(batch["metadata"]["labels"]["sparkbatch.dev/id"], id.to_string());
    let [secret] = &secrets(&api)[..] else { panic!("not one Secret") };
    assert_eq!(secret["metadata"]["name"], batch["spec"]["confFrom"][0]["secretRef"]["name"]);
    assert_eq!(secret["metadata"]["ownerReferences"][0]["uid"], batch["metadata"]["uid"]);
}

#[tokio::test]
async fn a_key_gives_the_same_batch_back_through_every_replica() {
    let api = api_server();
    let (first, second) = (facade(&api).await, facade(&api).await);
    let created = post_keyed(&first, "k-1", JOB).await;
    assert_eq!((created.id(), created.header("idempotent-replayed")), (1, ""));
    assert_eq!(created.header("location"), format!("{APACHE}/1"));
    for router in [&first, &second] {
        let again = post_keyed(router, "k-1", r#"{ "file" : "/a.py" }"#).await;
        assert_eq!((again.id(), again.header("idempotent-replayed")), (1, "true"));
        assert_eq!(again.header("location"), format!("{APACHE}/1"));
        let other = post_keyed(router, "k-1", r#"{"file":"/b.py"}"#).await;
        assert_eq!(other.status, 409);
        assert!(other.msg().contains("batch 1"), "{}", other.text);
    }
    assert_eq!(post_keyed(&first, "k-2", JOB).await.id(), 2);
    assert_eq!(post(&first, APACHE, JOB).await.id(), 3);
}

#[rstest]
#[case(403, 1)]
#[case(500, 2)]
#[tokio::test]
async fn a_replay_never_takes_back_the_batch_that_was_acknowledged(#[case] code: u16, #[case] tries: u32) {
    let api = api_server();
    let router = facade(&api).await;
    assert_eq!(post_keyed(&router, "k-1", SECRET_JOB).await.id(), 1);
    api.inject(Fault::on("create", "secrets").answer(code).times(tries));
    let answer = post_keyed(&router, "k-1", SECRET_JOB).await;
    assert_eq!((answer.status, answer.header("retry-after")), (StatusCode::SERVICE_UNAVAILABLE, "1"));
    assert!(answer.msg().contains("batch 1") && answer.msg().contains("same Idempotency-Key"), "{}", answer.text);
    assert!(!answer.text.contains("canary"));
    assert_eq!((api.list("sparkbatches", NAMESPACE).len(), api.count("delete", "sparkbatches")), (1, 0));
    let again = post_keyed(&router, "k-1", SECRET_JOB).await;
    assert_eq!((again.id(), again.header("idempotent-replayed")), (1, "true"));
}

#[tokio::test]
async fn another_credential_is_another_request() {
    let api = api_server();
    let router = facade(&api).await;
    assert_eq!(post_keyed(&router, "k", r#"{"file":"/a.py","conf":{"spark.password":"a"}}"#).await.id(), 1);
    assert_eq!(post_keyed(&router, "k", r#"{"file":"/a.py","conf":{"spark.password":"a"}}"#).await.id(), 1);
    let other = post_keyed(&router, "k", r#"{"file":"/a.py","conf":{"spark.password":"b"}}"#).await;
    assert_eq!(other.status, 409, "{}", other.text);
}

#[tokio::test]
async fn a_name_that_is_used_once_can_be_sent_again_under_its_key() {
    let api = api_server();
    let router = facade(&api).await;
    let named = r#"{"file":"/a.py","name":"nightly"}"#;
    assert_eq!(post_keyed(&router, "k", named).await.id(), 1);
    assert_eq!(post_keyed(&router, "k", named).await.id(), 1);
    assert_eq!(post_keyed(&router, "l", named).await.status, 400);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_requests_with_one_key_one_makes_a_batch() {
    let api = api_server();
    let routers = [facade(&api).await, facade(&api).await, facade(&api).await];
    let posts = (0..30).map(|n| {
        let router = routers[n % 3].clone();
        tokio::spawn(async move { post_keyed(&router, "k-1", SECRET_JOB).await.id() })
    });
    let ids: Vec<i64> = futures::future::join_all(posts).await.into_iter().map(Result::unwrap).collect();
    assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
    assert_eq!((api.list("sparkbatches", NAMESPACE).len(), secrets(&api).len()), (1, 1));
}

#[tokio::test]
async fn a_keyed_batch_is_found_at_once_through_a_replica_that_has_not_heard_of_it() {
    let api = api_server();
    let (first, second) = (facade(&api).await, facade(&api).await);
    api.hold_watches("sparkbatches");
    assert_eq!(post_keyed(&first, "k-1", JOB).await.id(), 1);
    assert_eq!(get(&second, &format!("{APACHE}/1")).await.json()["id"], 1);
    assert_eq!(call(&second, "DELETE", &format!("{APACHE}/1"), "").await.status, 200);
    assert_eq!(get(&second, &format!("{APACHE}/1")).await.status, 404);
}

#[tokio::test]
async fn a_deleted_batch_takes_its_key_along_and_its_id_does_not_come_back() {
    let api = api_server();
    let router = facade(&api).await;
    assert_eq!(post_keyed(&router, "k-1", JOB).await.id(), 1);
    assert_eq!(call(&router, "DELETE", &format!("{APACHE}/1"), "").await.status, 200);
    assert_eq!(post_keyed(&router, "k-1", JOB).await.id(), 2);
}

#[tokio::test]
async fn an_object_that_took_the_name_of_a_key_is_no_batch_of_it() {
    let api = api_server();
    let router = facade(&api).await;
    assert_eq!(post_keyed(&router, "k-1", JOB).await.id(), 1);
    let name = api.list("sparkbatches", NAMESPACE)[0]["metadata"]["name"].clone();
    api.remove("sparkbatches", NAMESPACE, name.as_str().unwrap());
    api.insert(
        "sparkbatches",
        json!({ "metadata": { "namespace": NAMESPACE, "name": name }, "spec": { "file": "/x.py" } }),
    );
    assert_eq!(post_keyed(&router, "k-1", JOB).await.status, 409);
}

#[tokio::test]
async fn an_id_that_somebody_made_up_does_not_use_up_the_others() {
    let api = api_server();
    let router = facade(&api).await;
    assert_eq!(post(&router, APACHE, JOB).await.id(), 1);
    api.insert(
        "sparkbatches",
        json!({ "metadata": { "namespace": NAMESPACE, "name": "batch-2147483647",
            "labels": { "sparkbatch.dev/id": "2147483647" } }, "spec": { "file": "/x.py" } }),
    );
    caught_up(&api).await;
    assert_eq!(post(&router, APACHE, JOB).await.id(), 2);
}

#[tokio::test]
async fn a_dry_run_shows_what_would_be_made_and_makes_nothing() {
    let api = api_server();
    let defaults = sparkbatch::plan::Defaults {
        image: Some("spark:4.1.4".into()),
        service_account: "spark".into(),
        ..sparkbatch::plan::Defaults::default()
    };
    let router = facade_with(&api, FacadeConfig { defaults, ..config() }).await;
    let answer = post(&router, &format!("{APACHE}?dryRun=true"), SECRET_JOB).await;
    assert_eq!(answer.status, 200, "{}", answer.text);
    let shown = answer.json();
    assert_eq!(shown["id"], Value::Null);
    assert_eq!(shown["sparkBatch"]["spec"]["file"], "/a.py");
    assert_eq!(shown["driverPod"]["spec"]["containers"][0]["image"], "spark:4.1.4");
    assert_eq!(shown["driverPod"]["metadata"]["namespace"], NAMESPACE);
    let property = |key: &str| &shown["properties"][key];
    assert_eq!(
        property("spark.hadoop.fs.cos.mycos.secret.key"),
        &json!({ "value": "*********(redacted)", "from": "confFrom" })
    );
    assert_eq!(property("spark.hadoop.fs.cos.mycos.endpoint")["from"], "conf");
    assert!(shown["secret"]["stringData"]["spark.properties"].is_string());
    assert_eq!(shown["executorPodTemplate"]["kind"], "Pod");
    assert!(!answer.text.contains("canary"));
    for kind in ["sparkbatches", "secrets", "configmaps", "pods"] {
        assert_eq!(api.list(kind, NAMESPACE).len(), 0, "{kind}");
    }
    assert_eq!(post(&router, APACHE, JOB).await.id(), 1);
}

#[rstest]
#[case("?dryRun=perhaps", JOB, "dryRun")]
#[case("?dryRun=true", r#"{"file":"x.py"}"#, "not absolute")]
// No default image is configured here.
#[case("?dryRun=true", JOB, "image")]
#[tokio::test]
async fn a_dry_run_refuses_what_would_not_run(#[case] query: &str, #[case] body: &'static str, #[case] part: &str) {
    let answer = post(&facade(&api_server()).await, &format!("{APACHE}{query}"), body).await;
    assert_eq!(answer.status, 400);
    assert!(answer.msg().contains(part), "{}", answer.text);
}

#[tokio::test]
async fn a_dry_run_refuses_a_key_that_a_post_would_refuse() {
    let request = Request::post(format!("{APACHE}?dryRun=true")).header("idempotency-key", "a b");
    let answer = send(&facade(&api_server()).await, request.body(Body::from(JOB)).unwrap()).await;
    assert_eq!(answer.status, 400);
    assert!(answer.msg().contains("Idempotency-Key"), "{}", answer.text);
}
