//! One span, one log line and one set of metrics a request. Texts are never logged, nor are paths
//! as clients wrote them: the route's pattern stands for both.

use std::time::Instant;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::Response;
use tower_http::request_id::RequestId;
use tracing::field::Empty;
use tracing::{Instrument, info, info_span};

use crate::http::AppState;
use crate::metrics::{Rejection, RejectionLabel, RequestLabels};

/// Stands for every path that is not a route, so that clients cannot make up metric labels.
const NO_ROUTE: &str = "none";

/// Methods that are told apart in metrics and logs; clients may send anything.
const METHODS: [&str; 6] = ["GET", "POST", "PUT", "DELETE", "HEAD", "OPTIONS"];

pub async fn observe(State(state): State<AppState>, request: Request, next: Next) -> Response {
    let started = Instant::now();
    let route =
        request.extensions().get::<MatchedPath>().map_or(NO_ROUTE, MatchedPath::as_str).to_owned();
    let method =
        METHODS.into_iter().find(|&known| known == request.method().as_str()).unwrap_or("other");
    let request_id = request
        .extensions()
        .get::<RequestId>()
        .and_then(|id| id.header_value().to_str().ok())
        .unwrap_or_default()
        .to_owned();
    // The key's name is put in where the key is looked at.
    let span = info_span!("request", request_id, method, route, key = Empty);

    state.metrics.requests_in_flight.inc();
    let in_flight = Leave(&state);
    let response = next.run(request).instrument(span.clone()).await;
    drop(in_flight);

    let seconds = started.elapsed().as_secs_f64();
    let code = response.status().as_u16();
    let labels = RequestLabels { method: method.to_owned(), route, code };
    state.metrics.request_duration.get_or_create(&labels).observe(seconds);
    if let Some(&reason) = response.extensions().get::<Rejection>() {
        state.metrics.requests_rejected.get_or_create(&RejectionLabel { reason }).inc();
    }
    span.in_scope(|| info!(code, seconds, "answered"));
    response
}

/// Counts a request out however it ends, also when its client goes away.
struct Leave<'a>(&'a AppState);

impl Drop for Leave<'_> {
    fn drop(&mut self) {
        self.0.metrics.requests_in_flight.dec();
    }
}
