//! Several replicas: who acts, who takes over, and what a leader that lost its Lease can no longer do.

use std::sync::{Mutex, mpsc};
use std::thread;
use std::time::Instant;

use rstest::rstest;
use sparkbatch::lease::{ElectionConfig, LEASE_NAME, Timing};

use super::*;

const LEASES: &str = "operators";

/// Terms that a test can wait for.
pub(super) fn timing() -> Timing {
    Timing {
        duration: Duration::from_secs(2),
        deadline: Duration::from_millis(1400),
        margin: Duration::from_millis(200),
        renew: Duration::from_millis(300),
        retry: Duration::from_millis(150),
    }
}

pub(super) fn replica_config(identity: &str, shards: u16, timing: Timing) -> ControllerConfig {
    let election = ElectionConfig { namespace: LEASES.into(), identity: identity.into(), shards, timing };
    ControllerConfig { election: Some(election), ..config(SignedDuration::from_secs(600)) }
}

fn replica_of(server: &ApiServer, identity: &str, shards: u16) -> Operator {
    start_config(server.client_as(identity), replica_config(identity, shards, timing()))
}

/// A replica whose client is labelled with its identity.
fn replica(server: &ApiServer, identity: &str) -> Operator {
    replica_of(server, identity, 1)
}

fn holder(server: &ApiServer, lease: &str) -> Option<String> {
    server.get("leases", LEASES, lease)?["spec"]["holderIdentity"].as_str().map(str::to_owned)
}

pub(super) async fn until_held(server: &ApiServer, identity: &str) {
    let held = |server: &ApiServer| holder(server, LEASE_NAME).as_deref() == Some(identity);
    server.until(&format!("{identity} to lead"), held).await;
}

/// What a replica wrote, but for Leases.
fn writes_of(server: &ApiServer, identity: &str) -> Vec<String> {
    let calls = server.calls_of(identity);
    calls.iter().filter(|call| call.is_write() && call.resource != "leases").map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_follower_is_ready_and_writes_nothing_until_the_leader_lets_go() {
    let server = server();
    let one = replica(&server, "one");
    until_held(&server, "one").await;
    let two = replica(&server, "two");
    server.until("the follower to be ready", |_| two.is_ready()).await;
    let driver = running_pi(&server).await;
    assert_eq!(writes_of(&server, "two"), Vec::<String>::new());

    let stopped = Instant::now();
    one.cancel.cancel();
    until_held(&server, "two").await;
    assert!(stopped.elapsed() < Duration::from_secs(1), "it waited for the Lease to expire");
    server.set_driver_terminated(NS, &driver, 0, "Completed");
    until_phase(&server, "pi", "Succeeded", "DriverSucceeded").await;
    assert_eq!(created_pods(&server), 1);
}

#[tokio::test]
async fn a_killed_leader_is_followed_and_every_batch_looked_at() {
    let server = server();
    let one = replica(&server, "one");
    until_held(&server, "one").await;
    let _two = replica(&server, "two");
    server.until("the follower to see the Lease", |server| !server.calls_of("two").is_empty()).await;
    server.kill("one");
    drop(one);
    // Nobody leads: the follower hears of it and leaves it for later.
    submit(&server, "orphan", pi());
    until_phase(&server, "orphan", "Starting", "DriverPending").await;
    assert_eq!(holder(&server, LEASE_NAME).as_deref(), Some("two"));
    assert_eq!(server.get("leases", LEASES, LEASE_NAME).unwrap()["spec"]["leaseTransitions"], 1);
    for lease in server.bodies("update", "leases") {
        assert!(lease["metadata"]["resourceVersion"].is_string(), "{lease}");
    }
}

#[tokio::test]
async fn a_leader_that_cannot_renew_begins_nothing_and_goes_on_once_it_can() {
    let server = server();
    // Between the deadline and the time that others may lead there is all the time that the test needs.
    let timing = Timing { duration: Duration::from_secs(60), margin: Duration::from_secs(1), ..timing() };
    let _one = start_config(server.client_as("one"), replica_config("one", 1, timing));
    until_held(&server, "one").await;
    server.inject(Fault::on("get", "secrets").hold());
    submit(&server, "early", pi());
    server.until("the look for the Secret", |server| server.held() == 1).await;
    server.inject(Fault::on("update", "leases").answer(500).always());
    tokio::time::sleep(timing.deadline + timing.retry).await;
    server.release_held();
    submit(&server, "late", pi());
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(writes_of(&server, "one"), Vec::<String>::new());

    server.clear_faults();
    until_phase(&server, "early", "Starting", "DriverPending").await;
    until_phase(&server, "late", "Starting", "DriverPending").await;
}

#[tokio::test]
async fn a_leader_that_cannot_renew_is_followed_and_writes_nothing_more() {
    let server = server();
    let _one = replica(&server, "one");
    until_held(&server, "one").await;
    let _two = replica(&server, "two");
    server.inject(Fault::on("update", "leases").by_client("one").refuse().always());
    until_held(&server, "two").await;
    submit(&server, "pi", pi());
    until_phase(&server, "pi", "Starting", "DriverPending").await;
    assert_eq!(writes_of(&server, "one"), Vec::<String>::new());
}

/// The whole replica stops, as with SIGSTOP, after it has seen that there is no Secret and the batch is as before. Meanwhile the other runs the
/// job to its end, and its objects go. Woken, the first must not start it again.
#[rstest]
#[case::the_pod(&["pods"])]
#[case::the_pod_and_its_secret(&["pods", "secrets"])]
#[tokio::test]
async fn a_leader_that_slept_through_a_whole_job_does_not_start_it_again(#[case] removed: &[&str]) {
    let server = server();
    let (wake, asleep) = mpsc::channel::<()>();
    let asleep = Mutex::new(asleep);
    let sleeps = move |_: &ApiServer| {
        let _ = asleep.lock().unwrap().recv_timeout(Duration::from_secs(60));
    };
    server.inject(Fault::on("get", "sparkbatches").by_client("one").run_after(sleeps));
    let (cancel, first) = (CancellationToken::new(), server.clone());
    let cancelled = cancel.clone();
    let sleeper = thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let _one = replica(&first, "one");
            cancelled.cancelled().await;
        });
    });
    until_held(&server, "one").await;
    submit(&server, "pi", pi());
    let looked = |server: &ApiServer| {
        server.calls_of("one").iter().any(|call| (call.verb, call.resource.as_str()) == ("get", "sparkbatches"))
    };
    server.until("the first to look at the batch", looked).await;

    let _two = replica(&server, "two");
    let driver = driver_name(&server).await;
    server.set_pod_running(NS, &driver);
    server.set_driver_terminated(NS, &driver, 0, "Completed");
    until_phase(&server, "pi", "Succeeded", "DriverSucceeded").await;
    for kind in removed {
        let name = server.list(kind, NS)[0]["metadata"]["name"].as_str().unwrap().to_owned();
        server.remove(kind, NS, &name);
    }
    let before = server.calls_of("one").len();
    wake.send(()).unwrap();
    server.until("the first to be awake", |server| server.calls_of("one").len() > before).await;
    tokio::time::sleep(Duration::from_millis(300)).await;

    assert_eq!(writes_of(&server, "one"), Vec::<String>::new());
    assert_eq!(created_pods(&server), 1);
    cancel.cancel();
    sleeper.join().unwrap();
}

#[tokio::test]
async fn shards_are_led_apart() {
    let server = server();
    // Held by somebody who never changes: expires only after an hour.
    let anothers = json!({ "holderIdentity": "another", "leaseDurationSeconds": 3600 });
    server.insert(
        "leases",
        json!({ "metadata": { "name": format!("{LEASE_NAME}-0"), "namespace": LEASES }, "spec": anothers }),
    );
    let _one = replica_of(&server, "one", 2);
    server.until("the other Lease", |server| holder(server, &format!("{LEASE_NAME}-1")).is_some()).await;
    let namespaces: Vec<_> = (0..8).map(|n| format!("team-{n}")).collect();
    for namespace in &namespaces {
        server.insert("sparkbatches", json!({ "metadata": { "name": "pi", "namespace": namespace }, "spec": pi() }));
    }
    let started = |server: &ApiServer| {
        let has_pods = |namespace: &&String| !server.list("pods", namespace).is_empty();
        namespaces.iter().filter(has_pods).count()
    };
    server.until("half of the namespaces to be served", |server| started(server) == 4).await;
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(started(&server), 4);
    assert_eq!(holder(&server, &format!("{LEASE_NAME}-0")).as_deref(), Some("another"));
}

/// Creations of drivers by a replica, in each namespace.
fn started_by(server: &ApiServer, identity: &str, namespace: &str) -> usize {
    let is_one = |call: &&common::apiserver::Call| {
        (call.verb, call.resource.as_str()) == ("create", "pods") && call.namespace.as_deref() == Some(namespace)
    };
    server.calls_of(identity).iter().filter(is_one).count()
}

/// The first replica leads both shards, and cannot renew the Lease of one of them any more.
#[tokio::test]
async fn a_shard_changes_hands_while_the_other_stays_and_each_batch_gets_one_driver() {
    let server = server();
    let (lost, kept) = (format!("{LEASE_NAME}-0"), format!("{LEASE_NAME}-1"));
    let is_held = |lease: &str, by: &str| holder(&server, lease).as_deref() == Some(by);
    let _one = replica_of(&server, "one", 2);
    server.until("the first to lead both", |_| is_held(&lost, "one") && is_held(&kept, "one")).await;
    // "team" is of shard 0, "jobs" of shard 1.
    let batch = |namespace: &str, name: &str| {
        let metadata = json!({ "name": name, "namespace": namespace });
        server.insert("sparkbatches", json!({ "metadata": metadata, "spec": pi() }));
    };
    let started = |namespace: &str, name: &str| {
        let batch = server.get("sparkbatches", namespace, name).unwrap();
        batch["status"]["phase"] == "Starting"
    };
    for namespace in ["team", "jobs"] {
        batch(namespace, "before");
    }
    server.until("both to be started", |_| started("team", "before") && started("jobs", "before")).await;

    let _two = replica_of(&server, "two", 2);
    server.inject(Fault::on("update", "leases").named(&lost).by_client("one").answer(500).always());
    server.until("the second to lead one of them", |_| is_held(&lost, "two")).await;
    assert!(is_held(&kept, "one"), "the other stays");
    for namespace in ["team", "jobs"] {
        batch(namespace, "after");
    }
    server.until("both to be started", |_| started("team", "after") && started("jobs", "after")).await;
    tokio::time::sleep(Duration::from_millis(300)).await;

    assert!(is_held(&kept, "one") && is_held(&lost, "two"));
    for namespace in ["team", "jobs"] {
        assert_eq!(server.list("pods", namespace).len(), 2, "{namespace}");
    }
    let by = |identity| ["team", "jobs"].map(|namespace| started_by(&server, identity, namespace));
    assert_eq!((by("one"), by("two")), ([1, 2], [1, 0]));
    assert_eq!(created_pods(&server), 4);
}
