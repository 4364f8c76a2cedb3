//! The page for people: how it is served. What it does in a browser is tested in tests/page.

use super::*;

async fn file(router: &Router, path: &str, tag: &str) -> Answer {
    let request = Request::get(path).header("if-none-match", tag).body(Body::empty()).unwrap();
    let (parts, body) = router.clone().oneshot(request).await.unwrap().into_parts();
    let text = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().into()).unwrap();
    Answer { status: parts.status, headers: parts.headers, text }
}

/// Every file of the page, by the names in it: the document's, and those that its modules import.
async fn files(router: &Router) -> Vec<String> {
    let mut paths = vec!["/".to_owned()];
    for part in file(router, "/", "").await.text.split('"').filter(|part| part.starts_with("page/")) {
        if !paths.contains(&format!("/{part}")) {
            paths.push(format!("/{part}"));
        }
    }
    paths
}

#[tokio::test]
async fn the_page_is_served_to_everybody_with_a_policy_that_lets_it_use_nothing_but_this_server() {
    let router = facade_with(&api_server(), FacadeConfig { auth: AuthMode::Kubernetes, ..config() }).await;
    let files_of_page = files(&router).await;
    assert_eq!(files_of_page.len(), 9, "{files_of_page:?}");
    for path in files_of_page {
        let answer = file(&router, &path, "").await;
        assert_eq!(answer.status, 200, "{path}");
        let kind = match path.rsplit('.').next() {
            Some("css") => "text/css; charset=utf-8",
            Some("js") => "text/javascript; charset=utf-8",
            _ => "text/html; charset=utf-8",
        };
        assert_eq!(answer.header("content-type"), kind, "{path}");
        assert_eq!(answer.header("x-content-type-options"), "nosniff");
        assert_eq!(
            answer.header("content-security-policy"),
            "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
             frame-ancestors 'none'; form-action 'self'; base-uri 'none'"
        );
    }
}

#[tokio::test]
async fn the_pages_files_are_not_sent_again_to_who_has_them() {
    let router = facade(&api_server()).await;
    for path in files(&router).await {
        let whole = file(&router, &path, "").await;
        assert_eq!(whole.header("cache-control"), "private, no-cache", "{path}");
        let again = file(&router, &path, whole.header("etag")).await;
        assert_eq!((again.status, again.text.as_str()), (StatusCode::NOT_MODIFIED, ""), "{path}");
        assert_eq!(again.header("etag"), whole.header("etag"));
        assert_eq!(file(&router, &path, "\"other\"").await.status, 200);
    }
}

#[tokio::test]
async fn nothing_in_the_page_is_inline_absolute_or_makes_markup_of_text() {
    let router = facade(&api_server()).await;
    for path in files(&router).await {
        let text = file(&router, &path, "").await.text;
        for never in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "<style",
            " style=",
            "http://",
            "https://",
            "=\"/",
        ] {
            assert!(!text.contains(never), "{path} has {never}");
        }
        assert!(!text.contains("<script>") && !text.contains(" onclick="), "{path}");
    }
}

#[tokio::test]
async fn where_livy_has_its_page_leads_to_this_one_and_other_files_are_none() {
    let router = facade(&api_server()).await;
    let livys = file(&router, "/ui", "").await;
    assert_eq!((livys.status, livys.header("location")), (StatusCode::FOUND, "./"));
    for path in ["/page/", "/page/none.js", "/page/../mod.rs", "/page/%2e%2e%2fmod.rs"] {
        assert_eq!(get(&router, path).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn a_script_is_not_told_to_ask_for_a_password() {
    let router = facade_with(&api_server(), FacadeConfig { auth: AuthMode::Kubernetes, ..config() }).await;
    let plain = get(&router, APACHE).await;
    assert!(plain.header("www-authenticate").contains("Basic"));
    let request = Request::get(APACHE).header("x-requested-with", "XMLHttpRequest").body(Body::empty()).unwrap();
    let script = send(&router, request).await;
    assert_eq!(
        (script.status, script.header("www-authenticate")),
        (StatusCode::UNAUTHORIZED, "Bearer realm=\"sparkbatch\"")
    );
}

#[tokio::test]
async fn lists_show_details_only_where_they_are_asked_for_and_a_batch_has_more_of_them() {
    let api = api_server();
    let router = facade(&api).await;
    let body = r#"{"file":"/a.py","name":"job-a","conf":{"spark.app.secret":"hunter2","spark.a":"1"}}"#;
    assert_eq!(post(&router, APACHE, body).await.id(), 1);
    let executors = json!({ "requested": 2, "pending": 1, "running": 1, "succeeded": 0, "failed": 0 });
    let status = json!({ "phase": "Running", "reason": "DriverRunning", "runningTime": "2026-01-31T08:00:00Z", "executors": executors });
    set_status(&api, "batch-1", status).await;
    assert!(get(&router, APACHE).await.json()["sessions"][0].get("details").is_none());
    let listed = get(&router, &format!("{APACHE}?details=true&search=JOB")).await.json();
    let details = &listed["sessions"][0]["details"];
    assert_eq!((&details["reason"], &details["executors"]), (&json!("DriverRunning"), &executors));
    assert_eq!((&details["started"], &details["ended"]), (&json!("2026-01-31T08:00:00Z"), &Value::Null));
    let one = get(&router, &format!("{APACHE}/job-a/details")).await;
    assert_eq!(one.json()["request"]["conf"], json!({ "spark.a": "1" }));
    assert!(!one.text.contains("hunter2"));
}
