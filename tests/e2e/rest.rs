//! The REST API as its clients meet it.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::world::{INSTANCE, JOB, JOBS, World, say, until};

fn instance(rest: &str) -> String {
    format!("/v3/analytics_engines/{INSTANCE}/livy/batches{rest}")
}

async fn until_state(world: &World, id: i64, wanted: &[&str]) -> String {
    let (began, mut states) = (Instant::now(), Vec::<String>::new());
    loop {
        let (code, body) = world.rest("GET", &instance(&format!("/{id}/state")), None);
        assert_eq!(code, 200, "{body}");
        let state = body["state"].as_str().unwrap().to_owned();
        if states.last() != Some(&state) {
            say(format!("    {:5.1} s  batch {id}: {state}", began.elapsed().as_secs_f32()));
            states.push(state.clone());
        }
        if wanted.contains(&state.as_str()) {
            return state;
        }
        assert!(began.elapsed() < JOB, "batch {id} went {states:?}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// The main job: the seed's own request, and the word counts come out.
#[tokio::test]
#[ignore = "needs the local cluster: runs by `make e2e`"]
async fn the_seeds_word_count_runs_by_curl() {
    let world = World::new().await;
    let (code, created) = world.rest("POST", &instance(""), Some(include_str!("../golden/seed/create-local.json")));
    assert_eq!(code, 201, "{created}");
    assert_eq!(created["state"], "not_started");
    assert_eq!(created["app_info"], json!({}));
    let id = created["id"].as_i64().unwrap();
    assert_eq!(until_state(&world, id, &["success", "dead"]).await, "success");

    let (_, batch) = world.rest("GET", &instance(&format!("/{id}")), None);
    assert_eq!(
        batch,
        json!({ "id": id, "appId": batch["appId"], "appInfo": { "sparkUiUrl": null }, "state": "success" })
    );
    assert!(batch["appId"].as_str().unwrap().starts_with("spark-"));
    let (_, list) = world.rest("GET", &instance(""), None);
    assert!(list["sessions"].as_array().unwrap().contains(&batch), "{list}");
    let (code, _) = world.rest("GET", &instance(&format!("/{id}/log")), None);
    assert_eq!(code, 404);

    let (code, log) = world.rest("GET", &format!("/namespaces/{JOBS}/batches/{id}/log?size=-1"), None);
    assert_eq!(code, 200, "{log}");
    let lines: Vec<&str> = log["log"].as_array().unwrap().iter().map(|line| line.as_str().unwrap()).collect();
    for word in ["Michael,: 1", "Andy,: 1", "Justin,: 1", "29: 1", "30: 1", "19: 1"] {
        assert!(lines.contains(&word), "{word} is not in {lines:#?}");
    }
    let (code, page) = world.rest("GET", &format!("/namespaces/{JOBS}/batches/{id}/log?from=2&size=3"), None);
    assert_eq!((code, page["from"].as_i64(), page["log"].as_array().unwrap().len()), (200, Some(2), 3));
    assert_eq!(page["log"][0], lines[2]);

    let (code, deleted) = world.rest("DELETE", &instance(&format!("/{id}")), None);
    assert_eq!((code, deleted), (200, json!({ "msg": "deleted" })));
    assert_eq!(world.rest("GET", &instance(&format!("/{id}")), None).0, 404);
}

#[tokio::test]
#[ignore = "needs the local cluster: runs by `make e2e`"]
async fn a_running_batch_that_is_deleted_is_gone_within_thirty_seconds() {
    let world = World::new().await;
    let request = json!({ "file": "/opt/spark/examples/src/main/python/pi.py", "args": ["20000"], "numExecutors": 2, "name": "long" });
    let (code, created) = world.rest("POST", &format!("/namespaces/{JOBS}/batches"), Some(&request.to_string()));
    assert_eq!(code, 201, "{created}");
    assert_eq!((created["name"].as_str(), created["state"].as_str()), (Some("long"), Some("starting")));
    let id = created["id"].as_i64().unwrap();
    let name = format!("batch-{id}");
    world
        .until_status(&name, "running with two executors", |status| {
            status.executors.is_some_and(|executors| executors.running == 2)
        })
        .await;
    let began = Instant::now();
    assert_eq!(world.rest("DELETE", &format!("/namespaces/{JOBS}/batches/long"), None).0, 200);
    assert_eq!(world.rest("GET", &format!("/namespaces/{JOBS}/batches/{id}"), None).0, 404);
    until("driver and executors to be gone", Duration::from_secs(30), async || world.pods_of(&name).await.is_empty())
        .await;
    say(format!("    driver and executors were gone after {:.1} s", began.elapsed().as_secs_f32()));
}

#[tokio::test]
#[ignore = "needs the local cluster: runs by `make e2e`"]
async fn a_batch_applied_with_kubectl_gets_an_id_and_is_listed() {
    let world = World::new().await;
    world
        .apply("applied", json!({ "file": "/a.py", "image": "localhost/no-such-image:1", "name": "applied-app" }))
        .await;
    let status = world.until_status("applied", "given an id", |status| status.id.is_some()).await;
    let path = format!("/namespaces/{JOBS}/batches/{}", status.id.unwrap());
    until("the batch to be listed", Duration::from_secs(10), async || world.rest("GET", &path, None).0 == 200).await;
    let (_, batch) = world.rest("GET", &path, None);
    assert_eq!((batch["name"].as_str(), batch["appId"].as_str()), (Some("applied-app"), status.app_id.as_deref()));
    world.remove("applied").await;
}

/// Bad input is refused with the field and the rule; nothing is created, and no id is used up.
#[tokio::test]
#[ignore = "needs the local cluster: runs by `make e2e`"]
async fn bad_input_is_refused_and_uses_up_no_id() {
    let world = World::new().await;
    let good = json!({ "file": "/a.py", "conf": { "spark.kubernetes.container.image": "localhost/no-such-image:1" } })
        .to_string();
    let submit = |body: &str| world.rest("POST", &format!("/namespaces/{JOBS}/batches"), Some(body));
    let (_, before) = submit(&good);

    let huge = json!({ "file": "/a.py", "args": ["x".repeat(2 << 20)] }).to_string();
    let cases: Vec<(&str, u16, &str)> = vec![
        ("{", 400, "JSON"),
        ("[]", 400, "object"),
        ("{}", 400, "File is required"),
        (r#"{"file": 7}"#, 400, "file"),
        (r#"{"file": "/a.py", "fiel": 1}"#, 400, "fiel"),
        (r#"{"file": "file:///a.py"}"#, 400, "local://"),
        (r#"{"file": "a.py"}"#, 400, "absolute"),
        (r#"{"file": "/a.py", "conf": {"spark.master": "x"}}"#, 400, "spark.master"),
        (r#"{"file": "/a.py", "driverMemory": "1.5g"}"#, 400, "driverMemory"),
        (r#"{"file": "/a.py", "numExecutors": -1}"#, 400, "numExecutors"),
        (r#"{"file": "/a.py", "name": "123"}"#, 400, "123"),
        (&huge, 413, ""),
    ];
    for (body, code, part) in cases {
        let (answered, answer) = submit(body);
        let message = answer["msg"].as_str().unwrap_or_default();
        assert!(answered == code && message.contains(part), "{}: {answered} {answer}", &body[..body.len().min(80)]);
    }
    for (path, code) in [
        ("/v3/analytics_engines/nobody/livy/batches", 404),
        ("/namespaces/nobody/batches", 404),
        (&instance("/999999"), 404),
        (&instance("/99999999999"), 400),
        ("/nowhere", 404),
    ] {
        let (answered, answer) = world.rest("GET", path, None);
        assert!(answered == code && answer["msg"].is_string(), "{path}: {answered} {answer}");
    }

    let (_, after) = submit(&good);
    let id = |batch: &Value| batch["id"].as_i64().unwrap();
    assert_eq!(id(&after), id(&before) + 1);
    for batch in [&before, &after] {
        assert_eq!(world.rest("DELETE", &format!("/namespaces/{JOBS}/batches/{}", id(batch)), None).0, 200);
    }
}
