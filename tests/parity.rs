//! Every object that a batch becomes, held against what the real `spark-submit --deploy-mode cluster` of three versions made
//! of the same batches. `make parity` records it anew.
#![allow(missing_docs, clippy::panic, clippy::unwrap_used)]

mod parity {
    pub(crate) mod differences;
    pub(crate) mod flat;
}

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use serde_json::{Value, json};
use sparkbatch::api::{SparkBatch, conf_policy};
use sparkbatch::plan::{Defaults, PodSet, build, validate};

use parity::differences::{DIFFERENCES, Difference, matches};
use parity::flat::{flat, properties};

/// In the place of a Service: the pod's own address.
const HOST: [&str; 2] = ["--conf", "spark.driver.host=$(SPARK_DRIVER_BIND_ADDRESS)"];
const RECORDS: [&str; 3] = [
    include_str!("parity/records/3.5.9.json"),
    include_str!("parity/records/4.0.5.json"),
    include_str!("parity/records/4.1.4.json"),
];

fn cases() -> Vec<Value> {
    serde_json::from_str(include_str!("parity/cases.json")).unwrap()
}

fn record(index: usize) -> Value {
    serde_json::from_str(RECORDS[index]).unwrap()
}

fn ours(case: &Value) -> PodSet {
    let batch: SparkBatch = serde_json::from_value(json!({
        "apiVersion": "sparkbatch.dev/v1alpha1",
        "kind": "SparkBatch",
        "metadata": { "name": case["name"], "namespace": "jobs", "uid": "0ac5a9a2-6d0b-4ac2-b6ae-1a2b3c4d5e6f" },
        "spec": case["spec"],
    }))
    .unwrap();
    let defaults =
        Defaults { image: Some("spark:test".into()), service_account: "spark".into(), ..Defaults::default() };
    build(&validate(&batch, 1, &[], &defaults).unwrap_or_else(|problems| panic!("{}: {problems:?}", case["name"])))
}

/// Pod and properties by path, without the ids that no two batches have in common.
fn sides(case: &Value, recorded: &Value) -> (BTreeMap<String, String>, BTreeMap<String, String>) {
    let mut set = ours(case);
    let args = set.driver.spec.as_mut().unwrap().containers[0].args.as_mut().unwrap();
    let host = args.iter().position(|arg| arg == "--conf").unwrap();
    assert_eq!(args.drain(host..host + 2).collect::<Vec<_>>(), HOST);
    let secret = set.secret.data.as_ref().unwrap();
    let text = String::from_utf8(secret["spark.properties"].0.clone()).unwrap();
    let (pod, properties_of_mine) = (json!(set.driver), properties(&text));
    // What is in no pod and in no property: the objects beside them, of one kind under one name on both sides.
    assert!(set.pod_group.is_none(), "{} has an object that no record has", case["name"]);
    let mut secret = json!(set.secret);
    secret["data"].as_object_mut().unwrap().remove("spark.properties");
    secret["data"]["executor-pod-template.yaml"] = json!("a pod template");
    let mine = json!({ "pod": pod, "properties": properties_of_mine, "secret": secret });
    let mut theirs = recorded.clone();
    let others = theirs.as_object_mut().unwrap();
    let (pod, mut config) = (others.remove("Pod").unwrap(), others.remove("ConfigMap").unwrap());
    let text = config["data"].as_object_mut().unwrap().remove("spark.properties").unwrap();
    others.insert("pod".to_owned(), pod);
    others.insert("properties".to_owned(), properties(text.as_str().unwrap()));
    // The Secret stands in the ConfigMap's place.
    others.insert("secret".to_owned(), config);
    let app_id = set.driver.metadata.labels.as_ref().unwrap()["spark-app-selector"].clone();
    (flat(&mine, &app_id), flat(&theirs, "spark-APP-ID"))
}

#[test]
fn there_are_as_many_cases_as_asked_for_and_each_is_recorded() {
    let names: BTreeSet<_> = cases().iter().map(|case| case["name"].as_str().unwrap().to_owned()).collect();
    assert!(names.len() >= 60);
    for index in 0..RECORDS.len() {
        let recorded: BTreeSet<_> = record(index)["cases"].as_object().unwrap().keys().cloned().collect();
        assert_eq!(recorded, names, "run `make parity`");
    }
}

/// A path at which a pod, or the properties, are not what spark-submit made of them.
struct Found {
    case: String,
    path: String,
    mine: Option<String>,
    theirs: Option<String>,
}

impl Found {
    fn is(&self, difference: &Difference) -> bool {
        matches(difference, &self.case, &self.path, self.mine.is_some(), self.theirs.is_some())
    }
}

fn differences(record: &Value) -> Vec<Found> {
    let mut found = Vec::new();
    for case in cases() {
        let name = case["name"].as_str().unwrap();
        let (mine, theirs) = sides(&case, &record["cases"][name]);
        let paths: BTreeSet<_> =
            mine.keys().chain(theirs.keys()).filter(|&path| mine.get(path) != theirs.get(path)).collect();
        found.extend(paths.into_iter().map(|path| Found {
            case: name.to_owned(),
            path: path.clone(),
            mine: mine.get(path).cloned(),
            theirs: theirs.get(path).cloned(),
        }));
    }
    found
}

#[test]
fn a_driver_is_what_spark_submit_makes_but_for_what_is_listed_and_all_of_that_is_there() {
    let mut report = String::new();
    let mut unseen: Vec<_> = DIFFERENCES.iter().collect();
    for index in 0..RECORDS.len() {
        let record = record(index);
        let found = differences(&record);
        unseen.retain(|difference| !found.iter().any(|found| found.is(difference)));
        for found in found.iter().filter(|found| !DIFFERENCES.iter().any(|difference| found.is(difference))) {
            let Found { case, path, mine, theirs } = found;
            let version = &record["version"];
            let _ = writeln!(report, "{version} {case}: {path}: SparkBatch {mine:?}, spark-submit {theirs:?}");
        }
    }
    assert!(report.is_empty(), "{report}");
    assert!(unseen.is_empty(), "no case shows: {unseen:#?}");
}

/// The rows of docs/conf-keys.md: a key, or the prefix of keys, and what becomes of it.
fn table() -> BTreeMap<&'static str, &'static str> {
    let rows = include_str!("../docs/conf-keys.md").lines().filter_map(|line| line.strip_prefix("| `"));
    rows.map(|row| row.split_once("` | ").unwrap()).collect()
}

#[test]
fn what_becomes_of_each_key_of_spark_on_kubernetes_is_documented_and_true() {
    let table = table();
    for index in 0..RECORDS.len() {
        for key in record(index)["keys"].as_array().unwrap() {
            assert!(table.contains_key(key.as_str().unwrap()), "docs/conf-keys.md has no {key}");
        }
    }
    for (key, becomes) in table {
        let example = if key.ends_with('.') { format!("{key}x") } else { key.to_owned() };
        let is_refused = becomes.starts_with("refused");
        assert_eq!(conf_policy::refusal(&example).is_some(), is_refused, "{key}: {becomes}");
    }
}
