//! `GET /openapi.json`: the service in OpenAPI 3.1. It is made from the handlers' annotations and the
//! types that they take and give; what holds for many routes at once is added here, in one place.

mod alternatives;
mod bounds;
mod events;
mod examples;
mod headers;
mod keys;
mod limits;
mod prose;
mod schema;
mod statuses;

use axum::extract::State;
use axum::http::{Method, header};
use axum::response::IntoResponse;
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use crate::config::Config;
use crate::http::auth::access;
use crate::http::dialect::{CohereBody, OpenAiBody};
use crate::http::error::Body;
use crate::http::train::events::StateEvent;
use crate::http::{
    AppState, classify, cohere, docs, embed, embed_all, heads, health, infinity, info,
    open_inference, openai, page, pipeline, predict, similarity, tokenize, train,
};
use crate::training::job::EpochReport;
use crate::training::progress::Progress;

#[derive(OpenApi)]
#[openapi(
    info(title = "Polyhead", description = include_str!("description/about.md")),
    paths(
        embed::embed,
        embed_all::embed_all,
        classify::classify,
        train::submit,
        train::list,
        train::show,
        train::cancel,
        train::events::events,
        heads::list,
        heads::show,
        heads::put,
        heads::delete,
        heads::versions::promote,
        heads::versions::roll_back,
        heads::weights::export,
        heads::weights::import,
        super::examples::list,
        super::examples::delete,
        openai::embeddings::embeddings,
        openai::models::list,
        openai::models::show,
        predict::predict,
        similarity::similarity,
        tokenize::tokenize,
        tokenize::decode,
        info::classifier,
        pipeline::run,
        predict::predict_by,
        infinity::embeddings,
        infinity::models,
        cohere::embed,
        open_inference::server,
        open_inference::model,
        open_inference::ready,
        open_inference::infer::infer,
        info::info,
        info::metrics,
        health::live,
        health::ready,
        health::started,
        document,
        docs::index,
        docs::file,
        page::index,
        page::file,
    ),
    components(schemas(Body, OpenAiBody, CohereBody, EpochReport, Progress, StateEvent)),
    tags(
        (name = "embeddings", description = "Sentences to vectors."),
        (name = "classification", description = "Sentences to labels."),
        (name = "training", description = "Labelled sentences to head versions, by jobs."),
        (name = "heads", description = "Tasks and the versions of their heads."),
        (name = "examples", description = "What the heads were trained on."),
        (name = "operations", description = "Health, facts, metrics, and the pages for people."),
        (name = "OpenAI", description = "For clients of OpenAI's embeddings."),
        (name = "text-embeddings-inference", description = "For clients of that server, beside `/embed` and `/info`."),
        (name = "Hugging Face", description = "For Hugging Face's inference clients."),
        (name = "infinity", description = "For clients of that server."),
        (name = "Cohere", description = "For clients of Cohere's embeddings."),
        (name = "Open Inference Protocol", description = "For tools that speak to KServe and Triton, version 2 over HTTP."),
    ),
)]
struct Annotated;

/// Routes that are answered by another one's handler.
const SAME_AS: [(&str, &str); 3] =
    [("/health", "/readyz"), ("/v2/health/live", "/livez"), ("/v2/health/ready", "/readyz")];

/// Describes the API.
///
/// The limits in it are those of this server's configuration.
#[utoipa::path(
    get, path = "/openapi.json", tag = "operations", operation_id = "describe",
    responses((status = 200, description = "An OpenAPI 3.1 document", body = Object)),
)]
pub async fn document(State(state): State<AppState>) -> impl IntoResponse {
    let text = state.description.get_or_init(|| of(&state.config).to_string().into());
    ([(header::CONTENT_TYPE, "application/json")], text.clone())
}

/// The description of a server with this configuration.
pub fn of(config: &Config) -> Value {
    let annotated = Annotated::openapi();
    let mut document = serde_json::to_value(annotated).expect("a description is plain data");
    prose::hoist(&mut document);
    limits::add(&mut document["components"]["schemas"], &config.limits);
    take_training_options_in_the_query(&mut document);
    repeat_routes(&mut document);
    bounds::add(&mut document);
    alternatives::add(&mut document["components"]["schemas"]);
    events::add(&mut document);
    document["components"]["headers"] = headers::components();
    document["components"]["securitySchemes"] = keys::schemes();
    for (method, path, operation) in operations(&mut document) {
        let scope = access::scope(&method, path, &config.auth.open);
        statuses::add(path, scope, operation);
        headers::add(path, scope, operation);
        keys::add(scope, &config.auth, operation);
    }
    prose::clean(&mut document);
    examples::add(&mut document);
    document
}

/// Every operation with its method and path.
fn operations(
    document: &mut Value,
) -> impl Iterator<Item = (Method, &str, &mut Map<String, Value>)> {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    paths.flat_map(|(path, item)| {
        let operations = item.as_object_mut().into_iter().flatten();
        operations.filter_map(move |(method, operation)| {
            let method = method.to_uppercase().parse().ok()?;
            Some((method, path.as_str(), operation.as_object_mut()?))
        })
    })
}

fn repeat_routes(document: &mut Value) {
    for (path, original) in SAME_AS {
        let mut item = document["paths"][original].clone();
        for operation in item.as_object_mut().into_iter().flat_map(|item| item.values_mut()) {
            operation["operationId"] = json!(path.trim_matches('/').replace('/', "_"));
            operation["summary"] = json!(format!("The same as `{original}`."));
        }
        document["paths"][path] = item;
    }
}

/// With examples as CSV or NDJSON, the other fields of the request are parameters.
fn take_training_options_in_the_query(document: &mut Value) {
    let fields = &document["components"]["schemas"]["TrainRequest"]["properties"];
    let options = fields.as_object().into_iter().flatten().filter(|(name, _)| *name != "examples");
    let parameters: Vec<Value> = options
        .map(|(name, schema)| {
            let mut schema = schema.clone();
            let told = schema.as_object_mut().and_then(|schema| schema.remove("description"));
            json!({
                "name": name, "in": "query", "required": false, "schema": schema,
                "description": told.unwrap_or(json!("See the request's field.")),
            })
        })
        .collect();
    document["paths"]["/train"]["post"]["parameters"] = parameters.into();
}
