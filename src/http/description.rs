//! `GET /openapi.json`: the service in OpenAPI 3.1. It is made from the handlers' annotations and the
//! types that they take and give; what holds for many routes at once is added here, in one place.

mod bounds;
mod examples;
mod prose;
mod statuses;

use axum::Json;
use axum::extract::State;
use serde_json::{Map, Value, json};
use utoipa::OpenApi;

use crate::config::Config;
use crate::http::error::Body;
use crate::http::train::events::StateEvent;
use crate::http::{AppState, classify, docs, embed, heads, health, info, train};
use crate::training::job::EpochReport;
use crate::training::progress::Progress;

#[derive(OpenApi)]
#[openapi(
    info(title = "Polyhead"),
    paths(
        embed::embed,
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
        info::info,
        info::metrics,
        health::live,
        health::ready,
        health::started,
        document,
        docs::docs,
    ),
    components(schemas(Body, EpochReport, Progress, StateEvent)),
    tags(
        (name = "embeddings", description = "Sentences to vectors."),
        (name = "classification", description = "Sentences to labels."),
        (name = "training", description = "Labelled sentences to head versions, by jobs."),
        (name = "heads", description = "Tasks and the versions of their heads."),
        (name = "examples", description = "What the heads were trained on."),
        (name = "operations", description = "Health, facts, metrics and this description."),
    ),
)]
struct Annotated;

/// Routes that are answered by another one's handler.
const SAME_AS: [(&str, &str); 2] = [("/", "/embed"), ("/health", "/readyz")];

/// Describes the API.
///
/// The limits in it are those of this server's configuration.
#[utoipa::path(
    get, path = "/openapi.json", tag = "operations", operation_id = "describe",
    responses((status = 200, description = "An OpenAPI 3.1 document", body = Object)),
)]
pub async fn document(State(state): State<AppState>) -> Json<Value> {
    Json(of(&state.config))
}

/// The description of a server with this configuration.
pub fn of(config: &Config) -> Value {
    let annotated = Annotated::openapi();
    let mut document = serde_json::to_value(annotated).expect("a description is plain data");
    take_training_options_in_the_query(&mut document);
    repeat_routes(&mut document);
    bounds::add(&mut document, config);
    for (path, operation) in operations(&mut document) {
        statuses::add(path, operation);
    }
    prose::clean(&mut document);
    examples::add(&mut document);
    document
}

/// Every operation with its path.
fn operations(document: &mut Value) -> impl Iterator<Item = (&str, &mut Map<String, Value>)> {
    let paths = document["paths"].as_object_mut().into_iter().flatten();
    paths.flat_map(|(path, item)| {
        let operations = item.as_object_mut().into_iter().flatten();
        operations.filter_map(move |(_, it)| Some((path.as_str(), it.as_object_mut()?)))
    })
}

fn repeat_routes(document: &mut Value) {
    for (path, original) in SAME_AS {
        let mut item = document["paths"][original].clone();
        for operation in item.as_object_mut().into_iter().flat_map(|item| item.values_mut()) {
            let summary = format!("The same as `{original}`.");
            let id = operation["operationId"].as_str().unwrap_or_default();
            operation["operationId"] = json!(format!("{id}_as_well"));
            operation["summary"] = json!(summary);
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
