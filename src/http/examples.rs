//! `/examples`: what the heads were trained on, listed and deleted.

use std::collections::BTreeMap;

use axum::Json as Answer;
use axum::extract::State;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use crate::http::body::Json;
use crate::http::error::Problem;
use crate::http::parameters::Parameters;
use crate::http::{AppState, to_the_end};
use crate::store::{ExampleQuery, ExampleSelection, ListedExample, StoreError};
use crate::training::job::Target;
use crate::training::text_hash::TextHash;

const MOST_LISTED: u32 = 1000;

#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub struct ListParameters {
    /// Only examples with a label for this task.
    task: Option<String>,
    /// Only those with this label for the task.
    label: Option<String>,
    /// Examples on a page.
    #[serde(default = "default_limit")]
    #[param(minimum = 1, maximum = 1000)]
    limit: u32,
    /// The `next` of the page before.
    after: Option<i64>,
}

fn default_limit() -> u32 {
    100
}

/// A page of examples, in the order in which their texts were first seen.
#[derive(Debug, Serialize, ToSchema)]
pub struct ExampleList {
    examples: Vec<ExampleView>,
    /// Give it as `after` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<i64>,
}

/// A text with its labels, as the store keeps it.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = KeptExample)]
struct ExampleView {
    /// `null` where texts are not kept.
    text: Option<String>,
    /// Of the text.
    sha256: String,
    /// Task to label, or to all the labels that apply.
    labels: BTreeMap<String, Target>,
    /// How often it counts; absent where that is once.
    #[serde(skip_serializing_if = "Option::is_none")]
    weight: Option<f64>,
    /// When a job last taught it.
    added_at: Timestamp,
}

/// The body of `DELETE /examples`: texts or a time, and optionally the one task that forgets them.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Deletion {
    /// These.
    texts: Option<Vec<String>>,
    /// All that were last taught before.
    before: Option<Timestamp>,
    /// All tasks if it is left out.
    task: Option<String>,
}

/// What `DELETE /examples` did.
#[derive(Debug, Serialize, ToSchema)]
pub struct Deleted {
    /// Examples that lost their labels.
    removed: u64,
}

/// Lists examples, oldest first.
#[utoipa::path(
    get, path = "/examples", tag = "examples", operation_id = "list_examples",
    params(ListParameters),
    responses(
        (status = 200, description = "A page of examples", body = ExampleList),
        (status = 404, description = "unknown_task"),
        (status = 422, description = "invalid_limit, label_without_task, unknown_label"),
        (status = 503, description = "store_unavailable"),
    ),
)]
pub async fn list(
    State(state): State<AppState>,
    Parameters(parameters): Parameters<ListParameters>,
) -> Result<Answer<ExampleList>, Problem> {
    let ListParameters { task, label, limit, after } = parameters;
    if !(1..=MOST_LISTED).contains(&limit) {
        let detail = format!("limit is {limit}; allowed: 1 to {MOST_LISTED}");
        return Err(Problem::invalid("invalid_limit", detail).at("limit"));
    }
    check_label(&state, task.as_deref(), label.as_deref()).await?;
    let query = ExampleQuery { task, label, limit, after };
    let examples = state.store.list_examples(&query).await?;
    let next = examples.last().filter(|_| examples.len() == limit as usize).map(|last| last.id);
    Ok(Answer(ExampleList { examples: examples.into_iter().map(view).collect(), next }))
}

/// Forgets examples. Heads stay as they are until they are trained again.
#[utoipa::path(
    delete, path = "/examples", tag = "examples", operation_id = "delete_examples",
    request_body = Deletion,
    responses(
        (status = 200, description = "How many were forgotten", body = Deleted),
        (status = 404, description = "unknown_task"),
        (status = 422, description = "invalid_selection"),
        (status = 503, description = "store_unavailable"),
    ),
)]
pub async fn delete(
    State(state): State<AppState>,
    Json(deletion): Json<Deletion>,
) -> Result<Answer<Deleted>, Problem> {
    let Deletion { texts, before, task } = deletion;
    let selection = match (texts, before) {
        (Some(texts), None) => {
            ExampleSelection::Texts(texts.iter().map(|text| TextHash::of(text)).collect())
        }
        (None, Some(time)) => ExampleSelection::Before(time),
        (None, None) | (Some(_), Some(_)) => {
            let detail = "which examples? allowed: either `texts`, a list of texts, or `before`, a time such as \"2026-01-31T12:00:00Z\"";
            return Err(Problem::invalid("invalid_selection", detail));
        }
    };
    let delete = async move { Ok(state.store.delete_examples(&selection, task.as_deref()).await?) };
    Ok(Answer(Deleted { removed: to_the_end(delete).await? }))
}

async fn check_label(
    state: &AppState,
    task: Option<&str>,
    label: Option<&str>,
) -> Result<(), Problem> {
    let Some(task) = task else {
        if label.is_none() {
            return Ok(());
        }
        let detail = "a label means something for a task only: give `task` as well";
        return Err(Problem::invalid("label_without_task", detail).at("label"));
    };
    let known = state.store.task(task).await?;
    let labels = known.ok_or_else(|| StoreError::UnknownTask { task: task.to_owned() })?.labels;
    match label.filter(|&label| !labels.iter().any(|known| known == label)) {
        None => Ok(()),
        Some(label) => {
            let known = labels.join(", ");
            let detail = format!("task {task:?} has no label {label:?}; its labels: {known}");
            Err(Problem::invalid("unknown_label", detail).at("label"))
        }
    }
}

fn view(example: ListedExample) -> ExampleView {
    ExampleView {
        text: example.text,
        sha256: example.hash.to_string(),
        labels: example.labels,
        weight: example.weight,
        added_at: example.added_at,
    }
}
