//! Logs of drivers.

use super::*;

fn with_driver(api: &ApiServer) {
    api.insert(
        "pods",
        json!({ "metadata": { "namespace": NAMESPACE, "name": "batch-1-driver" },
        "spec": { "containers": [{ "name": "spark-kubernetes-driver", "image": "spark" }] } }),
    );
}

#[tokio::test]
async fn a_log_is_empty_until_the_driver_writes() {
    let api = api_server();
    let router = facade(&api).await;
    post(&router, APACHE, JOB).await;
    let empty = r#"{"id":1,"from":0,"total":0,"log":[]}"#;
    assert_eq!(get(&router, "/batches/1/log").await.text, empty);
    let driver = json!({ "podName": "batch-1-driver", "podUid": "u" });
    set_status(&api, "batch-1", json!({ "phase": "Starting", "driver": driver })).await;
    assert_eq!(get(&router, "/batches/1/log").await.text, empty);
    with_driver(&api);
    assert_eq!(get(&router, "/batches/1/log").await.text, empty);
    api.set_pod_waiting(NAMESPACE, "batch-1-driver", "ContainerCreating", "");
    assert_eq!(get(&router, "/batches/1/log").await.text, empty);
    assert_eq!(get(&router, "/batches/1/log?from=abc").await.msg(), "For input string: \"abc\"");
}

#[tokio::test]
async fn logs_are_paged_as_livy_pages_them() {
    let api = api_server();
    let router = facade(&api).await;
    post(&router, APACHE, r#"{"file":"/a.py","name":"job-a"}"#).await;
    with_driver(&api);
    api.set_pod_running(NAMESPACE, "batch-1-driver");
    let text = (1..=153).map(|n| format!("line {n}\n")).collect::<Vec<_>>().concat();
    api.set_log(NAMESPACE, "batch-1-driver", "spark-kubernetes-driver", &text);
    let driver = json!({ "podName": "batch-1-driver", "podUid": "u" });
    set_status(&api, "batch-1", json!({ "phase": "Running", "driver": driver })).await;
    let cases = [
        ("", 53, 54..154),
        ("?size=3", 150, 151..154),
        ("?from=0&size=3", 0, 1..4),
        ("?from=150&size=100", 150, 151..154),
        ("?from=500&size=100", 500, 0..0),
        ("?from=-5&size=2", 151, 152..154),
        ("?from=1&size=-1", 1, 2..154),
        ("?size=0", 153, 0..0),
    ];
    for (query, from, lines) in cases {
        let expected: Vec<_> = lines.map(|n| format!("line {n}")).collect();
        let page = get(&router, &format!("/batches/job-a/log{query}")).await.json();
        assert_eq!(page, json!({ "id": 1, "from": from, "total": 153, "log": expected }), "{query}");
    }
    assert_eq!(
        get(&router, "/batches/1/log?from=1&size=1").await.text,
        r#"{"id":1,"from":1,"total":153,"log":["line 2"]}"#
    );
    api.inject(Fault::on("get", "pods/log").answer(403));
    assert_eq!(get(&router, "/batches/1/log").await.status, 403);
    let instance = get(&router, &format!("{INSTANCE}/1/log")).await;
    assert!(instance.msg().contains("kubectl logs --namespace spark batch-1-driver"), "{}", instance.text);
}
