use std::collections::BTreeMap;

use proptest::prelude::*;
use rstest::rstest;
use serde_json::{Value, json};

use super::*;
use crate::livy::FIELDS;

fn refusal(body: &str) -> String {
    read_spec(body.as_bytes(), Dialect::Apache).unwrap_err().to_string()
}

fn spec(body: &Value) -> SparkBatchSpec {
    read_spec(body.to_string().as_bytes(), Dialect::Apache).unwrap()
}

#[rstest]
#[case("{}", "Rejected, Reason: requirement failed: File is required.")]
#[case(r#"{"file":null}"#, "Rejected, Reason: requirement failed: File is required.")]
#[case(r#"{"file":""}"#, "Rejected, Reason: requirement failed: File is required.")]
#[case(
    r#"{"file":"x.jar","className":"C"}"#,
    "Rejected, Reason: requirement failed: Path 'x.jar' is not absolute. (file: "
)]
#[case(r#"{"file":5}"#, "Rejected, Reason: requirement failed: Path '5' is not absolute. (file: ")]
#[case(r#"{"file":"/a.py","name":"123"}"#, "Rejected, Reason: Invalid session name: 123 (")]
#[case(r#"{"file":"/a.py","name":123}"#, "Rejected, Reason: Invalid session name: 123 (")]
#[case(r#"{"file":"/a.py","name":""}"#, "Rejected, Reason: Invalid session name:  (")]
#[case(
    r#"{"file":"/a.py","conf":{"spark.master":"x","spark.submit.deployMode":"y"}}"#,
    "Rejected, Reason: Blacklisted configuration values in session config: spark.master, spark.submit.deployMode ("
)]
fn what_livy_refuses_is_refused_in_livys_words(#[case] body: &str, #[case] start: &str) {
    let text = refusal(body);
    assert!(text.starts_with(start), "{text}");
}

#[rstest]
#[case("", "the body is empty")]
#[case(" \n", "the body is empty")]
#[case("abcde", "the body is not JSON: expected value at line 1 column 1")]
#[case(r#"{"file":"/a.py"} x"#, "the body is not JSON: trailing characters")]
#[case(r#"{"file":"/a.py""#, "the body is not JSON: EOF")]
#[case(r#"{"file":NaN}"#, "the body is not JSON")]
#[case("null", "the body is null: send a JSON object")]
#[case("[]", "the body is a list: send a JSON object")]
#[case("\"x\"", "the body is a string")]
#[case("7", "the body is a number")]
#[case(r#"{"\ud800":1}"#, "the body has a key that is no valid text")]
fn what_is_no_json_object_is_refused(#[case] body: &str, #[case] start: &str) {
    let text = refusal(body);
    assert!(text.starts_with(start), "{text}");
}

#[rstest]
#[case(r#"{"file":["/a.py"]}"#, "file: must be a string, not a list")]
#[case(r#"{"file":true}"#, "file: must be a string, not a boolean")]
#[case(r#"{"file":"\ud800"}"#, "file: must be a string, not no valid text")]
#[case(r#"{"file":"/a.py","args":"x"}"#, "args: must be a list of strings, not a string")]
#[case(r#"{"file":"/a.py","args":[{}]}"#, "args[0]: must be a string, not an object")]
#[case(r#"{"file":"/a.py","args":["a",null]}"#, "args[1]: must be a string, not null")]
#[case(r#"{"file":"/a.py","jars":{}}"#, "jars: must be a list of strings, not an object")]
#[case(r#"{"file":"/a.py","conf":[]}"#, "conf: must be an object of strings, not a list")]
#[case(
    r#"{"file":"/a.py","conf":{"spark.a":{"b":1}}}"#,
    "conf: the value of 'spark.a' must be a string, not an object"
)]
#[case(r#"{"file":"/a.py","driverCores":2.7}"#, "driverCores: must be a whole number")]
#[case(r#"{"file":"/a.py","driverCores":"two"}"#, "driverCores: must be a whole number")]
#[case(
    r#"{"file":"/a.py","driverCores":true}"#,
    "driverCores: must be a whole number of at most 2147483647, such as 2, not a boolean"
)]
#[case(r#"{"file":"/a.py","numExecutors":99999999999}"#, "numExecutors: must be a whole number of at most 2147483647")]
#[case(r#"{"file":"/a.py","numExecutors":1e999}"#, "numExecutors: must be a whole number")]
#[case(r#"{"file":"/a.py","numExecutors":-1}"#, "numExecutors: must be from 1 to 100000")]
#[case(r#"{"file":"/a.py","driverMemory":"lots"}"#, "driverMemory: 'lots' is no JVM size")]
#[case(r#"{"file":"/a.py","driverMemory":1.5}"#, "driverMemory: '1.5' is no JVM size")]
#[case(r#"{"file":"file:///a.py"}"#, "file: the scheme 'file' is refused")]
#[case(r#"{"file":"/a.py","file":"/b.py"}"#, "file: is given twice")]
#[case(r#"{"file":"/a.py","conf":{"spark.a":"1","spark.a":null}}"#, "conf: key 'spark.a' is given twice")]
#[case(r#"{"file":"/a.py","bogus":1}"#, "Unrecognized field \"bogus\": the known fields are archives, args,")]
#[case(r#"{"file":"/a.py","ttl":"1h","Name":"x"}"#, "Unrecognized fields \"ttl\", \"Name\": the known fields are")]
#[case("{\"file\":\"/a.py\",\"a\\u001b[31m\\n\":1}", "Unrecognized field \"a\\u{1b}[31m\\n\"")]
fn each_wrong_field_is_named_with_its_rule(#[case] body: &str, #[case] part: &str) {
    let text = refusal(body);
    assert!(text.contains(part), "{text}");
}

#[test]
fn all_problems_are_told_at_once() {
    let text =
        refusal(r#"{"file":"x.py","driverCores":"a","args":7,"bogus":1,"conf":{"spark.master":"x"},"name":"1"}"#);
    for part in ["Path 'x.py'", "driverCores:", "args:", "\"bogus\"", "spark.master", "Invalid session name: 1"] {
        assert!(text.contains(part), "{text}");
    }
}

#[test]
fn the_instance_dialect_refuses_what_it_does_not_know() {
    let body = br#"{"file":"/a.py","proxyUser":"bob","archives":[],"queue":"q","bogus":1}"#;
    let text = read_spec(body, Dialect::Instance).unwrap_err().to_string();
    for field in ["proxyUser", "archives", "queue"] {
        assert!(text.contains(&format!("{field}: is not supported by this API; remove it")), "{text}");
    }
    assert!(!text.split_once("known fields are").unwrap().1.contains("proxyUser"), "{text}");
    assert!(read_spec(br#"{"file":"/a.py","proxyUser":null}"#, Dialect::Instance).is_ok());
}

#[test]
fn no_message_repeats_a_value_of_conf() {
    let body = r#"{"file":"/a.py","conf":{"spark.a":["s3cr3t"],"spark.a":"s3cr3t","spark.master":"s3cr3t"}}"#;
    assert!(!refusal(body).contains("s3cr3t"));
    assert!(!refusal(r#"{"conf":{"spark.a":"s3cr3t"},"#).contains("s3cr3t"));
}

#[test]
fn messages_stay_short_however_much_is_wrong() {
    let fields = (0..50_000).map(|n| format!(",\"f{n}\":1")).collect::<Vec<_>>().concat();
    assert!(refusal(&format!("{{\"file\":\"/a.py\"{fields}}}")).len() < 2000);
    let args = vec!["{}"; 50_000].join(",");
    assert!(refusal(&format!("{{\"file\":\"/a.py\",\"args\":[{args}]}}")).len() < 30_000);
}

#[test]
fn deep_nesting_is_refused_and_costs_no_stack() {
    let deep = format!("{{\"file\":{}1{}}}", "[".repeat(400_000), "]".repeat(400_000));
    assert!(refusal(&deep).contains("file: must be a string"));
}

#[test]
fn null_is_absent() {
    let nulls: Value =
        FIELDS.iter().filter(|field| **field != "file").map(|field| ((*field).to_owned(), Value::Null)).collect();
    let mut body = nulls;
    body["file"] = json!("/a.py");
    assert_eq!(spec(&body), SparkBatchSpec { file: "/a.py".into(), ..SparkBatchSpec::default() });
}

#[test]
fn scalars_are_taken_as_livy_takes_them() {
    let body = br#"{"file":"/a.py","args":[1,2.50,true,"x"],"conf":{"spark.a":1,"spark.b":true,"spark.c":null,
        "spark.d":123456789012345678901234567890,"spark.e":1.10},"driverMemory":512,"driverCores":"2","executorCores":4.0,
        "executorMemory":4096.0,"numExecutors":3}"#;
    let spec = read_spec(body, Dialect::Apache).unwrap();
    assert_eq!(spec.args, ["1", "2.50", "true", "x"]);
    let conf =
        [("spark.a", "1"), ("spark.b", "true"), ("spark.d", "123456789012345678901234567890"), ("spark.e", "1.10")];
    assert_eq!(spec.conf, conf.map(|(key, value)| (key.to_owned(), value.to_owned())).into());
    assert_eq!((spec.driver_memory.as_deref(), spec.driver_cores), (Some("512"), Some(2)));
    assert_eq!((spec.executor_memory.as_deref(), spec.executor_cores), (Some("4096"), Some(4)));
    assert_eq!(spec.num_executors, Some(3));
}

#[test]
fn a_byte_order_mark_is_skipped_and_other_encodings_are_refused() {
    assert!(read_spec(b"\xEF\xBB\xBF{\"file\":\"/a.py\"}", Dialect::Apache).is_ok());
    assert!(read_spec(b"{\"file\":\"/\xFF.py\"}", Dialect::Apache).unwrap_err().to_string().contains("UTF-8"));
}

#[test]
fn a_path_without_a_scheme_stays_as_it_is() {
    assert_eq!(spec(&json!({ "file": "/opt/ibm/spark/a.py" })).file, "/opt/ibm/spark/a.py");
}

fn texts() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec("[a-z0-9]{1,9}".prop_map(|path| format!("local:///{path}")), 0..4)
}

prop_compose! {
    fn requests()(
        file in "[a-z]{1,9}", class_name in prop::option::of("[A-Z][a-z]{1,9}"), args in prop::collection::vec("[^\0]{0,9}", 0..4),
        (jars, py_files, files, archives) in (texts(), texts(), texts(), texts()),
        memory in prop::option::of(1u32..9999), cores in prop::option::of(1i32..1024), executors in prop::option::of(1i32..99),
        name in prop::option::of("[a-z]{1,9}"), queue in prop::option::of("[a-z]{1,9}"), proxy_user in prop::option::of("[a-z]{1,9}"),
        conf in prop::collection::btree_map("spark\\.x[a-z]{1,9}", "[ -~]{0,9}", 0..4),
    ) -> BatchRequest {
        BatchRequest {
            file: Some(format!("/{file}.py")), proxy_user, args, class_name, jars, py_files, files, archives,
            driver_memory: memory.map(|mib| format!("{mib}m")), driver_cores: cores,
            executor_memory: memory.map(|mib| format!("{mib}g")), executor_cores: cores,
            num_executors: executors, queue, name, conf,
        }
    }
}

fn body_of(request: &BatchRequest) -> Value {
    json!({
        "file": request.file, "proxyUser": request.proxy_user, "args": request.args, "className": request.class_name,
        "jars": request.jars, "pyFiles": request.py_files, "files": request.files, "archives": request.archives,
        "driverMemory": request.driver_memory, "driverCores": request.driver_cores,
        "executorMemory": request.executor_memory, "executorCores": request.executor_cores,
        "numExecutors": request.num_executors, "queue": request.queue, "name": request.name, "conf": request.conf,
    })
}

proptest! {
    #[test]
    fn a_request_keeps_every_field_on_its_way_to_the_resource(request in requests()) {
        let body = body_of(&request);
        let spec = read_spec(body.to_string().as_bytes(), Dialect::Apache).unwrap();
        prop_assert_eq!(&spec, &spec_of(request));
        // Livy's names are the resource's names: what was sent and not empty is what is stored.
        let sent: BTreeMap<String, Value> = body.as_object().unwrap().clone().into_iter()
            .filter(|(_, value)| !value.is_null() && value != &json!([]) && value != &json!({})).collect();
        prop_assert_eq!(serde_json::to_value(&spec).unwrap(), json!(sent));
    }

    #[test]
    fn no_bytes_make_it_panic(body: Vec<u8>) {
        let _ = read_spec(&body, Dialect::Apache);
    }

    #[test]
    fn no_json_like_text_makes_it_panic(body in r#"\{("(file|conf|args|name|driverCores)":([0-9.eE+-]{1,5}|"[^"]{0,5}"|null|\[[0-9,]{0,5}\]|\{\}),?){0,5}\}"#) {
        let _ = read_spec(body.as_bytes(), Dialect::Instance);
    }
}
