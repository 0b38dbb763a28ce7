//! One task's scores: `POST /predict` in the shape of text-embeddings-inference, `POST
//! /heads/{task}/predict` in that of Hugging Face's inference clients.

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::encoder::{Deadline, EmbedOptions};
use crate::heads::head::{Decision, Head, sigmoid};
use crate::heads::live::LiveTask;
use crate::http::AppState;
use crate::http::body::{Json, object};
use crate::http::classify::{self, AnsweredBy};
use crate::http::cost::Meter;
use crate::http::embed::{Direction, truncation};
use crate::http::error::Problem;
use crate::http::inputs::check_texts;
use crate::http::one_or_many::OneOrMany;
use crate::http::parameters::Segment;
use crate::http::vectors;

/// What a client asks `/predict` for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PredictRequest {
    inputs: PredictInputs,
    /// By default the only one that is trained.
    task: Option<String>,
    /// Whether longer inputs are cut to the model's limit (the default) or refused.
    truncate: Option<bool>,
    /// The end that is cut off; the right one by default.
    truncation_direction: Option<Direction>,
    /// Logits in place of probabilities.
    #[serde(default)]
    raw_scores: bool,
    /// What Hugging Face's clients send.
    #[serde(default, deserialize_with = "object::optional")]
    parameters: Option<PipelineParameters>,
}

/// The parameters of a text classification pipeline.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PipelineParameters {
    /// Keeps the so many most probable labels.
    #[schema(minimum = 1)]
    top_k: Option<usize>,
    function_to_apply: Option<Function>,
}

/// What makes scores of logits; by default what the head was fit with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum Function {
    Sigmoid,
    Softmax,
    None,
}

/// What a single text gets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Answers {
    /// Its scores.
    Tei,
    /// A list with its scores in it, as several texts do.
    Pipeline,
}

/// A text, or a list that has each text in a list of its own: elsewhere, a bare list of two is a pair
/// of sentences that are judged together.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(untagged, expecting = "expected a string, or a list of lists with one string each")]
enum PredictInputs {
    One(String),
    Many(Vec<OneOrMany>),
}

/// The scores of a single text, or of each of several; best first.
#[derive(Serialize, ToSchema)]
#[serde(untagged)]
pub enum Predicted {
    OfOne(Vec<Score>),
    OfEach(Vec<Vec<Score>>),
}

/// A label and how well it fits.
#[derive(Debug, Serialize, ToSchema)]
pub struct Score {
    score: f32,
    label: String,
}

/// Classifies texts by one task.
#[utoipa::path(
    post, path = "/predict", tag = "text-embeddings-inference",
    request_body = PredictRequest,
    responses(
        (
            status = 200, description = "The scores of a single text, or one list of them an input; best first",
            body = Predicted,
            headers(("x-head-version", description = "The version that answered, such as `topic=12`")),
        ),
        (status = 404, description = "unknown_task"),
        (status = 409, description = "head_untrained, encoder_mismatch"),
        (status = 422, description = "no_inputs, too_many_inputs, empty_input, invalid_input, input_too_long, too_many_tokens, pairs_not_supported, ambiguous_task, invalid_top_k, too_many_scores"),
        (status = 429, description = "queue_full"),
        (status = 503, description = "draining"),
    ),
)]
pub async fn predict(
    State(state): State<AppState>,
    Extension(deadline): Extension<Deadline>,
    Json(request): Json<PredictRequest>,
) -> Result<Response, Problem> {
    answer(&state, deadline, request, Answers::Tei).await
}

/// Classifies texts by the task that the path names.
#[utoipa::path(
    post, path = "/heads/{task}/predict", tag = "Hugging Face",
    params(("task" = String, Path, description = "The task's name")),
    request_body = PredictRequest,
    responses(
        (
            status = 200, description = "One list of scores an input, best first", body = Vec<Vec<Score>>,
            headers(("x-head-version", description = "The version that answered, such as `topic=12`")),
        ),
        (status = 404, description = "unknown_task"),
        (status = 409, description = "head_untrained, encoder_mismatch"),
        (status = 422, description = "no_inputs, too_many_inputs, empty_input, invalid_input, input_too_long, too_many_tokens, pairs_not_supported, ambiguous_task, invalid_top_k, too_many_scores"),
        (status = 429, description = "queue_full"),
        (status = 503, description = "draining"),
    ),
)]
pub async fn predict_by(
    State(state): State<AppState>,
    Extension(deadline): Extension<Deadline>,
    Segment(task): Segment,
    Json(mut request): Json<PredictRequest>,
) -> Result<Response, Problem> {
    if request.task.as_ref().is_some_and(|other| *other != task) {
        let detail = format!("the path names the task {task:?}; leave it out of the body");
        return Err(Problem::invalid("ambiguous_task", detail).at("task"));
    }
    request.task = Some(task);
    answer(&state, deadline, request, Answers::Pipeline).await
}

/// The answer: for each input, its scores, best first.
pub async fn answer(
    state: &AppState,
    deadline: Deadline,
    request: PredictRequest,
    answers: Answers,
) -> Result<Response, Problem> {
    let parameters = request.parameters.unwrap_or_default();
    if parameters.top_k == Some(0) {
        let problem = Problem::invalid("invalid_top_k", "top_k must be at least 1");
        return Err(problem.at("parameters.top_k"));
    }
    let is_single = matches!(request.inputs, PredictInputs::One(_));
    let is_bare = is_single && answers == Answers::Tei;
    let renamed = |problem: Problem| {
        problem.naming_inputs("inputs", |index| match is_single {
            true => "inputs".to_owned(),
            false => format!("inputs[{index}]"),
        })
    };
    let texts = request.inputs.texts()?;
    let class = check_texts(&texts, &state.config).map_err(renamed)?;
    let task = match request.task {
        Some(task) => task,
        None => classify::only_task(state)?,
    };
    // Refused before any encoding; the version that answers is the one that is live afterwards.
    let encoder = state.encoder(Some(&classify::ready(state, &task)?.task.model))?;
    let meter = Meter::start(&texts);
    let options = EmbedOptions {
        truncation: truncation(request.truncate, request.truncation_direction),
        ..EmbedOptions::new(class, deadline)
    };
    let embedded = encoder.embed(texts, options).await;
    let embeddings = embedded.map_err(|error| renamed(error.into()))?;
    let cost = meter.read(encoder.info(), embeddings.tokens, embeddings.spent);
    let live = classify::ready(state, &task)?;
    let answered_by: AnsweredBy = [&*live].into_iter().collect();
    let function = match request.raw_scores {
        true => Some(Function::None),
        false => parameters.function_to_apply,
    };
    let top_k = parameters.top_k.unwrap_or(usize::MAX);
    let labels = live.version.head.labels().len().min(top_k);
    let values = labels.saturating_mul(embeddings.rows().len());
    classify::check_size(embeddings.rows().len(), std::iter::once(labels))?;
    let write = move || {
        let scores = |row| scores(&live, row, function, top_k);
        let mut all: Vec<Vec<Score>> = embeddings.rows().map(scores).collect();
        serde_json::to_vec(&match is_bare {
            true => Predicted::OfOne(all.pop().unwrap_or_default()),
            false => Predicted::OfEach(all),
        })
    };
    Ok((cost, answered_by, vectors::respond(values, write).await?).into_response())
}

impl PredictInputs {
    fn texts(self) -> Result<Vec<String>, Problem> {
        let list = match self {
            PredictInputs::One(text) => return Ok(vec![text]),
            PredictInputs::Many(list) => list,
        };
        let text = |(index, element): (usize, OneOrMany)| match element {
            OneOrMany::Many(mut texts) if texts.len() == 1 => Ok(texts.remove(0)),
            _ => {
                let detail = "pairs of sentences are not judged here; put each text into a list of its own, such as [[\"one\"], [\"another\"]]";
                Err(Problem::invalid("pairs_not_supported", detail).at(format!("inputs[{index}]")))
            }
        };
        list.into_iter().enumerate().map(text).collect()
    }
}

/// A head's scores of one text, best first; of equal ones in the order of the labels.
fn scores(
    live: &LiveTask,
    embedding: &[f32],
    function: Option<Function>,
    top_k: usize,
) -> Vec<Score> {
    let head = &live.version.head;
    let label = |(score, label): (f32, &String)| Score { score, label: label.clone() };
    let values = values(head, embedding, function);
    let mut scores: Vec<Score> = values.into_iter().zip(head.labels().iter()).map(label).collect();
    scores.sort_by(|a, b| b.score.total_cmp(&a.score));
    scores.truncate(top_k);
    scores
}

fn values(head: &Head, embedding: &[f32], function: Option<Function>) -> Vec<f32> {
    match function {
        None => head.probabilities(embedding),
        Some(Function::None) => {
            head.logits(embedding).into_iter().map(|logit| logit as f32).collect()
        }
        Some(Function::Sigmoid) => {
            let logits = head.logits(embedding).into_iter();
            logits.map(|logit| sigmoid(logit) as f32).collect()
        }
        Some(Function::Softmax) => Decision::Softmax.probabilities(&head.logits(embedding)),
    }
}
