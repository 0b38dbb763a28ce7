//! What answers before the application is loaded, and in front of it afterwards: health checks at
//! any time, everything else once it can be answered. Every answer carries a request id.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::Request;
use axum::http::HeaderName;
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower::ServiceExt;
use tower_http::request_id::{
    MakeRequestId, PropagateRequestIdLayer, RequestId, SetRequestIdLayer,
};

use crate::http::error::Problem;
use crate::http::{compression, dialect, health, no_such_method, security_headers};
use crate::readiness::Readiness;

/// Health checks, and `application` as soon as it is set. Checks neither log nor count as requests:
/// an orchestrator asks several times a second.
pub fn router(readiness: Readiness, application: Arc<OnceLock<Router>>) -> Router {
    Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/startupz", get(health::started))
        .route("/health", get(health::ready))
        .route("/v2/health/live", get(health::live))
        .route("/v2/health/ready", get(health::ready))
        .with_state(readiness)
        .fallback(move |request| forward(Arc::clone(&application), request))
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn(compression::unpack))
        .layer(middleware::from_fn(dialect::translate))
        .layer(compression::answers())
        .layer(middleware::map_response(security_headers::add))
        .layer(PropagateRequestIdLayer::new(REQUEST_ID))
        .layer(SetRequestIdLayer::new(REQUEST_ID, NewRequestId))
        .layer(middleware::map_request(drop_useless_id))
}

/// A client's own id is kept, so that it can follow its request through the logs.
const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Every log line of a request carries its id, and its answer does.
const LONGEST_REQUEST_ID: usize = 200;

/// Has an id that is empty or too long replaced.
async fn drop_useless_id(mut request: Request) -> Request {
    let id = request.headers().get(REQUEST_ID);
    if id.is_some_and(|id| !(1..=LONGEST_REQUEST_ID).contains(&id.len())) {
        request.headers_mut().remove(REQUEST_ID);
    }
    request
}

#[derive(Clone, Copy)]
struct NewRequestId;

impl MakeRequestId for NewRequestId {
    fn make_request_id<B>(&mut self, _: &axum::http::Request<B>) -> Option<RequestId> {
        uuid::Uuid::now_v7().to_string().parse().ok().map(RequestId::new)
    }
}

async fn forward(application: Arc<OnceLock<Router>>, request: Request) -> Response {
    match application.get() {
        Some(router) => router.clone().oneshot(request).await.into_response(),
        None => {
            let detail = "the store and the models are being loaded";
            Problem::unavailable("starting", detail).into_response()
        }
    }
}
