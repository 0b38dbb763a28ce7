//! What is left of a request's body once it has been answered: read and thrown away.
//!
//! An answer may come before the body's end: it is too large, or its time is over. To close the
//! connection then is to reset it, and a client that is still sending sees the reset instead of the
//! answer.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::runtime::Handle;

/// How long a client may go on sending after its answer.
const LINGER: Duration = Duration::from_secs(5);

/// A body that is read to its end even if its handler does not.
pub struct Lingering {
    /// `None` once it has ended.
    rest: Option<Incoming>,
}

impl Lingering {
    pub fn new(body: Incoming) -> Lingering {
        Lingering { rest: Some(body) }
    }
}

impl Body for Lingering {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let frame = Pin::new(rest).poll_frame(context);
        if matches!(frame, Poll::Ready(None | Some(Err(_)))) {
            self.rest = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.rest.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let Some(mut rest) = self.rest.take() else { return };
        // Without a runtime, the server has ended and its connections with it.
        let Ok(runtime) = Handle::try_current() else { return };
        if rest.is_end_stream() {
            return;
        }
        let to_the_end = async move {
            while let Some(Ok(_)) = poll_fn(|context| Pin::new(&mut rest).poll_frame(context)).await
            {
            }
        };
        runtime.spawn(async move { tokio::time::timeout(LINGER, to_the_end).await });
    }
}
