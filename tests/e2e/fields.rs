//! That fields of the spec reach the driver and the executors, and not only their pods.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use k8s_openapi::api::core::v1::ConfigMap;
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams};
use serde_json::{Value, json};
use sparkbatch::api::Phase;

use crate::world::{JOBS, World, until, variable};

const ADDRESS: &str = "10.244.0.1";
const PORT: &str = "5556";

/// A Maven repository on the cluster's bridge, ended when dropped.
struct Repository(Child);

impl Repository {
    async fn start() -> Self {
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/e2e/fields/repository.py");
        let folder = concat!(env!("CARGO_TARGET_TMPDIR"), "/maven-repository");
        let mut server = Command::new(variable("SPARKBATCH_E2E_PYTHON"));
        server.args([script, folder, ADDRESS, PORT]).stdout(Stdio::null()).stderr(Stdio::null());
        let repository = Self(server.spawn().unwrap());
        let pom = format!("http://{ADDRESS}:{PORT}/dev/example/greeting/1.0/greeting-1.0.pom");
        until("the Maven repository to answer", Duration::from_secs(30), async || {
            Command::new("curl").args(["--silent", "--fail", "--output", "/dev/null", &pom]).status().unwrap().success()
        })
        .await;
        repository
    }
}

impl Drop for Repository {
    fn drop(&mut self) {
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

async fn config_map(world: &World, name: &str, data: Value) {
    let api: Api<ConfigMap> = Api::namespaced(world.client.clone(), JOBS);
    let object = json!({ "apiVersion": "v1", "kind": "ConfigMap", "metadata": { "name": name }, "data": data });
    api.patch(name, &PatchParams::apply("e2e").force(), &Patch::Apply(object)).await.unwrap();
}

#[tokio::test]
#[ignore = "needs the local cluster: runs by `make e2e`"]
async fn what_a_batch_names_reaches_its_driver_and_its_executors() {
    let world = World::new().await;
    let _repository = Repository::start().await;
    config_map(&world, "fields-job", json!({ "job.py": include_str!("fields/job.py") })).await;
    // No repository but the batch's own: the pods of the local cluster need no way out.
    let log4j = "rootLogger.level = warn\nrootLogger.appenderRef.stdout.ref = console\n\
                 appender.console.type = Console\nappender.console.name = console\n\
                 appender.console.layout.type = PatternLayout\n\
                 appender.console.layout.pattern = as the batch formats it %p %m%n\n";
    config_map(&world, "fields-spark", json!({ "ivysettings.xml": "<ivysettings/>", "log4j2.properties": log4j }))
        .await;
    let core_site =
        "<configuration><property><name>greeting.value</name><value>from core-site</value></property></configuration>";
    config_map(&world, "fields-hadoop", json!({ "core-site.xml": core_site })).await;
    let template = json!({ "spec": {
        "initContainers": [{
            "name": "greet",
            "image": "localhost/spark:4.1.4",
            "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", "echo made by the template > /greeting/init"],
            "volumeMounts": [{ "name": "greeting", "mountPath": "/greeting" }],
        }],
    } });
    let greeting = json!({ "name": "greeting", "mountPath": "/greeting" });
    let env = json!([{ "name": "GREETING", "value": "hello" }]);
    let spec = json!({
        "file": "/job/job.py",
        "numExecutors": 1,
        "packages": ["dev.example:greeting:1.0"],
        "repositories": [format!("http://{ADDRESS}:{PORT}/")],
        "sparkConfFrom": { "name": "fields-spark" },
        "hadoopConfFrom": { "name": "fields-hadoop" },
        "conf": { "spark.jars.ivySettings": "/opt/spark/conf/ivysettings.xml", "spark.log.level": "WARN" },
        "volumes": [{ "name": "greeting", "emptyDir": {} }, { "name": "job", "configMap": { "name": "fields-job" } }],
        "driver": { "podTemplate": template, "env": env, "volumeMounts": [greeting, { "name": "job", "mountPath": "/job" }] },
        "executor": { "podTemplate": template, "env": env, "volumeMounts": [greeting] },
    });
    world.apply("fields", spec).await;
    let status = world.until_final("fields").await;
    let log = world.log_of(&status).await;
    assert_eq!(status.phase, Phase::Succeeded, "{log}");
    for line in ["every field arrived", "as the batch formats it WARN"] {
        assert!(log.contains(line), "{log}");
    }
    world.remove("fields").await;
    let config_maps: Api<ConfigMap> = Api::namespaced(world.client.clone(), JOBS);
    for name in ["fields-job", "fields-spark", "fields-hadoop"] {
        config_maps.delete(name, &DeleteParams::default()).await.unwrap();
    }
}

/// Ivy's own jar, which is in every image of Spark, names its main class.
#[tokio::test]
#[ignore = "needs the local cluster: runs by `make e2e`"]
async fn a_jar_of_the_image_runs_by_the_main_class_of_its_manifest() {
    let world = World::new().await;
    let spec = json!({ "file": "/opt/spark/jars/ivy-2.5.3.jar", "args": ["-version"], "numExecutors": 1 });
    world.apply("no-class", spec).await;
    let status = world.until_final("no-class").await;
    let log = world.log_of(&status).await;
    assert_eq!(status.phase, Phase::Succeeded, "{log}");
    assert!(log.contains("Apache Ivy 2.5.3"), "{log}");
    world.remove("no-class").await;
}
