//! `POST /classify`: every input by every task, each task by one head version; or by labels that the
//! request brings along, without training.

mod head_versions;
mod prediction;
mod zero_shot;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use axum::Extension;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::encoder::{Deadline, EmbedOptions, ModelInfo};
use crate::heads::live::{LiveTask, Snapshot};
use crate::http::AppState;
use crate::http::body::Json;
pub(super) use crate::http::classify::head_versions::AnsweredBy;

use crate::http::classify::head_versions::MinHeadVersion;
use crate::http::classify::prediction::{Answering, Prediction, Terms};
use crate::http::error::Problem;
use crate::http::inputs::Inputs;

/// What a client asks `/classify` for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ClassifyRequest {
    /// One text, or a list of them. `sentences` is another name for the field.
    #[serde(alias = "sentences")]
    inputs: Inputs,
    /// By default all of the model that can answer.
    #[schema(min_items = 1)]
    tasks: Option<Vec<String>>,
    /// Keeps the so many most probable labels in `scores`; all by default.
    #[schema(minimum = 1)]
    top_k: Option<usize>,
    /// The least probability, 0 to 1, at which a label is given; by default each task's own, or the ones
    /// that a multi-label head has chosen.
    #[schema(minimum = 0, maximum = 1)]
    threshold: Option<f32>,
    /// By default that of the first task, else the default one.
    model: Option<String>,
    /// Waits for these to be live before it answers.
    min_head_version: Option<MinHeadVersion>,
    /// Classifies by these in place of tasks, without training.
    #[schema(min_items = 2)]
    labels: Option<Vec<String>>,
    /// The sentence that labels are put into, where it has `{}`.
    #[schema(max_length = 1024)]
    template: Option<String>,
}

#[derive(Debug, Serialize, ToSchema)]
pub struct ClassifyResponse {
    model: String,
    /// In the order of the inputs; keyed by task, or by `zero shot`.
    results: Vec<BTreeMap<String, Prediction>>,
}

/// Classifies sentences by heads, or by labels that the request brings along.
#[utoipa::path(
    post, path = "/classify", tag = "classification",
    request_body = ClassifyRequest,
    responses(
        (
            status = 200, description = "One answer an input", body = ClassifyResponse,
            headers(("x-head-version", description = "The versions that answered, such as `sentiment=3, topic=12`; not with `labels`")),
        ),
        (status = 404, description = "unknown_model, unknown_task"),
        (status = 409, description = "head_untrained, encoder_mismatch, head_version_not_live"),
        (status = 422, description = "no_inputs, too_many_inputs, empty_input, invalid_input, too_many_tokens, no_tasks, mixed_models, invalid_top_k, invalid_threshold, too_many_scores, ambiguous_head_version, task_not_asked, invalid_task, labels_with_tasks, labels_with_head_version, invalid_template, template_without_labels"),
        (status = 429, description = "queue_full"),
        (status = 503, description = "draining"),
    ),
)]
pub async fn classify(
    State(state): State<AppState>,
    Extension(deadline): Extension<Deadline>,
    Json(mut request): Json<ClassifyRequest>,
) -> Result<(Option<AnsweredBy>, axum::Json<ClassifyResponse>), Problem> {
    check(&request)?;
    if let Some(tasks) = &mut request.tasks {
        // Named twice, a task answers once, and is worked out once.
        let mut seen = BTreeSet::new();
        tasks.retain(|task| seen.insert(task.clone()));
    }
    if request.labels.is_some() {
        return Ok((None, zero_shot::classify(&state, deadline, request).await?));
    }
    if let Some(least) = request.min_head_version.take() {
        least.wait(&state.heads, request.tasks.as_deref(), deadline).await?;
    }
    let (texts, class) = request.inputs.check(&state.config)?;
    let texts_count = texts.len();
    let model = model_of(&state, &request.tasks, request.model.as_deref())?;
    let encoder = state.encoder(Some(&model))?;
    // Refused before any encoding; the versions that answer are those that are live afterwards.
    select(&state, &request.tasks, encoder.info())?;
    let embeddings = encoder.embed(texts, EmbedOptions::new(class, deadline)).await?;
    let heads = select(&state, &request.tasks, encoder.info())?;
    let answered_by = heads.iter().map(|live| &**live).collect();
    let terms =
        |live: &LiveTask| Terms::new(request.top_k, request.threshold.or(live.task.threshold));
    let heads: Vec<(&LiveTask, Terms)> = heads.iter().map(|live| (&**live, terms(live))).collect();
    check_size(
        texts_count,
        heads.iter().map(|(live, terms)| terms.most_labels(&live.version.head)),
    )?;
    let results = embeddings.rows().map(|embedding| {
        let predict = |(live, terms): &(&LiveTask, Terms)| {
            let prediction = Prediction::of(Answering::from(&live.version), embedding, terms);
            (live.task.name.clone(), prediction)
        };
        heads.iter().map(predict).collect()
    });
    Ok((Some(answered_by), axum::Json(ClassifyResponse { model, results: results.collect() })))
}

/// Scores in one answer: each is a label and a number, and the answer is held in memory.
const MOST_SCORES: usize = 1 << 20;

/// Refuses a request whose answer would have too many of them. `labels` are those of each task for one
/// input.
pub(super) fn check_size(
    inputs: usize,
    labels: impl Iterator<Item = usize>,
) -> Result<(), Problem> {
    let scores = labels.sum::<usize>().saturating_mul(inputs);
    if scores > MOST_SCORES {
        let detail = format!(
            "the answer would have {scores} scores; allowed: {MOST_SCORES}; ask for fewer with top_k, or of fewer inputs or tasks at a time"
        );
        return Err(Problem::invalid("too_many_scores", detail).at("top_k"));
    }
    Ok(())
}

/// A threshold is a probability.
pub fn check_threshold(threshold: Option<f32>) -> Result<(), Problem> {
    match threshold.filter(|it| !(0.0..=1.0).contains(it)) {
        None => Ok(()),
        Some(threshold) => {
            let detail = format!("threshold is {threshold}; allowed: 0 to 1");
            Err(Problem::invalid("invalid_threshold", detail).at("threshold"))
        }
    }
}

/// What can be said before anything is looked up.
fn check(request: &ClassifyRequest) -> Result<(), Problem> {
    if request.tasks.as_ref().is_some_and(Vec::is_empty) {
        let detail =
            "tasks is empty; name at least one, or leave it out to ask all that are trained";
        return Err(Problem::invalid("no_tasks", detail).at("tasks"));
    }
    if request.top_k == Some(0) {
        return Err(Problem::invalid("invalid_top_k", "top_k must be at least 1").at("top_k"));
    }
    check_threshold(request.threshold)?;
    if request.labels.is_some() && request.tasks.is_some() {
        let detail = "labels and tasks do not go together: name tasks that were trained, or bring labels along";
        return Err(Problem::invalid("labels_with_tasks", detail).at("tasks"));
    }
    if request.template.is_some() && request.labels.is_none() {
        let detail = "a template is for labels that come with the request; there are none";
        return Err(Problem::invalid("template_without_labels", detail).at("template"));
    }
    if request.min_head_version.is_some() && request.labels.is_some() {
        let detail = "labels that come with the request have no head version to wait for";
        return Err(Problem::invalid("labels_with_head_version", detail).at("min_head_version"));
    }
    Ok(())
}

/// The model that is named, else that of the first task that is named, else the default one.
fn model_of(
    state: &AppState,
    tasks: &Option<Vec<String>>,
    model: Option<&str>,
) -> Result<String, Problem> {
    if let Some(model) = model {
        return Ok(model.to_owned());
    }
    match tasks.as_deref() {
        Some([first, ..]) => {
            let heads = state.heads.snapshot();
            Ok(look_up(&heads, first).map_err(|problem| problem.at("tasks[0]"))?.task.model.clone())
        }
        _ => Ok(state.config.default_model.clone()),
    }
}

/// The live heads that a request asks for, all from one moment.
fn select(
    state: &AppState,
    tasks: &Option<Vec<String>>,
    model: &ModelInfo,
) -> Result<Vec<Arc<LiveTask>>, Problem> {
    let heads = state.heads.snapshot();
    let wanted: Vec<Arc<LiveTask>> = match tasks {
        None => heads.values().filter(|live| live.task.model == model.name).cloned().collect(),
        Some(names) => named(&heads, names, model)?,
    };
    if wanted.is_empty() {
        let detail = format!("model {:?} has no tasks to classify by", model.name);
        return Err(Problem::invalid("no_tasks", detail).at("tasks"));
    }
    let (ready, unready): (Vec<_>, Vec<_>) =
        wanted.into_iter().partition(|live| can_answer(state, live));
    // Without names, a task that was just made does not stop the others from answering.
    if unready.is_empty() || (tasks.is_none() && !ready.is_empty()) {
        return Ok(ready);
    }
    Err(not_ready(&unready))
}

fn can_answer(state: &AppState, live: &LiveTask) -> bool {
    let serve_untrained = state.config.training.serve_untrained;
    live.mismatched.is_none() && (live.version.is_trained() || serve_untrained)
}

/// A task with its live head.
pub(super) fn find(state: &AppState, task: &str) -> Result<Arc<LiveTask>, Problem> {
    let heads = state.heads.snapshot();
    look_up(&heads, task).cloned().map_err(|problem| problem.at("task"))
}

/// The live head of one task, if it can answer.
pub(super) fn ready(state: &AppState, task: &str) -> Result<Arc<LiveTask>, Problem> {
    let live = find(state, task)?;
    match can_answer(state, &live) {
        true => Ok(live),
        false => Err(not_ready(&[live])),
    }
}

/// The name of the only task that can answer, for requests that name none.
pub(super) fn only_task(state: &AppState) -> Result<String, Problem> {
    let heads = state.heads.snapshot();
    let mut names =
        heads.values().filter(|live| can_answer(state, live)).map(|live| &live.task.name);
    match (names.next(), names.next()) {
        (Some(only), None) => Ok(only.clone()),
        (None, _) => Err(not_ready(&heads.values().cloned().collect::<Vec<_>>())),
        (Some(one), Some(other)) => {
            let detail = format!(
                "several tasks can answer, {one:?} and {other:?} among them; name one as `task`, or POST to /heads/{one}/predict"
            );
            Err(Problem::invalid("ambiguous_task", detail).at("task"))
        }
    }
}

/// The tasks that a request names.
fn named(
    heads: &Snapshot,
    names: &[String],
    model: &ModelInfo,
) -> Result<Vec<Arc<LiveTask>>, Problem> {
    let find = |(index, name): (usize, &String)| {
        let position = format!("tasks[{index}]");
        let live = look_up(heads, name).map_err(|problem| problem.at(position.clone()))?;
        if live.task.model == model.name {
            return Ok(Arc::clone(live));
        }
        let detail = format!(
            "task {name:?} is on model {:?}, the request on {:?}; ask for each model's tasks apart",
            live.task.model, model.name
        );
        Err(Problem::invalid("mixed_models", detail).at(position))
    };
    names.iter().enumerate().map(find).collect()
}

/// Why none of these tasks can answer.
fn not_ready(tasks: &[Arc<LiveTask>]) -> Problem {
    if let Some((live, version)) = tasks.iter().find_map(|live| Some((live, live.mismatched?))) {
        let detail = format!(
            "version {version} of task {:?} was fit on another encoder than model {:?} has now; train it again, which refits on its kept examples, or serve the former model",
            live.task.name, live.task.model
        );
        return Problem::conflict("encoder_mismatch", detail);
    }
    let names: Vec<&str> = tasks.iter().map(|live| live.task.name.as_str()).collect();
    let detail = format!(
        "no training has published a head for: {}; POST examples to /train first",
        names.join(", ")
    );
    Problem::conflict("head_untrained", detail)
}

fn look_up<'a>(heads: &'a Snapshot, name: &str) -> Result<&'a Arc<LiveTask>, Problem> {
    heads.get(name).ok_or_else(|| {
        let known: Vec<&str> = heads.keys().map(String::as_str).collect();
        let detail = format!("there is no task {name:?}; tasks: {}", known.join(", "));
        Problem::not_found("unknown_task", detail)
    })
}
