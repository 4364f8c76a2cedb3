//! Submitting, listing, watching and ending batches, by both ways.

use std::time::Duration;

use rstest::rstest;
use tokio::io::{AsyncBufReadExt as _, BufReader};

use super::*;

#[rstest]
#[case(Way::Kubeconfig)]
#[case(Way::Livy)]
#[tokio::test(flavor = "multi_thread")]
async fn credentials_of_a_command_line_go_into_a_secret(#[case] way: Way) {
    let world = World::new().await;
    let line = ["submit", "--verbose", "--conf", "spark.a.password=canary", "--conf", "spark.b=c", "/a.py", "--x"];
    let done = world.run(way, line).await;
    assert_eq!(done.code, 0, "{}", done.err);
    assert!(!format!("{}{}", done.out, done.err).contains("canary"), "{}{}", done.out, done.err);
    let [batch] = &world.batches()[..] else { panic!("not one batch") };
    assert_eq!((&batch["spec"]["conf"], &batch["spec"]["args"]), (&json!({ "spark.b": "c" }), &json!(["--x"])));
    let [secret] = &world.api.list("secrets", NAMESPACE)[..] else { panic!("not one Secret") };
    assert_eq!(secret["metadata"]["name"], batch["spec"]["confFrom"][0]["secretRef"]["name"]);
    assert_eq!(secret["metadata"]["ownerReferences"][0]["uid"], batch["metadata"]["uid"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_whose_secret_is_refused_is_taken_back() {
    let world = World::new().await;
    world.api.inject(common::apiserver::Fault::on("create", "secrets").answer(403));
    let done = world.run(Way::Kubeconfig, ["submit", "--conf", "spark.a.password=canary", "/a.py"]).await;
    assert_eq!((done.code, world.batches().len()), (1, 0), "{}", done.err);
    assert!(done.err.contains("the Secret") && !done.err.contains("canary"), "{}", done.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_properties_file_goes_behind_conf() {
    let world = World::new().await;
    std::fs::write(world.folder.join("p.conf"), "# mine\nspark.a   file  \nspark.b: file\n").unwrap();
    let line = ["submit", "--properties-file", "p.conf", "--conf", "spark.b=flag", "-o", "name", "/a.py"];
    let name = world.says(Way::Kubeconfig, line).await;
    let batch = world.api.get("sparkbatches", NAMESPACE, name.trim()).unwrap();
    assert_eq!(batch["spec"]["conf"], json!({ "spark.a": "file", "spark.b": "flag" }));
    let missing = world.run(Way::Kubeconfig, ["submit", "--properties-file", "none.conf", "/a.py"]).await;
    assert!(missing.code == 1 && missing.err.contains("none.conf"), "{}", missing.err);
}

#[rstest]
#[case(Way::Kubeconfig, "etl  ", "1/2")]
#[case(Way::Livy, "-  ", "-")]
#[tokio::test(flavor = "multi_thread")]
async fn batches_are_listed_and_shown(#[case] way: Way, #[case] name: &str, #[case] executors: &str) {
    let world = World::new().await;
    world.insert_running("etl", 7, "");
    world.caught_up().await;
    let list = world.says(way, ["list"]).await;
    let rows: Vec<&str> = list.lines().collect();
    assert!(rows[0].starts_with("STATE    ID  NAME") && rows[1].starts_with(&format!("Running  7   {name}")), "{list}");
    assert!(rows[1].contains(executors) && rows[1].ends_with("alice"), "{list}");
    let json: Value = serde_json::from_str(&world.says(way, ["list", "-o", "json"]).await).unwrap();
    assert_eq!(
        (&json[0]["id"], &json[0]["phase"], &json[0]["appId"]),
        (&json!(7), &json!("Running"), &json!("spark-7"))
    );
    let one = world.says(way, ["status", "7"]).await;
    assert!(one.contains("State:       Running") && one.contains("spark-7"), "{one}");
    let missing = world.run(way, ["status", "8"]).await;
    assert_eq!((missing.code, missing.out.as_str()), (1, ""));
    assert!(missing.err.contains("there is no batch '8'"), "{}", missing.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_begins_with_the_latest_and_keeps_its_limit() {
    let world = World::new().await;
    for id in 1..=5 {
        world.insert_running(&format!("etl-{id}"), id, "");
    }
    world.caught_up().await;
    for way in [Way::Kubeconfig, Way::Livy] {
        let names = world.says(way, ["list", "--limit", "2", "-o", "json"]).await;
        let list: Value = serde_json::from_str(&names).unwrap();
        let ids: Vec<_> = list.as_array().unwrap().iter().map(|batch| batch["id"].as_i64().unwrap()).collect();
        assert_eq!(ids, [5, 4], "{way:?}");
    }
}

#[rstest]
#[case(Way::Kubeconfig)]
#[case(Way::Livy)]
#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_printed_and_its_end_too(#[case] way: Way) {
    let world = World::new().await;
    world.insert_running("etl", 7, "one\ntwo\nthree\n");
    world.caught_up().await;
    assert_eq!(world.says(way, ["logs", "7"]).await, "one\ntwo\nthree\n");
    assert_eq!(world.says(way, ["logs", "7", "--tail", "1"]).await, "three\n");
}

#[rstest]
#[case(Way::Kubeconfig)]
#[case(Way::Livy)]
#[tokio::test(flavor = "multi_thread")]
async fn a_log_is_followed_to_the_end_of_its_batch(#[case] way: Way) {
    let world = World::new().await;
    world.insert_running("etl", 7, "one\n");
    world.caught_up().await;
    let mut child = world.command(way, ["logs", "-f", "7"]).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let mut next = async || tokio::time::timeout(Duration::from_secs(20), lines.next_line()).await.unwrap().unwrap();
    assert_eq!(next().await.as_deref(), Some("one"));
    world.api.append_log(NAMESPACE, "etl-driver", "spark-kubernetes-driver", "two\n");
    assert_eq!(next().await.as_deref(), Some("two"));
    // As when the API server is restarted.
    world.api.break_follows();
    world.api.append_log(NAMESPACE, "etl-driver", "spark-kubernetes-driver", "three\n");
    assert_eq!(next().await.as_deref(), Some("three"));
    // It ends, and nobody says that the driver has: as of an idle connection that is cut.
    world.api.set_driver_terminated(NAMESPACE, "etl-driver", 0, "Completed");
    tokio::time::sleep(Duration::from_millis(300)).await;
    world.api.append_log(NAMESPACE, "etl-driver", "spark-kubernetes-driver", "four\n");
    assert_eq!(next().await.as_deref(), Some("four"));
    world.api.update("sparkbatches", NAMESPACE, "etl", |batch| batch["status"]["phase"] = json!("Succeeded"));
    assert_eq!(next().await, None);
    assert_eq!(done(child).await.code, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kill_by_kubeconfig_keeps_the_batch_and_by_livy_forgets_it() {
    let world = World::new().await;
    for (name, id) in [("etl", 7), ("other", 8)] {
        world.insert_running(name, id, "");
    }
    world.caught_up().await;
    assert_eq!(world.says(Way::Kubeconfig, ["kill", "etl"]).await, "batch etl is being killed\n");
    assert_eq!(world.api.get("sparkbatches", NAMESPACE, "etl").unwrap()["spec"]["cancel"], true);
    assert_eq!(world.says(Way::Livy, ["kill", "8"]).await, "batch 8 killed, and forgotten by its Livy\n");
    assert!(world.api.get("sparkbatches", NAMESPACE, "other").is_none());
    world.set_status("etl", &json!({ "id": 7, "phase": "Killed" }));
    assert_eq!(world.says(Way::Kubeconfig, ["kill", "7"]).await, "batch 7 had ended before\n");
}

#[rstest]
#[case(Way::Kubeconfig, json!({ "id": 1, "phase": "Succeeded" }), 0)]
#[case(Way::Kubeconfig, json!({ "id": 1, "phase": "Failed", "reason": "DriverExitNonZero", "message": "exit code 42",
    "driver": { "podName": "p", "podUid": "u", "exitCode": 42 } }), 42)]
#[case(Way::Kubeconfig, json!({ "id": 1, "phase": "Killed" }), 143)]
#[case(Way::Livy, json!({ "id": 1, "phase": "Succeeded" }), 0)]
#[case(Way::Livy, json!({ "id": 1, "phase": "Failed" }), 1)]
#[tokio::test(flavor = "multi_thread")]
async fn a_wait_ends_with_the_exit_code_of_the_batch(#[case] way: Way, #[case] status: Value, #[case] code: i32) {
    let world = World::new().await;
    let child = world.command(way, ["submit", "--wait", "/a.py"]).spawn().unwrap();
    world.api.until("the batch", |api| !api.list("sparkbatches", NAMESPACE).is_empty()).await;
    let name = world.batches()[0]["metadata"]["name"].as_str().unwrap().to_owned();
    world.set_status(&name, &json!({ "id": 1, "phase": "Running" }));
    tokio::time::sleep(Duration::from_millis(1500)).await;
    world.set_status(&name, &status);
    let done = done(child).await;
    assert_eq!(done.code, code, "{}{}", done.out, done.err);
    assert!(done.err.contains("Running, 0:00:0"), "{}", done.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_is_interrupted_leaves_the_batch_running() {
    let world = World::new().await;
    let child = world.command(Way::Kubeconfig, ["submit", "--wait", "-n", NAMESPACE, "/a.py"]).spawn().unwrap();
    world.api.until("the batch", |api| !api.list("sparkbatches", NAMESPACE).is_empty()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &pid]).status().await.unwrap().success());
    let done = done(child).await;
    assert_eq!(done.code, 130, "{}{}", done.out, done.err);
    let name = world.batches()[0]["metadata"]["name"].as_str().unwrap().to_owned();
    assert!(done.err.contains(&format!("sparkbatch logs -f {name} --namespace spark")), "{}", done.err);
    assert!(world.batches()[0]["spec"]["cancel"].is_null());
}

#[rstest]
#[case(Way::Kubeconfig, "-TERM", 143)]
#[case(Way::Kubeconfig, "-INT", 130)]
#[case(Way::Livy, "-TERM", 143)]
#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_cancels_on_exit_takes_its_batch_along(#[case] way: Way, #[case] signal: &str, #[case] code: i32) {
    let world = World::new().await;
    let child = world.command(way, ["submit", "--wait", "--cancel-on-exit", "/a.py"]).spawn().unwrap();
    world.api.until("the batch", |api| !api.list("sparkbatches", NAMESPACE).is_empty()).await;
    // Not before the answer: the batch of a request that is not answered yet is killed once it is.
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args([signal, &pid]).status().await.unwrap().success());
    let done = done(child).await;
    assert_eq!(done.code, code, "{}{}", done.out, done.err);
    assert!(done.err.contains("is being killed"), "{}", done.err);
    let left = world.batches();
    assert!(
        left.iter().all(|batch| batch["spec"]["cancel"] == true) && left.len() == usize::from(way == Way::Kubeconfig)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wait_that_is_terminated_leaves_the_batch_running_unless_it_is_to_cancel() {
    let world = World::new().await;
    let child = world.command(Way::Kubeconfig, ["submit", "--wait", "/a.py"]).spawn().unwrap();
    world.api.until("the batch", |api| !api.list("sparkbatches", NAMESPACE).is_empty()).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    let pid = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-TERM", &pid]).status().await.unwrap().success());
    let done = done(child).await;
    assert_eq!(done.code, 143, "{}{}", done.out, done.err);
    assert!(done.err.contains("The batch goes on") && world.batches()[0]["spec"]["cancel"].is_null(), "{}", done.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_pod_names_its_batch_and_its_namespace_by_kubeconfig() {
    let world = World::new().await;
    world.insert_running("etl", 7, "one\n");
    world.caught_up().await;
    let mut command = world.command(Way::Kubeconfig, ["submit", "--status", "spark:etl-driver", "-o", "name"]);
    let elsewhere = std::fs::read_to_string(world.folder.join("kubeconfig")).unwrap();
    std::fs::write(world.folder.join("other"), elsewhere.replace(r#""namespace":"spark""#, r#""namespace":"other""#))
        .unwrap();
    let done = done(command.env("KUBECONFIG", world.folder.join("other")).spawn().unwrap()).await;
    assert_eq!(done.out, "etl\n", "{}", done.err);
    let by_url = world.run(Way::Livy, ["status", "spark:etl-driver"]).await;
    assert!(by_url.code == 1 && by_url.err.contains("give the batch's id"), "{}", by_url.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_of_kubectl_completes_its_commands() {
    let world = World::new().await;
    let mut command = world.command(Way::Kubeconfig, ["sub"]);
    let done = done(command.arg0("/usr/bin/kubectl_complete-sparkbatch").spawn().unwrap()).await;
    assert_eq!((done.code, done.out.as_str()), (0, "submit\n"), "{}", done.err);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_nobody_reads_ends_quietly() {
    let folder = env!("CARGO_MANIFEST_DIR");
    let (manifest, sample) =
        (format!("{folder}/tests/cli/kubeflow/pi.yaml"), format!("{folder}/deploy/samples/pi.yaml"));
    let lines: [&[&str]; 5] = [
        &["crd"],
        &["openapi"],
        &["completions", "bash"],
        &["convert", &manifest],
        &["render", &sample, "--spark-image", "spark"],
    ];
    for line in lines {
        let (reader, writer) = std::io::pipe().unwrap();
        drop(reader);
        let mut command = Command::new(env!("CARGO_BIN_EXE_sparkbatch"));
        command.args(line).stdin(Stdio::null()).stdout(writer).stderr(Stdio::piped());
        let done = done(command.spawn().unwrap()).await;
        assert!(done.code == 0 && !done.err.contains("panicked"), "{line:?}: {} {}", done.code, done.err);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_is_too_long_is_refused_and_not_cut() {
    let world = World::new().await;
    let long = format!("spark.a x\n#{}", "x".repeat(4 * 1024 * 1024));
    std::fs::write(world.folder.join("long"), long).unwrap();
    for line in [&["submit", "--properties-file", "long", "/a.py"][..], &["render", "long"], &["convert", "long"]] {
        let done = world.run(Way::Kubeconfig, line.iter().copied()).await;
        assert!(done.code == 1 && done.err.contains("is larger than 4194304 bytes"), "{line:?}: {}", done.err);
    }
    assert_eq!(world.batches().len(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_reached_is_named() {
    let world = World::new().await;
    let mut command = world.command(Way::Livy, ["list"]);
    command.env("SPARKBATCH_URL", "http://127.0.0.1:9").env("SPARKBATCH_TOKEN", "canary");
    let failed = done(command.spawn().unwrap()).await;
    assert_eq!(failed.code, 1);
    assert!(failed.err.contains("http://127.0.0.1:9/batches cannot be reached"), "{}", failed.err);
    assert!(!failed.err.contains("canary"));
    let context = world.run(Way::Kubeconfig, ["list", "--context", "none"]).await;
    assert!(context.code == 1 && context.err.contains("--context"), "{}", context.err);
}
