//! The command line as a person uses it: the real binary, against the REST facade and an API server on loopback.
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that cannot go on fails")]

mod common;

#[path = "cli/batches.rs"]
mod batches;
#[path = "cli/convert.rs"]
mod convert;
#[path = "cli/spark_docs.rs"]
mod spark_docs;
#[path = "cli/ui.rs"]
mod ui;

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicU32, Ordering};

use common::apiserver::ApiServer;
use serde_json::{Value, json};
use sparkbatch::facade::{AuthMode, Clients, Facade, FacadeConfig};
use sparkbatch::ids::IdAllocator;
use sparkbatch::metrics::Metrics;
use tokio::process::{Child, Command};

const NAMESPACE: &str = "spark";

/// A cluster with the facade before it, both on loopback.
struct World {
    api: ApiServer,
    livy_url: String,
    folder: PathBuf,
}

/// By which way a command goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Way {
    Livy,
    Kubeconfig,
}

struct Done {
    code: i32,
    out: String,
    err: String,
}

async fn listen(router: axum::Router) -> String {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, router).await });
    url
}

impl World {
    async fn new() -> Self {
        static COUNT: AtomicU32 = AtomicU32::new(0);
        let api = ApiServer::new();
        api.options(|options| options.enforce_namespaces = true);
        api.insert("namespaces", json!({ "metadata": { "name": NAMESPACE } }));
        let config = FacadeConfig {
            default_namespace: NAMESPACE.into(),
            auth: AuthMode::None,
            ui_on_loopback: true,
            ..FacadeConfig::default()
        };
        let clients = Clients { own: api.client_as("facade"), anonymous: api.client_as("callers") };
        let facade = Facade::new(clients.clone(), IdAllocator::new(clients.own), config, &Metrics::default());
        let feeding = facade.clone();
        tokio::spawn(async move { feeding.feed().await });
        facade.synced().await;
        let livy_url = listen(facade.router()).await;
        let server = listen(ui::with_port_forward(api.router("kubeconfig"))).await;

        let number = COUNT.fetch_add(1, Ordering::Relaxed);
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("cli-{}-{number}", std::process::id()));
        std::fs::create_dir_all(&folder).unwrap();
        let kubeconfig = json!({ "apiVersion": "v1", "kind": "Config", "current-context": "there",
            "clusters": [{ "name": "there", "cluster": { "server": server } }],
            "users": [{ "name": "me", "user": {} }],
            "contexts": [{ "name": "there", "context": { "cluster": "there", "user": "me", "namespace": NAMESPACE } }] });
        std::fs::write(folder.join("kubeconfig"), kubeconfig.to_string()).unwrap();
        Self { api, livy_url, folder }
    }

    fn command<'a>(&self, way: Way, args: impl IntoIterator<Item = &'a str>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sparkbatch"));
        command.args(args).env_clear().env("KUBECONFIG", self.folder.join("kubeconfig")).current_dir(&self.folder);
        if way == Way::Livy {
            command.env("SPARKBATCH_URL", &self.livy_url);
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).kill_on_drop(true);
        command
    }

    async fn run<'a>(&self, way: Way, args: impl IntoIterator<Item = &'a str>) -> Done {
        done(self.command(way, args).spawn().unwrap()).await
    }

    /// What a command says that succeeds.
    async fn says<'a>(&self, way: Way, args: impl IntoIterator<Item = &'a str>) -> String {
        let done = self.run(way, args).await;
        assert_eq!(done.code, 0, "{}{}", done.out, done.err);
        done.out
    }

    fn batches(&self) -> Vec<Value> {
        self.api.list("sparkbatches", NAMESPACE)
    }

    /// What the operator would write.
    fn set_status(&self, name: &str, status: &Value) {
        self.api.update("sparkbatches", NAMESPACE, name, |batch| batch["status"] = status.clone());
    }

    /// A batch whose driver runs and has written this.
    fn insert_running(&self, name: &str, id: i32, log: &str) {
        let pod = format!("{name}-driver");
        self.api.insert(
            "sparkbatches",
            json!({ "metadata": { "namespace": NAMESPACE, "name": name,
                "annotations": { "sparkbatch.dev/owner": "alice" } },
            "spec": { "file": "/a.py" },
            "status": { "id": id, "phase": "Running", "reason": "DriverRunning", "appId": format!("spark-{id}"),
                "driver": { "podName": pod, "podUid": "u", "uiAddress": "10.0.0.1:4040" },
                "executors": { "requested": 2, "pending": 1, "running": 1, "succeeded": 0, "failed": 0 } } }),
        );
        let container = "spark-kubernetes-driver";
        self.api.insert(
            "pods",
            json!({ "metadata": { "namespace": NAMESPACE, "name": pod },
            "spec": { "containers": [{ "name": container, "image": "spark" }] } }),
        );
        self.api.set_pod_running(NAMESPACE, &pod);
        self.api.set_log(NAMESPACE, &pod, container, log);
    }

    async fn caught_up(&self) {
        self.api.until("the watch to catch up", |api| api.watches_caught_up("sparkbatches")).await;
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}

async fn done(child: Child) -> Done {
    let limit = std::time::Duration::from_secs(60);
    let output = tokio::time::timeout(limit, child.wait_with_output()).await.unwrap().unwrap();
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
    Done { code: output.status.code().unwrap_or(-1), out: text(output.stdout), err: text(output.stderr) }
}
