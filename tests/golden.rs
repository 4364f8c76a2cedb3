//! What others rely on to the letter: the definition, and the objects that a batch becomes.
#![allow(missing_docs, clippy::unwrap_used, clippy::needless_pass_by_value)]

use std::collections::BTreeMap;

use serde_json::{Value, json};
use sparkbatch::api::redaction::Redaction;
use sparkbatch::api::{self, SparkBatch};
use sparkbatch::plan::{Defaults, PodSet, build, explain, validate};

#[test]
fn the_committed_definition_is_the_generated_one() {
    let committed = include_str!("../crds/sparkbatches.yaml");
    let generated = serde_saphyr::to_string(&api::crd()).unwrap();
    assert!(committed == generated, "crds/sparkbatches.yaml is out of date: run `make generate`");
}

fn batch(name: &str, spec: Value) -> SparkBatch {
    serde_json::from_value(json!({
        "apiVersion": "sparkbatch.dev/v1alpha1",
        "kind": "SparkBatch",
        "metadata": {
            "name": name,
            "namespace": "jobs",
            "uid": "0ac5a9a2-6d0b-4ac2-b6ae-1a2b3c4d5e6f",
            "creationTimestamp": "2026-01-02T03:04:05Z",
            "annotations": { "sparkbatch.dev/owner": "alice" },
        },
        "spec": spec,
    }))
    .unwrap()
}

fn pods(batch: &SparkBatch, conf_from: &[BTreeMap<String, String>]) -> PodSet {
    let defaults = Defaults {
        image: Some("spark:4.1.4".into()),
        service_account: "spark".into(),
        conf: BTreeMap::from([("spark.eventLog.enabled".into(), "true".into())]),
        ..Defaults::default()
    };
    build(&validate(batch, 1, conf_from, &defaults).unwrap())
}

/// Driver pod and Secret, the Secret's files as lines and JSON, so that a difference can be read.
fn objects(batch: &SparkBatch, conf_from: &[BTreeMap<String, String>]) -> Value {
    let set = pods(batch, conf_from);
    let mut secret = serde_json::to_value(&set.secret).unwrap();
    for (name, bytes) in set.secret.data.unwrap() {
        let text = String::from_utf8(bytes.0).unwrap();
        secret["data"][&name] = if name == "executor-pod-template.yaml" {
            serde_json::from_str(&text).unwrap()
        } else {
            text.lines().collect()
        };
    }
    json!({ "driver": set.driver, "secret": secret })
}

#[test]
fn the_seeds_word_count_becomes_these_objects() {
    let spec = json!({
        "file": "/opt/ibm/spark/examples/src/main/python/wordcount.py",
        "args": ["/opt/ibm/spark/examples/src/main/resources/people.txt"],
        "className": "org.apache.spark.deploy.SparkSubmit",
    });
    insta::assert_json_snapshot!(objects(&batch("batch-word-count", spec), &[]));
}

#[test]
fn a_jar_with_every_field_becomes_these_objects() {
    let spec = json!({
        "file": "s3a://bucket/app.jar",
        "className": "com.example.Main",
        "args": ["--date", "$(date)", "a b", "100$"],
        "jars": ["local:///opt/a.jar"],
        "pyFiles": ["/opt/a.py"],
        "files": ["https://example.com/f.txt"],
        "archives": ["https://example.com/env.tgz#env"],
        "driverMemory": "2g",
        "driverCores": 2,
        "executorMemory": "4gb",
        "executorCores": 3,
        "numExecutors": 5,
        "name": "My App (Ünï) #1",
        "queue": "nightly",
        "proxyUser": "bob",
        "conf": {
            "spark.jars": "local:///opt/b.jar",
            "spark.kubernetes.driver.label.team": "a",
            "spark.kubernetes.driver.annotation.note": "b",
            "spark.kubernetes.driverEnv.FOO": "bar",
            "spark.kubernetes.node.selector.disk": "ssd",
            "spark.kubernetes.driver.limit.cores": "3",
            "spark.note": "a=b: c \\\n é",
            "spark.ui.port": "4041",
            "spark.local.dir": "/scratch/a,/scratch/b",
        },
        "confFrom": [{ "secretRef": { "name": "keys" } }],
        "image": "example.com/spark:1",
        "imagePullPolicy": "Always",
        "imagePullSecrets": [{ "name": "registry" }],
        "serviceAccountName": "etl",
        "volumes": [
            { "name": "data", "persistentVolumeClaim": { "claimName": "data" } },
            { "name": "cache", "emptyDir": {} },
        ],
        "driver": {
            "env": [{ "name": "PW", "valueFrom": { "secretKeyRef": { "name": "s", "key": "pw" } } }],
            "labels": { "tier": "driver" },
            "annotations": { "a": "b" },
            "nodeSelector": { "zone": "a" },
            "tolerations": [{ "key": "spot", "operator": "Exists" }],
            "volumeMounts": [{ "name": "data", "mountPath": "/data", "readOnly": true }],
            "resources": { "limits": { "nvidia.com/gpu": "1" } },
        },
        "executor": {
            "env": [{ "name": "LANG", "value": "C" }],
            "envFrom": [{ "configMapRef": { "name": "shared" } }],
            "labels": { "tier": "executor" },
            "volumeMounts": [{ "name": "cache", "mountPath": "/tmp" }],
            "resources": { "requests": { "cpu": "500m" }, "limits": { "cpu": "2", "nvidia.com/gpu": "1" } },
        },
    });
    let keys = BTreeMap::from([("spark.hadoop.fs.s3a.secret.key".to_owned(), "s3cr3t".to_owned())]);
    insta::assert_json_snapshot!(objects(&batch("every-field", spec), &[keys]));
}

#[test]
fn a_batch_with_templates_and_schedulers_becomes_these_objects() {
    let sidecar = |name: &str| json!({ "name": name, "image": "example.com/sidecar:1", "volumeMounts": [{ "name": "logs", "mountPath": "/logs" }] });
    let spec = json!({
        "file": "/opt/app.jar",
        "dynamicAllocation": { "enabled": true, "minExecutors": 1, "maxExecutors": 8, "shuffleTrackingEnabled": true },
        "packages": ["org.apache.hadoop:hadoop-aws:3.4.1"],
        "repositories": ["https://repo.example.com/maven"],
        "excludePackages": ["com.example:old"],
        "hadoopConfFrom": { "name": "hadoop" },
        "sparkConfFrom": { "name": "logging" },
        "scheduling": { "yunikornQueue": "root.etl", "kueueQueue": "etl" },
        "volumes": [{ "name": "logs", "emptyDir": {} }],
        "driver": {
            "affinity": { "nodeAffinity": { "requiredDuringSchedulingIgnoredDuringExecution": {
                "nodeSelectorTerms": [{ "matchExpressions": [{ "key": "disk", "operator": "Exists" }] }],
            } } },
            "topologySpreadConstraints": [{ "maxSkew": 1, "topologyKey": "zone", "whenUnsatisfiable": "ScheduleAnyway" }],
            "priorityClassName": "high",
            "securityContext": { "runAsUser": 1000 },
            "podTemplate": {
                "metadata": { "annotations": { "a": "template" } },
                "spec": {
                    "initContainers": [sidecar("init")],
                    "containers": [
                        sidecar("ship-logs"),
                        {
                            "name": "spark-kubernetes-driver",
                            "volumeMounts": [{ "name": "logs", "mountPath": "/tmp" }],
                            "ports": [{ "name": "jmx", "containerPort": 9999 }],
                        },
                    ],
                },
            },
        },
        "executor": { "podTemplate": { "spec": { "containers": [sidecar("ship-logs")], "dnsPolicy": "ClusterFirst" } } },
    });
    insta::assert_json_snapshot!(objects(&batch("templates", spec), &[]));
}

#[test]
fn what_was_recorded_from_spark_submit_is_asked_for_in_the_same_way() {
    let recorded: Value = serde_json::from_str(include_str!("golden/spark-submit-4.1.4-java-pod.json")).unwrap();
    let spec = json!({
        "file": "local:///opt/spark/examples/jars/spark-examples.jar",
        "className": "org.apache.spark.examples.SparkPi",
        "args": ["100"],
        "image": "apache/spark:4.1.0",
    });
    let ours = objects(&batch("sub2", spec), &[])["driver"].clone();
    let container = |pod: &Value| pod["spec"]["containers"][0].clone();
    for field in ["name", "image", "imagePullPolicy", "resources"] {
        assert_eq!(container(&ours)[field], container(&recorded)[field], "{field}");
    }
    assert_eq!(ours["spec"]["restartPolicy"], recorded["spec"]["restartPolicy"]);
    // Arguments: the same but for the driver's address, which needs no Service.
    let mut args: Vec<Value> = container(&ours)["args"].as_array().unwrap().clone();
    let address = args.iter().position(|arg| arg == "spark.driver.host=$(SPARK_DRIVER_BIND_ADDRESS)").unwrap();
    args.drain(address - 1..=address);
    assert_eq!(args, *container(&recorded)["args"].as_array().unwrap());
    // Every variable and port of spark-submit's is there, but for the port of Spark Connect.
    let names = |pod: &Value, list: &str| -> Vec<String> {
        container(pod)[list].as_array().unwrap().iter().map(|item| item["name"].as_str().unwrap().to_owned()).collect()
    };
    for list in ["env", "ports"] {
        let missing: Vec<_> =
            names(&recorded, list).into_iter().filter(|name| !names(&ours, list).contains(name)).collect();
        assert_eq!(missing, if list == "ports" { vec!["spark-connect"] } else { vec![] });
    }
}

fn secret_conf() -> BTreeMap<String, String> {
    [
        ("spark.hadoop.fs.s3a.secret.key", "s3cr3t"),
        ("spark.kubernetes.driverEnv.DB_PASSWORD", "hunter22"),
        ("spark.driver.extraJavaOptions", "-Dtoken=abcd1234"),
    ]
    .map(|(key, value)| (key.to_owned(), value.to_owned()))
    .into()
}

#[test]
fn a_credential_of_conf_from_is_in_no_pod() {
    let set = pods(&batch("job", json!({ "file": "/a.py" })), &[secret_conf()]);
    let driver = serde_json::to_value(&set.driver).unwrap();
    let env = driver["spec"]["containers"][0]["env"].as_array().unwrap();
    let variable = env.iter().find(|variable| variable["name"] == "DB_PASSWORD").unwrap();
    let name = set.secret.metadata.name.as_deref().unwrap();
    assert_eq!(variable["valueFrom"]["secretKeyRef"], json!({ "name": name, "key": "env.DB_PASSWORD" }));
    assert_eq!(set.secret.data.as_ref().unwrap()["env.DB_PASSWORD"].0, b"hunter22");
    for secret in secret_conf().values() {
        assert!(!driver.to_string().contains(secret), "{secret}");
    }
}

#[test]
fn an_explanation_says_where_each_property_came_from_and_shows_no_credential() {
    let spec = json!({
        "file": "/a.py", "driverMemory": "2gb", "numExecutors": 3,
        "conf": { "spark.a": "b", "spark.executor.instances": "9", "spark.kubernetes.driver.annotation.note": "hunter22" },
    });
    let explanation =
        serde_json::to_value(explain(&pods(&batch("job", spec), &[secret_conf()]), &Redaction::default())).unwrap();
    let property =
        |key: &str| (explanation["properties"][key]["value"].clone(), explanation["properties"][key]["from"].clone());
    assert_eq!(property("spark.a"), (json!("b"), json!("conf")));
    assert_eq!(property("spark.executor.instances"), (json!("3"), json!("numExecutors")));
    assert_eq!(property("spark.driver.memory"), (json!("2048m"), json!("driverMemory")));
    assert_eq!(property("spark.eventLog.enabled"), (json!("true"), json!("administrator")));
    assert_eq!(property("spark.jars.ivy").1, "default");
    assert_eq!(property("spark.master").1, "operator");
    assert_eq!(property("spark.hadoop.fs.s3a.secret.key"), (json!("*********(redacted)"), json!("confFrom")));
    let text = explanation.to_string();
    for secret in secret_conf().values() {
        assert!(!text.contains(secret), "{secret} is shown");
    }
    assert!(explanation["secret"]["stringData"]["spark.properties"].as_str().unwrap().contains("spark.a=b\n"));
    assert_eq!(explanation["executorPodTemplate"]["kind"], "Pod");
}
