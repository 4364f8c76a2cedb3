//! The rules of the spec in code: those that CEL holds at admission, and those that CEL cannot say.
//!
//! The REST facade answers with them before anything is created; the operator holds them again, for a
//! resource may have been admitted by an older definition. All problems are reported, not the first.

mod dependencies;
mod monitoring;
mod pods;

use std::collections::BTreeMap;
use std::fmt;

use super::conf_policy::{self, MAX_KEYS, MAX_VALUE_LEN};
use super::object_names::is_dns_subdomain;
use super::{SparkBatchSpec, jvm_size};

/// Longest argument of a program on Linux, in bytes (`MAX_ARG_STRLEN`, less its closing NUL).
const MAX_ARG_BYTES: usize = 131_071;
/// What a pod may take of the API server's 1.5 MiB for one object, and of Linux's 2 MiB for a program's arguments.
const MAX_ARGS_BYTES: usize = 1_000_000;

/// A rule that a spec breaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Path of the field, as in `spec.conf`, without the leading `spec.`.
    pub field: String,
    /// The rule, in words that say what to change. Never the value of a conf key.
    pub message: String,
    /// Which rule it is.
    pub rule: Rule,
}

/// A rule that another API has its own words for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Rule {
    /// A field has to be given.
    Required,
    /// A path or URI has to be absolute.
    Absolute {
        /// What is not, cut.
        path: String,
        /// What to write in its place.
        hint: &'static str,
    },
    /// A key of conf, which is named, is the operator's to set.
    OwnedKey(String),
    /// A name must not look like an id. Its message needs no field before it.
    NoId,
    /// Any other.
    #[default]
    Other,
}

impl Problem {
    /// A problem of `field`.
    pub fn new(field: impl Into<String>, message: impl Into<String>) -> Self {
        Self { field: field.into(), message: message.into(), rule: Rule::Other }
    }

    /// The problem, as one of `rule`.
    #[must_use]
    pub fn of_rule(self, rule: Rule) -> Self {
        Self { rule, ..self }
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.message)
    }
}

/// Every rule that `spec` breaks; empty if it breaks none.
#[must_use]
pub fn problems(spec: &SparkBatchSpec) -> Vec<Problem> {
    let mut problems = Vec::new();
    check_uris(spec, &mut problems);
    check_lengths(spec, &mut problems);
    check_names(spec, &mut problems);
    check_sizes(spec, &mut problems);
    check_conf(&spec.conf, "conf", &mut problems);
    pods::check(spec, &mut problems);
    dependencies::check(spec, &mut problems);
    monitoring::check(spec, &mut problems);
    problems
}

/// The rules of Spark conf, for `spec.conf` and for what confFrom brings. `field` names where the keys stand.
pub fn check_conf(conf: &BTreeMap<String, String>, field: &str, problems: &mut Vec<Problem>) {
    if conf.len() > MAX_KEYS {
        problems.push(Problem::new(field, format!("has {} keys; at most {MAX_KEYS} are allowed", conf.len())));
        return;
    }
    for (key, value) in conf {
        let shown: String = key.chars().take(100).flat_map(char::escape_default).collect();
        if let Some(refusal) = conf_policy::refusal(key) {
            let problem = Problem::new(field, format!("key '{shown}' {refusal}"));
            let rule = if conf_policy::is_owned(key) { Rule::OwnedKey(shown) } else { Rule::Other };
            problems.push(problem.of_rule(rule));
        } else if value.len() > MAX_VALUE_LEN {
            problems.push(Problem::new(field, format!("the value of '{shown}' is longer than {MAX_VALUE_LEN} bytes")));
        } else if value.chars().any(|c| c.is_control() && !"\t\n\r".contains(c)) {
            problems.push(Problem::new(field, format!("the value of '{shown}' has a control character")));
        } else if matches!(conf_policy::canonical_key(key), "spark.driver.memory" | "spark.executor.memory") {
            push_size_problem(&format!("{field}.{shown}"), value, problems);
        }
    }
}

fn check_uris(spec: &SparkBatchSpec, problems: &mut Vec<Problem>) {
    let before = problems.len();
    push_uri_problem("file", &spec.file, problems);
    let is_file_valid = problems.len() == before;
    let lists =
        [("jars", &spec.jars), ("pyFiles", &spec.py_files), ("files", &spec.files), ("archives", &spec.archives)];
    for (field, uris) in lists {
        for (index, uri) in uris.iter().enumerate() {
            let field = format!("{field}[{index}]");
            if uri.contains(',') {
                problems.push(Problem::new(&field, "has a comma, which Spark reads as the end of a URI"));
            }
            push_uri_problem(&field, uri, problems);
        }
    }
    if is_file_valid && spec.class_name.is_none() && is_jar(&spec.file) && !is_in_image(&spec.file) {
        let rule = "is required for a .jar that is not in the image: only of one that is there (/path, local:///path) \
                    is the main class taken from the manifest";
        problems.push(Problem::new("className", rule));
    }
}

/// Whether a URI is of the form `scheme://user:password@host/…`.
fn has_password(uri: &str) -> bool {
    let Some((_, rest)) = uri.split_once("://") else { return false };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or(rest);
    authority.rsplit_once('@').is_some_and(|(user, _)| user.contains(':'))
}

fn is_jar(uri: &str) -> bool {
    let path = uri.split(['?', '#']).next().unwrap_or(uri);
    path.get(path.len().saturating_sub(4)..).is_some_and(|end| end.eq_ignore_ascii_case(".jar"))
}

/// Whether the driver finds a file without fetching it.
fn is_in_image(uri: &str) -> bool {
    uri.starts_with('/') || uri.get(..6).is_some_and(|scheme| scheme.eq_ignore_ascii_case("local:"))
}

fn push_uri_problem(field: &str, uri: &str, problems: &mut Vec<Problem>) {
    const HINT: &str = "files on the submitting machine cannot be used: write local:///path for a file in the image, \
                        or a URI that the driver can read";
    let scheme = uri.split_once(':').map(|(scheme, _)| scheme).filter(|scheme| is_scheme(scheme));
    if uri.is_empty() {
        problems.push(Problem::new(field, "is required").of_rule(Rule::Required));
        return;
    }
    let mut rule = Rule::Other;
    let message = if uri.chars().any(|c| c.is_control() || c.is_whitespace()) {
        "has a blank or a control character, which no URI has; write %20 for a blank".to_owned()
    } else if scheme.is_some_and(|scheme| scheme.eq_ignore_ascii_case("file")) {
        format!("the scheme 'file' is refused; {HINT}")
    } else if has_password(uri) {
        "has a password in it, which everybody who may read the batch could see; put credentials into conf".to_owned()
    } else if uri.starts_with("//") {
        "starts with '//': write /path for a file in the image, or a URI with its scheme".to_owned()
    } else if uri == "/" {
        "is no file: write /path for a file in the image, or a URI with its scheme".to_owned()
    } else if scheme.is_none() && !uri.starts_with('/') {
        let path: String = uri.chars().take(100).collect();
        let message = format!("'{path}' is not absolute; {HINT}");
        rule = Rule::Absolute { path, hint: HINT };
        message
    } else {
        return;
    };
    problems.push(Problem::new(field, message).of_rule(rule));
}

/// RFC 3986: a letter, then letters, digits, '+', '-' and '.'.
fn is_scheme(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c))
}

fn check_lengths(spec: &SparkBatchSpec, problems: &mut Vec<Problem>) {
    let limits = [
        ("file", Some(&spec.file), 2048),
        ("className", spec.class_name.as_ref(), 1024),
        ("name", spec.name.as_ref(), 253),
        ("queue", spec.queue.as_ref(), 253),
        ("proxyUser", spec.proxy_user.as_ref(), 253),
        ("image", spec.image.as_ref(), 1024),
        ("serviceAccountName", spec.service_account_name.as_ref(), 253),
    ];
    for (field, value, limit) in limits {
        let Some(value) = value else { continue };
        if field != "file" && value.is_empty() {
            problems.push(Problem::new(field, "is empty; leave it out"));
        } else if value.chars().count() > limit {
            problems.push(Problem::new(field, format!("is longer than {limit} characters")));
        } else if field != "file" && value.chars().any(char::is_control) {
            problems.push(Problem::new(field, "has a control character"));
        }
    }
    let lists = [
        ("args", &spec.args, 10_000, 131_072),
        ("jars", &spec.jars, 1000, 2048),
        ("pyFiles", &spec.py_files, 1000, 2048),
        ("files", &spec.files, 1000, 2048),
        ("archives", &spec.archives, 1000, 2048),
    ];
    if spec.args.iter().any(|arg| arg.len() > MAX_ARG_BYTES) {
        let rule = format!("has an entry longer than {MAX_ARG_BYTES} bytes, more than Linux passes to a program");
        problems.push(Problem::new("args", format!("{rule}; put it into a file")));
    } else if spec.args.iter().map(String::len).sum::<usize>() > MAX_ARGS_BYTES {
        let rule = format!("is longer than {MAX_ARGS_BYTES} bytes in all, more than a pod can hold");
        problems.push(Problem::new("args", format!("{rule}; put it into a file")));
    }
    for (field, values, count, length) in lists {
        if values.len() > count {
            problems.push(Problem::new(field, format!("has {} entries; at most {count} are allowed", values.len())));
        } else if values.iter().any(|value| value.chars().count() > length) {
            problems.push(Problem::new(field, format!("has an entry longer than {length} characters")));
        } else if values.iter().any(|value| value.contains('\0')) {
            problems.push(Problem::new(field, "has an entry with a NUL character"));
        }
    }
}

/// Names of other objects become paths of the API server and fields of pods.
fn check_names(spec: &SparkBatchSpec, problems: &mut Vec<Problem>) {
    let mut check = |field: String, name: &str| {
        if !is_dns_subdomain(name) {
            let rule = "is no name of an object: write lower-case letters, digits, '-' and '.', at most 253";
            problems.push(Problem::new(field, rule));
        }
    };
    // That it is empty is told by its length.
    if let Some(account) = spec.service_account_name.as_deref().filter(|name| !name.is_empty()) {
        check("serviceAccountName".to_owned(), account);
    }
    for (index, secret) in spec.image_pull_secrets.iter().enumerate() {
        check(format!("imagePullSecrets[{index}].name"), &secret.name);
    }
    for (index, source) in spec.conf_from.iter().enumerate() {
        for object in source.secret_ref.iter().chain(&source.config_map_ref) {
            check(format!("confFrom[{index}]"), &object.name);
        }
    }
}

fn check_sizes(spec: &SparkBatchSpec, problems: &mut Vec<Problem>) {
    for (field, value) in [("driverMemory", &spec.driver_memory), ("executorMemory", &spec.executor_memory)] {
        if let Some(value) = value {
            push_size_problem(field, value, problems);
        }
    }
    let deadlines = spec.deadlines.clone().unwrap_or_default();
    let retry = spec.retry.clone().unwrap_or_default();
    let ranges = [
        ("retry.infrastructureRetries", retry.infrastructure_retries, 0..=100),
        ("retry.applicationRetries", retry.application_retries, 0..=100),
        ("retry.backoffSeconds", retry.backoff_seconds, 1..=i32::MAX),
        ("retry.maxBackoffSeconds", retry.max_backoff_seconds, 1..=i32::MAX),
        ("retry.resetAfterSeconds", retry.reset_after_seconds, 1..=i32::MAX),
        ("deadlines.pendingSeconds", deadlines.pending_seconds, 1..=i32::MAX),
        ("deadlines.queuedSeconds", deadlines.queued_seconds, 1..=i32::MAX),
        ("deadlines.driverStartSeconds", deadlines.driver_start_seconds, 1..=i32::MAX),
        ("deadlines.runningSeconds", deadlines.running_seconds, 1..=i32::MAX),
        ("driverCores", spec.driver_cores, 1..=1024),
        ("executorCores", spec.executor_cores, 1..=1024),
        ("numExecutors", spec.num_executors, 1..=100_000),
        ("ttlSecondsAfterFinished", spec.ttl_seconds_after_finished, 0..=i32::MAX),
    ];
    let dynamic = spec.dynamic_allocation.clone().unwrap_or_default();
    let executors = [
        ("dynamicAllocation.initialExecutors", dynamic.initial_executors, 0..=100_000),
        ("dynamicAllocation.minExecutors", dynamic.min_executors, 0..=100_000),
        ("dynamicAllocation.maxExecutors", dynamic.max_executors, 1..=100_000),
    ];
    let (least, most) = (dynamic.min_executors.unwrap_or(0), dynamic.max_executors.unwrap_or(i32::MAX));
    if !(least..=most.max(least)).contains(&dynamic.initial_executors.unwrap_or(least)) || least > most {
        problems.push(Problem::new("dynamicAllocation", "must have minExecutors <= initialExecutors <= maxExecutors"));
    }
    for (field, value, range) in ranges.into_iter().chain(executors) {
        if value.is_some_and(|value| !range.contains(&value)) {
            problems.push(Problem::new(field, format!("must be from {} to {}", range.start(), range.end())));
        }
    }
}

fn push_size_problem(field: &str, value: &str, problems: &mut Vec<Problem>) {
    if let Err(error) = jvm_size::parse_mib(value) {
        problems.push(Problem::new(field, error.to_string()));
    }
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn of_file(file: &str) -> Vec<Problem> {
        problems(&SparkBatchSpec { file: file.to_owned(), ..SparkBatchSpec::default() })
    }

    #[rstest]
    #[case("/opt/ibm/spark/examples/src/main/python/wordcount.py")]
    #[case("cos://bucket.mycos/wordcount.py")]
    #[case("local:///opt/spark/main.py")]
    #[case("https://example.com/app.py?version=1")]
    #[case("S3A://bucket/app.R")]
    #[case("abfss://container@account.dfs.core.windows.net/a.py")]
    fn files_that_a_driver_can_read_are_accepted(#[case] file: &str) {
        assert_eq!(of_file(file), []);
    }

    #[rstest]
    #[case("", "is required")]
    #[case("x.py", "not absolute")]
    #[case("../x.py", "not absolute")]
    #[case("file:/x.py", "local:///")]
    #[case("FILE:///x.py", "local:///")]
    #[case("//host/x.py", "//")]
    #[case("http://a b", "%20")]
    #[case("https://alice:pw@example.com/a.py", "credentials into conf")]
    #[case("local:///x\ny.py", "%20")]
    fn other_files_are_refused_with_what_to_write(#[case] file: &str, #[case] part: &str) {
        let problems = of_file(file);
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].field, "file");
        assert!(problems[0].message.contains(part), "{}", problems[0]);
    }

    #[test]
    fn a_jar_that_is_not_in_the_image_needs_its_class() {
        assert_eq!(of_file("https://example.com/app.jar")[0].field, "className");
        assert_eq!(of_file("s3a://bucket/app.JAR?v=1")[0].field, "className");
        assert_eq!([of_file("/app.jar"), of_file("LOCAL:///app.jar")], [[], []]);
    }

    #[test]
    fn every_problem_is_reported() {
        let spec = SparkBatchSpec {
            file: "x.py".into(),
            driver_memory: Some("1.5g".into()),
            executor_cores: Some(0),
            conf: BTreeMap::from([
                ("spark.master".into(), "local".into()),
                ("spark.driver.memory".into(), "lots".into()),
            ]),
            jars: vec!["local:///a.jar,local:///b.jar".into()],
            ..SparkBatchSpec::default()
        };
        let fields: Vec<_> = problems(&spec).into_iter().map(|problem| problem.field).collect();
        assert_eq!(fields, ["file", "jars[0]", "driverMemory", "executorCores", "conf.spark.driver.memory", "conf"]);
    }

    #[test]
    fn deadlines_and_retries_have_bounds() {
        let spec: SparkBatchSpec = serde_json::from_value(serde_json::json!({
            "file": "/a.py",
            "deadlines": { "pendingSeconds": 0, "queuedSeconds": 0, "runningSeconds": 1 },
            "retry": { "infrastructureRetries": 101, "applicationRetries": 0, "backoffSeconds": 0 },
        }))
        .unwrap();
        let fields: Vec<_> = problems(&spec).into_iter().map(|problem| problem.field).collect();
        let expected = [
            "retry.infrastructureRetries",
            "retry.backoffSeconds",
            "deadlines.pendingSeconds",
            "deadlines.queuedSeconds",
        ];
        assert_eq!(fields, expected);
    }

    #[test]
    fn no_problem_repeats_the_value_of_a_conf_key() {
        let conf = BTreeMap::from([("spark.kubernetes.authenticate.oauthToken".into(), "s3cr3t\u{1}".to_owned())]);
        let spec = SparkBatchSpec { file: "/a.py".into(), conf, ..SparkBatchSpec::default() };
        assert!(problems(&spec).iter().all(|problem| !problem.to_string().contains("s3cr3t")));
    }

    #[test]
    fn what_is_no_name_never_becomes_a_path() {
        for name in ["../../other/secrets/s", "a/b", "", "S"] {
            let spec: SparkBatchSpec = serde_json::from_value(serde_json::json!({
                "file": "/a.py",
                "confFrom": [{ "secretRef": { "name": name } }],
            }))
            .unwrap();
            assert_eq!(problems(&spec)[0].field, "confFrom[0]", "{name}");
        }
    }
}
