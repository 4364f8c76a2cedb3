//! What the tests see of the world: the cluster, the REST API, and the operator's process.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use k8s_openapi::api::core::v1::{Pod, Service};
use kube::api::{DeleteParams, ListParams, LogParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config, ResourceExt as _};
use serde_json::{Value, json};
use sparkbatch::api::{SparkBatch, SparkBatchStatus};

pub const JOBS: &str = "spark-jobs";
pub const INSTANCE: &str = "43f79a18-768c-44c9-b9c2-b19ec78771bf";
pub const SYSTEM: &str = "sparkbatch-system";
/// A Spark job on a busy machine of two cores.
pub const JOB: Duration = Duration::from_secs(240);

pub struct World {
    pub client: Client,
    rest: String,
}

pub fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run the end-to-end tests by `make e2e`"))
}

impl World {
    pub async fn new() -> Self {
        let kubeconfig = Kubeconfig::read_from(variable("SPARKBATCH_E2E_KUBECONFIG")).unwrap();
        let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
        let client = Client::try_from(config).unwrap();
        let services: Api<Service> = Api::namespaced(client.clone(), SYSTEM);
        let service = services.get("sparkbatch").await.unwrap().spec.unwrap();
        let world = Self { client, rest: format!("http://{}:8998", service.cluster_ip.unwrap()) };
        // A pod that is ready is one to which its Service leads a moment later.
        world.until_operator_is_back().await;
        world
    }

    pub fn batches(&self) -> Api<SparkBatch> {
        Api::namespaced(self.client.clone(), JOBS)
    }

    pub fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.client.clone(), JOBS)
    }

    /// Applies a batch that must not exist yet.
    pub async fn apply(&self, name: &str, spec: Value) -> SparkBatch {
        self.remove(name).await;
        let batch = SparkBatch::new(name, serde_json::from_value(spec).unwrap());
        self.batches().create(&PostParams::default(), &batch).await.unwrap()
    }

    /// Deletes a batch, if it exists, and waits until its pods are gone.
    ///
    /// The garbage collector and the kubelet can be late by a minute where the API server was away: client-go watches
    /// again after up to 30 s, and as much again by chance.
    pub async fn remove(&self, name: &str) {
        match self.batches().delete(name, &DeleteParams::background()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => {}
            deleted => drop(deleted.unwrap()),
        }
        let mut left = Vec::new();
        let gone = until_or_late(Duration::from_secs(180), async || {
            left = self.pods_of(name).await;
            left.is_empty()
        });
        assert!(gone.await, "waited in vain for the pods of {name} to be gone: {left:#?}");
    }

    pub async fn status(&self, name: &str) -> SparkBatchStatus {
        let batch = self.batches().get_opt(name).await.unwrap();
        batch.and_then(|batch| batch.status).unwrap_or_default()
    }

    /// Waits until a batch's status is as wanted, telling of each change.
    pub async fn until_status(
        &self,
        name: &str,
        what: &str,
        wanted: impl Fn(&SparkBatchStatus) -> bool,
    ) -> SparkBatchStatus {
        let (began, mut last) = (Instant::now(), String::new());
        loop {
            let status = self.status(name).await;
            let line =
                format!("{} {}", status.phase, status.reason.map(|reason| reason.to_string()).unwrap_or_default());
            if line != last {
                say(format!("    {:5.1} s  {name}: {line}", began.elapsed().as_secs_f32()));
                last = line;
            }
            if wanted(&status) {
                return status;
            }
            assert!(!status.phase.is_final() && began.elapsed() < JOB, "{name} is not {what} but {}", json!(status));
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    }

    pub async fn until_final(&self, name: &str) -> SparkBatchStatus {
        self.until_status(name, "final", |status| status.phase.is_final()).await
    }

    pub async fn pods_of(&self, name: &str) -> Vec<Pod> {
        let labels = ListParams::default().labels(&format!("sparkbatch.dev/batch={name}"));
        self.pods().list(&labels).await.unwrap().items
    }

    pub async fn log_of(&self, status: &SparkBatchStatus) -> String {
        let driver = &status.driver.as_ref().unwrap().pod_name;
        self.pods().logs(driver, &LogParams::default()).await.unwrap()
    }

    /// The REST API, by curl; status 0 where nobody answered.
    pub fn rest(&self, method: &str, path: &str, body: Option<&str>) -> (u16, Value) {
        self.rest_with(method, path, &[], body)
    }

    /// As [`World::rest`], with more headers.
    pub fn rest_with(&self, method: &str, path: &str, headers: &[&str], body: Option<&str>) -> (u16, Value) {
        let options: Vec<&str> = headers.iter().flat_map(|header| ["-H", header]).collect();
        curl(&options, method, &format!("{}{path}", self.rest), body)
    }

    /// What GET of a path answers, redirects not followed: status, content type, `Location`, body.
    pub fn fetch(&self, path: &str) -> (u16, String, String, String) {
        let mut curl = Command::new("curl");
        curl.args(["--silent", "--path-as-is", "--globoff", "--max-time", "60"]);
        curl.args(["--write-out", "\n%{http_code}\n%header{content-type}\n%header{location}"]);
        let output = curl.arg(format!("{}{path}", self.rest)).output().unwrap().stdout;
        let output = String::from_utf8_lossy(&output);
        let mut parts = output.rsplitn(4, '\n').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        let (location, kind, code) = (next(), next(), next());
        (code.parse().unwrap(), kind, location, next())
    }

    /// Kills the operator's process with SIGKILL, as the kernel would.
    pub async fn kill_operator(&self) {
        assert!(self.kill_replica("").await, "no operator runs");
    }

    /// Kills the process of the replica in the pod whose name starts so; false if none runs.
    pub async fn kill_replica(&self, pod: &str) -> bool {
        let Some(pid) = self.operator_container(pod).await.and_then(|container| process_of(&container)) else {
            return false;
        };
        let status = Command::new("kill").args(["-KILL", &pid.to_string()]).status().unwrap();
        assert!(status.success());
        say(format!("    killed the operator, pid {pid}"));
        true
    }

    /// Waits until the operator is up. Where the API server was away, those who make, place and start its pod may each be
    /// late by a minute, as in [`Self::remove`].
    pub async fn until_operator_is_back(&self) {
        until("the REST API to answer", Duration::from_secs(300), async || self.rest("GET", "/version", None).0 == 200)
            .await;
    }

    async fn operator_container(&self, pod: &str) -> Option<String> {
        let pods: Api<Pod> = Api::namespaced(self.client.clone(), SYSTEM);
        let pods = pods.list(&ListParams::default().labels("app.kubernetes.io/name=sparkbatch")).await.unwrap();
        let mut running = pods
            .items
            .iter()
            .filter(|found| found.metadata.deletion_timestamp.is_none() && found.name_any().starts_with(pod));
        let id =
            running.find_map(|pod| pod.status.as_ref()?.container_statuses.as_ref()?.first()?.container_id.clone());
        id.map(|id| id.trim_start_matches("containerd://").to_owned())
    }
}

/// A request by curl, with `options` of curl's; status 0 where nobody answered.
pub fn curl(options: &[&str], method: &str, url: &str, body: Option<&str>) -> (u16, Value) {
    let mut curl = Command::new("curl");
    curl.args(["--silent", "--max-time", "30", "-X", method, "-H", "content-type: application/json"]);
    curl.args(options).args(["--write-out", "\n%{http_code}"]).arg(url);
    if body.is_some() {
        curl.args(["--data-binary", "@-"]);
    }
    let mut child = curl.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    // A server may answer before it has read everything.
    drop(std::io::Write::write_all(&mut input, body.unwrap_or_default().as_bytes()));
    drop(input);
    let output = String::from_utf8(child.wait_with_output().unwrap().stdout).unwrap();
    let (answer, code) = output.rsplit_once('\n').unwrap();
    (code.parse().unwrap(), serde_json::from_str(answer).unwrap_or(Value::Null))
}

/// The process on this machine that a container is, if it runs: its cgroup has the container's id in its name.
fn process_of(container: &str) -> Option<u32> {
    let mut processes =
        std::fs::read_dir("/proc").unwrap().filter_map(|entry| entry.ok()?.file_name().to_str()?.parse::<u32>().ok());
    let is_it = |pid: &u32| {
        std::fs::read_to_string(format!("/proc/{pid}/cgroup")).is_ok_and(|cgroup| cgroup.contains(container))
    };
    processes.find(is_it)
}

/// The metrics of the operator's pod at `address`.
pub fn metrics(address: &str) -> String {
    text_at(&format!("http://{address}:8080/metrics"))
}

/// What GET of `url` answers; empty where that is an error.
pub fn text_at(url: &str) -> String {
    let output = Command::new("curl").args(["--silent", "--fail", "--max-time", "60", url]).output();
    String::from_utf8(output.unwrap().stdout).unwrap()
}

pub fn say(line: impl Display) {
    eprintln!("{line}");
}

/// Waits until `seen` is true.
pub async fn until(what: &str, patience: Duration, seen: impl AsyncFnMut() -> bool) {
    assert!(until_or_late(patience, seen).await, "waited in vain for {what}");
}

/// Whether `seen` became true in time.
async fn until_or_late(patience: Duration, mut seen: impl AsyncFnMut() -> bool) -> bool {
    let began = Instant::now();
    while !seen().await {
        if began.elapsed() >= patience {
            return false;
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    true
}

/// What the API server has answered, by its audit log, oldest first.
fn answered() -> impl Iterator<Item = Value> {
    let log = std::fs::read_to_string(variable("SPARKBATCH_E2E_AUDIT_LOG")).unwrap();
    let events: Vec<_> = log.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok()).collect();
    events.into_iter().filter(|event| event["stage"] == "ResponseComplete")
}

/// Driver pods that the API server has ever created for this batch.
pub fn drivers_ever_created(batch: &SparkBatch) -> usize {
    let uid: String = batch.uid().unwrap().chars().filter(char::is_ascii_hexdigit).collect();
    let part = format!("-{}-", &uid[24..]);
    pods_created(|name| name.contains(&part) && name.ends_with("-driver"))
}

/// Pods that the API server has ever created with such a name.
///
/// A creation whose caller was killed before it was answered is told as a failure. The scheduler, which binds each pod
/// once, tells of that one: so of either, what is more.
pub fn pods_created(is_it: impl Fn(&str) -> bool) -> usize {
    let mut told: BTreeMap<String, [usize; 2]> = BTreeMap::new();
    for event in answered() {
        let object = &event["objectRef"];
        let kind = match object["subresource"].as_str() {
            None => 0,
            Some("binding") => 1,
            Some(_) => continue,
        };
        let created = event["verb"] == "create" && event["responseStatus"]["code"] == 201;
        if let Some(name) = object["name"].as_str()
            && created
            && object["resource"] == "pods"
            && is_it(name)
        {
            told.entry(name.to_owned()).or_default()[kind] += 1;
        }
    }
    told.values().map(|[created, bound]| created.max(bound)).sum()
}

/// Requests of whoever that were to change batches and pods of a namespace, refused ones too.
pub fn writes_in(namespace: &str) -> usize {
    answered().filter(|event| event["objectRef"]["namespace"] == *namespace).count()
}
