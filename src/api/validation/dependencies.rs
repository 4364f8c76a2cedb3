//! The rules of packages, and of what else a driver fetches or mounts by name.

use super::{Problem, has_password, is_scheme};
use crate::api::SparkBatchSpec;
use crate::api::object_names::is_dns_subdomain;

pub(super) fn check(spec: &SparkBatchSpec, problems: &mut Vec<Problem>) {
    check_coordinates("packages", &spec.packages, 3, "group:artifact:version", problems);
    check_coordinates("excludePackages", &spec.exclude_packages, 2, "group:artifact", problems);
    for (index, uri) in spec.repositories.iter().enumerate() {
        let rule = if uri.split_once("://").is_none_or(|(scheme, _)| !is_scheme(scheme)) || has_separator(uri) {
            "is no URL of a repository, as in https://host/path"
        } else if has_password(uri) {
            "has a password in it, which everybody who may read the batch could see; name an Ivy settings file by \
             spark.jars.ivySettings"
        } else {
            continue;
        };
        problems.push(Problem::new(format!("repositories[{index}]"), rule));
    }
    for (field, source) in [("hadoopConfFrom", &spec.hadoop_conf_from), ("sparkConfFrom", &spec.spark_conf_from)] {
        if source.as_ref().is_some_and(|source| !is_dns_subdomain(&source.name)) {
            problems.push(Problem::new(format!("{field}.name"), "is no name of a ConfigMap"));
        }
    }
}

fn check_coordinates(field: &str, all: &[String], parts: usize, form: &str, problems: &mut Vec<Problem>) {
    for (index, coordinates) in all.iter().enumerate() {
        let found: Vec<_> = coordinates.split(':').collect();
        if found.len() != parts || found.contains(&"") || has_separator(coordinates) {
            problems.push(Problem::new(format!("{field}[{index}]"), format!("must be of the form {form}")));
        }
    }
}

/// Whether Spark would read more than one item, or none.
fn has_separator(item: &str) -> bool {
    item.chars().any(|c| c == ',' || c.is_whitespace() || c.is_control())
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use crate::api::validation::problems;

    fn fields(mut spec: Value) -> Vec<String> {
        spec["file"] = json!("/a.py");
        problems(&serde_json::from_value(spec).unwrap()).into_iter().map(|problem| problem.field).collect()
    }

    #[rstest]
    #[case(json!({ "packages": ["a:b:1", "a:b"] }), "packages[1]")]
    #[case(json!({ "packages": ["a:b:1,c:d:2"] }), "packages[0]")]
    #[case(json!({ "excludePackages": ["a:b:1"] }), "excludePackages[0]")]
    #[case(json!({ "repositories": ["https://repo.example.com/maven", "https://me:pw@repo.example.com"] }), "repositories[1]")]
    #[case(json!({ "repositories": ["repo.example.com"] }), "repositories[0]")]
    #[case(json!({ "hadoopConfFrom": { "name": "../x" } }), "hadoopConfFrom.name")]
    #[case(json!({ "dynamicAllocation": { "enabled": true, "minExecutors": 3, "maxExecutors": 2 } }), "dynamicAllocation")]
    #[case(json!({ "scheduling": { "kueueQueue": "a b" } }), "scheduling.kueueQueue")]
    #[case(json!({ "scheduling": { "volcanoQueue": "-a" } }), "scheduling.volcanoQueue")]
    #[case(json!({ "scheduling": { "volcanoQueue": "a", "yunikornQueue": "a" } }), "scheduling")]
    #[case(json!({ "scheduling": { "volcanoMinResources": { "cpu": "1" } } }), "scheduling.volcanoMinResources")]
    fn what_spark_or_kubernetes_would_refuse_is_refused(#[case] spec: Value, #[case] field: &str) {
        assert_eq!(fields(spec), [field]);
    }
}
