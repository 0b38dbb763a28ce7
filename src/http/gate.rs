//! What answers before the application is loaded, and in front of it afterwards: health checks at
//! any time, everything else once it can be answered.

use std::sync::{Arc, OnceLock};

use axum::Router;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use tower::ServiceExt;

use crate::http::error::Problem;
use crate::http::health;
use crate::readiness::Readiness;

/// Health checks, and `application` as soon as it is set. Checks neither log nor count as requests:
/// an orchestrator asks several times a second.
pub fn router(readiness: Readiness, application: Arc<OnceLock<Router>>) -> Router {
    Router::new()
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/startupz", get(health::started))
        .route("/health", get(health::ready))
        .with_state(readiness)
        .fallback(move |request| forward(Arc::clone(&application), request))
}

async fn forward(application: Arc<OnceLock<Router>>, request: Request) -> Response {
    match application.get() {
        Some(router) => router.clone().oneshot(request).await.into_response(),
        None => Problem::unavailable("starting", "the models are being loaded").into_response(),
    }
}
