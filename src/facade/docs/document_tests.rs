use std::collections::BTreeSet;

use rstest::rstest;

use super::*;
use crate::facade::router;
use crate::livy::{FIELDS, LivyState};

fn made(extensions: bool) -> Value {
    document(extensions, None).unwrap()
}

/// Every object in `value`.
fn objects(value: &Value) -> Vec<&Object> {
    let below = match value {
        Value::Object(entries) => entries.values().collect(),
        Value::Array(entries) => entries.iter().collect(),
        _ => Vec::new(),
    };
    let own = value.as_object().into_iter();
    own.chain(below.into_iter().flat_map(objects)).collect()
}

fn operations(document: &Value) -> impl Iterator<Item = (&String, &Value)> {
    document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, item)| item.as_object().unwrap().values().map(move |operation| (path, operation)))
}

fn resolved<'a>(document: &'a Value, value: &'a Value) -> &'a Value {
    match value["$ref"].as_str() {
        Some(target) => document.pointer(target.trim_start_matches('#')).unwrap(),
        None => value,
    }
}

fn fields(document: &Value, schema: &str) -> BTreeSet<String> {
    document["components"]["schemas"][schema]["properties"].as_object().unwrap().keys().cloned().collect()
}

/// Names of the parameters of `operation` in `place`.
fn parameters(document: &Value, id: &str, place: &str) -> BTreeSet<String> {
    let (_, operation) = operations(document).find(|(_, operation)| operation["operationId"] == id).unwrap();
    let all = operation["parameters"].as_array().unwrap().iter().map(|parameter| resolved(document, parameter));
    all.filter(|parameter| parameter["in"] == place)
        .map(|parameter| parameter["name"].as_str().unwrap().to_owned())
        .collect()
}

fn names(names: &[&str]) -> BTreeSet<String> {
    names.iter().map(|&name| name.to_owned()).collect()
}

#[test]
fn the_document_has_the_routers_paths() {
    let document = made(false);
    let described: BTreeSet<_> = document["paths"].as_object().unwrap().keys().cloned().collect();
    // A collection answers with a slash at its end, too.
    let routed = router::paths().into_iter().filter(|path| !path.ends_with("batches/"));
    assert_eq!(described, routed.map(|path| path.replace("{*", "{")).collect());
}

#[rstest]
fn what_is_referred_to_exists_and_what_is_ours_alone_is_gone(#[values(false, true)] extensions: bool) {
    let document = made(extensions);
    let targets = objects(&document).into_iter().filter_map(|object| object.get("$ref")?.as_str());
    for target in targets {
        assert!(document.pointer(target.trim_start_matches('#')).is_some(), "{target}");
    }
    let ids: Vec<_> = operations(&document).map(|(_, operation)| operation["operationId"].as_str().unwrap()).collect();
    assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), ids.len(), "{ids:?}");
    for object in objects(&document) {
        assert!(!object.keys().any(|key| key.starts_with("x-")), "{object:?}");
        let link = object.get("operationId").and_then(Value::as_str);
        assert!(link.is_none_or(|id| ids.contains(&id)), "{link:?}");
    }
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
}

#[rstest]
fn parameters_of_a_path_are_those_in_it(#[values(false, true)] extensions: bool) {
    let document = made(extensions);
    for (path, operation) in operations(&document) {
        let in_path = path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'));
        let id = operation["operationId"].as_str().unwrap();
        assert_eq!(parameters(&document, id, "path"), in_path.map(str::to_owned).collect(), "{path}");
    }
}

#[test]
fn fields_and_states_are_those_of_the_code() {
    let (plain, extended) = (made(false), made(true));
    assert_eq!(fields(&plain, "BatchRequest"), names(&FIELDS));
    let refused = Dialect::Instance.refused_fields();
    let taken: Vec<_> = FIELDS.into_iter().filter(|field| !refused.contains(field)).collect();
    assert_eq!(fields(&plain, "InstanceBatchRequest"), names(&taken));
    assert!(extended["components"]["schemas"]["InstanceBatchRequest"].is_null());

    let states: Vec<_> = LivyState::ALL.into_iter().map(LivyState::as_str).collect();
    assert_eq!(plain["components"]["schemas"]["State"]["enum"], json!(states));
    let filters = [states, LivyState::UNUSED.to_vec()].concat();
    assert_eq!(plain["components"]["parameters"]["State"]["schema"]["items"]["enum"], json!(filters));
}

#[test]
fn an_instance_has_extensions_only_if_it_is_given_them() {
    const FILTERS: [&str; 10] =
        ["from", "size", "state", "name", "owner", "search", "createdAfter", "details", "order", "watch"];
    let log = names(&["from", "size", "executor", "follow"]);
    for (extensions, filters, lines) in [(false, names(&[]), names(&[])), (true, names(&FILTERS), log.clone())] {
        let document = made(extensions);
        assert_eq!(parameters(&document, "listBatches", "query"), names(&FILTERS));
        assert_eq!(parameters(&document, "listBatchesOfInstance", "query"), filters);
        assert_eq!(parameters(&document, "readBatchLogInNamespace", "query"), log);
        assert_eq!(parameters(&document, "readBatchLogOfInstance", "query"), lines);
        let (_, read) = operations(&document).find(|(_, one)| one["operationId"] == "readBatchOfInstance").unwrap();
        assert_eq!(read["responses"]["200"]["content"]["text/event-stream"].is_object(), extensions);
    }
}

#[test]
fn links_stay_in_their_collection() {
    let document = made(false);
    let created = &document["paths"]["/namespaces/{namespace}/batches"]["post"]["responses"]["201"];
    let expected = json!({
        "operationId": "deleteBatchInNamespace",
        "parameters": { "id": "$response.body#/id", "namespace": "$request.path.namespace" }
    });
    assert_eq!(created["links"]["delete"], expected);
}

#[rstest]
fn examples_are_of_their_schemas(#[values(false, true)] extensions: bool) {
    let document = made(extensions);
    let bodies = objects(&document).into_iter().filter(|object| object.contains_key("examples"));
    let mut seen = 0;
    for body in bodies.filter(|body| body.contains_key("schema")) {
        let schema = json!({ "components": document["components"], "allOf": [body["schema"]] });
        let validator = jsonschema::draft202012::new(&schema).unwrap();
        for example in body["examples"].as_object().unwrap().values() {
            let value = &resolved(&document, example)["value"];
            let errors: Vec<_> = validator.iter_errors(value).map(|error| error.to_string()).collect();
            assert!(errors.is_empty(), "{value}: {errors:?}");
            seen += 1;
        }
    }
    assert!(seen > 20);
}

#[rstest]
#[case("ObjectStorage", include_str!("../../../tests/golden/seed/create-cos.json"))]
#[case("LocalDisk", include_str!("../../../tests/golden/seed/create-local.json"))]
#[case("InstanceBatch", include_str!("../../../tests/golden/seed/read.json"))]
#[case("InstanceBatchList", include_str!("../../../tests/golden/seed/list.json"))]
#[case("BatchState", include_str!("../../../tests/golden/seed/state.json"))]
#[case("Deleted", include_str!("../../../tests/golden/seed/deleted.json"))]
fn examples_are_the_managed_services_samples(#[case] name: &str, #[case] sample: &str) {
    let sample: Value = serde_json::from_str(sample).unwrap();
    assert_eq!(made(false)["components"]["examples"][name]["value"], sample);
}
