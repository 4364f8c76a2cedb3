//! The rules of driver and executor pods.

use std::collections::BTreeMap;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use super::Problem;
use crate::api::conf_policy::RESERVED_ENV;
use crate::api::object_names::{is_dns_subdomain, is_label_value};
use crate::api::{DRIVER_CONTAINER, EXECUTOR_CONTAINER, Open, PodSettings, SparkBatchSpec};

/// Why a template may not say what the operator, or Spark, says itself.
const SET: &str = "is set by the operator; remove it";

/// Fields of Spark's container that a template may not set, and what to do in their place.
const CONTAINER_FIELDS: [(&str, &str); 6] = [
    ("image", "use the batch's image"),
    ("imagePullPolicy", "use the batch's imagePullPolicy"),
    ("command", SET),
    ("args", SET),
    ("resources", "use resources beside podTemplate"),
    ("terminationMessagePolicy", SET),
];

pub(super) fn check(spec: &SparkBatchSpec, problems: &mut Vec<Problem>) {
    for (index, volume) in spec.volumes.iter().enumerate() {
        check_open(&format!("volumes[{index}]"), volume, problems);
    }
    if let Some(scheduling) = &spec.scheduling {
        let names = [
            ("schedulerName", &scheduling.scheduler_name),
            ("kueueQueue", &scheduling.kueue_queue),
            ("yunikornQueue", &scheduling.yunikorn_queue),
            ("volcanoQueue", &scheduling.volcano_queue),
        ];
        for (name, value) in names {
            if value.as_deref().is_some_and(|value| !is_label_value(value)) {
                let rule = "must be at most 63 letters, digits, '-', '_' and '.', with a letter or digit at both ends";
                problems.push(Problem::new(format!("scheduling.{name}"), rule));
            }
        }
        if scheduling.yunikorn_queue.is_some() && scheduling.volcano_queue.is_some() {
            let rule = "has yunikornQueue and volcanoQueue: keep one, since one scheduler places the pods";
            problems.push(Problem::new("scheduling", rule));
        }
        if scheduling.volcano_queue.is_none() && !scheduling.volcano_min_resources.is_empty() {
            let rule = "is for a PodGroup of Volcano: name its volcanoQueue";
            problems.push(Problem::new("scheduling.volcanoMinResources", rule));
        }
    }
    check_settings("driver", spec.driver.as_deref(), spec, problems);
    check_settings("executor", spec.executor.as_deref(), spec, problems);
}

fn check_open<T: DeserializeOwned + Serialize>(field: &str, object: &Open<T>, problems: &mut Vec<Problem>) -> bool {
    let problem = object.read().err();
    let is_read = problem.is_none();
    problems.extend(problem.map(|problem| Problem::new(field, problem)));
    is_read
}

fn check_settings(role: &str, settings: Option<&PodSettings>, spec: &SparkBatchSpec, problems: &mut Vec<Problem>) {
    let Some(settings) = settings else { return };
    check_labels(&format!("{role}.labels"), settings.labels.keys(), problems);
    check_env(&format!("{role}.env"), settings.env.iter().map(|variable| variable.name.as_str()), problems);
    if let Some(resources) = &settings.resources
        && (resources.requests.contains_key("memory") || resources.limits.contains_key("memory"))
    {
        let hint = format!("memory is Spark's to compute: set {role}Memory and spark.{role}.memoryOverhead");
        problems.push(Problem::new(format!("{role}.resources"), hint));
    }
    if let Some(affinity) = &settings.affinity {
        check_open(&format!("{role}.affinity"), affinity, problems);
    }
    for (index, constraint) in settings.topology_spread_constraints.iter().enumerate() {
        check_open(&format!("{role}.topologySpreadConstraints[{index}]"), constraint, problems);
    }
    if settings.priority_class_name.as_deref().is_some_and(|name| !is_dns_subdomain(name)) {
        problems.push(Problem::new(format!("{role}.priorityClassName"), "is no name of a priority class"));
    }
    if let Some(context) = &settings.security_context {
        check_open(&format!("{role}.securityContext"), context, problems);
    }
    let field = format!("{role}.podTemplate");
    if let Some(template) = &settings.pod_template
        && check_open(&field, template, problems)
    {
        check_template(&field, role, template.written(), spec, problems);
    }
}

fn check_labels<'a>(field: &str, keys: impl Iterator<Item = &'a String>, problems: &mut Vec<Problem>) {
    for key in keys {
        if key.starts_with("spark-") || key.starts_with("sparkbatch.dev/") || key == "app.kubernetes.io/managed-by" {
            problems.push(Problem::new(field, format!("'{key}' is set by Spark or the operator")));
        }
    }
}

fn check_env<'a>(field: &str, names: impl Iterator<Item = &'a str>, problems: &mut Vec<Problem>) {
    for name in names {
        if RESERVED_ENV.contains(&name) {
            problems.push(Problem::new(field, format!("'{name}' is set by the operator")));
        }
    }
}

/// What gives a pod its identity, its place or its end is the operator's: a template that says otherwise is refused,
/// never silently corrected. What it may say, it may say for itself: sidecars, volumes, other fields of the pod.
fn check_template(field: &str, role: &str, template: &Value, spec: &SparkBatchSpec, problems: &mut Vec<Problem>) {
    for (name, value) in entries(&template["metadata"]) {
        match (name.as_str(), value.as_object()) {
            ("labels", Some(labels)) => check_labels(&format!("{field}.metadata.labels"), labels.keys(), problems),
            ("annotations", _) => {}
            _ => problems.push(Problem::new(format!("{field}.metadata.{name}"), SET)),
        }
    }
    let fixed = pod_fields(role, spec);
    for (name, value) in entries(&template["spec"]) {
        if let Some((allowed, hint)) = fixed.get(name.as_str()).filter(|(allowed, _)| value != allowed) {
            let hint = if allowed.is_null() { (*hint).to_owned() } else { format!("can only be {allowed}: {hint}") };
            problems.push(Problem::new(format!("{field}.spec.{name}"), hint));
        }
    }
    let spark = if role == "driver" { DRIVER_CONTAINER } else { EXECUTOR_CONTAINER };
    let containers = template["spec"]["containers"].as_array().into_iter().flatten();
    for container in containers.filter(|container| container["name"] == spark) {
        check_container(&format!("{field}.spec.containers: {spark}"), container, problems);
    }
}

/// Fields of a pod that are fixed, with the value that they may be given, if any, and why.
fn pod_fields(role: &str, spec: &SparkBatchSpec) -> BTreeMap<&'static str, (Value, &'static str)> {
    let account = (json!(spec.service_account_name), "use the batch's serviceAccountName");
    let set = || (Value::Null, SET);
    [
        ("restartPolicy", (json!("Never"), "a batch is not started twice")),
        ("hostNetwork", (json!(false), "pods of one node would listen on the same ports")),
        ("automountServiceAccountToken", (json!(role == "driver"), "the driver has a token, executors have none")),
        ("enableServiceLinks", (json!(false), "large namespaces make too many variables")),
        ("serviceAccountName", account.clone()),
        ("serviceAccount", account),
        ("imagePullSecrets", (Value::Null, "use the batch's imagePullSecrets")),
        ("terminationGracePeriodSeconds", set()),
        ("activeDeadlineSeconds", set()),
        ("hostname", set()),
        ("subdomain", set()),
        ("ephemeralContainers", set()),
    ]
    .into()
}

fn check_container(field: &str, container: &Value, problems: &mut Vec<Problem>) {
    for (name, hint) in CONTAINER_FIELDS {
        if !container[name].is_null() {
            problems.push(Problem::new(format!("{field}.{name}"), hint));
        }
    }
    let variables = container["env"].as_array().into_iter().flatten();
    check_env(&format!("{field}.env"), variables.filter_map(|variable| variable["name"].as_str()), problems);
}

/// The fields of an object that are set.
fn entries(object: &Value) -> impl Iterator<Item = (&String, &Value)> {
    object.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;
    use crate::api::validation::problems;

    fn of(mut spec: Value) -> Vec<String> {
        spec["file"] = json!("/a.py");
        problems(&serde_json::from_value(spec).unwrap()).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn memory_is_not_set_by_resources() {
        let problems = of(json!({ "executor": { "resources": { "limits": { "memory": "4Gi" } } } }));
        assert!(problems[0].contains("spark.executor.memoryOverhead"));
    }

    #[test]
    fn every_open_field_that_cannot_be_read_is_named() {
        let problems = of(json!({
            "volumes": [{ "name": "a", "emptyDir": {} }, { "name": "b", "pvc": {} }],
            "driver": {
                "affinity": { "nodeAffinity": [] },
                "topologySpreadConstraints": [{ "maxSkew": "one" }],
                "securityContext": { "runAsUser": "root" },
                "podTemplate": { "spec": { "containers": {} } },
                "priorityClassName": "Very High",
            },
        }));
        let fields: Vec<_> = problems.iter().map(|problem| problem.split(':').next().unwrap()).collect();
        assert_eq!(
            fields,
            [
                "volumes[1]",
                "driver.affinity",
                "driver.topologySpreadConstraints[0]",
                "driver.priorityClassName",
                "driver.securityContext",
                "driver.podTemplate",
            ]
        );
    }

    #[rstest]
    #[case(json!({ "metadata": { "name": "mine" } }), "metadata.name")]
    #[case(json!({ "metadata": { "labels": { "spark-role": "executor" } } }), "metadata.labels: 'spark-role'")]
    #[case(json!({ "spec": { "serviceAccountName": "admin" } }), "spec.serviceAccountName: can only be \"etl\"")]
    #[case(json!({ "spec": { "restartPolicy": "Always" } }), "spec.restartPolicy: can only be \"Never\"")]
    #[case(json!({ "spec": { "hostNetwork": true } }), "spec.hostNetwork")]
    #[case(json!({ "spec": { "automountServiceAccountToken": false } }), "spec.automountServiceAccountToken")]
    #[case(json!({ "spec": { "activeDeadlineSeconds": 5 } }), "spec.activeDeadlineSeconds")]
    #[case(json!({ "spec": { "containers": [{ "name": DRIVER_CONTAINER, "image": "x" }] } }), "use the batch's image")]
    #[case(
        json!({ "spec": { "containers": [{ "name": DRIVER_CONTAINER, "env": [{ "name": "SPARK_CONF_DIR", "value": "/" }] }] } }),
        "'SPARK_CONF_DIR'"
    )]
    fn what_a_template_may_not_say_is_refused(#[case] template: Value, #[case] part: &str) {
        let problems = of(json!({ "serviceAccountName": "etl", "driver": { "podTemplate": template } }));
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("driver.podTemplate.") && problems[0].contains(part), "{problems:?}");
    }

    #[test]
    fn a_template_may_say_what_is_so_anyway() {
        let template = json!({ "spec": {
            "restartPolicy": "Never", "serviceAccountName": "etl", "hostNetwork": false,
            "containers": [{ "name": "sidecar", "image": "x", "args": ["a"] }],
        } });
        let settings = json!({ "podTemplate": template });
        assert_eq!(of(json!({ "serviceAccountName": "etl", "driver": settings, "executor": settings })), [""; 0]);
    }
}
