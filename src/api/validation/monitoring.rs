//! The rules of monitoring.

use super::Problem;
use crate::api::SparkBatchSpec;

pub(super) fn check(spec: &SparkBatchSpec, problems: &mut Vec<Problem>) {
    let Some(monitoring) = &spec.monitoring else { return };
    let Some(exporter) = &monitoring.jmx_exporter else { return };
    if monitoring.prometheus_servlet == Some(true) {
        let rule = "has prometheusServlet and jmxExporter: keep one, since a pod is annotated for one port and path";
        problems.push(Problem::new("monitoring", rule));
    }
    for (field, path) in [("jar", &exporter.jar), ("configFile", &exporter.config_file)] {
        if !is_plain_path(path) {
            let rule =
                "must be the absolute path of a file in the image, of letters, digits, '/', '.', '_' and '-' alone";
            problems.push(Problem::new(format!("monitoring.jmxExporter.{field}"), rule));
        }
    }
    if exporter.port.is_some_and(|port| !(1..=65_535).contains(&port)) {
        problems.push(Problem::new("monitoring.jmxExporter.port", "must be from 1 to 65535"));
    }
}

/// Whether the path stands for itself among Java's options and among the agent's arguments, which blanks, '=', ':' and
/// ',' part.
fn is_plain_path(path: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._/-".contains(c);
    path.len() <= 1024 && path.len() > 1 && path.starts_with('/') && path.chars().all(plain)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;
    use serde_json::{Value, json};

    use crate::api::validation::problems;

    fn fields(monitoring: &Value) -> Vec<String> {
        let spec = json!({ "file": "/a.py", "monitoring": monitoring });
        problems(&serde_json::from_value(spec).unwrap()).into_iter().map(|problem| problem.field).collect()
    }

    fn exporter(jar: &str, config_file: &str, port: i32) -> Value {
        json!({ "jar": jar, "configFile": config_file, "port": port })
    }

    #[rstest]
    #[case("jmx.jar", "/c.yaml", 8090, "monitoring.jmxExporter.jar")]
    #[case("/a b.jar", "/c.yaml", 8090, "monitoring.jmxExporter.jar")]
    #[case("/a.jar=9:/x", "/c.yaml", 8090, "monitoring.jmxExporter.jar")]
    #[case("/", "/c.yaml", 8090, "monitoring.jmxExporter.jar")]
    #[case("/a.jar", "/c,d.yaml", 8090, "monitoring.jmxExporter.configFile")]
    #[case("/a.jar", "", 8090, "monitoring.jmxExporter.configFile")]
    #[case("/a.jar", "/c.yaml", 0, "monitoring.jmxExporter.port")]
    #[case("/a.jar", "/c.yaml", 65_536, "monitoring.jmxExporter.port")]
    fn what_a_java_agent_would_misread_is_refused(
        #[case] jar: &str,
        #[case] config_file: &str,
        #[case] port: i32,
        #[case] field: &str,
    ) {
        assert_eq!(fields(&json!({ "jmxExporter": exporter(jar, config_file, port) })), [field]);
    }

    #[test]
    fn one_way_is_enough() {
        let exporter = exporter("/opt/jmx-1.2.jar", "/opt/spark/conf/jmx_1.yaml", 65_535);
        assert_eq!(fields(&json!({ "jmxExporter": exporter, "prometheusServlet": true })), ["monitoring"]);
        assert_eq!(fields(&json!({ "jmxExporter": exporter, "prometheusServlet": false })), [""; 0]);
    }
}
