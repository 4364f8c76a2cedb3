use clap::Parser;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;

#[derive(Parser)]
#[command(args_override_self = true)]
struct Line {
    #[command(flatten)]
    options: SubmitOptions,
}

fn options(line: &[&str]) -> Result<SubmitOptions, String> {
    let line = Line::try_parse_from([&["submit"], line].concat());
    line.map(|line| line.options).map_err(|error| error.to_string())
}

fn submission_over(line: &[&str], properties: &[(&str, &str)]) -> Result<Submission, Vec<String>> {
    let properties = properties.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
    options(line).map_err(|error| vec![error])?.submission(properties)
}

fn spec(line: &[&str]) -> Value {
    serde_json::to_value(submission_over(line, &[]).unwrap().spec).unwrap()
}

#[rstest]
#[case(&["a.jar"], json!({ "file": "a.jar" }))]
#[case(&["--class", "org.A", "/a.jar", "1"], json!({ "file": "/a.jar", "className": "org.A", "args": ["1"] }))]
#[case(&["--class=org.A", "--name=a=b", "/a.jar"], json!({ "file": "/a.jar", "className": "org.A", "name": "a=b" }))]
// What follows the application is its own, whatever it looks like.
#[case(&["/a.py", "--name", "x", "-c", "--", "--class=y", "-h", "--version", ""],
    json!({ "file": "/a.py", "args": ["--name", "x", "-c", "--", "--class=y", "-h", "--version", ""] }))]
#[case(&["-c", "spark.a=1=2", "--conf", "spark.b=x y", "--conf=spark.c=", "/a.py"],
    json!({ "file": "/a.py", "conf": { "spark.a": "1=2", "spark.b": "x y", "spark.c": "" } }))]
#[case(&["--conf", "spark.yarn.executor.memoryOverhead=1g", "/a.py"],
    json!({ "file": "/a.py", "conf": { "spark.executor.memoryOverhead": "1g" } }))]
#[case(&["--jars", "/a.jar, /b.jar,,", "--py-files", "/a.zip", "--files", "/f", "--archives", "/a.tgz#x", "/a.py"],
    json!({ "file": "/a.py", "jars": ["/a.jar", "/b.jar"], "pyFiles": ["/a.zip"], "files": ["/f"], "archives": ["/a.tgz#x"] }))]
#[case(&["--packages", "a:b:1,c:d:2", "--exclude-packages", "e:f", "--repositories", "https://r", "/a.py"],
    json!({ "file": "/a.py", "packages": ["a:b:1", "c:d:2"], "excludePackages": ["e:f"], "repositories": ["https://r"] }))]
#[case(&["--driver-memory", "1g", "--driver-cores", "2", "--executor-memory", "3g", "--executor-cores", "4", "--num-executors", "5", "/a.py"],
    json!({ "file": "/a.py", "driverMemory": "1g", "driverCores": 2, "executorMemory": "3g", "executorCores": 4, "numExecutors": 5 }))]
// spark-submit takes the next word as the value, even if it begins with a dash.
#[case(&["--driver-java-options", "-Da=b -XX:+UseG1GC", "--driver-class-path", "/x", "--driver-library-path", "/y", "/a.py"],
    json!({ "file": "/a.py", "conf": { "spark.driver.extraJavaOptions": "-Da=b -XX:+UseG1GC",
        "spark.driver.extraClassPath": "/x", "spark.driver.extraLibraryPath": "/y" } }))]
#[case(&["--queue", "q", "--proxy-user", "u", "--verbose", "-v", "/a.py"],
    json!({ "file": "/a.py", "queue": "q", "proxyUser": "u" }))]
// Of a flag that is given twice the last counts.
#[case(&["--name", "a", "--name", "b", "--conf", "spark.a=1", "--conf", "spark.a=2", "/a.py"],
    json!({ "file": "/a.py", "name": "b", "conf": { "spark.a": "2" } }))]
#[case(&["--master", "k8s://https://h:443", "--deploy-mode", "cluster", "/a.py"], json!({ "file": "/a.py" }))]
#[case(&["--conf", "spark.master=k8s://h", "--conf", "spark.submit.deployMode=cluster", "/a.py"], json!({ "file": "/a.py" }))]
#[case(&["--conf", "spark.kubernetes.authenticate.driver.serviceAccountName=spark", "/a.py"],
    json!({ "file": "/a.py", "serviceAccountName": "spark" }))]
fn a_command_line_is_a_batch(#[case] line: &[&str], #[case] expected: Value) {
    assert_eq!(spec(line), expected);
}

#[rstest]
#[case(&[], "APPLICATION")]
#[case(&["--nmae", "x", "/a.py"], "--nmae")]
#[case(&["--master", "local[8]", "/a.py"], "means this machine")]
#[case(&["--master", "local", "/a.py"], "means this machine")]
#[case(&["--conf", "spark.master=local[*]", "/a.py"], "means this machine")]
#[case(&["--master", "host:7077", "/a.py"], "leave it out")]
#[case(&["--deploy-mode", "client", "/a.py"], "--deploy-mode cluster")]
#[case(&["--deploy-mode=client", "/a.py"], "--deploy-mode cluster")]
#[case(&["--master", "yarn-client", "/a.py"], "--deploy-mode cluster")]
#[case(&["--remote", "sc://h:15002", "/a.py"], "Spark Connect")]
#[case(&["--keytab", "/k", "/a.py"], "Kerberos")]
#[case(&["--driver-cores", "two", "/a.py"], "--driver-cores: 'two'")]
#[case(&["--conf", "spark.password", "/a.py"], "key=value")]
#[case(&["--kill", "1", "--status", "2"], "cannot be used with")]
fn what_cannot_be_meant_is_refused_with_what_to_write(#[case] line: &[&str], #[case] part: &str) {
    let problems = submission_over(line, &[]).unwrap_err().concat();
    assert!(problems.contains(part), "{problems}");
}

#[rstest]
#[case(&["--master", "yarn", "--deploy-mode", "cluster", "/a.py"], "'yarn' is passed over")]
#[case(&["--master", "spark://h:7077", "/a.py"], "passed over")]
#[case(&["--supervise", "/a.py"], "'retry'")]
#[case(&["--load-spark-defaults", "/a.py"], "--properties-file")]
#[case(&["--conf", "hive.x=1", "/a.py"], "hive.x: passed over")]
fn what_has_no_effect_is_told(#[case] line: &[&str], #[case] part: &str) {
    let submission = submission_over(line, &[]).unwrap();
    assert!(submission.warnings.concat().contains(part), "{:?}", submission.warnings);
    assert_eq!(submission.spec, SparkBatchSpec { file: "/a.py".into(), ..SparkBatchSpec::default() });
}

/// Spark: `SparkSubmit.prepareSubmitEnvironment` (`OptionAssigner(args.totalExecutorCores, STANDALONE | KUBERNETES)`).
#[test]
fn the_cores_of_all_executors_are_accepted_as_spark_submit_does_with_a_warning() {
    let submission = submission_over(&["--total-executor-cores", "100", "/a.py"], &[]).unwrap();
    assert_eq!(submission.spec.conf["spark.cores.max"], "100");
    assert!(submission.warnings.concat().contains("--num-executors"), "{:?}", submission.warnings);
}

#[test]
fn flags_go_before_conf_and_conf_before_the_file() {
    let file =
        [("spark.a", "file"), ("spark.b", "file"), ("spark.jars", "/file.jar"), ("spark.kubernetes.namespace", "n")];
    let line = [
        "--conf",
        "spark.a=conf",
        "--conf",
        "spark.driver.extraClassPath=/conf",
        "--driver-class-path",
        "/flag",
        "--jars",
        "/flag.jar",
        "/a.py",
    ];
    let submission = submission_over(&line, &file).unwrap();
    let spec = serde_json::to_value(&submission.spec).unwrap();
    let conf = json!({ "spark.a": "conf", "spark.b": "file", "spark.driver.extraClassPath": "/flag" });
    assert_eq!((&spec["conf"], &spec["jars"]), (&conf, &json!(["/flag.jar"])));
    assert_eq!(submission.namespace.as_deref(), Some("n"));
}

#[test]
fn every_problem_is_told_at_once() {
    let line = ["--master", "local[2]", "--deploy-mode", "client", "--remote", "sc://h", "/a.py"];
    assert_eq!(submission_over(&line, &[]).unwrap_err().len(), 3);
}

#[rstest]
#[case(&["--class", "org.apache.SparkPi", "/x.jar"], "SparkPi")]
#[case(&["--name", "My app", "--class", "a.B", "/x.jar"], "My app")]
#[case(&["s3a://b/dir/etl.v2.py?x=/y.py"], "etl.v2")]
fn a_batch_is_called_by_its_name_its_class_or_its_file(#[case] line: &[&str], #[case] called: &str) {
    assert_eq!(options(line).unwrap().called(), called);
}
