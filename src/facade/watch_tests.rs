use std::collections::BTreeSet;
use std::future::pending;

use axum::body::{Body, to_bytes};
use proptest::prelude::*;
use tokio_util::sync::CancellationToken;

use super::super::streams::Streams;
use super::*;

const LONG: Duration = Duration::from_secs(60);
const SHORT: Duration = Duration::from_millis(20);

/// As many events as the client takes.
async fn endless(events: Events) -> Result<(), Gone> {
    loop {
        events.send(event("batch", &Deleted { id: 1 })).await?;
    }
}

async fn place(streams: &Streams) -> Permit {
    for _ in 0..1000 {
        if let Ok(permit) = streams.permit() {
            return permit;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    panic!("the place was not given back");
}

async fn text(body: Body) -> String {
    String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().into()).unwrap()
}

#[tokio::test]
async fn a_client_that_takes_nothing_loses_its_place_and_little_waits_for_it() {
    let streams = Streams::new(1, CancellationToken::new());
    let response = stream(streams.permit().unwrap(), Bounds { age: LONG, patience: SHORT }, endless);
    assert!(streams.permit().is_err());
    place(&streams).await;
    assert_eq!(text(response.into_body()).await, "event: batch\ndata: {\"id\":1}\n\n".repeat(QUEUE));
}

#[tokio::test]
async fn a_stream_ends_when_it_is_old_when_its_client_is_gone_and_when_the_process_ends() {
    let streams = Streams::new(1, CancellationToken::new());
    let silent = |_| pending::<Result<(), Gone>>();
    let old = stream(streams.permit().unwrap(), Bounds { age: SHORT, patience: LONG }, silent);
    assert_eq!(text(old.into_body()).await, "");

    let gone = stream(place(&streams).await, Bounds { age: LONG, patience: LONG }, silent);
    drop(gone);
    let last = stream(place(&streams).await, Bounds { age: LONG, patience: LONG }, silent);
    streams.close();
    assert_eq!(text(last.into_body()).await, "");
}

proptest! {
    #[test]
    fn ids_are_a_set(steps in prop::collection::vec((any::<bool>(), prop_oneof![0i32..200, any::<i32>()]), 0..200)) {
        let (mut ids, mut model) = (Ids::default(), BTreeSet::new());
        for (insert, id) in steps {
            if insert {
                ids.insert(id);
                model.insert(id);
            } else {
                prop_assert_eq!(ids.remove(id), model.remove(&id));
            }
        }
        prop_assert_eq!(ids.all(), model.into_iter().collect::<Vec<_>>());
        let nothing_kept_for_nothing = ids.bits.values().all(|bits| *bits != 0);
        prop_assert!(nothing_kept_for_nothing);
    }
}
