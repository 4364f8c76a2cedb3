//! How long it takes from apply to driver pod; reported and not asserted.

use std::time::{Duration, Instant};

use futures::StreamExt as _;
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
    times.sort();
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    let (median, slowest) = (times[SAMPLES / 2], times[SAMPLES - 1]);
    say(format!(
        "    apply to driver pod created: p50 {:.1} ms, max {:.1} ms of {SAMPLES}",
        millis(median),
        millis(slowest)
    ));
}
