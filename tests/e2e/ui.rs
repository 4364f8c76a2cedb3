//! The Spark UI of a real driver, through the REST API: every link and every file of its pages.

use std::collections::{BTreeSet, VecDeque};
use std::process::Stdio;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::{Child, Command};
use tokio::time::timeout;

use crate::world::{INSTANCE, JOB, JOBS, World, say, text_at, until, variable};

/// Until `sparkbatch ui` says where, and until it has ended with its batch.
const FORWARD: Duration = Duration::from_secs(60);

/// Pages and files that are looked at, at most.
const MAX_LOOKS: usize = 150;

/// What `href` and `src` of a page lead to, within it or to others.
fn links(page: &str) -> Vec<String> {
    let values = ["href=\"", "src=\"", "href='", "src='"].iter().flat_map(|attribute| {
        let quote = attribute.chars().last().unwrap();
        page.split(attribute).skip(1).filter_map(move |rest| Some(rest.split(quote).next()?.replace("&amp;", "&")))
    });
    values.filter(|link| !link.is_empty() && !link.starts_with('#') && !link.starts_with("javascript:")).collect()
}

/// Looks at all that the pages below `root` lead to, and at what their scripts call.
fn look_at_all(world: &World, root: &str) -> usize {
    let scripts_call = ["/api/v1/applications", "/static/executorspage-template.html"];
    let mut waiting: VecDeque<String> = ["/"].iter().chain(&scripts_call).map(|path| format!("{root}{path}")).collect();
    let mut seen: BTreeSet<String> = BTreeSet::new();
    while let Some(path) = waiting.pop_front() {
        let path = path.split('#').next().unwrap().to_owned();
        if seen.len() == MAX_LOOKS || !seen.insert(path.clone()) {
            continue;
        }
        assert!(path.starts_with(&format!("{root}/")), "{path} leads out of {root}");
        // A driver on a busy machine may need longer for its first answers than a caller is let wait.
        let mut answers = (0..5).map(|_| world.fetch(&path));
        let (code, kind, location, body) = answers.find(|(code, ..)| *code < 502).unwrap();
        assert!(matches!(code, 200 | 302), "{path}: {code} {body}");
        if code == 302 {
            waiting.push_back(location);
        } else if kind.starts_with("text/html") && !path.ends_with("-template.html") {
            let here = path.split('?').next().unwrap();
            let absolute = |link: String| if link.starts_with('?') { format!("{here}{link}") } else { link };
            waiting.extend(links(&body).into_iter().map(absolute));
        }
    }
    for part in
        ["/jobs/", "/stages/", "/storage/", "/environment/", "/executors/", "/static/webui.css", "/static/webui.js"]
    {
        assert!(seen.iter().any(|path| path.starts_with(&format!("{root}{part}"))), "{part} is not in {seen:#?}");
    }
    seen.len()
}

/// `sparkbatch ui` by kubeconfig, and the address that it printed.
async fn forward(id: i64) -> (Child, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_sparkbatch"));
    command.args(["ui", &id.to_string(), "-n", JOBS]).env("KUBECONFIG", variable("SPARKBATCH_E2E_KUBECONFIG"));
    let mut child = command.stdout(Stdio::piped()).kill_on_drop(true).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
    let url = timeout(FORWARD, lines.next_line()).await.unwrap().unwrap();
    (child, url.unwrap())
}

#[tokio::test]
#[ignore = "needs the local cluster: runs by `make e2e`"]
async fn the_spark_ui_of_a_running_batch_works_below_its_path() {
    let world = World::new().await;
    let request = json!({ "file": "/opt/spark/examples/src/main/python/pi.py", "args": ["20000"], "numExecutors": 1 });
    let (code, created) = world.rest("POST", &format!("/namespaces/{JOBS}/batches"), Some(&request.to_string()));
    assert_eq!(code, 201, "{created}");
    let id = created["id"].as_i64().unwrap();
    world
        .until_status(&format!("batch-{id}"), "running", |status| {
            status.driver.as_ref().is_some_and(|driver| driver.ui_address.is_some())
        })
        .await;
    let bases =
        [format!("/namespaces/{JOBS}/batches/{id}"), format!("/v3/analytics_engines/{INSTANCE}/livy/batches/{id}")];
    // A driver answers before its UI is complete.
    until("the UI to show a job", JOB, async || {
        let (code, _, _, body) = world.fetch(&format!("{}/ui/jobs/", bases[0]));
        code == 200 && body.contains("/jobs/job/?id=0")
    })
    .await;
    for base in &bases {
        let (_, batch) = world.rest("GET", base, None);
        let url = batch["appInfo"]["sparkUiUrl"].as_str().unwrap_or_default();
        assert!(url.ends_with(&format!("{base}/ui/")), "{batch}");
        let (code, _, location, _) = world.fetch(&format!("{base}/ui"));
        assert_eq!((code, location.as_str()), (302, "ui/"));
        let looks = look_at_all(&world, &format!("{base}/ui"));
        say(format!("    {looks} pages and files below {base}/ui"));
        for (path, code) in [("..%2f..%2f1", 400), ("%2e%2e/1", 400), ("jobs/job/kill/?id=0", 403)] {
            assert_eq!(world.fetch(&format!("{base}/ui/{path}")).0, code, "{path}");
        }
    }
    let (mut forwarding, url) = forward(id).await;
    let page = text_at(&format!("{url}jobs/"));
    assert!(page.contains("/jobs/job/?id=0"), "{url}: {page}");
    assert_eq!(world.rest("DELETE", &format!("/namespaces/{JOBS}/batches/{id}"), None).0, 200);
    assert_eq!(world.fetch(&format!("{}/ui/", bases[0])).0, 404);
    assert!(timeout(FORWARD, forwarding.wait()).await.unwrap().unwrap().success());
}
