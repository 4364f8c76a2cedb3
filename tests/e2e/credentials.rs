//! Credentials of a request, sought everywhere that anybody but the driver could look.

use std::time::Duration;

use k8s_openapi::api::core::v1::{Pod, Secret};
use k8s_openapi::api::events::v1::Event;
use kube::api::{ListParams, LogParams};
use kube::{Api, ResourceExt as _};
use serde::Serialize;
use serde_json::json;

use crate::world::{JOBS, World, metrics, say, until};

const SYSTEM: &str = "sparkbatch-system";
/// What is planted in a request, and must be found in Secrets alone.
const CANARIES: [&str; 4] = ["canary-access-7391", "canary-secret-7392", "canary-env-7393", "canary-option-7394"];

fn text(place: &str, found: &impl Serialize) -> (String, String) {
    (place.to_owned(), serde_json::to_string(found).unwrap())
}

#[tokio::test]
#[ignore = "needs the local cluster: runs by `make e2e`"]
async fn credentials_of_a_request_are_found_in_secrets_alone() {
    let world = World::new().await;
    let [access, secret, env, option] = CANARIES;
    let request = json!({
        "file": "/opt/spark/examples/src/main/python/pi.py", "args": ["200"], "numExecutors": 1,
        "conf": {
            "spark.hadoop.fs.s3a.access.key": access,
            "spark.hadoop.fs.s3a.secret.key": secret,
            "spark.kubernetes.driverEnv.DB_PASSWORD": env,
            "spark.driver.extraJavaOptions": format!("-Ddb.password={option}"),
        }
    })
    .to_string();
    let base = format!("/namespaces/{JOBS}/batches");
    let mut places = Vec::new();
    for (place, query) in [("the answer to a dry run", "?dryRun=true"), ("the answer to the POST", "")] {
        let (code, answer) = world.rest("POST", &format!("{base}{query}"), Some(&request));
        assert!([200, 201].contains(&code), "{answer}");
        places.push((place.to_owned(), answer.to_string()));
    }
    let id = serde_json::from_str::<serde_json::Value>(&places[1].1).unwrap()["id"].as_i64().unwrap();
    let name = format!("batch-{id}");

    world
        .until_status(&name, "running with an executor", |status| {
            status.executors.is_some_and(|executors| executors.running == 1)
        })
        .await;
    places.push(text("the driver's and executors' pods", &world.pods_of(&name).await));
    world.until_final(&name).await;
    places.push(text("the resource", &world.batches().get(&name).await.unwrap()));
    for path in ["", &format!("/{id}"), &format!("/{id}/state"), &format!("/{id}/log?size=-1")] {
        places.push((format!("GET {base}{path}"), world.rest("GET", &format!("{base}{path}"), None).1.to_string()));
    }
    let events: Api<Event> = Api::namespaced(world.client.clone(), JOBS);
    places.push(text("Events", &events.list(&ListParams::default()).await.unwrap().items));
    let pods: Api<Pod> = Api::namespaced(world.client.clone(), SYSTEM);
    for pod in pods.list(&ListParams::default().labels("app.kubernetes.io/name=sparkbatch")).await.unwrap() {
        let log = pods.logs(&pod.name_any(), &LogParams::default()).await.unwrap();
        assert!(log.contains("batch accepted"), "the operator's log was not read");
        places.push(("the operator's log".to_owned(), log));
        let address = pod.status.unwrap().pod_ip.unwrap();
        places.push(("metrics".to_owned(), metrics(&address)));
    }
    for (place, text) in &places {
        assert!(text.len() > 2, "{place} is empty");
        for canary in CANARIES {
            assert!(!text.contains(canary), "{canary} is in {place}: {text}");
        }
        say(format!("    no credential in {place} ({} bytes)", text.len()));
    }

    // Where they are: in the Secret that the facade made, and in the driver's.
    let secrets: Api<Secret> = Api::namespaced(world.client.clone(), JOBS);
    let owned = secrets.list(&ListParams::default().labels(&format!("sparkbatch.dev/batch={name}"))).await.unwrap();
    let values: Vec<String> = owned
        .iter()
        .flat_map(|secret| secret.data.iter().flatten())
        .map(|(_, value)| String::from_utf8_lossy(&value.0).into_owned())
        .collect();
    assert!(CANARIES.iter().all(|canary| values.iter().filter(|value| value.contains(canary)).count() >= 2));

    assert_eq!(world.rest("DELETE", &format!("{base}/{id}"), None).0, 200);
    until("the Secrets to be gone", Duration::from_secs(60), async || {
        secrets
            .list(&ListParams::default().labels(&format!("sparkbatch.dev/batch={name}")))
            .await
            .unwrap()
            .items
            .is_empty()
    })
    .await;
}

/// The same request twice under one key, with the operator killed in between.
#[tokio::test]
#[ignore = "needs the local cluster: runs by `make e2e`"]
async fn a_request_sent_again_under_its_key_after_a_crash_is_the_same_batch() {
    let world = World::new().await;
    let request = json!({ "file": "/a.py", "conf": {
        "spark.kubernetes.container.image": "localhost/no-such-image:1", "spark.my.password": CANARIES[0] } });
    let base = format!("/namespaces/{JOBS}/batches");
    let key = format!("Idempotency-Key: e2e-{}", std::process::id());
    let submit = || world.rest_with("POST", &base, &[&key], Some(&request.to_string()));
    let (code, first) = submit();
    assert_eq!(code, 201, "{first}");
    world.kill_operator().await;
    world.until_operator_is_back().await;
    let (code, again) = submit();
    assert_eq!((code, &again["id"]), (201, &first["id"]));
    let other = json!({ "file": "/b.py" }).to_string();
    assert_eq!(world.rest_with("POST", &base, &[&key], Some(&other)).0, 409);
    assert_eq!(world.rest("DELETE", &format!("{base}/{}", first["id"]), None).0, 200);
}
