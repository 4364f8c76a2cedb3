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
    let mut objects = json!({ "driver": set.driver, "secret": secret });
    if let Some(group) = set.pod_group {
        objects["podGroup"] = json!(group);
    }
    objects
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
fn a_batch_of_volcano_with_the_jmx_exporter_becomes_these_objects() {
    let spec = json!({
        "file": "/opt/app.py",
        "numExecutors": 3,
        "executorCores": 2,
        "conf": {
            "spark.driver.extraJavaOptions": "-Dlevel=info",
            "spark.kubernetes.executor.annotation.prometheus.io/port": "1234",
        },
        "scheduling": { "volcanoQueue": "etl" },
        "monitoring": { "jmxExporter": { "jar": "/opt/jmx.jar", "configFile": "/opt/spark/conf/jmx.yaml" } },
        "sparkConfFrom": { "name": "jmx" },
        "driver": { "priorityClassName": "high", "resources": { "requests": { "cpu": "500m" } } },
        "executor": { "resources": { "limits": { "cpu": "4", "nvidia.com/gpu": "1" } } },
    });
    insta::assert_json_snapshot!(objects(&batch("gang", spec), &[]));
}

fn annotations(object: &Value) -> Value {
    object["metadata"]["annotations"].clone()
}

#[test]
fn the_servlet_is_announced_where_the_ui_is_and_what_the_batch_says_itself_stays() {
    let mut spec =
        json!({ "file": "/a.py", "monitoring": { "prometheusServlet": true }, "conf": { "spark.ui.port": "4050" } });
    let of = |spec: &Value| objects(&batch("job", spec.clone()), &[]);
    let plain = of(&spec);
    let expected = json!({ "prometheus.io/scrape": "true", "prometheus.io/port": "4050", "prometheus.io/path": "/metrics/prometheus/" });
    assert_eq!(annotations(&plain["driver"]), expected);
    assert_eq!(annotations(&plain["secret"]["data"]["executor-pod-template.yaml"]), Value::Null);
    let lines: Vec<&str> =
        plain["secret"]["data"]["spark.properties"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    for line in [
        "spark.metrics.conf.*.sink.prometheusServlet.class=org.apache.spark.metrics.sink.PrometheusServlet",
        "spark.metrics.conf.*.sink.prometheusServlet.path=/metrics/prometheus",
        "spark.ui.prometheus.enabled=true",
    ] {
        assert!(lines.contains(&line), "{line}: {lines:#?}");
    }

    spec["conf"]["spark.metrics.conf.driver.sink.prometheusServlet.path"] = json!("/own");
    spec["conf"]["spark.ui.prometheus.enabled"] = json!("false");
    spec["conf"]["spark.kubernetes.driver.annotation.prometheus.io/scrape"] = json!("false");
    spec["driver"] = json!({ "annotations": { "prometheus.io/port": "1" } });
    let own = of(&spec);
    let expected = json!({ "prometheus.io/scrape": "false", "prometheus.io/port": "1", "prometheus.io/path": "/own/" });
    assert_eq!(annotations(&own["driver"]), expected);
    assert!(own["secret"].to_string().contains("spark.ui.prometheus.enabled=false"));
}

fn refused(spec: Value) -> Vec<String> {
    let defaults = Defaults { image: Some("spark".into()), ..Defaults::default() };
    let problems = validate(&batch("job", spec), 1, &[], &defaults).unwrap_err();
    problems.into_iter().map(|problem| problem.to_string()).collect()
}

#[test]
fn metrics_that_could_not_be_served_and_groups_that_could_not_be_placed_are_refused() {
    let servlet = |conf: Value| json!({ "file": "/a.py", "monitoring": { "prometheusServlet": true }, "conf": conf });
    for conf in [json!({ "spark.ui.enabled": "false" }), json!({ "spark.ui.port": "0" })] {
        let problems = refused(servlet(conf));
        assert!(problems.len() == 1 && problems[0].starts_with("monitoring.prometheusServlet: "), "{problems:?}");
    }
    for port in [4040, 7078, 7079] {
        let exporter = json!({ "jar": "/j.jar", "configFile": "/c.yaml", "port": port });
        let problems = refused(json!({ "file": "/a.py", "monitoring": { "jmxExporter": exporter } }));
        assert!(problems.len() == 1 && problems[0].contains("one of Spark's own ports"), "{problems:?}");
    }
    let group = |field: &str, value: Value| {
        let mut spec = json!({ "file": "/a.py", "scheduling": { "volcanoQueue": "etl" } });
        spec[field] = value;
        refused(spec)
    };
    let odd = group("driver", json!({ "resources": { "requests": { "cpu": "1e1" } } }));
    assert!(odd[0].starts_with("scheduling.volcanoMinResources: 'cpu'"), "{odd:?}");
    let other = group("conf", json!({ "spark.kubernetes.executor.scheduler.name": "default-scheduler" }));
    assert!(other[0].starts_with("conf.spark.kubernetes.executor.scheduler.name: "), "{other:?}");
}

#[test]
fn a_pod_group_reserves_what_the_batch_says_and_else_what_its_pods_ask_for() {
    let group = |scheduling: Value| {
        let spec = json!({ "file": "/a.jar", "scheduling": scheduling, "dynamicAllocation": { "enabled": true, "minExecutors": 1 } });
        objects(&batch("job", spec), &[])["podGroup"]["spec"].clone()
    };
    let expected = json!({ "minMember": 1, "queue": "q", "minResources": { "cpu": "2", "memory": "2816Mi" } });
    assert_eq!(group(json!({ "volcanoQueue": "q" })), expected);
    let own = json!({ "volcanoQueue": "q", "volcanoMinResources": { "cpu": "7" } });
    assert_eq!(group(own)["minResources"], json!({ "cpu": "7" }));
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
