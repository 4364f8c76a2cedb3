//! Manifests of kubeflow's operator.

use super::*;

#[tokio::test(flavor = "multi_thread")]
async fn manifests_of_kubeflow_become_batches_and_a_report() {
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/cli/kubeflow");
    let cases = [
        ("pi", 0),
        ("python-with-hadoop", 0),
        ("volumes-and-sidecars", 0),
        ("volcano-with-metrics", 0),
        ("at-odds-with-itself", 0),
        ("relative-file", 1),
        ("scheduled", 1),
    ];
    for (name, code) in cases {
        let mut command = Command::new(env!("CARGO_BIN_EXE_sparkbatch"));
        let file = format!("{name}.yaml");
        command.args(["convert", &file]).current_dir(folder).stdout(Stdio::piped()).stderr(Stdio::piped());
        let done = done(command.spawn().unwrap()).await;
        assert_eq!(done.code, code, "{name}: {}", done.err);
        insta::assert_snapshot!(format!("kubeflow_{name}"), format!("{}---\n{}", done.out, done.err));
    }
}
