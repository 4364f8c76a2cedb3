//! Authentication by the real API server: service accounts, their tokens and roles, and a facade of its own.

use std::fs::File;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use k8s_openapi::api::authentication::v1::TokenRequest;
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{Role, RoleBinding};
use kube::api::{DeleteParams, PostParams};
use kube::{Api, Client, ResourceExt as _};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use sparkbatch::api::{ANNOTATION_OWNER, SparkBatch};

use crate::world::{World, curl, say, until, variable};

const NAMESPACE: &str = "sparkbatch-auth";
const INSTANCE: &str = "sparkbatch-auth-instance";
const JOB: &str = r#"{"file":"/a.py","conf":{"spark.kubernetes.container.image":"localhost/no-such-image:1"}}"#;

/// A facade as a process of this machine, which ends with this.
struct Facade {
    process: Child,
    url: String,
    log: PathBuf,
}

impl Facade {
    fn start() -> Self {
        let [listen, admin] = [(); 2].map(|()| TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap());
        let log = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("facade-with-auth.log");
        let mut command = Command::new(env!("CARGO_BIN_EXE_sparkbatch"));
        command.args(["facade", "--listen", &listen.to_string(), "--admin-listen", &admin.to_string()]);
        // Everything that is ever logged, to look for tokens in it.
        command.args(["--log-filter", "trace"]).env("KUBECONFIG", variable("SPARKBATCH_E2E_KUBECONFIG"));
        let process = command.stderr(File::create(&log).unwrap()).spawn().unwrap();
        Self { process, url: format!("http://{listen}"), log }
    }

    fn call(&self, options: &[&str], method: &str, path: &str) -> (u16, Value) {
        curl(options, method, &format!("{}{path}", self.url), (method == "POST").then_some(JOB))
    }

    fn call_as(&self, token: &str, method: &str, path: &str) -> (u16, Value) {
        self.call(&["-H", &format!("authorization: Bearer {token}")], method, path)
    }
}

impl Drop for Facade {
    fn drop(&mut self) {
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

async fn create<K>(api: Api<K>, object: Value)
where
    K: Clone + std::fmt::Debug + serde::Serialize + DeserializeOwned,
{
    api.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
}

/// A namespace in which `alice` may do everything with batches, and `mallory` nothing.
async fn set_the_stage(client: &Client) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    remove_the_stage(client).await;
    let labels = json!({ "sparkbatch.dev/instance-id": INSTANCE });
    create(namespaces, json!({ "metadata": { "name": NAMESPACE, "labels": labels } })).await;
    for name in ["alice", "mallory"] {
        let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), NAMESPACE);
        create(accounts, json!({ "metadata": { "name": name } })).await;
    }
    let may = json!([
        { "apiGroups": ["sparkbatch.dev"], "resources": ["sparkbatches"], "verbs": ["create", "get", "list", "delete"] },
    ]);
    let roles: Api<Role> = Api::namespaced(client.clone(), NAMESPACE);
    create(roles, json!({ "metadata": { "name": "batches" }, "rules": may })).await;
    let bindings: Api<RoleBinding> = Api::namespaced(client.clone(), NAMESPACE);
    let role = json!({ "apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "batches" });
    let alice = json!({ "kind": "ServiceAccount", "name": "alice", "namespace": NAMESPACE });
    create(bindings, json!({ "metadata": { "name": "batches" }, "roleRef": role, "subjects": [alice] })).await;
}

async fn remove_the_stage(client: &Client) {
    let namespaces: Api<Namespace> = Api::all(client.clone());
    drop(namespaces.delete(NAMESPACE, &DeleteParams::default()).await);
    until("the namespace to be gone", Duration::from_secs(120), async || {
        namespaces.get_opt(NAMESPACE).await.unwrap().is_none()
    })
    .await;
}

async fn token_of(client: &Client, account: &str) -> String {
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), NAMESPACE);
    let request = TokenRequest::default();
    let made = accounts.create_token_request(account, &PostParams::default(), &request).await.unwrap();
    made.status.unwrap().token
}

#[tokio::test]
#[ignore = "needs the local cluster: runs by `make e2e`"]
async fn tokens_and_roles_of_the_cluster_decide_who_may_submit() {
    let world = World::new().await;
    set_the_stage(&world.client).await;
    let facade = Facade::start();
    let [alice, reader, mallory] = [
        token_of(&world.client, "alice").await,
        token_of(&world.client, "alice").await,
        token_of(&world.client, "mallory").await,
    ];
    let batches = format!("/namespaces/{NAMESPACE}/batches");
    until("the facade to be ready", Duration::from_secs(30), async || facade.call_as(&alice, "GET", &batches).0 == 200)
        .await;

    // Who is nobody, and who has no role.
    for path in [batches.as_str(), "/namespaces/missing/batches", "/v3/analytics_engines/missing/livy/batches"] {
        assert_eq!(facade.call(&[], "GET", path).0, 401, "{path}");
        assert_eq!(facade.call_as("not-a-token", "POST", path).0, 401, "{path}");
    }
    let (code, body) = facade.call_as(&mallory, "POST", &batches);
    assert_eq!(code, 403, "{body}");
    assert_eq!(facade.call_as(&mallory, "GET", "/namespaces/missing/batches").0, 403);
    assert_eq!(facade.call_as(&mallory, "GET", "/v3/analytics_engines/missing/livy/batches").0, 404);
    let (code, body) = facade.call_as(&mallory, "GET", &format!("/v3/analytics_engines/{INSTANCE}/livy/batches"));
    assert!(code == 403 && !body.to_string().contains(&format!("'{NAMESPACE}'")), "{body}");

    // Who has one.
    let (code, made) = facade.call_as(&alice, "POST", &batches);
    assert_eq!(code, 201, "{made}");
    let owner = format!("system:serviceaccount:{NAMESPACE}:alice");
    assert_eq!(made["owner"], owner.as_str());
    let stored: Api<SparkBatch> = Api::namespaced(world.client.clone(), NAMESPACE);
    let batch = stored.get(&format!("batch-{}", made["id"])).await.unwrap();
    assert_eq!(batch.annotations().get(ANNOTATION_OWNER), Some(&owner));
    let (code, body) = facade.call(&["--user", &format!("anything:{alice}")], "GET", &batches);
    assert_eq!((code, body["total"].as_i64()), (200, Some(1)), "{body}");
    // Her role says nothing of logs.
    assert_eq!(facade.call_as(&alice, "GET", &format!("{batches}/{}/log", made["id"])).0, 403);
    assert_eq!(facade.call_as(&alice, "DELETE", &format!("{batches}/{}", made["id"])).0, 200);

    // Who was somebody. The API server itself believes in a token for ten seconds.
    assert_eq!(facade.call_as(&reader, "GET", &batches).0, 200);
    let accounts: Api<ServiceAccount> = Api::namespaced(world.client.clone(), NAMESPACE);
    accounts.delete("alice", &DeleteParams::default()).await.unwrap();
    let began = Instant::now();
    until("writes to be refused", Duration::from_secs(20), async || facade.call_as(&alice, "POST", &batches).0 == 401)
        .await;
    assert_eq!(facade.call_as(&alice, "GET", &batches).0, 401);
    say(format!("    writes with a revoked token were refused after {:.1} s", began.elapsed().as_secs_f32()));
    until("reads to be refused", Duration::from_secs(75), async || facade.call_as(&reader, "GET", &batches).0 == 401)
        .await;
    say(format!("    reads with a revoked token were refused after {:.1} s", began.elapsed().as_secs_f32()));

    let log = std::fs::read_to_string(&facade.log).unwrap();
    assert!(log.contains(&owner));
    for token in [&alice, &reader, &mallory] {
        assert!(!log.contains(token.as_str()), "a token is in {}", facade.log.display());
    }
    drop(facade);
    remove_the_stage(&world.client).await;
}
