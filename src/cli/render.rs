//! `sparkbatch render`: what a manifest would become, for people to look at before they apply it.

use std::fmt::Write as _;

use clap::Args;
use serde_json::Value;

use super::Failure;
use super::defaults::DefaultsArgs;
use super::redaction::RedactionArgs;
use crate::api::redaction::Redaction;
use crate::api::validation::Problem;
use crate::api::{GROUP, KIND, SparkBatch, VERSION};
use crate::bounded::read_bounded_text;
use crate::plan::{Defaults, Explanation, build, explain, validate};

/// Stands for the uid that the API server gives a batch; names of pods end with a part of it.
const UID: &str = "00000000-0000-4000-8000-000000000000";
/// Longest manifest that is read: more than the API server takes.
const MAX_BYTES: u64 = 4 * 1024 * 1024;

#[derive(Debug, Args)]
pub(super) struct RenderArgs {
    /// Manifest of one `SparkBatch`, in YAML or JSON; '-' for standard input.
    file: String,
    /// Namespace of a batch that names none.
    #[arg(long, short, env = "SPARKBATCH_DEFAULT_NAMESPACE", default_value = "default")]
    namespace: String,
    #[command(flatten)]
    redaction: RedactionArgs,
    #[command(flatten)]
    defaults: DefaultsArgs,
}

impl RenderArgs {
    /// Driver pod, Secret and executor pod template as a stream of YAML documents.
    pub(super) fn render(self) -> Result<String, Failure> {
        let redaction = self.redaction.redaction()?;
        let manifest = read(&self.file).map_err(|error| format!("{}: {error}", self.file))?;
        render(&manifest, &self.namespace, &self.defaults.defaults()?, &redaction)
            .map_err(|error| format!("{}: {error}", self.file).into())
    }
}

pub(super) fn read(file: &str) -> std::io::Result<String> {
    if file == "-" {
        return read_bounded_text(std::io::stdin(), MAX_BYTES);
    }
    read_bounded_text(std::fs::File::open(file)?, MAX_BYTES)
}

fn render(manifest: &str, namespace: &str, defaults: &Defaults, redaction: &Redaction) -> Result<String, Failure> {
    let value: Value = serde_saphyr::from_str(manifest)?;
    let (version, kind) = (format!("{GROUP}/{VERSION}"), KIND);
    if value["apiVersion"] != version || value["kind"] != kind {
        return Err(format!("is not a {kind} of {version}").into());
    }
    let mut batch: SparkBatch = serde_path_to_error::deserialize(value)?;
    batch.metadata.uid = Some(UID.to_owned());
    batch.metadata.namespace.get_or_insert_with(|| namespace.to_owned());
    let batch_name = batch.metadata.name.clone().filter(|name| !name.is_empty());
    let name_problem = batch_name.is_none().then(|| Problem::new("metadata.name", "is required"));
    // What confFrom names is in the cluster: it is told, and not read.
    let explanation = match validate(&batch, 1, &[], defaults) {
        Ok(batch) if name_problem.is_none() => explain(&build(&batch), redaction),
        refused => {
            let problems = name_problem.into_iter().chain(refused.err().into_iter().flatten());
            let problems: Vec<_> = problems.map(|problem| format!("\n  {problem}")).collect();
            return Err(format!("breaks these rules:{}", problems.concat()).into());
        }
    };
    document(&batch, &explanation)
}

fn document(batch: &SparkBatch, explanation: &Explanation) -> Result<String, Failure> {
    let mut text = String::from("# The uid of the batch, and what is named after it, is made up.\n");
    for source in &batch.spec.conf_from {
        let named = [("Secret", &source.secret_ref), ("ConfigMap", &source.config_map_ref)];
        for (kind, object) in named.into_iter().filter_map(|(kind, object)| Some((kind, object.as_ref()?))) {
            writeln!(text, "# confFrom: {kind} '{}' is not read here: what it brings is missing below.", object.name)?;
        }
    }
    let group = explanation.pod_group.iter().map(|group| ("PodGroup of Volcano", group));
    let objects = [
        ("driver pod", &explanation.driver_pod),
        ("its Secret", &explanation.secret),
        ("what Spark makes executor pods from", &explanation.executor_pod_template),
    ];
    for (title, object) in group.chain(objects) {
        write!(text, "---\n# {title}\n{}", serde_saphyr::to_string(object)?)?;
    }
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rendered(manifest: &str) -> Result<String, String> {
        let defaults = Defaults { image: Some("spark:1".to_owned()), ..Defaults::default() };
        render(manifest, "jobs", &defaults, &Redaction::default()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_manifest_becomes_three_documents_without_credentials() {
        let text = rendered(
            "apiVersion: sparkbatch.dev/v1alpha1\nkind: SparkBatch\nmetadata: {name: pi}\nspec:\n  file: /pi.py\n  \
             conf: {spark.a.password: hunter22}\n  confFrom: [{secretRef: {name: keys}}]\n",
        )
        .unwrap();
        let documents: Vec<Value> =
            text.split("---\n").skip(1).map(|document| serde_saphyr::from_str(document).unwrap()).collect();
        let kinds: Vec<_> = documents.iter().map(|document| document["kind"].as_str().unwrap()).collect();
        assert_eq!(kinds, ["Pod", "Secret", "Pod"]);
        assert_eq!(documents[0]["spec"]["containers"][0]["image"], "spark:1");
        assert_eq!(documents[0]["metadata"]["namespace"], "jobs");
        assert!(text.contains("confFrom: Secret 'keys' is not read here"), "{text}");
        assert!(text.contains("redacted") && !text.contains("hunter22"), "{text}");
    }

    #[test]
    fn the_pod_group_of_a_batch_of_volcano_comes_first() {
        let text = rendered(
            "apiVersion: sparkbatch.dev/v1alpha1\nkind: SparkBatch\nmetadata: {name: pi}\nspec:\n  file: /pi.py\n  \
             scheduling: {volcanoQueue: etl}\n",
        )
        .unwrap();
        let first: Value = serde_saphyr::from_str(text.split("---\n").nth(1).unwrap()).unwrap();
        assert_eq!((&first["kind"], &first["spec"]["queue"]), (&"PodGroup".into(), &"etl".into()));
    }

    #[test]
    fn every_problem_of_a_manifest_is_told() {
        let error = rendered(
            "apiVersion: sparkbatch.dev/v1alpha1\nkind: SparkBatch\nmetadata: {}\nspec: {file: pi.py, driverCores: 0}\n",
        )
        .unwrap_err();
        for part in ["metadata.name: is required", "file: ", "driverCores: "] {
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn what_is_no_batch_is_told() {
        assert!(rendered("kind: Pod\n").unwrap_err().contains("is not a SparkBatch of sparkbatch.dev/v1alpha1"));
        let typo = "apiVersion: sparkbatch.dev/v1alpha1\nkind: SparkBatch\nmetadata: {name: pi}\nspec: {file: [a]}\n";
        assert!(rendered(typo).unwrap_err().contains("spec.file"));
    }
}
