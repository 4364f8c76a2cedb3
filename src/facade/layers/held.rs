//! Bytes that hold a place: it is given back when they are dropped, which for an answer is when the last of them
//! has been given to the kernel, and not when the handler is done.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use axum::body::{Body, Bytes, HttpBody};
use http_body::{Frame, SizeHint};
use tokio::sync::OwnedSemaphorePermit;

/// `bytes`, holding `permit`.
pub(in crate::facade) fn held(bytes: Bytes, permit: OwnedSemaphorePermit) -> Bytes {
    Bytes::from_owner(Owner { bytes, _permit: Arc::new(permit) })
}

struct Owner {
    bytes: Bytes,
    _permit: Arc<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// A body whose every piece holds the permit.
pub(super) struct Held {
    body: Body,
    permit: Arc<OwnedSemaphorePermit>,
}

impl Held {
    pub(super) fn body(body: Body, permit: OwnedSemaphorePermit) -> Body {
        Body::new(Self { body, permit: Arc::new(permit) })
    }
}

impl HttpBody for Held {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let hold = |bytes| Bytes::from_owner(Owner { bytes, _permit: Arc::clone(&self.permit) });
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(hold))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;
    use tokio::sync::Semaphore;

    use super::*;

    #[tokio::test]
    async fn a_place_is_given_back_with_the_last_of_the_bytes() {
        let places = Arc::new(Semaphore::new(1));
        let body = Held::body(Body::from("answer"), Arc::clone(&places).try_acquire_owned().unwrap());
        let mut bytes = body.collect().await.unwrap().to_bytes();
        assert_eq!((&bytes[..], places.available_permits()), (&b"answer"[..], 0));
        let rest = bytes.split_off(3);
        drop(bytes);
        assert_eq!(places.available_permits(), 0);
        drop(rest);
        assert_eq!(places.available_permits(), 1);
    }
}
