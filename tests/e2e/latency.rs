//! How long it takes from apply to driver pod; reported and not asserted.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use kube::api::{DeleteParams, PostParams, WatchEvent, WatchParams};
use serde_json::json;
use sparkbatch::api::SparkBatch;

use crate::world::{World, say};

const SAMPLES: usize = 20;

#[tokio::test]
#[ignore = "needs the local cluster: runs by `make e2e`"]
async fn the_time_from_apply_to_driver_pod_is_reported() {
    let world = World::new().await;
    let labels = WatchParams::default().labels("spark-role=driver").timeout(120);
    let mut events = Box::pin(world.pods().watch(&labels, "0").await.unwrap());
    // An image that does not exist: the pod is created and no JVM started, which would be measured too.
    let spec = json!({ "file": "/a.py", "image": "localhost/no-such-image:1", "imagePullPolicy": "Never" });
    let mut times = Vec::with_capacity(SAMPLES);
    for n in 0..SAMPLES {
        let name = format!("latency-{n}");
        world.remove(&name).await;
        let batch = SparkBatch::new(&name, serde_json::from_value(spec.clone()).unwrap());
        let began = Instant::now();
        world.batches().create(&PostParams::default(), &batch).await.unwrap();
        loop {
            let event = tokio::time::timeout(Duration::from_secs(30), events.next()).await.unwrap().unwrap().unwrap();
            if matches!(event, WatchEvent::Added(pod) if pod.name_any().starts_with(&format!("{name}-"))) {
                break;
            }
        }
        times.push(began.elapsed());
        world.batches().delete(&name, &DeleteParams::background()).await.unwrap();
    }
    let (median, slowest) = median_and_slowest(times);
    say(format!("    apply to driver pod created: p50 {median:.1} ms, max {slowest:.1} ms of {SAMPLES}"));
    let (bare, _) = median_and_slowest(bare_calls(&world).await);
    say(format!("    the two bare creates that it is made of: p50 {bare:.1} ms; ratio {:.1}", median / bare));
}

/// A batch that makes nothing, and a pod like a driver's, created by hand one after the other.
async fn bare_calls(world: &World) -> Vec<Duration> {
    let mut times = Vec::with_capacity(SAMPLES);
    for n in 0..SAMPLES {
        let name = format!("bare-{n}");
        let spec = json!({ "file": "/a.py", "suspend": true });
        let batch = SparkBatch::new(&name, serde_json::from_value(spec).unwrap());
        let began = Instant::now();
        world.batches().create(&PostParams::default(), &batch).await.unwrap();
        world.pods().create(&PostParams::default(), &bare_pod(&name)).await.unwrap();
        times.push(began.elapsed());
        world.batches().delete(&name, &DeleteParams::background()).await.unwrap();
        world.pods().delete(&name, &DeleteParams::background().grace_period(0)).await.unwrap();
    }
    times
}

fn bare_pod(name: &str) -> Pod {
    let container = json!({
        "name": "c",
        "image": "localhost/no-such-image:1",
        "imagePullPolicy": "Never",
        "securityContext": { "allowPrivilegeEscalation": false, "capabilities": { "drop": ["ALL"] } },
    });
    let restricted = json!({ "runAsNonRoot": true, "runAsUser": 185, "seccompProfile": { "type": "RuntimeDefault" } });
    let spec = json!({ "containers": [container], "securityContext": restricted });
    serde_json::from_value(json!({ "metadata": { "name": name }, "spec": spec })).unwrap()
}

/// In milliseconds.
fn median_and_slowest(mut times: Vec<Duration>) -> (f64, f64) {
    times.sort();
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    (millis(times[times.len() / 2]), millis(times[times.len() - 1]))
}
