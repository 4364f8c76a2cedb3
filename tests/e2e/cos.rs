//! The seed's payload in object storage: an S3 server on the cluster's bridge, Stocator in the image.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::world::{INSTANCE, JOB, World, until};

const ENDPOINT: &str = "http://10.244.0.1:5555";

/// The S3 server of `moto`, ended when dropped.
struct ObjectStorage(Child);

impl ObjectStorage {
    async fn start() -> Self {
        let python = std::env::var("SPARKBATCH_E2E_PYTHON")
            .unwrap_or_else(|_| panic!("SPARKBATCH_E2E_PYTHON is not set: run by `make e2e`"));
        let mut server = Command::new(python);
        server
            .args(["-m", "moto.server", "-H", "10.244.0.1", "-p", "5555"])
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let storage = Self(server.spawn().unwrap());
        until("the S3 server to answer", Duration::from_secs(60), async || curl(&[ENDPOINT])).await;
        storage
    }
}

impl Drop for ObjectStorage {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn curl(args: &[&str]) -> bool {
    let authorization = "Authorization: AWS4-HMAC-SHA256 Credential=k/20260101/us-east-1/s3/aws4_request, SignedHeaders=host, Signature=0";
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--fail", "--max-time", "10", "--output", "/dev/null", "-H", authorization]).args(args);
    curl.status().is_ok_and(|status| status.success())
}

#[tokio::test]
#[ignore = "needs the local cluster: runs by `make e2e`"]
async fn the_seeds_payload_in_object_storage_runs() {
    let world = World::new().await;
    let _storage = ObjectStorage::start().await;
    let job = format!("{}/tests/golden/seed/wordcount.py", env!("CARGO_MANIFEST_DIR"));
    assert!(curl(&["-X", "PUT", &format!("{ENDPOINT}/bucket")]));
    assert!(curl(&[
        "-X",
        "PUT",
        "-H",
        "Content-Type: text/x-python",
        "--data-binary",
        &format!("@{job}"),
        &format!("{ENDPOINT}/bucket/wordcount.py")
    ]));

    // The seed's sample as it stands, but for the names and keys that it leaves open and its endpoint.
    let sample = include_str!("../golden/seed/create-cos.json").replace("<bucket>", "bucket");
    let sample = sample.replace("https://s3.us-south.cloud-object-storage.appdomain.cloud", ENDPOINT);
    let path = format!("/v3/analytics_engines/{INSTANCE}/livy/batches");
    let (code, created) = world.rest("POST", &path, Some(&sample));
    assert_eq!(code, 201, "{created}");
    let id = created["id"].as_i64().unwrap();
    let mut state = Value::Null;
    until("the batch to end", JOB, async || {
        state = world.rest("GET", &format!("{path}/{id}/state"), None).1["state"].clone();
        ["success", "dead"].map(Value::from).contains(&state)
    })
    .await;
    let status = world.status(&format!("batch-{id}")).await;
    let log = world.log_of(&status).await;
    assert_eq!(state, "success", "{log}");
    assert!(log.contains("Michael,: 1"), "{log}");
    assert_eq!(world.rest("DELETE", &format!("{path}/{id}"), None).0, 200);
}
