//! The HTTP service: routes, shared state, and what surrounds every request.

pub mod auth;
pub mod body;
pub mod classify;
pub mod cohere;
pub mod compression;
mod cors;
pub mod cost;
pub mod deadline;
pub mod description;
pub mod dialect;
pub mod docs;
pub mod embed;
pub mod embed_all;
pub mod error;
pub mod examples;
pub mod format;
pub mod gate;
pub mod heads;
pub mod health;
pub mod infinity;
pub mod info;
pub mod inputs;
pub mod linger;
pub mod listener;
pub mod observe;
pub mod one_or_many;
pub mod open_inference;
pub mod openai;
pub mod page;
pub mod parameters;
pub mod pipeline;
pub mod predict;
pub mod prompt;
mod security_headers;
pub mod similarity;
pub mod texts_or_ids;
pub mod tls;
pub mod tokenize;
pub mod train;
pub mod vectors;

use std::collections::BTreeMap;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::http::{Method, StatusCode, Uri};
use axum::middleware;
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post};
use jiff::Timestamp;
use tokio::time::timeout;
use tower::util::option_layer;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

use crate::auth::Keyring;
use crate::config::Config;
use crate::encoder::Encoder;
use crate::heads::follow::Follower;
use crate::heads::live::LiveHeads;
use crate::heads::zero_shot::LabelCache;
use crate::http::body::room::{self, BodyRoom};
use crate::http::error::Problem;
use crate::metrics::Metrics;
use crate::readiness::Readiness;
use crate::store::Store;
use crate::training::worker::Trainer;

/// What every handler can reach.
#[derive(Clone)]
pub struct AppState(Arc<Parts>);

/// The parts that the application is made of, as the handlers see them.
pub struct Parts {
    pub config: Config,
    pub keyring: Arc<Keyring>,
    pub encoders: BTreeMap<String, Arc<Encoder>>,
    pub heads: Arc<LiveHeads>,
    pub follower: Arc<Follower>,
    /// Embeddings of labels that requests brought along.
    pub labels: LabelCache,
    pub bodies: Arc<BodyRoom>,
    pub store: Store,
    pub trainer: Trainer,
    pub metrics: Arc<Metrics>,
    pub readiness: Readiness,
    /// ONNX Runtime's description of its build.
    pub runtime: &'static str,
    pub started_at: Timestamp,
    /// The API's description, from the first request for it on.
    pub description: OnceLock<Bytes>,
}

impl AppState {
    pub fn new(parts: Parts) -> AppState {
        AppState(Arc::new(parts))
    }

    /// Tokens that wait or are in work. All encoders share one queue.
    pub fn queued_tokens(&self) -> usize {
        self.encoders.values().next().map_or(0, |encoder| encoder.admitted_tokens())
    }

    /// The model that a request names, or the default one.
    pub fn encoder(&self, model: Option<&str>) -> Result<&Arc<Encoder>, Problem> {
        let name = model.unwrap_or(&self.config.default_model);
        self.encoders.get(name).ok_or_else(|| {
            let known: Vec<&str> = self.encoders.keys().map(String::as_str).collect();
            let detail = format!("there is no model {name:?}; models: {}", known.join(", "));
            Problem::not_found("unknown_model", detail).at("model")
        })
    }
}

impl std::ops::Deref for AppState {
    type Target = Parts;

    fn deref(&self) -> &Parts {
        &self.0
    }
}

/// All routes but the health checks, which [`gate`] answers.
pub fn router(state: AppState) -> Router {
    let cors = option_layer(cors::layer(&state.config.server.cors_origins));
    Router::new()
        .route("/embed", post(embed::embed))
        .route("/embed_all", post(embed_all::embed_all))
        .route("/", post(pipeline::run))
        .route("/similarity", post(similarity::similarity))
        .route("/predict", post(predict::predict))
        .route("/tokenize", post(tokenize::tokenize))
        .route("/decode", post(tokenize::decode))
        .route("/v1/embeddings", post(openai::embeddings))
        .route("/v1/models", get(openai::list))
        .route("/v1/models/{model}", get(openai::show))
        .route("/embeddings", post(infinity::embeddings))
        .route("/models", get(infinity::models))
        .route("/v2/embed", post(cohere::embed))
        .route("/v2", get(open_inference::server))
        .route("/v2/models/{model}", get(open_inference::model))
        .route("/v2/models/{model}/ready", get(open_inference::ready))
        .route("/v2/models/{model}/infer", post(open_inference::infer))
        .route("/classify", post(classify::classify))
        .route("/heads", get(heads::list))
        .route("/heads/{task}", get(heads::show).put(heads::put).delete(heads::delete))
        .route("/heads/{task}/predict", post(predict::predict_by))
        .route("/heads/{task}/info", get(info::classifier))
        .route("/heads/{task}/promote", post(heads::promote))
        .route("/heads/{task}/rollback", post(heads::roll_back))
        .route("/heads/{task}/weights", get(heads::export).put(heads::import))
        .route("/examples", get(examples::list).delete(examples::delete))
        .route("/train", get(train::list))
        .route("/train/{id}", get(train::show).delete(train::cancel))
        .route("/train/{id}/events", get(train::events))
        .route_layer(middleware::from_fn_with_state(state.clone(), room::share))
        .route_layer(middleware::from_fn_with_state(state.clone(), deadline::deadline))
        .route("/train", uploads(post(train::submit), &state))
        .route("/", get(page::index))
        .route("/page/{*path}", get(page::file))
        .route("/metrics", get(info::metrics))
        .route("/info", get(info::info))
        .route("/openapi.json", get(description::document))
        .route("/docs", get(docs::index))
        .route("/docs/{*path}", get(docs::file))
        .fallback(no_such_route)
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn_with_state(state.clone(), auth::guard))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(state.clone(), observe::observe))
        .layer(cors)
        .with_state(state)
}

/// Routes whose bodies may take long to arrive.
fn uploads(route: MethodRouter<AppState>, state: &AppState) -> MethodRouter<AppState> {
    route
        .route_layer(middleware::from_fn_with_state(state.clone(), room::share))
        .route_layer(middleware::from_fn_with_state(state.clone(), deadline::upload))
}

/// How long a change may take that nobody waits for any more. A database that falls silent would keep
/// it, and with it all later ones, for ever.
const LONGEST_CHANGE: Duration = Duration::from_secs(120);

/// Runs a change to its end even if its client goes away or its deadline passes: it must not be left
/// half done, durable but not live.
async fn to_the_end<T, F>(change: F) -> Result<T, Problem>
where
    T: Send + 'static,
    F: Future<Output = Result<T, Problem>> + Send + 'static,
{
    let change = timeout(LONGEST_CHANGE, change).in_current_span();
    match tokio::spawn(change).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(Problem::timed_out(LONGEST_CHANGE)),
        Err(_) => Err(Problem::internal(&"a change panicked")),
    }
}

async fn no_such_route(uri: Uri) -> Problem {
    Problem::not_found("unknown_route", format!("there is nothing at {}", uri.path()))
}

async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let detail = format!("{} does not take {method}; see the header `allow`", uri.path());
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

fn panicked(_: Box<dyn std::any::Any + Send>) -> Response {
    // The panic hook has logged the message already.
    Problem::internal(&"a handler panicked").into_response()
}
